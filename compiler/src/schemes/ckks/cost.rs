//! Seconds of a plan that is being made, by the plan's own cost model, to choose between rings.

use hecc_plan::cost::{CostTable, StepCosts};
use hecc_plan::{Bootstrap, Ckks, KeyManifest, Matrix};

use super::budget::Sized;

/// Seconds of one update, or of one evaluation, at the server, one thread.
pub fn seconds(
    table: &CostTable,
    ckks: &Ckks,
    sized: &Sized,
    matrices: &[Matrix],
    keys: &KeyManifest,
    lanes: usize,
    bootstrap: Option<&Bootstrap>,
) -> f64 {
    let costs = StepCosts::new(table, ckks, keys, matrices, &sized.steps, bootstrap);
    let total: f64 = (0..sized.steps.len()).map(|index| costs.step(&sized.steps, index, lanes)).sum();
    let updates = sized.rounds.last().map_or(1, |round| round.update + 1);
    total / f64::from(updates)
}
