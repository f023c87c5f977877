//! The plan by which the server acts while a program trains, and whether it is one of that training.

use super::parameters::Parameters;
use super::prices::Prices;
use super::{Op, Plan, check, cost};
use crate::check::PlanError;
use crate::{ActionSpec, ClearOp, State, Target, Training};

/// Checks a training's plan for acting, if it has one: that it runs, that its states are released arrays of the training with
/// their shapes, and that it makes one action of one observation. `states` are those of the training.
///
/// # Errors
/// HE0508, for each thing that is wrong.
pub fn verify(training: Option<&Training>, states: &[State], insecure: bool) -> Result<(), Vec<PlanError>> {
    let Some((training, plan)) = training.and_then(|t| Some((t, t.served.as_deref()?))) else { return Ok(()) };
    // Before its own checks, which would go into a training of its own again.
    if plan.training.is_some() {
        return Err(vec![PlanError::Policy("it trains itself".to_owned())]);
    }
    let checked = if insecure { check::check_insecure(plan) } else { check::check(plan) };
    checked.map_err(|errors| errors.iter().map(|error| PlanError::Policy(error.to_string())).collect::<Vec<_>>())?;
    let faults = faults(training, plan, states);
    if faults.is_empty() { Ok(()) } else { Err(faults.into_iter().map(PlanError::Policy).collect()) }
}

/// What does not fit between a training and a plan that runs.
fn faults(training: &Training, plan: &Plan, states: &[State]) -> Vec<String> {
    let mut faults = Vec::new();
    if plan.batch != 1 {
        faults.push(format!("it takes {} observations at once, where acting takes one", plan.batch));
    }
    if !plan.public.is_empty() {
        faults.push("weights stand in it, and those that act are not known before they are trained".to_owned());
    }
    for state in &plan.states {
        let released = training.release.iter().any(|(name, _)| *name == state.name);
        if !released || !states.iter().any(|s| s.name == state.name && s.shape == state.shape) {
            faults.push(format!("`{}` {:?} is no array that the training releases", state.name, state.shape));
        }
    }
    for node in &plan.client.nodes {
        if let ClearOp::Batch { name, dim } = &node.op
            && !training.env.observations.iter().any(|o| o.name == *name && o.shape.iter().product::<usize>() == *dim)
        {
            faults.push(format!("it reads `{name}` of {dim}, which the environment does not observe"));
        }
    }
    let ActionSpec::Discrete(choices) = training.env.action.1 else {
        faults.push("the action is not one of a few".to_owned());
        return faults;
    };
    match &plan.outputs[..] {
        [output] if matches!(output.target, Target::Result { .. }) && output.shape == [1, choices] => {}
        _ => faults.push(format!("it does not give one of {choices} actions")),
    }
    faults
}

impl Plan {
    /// Which inputs the server can keep from run to run: those that depend on states alone.
    pub fn kept(&self) -> Vec<bool> {
        let mut fixed: Vec<bool> = Vec::with_capacity(self.client.nodes.len());
        for node in &self.client.nodes {
            let operands = node.op.operands().iter().all(|o| fixed.get(o.0 as usize).copied().unwrap_or(false));
            fixed.push(operands && !matches!(node.op, ClearOp::Batch { .. } | ClearOp::Decrypted(_)));
        }
        self.inputs.iter().map(|input| fixed.get(input.tensor.0 as usize).copied().unwrap_or(false)).collect()
    }
}

/// What acting by a plan takes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Acting {
    /// One action; of its bytes to the server those of the observation alone.
    pub action: cost::Prediction,
    /// Bytes to the server whenever weights are new.
    pub weights_bytes: u64,
    /// Numbers that those weights are.
    pub weights: u64,
}

/// Predicts acting by a checked plan on `threads` threads (0 for those of the prices' machine).
pub fn predict(plan: &Plan, prices: &Prices, threads: usize) -> Acting {
    let kept = plan.kept();
    let lengths = |keeps: bool| -> Vec<u64> {
        let of = |op: &Op| matches!(op, Op::Input(id) if kept.get(id.0 as usize) == Some(&keeps));
        plan.steps.iter().filter(|step| of(&step.op)).map(|step| u64::from(step.wire.len)).collect()
    };
    let sent = |keeps: bool| lengths(keeps).into_iter().map(Parameters::fresh_bytes).sum();
    let action = cost::Prediction { bytes_to_server: sent(false), ..cost::predict(plan, prices, threads) };
    Acting { action, weights_bytes: sent(true), weights: lengths(true).into_iter().sum() }
}
