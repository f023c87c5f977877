//! From a reinforcement-learning program to a homomorphic-encryption plan.

pub mod check;
