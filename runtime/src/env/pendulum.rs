//! `Pendulum-v1`: a pendulum that a torque too weak to lift it swings up.
//!
//! The dynamics are those of Gymnasium's `pendulum.py` with a rod of 1 m and 1 kg, g = 10 m/s², under its semi-implicit
//! Euler integrator and its 200-step limit. An episode never ends by itself.

use std::f64::consts::PI;

use rand_chacha::ChaCha20Rng;

use super::episode::{Dynamics, Episode, Moved};
use super::{Action, EnvError};
use crate::session::random::uniform;

/// 3 g / 2 l, in 1/s².
const PULL: f64 = 15.0;
/// 3 / m l², in 1/(kg m²).
const LEVER: f64 = 3.0;
/// Seconds of a step.
const TAU: f64 = 0.05;
/// Largest angular speed, in rad/s.
const SPEED_LIMIT: f64 = 8.0;
/// Largest torque, in N m; a larger one is cut to it.
const TORQUE_LIMIT: f64 = 2.0;

/// The environment.
pub type Pendulum = Episode<Rod, 2>;

/// The dynamics of the angle, 0 at the top and not wrapped, and the angular speed.
#[derive(Debug)]
pub struct Rod;

impl Dynamics<2> for Rod {
    const ID: &'static str = "Pendulum-v1";
    const LIMIT: u32 = 200;

    fn start(rng: &mut ChaCha20Rng) -> [f64; 2] {
        [PI, 1.0].map(|limit| limit * (2.0 * uniform(rng) - 1.0))
    }

    fn advance([theta, theta_dot]: [f64; 2], action: &Action) -> Result<Moved<2>, EnvError> {
        let [torque] = action.vector(Self::ID)?;
        let torque = torque.clamp(-TORQUE_LIMIT, TORQUE_LIMIT);
        // The cost is that of the state left behind.
        let angle = (theta + PI).rem_euclid(2.0 * PI) - PI;
        let cost = angle * angle + 0.1 * (theta_dot * theta_dot) + 0.001 * (torque * torque);
        let theta_dot = (theta_dot + (PULL * libm::sin(theta) + LEVER * torque) * TAU).clamp(-SPEED_LIMIT, SPEED_LIMIT);
        Ok(Moved { state: [theta + theta_dot * TAU, theta_dot], reward: -cost, terminated: false })
    }

    fn observe(&[theta, theta_dot]: &[f64; 2]) -> Vec<f64> {
        vec![libm::cos(theta), libm::sin(theta), theta_dot]
    }
}
