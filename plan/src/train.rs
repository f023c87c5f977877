//! The training run: what the client does around the updates.

use serde::{Deserialize, Serialize};

use crate::{ClearId, ClearProgram, Span, tfhe};

/// The run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The environment.
    pub env: EnvSpec,
    /// Settings.
    pub run: Run,
    /// What acts where the client does: a clear-text network over the (normalised) observations. Arrays that are no observation
    /// are noise of a policy that draws its actions: standard normal as it explores, zero where it is evaluated.
    pub policy: ClearProgram,
    /// The output node: action values, of which the largest of each choice acts, or a vector in [-1, 1].
    pub act: ClearId,
    /// The arguments of activations, which the client watches as it trains.
    #[serde(default)]
    pub watch: Watch,
    /// States to release: (state, its average) where an average is kept, the state itself twice where not.
    pub release: Vec<(String, String)>,
    /// The plan by which the server acts, where it does: the largest action value of one observation, on integers under TFHE.
    /// The client decrypts the weights and encrypts them for it, and acts by no program of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Box<tfhe::Plan>>,
}

/// Arguments of polynomials, as the client computes them in the clear from its batch and its states.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Computes them.
    pub program: ClearProgram,
    /// Which they are.
    pub arguments: Vec<Watched>,
}

/// One argument.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    /// The function and the layer it follows, such as `silu after q.0`.
    pub name: String,
    /// The node of the program.
    pub node: ClearId,
    /// The interval on which the polynomial holds.
    pub range: [f64; 2],
    /// What in the source asked for it.
    #[serde(default)]
    pub span: Span,
    /// Whether the program can be compiled for a wider interval: that of a polynomial, not that of what an optimiser tracks.
    #[serde(default)]
    pub widens: bool,
}

/// The environment as the client drives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnvSpec {
    /// Gymnasium's name.
    pub id: String,
    /// Observations, in order.
    pub observations: Vec<ObservationSpec>,
    /// Name and kind of the action.
    pub action: (String, ActionSpec),
    /// Name and declared range of the reward.
    pub reward: (String, [f64; 2]),
    /// The client's recoding of a single step's reward: a program over the same names as a batch, and its output.
    pub recode: Option<(ClearProgram, ClearId)>,
}

/// One observation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObservationSpec {
    /// Its name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// One range per element.
    pub ranges: Vec<[f64; 2]>,
}

/// What an action is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ActionSpec {
    /// One of `k`.
    Discrete(usize),
    /// `n` choices of `k` each.
    MultiDiscrete(usize, usize),
    /// A vector with a range per element.
    Continuous(Vec<[f64; 2]>),
}

/// Settings of a run, as in `train { ... }`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Samples per update.
    pub batch: usize,
    /// Updates.
    pub updates: usize,
    /// Steps acted at random first.
    pub warmup: usize,
    /// Replay capacity.
    pub capacity: usize,
    /// Environments side by side.
    pub envs: usize,
    /// Environment steps per update.
    pub every: usize,
    /// How transitions come.
    pub collect: Collect,
    /// Steps of the return.
    pub n_step: usize,
    /// Discount per step.
    pub discount: f64,
    /// Exponential average of the weights per update.
    pub average: Option<f64>,
    /// Seed of everything that is not cryptographic.
    pub seed: u64,
    /// Episodes of an evaluation.
    pub evaluate: usize,
    /// Updates between checkpoints.
    pub checkpoint: usize,
    /// Exploration.
    pub explore: Explore,
    /// What to do where a value would leave its range.
    #[serde(default)]
    pub out_of_range: Escape,
}

/// What to do where an array leaves its declared range, or the argument of an activation its interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Escape {
    /// Say so; arrays are clipped.
    #[default]
    Warn,
    /// The same, but go on by a plan with wider intervals where an activation would leave its own.
    Widen,
    /// Stop, with a checkpoint.
    Stop,
}

/// How transitions come.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Collect {
    /// By acting, between updates.
    Online,
    /// That many of the random policy, once.
    Random(usize),
}

/// Exploration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Explore {
    /// ε from, to, over that many steps.
    Epsilon(f64, f64, usize),
    /// None but the policy's own noise.
    Policy,
}
