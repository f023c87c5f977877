//! A run of the graph in doubles, on random data from the declared ranges, that tells how far polynomials move its outputs.

use std::collections::BTreeMap;

use hecc_plan::{Span, State, StateInit, init};

use super::{Group, known, mapped, polynomial};
use crate::check::hir::{Pins, Program, Task};
use crate::schemes::ckks::approximate::Polynomial;
use crate::tensor::eval::{self, Exact, Functions};
use crate::tensor::graph::Map;
use crate::tensor::{Data, Graph, Id, Op, Output, Shape, ranges};

/// Products that one run may take: it is made for every degree of every activation.
const WORK: usize = 1 << 22;

/// Data, weights and what they give with exact functions, pinned degrees being their polynomials.
pub(super) struct Shadow<'a> {
    graph: &'a Graph,
    batch: usize,
    /// Of what has no degree.
    tolerance: f64,
    data: BTreeMap<Data, Vec<f64>>,
    states: BTreeMap<String, Vec<f64>>,
    /// The polynomials of pinned degrees, by node.
    pinned: BTreeMap<usize, Polynomial>,
    /// Outputs that count, with what their errors are relative to.
    outputs: Vec<(Id, f64)>,
    values: Vec<Vec<f64>>,
}

/// A graph for few enough samples to be run often, and how many: sums over the batch count each sample as often as it
/// stands for others.
pub(super) fn resized(program: &Program, graph: &Graph) -> (Graph, usize) {
    let whole = match &program.task {
        Task::Train(train) => train.settings.batch,
        Task::Serve(serve) => serve.batch,
    };
    let size = |id: Id| match (&graph.node(id).op, graph.shape(id)) {
        (Op::Conv(window), _) => window.outputs * window.patch() * window.places(),
        (_, Shape::Matrix(o, i)) => o * i,
        _ => 0,
    };
    let products: usize = graph.ids().map(size).sum();
    let batch = (WORK / products.max(1)).clamp(8, 128).min(whole);
    let ratio = whole as f64 / batch as f64;
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
    (new, batch)
}

impl<'a> Shadow<'a> {
    /// Draws data and weights for a [`resized`] graph, whose states start as `started` says; another `draw`, other ones.
    pub fn new(program: &Program, (graph, started): (&'a Graph, &[State]), batch: usize, draw: u64) -> Self {
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
        let pinned = graph.ids().filter_map(|id| match &graph.node(id).op {
            Op::Map(map) if !known[id.index()] => map.pins.degree.map(|degree| (id.index(), polynomial(map, Some(degree), 0.0))),
            _ => None,
        });
        let pinned = pinned.collect();
        let tolerance = crate::schemes::ckks::tolerance(program);
        let mut shadow =
            Self { graph, batch, tolerance, data, states: weights(graph, started, seed), pinned, outputs: Vec::new(), values: Vec::new() };
        shadow.values = shadow.run(&shadow.pinned);
        shadow.outputs = outputs(program, graph, &shadow.states, &shadow.values);
        shadow
    }

    /// How far the outputs move when these groups have polynomials of these degrees, or compositions where there is none.
    pub fn moved(&self, groups: &[Group], degrees: &[Option<usize>]) -> f64 {
        let mut polynomials = self.pinned.clone();
        for (group, &degree) in groups.iter().zip(degrees) {
            let mut fits: Vec<(Map, Polynomial)> = Vec::new();
            for &id in &group.nodes {
                let Op::Map(map) = &self.graph.node(id).op else { continue };
                let found = fits.iter().find(|(m, _)| m == map).map(|(_, p)| p.clone());
                let p = found.unwrap_or_else(|| {
                    let p = polynomial(map, degree, self.tolerance);
                    fits.push((map.clone(), p.clone()));
                    p
                });
                polynomials.insert(id.index(), p);
            }
        }
        self.distance(&self.run(&polynomials))
    }

    /// How far they move when a group of pinned degree has its exact function.
    pub fn moved_by_exact(&self, group: &Group) -> f64 {
        let mut polynomials = self.pinned.clone();
        polynomials.retain(|&node, _| !group.nodes.iter().any(|id| id.index() == node));
        self.distance(&self.run(&polynomials))
    }

    fn distance(&self, values: &[Vec<f64>]) -> f64 {
        let mut largest = 0.0f64;
        for &(id, size) in &self.outputs {
            for (a, b) in values[id.index()].iter().zip(&self.values[id.index()]) {
                let error = (a - b).abs() / size;
                if error.is_nan() {
                    return f64::INFINITY;
                }
                largest = largest.max(error);
            }
        }
        largest
    }

    fn run(&self, polynomials: &BTreeMap<usize, Polynomial>) -> Vec<Vec<f64>> {
        // The evaluator is told what a map is, not where it stands: here the degree says that.
        let numbered = mapped(self.graph, |id, _, map| Map { pins: Pins { degree: Some(id.index()), ..map.pins }, ..map.clone() });
        let data = |data: &Data| self.data.get(data).cloned().unwrap_or_default();
        eval::eval(&numbered, self.batch, &Mixed(polynomials), &data, &self.states)
    }
}

/// Exact functions, but for the maps that have a polynomial.
struct Mixed<'a>(&'a BTreeMap<usize, Polynomial>);

impl Functions for Mixed<'_> {
    fn map(&self, map: &Map, x: f64) -> f64 {
        // What lies outside of the interval is a matter of ranges, not of degrees.
        let x = map.pins.range.map_or(x, |range| x.clamp(range.low, range.high));
        match map.pins.degree.and_then(|node| self.0.get(&node)) {
            Some(p) => p.eval(x),
            None => Exact.map(map, x),
        }
    }

    fn abs(&self, _pins: &Pins, x: f64) -> f64 {
        x.abs()
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
fn outputs(program: &Program, graph: &Graph, states: &BTreeMap<String, Vec<f64>>, values: &[Vec<f64>]) -> Vec<(Id, f64)> {
    let largest = |values: &[f64]| values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let network = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let mut sizes: BTreeMap<String, f64> = BTreeMap::new();
    for (name, values) in states.iter().filter(|(name, _)| name.ends_with(WEIGHT) || name.ends_with(BIAS)) {
        let size = sizes.entry(network(name)).or_insert(0.0);
        *size = size.max(largest(values));
    }
    let served = matches!(program.task, Task::Serve(_));
    let kept = graph.outputs.iter().filter_map(|(output, id)| match output {
        Output::State(name) if name.ends_with(WEIGHT) || name.ends_with(BIAS) => Some((*id, sizes[&network(name)].max(f64::MIN_POSITIVE))),
        Output::State(_) => None,
        Output::Result(_) if served => Some((*id, largest(&values[id.index()]).max(1.0))),
        Output::Result(_) => None,
    });
    kept.collect()
}
