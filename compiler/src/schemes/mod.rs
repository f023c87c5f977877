//! Lowering to a scheme.

pub mod ckks;
