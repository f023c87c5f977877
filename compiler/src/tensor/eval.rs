//! A reference evaluator of tensor graphs in doubles: what every pass and the lowering are tested against.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hecc_plan::Tensor;
use hecc_plan::clear::arg_max;

use super::convolution::dot;
use super::graph::{Data, Elementwise, Graph, Map, Op, Shape};

/// How functions are computed.
pub trait Functions {
    /// Value of a map at x.
    fn map(&self, map: &Map, x: f64) -> f64;
    /// |x| as a maximum over differences computes it.
    fn abs(&self, pins: &crate::check::hir::Pins, x: f64) -> f64;
    /// Number of the update, from 0, on which learning rates depend.
    fn update(&self) -> f64 {
        0.0
    }
}

/// Textbook functions.
#[derive(Clone, Copy, Debug)]
pub struct Exact;

impl Functions for Exact {
    fn map(&self, map: &Map, x: f64) -> f64 {
        match (&map.function, map.order) {
            (Elementwise::Named(f), 0) => f.eval(x),
            (Elementwise::Named(f), _) => f.derivative(x),
            (Elementwise::Polynomial(c), 0) => horner(c, x),
            (Elementwise::Polynomial(c), _) => {
                let derivative: Vec<f64> = c.iter().enumerate().skip(1).map(|(i, c)| i as f64 * c).collect();
                horner(&derivative, x)
            }
        }
    }

    fn abs(&self, _pins: &crate::check::hir::Pins, x: f64) -> f64 {
        x.abs()
    }
}

fn horner(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, c| sum * x + c)
}

/// Evaluates every node for a batch of `batch` samples: `data` gives `[batch * dim]` per [`Data`], `states` row-major
/// values by name. Values come row-major, in the order of [`Graph::ids`].
pub fn eval(
    graph: &Graph,
    batch: usize,
    functions: &dyn Functions,
    data: &dyn Fn(&Data) -> Vec<f64>,
    states: &BTreeMap<String, Vec<f64>>,
) -> Vec<Vec<f64>> {
    borrowed(graph, batch, functions, &|which| Cow::Owned(data(which)), states).into_iter().map(Cow::into_owned).collect()
}

/// As [`eval`], without copies of data and states.
pub fn borrowed<'a>(
    graph: &Graph,
    batch: usize,
    functions: &dyn Functions,
    data: &dyn Fn(&Data) -> Cow<'a, [f64]>,
    states: &'a BTreeMap<String, Vec<f64>>,
) -> Vec<Cow<'a, [f64]>> {
    let mut values: Vec<Cow<'a, [f64]>> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let node = graph.node(id);
        let operands = graph.operands(id);
        let known = match &node.op {
            Op::Data(which) if *which != Data::Ones => Some(data(which)),
            Op::State(name) => states.get(name).map(|state| Cow::Borrowed(state.as_slice())),
            _ => None,
        };
        if let Some(known) = known {
            values.push(known);
            continue;
        }
        let x = |slot: usize| &*values[operands[slot].index()];
        let shape = |slot: usize| graph.shape(operands[slot]);
        let len = match node.shape {
            Shape::Sample(d) => batch * d,
            Shape::Vector(d) => d,
            Shape::Matrix(o, i) => o * i,
        };
        let zip = |f: &dyn Fn(f64, f64) -> f64| x(0).iter().zip(x(1)).map(|(&a, &b)| f(a, b)).collect::<Vec<f64>>();
        let one = |f: &dyn Fn(f64) -> f64| x(0).iter().map(|&a| f(a)).collect::<Vec<f64>>();
        let value = match &node.op {
            Op::Data(_) => vec![1.0; len],
            Op::State(_) => vec![0.0; len],
            Op::Constant(c) => vec![*c; len],
            Op::Add => zip(&|a, b| a + b),
            Op::Sub => zip(&|a, b| a - b),
            Op::Mul => zip(&|a, b| a * b),
            Op::Scale(c) => one(&|a| c * a),
            Op::Rate(rate) => one(&|a| rate.at(functions.update()) * a),
            Op::Offset(c) => one(&|a| a + c),
            Op::AdamStep(step) => {
                let update = functions.update();
                x(0).iter().zip(x(1)).zip(x(2)).map(|((&w, &m), &v)| step.apply(w, m, v, update)).collect()
            }
            Op::Stop | Op::Return | Op::Refresh => x(0).to_vec(),
            Op::Map(map) => one(&|a| functions.map(map, a)),
            Op::Extremum { larger, pins } => {
                let sign = if *larger { 0.5 } else { -0.5 };
                zip(&|a, b| 0.5 * (a + b) + sign * functions.abs(pins, a - b))
            }
            Op::Dense | Op::DenseTranspose => {
                let Shape::Matrix(out, inputs) = shape(1) else { unreachable!("verified shapes") };
                let (from, to, forward) = if matches!(node.op, Op::Dense) { (inputs, out, true) } else { (out, inputs, false) };
                let mut y = vec![0.0; batch * to];
                for (y, x0) in y.chunks_mut(to).zip(x(0).chunks(from)) {
                    if forward {
                        for (y, row) in y.iter_mut().zip(x(1).chunks(inputs)) {
                            if inputs >= LONG {
                                *y = dot(row, x0);
                            } else {
                                row.iter().zip(x0).for_each(|(w, x)| *y += w * x);
                            }
                        }
                    } else {
                        for (part, y) in y.chunks_mut(LONG).enumerate() {
                            for (x, row) in x0.iter().zip(x(1).chunks(inputs)) {
                                y.iter_mut().zip(&row[part * LONG..]).for_each(|(y, w)| *y += w * x);
                            }
                        }
                    }
                }
                y
            }
            Op::DenseGradient => {
                let (Shape::Sample(out), Shape::Sample(inputs)) = (shape(0), shape(1)) else { unreachable!("verified shapes") };
                let mut g = vec![0.0; out * inputs];
                for (delta, x1) in x(0).chunks(out).zip(x(1).chunks(inputs)) {
                    for (d, row) in delta.iter().zip(g.chunks_mut(inputs)) {
                        row.iter_mut().zip(x1).for_each(|(g, x)| *g += d * x);
                    }
                }
                g
            }
            Op::Conv(window) => window.forward(batch, x(0), x(1)),
            Op::ConvTranspose(window) => window.transpose(batch, x(0), x(1)),
            Op::ConvGradient(window) => window.gradient(batch, x(0), x(1)),
            Op::Patches(window) => window.patches(batch, x(0)),
            Op::Places(window) => window.at_places(x(0), x(1)),
            Op::PlacesGradient(window) => window.gradient_at_places(x(0), x(1)),
            Op::Expand(ties) | Op::Collect(ties) => {
                let matrix = Tensor::new(shape(0).extents(), x(0).to_vec());
                let found = if matches!(node.op, Op::Expand(_)) { ties.expand(&matrix) } else { ties.collect(&matrix) };
                found.expect("verified shapes").data
            }
            Op::Repeat => {
                let run = len / x(0).len();
                (0..len).map(|i| x(0)[i / run]).collect()
            }
            Op::SumRuns => x(0).chunks(x(0).len() / len).map(|run| run.iter().sum()).collect(),
            Op::Spread => (0..len).map(|i| x(0)[i % x(0).len()]).collect(),
            Op::SumBatch => (0..len).map(|j| (0..batch).map(|b| x(0)[b * len + j]).sum()).collect(),
            Op::SumElements => {
                let turns = len / batch;
                let sum = |row: &[f64], turn: usize| row[turn..].iter().step_by(turns).sum::<f64>();
                x(0).chunks(x(0).len() / batch).flat_map(|row| (0..turns).map(move |turn| sum(row, turn))).collect()
            }
            Op::Broadcast => {
                let (from, to) = (x(0).len() / batch, len / batch);
                (0..len).map(|i| x(0)[i / to * from + i % to % from]).collect()
            }
            Op::Slice { start, step } => {
                let (from, to) = (x(0).len() / batch, len / batch);
                (0..len).map(|i| x(0)[i / to * from + start + i % to * step]).collect()
            }
            Op::Place { start, step } => {
                let (from, to) = (x(0).len() / batch, len / batch);
                let mut y = vec![0.0; len];
                for (i, v) in x(0).iter().enumerate() {
                    y[i / from * to + start + i % from * step] = *v;
                }
                y
            }
            Op::Max(pins) => x(0).chunks(x(0).len() / batch).map(|row| tournament(row, &|x| functions.abs(pins, x))).collect(),
            Op::ArgMax => {
                let d = len / batch;
                x(0).chunks(d).flat_map(|row| (0..d).map(|i| f64::from(u8::from(i == arg_max(row))))).collect()
            }
        };
        values.push(Cow::Owned(value));
    }
    values
}

/// Elements of a row that are worked on at once; rows as long are added up in several sums.
const LONG: usize = 2048;

/// The largest of a row, by halves: (a + b + |a - b|) / 2 of element i and i + half, in the order the lowering takes.
fn tournament(row: &[f64], abs: &dyn Fn(f64) -> f64) -> f64 {
    let mut row = row.to_vec();
    while row.len() > 1 {
        let half = row.len().div_ceil(2);
        let paired: Vec<f64> = (0..half)
            .map(|i| match row.get(i + half) {
                Some(&b) => 0.5 * (row[i] + b) + 0.5 * abs(row[i] - b),
                None => row[i],
            })
            .collect();
        row = paired;
    }
    row[0]
}
