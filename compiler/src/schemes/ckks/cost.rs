//! Seconds of a plan that is being made, by the plan's own cost model, to choose between rings.

use hecc_plan::cost::{CostTable, StepCosts};
use hecc_plan::{Ckks, KeyManifest, Matrix};

use super::budget::Sized;

/// Seconds of one run of the server, one thread.
pub fn seconds(table: &CostTable, ckks: &Ckks, sized: &Sized, matrices: &[Matrix], keys: &KeyManifest, lanes: usize) -> f64 {
    let costs = StepCosts::new(table, ckks, keys, matrices, &sized.steps);
    (0..sized.steps.len()).map(|index| costs.step(&sized.steps, index, lanes)).sum()
}
