//! Executes plans.

pub mod arrays;
pub mod calibrate;
mod ckks;
mod clear;
pub mod engine;
pub mod env;
pub mod integers;
pub mod session;
pub mod wire;
