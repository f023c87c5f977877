//! `Acrobot-v1`: two links that hang from a joint, and a torque between them that must swing the tip up.
//!
//! The dynamics are those of Gymnasium's `acrobot.py` (Sutton 1996, as the book has them) with links of 1 m, 1 kg and
//! 1 kg m², g = 9.8 m/s², by one fourth-order Runge-Kutta step of 0.2 s, under its 500-step limit.

use std::f64::consts::PI;

use rand_chacha::ChaCha20Rng;

use super::episode::{Dynamics, Episode, Moved};
use super::{Action, EnvError};
use crate::session::random::uniform;

const GRAVITY: f64 = 9.8;
/// Joint to centre of mass; links are twice as long, of mass and moment of inertia 1.
const CENTRE: f64 = 0.5;
const TAU: f64 = 0.2;
/// Largest angular speeds, in rad/s.
const SPEED_LIMITS: [f64; 2] = [4.0 * PI, 9.0 * PI];

/// The environment.
pub type Acrobot = Episode<Links, 4>;

/// The dynamics of the angles, the first from hanging down and the second from the first, and their speeds.
#[derive(Debug)]
pub struct Links;

impl Dynamics<4> for Links {
    const ID: &'static str = "Acrobot-v1";
    const LIMIT: u32 = 500;

    fn start(rng: &mut ChaCha20Rng) -> [f64; 4] {
        std::array::from_fn(|_| f64::from((0.2 * uniform(rng) - 0.1) as f32))
    }

    fn advance(state: [f64; 4], action: &Action) -> Result<Moved<4>, EnvError> {
        let torque = action.choice(Self::ID, 3)? as f64 - 1.0;
        let along = |step: f64, slope: &[f64; 4]| std::array::from_fn(|i| state[i] + step * slope[i]);
        let first = slope(state, torque);
        let second = slope(along(TAU / 2.0, &first), torque);
        let third = slope(along(TAU / 2.0, &second), torque);
        let fourth = slope(along(TAU, &third), torque);
        let mean: [f64; 4] = std::array::from_fn(|i| first[i] + 2.0 * second[i] + 2.0 * third[i] + fourth[i]);
        let [one, two, one_dot, two_dot] = along(TAU / 6.0, &mean);
        let limited = |speed: f64, limit: f64| speed.clamp(-limit, limit);
        let state = [wrapped(one), wrapped(two), limited(one_dot, SPEED_LIMITS[0]), limited(two_dot, SPEED_LIMITS[1])];
        let terminated = -libm::cos(state[0]) - libm::cos(state[1] + state[0]) > 1.0;
        Ok(Moved { state, reward: if terminated { 0.0 } else { -1.0 }, terminated })
    }

    fn observe(&[one, two, one_dot, two_dot]: &[f64; 4]) -> Vec<f64> {
        vec![libm::cos(one), libm::sin(one), libm::cos(two), libm::sin(two), one_dot, two_dot]
    }
}

/// How fast a state changes under a torque.
fn slope([one, two, one_dot, two_dot]: [f64; 4], torque: f64) -> [f64; 4] {
    let (sin, cos) = (libm::sin(two), libm::cos(two));
    let d1 = CENTRE * CENTRE + (1.0 + CENTRE * CENTRE + 2.0 * CENTRE * cos) + 1.0 + 1.0;
    let d2 = (CENTRE * CENTRE + CENTRE * cos) + 1.0;
    let phi2 = CENTRE * GRAVITY * libm::cos(one + two - PI / 2.0);
    let phi1 = -CENTRE * (two_dot * two_dot) * sin - 2.0 * CENTRE * two_dot * one_dot * sin
        + (CENTRE + 1.0) * GRAVITY * libm::cos(one - PI / 2.0)
        + phi2;
    let two_acc = (torque + d2 / d1 * phi1 - CENTRE * (one_dot * one_dot) * sin - phi2) / (CENTRE * CENTRE + 1.0 - d2 * d2 / d1);
    [one_dot, two_dot, -(d2 * two_acc + phi1) / d1, two_acc]
}

/// An angle in [-π, π].
fn wrapped(angle: f64) -> f64 {
    if angle.abs() <= PI { angle } else { (angle + PI).rem_euclid(2.0 * PI) - PI }
}
