//! What lowering to TFHE cannot do.

use hecc_plan::Span;

/// An error of this stage; codes HE04xx (and HE0301 for what is not lowered yet).
#[derive(Clone, Debug, PartialEq)]
pub enum TfheError {
    /// HE0301: valid, but not lowered by this version.
    NotSupported {
        /// What.
        what: String,
        /// Where.
        span: Span,
    },
    /// HE0404: integers are too wide for a table.
    TooWide {
        /// Their bits.
        bits: u32,
        /// Bits of the widest table.
        most: u32,
        /// What asks for the table.
        span: Span,
    },
    /// HE0405: no parameters keep the noise small enough.
    Noise {
        /// The widest table or sum.
        bits: u32,
        /// What asks for it.
        span: Span,
    },
}

impl TfheError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            TfheError::NotSupported { .. } => "HE0301",
            TfheError::TooWide { .. } => "HE0404",
            TfheError::Noise { .. } => "HE0405",
        }
    }

    pub(crate) fn unsupported(what: impl Into<String>, span: Span) -> Self {
        TfheError::NotSupported { what: what.into(), span }
    }
}
