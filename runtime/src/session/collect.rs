//! Gathering transitions: environments side by side, acted in at random or by the policy.

use std::collections::BTreeMap;

use hecc_plan::clear::Sources;
use hecc_plan::{ClearId, ClearProgram, EnvSpec, Explore, Run, Tensors, Training};
use rand_chacha::ChaCha20Rng;
use serde::{Deserialize, Serialize};

use super::SessionError;
use super::policy::{self, Acting};
use super::random::{Purpose, position, stream, stream_at, uniform};
use super::ranges::{OutOfRange, RangeWatch};
use super::replay::Replay;
use super::returns::{Transition, Window};
use crate::env::{self, Action, EnvError, Environment};

/// Steps gathered before their rewards are recoded together.
const CHUNK: usize = 1024;
/// Steps of the random policy after which a replay that is still empty will stay so.
const FRUITLESS: usize = 1 << 20;

/// Who chooses the actions.
pub enum Actor<'a> {
    /// Chance.
    Random,
    /// The policy with these weights, the noise that it draws actions with, and what exploration the run asks for.
    Policy(&'a mut dyn Acting, &'a Tensors),
}

/// The environments of a run.
pub struct Collector<'a> {
    training: &'a Training,
    lanes: Vec<Lane>,
    starts: ChaCha20Rng,
    actions: ChaCha20Rng,
    /// Steps that the policy chose, over all environments.
    acted: u64,
    watch: RangeWatch,
}

/// One environment.
struct Lane {
    env: Box<dyn Environment>,
    observation: Vec<f64>,
    window: Window,
}

/// What a checkpoint keeps of a [`Collector`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CollectorState {
    lanes: Vec<LaneState>,
    starts: u64,
    actions: u64,
    acted: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct LaneState {
    env: Vec<f64>,
    /// The steps that wait for their n-th successor.
    waiting: Vec<Transition>,
}

impl<'a> Collector<'a> {
    /// Starts `envs` environments.
    ///
    /// # Errors
    /// [`EnvError`] if the environment is unknown or is not what the program declares.
    pub fn start(training: &'a Training, seed: u64) -> Result<Self, EnvError> {
        let mut starts = stream(seed, Purpose::Environments);
        let Run { envs, n_step, discount, .. } = training.run;
        let lanes = (0..envs.max(1)).map(|_| {
            let (env, observation) = policy::open(&training.env, &mut starts)?;
            Ok(Lane { env, observation, window: Window::new(n_step, discount) })
        });
        let lanes = lanes.collect::<Result<_, EnvError>>()?;
        Ok(Self { training, lanes, starts, actions: stream(seed, Purpose::Actions), acted: 0, watch: RangeWatch::default() })
    }

    /// What a checkpoint keeps.
    pub fn state(&self) -> CollectorState {
        let lanes = self.lanes.iter().map(|l| LaneState { env: l.env.snapshot(), waiting: l.window.waiting().cloned().collect() });
        CollectorState { lanes: lanes.collect(), starts: position(&self.starts), actions: position(&self.actions), acted: self.acted }
    }

    /// Takes up a [`Self::state`] of a run of the same plan and seed.
    ///
    /// # Errors
    /// [`EnvError`] if the state is not one of these environments.
    pub fn resume(training: &'a Training, seed: u64, state: &CollectorState) -> Result<Self, EnvError> {
        let mut collector = Self::start(training, seed)?;
        let foreign = || EnvError::Snapshot { id: training.env.id.clone() };
        if state.lanes.len() != collector.lanes.len() {
            return Err(foreign());
        }
        for (lane, stored) in collector.lanes.iter_mut().zip(&state.lanes) {
            lane.observation = lane.env.restore(&stored.env)?;
            let (observed, acted) = (lane.observation.len(), env::width(&training.env.action.1));
            for step in &stored.waiting {
                if step.observation.len() != observed || step.next.len() != observed || step.action.len() != acted {
                    return Err(foreign());
                }
                lane.window.push(step.clone(), |_| ());
            }
        }
        collector.starts = stream_at(seed, Purpose::Environments, state.starts);
        collector.actions = stream_at(seed, Purpose::Actions, state.actions);
        collector.acted = state.acted;
        Ok(collector)
    }

    /// Acts at random until the replay holds `count` transitions.
    ///
    /// # Errors
    /// As [`Self::steps`]; [`SessionError::Settings`] if no window of n steps ever completes.
    pub fn fill(&mut self, count: usize, replay: &mut Replay) -> Result<(), SessionError> {
        let mut tried = 0;
        while replay.len() < count {
            let steps = CHUNK.min(count - replay.len());
            self.steps(steps, Actor::Random, replay)?;
            tried += steps;
            if replay.is_empty() && tried > FRUITLESS {
                return Err(SessionError::Settings(format!("no episode is long enough for n_step = {}", self.training.run.n_step)));
            }
        }
        Ok(())
    }

    /// Acts at random for `count` steps and on until the replay holds something.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn warm_up(&mut self, count: usize, replay: &mut Replay) -> Result<(), SessionError> {
        for start in (0..count).step_by(CHUNK) {
            self.steps(CHUNK.min(count - start), Actor::Random, replay)?;
        }
        self.fill(1, replay)
    }

    /// Takes at least `count` steps over all environments, the same number in each, and stores what they complete.
    ///
    /// # Errors
    /// [`SessionError`] if the environment or the policy refuses.
    pub fn steps(&mut self, count: usize, mut actor: Actor<'_>, replay: &mut Replay) -> Result<(), SessionError> {
        let mut gathered: Vec<(usize, Transition)> = Vec::with_capacity(count.min(2 * CHUNK));
        while gathered.len() < count {
            let actions = self.choose(&mut actor)?;
            for (index, (lane, action)) in self.lanes.iter_mut().zip(actions).enumerate() {
                let step = lane.env.step(&action)?;
                let over = step.terminated || step.truncated;
                let next = if over { lane.env.reset(&mut self.starts) } else { step.observation.clone() };
                let observation = std::mem::replace(&mut lane.observation, next);
                let action = action.encode(&self.training.env.action.1);
                let (terminated, truncated) = (step.terminated, step.truncated);
                gathered
                    .push((index, Transition { observation, next: step.observation, action, reward: step.reward, terminated, truncated }));
            }
        }
        self.report(&gathered);
        recode(&self.training.env, &mut gathered, replay)?;
        for (index, step) in gathered {
            self.lanes[index].window.push(step, |t| replay.push(&t.row()));
        }
        Ok(())
    }

    /// Arrays that left their declared range so far.
    pub fn out_of_range(&self) -> Vec<OutOfRange> {
        self.watch.report()
    }

    fn choose(&mut self, actor: &mut Actor<'_>) -> Result<Vec<Action>, SessionError> {
        let kind = &self.training.env.action.1;
        let (acting, weights) = match actor {
            Actor::Random => return Ok(self.lanes.iter().map(|_| Action::random(kind, &mut self.actions)).collect()),
            Actor::Policy(acting, weights) => (acting, weights),
        };
        let mut chosen: Vec<Option<Action>> = vec![None; self.lanes.len()];
        if let Explore::Epsilon(from, to, over) = self.training.run.explore {
            let part = (self.acted as f64 / over.max(1) as f64).min(1.0);
            let epsilon = from + (to - from) * part;
            for action in &mut chosen {
                if uniform(&mut self.actions) < epsilon {
                    *action = Some(Action::random(kind, &mut self.actions));
                }
            }
        }
        self.acted += chosen.len() as u64;
        // What chance has decided the policy need not be asked: where the server acts, that takes seconds.
        let asked = self.lanes.iter().zip(&chosen).filter(|(_, action)| action.is_none());
        let observations: Vec<&[f64]> = asked.map(|(lane, _)| lane.observation.as_slice()).collect();
        let mut greedy = acting.act(weights, &observations, Some(&mut self.actions))?.into_iter();
        let wrong = || SessionError::Settings("the policy gives too few actions".to_owned());
        chosen.into_iter().map(|action| action.or_else(|| greedy.next()).ok_or_else(wrong)).collect()
    }

    fn report(&mut self, gathered: &[(usize, Transition)]) {
        let spec = &self.training.env;
        for (_, step) in gathered {
            let mut start = 0;
            for o in &spec.observations {
                let width: usize = o.shape.iter().product();
                self.watch.look(&o.name, &o.ranges, &step.observation[start..start + width]);
                // The last observation of an episode is nobody's first.
                if step.terminated || step.truncated {
                    self.watch.look(&o.name, &o.ranges, &step.next[start..start + width]);
                }
                start += width;
            }
            self.watch.look(&spec.reward.0, &[spec.reward.1], &[step.reward]);
        }
    }
}

/// Clips each step's reward to its declared range and recodes it as the program asks, all steps at once.
fn recode(spec: &EnvSpec, gathered: &mut [(usize, Transition)], replay: &Replay) -> Result<(), SessionError> {
    let [low, high] = spec.reward.1;
    for (_, step) in gathered.iter_mut() {
        step.reward = step.reward.max(low).min(high);
    }
    let Some((program, output)) = &spec.recode else { return Ok(()) };
    let rows: Vec<Vec<f64>> = gathered.iter().map(|(_, step)| step.row()).collect();
    let batch = replay.columns().gather(rows.iter().map(Vec::as_slice));
    let rewards = run(program, *output, &batch)?;
    for (i, (_, step)) in gathered.iter_mut().enumerate() {
        // One number for all: a recoding that does not look at the transition.
        step.reward = rewards[if rewards.len() == 1 { 0 } else { i }];
    }
    Ok(())
}

fn run(program: &ClearProgram, output: ClearId, batch: &Tensors) -> Result<Vec<f64>, SessionError> {
    let (states, decrypted) = (Tensors::new(), BTreeMap::new());
    let mut known = BTreeMap::new();
    program.eval(&[output], Sources { batch, states: &states, decrypted: &decrypted }, &mut known)?;
    let rewards = known.remove(&output).unwrap_or_default().data;
    let count = batch.values().next().map_or(0, |t| t.shape[0]);
    if rewards.len() == 1 || rewards.len() == count {
        Ok(rewards)
    } else {
        Err(SessionError::Settings(format!("the recoded reward has {} values for {count} steps", rewards.len())))
    }
}
