//! `hecc audit`: gradient-inversion attacks on a program, against clear gradients and against what the server of its plan sees.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hecc_audit::flow;
use hecc_audit::report::{Flow, Report, html, text};
use hecc_audit::run::{Audit, AuditError, Options};
use hecc_audit::server::{self, Pool, Sight};
use hecc_compiler::diagnostics::Diagnostic;
use hecc_plan::cost::CostTable;
use hecc_plan::{AnyPlan, Plan, cost, init, tfhe};
use hecc_runtime::engine::{self, Backend};
use hecc_runtime::integers;

use crate::failure::Failure;
use crate::{compile, files, output};

/// Seconds that the encrypted part of a default audit may be predicted to take.
const PATIENCE: f64 = 20.0;
/// Steps of a search for pictures under `--long`.
const LONG: usize = 800;

/// What `hecc audit` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The program
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Gradients to attack where an attack is a closed form
    #[arg(long, value_name = "N", default_value_t = 240, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    samples: u32,
    /// Searches, where an attack is one: for pictures and for transitions
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    searches: u32,
    /// Transitions behind one gradient, where they are searched for
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    batch: u32,
    /// Seed of weights, transitions and searches
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Arrays of your own instead of transitions that the audit gathers, under the names a batch has
    #[arg(long, value_name = "FILE.npz|FILE.safetensors")]
    data: Option<PathBuf>,
    /// Also attack gradients with Gaussian noise of this standard deviation
    #[arg(long, value_name = "S", default_value_t = 0.0)]
    noise: f64,
    /// Also attack gradients clipped to this norm
    #[arg(long, value_name = "C")]
    clip: Option<f64>,
    /// Also attack what leaves if the client publishes its weights after each update
    #[arg(long)]
    publish: bool,
    /// Compute the whole encrypted update however long it takes, search longer, and run the ablations of the search for pictures
    #[arg(long)]
    long: bool,
    /// Print the report as JSON
    #[arg(long)]
    json: bool,
    /// Write the report as one page
    #[arg(long, value_name = "FILE.html")]
    html: Option<PathBuf>,
}

/// Runs the attacks and prints the report.
///
/// # Errors
/// If the program has errors, trains nothing, or no attack fits it; if the arrays do not fit; or if the runtime fails.
pub fn run(args: &Args) -> Result<(), Failure> {
    let not_negative = |value: f64| value.is_finite() && value >= 0.0;
    if !not_negative(args.noise) || !args.clip.is_none_or(|clip| not_negative(clip) && clip > 0.0) {
        return Err(Failure::wrong_use("noise is a number from 0 on, and the norm to clip to one above 0"));
    }
    let source = files::program(&args.file)?;
    compile::check(&args.file, &source)?;
    let options = Options {
        samples: args.samples as usize,
        seed: args.seed,
        noise: args.noise,
        clip: args.clip,
        batch: args.batch as usize,
        searches: args.searches as usize,
        steps: args.long.then_some(LONG),
        ablations: args.long,
        publish: args.publish,
        data: args.data.as_deref().map(arrays).transpose()?,
    };
    let (plan, warnings) = match compile::quietly(&args.file, &source) {
        Ok(compiled) => (Some(compiled.into_plan()), Vec::new()),
        Err(errors) => (None, vec![no_plan(&errors)]),
    };
    let batch = plan.as_ref().map_or(0, |plan| match plan {
        AnyPlan::Ckks(plan) => plan.geometry.batch,
        AnyPlan::Tfhe(plan) => plan.batch,
    });
    let mut progress = |what: &str| output::complain(what);
    let audit = Audit::new(&source, &options, batch).map_err(|error| told(&args.file, &source, error))?;
    let (sight, flow) = match plan {
        Some(AnyPlan::Ckks(plan)) => slots(&audit, *plan, args.long, &mut progress)?,
        Some(AnyPlan::Tfhe(plan)) => of_integers(&audit, *plan, &mut progress)?,
        None => inputs_alone(&audit, &mut progress)?,
    };
    let name = args.file.display().to_string();
    let report = audit.run(&name, sight.as_ref(), flow, warnings, &mut progress).map_err(|error| told(&args.file, &source, error))?;
    if let Some(path) = &args.html {
        let page = html::page(&report).map_err(|error| Failure::machine(format!("the page cannot be drawn: {error}")))?;
        files::write_text(path, &page)?;
        output::complain(&format!("the report as a page: {}", path.display()));
    }
    output::say(&if args.json { json(&report)? } else { text::text(&report) })
}

fn json(report: &Report) -> Result<String, Failure> {
    report.json().map_err(|error| Failure::machine(format!("the report cannot be written as JSON: {error}")))
}

fn arrays(path: &Path) -> Result<hecc_plan::Tensors, Failure> {
    if path.extension().is_some_and(|extension| extension == "safetensors") {
        return files::arrays(path);
    }
    let bytes = std::fs::read(path).map_err(|error| Failure::file("read", path, error))?;
    let stem = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    hecc_audit::arrays::read(&bytes, &stem).map_err(|error| Failure::audit(&AuditError::Arrays(error)))
}

/// An error of the audit, as other commands tell errors.
fn told(path: &Path, source: &str, error: AuditError) -> Failure {
    match error {
        AuditError::Program(errors) => compile::told(path, source, &errors),
        AuditError::Engine(error) => error.into(),
        other => Failure::audit(&other),
    }
}

/// Why there is no plan.
fn no_plan(errors: &[Diagnostic]) -> String {
    let first = errors.first().map_or_else(String::new, |error| format!(" ({}: {})", error.code, error.message));
    format!("This program has no encrypted plan{first}: what a server would see of one is judged by its inputs alone.")
}

/// What the server sees of a plan of slots.
fn slots(audit: &Audit<'_>, plan: Plan, long: bool, progress: &mut dyn FnMut(&str)) -> Result<(Option<Sight>, Flow), Failure> {
    let flow = flow::of(&plan);
    let predicted = cost::predict(&plan, CostTable::built_in(), 0);
    let whole = long || (plan.bootstrap.is_none() && predicted.seconds_per_update + predicted.key_seconds < PATIENCE);
    let batch = audit.batch(plan.geometry.batch);
    let plan = Arc::new(plan);
    let public = init::initial(&plan);
    let parties = engine::parties(Arc::clone(&plan), Backend::Ckks, public.clone(), 0)?;
    let (other, _) = engine::parties(Arc::clone(&plan), Backend::Ckks, public, 0)?;
    let sight = server::watch(&plan, parties, &other, &batch, whole, progress)?;
    Ok((Some(sight), flow))
}

/// What the server sees of a plan of integers: the client's inputs.
fn of_integers(audit: &Audit<'_>, plan: tfhe::Plan, progress: &mut dyn FnMut(&str)) -> Result<(Option<Sight>, Flow), Failure> {
    let (flow, batch) = (flow::of_integers(&plan), audit.batch(plan.batch));
    let plan = Arc::new(plan);
    let states = init::initial_states(&plan.states, plan.training.as_ref().map_or(0, |training| training.run.seed));
    progress("the client's message, seen by the server");
    let party = || integers::parties(Arc::clone(&plan), integers::Backend::Tfhe, 0);
    let ((client, _), (other, _)) = (party()?, party()?);
    let (planted, message, with) = match plan.carried.is_empty() {
        true => (None, client.upload(&batch, &states)?, ""),
        false => (Some(client.plant(&states)?), client.batch(0, &batch, &states)?, ", and the states that it carries"),
    };
    let (mut ciphertexts, mut wrong_key) = (Pool::default(), Pool::default());
    planted.iter().chain([&message]).for_each(|message| ciphertexts.add_words(message));
    for integers in other.opened(&message)? {
        wrong_key.add_slots(&integers.iter().map(|&v| v as f64).collect::<Vec<f64>>());
    }
    let sent = (planted.map_or(0, |planted| planted.len()) + message.len()) as u64;
    let how = format!("the encrypted inputs of one update of {} samples{with}; the update itself was not computed", plan.batch);
    Ok((Some(Sight { how, ciphertexts, wrong_key, sent, ..Sight::default() }), flow))
}

/// What a server would see of a program without a plan: its observations, actions and rewards, encrypted.
fn inputs_alone(audit: &Audit<'_>, progress: &mut dyn FnMut(&str)) -> Result<(Option<Sight>, Flow), Failure> {
    let Some((plan, batch)) = server::inputs_alone(audit.program(), &audit.batch(1)) else {
        return Ok((None, Flow::default()));
    };
    let flow = flow::of(&plan);
    let plan = Arc::new(plan);
    let parties = engine::parties(Arc::clone(&plan), Backend::Ckks, hecc_plan::Tensors::new(), 0)?;
    let (other, _) = engine::parties(Arc::clone(&plan), Backend::Ckks, hecc_plan::Tensors::new(), 0)?;
    let sight = server::watch(&plan, parties, &other, &batch, false, progress)?;
    Ok((Some(sight), flow))
}
