//! `MountainCar-v0`: a car too weak for its hill, which must swing up to the flag.
//!
//! The dynamics are those of Gymnasium's `mountain_car.py` (Moore 1990), with a step for the unit of time, under its
//! 200-step limit.

use rand_chacha::ChaCha20Rng;

use super::episode::{Dynamics, Episode, Moved};
use super::{Action, EnvError};
use crate::session::random::uniform;

const FORCE: f64 = 0.001;
const GRAVITY: f64 = 0.0025;
const SPEED_LIMIT: f64 = 0.07;
/// A wall on the left, which takes the speed; the end of the world on the right.
const TRACK: [f64; 2] = [-1.2, 0.6];
const GOAL: f64 = 0.5;

/// The environment.
pub type MountainCar = Episode<Car, 2>;

/// The dynamics of position and speed.
#[derive(Debug)]
pub struct Car;

impl Dynamics<2> for Car {
    const ID: &'static str = "MountainCar-v0";
    const LIMIT: u32 = 200;

    fn start(rng: &mut ChaCha20Rng) -> [f64; 2] {
        [0.2 * uniform(rng) - 0.6, 0.0]
    }

    fn advance([position, speed]: [f64; 2], action: &Action) -> Result<Moved<2>, EnvError> {
        let push = action.choice(Self::ID, 3)? as f64 - 1.0;
        let speed = (speed + (push * FORCE - libm::cos(3.0 * position) * GRAVITY)).clamp(-SPEED_LIMIT, SPEED_LIMIT);
        let position = (position + speed).clamp(TRACK[0], TRACK[1]);
        let speed = if position == TRACK[0] { speed.max(0.0) } else { speed };
        Ok(Moved { state: [position, speed], reward: -1.0, terminated: position >= GOAL && speed >= 0.0 })
    }

    fn observe(state: &[f64; 2]) -> Vec<f64> {
        state.to_vec()
    }
}
