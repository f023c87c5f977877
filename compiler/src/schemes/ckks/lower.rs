//! From the tensor graph to a circuit, value by value.

use std::collections::BTreeMap;

use hecc_plan::{ClearId, ClearOp, Content, Function, Geometry, Lanes, Layout, Op, Runs, Span, Target, Ties, WireId};

use super::CkksError;
use super::approximate::{Polynomial, approximate};
use super::carried::{Packed, Shelf};
use super::circuit::{Circuit, OutputDraft};
use super::decide::Fit;
use super::known::Client;
use super::pack::one_rate;
use super::share::Packs;
use crate::check::hir::{ClientOp, Pins, Program};
use crate::passes::hoist::{client_computes, client_knows};
use crate::tensor::graph::{Elementwise, Map, Rate};
use crate::tensor::{Graph, Id, Op as TensorOp, Output, Shape};

/// What a tensor value is.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// The client knows it, per sample: `scale` times a node of its program, which has `dim` elements or one for all.
    Known { clear: ClearId, dim: usize, elements: usize, scale: f64 },
    /// A parameter for every sample (a bias), times `scale`.
    Bias { source: BiasSource, dim: usize, scale: f64 },
    /// The same, but the server's own, in the clear.
    PublicBias { name: String, ties: Option<Ties>, dim: usize, scale: f64 },
    /// Ciphertexts, per sample.
    Cts(Cts),
    /// A parameter, or something linear in parameters and gradients.
    Form(Form),
    /// The same, but computed by the key owner, of gradients that came back to it.
    Owned(ClearId),
}

/// Who has a bias.
#[derive(Clone, Debug)]
pub(super) enum BiasSource {
    /// The key owner, as a node of its program.
    Client(ClearId),
    /// The server, among what it carries.
    Carried(Form),
}

/// Ciphertexts of a per-sample value, one per group: `factor` times what they hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cts {
    /// One per group of samples.
    pub wires: Vec<WireId>,
    /// The constant between ciphertexts and value.
    pub factor: f64,
    /// Elements per sample.
    pub dim: usize,
    /// Whether the padding of each sample's vector is zero.
    pub clean: bool,
}

impl Cts {
    /// The padded length of a sample's vector.
    pub fn period(&self) -> usize {
        self.dim.next_power_of_two()
    }
}

/// Σ c state + Σ c gradient + Σ c product + constant.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Form {
    /// States as the update starts.
    pub states: BTreeMap<Term<String>, f64>,
    /// Gradients of this update, by node.
    pub gradients: BTreeMap<Term<Id>, f64>,
    /// Products of an optimiser's that the server computes among what it carries, by node.
    pub products: BTreeMap<Term<Id>, f64>,
    /// Of what is revealed, and of states that the key owner takes a step of.
    pub constant: f64,
}

/// Something, times a learning rate that changes (an index into [`Lowering::rates`]) or not.
pub(super) type Term<T> = (T, Option<usize>);

/// A sum over the batch before the lanes are summed: one ciphertext per piece.
#[derive(Clone, Debug)]
pub(super) struct Gradient {
    /// Ciphertexts with their layouts, in one lane.
    pub pieces: Vec<(WireId, Layout)>,
    /// The constant between ciphertexts and gradient.
    pub factor: f64,
}

/// Lowers one graph for one slot grid.
pub(super) struct Lowering<'a> {
    pub program: &'a Program,
    pub graph: &'a Graph,
    pub grid: Geometry,
    pub circuit: Circuit,
    pub client: Client,
    pub gradients: BTreeMap<Id, Gradient>,
    pub errors: Vec<CkksError>,
    pub notes: Vec<String>,
    pub fits: Vec<Fit>,
    pub public: Vec<(String, Vec<usize>)>,
    pub values: Vec<Option<Value>>,
    pub known: Vec<bool>,
    /// The factor that a node's user would like best (Chebyshev bases want t itself).
    pub wanted: Vec<Option<f64>>,
    /// For matrices and gradients of matrices: each how-many-th diagonal alone is not zero, or is asked for.
    pub every: Vec<usize>,
    /// Factor of each weight's ciphertexts, the same for all its uses.
    pub weight_factors: BTreeMap<String, f64>,
    pub decrypted: u32,
    /// Learning rates that change.
    pub rates: Vec<Rate>,
    /// What exchanges in the middle of the update brought back.
    pub refreshed: BTreeMap<String, ClearId>,
    /// How the server carries the states, if it does.
    pub shelf: Option<Shelf>,
    /// Parameters that this update has changed and uses again, packed by the server.
    pub updated: BTreeMap<String, Packed>,
    /// Products of optimisers, by the nodes that one ciphertext holds.
    pub products: BTreeMap<Vec<Id>, Cts>,
    /// How lanes are packed and unpacked.
    pub packing: Packing,
    /// States that take a new value at every so many updates only.
    pub periods: Vec<(String, u32)>,
    /// Whether this update is one of those, by their number, where that is known.
    pub settled: Vec<(u32, bool)>,
    /// New states that the key owner computes.
    pub settles: Vec<(String, ClearId)>,
}

/// Choices of packing and unpacking lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packing {
    /// Levels of masks of each part of unpacking; 0 for one in all.
    pub unpack: usize,
    /// Levels of masks of packing.
    pub pack: usize,
    /// Scale of masks, in bits.
    pub mask_bits: u32,
    /// Whether every state of a parameter has a ciphertext of its own.
    pub apart: bool,
    /// Which kinds of states share a ciphertext, where that is not by their order.
    pub packs: Option<Packs>,
}

impl Packing {
    /// One level of masks each way, for ciphertexts of that scale.
    pub fn simple(scale: u32) -> Self {
        Self { unpack: 0, pack: 1, mask_bits: scale.min(super::MASK_BITS), apart: false, packs: None }
    }
}

/// Highest degree chosen where the program pins none.
pub(super) const DEGREE_CAP: usize = 16;
/// Room for results and revealed values, in bits of magnitude.
const RESULT_BITS: u32 = 8;

impl<'a> Lowering<'a> {
    pub fn new(program: &'a Program, graph: &'a Graph, grid: Geometry, scale: u32, public: &[(String, Vec<usize>)]) -> Self {
        let mut known: Vec<bool> = Vec::with_capacity(graph.len());
        for id in graph.ids() {
            let operands: Vec<bool> = graph.operands(id).iter().map(|o| known[o.index()]).collect();
            known.push(client_knows(&graph.node(id).op, &operands, &program.secure.client));
        }
        let mut lowering = Self {
            program,
            graph,
            grid,
            circuit: Circuit::new(scale, grid.slots()),
            client: Client::default(),
            gradients: BTreeMap::new(),
            errors: Vec::new(),
            notes: Vec::new(),
            fits: Vec::new(),
            public: public.to_vec(),
            values: vec![None; graph.len()],
            known,
            wanted: vec![None; graph.len()],
            every: super::dense::every(graph),
            weight_factors: BTreeMap::new(),
            decrypted: 0,
            rates: Vec::new(),
            refreshed: BTreeMap::new(),
            shelf: None,
            updated: BTreeMap::new(),
            products: BTreeMap::new(),
            packing: Packing::simple(super::MASK_BITS),
            periods: Vec::new(),
            settled: Vec::new(),
            settles: Vec::new(),
        };
        lowering.wishes();
        lowering
    }

    /// Lowers every node, then the outputs.
    pub fn run(&mut self) {
        for id in self.graph.ids() {
            let value = self.value(id);
            self.values[id.index()] = value;
        }
        if self.errors.is_empty() {
            self.outputs();
        }
    }

    /// Polynomials want their argument in units of half their interval, so that what is multiplied has magnitude one; sums
    /// and constants hand the wish on to layers, whose weights are sent at any factor.
    fn wishes(&mut self) {
        let ids: Vec<Id> = self.graph.ids().collect();
        for &id in ids.iter().rev() {
            let operands = self.graph.operands(id);
            let wish = self.wanted[id.index()];
            match &self.graph.node(id).op {
                _ if self.known[id.index()] => {}
                TensorOp::Map(map) => self.wanted[operands[0].index()] = Some(self.approximation(map).half),
                TensorOp::Max(pins) | TensorOp::Extremum { pins, .. } => {
                    let half = pins.range.map_or(1.0, |range| (range.high - range.low) / 2.0);
                    for o in operands {
                        self.wanted[o.index()] = Some(half);
                    }
                }
                TensorOp::Add | TensorOp::Sub => {
                    for o in operands {
                        self.wanted[o.index()] = wish.or(self.wanted[o.index()]);
                    }
                }
                TensorOp::Scale(c) if *c != 0.0 => self.wanted[operands[0].index()] = wish.map(|w| w / c),
                _ => {}
            }
        }
    }

    pub fn approximation(&self, map: &Map) -> Polynomial {
        approximation(self.program, map)
    }

    pub fn unsupported(&mut self, what: impl Into<String>, span: Span) -> Option<Value> {
        self.errors.push(CkksError::NotSupported { what: what.into(), help: None, span });
        None
    }

    /// Kernels that nobody has in the clear, where no patches come from the client that they could multiply as they rest.
    pub fn carried_kernels(&mut self, span: Span) -> Option<Value> {
        let what = "kernels that the server alone trains, but those of a first layer whose patches fit a ciphertext".to_owned();
        let help = "write `refresh = client` in `secure ckks { ... }`: the key owner lays the kernels out before it encrypts them";
        self.errors.push(CkksError::NotSupported { what, help: Some(help), span });
        None
    }

    fn get(&self, id: Id) -> Option<Value> {
        self.value_of(id)
    }

    pub fn value_of(&self, id: Id) -> Option<Value> {
        self.values[id.index()].clone()
    }

    /// The value of a node; `None` after an error.
    fn value(&mut self, id: Id) -> Option<Value> {
        let node = self.graph.node(id).clone();
        let operands = self.graph.operands(id);
        let span = node.span;
        if matches!(node.op, TensorOp::State(_)) || matches!(node.shape, Shape::Matrix(..) | Shape::Vector(_)) {
            return self.form(id, &node.op, node.shape, &operands, span);
        }
        let dim = match node.shape {
            Shape::Sample(d) => d,
            Shape::Vector(_) | Shape::Matrix(..) => 1,
        };
        if self.known[id.index()] {
            return self.known_value(&node.op, dim, &operands, span);
        }
        let first = self.get(*operands.first()?)?;
        match &node.op {
            TensorOp::Add | TensorOp::Sub => {
                let second = self.get(operands[1])?;
                self.sum(first, second, matches!(node.op, TensorOp::Sub), self.wanted[id.index()], span)
            }
            TensorOp::Mul => {
                let second = self.get(operands[1])?;
                let (a, b) = (self.natural(&first, span)?, self.natural(&second, span)?);
                Some(Value::Cts(self.multiply(&a, &b, span)))
            }
            TensorOp::Scale(c) => Some(match first {
                Value::Known { clear, dim, elements, scale } => Value::Known { clear, dim, elements, scale: c * scale },
                Value::Bias { source, dim, scale } => Value::Bias { source, dim, scale: c * scale },
                Value::PublicBias { name, ties, dim, scale } => Value::PublicBias { name, ties, dim, scale: c * scale },
                Value::Cts(cts) => Value::Cts(Cts { factor: c * cts.factor, ..cts }),
                Value::Form(_) | Value::Owned(_) => return self.unsupported("this use of a parameter", span),
            }),
            TensorOp::Offset(c) => {
                let cts = self.natural(&first, span)?;
                Some(Value::Cts(self.offset(&cts, *c, span)))
            }
            TensorOp::Spread => match first {
                Value::Form(form) if form.constant == 0.0 || !self.carries() => self.bias(&form, dim, span),
                Value::Owned(clear) => Some(Value::Bias { source: BiasSource::Client(clear), dim, scale: 1.0 }),
                bias @ Value::PublicBias { .. } => Some(bias),
                _ => self.unsupported("this broadcast over the batch", span),
            },
            TensorOp::Broadcast => {
                let cts = self.natural(&first, span)?;
                if cts.dim != cts.period() {
                    return self.unsupported("numbers in turns that do not fill their period", span);
                }
                Some(Value::Cts(Cts { dim, clean: dim.is_power_of_two(), ..cts }))
            }
            TensorOp::Dense | TensorOp::DenseTranspose => {
                let weight = self.get(operands[1])?;
                let Shape::Matrix(out, inputs) = self.graph.shape(operands[1]) else { return None };
                let forward = matches!(node.op, TensorOp::Dense);
                let every = self.every[operands[1].index()];
                self.by_diagonals(&first, &weight, ((out, inputs), every), forward, self.wanted[id.index()], span)
            }
            TensorOp::Conv(window) | TensorOp::ConvTranspose(window) => {
                let weight = self.get(operands[1])?;
                let forward = matches!(node.op, TensorOp::Conv(_));
                self.convolution(&first, &weight, window, forward, self.wanted[id.index()], span)
            }
            TensorOp::Places(window) => {
                let weight = self.get(operands[1])?;
                self.at_places(&first, &weight, window, self.wanted[id.index()], span)
            }
            TensorOp::SumElements => {
                let cts = self.natural(&first, span)?;
                if dim != dim.next_power_of_two() {
                    return self.unsupported("sums of numbers in turns that do not fill their period", span);
                }
                Some(Value::Cts(self.sum_elements(&cts, dim, span)))
            }
            // A step from one element to the next matters where there is more than one.
            TensorOp::Slice { step, .. } if *step > 1 && dim > 1 => self.unsupported("elements a step apart", span),
            TensorOp::Place { step, .. } if *step > 1 && self.graph.shape(operands[0]) != Shape::Sample(1) => {
                self.unsupported("elements a step apart", span)
            }
            TensorOp::Slice { start, .. } => {
                let cts = self.natural(&first, span)?;
                Some(Value::Cts(self.slice(&cts, *start, dim, span)))
            }
            TensorOp::Place { start, .. } => {
                let cts = self.natural(&first, span)?;
                Some(Value::Cts(self.place(&cts, *start, dim, span)))
            }
            TensorOp::Map(map) => {
                let p = self.approximation(map);
                self.note_approximation(map, &p, span);
                let x = self.natural(&first, span)?;
                if p.degree() == 0 {
                    let clear = self.client.ones(self.program);
                    return Some(Value::Known { clear, dim, elements: 1, scale: p.coefficients[0] });
                }
                Some(Value::Cts(self.polynomial(&x, &p, span)))
            }
            TensorOp::Max(pins) => {
                let x = self.natural(&first, span)?;
                Some(Value::Cts(self.maximum(&x, pins, span)))
            }
            TensorOp::Extremum { larger, pins } => {
                let second = self.get(operands[1])?;
                let (a, b) = (self.natural(&first, span)?, self.natural(&second, span)?);
                Some(Value::Cts(self.extremum(&a, &b, *larger, pins, span)))
            }
            TensorOp::ArgMax => {
                self.errors.push(CkksError::NeedsClient { what: "argmax", span });
                None
            }
            TensorOp::Refresh => {
                let x = self.natural(&first, span)?;
                let wires = x.wires.iter().map(|&w| self.circuit.push(Op::Bootstrap(w), span)).collect();
                Some(Value::Cts(Cts { wires, ..x }))
            }
            TensorOp::Data(_)
            | TensorOp::Rate(_)
            | TensorOp::AdamStep(_)
            | TensorOp::State(_)
            | TensorOp::Constant(_)
            | TensorOp::SumBatch
            | TensorOp::DenseGradient
            | TensorOp::ConvGradient(_)
            | TensorOp::Patches(_)
            | TensorOp::PlacesGradient(_)
            | TensorOp::Expand(_)
            | TensorOp::Collect(_)
            | TensorOp::Repeat
            | TensorOp::SumRuns
            | TensorOp::Return
            | TensorOp::Stop => self.unsupported("this operation here", span),
        }
    }

    /// A value that the client computes before encryption, or after an exchange.
    pub fn known_value(&mut self, op: &TensorOp, dim: usize, operands: &[Id], span: Span) -> Option<Value> {
        let exchanged = client_computes(op, &self.program.secure.client);
        let mut parts = Vec::new();
        for &operand in operands {
            parts.push(match self.get(operand)? {
                Value::Known { clear, scale, elements, .. } => (clear, scale, elements),
                other if exchanged => {
                    let cts = self.natural(&other, span)?;
                    let label = if matches!(op, TensorOp::Return) { "network output" } else { "to the client" };
                    (self.exchange(&cts, label), 1.0, cts.dim)
                }
                _ => return self.unsupported("this client-side operation", span),
            });
        }
        let widest = parts.iter().map(|p| p.2).max().unwrap_or(dim);
        let client = &mut self.client;
        let known = |clear: ClearId, elements: usize, scale: f64| Some(Value::Known { clear, dim, elements, scale });
        let plain = |client: &mut Client, (clear, scale, _): (ClearId, f64, usize)| client.scaled(clear, scale);
        match op {
            TensorOp::Data(data) => {
                let elements = if matches!(data, crate::tensor::Data::Ones) { 1 } else { dim };
                known(client.data(self.program, data, dim), elements, 1.0)
            }
            TensorOp::Constant(c) => known(client.ones(self.program), 1, *c),
            TensorOp::Scale(c) => known(parts[0].0, widest, c * parts[0].1),
            TensorOp::Broadcast if parts[0].2 > 1 => {
                let turns = vec![parts[0].0; dim / parts[0].2];
                known(client.push(ClearOp::Concat(turns)), dim, parts[0].1)
            }
            TensorOp::Broadcast | TensorOp::Stop | TensorOp::Return | TensorOp::Refresh => known(parts[0].0, widest, parts[0].1),
            TensorOp::Mul => known(client.push(ClearOp::Mul(parts[0].0, parts[1].0)), widest, parts[0].1 * parts[1].1),
            TensorOp::Add | TensorOp::Sub => {
                // Relative to the first, so that a common small constant stays outside of what is encrypted.
                let common = if parts[0].1 == 0.0 { 1.0 } else { parts[0].1 };
                let a = client.scaled(parts[0].0, parts[0].1 / common);
                let b = client.scaled(parts[1].0, parts[1].1 / common);
                let op = if matches!(op, TensorOp::Add) { ClearOp::Add(a, b) } else { ClearOp::Sub(a, b) };
                known(client.push(op), widest, common)
            }
            TensorOp::Offset(c) => {
                let x = plain(client, parts[0]);
                known(client.push(ClearOp::Affine { x, factor: 1.0, offset: *c }), widest, 1.0)
            }
            TensorOp::SumElements => {
                let Shape::Sample(summed) = self.graph.shape(operands[0]) else { return None };
                let (x, elements, scale) = (parts[0].0, parts[0].2, parts[0].1);
                // One element for all counts for each.
                let copies = if elements == 1 { (summed / dim) as f64 } else { 1.0 };
                if elements == 1 || dim == 1 {
                    return known(client.push(ClearOp::SumElements(x)), 1, scale * copies);
                }
                let sums = (0..dim).map(|turn| {
                    let own = client.elements(x, (turn..summed).step_by(dim));
                    client.push(ClearOp::SumElements(own))
                });
                let sums = sums.collect();
                known(client.push(ClearOp::Concat(sums)), dim, scale)
            }
            TensorOp::Slice { .. } if parts[0].2 == 1 => known(parts[0].0, 1, parts[0].1),
            TensorOp::Slice { start, step: 1 } => {
                known(client.push(ClearOp::Slice { x: parts[0].0, start: *start, len: dim }), dim, parts[0].1)
            }
            TensorOp::Slice { start, step } => known(client.elements(parts[0].0, (*start..).step_by(*step).take(dim)), dim, parts[0].1),
            TensorOp::Place { start, step } => {
                let x = plain(client, parts[0]);
                let Shape::Sample(width) = self.graph.shape(operands[0]) else { return None };
                let ones = client.ones(self.program);
                let zero = client.push(ClearOp::Affine { x: ones, factor: 0.0, offset: 0.0 });
                let mut whole = vec![zero; *start];
                if *step == 1 {
                    whole.extend(vec![x; width / parts[0].2]);
                    whole.extend(vec![zero; dim - start - width]);
                } else {
                    whole.resize(dim, zero);
                    for element in 0..width {
                        whole[start + element * step] =
                            if parts[0].2 == 1 { x } else { client.push(ClearOp::Slice { x, start: element, len: 1 }) };
                    }
                }
                known(client.push(ClearOp::Concat(whole)), dim, 1.0)
            }
            TensorOp::Map(map) => {
                let x = plain(client, parts[0]);
                match &map.function {
                    Elementwise::Named(function) => known(client.map(*function, map.order, x), widest, 1.0),
                    Elementwise::Polynomial(_) => {
                        let p = self.approximation(map);
                        let op = ClearOp::Chebyshev { x, centre: p.centre, half: p.half, coefficients: p.coefficients };
                        known(self.client.push(op), widest, 1.0)
                    }
                }
            }
            // Pictures of one number for all pixels do not come from outside.
            TensorOp::Patches(window) if parts[0].2 == window.input() => {
                known(client.push(ClearOp::Patches { x: parts[0].0, window: *window }), dim, parts[0].1)
            }
            TensorOp::Max(_) => {
                let x = plain(client, parts[0]);
                known(client.push(ClearOp::MaxElements(x)), 1, 1.0)
            }
            TensorOp::ArgMax => {
                let x = plain(client, parts[0]);
                known(client.push(ClearOp::ArgMax(x)), widest, 1.0)
            }
            TensorOp::Extremum { larger, .. } => {
                let (a, b) = (plain(client, parts[0]), plain(client, parts[1]));
                known(client.push(if *larger { ClearOp::Max(a, b) } else { ClearOp::Min(a, b) }), widest, 1.0)
            }
            TensorOp::Rate(_)
            | TensorOp::AdamStep(_)
            | TensorOp::State(_)
            | TensorOp::Dense
            | TensorOp::DenseTranspose
            | TensorOp::DenseGradient
            | TensorOp::Conv(_)
            | TensorOp::ConvTranspose(_)
            | TensorOp::ConvGradient(_)
            | TensorOp::Patches(_)
            | TensorOp::Places(_)
            | TensorOp::PlacesGradient(_)
            | TensorOp::Expand(_)
            | TensorOp::Collect(_)
            | TensorOp::Repeat
            | TensorOp::SumRuns
            | TensorOp::Spread
            | TensorOp::SumBatch => self.unsupported("this client-side operation", span),
        }
    }

    /// Whether the key owner takes the step to a new state, on gradients that come back: where the program says so, where gradients
    /// have several learning rates, of which what crosses could be a multiple of one alone, and where there is a constant.
    pub(super) fn steps_at_client(&self, form: &Form) -> bool {
        let owns_steps = self.program.secure.client.contains(&ClientOp::Optimizer);
        let on_gradients = !form.gradients.is_empty() && (owns_steps || one_rate(form).is_none());
        !self.carries() && (on_gradients || form.constant != 0.0)
    }

    /// Sends a value to the client in the middle of the update.
    fn exchange(&mut self, cts: &Cts, label: &str) -> ClearId {
        let key = format!("{cts:?}");
        if let Some(&clear) = self.refreshed.get(&key) {
            return clear;
        }
        let id = self.decrypted;
        self.decrypted += 1;
        let mut round = 0;
        for (group, &wire) in cts.wires.iter().enumerate() {
            let layout = Layout::Samples { group, period: cts.period() };
            let contents =
                vec![Content { tensor: Target::Value { id, shape: vec![self.grid.batch, cts.dim] }, layout, factor: cts.factor }];
            round = round.max(self.circuit.nodes[wire.index()].round);
            self.circuit.outputs.push(OutputDraft {
                label: label.to_owned(),
                wire,
                contents,
                headroom: RESULT_BITS + magnitude_bits(cts.factor),
            });
        }
        let clear = self.client.decrypted(id, round);
        self.refreshed.insert(key, clear);
        clear
    }

    pub fn note_approximation(&mut self, map: &Map, p: &Polynomial, span: Span) {
        if map.order == 0
            && let Elementwise::Named(function) = &map.function
        {
            self.note_fit(function.name(), map, p, span);
        }
    }

    pub fn note_fit(&mut self, name: &str, map: &Map, p: &Polynomial, span: Span) {
        // A network that is applied twice decides once.
        if !self.fits.iter().any(|fit| fit.span == span && fit.polynomial == *p) {
            let (function, pins) = (map.function.clone(), map.pins);
            self.fits.push(Fit { name: name.to_owned(), function, pins, polynomial: p.clone(), span });
        }
        let (low, high) = (p.centre - p.half, p.centre + p.half);
        let note = format!("{name}: degree {} on [{low}, {high}], largest error {:.1e}", p.degree(), p.error);
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// A value as ciphertexts at the factor it comes with (what is fresh: holding numbers of magnitude one).
    pub fn natural(&mut self, value: &Value, span: Span) -> Option<Cts> {
        match value {
            Value::Cts(cts) => Some(cts.clone()),
            Value::Known { scale, .. } | Value::Bias { scale, .. } => {
                let factor = if *scale == 0.0 { 1.0 } else { *scale };
                self.fresh(value, factor, span)
            }
            Value::PublicBias { .. } => {
                self.unsupported("a public vector on its own", span);
                None
            }
            Value::Form(_) | Value::Owned(_) => {
                self.unsupported("this use of a parameter", span);
                None
            }
        }
    }

    /// A fresh value as ciphertexts at a given factor.
    pub fn fresh(&mut self, value: &Value, factor: f64, span: Span) -> Option<Cts> {
        match value {
            Value::Known { clear, dim, elements, scale } => {
                let round = self.client.round(*clear);
                let period = elements.next_power_of_two();
                let wires = (0..self.grid.groups())
                    .map(|group| {
                        let layout = Layout::Samples { group, period };
                        let contents = vec![Content { tensor: *clear, layout, factor: scale / factor }];
                        self.circuit.input("batch", contents, round, span)
                    })
                    .collect();
                Some(Cts { wires, factor, dim: *dim, clean: elements == dim || dim.is_power_of_two() })
            }
            Value::Bias { source, dim, scale } => {
                let wire = match source {
                    BiasSource::Client(clear) => {
                        let round = self.client.round(*clear);
                        let layout = Layout::Vector { period: dim.next_power_of_two(), lanes: Lanes::All, runs: Runs::DENSE };
                        let contents = vec![Content { tensor: *clear, layout, factor: scale / factor }];
                        self.circuit.input("bias", contents, round, span)
                    }
                    BiasSource::Carried(form) => self.unpacked(&form.clone(), 0, scale / factor, &[*dim], span)?,
                };
                Some(Cts { wires: vec![wire; self.grid.groups()], factor, dim: *dim, clean: true })
            }
            Value::Cts(cts) => Some(self.rescale(cts, factor, span)),
            Value::PublicBias { .. } | Value::Form(_) | Value::Owned(_) => self.natural(value, span),
        }
    }

    fn outputs(&mut self) {
        let mut forms: Vec<(String, Form, Span)> = Vec::new();
        for (output, id) in self.graph.outputs.clone() {
            let span = self.graph.node(id).span;
            let value = self.get(id);
            match (output, value) {
                // All elements of it are one number.
                (Output::State(name), Some(Value::Form(form))) if !self.carries() && form.is_of_states() && form.states.is_empty() => {
                    let x = self.client.push(ClearOp::State(name.clone()));
                    self.settles.push((name, self.client.push(ClearOp::Affine { x, factor: 0.0, offset: form.constant })));
                }
                // Gradients come back, and the key owner takes the step.
                (Output::State(name), Some(Value::Form(form))) if self.steps_at_client(&form) => {
                    let shape = self.graph.shape(id).extents();
                    if let Some(clear) = self.owned_form(&form, &shape, span) {
                        self.settles.push((name, clear));
                    }
                }
                (Output::State(name), Some(Value::Form(form))) if form.constant == 0.0 => forms.push((name, form, span)),
                (Output::State(name), Some(Value::Owned(clear))) => self.settles.push((name, clear)),
                (Output::Result(name), Some(Value::Form(form))) => self.reveal(&name, &form, span),
                (Output::Result(name), Some(Value::Owned(_))) => {
                    let what = format!("revealing `{name}`, a product of numbers of the whole batch: reveal its factors");
                    self.unsupported(what, span);
                }
                (Output::Result(name), Some(value)) => {
                    let Some(cts) = self.natural(&value, span) else { continue };
                    for (group, &wire) in cts.wires.iter().enumerate() {
                        let layout = Layout::Samples { group, period: cts.period() };
                        let tensor = Target::Result { name: name.clone(), dim: cts.dim };
                        let contents = vec![Content { tensor, layout, factor: cts.factor }];
                        let headroom = RESULT_BITS + magnitude_bits(cts.factor);
                        self.circuit.outputs.push(OutputDraft { label: name.clone(), wire, contents, headroom });
                    }
                }
                // Its error is recorded.
                (Output::Result(_), None) => {}
                (Output::State(name), _) => {
                    self.unsupported(format!("the new value of `{name}`"), span);
                }
            }
        }
        if self.carries() { self.carry(&forms) } else { self.pack_states(&forms) }
    }
}

/// The polynomial that computes a map.
pub(super) fn approximation(program: &Program, map: &Map) -> Polynomial {
    let cap = if map.pins.degree.is_some() { usize::MAX } else { DEGREE_CAP };
    let p = approximate(&map.function, &map.pins, super::tolerance(program), cap);
    if map.order == 0 { p } else { p.derivative() }
}

/// The polynomial that computes the magnitude of a difference, of which maxima and minima are made.
pub(crate) fn magnitude(program: &Program, pins: Pins) -> Polynomial {
    approximation(program, &Map { function: Elementwise::Named(Function::Abs), order: 0, pins })
}

/// Bits by which values of magnitude one grow when they are divided by `factor`.
pub(super) fn magnitude_bits(factor: f64) -> u32 {
    libm::ceil(-libm::log2(factor.abs())).clamp(0.0, 64.0) as u32
}
