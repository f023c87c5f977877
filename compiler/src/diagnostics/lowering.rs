//! Words for errors of lowering: tensors (HE03xx), CKKS and TFHE (HE04xx).

use hecc_plan::Span;

use super::Diagnostic;
use crate::schemes::ckks::CkksError;
use crate::schemes::tfhe::TfheError;
use crate::tensor::TensorError;

fn not_supported(what: &str, help: Option<&str>, span: Span) -> Diagnostic {
    let diagnostic = Diagnostic::error("HE0301", format!("not supported yet: {what}"), span).here("this version cannot lower it");
    match help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

impl From<&TensorError> for Diagnostic {
    fn from(error: &TensorError) -> Self {
        match error {
            TensorError::NotSupported { what, help, span } => not_supported(what, help.as_deref(), *span),
            TensorError::NoGradient { net, span } => {
                Diagnostic::error(error.code(), format!("the loss does not depend on `{net}`, so there is nothing to train"), *span)
                    .help("a value in stop(...) passes no gradient; `old(...)` and copies are other networks")
            }
            TensorError::Scale { what, span } | TensorError::Coarse { what, span } => Diagnostic::error(error.code(), what, *span),
            TensorError::Undefined { what, span } => Diagnostic::error(error.code(), what, *span)
                .help("keep the argument where there is one, as in `log(clip(x, 0.1, 2))`, or pin an interval: `log(x, range: [0.1, 2])`"),
        }
    }
}

impl From<&CkksError> for Diagnostic {
    fn from(error: &CkksError) -> Self {
        match error {
            CkksError::NotSupported { what, help, span } => not_supported(what, *help, *span),
            CkksError::NeedsClient { what, span } => {
                Diagnostic::error(error.code(), format!("`{what}` of a secret value has no circuit in CKKS"), *span)
                    .help(format!("let the key owner compute it: `client = [{what}]` in `secure ckks {{ ... }}`"))
            }
            CkksError::Budget { needed, available, span } => Diagnostic::error(
                error.code(),
                format!("one update needs ciphertexts of {needed} bits, and the largest ring has {available} at this security level"),
                *span,
            )
            .here("this is the deepest step")
            .help("pin lower degrees (`silu(degree: 7)`), use fewer layers, or hand an operation to the client (`client = [max]`)"),
            CkksError::TooLarge { size: (output, input), diagonals, limit, span } => {
                let what = format!(
                    "a convolution from {input} to {output} numbers is a matrix of {diagonals} diagonals, a ciphertext each (at most {limit})"
                );
                Diagnostic::error(error.code(), what, *span).help("use a smaller picture, fewer channels or a larger stride")
            }
            CkksError::TooWide { width, limit, span } => Diagnostic::error(
                error.code(),
                format!("a vector of length {width} does not fit a ciphertext (at most {limit})"),
                *span,
            )
            .help("use narrower layers; an image has channels × height × width numbers, fewer with a larger stride or a smaller picture"),
        }
    }
}

impl From<&TfheError> for Diagnostic {
    fn from(error: &TfheError) -> Self {
        match error {
            TfheError::NotSupported { what, span } => not_supported(what, None, *span),
            TfheError::TooWide { bits, most, span } => {
                Diagnostic::error(error.code(), format!("a table of integers of {bits} bits is too large (at most {most})"), *span)
                    .help("ask for fewer bits: `quantize = w4 a4` in `secure tfhe { ... }`")
            }
            TfheError::Noise { bits, span } => {
                let what = format!("no parameters keep the noise of integers of {bits} bits below one failure in 2^64");
                Diagnostic::error(error.code(), what, *span)
                    .here("the widest integers are here")
                    .help("ask for fewer bits (`quantize = w4 a4`), a smaller batch or narrower layers: sums of many products are wide")
            }
        }
    }
}
