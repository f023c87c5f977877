//! `hecc train`: a whole run.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hecc_compiler::step_size::StepSize;
use hecc_plan::Escape;
use hecc_plan::calibration::Wider;
use hecc_runtime::engine::{EngineError, Outgrown};
use hecc_runtime::session::ranges::Reach;
use hecc_runtime::session::{Acted, Checkpoint, Outcome, Session, SessionError, Settings, WEIGHTS};
use serde_json::json;

use crate::cli::Backend;
use crate::compile::Options;
use crate::failure::Failure;
use crate::output::{bytes, seconds, table};
use crate::predicted::Expected;
use crate::progress::Display;
use crate::study::Study;
use crate::trainee::Trainee;
use crate::{costs, files, integers, output, step_size};

/// What `hecc train` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A program or a plan
    file: PathBuf,
    /// What carries the values; several, with commas between them, are compared [default: ciphertexts, or the resumed run's]
    #[arg(long, value_enum, value_delimiter = ',')]
    backend: Vec<Backend>,
    /// Add to the clear backend the noise that CKKS would add, drawn from the seed
    #[arg(long)]
    noise: bool,
    /// Updates, instead of the program's number
    #[arg(long)]
    updates: Option<usize>,
    /// Seed, instead of the program's
    #[arg(long, conflicts_with = "resume")]
    seed: Option<u64>,
    /// Train from so many seeds, and write curves and the gap to exact functions; the same command again goes on
    #[arg(long, value_name = "N", conflicts_with = "resume", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    seeds: Option<u32>,
    /// Folder for checkpoints, weights and curves [default: a new one in `runs/`]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Continue the run in this folder
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Greedy episodes of the final evaluation
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    episodes: u32,
    /// Updates between checkpoints, each with an evaluation, instead of the program's number
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    checkpoint: Option<u32>,
    /// Stop at a value outside its declared range instead of clipping it, and before an activation leaves its interval
    #[arg(long, conflicts_with = "out_of_range")]
    stop_out_of_range: bool,
    /// What to do where a value leaves its range or outgrows its ciphertext, instead of what the program says
    #[arg(long, value_enum)]
    out_of_range: Option<OutOfRange>,
    /// Threads; 0 for all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// What a run does out of range.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum OutOfRange {
    /// Say so, and clip what can be clipped
    Warn,
    /// Compile again, for wider intervals or with more room, and go on
    Widen,
    /// Stop, with a checkpoint
    Stop,
}

/// Trains, and prints the result.
///
/// # Errors
/// If the program, the checkpoint or an update is refused; Ctrl-C ends with its own status after a checkpoint.
pub fn run(args: &Args) -> Result<(), Failure> {
    if args.seeds.is_some() || args.backend.len() > 1 {
        return several(args);
    }
    let begun = Instant::now();
    let folder = match args.resume.as_ref().or(args.out.as_ref()) {
        Some(folder) => folder.clone(),
        None => vacant(&args.file)?,
    };
    let mut checkpoint = args.resume.as_deref().map(Checkpoint::read).transpose()?;
    let mut again = if checkpoint.is_some() { Again::kept(&folder)? } else { Again::default() };
    loop {
        match once(args, &folder, checkpoint.take(), &again, begun)? {
            Ran::Done(report) => return output::say(&report),
            Ran::Left(left) => {
                for reach in &left {
                    let function = reach.name.split(' ').next().unwrap_or_default().to_owned();
                    let [low, high] = reach.wider();
                    output::complain(&format!("{}: compiled again for [{low:.3}, {high:.3}]", reach.name));
                    again.wider.push(Wider { function, span: reach.span, range: [low, high] });
                }
                keep(&folder, INTERVALS, &again.wider)?;
            }
            Ran::Outgrown(outgrown) => {
                if again.room + MORE_ROOM > MOST_ROOM {
                    return Err(EngineError::Range(outgrown).into());
                }
                again.room += MORE_ROOM;
                output::complain(&format!("{outgrown}: compiled again with {} more bits for everything that crosses", again.room));
                keep(&folder, ROOM, &again.room)?;
            }
        }
        checkpoint = Some(Checkpoint::read(&folder)?);
    }
}

/// Intervals that a run's plan was compiled again for, in its folder.
const INTERVALS: &str = "intervals.json";
/// Bits of room beyond what the compiler foresaw, in a run's folder.
const ROOM: &str = "room.json";
/// Bits of room more each time: what outgrew its ciphertext may have wrapped around, so that nobody knows how large it was.
const MORE_ROOM: u32 = 4;
/// Values that outgrow even this are of a training that diverges.
const MOST_ROOM: u32 = 24;

/// What a run's program is compiled again with.
#[derive(Default)]
struct Again {
    wider: Vec<Wider>,
    room: u32,
}

impl Again {
    fn kept(folder: &Path) -> Result<Self, Failure> {
        Ok(Self { wider: kept(folder, INTERVALS)?, room: kept(folder, ROOM)? })
    }

    fn is_needed(&self) -> bool {
        !self.wider.is_empty() || self.room > 0
    }
}

fn kept<T: serde::de::DeserializeOwned + Default>(folder: &Path, name: &str) -> Result<T, Failure> {
    let path = folder.join(name);
    if !path.exists() {
        return Ok(T::default());
    }
    serde_json::from_str(&files::source(&path)?).map_err(|error| Failure::file("read", &path, error))
}

fn keep<T: serde::Serialize>(folder: &Path, name: &str, what: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(what).map_err(|error| Failure::file("write", folder, error))?;
    files::write_text(&folder.join(name), &text)
}

/// How a plan's part of a run ended.
enum Ran {
    /// The report.
    Done(String),
    /// Activations that would leave their intervals; a checkpoint holds the run.
    Left(Vec<Reach>),
    /// A value that outgrew its ciphertext; a checkpoint holds the run.
    Outgrown(Outgrown),
}

/// A run, or the rest of one, by the plan for these intervals and this room.
fn once(args: &Args, folder: &Path, checkpoint: Option<Checkpoint>, again: &Again, begun: Instant) -> Result<Ran, Failure> {
    let (backend, noise) = match &checkpoint {
        Some(checkpoint) if args.backend.is_empty() => match Trainee::of_label(&checkpoint.notes.backend) {
            Some((backend, noise)) => (vec![backend], noise || args.noise),
            None => (Vec::new(), args.noise),
        },
        _ => (args.backend.clone(), args.noise),
    };
    let options = Options { wider: again.wider.clone(), room: again.room, ..Options::default() };
    let mut trainees = Trainee::load(&args.file, &backend, noise, again.is_needed().then_some(&options))?;
    let Some(mut trainee) = trainees.pop() else { return Ok(Ran::Done(String::new())) };
    set(&mut trainee, args, checkpoint.as_ref().map(|c| c.notes.seed).or(args.seed));
    let settings = Settings {
        folder: Some(folder.to_owned()),
        backend: trainee.label().to_owned(),
        episodes: args.episodes as usize,
        stop_out_of_range: args.stop_out_of_range,
    };
    // Before the keys, which take longer than any of its errors.
    let mut session = match checkpoint {
        Some(mut checkpoint) => {
            // What it was before it was compiled again had other polynomials and the same states.
            if again.is_needed() {
                checkpoint.notes.plan = trainee.interface().fingerprint;
            }
            Session::resume(trainee.interface(), settings, checkpoint)?
        }
        None => Session::start(trainee.interface(), settings)?,
    };
    let expected = trainee.expected(args.threads)?;
    let stop = listen()?;
    let table = costs::table(None)?;
    if let Some(text) = integers::acting::announcement(trainee.interface(), table.prices(), args.threads).filter(|_| trainee.encrypts()) {
        output::complain(&text);
    }
    let mut display = Display::start(session.updates()).names(files::program(&args.file).ok());
    let steps = step_size::tell(&args.file, &mut session, &mut display)?;
    let mut updater = trainee.updater(args.threads)?;
    let session = trainee.acting(session, args.threads)?;
    let outcome = session.run(&mut *updater, stop, &mut |event| display.show(&event));
    display.finish();
    let outcome = match outcome {
        Err(SessionError::Widen(left)) if files::program(&args.file).is_ok() => return Ok(Ran::Left(left)),
        Err(SessionError::Outgrown(outgrown)) if files::program(&args.file).is_ok() => return Ok(Ran::Outgrown(outgrown)),
        outcome => outcome?,
    };
    if outcome.interrupted {
        return Err(Failure::interrupted(format!(
            "interrupted after {}; `hecc train {} --resume {}` goes on from there",
            output::counted(outcome.updates, "update"),
            args.file.display(),
            folder.display()
        )));
    }
    let seed = trainee.training().map_or(0, |t| t.run.seed);
    let each = trainee.served().map(|served| integers::acting::predicted(served, table.prices(), args.threads).action.seconds);
    let report = Report { outcome, steps, trainee: &trainee, folder, seed, seconds: begun.elapsed().as_secs_f64(), expected, each };
    Ok(Ran::Done(if args.json { report.json() } else { report.table() }))
}

/// Several runs of one program, and how they compare.
fn several(args: &Args) -> Result<(), Failure> {
    let mut trainees = Trainee::load(&args.file, &args.backend, args.noise, None)?;
    trainees.iter_mut().for_each(|trainee| set(trainee, args, args.seed));
    for run in trainees.iter_mut().filter_map(Trainee::training_mut).map(|training| &mut training.run) {
        if run.out_of_range == Escape::Widen {
            output::complain("several runs keep the plan that they have: `out_of_range = widen` only warns in them");
            run.out_of_range = Escape::Warn;
        }
    }
    let first = trainees.first().and_then(Trainee::training).map_or(0, |t| t.run.seed);
    let folder = match &args.out {
        Some(folder) => folder.clone(),
        None => vacant(&args.file)?,
    };
    let study = Study {
        file: args.file.clone(),
        trainees,
        seeds: first..first.saturating_add(u64::from(args.seeds.unwrap_or(1))),
        folder,
        episodes: args.episodes as usize,
        stop_out_of_range: args.stop_out_of_range,
        threads: args.threads,
    };
    output::say(&study.run(listen()?, args.json)?)
}

/// What the command says of a run instead of the program.
fn set(trainee: &mut Trainee, args: &Args, seed: Option<u64>) {
    if let Some(training) = trainee.training_mut() {
        let run = &mut training.run;
        run.updates = args.updates.unwrap_or(run.updates);
        run.checkpoint = args.checkpoint.map_or(run.checkpoint, |n| n as usize);
        run.seed = seed.unwrap_or(run.seed);
        run.out_of_range = match (args.out_of_range, args.stop_out_of_range) {
            (Some(OutOfRange::Warn), _) => Escape::Warn,
            (Some(OutOfRange::Widen), _) => Escape::Widen,
            (Some(OutOfRange::Stop), _) | (None, true) => Escape::Stop,
            (None, false) => run.out_of_range,
        };
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

/// A flag that Ctrl-C sets, however often it is asked for. A second Ctrl-C ends the process at once.
fn listen() -> Result<&'static AtomicBool, Failure> {
    static STOP: AtomicBool = AtomicBool::new(false);
    static LISTENING: OnceLock<()> = OnceLock::new();
    if LISTENING.set(()).is_ok() {
        ctrlc::set_handler(|| {
            if STOP.swap(true, Ordering::Relaxed) {
                std::process::exit(130);
            }
            output::complain("\nstopping after this update; Ctrl-C again stops at once");
        })
        .map_err(|error| Failure::machine(format!("cannot listen to Ctrl-C: {error}")))?;
    }
    Ok(&STOP)
}

/// What a finished run prints.
struct Report<'a> {
    outcome: Outcome,
    steps: Vec<StepSize>,
    trainee: &'a Trainee,
    folder: &'a Path,
    seed: u64,
    seconds: f64,
    expected: Option<Expected>,
    /// Seconds that an action of the server is predicted to take, where it acts.
    each: Option<f64>,
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
            "step_sizes": step_size::json(&self.steps),
            "seconds_per_update": self.per_update(),
            "predicted_seconds_per_update": self.expected.as_ref().map(Expected::seconds),
            "peak_bytes": costs::peak_bytes(),
            "predicted_peak_bytes": self.expected.as_ref().map(Expected::peak_bytes),
            "bytes_to_server": totals.bytes_to_server,
            "bytes_to_client": totals.bytes_to_client,
            "backend": self.trainee.label(),
            "seconds": self.seconds,
            "seed": self.seed,
            "out": self.folder,
            "acting": self.each.map(|predicted| {
                let Acted { actions, boundaries, seconds, bytes_to_server, bytes_to_client } = totals.acting;
                json!({
                    "actions": actions,
                    "boundaries": boundaries,
                    "seconds": seconds,
                    "seconds_per_action": totals.acting.per_action(),
                    "predicted_seconds_per_action": predicted,
                    "bytes_to_server": bytes_to_server,
                    "bytes_to_client": bytes_to_client,
                })
            }),
        })
        .to_string()
    }

    /// What acting through the server took, where it did.
    fn acting(&self) -> Option<String> {
        let Acted { actions, boundaries, seconds: _, bytes_to_server, bytes_to_client } = self.outcome.totals.acting;
        let (each, predicted) = (self.outcome.totals.acting.per_action()?, self.each?);
        let beside = if !self.trainee.encrypts() { String::new() } else { format!(" ({} predicted)", seconds(predicted)) };
        Some(format!(
            "{} by the server, {} each{beside}; weights re-encrypted {}; {} to the server, {} to the client",
            output::counted(actions as usize, "action"),
            seconds(each),
            output::counted(boundaries as usize, "time"),
            bytes(bytes_to_server),
            bytes(bytes_to_client)
        ))
    }

    fn table(&self) -> String {
        let Outcome { updates, returns, results, totals, .. } = &self.outcome;
        let mut rows = vec![("updates", updates.to_string())];
        if let Some(mean) = self.outcome.mean_return() {
            rows.push(("return", format!("{mean:.1} over {} greedy episodes", returns.len())));
        }
        rows.extend(results.iter().map(|(name, value)| (name.as_str(), format!("{value:.6}"))));
        rows.extend([("per update", seconds(self.per_update()))]);
        if let Some(expected) = self.expected.as_ref().filter(|_| self.trainee.encrypts()) {
            rows.extend(expected.beside(self.per_update(), f64::NAN));
        }
        rows.extend(self.acting().map(|acting| ("acting", acting)));
        rows.extend([
            ("exchanged", format!("{} to the server, {} to the client", bytes(totals.bytes_to_server), bytes(totals.bytes_to_client))),
            ("backend", self.trainee.label().to_owned()),
            ("seed", self.seed.to_string()),
            ("total", seconds(self.seconds)),
            ("weights", self.folder.join(WEIGHTS).display().to_string()),
        ]);
        table(&rows)
    }
}
