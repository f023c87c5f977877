//! What a planner cannot do.
//!
//! No user sees these errors, so they have no codes: the lowering asks for a placement beside one that it has already, and
//! does without where there is none; that a program is too deep is said by `CkksError::Budget`, with its place in the source.

use super::Bits;

/// Why there is no plan.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PlannerError {
    /// A cost table that is empty, unordered, or falls.
    #[error("a cost must have at least one point, and neither fall nor be negative as the budget grows")]
    NotACurve,
    /// A decay matrix of another size than the list of carried values.
    #[error("the decay matrix must have a row and a column for each carried value")]
    NotSquare,
    /// No offer fits into memory.
    #[error("no refresh fits into the memory allowed")]
    NoOffer,
    /// One update spends more than any refresh gives.
    #[error("one update needs {needs} of `{value}`, and no refresh leaves more than {output}")]
    TooDeep {
        /// The value.
        value: String,
        /// Bits it must have before an update.
        needs: Bits,
        /// Bits that the nearest offer leaves.
        output: Bits,
    },
    /// An operation, or an output, that asks for more than any bootstraps before it can give.
    #[error("operation {node} needs {needs}, and has {most} at most, whatever is bootstrapped before it")]
    Unplaceable {
        /// The operation, by index.
        node: usize,
        /// Bits it must have.
        needs: Bits,
        /// Bits it can have.
        most: Bits,
    },
    /// A placement exists, but the search, limited on large graphs, came upon none.
    #[error("no placement of bootstraps was found among those tried")]
    NoPlacement,
}
