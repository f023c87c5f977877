//! What lowering to tensors cannot do.

use hecc_plan::Span;

/// An error of this stage; codes HE03xx.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorError {
    /// HE0301: valid, but not lowered by this version.
    NotSupported {
        /// What.
        what: String,
        /// What to write instead, if anything.
        help: Option<String>,
        /// Where.
        span: Span,
    },
    /// HE0302: the loss does not depend on a net it should train.
    NoGradient {
        /// The net.
        net: String,
        /// Where.
        span: Span,
    },
    /// HE0303: a recurrence of an optimiser's that noise or a large gradient throws off.
    Scale {
        /// Which, and why.
        what: String,
        /// The optimiser.
        span: Span,
    },
    /// HE0304: a maximum whose polynomial is further off than rewards are large.
    Coarse {
        /// By how much.
        what: String,
        /// The maximum.
        span: Span,
    },
    /// HE0305: a function without a value for arguments that it gets.
    Undefined {
        /// Which, and what it gets.
        what: String,
        /// The function.
        span: Span,
    },
}

impl TensorError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            TensorError::NotSupported { .. } => "HE0301",
            TensorError::NoGradient { .. } => "HE0302",
            TensorError::Scale { .. } => "HE0303",
            TensorError::Coarse { .. } => "HE0304",
            TensorError::Undefined { .. } => "HE0305",
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>, span: Span) -> Self {
        TensorError::NotSupported { what: what.into(), help: None, span }
    }
}
