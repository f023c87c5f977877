//! What a run is told, and whether it can be driven.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hecc_plan::{ActionSpec, Arrays, ClearOp, ClearProgram, Collect, Interface, Training};

use super::SessionError;
use super::replay::Columns;

/// What a run is told besides its plan.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Where checkpoints and weights go; nowhere if none.
    pub folder: Option<PathBuf>,
    /// Name of the backend, for the checkpoint.
    pub backend: String,
    /// Episodes of the final evaluation.
    pub episodes: usize,
    /// Stop at an observation or reward outside its declared range instead of clipping it, and before an activation's
    /// argument leaves its interval.
    pub stop_out_of_range: bool,
}

/// The training of a plan that can be driven.
pub(super) fn trainable<'a>(plan: &Interface<'a>) -> Result<&'a Training, SessionError> {
    let refuse = |reason: String| Err(SessionError::Settings(reason));
    let Some(training) = plan.training else {
        return refuse("this program serves a policy and does not train; `hecc run` executes it".to_owned());
    };
    let run = &training.run;
    let choices = match training.env.action.1 {
        ActionSpec::Discrete(k) => k,
        ActionSpec::MultiDiscrete(n, k) => n.saturating_mul(k),
        ActionSpec::Continuous(ref ranges) => ranges.len(),
    };
    let limits = [
        ("batch", run.batch, 1 << 24),
        ("envs", run.envs, 1 << 16),
        ("every", run.every, 1 << 24),
        ("n_step", run.n_step, 1 << 16),
        ("capacity", run.capacity, 1 << 28),
        ("actions", choices, 1 << 16),
        ("collect", if let Collect::Random(count) = run.collect { count } else { 1 }, 1 << 28),
    ];
    if let Some((name, value, limit)) = limits.into_iter().find(|(_, value, limit)| !(1..=*limit).contains(value)) {
        return refuse(format!("`{name}` is {value}, where a run takes 1 to {limit}"));
    }
    if run.batch != plan.batch {
        return refuse(format!("the run's batch of {} is not the plan's {}", run.batch, plan.batch));
    }
    if training.env.observations.iter().any(|o| o.ranges.len() != o.shape.iter().product::<usize>()) {
        return refuse("an observation has not one range per element".to_owned());
    }
    let names: Vec<&str> = match plan.public {
        Arrays::Given(arrays) => arrays.iter().map(|(name, _)| name.as_str()).collect(),
        Arrays::Fixed(arrays) => arrays.iter().map(|public| public.name.as_str()).collect(),
    };
    if !names.is_empty() {
        return refuse(format!("training does not take public arrays, and the plan needs {}", names.join(", ")));
    }
    Ok(training)
}

/// Arrays of a program that no transition holds: noise, which the client draws.
pub(super) fn noises(program: &ClearProgram, columns: &Columns) -> Vec<(String, usize)> {
    let mut noises = BTreeMap::new();
    for node in &program.nodes {
        if let ClearOp::Batch { name, dim } = &node.op
            && !columns.contains(name)
            && name != hecc_plan::UPDATE
        {
            noises.insert(name.clone(), *dim);
        }
    }
    noises.into_iter().collect()
}
