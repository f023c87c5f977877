//! The text of a program: scanned, parsed, printed.

pub mod ast;
pub mod dump;
pub mod error;
pub mod print;

mod build;
mod expression;
mod parse;
mod recover;
pub(crate) mod scan;

pub use parse::run as parse;
