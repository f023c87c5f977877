//! `CartPole-v1`: a pole on a cart, pushed left or right.
//!
//! The dynamics are those of Gymnasium's `cartpole.py` (Barto, Sutton and Anderson 1983, with the corrections of
//! Florian 2007) under its explicit Euler integrator and its 500-step limit. State is kept in double precision and
//! observations are rounded to single, as Gymnasium does.

use rand_chacha::ChaCha20Rng;

use super::{Action, EnvError, Environment, Step};
use crate::session::random::uniform;

const ID: &str = "CartPole-v1";
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
const STEP_LIMIT: u32 = 500;

/// The environment.
#[derive(Clone, Debug, Default)]
pub struct CartPole {
    /// Position, speed, angle, angular speed.
    state: [f64; 4],
    steps: u32,
}

impl CartPole {
    /// A cart at rest in the middle; `reset` starts an episode.
    pub fn new() -> Self {
        Self::default()
    }

    /// A cart in a given state at the start of an episode.
    pub fn at(state: [f64; 4]) -> Self {
        Self { state, steps: 0 }
    }

    fn observation(&self) -> Vec<f64> {
        self.state.iter().map(|&v| f64::from(v as f32)).collect()
    }
}

impl Environment for CartPole {
    fn reset(&mut self, rng: &mut ChaCha20Rng) -> Vec<f64> {
        *self = Self::at(std::array::from_fn(|_| 0.1 * uniform(rng) - 0.05));
        self.observation()
    }

    fn step(&mut self, action: &Action) -> Result<Step, EnvError> {
        let force = match action {
            Action::Discrete(0) => -FORCE,
            Action::Discrete(1) => FORCE,
            other => return Err(EnvError::Action { id: ID, want: "choice 0 or 1".to_owned(), got: other.describe() }),
        };
        let [x, x_dot, theta, theta_dot] = self.state;
        let (sin, cos) = (libm::sin(theta), libm::cos(theta));
        let push = (force + POLE_MOMENT * (theta_dot * theta_dot) * sin) / TOTAL_MASS;
        let theta_acc = (GRAVITY * sin - cos * push) / (LENGTH * (4.0 / 3.0 - POLE_MASS * (cos * cos) / TOTAL_MASS));
        let x_acc = push - POLE_MOMENT * theta_acc * cos / TOTAL_MASS;
        self.state = [x + TAU * x_dot, x_dot + TAU * x_acc, theta + TAU * theta_dot, theta_dot + TAU * theta_acc];
        self.steps += 1;
        Ok(Step {
            observation: self.observation(),
            reward: 1.0,
            terminated: self.state[0].abs() > TRACK_LIMIT || self.state[2].abs() > ANGLE_LIMIT,
            truncated: self.steps >= STEP_LIMIT,
        })
    }

    fn snapshot(&self) -> Vec<f64> {
        self.state.iter().copied().chain([f64::from(self.steps)]).collect()
    }

    fn restore(&mut self, snapshot: &[f64]) -> Result<Vec<f64>, EnvError> {
        match *snapshot {
            [x, x_dot, theta, theta_dot, steps] if snapshot.iter().all(|v| v.is_finite()) && (0.0..=500.0).contains(&steps) => {
                *self = Self { state: [x, x_dot, theta, theta_dot], steps: steps as u32 };
                Ok(self.observation())
            }
            _ => Err(EnvError::Snapshot { id: ID.to_owned() }),
        }
    }
}
