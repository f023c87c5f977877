//! Bits over a loop's updates, in the (max, +) semiring: a product of matrices joins paths, its entries are the dearest path.

use super::Bits;

/// Square matrix of bits; `None` is "no path". Row `i`, column `j`: what carried value `j` at an update's start must have
/// above what carried value `i` has at its end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MaxPlus {
    size: usize,
    entries: Vec<Option<Bits>>,
}

/// A cycle of carried values that spends the most bits per update: what limits every schedule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cycle {
    /// Carried values, each feeding the next, the last the first.
    pub values: Vec<usize>,
    /// Bits spent on one round of the cycle, which takes as many updates as it has values.
    pub bits: Bits,
}

impl Cycle {
    /// Bits per update.
    pub fn mean(&self) -> f64 {
        f64::from(self.bits.0) / self.values.len() as f64
    }
}

impl MaxPlus {
    /// From rows; every row must have as many entries as there are rows.
    pub fn from_rows(rows: &[Vec<Option<Bits>>]) -> Option<Self> {
        let square = rows.iter().all(|row| row.len() == rows.len());
        square.then(|| Self { size: rows.len(), entries: rows.concat() })
    }

    /// The neutral matrix of the product: nothing spent by a value on itself, no other path.
    pub fn identity(size: usize) -> Self {
        let entries = (0..size * size).map(|at| (at / size == at % size).then_some(Bits(0))).collect();
        Self { size, entries }
    }

    /// Number of rows.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The entry of row `to`, column `from`.
    pub fn get(&self, to: usize, from: usize) -> Option<Bits> {
        self.entries[to * self.size + from]
    }

    /// `self` after `first`.
    pub fn after(&self, first: &Self) -> Self {
        let size = self.size;
        let entry = |at: usize| {
            let (to, from) = (at / size, at % size);
            (0..size).filter_map(|via| Some(self.get(to, via)? + first.get(via, from)?)).max()
        };
        Self { size, entries: (0..size * size).map(entry).collect() }
    }

    /// The matrix of `updates` updates in a row, by squaring.
    pub fn power(&self, mut updates: u32) -> Self {
        let (mut result, mut square) = (Self::identity(self.size), self.clone());
        while updates > 0 {
            if updates & 1 == 1 {
                result = square.after(&result);
            }
            square = square.after(&square);
            updates >>= 1;
        }
        result
    }

    /// What each value must have before an update so that after it value `i` has `after[i]`; `None` where nothing asks.
    pub fn before(&self, after: &[Bits]) -> Vec<Option<Bits>> {
        (0..self.size).map(|from| (0..self.size).filter_map(|to| Some(self.get(to, from)? + after[to])).max()).collect()
    }

    /// The matrix of some of the values alone, in the order given.
    pub fn only(&self, values: &[usize]) -> Self {
        let entries = values.iter().flat_map(|&to| values.iter().map(move |&from| self.get(to, from))).collect();
        Self { size: values.len(), entries }
    }

    /// The cycle with the largest mean, exactly; `None` without a cycle (Karp, "A characterization of the minimum cycle
    /// mean in a digraph", 1978, with the signs turned).
    pub fn critical_cycle(&self) -> Option<Cycle> {
        let size = self.size;
        // walks[k][v]: the dearest walk of k updates that ends in v, and the value before v on it.
        let mut walks: Vec<Vec<Option<(u64, usize)>>> = vec![vec![Some((0, 0)); size]];
        for k in 0..size {
            let step = |to: usize| {
                let reach = |from: usize| Some((walks[k][from]?.0 + u64::from(self.get(to, from)?.0), from));
                (0..size).filter_map(reach).max_by_key(|&(bits, from)| (bits, usize::MAX - from))
            };
            walks.push((0..size).map(step).collect());
        }
        // The smallest of (last - walk) / (size - k) over k, as a fraction.
        let mean = |v: usize| {
            let last = walks[size][v]?.0;
            let fraction = |k: usize| Some((i128::from(last) - i128::from(walks[k][v]?.0), (size - k) as i128));
            (0..size).filter_map(fraction).min_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)))
        };
        let best = (0..size).filter_map(|v| Some((mean(v)?, v)));
        let (_, mut at) = best.reduce(|a, b| if b.0.0 * a.0.1 > a.0.0 * b.0.1 { b } else { a })?;
        // The walk of `size` updates to the best value repeats a value: that part is a critical cycle.
        let mut walk = vec![at];
        for k in (1..=size).rev() {
            at = walks[k][at]?.1;
            if let Some(first) = walk.iter().position(|&v| v == at) {
                let mut values = walk.split_off(first);
                values.reverse();
                let least = values.iter().enumerate().min_by_key(|(_, v)| **v).map_or(0, |(at, _)| at);
                values.rotate_left(least);
                let next = |i: usize| values[(i + 1) % values.len()];
                let bits = (0..values.len()).filter_map(|i| self.get(next(i), values[i])).sum();
                return Some(Cycle { values, bits });
            }
            walk.push(at);
        }
        None
    }
}
