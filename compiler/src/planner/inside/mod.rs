//! Bootstraps inside an update, where one update spends more than a refresh gives.
//!
//! A bootstrapped value serves all its users at the width the widest of them needs, so a placement is a set of values. With
//! the set known, widths follow backwards; [`place`] looks for the set.

mod bound;
mod cuts;
pub mod cycle;
mod dag;
mod labels;
pub mod place;
mod polish;
mod series;
pub mod summary;
mod trail;

pub use dag::{Dag, Node, Widths};
pub use place::Placement;
pub use summary::Summary;
