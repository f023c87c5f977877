//! Pictures behind gradients: stage 2 of QGI and RGI.

use std::collections::BTreeMap;
use std::time::Instant;

use hecc_compiler::inspection::{Rows, Weights};
use hecc_compiler::tensor::Data;

use super::values::mean_of_others;
use super::{AuditError, Case};
use crate::attacks::form::{Call, Form, Part};
use crate::attacks::images::{Images, Search, Way};
use crate::attacks::layers::Stack;
use crate::metrics::{iou, luma, psnr, ssim};
use crate::report::{Attack, Attempt, Example, Guessing, Method, Metric, Metrics, Picture, View};
use crate::scenes::{Shows, seen, shows};

/// Pixels up to which a search is short.
const SMALL: usize = 48 * 48 * 4;
/// Steps of a search in large pictures, unless more are asked for.
const FEW: usize = 120;

pub(super) fn of(case: &Case<'_>, call: &Call, progress: &mut dyn FnMut(&str)) -> Result<Vec<Attack>, AuditError> {
    let model = case.model();
    let observations = &model.inspection.training.env.observations;
    let (Some(images), Some(shows)) = (Images::new(model, case.loss, call), shows(observations)) else { return Ok(Vec::new()) };
    let Some(stack) = Stack::of(&model.program().nets[call.net.0]) else { return Ok(Vec::new()) };
    let pixels: usize = observations.iter().filter(|o| o.shape.len() == 3).map(|o| o.shape.iter().product::<usize>()).sum();
    let options = case.audit.options;
    let steps = options.steps.unwrap_or(if pixels > SMALL { FEW } else { Search::default().steps });
    let count = if pixels > SMALL && options.steps.is_none() { 1 } else { options.searches.min(case.samples()) };
    let rows = (0..count).map(|i| case.rows(i)).collect::<Result<Vec<_>, _>>()?;
    let ways = if options.ablations { vec![Way::Published, Way::Joint, Way::Objective, Way::MeanSquare] } else { vec![Way::Published] };
    let method = if matches!(case.audit.forms[case.loss], Form::Policy(_)) { Method::Rgi } else { Method::Qgi };
    let kind = match (shows.contains(&Shows::Colour) || shows.contains(&Shows::Both), shows.contains(&Shows::Depth)) {
        (true, true) => "RGB with depth",
        (true, false) => "RGB",
        _ => "depth",
    };
    let mut attacks = Vec::new();
    for way in ways {
        let mut targets = Vec::new();
        let mut examples: Vec<Example> = rows
            .iter()
            .enumerate()
            .map(|(i, rows)| {
                let original = |index: usize| rows.get(&Data::Observation { index, next: false }).cloned();
                Example { label: format!("room {}", i + 1), original: view(case, &shows, &original), reconstructed: Vec::new() }
            })
            .collect();
        // Ablations are of the attack, which has no use for ciphertexts.
        for target in case.targets.iter().filter(|target| way == Way::Published || !target.is_encrypted()) {
            progress(&format!("{} on pictures, {}, {}", method.name(), way.name(), target.name()));
            let begun = Instant::now();
            let mut found = Vec::new();
            for (turn, rows) in rows.iter().enumerate() {
                let gradient = case.gradient(target, model, turn, rows);
                let search = Search { way, steps, seed: options.seed.wrapping_add(turn as u64), ..Search::default() };
                found.push(invert(&images, &stack, call, &gradient, &search));
            }
            for (example, found) in examples.iter_mut().zip(&found) {
                let one = |index: usize| found.as_ref().and_then(|found| found.get(&index).cloned());
                example.reconstructed.push((target.clone(), view(case, &shows, &one)));
            }
            let metrics = metrics(case, &shows, &found, &rows);
            targets.push(Attempt::new(target.clone(), metrics, begun.elapsed().as_secs_f64()));
        }
        attacks.push(Attack {
            method,
            variant: format!("{kind}, {}, {steps} steps", way.name()),
            batch: 1,
            samples: count,
            guessing: guessing(case, &shows, &rows)?,
            targets,
            examples,
            verdict: String::new(),
        });
    }
    Ok(attacks)
}

/// Stage 1 for vectors, stage 2 for images: observations by their number.
fn invert(images: &Images, stack: &Stack<'_>, call: &Call, gradient: &Weights, search: &Search) -> Option<BTreeMap<usize, Vec<f64>>> {
    let (input, error) = (stack.input(gradient)?, stack.error(gradient)?);
    let mut known = BTreeMap::new();
    for piece in &call.pieces {
        if let (Part::Observation(index), false) = (&piece.part, stack.sees_images()) {
            known.insert(*index, input.get(piece.start..piece.start + piece.len)?.to_vec());
        }
    }
    Some(images.invert(gradient, error, &known, search)?.observations)
}

/// How near pictures and boxes come; NaN where there are none.
fn metrics(case: &Case<'_>, shows: &[Shows], found: &[Option<BTreeMap<usize, Vec<f64>>>], rows: &[Rows]) -> Metrics {
    let mut values: BTreeMap<Metric, Vec<f64>> = BTreeMap::new();
    for (found, rows) in found.iter().zip(rows) {
        for (index, shows) in shows.iter().enumerate() {
            let Some(original) = rows.get(&Data::Observation { index, next: false }) else { continue };
            let again = found.as_ref().and_then(|found| found.get(&index));
            for (metric, value) in near(case, index, *shows, again.map(Vec::as_slice), original) {
                values.entry(metric).or_default().push(value);
            }
        }
    }
    values.into_iter().fold(Metrics::default(), |metrics, (metric, values)| metrics.with(metric, &values))
}

fn near(case: &Case<'_>, index: usize, shows: Shows, again: Option<&[f64]>, original: &[f64]) -> Vec<(Metric, f64)> {
    let original = seen(original);
    let again = again.map_or_else(|| vec![f64::NAN; original.len()], seen);
    let shape = &case.model().inspection.training.env.observations[index].shape;
    let picture = |metrics: [Metric; 2], a: &[f64], b: &[f64], planes: usize| {
        let [_, height, width] = shape[..] else { return Vec::new() };
        let alike = match (luma(a, planes), luma(b, planes)) {
            (Some(a), Some(b)) => ssim(&a, &b, height, width),
            _ => None,
        };
        vec![(metrics[0], psnr(a, b).unwrap_or(f64::NAN)), (metrics[1], alike.unwrap_or(f64::NAN))]
    };
    let (colour, depth) = ([Metric::PsnrRgb, Metric::SsimRgb], [Metric::PsnrDepth, Metric::SsimDepth]);
    match shows {
        Shows::Colour => picture(colour, &again, &original, 3),
        Shows::Depth => picture(depth, &again, &original, 1),
        Shows::Both => {
            let at = original.len() / 4 * 3;
            let ((ac, ad), (bc, bd)) = (again.split_at(at), original.split_at(at));
            [picture(colour, ac, bc, 3), picture(depth, ad, bd, 1)].concat()
        }
        Shows::Object => match (<[f64; 4]>::try_from(again), <[f64; 4]>::try_from(original)) {
            (Ok(a), Ok(b)) => vec![(Metric::Iou, iou(&a, &b))],
            _ => Vec::new(),
        },
        Shows::Chance => Vec::new(),
    }
}

/// The mean of other rooms, pixel by pixel and box by box; grey where there are no others.
fn guessing(case: &Case<'_>, shows: &[Shows], rows: &[Rows]) -> Result<Guessing, AuditError> {
    let all = (0..case.samples().min(32).max(rows.len())).map(|i| case.rows(i)).collect::<Result<Vec<_>, _>>()?;
    let mut found = vec![Some(BTreeMap::new()); rows.len()];
    for index in 0..shows.len() {
        let data = Data::Observation { index, next: false };
        let values: Vec<&[f64]> = all.iter().filter_map(|rows| rows.get(&data)).map(Vec::as_slice).collect();
        for (guess, mean) in found.iter_mut().flatten().zip(mean_of_others(&values)) {
            guess.insert(index, mean);
        }
    }
    let values = metrics(case, shows, &found, rows).values;
    Ok(Guessing { how: "the mean of other rooms".to_owned(), actions: None, values })
}

fn view(case: &Case<'_>, shows: &[Shows], observation: &dyn Fn(usize) -> Option<Vec<f64>>) -> View {
    let mut view = View::default();
    for (index, shows) in shows.iter().enumerate() {
        let Some(values) = observation(index).map(|values| seen(&values)) else {
            view.caption = "nothing".to_owned();
            continue;
        };
        let shape = &case.model().inspection.training.env.observations[index].shape;
        let mut add = |values: &[f64], planes: usize| {
            if let [_, height, width] = shape[..]
                && let Ok(picture) = Picture::of_planes(values, planes, height, width)
            {
                view.pictures.push(picture);
            }
        };
        match shows {
            Shows::Colour => add(&values, 3),
            Shows::Depth => add(&values, 1),
            Shows::Both => {
                let (colour, depth) = values.split_at(values.len() / 4 * 3);
                add(colour, 3);
                add(depth, 1);
            }
            Shows::Object => view.frame = <[f64; 4]>::try_from(values).ok(),
            Shows::Chance => {}
        }
    }
    view
}
