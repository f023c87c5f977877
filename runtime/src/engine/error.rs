//! What can go wrong in a run.

use hecc_plan::clear::ClearError;

use crate::wire::WireError;

/// A value that is larger than its ciphertext has room for, or near enough that it may have wrapped around.
#[derive(Clone, Debug, PartialEq)]
pub struct Outgrown {
    /// Which state or result; of what comes back in between, what asked for it.
    pub name: String,
    /// The first one.
    pub value: f64,
    /// The largest that is trusted.
    pub limit: f64,
    /// The source that asked for it.
    pub span: hecc_plan::Span,
}

impl std::fmt::Display for Outgrown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, value, limit, .. } = self;
        write!(f, "`{name}` holds {value}, beyond the ±{limit} that its ciphertext has room for")
    }
}

/// Why an update could not run. The states are those of before.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// HE05xx.
    #[error("the plan is inconsistent: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Plan(Vec<hecc_plan::check::PlanError>),
    /// HE0601.
    #[error("{0}")]
    Array(String),
    /// HE0602.
    #[error("`{name}` has {got} samples, where the plan's batch has {want}")]
    Batch {
        /// Which array.
        name: String,
        /// Its samples.
        got: usize,
        /// The plan's.
        want: usize,
    },
    /// HE0603 to HE0605.
    #[error(transparent)]
    Message(#[from] WireError),
    /// HE0606.
    #[error("the server lacks the {0}")]
    Key(String),
    /// HE0607.
    #[error("the cryptographic library failed in {place}: {reason}")]
    Library {
        /// `step 12 (dot)`, ...
        place: String,
        /// What it said.
        reason: String,
    },
    /// HE0608.
    #[error("`{name}` holds a value that is not a finite number (sample {sample})")]
    NotFinite {
        /// Which array.
        name: String,
        /// Index of the sample.
        sample: usize,
    },
    /// HE0613.
    #[error("{0}; what follows would be wrong")]
    Range(Outgrown),
    /// HE0609.
    #[error("training diverged: `{name}` holds {value}")]
    Diverged {
        /// Which state.
        name: String,
        /// The value.
        value: f64,
    },
    /// HE0610.
    #[error("{what} holds {value:e}, which does not fit into {budget} bits beside the scale")]
    TooLarge {
        /// Which input or plaintext.
        what: String,
        /// The largest value.
        value: f64,
        /// Bits over the scale.
        budget: u32,
    },
    /// HE0611.
    #[error("a message came out of turn: {0}")]
    Turn(&'static str),
    /// HE0612.
    #[error("the operating system has no random numbers: {0}")]
    Entropy(String),
}

impl EngineError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            EngineError::Plan(errors) => errors.first().map_or("HE0501", hecc_plan::check::PlanError::code),
            EngineError::Array(_) => "HE0601",
            EngineError::Batch { .. } => "HE0602",
            EngineError::Message(WireError::Fingerprint { .. }) => "HE0603",
            EngineError::Message(WireError::NotAMessage | WireError::Truncated { .. } | WireError::Damaged(_)) => "HE0604",
            EngineError::Message(WireError::Version(_)) => "HE0605",
            EngineError::Key(_) => "HE0606",
            EngineError::Library { .. } => "HE0607",
            EngineError::NotFinite { .. } => "HE0608",
            EngineError::Diverged { .. } => "HE0609",
            EngineError::Range(_) => "HE0613",
            EngineError::TooLarge { .. } => "HE0610",
            EngineError::Turn(_) => "HE0611",
            EngineError::Entropy(_) => "HE0612",
        }
    }
}

impl From<ClearError> for EngineError {
    fn from(error: ClearError) -> Self {
        match error {
            ClearError::NotFinite { name, sample } => EngineError::NotFinite { name, sample },
            ClearError::Missing { .. } | ClearError::Shape { .. } | ClearError::Inconsistent(_) => EngineError::Array(error.to_string()),
        }
    }
}

impl From<hecc_plan::oracle::MissingPublic> for EngineError {
    fn from(error: hecc_plan::oracle::MissingPublic) -> Self {
        EngineError::Array(error.to_string())
    }
}
