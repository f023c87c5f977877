//! The learning curve: what evaluations on the way found.

use serde::{Deserialize, Serialize};

/// The returns of one evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Updates done by then.
    pub update: usize,
    /// Seconds that these updates took.
    pub seconds: f64,
    /// Greedy episodes.
    pub episodes: usize,
    /// Mean of their returns, in the environment's own rewards.
    pub mean: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Point {
    /// The point of these returns; `None` without any.
    pub fn of(update: usize, seconds: f64, returns: &[f64]) -> Option<Self> {
        let (min, max) = (returns.iter().copied().reduce(f64::min)?, returns.iter().copied().reduce(f64::max)?);
        let mean = returns.iter().sum::<f64>() / returns.len() as f64;
        Some(Self { update, seconds, episodes: returns.len(), mean, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_summarises_its_returns() {
        let point = Point::of(50, 1.5, &[3.0, -1.0, 4.0]).expect("there are returns");
        assert_eq!((point.update, point.episodes, point.mean, point.min, point.max), (50, 3, 2.0, -1.0, 4.0));
        assert_eq!(Point::of(50, 1.5, &[]), None);
    }
}
