//! The ranges of a program: a run in the clear, with exact functions, that the next compilation takes intervals from.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use hecc_compiler::rehearsal::Rehearsal;
use hecc_plan::calibration::{Calibration, Spread};
use hecc_plan::{Plan, Tensor, Tensors, UPDATE, init};
use hecc_runtime::engine::EngineError;
use hecc_runtime::session::{Session, Settings, intake};

use crate::failure::Failure;
use crate::trainee::Exact;
use crate::{compile, files, output};

/// Where the ranges of the program in `file` are kept: beside it, as `NAME.ranges.json`.
pub fn ranges_path(file: &Path) -> PathBuf {
    file.with_extension("ranges.json")
}

/// Trains the program in `file` in the clear for `updates` (by default its own number), in its environment or on the rows of
/// `data`, and keeps the ranges beside it.
///
/// # Errors
/// If the program has errors, its environment is not built in and no data are given, or the run diverges before it has
/// seen anything.
pub fn calibrate_program(file: &Path, data: Option<&Path>, updates: Option<usize>) -> Result<(), Failure> {
    let source = files::source(file)?;
    let rehearsal = compile::rehearsal(file, &source)?;
    let calibration = match data {
        Some(path) => on_data(rehearsal, files::arrays(path)?, updates)?,
        None => in_environment(rehearsal, updates)?,
    };
    let path = ranges_path(file);
    files::write_text(&path, &calibration.write())?;
    output::say(&table(&calibration))?;
    output::complain(&format!(
        "{}; kept in {}, which the next compilation takes up",
        output::counted(calibration.updates, "update"),
        path.display()
    ));
    Ok(())
}

fn in_environment(rehearsal: Rehearsal, updates: Option<usize>) -> Result<Calibration, Failure> {
    let mut plan: Plan = rehearsal.plan.clone();
    let Some(training) = &mut plan.training else {
        return Err(Failure::wrong_use("this program serves a network; give the arrays it is to be calibrated on with `--data`"));
    };
    training.run.updates = updates.unwrap_or(training.run.updates);
    training.run.checkpoint = usize::MAX;
    let mut exact = Exact(rehearsal);
    let session = Session::start(&plan, Settings::default())?;
    match session.run(&mut exact, &AtomicBool::new(false), &mut |_| ()) {
        Ok(_) => {}
        // What it saw until then is worth keeping, and telling.
        Err(hecc_runtime::session::SessionError::Engine(EngineError::Diverged { name, .. })) => {
            output::complain(&format!("warning: `{name}` diverged in the clear; the ranges are those of the updates before"));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(exact.0.calibration())
}

fn on_data(mut rehearsal: Rehearsal, arrays: Tensors, updates: Option<usize>) -> Result<Calibration, Failure> {
    let plan = rehearsal.plan.clone();
    let batch = plan.geometry.batch;
    let is_state = |name: &str| plan.states.iter().any(|s| s.name == name);
    let (mut states, arrays): (Tensors, Tensors) = arrays.into_iter().partition(|(name, _)| is_state(name));
    for (name, start) in init::initial_states(&plan.states, 0) {
        states.entry(name).or_insert(start);
    }
    let rows = arrays.iter().filter(|(name, _)| *name != UPDATE).map(|(_, a)| a.rows_cols().0).min().unwrap_or(0);
    if rows == 0 {
        return Err(Failure::wrong_use("the file has no samples"));
    }
    let own = plan.training.as_ref().map_or(rows.div_ceil(batch), |t| t.run.updates);
    for update in 0..updates.unwrap_or(own) {
        let mut part: Tensors = arrays.iter().map(|(name, a)| (name.clone(), window(a, rows, update * batch, batch))).collect();
        part.insert(UPDATE.to_owned(), Tensor::scalar(update as f64));
        part.extend(states);
        let given = intake::sort(&plan, part)?;
        states = given.states;
        rehearsal.update(&given.batch, &mut states).map_err(EngineError::from)?;
    }
    Ok(rehearsal.calibration())
}

/// `count` rows from `first`, which start again after the last.
fn window(array: &Tensor, rows: usize, first: usize, count: usize) -> Tensor {
    let (_, width) = array.rows_cols();
    let data = (first..first + count).flat_map(|i| array.data[i % rows * width..][..width].iter().copied()).collect();
    let mut shape = array.shape.clone();
    match shape.first_mut() {
        Some(rows) => *rows = count,
        None => return array.clone(),
    }
    Tensor::new(shape, data)
}

fn table(calibration: &Calibration) -> String {
    let row = |spread: &Spread| {
        let Spread { low, high, quantiles } = spread;
        format!("{low:.4} to {high:.4}, 98 % within {:.4} to {:.4}", quantiles[1], quantiles[3])
    };
    let mut rows: Vec<(&str, String)> = calibration.arguments.iter().map(|a| (a.name.as_str(), row(&a.spread))).collect();
    let gradients: Vec<(String, String)> =
        calibration.gradients.iter().map(|g| (format!("gradient of {}", g.name), row(&g.spread))).collect();
    rows.extend(calibration.states.iter().map(|s| (s.name.as_str(), row(&s.spread))));
    rows.extend(gradients.iter().map(|(name, text)| (name.as_str(), text.clone())));
    output::table(&rows)
}
