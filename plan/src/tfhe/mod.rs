//! Exact integers under TFHE: plans of linear combinations and programmable bootstraps, their parameters, noise and oracle.

pub mod analysis;
pub mod check;
pub mod choose;
pub mod cost;
mod drive;
pub mod noise;
pub mod oracle;
pub mod parameters;
mod plan;
pub mod prices;
mod print;
mod step;

pub use drive::{Machine, drive};
pub use plan::{Input, Output, Plan, Public, quantise};
pub use print::print;
pub use step::{Op, Row, Step, Table, TableId, Wire, WireId};
