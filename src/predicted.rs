//! Predicted and measured, side by side, after a run.

use std::borrow::Cow;

use hecc_plan::cost::{self, CostTable, Prediction};
use hecc_plan::{Plan, tfhe};

use crate::failure::Failure;
use crate::output::{bytes, seconds};
use crate::{costs, integers};

/// Predicted seconds that are off by more than this share of those measured are worth a word about the table.
const FAR: f64 = 0.25;

/// What a run was predicted to take.
pub struct Expected {
    prediction: Prediction,
    /// The machine of the built-in table and its kernels, where predictions are by that table.
    built_in: Option<String>,
}

impl Expected {
    /// By this user's table of costs, or the built-in one.
    ///
    /// # Errors
    /// If the user's table cannot be read.
    pub fn of(plan: &Plan, threads: usize) -> Result<Self, Failure> {
        Ok(Self::by(costs::table(None)?, |table| cost::predict(plan, table, threads)))
    }

    /// What a plan of integers takes, by the same table.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn of_integers(plan: &tfhe::Plan, threads: usize) -> Result<Self, Failure> {
        Ok(Self::by(costs::table(None)?, |table| {
            let p = integers::predicted(plan, table.prices(), threads);
            let (seconds, peak_bytes) = (p.seconds, p.peak_bytes);
            Prediction { seconds_per_update: seconds, server_seconds: seconds, peak_bytes, ..Prediction::default() }
        }))
    }

    fn by(table: Cow<'static, CostTable>, predict: impl FnOnce(&CostTable) -> Prediction) -> Self {
        let built_in = matches!(table, Cow::Borrowed(_)).then(|| format!("{} with {}", table.machine.cpu, table.machine.kernels));
        Self { prediction: predict(&table), built_in }
    }

    /// Adds what stands in memory beside the updates: the replay, and who acts.
    pub fn add(&mut self, peak_bytes: u64) {
        self.prediction.peak_bytes += peak_bytes;
    }

    /// Seconds per update.
    pub fn seconds(&self) -> f64 {
        self.prediction.seconds_per_update
    }

    /// Most memory at a time.
    pub fn peak_bytes(&self) -> u64 {
        self.prediction.peak_bytes
    }

    /// Rows of predicted and measured values; `server` where it is known alone.
    pub fn beside(&self, measured: f64, server: f64) -> Vec<(&'static str, String)> {
        let pair = |predicted: f64, measured: f64| {
            format!("{} predicted, {} measured ({:+.0} %)", seconds(predicted), seconds(measured), 100.0 * (predicted / measured - 1.0))
        };
        let mut rows = vec![("time", pair(self.prediction.seconds_per_update, measured))];
        if server.is_finite() {
            rows.push(("server", pair(self.prediction.server_seconds, server)));
        }
        if let Some(peak) = costs::peak_bytes() {
            let off = 100.0 * (self.prediction.peak_bytes as f64 / peak as f64 - 1.0);
            rows.push(("memory", format!("{} predicted, {} measured ({off:+.0} %)", bytes(self.prediction.peak_bytes), bytes(peak))));
        }
        let far = (self.prediction.seconds_per_update / measured - 1.0).abs() > FAR;
        if let Some(machine) = self.built_in.as_ref().filter(|_| far) {
            rows.push(("table", format!("built in, measured on {machine}; `hecc calibrate --machine` measures this machine")));
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_of_another_machine_is_named_where_it_is_far_off() {
        let rows = |measured: f64, built_in: Option<&str>| {
            let prediction = Prediction { seconds_per_update: 1.0, ..Prediction::default() };
            Expected { prediction, built_in: built_in.map(str::to_owned) }.beside(measured, f64::NAN)
        };
        let tables = |rows: &[(&str, String)]| rows.iter().filter(|(name, _)| *name == "table").count();
        let far = rows(4.0, Some("another machine"));
        assert_eq!(tables(&far), 1);
        let (_, told) = far.last().expect("there are rows");
        assert!(told.contains("another machine") && told.contains("hecc calibrate --machine"), "{told}");
        assert_eq!(tables(&rows(1.2, Some("another machine"))), 0);
        // Who has measured need not be told to.
        assert_eq!(tables(&rows(4.0, None)), 0);
    }
}
