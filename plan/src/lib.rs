//! The contract between the compiler and the runtime.

mod span;

pub use span::Span;
