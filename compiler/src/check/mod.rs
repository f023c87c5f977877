//! Names, shapes, ranges and secrecy.

pub mod dump;
pub mod error;
pub mod hir;
pub(crate) mod names;

mod arguments;
mod body;
mod builtin;
mod calls;
mod environment;
pub(crate) mod expressions;
mod interval;
mod nets;
mod program;
mod secrecy;
mod settings;
mod train;

pub(crate) use arguments::activation_named;
pub use program::run as check;
