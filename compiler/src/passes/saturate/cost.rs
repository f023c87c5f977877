//! What an operation costs once it is lowered.
//!
//! Costs rank alternatives before lowering; what is kept is decided on lowered plans.

use hecc_plan::Function;

use crate::check::hir::Pins;
use crate::passes::Facts;
use crate::passes::hoist::client_computes;
use crate::schemes::ckks::approximate::approximate;
use crate::tensor::graph::{Elementwise, Map};
use crate::tensor::{Op, Shape};

/// Levels, cost in microseconds per limb at ring degree 2^14, and whether the result is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Price {
    /// Products that follow one another.
    pub spends: u32,
    /// All work.
    pub cost: u64,
    /// Whether it comes from the client.
    pub fresh: bool,
}

const PRODUCT: u64 = 550;
/// A rotation.
pub const SWITCH: u64 = 600;
const PLAIN: u64 = 550;
const LINEAR: u64 = 30;
/// What a known value costs: the smaller program of the client's is taken where two are equal.
const KNOWN: u64 = 1;
/// A scale between values that are added needs a product with a constant where the scales differ.
const SCALE: u64 = 90;
/// A value that the client sends.
const SENT: u64 = 100;
const fn server(spends: u32, cost: u64) -> Price {
    Price { spends, cost, fresh: false }
}

/// The price of an operation on operands of those shapes, of which the client knows some.
pub fn price(op: &Op, shape: Shape, operands: &[(Shape, bool)], facts: &Facts) -> Price {
    let exchanged = client_computes(op, &facts.client) && operands.iter().any(|(_, known)| !known);
    if exchanged {
        return Price { spends: 0, cost: SENT, fresh: true };
    }
    if operands.iter().all(|(_, known)| *known) {
        return server(0, KNOWN);
    }
    let width = |shape: Shape| match shape {
        Shape::Sample(d) | Shape::Vector(d) => d.next_power_of_two(),
        Shape::Matrix(o, i) => o.max(i).next_power_of_two(),
    };
    let fold = |n: usize| u64::from(n.max(1).ilog2()) * (SWITCH + LINEAR);
    let parameter = !matches!(shape, Shape::Sample(_));
    match op {
        Op::Data(_) | Op::State(_) | Op::Constant(_) | Op::Stop | Op::AdamStep(_) => server(0, KNOWN),
        // What it costs, the machine says: [`super::refresh`].
        Op::Return => server(0, KNOWN),
        Op::Refresh => Price { spends: 0, cost: KNOWN, fresh: true },
        Op::Spread => server(0, SENT),
        Op::Add | Op::Sub | Op::Scale(_) | Op::Rate(_) | Op::Offset(_) | Op::Mul if parameter => server(0, KNOWN),
        Op::Add | Op::Sub | Op::Offset(_) => server(0, LINEAR),
        Op::Scale(_) | Op::Rate(_) => server(0, SCALE),
        Op::Mul => server(1, PRODUCT + SWITCH + if operands.iter().any(|(_, known)| *known) { SENT } else { 0 }),
        Op::Dense | Op::DenseTranspose => {
            let Shape::Matrix(o, i) = operands[1].0 else { return server(1, PRODUCT) };
            server(1, matrix(o, i, matches!(op, Op::Dense)))
        }
        Op::DenseGradient => {
            let Shape::Matrix(o, i) = shape else { return server(1, PRODUCT) };
            server(1, gradient(o, i))
        }
        // As the matrix that they are.
        Op::Conv(w) | Op::ConvTranspose(w) => server(1, matrix(w.output(), w.input(), matches!(op, Op::Conv(_)))),
        Op::ConvGradient(w) => server(1, gradient(w.output(), w.input())),
        Op::Places(w) => server(1, matrix(w.outputs, w.patch(), true)),
        Op::PlacesGradient(w) => server(1, gradient(w.outputs, w.patch())),
        Op::Patches(_) | Op::Expand(_) | Op::Collect(_) | Op::Repeat | Op::SumRuns => server(0, KNOWN),
        Op::SumBatch => server(0, pieces(1)),
        Op::SumElements => {
            let Shape::Sample(d) = operands[0].0 else { return server(0, 0) };
            let cleaned = if d.is_power_of_two() { server(0, 0) } else { server(1, PLAIN) };
            server(cleaned.spends, cleaned.cost + fold(width(operands[0].0)))
        }
        Op::Broadcast => server(0, KNOWN),
        Op::Slice { .. } => server(1, PLAIN + SWITCH + fold(width(operands[0].0) / width(shape))),
        Op::Place { .. } => server(1, PLAIN + SWITCH),
        Op::Map(Map { function, order, pins }) => polynomial(function, *order, pins, facts),
        Op::Max(pins) | Op::Extremum { pins, .. } => {
            let one = polynomial(&Elementwise::Named(Function::Abs), 0, pins, facts);
            let rounds = if matches!(op, Op::Max(_)) { width(operands[0].0).ilog2() } else { 1 };
            server(one.spends * rounds, (one.cost + SWITCH + 3 * LINEAR) * u64::from(rounds))
        }
        // Only the client computes it; the lowering says so.
        Op::ArgMax => server(1, PRODUCT),
    }
}

/// Baby and giant steps over the diagonals of a padded matrix, as the lowering splits them.
fn split(out: usize, inputs: usize) -> (usize, usize) {
    let diagonals = out.next_power_of_two().min(inputs.next_power_of_two());
    let cost = |baby: usize| baby * 10 + 22 * (diagonals / baby);
    let babies = (0..=diagonals.ilog2()).map(|e| 1usize << e);
    (diagonals, babies.min_by_key(|&b| cost(b)).unwrap_or(1))
}

fn gradient(o: usize, i: usize) -> u64 {
    let (diagonals, baby) = split(o, i);
    let giants = diagonals / baby;
    (PRODUCT + SWITCH) * diagonals as u64 + SWITCH * (baby + giants - 2) as u64 + pieces(diagonals)
}

fn matrix(o: usize, i: usize, forward: bool) -> u64 {
    let (diagonals, baby) = split(o, i);
    let giants = diagonals / baby;
    let (rows, cols) = (o.next_power_of_two(), i.next_power_of_two());
    let folds = (if forward { cols / rows } else { rows / cols }).max(1).ilog2();
    let relinearised = if forward { giants } else { baby };
    PRODUCT * diagonals as u64 + SWITCH * (relinearised + baby + giants - 2 + folds as usize) as u64
}

/// Sums over the lanes, and the move to a lane of the packed state.
fn pieces(count: usize) -> u64 {
    count as u64 * (8 * (SWITCH + LINEAR) + PLAIN)
}

/// Levels and cost of a function of a ciphertext by its polynomial, or its composition of several.
fn polynomial(function: &Elementwise, order: u8, pins: &Pins, facts: &Facts) -> Price {
    let derived = usize::from(order);
    let one = |degree: usize| depth(degree.saturating_sub(derived));
    let (spends, products) = match (function, pins.degree) {
        (Elementwise::Polynomial(c), _) => one(c.len().saturating_sub(1)),
        (Elementwise::Named(_), Some(degree)) => one(degree),
        (Elementwise::Named(_), None) => {
            let p = approximate(function, pins, facts.tolerance, facts.degree_cap);
            if p.is_composed() {
                // The sign, which is the derivative, times the argument.
                let stages = p.stages.iter().map(|c| depth(c.len() - 1));
                stages.fold((1 - u32::from(order), 1 - u64::from(order)), |(s, p), (spends, products)| (s + spends, p + products))
            } else {
                one(p.degree())
            }
        }
    };
    server(spends, LINEAR + (PRODUCT + SWITCH) * products)
}

/// Levels and products of one polynomial.
fn depth(degree: usize) -> (u32, u64) {
    match degree {
        0 | 1 => (0, 0),
        2 => (1, 1),
        3 | 4 => (2, 2),
        d => ((d + 1).next_power_of_two().ilog2() + u32::from(d.is_power_of_two()), u64::from(d.ilog2()) + d as u64 / 3),
    }
}
