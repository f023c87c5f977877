//! `mobile-small-central-v0`: five users walk among three base stations, and one agent says who connects where.
//!
//! The simulation is that of mobile-env 2.1 (Schneider, Werner, Khalili, Hecker and Karl 2022), its small scenario under
//! the central handler: users walk from one random waypoint to the next, the signal is lost as Okumura and Hata have it,
//! a station gives each of its users an equal share of time, and a user's utility is the logarithm of its data rate.
//! An episode is cut after 100 steps and never ends by itself. Observations are single precision.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{Action, EnvError, Environment, Step};
use crate::session::random::{position, uniform};

const ID: &str = "mobile-small-central-v0";
const LIMIT: u32 = 100;
const USERS: usize = 5;
/// Where the stations stand, in metres.
const STATIONS: [[f64; 2]; 3] = [[110.0, 130.0], [65.0, 80.0], [120.0, 30.0]];
/// Side of the square that users walk in, in metres.
const SIDE: f64 = 200.0;
/// Metres of a step.
const STRIDE: f64 = 1.5;
/// A station's bandwidth, in Hz.
const BANDWIDTH: f64 = 9e6;
/// Its frequency, in MHz.
const FREQUENCY: f64 = 2500.0;
/// Its power, in dBm.
const POWER: f64 = 30.0;
/// Its height, in metres.
const HEIGHT: f64 = 50.0;
/// A user's height, in metres.
const USER_HEIGHT: f64 = 1.5;
/// The noise that a signal is compared with, in mW.
const NOISE: f64 = 1e-9;
/// The signal-to-noise ratio above which a user reaches a station.
const REACH: f64 = 2e-8;
/// Keeps the logarithm of a distance finite.
const EPSILON: f64 = 1e-16;
/// Utilities are 10 log10 of the data rate, limited to this on both sides, and then scaled to [-1, 1].
const UTILITY_LIMIT: f64 = 20.0;
/// Numbers of a user in a snapshot, and in an observation.
const STORED: usize = 8;
const OBSERVED: usize = 7;

/// The environment.
#[derive(Clone, Debug)]
pub struct MobileSmall {
    users: [User; USERS],
    steps: u32,
    waypoints: Waypoints,
}

#[derive(Clone, Copy, Debug, Default)]
struct User {
    /// In metres.
    position: [f64; 2],
    /// Where it goes.
    waypoint: [f64; 2],
    /// In [-1, 1], of the last step.
    utility: f64,
    /// The stations it is connected to.
    connected: [bool; 3],
    /// Signal-to-noise ratios at its position.
    signal: [f64; 3],
}

/// Where users will go: a stream of its own, since a step has no other chance in it.
#[derive(Clone, Debug)]
struct Waypoints {
    /// Below 2^53, so that a snapshot holds it.
    seed: u64,
    rng: ChaCha20Rng,
}

impl Waypoints {
    fn new(seed: u64, position: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_word_pos(u128::from(position));
        Self { seed, rng }
    }

    fn next(&mut self) -> [f64; 2] {
        place(&mut self.rng)
    }
}

/// Somewhere in the square.
fn place(rng: &mut ChaCha20Rng) -> [f64; 2] {
    std::array::from_fn(|_| SIDE * uniform(rng))
}

impl Default for MobileSmall {
    fn default() -> Self {
        Self::new()
    }
}

impl MobileSmall {
    /// Users in a corner; `reset` starts an episode.
    pub fn new() -> Self {
        Self { users: [User::default(); USERS], steps: 0, waypoints: Waypoints::new(0, 0) }
    }

    fn observation(&self) -> Vec<f64> {
        let mut seen = Vec::with_capacity(USERS * OBSERVED);
        for User { utility, connected, signal, .. } in &self.users {
            let strongest = signal.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            seen.extend(connected.map(|c| f64::from(u8::from(c))));
            seen.extend(signal.map(|s| s / strongest));
            seen.push(*utility);
        }
        seen.into_iter().map(|v| f64::from(v as f32)).collect()
    }

    /// The choices of an action: 0, or a station counted from 1.
    fn choices(action: &Action) -> Result<[usize; USERS], EnvError> {
        let wrong = || EnvError::Action { id: ID, want: "5 choices from 0 to 3".to_owned(), got: action.describe() };
        match action {
            Action::MultiDiscrete(choices) if choices.iter().all(|&c| c <= STATIONS.len()) => {
                choices.as_slice().try_into().map_err(|_| wrong())
            }
            _ => Err(wrong()),
        }
    }
}

impl User {
    fn at(position: [f64; 2], waypoint: [f64; 2]) -> Self {
        Self { position, waypoint, utility: -1.0, connected: [false; 3], signal: signals(position) }
    }

    /// Lets go of the stations that are out of reach, then connects to the chosen one or leaves it.
    fn connect(&mut self, choice: usize) {
        let reached = self.signal.map(|s| s > REACH);
        self.connected = std::array::from_fn(|i| self.connected[i] && reached[i]);
        if let Some(station) = choice.checked_sub(1) {
            self.connected[station] = !self.connected[station] && reached[station];
        }
    }

    /// Takes a step to the waypoint, whose successor is drawn where it is reached.
    fn walk(&mut self, waypoints: &mut Waypoints) {
        let [x, y] = self.position;
        let way = [self.waypoint[0] - x, self.waypoint[1] - y];
        let distance = libm::sqrt(way[0] * way[0] + way[1] * way[1]);
        self.position = if distance <= STRIDE {
            std::mem::replace(&mut self.waypoint, waypoints.next())
        } else {
            [x + STRIDE * way[0] / distance, y + STRIDE * way[1] / distance]
        };
        self.signal = signals(self.position);
    }
}

/// Signal-to-noise ratios of a user at a position, which counts in whole metres.
fn signals([x, y]: [f64; 2]) -> [f64; 3] {
    let (frequency, height) = (libm::log10(FREQUENCY), libm::log10(HEIGHT));
    let user = 0.8 + (1.1 * frequency - 0.7) * USER_HEIGHT - 1.56 * frequency;
    let fixed = 69.55 - user + 26.16 * frequency - 13.82 * height;
    let slope = 44.9 - 6.55 * height;
    STATIONS.map(|station| {
        let (dx, dy) = (x.trunc() - station[0], y.trunc() - station[1]);
        let loss = fixed + slope * libm::log10(libm::sqrt(dx * dx + dy * dy) + EPSILON);
        libm::pow(10.0, (POWER - loss) / 10.0) / NOISE
    })
}

/// The utility of a data rate in bit/s, scaled to [-1, 1].
fn utility(rate: f64) -> f64 {
    let limited =
        if rate <= 0.0 { -UTILITY_LIMIT } else { (10.0 * libm::log(rate) / std::f64::consts::LN_10).clamp(-UTILITY_LIMIT, UTILITY_LIMIT) };
    2.0 * (limited + UTILITY_LIMIT) / (2.0 * UTILITY_LIMIT) - 1.0
}

impl Environment for MobileSmall {
    fn reset(&mut self, rng: &mut ChaCha20Rng) -> Vec<f64> {
        self.waypoints = Waypoints::new(rng.next_u64() >> 11, 0);
        self.users = std::array::from_fn(|_| User::at(place(rng), self.waypoints.next()));
        self.steps = 0;
        self.observation()
    }

    fn step(&mut self, action: &Action) -> Result<Step, EnvError> {
        let choices = Self::choices(action)?;
        self.users.iter_mut().zip(choices).for_each(|(user, choice)| user.connect(choice));
        // A station's users have equal shares of its time; a user has the sum of what its stations give.
        let served: [usize; 3] = std::array::from_fn(|i| self.users.iter().filter(|user| user.connected[i]).count());
        for user in &mut self.users {
            let rate = |i: usize| if user.connected[i] { BANDWIDTH * libm::log2(1.0 + user.signal[i]) / served[i] as f64 } else { 0.0 };
            user.utility = utility((0..STATIONS.len()).map(rate).sum());
        }
        let reward = self.users.iter().map(|user| user.utility).sum::<f64>() / USERS as f64;
        self.users.iter_mut().for_each(|user| user.walk(&mut self.waypoints));
        self.steps += 1;
        Ok(Step { observation: self.observation(), reward, terminated: false, truncated: self.steps >= LIMIT })
    }

    fn most_steps(&self) -> usize {
        LIMIT as usize
    }

    /// For each user its position, its waypoint, its utility and its connections; the steps, the seed of the waypoints and
    /// how far it was read.
    fn snapshot(&self) -> Vec<f64> {
        let user = |User { position: [x, y], waypoint: [to_x, to_y], utility, connected, .. }: &User| -> [f64; STORED] {
            let [a, b, c] = connected.map(|c| f64::from(u8::from(c)));
            [*x, *y, *to_x, *to_y, *utility, a, b, c]
        };
        let waypoints = [self.waypoints.seed as f64, position(&self.waypoints.rng) as f64];
        self.users.iter().flat_map(user).chain([f64::from(self.steps)]).chain(waypoints).collect()
    }

    fn restore(&mut self, snapshot: &[f64]) -> Result<Vec<f64>, EnvError> {
        let foreign = || EnvError::Snapshot { id: ID.to_owned() };
        let (users, rest) = snapshot.split_at_checked(USERS * STORED).ok_or_else(foreign)?;
        let [steps, seed, read]: [f64; 3] = rest.try_into().map_err(|_| foreign())?;
        let natural = |v: f64, limit: f64| (0.0..=limit).contains(&v) && v.fract() == 0.0;
        let sound = |user: &[f64]| {
            user[..4].iter().all(|v| (0.0..=SIDE).contains(v))
                && (-1.0..=1.0).contains(&user[4])
                && user[5..].iter().all(|&v| natural(v, 1.0))
        };
        let whole = 9_007_199_254_740_991.0;
        if !users.chunks(STORED).all(sound) || !natural(steps, f64::from(LIMIT)) || !natural(seed, whole) || !natural(read, whole) {
            return Err(foreign());
        }
        self.users = std::array::from_fn(|i| {
            let user = &users[i * STORED..(i + 1) * STORED];
            let connected = std::array::from_fn(|j| user[5 + j] == 1.0);
            User { utility: user[4], connected, ..User::at([user[0], user[1]], [user[2], user[3]]) }
        });
        self.steps = steps as u32;
        self.waypoints = Waypoints::new(seed as u64, read as u64);
        Ok(self.observation())
    }
}
