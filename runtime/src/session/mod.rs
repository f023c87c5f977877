//! The client's side of training: gathering transitions, drawing batches, acting, evaluating, and what is kept on disk.

pub mod checkpoint;
pub mod collect;
pub mod curve;
pub mod intake;
pub mod policy;
pub mod random;
pub mod ranges;
pub mod replay;
mod report;
pub mod returns;
mod run;
mod settings;
pub mod store;

pub use checkpoint::{Acted, Checkpoint, CheckpointError, Totals};
pub use curve::Point;
pub use policy::{Acting, Served};
pub use report::{Evaluating, Event, Outcome, Progress};
pub use run::{Session, WEIGHTS};
pub use settings::Settings;

use hecc_plan::Tensors;
use hecc_plan::clear::ClearError;

use crate::engine::{Engine, EngineError, Outgrown, Update};
use crate::env::EnvError;
use crate::integers::Clipped;

/// What runs an update: the engine, or a stand-in of a test.
pub trait Updater {
    /// One update of `states` on `batch`.
    ///
    /// # Errors
    /// [`EngineError`]; the states are then as before.
    fn update(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Update, EngineError>;

    /// Brings `states` up to date where others carry them.
    ///
    /// # Errors
    /// [`EngineError`]; the states are then as before.
    fn fetch(&mut self, _states: &mut Tensors) -> Result<(), EngineError> {
        Ok(())
    }

    /// Says that the states of the next update are new.
    fn forget(&mut self) {}
}

impl Updater for Engine {
    fn update(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Update, EngineError> {
        Engine::update(self, batch, states)
    }

    fn fetch(&mut self, states: &mut Tensors) -> Result<(), EngineError> {
        Engine::fetch(self, states)
    }

    fn forget(&mut self) {
        Engine::forget(self);
    }
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// HE0671.
    #[error("{0}")]
    Settings(String),
    /// HE0672.
    #[error("{0}; the run was asked to stop rather than clip it")]
    OutOfRange(ranges::OutOfRange),
    /// HE0672.
    #[error("{0}; the run was asked to stop rather than go on")]
    Escaped(ranges::Reach),
    /// HE0672.
    #[error("{}; a plan with wider intervals goes on from the checkpoint", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Widen(Vec<ranges::Reach>),
    /// HE0613.
    #[error("{0}; a plan with more room goes on from the checkpoint")]
    Outgrown(Outgrown),
    /// HE0672.
    #[error("{0}; the run was asked to stop rather than clip them")]
    Clipped(Clipped),
    /// HE064x.
    #[error(transparent)]
    Env(#[from] EnvError),
    /// HE0601 or HE0608.
    #[error("the client's program failed: {0}")]
    Clear(#[from] ClearError),
    /// HE060x.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// HE066x.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl SessionError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            SessionError::Settings(_) => "HE0671",
            SessionError::OutOfRange(_) | SessionError::Escaped(_) | SessionError::Widen(_) | SessionError::Clipped(_) => "HE0672",
            SessionError::Outgrown(_) => "HE0613",
            SessionError::Env(error) => error.code(),
            SessionError::Clear(ClearError::NotFinite { .. }) => "HE0608",
            SessionError::Clear(_) => "HE0601",
            SessionError::Engine(error) => error.code(),
            SessionError::Checkpoint(error) => error.code(),
        }
    }
}
