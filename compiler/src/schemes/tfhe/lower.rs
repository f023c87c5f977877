//! From the tensor graph to a circuit of integers: scales, products, tables.

use std::collections::BTreeMap;

use hecc_plan::tfhe::Row;
use hecc_plan::{ClearId, ClearOp, Span, Target};

use super::circuit::{self, Circuit, Function, Id, Output, width};
use super::error::TfheError;
use super::linear::{Combination, Leaf, Linear};
use crate::check::hir::{Program, Task};
use crate::schemes::ckks::known::Client;
use crate::tensor::eval::{Exact, Functions};
use crate::tensor::graph::{self, Graph, Op, Shape};

/// Bits that coefficients of sums may differ by before they are rounded.
const SPREAD: u32 = 12;
/// Bits beyond those of weights that a state keeps where it is only added.
const FINER: u32 = 14;
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

/// A table before it was rounded to integers.
#[derive(Clone, Debug)]
struct Rounded {
    /// The first argument.
    low: i64,
    /// Values of it and the next.
    values: Vec<f64>,
    /// What an integer of 1 stands for.
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
    /// What the integers of a table are rounded from.
    reals: BTreeMap<Id, Rounded>,
    values: Vec<Linear>,
}

/// A lowered program.
pub struct Lowered {
    /// The circuit.
    pub circuit: Circuit,
    /// The client's program.
    pub client: Client,
}

/// Lowers a graph. `sample` holds the values of its nodes on `sample_batch` samples, by which scales are chosen; `public` the
/// arrays that stand in the circuit.
///
/// # Errors
/// What has no circuit of integers.
pub fn run(
    program: &Program,
    graph: &Graph,
    batch: usize,
    (sample, sample_batch): (&[Vec<f64>], usize),
    public: &BTreeMap<String, Vec<f64>>,
) -> Result<Lowered, Vec<TfheError>> {
    let mut lowering = Lowering {
        graph,
        batch,
        bits: program.secure.quantize,
        dyadic: matches!(program.task, Task::Train(_)),
        sample,
        sample_batch,
        circuit: Circuit::default(),
        client: Client::default(),
        held: BTreeMap::new(),
        reals: BTreeMap::new(),
        values: Vec::new(),
    };
    for id in graph.ids() {
        let value = lowering.node(program, id, public).map_err(|error| vec![error])?;
        lowering.values.push(value);
    }
    for (output, id) in &graph.outputs {
        lowering.output(output, *id);
    }
    let Lowering { circuit, client, .. } = lowering;
    Ok(Lowered { circuit: circuit.pruned(), client })
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
                None => {
                    let tensor = self.client.push(ClearOp::State(name.clone()));
                    self.hold(tensor, id, name.clone(), true, span)
                }
            },
            Op::Constant(c) => Linear::constants(vec![*c; rows * cols]),
            Op::Add => x(0).plus(x(1), 1.0),
            Op::Sub => x(0).plus(x(1), -1.0),
            Op::Scale(c) => x(0).affine(*c, 0.0),
            Op::Offset(c) => x(0).affine(1.0, *c),
            Op::Rate(_) => return Err(TfheError::unsupported("a learning rate that changes", span)),
            Op::Stop | Op::Refresh => x(0).clone(),
            Op::Spread => x(0).gather((0..rows * cols).map(|i| Some(i % cols))),
            Op::Broadcast => x(0).gather((0..rows * cols).map(|i| Some(i / cols))),
            Op::Slice { start } => {
                let from = extent(0).1;
                x(0).gather((0..rows * cols).map(|i| Some(i / cols * from + start + i % cols)))
            }
            Op::Place { start } => {
                let from = extent(0).1;
                x(0).gather((0..rows * cols).map(|i| (i % cols).checked_sub(*start).filter(|&e| e < from).map(|e| i / cols * from + e)))
            }
            Op::SumBatch => {
                let batch = self.batch;
                x(0).sums((0..cols).map(|e| (0..batch).map(|b| b * cols + e).collect()))
            }
            Op::SumElements => {
                let from = extent(0).1;
                x(0).sums((0..rows).map(|b| (0..from).map(|e| b * from + e).collect()))
            }
            Op::Mul => {
                let (a, b) = (x(0).clone(), x(1).clone());
                self.products((&a, bound(0)), (&b, bound(1)), &(0..rows * cols).map(|i| vec![(i, i)]).collect::<Vec<_>>(), span)?
            }
            Op::Dense => {
                let ((_, inputs), (a, w)) = (extent(0), (x(0).clone(), x(1).clone()));
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
            Op::Map(map) => {
                let argument = x(0).clone();
                self.activation(&argument, bound(0), &|v| Exact.map(map, v), span)?
            }
            Op::Extremum { larger, pins: _ } => {
                let (a, b) = (x(0).clone(), x(1).clone());
                self.extremum(&a, &b, bound(0) + bound(1), *larger, span)?
            }
            Op::Max(_) => {
                let (argument, from) = (x(0).clone(), extent(0).1);
                let column = |e: usize| argument.gather((0..rows).map(move |b| Some(b * from + e)));
                let mut columns: Vec<Linear> = (0..from).map(column).collect();
                // In pairs: the path through a tournament is short, so that little noise and width pile up.
                while columns.len() > 1 {
                    let mut winners = Vec::new();
                    for pair in columns.chunks(2) {
                        winners.push(match pair {
                            [a, b] => self.extremum(a, b, 2.0 * bound(0), true, span)?,
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

    /// What the client has, as a leaf.
    fn hold(&mut self, tensor: ClearId, id: crate::tensor::Id, label: String, state: bool, span: Span) -> Linear {
        let (rows, cols) = self.extent(id);
        let seen = &self.sample[id.index()];
        let bounds = if state {
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
            self.scale(reach, self.bits.0 + FINER)
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

    /// A tensor as integers of few bits, for products.
    fn digits(&mut self, x: &Linear, bound: f64, span: Span) -> Digits {
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
            return Digits { id, elements, scale };
        }
        let distinct: Vec<Combination> = distinct.into_iter().cloned().collect();
        let (id, scale) = self.integers(&distinct, Some(bits), span);
        let Narrowed { id, scale, most } = self.narrowed(id, scale, bound, bits, span);
        let id = match most {
            Some(most) => {
                let over = self.circuit.range(id);
                self.circuit.table(id, vec![Function::over(over, |v| v.clamp(-most, most))], span)
            }
            None => id,
        };
        Digits { id, elements, scale }
    }

    /// Integers rounded to `bits` bits. Where many more can occur than do, as the sample says, those beyond are to be cut off
    /// by the table that follows, which reads one bit more.
    ///
    /// With v = 2^k h + l, all that matters of h is whether it is −1 or 0, or beyond: a table of h keeps that, and l is what
    /// dropping more bits has left over.
    fn narrowed(&mut self, id: Id, scale: f64, bound: f64, bits: u32, span: Span) -> Narrowed {
        let full = width(self.circuit.range(id));
        let reach = (libm::ceil(bound * MARGIN / scale) as i64).max(1);
        let used = width((-reach, reach)).max(bits);
        if full < used + SLACK[usize::from(self.dyadic)] || bits < 2 {
            let drop = full.saturating_sub(bits);
            let id = self.circuit.rounded(id, drop, span);
            return Narrowed { id, scale: scale * libm::exp2(f64::from(drop)), most: None };
        }
        let drop = used - bits;
        let near = self.circuit.rounded(id, drop, span);
        let scale = scale * libm::exp2(f64::from(drop));
        let part = 1i64 << (bits - 1);
        let far = self.circuit.floor(near, bits - 1, span);
        let over = self.circuit.range(far);
        if width(over) > bits + 1 {
            // The rest is itself too wide for a table: bits that only say how far beyond it is.
            let id = self.circuit.rounded(near, full - used, span);
            return Narrowed { id, scale: scale * libm::exp2(f64::from(full - used)), most: None };
        }
        let kept = self.circuit.table(far, vec![Function::over(over, |h| h.clamp(-2, 1))], span);
        let rest = self.circuit.rest(near, far, bits - 1, span);
        let row = |e: usize| Row { terms: vec![(0, e as u32, 1), (1, e as u32, part)], constant: 0 };
        let rows = (0..self.circuit.len(near)).map(row).collect();
        let id = self.circuit.affine(&[rest, kept], rows, span);
        Narrowed { id, scale, most: Some(part - 1) }
    }

    /// factor x + offset, computed by the client.
    fn line(&mut self, tensor: ClearId, factor: f64, offset: f64, held: Held) -> ClearId {
        let line = self.client.push(ClearOp::Affine { x: tensor, factor, offset });
        let bounds = held.bounds.iter().map(|b| factor.abs() * b + offset.abs()).collect();
        self.held.entry(line).or_insert(Held { bounds, ..held });
        line
    }

    /// For each group, the sum over its pairs of products of elements.
    fn products(
        &mut self,
        (a, bound_a): (&Linear, f64),
        (b, bound_b): (&Linear, f64),
        groups: &[Vec<(usize, usize)>],
        span: Span,
    ) -> Result<Linear, TfheError> {
        let (a, b) = match (a.known(), b.known()) {
            (_, Some(known)) => return Ok(self.by_constants(a, &known, groups, false)),
            (Some(known), None) => return Ok(self.by_constants(b, &known, groups, true)),
            (None, None) => (self.digits(a, bound_a, span), self.digits(b, bound_b, span)),
        };
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        let mut numbers: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let mut sums = Vec::with_capacity(groups.len());
        for group in groups {
            let mut sum: Vec<usize> = Vec::with_capacity(group.len());
            for &(i, j) in group {
                let pair = (a.elements[i], b.elements[j]);
                sum.push(*numbers.entry(pair).or_insert_with(|| {
                    pairs.push(pair);
                    pairs.len() - 1
                }));
            }
            sums.push(sum);
        }
        let products = self.multiplied(a.id, b.id, &pairs, a.scale * b.scale, span)?;
        Ok(products.sums(sums))
    }

    /// Products with constants: no bootstrap.
    fn by_constants(&mut self, x: &Linear, known: &[f64], groups: &[Vec<(usize, usize)>], swapped: bool) -> Linear {
        let x = self.spread_out(x);
        let sum = |group: &Vec<(usize, usize)>| {
            let mut sum = Combination::default();
            for &(i, j) in group {
                let (e, k) = if swapped { (j, i) } else { (i, j) };
                sum.add(&x.elements[e], known[k]);
            }
            sum
        };
        Linear { elements: groups.iter().map(sum).collect() }
    }

    /// Products of integers. One that is 0 or 1 selects, by one table over both; others are a quarter of the difference of two
    /// squares.
    fn multiplied(&mut self, a: Id, b: Id, pairs: &[(usize, usize)], scale: f64, span: Span) -> Result<Linear, TfheError> {
        let (ra, rb) = (self.circuit.range(a), self.circuit.range(b));
        let is_bit = |range: (i64, i64)| range.0 >= 0 && range.1 <= 1;
        let sum = |ca: i64, cb: i64, constant: i64| -> Vec<Row> {
            pairs.iter().map(|&(i, j)| Row { terms: vec![(0, i as u32, ca), (1, j as u32, cb)], constant }).collect()
        };
        let len = pairs.len();
        if is_bit(ra) || is_bit(rb) {
            let (value, range) = if is_bit(rb) { (true, ra) } else { (false, rb) };
            let half = 1i64 << (width(range) - 1);
            // The value from −half to half, moved to 0 and above where the bit is 1, and below 0 where it is 0.
            let (ca, cb) = if value { (1, 2 * half) } else { (2 * half, 1) };
            let both = self.circuit.affine(&[a, b], sum(ca, cb, -half), span);
            let over = self.circuit.range(both);
            self.readable(over, span)?;
            let table = self.circuit.table(both, vec![Function::over(over, |v| if v < 0 { 0 } else { v - half })], span);
            return Ok(Linear::of(Leaf::Integers(table), len, scale));
        }
        if a == b && pairs.iter().all(|(i, j)| i == j) {
            let picked = self.circuit.pick(a, &pairs.iter().map(|p| p.0).collect::<Vec<_>>(), span);
            let table = self.circuit.table(picked, vec![Function::over(ra, |v| v * v)], span);
            return Ok(Linear::of(Leaf::Integers(table), len, scale));
        }
        let plus = self.circuit.affine(&[a, b], sum(1, 1, 0), span);
        let minus = self.circuit.affine(&[a, b], sum(1, -1, 0), span);
        let mut parts = Vec::new();
        for side in [plus, minus] {
            let over = self.circuit.range(side);
            self.readable(over, span)?;
            // Sum and difference are odd together: what floor cuts off is the same for both.
            parts.push(self.circuit.table(side, vec![Function::over(over, |v| (v * v).div_euclid(4))], span));
        }
        Ok(Linear::of(Leaf::Integers(parts[0]), len, scale).plus(&Linear::of(Leaf::Integers(parts[1]), len, scale), -1.0))
    }

    /// Tables of more than 10 bits have no keys.
    fn readable(&self, range: (i64, i64), span: Span) -> Result<(), TfheError> {
        let bits = width(range);
        if bits > super::WIDEST_TABLE { Err(TfheError::TooWide { bits, most: super::WIDEST_TABLE, span }) } else { Ok(()) }
    }

    /// A function of each element, by tables.
    fn activation(&mut self, x: &Linear, bound: f64, f: &dyn Fn(f64) -> f64, span: Span) -> Result<Linear, TfheError> {
        if let Some(known) = x.known() {
            return Ok(Linear::constants(known.into_iter().map(f)));
        }
        let bits = self.bits.1;
        let x = self.spread_out(x);
        let (id, scale) = self.integers(&x.elements, Some(bits), span);
        let Narrowed { id, scale: step, most } = self.narrowed(id, scale, bound, bits, span);
        let over = self.circuit.range(id);
        self.readable(over, span)?;
        let most = most.unwrap_or(i64::MAX);
        let reals: Vec<f64> = (over.0..=over.1).map(|v| f(v.clamp(-most, most) as f64 * step)).collect();
        let bound = reals.iter().fold(1e-9f64, |m, v| m.max(v.abs()));
        let unit = reals.iter().all(|v| [0.0, 1.0].contains(v));
        let scale = if unit { 1.0 } else { self.scale(bound, bits) };
        let round = |v: i64| libm::round(reals[(v - over.0) as usize] / scale) as i64;
        let table = self.circuit.table(id, vec![Function::over(over, round)], span);
        self.reals.insert(table, Rounded { low: over.0, values: reals, scale });
        Ok(Linear::of(Leaf::Integers(table), self.circuit.len(table), scale))
    }

    /// The larger (or smaller) of two: b + max(a − b, 0).
    fn extremum(&mut self, a: &Linear, b: &Linear, bound: f64, larger: bool, span: Span) -> Result<Linear, TfheError> {
        let sign = if larger { 1.0 } else { -1.0 };
        let difference = a.plus(b, -1.0).affine(sign, 0.0);
        let part = self.activation(&difference, bound, &|v| v.max(0.0), span)?;
        Ok(b.plus(&part, sign))
    }

    /// One-hot of the largest element of each row, the first of equals.
    fn arg_max(&mut self, x: &Linear, rows: usize, cols: usize, span: Span) -> Result<Linear, TfheError> {
        if cols == 1 {
            return Ok(Linear::constants(vec![1.0; rows]));
        }
        let mut x = self.spread_out(x);
        if cols > 2 {
            // Differences that were rounded one by one could go round in a circle, with no largest element.
            let (id, scale) = self.integers(&x.elements, None, span);
            x = Linear::of(Leaf::Integers(id), rows * cols, scale);
        }
        let mut differences = Vec::new();
        let matches: Vec<(usize, usize)> = (0..cols).flat_map(|i| (i + 1..cols).map(move |j| (i, j))).collect();
        for row in 0..rows {
            for &(i, j) in &matches {
                let mut difference = x.elements[row * cols + i].clone();
                difference.add(&x.elements[row * cols + j], -1.0);
                differences.push(difference);
            }
        }
        let first_wins = self.compared(&differences, span)?;
        let won = |row: usize, e: usize| {
            let mut count = Combination::default();
            for (number, &(i, j)) in matches.iter().enumerate() {
                let bit = Combination::term(Leaf::Integers(first_wins), row * matches.len() + number, 1.0);
                if i == e {
                    count.add(&bit, 1.0);
                } else if j == e {
                    count.add(&bit, -1.0);
                    count.add(&Combination::constant(1.0), 1.0);
                }
            }
            count
        };
        let counts: Vec<Combination> = (0..rows * cols).map(|i| won(i / cols, i % cols)).collect();
        if cols == 2 {
            return Ok(Linear { elements: counts });
        }
        let all = cols as i64 - 1;
        let mut centred = counts;
        let middle = cols as i64 / 2;
        centred.iter_mut().for_each(|count| count.add(&Combination::constant(1.0), -(middle as f64)));
        let (id, _) = self.integers(&centred, None, span);
        let over = self.circuit.range(id);
        self.readable(over, span)?;
        let table = self.circuit.table(id, vec![Function::over(over, |v| i64::from(v + middle == all))], span);
        Ok(Linear::of(Leaf::Integers(table), rows * cols, 1.0))
    }

    /// 1 where a value is at least 0, 0 elsewhere, exactly as its integers say.
    fn compared(&mut self, x: &[Combination], span: Span) -> Result<Id, TfheError> {
        let id = match self.folded(x, span) {
            Some(id) => id,
            None => self.integers(x, None, span).0,
        };
        // The sign of floor(v / 2^k) is that of v.
        let drop = width(self.circuit.range(id)).saturating_sub(self.bits.1 + 1);
        let id = self.circuit.floor(id, drop, span);
        Ok(self.circuit.sign(id, 0, 1, span))
    }

    /// A sum over results of tables that nothing else uses, with the weights in the tables: the integers that are summed are
    /// then rounded once, and the noise of none is multiplied. `None` where a result is used twice.
    fn folded(&mut self, x: &[Combination], span: Span) -> Option<Id> {
        let mut used: BTreeMap<(Id, usize), usize> = BTreeMap::new();
        for (leaf, element) in x.iter().flat_map(|e| e.terms.keys()) {
            let Leaf::Integers(id) = leaf else { return None };
            self.reals.get(id)?;
            *used.entry((*id, *element)).or_default() += 1;
        }
        if used.is_empty() || used.values().any(|&count| count > 1) {
            return None;
        }
        let count = x.iter().map(|e| e.terms.len()).max().unwrap_or(1);
        // The rounding of as many terms, each off by half a step at most, is then well below that of an activation.
        let bits = self.bits.1 + 2 + (usize::BITS - (count - 1).leading_zeros()).div_ceil(2);
        // What a term is at each argument: its coefficient is that of an integer, not of the value that the integer rounds.
        let term = |lowering: &Self, id: Id, element: usize, c: f64| {
            let Rounded { low, values, scale } = &lowering.reals[&id];
            let circuit::Op::Table { a, .. } = &lowering.circuit.node(id).op else { return (0, Vec::new()) };
            let (from, to) = lowering.circuit.node(*a).ranges[element];
            (from, (from..=to).map(|v| c / scale * values[(v - low) as usize]).collect::<Vec<f64>>())
        };
        // Up and down each by themselves: what only ever adds needs no room below.
        let reach = |e: &Combination| {
            let (mut up, mut down) = (e.constant, e.constant);
            for (&(leaf, element), &c) in &e.terms {
                let Leaf::Integers(id) = leaf else { continue };
                let values = term(self, id, element, c).1;
                up += values.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
                down += values.iter().fold(f64::INFINITY, |m, v| m.min(*v));
            }
            up.max(-down)
        };
        let room = libm::exp2(f64::from(bits - 1)) - 1.0 - 0.5 * (count + 1) as f64;
        let scale = x.iter().map(reach).fold(1e-9f64, f64::max) / room.max(1.0);
        // The new tables of an argument together, in one vector.
        let mut made: BTreeMap<Id, Vec<(usize, usize, Function)>> = BTreeMap::new();
        for (number, combination) in x.iter().enumerate() {
            for (&(leaf, element), &c) in &combination.terms {
                let Leaf::Integers(id) = leaf else { continue };
                let (low, reals) = term(self, id, element, c);
                let values: Vec<i64> = reals.iter().map(|v| libm::round(v / scale) as i64).collect();
                if values.iter().any(|&v| v != 0) {
                    made.entry(id).or_default().push((number, element, Function { low, values }));
                }
            }
        }
        let mut operands = Vec::new();
        let constant = |e: &Combination| libm::round(e.constant / scale) as i64;
        let mut rows: Vec<Row> = x.iter().map(|e| Row { terms: Vec::new(), constant: constant(e) }).collect();
        for (id, tables) in made {
            let circuit::Op::Table { a, .. } = self.circuit.node(id).op.clone() else { continue };
            let span = self.circuit.node(id).span;
            let picked = self.circuit.pick(a, &tables.iter().map(|t| t.1).collect::<Vec<_>>(), span);
            let numbers: Vec<usize> = tables.iter().map(|t| t.0).collect();
            let table = self.circuit.table(picked, tables.into_iter().map(|t| t.2).collect(), span);
            for (element, number) in numbers.into_iter().enumerate() {
                rows[number].terms.push((operands.len() as u32, element as u32, 1));
            }
            operands.push(table);
        }
        Some(self.circuit.affine(&operands, rows, span))
    }

    fn output(&mut self, output: &graph::Output, id: crate::tensor::Id) {
        let (rows, cols) = self.extent(id);
        let span = self.graph.node(id).span;
        let value = self.values[id.index()].clone();
        let value = self.spread_out(&value);
        let (integers, scale) = self.integers(&value.elements, None, span);
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
