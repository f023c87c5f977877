//! Twin networks in one: two of one shape that do the same, as the critics of actor-critic methods do, stand interleaved along the
//! neurons. Element 2i + t of a merged value is element i of twin t, so that what was done twice is done once where slots are empty.
//!
//! A layer of the two is one matrix, the one weight at even rows and columns and the other at odd ones: its odd diagonals are 0, and
//! it takes as many products as one of them ([`Ties::Strided`]). Where both read the same value, rows alone are interleaved, and the
//! adjoint is the sum that both send back. What leaves for something that is not done twice goes by way of the key owner, if it
//! computes it, or through a layer or a gradient, which read one of two where it stands, or is a single number, which a mask takes
//! out.
//!
//! This is a lowering for slots, whose plans choose between it and the twins apart.

use std::collections::{BTreeMap, BTreeSet};

use hecc_plan::Ties;

use super::hoist::{client_computes, client_knows};
use super::{Facts, prune, share};
use crate::tensor::{Graph, Id, Op, Shape, graph};

/// The graph with twins merged, or `None` where there are none whose vectors are at most `widest` long together.
pub fn run(graph: &Graph, facts: &Facts, widest: usize) -> Option<Graph> {
    let (pairs, order) = Pairs::find(graph, facts, widest)?;
    let merged = Merger::new(&pairs).run(&order);
    Some(prune::run(&share::run(&merged, facts), facts))
}

/// The other of two twins, and which of the two this one is.
#[derive(Clone, Copy, Debug)]
struct Twin {
    other: Id,
    track: usize,
}

/// How operands of twins are one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meeting {
    /// They are twins themselves.
    Twins,
    /// They are put together: what the client knows, biases, single numbers.
    Joined,
    /// One value, which only a layer can read as it is.
    Same,
}

/// Which nodes are merged.
struct Pairs<'a> {
    graph: &'a Graph,
    known: Vec<bool>,
    /// What the key owner computes, and sums that enter nothing else.
    bound: Vec<bool>,
    /// How many operands and outputs each node is.
    uses: Vec<usize>,
    of: Vec<Option<Twin>>,
    /// Weights of merged layers.
    weights: BTreeSet<(Id, Id)>,
}

impl<'a> Pairs<'a> {
    /// All pairs that can be merged, and an order in which what is left of the nodes can be computed: twins by their first.
    fn find(graph: &'a Graph, facts: &'a Facts, widest: usize) -> Option<(Self, Vec<Id>)> {
        let mut known: Vec<bool> = Vec::with_capacity(graph.len());
        for id in graph.ids() {
            let operands: Vec<bool> = graph.operands(id).iter().map(|o| known[o.index()]).collect();
            known.push(client_knows(&graph.node(id).op, &operands, &facts.client));
        }
        let names: Vec<String> = graph.ids().map(|id| format!("{} {:?}", graph::name(&graph.node(id).op), graph.shape(id))).collect();
        let bound = bound(graph, facts);
        let mut apart: BTreeSet<(Id, Id)> = BTreeSet::new();
        loop {
            let (known, bound, uses) = (known.clone(), bound.clone(), graph.uses());
            let mut pairs = Self { graph, known, bound, uses, of: vec![None; graph.len()], weights: BTreeSet::new() };
            pairs.discover(&names, &apart);
            if pairs.of.iter().all(Option::is_none) {
                return None;
            }
            let mut stuck = pairs.stuck(widest);
            if stuck.is_empty() {
                stuck = pairs.idle();
            }
            if !stuck.is_empty() {
                apart.extend(stuck);
                continue;
            }
            match pairs.order() {
                Ok(order) => return Some((pairs, order)),
                Err(last) => apart.insert(last),
            };
        }
    }

    /// Pairs nodes from the inputs on; those of `apart` stay alone.
    fn discover(&mut self, names: &[String], apart: &BTreeSet<(Id, Id)>) {
        let mut alone: BTreeMap<&str, Vec<Id>> = BTreeMap::new();
        for id in self.graph.ids() {
            let earlier = alone.entry(&names[id.index()]).or_default();
            let mut found = None;
            // Layers begin; all else follows twins, which its operands are by now.
            let begins = matches!(self.graph.node(id).op, Op::Dense | Op::DenseTranspose);
            let follows = begins || self.graph.operands(id).iter().any(|operand| self.of[operand.index()].is_some());
            for (at, &other) in earlier.iter().enumerate().filter(|_| follows) {
                let fitting = [(other, id), (id, other)].into_iter().find(|&(first, second)| self.fits(first, second));
                let Some((first, second)) = fitting else { continue };
                if matches!(self.graph.node(first).op, Op::Dense) {
                    self.weights.insert((self.graph.operands(first)[1], self.graph.operands(second)[1]));
                }
                if !apart.contains(&(first, second)) {
                    found = Some((at, first, second));
                    break;
                }
            }
            match found {
                None => earlier.push(id),
                Some((at, first, second)) => {
                    earlier.remove(at);
                    self.of[first.index()] = Some(Twin { other: second, track: 0 });
                    self.of[second.index()] = Some(Twin { other: first, track: 1 });
                }
            }
        }
    }

    /// Whether two nodes of one operation and one shape are twins, in this order, given those before them.
    fn fits(&self, first: Id, second: Id) -> bool {
        let node = self.graph.node(first);
        let (a, b) = (self.graph.operands(first), self.graph.operands(second));
        let meet = |slot: usize| self.meet(a[slot], b[slot]);
        match &node.op {
            Op::Dense => {
                let other = a[1] != b[1] && self.graph.shape(a[1]) == self.graph.shape(b[1]);
                other
                    && match meet(0) {
                        Some(Meeting::Twins | Meeting::Same) => true,
                        Some(Meeting::Joined) => a[0] == b[0] || self.weights.contains(&(a[1], b[1])),
                        None => false,
                    }
            }
            Op::DenseTranspose => self.weights.contains(&(a[1], b[1])) && meet(0).is_some(),
            Op::DenseGradient => {
                let met = [meet(0), meet(1)];
                met.contains(&Some(Meeting::Twins)) && !met.contains(&None)
            }
            Op::SumBatch => meet(0) == Some(Meeting::Twins),
            Op::Slice { step: 1, .. } | Op::Place { step: 1, .. } => meet(0) == Some(Meeting::Twins),
            Op::Add | Op::Sub | Op::Mul | Op::Extremum { .. } | Op::Scale(_) | Op::Offset(_) | Op::Map(_) | Op::Return
                if matches!(node.shape, Shape::Sample(_)) =>
            {
                let met: Vec<Option<Meeting>> = (0..a.len()).map(meet).collect();
                let fits = |met: &Option<Meeting>| matches!(met, Some(Meeting::Twins | Meeting::Joined));
                met.contains(&Some(Meeting::Twins)) && met.iter().all(fits)
            }
            Op::SumElements => meet(0) == Some(Meeting::Twins),
            Op::Broadcast => meet(0) == Some(Meeting::Twins) && self.graph.shape(a[0]) == Shape::Sample(1),
            _ => false,
        }
    }

    /// How operands of twins are one operand, if they can be.
    fn meet(&self, p: Id, q: Id) -> Option<Meeting> {
        let (a, b) = (self.graph.node(p), self.graph.node(q));
        let spread = |id: Id| matches!(self.graph.node(id).op, Op::Spread);
        if self.twins(p, q) {
            return Some(Meeting::Twins);
        }
        if a.shape != b.shape || !matches!(a.shape, Shape::Sample(_)) {
            return None;
        }
        let joined = a.shape == Shape::Sample(1) || (self.known[p.index()] && self.known[q.index()]) || (spread(p) && spread(q));
        if joined || (p == q && self.of_number(p).is_some()) {
            return Some(Meeting::Joined);
        }
        (p == q).then_some(Meeting::Same)
    }

    /// The number that a value repeats.
    fn of_number(&self, id: Id) -> Option<Id> {
        let number = || self.graph.operands(id).first().copied().filter(|&x| self.graph.shape(x) == Shape::Sample(1));
        matches!(self.graph.node(id).op, Op::Broadcast).then(number).flatten()
    }

    /// Whether two nodes are twins, in this order.
    fn twins(&self, first: Id, second: Id) -> bool {
        self.of[first.index()].is_some_and(|twin| twin.other == second && twin.track == 0)
    }

    /// The two that a node is one of, the first one first.
    fn both(&self, id: Id) -> Option<(Id, Id)> {
        self.of[id.index()].map(|twin| if twin.track == 0 { (id, twin.other) } else { (twin.other, id) })
    }

    fn number(&self, id: Id) -> bool {
        self.graph.shape(id) == Shape::Sample(1)
    }

    /// Twins that cannot be merged, since something reads one of the two that can get neither, or since both are too long.
    fn stuck(&self, widest: usize) -> Vec<(Id, Id)> {
        let mut stuck = BTreeSet::new();
        let wide = |id: Id| matches!(self.graph.shape(id), Shape::Sample(d) if d > 1);
        for id in self.graph.ids() {
            let long = match self.graph.shape(id) {
                Shape::Sample(d) | Shape::Vector(d) => d,
                Shape::Matrix(out, inputs) => out.max(inputs),
            };
            if 2 * long.next_power_of_two() > widest {
                stuck.extend(self.both(id));
            }
            // Twins that read one value of two can be apart.
            let read = self.leaving(id).into_iter().filter(|&operand| wide(operand) && !self.bound[id.index()]);
            stuck.extend(read.filter_map(|operand| self.both(id).or(self.both(operand))));
        }
        stuck.extend(self.graph.outputs.iter().filter(|(_, id)| wide(*id)).filter_map(|(_, id)| self.both(*id)));
        if stuck.is_empty() {
            stuck.extend(self.peeled());
        }
        stuck.into_iter().collect()
    }

    /// Twin numbers that only leave again: what was before them can as well, and a layer reads each where it stands.
    fn peeled(&self) -> Vec<(Id, Id)> {
        let (mut left, mut read) = (BTreeSet::new(), BTreeSet::new());
        for id in self.graph.ids() {
            let leaving = self.leaving(id);
            for operand in self.graph.operands(id).into_iter().filter(|&operand| self.number(operand)) {
                let alone = leaving.contains(&operand) && !self.bound[id.index()];
                if let Some(pair) = self.both(operand) {
                    if alone {
                        left.insert(pair)
                    } else {
                        read.insert(pair)
                    };
                }
            }
        }
        let given = |&(first, second): &(Id, Id)| {
            let (a, b) = (self.graph.operands(first), self.graph.operands(second));
            let merged = a.iter().zip(&b).filter(|&(&p, &q)| self.twins(p, q)).count();
            let linear = matches!(self.graph.node(first).op, Op::Add | Op::Sub | Op::Scale(_) | Op::Offset(_));
            matches!(self.graph.node(first).op, Op::Dense) || (linear && merged == 1)
        };
        left.difference(&read).copied().filter(given).collect()
    }

    /// Operands that are one of two twins, which a node reads alone.
    fn leaving(&self, id: Id) -> Vec<Id> {
        let operands = self.graph.operands(id);
        if self.sum(id).is_some() {
            return Vec::new();
        }
        let merged = |slot: usize| match self.both(id) {
            Some((first, second)) => self.twins(self.graph.operands(first)[slot], self.graph.operands(second)[slot]),
            // These read one of two where it stands.
            None => matches!(self.graph.node(id).op, Op::Dense | Op::DenseTranspose | Op::DenseGradient | Op::SumBatch),
        };
        let alone = |&(slot, operand): &(usize, Id)| self.of[operand.index()].is_some() && !merged(slot);
        operands.into_iter().enumerate().filter(alone).map(|(_, operand)| operand).collect()
    }

    /// The twins that a node adds up, if their sum needs neither of them alone.
    fn sum(&self, id: Id) -> Option<(Id, Id)> {
        if self.of[id.index()].is_some() || !matches!(self.graph.node(id).op, Op::Add) {
            return None;
        }
        let operands = self.graph.operands(id);
        let pair = self.both(operands[0]).filter(|&(first, second)| operands == [first, second] || operands == [second, first]);
        pair.filter(|&(first, second)| self.adds_up(first, second))
    }

    /// Whether two twins have a sum: two numbers have, and what layers give that nothing else reads.
    fn adds_up(&self, first: Id, second: Id) -> bool {
        self.graph.shape(first) == Shape::Sample(1) || self.is_linear(first, second)
    }

    /// Whether the sum of two twins is one layer of both, and what follows it.
    fn is_linear(&self, first: Id, second: Id) -> bool {
        let (a, b) = (self.graph.operands(first), self.graph.operands(second));
        let part = |slot: usize| {
            let spread = |id: Id| matches!(self.graph.node(id).op, Op::Spread);
            if self.twins(a[slot], b[slot]) { self.is_linear(a[slot], b[slot]) } else { spread(a[slot]) && spread(b[slot]) }
        };
        let alone = self.uses[first.index()] == 1 && self.uses[second.index()] == 1;
        alone
            && match &self.graph.node(first).op {
                Op::Dense | Op::DenseTranspose => true,
                Op::Slice { .. } | Op::Place { .. } | Op::Scale(_) | Op::Add | Op::Sub => (0..a.len()).all(part),
                _ => false,
            }
    }

    /// Twins whose merging saves no more products than masks it takes: each group of those that hang together.
    fn idle(&self) -> Vec<(Id, Id)> {
        let mut group: Vec<usize> = (0..self.graph.len()).collect();
        fn root(group: &mut [usize], mut at: usize) -> usize {
            while group[at] != at {
                group[at] = group[group[at]];
                at = group[at];
            }
            at
        }
        let pairs: Vec<(Id, Id)> = self.graph.ids().filter_map(|id| self.both(id).filter(|(first, _)| *first == id)).collect();
        let mut layers: BTreeMap<(Id, Id), Id> = BTreeMap::new();
        for &(first, second) in &pairs {
            let (a, b) = (self.graph.operands(first), self.graph.operands(second));
            let mut with: Vec<Id> = a.iter().zip(&b).filter(|&(&p, &q)| self.twins(p, q)).map(|(p, _)| *p).collect();
            if matches!(self.graph.node(first).op, Op::Dense | Op::DenseTranspose) {
                with.push(*layers.entry((a[1], b[1])).or_insert(first));
            }
            for other in with {
                let (one, other) = (root(&mut group, first.index()), root(&mut group, other.index()));
                group[one.max(other)] = one.min(other);
            }
        }
        let mut saves = vec![0i64; self.graph.len()];
        for &(first, second) in &pairs {
            saves[root(&mut group, first.index())] += self.saves(first, second);
        }
        let masked = |operand: &Id| matches!(self.graph.shape(*operand), Shape::Sample(_));
        for id in self.graph.ids().filter(|&id| !self.bound[id.index()]) {
            for operand in self.leaving(id).into_iter().filter(masked) {
                let (first, _) = self.both(operand).unwrap_or((operand, operand));
                saves[root(&mut group, first.index())] -= 1;
            }
        }
        pairs.into_iter().filter(|(first, _)| saves[root(&mut group, first.index())] <= 0).collect()
    }

    /// Products that two twins in one take less than apart, masks that join operands counted as products.
    fn saves(&self, first: Id, second: Id) -> i64 {
        let (a, b) = (self.graph.operands(first), self.graph.operands(second));
        let diagonals = |out: usize, inputs: usize| out.next_power_of_two().min(inputs.next_power_of_two()) as i64;
        let times = |slot: usize| if a[slot] == b[slot] { 1 } else { 2 };
        let layer = |matrix: Shape, [rows, columns]: [usize; 2]| {
            let Shape::Matrix(out, inputs) = matrix else { return 0 };
            let merged = diagonals(rows * out, columns * inputs);
            2 * diagonals(out, inputs) - if rows == columns { merged / rows as i64 } else { merged }
        };
        let known = |id: Id| self.known[id.index()];
        let joins = |(&p, &q): (&Id, &Id)| {
            let masks = p != q && !self.twins(p, q) && !(known(p) && known(q)) && matches!(self.graph.shape(p), Shape::Sample(1));
            2 * i64::from(masks)
        };
        let own = match &self.graph.node(first).op {
            Op::Dense => layer(self.graph.shape(a[1]), [2, times(0)]),
            Op::DenseTranspose => layer(self.graph.shape(a[1]), [times(0), 2]),
            Op::DenseGradient => layer(self.graph.shape(first), [times(0), times(1)]),
            Op::Mul => 1,
            Op::Map(_) | Op::Extremum { .. } if !known(first) => 2,
            _ => 0,
        };
        own - a.iter().zip(&b).map(joins).sum::<i64>()
    }

    /// An order of evaluation in which twins are one; if there is none, the last that wait for themselves.
    fn order(&self) -> Result<Vec<Id>, (Id, Id)> {
        let unit = |id: Id| self.both(id).map_or(id, |(first, _)| first);
        let members = |id: Id| match self.both(id) {
            Some((first, second)) => vec![first, second],
            None => vec![id],
        };
        let mut waits = vec![0usize; self.graph.len()];
        let mut users: Vec<Vec<Id>> = vec![Vec::new(); self.graph.len()];
        let mut ready: BTreeSet<Id> = BTreeSet::new();
        let units: Vec<Id> = self.graph.ids().filter(|&id| unit(id) == id).collect();
        for &id in &units {
            let operands: BTreeSet<Id> = members(id).into_iter().flat_map(|m| self.graph.operands(m)).map(unit).collect();
            waits[id.index()] = operands.len();
            operands.iter().for_each(|operand| users[operand.index()].push(id));
            if operands.is_empty() {
                ready.insert(id);
            }
        }
        let mut order = Vec::with_capacity(units.len());
        while let Some(id) = ready.pop_first() {
            order.push(id);
            for &user in &users[id.index()] {
                waits[user.index()] -= 1;
                if waits[user.index()] == 0 {
                    ready.insert(user);
                }
            }
        }
        let waiting = units.into_iter().filter(|&id| waits[id.index()] > 0).rev().find_map(|id| self.both(id));
        waiting.map_or(Ok(order), Err)
    }
}

/// What the key owner computes, and sums and differences that it alone reads.
fn bound(graph: &Graph, facts: &Facts) -> Vec<bool> {
    let mut read: Vec<Option<bool>> = vec![None; graph.len()];
    for (_, id) in &graph.outputs {
        read[id.index()] = Some(false);
    }
    let ids: Vec<Id> = graph.ids().collect();
    let mut bound = vec![false; graph.len()];
    for &id in ids.iter().rev() {
        let op = &graph.node(id).op;
        let sum = matches!(op, Op::Add | Op::Sub) && matches!(graph.shape(id), Shape::Sample(_));
        bound[id.index()] = client_computes(op, &facts.client) || (sum && read[id.index()] == Some(true));
        for operand in graph.operands(id) {
            let so_far = read[operand.index()].unwrap_or(true);
            read[operand.index()] = Some(so_far && bound[id.index()]);
        }
    }
    bound
}

/// Builds the merged graph.
struct Merger<'a> {
    pairs: &'a Pairs<'a>,
    new: Graph,
    /// Nodes alone, and those of twins that were taken apart.
    alone: Vec<Option<Id>>,
    /// Both in one, by either.
    merged: Vec<Option<Id>>,
    /// What the key owner gets of those that stand in merged ones. What it does not read is not handed to it: of what it knows, it
    /// computes functions, not their polynomials.
    handed: Vec<Option<Id>>,
}

impl<'a> Merger<'a> {
    fn new(pairs: &'a Pairs<'a>) -> Self {
        let length = pairs.graph.len();
        Self { pairs, new: Graph::default(), alone: vec![None; length], merged: vec![None; length], handed: vec![None; length] }
    }

    fn run(mut self, order: &[Id]) -> Graph {
        let graph = self.pairs.graph;
        for &id in order {
            if let Some((first, second)) = self.pairs.both(id) {
                let merged = self.merge(first, second);
                self.merged[first.index()] = Some(merged);
                self.merged[second.index()] = Some(merged);
            } else {
                let alone = match self.pairs.sum(id) {
                    Some((first, second)) => self.sum(first, second),
                    None => self.single(id),
                };
                self.alone[id.index()] = Some(alone);
            }
        }
        let outputs = graph.outputs.iter().map(|(output, id)| (output.clone(), self.alone(*id))).collect();
        self.new.outputs = outputs;
        self.new
    }

    fn push(&mut self, op: Op, operands: &[Id], shape: Shape, like: Id) -> Id {
        self.new.push(op, operands, shape, self.pairs.graph.node(like).span)
    }

    /// A node that is not merged; layers and gradients read merged operands where they stand.
    fn single(&mut self, id: Id) -> Id {
        let graph = self.pairs.graph;
        let (node, operands) = (graph.node(id), graph.operands(id));
        let stands = |slot: usize| self.pairs.of[operands[slot].index()].map(|twin| twin.track).zip(self.merged[operands[slot].index()]);
        let ties = |[rows, columns]: [Option<usize>; 2]| {
            let at = [rows, columns];
            Ties::Strided { first: at.map(Option::unwrap_or_default), step: at.map(|track| if track.is_some() { 2 } else { 1 }) }
        };
        let times = |track: Option<usize>| if track.is_some() { 2 } else { 1 };
        match (&node.op, node.shape) {
            (op @ (Op::Dense | Op::DenseTranspose), _) if stands(0).is_some() => {
                let Some((track, x)) = stands(0) else { unreachable!("it stands in a merged value") };
                let at = if matches!(op, Op::Dense) { [None, Some(track)] } else { [Some(track), None] };
                let Shape::Matrix(out, inputs) = graph.shape(operands[1]) else { unreachable!("verified shapes") };
                let weight = self.alone(operands[1]);
                let matrix = self.push(Op::Expand(ties(at)), &[weight], Shape::Matrix(times(at[0]) * out, times(at[1]) * inputs), id);
                self.push(op.clone(), &[x, matrix], node.shape, id)
            }
            (Op::DenseGradient, Shape::Matrix(out, inputs)) if stands(0).or(stands(1)).is_some() => {
                let (delta, x) = (stands(0), stands(1));
                let at = [delta, x].map(|stands| stands.map(|(track, _)| track));
                let delta = delta.map_or_else(|| self.alone(operands[0]), |(_, merged)| merged);
                let x = x.map_or_else(|| self.alone(operands[1]), |(_, merged)| merged);
                let gradient = self.push(Op::DenseGradient, &[delta, x], Shape::Matrix(times(at[0]) * out, times(at[1]) * inputs), id);
                self.push(Op::Collect(ties(at)), &[gradient], node.shape, id)
            }
            (Op::SumBatch, Shape::Vector(dim)) if stands(0).is_some() => {
                let Some((track, x)) = stands(0) else { unreachable!("it stands in a merged value") };
                let sum = self.push(Op::SumBatch, &[x], Shape::Vector(2 * dim), id);
                self.push(Op::Collect(ties([Some(track), None])), &[sum], node.shape, id)
            }
            (op, shape) => {
                let by_key_owner = self.pairs.bound[id.index()];
                let read = |&operand: &Id| if by_key_owner { self.handed(operand) } else { self.alone(operand) };
                let operands: Vec<Id> = operands.iter().map(read).collect();
                self.push(op.clone(), &operands, shape, id)
            }
        }
    }

    /// What the key owner reads of a node: of one in a merged one, that, by way of the whole.
    fn handed(&mut self, id: Id) -> Id {
        let (Some(Twin { track, .. }), Some(merged)) = (self.pairs.of[id.index()], self.merged[id.index()]) else {
            return self.alone(id);
        };
        let Shape::Sample(dim) = self.pairs.graph.shape(id) else { return self.alone(id) };
        if let Some(handed) = self.handed[id.index()] {
            return handed;
        }
        let whole = self.new.shape(merged);
        let returned = self.push(Op::Return, &[merged], whole, id);
        let handed = self.push(Op::Slice { start: track, step: if dim == 1 { 1 } else { 2 } }, &[returned], Shape::Sample(dim), id);
        self.handed[id.index()] = Some(handed);
        handed
    }

    /// A node as it was, taken out of a merged one if it is in one.
    fn alone(&mut self, id: Id) -> Id {
        if let Some(alone) = self.alone[id.index()] {
            return alone;
        }
        let (Some(Twin { track, .. }), Some(merged)) = (self.pairs.of[id.index()], self.merged[id.index()]) else {
            unreachable!("operands come first")
        };
        let shape = self.pairs.graph.shape(id);
        let alone = match shape {
            Shape::Sample(dim) => self.push(Op::Slice { start: track, step: if dim == 1 { 1 } else { 2 } }, &[merged], shape, id),
            Shape::Vector(_) | Shape::Matrix(..) => {
                let step = match (self.new.shape(merged), shape) {
                    (Shape::Matrix(rows, columns), Shape::Matrix(out, inputs)) => [rows / out, columns / inputs],
                    _ => [2, 1],
                };
                self.push(Op::Collect(strided(track, step)), &[merged], shape, id)
            }
        };
        self.alone[id.index()] = Some(alone);
        alone
    }

    /// Both of two twins in one node.
    fn merge(&mut self, first: Id, second: Id) -> Id {
        let graph = self.pairs.graph;
        let (a, b) = (graph.operands(first), graph.operands(second));
        let node = graph.node(first);
        let twice = match node.shape {
            Shape::Sample(d) => Shape::Sample(2 * d),
            Shape::Vector(d) => Shape::Vector(2 * d),
            matrix @ Shape::Matrix(..) => matrix,
        };
        match &node.op {
            Op::Dense => {
                let (x, columns) = self.factor(a[0], b[0], false);
                let matrix = self.matrix(a[1], b[1], [2, columns]);
                self.push(Op::Dense, &[x, matrix], twice, first)
            }
            Op::DenseTranspose => {
                let (delta, rows) = self.factor(a[0], b[0], true);
                let matrix = self.matrix(a[1], b[1], [rows, 2]);
                self.push(Op::DenseTranspose, &[delta, matrix], twice, first)
            }
            Op::DenseGradient => {
                let ((delta, rows), (x, columns)) = (self.factor(a[0], b[0], true), self.factor(a[1], b[1], false));
                let Shape::Matrix(out, inputs) = node.shape else { unreachable!("verified shapes") };
                self.push(Op::DenseGradient, &[delta, x], Shape::Matrix(rows * out, columns * inputs), first)
            }
            op => {
                let op = match op {
                    Op::Slice { start, .. } => Op::Slice { start: 2 * start, step: 1 },
                    Op::Place { start, .. } => Op::Place { start: 2 * start, step: 1 },
                    op => op.clone(),
                };
                let operands: Vec<Id> = a.iter().zip(&b).map(|(&p, &q)| self.both(p, q)).collect();
                self.push(op, &operands, twice, first)
            }
        }
    }

    /// An operand of a merged layer, and how often its elements are there: a value that both read can stay as it is. A number
    /// that both send back is put beside itself, so that the layer's matrix is the one it was.
    fn factor(&mut self, p: Id, q: Id, back: bool) -> (Id, usize) {
        if p == q && !(back && self.pairs.number(p)) { (self.alone(p), 1) } else { (self.both(p, q), 2) }
    }

    /// The weights of a merged layer, rows and columns so far apart.
    fn matrix(&mut self, first: Id, second: Id, step: [usize; 2]) -> Id {
        let Shape::Matrix(out, inputs) = self.pairs.graph.shape(first) else { unreachable!("verified shapes") };
        self.interleaved(first, second, step, Shape::Matrix(step[0] * out, step[1] * inputs))
    }

    /// Two parameters, each at its places.
    fn interleaved(&mut self, first: Id, second: Id, step: [usize; 2], shape: Shape) -> Id {
        let expanded = [first, second].into_iter().enumerate().map(|(track, parameter)| {
            let alone = self.alone(parameter);
            self.push(Op::Expand(strided(track, step)), &[alone], shape, parameter)
        });
        let expanded: Vec<Id> = expanded.collect();
        self.push(Op::Add, &expanded, shape, first)
    }

    /// Operands of twins as one.
    fn both(&mut self, p: Id, q: Id) -> Id {
        let graph = self.pairs.graph;
        if self.pairs.twins(p, q)
            && let Some(merged) = self.merged[p.index()]
        {
            return merged;
        }
        let Shape::Sample(dim) = graph.shape(p) else { unreachable!("values of samples meet") };
        let twice = Shape::Sample(2 * dim);
        match &graph.node(p).op {
            Op::Spread if matches!(graph.node(q).op, Op::Spread) => {
                let (p, q) = (graph.operands(p)[0], graph.operands(q)[0]);
                let bias = self.interleaved(p, q, [2, 1], Shape::Vector(2 * dim));
                self.push(Op::Spread, &[bias], twice, p)
            }
            Op::Constant(c) if p == q => self.push(Op::Constant(*c), &[], twice, p),
            _ if p == q && dim == 1 => {
                let number = self.alone(p);
                self.push(Op::Broadcast, &[number], twice, p)
            }
            _ if p == q && self.pairs.of_number(p).is_some() => {
                let number = self.alone(graph.operands(p)[0]);
                self.push(Op::Broadcast, &[number], twice, p)
            }
            _ => {
                let placed = [p, q].into_iter().enumerate().map(|(track, value)| {
                    let alone = self.alone(value);
                    self.push(Op::Place { start: track, step: if dim == 1 { 1 } else { 2 } }, &[alone], twice, value)
                });
                let placed: Vec<Id> = placed.collect();
                self.push(Op::Add, &placed, twice, p)
            }
        }
    }

    /// The sum of two twins.
    fn sum(&mut self, first: Id, second: Id) -> Id {
        let graph = self.pairs.graph;
        let node = graph.node(first);
        let (a, b) = (graph.operands(first), graph.operands(second));
        match (&node.op, node.shape, self.merged[first.index()]) {
            (_, Shape::Sample(1), Some(merged)) if !self.pairs.is_linear(first, second) => {
                self.push(Op::SumElements, &[merged], Shape::Sample(1), first)
            }
            (op @ (Op::Dense | Op::DenseTranspose), ..) => {
                let forward = matches!(op, Op::Dense);
                let (x, times) = self.factor(a[0], b[0], !forward);
                let matrix = self.matrix(a[1], b[1], if forward { [1, times] } else { [times, 1] });
                self.push(op.clone(), &[x, matrix], node.shape, first)
            }
            (Op::Spread, ..) => {
                let parts = [self.alone(first), self.alone(second)];
                self.push(Op::Add, &parts, node.shape, first)
            }
            (op, ..) => {
                let operands: Vec<Id> = a.iter().zip(&b).map(|(&p, &q)| self.sum(p, q)).collect();
                self.push(op.clone(), &operands, node.shape, first)
            }
        }
    }
}

/// The ties of one of two parameters whose rows and columns are so far apart: where they are not, both have the same.
fn strided(track: usize, step: [usize; 2]) -> Ties {
    Ties::Strided { first: step.map(|step| if step == 1 { 0 } else { track }), step }
}
