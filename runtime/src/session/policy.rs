//! The policy in the clear: what acts in the client's environments, and its evaluation.

use std::collections::BTreeMap;

use hecc_plan::clear::Sources;
use hecc_plan::{EnvSpec, Tensor, Tensors, Training};
use rand_chacha::ChaCha20Rng;

use super::SessionError;
use crate::env::{self, Action, EnvError, Environment};

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

/// The greedy actions of the policy with these `weights`, one per observation.
///
/// # Errors
/// [`SessionError::Clear`] if the policy's program does not fit the observations or the weights.
pub fn act(training: &Training, weights: &Tensors, observations: &[&[f64]]) -> Result<Vec<Action>, SessionError> {
    let batch = batch(&training.env, observations);
    let decrypted = BTreeMap::new();
    let mut known = BTreeMap::new();
    training.policy.eval(&[training.act], Sources { batch: &batch, states: weights, decrypted: &decrypted }, &mut known)?;
    let kind = &training.env.action.1;
    let output = known.remove(&training.act).unwrap_or_default();
    let width = env::width(kind);
    if output.data.len() != observations.len() * width {
        return Err(SessionError::Settings(format!(
            "the policy gives {:?} values for {} observations, where an action takes {width}",
            output.shape,
            observations.len()
        )));
    }
    Ok(output.data.chunks(width).map(|row| Action::greedy(kind, row)).collect())
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

/// Returns of greedy episodes, run side by side, in the environment's own rewards.
///
/// # Errors
/// As [`act`] and [`open`].
pub fn evaluate(training: &Training, weights: &Tensors, episodes: usize, rng: &mut ChaCha20Rng) -> Result<Vec<f64>, SessionError> {
    let mut returns = vec![0.0; episodes];
    let mut running = (0..episodes)
        .map(|episode| open(&training.env, rng).map(|(env, observation)| (episode, env, observation)))
        .collect::<Result<Vec<_>, _>>()?;
    while !running.is_empty() {
        let observations: Vec<&[f64]> = running.iter().map(|(_, _, observation)| observation.as_slice()).collect();
        let actions = act(training, weights, &observations)?;
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
    Ok(returns)
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
