//! What each degree of an activation costs, and what it does to the outputs.

use hecc_plan::Function;

use super::shadow::{Fits, Shadow};
use super::{Form, Group, applied, polynomial, trains};
use crate::check::hir::{Pins, Program};
use crate::schemes::ckks::approximate::composed;
use crate::schemes::ckks::polynomial_cost;
use crate::tensor::Graph;
use crate::tensor::graph::Elementwise;

/// Degrees that are worth a look: the last of each depth, and cheaper ones between them.
const DEGREES: [usize; 16] = [2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 24, 31, 32, 48, 63];
/// In training an error moves the weights by little, but an activation should stay what its name says: its polynomial errs
/// by at most this part of the values it takes on the interval.
const LIKENESS: f64 = 1.0 / 32.0;
/// Errors of compositions for a magnitude, as powers of one half in parts of half its interval: from where they beat the last of the
/// degrees.
const COMPOSITIONS: std::ops::RangeInclusive<i32> = 8..=20;
/// Compositions that move the outputs by less than this part of what is allowed are fine enough for any choice.
const FINE: f64 = 1.0 / 8.0;

/// One degree of one activation.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    /// A degree, or a composition.
    pub form: Form,
    /// The degree, or that of the steepest stage.
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
    /// How far, to first order, its largest error everywhere would: of a magnitude.
    pub bound: f64,
    /// The same, where it is charged to the budget: not for a pinned degree.
    pub contribution: f64,
}

/// The candidates of a group, cheapest first; none is both dearer and worse than another.
pub(super) fn run(program: &Program, graph: &Graph, group: &Group, shadows: &[Shadow], allowed: f64) -> Vec<Candidate> {
    let pins = Pins { range: Some(group.range), ..Pins::default() };
    let orders = |order: u8| group.nodes.iter().any(|&id| applied(&graph.node(id).op).is_some_and(|(_, own, _)| own == order));
    let (function, derivative) = (orders(0), orders(1));
    // A magnitude is most off where what is compared is alike, which may be in few samples of a draw and in most of a training's.
    let kinked = group.function == Function::Abs && !group.pinned;
    let by_offset = if kinked { shadows.iter().map(|shadow| shadow.moved_by_offset(group)).fold(0.0, f64::max) } else { 0.0 };
    let candidate = |form: Form| {
        let p = polynomial(&Elementwise::Named(group.function), 0, &form.pin(pins), 0.0);
        let d = p.derivative();
        let (depth, depth_of_derivative, products) = polynomial_cost(program, function.then_some(&p), derivative.then_some(&d));
        let derivative_error = derivative.then(|| {
            let at = |i: u32| group.range.low + (group.range.high - group.range.low) * f64::from(i) / 2000.0;
            (0..=2000).map(|i| (d.eval(at(i)) - group.function.derivative(at(i))).abs()).fold(0.0, f64::max)
        });
        let fits = shadows[0].fits(group, form);
        let bound = by_offset * p.error;
        let draws = if kinked { shadows } else { &shadows[..1] };
        let moved = |shadow: &Shadow| if group.pinned { shadow.moved_by_exact(group) } else { shadow.moved([&fits]) };
        let moved = draws.iter().map(moved).fold(bound, f64::max);
        let contribution = if group.pinned { 0.0 } else { moved };
        Candidate {
            form,
            steepest: p.degree(),
            fits,
            error: p.error,
            derivative_error,
            depth: [depth, depth_of_derivative],
            products,
            moved,
            bound,
            contribution,
        }
    };
    if let Some(degree) = group.degree {
        return vec![candidate(Form::Degree(degree))];
    }
    let mut all: Vec<Candidate> = DEGREES.iter().map(|&d| candidate(Form::Degree(d))).collect();
    if group.function == Function::Abs {
        let half = group.range.high.max(-group.range.low);
        for error in COMPOSITIONS.map(|bits| half * libm::exp2(-f64::from(bits))) {
            let enough = all.iter().any(|c| c.contribution <= FINE * allowed);
            if enough || composed(group.range, error).is_none() {
                break;
            }
            all.push(candidate(Form::Composition(error)));
        }
    }
    let values = |i: u32| group.function.eval(group.range.low + (group.range.high - group.range.low) * f64::from(i) / 2000.0);
    let (low, high) = (0..=2000).map(values).fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    // A maximum is half of a sum, and half of a magnitude.
    let part = if group.extremum { 0.5 } else { 1.0 };
    let alike = |c: &Candidate| !trains(program) || part * c.error <= LIKENESS * (high - low);
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
