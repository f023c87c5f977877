//! Products of integers.

use std::collections::BTreeMap;

use hecc_plan::Span;
use hecc_plan::tfhe::Row;

use super::{Digits, Lowering};
use crate::schemes::tfhe::circuit::{Function, Id, width};
use crate::schemes::tfhe::error::TfheError;
use crate::schemes::tfhe::linear::{Combination, Leaf, Linear};

/// Bits from which numbers are cut in halves.
const WIDE: u32 = 6;

impl Lowering<'_> {
    /// For each group, the sum over its pairs of products of elements.
    pub(super) fn products(
        &mut self,
        (a, bound_a): (&Linear, f64),
        (b, bound_b): (&Linear, f64),
        groups: &[Vec<(usize, usize)>],
        span: Span,
    ) -> Result<Linear, TfheError> {
        let (a, b) = match (a.known(), b.known()) {
            (_, Some(known)) => return Ok(self.by_constants(a, &known, groups, false)),
            (Some(known), None) => return Ok(self.by_constants(b, &known, groups, true)),
            (None, None) => self.factors((a, bound_a), (b, bound_b), span)?,
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

    /// Both as integers of few bits. Beside a bit the other one keeps a bit more, so that the difference of two values of few
    /// bits is selected as it is.
    fn factors(&mut self, (a, bound_a): (&Linear, f64), (b, bound_b): (&Linear, f64), span: Span) -> Result<(Digits, Digits), TfheError> {
        let bits = self.bits.1;
        let (mut left, mut right) = (self.digits(a, bound_a, bits, span)?, self.digits(b, bound_b, bits, span)?);
        if is_bit(self.circuit.range(left.id)) {
            right = self.digits(b, bound_b, bits + 1, span)?;
        } else if is_bit(self.circuit.range(right.id)) {
            left = self.digits(a, bound_a, bits + 1, span)?;
        }
        Ok((left, right))
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
        if self.choices.radix && (width(ra) >= WIDE || width(rb) >= WIDE) {
            return Ok(self.by_digits((a, b), pairs, span)?.affine(scale, 0.0));
        }
        Ok(self.by_tables((a, b), pairs, 1, span)?.affine(scale, 0.0))
    }

    /// `weight` times products, by tables of sums: that the tables have the weight in them amplifies no noise.
    fn by_tables(&mut self, (a, b): (Id, Id), pairs: &[(usize, usize)], weight: i64, span: Span) -> Result<Linear, TfheError> {
        let (ra, len) = (self.circuit.range(a), pairs.len());
        if a == b && pairs.iter().all(|(i, j)| i == j) {
            let picked = self.circuit.pick(a, &pairs.iter().map(|p| p.0).collect::<Vec<_>>(), span);
            self.readable(ra, span)?;
            let table = self.circuit.table(picked, vec![Function::over(ra, |v| weight * v * v)], span);
            return Ok(Linear::of(Leaf::Integers(table), len, 1.0));
        }
        let shared = if self.choices.shared_halves { shared(pairs) } else { vec![false; len] };
        let side = |is: bool| (0..len).filter(|&n| shared[n] == is).map(|n| (n, pairs[n])).collect::<Vec<_>>();
        let mut made = Linear { elements: vec![Combination::default(); len] };
        self.by_quarters((a, b), &side(false), weight, &mut made, span)?;
        self.by_halves((a, b), &side(true), weight, &mut made, span)?;
        Ok(made)
    }

    /// ab of numbers that are too wide for tables to be cheap: with a = 2^d a1 + a0 and b alike, four products of halves, or two
    /// where one of them is narrow. Halves are what dropping bits leaves, and what it drops.
    fn by_digits(&mut self, (a, b): (Id, Id), pairs: &[(usize, usize)], span: Span) -> Result<Linear, TfheError> {
        let (left, right) = (self.halves(a, span), self.halves(b, span));
        let mut sum = Linear { elements: vec![Combination::default(); pairs.len()] };
        for &(high, weight) in &left {
            for &(low, other) in &right {
                sum = sum.plus(&self.by_tables((high, low), pairs, weight * other, span)?, 1.0);
            }
        }
        Ok(sum)
    }

    /// A vector as parts of about half its bits, with their weights: the low one less half of what it can be, so that its sign
    /// takes no bit more.
    fn halves(&mut self, a: Id, span: Span) -> Vec<(Id, i64)> {
        let bits = width(self.circuit.range(a));
        if bits < WIDE {
            return vec![(a, 1)];
        }
        let drop = bits / 2;
        let half = 1i64 << (drop - 1);
        // With half added before and taken off after, the low part is from −half to half − 1.
        let shifted = |constant: i64| move |e: usize| Row { terms: vec![(0, e as u32, 1)], constant };
        let count = self.circuit.len(a);
        let raised = self.circuit.affine(&[a], (0..count).map(shifted(half)).collect(), span);
        let high = self.circuit.floor(raised, drop, span);
        let rest = self.circuit.rest(raised, high, drop, span);
        let low = self.circuit.affine(&[rest], (0..count).map(shifted(-half)).collect(), span);
        vec![(high, 1 << drop), (low, 1)]
    }

    /// ab = floor((a + b)^2 / 4) - floor((a - b)^2 / 4): two tables a pair. Sum and difference are odd together: what floor cuts
    /// off is the same for both.
    fn by_quarters(
        &mut self,
        (a, b): (Id, Id),
        pairs: &[(usize, (usize, usize))],
        weight: i64,
        made: &mut Linear,
        span: Span,
    ) -> Result<(), TfheError> {
        for (factor, share) in [(1, 1.0), (-1, -1.0)] {
            let table = self.summed((a, b), factor, pairs, |v| weight * (v * v).div_euclid(4), span)?;
            table.into_iter().zip(pairs).for_each(|(term, (n, _))| made.elements[*n].add(&term, share));
        }
        Ok(())
    }

    /// ab = h(a + b) - h(a) - h(b) with h(v) = v (v - 1) / 2: a table a pair, and one for each factor, which its products share.
    fn by_halves(
        &mut self,
        (a, b): (Id, Id),
        pairs: &[(usize, (usize, usize))],
        weight: i64,
        made: &mut Linear,
        span: Span,
    ) -> Result<(), TfheError> {
        let half = |v: i64| weight * (v * (v - 1) / 2);
        let table = self.summed((a, b), 1, pairs, half, span)?;
        table.into_iter().zip(pairs).for_each(|(term, (n, _))| made.elements[*n].add(&term, 1.0));
        for (id, of) in [(a, (|p| p.0) as fn((usize, usize)) -> usize), (b, |p| p.1)] {
            let mut used: Vec<usize> = pairs.iter().map(|(_, pair)| of(*pair)).collect();
            used.sort_unstable();
            used.dedup();
            if used.is_empty() {
                continue;
            }
            let picked = self.circuit.pick(id, &used, span);
            let over = self.circuit.range(picked);
            self.readable(over, span)?;
            let halves = self.circuit.table(picked, vec![Function::over(over, half)], span);
            for (n, pair) in pairs {
                let place = used.binary_search(&of(*pair)).unwrap_or_default();
                made.elements[*n].add(&Combination::term(Leaf::Integers(halves), place, 1.0), -1.0);
            }
        }
        Ok(())
    }

    /// A table of a + factor b for every pair.
    fn summed(
        &mut self,
        (a, b): (Id, Id),
        factor: i64,
        pairs: &[(usize, (usize, usize))],
        f: impl FnMut(i64) -> i64,
        span: Span,
    ) -> Result<Vec<Combination>, TfheError> {
        if pairs.is_empty() {
            return Ok(Vec::new());
        }
        let row = |&(_, (i, j)): &(usize, (usize, usize))| Row { terms: vec![(0, i as u32, 1), (1, j as u32, factor)], constant: 0 };
        let sums = self.circuit.affine(&[a, b], pairs.iter().map(row).collect(), span);
        let over = self.circuit.range(sums);
        self.readable(over, span)?;
        let table = self.circuit.table(sums, vec![Function::over(over, f)], span);
        Ok(Linear::of(Leaf::Integers(table), pairs.len(), 1.0).elements)
    }
}

/// Whether integers are 0 or 1.
fn is_bit((low, high): (i64, i64)) -> bool {
    low >= 0 && high <= 1
}

/// Which products share tables of their factors: those of a connected part of the graph whose edges are the pairs, where it has
/// more edges than nodes.
///
/// That is the fewest there can be. A pair takes one table of its sum, and either another of its own or the tables of both its
/// factors; with Z the factors that have tables, pairs within Z save e(Z) tables and Z costs |Z|. From any Z that is not empty,
/// adding a neighbour of Z costs one table and saves at least one, so that a connected part is best taken whole or not at all.
fn shared(pairs: &[(usize, usize)]) -> Vec<bool> {
    let mut parts: Vec<usize> = Vec::new();
    let mut nodes: BTreeMap<(bool, usize), usize> = BTreeMap::new();
    fn root(parts: &[usize], mut n: usize) -> usize {
        while parts[n] != n {
            n = parts[n];
        }
        n
    }
    let mut node = |key: (bool, usize), parts: &mut Vec<usize>| {
        *nodes.entry(key).or_insert_with(|| {
            parts.push(parts.len());
            parts.len() - 1
        })
    };
    let ends: Vec<[usize; 2]> = pairs.iter().map(|&(i, j)| [node((false, i), &mut parts), node((true, j), &mut parts)]).collect();
    for &[i, j] in &ends {
        let (i, j) = (root(&parts, i), root(&parts, j));
        parts[i] = j;
    }
    // Edges less nodes of each part.
    let mut gain = vec![0i64; parts.len()];
    ends.iter().for_each(|[i, _]| gain[root(&parts, *i)] += 1);
    (0..parts.len()).for_each(|n| gain[root(&parts, n)] -= 1);
    ends.iter().map(|[i, _]| gain[root(&parts, *i)] > 0).collect()
}
