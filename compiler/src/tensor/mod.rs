//! The tensor graph: networks, losses, gradients and optimiser steps as one dataflow graph.

pub mod autodiff;
pub mod build;
mod error;
pub mod eval;
pub mod graph;
mod penalty;
pub(crate) mod ranges;

pub use error::TensorError;
pub use graph::{Data, Graph, Id, Node, Op, Output, Shape};
pub use hecc_plan::convolution;
