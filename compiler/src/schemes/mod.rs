//! Lowering to a scheme.

pub mod ckks;
pub mod tfhe;
