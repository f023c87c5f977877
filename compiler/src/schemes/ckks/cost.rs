//! Seconds of a plan that is being made, by the plan's own cost model, to choose between rings.

use hecc_plan::cost::{CostTable, StepCosts};
use hecc_plan::{Bootstrap, Ckks, KeyManifest, Matrix, Op};

use super::budget::Sized;

/// Seconds of one update, or of one evaluation, at the server: of one thread, unless the plan bootstraps.
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
    // A bootstrap works on all threads by itself, and was measured so; other steps run side by side.
    let threads = |op: &Op| if bootstrap.is_some() && !matches!(op, Op::Bootstrap(_)) { table.machine.threads.max(1) } else { 1 };
    let step = |index: usize| costs.step(&sized.steps, index, lanes) / threads(&sized.steps[index].op) as f64;
    let total: f64 = (0..sized.steps.len()).map(step).sum();
    let updates = sized.rounds.last().map_or(1, |round| round.update + 1);
    total / f64::from(updates)
}
