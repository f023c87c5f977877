//! What operations on these ciphertexts take: what was measured, and what is like it.

use serde::{Deserialize, Serialize};

use super::choose;
use crate::cost::CostTable;
use crate::tfhe::parameters::{Lookup, Parameters, Ring, Switch};

/// Seconds of a thread, while all threads of the machine do the same, one operation after the other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// Threads of the machine that they were measured on.
    pub threads: usize,
    /// Blind rotations.
    pub rotations: Vec<Rotation>,
    /// Of a word of a key to a small secret.
    pub switch: f64,
    /// Of a word of a key between rings.
    pub between: f64,
    /// Of a word of a term of a linear combination.
    pub term: f64,
}

/// A blind rotation that was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rotation {
    /// The ring's rank.
    pub dimension: u32,
    /// log2 of its degree.
    pub log_n: u32,
    /// Levels of the accumulator's digits.
    pub levels: u32,
    /// Seconds for each bit of the small secret.
    pub seconds: f64,
}

/// Weights of what a rotation consists of, by which it is compared with one of another ring: transforms per coefficient and bit
/// of the degree, products of transformed polynomials and digits per coefficient. Only their ratios count.
const TRANSFORM: f64 = 0.17;
const PRODUCT: f64 = 1.0;
const DIGIT: f64 = 1.9;

/// Work of one bit of the small secret, in no unit.
fn work(ring: Ring, levels: u32) -> f64 {
    let (log_n, levels, polynomials) = (f64::from(ring.log_n), f64::from(levels), f64::from(ring.dimension + 1));
    let transforms = polynomials * (levels + 1.0) * log_n * TRANSFORM;
    let products = polynomials * polynomials * levels * PRODUCT;
    f64::from(ring.degree()) * (transforms + products + polynomials * levels * DIGIT)
}

impl Prices {
    /// Those of the built-in table of costs.
    pub fn built_in() -> &'static Prices {
        CostTable::built_in().lookups.as_ref().expect("a test reads the lookups of the table that is built in")
    }

    /// A blind rotation by a small secret of `small` bits, with that many levels; where it was not measured, as the work of
    /// the nearest that was.
    pub fn rotation(&self, small: u32, ring: Ring, levels: u32) -> f64 {
        let wanted = work(ring, levels);
        let shape = |rotation: &Rotation| Ring { dimension: rotation.dimension, log_n: rotation.log_n };
        let exact = self.rotations.iter().find(|rotation| shape(rotation) == ring && rotation.levels == levels);
        let step = exact.map(|rotation| rotation.seconds).or_else(|| {
            let away = |rotation: &Rotation| (libm::log2(work(shape(rotation), rotation.levels) / wanted)).abs();
            let nearest = self.rotations.iter().min_by(|a, b| away(a).total_cmp(&away(b)))?;
            Some(nearest.seconds * wanted / work(shape(nearest), nearest.levels))
        });
        f64::from(small) * step.unwrap_or(0.0)
    }

    /// A switch from a ring's secret of `from` bits to a small one, with that many levels.
    pub fn switching(&self, from: u32, small: u32, levels: u32) -> f64 {
        f64::from(from) * f64::from(levels) * f64::from(small + 1) * self.switch
    }

    /// A switch between rings, with that many levels.
    pub fn moving(&self, from: u32, to: u32, levels: u32) -> f64 {
        f64::from(from) * f64::from(levels) * f64::from(to + 1) * self.between
    }

    /// A lookup.
    pub fn lookup(&self, parameters: &Parameters, lookup: &Lookup) -> f64 {
        let from = parameters.ring(lookup.from).bits();
        self.switching(from, lookup.small, lookup.switch.levels)
            + self.rotation(lookup.small, parameters.ring(lookup.to), lookup.rotation.levels)
    }

    /// A switch between rings.
    pub fn between(&self, parameters: &Parameters, switch: &Switch) -> f64 {
        self.moving(parameters.ring(switch.from).bits(), parameters.ring(switch.to).bits(), switch.decomposition.levels)
    }

    /// What there is to measure: every rotation that parameters may be chosen with.
    pub fn wanted() -> Vec<(Ring, u32)> {
        choose::rotations()
    }

    /// What is wrong with prices that were read, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let durations = self.rotations.iter().map(|rotation| rotation.seconds).chain([self.switch, self.between, self.term]);
        let sizes = |r: &Rotation| (1..=16).contains(&r.dimension) && (1..=20).contains(&r.log_n) && (1..=64).contains(&r.levels);
        if self.rotations.is_empty() || self.threads == 0 || !self.rotations.iter().all(sizes) {
            return Some("its lookups are missing, or of rings that there are not");
        }
        let mut bad = durations.filter(|seconds| !seconds.is_finite() || *seconds <= 0.0);
        bad.next().map(|_| "an operation on integers takes no time")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_has_all_that_parameters_are_chosen_with() {
        let prices = Prices::built_in();
        assert_eq!(prices.fault(), None);
        for (ring, levels) in Prices::wanted() {
            let known = |r: &&Rotation| (r.dimension, r.log_n, r.levels) == (ring.dimension, ring.log_n, levels);
            assert!(prices.rotations.iter().find(known).is_some(), "{ring:?} {levels}");
        }
    }

    #[test]
    fn what_was_not_measured_is_priced_by_what_is_like_it() {
        let all = Prices::built_in();
        for (index, rotation) in all.rotations.iter().enumerate() {
            let mut others = all.clone();
            others.rotations.remove(index);
            let ring = Ring { dimension: rotation.dimension, log_n: rotation.log_n };
            let ratio = others.rotation(1, ring, rotation.levels) / rotation.seconds;
            assert!((0.5..2.0).contains(&ratio), "{rotation:?}: {ratio}");
        }
    }
}
