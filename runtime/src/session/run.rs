//! The training loop around the updates.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use hecc_plan::{Collect, Escape, Interface, Tensor, Tensors, Training, UPDATE};
use rand_chacha::ChaCha20Rng;

use super::checkpoint::{self, Acted, Checkpoint, CheckpointError, Notes, Totals};
use super::collect::{Actor, Collector};
use super::curve::Point;
use super::policy::{Acting, InTheClear};
use super::random::{Purpose, normal, position, stream, stream_at};
use super::ranges::ArgumentWatch;
use super::replay::{Columns, Replay};
use super::report::{Evaluating, Event, Outcome, Progress};
use super::settings::{Settings, noises, trainable};
use super::store::{self, Access};
use super::{SessionError, Updater, policy};
use crate::engine::{EngineError, Update};
use crate::{arrays, env};

/// Name of the released weights in a run's folder.
pub const WEIGHTS: &str = "weights.safetensors";

/// A run, between updates.
pub struct Session<'a> {
    plan: Interface<'a>,
    training: &'a Training,
    settings: Settings,
    states: Tensors,
    replay: Replay,
    /// The environments, as long as transitions come from them.
    collector: Option<Collector<'a>>,
    batches: ChaCha20Rng,
    noise: ChaCha20Rng,
    /// Arrays of a batch that the client draws itself.
    noises: Vec<(String, usize)>,
    done: usize,
    totals: Totals,
    curve: Vec<Point>,
    results: BTreeMap<String, f64>,
    reported: usize,
    arguments: ArgumentWatch,
    acting: Box<dyn Acting + 'a>,
    /// Whether `acting` is who the plan says.
    agreed: bool,
    /// What acting took before the run was resumed.
    earlier: Acted,
    /// Arrays whose clipping has been told.
    told: BTreeSet<String>,
}

impl<'a> Session<'a> {
    /// Starts a run; its settings and seed are those of the plan.
    ///
    /// # Errors
    /// [`SessionError`] if the plan's run cannot be driven or its folder is taken.
    pub fn start(plan: impl Into<Interface<'a>>, settings: Settings) -> Result<Self, SessionError> {
        let plan = plan.into();
        let training = trainable(&plan)?;
        if let Some(folder) = &settings.folder {
            Checkpoint::vacant(folder)?;
        }
        let run = &training.run;
        let capacity = match run.collect {
            Collect::Online => run.capacity,
            Collect::Random(count) => count,
        };
        let columns = Columns::new(&training.env);
        let states = hecc_plan::init::initial_states(plan.states, run.seed);
        Ok(Self {
            noises: noises(plan.client, &columns),
            replay: Replay::new(columns, capacity),
            collector: Some(Collector::start(training, run.seed)?),
            batches: stream(run.seed, Purpose::Batches),
            noise: stream(run.seed, Purpose::Noise),
            done: 0,
            totals: Totals::default(),
            curve: Vec::new(),
            results: BTreeMap::new(),
            reported: 0,
            arguments: ArgumentWatch::default(),
            acting: Box::new(InTheClear(training)),
            agreed: training.served.is_none(),
            earlier: Acted::default(),
            told: BTreeSet::new(),
            plan,
            training,
            settings,
            states,
        })
    }

    /// Goes on from a checkpoint of a run of the same plan; the plan's seed must be the checkpoint's.
    ///
    /// # Errors
    /// [`SessionError::Checkpoint`] if the checkpoint is another plan's or inconsistent; otherwise as [`Self::start`].
    pub fn resume(plan: impl Into<Interface<'a>>, settings: Settings, checkpoint: Checkpoint) -> Result<Self, SessionError> {
        let plan = plan.into();
        let path = settings.folder.clone().unwrap_or_default().join(checkpoint::FILE);
        let mut session = Self::start(plan, Settings { folder: None, ..settings.clone() })?;
        let notes = &checkpoint.notes;
        let run = &session.training.run;
        if notes.plan != plan.fingerprint {
            return Err(CheckpointError::OtherPlan { path, other: notes.name.clone() }.into());
        }
        if notes.seed != run.seed {
            return Err(SessionError::Settings(format!("the run was started with seed {}, not {}", notes.seed, run.seed)));
        }
        let damaged = |reason: &str| CheckpointError::Damaged { path: path.clone(), reason: reason.to_owned() };
        let alike = |a: &Tensors, b: &Tensors| a.len() == b.len() && a.iter().all(|(k, t)| b.get(k).is_some_and(|u| u.shape == t.shape));
        if !alike(&checkpoint.states, &session.states) {
            return Err(damaged("its weights are not those of the plan").into());
        }
        let columns = session.replay.columns().clone();
        session.replay = Replay::restored(columns, session.replay.capacity(), checkpoint.replay, notes.next)
            .ok_or_else(|| damaged("its replay is not one of the plan"))?;
        session.collector = match (&notes.collector, run.collect) {
            (Some(state), _) => Some(Collector::resume(session.training, run.seed, state).map_err(|error| damaged(&error.to_string()))?),
            (None, Collect::Random(_)) if !session.replay.is_empty() => None,
            (None, _) => return Err(damaged("it lacks the environments").into()),
        };
        session.batches = stream_at(run.seed, Purpose::Batches, notes.batches);
        session.noise = stream_at(run.seed, Purpose::Noise, notes.noise);
        (session.states, session.done, session.totals) = (checkpoint.states, notes.updates, notes.totals);
        session.earlier = session.totals.acting;
        session.curve = checkpoint.notes.curve;
        session.settings = settings;
        Ok(session)
    }

    /// The run with somebody else than the client to act: the server, where the plan says so.
    #[must_use]
    pub fn acted_by(self, acting: impl Acting + 'a) -> Self {
        Self { acting: Box::new(acting), agreed: true, ..self }
    }

    /// Updates of the whole run.
    pub fn updates(&self) -> usize {
        self.training.run.updates
    }

    /// Runs to the last update, or until `stop` is set: the update in progress is finished and a checkpoint written.
    ///
    /// # Errors
    /// [`SessionError`]. If an update failed, a checkpoint holds the run as it was before.
    pub fn run(
        mut self,
        updater: &mut dyn Updater,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Outcome, SessionError> {
        if !self.agreed {
            return Err(SessionError::Settings("the plan has the server act, and there is none to".to_owned()));
        }
        self.gather(observe)?;
        let run = &self.training.run;
        let (begun, first) = (Instant::now(), self.done);
        updater.forget();
        while self.done < run.updates {
            if stop.load(Ordering::Relaxed) {
                updater.fetch(&mut self.states)?;
                self.save(observe)?;
                return Ok(self.outcome(true, Vec::new()));
            }
            let before = (self.batches.clone(), self.noise.clone());
            let batch = self.batch();
            if let Err(error) = self.watch(&batch, observe) {
                (self.batches, self.noise) = before;
                // Also before the first update: what goes on from here may be another plan.
                if self.done == first || updater.fetch(&mut self.states).is_ok() {
                    self.save(observe)?;
                }
                return Err(error);
            }
            let update = match updater.update(&batch, &mut self.states) {
                Ok(update) => update,
                Err(error) => {
                    (self.batches, self.noise) = before;
                    // Without the states of the last update there is nothing to keep. Where values outgrew their ciphertexts, what
                    // goes on may be another plan, also from before the first update.
                    let outgrown = matches!(error, EngineError::Range(_));
                    let saved = (self.done > first || outgrown) && updater.fetch(&mut self.states).is_ok();
                    if saved {
                        self.save(observe)?;
                    }
                    return Err(match error {
                        EngineError::Range(value) if saved && self.training.run.out_of_range == Escape::Widen => {
                            SessionError::Outgrown(value)
                        }
                        error => error.into(),
                    });
                }
            };
            self.done += 1;
            for outgrown in &update.outgrown {
                if self.told.insert(outgrown.name.clone()) {
                    observe(Event::Outgrown(outgrown));
                }
            }
            self.account(&update);
            self.act(updater, observe)?;
            let seconds_left = begun.elapsed().as_secs_f64() / (self.done - first) as f64 * (run.updates - self.done) as f64;
            let (totals, results) = (self.totals, &self.results);
            observe(Event::Updated(Progress {
                update: self.done,
                updates: run.updates,
                results,
                totals,
                seconds: update.seconds,
                seconds_left,
            }));
            if run.checkpoint > 0 && self.done.is_multiple_of(run.checkpoint) && self.done < run.updates {
                updater.fetch(&mut self.states)?;
                self.evaluate(stop, observe)?;
                self.save(observe)?;
            }
        }
        updater.fetch(&mut self.states)?;
        let weights = self.released();
        let view = self.weights(Some(&weights));
        let returns = self.returns(&view, self.settings.episodes, Purpose::Evaluation(None), stop, observe)?;
        self.save(observe)?;
        if let Some(folder) = &self.settings.folder {
            let path = folder.join(WEIGHTS);
            let failed = |error| CheckpointError::Io { action: "write", path: path.clone(), error };
            let bytes = arrays::write(&weights, None).map_err(|error| failed(std::io::Error::other(error)))?;
            store::write(&path, &bytes, Access::Owner).map_err(failed)?;
        }
        Ok(self.outcome(returns.is_none(), returns.unwrap_or_default()))
    }

    fn outcome(self, interrupted: bool, returns: Vec<f64>) -> Outcome {
        let weights = self.released();
        let out_of_range = self.collector.as_ref().map(Collector::out_of_range).unwrap_or_default();
        let Self { done: updates, results, totals, curve, states, .. } = self;
        Outcome { interrupted, updates, curve, returns, results, totals, out_of_range, states, weights }
    }

    /// Gathers the transitions that must be there before the first update, unless they are; a run begins with it.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn gather(&mut self, observe: &mut dyn FnMut(Event<'_>)) -> Result<(), SessionError> {
        if !self.replay.is_empty() {
            return Ok(());
        }
        if let Some(collector) = &mut self.collector {
            match self.training.run.collect {
                Collect::Online => collector.warm_up(self.training.run.warmup, &mut self.replay)?,
                Collect::Random(count) => collector.fill(count, &mut self.replay)?,
            }
        }
        self.report(observe)?;
        observe(Event::Collected(self.replay.len()));
        Ok(())
    }

    /// The environment steps that an online run takes after each update: `every`, carried over until each of the
    /// environments can take one.
    fn act(&mut self, updater: &mut dyn Updater, observe: &mut dyn FnMut(Event<'_>)) -> Result<(), SessionError> {
        let run = &self.training.run;
        if run.collect != Collect::Online {
            return Ok(());
        }
        let sweeps = |updates: usize| updates.saturating_mul(run.every) / run.envs;
        let steps = (sweeps(self.done) - sweeps(self.done - 1)) * run.envs;
        if steps > 0 {
            updater.fetch(&mut self.states)?;
        }
        let weights = self.weights(None);
        if let Some(collector) = &mut self.collector {
            collector.steps(steps, Actor::Policy(&mut *self.acting, &weights), &mut self.replay)?;
        }
        self.tally(observe)?;
        self.report(observe)
    }

    /// Takes up what acting took, and says which weights were clipped for it.
    fn tally(&mut self, observe: &mut dyn FnMut(Event<'_>)) -> Result<(), SessionError> {
        self.totals.acting = self.earlier.and(self.acting.acted());
        for clipped in self.acting.clipped() {
            if self.told.insert(clipped.name.clone()) {
                observe(Event::Clipped(&clipped));
            }
            if self.stops() {
                return Err(SessionError::Clipped(clipped));
            }
        }
        Ok(())
    }

    /// Says which arrays left their range since it was last asked.
    fn report(&mut self, observe: &mut dyn FnMut(Event<'_>)) -> Result<(), SessionError> {
        let seen = self.collector.as_ref().map(Collector::out_of_range).unwrap_or_default();
        if seen.len() > self.reported {
            self.reported = seen.len();
            seen.iter().for_each(|out| observe(Event::OutOfRange(out)));
        }
        match seen.into_iter().next() {
            Some(out) if self.stops() => Err(SessionError::OutOfRange(out)),
            _ => Ok(()),
        }
    }

    /// Says which activations the coming update brings to an end of their interval: in the clear, before anything is sent.
    fn watch(&mut self, batch: &Tensors, observe: &mut dyn FnMut(Event<'_>)) -> Result<(), SessionError> {
        let mut outside = Vec::new();
        for reach in self.arguments.look(&self.training.watch, batch, &self.states, self.done + 1)? {
            observe(Event::Reached(&reach));
            if reach.outside() && self.stops() {
                return Err(SessionError::Escaped(reach));
            }
            if reach.outside() && reach.widens && self.training.run.out_of_range == Escape::Widen {
                outside.push(reach);
            }
        }
        if outside.is_empty() { Ok(()) } else { Err(SessionError::Widen(outside)) }
    }

    /// Whether the run ends where a value leaves its range.
    fn stops(&self) -> bool {
        self.settings.stop_out_of_range || self.training.run.out_of_range == Escape::Stop
    }

    /// Batches as an update has them, to look at: drawn from a stream of their own, so that the run goes as if they were not.
    pub fn probe(&self, batches: usize) -> Vec<Tensors> {
        let mut rng = stream(self.training.run.seed, Purpose::Probe);
        (0..batches)
            .map(|_| {
                let batch = self.replay.sample(&mut rng, self.training.run.batch);
                self.completed(batch, &mut rng)
            })
            .collect()
    }

    /// The carried states.
    pub fn states(&self) -> &Tensors {
        &self.states
    }

    /// Updates done.
    pub fn done(&self) -> usize {
        self.done
    }

    fn batch(&mut self) -> Tensors {
        let batch = self.replay.sample(&mut self.batches, self.training.run.batch);
        let mut noise = self.noise.clone();
        let batch = self.completed(batch, &mut noise);
        self.noise = noise;
        batch
    }

    /// A batch with what no transition holds.
    fn completed(&self, mut batch: Tensors, noise: &mut ChaCha20Rng) -> Tensors {
        let count = self.training.run.batch;
        for (name, dim) in &self.noises {
            let data = (0..count * dim).map(|_| normal(noise)).collect();
            batch.insert(name.clone(), Tensor::new(vec![count, *dim], data));
        }
        batch.insert(UPDATE.to_owned(), Tensor::new(vec![count], vec![self.done as f64; count]));
        batch
    }

    fn account(&mut self, update: &Update) {
        self.totals.seconds += update.seconds;
        self.totals.bytes_to_server += update.bytes_to_server;
        self.totals.bytes_to_client += update.bytes_to_client;
        let numbers = update.results.iter().filter(|(_, t)| t.data.len() == 1);
        self.results = numbers.map(|(name, t)| (name.clone(), t.data[0])).collect();
    }

    /// The weights to act with, under the names of states and of averages: the averages, or what is `released`.
    fn weights(&self, released: Option<&Tensors>) -> Tensors {
        let mut view = self.states.clone();
        for (state, average) in &self.training.release {
            if let Some(weights) = released.map_or(self.states.get(average), |r| r.get(state)) {
                view.insert(state.clone(), weights.clone());
                view.insert(average.clone(), weights.clone());
            }
        }
        view
    }

    /// The weights to release, under the names of the states, rounded.
    fn released(&self) -> Tensors {
        let weights = self.training.release.iter().filter_map(|(state, average)| {
            let weights = self.states.get(average)?;
            Some((state.clone(), policy::rounded(weights)))
        });
        weights.collect()
    }

    fn evaluate(&mut self, stop: &AtomicBool, observe: &mut dyn FnMut(Event<'_>)) -> Result<(), SessionError> {
        let purpose = Purpose::Evaluation(Some(u32::try_from(self.done).unwrap_or(u32::MAX)));
        let Some(returns) = self.returns(&self.weights(None), self.training.run.evaluate, purpose, stop, observe)? else { return Ok(()) };
        if let Some(point) = Point::of(self.done, self.totals.seconds, &returns) {
            self.totals.last_return = Some(point.mean);
            self.totals.best_return = Some(self.totals.best_return.map_or(point.mean, |best| best.max(point.mean)));
            self.curve.push(point);
            observe(Event::Evaluated(&self.curve));
        }
        Ok(())
    }

    /// Returns of greedy episodes; `None` if they were stopped, which only those that take long can be.
    fn returns(
        &mut self,
        weights: &Tensors,
        episodes: usize,
        purpose: Purpose,
        stop: &AtomicBool,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Vec<f64>>, SessionError> {
        let (env, mut rng) = (&self.training.env, stream(self.training.run.seed, purpose));
        let long = self.acting.seconds_per_action().filter(|_| episodes > 0);
        if let Some(seconds_per_action) = long {
            let steps = env::make(&env.id)?.most_steps();
            observe(Event::Evaluating(Evaluating { episodes, steps, seconds_per_action }));
        }
        let earlier = self.earlier;
        let mut go_on = |acted: Acted| {
            if long.is_some() {
                observe(Event::Acted(earlier.and(acted)));
            }
            long.is_none() || !stop.load(Ordering::Relaxed)
        };
        let returns = policy::evaluate(env, &mut *self.acting, weights, episodes, &mut rng, &mut go_on)?;
        self.tally(observe)?;
        if returns.is_none() {
            observe(Event::Abandoned);
        }
        Ok(returns)
    }

    fn save(&self, observe: &mut dyn FnMut(Event<'_>)) -> Result<(), SessionError> {
        let Some(folder) = &self.settings.folder else { return Ok(()) };
        let (replay, next) = self.replay.contents();
        let online = self.training.run.collect == Collect::Online;
        let checkpoint = Checkpoint {
            notes: Notes {
                plan: self.plan.fingerprint,
                name: format!("{} on {}", self.plan.name, self.training.env.id),
                backend: self.settings.backend.clone(),
                seed: self.training.run.seed,
                updates: self.done,
                batches: position(&self.batches),
                noise: position(&self.noise),
                collector: self.collector.as_ref().filter(|_| online).map(Collector::state),
                next,
                totals: self.totals,
                curve: self.curve.clone(),
            },
            states: self.states.clone(),
            replay: replay.to_vec(),
        };
        observe(Event::Saved(&checkpoint.write(folder)?));
        Ok(())
    }
}
