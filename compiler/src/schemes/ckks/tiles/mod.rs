//! Small batches in tiles: every sample has neighbouring slots of its own, in which all parameters stand side by side.
//!
//! A layer is one product of the carried ciphertext with its input, and sums over rotations; nothing is unpacked. Layers take
//! turns between the two axes of a tile ([`place`]), so that what one leaves stands where the next one, and the gradient,
//! need it. Which rotations do that, and whether a mask is needed, is found by following what every slot holds
//! ([`slots`]): products with what the client sends are zero wherever it sends nothing, and zeros are what lets a sum spread
//! without a mask. Samples are outermost, so that the sum over the batch is cyclic and leaves the new state in every tile,
//! where the next update needs it. The packing of Crockett et al. ("A low-depth homomorphic circuit for logistic regression
//! training", 2020) and of hand-written training circuits, derived from the graph.

mod finish;
mod layer;
mod moves;
mod needs;
mod place;
mod slots;

use std::collections::BTreeMap;

use hecc_plan::{CarriedId, ClearId, Content, Geometry, Layout, Op, Span, Tiled, WireId};

use self::moves::runs;
use self::needs::{anchors, merged, need_of};
use self::place::Floor;
use self::slots::{Entry, Need, Term, Terms, clean, covers, serves};
use super::approximate::Polynomial;
use super::lower::{Cts, Form, Lowering, Packing, Value, magnitude};
use crate::check::hir::{Pins, Program};
use crate::tensor::{Graph, Id, Op as TensorOp, Output, Shape};

/// Most ciphertexts that a batch may take.
const MOST_GROUPS: usize = 8;
/// Largest tile: the search for rotations follows every slot.
const LARGEST_TILE: usize = 4096;

/// The grid of a program in tiles, where it has one.
pub(super) fn grid(graph: &Graph, public: &[(String, Vec<usize>)], slots: usize, batch: usize) -> Option<Geometry> {
    let tile = Floor::new(graph, public)?.tile();
    let grid = Geometry { width: tile, lanes: slots.checked_div(tile)?, batch };
    (tile <= LARGEST_TILE.min(slots) && grid.groups() <= MOST_GROUPS).then_some(grid)
}

/// Lowers an update of a server that carries all states; `None` where the graph has something that tiles have no form for.
pub(super) fn lower<'a>(
    program: &'a Program,
    graph: &'a Graph,
    grid: Geometry,
    scale: u32,
    public: &[(String, Vec<usize>)],
    periods: &[(String, u32)],
) -> Option<Lowering<'a>> {
    let attempt = |wishes: BTreeMap<Id, f64>| {
        let mut lowering = Lowering::new(program, graph, grid, scale, public);
        lowering.packing = Packing::simple(scale);
        lowering.periods = periods.to_vec();
        let mut tiles = Tiles {
            floor: Floor::new(graph, public)?,
            needs: Vec::new(),
            placed: vec![None; graph.len()],
            carried: lowering.circuit.push(Op::Carried(CarriedId(0)), Span::default()),
            lowering,
            wishes,
            missed: BTreeMap::new(),
        };
        tiles.run()?;
        tiles.lowering.errors.is_empty().then_some((tiles.lowering, tiles.missed))
    };
    // What the gradients' constants should have been is known at the end.
    let (first, missed) = attempt(BTreeMap::new())?;
    if missed.is_empty() { Some(first) } else { attempt(missed).map(|(second, _)| second).or(Some(first)) }
}

/// A per-sample value in tiles.
#[derive(Clone, Debug)]
struct Placed {
    cts: Cts,
    at: Vec<Entry>,
    /// The products whose sums it is.
    parts: Option<(Vec<WireId>, Terms)>,
}

/// A number of the client's per sample.
#[derive(Clone, Copy, Debug)]
struct Known {
    clear: ClearId,
    elements: usize,
    scale: f64,
}

struct Tiles<'a> {
    lowering: Lowering<'a>,
    floor: Floor,
    /// Where the users of each node want its elements.
    needs: Vec<Vec<Need>>,
    placed: Vec<Option<Placed>>,
    carried: WireId,
    /// Constants between a product with what the client sends, and what it should be, so that gradients need no constant.
    wishes: BTreeMap<Id, f64>,
    missed: BTreeMap<Id, f64>,
}

impl Tiles<'_> {
    fn run(&mut self) -> Option<()> {
        let graph = self.lowering.graph;
        let forbidden = !self.lowering.program.secure.client.is_empty();
        let results = graph.outputs.iter().any(|(output, _)| matches!(output, Output::Result(_)));
        if forbidden || results || !self.lowering.public.is_empty() {
            return None;
        }
        self.needs = self.needs_of();
        for id in graph.ids() {
            self.node(id)?;
        }
        self.finish()
    }

    fn node(&mut self, id: Id) -> Option<()> {
        let graph = self.lowering.graph;
        let node = graph.node(id).clone();
        let operands = graph.operands(id);
        let span = node.span;
        let dim = match node.shape {
            Shape::Sample(dim) if !matches!(node.op, TensorOp::State(_)) => dim,
            _ => {
                let value = match &node.op {
                    TensorOp::DenseGradient | TensorOp::SumBatch => {
                        Value::Form(Form { gradients: [((id, None), 1.0)].into(), ..Form::default() })
                    }
                    op => self.lowering.form(id, op, node.shape, &operands, span)?,
                };
                self.lowering.values[id.index()] = Some(value);
                return Some(());
            }
        };
        if self.lowering.known[id.index()] {
            let value = self.lowering.known_value(&node.op, dim, &operands, span)?;
            self.lowering.values[id.index()] = Some(value);
            return Some(());
        }
        if matches!(node.op, TensorOp::Spread) {
            // It waits for the sum that it joins.
            return Some(());
        }
        let placed = self.placed_node(id, &node.op, dim, &operands, span)?;
        self.placed[id.index()] = Some(placed);
        Some(())
    }

    fn placed_node(&mut self, id: Id, op: &TensorOp, dim: usize, operands: &[Id], span: Span) -> Option<Placed> {
        match op {
            TensorOp::Add | TensorOp::Sub => self.sum(id, operands, matches!(op, TensorOp::Sub), span),
            TensorOp::Mul => self.product(id, dim, operands, span),
            TensorOp::Scale(c) => {
                let x = self.placed[operands[0].index()].clone()?;
                Some(Placed { cts: Cts { factor: c * x.cts.factor, ..x.cts }, ..x })
            }
            TensorOp::Offset(c) => {
                let x = self.placed[operands[0].index()].clone()?;
                let cts = self.lowering.offset(&x.cts, *c, span);
                let at = x.at.iter().map(|&entry| if entry == Entry::Zero && *c != 0.0 { Entry::Junk } else { entry }).collect();
                Some(Placed { cts, at, parts: None })
            }
            TensorOp::Stop => self.placed[operands[0].index()].clone(),
            TensorOp::Broadcast if self.lowering.graph.shape(operands[0]) == Shape::Sample(1) => {
                let x = self.placed[operands[0].index()].clone()?;
                let at = x.at.iter().map(|&entry| if entry == Entry::Element(0) { Entry::Scalar } else { entry }).collect();
                let parts = x.parts.map(|(wires, terms)| (wires, Terms { scalar: true, ..terms }));
                Some(Placed { cts: Cts { dim, ..x.cts }, at, parts })
            }
            TensorOp::Dense | TensorOp::DenseTranspose => self.layer(id, matches!(op, TensorOp::Dense), operands, span),
            TensorOp::SumElements if dim == 1 => {
                let x = self.placed[operands[0].index()].clone()?;
                let Shape::Sample(count) = self.lowering.graph.shape(operands[0]) else { return None };
                let term = |entry: &Entry| match *entry {
                    Entry::Zero => Term::Zero,
                    Entry::Element(e) => Term::new(0, e),
                    Entry::Scalar | Entry::Junk => Term::Junk,
                };
                let terms = Terms { at: x.at.iter().map(term).collect(), count: count as u32, scalar: false, alike: false };
                self.settle(x.cts.wires, terms, x.cts.factor, 1, &self.needs[id.index()].clone(), span)
            }
            TensorOp::Slice { start, step: 1 } => {
                let x = self.placed[operands[0].index()].clone()?;
                let (low, high) = (*start as u32, (*start + dim) as u32);
                let entry = |entry: &Entry| match *entry {
                    Entry::Element(e) if (low..high).contains(&e) => Entry::Element(e - low),
                    Entry::Element(_) => Entry::Junk,
                    other => other,
                };
                Some(Placed { at: x.at.iter().map(entry).collect(), cts: Cts { dim, ..x.cts }, parts: None })
            }
            TensorOp::Map(map) => {
                let x = self.placed[operands[0].index()].clone()?;
                let p = self.lowering.approximation(map);
                self.lowering.note_approximation(map, &p, span);
                if p.degree() == 0 {
                    return None;
                }
                let x = self.bounded(x, &p, span);
                let cts = self.lowering.polynomial(&x.cts, &p, span);
                let odd = |c: &[f64]| c.iter().step_by(2).all(|&c| c == 0.0);
                let [c0, ..] = p.powers();
                let still = p.centre == 0.0 && c0 == 0.0 && (p.degree() == 2 || odd(&p.coefficients));
                let at = x.at.iter().map(|&entry| if entry == Entry::Zero && !still { Entry::Junk } else { entry }).collect();
                Some(Placed { cts, at, parts: None })
            }
            TensorOp::Max(pins) => {
                let x = self.placed[operands[0].index()].clone()?;
                self.maximum(x, pins, span)
            }
            TensorOp::Extremum { larger, pins } => {
                let (a, b) = (self.operand(operands[0], operands[1], span)?, self.operand(operands[1], operands[0], span)?);
                let (a, b) = self.together(id, a, b, false, span)?;
                let p = magnitude(self.lowering.program, *pins);
                let (a, b) = (self.bounded(a, &p, span), self.bounded(b, &p, span));
                let cts = self.lowering.extremum(&a.cts, &b.cts, *larger, pins, span);
                Some(Placed { cts, at: added(&a.at, &b.at), parts: None })
            }
            _ => None,
        }
    }

    fn known(&self, id: Id) -> Option<Known> {
        match self.lowering.value_of(id)? {
            Value::Known { clear, elements, scale, .. } => Some(Known { clear, elements, scale }),
            _ => None,
        }
    }

    /// A value in tiles; what the client knows is sent to where `other` stands.
    fn operand(&mut self, id: Id, other: Id, span: Span) -> Option<Placed> {
        if let Some(placed) = &self.placed[id.index()] {
            return Some(placed.clone());
        }
        let known = self.known(id)?;
        let at = self.placed[other.index()].clone()?.at;
        let factor = if known.scale == 0.0 { 1.0 } else { known.scale };
        Some(self.sent(&known, settled_only(&at), factor, at_dim(self.lowering.graph, id), span))
    }

    /// What the client knows, at the slots of elements, zero elsewhere.
    fn sent(&mut self, known: &Known, at: Vec<Entry>, factor: f64, dim: usize, span: Span) -> Placed {
        let wires = self.send(known, &at, factor, &[], span);
        Placed { cts: Cts { wires, factor, dim, clean: true }, at, parts: None }
    }

    /// Ciphertexts of what the client knows, and of ones at further slots.
    fn send(&mut self, known: &Known, at: &[Entry], factor: f64, ones: &[usize], span: Span) -> Vec<WireId> {
        let element = |entry: &Entry| entry.element().map(|e| if known.elements == 1 { 0 } else { e });
        let pairs: Need = at.iter().enumerate().filter_map(|(slot, entry)| Some((slot, element(entry)?))).collect();
        let one = (!ones.is_empty()).then(|| self.lowering.client.ones(self.lowering.program));
        let round = self.lowering.client.round(known.clear);
        let groups = 0..self.lowering.grid.groups();
        groups
            .map(|group| {
                let place = |pairs: &Need, tensor: ClearId, factor: f64| {
                    let tiled = |run: Tiled| Layout::Tiled(Tiled { group: Some(group), ..run });
                    runs(pairs).into_iter().map(move |run| Content { tensor, layout: tiled(run), factor }).collect::<Vec<_>>()
                };
                let mut contents = place(&pairs, known.clear, known.scale / factor);
                if let Some(one) = one {
                    contents.extend(place(&ones.iter().map(|&slot| (slot, 0)).collect(), one, 1.0 / factor));
                }
                self.lowering.circuit.input("batch", contents, round, span)
            })
            .collect()
    }

    fn sum(&mut self, id: Id, operands: &[Id], minus: bool, span: Span) -> Option<Placed> {
        let graph = self.lowering.graph;
        if let Some(position) = operands.iter().position(|&operand| matches!(graph.node(operand).op, TensorOp::Spread)) {
            let other = operands[1 - position];
            let name = self.spread(operands[position])?;
            let y = self.placed[other.index()].clone()?;
            if minus {
                return None;
            }
            let joined = matches!(graph.node(other).op, TensorOp::Dense) && self.known(graph.operands(other)[0]).is_some();
            if joined && self.joined(other, true).is_some() {
                return Some(y);
            }
            return self.biased(id, &y, &name, span);
        }
        let signed = |x: Placed, minus: bool| match minus {
            true => Placed { cts: Cts { factor: -x.cts.factor, ..x.cts }, ..x },
            false => x,
        };
        let (first, second) = (self.known(operands[0]), self.known(operands[1]));
        let (a, b) = match (first, second) {
            (None, None) => {
                let (a, b) = (self.placed[operands[0].index()].clone()?, self.placed[operands[1].index()].clone()?);
                let (a, b) = self.together(id, a, b, false, span)?;
                (a, signed(b, minus))
            }
            _ => {
                let x = self.placed[operands[usize::from(first.is_some())].index()].clone()?;
                let known = first.or(second)?;
                let at = self.where_sent(id, &x, known.elements)?;
                let x = if serves_where(&x.at, &at) { x } else { self.realise(&x, &need_of(&at), span)? };
                let x = signed(x, minus && first.is_some());
                let known = if minus && second.is_some() { Known { scale: -known.scale, ..known } } else { known };
                let sent = self.sent(&known, at, x.cts.factor, x.cts.dim, span);
                (x, sent)
            }
        };
        let cts = self.lowering.add(&a.cts, &b.cts, span);
        Some(Placed { cts, at: added(&a.at, &b.at), parts: None })
    }

    /// Where to send what meets a value: to its elements, of those that are needed to the needed ones only; a scalar's
    /// elements stand where the first user wants them, once each.
    fn where_sent(&self, id: Id, x: &Placed, elements: usize) -> Option<Vec<Entry>> {
        let needs = &self.needs[id.index()];
        let mut at = vec![Entry::Zero; self.floor.tile()];
        if x.at.contains(&Entry::Scalar) && elements > 1 {
            for (slot, e) in anchors(needs.first()?) {
                at[slot] = Entry::Element(e);
            }
            return Some(at);
        }
        let needed: Vec<usize> = needs.iter().flatten().map(|&(slot, _)| slot).collect();
        let all = settled_only(&x.at);
        let mut some = vec![Entry::Zero; all.len()];
        needed.iter().for_each(|&slot| some[slot] = all[slot]);
        let dim = if x.at.contains(&Entry::Scalar) { 1 } else { x.cts.dim };
        Some(if covers(&some, dim) { some } else { all })
    }

    fn product(&mut self, id: Id, dim: usize, operands: &[Id], span: Span) -> Option<Placed> {
        let (a, b) = match (self.known(operands[0]), self.known(operands[1])) {
            (None, None) => {
                let (a, b) = (self.placed[operands[0].index()].clone()?, self.placed[operands[1].index()].clone()?);
                self.together(id, a, b, true, span)?
            }
            (known, other) => {
                let (known, x) = known.map(|known| (known, operands[1])).or(other.map(|known| (known, operands[0])))?;
                let x = self.placed[x.index()].clone()?;
                let at = self.where_sent(id, &x, known.elements)?;
                let x = if serves_where(&x.at, &at) { x } else { self.realise(&x, &need_of(&at), span)? };
                let natural = if known.scale == 0.0 { 1.0 } else { known.scale };
                let factor = natural * self.wishes.get(&id).copied().unwrap_or(1.0);
                let sent = self.sent(&known, at, factor, dim, span);
                (x, sent)
            }
        };
        let cts = Cts { dim, ..self.lowering.multiply(&a.cts, &b.cts, span) };
        let both = |(&a, &b): (&Entry, &Entry)| match (a, b) {
            (Entry::Zero, _) | (_, Entry::Zero) => Entry::Zero,
            (Entry::Scalar, other) | (other, Entry::Scalar) => other,
            (a, b) if a == b => a,
            _ => Entry::Junk,
        };
        let at = a.at.iter().zip(&b.at).map(both).collect();
        Some(Placed { cts, at, parts: None })
    }

    /// Two values in the same places: where they are if all elements meet there and can go on from there, else where they
    /// are needed.
    fn together(&mut self, id: Id, a: Placed, b: Placed, product: bool, span: Span) -> Option<(Placed, Placed)> {
        let scalar = |x: &Placed| x.at.contains(&Entry::Scalar);
        let dim = if scalar(&a) && scalar(&b) { 1 } else { a.cts.dim.max(b.cts.dim) };
        let needs = self.needs[id.index()].clone();
        let met = |a: &Placed, b: &Placed| {
            let at = added(&a.at, &b.at);
            let zero = |slot: usize| product && (a.at[slot] == Entry::Zero || b.at[slot] == Entry::Zero);
            let at: Vec<Entry> = (0..at.len()).map(|slot| if zero(slot) { Entry::Zero } else { at[slot] }).collect();
            let good = clean(&at) || (!needs.is_empty() && needs.iter().all(|need| serves(&at, need)));
            (covers(&at, dim), good)
        };
        if met(&a, &b) == (true, true) {
            return Some((a, b));
        }
        for need in merged(&needs).into_iter().chain(needs.clone()) {
            if let (Some(a), Some(b)) = (self.realise(&a, &need, span), self.realise(&b, &need, span)) {
                return Some((a, b));
            }
        }
        met(&a, &b).0.then_some((a, b))
    }

    /// A polynomial's argument without what is of no use: beyond its interval one of a high degree explodes, and takes room and noise
    /// with it.
    fn bounded(&mut self, x: Placed, p: &Polynomial, span: Span) -> Placed {
        if (!p.is_composed() && p.degree() <= MILD) || clean(&x.at) {
            return x;
        }
        let slots: Vec<usize> = (0..x.at.len()).filter(|&slot| x.at[slot].element().is_some()).collect();
        let wires = x.cts.wires.iter().map(|&wire| self.masked(wire, &slots, 1.0, span)).collect();
        let at = x.at.iter().map(|&entry| if entry == Entry::Junk { Entry::Zero } else { entry }).collect();
        Placed { cts: Cts { wires, ..x.cts }, at, parts: None }
    }

    /// The largest element, by halves.
    fn maximum(&mut self, x: Placed, pins: &Pins, span: Span) -> Option<Placed> {
        let mut x = self.bounded(x, &magnitude(self.lowering.program, *pins), span);
        while x.cts.dim > 1 {
            let half = x.cts.dim / 2;
            if !x.cts.dim.is_power_of_two() {
                return None;
            }
            let first = |e: usize| x.at.iter().position(|&entry| entry == Entry::Element(e as u32));
            let by = first(half)? as i64 - first(0)? as i64;
            let wires = x.cts.wires.iter().map(|&wire| self.lowering.circuit.rotate(wire, by, span)).collect();
            let length = x.at.len() as i64;
            let of = |slot: i64, low: u32| match x.at.get(usize::try_from(slot).unwrap_or(usize::MAX)) {
                Some(&Entry::Element(e)) if (low..low + half as u32).contains(&e) => Entry::Element(e - low),
                Some(Entry::Zero) => Entry::Zero,
                _ => Entry::Junk,
            };
            let lower: Vec<Entry> = (0..length).map(|slot| of(slot, 0)).collect();
            let upper: Vec<Entry> = (0..length).map(|slot| of(slot + by, half as u32)).collect();
            let other = Cts { wires, ..x.cts.clone() };
            let cts = self.lowering.extremum(&x.cts, &other, true, pins, span);
            // The polynomial is not zero at zero.
            let at = added(&lower, &upper).into_iter().map(|entry| if entry == Entry::Zero { Entry::Junk } else { entry }).collect();
            x = Placed { cts: Cts { dim: half, ..cts }, at, parts: None };
            covers(&x.at, half).then_some(())?;
        }
        Some(x)
    }
}

/// Up to this degree what stands beside a polynomial's arguments does no harm.
const MILD: usize = 4;

fn at_dim(graph: &Graph, id: Id) -> usize {
    match graph.shape(id) {
        Shape::Sample(d) | Shape::Vector(d) => d,
        Shape::Matrix(..) => 1,
    }
}

/// What a sum of two values holds.
fn added(a: &[Entry], b: &[Entry]) -> Vec<Entry> {
    let sum = |(&a, &b): (&Entry, &Entry)| match (a, b) {
        (Entry::Scalar, Entry::Element(e)) | (Entry::Element(e), Entry::Scalar) => Entry::Element(e),
        (a, b) if a == b => a,
        _ => Entry::Junk,
    };
    a.iter().zip(b).map(sum).collect()
}

/// Elements, and zero elsewhere.
fn settled_only(at: &[Entry]) -> Vec<Entry> {
    at.iter().map(|&entry| if entry.element().is_some() { entry } else { Entry::Zero }).collect()
}

/// Whether `at` has everything that `wanted` has.
fn serves_where(at: &[Entry], wanted: &[Entry]) -> bool {
    at.iter().zip(wanted).all(|(entry, wanted)| match wanted {
        Entry::Zero | Entry::Junk => true,
        Entry::Scalar => *entry == Entry::Scalar,
        Entry::Element(e) => entry.serves(*e),
    })
}
