//! From the tensor graph to a circuit of integers: scales, products, tables.

mod arg_max;
mod carried;
mod functions;
mod products;

use std::collections::BTreeMap;

use hecc_plan::tfhe::Row;
use hecc_plan::{ClearId, ClearOp, Function as Named, Span, State, Target};

use self::carried::Kept;
pub use self::carried::{FINEST, Master};
use self::functions::{Direction, Narrow, Rounded};
use super::circuit::{Circuit, Function, Id, Output, width};
use super::error::TfheError;
use super::last::Last;
use super::linear::{Combination, Leaf, Linear};
use super::seen::Seen;
use crate::check::hir::{Program, Refresh, Task};
use crate::schemes::ckks::known::Client;
use crate::tensor::build::Built;
use crate::tensor::eval::{Exact, Functions};
use crate::tensor::graph::{self, Graph, Op, Shape};

/// Bits that coefficients of sums may differ by before they are rounded.
const SPREAD: u32 = 12;
/// Bits beyond those of weights that a state keeps where it is only added.
const FINER: u32 = 14;
/// Most bits beyond those that a table reads of sums of what the client encrypts.
const MORE: u32 = 2;
/// How far values of a training run may leave those of the sample before they are cut off.
const MARGIN: f64 = 1.5;
/// Bits by which the integers that can occur must exceed those that do, for cutting the others off to pay: it takes some
/// bootstraps more, and where weights are in the clear their grid is chosen for the integers that can occur.
const SLACK: [u32; 2] = [2, 1];

/// What the client has.
#[derive(Clone, Debug)]
struct Held {
    len: usize,
    /// Largest magnitude of each element, or of all.
    bounds: Vec<f64>,
    label: String,
    /// Whether it is a carried state: the client has it, but is not asked to compute with it.
    state: bool,
    span: Span,
}

/// Small integers that stand for the elements of a tensor, equal ones once.
struct Digits {
    id: Id,
    elements: Vec<usize>,
    scale: f64,
}

/// Integers of few bits.
struct Narrowed {
    id: Id,
    scale: f64,
    /// The largest magnitude that counts, where there are integers beyond it.
    most: Option<i64>,
}

/// The state of a lowering.
struct Lowering<'a> {
    graph: &'a Graph,
    batch: usize,
    /// Bits of weights and of activations.
    bits: (u32, u32),
    /// Whether scales are powers of two, so that sums of products stay exact.
    dyadic: bool,
    /// Values of every node on the sample.
    sample: &'a [Vec<f64>],
    sample_batch: usize,
    circuit: Circuit,
    client: Client,
    held: BTreeMap<ClearId, Held>,
    /// The states of the program.
    states: &'a [State],
    /// Whether the server carries them, and which it has so far.
    carries: bool,
    kept: BTreeMap<String, Kept>,
    masters: Vec<Master>,
    /// What is known of values beside the sample.
    seen: Seen<'a>,
    /// The layer before the choice, where the client prepares its weights.
    last: Option<Last>,
    /// What the integers of a table are rounded from.
    reals: BTreeMap<Id, Rounded>,
    /// What was rounded to few bits, by direction.
    narrow: BTreeMap<Direction, Narrow>,
    choices: Choices,
    values: Vec<Linear>,
}

/// A lowered program.
pub struct Lowered {
    /// The circuit.
    pub circuit: Circuit,
    /// The client's program.
    pub client: Client,
    /// How states are carried, if the server does.
    pub masters: Vec<Master>,
}

/// Bits of weights and of activations: of signed integers a sign and one more at least.
pub fn bits(program: &Program) -> (u32, u32) {
    let (weights, activations) = program.secure.quantize;
    (weights.max(2), activations.max(2))
}

/// Whether the server is to carry the states of a program.
pub fn carries(program: &Program) -> bool {
    matches!(program.task, Task::Train(_)) && program.secure.refresh == Refresh::Bootstrap
}

/// What more than one circuit does: which one is cheaper is seen when parameters are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Choices {
    /// An arg-max of more than two by a tournament, not by all pairs.
    pub tournament: bool,
    /// Products that share tables of their factors, where that takes fewer tables.
    pub shared_halves: bool,
    /// All integers of a vector drop as many bits: more bootstraps, and smaller ones.
    pub together: bool,
    /// Products of wide integers from products of their halves: more tables, of fewer bits.
    pub radix: bool,
    /// Most bits below those that are read in states that the server carries.
    pub below: u32,
}

impl Choices {
    /// All that are worth a look.
    pub const ALL: [Choices; 7] = {
        let plain = Choices { tournament: false, shared_halves: false, together: false, radix: false, below: FINEST };
        [
            plain,
            Choices { shared_halves: true, ..plain },
            Choices { tournament: true, ..plain },
            Choices { tournament: true, shared_halves: true, ..plain },
            Choices { together: true, ..plain },
            Choices { radix: true, ..plain },
            Choices { radix: true, shared_halves: true, ..plain },
        ]
    };
}

/// Lowers a graph. `sample` holds the values of its nodes on `sample_batch` samples, by which scales are chosen; `public` the
/// arrays that stand in the circuit; `seen` what is known of values beside the sample.
///
/// # Errors
/// What has no circuit of integers.
pub fn run(
    program: &Program,
    built: &Built,
    batch: usize,
    (sample, sample_batch): (&[Vec<f64>], usize),
    public: &BTreeMap<String, Vec<f64>>,
    choices: Choices,
    seen: Seen<'_>,
) -> Result<Lowered, Vec<TfheError>> {
    let graph = &built.graph;
    let mut lowering = Lowering {
        graph,
        batch,
        bits: bits(program),
        dyadic: matches!(program.task, Task::Train(_)),
        sample,
        sample_batch,
        circuit: Circuit::default(),
        client: Client::default(),
        held: BTreeMap::new(),
        states: &built.states,
        carries: carries(program),
        kept: BTreeMap::new(),
        masters: Vec::new(),
        seen,
        last: seen.moving.and_then(|moving| Last::find(graph, moving.functions)),
        reals: BTreeMap::new(),
        narrow: BTreeMap::new(),
        choices,
        values: Vec::new(),
    };
    for id in graph.ids() {
        let mut value = lowering.node(program, id, public).map_err(|error| vec![error])?;
        if lowering.carries {
            value = lowering.kept_anew(id, value).map_err(|error| vec![error])?;
        }
        lowering.values.push(value);
    }
    for (output, id) in &graph.outputs {
        if !lowering.carries || matches!(output, graph::Output::Result(_)) {
            lowering.output(output, *id);
        }
    }
    if lowering.carries {
        lowering.carry_others(&built.states);
    }
    let Lowering { circuit, client, masters, .. } = lowering;
    Ok(Lowered { circuit: circuit.pruned(), client, masters })
}

/// What all but one in a thousand values do not exceed in magnitude: the client clips the others.
fn usual<'a>(values: impl Iterator<Item = &'a f64>) -> f64 {
    let mut sizes: Vec<f64> = values.map(|v| v.abs()).collect();
    sizes.sort_unstable_by(f64::total_cmp);
    sizes.get((sizes.len().saturating_sub(1)) * 999 / 1000).copied().unwrap_or(0.0)
}

impl Lowering<'_> {
    /// Samples and elements of a value: (rows, columns).
    fn extent(&self, id: crate::tensor::Id) -> (usize, usize) {
        match self.graph.shape(id) {
            Shape::Sample(d) => (self.batch, d),
            Shape::Vector(d) => (1, d),
            Shape::Matrix(out, inputs) => (out, inputs),
        }
    }

    fn node(&mut self, program: &Program, id: crate::tensor::Id, public: &BTreeMap<String, Vec<f64>>) -> Result<Linear, TfheError> {
        let node = self.graph.node(id);
        let span = node.span;
        let operands = self.graph.operands(id);
        let (rows, cols) = self.extent(id);
        let x = |slot: usize| &self.values[operands[slot].index()];
        let extent = |slot: usize| self.extent(operands[slot]);
        let bounds: Vec<f64> = operands.iter().map(|o| usual(self.sample[o.index()].iter())).collect();
        let bound = |slot: usize| bounds[slot];
        Ok(match &node.op {
            Op::Data(data) => {
                let tensor = self.client.data(program, data, cols);
                self.hold(tensor, id, graph::name(&node.op), false, span)
            }
            Op::State(name) => match public.get(name) {
                Some(values) => Linear::constants(values.iter().copied()),
                None if self.carries => self.carried(&name.clone(), rows * cols, span),
                None => {
                    let tensor = self.client.push(ClearOp::State(name.clone()));
                    match self.prepared(id, tensor) {
                        Some((tensor, bound)) => {
                            let (len, bounds) = (rows * cols, vec![bound]);
                            self.held.entry(tensor).or_insert(Held { len, bounds, label: name.clone(), state: true, span });
                            Linear::of(Leaf::Client(tensor), len, 1.0)
                        }
                        None => self.hold(tensor, id, name.clone(), true, span),
                    }
                }
            },
            Op::Constant(c) => Linear::constants(vec![*c; rows * cols]),
            Op::Add => x(0).plus(x(1), 1.0),
            Op::Sub => x(0).plus(x(1), -1.0),
            Op::Scale(c) => x(0).affine(*c, 0.0),
            Op::Offset(c) => x(0).affine(1.0, *c),
            Op::AdamStep(_) => return Err(TfheError::unsupported("`adam` and `rmsprop`", span)),
            Op::Rate(_) => return Err(TfheError::unsupported("a learning rate that changes, on integers: write one that stays", span)),
            Op::Stop | Op::Return | Op::Refresh => x(0).clone(),
            Op::Spread => x(0).gather((0..rows * cols).map(|i| Some(i % cols))),
            Op::Broadcast => {
                let from = extent(0).1;
                x(0).gather((0..rows * cols).map(|i| Some(i / cols * from + i % cols % from)))
            }
            Op::Slice { start, step } => {
                let from = extent(0).1;
                x(0).gather((0..rows * cols).map(|i| Some(i / cols * from + start + i % cols * step)))
            }
            Op::Place { start, step } => {
                let from = extent(0).1;
                let element = |at: usize| {
                    at.checked_sub(*start).filter(|past| past.is_multiple_of(*step)).map(|past| past / step).filter(|&e| e < from)
                };
                x(0).gather((0..rows * cols).map(|i| element(i % cols).map(|e| i / cols * from + e)))
            }
            Op::SumBatch => {
                let batch = self.batch;
                x(0).sums((0..cols).map(|e| (0..batch).map(|b| b * cols + e).collect()))
            }
            Op::SumElements => {
                let from = extent(0).1;
                x(0).sums((0..rows * cols).map(|i| (i % cols..from).step_by(cols).map(|e| i / cols * from + e).collect()))
            }
            Op::Mul => {
                let (a, b) = (x(0).clone(), x(1).clone());
                self.products((&a, bound(0)), (&b, bound(1)), &(0..rows * cols).map(|i| vec![(i, i)]).collect::<Vec<_>>(), span)?
            }
            Op::Dense => {
                let ((_, inputs), (a, w)) = (extent(0), (x(0).clone(), x(1).clone()));
                if cols == 2 && self.last.is_some_and(|last| last.dense == id) {
                    let pairs = |row: usize| (0..inputs).map(|e| (row * inputs + e, e)).collect();
                    let first = self.products((&a, bound(0)), (&w, bound(1)), &(0..rows).map(pairs).collect::<Vec<_>>(), span)?;
                    let both = |e: &Combination| {
                        let mut negative = Combination::default();
                        negative.add(e, -1.0);
                        [e.clone(), negative]
                    };
                    return Ok(Linear { elements: first.elements.iter().flat_map(both).collect() });
                }
                let pairs = |i: usize| (0..inputs).map(|e| (i / cols * inputs + e, i % cols * inputs + e)).collect();
                self.products((&a, bound(0)), (&w, bound(1)), &(0..rows * cols).map(pairs).collect::<Vec<_>>(), span)?
            }
            Op::DenseTranspose => {
                let ((_, outputs), (d, w)) = (extent(0), (x(0).clone(), x(1).clone()));
                let pairs = |i: usize| (0..outputs).map(|o| (i / cols * outputs + o, o * cols + i % cols)).collect();
                self.products((&d, bound(0)), (&w, bound(1)), &(0..rows * cols).map(pairs).collect::<Vec<_>>(), span)?
            }
            Op::DenseGradient => {
                let (batch, (d, a)) = (self.batch, (x(0).clone(), x(1).clone()));
                let pairs = |i: usize| (0..batch).map(|b| (b * rows + i / cols, b * cols + i % cols)).collect();
                self.products((&d, bound(0)), (&a, bound(1)), &(0..rows * cols).map(pairs).collect::<Vec<_>>(), span)?
            }
            Op::Conv(w) | Op::ConvTranspose(w) | Op::ConvGradient(w) => {
                let (first, second) = (x(0).clone(), x(1).clone());
                let (output, input) = (w.output(), w.input());
                let mut pairs: Vec<Vec<(usize, usize)>> = vec![Vec::new(); rows * cols];
                for b in 0..self.batch {
                    w.visit(|weight, o, i| match node.op {
                        Op::Conv(_) => pairs[b * output + o].push((b * input + i, weight)),
                        Op::ConvTranspose(_) => pairs[b * input + i].push((b * output + o, weight)),
                        _ => pairs[weight].push((b * output + o, b * input + i)),
                    });
                }
                self.products((&first, bound(0)), (&second, bound(1)), &pairs, span)?
            }
            Op::Patches(_) | Op::Places(_) | Op::PlacesGradient(_) | Op::Expand(_) | Op::Collect(_) => {
                return Err(TfheError::unsupported("what is laid out for slots", span));
            }
            Op::Repeat => {
                let run = cols / extent(0).1;
                x(0).gather((0..cols).map(|e| Some(e / run)))
            }
            Op::SumRuns => {
                let run = extent(0).1 / cols;
                x(0).sums((0..cols).map(|e| (e * run..(e + 1) * run).collect()))
            }
            Op::Map(map) => {
                let argument = x(0).clone();
                let measured = match &map.function {
                    graph::Elementwise::Named(function) => self.seen.argument(*function, span),
                    graph::Elementwise::Polynomial(_) => None,
                };
                match (self.seen.moving, map.pins.range) {
                    // The interval has a margin of its own.
                    (Some(moving), Some(range)) => {
                        let bound = range.low.abs().max(range.high.abs()) / MARGIN;
                        self.activation(&argument, bound, &|v| moving.functions.map(map, v), span)?
                    }
                    (Some(_), None) | (None, _) => {
                        self.activation(&argument, measured.unwrap_or(bound(0)), &|v| Exact.map(map, v), span)?
                    }
                }
            }
            Op::Extremum { larger, pins: _ } => {
                let (a, b) = (x(0).clone(), x(1).clone());
                let measured = self.seen.argument(Named::Abs, span);
                self.extremum(&a, &b, measured.unwrap_or(bound(0) + bound(1)), *larger, span)?
            }
            Op::Max(_) => {
                let (argument, from) = (x(0).clone(), extent(0).1);
                let widest = self.seen.argument(Named::Abs, span).unwrap_or(2.0 * bound(0));
                let column = |e: usize| argument.gather((0..rows).map(move |b| Some(b * from + e)));
                let mut columns: Vec<Linear> = (0..from).map(column).collect();
                // In pairs: the path through a tournament is short, so that little noise and width pile up.
                while columns.len() > 1 {
                    let mut winners = Vec::new();
                    for pair in columns.chunks(2) {
                        winners.push(match pair {
                            [a, b] => self.extremum(a, b, widest, true, span)?,
                            rest => rest[0].clone(),
                        });
                    }
                    columns = winners;
                }
                columns.swap_remove(0)
            }
            Op::ArgMax => {
                let argument = x(0).clone();
                self.arg_max(&argument, rows, cols, span)?
            }
        })
    }

    /// The weights or the bias of the layer before the choice, as the client prepares them, and their largest magnitude.
    fn prepared(&mut self, id: crate::tensor::Id, tensor: ClearId) -> Option<(ClearId, f64)> {
        let last = self.last?;
        if last.weight == id {
            return Some(last.weights(&mut self.client, tensor));
        }
        let Op::State(weight) = &self.graph.node(last.weight).op else { return None };
        let weight = ClearOp::State(weight.clone());
        (last.bias == Some(id)).then(|| {
            let weight = self.client.push(weight);
            last.bias(&mut self.client, weight, tensor)
        })
    }

    /// What the client has, as a leaf.
    fn hold(&mut self, tensor: ClearId, id: crate::tensor::Id, label: String, state: bool, span: Span) -> Linear {
        let (rows, cols) = self.extent(id);
        let seen = &self.sample[id.index()];
        let bounds = if let Some(bound) = self.seen.moving.filter(|_| state).and_then(|moving| moving.bounds.get(&label)) {
            vec![*bound]
        } else if let Some(bound) = state.then_some(&label).and_then(|label| self.seen.state(label)) {
            vec![bound]
        } else if state {
            // Weights move in training, and other weights are served.
            vec![seen.iter().fold(1e-6f64, |m, v| m.max(v.abs())) * 2.0]
        } else {
            let columns = (seen.len() / self.sample_batch.max(1)).max(1);
            (0..columns).map(|e| usual(seen.iter().skip(e).step_by(columns)).max(1e-3)).collect()
        };
        self.held.entry(tensor).or_insert(Held { len: rows * cols, bounds, label, state, span });
        Linear::of(Leaf::Client(tensor), rows * cols, 1.0)
    }

    /// The scale of integers of `bits` bits for values up to `bound`.
    fn scale(&self, bound: f64, bits: u32) -> f64 {
        let most = libm::exp2(f64::from(bits.max(2) - 1)) - 1.0;
        // The nearest power of two cuts a few of the largest off, where the one above would leave half of the integers unused.
        if self.dyadic { libm::exp2(libm::round(libm::log2(bound / most))) } else { bound / most }
    }

    /// The client's tensor on a grid, within its bounds.
    fn encrypted(&mut self, tensor: ClearId, scale: f64) -> Id {
        let held = &self.held[&tensor];
        let bound = held.bounds.iter().fold(0.0f64, |m, b| m.max(*b));
        let most = libm::ceil(bound / scale - 1e-9).max(1.0) as i64;
        self.circuit.input(tensor, &held.label, scale, (-most, most), held.len, held.span)
    }

    /// Data of the client's as integers with a grid for each element, so that public weights can take the grids in.
    fn spread_out(&mut self, x: &Linear) -> Linear {
        // Where products of integers are summed, all grids are powers of two instead.
        if self.dyadic {
            return x.clone();
        }
        let mut out = Linear::default();
        for combination in &x.elements {
            let mut sum = Combination::constant(combination.constant);
            for (&(leaf, element), &c) in &combination.terms {
                let term = match leaf {
                    Leaf::Client(tensor) if !self.held[&tensor].state => {
                        let Held { len, bounds, label, span, .. } = self.held[&tensor].clone();
                        let most = (1i64 << (self.bits.1 - 1)) - 1;
                        let ranges = bounds.iter().map(|b| [-b, *b]).collect();
                        let normal = self.client.push(ClearOp::Normalise { x: tensor, ranges });
                        let id = self.circuit.input(normal, &label, 1.0 / most as f64, (-most, most), len, span);
                        Combination::term(Leaf::Integers(id), element, bounds[element % bounds.len()] / most as f64)
                    }
                    leaf => Combination::term(leaf, element, 1.0),
                };
                sum.add(&term, c);
            }
            out.elements.push(sum);
        }
        out
    }

    /// Integers for combinations, and what 1 of them stands for. Without rounding where the coefficients allow it; otherwise
    /// coefficients have at most the bits of weights, and where a table of `bits` bits follows, as few as do less harm than
    /// its own rounding.
    fn integers(&mut self, x: &[Combination], bits: Option<u32>, span: Span) -> (Id, f64) {
        let committed = |&(&(leaf, _), c): &(&(Leaf, usize), &f64)| matches!(leaf, Leaf::Integers(_)) && *c != 0.0;
        let coefficients: Vec<f64> = x.iter().flat_map(|e| e.terms.iter().filter(committed).map(|(_, c)| c.abs())).collect();
        let least = coefficients.iter().fold(f64::INFINITY, |m, c| m.min(*c));
        let most = coefficients.iter().fold(0.0f64, |m, c| m.max(*c));
        let exact = coefficients.iter().all(|c| {
            let ratio = c / least;
            (ratio - libm::round(ratio)).abs() < 1e-9 && ratio < libm::exp2(f64::from(SPREAD))
        });
        let scale = if coefficients.is_empty() {
            let reach = x.iter().map(|e| self.reach(e)).fold(1e-9f64, f64::max);
            // What is encrypted for a table alone needs no bit that the table does not read; each of several terms is off by half
            // a step of its own.
            let terms = x.iter().map(|e| e.terms.len()).max().unwrap_or(1).max(1);
            self.scale(reach, bits.map_or(self.bits.0 + FINER, |bits| bits + (terms as u32 - 1).min(MORE)))
        } else if exact {
            least
        } else {
            let narrowest = most / (libm::exp2(f64::from(self.bits.0 - 1)) - 1.0);
            bits.map_or(narrowest, |bits| self.balanced(x, bits, narrowest))
        };
        (self.on_grid(x, scale, span), scale)
    }

    /// Largest magnitude of a combination of the client's tensors.
    fn reach(&self, x: &Combination) -> f64 {
        let bound = |leaf: &Leaf| match leaf {
            Leaf::Client(tensor) => self.held[tensor].bounds.iter().fold(0.0f64, |m, b| m.max(*b)),
            Leaf::Integers(_) => 0.0,
        };
        x.terms.iter().map(|((leaf, _), c)| c.abs() * bound(leaf)).sum::<f64>() + x.constant.abs()
    }

    /// A grid on which rounded coefficients do no more harm than the rounding of their sum to `bits` bits, and on which the sum
    /// fills those bits: dropping a bit more costs a bootstrap for each sum.
    fn balanced(&self, x: &[Combination], bits: u32, narrowest: f64) -> f64 {
        let size = |leaf: &Leaf, element: usize| match leaf {
            Leaf::Integers(id) => {
                let (low, high) = self.circuit.node(*id).ranges[element];
                (-low).max(high) as f64
            }
            Leaf::Client(_) => 1.0,
        };
        // A coefficient is off by 1/12 of a step squared, an integer by a third of its largest square.
        let squares =
            |e: &Combination| e.terms.keys().map(|(leaf, element)| size(leaf, *element) * size(leaf, *element) / 3.0).sum::<f64>();
        let spread = libm::sqrt(x.iter().map(squares).sum::<f64>() / x.len().max(1) as f64);
        let drop = libm::round(libm::log2(spread.max(1.0))).max(0.0);
        let room = libm::exp2(f64::from(bits) - 1.0 + drop) - 1.0 - if drop > 0.0 { libm::exp2(drop - 1.0) } else { 0.0 };
        let fits = |scale: f64| {
            x.iter().all(|e| {
                let terms = e.terms.iter().map(|((leaf, element), c)| libm::round(c.abs() / scale) * size(leaf, *element));
                terms.sum::<f64>() + libm::round(e.constant.abs() / scale) <= room
            })
        };
        let mut scale = narrowest;
        while !fits(scale) {
            scale *= 1.01;
        }
        scale
    }

    /// Combinations on a grid.
    fn on_grid(&mut self, x: &[Combination], scale: f64, span: Span) -> Id {
        let mut operands: Vec<Id> = Vec::new();
        let mut rows = Vec::with_capacity(x.len());
        for combination in x {
            let mut row = Row { terms: Vec::new(), constant: libm::round(combination.constant / scale) as i64 };
            for (&(leaf, element), &c) in &combination.terms {
                let (id, coefficient) = match leaf {
                    Leaf::Integers(id) => (id, libm::round(c / scale) as i64),
                    // The client encrypts on whatever grid the sum is.
                    Leaf::Client(tensor) => (self.encrypted(tensor, scale / c.abs()), if c < 0.0 { -1 } else { 1 }),
                };
                if coefficient != 0 {
                    let slot = operands.iter().position(|&o| o == id).unwrap_or_else(|| {
                        operands.push(id);
                        operands.len() - 1
                    });
                    row.terms.push((slot as u32, element as u32, coefficient));
                }
            }
            rows.push(row);
        }
        self.circuit.affine(&operands, rows, span)
    }

    /// A tensor as integers of few bits, for products; what has `most` bits is taken as it is.
    fn digits(&mut self, x: &Linear, bound: f64, most: u32, span: Span) -> Result<Digits, TfheError> {
        let (weight_bits, bits) = self.bits;
        let mut distinct: Vec<&Combination> = Vec::new();
        let mut elements = Vec::with_capacity(x.elements.len());
        for e in &x.elements {
            elements.push(distinct.iter().position(|d| *d == e).unwrap_or_else(|| {
                distinct.push(e);
                distinct.len() - 1
            }));
        }
        // A tensor of the client's, or a line of one, is encrypted as it is needed.
        let line = |e: &Combination| match e.terms.iter().collect::<Vec<_>>()[..] {
            [(&(Leaf::Client(tensor), element), &factor)] => Some((tensor, element, factor, e.constant)),
            _ => None,
        };
        let lines: Option<Vec<_>> = distinct.iter().map(|e| line(e)).collect();
        if let Some(lines) = lines
            && let Some(&(tensor, _, factor, offset)) = lines.first()
            && lines.iter().all(|l| (l.0, l.2, l.3) == (tensor, factor, offset))
        {
            let held = self.held[&tensor].clone();
            let tensor = if factor == 1.0 && offset == 0.0 { tensor } else { self.line(tensor, factor, offset, held.clone()) };
            let bound = self.held[&tensor].bounds.iter().fold(0.0f64, |m, b| m.max(*b));
            let one_hot = held.label == "action" && factor == 1.0 && offset == 0.0;
            let (scale, range) = if one_hot {
                (1.0, (0, 1))
            } else {
                let bits = if held.state { weight_bits } else { bits };
                let most = (1i64 << (bits - 1)) - 1;
                (self.scale(bound, bits), (-most, most))
            };
            let id = self.circuit.input(tensor, &self.held[&tensor].label.clone(), scale, range, held.len, held.span);
            let elements = elements.into_iter().map(|d| lines[d].1).collect();
            return Ok(Digits { id, elements, scale });
        }
        // What is read of a state has the bits of weights, whatever those of activations are.
        let distinct = Linear { elements: distinct.into_iter().cloned().collect() };
        if let Some((id, scale)) = self.read_alone(&distinct) {
            return Ok(Digits { id, elements, scale });
        }
        let distinct = self.spread_out(&distinct).elements;
        let (id, scale) = self.integers(&distinct, Some(bits), span);
        if width(self.circuit.range(id)) <= most {
            return Ok(Digits { id, elements, scale });
        }
        let Narrowed { id, scale, most } = self.narrowed(id, scale, bound, bits, span)?;
        let id = match most {
            Some(most) => {
                let over = self.circuit.range(id);
                self.circuit.table(id, vec![Function::over(over, |v| v.clamp(-most, most))], span)
            }
            None => id,
        };
        Ok(Digits { id, elements, scale })
    }

    /// Integers rounded to `bits` bits. Where many more can occur than do, as the sample says, those beyond are to be cut off
    /// by the table that follows, which reads one bit more.
    ///
    /// With v = 2^k h + l, all that matters of h is whether it is −1 or 0, or beyond: a table of h keeps that, and l is what
    /// dropping more bits has left over.
    fn narrowed(&mut self, id: Id, scale: f64, bound: f64, bits: u32, span: Span) -> Result<Narrowed, TfheError> {
        let full = width(self.circuit.range(id));
        let Some(used) = self.occurring(full, scale, bound, bits) else {
            let drop = full.saturating_sub(bits);
            let id = self.circuit.rounded(id, drop, span);
            return Ok(Narrowed { id, scale: scale * libm::exp2(f64::from(drop)), most: None });
        };
        let drop = used - bits;
        let near = self.circuit.rounded(id, drop, span);
        let scale = scale * libm::exp2(f64::from(drop));
        let part = 1i64 << (bits - 1);
        if width(self.circuit.range(near)) <= bits + 1 {
            // The table that follows reads all there is.
            return Ok(Narrowed { id: near, scale, most: Some(part - 1) });
        }
        let far = self.circuit.floor(near, bits - 1, span);
        let kept = self.clipped(far, (-2, 1), span)?;
        let rest = self.circuit.rest(near, far, bits - 1, span);
        let row = |e: usize| Row { terms: vec![(0, e as u32, 1), (1, e as u32, part)], constant: 0 };
        let rows = (0..self.circuit.len(near)).map(row).collect();
        let id = self.circuit.affine(&[rest, kept], rows, span);
        Ok(Narrowed { id, scale, most: Some(part - 1) })
    }

    /// Bits of the integers that occur, where they can have so many more, `full`, that cutting the others off pays.
    fn occurring(&self, full: u32, scale: f64, bound: f64, bits: u32) -> Option<u32> {
        let reach = (libm::ceil(bound * MARGIN / scale) as i64).max(1);
        let used = width((-reach, reach)).max(bits);
        (full >= used + SLACK[usize::from(self.dyadic)] && bits >= 2).then_some(used)
    }

    /// factor x + offset, computed by the client.
    fn line(&mut self, tensor: ClearId, factor: f64, offset: f64, held: Held) -> ClearId {
        let line = self.client.push(ClearOp::Affine { x: tensor, factor, offset });
        let bounds = held.bounds.iter().map(|b| factor.abs() * b + offset.abs()).collect();
        self.held.entry(line).or_insert(Held { bounds, ..held });
        line
    }

    /// Tables of more than 10 bits have no keys.
    fn readable(&self, range: (i64, i64), span: Span) -> Result<(), TfheError> {
        let bits = width(range);
        if bits > super::WIDEST_TABLE { Err(TfheError::TooWide { bits, most: super::WIDEST_TABLE, span }) } else { Ok(()) }
    }

    fn output(&mut self, output: &graph::Output, id: crate::tensor::Id) {
        let (rows, cols) = self.extent(id);
        let span = self.graph.node(id).span;
        let value = self.values[id.index()].clone();
        let value = self.spread_out(&value);
        let sums = self.fused(value.elements, span);
        let (integers, scale) = self.integers(&sums, None, span);
        let (target, shape) = match output {
            graph::Output::State(name) => {
                let shape = match self.graph.shape(id) {
                    Shape::Matrix(out, inputs) => vec![out, inputs],
                    Shape::Vector(d) | Shape::Sample(d) => vec![d],
                };
                (Target::State(name.clone()), shape)
            }
            graph::Output::Result(name) => {
                let per_sample = matches!(self.graph.shape(id), Shape::Sample(_));
                let shape = if per_sample { vec![rows, cols] } else { vec![cols] };
                (Target::Result { name: name.clone(), dim: if per_sample { cols } else { 0 } }, shape)
            }
        };
        self.circuit.outputs.push(Output { id: integers, target, shape, scale });
    }
}
