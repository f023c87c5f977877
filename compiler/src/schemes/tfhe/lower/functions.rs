//! What reads an integer by itself: functions, comparisons, and sums folded into the tables below them.

use std::collections::BTreeMap;

use hecc_plan::Span;
use hecc_plan::tfhe::Row;

use super::{Lowering, Narrowed};
use crate::schemes::tfhe::circuit::{Function, Id, Op, width};
use crate::schemes::tfhe::error::TfheError;
use crate::schemes::tfhe::linear::{Combination, Leaf, Linear};

/// Tables before they were rounded to integers.
#[derive(Clone, Debug)]
pub(super) struct Rounded {
    /// The first argument, and the values of it and the next: one for all integers, or one for each.
    pub(super) functions: Vec<(i64, Vec<f64>)>,
    /// What an integer of 1 stands for.
    pub(super) scale: f64,
}

/// A real value as a function of an integer that a table can read.
#[derive(Clone, Debug, PartialEq)]
struct Reading {
    /// The integer.
    of: (Id, usize),
    /// Its smallest value.
    low: i64,
    /// What is read at it and at the next.
    values: Vec<f64>,
}

/// A value that was rounded to few bits, so that whatever is parallel to it need not be.
#[derive(Clone, Debug)]
pub(super) struct Narrow {
    value: Combination,
    /// The magnitude that it was read up to.
    bound: f64,
    reading: Reading,
}

/// A combination up to a factor and a constant: the others' coefficients as parts of the first, in 2^-40.
pub(super) type Direction = Vec<((Leaf, usize), i64)>;

fn direction(x: &Combination) -> Direction {
    let first = x.terms.values().next().copied().unwrap_or(1.0);
    x.terms.iter().map(|(key, c)| (*key, libm::round(c / first * libm::exp2(40.0)) as i64)).collect()
}

impl Reading {
    /// factor v + offset of what is read.
    fn affine(&self, factor: f64, offset: f64) -> Self {
        Self { values: self.values.iter().map(|v| factor * v + offset).collect(), ..self.clone() }
    }

    /// 1 where what is read is at least 0.
    fn reached(&self) -> Self {
        Self { values: self.values.iter().map(|v| f64::from(u8::from(*v >= 0.0))).collect(), ..self.clone() }
    }
}

/// An element as factor x + offset of another.
#[derive(Clone, Copy, Debug)]
struct Parallel {
    of: usize,
    factor: f64,
    offset: f64,
}

/// Comparisons that share the bits that are dropped before them.
struct Chain {
    /// The element whose bits are dropped.
    of: usize,
    thresholds: Vec<Threshold>,
}

/// Whether the element of a chain and `ahead` together are at least 0; or, negated, below.
#[derive(Clone, Copy)]
struct Threshold {
    element: usize,
    ahead: i64,
    negated: bool,
}

/// The terms of a sum by the argument that they share.
type Parts = BTreeMap<Option<(Id, usize)>, Combination>;

/// Values in place of those that a function does not have, as a logarithm below zero: the nearest that it has, the larger argument's
/// of two. `None` where it has none.
fn nearest_finite(values: &[f64]) -> Option<Vec<f64>> {
    let finite: Vec<usize> = (0..values.len()).filter(|&i| values[i].is_finite()).collect();
    let nearest = |i: usize| finite.iter().copied().min_by_key(|&at| (at.abs_diff(i), std::cmp::Reverse(at)));
    (0..values.len()).map(|i| if values[i].is_finite() { Some(values[i]) } else { nearest(i).map(|at| values[at]) }).collect()
}

impl Lowering<'_> {
    /// A function of each element, by tables. Equal ones are one; what a table made, or has few bits, is read as it is, and the
    /// function of a function is one table.
    pub(super) fn activation(&mut self, x: &Linear, bound: f64, f: &dyn Fn(f64) -> f64, span: Span) -> Result<Linear, TfheError> {
        if let Some(known) = x.known() {
            return Ok(Linear::constants(known.into_iter().map(f)));
        }
        let x = self.spread_out(x);
        let readings = self.readings(&x.elements, bound, span)?;
        let mapped = readings.into_iter().map(|reading| {
            let values: Vec<f64> = reading.values.iter().map(|v| f(*v)).collect();
            Some(Reading { values: nearest_finite(&values)?, ..reading })
        });
        let Some(mapped) = mapped.collect::<Option<Vec<Reading>>>() else {
            return Err(TfheError::unsupported("a function that has no value for any argument that comes here", span));
        };
        let all = || mapped.iter().flat_map(|reading| &reading.values);
        let most = all().fold(1e-9f64, |m, v| m.max(v.abs()));
        let scale = if all().all(|v| [0.0, 1.0].contains(v)) { 1.0 } else { self.scale(most, self.bits.1) };
        Ok(Linear { elements: self.tabulated(&mapped, scale, span) })
    }

    /// The larger (or smaller) of two: b + max(a − b, 0). In training, where widths pile up from one product to the next, what
    /// is wide is rounded and cut off before.
    pub(super) fn extremum(&mut self, a: &Linear, b: &Linear, bound: f64, larger: bool, span: Span) -> Result<Linear, TfheError> {
        let sign = if larger { 1.0 } else { -1.0 };
        let difference = a.plus(b, -1.0).affine(sign, 0.0);
        let part = match self.dyadic {
            true => self.activation(&difference, bound, &|v| v.max(0.0), span)?,
            false => self.positive(&difference, span)?,
        };
        Ok(b.plus(&part, sign))
    }

    /// max(x, 0), exactly as the integers say, however wide they are.
    fn positive(&mut self, x: &Linear, span: Span) -> Result<Linear, TfheError> {
        if let Some(known) = x.known() {
            return Ok(Linear::constants(known.into_iter().map(|v| v.max(0.0))));
        }
        let x = self.spread_out(x);
        let readings: Vec<Option<Reading>> = x.elements.iter().map(|e| self.unary(e, true)).collect();
        let above = |reading: &Reading| Reading { values: reading.values.iter().map(|v| v.max(0.0)).collect(), ..reading.clone() };
        let small: Vec<Reading> = readings.iter().flatten().map(above).collect();
        let most = small.iter().flat_map(|reading| &reading.values).fold(1e-9f64, |m, v| m.max(*v));
        let scale = self.scale(most, self.bits.1);
        let mut small = self.tabulated(&small, scale, span).into_iter();
        // Equal ones once.
        let mut wide: Vec<Combination> = Vec::new();
        let mut places: Vec<Option<usize>> = Vec::with_capacity(readings.len());
        for (e, reading) in x.elements.iter().zip(&readings) {
            places.push(reading.is_none().then(|| {
                wide.iter().position(|other| other == e).unwrap_or_else(|| {
                    wide.push(e.clone());
                    wide.len() - 1
                })
            }));
        }
        let mut ahead = vec![Combination::default(); wide.len()];
        if !wide.is_empty() {
            let sums = self.fused(wide, span);
            let (id, scale) = self.integers(&sums, None, span);
            for elements in self.alike(id, &vec![(1, 0); sums.len()]) {
                let picked = self.circuit.pick(id, &elements, span);
                let over = self.circuit.range(picked);
                let above = if self.excess(picked) == 0 {
                    self.readable(over, span)?;
                    let table = self.circuit.table(picked, vec![Function::over(over, |v| v.max(0))], span);
                    Linear::of(Leaf::Integers(table), elements.len(), 1.0)
                } else {
                    self.above(picked, span)?.1
                };
                elements.iter().zip(above.elements).for_each(|(&e, above)| ahead[e].add(&above, scale));
            }
        }
        let one = |place: &Option<usize>| match place {
            Some(place) => Some(ahead[*place].clone()),
            None => small.next(),
        };
        Ok(Linear { elements: places.iter().filter_map(one).collect() })
    }

    /// Tables of what is read, rounded to a grid; none of what is constant or on a line.
    fn tabulated(&mut self, readings: &[Reading], scale: f64, span: Span) -> Vec<Combination> {
        // What is on a line where it is read needs no table: (steps of the grid for each integer, at 0).
        let line = |lowering: &Self, reading: &Reading| {
            let (low, high) = lowering.circuit.node(reading.of.0).ranges[reading.of.1];
            let at = |v: i64| libm::round(reading.values[(v - reading.low) as usize] / scale);
            let slope = if high > low { at(low + 1) - at(low) } else { 0.0 };
            let straight = (low..=high).all(|v| at(v) == at(low) + slope * (v - low) as f64);
            straight.then(|| (slope, at(low) - slope * low as f64))
        };
        // The different tables of each vector.
        let mut vectors: BTreeMap<Id, Vec<&Reading>> = BTreeMap::new();
        let mut places: Vec<Option<usize>> = Vec::with_capacity(readings.len());
        for reading in readings {
            places.push(line(self, reading).is_none().then(|| {
                let known = vectors.entry(reading.of.0).or_default();
                known.iter().position(|other| *other == reading).unwrap_or_else(|| {
                    known.push(reading);
                    known.len() - 1
                })
            }));
        }
        let mut made: BTreeMap<Id, Id> = BTreeMap::new();
        for (of, readings) in vectors {
            let picked = self.circuit.pick(of, &readings.iter().map(|r| r.of.1).collect::<Vec<_>>(), span);
            let mut functions: Vec<(i64, Vec<f64>)> = readings.iter().map(|r| (r.low, r.values.clone())).collect();
            if functions.iter().all(|function| *function == functions[0]) {
                functions.truncate(1);
            }
            let round = |(low, values): &(i64, Vec<f64>)| Function {
                low: *low,
                values: values.iter().map(|v| libm::round(v / scale) as i64).collect(),
            };
            let table = self.circuit.table(picked, functions.iter().map(round).collect(), span);
            self.reals.insert(table, Rounded { functions, scale });
            made.insert(of, table);
        }
        let element = |(reading, place): (&Reading, &Option<usize>)| match place {
            Some(place) => Combination::term(Leaf::Integers(made[&reading.of.0]), *place, scale),
            None => {
                let (slope, offset) = line(self, reading).unwrap_or_default();
                let of = Combination::term(Leaf::Integers(reading.of.0), reading.of.1, 1.0);
                Combination::constant(offset * scale).plus(&of, slope * scale)
            }
        };
        readings.iter().zip(&places).map(element).collect()
    }

    /// Every element as a table reads it. Those that are no function of an integer of few bits are rounded to few, together, one
    /// of those that differ by a factor and a constant.
    fn readings(&mut self, x: &[Combination], bound: f64, span: Span) -> Result<Vec<Reading>, TfheError> {
        let bits = self.bits.1;
        let mut new: BTreeMap<Direction, usize> = BTreeMap::new();
        let mut values: Vec<Combination> = Vec::new();
        let mut directions: Vec<Option<Direction>> = Vec::new();
        for e in x {
            if self.unary(e, true).is_some() {
                directions.push(None);
                continue;
            }
            let direction = direction(e);
            let reach = |other: &Combination| bound / factor(e, other).abs();
            let known = self.narrow.get(&direction).is_some_and(|known| reach(&known.value) <= known.bound * (1.0 + 1e-9));
            if !known && !new.contains_key(&direction) {
                new.insert(direction.clone(), values.len());
                values.push(e.clone());
            }
            directions.push(Some(direction));
        }
        if !values.is_empty() {
            let sums = self.fused(values.clone(), span);
            let (id, scale) = self.integers(&sums, Some(bits), span);
            let (id, lines) = if self.choices.together { (id, vec![(1, 0); values.len()]) } else { self.circuit.without_factors(id, span) };
            let keys: BTreeMap<usize, Direction> = new.into_iter().map(|(direction, element)| (element, direction)).collect();
            let parallel = self.parallel(id, &lines, scale, bound);
            let first: Vec<usize> = (0..values.len()).filter(|&e| parallel[e].of == e).collect();
            let firsts = self.circuit.pick(id, &first, span);
            let own: Vec<(i64, i64)> = first.iter().map(|&e| lines[e]).collect();
            for places in self.alike(firsts, &own) {
                let picked = self.circuit.pick(firsts, &places, span);
                let elements: Vec<usize> = places.into_iter().map(|place| first[place]).collect();
                let (factor, offset) = lines[elements[0]];
                let Narrowed { id, scale: step, most } = self.narrowed(picked, factor as f64 * scale, bound, bits, span)?;
                let over = self.circuit.range(id);
                self.readable(over, span)?;
                let most = most.unwrap_or(i64::MAX);
                let read: Vec<f64> = (over.0..=over.1).map(|v| v.clamp(-most, most) as f64 * step + offset as f64 * scale).collect();
                for (place, element) in elements.into_iter().enumerate() {
                    let reading = Reading { of: (id, place), low: over.0, values: read.clone() };
                    self.narrow.insert(keys[&element].clone(), Narrow { value: values[element].clone(), bound, reading });
                }
            }
            for (element, Parallel { of, factor, offset }) in parallel.into_iter().enumerate().filter(|(e, parallel)| parallel.of != *e) {
                if let Some(reading) = self.narrow.get(&keys[&of]).map(|narrow| narrow.reading.affine(factor, offset)) {
                    self.narrow.insert(keys[&element].clone(), Narrow { value: values[element].clone(), bound, reading });
                }
            }
        }
        let one = |(e, direction): (&Combination, Option<Direction>)| match direction {
            None => self.unary(e, true),
            Some(direction) => {
                let Narrow { value, reading, .. } = self.narrow.get(&direction)?;
                let factor = factor(e, value);
                let offset = e.constant - factor * value.constant;
                Some(if (factor, offset) == (1.0, 0.0) { reading.clone() } else { reading.affine(factor, offset) })
            }
        };
        Ok(x.iter().zip(directions).filter_map(one).collect())
    }

    /// What each element of a vector can be read off: of sums that became parallel when their coefficients were rounded, one is
    /// rounded to few bits for all, the finest, and of those the narrowest. Not where integers are cut off, which is not at the
    /// same place for all. An element was factor v + offset, by its line, in steps of `scale`.
    fn parallel(&self, id: Id, lines: &[(i64, i64)], scale: f64, bound: f64) -> Vec<Parallel> {
        let alone = (0..lines.len()).map(|of| Parallel { of, factor: 1.0, offset: 0.0 });
        let Op::Affine { rows, .. } = &self.circuit.node(id).op else { return alone.collect() };
        let ranges = &self.circuit.node(id).ranges;
        let factors: Vec<i64> = rows.iter().map(Row::factor).collect();
        let mut classes: BTreeMap<Vec<(u32, u32, i64)>, Vec<usize>> = BTreeMap::new();
        for (element, (row, factor)) in rows.iter().zip(&factors).enumerate() {
            classes.entry(row.terms.iter().map(|&(o, e, c)| (o, e, c / factor)).collect()).or_default().push(element);
        }
        let mut all: Vec<Parallel> = alone.collect();
        for class in classes.into_values() {
            let rank = |&e: &usize| (-factors[e].abs(), width(ranges[e]), e);
            let Some(of) = class.iter().copied().min_by_key(rank) else { continue };
            let full = if self.choices.together { width(self.circuit.range(id)) } else { width(ranges[of]) };
            if self.occurring(full, lines[of].0 as f64 * scale, bound, self.bits.1).is_some() {
                continue;
            }
            for e in class {
                let share = factors[e] as f64 / factors[of] as f64;
                let factor = share * lines[e].0 as f64 / lines[of].0 as f64;
                let constant = rows[e].constant as f64 - share * rows[of].constant as f64;
                let offset = scale * (lines[e].0 as f64 * constant + lines[e].1 as f64 - factor * lines[of].1 as f64);
                all[e] = Parallel { of, factor, offset };
            }
        }
        all
    }

    /// The elements of a vector, those of one width and line together: narrower ones have fewer bits to drop. What is left is then
    /// wider, and takes a larger ring, unless all drop as many.
    pub(super) fn alike(&self, id: Id, lines: &[(i64, i64)]) -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<(u32, (i64, i64)), Vec<usize>> = BTreeMap::new();
        for (element, (range, line)) in self.circuit.node(id).ranges.iter().zip(lines).enumerate() {
            let own = if self.choices.together { 0 } else { width(*range).max(self.bits.1) };
            groups.entry((own, *line)).or_default().push(element);
        }
        groups.into_values().rev().collect()
    }

    /// Terms of one argument in one table, where that takes fewer tables.
    pub(super) fn fused(&mut self, x: Vec<Combination>, span: Span) -> Vec<Combination> {
        let mut tables: Vec<(Leaf, usize)> = Vec::new();
        let mut parts: Vec<BTreeMap<Option<(Id, usize)>, Combination>> = Vec::with_capacity(x.len());
        for e in &x {
            let mut part: BTreeMap<Option<(Id, usize)>, Combination> = BTreeMap::new();
            for (&(leaf, element), &c) in &e.terms {
                let table = matches!(leaf, Leaf::Integers(id) if self.reals.contains_key(&id));
                tables.extend(table.then_some((leaf, element)));
                let argument = table.then(|| self.argument(leaf, element)).flatten();
                part.entry(argument).or_default().add(&Combination::term(leaf, element, 1.0), c);
            }
            parts.push(part);
        }
        tables.sort_unstable();
        tables.dedup();
        if parts.iter().map(|part| part.keys().flatten().count()).sum::<usize>() >= tables.len() {
            return x;
        }
        let sum = |(e, part): (&Combination, Parts)| {
            let mut sum = Combination::constant(e.constant);
            for (_, terms) in part {
                let several = (terms.terms.len() > 1).then(|| self.unary(&terms, true)).flatten();
                let term = several.map(|reading| {
                    let most = reading.values.iter().fold(1e-9f64, |m, v| m.max(v.abs()));
                    let scale = self.scale(most, self.bits.1);
                    self.tabulated(&[reading], scale, span).swap_remove(0)
                });
                sum.add(&term.unwrap_or(terms), 1.0);
            }
            sum
        };
        x.iter().zip(parts).map(sum).collect()
    }

    /// An element as a function of one integer of few bits, if it is one: that integer, or tables of it. Tables are taken as they
    /// were before they were rounded, unless the integers themselves are asked for.
    fn unary(&self, x: &Combination, real: bool) -> Option<Reading> {
        let mut of = None;
        for (leaf, element) in x.terms.keys() {
            let argument = self.argument(*leaf, *element)?;
            if of.replace(argument).is_some_and(|other| other != argument) {
                return None;
            }
        }
        let (id, element) = of?;
        let (low, high) = self.circuit.node(id).ranges[element];
        let value = |v: i64| {
            let term = |(&(leaf, element), c): (&(Leaf, usize), &f64)| c * self.read(leaf, element, v, real);
            x.terms.iter().map(term).sum::<f64>() + x.constant
        };
        Some(Reading { of: (id, element), low, values: (low..=high).map(value).collect() })
    }

    /// The integer that a leaf is a table of, or that it is, where it has few bits.
    fn argument(&self, leaf: Leaf, element: usize) -> Option<(Id, usize)> {
        let Leaf::Integers(id) = leaf else { return None };
        match &self.circuit.node(id).op {
            Op::Table { a, .. } => Some(self.origin(*a, element)),
            _ => (width(self.circuit.node(id).ranges[element]) <= self.bits.1).then(|| self.origin(id, element)),
        }
    }

    /// What a leaf is where its argument is v.
    fn read(&self, leaf: Leaf, element: usize, v: i64, real: bool) -> f64 {
        let Leaf::Integers(id) = leaf else { return 0.0 };
        let Op::Table { functions, .. } = &self.circuit.node(id).op else { return v as f64 };
        match self.reals.get(&id) {
            Some(Rounded { functions, scale }) if real => {
                let (low, values) = &functions[element % functions.len()];
                values[(v - low) as usize] / scale
            }
            _ => functions[element % functions.len()].at(v) as f64,
        }
    }

    /// An integer where it was made, not where it was picked.
    fn origin(&self, id: Id, element: usize) -> (Id, usize) {
        if let Op::Affine { operands, rows } = &self.circuit.node(id).op
            && let Row { terms, constant: 0 } = &rows[element]
            && let [(operand, element, 1)] = terms[..]
        {
            return self.origin(operands[operand as usize], element as usize);
        }
        (id, element)
    }

    /// 1 where a value is at least 0, 0 elsewhere, exactly as its integers say. Where values are compared once, and not with
    /// others again, what they were before they were rounded may decide.
    pub(super) fn compared(&mut self, x: &[Combination], once: bool, span: Span) -> Result<Vec<Combination>, TfheError> {
        // What is known, or is always on one side of 0, needs none.
        let known: Vec<Option<f64>> = x.iter().map(|e| e.terms.is_empty().then(|| f64::from(u8::from(e.constant >= 0.0)))).collect();
        if known.contains(&None) && known.iter().any(Option::is_some) {
            let unknown: Vec<Combination> = x.iter().filter(|e| !e.terms.is_empty()).cloned().collect();
            let mut compared = self.compared(&unknown, once, span)?.into_iter();
            return Ok(known.into_iter().filter_map(|known| known.map(Combination::constant).or_else(|| compared.next())).collect());
        }
        if let Some(known) = known.into_iter().map(|known| known.map(Combination::constant)).collect() {
            return Ok(known);
        }
        let readings: Vec<Option<Reading>> = x.iter().map(|e| self.unary(e, once)).collect();
        let small: Vec<Reading> = readings.iter().flatten().map(Reading::reached).collect();
        let mut small = self.tabulated(&small, 1.0, span).into_iter();
        let wide: Vec<Combination> = x.iter().zip(&readings).filter(|(_, reading)| reading.is_none()).map(|(e, _)| e.clone()).collect();
        let mut signs = Vec::new();
        if !wide.is_empty() {
            let id = match once.then(|| self.folded(&wide, span)).flatten() {
                Some(id) => id,
                None if once => self.integers(&wide, None, span).0,
                // Integers already: none may be rounded where others are compared with it.
                None => self.on_grid(&wide, 1.0, span),
            };
            let (id, _) = self.circuit.without_factors(id, span);
            signs = vec![Combination::default(); wide.len()];
            let ranges = self.circuit.node(id).ranges.clone();
            // What never changes sign needs no bootstrap.
            let decided = |e: usize| (ranges[e].0 >= 0 || ranges[e].1 < 0).then(|| f64::from(u8::from(ranges[e].0 >= 0)));
            (0..wide.len()).for_each(|e| signs[e] = Combination::constant(decided(e).unwrap_or_default()));
            let open: Vec<usize> = (0..wide.len()).filter(|&e| decided(e).is_none()).collect();
            for chains in self.chains(id, &open) {
                let picked = self.circuit.pick(id, &chains.iter().map(|chain| chain.of).collect::<Vec<_>>(), span);
                // The sign of floor(v / 2^k) is that of v.
                let drop = self.excess(picked);
                let high = self.circuit.floor(picked, drop, span);
                let (mut rows, mut places): (Vec<Row>, Vec<(usize, usize, bool)>) = (Vec::new(), Vec::new());
                for (number, chain) in chains.iter().enumerate() {
                    for &Threshold { element, ahead, negated } in &chain.thresholds {
                        let row = Row { terms: vec![(0, number as u32, 1)], constant: ahead >> drop };
                        let place = rows.iter().position(|other| *other == row).unwrap_or_else(|| {
                            rows.push(row);
                            rows.len() - 1
                        });
                        places.push((element, place, negated));
                    }
                }
                let compared = self.circuit.affine(&[high], rows, span);
                let bits = self.circuit.sign(compared, 0, 1, span);
                for (element, place, negated) in places {
                    let bit = Combination::term(Leaf::Integers(bits), place, 1.0);
                    signs[element] = if negated { bit.complement() } else { bit };
                }
            }
        }
        let mut signs = signs.into_iter();
        Ok(readings.iter().filter_map(|reading| if reading.is_some() { small.next() } else { signs.next() }).collect())
    }

    /// Comparisons with 0, those of one width together. Of sums that are parallel, those share a chain of dropped bits whose
    /// constants differ by a multiple of what is dropped: v + d >= 0 is read of what is left of v, and -v + d >= 0 where v - d - 1 is
    /// below 0.
    fn chains(&self, id: Id, elements: &[usize]) -> Vec<Vec<Chain>> {
        let ranges = &self.circuit.node(id).ranges;
        let widest = elements.iter().map(|&e| width(ranges[e])).max().unwrap_or_default();
        let own = |e: usize| if self.choices.together { widest } else { width(ranges[e]).max(self.bits.1) };
        let rows = match &self.circuit.node(id).op {
            Op::Affine { rows, .. } => Some(rows),
            Op::Input { .. } | Op::Carried(_) | Op::Table { .. } | Op::Floor { .. } | Op::Rest { .. } | Op::Sign { .. } => None,
        };
        // What element b is compared with, where a is read: how far it is ahead, and whether the answer is the opposite.
        let threshold = |a: usize, b: usize| -> Option<(i64, bool)> {
            let (first, second) = (&rows?[a], &rows?[b]);
            let opposite = if first.factor().signum() == second.factor().signum() { 1 } else { -1 };
            let parallel = first.terms.len() == second.terms.len()
                && first.terms.iter().zip(&second.terms).all(|(x, y)| (x.0, x.1, x.2) == (y.0, y.1, opposite * y.2));
            let ahead = if opposite == 1 { second.constant - first.constant } else { -first.constant - second.constant - 1 };
            parallel.then_some((ahead, opposite == -1))
        };
        let mut order = elements.to_vec();
        order.sort_by_key(|&e| (std::cmp::Reverse(own(e)), e));
        let mut groups: BTreeMap<std::cmp::Reverse<u32>, Vec<Chain>> = BTreeMap::new();
        for element in order {
            let shares = |chain: &mut Chain| {
                let (ahead, negated) = threshold(chain.of, element)?;
                let dropped = 1i64 << own(chain.of).saturating_sub(self.bits.1 + 1);
                (ahead % dropped == 0).then(|| chain.thresholds.push(Threshold { element, ahead, negated }))
            };
            if groups.values_mut().flatten().find_map(shares).is_none() {
                let alone = Threshold { element, ahead: 0, negated: false };
                groups.entry(std::cmp::Reverse(own(element))).or_default().push(Chain { of: element, thresholds: vec![alone] });
            }
        }
        groups.into_values().collect()
    }

    /// A sum over results of tables that nothing else uses, with the weights in the tables: the integers that are summed are
    /// then rounded once, and the noise of none is multiplied. `None` where that takes more tables.
    fn folded(&mut self, x: &[Combination], span: Span) -> Option<Id> {
        // Terms of one argument together, in one table.
        let mut readings: Vec<Vec<Reading>> = Vec::with_capacity(x.len());
        let mut tables: Vec<(Leaf, usize)> = Vec::new();
        for e in x {
            let mut parts: BTreeMap<(Id, usize), Combination> = BTreeMap::new();
            for (&(leaf, element), &c) in &e.terms {
                let Leaf::Integers(id) = leaf else { return None };
                if matches!(self.circuit.node(id).op, Op::Table { .. }) && !self.reals.contains_key(&id) {
                    return None;
                }
                parts.entry(self.argument(leaf, element)?).or_default().add(&Combination::term(leaf, element, 1.0), c);
                tables.push((leaf, element));
            }
            readings.push(parts.values().map(|part| self.unary(part, true)).collect::<Option<_>>()?);
        }
        tables.sort_unstable();
        tables.dedup();
        let count = readings.iter().map(Vec::len).max().unwrap_or(1);
        if tables.is_empty() || readings.iter().map(Vec::len).sum::<usize>() > tables.len() {
            return None;
        }
        // The rounding of as many terms, each off by half a step at most, is then well below that of an activation.
        let bits = self.bits.1 + 2 + (usize::BITS - (count - 1).leading_zeros()).div_ceil(2);
        // Up and down each by themselves: what only ever adds needs no room below.
        let reach = |(e, readings): (&Combination, &Vec<Reading>)| {
            let (mut up, mut down) = (e.constant, e.constant);
            for reading in readings {
                up += reading.values.iter().fold(f64::NEG_INFINITY, |m, v| m.max(*v));
                down += reading.values.iter().fold(f64::INFINITY, |m, v| m.min(*v));
            }
            up.max(-down)
        };
        let room = libm::exp2(f64::from(bits - 1)) - 1.0 - 0.5 * (count + 1) as f64;
        let scale = x.iter().zip(&readings).map(reach).fold(1e-9f64, f64::max) / room.max(1.0);
        let terms = self.tabulated(&readings.concat(), scale, span);
        let mut terms = terms.into_iter();
        let sum = |(e, readings): (&Combination, &Vec<Reading>)| {
            terms.by_ref().take(readings.len()).fold(Combination::constant(e.constant), |sum, term| sum.plus(&term, 1.0))
        };
        let sums: Vec<Combination> = x.iter().zip(&readings).map(sum).collect();
        Some(self.on_grid(&sums, scale, span))
    }
}

/// The factor between two values of one direction.
fn factor(x: &Combination, other: &Combination) -> f64 {
    let first = |e: &Combination| e.terms.values().next().copied().unwrap_or(1.0);
    first(x) / first(other)
}
