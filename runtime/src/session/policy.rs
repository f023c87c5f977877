//! The policy: what acts in the client's environments, the client in the clear or the server on integers, and its evaluation.

use std::collections::BTreeMap;

use hecc_plan::clear::Sources;
use hecc_plan::{ActionSpec, EnvSpec, Explore, Tensor, Tensors, Training};
use rand_chacha::ChaCha20Rng;

use super::SessionError;
use super::checkpoint::Acted;
use super::random::{Purpose, normal, stream, uniform};
use super::replay::Columns;
use super::settings::noises;
use crate::env::{self, Action, EnvError, Environment};
use crate::integers::{Clipped, Engine};

/// Observations of several environments as the arrays of a batch.
fn batch(spec: &EnvSpec, observations: &[&[f64]]) -> Tensors {
    let mut start = 0;
    let mut tensors = Tensors::new();
    for o in &spec.observations {
        let width: usize = o.shape.iter().product();
        let data = observations.iter().flat_map(|row| &row[start..start + width]).copied().collect();
        tensors.insert(o.name.clone(), Tensor::new([&[observations.len()], o.shape.as_slice()].concat(), data));
        start += width;
    }
    tensors
}

/// Who computes the actions of a run.
pub trait Acting {
    /// The actions with these `weights`, one per observation. A policy that draws its actions does so by noise: from `rng` where
    /// it explores, and none, which gives the action in the middle or the largest choice, where it is greedy.
    ///
    /// # Errors
    /// [`SessionError`] if the weights or the observations do not fit, or the server fails.
    fn act(&mut self, weights: &Tensors, observations: &[&[f64]], rng: Option<&mut ChaCha20Rng>) -> Result<Vec<Action>, SessionError>;

    /// How many observations are worth taking at once: between them a run can be stopped.
    fn at_once(&self) -> usize {
        usize::MAX
    }

    /// What it has taken so far.
    fn acted(&self) -> Acted {
        Acted::default()
    }

    /// Seconds of one action, where that is long enough to be told.
    fn seconds_per_action(&self) -> Option<f64> {
        None
    }

    /// Weights that were clipped since it was last asked.
    fn clipped(&mut self) -> Vec<Clipped> {
        Vec::new()
    }
}

/// The client itself, in the clear.
pub struct InTheClear<'a>(pub &'a Training);

impl Acting for InTheClear<'_> {
    fn act(&mut self, weights: &Tensors, observations: &[&[f64]], mut rng: Option<&mut ChaCha20Rng>) -> Result<Vec<Action>, SessionError> {
        let training = self.0;
        if observations.is_empty() {
            return Ok(Vec::new());
        }
        let mut batch = batch(&training.env, observations);
        for (name, dim) in noises(&training.policy, &Columns::new(&training.env)) {
            let data = (0..observations.len() * dim).map(|_| rng.as_mut().map_or(0.0, |rng| normal(rng))).collect();
            batch.insert(name, Tensor::new(vec![observations.len(), dim], data));
        }
        let decrypted = BTreeMap::new();
        let mut known = BTreeMap::new();
        training.policy.eval(&[training.act], Sources { batch: &batch, states: weights, decrypted: &decrypted }, &mut known)?;
        let mut output = known.remove(&training.act).unwrap_or_default();
        if let (Some(rng), Explore::Policy, ActionSpec::Discrete(_) | ActionSpec::MultiDiscrete(..)) =
            (rng, training.run.explore, &training.env.action.1)
        {
            output.data.iter_mut().for_each(|v| *v += gumbel(rng));
        }
        actions(&training.env, &output, observations.len())
    }
}

/// The largest of numbers with such noise added is each of them with the probability of their softmax.
fn gumbel(rng: &mut ChaCha20Rng) -> f64 {
    // Never 0, of which there is no logarithm.
    let u = 1.0 - uniform(rng);
    -libm::log(-libm::log(u).min(-f64::MIN_POSITIVE))
}

/// The actions of as many observations, from what a policy gives for them.
fn actions(spec: &EnvSpec, output: &Tensor, count: usize) -> Result<Vec<Action>, SessionError> {
    let kind = &spec.action.1;
    let width = env::width(kind);
    if output.data.len() != count * width {
        return Err(SessionError::Settings(format!(
            "what acts gives {} numbers for each observation, where an action takes {width}: acts what the algorithm samples, else the \
             network that gives an action, else its first trained network, on what it observes; give that as many outputs",
            output.data.len() / count.max(1)
        )));
    }
    Ok(output.data.chunks(width).map(|row| Action::greedy(kind, row)).collect())
}

/// The server, on integers: the client encrypts weights whenever they are new, and one observation after another.
pub struct Served<'a> {
    spec: &'a EnvSpec,
    engine: Engine,
    /// Those that the server has.
    weights: Option<Tensors>,
    /// What one action is predicted to take, until one is measured; none where it takes no time worth telling.
    predicted: Option<f64>,
    acted: Acted,
    clipped: Vec<Clipped>,
}

impl<'a> Served<'a> {
    /// Acts by the two parties of the training's plan for that; `predicted` is what one action takes, in seconds, if that is long
    /// enough to be told and stopped.
    pub fn new(training: &'a Training, engine: Engine, predicted: Option<f64>) -> Self {
        Self { spec: &training.env, engine, weights: None, predicted, acted: Acted::default(), clipped: Vec::new() }
    }
}

impl Acting for Served<'_> {
    fn act(&mut self, weights: &Tensors, observations: &[&[f64]], _rng: Option<&mut ChaCha20Rng>) -> Result<Vec<Action>, SessionError> {
        if !observations.is_empty() && self.weights.as_ref() != Some(weights) {
            let kept = self.engine.keep(weights)?;
            self.weights = Some(weights.clone());
            self.acted.boundaries += 1;
            self.acted.seconds += kept.seconds;
            self.acted.bytes_to_server += kept.bytes;
            self.clipped.extend(kept.clipped);
        }
        let mut chosen = Vec::with_capacity(observations.len());
        for observation in observations {
            let mut update = self.engine.ask(&batch(self.spec, &[observation]), weights)?;
            self.acted.actions += 1;
            self.acted.seconds += update.seconds;
            self.acted.bytes_to_server += update.bytes_to_server;
            self.acted.bytes_to_client += update.bytes_to_client;
            // A checked plan has one output.
            let output = update.results.pop_first().map(|(_, output)| output).unwrap_or_default();
            chosen.extend(actions(self.spec, &output, 1)?);
        }
        Ok(chosen)
    }

    fn at_once(&self) -> usize {
        1
    }

    fn acted(&self) -> Acted {
        self.acted
    }

    fn seconds_per_action(&self) -> Option<f64> {
        self.predicted.map(|predicted| self.acted.per_action().unwrap_or(predicted))
    }

    fn clipped(&mut self) -> Vec<Clipped> {
        std::mem::take(&mut self.clipped)
    }
}

/// An environment that observes what the program declares, at the start of an episode.
///
/// # Errors
/// [`EnvError`].
pub fn open(spec: &EnvSpec, rng: &mut ChaCha20Rng) -> Result<(Box<dyn Environment>, Vec<f64>), EnvError> {
    let mut env = env::make(&spec.id)?;
    let observation = env.reset(rng);
    let got = spec.observations.iter().map(|o| o.shape.iter().product::<usize>()).sum();
    if observation.len() != got {
        return Err(EnvError::Observation { id: spec.id.clone(), want: observation.len(), got });
    }
    Ok((env, observation))
}

/// Returns of greedy episodes, run side by side, in the environment's own rewards; `None` if `go_on` says so before they are
/// over. It is asked before each step of as many environments as the policy takes at once.
///
/// # Errors
/// As [`Acting::act`] and [`open`].
pub fn evaluate(
    spec: &EnvSpec,
    acting: &mut dyn Acting,
    weights: &Tensors,
    episodes: usize,
    rng: &mut ChaCha20Rng,
    go_on: &mut dyn FnMut(Acted) -> bool,
) -> Result<Option<Vec<f64>>, SessionError> {
    let at_once = acting.at_once().clamp(1, episodes.max(1));
    play(spec, episodes, rng, &mut |_, observations| {
        let mut actions = Vec::with_capacity(observations.len());
        for some in observations.chunks(at_once) {
            if !go_on(acting.acted()) {
                return Ok(None);
            }
            actions.extend(acting.act(weights, some, None)?);
        }
        Ok(Some(actions))
    })
}

/// Returns of episodes of the random policy, by the same `seed` the same, in the environment's own rewards.
///
/// # Errors
/// As [`open`].
pub fn random_returns(spec: &EnvSpec, episodes: usize, seed: u64) -> Result<Vec<f64>, SessionError> {
    let kind = &spec.action.1;
    let returns = play(spec, episodes, &mut stream(seed, Purpose::Baseline), &mut |rng, observations| {
        Ok(Some(observations.iter().map(|_| Action::random(kind, rng)).collect()))
    })?;
    Ok(returns.unwrap_or_default())
}

/// What chooses the actions of all running episodes, by the stream of their first states and what each observes; `None` ends
/// them all.
type Choose<'a> = &'a mut dyn FnMut(&mut ChaCha20Rng, &[&[f64]]) -> Result<Option<Vec<Action>>, SessionError>;

/// The returns of episodes that are run side by side; `None` if they were ended before they were over.
fn play(spec: &EnvSpec, episodes: usize, rng: &mut ChaCha20Rng, choose: Choose<'_>) -> Result<Option<Vec<f64>>, SessionError> {
    let mut returns = vec![0.0; episodes];
    let mut running = (0..episodes)
        .map(|episode| open(spec, rng).map(|(env, observation)| (episode, env, observation)))
        .collect::<Result<Vec<_>, _>>()?;
    while !running.is_empty() {
        let observations: Vec<&[f64]> = running.iter().map(|(_, _, observation)| observation.as_slice()).collect();
        let Some(actions) = choose(rng, &observations)? else { return Ok(None) };
        let mut going = Vec::with_capacity(running.len());
        for ((episode, mut env, _), action) in running.into_iter().zip(actions) {
            let step = env.step(&action)?;
            returns[episode] += step.reward;
            if !(step.terminated || step.truncated) {
                going.push((episode, env, step.observation));
            }
        }
        running = going;
    }
    Ok(Some(returns))
}

/// Rounds released weights to a grid of 2^-16 of the power of two above each tensor's largest magnitude.
///
/// Decrypted weights carry the noise of their ciphertexts, which depends on the secret key; who sees both can attack it
/// (Li and Micciancio 2021, eprint 2020/1533). Rounding hides noise that is well below the grid, but for the rare value
/// beside a rounding boundary; it is no proof against an adversary who collects many releases of one key. The error it
/// adds is at most 2^-17 of that power of two, which a policy does not notice.
pub fn rounded(tensor: &Tensor) -> Tensor {
    let largest = tensor.data.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if largest == 0.0 {
        return tensor.clone();
    }
    let grid = libm::exp2(libm::ceil(libm::log2(largest)) - 16.0);
    Tensor::new(tensor.shape.clone(), tensor.data.iter().map(|v| libm::round(v / grid) * grid).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_stays_within_half_a_grid() {
        let weights = Tensor::new(vec![4], vec![1.5, -0.000_061, 0.333_333, 0.0]);
        let grid = 2.0f64.powi(1 - 16);
        let out = rounded(&weights);
        assert!(out.data.iter().all(|v| (v / grid).fract() == 0.0));
        assert!(out.data.iter().zip(&weights.data).all(|(a, b)| (a - b).abs() <= grid / 2.0));
        assert_eq!(rounded(&Tensor::zeros(&[3])), Tensor::zeros(&[3]));
        assert_eq!(rounded(&out), out, "rounding twice changes nothing");
    }
}
