//! The fewest programmable bootstraps that a plan's values can take, in a model of where bootstraps can stand.
//!
//! # The model
//!
//! Given are the integers that a plan's readers read: what every table, comparison and floor reads, what the client decrypts and
//! what the server keeps, as linear forms in *atoms*: the client's integers, those kept from before, and what bootstraps make. Given with them are how many bits each reader takes,
//! the width budget, and so how many bits are dropped before it. Sums are free. Free to choose is
//!
//! 1. *which values are rounded*: forms that differ by a factor and a constant are one *argument*, since tables take both in. An
//!    argument is rounded in one chain, a bootstrap for each bit dropped, and whoever reads it coarser reads further down;
//! 2. *which tables there are*: what reads an argument reads sums of functions of it, and any tables will do that those sums are
//!    combinations of, with the argument itself and constants;
//! 3. *what is fused*: a function of what is itself a function of one argument (rescaled, rounded, activated) is a function of
//!    that argument, and what is between is made only where something else reads it;
//! 4. *how products are made*: of x and y by a table of x + y, and by another of x - y or, where they may share, those of both x
//!    and y. A table reads no sum of three: the budget is that of a sum of two;
//! 5. *what is not made*: functions that are constant or affine on the integers that can occur, and what no output needs.
//!
//! Noise has no part in it: that what the server keeps for the next update is refreshed by a table, even one that changes no integer,
//! is not asked for. A plan that carries states may so have a few more bootstraps than the minimum and still the fewest that there
//! can be. Nor is it counted that a state could be cut in other parts, or on another grid.
//!
//! Given is also which *way* is gone: an arg-max by all pairs or as a tournament, and whether products share tables of their factors
//! ([`Products`]). The compiler lowers every way and takes the one that is predicted to be fastest, which need not have the fewest
//! bootstraps: shared tables make sums that are a bit wider, and every bootstrap then takes longer.
//!
//! # Why nothing in it takes fewer
//!
//! Arguments are independent by definition, so that bounds add up. Of one argument u, what tables give are combinations of them, 1
//! and u; the sums of functions that are needed lie in that space, so that there are at least as many tables as their rank
//! modulo 1 and u, and that many do (2). A chain ends at its deepest reader, and each bootstrap of it drops one bit (1). Fusing
//! never adds a table: who reads a fused value had a table of its own already (3).
//!
//! For products (4) take the graph whose nodes are factors and whose edges are the products that are needed. Only tables of x + y
//! or x - y have both x and y in them, so that every edge e takes one, and either one more or tables of both ends. With Z
//! the factors that have tables, that is 2 e - e(Z) + |Z|. From any Z that is not empty, adding a neighbour of Z adds one node
//! and at least one edge within Z: a connected part is best taken whole or not at all, and takes e + min(e, v); 2 e where nothing
//! is shared. Factors of which v (v - 1) / 2 is affine, bits, need no table and are not counted in v.
//!
//! Ranks are taken modulo a prime, which can only make them smaller. What is counted is so never more than the least of the model,
//! and a plan that takes as many is proven to have the fewest.

use std::collections::{BTreeMap, BTreeSet};

use super::{Op, Plan, Row};

/// Widest range of an argument whose functions are tabulated.
const WIDEST: i64 = 1 << 12;
/// Most terms of all forms together: what is larger has no bound.
const MOST_TERMS: usize = 1 << 23;
/// Ranks are those modulo 2^61 - 1.
const PRIME: u128 = (1 << 61) - 1;

/// Σ coefficient × atom, + constant.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Form {
    terms: BTreeMap<usize, i64>,
    constant: i64,
}

/// What forms are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// The client's: (step, element).
    Input(usize, usize),
    /// A function of an argument, by its number.
    Function(usize, usize),
    /// Whether an argument that is too wide for tables is at least this.
    Sign(usize, i64),
    /// An argument after the lowest bits are dropped: all bits dropped, the offset and the factor before the last of them.
    Floor(usize, u32, i64, i64),
    /// What a floor dropped: the floor.
    Rest(usize),
}

/// An atom and the integers that it can be.
struct Atom {
    kind: Kind,
    low: i64,
    high: i64,
}

/// Forms that differ by a factor and a constant.
struct Argument {
    /// The one without a common factor, whose first coefficient is positive.
    form: Form,
    low: i64,
    high: i64,
    /// Functions over its range that occur.
    functions: Vec<Vec<i64>>,
}

/// What is needed of an argument.
#[derive(Default)]
struct Needed {
    /// Sums of functions.
    sums: BTreeSet<Vec<i64>>,
    /// Comparisons.
    signs: BTreeSet<i64>,
    /// Bits dropped.
    depth: u32,
}

#[derive(Default)]
struct Model {
    atoms: Vec<Atom>,
    numbers: BTreeMap<Kind, usize>,
    arguments: Vec<Argument>,
    directions: BTreeMap<Form, usize>,
    terms: usize,
}

/// What products may be made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Products {
    /// Two tables of their own.
    Apart,
    /// Tables of their factors too.
    Shared,
}

/// A lower bound of the bootstraps of a checked plan, in the model; 0 for a plan that is too large to say.
pub fn of(plan: &Plan, made: Products) -> u64 {
    let mut model = Model::default();
    let mut wires: Vec<Vec<Form>> = Vec::with_capacity(plan.steps.len());
    for (index, step) in plan.steps.iter().enumerate() {
        let operand = |slot: usize| &wires[step.op.operands()[slot].index()];
        let made = match &step.op {
            Op::Input(_) | Op::Carried(_) => {
                (0..step.wire.len as usize).map(|e| model.atom(Kind::Input(index, e), step.wire.low, step.wire.high)).collect::<Vec<Form>>()
            }
            Op::Affine { operands, rows } => {
                let operands: Vec<&Vec<Form>> = operands.iter().map(|o| &wires[o.index()]).collect();
                rows.iter().map(|row| model.affine(row, &operands)).collect()
            }
            Op::Table { tables, .. } => {
                let table = |i: usize| &plan.tables[tables[i % tables.len()].0 as usize];
                operand(0).iter().enumerate().map(|(i, form)| model.table(form, &|v| table(i).at(v))).collect()
            }
            Op::Sign { no, yes, .. } => operand(0).iter().map(|form| model.sign(form, *no, *yes)).collect(),
            Op::Floor { drop, .. } => operand(0).iter().map(|form| model.floor(form, *drop)).collect(),
            Op::Rest { operands } => {
                let drop = plan.steps[operands[0].index()].wire.bits - plan.steps[operands[1].index()].wire.bits;
                operand(1).iter().map(|floor| model.rest(floor, drop)).collect()
            }
            Op::Switch { .. } => operand(0).clone(),
        };
        wires.push(made);
        if model.terms > MOST_TERMS {
            return 0;
        }
    }
    let kept = plan.carried.iter().map(|carried| carried.wire);
    let needed = plan.outputs.iter().map(|output| output.wire).chain(kept);
    model.least(needed.flat_map(|wire| wires[wire.index()].iter().cloned()).collect(), made)
}

impl Form {
    fn add(&mut self, other: &Form, factor: i64) {
        for (&atom, &c) in &other.terms {
            let sum = self.terms.entry(atom).or_default();
            *sum = sum.saturating_add(factor.saturating_mul(c));
            if *sum == 0 {
                self.terms.remove(&atom);
            }
        }
        self.constant = self.constant.saturating_add(factor.saturating_mul(other.constant));
    }

    /// The form that this is a factor times, plus a constant: (form, factor).
    fn direction(&self) -> (Form, i64) {
        let common = self.terms.values().fold(0, |a, &b| gcd(a, b.abs())).max(1);
        let sign = self.terms.values().next().map_or(1, |c| c.signum());
        let terms = self.terms.iter().map(|(&atom, c)| (atom, sign * c / common)).collect();
        (Form { terms, constant: 0 }, sign * common)
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl Model {
    fn atom(&mut self, kind: Kind, low: i64, high: i64) -> Form {
        let atoms = &mut self.atoms;
        let atom = *self.numbers.entry(kind).or_insert_with(|| {
            atoms.push(Atom { kind, low, high });
            atoms.len() - 1
        });
        Form { terms: BTreeMap::from([(atom, 1)]), constant: 0 }
    }

    fn affine(&mut self, row: &Row, operands: &[&Vec<Form>]) -> Form {
        let mut sum = Form { constant: row.constant, ..Form::default() };
        row.terms.iter().for_each(|&(o, e, c)| sum.add(&operands[o as usize][e as usize], c));
        self.terms += sum.terms.len();
        sum
    }

    fn range(&self, form: &Form) -> (i64, i64) {
        form.terms.iter().fold((form.constant, form.constant), |(low, high), (&atom, &c)| {
            let [a, b] = [self.atoms[atom].low, self.atoms[atom].high].map(|end| c.saturating_mul(end));
            (low.saturating_add(a.min(b)), high.saturating_add(a.max(b)))
        })
    }

    /// The argument of a form and what the form is at each of its integers, where they are few enough to say.
    fn read(&mut self, form: &Form) -> (usize, Option<Vec<i64>>) {
        if let Some((argument, values)) = self.fused(form) {
            return (argument, Some(values));
        }
        let (direction, factor) = form.direction();
        let (low, high) = self.range(&direction);
        let arguments = &mut self.arguments;
        let argument = *self.directions.entry(direction).or_insert_with_key(|form| {
            arguments.push(Argument { form: form.clone(), low, high, functions: Vec::new() });
            arguments.len() - 1
        });
        (argument, (high - low < WIDEST).then(|| (low..=high).map(|v| factor * v + form.constant).collect()))
    }

    /// A form of functions of one argument, as a function of it.
    fn fused(&self, form: &Form) -> Option<(usize, Vec<i64>)> {
        let mut of = None;
        for atom in form.terms.keys() {
            let Kind::Function(argument, _) = self.atoms[*atom].kind else { continue };
            if of.replace(argument).is_some_and(|other| other != argument) {
                return None;
            }
        }
        let argument = &self.arguments[of?];
        let mut values = vec![form.constant; (argument.high - argument.low + 1) as usize];
        for (&atom, &c) in &form.terms {
            match self.atoms[atom].kind {
                Kind::Function(_, number) => values.iter_mut().zip(&argument.functions[number]).for_each(|(v, f)| *v += c * f),
                // The argument itself.
                _ if argument.form.terms.len() == 1 && argument.form.terms.contains_key(&atom) => {
                    values.iter_mut().zip(argument.low..).for_each(|(v, t)| *v += c * t);
                }
                _ => return None,
            }
        }
        Some((of?, values))
    }

    fn table(&mut self, form: &Form, f: &dyn Fn(i64) -> i64) -> Form {
        match self.read(form) {
            (argument, Some(values)) => self.function(argument, values.into_iter().map(f).collect()),
            // No table reads so much: never in a plan that checks.
            (argument, None) => self.atom(Kind::Sign(argument, i64::MIN), i64::MIN / 2, i64::MAX / 2),
        }
    }

    /// A function of an argument: affine ones are free.
    fn function(&mut self, argument: usize, values: Vec<i64>) -> Form {
        let known = &mut self.arguments[argument];
        if is_affine(&values) {
            let slope = values.get(1).map_or(0, |second| second - values[0]);
            let mut form = Form { constant: values[0] - slope * known.low, ..Form::default() };
            form.add(&known.form, slope);
            return form;
        }
        let number = known.functions.iter().position(|f| *f == values).unwrap_or_else(|| {
            known.functions.push(values.clone());
            known.functions.len() - 1
        });
        let (low, high) = values.iter().fold((i64::MAX, i64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        self.atom(Kind::Function(argument, number), low, high)
    }

    fn sign(&mut self, form: &Form, no: i64, yes: i64) -> Form {
        let (low, high) = self.range(form);
        if low >= 0 || high < 0 {
            return Form { constant: if low >= 0 { yes } else { no }, ..Form::default() };
        }
        match self.read(form) {
            (argument, Some(values)) => self.function(argument, values.iter().map(|v| if *v < 0 { no } else { yes }).collect()),
            (argument, None) => {
                // At least 0 from a threshold on, or below one.
                let (_, factor) = form.direction();
                let (threshold, below, above) = match form.constant.div_euclid(factor.abs()) {
                    quotient if factor > 0 => (-quotient, no, yes),
                    quotient => (quotient + 1, yes, no),
                };
                let bit = self.atom(Kind::Sign(argument, threshold), 0, 1);
                let mut scaled = Form { constant: below, ..Form::default() };
                scaled.add(&bit, above - below);
                scaled
            }
        }
    }

    fn floor(&mut self, form: &Form, drop: u32) -> Form {
        let (low, high) = self.range(form);
        // What is a multiple already needs no bootstrap.
        let (direction, factor) = form.direction();
        let free = factor.trailing_zeros().min(drop);
        // Further down a chain.
        let single = form.terms.keys().next().filter(|_| form.terms.len() == 1 && free < drop);
        let (argument, above) = match single.map(|&atom| self.atoms[atom].kind) {
            Some(Kind::Floor(argument, above, ..)) => (argument, above),
            _ => {
                let arguments = &mut self.arguments;
                let atoms = &self.atoms;
                let argument = *self.directions.entry(direction).or_insert_with_key(|form| {
                    let range = form.terms.iter().fold((0i64, 0i64), |(low, high), (&atom, &c)| {
                        let [a, b] = [atoms[atom].low, atoms[atom].high].map(|end| c.saturating_mul(end));
                        (low.saturating_add(a.min(b)), high.saturating_add(a.max(b)))
                    });
                    arguments.push(Argument { form: form.clone(), low: range.0, high: range.1, functions: Vec::new() });
                    arguments.len() - 1
                });
                (argument, 0)
            }
        };
        self.atom(Kind::Floor(argument, above + drop - free, form.constant, factor), low >> drop, high >> drop)
    }

    fn rest(&mut self, floor: &Form, drop: u32) -> Form {
        match floor.terms.keys().next() {
            Some(&atom) => self.atom(Kind::Rest(atom), 0, (1 << drop) - 1),
            None => Form::default(),
        }
    }

    /// The fewest bootstraps by which these forms can be made.
    fn least(&self, outputs: Vec<Form>, made: Products) -> u64 {
        let mut needed: BTreeMap<usize, Needed> = BTreeMap::new();
        let mut products = Squares::default();
        let mut rows: Vec<Form> = outputs;
        let mut seen: BTreeSet<Form> = BTreeSet::new();
        while let Some(row) = rows.pop() {
            if !seen.insert(row.clone()) {
                continue;
            }
            let mut sums: BTreeMap<usize, Vec<i64>> = BTreeMap::new();
            for (&atom, &c) in &row.terms {
                match self.atoms[atom].kind {
                    Kind::Input(..) => {}
                    Kind::Function(argument, number) => {
                        let function = &self.arguments[argument].functions[number];
                        let sum = sums.entry(argument).or_insert_with(|| vec![0; function.len()]);
                        sum.iter_mut().zip(function).for_each(|(sum, v)| *sum += c * v);
                    }
                    Kind::Sign(argument, threshold) => {
                        needed.entry(argument).or_default().signs.insert(threshold);
                        rows.push(self.arguments[argument].form.clone());
                    }
                    Kind::Floor(..) | Kind::Rest(_) => {
                        let floor = if let Kind::Rest(floor) = self.atoms[atom].kind { floor } else { atom };
                        if let Kind::Floor(argument, depth, ..) = self.atoms[floor].kind {
                            let known = needed.entry(argument).or_default();
                            known.depth = known.depth.max(depth);
                            rows.push(self.arguments[argument].form.clone());
                        }
                    }
                }
            }
            sums.retain(|_, sum| !is_affine(sum));
            products.row(self, &sums);
            for (argument, sum) in sums {
                needed.entry(argument).or_default().sums.insert(sum);
                rows.push(self.arguments[argument].form.clone());
            }
        }
        let (of_products, factors) = products.least(self, made);
        let other: u64 = needed
            .iter()
            .map(|(&argument, needed)| {
                let Argument { form, low, high, .. } = &self.arguments[argument];
                let mut free: Vec<Vec<i64>> = Vec::new();
                if !needed.sums.is_empty() {
                    free = vec![vec![1; (high - low + 1) as usize], (*low..=*high).collect()];
                    // Squares are counted with products.
                    if products.pairs.contains_key(&argument) {
                        free.extend(needed.sums.iter().filter(|sum| curvature(sum).is_some()).cloned());
                    } else if form.terms.len() == 1 && form.terms.keys().all(|atom| factors.contains(atom)) {
                        free.push((*low..=*high).map(|v| v * v).collect());
                    }
                }
                rank(&free, &needed.sums) + needed.signs.len() as u64 + u64::from(needed.depth)
            })
            .sum();
        of_products + other
    }
}

/// Squares of sums of two atoms, and which products they make.
#[derive(Default)]
struct Squares {
    /// The two atoms of each argument that is squared.
    pairs: BTreeMap<usize, [usize; 2]>,
    /// Atoms whose own squares are left over in some row: then a square was asked for, not a product.
    left: BTreeSet<usize>,
}

impl Squares {
    /// A row of sums of functions of arguments.
    fn row(&mut self, model: &Model, sums: &BTreeMap<usize, Vec<i64>>) {
        let mut squares: BTreeMap<usize, i64> = BTreeMap::new();
        for (&argument, sum) in sums {
            let Some(curvature) = curvature(sum) else { continue };
            let terms = &model.arguments[argument].form.terms;
            if terms.len() > 2 || terms.values().any(|c| c.abs() != 1) {
                continue;
            }
            let atoms: Vec<usize> = terms.keys().copied().collect();
            atoms.iter().for_each(|atom| *squares.entry(*atom).or_default() += curvature);
            if let [x, y] = atoms[..] {
                self.pairs.insert(argument, [x, y]);
            }
        }
        self.left.extend(squares.into_iter().filter(|(_, left)| *left != 0).map(|(atom, _)| atom));
    }

    /// The fewest tables of all products, and the atoms whose squares are among them.
    fn least(&self, model: &Model, made: Products) -> (u64, BTreeSet<usize>) {
        let edges: BTreeSet<[usize; 2]> = self.pairs.values().copied().collect();
        // The connected part of every atom, by its least.
        let mut part: BTreeMap<usize, usize> = edges.iter().flatten().map(|&atom| (atom, atom)).collect();
        loop {
            let mut changed = false;
            for [x, y] in &edges {
                let least = part[x].min(part[y]);
                for atom in [x, y] {
                    changed |= part.insert(*atom, least) != Some(least);
                }
            }
            if !changed {
                break;
            }
        }
        let parts: BTreeSet<usize> = part.values().copied().collect();
        let least = |of: &usize| {
            let e = edges.iter().filter(|[x, _]| part[x] == *of).count();
            let nodes = || part.iter().filter(|(_, p)| *p == of).map(|(atom, _)| *atom);
            if nodes().any(|atom| self.left.contains(&atom)) {
                return e as u64;
            }
            if made == Products::Apart {
                return 2 * e as u64;
            }
            let v = nodes().filter(|&atom| model.atoms[atom].high - model.atoms[atom].low > 1).count();
            (e + e.min(v)) as u64
        };
        (parts.iter().map(least).sum(), part.into_keys().collect())
    }
}

/// Whether values lie on a line.
fn is_affine(values: &[i64]) -> bool {
    values.windows(3).all(|w| w[0] + w[2] == 2 * w[1])
}

/// Four times the second difference of a square, its mean for floor(v^2 / 4), where it alternates; `None` for other functions.
fn curvature(values: &[i64]) -> Option<i64> {
    let second: Vec<i64> = values.windows(3).map(|w| w[0] + w[2] - 2 * w[1]).collect();
    let (&first, &next) = (second.first()?, second.get(1)?);
    let regular = second.iter().enumerate().all(|(i, &d)| d == if i % 2 == 0 { first } else { next });
    (regular && first + next != 0 && (first == next || first * next == 0)).then(|| 2 * (first + next))
}

/// The rank of vectors modulo others.
fn rank(modulo: &[Vec<i64>], vectors: &BTreeSet<Vec<i64>>) -> u64 {
    // Rows in echelon form, with the place of their leading 1.
    let mut echelon: Vec<(usize, Vec<u128>)> = Vec::new();
    let mut insert = |vector: &Vec<i64>| {
        let mut v: Vec<u128> = vector.iter().map(|&x| i128::from(x).rem_euclid(PRIME as i128) as u128).collect();
        for (lead, row) in &echelon {
            let factor = v[*lead];
            if factor != 0 {
                v.iter_mut().zip(row).for_each(|(x, r)| *x = (*x + (PRIME - factor) * r) % PRIME);
            }
        }
        let Some(lead) = v.iter().position(|x| *x != 0) else { return 0 };
        let inverse = power(v[lead], PRIME - 2);
        v.iter_mut().for_each(|x| *x = *x * inverse % PRIME);
        echelon.push((lead, v));
        1
    };
    modulo.iter().for_each(|vector| {
        insert(vector);
    });
    vectors.iter().map(insert).sum()
}

fn power(base: u128, mut exponent: u128) -> u128 {
    let (mut base, mut result) = (base, 1);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result = result * base % PRIME;
        }
        base = base * base % PRIME;
        exponent >>= 1;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tfhe::parameters::{LookupId, Parameters, RingId};
    use crate::tfhe::{Input, Output, Step, Table, TableId, Wire, WireId};
    use crate::{ClearId, ClearProgram, InputId, Span, Target};

    /// Steps that make so many integers each; the last leaves.
    fn plan(steps: Vec<(Op, u32)>, tables: Vec<Table>) -> Plan {
        let wire = |len| Wire { len, ring: RingId(0), bits: 3, low: -3, high: 3 };
        let steps: Vec<Step> = steps.into_iter().map(|(op, len)| Step { op, wire: wire(len), span: Span::default() }).collect();
        let last = WireId(steps.len() as u32 - 1);
        Plan {
            name: String::new(),
            source: String::new(),
            parameters: Parameters::default(),
            log2_failure: -64.0,
            batch: 1,
            client: ClearProgram::default(),
            inputs: vec![Input { label: String::new(), tensor: ClearId(0), scale: 1.0 }],
            tables,
            steps,
            outputs: vec![Output { label: String::new(), wire: last, target: Target::State(String::new()), shape: vec![1], scale: 1.0 }],
            parcels: Vec::new(),
            states: Vec::new(),
            carried: Vec::new(),
            periods: Vec::new(),
            public: Vec::new(),
            training: None,
            notes: Vec::new(),
            decisions: Vec::new(),
            fewest_bootstraps: None,
            leanest: None,
        }
    }

    fn input(len: u32) -> (Op, u32) {
        (Op::Input(InputId(0)), len)
    }

    fn sums(operands: &[u32], rows: &[&[(u32, u32, i64)]]) -> (Op, u32) {
        let rows: Vec<Row> = rows.iter().map(|terms| Row { terms: terms.to_vec(), constant: 0 }).collect();
        let len = rows.len() as u32;
        (Op::Affine { operands: operands.iter().map(|&o| WireId(o)).collect(), rows }, len)
    }

    fn table(a: u32, table: u32, len: u32) -> (Op, u32) {
        (Op::Table { a: WireId(a), tables: vec![TableId(table)], lookup: LookupId(0) }, len)
    }

    fn positive() -> Table {
        Table::of(3, |v| v.max(0))
    }

    #[test]
    fn what_is_made_twice_or_only_read_through_counts_once() {
        let square = Table::of(3, |v| v * v);
        // The square of what is positive: one table of the integer.
        let fused = plan(vec![input(1), table(0, 0, 1), table(1, 1, 1)], vec![positive(), square.clone()]);
        assert_eq!((fused.bootstraps(), of(&fused, Products::Apart)), (2, 1));
        // max(x, 0) and max(-x, 0) differ by x.
        let parts =
            vec![input(1), table(0, 0, 1), sums(&[0], &[&[(0, 0, -1)]]), table(2, 0, 1), sums(&[1, 3], &[&[(0, 0, 1)], &[(1, 0, 1)]])];
        let parts = plan(parts, vec![positive()]);
        assert_eq!((parts.bootstraps(), of(&parts, Products::Apart)), (2, 1));
        // A table that changes nothing.
        let idle = plan(vec![input(2), table(0, 0, 2)], vec![Table::of(3, |v| v + 1)]);
        assert_eq!((idle.bootstraps(), of(&idle, Products::Apart)), (2, 0));
        // Two functions of one integer that both leave are two tables, and one where only their sum does.
        let two = |rows: &[&[(u32, u32, i64)]]| {
            plan(vec![input(1), table(0, 0, 1), table(0, 1, 1), sums(&[1, 2], rows)], vec![positive(), square.clone()])
        };
        assert_eq!(of(&two(&[&[(0, 0, 1)], &[(1, 0, 1)]]), Products::Apart), 2);
        assert_eq!(of(&two(&[&[(0, 0, 1), (1, 0, 1)]]), Products::Apart), 1);
    }

    #[test]
    fn an_argument_is_rounded_in_one_chain() {
        let floor = |a: u32, drop: u32| (Op::Floor { a: WireId(a), drop, lookup: LookupId(0) }, 1);
        let sum: &[(u32, u32, i64)] = &[(0, 0, 1), (0, 1, 3)];
        let both = sums(&[2, 3], &[&[(0, 0, 1)], &[(1, 0, 1)]]);
        let chained = plan(vec![input(2), sums(&[0], &[sum]), floor(1, 1), floor(1, 2), both], Vec::new());
        assert_eq!((chained.bootstraps(), of(&chained, Products::Apart)), (3, 2));
        let even: &[(u32, u32, i64)] = &[(0, 0, 2), (0, 1, 6)];
        let halved = plan(vec![input(2), sums(&[0], &[even]), floor(1, 2)], Vec::new());
        assert_eq!((halved.bootstraps(), of(&halved, Products::Apart)), (2, 1));
    }

    #[test]
    fn products_share_where_they_may() {
        // Three by three: 9 sums, 9 differences.
        let pairs = || (0..3u32).flat_map(|i| (3..6u32).map(move |j| (i, j)));
        let side = |factor: i64| pairs().map(|(i, j)| vec![(0, i, 1), (0, j, factor)]).collect::<Vec<_>>();
        let rows = |sides: &[Vec<(u32, u32, i64)>]| sums(&[0], &sides.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let products: Vec<Vec<(u32, u32, i64)>> = (0..9).map(|n| vec![(0, n, 1), (1, n, -1)]).collect();
        let quarters = Table::of(5, |v| (v * v).div_euclid(4));
        let out = sums(&[3, 4], &products.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let plan = plan(vec![input(6), rows(&side(1)), rows(&side(-1)), table(1, 0, 9), table(2, 0, 9), out], vec![quarters]);
        assert_eq!((plan.bootstraps(), of(&plan, Products::Apart), of(&plan, Products::Shared)), (18, 18, 15));
    }
}
