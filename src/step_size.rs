//! Whether a program's learning rates suit the data of its run, told before the first update.

use std::path::Path;

use hecc_compiler::step_size::StepSize;
use hecc_runtime::session::{Session, SessionError};
use serde_json::{Value, json};

use crate::progress::Display;
use crate::{compile, files};

/// Batches that are looked at: of a few hundred samples each, they know the largest eigenvalue to some percent.
const BATCHES: usize = 4;

/// Gathers what a session starts from and tells, once, for every network that is linear in its inputs, from which learning
/// rate on training would diverge: as a note where the program's is smaller, as a warning where it is not. A file that holds
/// a plan and no program, or a run that goes on, says nothing.
///
/// # Errors
/// If the environment refuses.
pub fn tell(file: &Path, session: &mut Session<'_>, display: &mut Display) -> Result<Vec<StepSize>, SessionError> {
    session.gather(&mut |event| display.show(&event))?;
    if session.done() > 0 {
        return Ok(Vec::new());
    }
    // What it cannot look at is no reason not to train.
    let rehearsal = files::program(file).and_then(|source| compile::rehearsal(file, &source)).ok();
    let found = rehearsal.and_then(|r| r.step_sizes(&session.probe(BATCHES), session.states()).ok()).unwrap_or_default();
    found.iter().for_each(|step| display.line(&words(step)));
    Ok(found)
}

fn words(step: &StepSize) -> String {
    let (net, lr) = (&step.of.net, step.of.lr);
    let largest = format!(
        "{:.3} on, since the largest eigenvalue of its loss's second derivative is {:.3} on this run's features",
        step.largest(),
        step.eigenvalue
    );
    // Targets that move may bring it about earlier.
    match step.stable() {
        true => format!("step size of `{net}`: {lr}; it diverges at the latest from {largest}"),
        false => format!("warning: training of `{net}` will diverge: it does from a learning rate of {largest}; lower `lr`, which is {lr}"),
    }
}

/// As the JSON output has it.
pub fn json(steps: &[StepSize]) -> Value {
    let one = |step: &StepSize| {
        json!({
            "net": step.of.net,
            "lr": step.of.lr,
            "largest_lr": step.largest(),
            "eigenvalue": step.eigenvalue,
            "stable": step.stable(),
        })
    };
    steps.iter().map(one).collect()
}
