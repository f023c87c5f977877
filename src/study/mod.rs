//! The same program trained from several seeds, by one or more backends: curves, and how far the backends are apart.

mod events;
mod gaps;
mod plot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Instant, SystemTime};

use hecc_plan::clear::ClearError;
use hecc_runtime::engine::EngineError;
use hecc_runtime::session::store::private_folder;
use hecc_runtime::session::{Checkpoint, Event, Outcome, Point, Session, SessionError, Settings, checkpoint, policy};
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::progress::Display;
use crate::trainee::Trainee;
use crate::{files, output, step_size};

/// Name of a finished run's result in its folder.
const RESULT: &str = "result.json";
/// Name of a run's events; TensorBoard looks for the part in the middle.
const EVENTS: &str = "events.out.tfevents.0.hecc";

/// What to run.
pub struct Study {
    /// The program or plan, as the user named it.
    pub file: PathBuf,
    /// One per backend.
    pub trainees: Vec<Trainee>,
    /// The seeds.
    pub seeds: std::ops::Range<u64>,
    /// Where everything goes.
    pub folder: PathBuf,
    /// Greedy episodes of each final evaluation, and of the random policy.
    pub episodes: usize,
    /// As in [`Settings`].
    pub stop_out_of_range: bool,
    /// Threads; 0 for all cores.
    pub threads: usize,
}

/// How one run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finished {
    /// A fingerprint of what ran, in hexadecimal digits.
    plan: String,
    /// [`Trainee::label`].
    backend: String,
    seed: u64,
    updates: usize,
    /// What evaluations on the way found.
    curve: Vec<Point>,
    /// The final evaluation; `None` if the run failed.
    last: Option<Point>,
    /// Returns of its episodes.
    returns: Vec<f64>,
    /// Why there are none: the run diverged.
    failure: Option<String>,
    /// Seconds of the run, since it was last resumed.
    seconds: f64,
}

impl Finished {
    /// All points of its curve, the final evaluation last.
    fn points(&self) -> impl Iterator<Item = &Point> {
        self.curve.iter().chain(&self.last)
    }
}

impl Study {
    /// Runs what is not finished yet, seed by seed, and writes curves, picture and gaps. Gives the result as a table, or as
    /// JSON.
    ///
    /// # Errors
    /// If a run is refused, its folder holds another one, or files cannot be written. Runs that diverge are results.
    pub fn run(mut self, stop: &AtomicBool, json: bool) -> Result<String, Failure> {
        let Some(training) = self.trainees.first().and_then(Trainee::training).cloned() else {
            return Err(Failure::wrong_use("this program serves a policy and does not train; `hecc run` executes it"));
        };
        let random = policy::random_returns(&training.env, self.episodes, self.seeds.start)?;
        let mut pace = Pace::default();
        let all: Vec<(u64, usize)> = self.seeds.clone().flat_map(|seed| (0..self.trainees.len()).map(move |i| (seed, i))).collect();
        let mut runs = Vec::with_capacity(all.len());
        for (done, &(seed, index)) in all.iter().enumerate() {
            let trainee = &mut self.trainees[index];
            if let Some(training) = trainee.training_mut() {
                training.run.seed = seed;
            }
            let run = self.one(index, seed, stop)?;
            pace.saw(index, &run);
            let left = match pace.left(all[done + 1..].iter().map(|&(_, index)| index)) {
                seconds if seconds > 0.0 => format!("; about {} left", output::seconds(seconds)),
                _ => String::new(),
            };
            let result = match (&run.last, &run.failure) {
                (Some(last), _) => format!("return {:.1}", last.mean),
                (None, failure) => failure.clone().unwrap_or_default(),
            };
            output::complain(&format!("{} of {} runs: {}, seed {seed}: {result}{left}", done + 1, all.len(), run.backend));
            runs.push(run);
        }
        let summary = gaps::summary(&self.file, &training, &runs, &random);
        let title = format!("{} on {}", self.file.display(), training.env.id);
        files::write_text(&self.folder.join("curves.csv"), &csv(&runs))?;
        files::write_text(&self.folder.join("curves.svg"), &plot::svg(&title, &runs, summary.random.mean)?)?;
        let text = summary.json();
        files::write_text(&self.folder.join("gaps.json"), &text)?;
        Ok(if json { text } else { summary.table(&self.folder) })
    }

    /// One run: what its folder holds already, or the rest of it.
    fn one(&self, index: usize, seed: u64, stop: &AtomicBool) -> Result<Finished, Failure> {
        let trainee = &self.trainees[index];
        let folder = self.folder.join(trainee.label()).join(format!("seed-{seed}"));
        let path = folder.join(RESULT);
        let interface = trainee.interface();
        let (plan, updates) = (format!("{:016x}", interface.fingerprint), interface.training.map_or(0, |t| t.run.updates));
        if path.exists() {
            let known: Finished = serde_json::from_slice(&std::fs::read(&path).map_err(|e| Failure::file("read", &path, e))?)
                .map_err(|error| Failure::file("read", &path, error))?;
            let episodes = known.last.map_or(self.episodes, |last| last.episodes);
            if (known.plan.as_str(), known.updates, episodes) != (plan.as_str(), updates, self.episodes) {
                return Err(Failure::wrong_use(format!(
                    "{} is the result of another program, or of other settings; name another folder with `--out`",
                    path.display()
                )));
            }
            return Ok(known);
        }
        private_folder(&folder).map_err(|error| Failure::file("write", &folder, error))?;
        let begun = Instant::now();
        let settings = Settings {
            folder: Some(folder.clone()),
            backend: trainee.label().to_owned(),
            episodes: self.episodes,
            stop_out_of_range: self.stop_out_of_range,
        };
        let session = match folder.join(checkpoint::FILE).exists() {
            true => Session::resume(interface, settings, Checkpoint::read(&folder)?)?,
            false => Session::start(interface, settings)?,
        };
        let mut updater = trainee.updater(self.threads)?;
        let mut session = trainee.acting(session, self.threads)?;
        let mut display = Display::start(session.updates()).of(format!("{}, seed {seed}", trainee.label()));
        // The seeds differ little in this, and the backends not at all.
        if (seed, index) == (self.seeds.start, 0) {
            step_size::tell(&self.file, &mut session, &mut display)?;
        }
        let mut curve = Vec::new();
        let mut unwritten = Ok(());
        let outcome = session.run(&mut *updater, stop, &mut |event| {
            if let Event::Evaluated(points) = &event {
                curve = points.to_vec();
                unwritten = events_of(&folder, &curve);
            }
            display.show(&event);
        });
        display.finish();
        unwritten?;
        let mut run = Finished {
            plan,
            backend: trainee.label().to_owned(),
            seed,
            updates,
            curve,
            last: None,
            returns: Vec::new(),
            failure: None,
            seconds: 0.0,
        };
        match outcome {
            Ok(Outcome { interrupted: true, updates, .. }) => {
                return Err(Failure::interrupted(format!(
                    "interrupted in {}, seed {seed}, after {}; the same command with `--out {}` goes on from there",
                    trainee.label(),
                    output::counted(updates, "update"),
                    self.folder.display()
                )));
            }
            Ok(outcome) => {
                run.last = Point::of(outcome.updates, outcome.totals.seconds, &outcome.returns);
                (run.curve, run.returns) = (outcome.curve, outcome.returns);
            }
            // That a run diverges is what some seeds do, and a result.
            Err(error) if diverged(&error) => run.failure = Some(error.to_string()),
            Err(error) => return Err(error.into()),
        }
        events_of(&folder, &run.points().copied().collect::<Vec<_>>())?;
        run.seconds = begun.elapsed().as_secs_f64();
        files::write_text(&path, &format!("{}\n", serde_json::json!(run)))?;
        Ok(run)
    }
}

/// Whether a run ended since its values grew without end, as opposed to one that was refused.
fn diverged(error: &SessionError) -> bool {
    match error {
        SessionError::Engine(error) => {
            matches!(error, EngineError::Diverged { .. } | EngineError::Range(_) | EngineError::NotFinite { .. })
        }
        SessionError::Clear(error) => matches!(error, ClearError::NotFinite { .. }),
        _ => false,
    }
}

/// Writes a curve's event file.
fn events_of(folder: &Path, curve: &[Point]) -> Result<(), Failure> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64());
    files::write_bytes(&folder.join(EVENTS), &events::file(curve, now))
}

/// The curves, one row for each evaluation.
fn csv(runs: &[Finished]) -> String {
    let mut text = "backend,seed,update,evaluation,episodes,mean,min,max\n".to_owned();
    for run in runs {
        let rows = run.curve.iter().map(|point| (point, "checkpoint")).chain(run.last.iter().map(|point| (point, "final")));
        for (Point { update, episodes, mean, min, max, .. }, kind) in rows {
            text += &format!("{},{},{update},{kind},{episodes},{mean},{min},{max}\n", run.backend, run.seed);
        }
    }
    text
}

/// How long runs take, by backend.
#[derive(Default)]
struct Pace {
    seen: BTreeMap<usize, (f64, f64)>,
}

impl Pace {
    fn saw(&mut self, index: usize, run: &Finished) {
        let (runs, seconds) = self.seen.entry(index).or_default();
        (*runs, *seconds) = (*runs + 1.0, *seconds + run.seconds);
    }

    /// Seconds for the runs left; those of a backend that had none yet count as the mean of the others.
    fn left(&self, runs: impl Iterator<Item = usize>) -> f64 {
        let known = self.seen.values().map(|(runs, seconds)| seconds / runs);
        let mean = known.clone().sum::<f64>() / known.count().max(1) as f64;
        runs.map(|index| self.seen.get(&index).map_or(mean, |(runs, seconds)| seconds / runs)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn run(backend: &str, seed: u64, last: Option<f64>) -> Finished {
        let point = |update, mean: f64| Point { update, seconds: 1.0, episodes: 2, mean, min: mean - 1.0, max: mean + 1.0 };
        Finished {
            plan: "0".to_owned(),
            backend: backend.to_owned(),
            seed,
            updates: 100,
            curve: vec![point(50, 10.0)],
            last: last.map(|mean| point(100, mean)),
            returns: Vec::new(),
            failure: last.is_none().then(|| "it diverged".to_owned()),
            seconds: 4.0,
        }
    }

    #[test]
    fn rows_are_points() {
        let text = csv(&[run("exact", 0, Some(20.0)), run("clear", 3, None)]);
        assert_eq!(
            text,
            "backend,seed,update,evaluation,episodes,mean,min,max\nexact,0,50,checkpoint,2,10,9,11\nexact,0,100,final,2,20,19,21\n\
             clear,3,50,checkpoint,2,10,9,11\n"
        );
    }

    #[test]
    fn what_is_left_is_estimated_by_backend() {
        let mut pace = Pace::default();
        pace.saw(0, &run("exact", 0, Some(1.0)));
        assert_eq!(pace.left([1, 0, 1].into_iter()), 12.0, "an unknown backend takes as long as the known ones");
        pace.saw(1, &Finished { seconds: 10.0, ..run("clear", 0, None) });
        assert_eq!(pace.left([0, 1].into_iter()), 14.0);
    }

    #[test]
    fn a_picture_is_drawn_even_of_little() {
        let svg =
            plot::svg("a & b", &[run("exact", 0, Some(20.0)), run("exact", 1, Some(12.0)), run("clear", 0, None)], 5.0).expect("draws");
        assert!(svg.starts_with("<svg") && svg.contains("a &amp; b") && svg.contains("exact: mean and spread of 2 seeds"), "{svg}");
        plot::svg("nothing", &[], 5.0).expect("draws");
    }
}
