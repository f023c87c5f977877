//! Ranges of arguments that a program does not pin: the largest that a shadow of the seeded initial network shows over its
//! input box, with a margin for what training or other weights will do. Activations of one layer share a range in all uses
//! of the network; functions in an algorithm's own expressions get theirs from a shadow of the whole update.

use std::collections::BTreeMap;

use hecc_plan::{Span, State, StateInit, Tensor, init};

use super::convolution::Window;
use super::eval::{self, Exact, Functions};
use super::graph::{Data, Elementwise, Graph, Map, Op, Shape};
use crate::check::hir::{ActionKind, Function, Init, Layer, LayerKind, Net, Program, Range, Task};

/// Samples of the shadow run.
const SAMPLES: usize = 512;

/// The range of every activation of `net`, in the order of its layers (residual branches in place, heads in order).
/// `margin` widens what the shadow saw; inputs are taken from [-1, 1].
pub fn activation_ranges(net: &Net, seed: u64, stream: u64, margin: f64) -> Vec<Range> {
    let width: usize = net.input_shape.iter().product();
    let state =
        [State { name: "x".to_owned(), shape: vec![SAMPLES, width], init: StateInit::He { stream: u64::MAX - 1 }, span: Span::default() }];
    // A normal sample squashed to the box reaches its corners, where pre-activations are largest.
    let drawn = init::initial_states(&state, seed).remove("x").unwrap_or_default();
    let spread = libm::sqrt(width as f64 / 2.0);
    let x: Vec<f64> = drawn.data.iter().map(|v| (1.5 * v * spread).clamp(-1.0, 1.0)).collect();
    let mut shadow = Shadow { seed, stream, next: 0, margin, ranges: Vec::new() };
    let trunk = shadow.layers(&net.layers, Tensor::new(vec![SAMPLES, width], x), &net.input_shape);
    let shape = net.layers.last().map_or(&net.input_shape, |layer| &layer.shape);
    for head in &net.outputs {
        shadow.layers(&head.layers, trunk.clone(), shape);
    }
    shadow.ranges
}

struct Shadow {
    seed: u64,
    stream: u64,
    next: u64,
    margin: f64,
    ranges: Vec<Range>,
}

impl Shadow {
    fn layers(&mut self, layers: &[Layer], mut x: Tensor, shape: &[usize]) -> Tensor {
        let mut shape = shape;
        for layer in layers {
            x = self.layer(layer, x, shape);
            shape = &layer.shape;
        }
        x
    }

    fn weights(&mut self, shape: Vec<usize>, init: Init, span: Span) -> Tensor {
        let init = super::build::weight_init(init, self.stream + self.next);
        self.next += 1;
        init::initial_states(&[State { name: "w".to_owned(), shape, init, span }], self.seed).remove("w").unwrap_or_default()
    }

    /// A layer of values of that shape.
    fn layer(&mut self, layer: &Layer, x: Tensor, shape: &[usize]) -> Tensor {
        let rows = x.shape[0];
        match &layer.kind {
            LayerKind::Dense { inputs, outputs, init, .. } => {
                let w = self.weights(vec![*outputs, *inputs], *init, layer.span);
                let mut y = Vec::with_capacity(rows * outputs);
                for row in x.data.chunks(*inputs) {
                    for o in 0..*outputs {
                        y.push(w.data[o * inputs..(o + 1) * inputs].iter().zip(row).map(|(a, b)| a * b).sum());
                    }
                }
                Tensor::new(vec![rows, *outputs], y)
            }
            LayerKind::Conv { inputs, outputs, kernel, stride, init, .. } => {
                let w = self.weights(vec![*outputs, *inputs, *kernel, *kernel], *init, layer.span);
                let [channels, height, width] = *shape else { return x };
                let window = Window { channels, height, width, outputs: *outputs, kernel: *kernel, stride: *stride };
                Tensor::new(vec![rows, window.output()], window.forward(rows, &x.data, &w.data))
            }
            LayerKind::Flatten => x,
            LayerKind::Scale(c) => Tensor::new(x.shape.clone(), x.data.iter().map(|v| c * v).collect()),
            LayerKind::Residual(inner) => {
                let y = self.layers(inner, x.clone(), shape);
                Tensor::new(x.shape.clone(), x.data.iter().zip(&y.data).map(|(a, b)| a + b).collect())
            }
            LayerKind::Activation(activation) => {
                let seen = x.data.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                // Quarter steps, so that a range reads well and does not hang on the last digit of a seed.
                let half = (libm::ceil(seen * self.margin * 4.0) / 4.0).max(1.0);
                self.ranges.push(Range { low: -half, high: half });
                let data = x.data.iter().map(|&v| exact(&activation.function, v)).collect();
                Tensor::new(x.shape.clone(), data)
            }
        }
    }
}

fn exact(function: &Function, x: f64) -> f64 {
    match function {
        Function::Poly(c) => c.iter().rev().fold(0.0, |sum, c| sum * x + c),
        Function::Softmax => 0.5,
        other => super::build::named(other).map_or(x, |f| f.eval(x)),
    }
}

/// Samples of the shadow of a whole update.
const BATCH: usize = 128;

/// The values of one update of random data from the declared ranges, from the seeded start.
fn shadow(program: &Program, graph: &Graph, states: &[State], seed: u64, batch: usize, functions: &dyn Functions) -> Vec<Vec<f64>> {
    let weights = init::initial_states(states, seed).into_iter().map(|(name, t)| (name, t.data)).collect::<BTreeMap<_, _>>();
    let dims: BTreeMap<Data, usize> = graph
        .ids()
        .filter_map(|id| match (&graph.node(id).op, graph.shape(id)) {
            (Op::Data(data), Shape::Sample(dim)) => Some((data.clone(), dim)),
            _ => None,
        })
        .collect();
    let drawn: BTreeMap<Data, Vec<f64>> =
        dims.iter().enumerate().map(|(i, (data, &dim))| (data.clone(), sample(program, data, batch, dim, seed, i as u64))).collect();
    eval::eval(graph, batch, functions, &|data| drawn.get(data).cloned().unwrap_or_default(), &weights)
}

/// The root of the mean square of each node's elements in such an update, by these functions.
pub fn root_mean_squares(
    program: &Program,
    graph: &Graph,
    states: &[State],
    seed: u64,
    nodes: &[super::Id],
    functions: &dyn Functions,
) -> Vec<f64> {
    let values = shadow(program, graph, states, seed, batch(program), functions);
    let size = |id: &super::Id| {
        let finite: Vec<f64> = values[id.index()].iter().copied().filter(|v| v.is_finite()).collect();
        libm::sqrt(finite.iter().map(|v| v * v).sum::<f64>() / finite.len().max(1) as f64)
    };
    nodes.iter().map(size).collect()
}

/// The largest magnitude of each node's elements in such an update, by these functions.
pub fn largest(program: &Program, graph: &Graph, states: &[State], seed: u64, nodes: &[super::Id], functions: &dyn Functions) -> Vec<f64> {
    let values = shadow(program, graph, states, seed, batch(program), functions);
    let size = |id: &super::Id| values[id.index()].iter().filter(|v| v.is_finite()).fold(0.0f64, |m, v| m.max(v.abs()));
    nodes.iter().map(size).collect()
}

fn batch(program: &Program) -> usize {
    match &program.task {
        Task::Train(train) => train.settings.batch,
        Task::Serve(serve) => serve.batch,
    }
}

/// The largest difference of action values that declared rewards let one expect.
pub fn difference(program: &Program) -> f64 {
    let reward = program.env.declared_reward_range;
    2.0 * (reward.high - reward.low)
}

/// Half the interval of every maximum and minimum that has none: what is expected of action values, or what is seen of them where
/// that is more, widened by `margin` to quarter steps.
fn compared(program: &Program, graph: &Graph, values: &[Vec<f64>], margin: f64) -> BTreeMap<Span, f64> {
    let mut halves: BTreeMap<Span, f64> = BTreeMap::new();
    for id in graph.ids() {
        let operand = |slot: usize| &values[graph.operands(id)[slot].index()];
        let seen = match &graph.node(id).op {
            Op::Extremum { pins, .. } if pins.range.is_none() => {
                operand(0).iter().zip(operand(1)).map(|(a, b)| (a - b).abs()).filter(|d| d.is_finite()).fold(0.0, f64::max)
            }
            Op::Max(pins) if pins.range.is_none() => {
                let spread = |row: &[f64]| {
                    let (low, high) = row.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
                    high - low
                };
                operand(0).chunks(operand(0).len() / BATCH).map(spread).filter(|d| d.is_finite()).fold(0.0, f64::max)
            }
            _ => continue,
        };
        let half = libm::ceil(seen * margin * 4.0) / 4.0;
        let largest = halves.entry(graph.node(id).span).or_insert_with(|| difference(program));
        *largest = largest.max(half);
    }
    halves
}

/// Gives a range to every function of `graph` that has none: what its argument takes in one update of random data from the
/// declared ranges, widened by `margin`.
pub fn fill(program: &Program, graph: &Graph, states: &[State], seed: u64, margin: f64) -> Graph {
    let open = |op: &Op| matches!(op, Op::Map(Map { pins, .. }) | Op::Max(pins) | Op::Extremum { pins, .. } if pins.range.is_none());
    if !graph.ids().any(|id| open(&graph.node(id).op)) {
        return graph.clone();
    }
    let values = shadow(program, graph, states, seed, BATCH, &Exact);
    let compared = compared(program, graph, &values, margin);
    let mut new = Graph::default();
    let mut ids = Vec::new();
    for id in graph.ids() {
        let operands: Vec<_> = graph.operands(id).iter().map(|o| ids[super::Id::index(*o)]).collect();
        let mut node = graph.node(id).clone();
        let of_difference = compared.get(&node.span).map(|&half| Range { low: -half, high: half });
        if let Op::Max(pins) | Op::Extremum { pins, .. } = &mut node.op {
            pins.range = pins.range.or(of_difference);
        }
        if let Op::Map(map) = &mut node.op
            && map.function == Elementwise::Named(hecc_plan::Function::Abs)
        {
            map.pins.range = map.pins.range.or(of_difference);
        }
        if let Op::Map(map) = &mut node.op
            && map.pins.range.is_none()
        {
            let values = &values[graph.operands(id)[0].index()];
            let range = hull(values, margin);
            // The root of what is never negative.
            let root = map.function == Elementwise::Named(hecc_plan::Function::Sqrt) && values.iter().all(|v| *v >= 0.0);
            map.pins.range = Some(if root { Range { low: range.low.max(0.0), ..range } } else { range });
        }
        ids.push(new.push(node.op, &operands, node.shape, node.span));
    }
    new.outputs = graph.outputs.iter().map(|(output, id)| (output.clone(), ids[id.index()])).collect();
    new
}

/// The interval of `values`, widened; a one-sided one keeps its sign, so that `log` and `1 / x` stay defined.
fn hull(values: &[f64], margin: f64) -> Range {
    let finite = values.iter().copied().filter(|v| v.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
    if low > high {
        return Range { low: -1.0, high: 1.0 };
    }
    let (centre, half) = ((low + high) / 2.0, ((high - low) / 2.0).max(0.05 * (1.0 + low.abs())));
    let wide = Range { low: centre - margin * half, high: centre + margin * half };
    match (low > 0.0, high < 0.0) {
        (true, _) => Range { low: wide.low.max(low / margin), ..wide },
        (_, true) => Range { high: wide.high.min(high / margin), ..wide },
        _ => wide,
    }
}

/// Random values of one input, from its declared range.
pub(crate) fn sample(program: &Program, data: &Data, batch: usize, dim: usize, seed: u64, stream: u64) -> Vec<f64> {
    let state = [State {
        name: "x".to_owned(),
        shape: vec![batch * dim, 2],
        init: StateInit::He { stream: u64::MAX - 2 - stream },
        span: Span::default(),
    }];
    let drawn = init::initial_states(&state, seed).remove("x").unwrap_or_default();
    let normal = |i: usize| drawn.data[2 * i];
    (0..batch * dim)
        .map(|i| match data {
            Data::Reward => {
                let Range { low, high } = program.env.reward_range;
                (low + high) / 2.0 + (high - low) / 2.0 * normal(i).clamp(-1.0, 1.0)
            }
            Data::Done => f64::from(u8::from(normal(i) > 1.0)),
            Data::Ones => 1.0,
            Data::Noise(_) => normal(i),
            Data::Action if !matches!(program.env.action.kind, ActionKind::Continuous { .. }) => {
                f64::from(u8::from(i % dim == (i / dim) % dim))
            }
            Data::Observation { .. } | Data::Feature { .. } | Data::Action => normal(i).clamp(-1.0, 1.0),
        })
        .collect()
}
