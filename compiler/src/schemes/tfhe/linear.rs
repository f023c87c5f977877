//! Values as real linear combinations of integers, before it is decided on which grid they are rounded.

use std::collections::BTreeMap;

use hecc_plan::ClearId;

use super::circuit::Id;

/// What a combination is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leaf {
    /// Integers of the circuit.
    Integers(Id),
    /// A tensor of the client's, which it can encrypt on any grid.
    Client(ClearId),
}

/// Σ coefficient × leaf's element, + constant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Combination {
    /// (leaf, element) and coefficient.
    pub terms: BTreeMap<(Leaf, usize), f64>,
    /// The constant.
    pub constant: f64,
}

/// A tensor of combinations, row-major; per-sample ones have a row per sample.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Linear {
    /// One for each element.
    pub elements: Vec<Combination>,
}

impl Combination {
    /// A constant.
    pub fn constant(constant: f64) -> Self {
        Self { terms: BTreeMap::new(), constant }
    }

    /// `factor` times one element of a leaf.
    pub fn term(leaf: Leaf, element: usize, factor: f64) -> Self {
        Self { terms: BTreeMap::from([((leaf, element), factor)]), constant: 0.0 }
    }

    /// Adds `factor` times another.
    pub fn add(&mut self, other: &Combination, factor: f64) {
        if factor == 0.0 {
            return;
        }
        for (&key, c) in &other.terms {
            let sum = self.terms.entry(key).or_default();
            *sum += factor * c;
            if *sum == 0.0 {
                self.terms.remove(&key);
            }
        }
        self.constant += factor * other.constant;
    }

    /// This plus `factor` times another.
    #[must_use]
    pub fn plus(&self, other: &Combination, factor: f64) -> Self {
        let mut sum = self.clone();
        sum.add(other, factor);
        sum
    }

    /// 1 less this.
    #[must_use]
    pub fn complement(&self) -> Self {
        Self::constant(1.0).plus(self, -1.0)
    }
}

impl Linear {
    /// `scale` times the integers of a vector of `len`.
    pub fn of(leaf: Leaf, len: usize, scale: f64) -> Self {
        Self { elements: (0..len).map(|e| Combination::term(leaf, e, scale)).collect() }
    }

    /// Constants.
    pub fn constants(values: impl IntoIterator<Item = f64>) -> Self {
        Self { elements: values.into_iter().map(Combination::constant).collect() }
    }

    /// The values, if all are constants.
    pub fn known(&self) -> Option<Vec<f64>> {
        self.elements.iter().map(|e| e.terms.is_empty().then_some(e.constant)).collect()
    }

    /// `factor` times this, plus `offset`.
    #[must_use]
    pub fn affine(&self, factor: f64, offset: f64) -> Self {
        let one = |e: &Combination| {
            let mut sum = Combination::constant(offset);
            sum.add(e, factor);
            sum
        };
        Self { elements: self.elements.iter().map(one).collect() }
    }

    /// This plus `factor` times another of the same length.
    #[must_use]
    pub fn plus(&self, other: &Linear, factor: f64) -> Self {
        let mut sum = self.clone();
        sum.elements.iter_mut().zip(&other.elements).for_each(|(a, b)| a.add(b, factor));
        sum
    }

    /// Some elements, in any order; `None` is 0.
    #[must_use]
    pub fn gather(&self, elements: impl IntoIterator<Item = Option<usize>>) -> Self {
        Self { elements: elements.into_iter().map(|e| e.map_or_else(Combination::default, |e| self.elements[e].clone())).collect() }
    }

    /// Sums of elements.
    #[must_use]
    pub fn sums(&self, groups: impl IntoIterator<Item = Vec<usize>>) -> Self {
        let sum = |group: Vec<usize>| {
            let mut sum = Combination::default();
            group.into_iter().for_each(|e| sum.add(&self.elements[e], 1.0));
            sum
        };
        Self { elements: groups.into_iter().map(sum).collect() }
    }

    /// The leaves.
    pub fn leaves(&self) -> Vec<Leaf> {
        let mut leaves: Vec<Leaf> = self.elements.iter().flat_map(|e| e.terms.keys().map(|(leaf, _)| *leaf)).collect();
        leaves.sort_unstable();
        leaves.dedup();
        leaves
    }

    /// The one leaf that this is all of, in order, times one factor.
    pub fn whole(&self) -> Option<(Leaf, f64)> {
        let first = self.elements.first()?;
        let (&(leaf, _), &factor) = first.terms.first_key_value()?;
        let same = |(i, e): (usize, &Combination)| e.constant == 0.0 && e.terms.len() == 1 && e.terms.get(&(leaf, i)) == Some(&factor);
        self.elements.iter().enumerate().all(same).then_some((leaf, factor))
    }
}
