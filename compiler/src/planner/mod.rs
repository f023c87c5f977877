//! Where and when to refresh: an update's place in the training loop, and the places inside an update.
//!
//! Abstract and exact: budgets are bits, costs are tables, values are names and slots. The lowering asks, and does.

mod body;
mod error;
pub(crate) mod flow;
pub mod inside;
pub mod loops;
mod maxplus;
pub mod offer;
pub mod partition;
pub mod price;
mod quantity;
pub mod relinearise;
pub mod rotations;
mod schedule;

pub use body::{Carried, LoopBody};
pub use error::PlannerError;
pub use inside::cycle::run as place_in_loop;
pub use inside::place::{improve, run as place, run_from as place_from};
pub use inside::summary::run as summarise;
pub use inside::{Dag, Node, Placement, Summary};
pub use loops::{Limits, run as plan_loop};
pub use maxplus::{Cycle, MaxPlus};
pub use offer::{Offer, Packing, Party, Ring};
pub use price::Moment;
pub use quantity::{Bits, Curve};
pub use relinearise::{Components, Relinearisable};
pub use rotations::RotationKeys;
pub use schedule::{CriticalCycle, Pack, RunnerUp, Schedule, Segments};
