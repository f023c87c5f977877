//! Counts and spreads of what attacks reach, and when they do better than guessing.

use serde::{Deserialize, Serialize};
use statrs::distribution::{Beta, Binomial, ContinuousCDF, DiscreteCDF, StudentsT};

/// The chance of a false alarm of one comparison with guessing. An audit makes dozens of them.
pub const FALSE_ALARM: f64 = 1e-3;

/// Choices that were guessed or read off.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Actions {
    /// How many were right.
    pub right: u64,
    /// Of how many.
    pub of: u64,
}

impl Actions {
    /// Compares choices with what they were.
    pub fn count(guessed: impl IntoIterator<Item = usize>, actual: impl IntoIterator<Item = usize>) -> Self {
        let mut actions = Self { right: 0, of: 0 };
        for (a, b) in guessed.into_iter().zip(actual) {
            actions.right += u64::from(a == b);
            actions.of += 1;
        }
        actions
    }

    /// The part that is right; 0 of none.
    pub fn accuracy(&self) -> f64 {
        if self.of == 0 { 0.0 } else { self.right as f64 / self.of as f64 }
    }

    /// Between which accuracies the true one lies, with probability `1 - alpha`: the exact interval of Clopper and Pearson.
    pub fn interval(&self, alpha: f64) -> (f64, f64) {
        let (right, of) = (self.right as f64, self.of as f64);
        let wrong = of - right;
        let quantile = |a: f64, b: f64, p: f64| Beta::new(a, b).map(|beta| beta.inverse_cdf(p));
        let low = if self.right == 0 { 0.0 } else { quantile(right, wrong + 1.0, alpha / 2.0).unwrap_or(0.0) };
        let high = if self.right >= self.of { 1.0 } else { quantile(right + 1.0, wrong, 1.0 - alpha / 2.0).unwrap_or(1.0) };
        (low, high)
    }
}

/// Guesses that are right with a known chance each.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Chance {
    /// The chance of one: that of the likeliest choice.
    pub each: f64,
    /// The fewest right ones, but for [`FALSE_ALARM`].
    pub fewest: u64,
    /// The most right ones, but for [`FALSE_ALARM`].
    pub most: u64,
    /// Of how many.
    pub of: u64,
}

impl Chance {
    /// How many of `of` guesses are right, in the exact binomial interval that [`FALSE_ALARM`] leaves out at its two ends.
    pub fn new(each: f64, of: u64) -> Self {
        let each = if each.is_finite() { each.clamp(0.0, 1.0) } else { 0.0 };
        let (fewest, most) = match Binomial::new(each, of) {
            Ok(binomial) if of > 0 => (binomial.inverse_cdf(FALSE_ALARM / 2.0), binomial.inverse_cdf(1.0 - FALSE_ALARM / 2.0)),
            _ => (0, of),
        };
        Self { each, fewest, most, of }
    }

    /// Whether a number of right ones is what guessing reaches.
    pub fn explains(&self, actions: &Actions) -> bool {
        actions.of == self.of && (self.fewest..=self.most).contains(&actions.right)
    }
}

/// One metric over samples. Values that are not finite (an attack that diverged) are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation of the samples; 0 of fewer than two.
    pub deviation: f64,
    /// The least.
    pub least: f64,
    /// The middle one.
    pub median: f64,
    /// The largest.
    pub most: f64,
    /// Of how many finite values.
    pub count: usize,
    /// How many were not finite.
    pub diverged: usize,
}

impl Spread {
    /// The spread of some values; none if there is not one finite.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
        finite.sort_by(f64::total_cmp);
        let (least, most) = (*finite.first()?, *finite.last()?);
        let count = finite.len();
        let mean = finite.iter().sum::<f64>() / count as f64;
        let squares: f64 = finite.iter().map(|v| (v - mean) * (v - mean)).sum();
        let deviation = if count < 2 { 0.0 } else { libm::sqrt(squares / (count - 1) as f64) };
        let median = 0.5 * (finite[(count - 1) / 2] + finite[count / 2]);
        Some(Self { mean, deviation, least, median, most, count, diverged: values.len() - count })
    }

    /// Whether these values are larger than the others, but for [`FALSE_ALARM`]: Welch's test of the means, one-sided.
    /// Where neither spreads the means decide. A single value is never larger.
    pub fn larger_than(&self, other: &Self) -> bool {
        let gap = self.mean - other.mean;
        if gap <= 0.0 || self.count < 2 || other.count < 2 {
            return false;
        }
        let part = |s: &Self| s.deviation * s.deviation / s.count as f64;
        let (a, b) = (part(self), part(other));
        if a + b == 0.0 {
            return true;
        }
        let freedom = (a + b) * (a + b) / (a * a / (self.count - 1) as f64 + b * b / (other.count - 1) as f64);
        StudentsT::new(0.0, 1.0, freedom).is_ok_and(|t| t.sf(gap / libm::sqrt(a + b)) < FALSE_ALARM)
    }
}
