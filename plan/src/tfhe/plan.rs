//! The plan.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::parameters::Parameters;
use super::sending::Parcel;
use super::{Op, Step, Table, Wire, WireId};
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
    /// How they are sent: each in one of these.
    #[serde(default)]
    pub parcels: Vec<Parcel>,
    /// Values from update to update, which the key owner keeps between them unless the server carries them.
    pub states: Vec<State>,
    /// Vectors that the server keeps from update to update: all states, or none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carried: Vec<Carried>,
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
    /// The fewest programmable bootstraps of the model of [`super::minimum`], for the way that the plan goes.
    #[serde(default)]
    pub fewest_bootstraps: Option<u64>,
    /// The way with the fewest bootstraps of all that the compiler knows, where it is another one, which takes longer.
    #[serde(default)]
    pub leanest: Option<Leanest>,
}

/// A way to compute the same with fewer bootstraps in more time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leanest {
    /// Bootstraps of a run.
    pub bootstraps: u64,
    /// The fewest of the model for that way.
    pub fewest: u64,
    /// Predicted seconds of a run.
    pub seconds: f64,
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

/// A vector that the server keeps from update to update: a part of a state, which is the sum of its parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// The state. Its parts follow each other, the coarsest first; each finer one takes all that a step of the one before has room
    /// for.
    pub state: String,
    /// What an integer of 1 stands for.
    pub scale: f64,
    /// The step that makes it anew.
    pub wire: WireId,
}

/// A part of a state that the server carries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Which of the carried vectors.
    pub number: usize,
    /// What an integer of 1 stands for.
    pub scale: f64,
    /// What it is read as.
    pub wire: Wire,
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
    /// The parts of every state that the server carries, the coarsest first. A vector that no step reads is no part.
    pub fn parts(&self) -> BTreeMap<&str, Vec<Part>> {
        let mut wires = vec![None; self.carried.len()];
        for step in &self.steps {
            if let Op::Carried(id) = step.op
                && let Some(wire) = wires.get_mut(id.0 as usize)
            {
                *wire = Some(step.wire);
            }
        }
        let mut parts: BTreeMap<&str, Vec<Part>> = BTreeMap::new();
        for (number, (carried, wire)) in self.carried.iter().zip(wires).enumerate() {
            let part = wire.map(|wire| Part { number, scale: carried.scale, wire });
            parts.entry(&carried.state).or_default().extend(part);
        }
        parts
    }

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

/// Farthest multiple of a grid that is told from those beyond it.
const FARTHEST: f64 = (1u64 << 52) as f64;

/// The integers of the parts of real numbers, the coarsest part first: with μ the finest grid, v is the nearest multiple of μ,
/// finer parts are its digits, each from the `low` of its range up, and the coarsest part is clipped to its range.
pub fn split(values: &[f64], parts: &[Part]) -> Vec<Vec<i64>> {
    let mut integers = vec![Vec::with_capacity(values.len()); parts.len()];
    let finest = parts.last().map_or(1.0, |part| part.scale);
    for v in values {
        // Rounded upwards from the middle, as floors round.
        let mut rest = libm::floor(v / finest + 0.5).clamp(-FARTHEST, FARTHEST) as i64;
        for (number, &Part { scale, wire, .. }) in parts.iter().enumerate().rev() {
            let coarser = number.checked_sub(1).map(|above| libm::round(parts[above].scale / scale) as i64);
            integers[number].push(match coarser {
                Some(base) => {
                    let digit = (rest - wire.low).rem_euclid(base.max(1)) + wire.low;
                    rest = (rest - digit).div_euclid(base.max(1));
                    digit
                }
                None => rest.clamp(wire.low, wire.high),
            });
        }
    }
    integers
}

/// The integers nearest to real numbers on a grid, within `[low, high]`; halves away from zero.
pub fn quantise(values: &[f64], scale: f64, low: i64, high: i64) -> Vec<i64> {
    values.iter().map(|v| (libm::round(v / scale)).clamp(low as f64, high as f64) as i64).collect()
}
