//! Executes plans.

pub mod arrays;
pub mod calibrate;
mod ckks;
mod clear;
pub mod engine;
mod entropy;
pub mod env;
pub mod integers;
pub mod session;
#[cfg_attr(not(test), expect(dead_code, reason = "no plan asks for lookups yet"))]
mod tfhe;
pub mod wire;
