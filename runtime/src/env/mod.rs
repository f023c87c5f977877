//! Environments, under the names Gymnasium gives them.

mod acrobot;
mod action;
mod cartpole;
mod episode;
mod mobile;
mod mountaincar;
mod pendulum;

pub use acrobot::{Acrobot, Links};
pub use action::{Action, width};
pub use cartpole::{Cart, CartPole};
pub use episode::{Dynamics, Episode, Moved};
pub use mobile::MobileSmall;
pub use mountaincar::{Car, MountainCar};
pub use pendulum::{Pendulum, Rod};
use rand_chacha::ChaCha20Rng;

/// A simulator that the client steps. One value is one episode after another; randomness comes from the caller, so that
/// a run repeats from its seed.
pub trait Environment: Send {
    /// Starts an episode and returns its first observation: the values of all `observe` lines, one after another.
    fn reset(&mut self, rng: &mut ChaCha20Rng) -> Vec<f64>;

    /// Takes one step.
    ///
    /// # Errors
    /// [`EnvError::Action`] if the action is not of this environment's kind.
    fn step(&mut self, action: &Action) -> Result<Step, EnvError>;

    /// Steps after which an episode is cut at the latest.
    fn most_steps(&self) -> usize;

    /// Everything the next step depends on, for a checkpoint.
    fn snapshot(&self) -> Vec<f64>;

    /// Takes up a [`Self::snapshot`] again and returns the observation that belongs to it.
    ///
    /// # Errors
    /// [`EnvError::Snapshot`] if the numbers cannot be a snapshot of this environment.
    fn restore(&mut self, snapshot: &[f64]) -> Result<Vec<f64>, EnvError>;
}

/// What a step brings.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The observation after it.
    pub observation: Vec<f64>,
    /// The reward.
    pub reward: f64,
    /// The episode ended by itself: there is nothing to gain from here on.
    pub terminated: bool,
    /// The episode was cut by a time limit.
    pub truncated: bool,
}

/// What is wrong with the use of an environment.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EnvError {
    /// HE0641.
    #[error("no environment `{id}` is built in (there is {}); the program can still `hecc run` on data it is given", BUILT_IN.join(", "))]
    Unknown {
        /// The name asked for.
        id: String,
    },
    /// HE0642.
    #[error("`{id}` takes {want}, and the program gives {got}")]
    Action {
        /// The environment.
        id: &'static str,
        /// What it takes.
        want: String,
        /// What it was given.
        got: String,
    },
    /// HE0643.
    #[error("`{id}` observes {want} numbers, and the program declares {got}")]
    Observation {
        /// The environment.
        id: String,
        /// Numbers of an observation.
        want: usize,
        /// Numbers of the `observe` lines.
        got: usize,
    },
    /// HE0644.
    #[error("the stored state of `{id}` is not one of that environment")]
    Snapshot {
        /// The environment.
        id: String,
    },
}

impl EnvError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            EnvError::Unknown { .. } => "HE0641",
            EnvError::Action { .. } => "HE0642",
            EnvError::Observation { .. } => "HE0643",
            EnvError::Snapshot { .. } => "HE0644",
        }
    }
}

/// Names of the environments that need no simulator of the user's.
pub const BUILT_IN: &[&str] = &["CartPole-v1", "Pendulum-v1", "MountainCar-v0", "Acrobot-v1", "mobile-small-central-v0"];

/// Makes an environment by Gymnasium's name.
///
/// # Errors
/// [`EnvError::Unknown`].
pub fn make(id: &str) -> Result<Box<dyn Environment>, EnvError> {
    match id {
        "CartPole-v1" => Ok(Box::new(CartPole::new())),
        "Pendulum-v1" => Ok(Box::new(Pendulum::new())),
        "MountainCar-v0" => Ok(Box::new(MountainCar::new())),
        "Acrobot-v1" => Ok(Box::new(Acrobot::new())),
        "mobile-small-central-v0" => Ok(Box::new(MobileSmall::new())),
        _ => Err(EnvError::Unknown { id: id.to_owned() }),
    }
}
