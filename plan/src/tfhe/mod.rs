//! Exact integers under TFHE: plans of linear combinations and programmable bootstraps, their parameters, noise and oracle.

pub mod analysis;
pub mod check;
pub mod choose;
pub mod cost;
mod drive;
pub mod minimum;
pub mod noise;
pub mod oracle;
pub mod parameters;
mod plan;
pub mod prices;
mod print;
pub mod sending;
pub mod served;
mod step;

pub use drive::{Machine, Made, drive};
pub use plan::{Carried, Input, Leanest, Output, Part, Plan, Public, quantise, split};
pub use print::print;
pub use step::{Op, Row, Step, Table, TableId, Wire, WireId};
