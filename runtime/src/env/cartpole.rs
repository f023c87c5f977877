//! `CartPole-v1`: a pole on a cart, pushed left or right.
//!
//! The dynamics are those of Gymnasium's `cartpole.py` (Barto, Sutton and Anderson 1983, with the corrections of
//! Florian 2007) under its explicit Euler integrator and its 500-step limit.

use rand_chacha::ChaCha20Rng;

use super::episode::{Dynamics, Episode, Moved};
use super::{Action, EnvError};
use crate::session::random::uniform;

const GRAVITY: f64 = 9.8;
const POLE_MASS: f64 = 0.1;
const TOTAL_MASS: f64 = 1.0 + POLE_MASS;
/// Half of the pole's length.
const LENGTH: f64 = 0.5;
const POLE_MOMENT: f64 = POLE_MASS * LENGTH;
const FORCE: f64 = 10.0;
const TAU: f64 = 0.02;
const ANGLE_LIMIT: f64 = 12.0 * 2.0 * std::f64::consts::PI / 360.0;
const TRACK_LIMIT: f64 = 2.4;

/// The environment.
pub type CartPole = Episode<Cart, 4>;

/// The dynamics of position, speed, angle and angular speed.
#[derive(Debug)]
pub struct Cart;

impl Dynamics<4> for Cart {
    const ID: &'static str = "CartPole-v1";
    const LIMIT: u32 = 500;

    fn start(rng: &mut ChaCha20Rng) -> [f64; 4] {
        std::array::from_fn(|_| 0.1 * uniform(rng) - 0.05)
    }

    fn advance([x, x_dot, theta, theta_dot]: [f64; 4], action: &Action) -> Result<Moved<4>, EnvError> {
        let force = if action.choice(Self::ID, 2)? == 0 { -FORCE } else { FORCE };
        let (sin, cos) = (libm::sin(theta), libm::cos(theta));
        let push = (force + POLE_MOMENT * (theta_dot * theta_dot) * sin) / TOTAL_MASS;
        let theta_acc = (GRAVITY * sin - cos * push) / (LENGTH * (4.0 / 3.0 - POLE_MASS * (cos * cos) / TOTAL_MASS));
        let x_acc = push - POLE_MOMENT * theta_acc * cos / TOTAL_MASS;
        let state = [x + TAU * x_dot, x_dot + TAU * x_acc, theta + TAU * theta_dot, theta_dot + TAU * theta_acc];
        Ok(Moved { state, reward: 1.0, terminated: state[0].abs() > TRACK_LIMIT || state[2].abs() > ANGLE_LIMIT })
    }

    fn observe(state: &[f64; 4]) -> Vec<f64> {
        state.to_vec()
    }
}
