//! The contract between the compiler and the runtime: a [`Plan`] says which homomorphic operations to run, what
//! crosses between client and server, and how the training loop goes round.
//!
//! The checker ([`check`]), the counts ([`counts`]), the clear-text oracle ([`oracle`]) and the encrypted executors are
//! all a [`Machine`] under the one loop of [`drive()`].

pub mod bootstrap;
pub mod calibration;
pub mod check;
pub mod clear;
pub mod convolution;
pub mod cost;
pub mod counts;
pub mod drive;
mod file;
mod infer;
pub mod init;
mod interface;
mod layout;
pub mod link;
pub mod memory;
pub mod noise;
pub mod oracle;
mod plan;
mod print;
pub mod schedule;
pub mod security;
mod span;
mod step;
mod tensor;
pub mod tfhe;
mod train;

pub use bootstrap::Bootstrap;
pub use clear::{ClearId, ClearNode, ClearOp, ClearProgram, Function, UPDATE};
pub use convolution::Ties;
pub use drive::{Machine, Wires, drive};
pub use file::{AnyPlan, PlanFileError, VERSION, fingerprint, fingerprint_tfhe, read, read_any, write, write_tfhe};
pub use interface::{Arrays, Interface};
pub use layout::{Geometry, Lanes, Layout, Runs, Tiled};
pub use plan::{
    Carried, CarriedId, Ckks, Content, Decision, DecisionKind, Input, InputId, KeyManifest, KeyShape, Matrix, MatrixId, Output, OutputId,
    Plain, PlainId, PlainPart, PlainPattern, Plan, REFRESHED, RotationKey, Round, State, StateInit, Target,
};
pub use print::print;
pub use span::Span;
pub use step::{Op, Step, Wire, WireId};
pub use tensor::{Tensor, Tensors};
pub use train::{ActionSpec, Collect, EnvSpec, Escape, Explore, ObservationSpec, Run, Training, Watch, Watched};
