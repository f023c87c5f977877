//! What operations on these ciphertexts take, in closed form.

use serde::{Deserialize, Serialize};

use crate::tfhe::parameters::{Lookup, Parameters, Ring, Switch};

/// Seconds of a thread, while all threads of the machine work, by what an operation consists of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prices {
    /// Of a transform, per coefficient and bit of the degree.
    pub transform: f64,
    /// Of a product of transformed polynomials, per coefficient.
    pub product: f64,
    /// Of rotating a polynomial and cutting it into digits, per coefficient and digit.
    pub digit: f64,
    /// Of a word of a key to a small secret.
    pub switch: f64,
    /// Of a word of a key between rings.
    pub between: f64,
}

impl Prices {
    /// Those of the machine that the built-in table of costs is from: a fit to sixteen rotations in rings of degree 2^8 to 2^14
    /// with one to three levels, within 11 % of each.
    pub const BUILT_IN: Prices = Prices { transform: 1.058e-10, product: 6.257e-10, digit: 1.174e-9, switch: 2.5e-10, between: 4.9e-10 };

    /// A blind rotation by a small secret of `small` bits, with that many levels.
    pub fn rotation(&self, small: u32, ring: Ring, levels: u32) -> f64 {
        let (n, log_n, levels) = (f64::from(ring.degree()), f64::from(ring.log_n), f64::from(levels));
        let polynomials = f64::from(ring.dimension + 1);
        let transforms = polynomials * (levels + 1.0) * log_n * self.transform;
        let products = polynomials * polynomials * levels * self.product;
        let digits = polynomials * levels * self.digit;
        f64::from(small) * n * (transforms + products + digits)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotations_take_what_they_took() {
        // By two threads at once, per rotation, in milliseconds: small secret, rank, log2 of the degree, levels.
        let measured =
            [(808, 1, 11, 1, 7.739), (808, 1, 11, 2, 14.002), (600, 4, 9, 2, 8.668), (600, 2, 10, 1, 4.839), (896, 1, 13, 1, 39.013)];
        for (small, dimension, log_n, levels, milliseconds) in measured {
            let seconds = Prices::BUILT_IN.rotation(small, Ring { dimension, log_n }, levels) / 2.0;
            assert!((seconds * 1e3 / milliseconds - 1.0f64).abs() < 0.06, "{seconds} {milliseconds}");
        }
    }
}
