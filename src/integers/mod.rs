//! Plans of exact integers (TFHE), as the commands show and run them.

pub mod acting;
mod draw;
mod layers;
mod leakage;
mod run;
mod summary;

pub use draw::Drawing;
pub use leakage::leakage;
pub use run::{engine, run};
pub use summary::{Summary, explain, predicted, summary};
