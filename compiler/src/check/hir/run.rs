//! How a run is trained: optimisers and the settings of `train`.

use hecc_plan::{Escape, Span};

/// An optimiser.
#[derive(Clone, Debug, PartialEq)]
pub struct Optimizer {
    /// Which.
    pub kind: OptimizerKind,
    /// Learning rate.
    pub lr: Schedule,
    /// How ciphertexts follow the scale of gradients, where the optimiser has one.
    pub tracking: Tracking,
    /// Where it is given.
    pub span: Span,
}

/// How ciphertexts follow the scale of gradients: what the program pins, and what was found out for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tracking {
    /// By which recurrence.
    pub by: Option<By>,
    /// Whether a step takes the scale that earlier updates left, so that this update's is off its path.
    pub lagged: Option<bool>,
    /// Whether the mean is of gradients over their scale, not of gradients.
    pub normalised: Option<bool>,
    /// The largest magnitude of a gradient; 1 where it is not known.
    pub largest: Option<f64>,
}

/// A recurrence for the inverse root of the mean square of gradients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// A logarithmic average of the square, which is not kept itself.
    LogAverage,
    /// A step of Newton's on the mean square.
    Newton,
    /// A polynomial of degree 7 on the mean square.
    Polynomial,
}

impl By {
    /// All of them.
    pub const ALL: [By; 3] = [By::LogAverage, By::Newton, By::Polynomial];

    /// Its name in the language.
    pub fn name(self) -> &'static str {
        match self {
            By::LogAverage => "log_average",
            By::Newton => "newton",
            By::Polynomial => "polynomial",
        }
    }
}

/// Which optimiser, with its constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptimizerKind {
    /// w ← w − lr g.
    Sgd,
    /// b ← βb + g, w ← w − lr b.
    Momentum {
        /// β.
        beta: f64,
    },
    /// b ← βb + g, w ← w − lr (g + βb).
    Nesterov {
        /// β.
        beta: f64,
    },
    /// Adam.
    Adam {
        /// β1.
        beta1: f64,
        /// β2.
        beta2: f64,
        /// ε.
        eps: f64,
    },
    /// RMSprop.
    RmsProp {
        /// ρ.
        rho: f64,
        /// ε.
        eps: f64,
    },
}

/// A learning rate over the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Schedule {
    /// Always the same.
    Constant(f64),
    /// From the first to the second, linearly over `updates`.
    Linear(f64, f64),
    /// From the first to the second, along half a cosine.
    Cosine(f64, f64),
}

/// The run's settings, defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Samples per update.
    pub batch: usize,
    /// Number of updates.
    pub updates: usize,
    /// Steps acted at random first.
    pub warmup: usize,
    /// Replay capacity.
    pub capacity: usize,
    /// Environments side by side.
    pub envs: usize,
    /// Environment steps per update, over all environments.
    pub every: usize,
    /// `None` online; `Some(n)`: n transitions of the random policy, gathered once.
    pub collect: Option<usize>,
    /// Steps of the return.
    pub n_step: usize,
    /// The discount per step, where the algorithm has a parameter `discount` (the body holds its n-th power).
    pub discount: Option<f64>,
    /// Exponential average of the weights, per update.
    pub average: Option<f64>,
    /// Weight of the penalty on activations' arguments near the ends of their intervals; 0 for none.
    pub range_penalty: f64,
    /// Seed.
    pub seed: u64,
    /// Episodes of an evaluation.
    pub evaluate: usize,
    /// Updates between checkpoints.
    pub checkpoint: usize,
    /// Exploration.
    pub explore: Explore,
    /// What to do where a value would leave its range.
    pub out_of_range: Escape,
}

/// How the client explores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Explore {
    /// ε from the first to the second over the given steps, linearly.
    Epsilon(f64, f64, usize),
    /// The policy's own randomness.
    Policy,
}
