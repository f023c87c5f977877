//! Passes over the tensor graph. Each is one file with one `run`; [`run`] is the pipeline.
//!
//! Equality saturation has its place between `hoist` and the second `fold`.

pub mod fold;
pub mod hoist;
pub mod prune;
mod rebuild;
pub mod share;

use crate::tensor::Graph;

/// What the passes know of the program.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Which operations the key owner computes.
    pub client: Vec<crate::check::hir::ClientOp>,
    /// Whether the action is one-hot.
    pub one_hot: bool,
}

/// Runs all passes; every graph in between is verified.
///
/// # Panics
/// If a pass made an invalid graph: a bug of the compiler, never of a program.
pub fn run(graph: &Graph, facts: &Facts) -> Graph {
    type Pass = fn(&Graph, &Facts) -> Graph;
    let passes: [(&str, Pass); 9] = [
        ("fold", fold::run),
        ("share", share::run),
        ("fold", fold::run),
        // What no output needs would count as a use, and keep sums together that could be taken apart.
        ("prune", prune::run),
        ("hoist", hoist::run),
        ("fold", fold::run),
        ("share", share::run),
        ("fold", fold::run),
        ("prune", prune::run),
    ];
    let mut graph = graph.clone();
    for (name, pass) in passes {
        graph = pass(&graph, facts);
        let faults = graph.verify();
        assert!(faults.is_empty(), "pass {name} broke the graph: {faults:?}");
    }
    share::run(&graph, facts)
}
