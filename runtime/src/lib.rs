//! Executes plans.

pub mod arrays;
mod ckks;
mod clear;
pub mod engine;
pub mod env;
pub mod session;
pub mod wire;
