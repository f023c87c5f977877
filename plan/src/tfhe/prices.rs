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
    /// Of moving, rotating and cutting a polynomial into digits, per coefficient.
    pub digit: f64,
    /// Of each step of a blind rotation.
    pub step: f64,
    /// Of a word of a switching key.
    pub switch: f64,
}

impl Prices {
    /// Those of the machine that the built-in table of costs is from.
    pub const BUILT_IN: Prices = Prices { transform: 5e-10, product: 6e-10, digit: 1e-9, step: 5e-8, switch: 4.3e-10 };

    /// A blind rotation by a small secret of `small` bits, with that many levels.
    pub fn rotation(&self, small: u32, ring: Ring, levels: u32) -> f64 {
        let (n, log_n, levels) = (f64::from(ring.degree()), f64::from(ring.log_n), f64::from(levels));
        let polynomials = f64::from(ring.dimension + 1);
        let transforms = polynomials * (levels + 1.0) * n * log_n * self.transform;
        let products = polynomials * polynomials * levels * n * self.product;
        let digits = polynomials * (levels + 1.0) * n * self.digit;
        f64::from(small) * (transforms + products + digits + self.step)
    }

    /// A key switch between secrets of those lengths, with that many levels.
    pub fn switching(&self, from: u32, to: u32, levels: u32) -> f64 {
        f64::from(from) * f64::from(levels) * f64::from(to + 1) * self.switch
    }

    /// A lookup.
    pub fn lookup(&self, parameters: &Parameters, lookup: &Lookup) -> f64 {
        let from = parameters.ring(lookup.from).bits();
        self.switching(from, lookup.small, lookup.switch.levels)
            + self.rotation(lookup.small, parameters.ring(lookup.to), lookup.rotation.levels)
    }

    /// A switch between rings.
    pub fn between(&self, parameters: &Parameters, switch: &Switch) -> f64 {
        self.switching(parameters.ring(switch.from).bits(), parameters.ring(switch.to).bits(), switch.decomposition.levels)
    }
}
