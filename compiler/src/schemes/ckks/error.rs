//! What lowering to CKKS cannot do.

use hecc_plan::Span;

/// An error of this stage; codes HE04xx (and HE0301 for what is not lowered yet).
#[derive(Clone, Debug, PartialEq)]
pub enum CkksError {
    /// HE0301: valid, but not lowered by this version.
    NotSupported {
        /// What.
        what: String,
        /// What to write instead, where there is something.
        help: Option<&'static str>,
        /// Where.
        span: Span,
    },
    /// HE0401: an operation that only the client can compute.
    NeedsClient {
        /// Which.
        what: &'static str,
        /// Where.
        span: Span,
    },
    /// HE0402: no supported ring has the budget.
    Budget {
        /// Bits that the program needs.
        needed: u32,
        /// Bits that the largest supported ring has.
        available: u32,
        /// The deepest step.
        span: Span,
    },
    /// HE0403: a vector is longer than a ciphertext.
    TooWide {
        /// Its length.
        width: usize,
        /// The longest supported.
        limit: usize,
        /// Where.
        span: Span,
    },
    /// HE0403: the matrix of a convolution has more diagonals than anybody wants to multiply.
    TooLarge {
        /// Numbers that come out, and that go in.
        size: (usize, usize),
        /// Its diagonals.
        diagonals: usize,
        /// The most supported.
        limit: usize,
        /// Where.
        span: Span,
    },
}

impl CkksError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            CkksError::NotSupported { .. } => "HE0301",
            CkksError::NeedsClient { .. } => "HE0401",
            CkksError::Budget { .. } => "HE0402",
            CkksError::TooWide { .. } | CkksError::TooLarge { .. } => "HE0403",
        }
    }
}
