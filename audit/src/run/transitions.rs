//! RGIA on transitions, with and without the dynamics of the environment.

use std::time::Instant;

use super::{AuditError, Case};
use crate::attacks::model::Model;
use crate::attacks::rgia::dynamics::{Dynamics, Learned, Public, known};
use crate::attacks::rgia::{Effort, Rgia};
use crate::matching::{Errors, errors};
use crate::report::{Attack, Attempt, Guessing, Method, Metric, Metrics};
use crate::samples;
use hecc_compiler::inspection::Rows;
use hecc_plan::{ActionSpec, Tensors};

/// The largest error of a next state that counts as found.
const FOUND: f64 = 0.02;
/// Unknowns of all starts of a search: more of them take longer than an audit should.
const UNKNOWNS: usize = 200;
/// Evaluations of a search from one start, where it is not to be long: what finds anything has mostly found it by then.
const EVALUATIONS: usize = 250;
/// Transitions that a surrogate of the dynamics is learned from.
const PUBLIC: usize = 2000;

pub(super) fn of(case: &Case<'_>, source: &str, progress: &mut dyn FnMut(&str)) -> Result<Vec<Attack>, AuditError> {
    let options = case.audit.options;
    let model = Model::new(source, options.batch, options.seed).map_err(AuditError::Program)?.ok_or(AuditError::NoTraining)?;
    let mut attacks = vec![arm(case, &model, ("transitions, without dynamics", None), progress)?];
    // The law of the environment is that of one step.
    if model.inspection.training.run.n_step == 1 {
        let law = known(&model.inspection.training.env.id);
        if let Some(law) = &law {
            attacks.push(arm(case, &model, ("transitions, with the environment's dynamics", Some(law.as_ref())), progress)?);
        }
        if let Some(learned) = learned(&model, options.seed) {
            let error = learned.error.iter().copied().fold(0.0, f64::max);
            let variant = format!("transitions, with dynamics learned from {PUBLIC} public transitions (error {error:.0e})");
            attacks.push(arm(case, &model, (&variant, Some(&learned)), progress)?);
        }
    }
    Ok(attacks)
}

fn arm(
    case: &Case<'_>,
    model: &Model,
    (variant, dynamics): (&str, Option<&dyn Dynamics>),
    progress: &mut dyn FnMut(&str),
) -> Result<Attack, AuditError> {
    let (options, arrays) = (case.audit.options, case.audit.arrays());
    let batch = options.batch;
    let attack = Rgia::new(model, case.loss, dynamics);
    // Without --long, one search from one start has to do where there is much to find.
    let long = options.steps.is_some();
    let much = 4 * attack.unknowns() > UNKNOWNS && !long;
    let patience = Effort::default().patience;
    let patience = if long { patience } else { patience.min(EVALUATIONS.div_ceil(attack.unknowns().max(1))) };
    let (searches, least) = if much { (1, 1) } else { (options.searches, 2) };
    let count = searches.min(samples::count(arrays) / batch).max(1);
    let batches: Vec<Tensors> = (0..count).map(|i| samples::part(arrays, i * batch, batch)).collect();
    let truths = batches.iter().map(|arrays| Ok(model.inspection.rows(arrays)?)).collect::<Result<Vec<Rows>, AuditError>>()?;
    let mut targets = Vec::new();
    for target in &case.targets {
        progress(&format!("RGIA on {variant}, {}", target.name()));
        let begun = Instant::now();
        let (mut all, mut mismatches) = (Vec::new(), Vec::new());
        for (turn, truth) in truths.iter().enumerate() {
            let gradient = case.gradient(target, model, turn, truth);
            // Ciphertexts are no gradient of anything: more starts do not help.
            let most = if target.is_encrypted() { least } else { Effort::default().starts };
            let starts = (UNKNOWNS / attack.unknowns().max(1)).clamp(least, most);
            let effort = Effort { seed: options.seed.wrapping_add(turn as u64), starts, patience };
            let found = attack.invert(&gradient, &effort);
            let rows = found.as_ref().and_then(|found| model.inspection.rows(&found.arrays).ok());
            all.push(rows.and_then(|rows| errors(&rows, truth, batch)));
            mismatches.push(found.map_or(f64::NAN, |found| found.mismatch));
        }
        let metrics = metrics(&all).with(Metric::GradientMatch, &mismatches);
        targets.push(Attempt::new(target.clone(), metrics, begun.elapsed().as_secs_f64()));
    }
    Ok(Attack {
        method: Method::Rgia,
        variant: variant.to_owned(),
        batch,
        samples: count,
        guessing: guessing(model, case, &truths, batch)?,
        targets,
        examples: Vec::new(),
        verdict: String::new(),
    })
}

fn metrics(all: &[Option<Errors>]) -> Metrics {
    let of = |part: fn(&Errors) -> f64| all.iter().map(|e| e.as_ref().map_or(f64::NAN, part)).collect::<Vec<_>>();
    let found: Vec<f64> = of(|e| e.next_state).iter().map(|e| f64::from(u8::from(*e < FOUND))).collect();
    Metrics::default()
        .with(Metric::StateError, &of(|e| e.state))
        .with(Metric::ActionError, &of(|e| e.action))
        .with(Metric::RewardError, &of(|e| e.reward))
        .with(Metric::NextStateError, &of(|e| e.next_state))
        .with(Metric::Found, &found)
}

/// The mean of the transitions that are not in the batch, as often as it has samples; zero where there are none.
fn guessing(model: &Model, case: &Case<'_>, truths: &[Rows], batch: usize) -> Result<Guessing, AuditError> {
    let arrays = case.audit.arrays();
    let count = samples::count(arrays);
    let mut all = Vec::new();
    for (turn, truth) in truths.iter().enumerate() {
        let own = turn * batch..(turn + 1) * batch;
        let others = (count - batch).max(1) as f64;
        let averaged = arrays.iter().map(|(name, array)| {
            let width = array.data.len() / count;
            let mean = |i: usize| (0..count).filter(|row| !own.contains(row)).map(|row| array.data[row * width + i]).sum::<f64>() / others;
            let shape = [&[batch], &array.shape[1..]].concat();
            (name.clone(), hecc_plan::Tensor::new(shape, (0..width).map(mean).collect::<Vec<f64>>().repeat(batch)))
        });
        all.push(errors(&model.inspection.rows(&averaged.collect())?, truth, batch));
    }
    let reached = metrics(&all);
    Ok(Guessing { how: "the mean of other transitions".to_owned(), actions: None, values: reached.values })
}

/// A surrogate of the dynamics, from transitions with another seed than those that are attacked.
fn learned(model: &Model, seed: u64) -> Option<Learned> {
    let spec = &model.inspection.training.env;
    let arrays = samples::gather(&model.inspection, PUBLIC, seed.wrapping_add(1)).ok()?;
    let [observation] = spec.observations.as_slice() else { return None };
    let rows = |name: &str| {
        let array = arrays.get(name)?;
        Some(array.data.chunks(array.data.len() / PUBLIC).collect::<Vec<&[f64]>>())
    };
    let public = Public {
        states: &rows(&observation.name)?,
        actions: &rows(&spec.action.0)?,
        next: &rows(&format!("{}_next", observation.name))?,
        rewards: &arrays.get(&spec.reward.0)?.data,
        discrete: matches!(spec.action.1, ActionSpec::Discrete(_)),
    };
    Learned::fit(&public)
}
