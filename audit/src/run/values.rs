//! QGI and RGI on vectors: closed forms, sample by sample.

use std::time::Instant;

use super::{AuditError, Case};
use crate::attacks::form::{Call, Part};
use crate::attacks::model::Model;
use crate::attacks::{qgi, rgi};
use crate::metrics::{percentage_error, vector_error};
use crate::report::{Actions, Attack, Attempt, Chance, Example, Guessing, Method, Metric, Metrics, View};

/// Samples that a report shows.
const SHOWN: usize = 3;
/// Numbers of a sample that a report shows.
const NUMBERS: usize = 8;

/// What either attack reads.
struct Reading {
    input: Vec<f64>,
    actions: Vec<usize>,
    /// Numbers by the metric of their error.
    numbers: Vec<(Metric, Vec<f64>)>,
}

type Reader<'a> = Box<dyn Fn(&hecc_compiler::inspection::Weights) -> Option<Reading> + 'a>;
type Truth<'a> = Box<dyn Fn(&hecc_compiler::inspection::Rows) -> Option<Reading> + 'a>;

/// The attack on values of actions; `None` where the network does not give its input away.
pub(super) fn of_values(case: &Case<'_>, call: &Call, progress: &mut dyn FnMut(&str)) -> Result<Option<Attack>, AuditError> {
    let Some(attack) = qgi::Qgi::new(case.model(), case.loss, call) else { return Ok(None) };
    let reading = |read: qgi::Reading| {
        let mut numbers = vec![(Metric::PredictedQ, vec![read.predicted])];
        numbers.extend(read.target.map(|target| (Metric::TargetQ, vec![target])));
        Reading { input: read.input, actions: read.actions, numbers }
    };
    let images = attack.stack().sees_images() || call.pieces.iter().any(|piece| matches!(piece.part, Part::Embedded(..)));
    let read: Reader<'_> = Box::new(|gradient| attack.read(gradient).map(reading));
    let truth: Truth<'_> = Box::new(|rows| attack.truth(case.loss, rows).map(reading));
    measured(case, call, Method::Qgi, images, (&read, &truth), progress).map(Some)
}

/// The attack on a policy's probabilities; `None` where the network does not give its input away.
pub(super) fn of_policy(case: &Case<'_>, call: &Call, progress: &mut dyn FnMut(&str)) -> Result<Option<Attack>, AuditError> {
    let Some(attack) = rgi::Rgi::new(case.model(), case.loss, call) else { return Ok(None) };
    let reading = |read: rgi::Reading| {
        let numbers = vec![(Metric::ProbabilityError, read.probabilities), (Metric::RewardError, vec![read.reward])];
        Reading { input: read.input, actions: vec![read.action], numbers }
    };
    let images = attack.stack().sees_images() || call.pieces.iter().any(|piece| matches!(piece.part, Part::Embedded(..)));
    let read: Reader<'_> = Box::new(|gradient| attack.read(gradient).map(reading));
    let truth: Truth<'_> = Box::new(|rows| attack.truth(rows).map(reading));
    measured(case, call, Method::Rgi, images, (&read, &truth), progress).map(Some)
}

fn measured(
    case: &Case<'_>,
    call: &Call,
    method: Method,
    images: bool,
    (read, truth): (&Reader<'_>, &Truth<'_>),
    progress: &mut dyn FnMut(&str),
) -> Result<Attack, AuditError> {
    progress(&format!("{} on vectors", method.name()));
    let count = case.samples();
    let rows = (0..count).map(|i| case.rows(i)).collect::<Result<Vec<_>, _>>()?;
    let gone = || AuditError::NoAttack("its input is computed in a way that this audit does not follow".to_owned());
    let truths = rows.iter().map(|rows| truth(rows).ok_or_else(gone)).collect::<Result<Vec<_>, _>>()?;
    let names = names(case.model(), call, truths[0].input.len());
    let view = |reading: &Reading| View { numbers: numbers(&names, reading), ..View::default() };
    let mut examples: Vec<Example> = truths
        .iter()
        .take(SHOWN)
        .enumerate()
        .map(|(i, truth)| Example { label: format!("sample {}", i + 1), original: view(truth), reconstructed: Vec::new() })
        .collect();
    let mut targets = Vec::new();
    for target in &case.targets {
        let begun = Instant::now();
        let readings: Vec<Option<Reading>> = (0..count).map(|i| read(&case.gradient(target, case.model(), i, &rows[i]))).collect();
        for (example, reading) in examples.iter_mut().zip(&readings) {
            let view = reading.as_ref().map_or_else(|| View { caption: "nothing".to_owned(), ..View::default() }, view);
            example.reconstructed.push((target.clone(), view));
        }
        targets.push(Attempt::new(target.clone(), compared(&readings, &truths), begun.elapsed().as_secs_f64()));
    }
    let variant = if images { "vectors of the network's dense part (stage 1)" } else { "vectors" };
    Ok(Attack {
        method,
        variant: variant.to_owned(),
        batch: 1,
        samples: count,
        guessing: guessing(&truths),
        targets,
        examples,
        verdict: String::new(),
    })
}

/// Errors of readings, sample by sample.
fn compared(readings: &[Option<Reading>], truths: &[Reading]) -> Metrics {
    let pairs = || readings.iter().zip(truths);
    let state = pairs().map(|(read, truth)| read.as_ref().map_or(f64::NAN, |read| worst(&read.input, &truth.input)));
    let guessed = pairs().flat_map(|(read, truth)| match read {
        Some(read) => read.actions.clone(),
        None => vec![usize::MAX; truth.actions.len()],
    });
    let mut metrics = Metrics::default()
        .with_actions(Actions::count(guessed, truths.iter().flat_map(|truth| truth.actions.clone())))
        .with(Metric::StateError, &state.collect::<Vec<_>>());
    for (at, (metric, _)) in truths[0].numbers.iter().enumerate() {
        let of = |(read, truth): (&Option<Reading>, &Reading)| {
            let read = read.as_ref().and_then(|read| read.numbers.get(at)).map(|(_, value)| value.as_slice());
            error(*metric, read.unwrap_or(&[]), &truth.numbers[at].1)
        };
        metrics = metrics.with(*metric, &pairs().map(of).collect::<Vec<_>>());
    }
    metrics
}

/// What the likeliest action reaches, and of each number the mean of the other samples or zero: whichever is nearer, since errors in
/// per cent are large where a mean is far from a value near zero.
fn guessing(truths: &[Reading]) -> Guessing {
    let choices: Vec<usize> = truths.iter().flat_map(|truth| truth.actions.clone()).collect();
    let most = choices.iter().copied().max().unwrap_or(0);
    let likeliest = (0..=most).map(|a| choices.iter().filter(|c| **c == a).count()).max().unwrap_or(0) as f64 / choices.len().max(1) as f64;
    let inputs: Vec<&[f64]> = truths.iter().map(|truth| truth.input.as_slice()).collect();
    let state: Vec<f64> = mean_of_others(&inputs).iter().zip(truths).map(|(mean, truth)| worst(mean, &truth.input)).collect();
    let mut guessing = Guessing {
        how: "the likeliest action, and of everything else the mean of the other samples, or zero where that is nearer".to_owned(),
        actions: Some(Chance::new(likeliest, choices.len() as u64)),
        ..Guessing::default()
    }
    .with(Metric::StateError, &state);
    for (at, (metric, _)) in truths[0].numbers.iter().enumerate() {
        let values: Vec<&[f64]> = truths.iter().map(|truth| truth.numbers[at].1.as_slice()).collect();
        let errors = |guesses: &[Vec<f64>]| guesses.iter().zip(&values).map(|(guess, v)| error(*metric, guess, v)).collect::<Vec<f64>>();
        let zeros: Vec<Vec<f64>> = values.iter().map(|v| vec![0.0; v.len()]).collect();
        let (mean, zero) = (errors(&mean_of_others(&values)), errors(&zeros));
        let sum = |errors: &[f64]| errors.iter().filter(|e| e.is_finite()).sum::<f64>();
        guessing = guessing.with(*metric, if sum(&zero) < sum(&mean) { &zero } else { &mean });
    }
    guessing
}

/// For every row the mean of the others, so that no guess has seen what it is compared with; zero where there are none.
pub(super) fn mean_of_others(rows: &[&[f64]]) -> Vec<Vec<f64>> {
    let mut sum = vec![0.0; rows.first().map_or(0, |row| row.len())];
    for row in rows {
        sum.iter_mut().zip(*row).for_each(|(s, v)| *s += v);
    }
    let others = rows.len() as f64 - 1.0;
    let of = |(s, v): (&f64, &f64)| if others > 0.0 { (s - v) / others } else { 0.0 };
    rows.iter().map(|row| sum.iter().zip(*row).map(of).collect()).collect()
}

fn worst(a: &[f64], b: &[f64]) -> f64 {
    vector_error(a, b).map_or(f64::NAN, |error| error.most)
}

fn error(metric: Metric, read: &[f64], truth: &[f64]) -> f64 {
    match (metric, read, truth) {
        (Metric::PredictedQ | Metric::TargetQ, [read], [truth]) => percentage_error(*read, *truth).unwrap_or(f64::NAN),
        _ => worst(read, truth),
    }
}

/// Names of the elements of a network's input.
fn names(model: &Model, call: &Call, len: usize) -> Vec<String> {
    let mut names: Vec<String> = (0..len).map(|i| format!("input {i}")).collect();
    for piece in &call.pieces {
        let name = match &piece.part {
            Part::Observation(index) => &model.program().env.observations[*index].name,
            Part::Feature(index) => &model.program().env.features[*index].name,
            Part::Action => &model.program().env.action.name,
            Part::Embedded(..) | Part::Other => continue,
        };
        for i in 0..piece.len {
            if let Some(slot) = names.get_mut(piece.start + i) {
                *slot = format!("{name}[{i}]");
            }
        }
    }
    names
}

fn numbers(names: &[String], reading: &Reading) -> Vec<(String, f64)> {
    let mut all: Vec<(String, f64)> = reading.actions.iter().map(|action| ("action".to_owned(), *action as f64)).collect();
    for (metric, value) in &reading.numbers {
        let name = match metric {
            Metric::PredictedQ => "predicted Q",
            Metric::TargetQ => "target Q",
            Metric::RewardError => "reward",
            _ => continue,
        };
        all.extend(value.first().map(|v| (name.to_owned(), *v)));
    }
    // Named elements first: features that a network made of images say little.
    let named = |(name, _): &(&String, &f64)| !name.starts_with("input ");
    let elements = || names.iter().zip(&reading.input);
    let chosen = elements().filter(named).chain(elements().filter(|e| !named(e))).take(NUMBERS);
    all.extend(chosen.map(|(name, v)| (name.clone(), *v)));
    // Where no unit of the first layer is awake, its gradient is zero and says nothing of the input.
    all.retain(|(_, v)| v.is_finite());
    all
}
