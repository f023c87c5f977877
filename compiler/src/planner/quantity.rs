//! Budgets in bits, and what is known about a budget as a piecewise linear function of it.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Sub};

use super::PlannerError;

/// Bits of modulus: left to a ciphertext, or spent by an operation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Bits(pub u32);

impl Bits {
    /// The difference, or zero.
    pub fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Bits {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl Sub for Bits {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 - other.0)
    }
}

impl Sum for Bits {
    fn sum<I: Iterator<Item = Self>>(bits: I) -> Self {
        bits.fold(Self(0), Add::add)
    }
}

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bits", self.0)
    }
}

/// A cost that never falls as the budget grows: seconds, or bytes, measured at some widths and linear between them.
///
/// Below the first point it is the first value, beyond the last it goes on with the last slope.
#[derive(Clone, PartialEq, Debug)]
pub struct Curve {
    points: Vec<(Bits, f64)>,
}

impl Curve {
    /// A curve through `points`.
    ///
    /// # Errors
    /// `NotACurve` where there is no point, widths do not grow, or costs are negative, fall or are not finite.
    pub fn new(points: Vec<(Bits, f64)>) -> Result<Self, PlannerError> {
        let finite = points.iter().all(|(_, cost)| cost.is_finite() && *cost >= 0.0);
        let grows = points.windows(2).all(|pair| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1);
        if points.is_empty() || !finite || !grows { Err(PlannerError::NotACurve) } else { Ok(Self { points }) }
    }

    /// The same cost at every budget; negative or infinite costs count as zero.
    pub fn constant(cost: f64) -> Self {
        Self { points: vec![(Bits(0), if cost.is_finite() { cost.max(0.0) } else { 0.0 })] }
    }

    /// `at_zero + slope * bits`; negative or infinite coefficients count as zero.
    pub fn linear(at_zero: f64, slope: f64) -> Self {
        let sane = |x: f64| if x.is_finite() { x.max(0.0) } else { 0.0 };
        Self { points: vec![(Bits(0), sane(at_zero)), (Bits(1), sane(at_zero) + sane(slope))] }
    }

    /// The cost at a budget.
    pub fn at(&self, bits: Bits) -> f64 {
        let after = self.points.partition_point(|(at, _)| *at <= bits);
        if after == 0 || self.points.len() == 1 {
            return self.points[0].1;
        }
        let (low, high) = (self.points[(after - 1).min(self.points.len() - 2)], self.points[after.min(self.points.len() - 1)]);
        low.1 + (high.1 - low.1) / f64::from(high.0.0 - low.0.0) * f64::from(bits.0 - low.0.0)
    }
}
