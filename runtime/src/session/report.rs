//! What a run tells while it goes on, and how it ended.

use std::collections::BTreeMap;
use std::path::Path;

use hecc_plan::Tensors;

use super::checkpoint::{Acted, Totals};
use super::curve::Point;
use super::ranges::{OutOfRange, Reach};
use crate::engine::Outgrown;
use crate::integers::Clipped;

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The replay holds so many transitions before the first update.
    Collected(usize),
    /// An array left its declared range, for the first time.
    OutOfRange(&'a OutOfRange),
    /// The argument of an activation came near an end of its interval, or left it, for the first time.
    Reached(&'a Reach),
    /// A value that came back in the middle of an update was larger than its ciphertext has room for, for the first time.
    Outgrown(&'a Outgrown),
    /// An update is done.
    Updated(Progress<'a>),
    /// Weights that the server is to act by leave their grid, for the first time.
    Clipped(&'a Clipped),
    /// An evaluation begins whose actions take long.
    Evaluating(Evaluating),
    /// The server chose actions: what it took so far.
    Acted(Acted),
    /// An evaluation was stopped before its end.
    Abandoned,
    /// An evaluation is done: the curve up to it, of which it is the last point.
    Evaluated(&'a [Point]),
    /// A checkpoint was written.
    Saved(&'a Path),
}

/// What an evaluation will take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluating {
    /// Greedy episodes.
    pub episodes: usize,
    /// Steps after which an episode ends at the latest.
    pub steps: usize,
    /// Seconds of one action.
    pub seconds_per_action: f64,
}

/// Where a run stands after an update.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Updates done.
    pub update: usize,
    /// Updates to do in all.
    pub updates: usize,
    /// What the program reveals, where it is one number.
    pub results: &'a BTreeMap<String, f64>,
    /// What the run has cost and reached.
    pub totals: Totals,
    /// Seconds of this update.
    pub seconds: f64,
    /// Seconds to the end, estimated.
    pub seconds_left: f64,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// It was asked to stop before its last update; no final evaluation was made.
    pub interrupted: bool,
    /// Updates done.
    pub updates: usize,
    /// What the evaluations on the way found, those before a resumption too; not the final one.
    pub curve: Vec<Point>,
    /// Returns of the final greedy episodes, with the released weights.
    pub returns: Vec<f64>,
    /// The last revealed numbers.
    pub results: BTreeMap<String, f64>,
    /// What the run has cost and reached.
    pub totals: Totals,
    /// Arrays that left their declared range.
    pub out_of_range: Vec<OutOfRange>,
    /// The states after the last update.
    pub states: Tensors,
    /// The released weights.
    pub weights: Tensors,
}

impl Outcome {
    /// Mean of the final returns; `None` without final episodes.
    pub fn mean_return(&self) -> Option<f64> {
        (!self.returns.is_empty()).then(|| self.returns.iter().sum::<f64>() / self.returns.len() as f64)
    }
}
