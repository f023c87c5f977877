//! The graph type. Nodes only ever refer to nodes made before them, so the order of creation is an order of evaluation.

use std::fmt::Write;

use hecc_plan::{Function, Span, Ties};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;

use super::convolution::Window;
use crate::check::hir::Pins;

/// A node of a [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(NodeIndex);

impl Id {
    /// Position in the order of creation.
    pub fn index(self) -> usize {
        self.0.index()
    }
}

/// Shape of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// A vector of that length per sample.
    Sample(usize),
    /// One vector (a bias); length 1 is a number for the whole batch.
    Vector(usize),
    /// One matrix `[out, in]`.
    Matrix(usize, usize),
}

impl Shape {
    /// Its extents, those of one sample.
    pub fn extents(self) -> Vec<usize> {
        match self {
            Shape::Matrix(out, inputs) => vec![out, inputs],
            Shape::Vector(d) | Shape::Sample(d) => vec![d],
        }
    }
}

/// A value that comes from outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Data {
    /// Observation i, normalised.
    Observation {
        /// Which.
        index: usize,
        /// The next state's.
        next: bool,
    },
    /// Client feature i.
    Feature {
        /// Which.
        index: usize,
        /// The next state's.
        next: bool,
    },
    /// The action.
    Action,
    /// The reward.
    Reward,
    /// The end of the episode.
    Done,
    /// Noise by name.
    Noise(String),
    /// 1 for every sample of the batch (0 in the lanes that no sample fills).
    Ones,
}

/// An operation. Element-wise operands have one shape; broadcasts are nodes of their own.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// From outside, per sample.
    Data(Data),
    /// A carried state (weights, biases, optimiser state) as the update starts.
    State(String),
    /// A constant, per sample or one.
    Constant(f64),
    /// a + b.
    Add,
    /// a − b.
    Sub,
    /// a b.
    Mul,
    /// c a.
    Scale(f64),
    /// a times a number that changes from update to update.
    Rate(Rate),
    /// a + c.
    Offset(f64),
    /// x `[B, in]`, W `[out, in]`: W x per sample.
    Dense,
    /// δ `[B, out]`, W `[out, in]`: Wᵀ δ per sample.
    DenseTranspose,
    /// δ `[B, out]`, x `[B, in]`: Σ over the batch of δ xᵀ.
    DenseGradient,
    /// x `[B, image]`, W `[out, patch]`: the convolution of each sample.
    Conv(Window),
    /// δ `[B, out image]`, W `[out, patch]`: the adjoint of a convolution in its image.
    ConvTranspose(Window),
    /// δ `[B, out image]`, x `[B, image]`: the adjoint in its weights, summed over the batch.
    ConvGradient(Window),
    /// x `[B, image]`: all patches that kernels meet, as the client lays them out `[B, patch · pitch]`.
    Patches(Window),
    /// Patches, W `[out, patch]`: the convolution of each sample, `[B, out · pitch]`.
    Places(Window),
    /// δ `[B, out · pitch]`, patches: the adjoint in its weights, summed over the batch.
    PlacesGradient(Window),
    /// A parameter as the larger one that a layer takes.
    Expand(Ties),
    /// Its adjoint.
    Collect(Ties),
    /// Each element of a vector several times in a row: a bias of each channel at every place.
    Repeat,
    /// The adjoint of a repeat: sums of as many elements in a row.
    SumRuns,
    /// A vector for every sample.
    Spread,
    /// Σ over the batch.
    SumBatch,
    /// Σ over the elements; of n numbers that stand interleaved, each of them over its own elements.
    SumElements,
    /// A scalar for every element; n numbers in turns.
    Broadcast,
    /// Elements from `start`, each `step`-th.
    Slice {
        /// First element.
        start: usize,
        /// From one to the next.
        step: usize,
    },
    /// The adjoint of a slice: zeros around.
    Place {
        /// First element.
        start: usize,
        /// From one to the next.
        step: usize,
    },
    /// A function of each element.
    Map(Map),
    /// Largest element.
    Max(Pins),
    /// One-hot of the largest element.
    ArgMax,
    /// Smaller (or larger) of two, element-wise.
    Extremum {
        /// Larger, not smaller.
        larger: bool,
        /// Pins of the polynomial in the difference.
        pins: Pins,
    },
    /// A parameter w, the mean m and the mean square v of its gradients: w after a step of Adam.
    AdamStep(AdamStep),
    /// The identity, through which no gradient flows.
    Stop,
    /// The identity: the key owner is given this value, and computes on with it.
    Return,
    /// The identity: a server that trains alone bootstraps here, so that what was spent on the way counts no more.
    Refresh,
}

/// A step of Adam (Kingma and Ba, 2015, algorithm 1): w − lr m̂ / (√v̂ + ε), where m̂ = m / (1 − β1ᵗ), v̂ = v / (1 − β2ᵗ). A
/// factor of 0 corrects nothing, as RMSprop has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// The learning rate.
    pub rate: Rate,
    /// β1.
    pub beta1: f64,
    /// β2.
    pub beta2: f64,
    /// ε.
    pub eps: f64,
}

impl AdamStep {
    /// A parameter after update number `update`, counted from 0.
    pub fn apply(&self, w: f64, m: f64, v: f64, update: f64) -> f64 {
        let corrected = |moment: f64, beta: f64| moment / (1.0 - libm::pow(beta, update + 1.0));
        w - self.rate.at(update) * corrected(m, self.beta1) / (libm::sqrt(corrected(v, self.beta2)) + self.eps)
    }
}

/// A learning rate over the updates of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// At the first update.
    pub from: f64,
    /// At the last.
    pub to: f64,
    /// Along half a cosine, not a line.
    pub cosine: bool,
    /// Number of updates.
    pub updates: usize,
}

impl Rate {
    /// A rate that falls to 0 is kept at this part of its largest value: the key owner divides by it.
    const FLOOR: f64 = 1e-3;

    /// The smallest magnitude that it takes.
    pub fn smallest(&self) -> f64 {
        self.from.abs().min(self.to.abs()).max(Self::FLOOR * self.from.abs().max(self.to.abs()))
    }

    /// The ends as they are used.
    pub fn ends(&self) -> (f64, f64) {
        let least = self.smallest();
        let lift = |end: f64| if end.abs() < least { least } else { end };
        (lift(self.from), lift(self.to))
    }

    /// Its value at `update`, counted from 0.
    pub fn at(&self, update: f64) -> f64 {
        let (from, to) = self.ends();
        let part = (update / self.updates.saturating_sub(1).max(1) as f64).min(1.0);
        let part = if self.cosine { 0.5 - 0.5 * libm::cos(std::f64::consts::PI * part) } else { part };
        from + (to - from) * part
    }
}

/// A function of each element.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Which.
    pub function: Elementwise,
    /// 0 for the function, 1 for its derivative.
    pub order: u8,
    /// What is known of how to compute it.
    pub pins: Pins,
}

/// What a [`Map`] computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Elementwise {
    /// A named function, to be approximated.
    Named(Function),
    /// A given polynomial, coefficients from degree 0 up.
    Polynomial(Vec<f64>),
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it computes.
    pub op: Op,
    /// Its shape.
    pub shape: Shape,
    /// What asked for it.
    pub span: Span,
}

/// What leaves the graph.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// New value of a state.
    State(String),
    /// A result by name.
    Result(String),
}

/// A dataflow graph.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    nodes: DiGraph<Node, usize>,
    /// What leaves, in order.
    pub outputs: Vec<(Output, Id)>,
}

impl Graph {
    /// Adds a node.
    pub fn push(&mut self, op: Op, operands: &[Id], shape: Shape, span: Span) -> Id {
        let id = self.nodes.add_node(Node { op, shape, span });
        for (slot, operand) in operands.iter().enumerate() {
            self.nodes.add_edge(operand.0, id, slot);
        }
        Id(id)
    }

    /// Gives a node another operation of the same operands and shape.
    pub fn replace(&mut self, id: Id, op: Op) {
        self.nodes[id.0].op = op;
    }

    /// The node.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0]
    }

    /// Its shape.
    pub fn shape(&self, id: Id) -> Shape {
        self.nodes[id.0].shape
    }

    /// Operands in order of their slots (petgraph lists edges newest first).
    pub fn operands(&self, id: Id) -> Vec<Id> {
        let mut edges: Vec<_> =
            self.nodes.edges_directed(id.0, petgraph::Direction::Incoming).map(|e| (*e.weight(), Id(e.source()))).collect();
        edges.sort_unstable();
        edges.into_iter().map(|(_, id)| id).collect()
    }

    /// All nodes, operands first.
    pub fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        (0..self.nodes.node_count()).map(|i| Id(NodeIndex::new(i)))
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.node_count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many operand slots and outputs use each node.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses: Vec<usize> = self.ids().map(|id| self.nodes.edges_directed(id.0, petgraph::Direction::Outgoing).count()).collect();
        for (_, id) in &self.outputs {
            uses[id.index()] += 1;
        }
        uses
    }

    /// All violations of the graph's rules: operand counts and shapes.
    pub fn verify(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for id in self.ids() {
            let node = self.node(id);
            let operands = self.operands(id);
            let shapes: Vec<Shape> = operands.iter().map(|&o| self.shape(o)).collect();
            if operands.iter().any(|o| o.index() >= id.index()) {
                faults.push(format!("%{} uses a later node", id.index()));
            }
            if !fits(&node.op, &shapes, node.shape) {
                faults.push(format!("%{} = {} of {shapes:?} cannot be {:?}", id.index(), name(&node.op), node.shape));
            }
        }
        for (output, id) in &self.outputs {
            if id.index() >= self.len() {
                faults.push(format!("{output:?} is not in the graph"));
            }
        }
        faults
    }

    /// The graph as text, the same for the same graph.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for id in self.ids() {
            let node = self.node(id);
            let operands: Vec<String> = self.operands(id).iter().map(|o| format!("%{}", o.index())).collect();
            let _ = writeln!(out, "%{} : {} = {} {}", id.index(), shape_text(node.shape), name(&node.op), operands.join(" "));
        }
        for (output, id) in &self.outputs {
            let _ = match output {
                Output::State(state) => writeln!(out, "{state} <- %{}", id.index()),
                Output::Result(result) => writeln!(out, "result {result} = %{}", id.index()),
            };
        }
        out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n") + "\n"
    }

    /// The graph in Graphviz's language.
    pub fn dot(&self) -> String {
        let mut out = String::from("digraph tensor {\n  rankdir=LR; node [shape=box, fontname=\"monospace\"];\n");
        for id in self.ids() {
            let node = self.node(id);
            let _ = writeln!(out, "  n{} [label=\"{}\\n{}\"];", id.index(), name(&node.op), shape_text(node.shape));
            for operand in self.operands(id) {
                let _ = writeln!(out, "  n{} -> n{};", operand.index(), id.index());
            }
        }
        for (index, (output, id)) in self.outputs.iter().enumerate() {
            let label = match output {
                Output::State(name) | Output::Result(name) => name,
            };
            let _ = writeln!(out, "  o{index} [label=\"{label}\", shape=ellipse];\n  n{} -> o{index};", id.index());
        }
        out + "}\n"
    }
}

fn shape_text(shape: Shape) -> String {
    match shape {
        Shape::Sample(d) => format!("[B,{d}]"),
        Shape::Vector(d) => format!("[{d}]"),
        Shape::Matrix(o, i) => format!("[{o}x{i}]"),
    }
}

/// The operation as text.
pub fn name(op: &Op) -> String {
    match op {
        Op::Data(data) => match data {
            Data::Observation { index, next } => format!("observation {index}{}", if *next { "'" } else { "" }),
            Data::Feature { index, next } => format!("feature {index}{}", if *next { "'" } else { "" }),
            Data::Action => "action".to_owned(),
            Data::Reward => "reward".to_owned(),
            Data::Done => "done".to_owned(),
            Data::Noise(name) => format!("noise {name}"),
            Data::Ones => "ones".to_owned(),
        },
        Op::State(name) => format!("state {name}"),
        Op::Constant(c) => format!("constant {c}"),
        Op::Add => "add".to_owned(),
        Op::Sub => "sub".to_owned(),
        Op::Mul => "mul".to_owned(),
        Op::Scale(c) => format!("scale {c}"),
        Op::Rate(r) => format!("rate {} {} {} over {}", if r.cosine { "cosine" } else { "linear" }, r.from, r.to, r.updates),
        Op::Offset(c) => format!("offset {c}"),
        Op::Dense => "dense".to_owned(),
        Op::DenseTranspose => "dense_transpose".to_owned(),
        Op::DenseGradient => "dense_gradient".to_owned(),
        Op::Conv(window) => format!("conv {}", window_text(window)),
        Op::ConvTranspose(window) => format!("conv_transpose {}", window_text(window)),
        Op::ConvGradient(window) => format!("conv_gradient {}", window_text(window)),
        Op::Patches(window) => format!("patches {}", window_text(window)),
        Op::Places(window) => format!("places {}", window_text(window)),
        Op::PlacesGradient(window) => format!("places_gradient {}", window_text(window)),
        Op::Expand(ties) => format!("expand {}", ties_text(ties)),
        Op::Collect(ties) => format!("collect {}", ties_text(ties)),
        Op::Repeat => "repeat".to_owned(),
        Op::SumRuns => "sum_runs".to_owned(),
        Op::Spread => "spread".to_owned(),
        Op::SumBatch => "sum_batch".to_owned(),
        Op::SumElements => "sum_elements".to_owned(),
        Op::Broadcast => "broadcast".to_owned(),
        Op::Slice { start, step } => format!("slice {start}{}", step_text(*step)),
        Op::Place { start, step } => format!("place {start}{}", step_text(*step)),
        Op::Map(map) => {
            let function = match &map.function {
                Elementwise::Named(f) => f.name().to_owned(),
                Elementwise::Polynomial(c) => format!("poly{c:?}"),
            };
            let pins = pins_text(&map.pins);
            format!("map {function}{}{pins}", if map.order == 1 { "'" } else { "" })
        }
        Op::Max(pins) => format!("max{}", pins_text(pins)),
        Op::ArgMax => "argmax".to_owned(),
        Op::Extremum { larger, pins } => format!("{}2{}", if *larger { "max" } else { "min" }, pins_text(pins)),
        Op::AdamStep(step) => {
            let AdamStep { rate, beta1, beta2, eps } = step;
            format!("adam {} beta {beta1} {beta2} eps {eps}", name(&Op::Rate(*rate)))
        }
        Op::Stop => "stop".to_owned(),
        Op::Return => "return".to_owned(),
        Op::Refresh => "refresh".to_owned(),
    }
}

fn window_text(w: &Window) -> String {
    format!("{}x{}x{} kernel {} stride {}", w.channels, w.height, w.width, w.kernel, w.stride)
}

fn ties_text(ties: &Ties) -> String {
    match ties {
        Ties::Kernel(window) => window_text(window),
        Ties::Places(window) => format!("places {}", window_text(window)),
        Ties::Pitch { run, pitch } => format!("runs of {run} at {pitch}"),
        Ties::Runs(times) => format!("{times} times"),
        Ties::Strided { first, step } => {
            format!("rows {}{}, columns {}{}", first[0], step_text(step[0]), first[1], step_text(step[1]))
        }
    }
}

fn step_text(step: usize) -> String {
    if step == 1 { String::new() } else { format!(" by {step}") }
}

fn pins_text(pins: &Pins) -> String {
    let degree = pins.degree.map(|d| format!("degree {d}"));
    let range = pins.range.map(|r| format!("[{}, {}]", r.low, r.high));
    let parts: Vec<String> = degree.into_iter().chain(range).collect();
    if parts.is_empty() { String::new() } else { format!("({})", parts.join(" on ")) }
}

fn fits(op: &Op, operands: &[Shape], shape: Shape) -> bool {
    use Shape::{Matrix, Sample, Vector};
    match (op, operands) {
        (Op::Data(_), []) => matches!(shape, Sample(_)),
        (Op::State(_) | Op::Constant(_), []) => true,
        (Op::Add | Op::Sub | Op::Mul | Op::Extremum { .. }, [a, b]) => *a == shape && *b == shape,
        (Op::AdamStep(_), [w, m, v]) => [w, m, v].iter().all(|operand| **operand == shape),
        (Op::Scale(_) | Op::Rate(_) | Op::Offset(_) | Op::Map(_) | Op::Stop | Op::Return | Op::Refresh, [a]) => *a == shape,
        (Op::Dense, [Sample(i), Matrix(o, j)]) => i == j && shape == Sample(*o),
        (Op::DenseTranspose, [Sample(o), Matrix(p, i)]) => o == p && shape == Sample(*i),
        (Op::DenseGradient, [Sample(o), Sample(i)]) => shape == Matrix(*o, *i),
        (Op::Conv(w), [Sample(i), Matrix(o, p)]) => convolves(w, *i, (*o, *p)) && shape == Sample(w.output()),
        (Op::ConvTranspose(w), [Sample(d), Matrix(o, p)]) => {
            w.is_sound() && *d == w.output() && convolves(w, w.input(), (*o, *p)) && shape == Sample(w.input())
        }
        (Op::ConvGradient(w), [Sample(d), Sample(i)]) => {
            convolves(w, *i, (w.outputs, w.patch())) && *d == w.output() && shape == Matrix(w.outputs, w.patch())
        }
        (Op::Patches(w), [Sample(i)]) => w.is_sound() && *i == w.input() && shape == Sample(w.patch() * w.pitch()),
        (Op::Places(w), [Sample(p), Matrix(o, q)]) => {
            convolves(w, w.input(), (*o, *q)) && *p == w.patch() * w.pitch() && shape == Sample(w.outputs * w.pitch())
        }
        (Op::PlacesGradient(w), [Sample(d), Sample(p)]) => {
            w.is_sound() && (*d, *p) == (w.outputs * w.pitch(), w.patch() * w.pitch()) && shape == Matrix(w.outputs, w.patch())
        }
        (Op::Expand(ties), [Vector(d)]) => matches!(ties.expanded((*d, 1), usize::MAX), Some((o, 1)) if shape == Vector(o)),
        (Op::Collect(ties), [Vector(d)]) => matches!(ties.collected((*d, 1), usize::MAX), Some((o, 1)) if shape == Vector(o)),
        (Op::Expand(ties), [Matrix(o, i)]) => matches!(ties.expanded((*o, *i), usize::MAX), Some((o, i)) if shape == Matrix(o, i)),
        (Op::Collect(ties), [Matrix(o, i)]) => matches!(ties.collected((*o, *i), usize::MAX), Some((o, i)) if shape == Matrix(o, i)),
        (Op::Repeat, [Vector(d)]) => matches!(shape, Vector(n) if *d > 0 && n.is_multiple_of(*d)),
        (Op::SumRuns, [Vector(d)]) => matches!(shape, Vector(n) if n > 0 && d.is_multiple_of(n)),
        (Op::Spread, [Vector(d)]) | (Op::ArgMax, [Sample(d)]) => shape == Sample(*d),
        (Op::SumBatch, [Sample(d)]) => shape == Vector(*d),
        (Op::Max(_), [Sample(_)]) => shape == Sample(1),
        (Op::SumElements, [Sample(d)]) => matches!(shape, Sample(n) if n > 0 && d.is_multiple_of(n)),
        (Op::Broadcast, [Sample(n)]) => matches!(shape, Sample(d) if *n > 0 && d.is_multiple_of(*n)),
        (Op::Slice { start, step }, [Sample(d)]) => matches!(shape, Sample(n) if within(n, *start, *step, *d)),
        (Op::Place { start, step }, [Sample(n)]) => matches!(shape, Sample(d) if within(*n, *start, *step, d)),
        _ => false,
    }
}

/// Whether so many elements from a first one, a step apart, are among those of a vector.
fn within(count: usize, start: usize, step: usize, dim: usize) -> bool {
    step > 0 && (count == 0 || (count - 1).checked_mul(step).and_then(|last| last.checked_add(start)).is_some_and(|last| last < dim))
}

fn convolves(w: &Window, image: usize, weights: (usize, usize)) -> bool {
    w.is_sound() && image == w.input() && weights == (w.outputs, w.patch())
}
