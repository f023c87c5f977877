//! Failures in words, each with its exit status.

use std::fmt::Display;
use std::path::Path;

use hecc_audit::run::AuditError;
use hecc_plan::PlanFileError;
use hecc_plan::cost::TableError;
use hecc_plan::memory::TooMuch;
use hecc_runtime::arrays::ArraysError;
use hecc_runtime::engine::EngineError;
use hecc_runtime::session::intake::IntakeError;
use hecc_runtime::session::{CheckpointError, SessionError};

/// Whose failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Program,
    Use,
    Machine,
    Interrupted,
}

/// Why the command ends with another status than 0.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
}

impl Failure {
    /// An error in the program, rendered already.
    pub fn program(rendered: String) -> Self {
        Self { kind: Kind::Program, message: rendered }
    }

    /// Wrong use of the command.
    pub fn wrong_use(message: impl Display) -> Self {
        Self { kind: Kind::Use, message: format!("error: {message}") }
    }

    /// A failure of the machine or a peer.
    pub fn machine(message: impl Display) -> Self {
        Self { kind: Kind::Machine, message: format!("error: {message}") }
    }

    /// The user stopped the command.
    pub fn interrupted(message: String) -> Self {
        Self { kind: Kind::Interrupted, message }
    }

    /// A file that cannot be read or written.
    pub fn file(action: &str, path: &Path, error: impl Display) -> Self {
        Self::machine(format!("cannot {action} {}: {error}", path.display()))
    }

    /// A file whose arrays cannot be used.
    pub fn arrays(path: &Path, error: &ArraysError) -> Self {
        Self::coded(Kind::Use, error.code(), format!("{}: {error}", path.display()))
    }

    /// A table of costs that cannot be used.
    pub fn table(path: &Path, error: &TableError) -> Self {
        let kind = if *error == TableError::NotATable { Kind::Use } else { Kind::Machine };
        Self::coded(kind, error.code(), format!("{}: {error}", path.display()))
    }

    /// A program or arrays that no attack can be run on.
    pub fn audit(error: &AuditError) -> Self {
        let kind = if matches!(error, AuditError::Data(_) | AuditError::Arrays(_)) { Kind::Use } else { Kind::Program };
        Self::coded(kind, error.code(), error)
    }

    /// Several failures as one, with the status of the gravest.
    ///
    /// # Errors
    /// If there is any.
    pub fn all(failures: Vec<Failure>) -> Result<(), Failure> {
        match failures.iter().map(|f| f.kind).max() {
            None => Ok(()),
            Some(kind) => {
                let messages: Vec<String> = failures.into_iter().map(|f| f.message).collect();
                Err(Self { kind, message: messages.join("\n") })
            }
        }
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        match self.kind {
            Kind::Program => 1,
            Kind::Use => 2,
            Kind::Machine => 3,
            Kind::Interrupted => 130,
        }
    }

    /// What to tell the user.
    pub fn message(&self) -> &str {
        &self.message
    }

    fn coded(kind: Kind, code: &str, message: impl Display) -> Self {
        Self { kind, message: format!("error[{code}]: {message}") }
    }
}

impl From<PlanFileError> for Failure {
    fn from(error: PlanFileError) -> Self {
        let kind = if matches!(error, PlanFileError::NotAPlan) { Kind::Use } else { Kind::Machine };
        Self::coded(kind, error.code(), error)
    }
}

impl From<TooMuch> for Failure {
    fn from(error: TooMuch) -> Self {
        Self::coded(Kind::Program, error.code(), error)
    }
}

impl From<IntakeError> for Failure {
    fn from(error: IntakeError) -> Self {
        Self::coded(Kind::Use, error.code(), error)
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let kind = match error {
            EngineError::Array(_) | EngineError::Batch { .. } | EngineError::NotFinite { .. } => Kind::Use,
            EngineError::Diverged { .. } | EngineError::Range(_) | EngineError::TooLarge { .. } => Kind::Program,
            EngineError::Plan(_)
            | EngineError::Message(_)
            | EngineError::Key(_)
            | EngineError::Library { .. }
            | EngineError::Turn(_)
            | EngineError::Entropy(_) => Kind::Machine,
        };
        Self::coded(kind, error.code(), error)
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        let code = error.code();
        match error {
            SessionError::Engine(error) => error.into(),
            SessionError::Checkpoint(error) => error.into(),
            SessionError::Settings(_)
            | SessionError::OutOfRange(_)
            | SessionError::Escaped(_)
            | SessionError::Widen(_)
            | SessionError::Outgrown(_)
            | SessionError::Clipped(_)
            | SessionError::Env(_)
            | SessionError::Clear(_) => Self::coded(Kind::Program, code, error),
        }
    }
}

impl From<CheckpointError> for Failure {
    fn from(error: CheckpointError) -> Self {
        let kind = match error {
            CheckpointError::OtherPlan { .. } | CheckpointError::Exists { .. } => Kind::Use,
            CheckpointError::NotACheckpoint { .. }
            | CheckpointError::Version { .. }
            | CheckpointError::Damaged { .. }
            | CheckpointError::Io { .. } => Kind::Machine,
        };
        Self::coded(kind, error.code(), error)
    }
}
