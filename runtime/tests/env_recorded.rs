//! The native environments against episodes recorded from the Python originals (`tests/tools/record_control.py`).

use hecc_runtime::env::{Action, Car, Dynamics, Environment, Episode, Links, Rod, make};
use hecc_runtime::session::random::{Purpose, stream};
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Deserialize)]
struct Recording<A> {
    episodes: Vec<Recorded<A>>,
}

#[derive(Deserialize)]
struct Recorded<A> {
    seed: u64,
    states: Vec<Vec<f64>>,
    first: Vec<f64>,
    actions: Vec<A>,
    observations: Vec<Vec<f64>>,
    rewards: Vec<f64>,
    terminated: bool,
    truncated: bool,
}

/// Steps between two states of a recording.
const EVERY: usize = 25;

/// Observations are single precision: one unit in the last place is 1.2e-7 of the value.
fn close(ours: &[f64], theirs: &[f64]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 2e-7 * b.abs().max(1.0))
}

/// Steps `D` through the episodes of a fixture, whose rewards are in double precision.
fn replays<D: Dynamics<N>, const N: usize, A: DeserializeOwned>(fixture: &str, action: fn(&A) -> Action) {
    let recording: Recording<A> = serde_json::from_str(fixture).expect("the fixture parses");
    assert_eq!(recording.episodes.len(), 4);
    for episode in recording.episodes {
        let seed = episode.seed;
        let mut env = Episode::<D, N>::new();
        let last = episode.actions.len() - 1;
        for (i, taken) in episode.actions.iter().enumerate() {
            if i % EVERY == 0 {
                let snapshot = [episode.states[i / EVERY].as_slice(), &[i as f64]].concat();
                let seen = env.restore(&snapshot).expect("a state and its step");
                let before = if i == 0 { &episode.first } else { &episode.observations[i - 1] };
                assert!(close(&seen, before), "seed {seed} before step {i}: {seen:?} is not {before:?}");
            }
            let step = env.step(&action(taken)).expect("a legal action");
            let (seen, reward) = (&episode.observations[i], episode.rewards[i]);
            assert!(close(&step.observation, seen), "seed {seed} step {i}: {:?} is not {seen:?}", step.observation);
            assert!((step.reward - reward).abs() <= 1e-9, "seed {seed} step {i}: {} is not {reward}", step.reward);
            assert_eq!(step.terminated, episode.terminated && i == last, "seed {seed} step {i}");
            assert_eq!(step.truncated, episode.truncated && i == last, "seed {seed} step {i}");
        }
    }
}

/// The smallest and largest number of each element over the first observations of many episodes.
fn starts(id: &str) -> Vec<[f64; 2]> {
    let (mut env, mut rng) = (make(id).expect("built in"), stream(0, Purpose::Environments));
    let mut reach: Vec<[f64; 2]> = Vec::new();
    for _ in 0..4000 {
        let seen = env.reset(&mut rng);
        reach.resize(seen.len(), [f64::INFINITY, f64::NEG_INFINITY]);
        for ([low, high], v) in reach.iter_mut().zip(seen) {
            (*low, *high) = (low.min(v), high.max(v));
        }
    }
    reach
}

/// Whether the starts fill `range` and stay within it.
fn fills([low, high]: [f64; 2], range: [f64; 2]) -> bool {
    let slack = 0.005 * (range[1] - range[0]);
    (range[0]..range[0] + slack).contains(&low) && (range[1] - slack..=range[1]).contains(&high)
}

#[test]
fn pendulum_is_gymnasiums() {
    let fixture = include_str!("../../tests/fixtures/pendulum.json");
    replays::<Rod, 2, Vec<f64>>(fixture, |torque| Action::Continuous(torque.clone()));
    let [cos, sin, speed] = starts("Pendulum-v1").try_into().expect("three numbers");
    assert!(fills(cos, [-1.0, 1.0]) && fills(sin, [-1.0, 1.0]) && fills(speed, [-1.0, 1.0]), "{cos:?} {sin:?} {speed:?}");
    let mut env = make("Pendulum-v1").expect("built in");
    for wrong in [Action::Discrete(0), Action::Continuous(vec![0.0; 2]), Action::Continuous(vec![f64::NAN])] {
        assert_eq!(env.step(&wrong).expect_err("not a torque").code(), "HE0642");
    }
}

#[test]
fn mountain_car_is_gymnasiums() {
    let fixture = include_str!("../../tests/fixtures/mountaincar.json");
    replays::<Car, 2, usize>(fixture, |&choice| Action::Discrete(choice));
    let [position, speed] = starts("MountainCar-v0").try_into().expect("two numbers");
    assert!(fills(position, [f64::from(-0.6f32), f64::from(-0.4f32)]) && speed == [0.0, 0.0], "{position:?} {speed:?}");
    assert_eq!(make("MountainCar-v0").expect("built in").step(&Action::Discrete(3)).expect_err("no push").code(), "HE0642");
}

#[test]
fn acrobot_is_gymnasiums() {
    let fixture = include_str!("../../tests/fixtures/acrobot.json");
    replays::<Links, 4, usize>(fixture, |&choice| Action::Discrete(choice));
    let seen = starts("Acrobot-v1");
    let [low, high] = [f64::from(-0.1f32), f64::from(0.1f32)];
    for sin in [1, 3] {
        assert!(fills(seen[sin].map(f64::asin), [low - 1e-7, high + 1e-7]), "{seen:?}");
    }
    assert!(fills(seen[4], [low, high]) && fills(seen[5], [low, high]), "{seen:?}");
}

#[test]
fn stored_states_of_others_are_refused() {
    let mut env = make("Acrobot-v1").expect("built in");
    for wrong in [&[][..], &[0.0; 4], &[0.0; 6], &[0.0, 0.0, 0.0, f64::NAN, 0.0], &[0.0, 0.0, 0.0, 0.0, 501.0]] {
        assert_eq!(env.restore(wrong).expect_err("not a state").code(), "HE0644");
    }
    assert!(env.restore(&[0.0, 0.0, 0.0, 0.0, 500.0]).is_ok());
}

#[derive(Deserialize)]
struct Walks {
    episodes: Vec<Walk>,
}

/// An episode of `mobile-small-central-v0` (`tests/tools/record_mobile.py`).
#[derive(Deserialize)]
struct Walk {
    /// Where users stand at first.
    starts: Vec<[f64; 2]>,
    /// The step before which a waypoint was drawn, the user it is for, and the waypoint.
    waypoints: Vec<(usize, usize, f64, f64)>,
    first: Vec<f64>,
    actions: Vec<Vec<usize>>,
    observations: Vec<Vec<f64>>,
    rewards: Vec<f64>,
    truncated: bool,
}

#[test]
fn users_walk_and_connect_as_in_mobile_env() {
    let recording: Walks = serde_json::from_str(include_str!("../../tests/fixtures/mobile.json")).expect("the fixture parses");
    assert_eq!(recording.episodes.len(), 2);
    for (number, episode) in recording.episodes.into_iter().enumerate() {
        let mut env = make("mobile-small-central-v0").expect("built in");
        env.reset(&mut stream(0, Purpose::Environments));
        let mut stored = env.snapshot();
        for (user, [x, y]) in stored.chunks_mut(8).zip(episode.starts) {
            (user[0], user[1]) = (x, y);
        }
        let close = |ours: &[f64], theirs: &[f64]| ours.len() == 35 && ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 1e-9);
        let seen = env.restore(&stored).expect("a state");
        assert!(close(&seen, &episode.first), "episode {number}: {seen:?} is not {:?}", episode.first);
        let last = episode.actions.len() - 1;
        assert!(last == 99 && episode.truncated);
        for (i, action) in episode.actions.iter().enumerate() {
            // Waypoints go where the original drew them, instead of what was drawn here.
            let mut stored = env.snapshot();
            for &(_, user, x, y) in episode.waypoints.iter().filter(|drawn| drawn.0 == i) {
                (stored[8 * user + 2], stored[8 * user + 3]) = (x, y);
            }
            env.restore(&stored).expect("a state");
            let step = env.step(&Action::MultiDiscrete(action.clone())).expect("a legal action");
            let seen = &episode.observations[i];
            assert!(close(&step.observation, seen), "episode {number} step {i}: {:?} is not {seen:?}", step.observation);
            assert!((step.reward - episode.rewards[i]).abs() <= 1e-9, "episode {number} step {i}: {}", step.reward);
            assert_eq!((step.terminated, step.truncated), (false, i == last), "episode {number} step {i}");
        }
    }
}

#[test]
fn stored_walks_go_on_as_they_would_have() {
    let mut env = make("mobile-small-central-v0").expect("built in");
    let mut rng = stream(1, Purpose::Environments);
    let first = env.reset(&mut rng);
    assert_ne!(first, env.reset(&mut rng), "another episode, another start");
    let mut other = make("mobile-small-central-v0").expect("built in");
    let mut reached = 0;
    for step in 0..100 {
        let action = Action::MultiDiscrete((0..5).map(|user| (step + user) % 4).collect());
        let before = env.snapshot();
        other.restore(&before).expect("a state");
        let seen = env.step(&action).expect("a legal action");
        assert_eq!(seen, other.step(&action).expect("a legal action"));
        assert_eq!(env.snapshot(), other.snapshot(), "waypoints that are still to be drawn too");
        reached += usize::from(before[42] != env.snapshot()[42]);
    }
    assert!(reached > 0, "no waypoint was reached");
    let sound = env.snapshot();
    for (at, wrong) in [(0, 200.5), (2, f64::NAN), (4, 2.0), (5, 0.5), (40, 101.0), (41, 0.5), (42, -1.0)] {
        let mut stored = sound.clone();
        stored[at] = wrong;
        assert_eq!(env.restore(&stored).expect_err("not a state").code(), "HE0644", "{wrong} at {at}");
    }
    assert!(env.restore(&sound[1..]).is_err() && env.restore(&[]).is_err());
    for wrong in [Action::Discrete(0), Action::MultiDiscrete(vec![0; 4]), Action::MultiDiscrete(vec![0, 0, 0, 0, 4])] {
        assert_eq!(env.step(&wrong).expect_err("not its action").code(), "HE0642");
    }
}

#[test]
fn users_start_anywhere() {
    let mut env = make("mobile-small-central-v0").expect("built in");
    let mut rng = stream(2, Purpose::Environments);
    let stored: Vec<Vec<f64>> = (0..2000)
        .map(|_| {
            env.reset(&mut rng);
            env.snapshot()
        })
        .collect();
    for user in 0..5 {
        for part in 0..4 {
            let values = stored.iter().map(|s| s[8 * user + part]);
            let reach = values.clone().fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], v| [low.min(v), high.max(v)]);
            let mean = values.sum::<f64>() / 2000.0;
            assert!(fills(reach, [0.0, 200.0]) && (mean - 100.0).abs() < 6.0, "user {user} part {part}: {reach:?}, {mean}");
        }
    }
}
