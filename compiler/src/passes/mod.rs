//! Passes over the tensor graph. Each is one file with one `run`; [`run`] is the pipeline. [`saturate`] comes after them, in
//! `pipeline.rs`: which of its graphs is best is seen when they are lowered.

pub mod fold;
pub mod hoist;
mod name;
pub mod places;
pub mod prune;
pub(crate) mod rebuild;
pub mod saturate;
pub mod share;
pub mod twins;

pub use name::{Level, NAMES, PassName, Selection, UnknownPass};

use crate::tensor::Graph;

/// What the passes know of the program.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Which operations the key owner computes.
    pub client: Vec<crate::check::hir::ClientOp>,
    /// Whether the action is one-hot.
    pub one_hot: bool,
    /// Largest error of an approximation.
    pub tolerance: f64,
    /// Cap on degrees that no program pins.
    pub degree_cap: usize,
}

/// Runs all passes.
///
/// # Panics
/// As [`run_some`].
pub fn run(graph: &Graph, facts: &Facts) -> Graph {
    run_some(graph, facts, &Selection::default())
}

/// Runs the passes of a selection; every graph in between is verified.
///
/// # Panics
/// If a pass made an invalid graph: a bug of the compiler, never of a program.
pub fn run_some(graph: &Graph, facts: &Facts, selection: &Selection) -> Graph {
    type Pass = fn(&Graph, &Facts) -> Graph;
    let passes: [(PassName, Pass); 9] = [
        (PassName::Share, share::run),
        (PassName::Fold, fold::run),
        // What no output needs would count as a use, and keep sums together that could be taken apart.
        (PassName::Prune, prune::run),
        (PassName::Hoist, hoist::run),
        (PassName::Fold, fold::run),
        (PassName::Share, share::run),
        (PassName::Fold, fold::run),
        (PassName::Prune, prune::run),
        (PassName::Share, share::run),
    ];
    // `stop` and vectors of constants cannot be lowered, nor can what differentiation leaves behind.
    let graph = verified(PassName::Fold, fold::run(graph, facts));
    let mut graph = verified(PassName::Prune, prune::run(&graph, facts));
    for (name, pass) in passes {
        if selection.contains(name) {
            graph = verified(name, pass(&graph, facts));
        }
    }
    graph
}

fn verified(name: PassName, graph: Graph) -> Graph {
    let faults = graph.verify();
    assert!(faults.is_empty(), "pass {} broke the graph: {faults:?}", name.as_str());
    graph
}
