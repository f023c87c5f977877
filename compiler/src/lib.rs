//! From a reinforcement-learning program to a homomorphic-encryption plan.

mod acting;
pub mod approximation;
pub mod check;
pub mod denominators;
pub mod diagnostics;
mod emit;
pub mod front;
pub mod inspection;
pub mod library;
pub mod passes;
pub mod pipeline;
pub mod planner;
pub mod rehearsal;
pub mod schemes;
pub mod step_size;
pub mod syntax;
pub mod tensor;
pub mod tracking;

pub use emit::fingerprint;
pub use front::{check, format, parse, std_source};
pub use pipeline::{AnyCompiled, Compiled, MemoryLimit, Options, compile, compile_any, compile_calibrated, compile_program};
