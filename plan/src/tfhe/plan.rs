//! The plan.

use serde::{Deserialize, Serialize};

use super::parameters::Parameters;
use super::{Step, Table, WireId};
use crate::{ClearId, ClearProgram, Decision, State, Target, Training};

/// One update (or one evaluation) on exact integers, and how it is repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What the program calls itself: the algorithm, or `serve`.
    pub name: String,
    /// Fingerprint of the source text, for messages.
    pub source: String,
    /// Keys and their noise.
    pub parameters: Parameters,
    /// log2 of the most that a bootstrap may fail with.
    pub log2_failure: f64,
    /// Samples at once.
    pub batch: usize,
    /// What the client computes in the clear; [`Input`]s and the policy refer to its nodes.
    pub client: ClearProgram,
    /// Vectors that the client encrypts.
    pub inputs: Vec<Input>,
    /// Tables of functions.
    pub tables: Vec<Table>,
    /// Steps of the server, in an order in which they can run.
    pub steps: Vec<Step>,
    /// Vectors that go back to the client.
    pub outputs: Vec<Output>,
    /// Values carried from update to update, which the key owner keeps between them.
    pub states: Vec<State>,
    /// States whose new value counts only at each K-th update.
    pub periods: Vec<(String, u32)>,
    /// Public arrays that stand in the steps, rounded: a run with others is refused.
    pub public: Vec<Public>,
    /// The training run, where there is one.
    pub training: Option<Training>,
    /// What the compiler decided, for people.
    pub notes: Vec<String>,
    /// The same with reasons and runners-up.
    pub decisions: Vec<Decision>,
}

/// A vector of the client's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// For people.
    pub label: String,
    /// Which node of the client's program.
    pub tensor: ClearId,
    /// What an integer of 1 stands for.
    pub scale: f64,
}

/// A vector that goes back to the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// For people.
    pub label: String,
    /// The step that makes it.
    pub wire: WireId,
    /// What the client does with it.
    pub target: Target,
    /// Its shape.
    pub shape: Vec<usize>,
    /// What an integer of 1 stands for.
    pub scale: f64,
}

/// A public array that the plan was compiled for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Public {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values.
    pub values: Vec<f32>,
}

impl Plan {
    /// Whether a state takes its new value at `update`, counted from 0.
    pub fn is_due(&self, state: &str, update: u64) -> bool {
        let period = self.periods.iter().find(|(name, _)| name == state).map_or(1, |(_, period)| *period);
        update.saturating_add(1).is_multiple_of(u64::from(period.max(1)))
    }

    /// Programmable bootstraps of one run.
    pub fn bootstraps(&self) -> u64 {
        self.steps.iter().filter_map(|step| Some(u64::from(step.op.lookups()?.1) * u64::from(step.wire.len))).sum()
    }
}

/// The integers nearest to real numbers on a grid, within `[low, high]`; halves away from zero.
pub fn quantise(values: &[f64], scale: f64, low: i64, high: i64) -> Vec<i64> {
    values.iter().map(|v| (libm::round(v / scale)).clamp(low as f64, high as f64) as i64).collect()
}
