//! Actions: drawn at random, encoded into a batch, decoded from what a policy computes.

use hecc_plan::ActionSpec;
use hecc_plan::clear::arg_max;
use rand_chacha::ChaCha20Rng;

use super::EnvError;
use crate::session::random::{below, uniform};

/// An action in the environment's units.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// One of k.
    Discrete(usize),
    /// Several choices.
    MultiDiscrete(Vec<usize>),
    /// A vector.
    Continuous(Vec<f64>),
}

impl Action {
    /// A uniformly random action.
    pub fn random(spec: &ActionSpec, rng: &mut ChaCha20Rng) -> Self {
        match spec {
            ActionSpec::Discrete(k) => Action::Discrete(below(rng, *k)),
            ActionSpec::MultiDiscrete(n, k) => Action::MultiDiscrete((0..*n).map(|_| below(rng, *k)).collect()),
            ActionSpec::Continuous(ranges) => {
                Action::Continuous(ranges.iter().map(|[low, high]| low + (high - low) * uniform(rng)).collect())
            }
        }
    }

    /// The action by one row of a policy's output: the largest value of each choice, or the normalised vector itself,
    /// limited to [-1, 1], in the units of its declared ranges.
    pub fn greedy(spec: &ActionSpec, output: &[f64]) -> Self {
        match spec {
            ActionSpec::Discrete(_) => Action::Discrete(arg_max(output)),
            ActionSpec::MultiDiscrete(_, k) => Action::MultiDiscrete(output.chunks(*k).map(arg_max).collect()),
            ActionSpec::Continuous(ranges) => {
                let unit = |v: &f64, [low, high]: &[f64; 2]| low + (v.clamp(-1.0, 1.0) + 1.0) / 2.0 * (high - low);
                Action::Continuous(output.iter().zip(ranges).map(|(v, range)| unit(v, range)).collect())
            }
        }
    }

    /// The numbers that stand for it in a batch: one-hot, several one-hots, or the vector.
    pub fn encode(&self, spec: &ActionSpec) -> Vec<f64> {
        let mut numbers = vec![0.0; width(spec)];
        match (self, spec) {
            (Action::Discrete(choice), _) => numbers[*choice] = 1.0,
            (Action::MultiDiscrete(choices), ActionSpec::MultiDiscrete(_, k)) => {
                choices.iter().enumerate().for_each(|(i, choice)| numbers[i * k + choice] = 1.0);
            }
            (Action::MultiDiscrete(choices), _) => choices.iter().for_each(|&choice| numbers[choice] = 1.0),
            (Action::Continuous(values), _) => numbers.copy_from_slice(values),
        }
        numbers
    }

    /// The choice of an environment `id` that takes one of `k`.
    ///
    /// # Errors
    /// [`EnvError::Action`] if it is something else.
    pub(super) fn choice(&self, id: &'static str, k: usize) -> Result<usize, EnvError> {
        match self {
            Action::Discrete(choice) if *choice < k => Ok(*choice),
            other => Err(EnvError::Action { id, want: format!("a choice from 0 to {}", k - 1), got: other.describe() }),
        }
    }

    /// The numbers of an environment `id` that takes `N` finite ones.
    ///
    /// # Errors
    /// [`EnvError::Action`] if it is something else.
    pub(super) fn vector<const N: usize>(&self, id: &'static str) -> Result<[f64; N], EnvError> {
        let wrong = || EnvError::Action { id, want: format!("a vector of {N} finite numbers"), got: self.describe() };
        match self {
            Action::Continuous(values) if values.iter().all(|v| v.is_finite()) => values.as_slice().try_into().map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }

    /// In words, for errors.
    pub(super) fn describe(&self) -> String {
        match self {
            Action::Discrete(choice) => format!("choice {choice}"),
            Action::MultiDiscrete(choices) => format!("{} choices", choices.len()),
            Action::Continuous(values) => match values.iter().find(|v| !v.is_finite()) {
                Some(v) => format!("a vector with {v} in it"),
                None => format!("a vector of {}", values.len()),
            },
        }
    }
}

/// Numbers per sample that an action takes in a batch.
pub fn width(spec: &ActionSpec) -> usize {
    match spec {
        ActionSpec::Discrete(k) => *k,
        ActionSpec::MultiDiscrete(n, k) => n * k,
        ActionSpec::Continuous(ranges) => ranges.len(),
    }
}
