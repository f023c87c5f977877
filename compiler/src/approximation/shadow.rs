//! A run of the graph in doubles, on random data from the declared ranges, that tells how far polynomials move its outputs.

use std::collections::BTreeMap;

use hecc_plan::{Span, State, StateInit, init};

use super::{Form, Group, applied, known, polynomial, repinned};
use crate::check::hir::{Pins, Program, Task};
use crate::schemes::ckks::approximate::Polynomial;
use crate::tensor::eval::{self, Exact, Functions};
use crate::tensor::graph::{Elementwise, Map};
use crate::tensor::{Data, Graph, Id, Op, Output, Shape, ranges};

/// Products that one run may take: it is made for every degree of every activation.
const WORK: usize = 1 << 22;

/// Polynomials by node.
pub(super) type Fits = Vec<(usize, Polynomial)>;

/// Data, weights and what they give with exact functions, pinned degrees being their polynomials.
pub(super) struct Shadow {
    /// [`resized`].
    graph: Graph,
    batch: usize,
    /// Of what has no degree.
    tolerance: f64,
    data: BTreeMap<Data, Vec<f64>>,
    states: BTreeMap<String, Vec<f64>>,
    /// The polynomials of pinned degrees, by node.
    pinned: BTreeMap<usize, Polynomial>,
    /// Outputs that count, with what their errors are relative to.
    outputs: Vec<(Output, Id, f64)>,
    values: Vec<Vec<f64>>,
}

/// A graph for few enough samples to be run often, and how many.
pub(super) fn resized(program: &Program, graph: &Graph) -> (Graph, usize) {
    let size = |id: Id| match (&graph.node(id).op, graph.shape(id)) {
        (Op::Conv(window), _) => window.outputs * window.patch() * window.places(),
        (_, Shape::Matrix(o, i)) => o * i,
        _ => 0,
    };
    let products: usize = graph.ids().map(size).sum();
    let batch = (WORK / products.max(1)).clamp(8, 128).min(whole(program));
    (for_batch(program, graph, batch), batch)
}

fn whole(program: &Program) -> usize {
    match &program.task {
        Task::Train(train) => train.settings.batch,
        Task::Serve(serve) => serve.batch,
    }
}

/// A graph for `batch` samples: sums over the batch count each as often as it stands for others.
fn for_batch(program: &Program, graph: &Graph, batch: usize) -> Graph {
    let ratio = whole(program) as f64 / batch as f64;
    let mut new = Graph::default();
    let mut ids: Vec<Id> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let node = graph.node(id);
        let operands: Vec<Id> = graph.operands(id).iter().map(|o| ids[o.index()]).collect();
        let made = new.push(node.op.clone(), &operands, node.shape, node.span);
        let sums = matches!(node.op, Op::SumBatch | Op::DenseGradient | Op::ConvGradient(_));
        ids.push(if sums { new.push(Op::Scale(ratio), &[made], node.shape, node.span) } else { made });
    }
    new.outputs = graph.outputs.iter().map(|(output, id)| (output.clone(), ids[id.index()])).collect();
    new
}

impl Shadow {
    /// Draws data and weights for a [`resized`] graph, whose states start as `started` says; another `draw`, other ones.
    pub fn new(program: &Program, (graph, started): (&Graph, &[State]), batch: usize, draw: u64) -> Self {
        let seed = match &program.task {
            Task::Train(train) => train.settings.seed,
            Task::Serve(_) => 0,
        };
        let seed = seed.wrapping_add(draw.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let inputs: BTreeMap<Data, usize> = graph
            .ids()
            .filter_map(|id| match (&graph.node(id).op, graph.shape(id)) {
                (Op::Data(data), Shape::Sample(dim)) => Some((data.clone(), dim)),
                _ => None,
            })
            .collect();
        let draw = |(i, (data, dim)): (usize, (Data, usize))| {
            let values = ranges::sample(program, &data, batch, dim, seed, i as u64);
            (data, values)
        };
        let data = inputs.into_iter().enumerate().map(draw).collect();
        let known = known(program, graph);
        let pinned = graph.ids().filter(|id| !known[id.index()]).filter_map(|id| {
            let (function, order, pins) = applied(&graph.node(id).op)?;
            pins.degree.map(|_| (id.index(), polynomial(&Elementwise::Named(function), order, &pins, 0.0)))
        });
        let pinned = pinned.collect();
        let tolerance = crate::schemes::ckks::tolerance(program);
        let states = weights(graph, started, seed);
        let mut shadow = Self { graph: graph.clone(), batch, tolerance, data, states, pinned, outputs: Vec::new(), values: Vec::new() };
        shadow.values = shadow.run(&shadow.graph, &Mixed(&shadow.pinned));
        shadow.outputs = outputs(program, graph, &shadow.states, &shadow.values);
        shadow
    }

    /// The polynomials of a group in a form.
    pub fn fits(&self, group: &Group, form: Form) -> Fits {
        let mut found: Vec<((u8, Pins), Polynomial)> = Vec::new();
        let fit = |&id: &Id| {
            let (function, order, pins) = applied(&self.graph.node(id).op)?;
            let known = found.iter().find(|(of, _)| *of == (order, pins)).map(|(_, p)| p.clone());
            let p = known.unwrap_or_else(|| {
                let p = polynomial(&Elementwise::Named(function), order, &form.pin(pins), 0.0);
                found.push(((order, pins), p.clone()));
                p
            });
            Some((id.index(), p))
        };
        group.nodes.iter().filter_map(fit).collect()
    }

    /// How far the outputs move when these groups have those polynomials.
    pub fn moved<'a>(&self, fits: impl IntoIterator<Item = &'a Fits>) -> f64 {
        let mut polynomials = self.pinned.clone();
        polynomials.extend(fits.into_iter().flatten().cloned());
        self.distance(&self.run(&self.graph, &Mixed(&polynomials)))
    }

    /// How far they move, for an error of one, when the values of a group are all too large by a little: by the largest error of a
    /// polynomial, wherever its arguments are.
    pub fn moved_by_offset(&self, group: &Group) -> f64 {
        let functions = Off { mixed: Mixed(&self.pinned), nodes: &group.nodes, by: OFFSET };
        self.distance(&self.run(&self.graph, &functions)) / OFFSET
    }

    /// How far the outputs are from these of another graph of the same program, with the polynomials that it has.
    pub fn moved_by_graph(&self, program: &Program, graph: &Graph) -> f64 {
        let graph = for_batch(program, graph, self.batch);
        let known = known(program, &graph);
        let polynomials = graph.ids().filter(|id| !known[id.index()]).filter_map(|id| {
            let p = match &graph.node(id).op {
                Op::Map(Map { function, order, pins }) => polynomial(function, *order, pins, self.tolerance),
                op => applied(op).map(|(function, order, pins)| polynomial(&Elementwise::Named(function), order, &pins, self.tolerance))?,
            };
            Some((id.index(), p))
        });
        let values = self.run(&graph, &Mixed(&polynomials.collect()));
        let place = |output: &Output| graph.outputs.iter().find(|(other, _)| other == output).map(|(_, id)| *id);
        let pairs = self.outputs.iter().map(|(output, id, size)| {
            // A graph that lacks an output is not of the same program.
            place(output).map_or(f64::INFINITY, |at| apart(&values[at.index()], &self.values[id.index()], *size))
        });
        pairs.fold(0.0, f64::max)
    }

    /// How far they move when a group of pinned degree has its exact function.
    pub fn moved_by_exact(&self, group: &Group) -> f64 {
        let mut polynomials = self.pinned.clone();
        polynomials.retain(|&node, _| !group.nodes.iter().any(|id| id.index() == node));
        self.distance(&self.run(&self.graph, &Mixed(&polynomials)))
    }

    fn distance(&self, values: &[Vec<f64>]) -> f64 {
        let each = self.outputs.iter().map(|(_, id, size)| apart(&values[id.index()], &self.values[id.index()], *size));
        each.fold(0.0, f64::max)
    }

    fn run(&self, graph: &Graph, functions: &dyn Functions) -> Vec<Vec<f64>> {
        // The evaluator is told what a map is, not where it stands: here the degree says that.
        let numbered = repinned(graph, |id, _, _, pins| Pins { degree: Some(id.index()), ..pins });
        // Every lane holds a sample here.
        let ones = || vec![1.0; self.batch];
        let data = |data: &Data| self.data.get(data).cloned().unwrap_or_else(ones);
        eval::eval(&numbered, self.batch, functions, &data, &self.states)
    }
}

/// The largest difference, over `size`.
fn apart(values: &[f64], exact: &[f64], size: f64) -> f64 {
    let errors = values.iter().zip(exact).map(|(a, b)| (a - b).abs() / size);
    errors.fold(0.0, |largest, error| if error.is_nan() { f64::INFINITY } else { f64::max(largest, error) })
}

/// Exact functions, but for those that have a polynomial.
struct Mixed<'a>(&'a BTreeMap<usize, Polynomial>);

impl Mixed<'_> {
    fn eval(&self, pins: &Pins, x: f64, exact: impl Fn(f64) -> f64) -> f64 {
        // What lies outside of the interval is a matter of ranges, not of degrees.
        let x = pins.range.map_or(x, |range| x.clamp(range.low, range.high));
        pins.degree.and_then(|node| self.0.get(&node)).map_or_else(|| exact(x), |p| p.eval(x))
    }
}

impl Functions for Mixed<'_> {
    fn map(&self, map: &Map, x: f64) -> f64 {
        self.eval(&map.pins, x, |x| Exact.map(map, x))
    }

    fn abs(&self, pins: &Pins, x: f64) -> f64 {
        self.eval(pins, x, f64::abs)
    }
}

/// The same, with the values of a group too large.
struct Off<'a> {
    mixed: Mixed<'a>,
    nodes: &'a [Id],
    by: f64,
}

/// Small enough for what follows to be linear, large enough for doubles.
const OFFSET: f64 = 1e-4;

impl Off<'_> {
    fn by(&self, pins: &Pins) -> f64 {
        if pins.degree.is_some_and(|node| self.nodes.iter().any(|id| id.index() == node)) { self.by } else { 0.0 }
    }
}

impl Functions for Off<'_> {
    fn map(&self, map: &Map, x: f64) -> f64 {
        self.mixed.map(map, x) + if map.order == 0 { self.by(&map.pins) } else { 0.0 }
    }

    fn abs(&self, pins: &Pins, x: f64) -> f64 {
        self.mixed.abs(pins, x) + self.by(pins)
    }
}

/// Weights as training may leave them: orthogonal of gain one, whatever smaller ones they start as. Other states are as
/// they start, or zero where that is not one number: of a scale of 0, an optimiser would make no step at all.
pub(crate) fn weights(graph: &Graph, started: &[State], seed: u64) -> BTreeMap<String, Vec<f64>> {
    let mut states: Vec<State> = Vec::new();
    for id in graph.ids() {
        let Op::State(name) = &graph.node(id).op else { continue };
        if states.iter().any(|s| s.name == *name) {
            continue;
        }
        let stream = u64::MAX / 2 + states.len() as u64;
        let start = match started.iter().find(|state| state.name == *name).map(|state| &state.init) {
            Some(StateInit::Constant(start)) => *start,
            _ => 0.0,
        };
        let (shape, init) = match graph.shape(id) {
            Shape::Matrix(o, i) if name.ends_with(WEIGHT) => (vec![o, i], StateInit::Orthogonal { gain: 1.0, stream }),
            Shape::Matrix(o, i) => (vec![o, i], StateInit::Constant(start)),
            Shape::Vector(d) | Shape::Sample(d) => (vec![d], StateInit::Constant(start)),
        };
        states.push(State { name: name.clone(), shape, init, span: Span::default() });
    }
    init::initial_states(&states, seed).into_iter().map(|(name, t)| (name, t.data)).collect()
}

const WEIGHT: &str = ".weight";
const BIAS: &str = ".bias";

/// New weights, relative to the largest of their network; results, relative to their largest or to one.
fn outputs(program: &Program, graph: &Graph, states: &BTreeMap<String, Vec<f64>>, values: &[Vec<f64>]) -> Vec<(Output, Id, f64)> {
    let largest = |values: &[f64]| values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let network = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let mut sizes: BTreeMap<String, f64> = BTreeMap::new();
    for (name, values) in states.iter().filter(|(name, _)| name.ends_with(WEIGHT) || name.ends_with(BIAS)) {
        let size = sizes.entry(network(name)).or_insert(0.0);
        *size = size.max(largest(values));
    }
    let served = matches!(program.task, Task::Serve(_));
    let size = |output: &Output, id: Id| match output {
        Output::State(name) if name.ends_with(WEIGHT) || name.ends_with(BIAS) => Some(sizes[&network(name)].max(f64::MIN_POSITIVE)),
        Output::Result(_) if served => Some(largest(&values[id.index()]).max(1.0)),
        Output::State(_) | Output::Result(_) => None,
    };
    graph.outputs.iter().filter_map(|(output, id)| Some((output.clone(), *id, size(output, *id)?))).collect()
}
