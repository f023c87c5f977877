//! Names, shapes, ranges and secrecy.

pub mod hir;
