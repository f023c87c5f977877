//! What each degree of an activation costs, and what it does to the outputs.

use super::shadow::{Fits, Shadow};
use super::{Group, polynomial, trains};
use crate::check::hir::{Pins, Program};
use crate::schemes::ckks::polynomial_cost;
use crate::tensor::graph::{Elementwise, Map};
use crate::tensor::{Graph, Op};

/// Degrees that are worth a look: the last of each depth, and cheaper ones between them.
const DEGREES: [usize; 16] = [2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 24, 31, 32, 48, 63];
/// In training an error moves the weights by little, but an activation should stay what its name says: its polynomial errs
/// by at most this part of the values it takes on the interval.
const LIKENESS: f64 = 1.0 / 32.0;

/// One degree of one activation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    /// `None` for a composition.
    pub degree: Option<usize>,
    /// The same, or the degree of the steepest stage.
    pub steepest: usize,
    /// The polynomials themselves.
    pub fits: Fits,
    /// Largest error on the interval.
    pub error: f64,
    /// The same of the derivative, where the graph has it.
    pub derivative_error: Option<f64>,
    /// Bits of depth of the function and of its derivative.
    pub depth: [u32; 2],
    /// Products of ciphertexts, derivative included.
    pub products: usize,
    /// How far it moves the outputs on its own.
    pub moved: f64,
    /// The same, where it is charged to the budget: not for a pinned degree.
    pub contribution: f64,
}

/// The candidates of a group, cheapest first; none is both dearer and worse than another.
pub(super) fn run(program: &Program, graph: &Graph, group: &Group, shadow: &Shadow) -> Vec<Candidate> {
    let map =
        |order: u8| Map { function: Elementwise::Named(group.function), order, pins: Pins { degree: None, range: Some(group.range) } };
    let orders = |order: u8| group.nodes.iter().any(|&id| matches!(&graph.node(id).op, Op::Map(m) if m.order == order));
    let (function, derivative) = (orders(0), orders(1));
    let tolerance = crate::schemes::ckks::tolerance(program);
    let candidate = |degree: Option<usize>| {
        let p = polynomial(&map(0), degree, tolerance);
        let d = p.derivative();
        let (depth, depth_of_derivative, products) = polynomial_cost(program, function.then_some(&p), derivative.then_some(&d));
        let derivative_error = derivative.then(|| {
            let at = |i: u32| group.range.low + (group.range.high - group.range.low) * f64::from(i) / 2000.0;
            (0..=2000).map(|i| (d.eval(at(i)) - group.function.derivative(at(i))).abs()).fold(0.0, f64::max)
        });
        let fits = shadow.fits(group, degree);
        let moved = if group.pinned { shadow.moved_by_exact(group) } else { shadow.moved([&fits]) };
        let contribution = if group.pinned { 0.0 } else { moved };
        Candidate {
            degree,
            steepest: p.degree(),
            fits,
            error: p.error,
            derivative_error,
            depth: [depth, depth_of_derivative],
            products,
            moved,
            contribution,
        }
    };
    if let Some(degree) = group.degree {
        return vec![candidate(Some(degree))];
    }
    let composed = polynomial(&map(0), None, tolerance).is_composed();
    let all: Vec<Candidate> = DEGREES.iter().map(|&d| Some(d)).chain(composed.then_some(None)).map(candidate).collect();
    let values = |i: u32| group.function.eval(group.range.low + (group.range.high - group.range.low) * f64::from(i) / 2000.0);
    let (low, high) = (0..=2000).map(values).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    let alike = |c: &Candidate| !trains(program) || c.error <= LIKENESS * (high - low);
    let bar = all.iter().any(alike);
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in all.into_iter().filter(|c| !bar || alike(c)) {
        let beaten = |by: &Candidate, it: &Candidate| {
            by.depth[0] <= it.depth[0] && by.depth[1] <= it.depth[1] && by.products <= it.products && by.contribution <= it.contribution
        };
        if !kept.iter().any(|k| beaten(k, &candidate)) {
            kept.retain(|k| !beaten(&candidate, k));
            kept.push(candidate);
        }
    }
    kept
}
