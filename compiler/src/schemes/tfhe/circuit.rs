//! A circuit of integers before keys are chosen: what [`super::assign`] makes a plan's steps of.

use std::collections::{BTreeMap, BTreeSet};

use hecc_plan::tfhe::Row;
use hecc_plan::{ClearId, Span, Target};

/// A vector of a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub usize);

/// An operation of a circuit.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The client's, rounded to multiples of `scale`.
    Input {
        /// A node of the client's program.
        tensor: ClearId,
        /// For people.
        label: String,
        /// What an integer of 1 stands for.
        scale: f64,
    },
    /// What the server keeps of that number.
    Carried(usize),
    /// Linear combinations.
    Affine {
        /// What is combined.
        operands: Vec<Id>,
        /// A row for each integer made.
        rows: Vec<Row>,
    },
    /// A function: one for all integers, or one for each.
    Table {
        /// The argument.
        a: Id,
        /// Values of the function over the whole range of the argument.
        functions: Vec<Function>,
    },
    /// floor(v / 2^drop).
    Floor {
        /// The argument.
        a: Id,
        /// Bits dropped.
        drop: u32,
    },
    /// v − 2^drop floor(v / 2^drop), of v and its floor.
    Rest {
        /// Both.
        operands: [Id; 2],
    },
    /// `no` where v < 0, `yes` elsewhere.
    Sign {
        /// The argument.
        a: Id,
        /// Of negative integers.
        no: i64,
        /// Of the others.
        yes: i64,
    },
}

/// Values of a function at `low`, `low + 1`, ...
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// The first argument.
    pub low: i64,
    /// The values.
    pub values: Vec<i64>,
}

impl Function {
    /// Tabulates `f` over a range.
    pub fn over((low, high): (i64, i64), f: impl FnMut(i64) -> i64) -> Self {
        Self { low, values: (low..=high).map(f).collect() }
    }

    /// The value at v; the ends beyond them.
    pub fn at(&self, v: i64) -> i64 {
        self.values[(v - self.low).clamp(0, self.values.len() as i64 - 1) as usize]
    }
}

/// A vector with what is known of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// How it is made.
    pub op: Op,
    /// (smallest, largest) of each integer.
    pub ranges: Vec<(i64, i64)>,
    /// What asked for it.
    pub span: Span,
}

impl Node {
    /// The range of all its integers.
    pub fn range(&self) -> (i64, i64) {
        self.ranges.iter().fold((i64::MAX, i64::MIN), |(low, high), r| (low.min(r.0), high.max(r.1)))
    }
}

/// A vector that leaves.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// The vector.
    pub id: Id,
    /// What the client does with it.
    pub target: Target,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What an integer of 1 stands for.
    pub scale: f64,
}

/// A vector that the server keeps: a part of a state.
#[derive(Clone, Debug, PartialEq)]
pub struct Carried {
    /// The state.
    pub state: String,
    /// What an integer of 1 stands for.
    pub scale: f64,
    /// The vector as the last update left it.
    pub old: Id,
    /// The vector as this update leaves it: `old` unless something changes it.
    pub new: Id,
}

/// A circuit; operands come before their users.
#[derive(Clone, Debug, Default)]
pub struct Circuit {
    /// The vectors.
    pub nodes: Vec<Node>,
    /// What leaves.
    pub outputs: Vec<Output>,
    /// What stays, the parts of a state from the coarsest to the finest.
    pub carried: Vec<Carried>,
}

/// Terms that merging linear combinations may make of those that they replace.
const GROWTH: usize = 4;

impl Circuit {
    /// The node.
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[id.0]
    }

    /// Number of integers.
    pub fn len(&self, id: Id) -> usize {
        self.nodes[id.0].ranges.len()
    }

    /// The range of all integers of a vector.
    pub fn range(&self, id: Id) -> (i64, i64) {
        self.nodes[id.0].range()
    }

    fn push(&mut self, op: Op, ranges: Vec<(i64, i64)>, span: Span) -> Id {
        // Equal vectors are made once.
        if let Some(same) = self.nodes.iter().position(|node| node.op == op && node.ranges == ranges) {
            return Id(same);
        }
        self.nodes.push(Node { op, ranges, span });
        Id(self.nodes.len() - 1)
    }

    /// A vector of the client's, of integers in a range.
    pub fn input(&mut self, tensor: ClearId, label: &str, scale: f64, range: (i64, i64), len: usize, span: Span) -> Id {
        self.push(Op::Input { tensor, label: label.to_owned(), scale }, vec![range; len], span)
    }

    /// A vector that the server keeps, of integers in a range.
    pub fn carried(&mut self, state: &str, scale: f64, range: (i64, i64), len: usize, span: Span) -> Id {
        let old = self.push(Op::Carried(self.carried.len()), vec![range; len], span);
        self.carried.push(Carried { state: state.to_owned(), scale, old, new: old });
        old
    }

    /// Linear combinations; those of linear combinations are merged.
    pub fn affine(&mut self, operands: &[Id], rows: Vec<Row>, span: Span) -> Id {
        let (operands, rows) = self.merged(operands, rows);
        if let [a] = operands[..]
            && is_whole(&rows, self.len(a))
        {
            return a;
        }
        let range = |row: &Row| {
            row.terms.iter().fold((row.constant, row.constant), |(low, high), &(o, e, c)| {
                let (a, b) = self.nodes[operands[o as usize].0].ranges[e as usize];
                (low + (c * a).min(c * b), high + (c * a).max(c * b))
            })
        };
        let ranges = rows.iter().map(range).collect();
        self.push(Op::Affine { operands, rows }, ranges, span)
    }

    /// The combinations with those that they combine put in, unless that makes many terms of few.
    fn merged(&self, operands: &[Id], rows: Vec<Row>) -> (Vec<Id>, Vec<Row>) {
        let count = |rows: &[Row]| rows.iter().map(|row| row.terms.len()).sum::<usize>();
        let inner = |id: Id| match &self.nodes[id.0].op {
            Op::Affine { operands, rows } => Some((operands, rows)),
            Op::Input { .. } | Op::Carried(_) | Op::Table { .. } | Op::Floor { .. } | Op::Rest { .. } | Op::Sign { .. } => None,
        };
        let before = count(&rows) + operands.iter().filter_map(|&id| inner(id)).map(|(_, rows)| count(rows)).sum::<usize>();
        let mut leaves: Vec<Id> = Vec::new();
        let mut slot = |id: Id| {
            leaves.iter().position(|&leaf| leaf == id).unwrap_or_else(|| {
                leaves.push(id);
                leaves.len() - 1
            }) as u32
        };
        let mut merged = Vec::with_capacity(rows.len());
        for row in &rows {
            let mut terms: BTreeMap<(u32, u32), i64> = BTreeMap::new();
            let mut constant = row.constant;
            for &(o, e, c) in &row.terms {
                match inner(operands[o as usize]) {
                    Some((names, inside)) => {
                        let inside = &inside[e as usize];
                        constant += c * inside.constant;
                        for &(p, f, d) in &inside.terms {
                            *terms.entry((slot(names[p as usize]), f)).or_default() += c * d;
                        }
                    }
                    None => *terms.entry((slot(operands[o as usize]), e)).or_default() += c,
                }
            }
            let terms = terms.into_iter().filter(|(_, c)| *c != 0).map(|((o, e), c)| (o, e, c)).collect();
            merged.push(Row { terms, constant });
        }
        if count(&merged) <= GROWTH * before.max(64) { (leaves, merged) } else { (operands.to_vec(), rows) }
    }

    /// A function of every integer, or one function for each.
    pub fn table(&mut self, a: Id, functions: Vec<Function>, span: Span) -> Id {
        let pick = |i: usize| &functions[i % functions.len()];
        let reached = |(i, &(low, high)): (usize, &(i64, i64))| {
            (low..=high).map(|v| pick(i).at(v)).fold((i64::MAX, i64::MIN), |(l, h), v| (l.min(v), h.max(v)))
        };
        let ranges = self.nodes[a.0].ranges.iter().enumerate().map(reached).collect();
        self.push(Op::Table { a, functions }, ranges, span)
    }

    /// floor((v + 2^(drop-1)) / 2^drop): v / 2^drop rounded to the nearest integer.
    pub fn rounded(&mut self, a: Id, drop: u32, span: Span) -> Id {
        if drop == 0 {
            return a;
        }
        let row = |i| Row { terms: vec![(0, i as u32, 1)], constant: 1 << (drop - 1) };
        let raised = self.affine(&[a], (0..self.len(a)).map(row).collect(), span);
        let Op::Affine { operands, rows } = self.nodes[raised.0].op.clone() else { return self.floor(raised, drop, span) };
        let even: Vec<u32> = rows.iter().map(|row| row.factor().trailing_zeros().min(drop)).collect();
        if even.iter().all(|bits| *bits == 0) {
            return self.floor(raised, drop, span);
        }
        // Lowest bits that are the same whatever is summed are dropped with the constant.
        let (mut floors, mut places) = (Vec::new(), vec![(0, 0); rows.len()]);
        for bits in even.iter().copied().collect::<BTreeSet<u32>>() {
            let mut shifted = Vec::new();
            for (element, row) in rows.iter().enumerate().filter(|(element, _)| even[*element] == bits) {
                places[element] = (floors.len() as u32, shifted.len() as u32);
                let terms = row.terms.iter().map(|&(o, e, c)| (o, e, c >> bits)).collect();
                shifted.push(Row { terms, constant: row.constant >> bits });
            }
            let part = self.affine(&operands, shifted, span);
            floors.push(self.floor(part, drop - bits, span));
        }
        self.affine(&floors, places.into_iter().map(|(o, e)| Row { terms: vec![(o, e, 1)], constant: 0 }).collect(), span)
    }

    /// floor(v / 2^drop).
    pub fn floor(&mut self, a: Id, drop: u32, span: Span) -> Id {
        if drop == 0 {
            return a;
        }
        let ranges = self.nodes[a.0].ranges.iter().map(|(low, high)| (low >> drop, high >> drop)).collect();
        self.push(Op::Floor { a, drop }, ranges, span)
    }

    /// What a floor by `drop` bits has dropped.
    pub fn rest(&mut self, a: Id, floor: Id, drop: u32, span: Span) -> Id {
        self.push(Op::Rest { operands: [a, floor] }, vec![(0, (1 << drop) - 1); self.len(a)], span)
    }

    /// `no` where v < 0, `yes` elsewhere.
    pub fn sign(&mut self, a: Id, no: i64, yes: i64, span: Span) -> Id {
        let ranges = vec![(no.min(yes), no.max(yes)); self.len(a)];
        self.push(Op::Sign { a, no, yes }, ranges, span)
    }

    /// What integers are without the factors that all coefficients of one have, and so factor and constant of each: it was
    /// factor v + constant, with a constant from 0 to factor − 1, so that signs are the same.
    pub fn without_factors(&mut self, a: Id, span: Span) -> (Id, Vec<(i64, i64)>) {
        let Op::Affine { operands, rows } = self.nodes[a.0].op.clone() else { return (a, vec![(1, 0); self.len(a)]) };
        let factor = |row: &Row| row.factor().abs();
        let lines = rows.iter().map(|row| (factor(row), row.constant.rem_euclid(factor(row)))).collect();
        let reduced = |row: Row| {
            let factor = factor(&row);
            let terms = row.terms.into_iter().map(|(o, e, c)| (o, e, c / factor)).collect();
            Row { terms, constant: row.constant.div_euclid(factor) }
        };
        (self.affine(&operands, rows.into_iter().map(reduced).collect(), span), lines)
    }

    /// Some integers of a vector.
    pub fn pick(&mut self, a: Id, elements: &[usize], span: Span) -> Id {
        self.affine(&[a], elements.iter().map(|&e| Row { terms: vec![(0, e as u32, 1)], constant: 0 }).collect(), span)
    }

    /// The same circuit without the integers that neither an output nor the next update needs; the client's vectors stay whole.
    #[must_use]
    pub fn pruned(&self) -> Self {
        let all_needed = self.needed();
        // Where each integer that stays stands now.
        let mut places: Vec<Vec<usize>> = Vec::with_capacity(self.nodes.len());
        let mut new: Vec<Id> = Vec::with_capacity(self.nodes.len());
        let mut nodes: Vec<Node> = Vec::new();
        for (node, needed) in self.nodes.iter().zip(&all_needed) {
            let mut count = 0;
            let mut place = |needed: &bool| {
                count += usize::from(*needed);
                count - usize::from(*needed)
            };
            places.push(needed.iter().map(&mut place).collect());
            if count == 0 {
                new.push(Id(nodes.len()));
                continue;
            }
            let kept = |i: &usize| needed[*i];
            let ranges = (0..needed.len()).filter(kept).map(|i| node.ranges[i]).collect();
            // One of an element each reads the elements that it makes, of a vector that may have more.
            let mut picked = |a: Id| {
                if needed == &all_needed[a.0] {
                    return new[a.0];
                }
                let elements: Vec<usize> = (0..needed.len()).filter(|&i| needed[i]).collect();
                let rows = elements.iter().map(|&e| Row { terms: vec![(0, places[a.0][e] as u32, 1)], constant: 0 }).collect();
                let ranges = elements.iter().map(|&e| self.nodes[a.0].ranges[e]).collect();
                nodes.push(Node { op: Op::Affine { operands: vec![new[a.0]], rows }, ranges, span: node.span });
                Id(nodes.len() - 1)
            };
            let op = match &node.op {
                Op::Input { .. } | Op::Carried(_) => node.op.clone(),
                Op::Affine { operands, rows } => {
                    let term = |&(o, e, c): &(u32, u32, i64)| (o, places[operands[o as usize].0][e as usize] as u32, c);
                    let row = |row: &Row| Row { terms: row.terms.iter().map(term).collect(), constant: row.constant };
                    let rows = rows.iter().enumerate().filter(|(i, _)| needed[*i]).map(|(_, r)| row(r)).collect();
                    Op::Affine { operands: operands.iter().map(|o| new[o.0]).collect(), rows }
                }
                Op::Table { a, functions } => {
                    let functions = match functions.len() {
                        1 => functions.clone(),
                        _ => (0..needed.len()).filter(kept).map(|i| functions[i].clone()).collect(),
                    };
                    Op::Table { a: picked(*a), functions }
                }
                Op::Floor { a, drop } => Op::Floor { a: picked(*a), drop: *drop },
                Op::Rest { operands: [a, floor] } => Op::Rest { operands: [new[a.0], new[floor.0]] },
                Op::Sign { a, no, yes } => Op::Sign { a: picked(*a), no: *no, yes: *yes },
            };
            let op = op.without_strangers();
            // What picked integers of a vector of which no others are left.
            if let Op::Affine { operands, rows } = &op
                && let [a] = operands[..]
                && is_whole(rows, nodes[a.0].ranges.len())
            {
                new.push(a);
                continue;
            }
            new.push(Id(nodes.len()));
            nodes.push(Node { op, ranges, span: node.span });
        }
        let outputs = self.outputs.iter().map(|output| Output { id: new[output.id.0], ..output.clone() }).collect();
        let kept = |kept: &Carried| Carried { old: new[kept.old.0], new: new[kept.new.0], ..kept.clone() };
        Self { nodes, outputs, carried: self.carried.iter().map(kept).collect() }
    }

    /// Which integers an output needs, or the next update.
    fn needed(&self) -> Vec<Vec<bool>> {
        let mut needed: Vec<Vec<bool>> = self.nodes.iter().map(|node| vec![false; node.ranges.len()]).collect();
        self.outputs.iter().for_each(|output| needed[output.id.0].fill(true));
        self.carried.iter().for_each(|kept| needed[kept.old.0].fill(true));
        self.carried.iter().for_each(|kept| needed[kept.new.0].fill(true));
        for (index, node) in self.nodes.iter().enumerate().rev() {
            let own = needed[index].clone();
            match &node.op {
                Op::Input { .. } | Op::Carried(_) => {
                    let any = own.contains(&true);
                    needed[index].fill(any);
                }
                Op::Affine { operands, rows } => {
                    for (row, _) in rows.iter().zip(&own).filter(|(_, needed)| **needed) {
                        row.terms.iter().for_each(|&(o, e, _)| needed[operands[o as usize].0][e as usize] = true);
                    }
                }
                Op::Rest { operands: [_, a] } => {
                    own.iter().enumerate().filter(|(_, needed)| **needed).for_each(|(i, _)| needed[a.0][i] = true);
                }
                Op::Table { a, .. } | Op::Floor { a, .. } | Op::Sign { a, .. } => {
                    own.iter().enumerate().filter(|(_, needed)| **needed).for_each(|(i, _)| needed[a.0][i] = true);
                }
            }
        }
        // A rest is of a whole floor.
        for (index, node) in self.nodes.iter().enumerate() {
            if let Op::Rest { operands: [_, floor] } = node.op {
                needed[index] = needed[floor.0].clone();
            }
        }
        needed
    }
}

impl Op {
    /// The operands.
    pub fn operands(&self) -> &[Id] {
        match self {
            Op::Input { .. } | Op::Carried(_) => &[],
            Op::Affine { operands, .. } => operands,
            Op::Rest { operands } => operands,
            Op::Table { a, .. } | Op::Floor { a, .. } | Op::Sign { a, .. } => std::slice::from_ref(a),
        }
    }

    /// Without operands that no row names.
    fn without_strangers(self) -> Self {
        let Op::Affine { operands, rows } = self else { return self };
        let mut named: Vec<u32> = rows.iter().flat_map(|row| row.terms.iter().map(|t| t.0)).collect();
        named.sort_unstable();
        named.dedup();
        let place = |o: u32| named.binary_search(&o).unwrap_or(0) as u32;
        let row = |row: Row| Row { terms: row.terms.into_iter().map(|(o, e, c)| (place(o), e, c)).collect(), constant: row.constant };
        Op::Affine { operands: named.iter().map(|&o| operands[o as usize]).collect(), rows: rows.into_iter().map(row).collect() }
    }
}

/// Whether rows are those of a vector of `len`, as it stands.
fn is_whole(rows: &[Row], len: usize) -> bool {
    rows.len() == len && rows.iter().enumerate().all(|(i, row)| row.constant == 0 && row.terms == [(0, i as u32, 1)])
}

/// Bits of a signed integer that holds a range.
pub fn width((low, high): (i64, i64)) -> u32 {
    let bits = |v: i64| 64 - (if v < 0 { !v } else { v }).leading_zeros() + 1;
    bits(low).max(bits(high)).max(1)
}
