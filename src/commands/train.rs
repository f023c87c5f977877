//! `hecc train`: a whole run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hecc_plan::{AnyPlan, Interface, Plan, tfhe};
use hecc_runtime::engine::Engine;
use hecc_runtime::session::{Checkpoint, Outcome, Session, Settings, Updater, WEIGHTS};
use serde_json::json;

use crate::cli::Backend;
use crate::failure::Failure;
use crate::output::{bytes, seconds, table};
use crate::predicted::Expected;
use crate::progress::{Display, Keys};
use crate::{costs, files, integers, output};

/// What `hecc train` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A program or a plan
    file: PathBuf,
    /// What carries the values [default: ckks, or the resumed run's]
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Updates, instead of the program's number
    #[arg(long)]
    updates: Option<usize>,
    /// Seed, instead of the program's
    #[arg(long, conflicts_with = "resume")]
    seed: Option<u64>,
    /// Folder for checkpoints and weights [default: a new one in `runs/`]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Continue the run in this folder
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Greedy episodes of the final evaluation
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    episodes: u32,
    /// Stop at a value outside its declared range instead of clipping it, and before an activation leaves its interval
    #[arg(long)]
    stop_out_of_range: bool,
    /// Threads; 0 for all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Trains, and prints the result.
///
/// # Errors
/// If the program, the checkpoint or an update is refused; Ctrl-C ends with its own status after a checkpoint.
pub fn run(args: &Args) -> Result<(), Failure> {
    let begun = Instant::now();
    let mut plan = files::plan(&args.file)?;
    let training = match &mut plan {
        AnyPlan::Ckks(plan) => &mut plan.training,
        AnyPlan::Tfhe(plan) => &mut plan.training,
    };
    let checkpoint = args.resume.as_deref().map(Checkpoint::read).transpose()?;
    if let Some(training) = training {
        training.run.updates = args.updates.unwrap_or(training.run.updates);
        training.run.seed = checkpoint.as_ref().map(|c| c.notes.seed).or(args.seed).unwrap_or(training.run.seed);
    }
    let backend = match (args.backend, &checkpoint) {
        (Some(backend), _) => backend,
        (None, Some(c)) if c.notes.backend == Backend::Clear.name() => Backend::Clear,
        (None, _) => match plan {
            AnyPlan::Ckks(_) => Backend::Ckks,
            AnyPlan::Tfhe(_) => Backend::Tfhe,
        },
    };
    let folder = match args.resume.as_ref().or(args.out.as_ref()) {
        Some(folder) => folder.clone(),
        None => vacant(&args.file)?,
    };
    let settings = Settings {
        folder: Some(folder.clone()),
        backend: backend.name().to_owned(),
        episodes: args.episodes as usize,
        stop_out_of_range: args.stop_out_of_range,
    };
    let plan = match plan {
        AnyPlan::Ckks(plan) => Shared::Ckks(Arc::new(*plan)),
        AnyPlan::Tfhe(plan) => Shared::Tfhe(Arc::new(*plan)),
    };
    // Before the keys, which take longer than any of its errors.
    let session = match checkpoint {
        Some(checkpoint) => Session::resume(plan.interface(), settings, checkpoint)?,
        None => Session::start(plan.interface(), settings)?,
    };
    let expected = match &plan {
        Shared::Ckks(plan) => Expected::of(plan, args.threads)?,
        Shared::Tfhe(plan) => Expected::of_integers(plan, args.threads),
    };
    let stop = listen()?;
    let mut engine = plan.updater(backend, args.threads)?;
    let mut display = Display::start(session.updates());
    let outcome = session.run(&mut *engine, stop, &mut |event| display.show(&event));
    display.finish();
    let outcome = outcome?;
    if outcome.interrupted {
        return Err(Failure::interrupted(format!(
            "interrupted after {}; `hecc train {} --resume {}` goes on from there",
            output::counted(outcome.updates, "update"),
            args.file.display(),
            folder.display()
        )));
    }
    let seed = plan.interface().training.map_or(0, |t| t.run.seed);
    let report = Report { outcome, backend, folder: &folder, seed, seconds: begun.elapsed().as_secs_f64(), expected };
    output::say(&if args.json { report.json() } else { report.table() })
}

/// A plan that the parties share.
enum Shared {
    Ckks(Arc<Plan>),
    Tfhe(Arc<tfhe::Plan>),
}

impl Shared {
    fn interface(&self) -> Interface<'_> {
        match self {
            Shared::Ckks(plan) => Interface::from(&**plan),
            Shared::Tfhe(plan) => Interface::from(&**plan),
        }
    }

    /// The two parties, with keys.
    fn updater(&self, backend: Backend, threads: usize) -> Result<Box<dyn Updater>, Failure> {
        Ok(match self {
            Shared::Ckks(plan) => {
                let carrier = backend.slots()?;
                let mut keys = Keys::start();
                let engine =
                    Engine::new(Arc::clone(plan), carrier, Default::default(), threads, &mut |done, total| keys.made(done, total))?;
                keys.finish();
                Box::new(engine)
            }
            Shared::Tfhe(plan) => Box::new(integers::engine(plan, backend.integers()?, threads)?),
        })
    }
}

/// The first folder `runs/NAME-N` that is not there yet.
fn vacant(program: &Path) -> Result<PathBuf, Failure> {
    let name = program.file_stem().unwrap_or_default().to_string_lossy();
    (1..10_000)
        .map(|n| Path::new("runs").join(format!("{name}-{n}")))
        .find(|folder| !folder.exists())
        .ok_or_else(|| Failure::wrong_use("`runs/` is full; name a folder with `--out`"))
}

/// A flag that Ctrl-C sets. A second Ctrl-C ends the process at once.
fn listen() -> Result<&'static AtomicBool, Failure> {
    static STOP: AtomicBool = AtomicBool::new(false);
    ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
        output::complain("\nstopping after this update; Ctrl-C again stops at once");
    })
    .map_err(|error| Failure::machine(format!("cannot listen to Ctrl-C: {error}")))?;
    Ok(&STOP)
}

/// What a finished run prints.
struct Report<'a> {
    outcome: Outcome,
    backend: Backend,
    folder: &'a Path,
    seed: u64,
    seconds: f64,
    expected: Expected,
}

impl Report<'_> {
    fn per_update(&self) -> f64 {
        self.outcome.totals.seconds / self.outcome.updates.max(1) as f64
    }

    fn json(&self) -> String {
        let Outcome { updates, returns, results, totals, .. } = &self.outcome;
        json!({
            "updates": updates,
            "episodes": returns.len(),
            "return_mean": self.outcome.mean_return(),
            "return_min": returns.iter().copied().reduce(f64::min),
            "return_max": returns.iter().copied().reduce(f64::max),
            "results": results,
            "seconds_per_update": self.per_update(),
            "predicted_seconds_per_update": self.expected.seconds(),
            "peak_bytes": costs::peak_bytes(),
            "predicted_peak_bytes": self.expected.peak_bytes(),
            "bytes_to_server": totals.bytes_to_server,
            "bytes_to_client": totals.bytes_to_client,
            "backend": self.backend.name(),
            "seconds": self.seconds,
            "seed": self.seed,
            "out": self.folder,
        })
        .to_string()
    }

    fn table(&self) -> String {
        let Outcome { updates, returns, results, totals, .. } = &self.outcome;
        let mut rows = vec![("updates", updates.to_string())];
        if let Some(mean) = self.outcome.mean_return() {
            rows.push(("return", format!("{mean:.1} over {} greedy episodes", returns.len())));
        }
        rows.extend(results.iter().map(|(name, value)| (name.as_str(), format!("{value:.6}"))));
        rows.extend([("per update", seconds(self.per_update()))]);
        if self.backend != Backend::Clear {
            rows.extend(self.expected.beside(self.per_update(), f64::NAN));
        }
        rows.extend([
            ("exchanged", format!("{} to the server, {} to the client", bytes(totals.bytes_to_server), bytes(totals.bytes_to_client))),
            ("backend", self.backend.name().to_owned()),
            ("seed", self.seed.to_string()),
            ("total", seconds(self.seconds)),
            ("weights", self.folder.join(WEIGHTS).display().to_string()),
        ]);
        table(&rows)
    }
}
