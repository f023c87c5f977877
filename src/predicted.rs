//! Predicted and measured, side by side, after a run.

use hecc_plan::cost::{self, Prediction};
use hecc_plan::{Plan, tfhe};

use crate::failure::Failure;
use crate::output::{bytes, seconds};
use crate::{costs, integers};

/// What a run was predicted to take.
pub struct Expected(Prediction);

impl Expected {
    /// By this user's table of costs, or the built-in one.
    ///
    /// # Errors
    /// If the user's table cannot be read.
    pub fn of(plan: &Plan, threads: usize) -> Result<Self, Failure> {
        Ok(Self(cost::predict(plan, &*costs::table(None)?, threads)))
    }

    /// What a plan of integers takes, by the same table.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_integers(plan: &tfhe::Plan, threads: usize) -> Result<Self, Failure> {
        let p = integers::predicted(plan, costs::table(None)?.prices(), threads);
        Ok(Self(Prediction { seconds_per_update: p.seconds, server_seconds: p.seconds, peak_bytes: p.peak_bytes, ..Prediction::default() }))
    }

    /// Adds what stands in memory beside the updates: the replay, and who acts.
    pub fn add(&mut self, peak_bytes: u64) {
        self.0.peak_bytes += peak_bytes;
    }

    /// Seconds per update.
    pub fn seconds(&self) -> f64 {
        self.0.seconds_per_update
    }

    /// Most memory at a time.
    pub fn peak_bytes(&self) -> u64 {
        self.0.peak_bytes
    }

    /// Rows of predicted and measured values; `server` where it is known alone.
    pub fn beside(&self, measured: f64, server: f64) -> Vec<(&'static str, String)> {
        let pair = |predicted: f64, measured: f64| {
            format!("{} predicted, {} measured ({:+.0} %)", seconds(predicted), seconds(measured), 100.0 * (predicted / measured - 1.0))
        };
        let mut rows = vec![("time", pair(self.0.seconds_per_update, measured))];
        if server.is_finite() {
            rows.push(("server", pair(self.0.server_seconds, server)));
        }
        if let Some(peak) = costs::peak_bytes() {
            let off = 100.0 * (self.0.peak_bytes as f64 / peak as f64 - 1.0);
            rows.push(("memory", format!("{} predicted, {} measured ({off:+.0} %)", bytes(self.0.peak_bytes), bytes(peak))));
        }
        rows
    }
}
