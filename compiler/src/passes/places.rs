//! Convolutions of pictures that the client has: it sends every patch that the kernels meet, so that the kernels multiply all places
//! at once. Where a dense layer of the whole picture has as many diagonals as pixels, this one has as many as channels.
//!
//! The numbers of a patch stand one pitch apart, and all places of one of them side by side: a rotation by pitches moves patches past
//! the kernels. A pitch is the number of places rounded up to a power of two. What stands between is 0 where gradients are summed, and
//! meets only zeros elsewhere.
//!
//! This is a lowering for slots, whose plans choose between it and the matrix: it is no part of the pipeline that all schemes share.

use std::collections::BTreeMap;

use hecc_plan::Ties;

use super::rebuild::rebuild;
use super::{Facts, prune, share};
use crate::tensor::convolution::Window;
use crate::tensor::{Graph, Id, Op, Shape};

/// The graph with patches, or `None` where nothing convolves what the client has, where a vector would be longer than `widest`, or
/// where something needs a picture without gaps.
pub fn run(graph: &Graph, facts: &Facts, widest: usize) -> Option<Graph> {
    let found = Gaps::find(graph, widest)?;
    let patched = rebuild(graph, |new, id, node, operands| {
        let span = node.span;
        let gap = found.of[id.index()];
        let own = graph.operands(id);
        let shape = match (gap, node.shape) {
            (Some(gap), Shape::Sample(d)) => Shape::Sample(gap.over(d)),
            (Some(gap), Shape::Vector(d)) => Shape::Vector(gap.over(d)),
            (_, shape) => shape,
        };
        // A matrix that meets vectors with gaps, and its gradient.
        let spaced = |new: &mut Graph, matrix: Id, out: usize, inputs: usize, gap: Gap| {
            new.push(Op::Expand(gap.ties()), &[matrix], Shape::Matrix(out, gap.over(inputs)), span)
        };
        let closed = |new: &mut Graph, matrix: Id, out: usize, inputs: usize, gap: Gap| {
            new.push(Op::Collect(gap.ties()), &[matrix], Shape::Matrix(out, inputs), span)
        };
        match &node.op {
            Op::Conv(w) if found.patches(own[0]) => {
                let patches = new.push(Op::Patches(*w), &[operands[0]], Shape::Sample(w.patch() * w.pitch()), span);
                new.push(Op::Places(*w), &[patches, operands[1]], Shape::Sample(w.outputs * w.pitch()), span)
            }
            Op::ConvGradient(w) if found.patches(own[1]) => {
                let patches = new.push(Op::Patches(*w), &[operands[1]], Shape::Sample(w.patch() * w.pitch()), span);
                new.push(Op::PlacesGradient(*w), &[operands[0], patches], node.shape, span)
            }
            Op::Dense | Op::Conv(_) if found.of[own[0].index()].is_some() => {
                let gap = found.of[own[0].index()].unwrap_or_default();
                let (matrix, out, inputs) = whole(new, node, operands[1]);
                let matrix = spaced(new, matrix, out, inputs, gap);
                new.push(Op::Dense, &[operands[0], matrix], node.shape, span)
            }
            Op::DenseTranspose | Op::ConvTranspose(_) if gap.is_some() => {
                let (matrix, out, inputs) = whole(new, node, operands[1]);
                let matrix = spaced(new, matrix, out, inputs, gap.unwrap_or_default());
                new.push(Op::DenseTranspose, &[operands[0], matrix], shape, span)
            }
            Op::DenseGradient | Op::ConvGradient(_) if found.of[own[1].index()].is_some() => {
                let gap = found.of[own[1].index()].unwrap_or_default();
                let (out, inputs) = match (&node.op, node.shape) {
                    (Op::ConvGradient(w), _) => (w.output(), w.input()),
                    (_, Shape::Matrix(out, inputs)) => (out, inputs),
                    _ => unreachable!("verified shapes"),
                };
                let gradient = new.push(Op::DenseGradient, &operands, Shape::Matrix(out, gap.over(inputs)), span);
                let gradient = closed(new, gradient, out, inputs, gap);
                match &node.op {
                    Op::ConvGradient(w) => new.push(Op::Collect(Ties::Kernel(*w)), &[gradient], node.shape, span),
                    _ => gradient,
                }
            }
            op => {
                let mut fitted = operands.clone();
                if let (Some(gap), Shape::Sample(d)) = (gap, node.shape) {
                    for (operand, old) in fitted.iter_mut().zip(&own).filter(|(_, old)| found.of[old.index()].is_none()) {
                        *operand = widened(graph, new, *old, *operand, gap.over(d));
                    }
                }
                new.push(op.clone(), &fitted, shape, span)
            }
        }
    });
    Some(prune::run(&share::run(&patched, facts), facts))
}

/// The matrix of a layer, and its size.
fn whole(new: &mut Graph, node: &crate::tensor::Node, weight: Id) -> (Id, usize, usize) {
    match (&node.op, new.shape(weight)) {
        (Op::Conv(w) | Op::ConvTranspose(w), _) => {
            let size = Shape::Matrix(w.output(), w.input());
            (new.push(Op::Expand(Ties::Kernel(*w)), &[weight], size, node.span), w.output(), w.input())
        }
        (_, Shape::Matrix(out, inputs)) => (weight, out, inputs),
        _ => unreachable!("verified shapes"),
    }
}

/// A bias of every place, or a constant, with something in the gaps as well.
fn widened(graph: &Graph, new: &mut Graph, old: Id, operand: Id, dim: usize) -> Id {
    let span = graph.node(old).span;
    match graph.node(old).op {
        Op::Constant(c) => new.push(Op::Constant(c), &[], Shape::Sample(dim), span),
        _ => {
            let repeated = new.operands(operand)[0];
            let bias = new.operands(repeated)[0];
            let repeated = new.push(Op::Repeat, &[bias], Shape::Vector(dim), span);
            new.push(Op::Spread, &[repeated], Shape::Sample(dim), span)
        }
    }
}

/// Each run of numbers is followed by a gap up to the pitch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Gap {
    run: usize,
    pitch: usize,
}

impl Gap {
    fn of(w: &Window) -> Option<Self> {
        (w.pitch() > w.places()).then(|| Self { run: w.places(), pitch: w.pitch() })
    }

    /// How long a vector of `dim` numbers is with gaps.
    fn over(self, dim: usize) -> usize {
        dim / self.run * self.pitch
    }

    fn ties(self) -> Ties {
        Ties::Pitch { run: self.run, pitch: self.pitch }
    }
}

/// Which values have gaps.
struct Gaps {
    of: Vec<Option<Gap>>,
    /// Pictures of the client's that patches are made of.
    pictures: Vec<Id>,
}

impl Gaps {
    fn patches(&self, picture: Id) -> bool {
        self.pictures.contains(&picture)
    }

    fn find(graph: &Graph, widest: usize) -> Option<Self> {
        let mut gaps = Gaps { of: Vec::with_capacity(graph.len()), pictures: Vec::new() };
        // Whether what stands in the gaps is 0, and what the vectors have that each matrix meets.
        let mut zero: Vec<bool> = Vec::new();
        let mut columns: BTreeMap<Id, Option<Gap>> = BTreeMap::new();
        let picture = |id: Id| matches!(graph.node(id).op, Op::Data(_));
        let fits = |w: &Window| (w.patch() * w.pitch()).max(w.outputs * w.pitch()).next_power_of_two() <= widest;
        for id in graph.ids() {
            let (node, operands) = (graph.node(id), graph.operands(id));
            let of = |slot: usize| gaps.of[operands[slot].index()];
            let any = operands.iter().any(|o| gaps.of[o.index()].is_some());
            let (gap, is_zero) = match &node.op {
                Op::Conv(w) if picture(operands[0]) => {
                    if !fits(w) {
                        return None;
                    }
                    gaps.pictures.push(operands[0]);
                    (Gap::of(w), false)
                }
                Op::Dense | Op::Conv(_) => {
                    let gap = of(0);
                    if *columns.entry(operands[1]).or_insert(gap) != gap {
                        return None;
                    }
                    (None, true)
                }
                Op::DenseTranspose | Op::ConvTranspose(_) if of(0).is_none() => (*columns.get(&operands[1])?, true),
                Op::ConvGradient(w) if picture(operands[1]) => {
                    if of(0) != Gap::of(w) {
                        return None;
                    }
                    (None, true)
                }
                Op::DenseGradient | Op::ConvGradient(_) if of(0).is_none() => (None, true),
                Op::SumRuns => (None, true),
                Op::SumBatch if any && !zero[operands[0].index()] => return None,
                Op::Add | Op::Sub | Op::Mul | Op::Extremum { .. } | Op::Scale(_) | Op::Offset(_) | Op::Map(_) | Op::SumBatch if any => {
                    let gap = operands.iter().find_map(|o| gaps.of[o.index()]);
                    let fits = |o: &Id| gaps.of[o.index()] == gap || (gaps.of[o.index()].is_none() && widens(graph, *o));
                    if !operands.iter().all(fits) {
                        return None;
                    }
                    let zeros = || operands.iter().map(|o| gaps.of[o.index()].is_some() && zero[o.index()]);
                    let is_zero = match node.op {
                        Op::Mul => zeros().any(|zero| zero),
                        Op::Add | Op::Sub | Op::Scale(_) | Op::SumBatch => zeros().all(|zero| zero),
                        _ => false,
                    };
                    (gap, is_zero)
                }
                _ if any => return None,
                _ => (None, true),
            };
            gaps.of.push(gap);
            zero.push(is_zero);
        }
        let leaves = graph.outputs.iter().any(|(_, id)| gaps.of[id.index()].is_some());
        (!leaves && !gaps.pictures.is_empty()).then_some(gaps)
    }
}

/// Whether a value is the same at all places.
fn widens(graph: &Graph, id: Id) -> bool {
    match graph.node(id).op {
        Op::Constant(_) => true,
        Op::Spread => matches!(graph.node(graph.operands(id)[0]).op, Op::Repeat),
        _ => false,
    }
}
