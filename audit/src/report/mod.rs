//! The report of an audit: what each attack reconstructs from what the server may be given, beside what guessing reaches.

pub mod html;
mod judge;
mod picture;
mod table;
pub mod text;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use judge::Standing;
pub use picture::{Picture, PictureError};

pub use crate::statistics::{Actions, Chance, Spread};

/// The version of [`Report`] as JSON.
pub const VERSION: u32 = 1;
/// What the attacks are for.
pub const CAVEAT: &str = "These attacks run on your own models and data, to judge a design. They are published; what they do not reach, \
                          another may.";

/// An audit of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`VERSION`].
    pub version: u32,
    /// What was audited.
    pub program: Program,
    /// The seed of everything that is drawn.
    pub seed: u64,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// One sentence that says it all.
    pub summary: String,
    /// The attacks.
    pub attacks: Vec<Attack>,
    /// What the plan lets the server see, read off the plan.
    pub flow: Flow,
    /// What the user must know.
    pub warnings: Vec<String>,
    /// What was run, and on what.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The audited program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// The name of its file.
    pub name: String,
    /// Of its text, or of its plan.
    pub fingerprint: String,
    /// What it trains, in a few words: `dqn on CartPole-v1, 4-64-64-2`.
    pub about: String,
}

/// A published attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// On value-based learning.
    Qgi,
    /// On policy gradients.
    Rgi,
    /// Regularised by the transition dynamics.
    Rgia,
}

impl Method {
    /// Its short name.
    pub fn name(self) -> &'static str {
        match self {
            Method::Qgi => "QGI",
            Method::Rgi => "RGI",
            Method::Rgia => "RGIA",
        }
    }

    /// What it does.
    pub fn does(self) -> &'static str {
        match self {
            Method::Qgi => {
                "Q-value gradient inversion: reads action, state, predicted value and target off the gradient of value-based learning"
            }
            Method::Rgi => "REINFORCE gradient inversion: reads probabilities, action, reward and state off a policy gradient",
            Method::Rgia => {
                "Regularised gradient inversion: finds transitions that explain the gradient and obey the dynamics of the environment"
            }
        }
    }

    /// Where it is published.
    pub fn source(self) -> &'static str {
        match self {
            Method::Qgi | Method::Rgi => "Your Room is not Private: Gradient Inversion Attack on Reinforcement Learning",
            Method::Rgia => "Gradient Inversion in Federated Reinforcement Learning",
        }
    }
}

/// An attack as it was run, on every target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attack {
    /// Which one.
    pub method: Method,
    /// On what, and how, where that is not the published default: `vectors`, `RGB with depth`, `joint optimisation`.
    pub variant: String,
    /// Samples in one gradient.
    pub batch: usize,
    /// How many gradients were attacked.
    pub samples: usize,
    /// What guessing reaches without any view of the training.
    pub guessing: Guessing,
    /// What it reached, target by target.
    pub targets: Vec<Attempt>,
    /// Some of the samples, to look at.
    pub examples: Vec<Example>,
    /// What that means, in plain words.
    pub verdict: String,
}

/// What the attacker is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Target {
    /// The gradients that federated learning shares.
    ClearGradients,
    /// The same, clipped to a norm or with Gaussian noise, as for differential privacy.
    GuardedGradients {
        /// The largest norm, if they are clipped.
        clip: Option<f64>,
        /// The standard deviation of the noise.
        noise: f64,
    },
    /// The bytes of the ciphertexts that the server holds.
    Ciphertexts,
    /// These ciphertexts, decrypted with a key that is not theirs.
    WrongKey,
    /// A difference of decrypted weights that leaves the client.
    DecryptedUpdate,
}

impl Target {
    /// Its name in tables.
    pub fn name(&self) -> String {
        match self {
            Target::ClearGradients => "clear gradients".to_owned(),
            Target::GuardedGradients { clip: None, noise } => format!("gradients + noise {noise}"),
            Target::GuardedGradients { clip: Some(clip), noise: 0.0 } => format!("gradients clipped to {clip}"),
            Target::GuardedGradients { clip: Some(clip), noise } => format!("gradients clipped to {clip} + noise {noise}"),
            Target::Ciphertexts => "ciphertexts".to_owned(),
            Target::WrongKey => "wrong key".to_owned(),
            Target::DecryptedUpdate => "decrypted update".to_owned(),
        }
    }

    /// Whether it is what the server sees of encrypted training.
    pub fn is_encrypted(&self) -> bool {
        matches!(self, Target::Ciphertexts | Target::WrongKey)
    }
}

/// An attack on one target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// On what.
    pub target: Target,
    /// What it reached.
    pub metrics: Metrics,
    /// How it stands against guessing.
    pub standing: Standing,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Attempt {
    /// An attempt that [`Report::judged`] has still to judge.
    pub fn new(target: Target, metrics: Metrics, seconds: f64) -> Self {
        Self { target, metrics, standing: Standing::Guessing, seconds }
    }
}

/// What one attempt reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Actions that it got right, if it looks for any.
    pub actions: Option<Actions>,
    /// The other metrics that apply.
    pub values: BTreeMap<Metric, Spread>,
}

impl Metrics {
    /// Adds a metric's value for every sample; leaves it out if not one is finite.
    #[must_use]
    pub fn with(mut self, metric: Metric, samples: &[f64]) -> Self {
        if let Some(spread) = Spread::of(samples) {
            self.values.insert(metric, spread);
        }
        self
    }

    /// Adds the actions.
    #[must_use]
    pub fn with_actions(mut self, actions: Actions) -> Self {
        self.actions = Some(actions);
        self
    }
}

/// What guessing reaches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Guessing {
    /// How it guesses, in plain words: `the likeliest action, the mean state`.
    pub how: String,
    /// Right actions.
    pub actions: Option<Chance>,
    /// The other metrics, as the attempts have them.
    pub values: BTreeMap<Metric, Spread>,
}

impl Guessing {
    /// Adds a metric's value for every sample; leaves it out if not one is finite.
    #[must_use]
    pub fn with(mut self, metric: Metric, samples: &[f64]) -> Self {
        if let Some(spread) = Spread::of(samples) {
            self.values.insert(metric, spread);
        }
        self
    }
}

/// A metric with a value for each sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Of the colour picture.
    PsnrRgb,
    /// Of the luma of the colour picture.
    SsimRgb,
    /// Of the depth picture.
    PsnrDepth,
    /// Of the depth picture.
    SsimDepth,
    /// Of the box.
    Iou,
    /// The largest absolute error of an element of the state (of its vectors).
    StateError,
    /// Of the predicted value of the action, in per cent.
    PredictedQ,
    /// Of the target of learning, in per cent.
    TargetQ,
    /// The largest absolute error of a probability of the policy.
    ProbabilityError,
    /// Absolute error of the reward.
    RewardError,
    /// Largest absolute error of a continuous action.
    ActionError,
    /// The largest absolute error of an element of the next state.
    NextStateError,
    /// 1 where the whole transition was found, else 0: the mean is the part that was.
    Found,
    /// How far the gradient of the reconstruction is from the one that was seen: the attack's own objective.
    GradientMatch,
}

/// Why a report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is none.
    #[error("this is not the report of an audit: {0}")]
    Json(#[from] serde_json::Error),
    /// It is of another version.
    #[error("the report has version {0}, and this program reads version {VERSION}")]
    Version(u32),
}

impl Report {
    /// The report as JSON.
    ///
    /// # Errors
    /// [`ReportError::Json`].
    pub fn json(&self) -> Result<String, ReportError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Reads [`Report::json`].
    ///
    /// # Errors
    /// [`ReportError`].
    pub fn of_json(text: &str) -> Result<Self, ReportError> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        match serde_json::from_str::<Versioned>(text)?.version {
            VERSION => Ok(serde_json::from_str(text)?),
            other => Err(ReportError::Version(other)),
        }
    }
}

impl Metric {
    /// All of them, in the order of tables.
    pub const ALL: [Metric; 14] = [
        Metric::Found,
        Metric::PsnrRgb,
        Metric::SsimRgb,
        Metric::PsnrDepth,
        Metric::SsimDepth,
        Metric::Iou,
        Metric::StateError,
        Metric::ActionError,
        Metric::RewardError,
        Metric::NextStateError,
        Metric::ProbabilityError,
        Metric::PredictedQ,
        Metric::TargetQ,
        Metric::GradientMatch,
    ];

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Metric::PsnrRgb => "picture PSNR (dB)",
            Metric::SsimRgb => "picture SSIM",
            Metric::PsnrDepth => "depth PSNR (dB)",
            Metric::SsimDepth => "depth SSIM",
            Metric::Iou => "box IoU",
            Metric::StateError => "state error",
            Metric::PredictedQ => "predicted Q error (%)",
            Metric::TargetQ => "target Q error (%)",
            Metric::ProbabilityError => "probability error",
            Metric::RewardError => "reward error",
            Metric::ActionError => "action error",
            Metric::NextStateError => "next-state error",
            Metric::Found => "transitions found",
            Metric::GradientMatch => "gradient mismatch",
        }
    }

    /// What it says, for a reader who does not know it.
    pub fn explains(self) -> &'static str {
        match self {
            Metric::PsnrRgb | Metric::PsnrDepth => "likeness of two pictures, pixel by pixel; from about 20 one recognises them",
            Metric::SsimRgb | Metric::SsimDepth => "likeness of structures in two pictures; 1 is the same picture",
            Metric::Iou => "overlap of the reconstructed and the true place of the object; 1 is the same place",
            Metric::StateError => "how far the reconstructed observation is off, at worst; 0 is exact",
            Metric::PredictedQ => "how far the network's own estimate is off",
            Metric::TargetQ => "how far the target of learning, which has the reward in it, is off",
            Metric::ProbabilityError => "how far the reconstructed probabilities of the policy are off",
            Metric::RewardError => "how far the reconstructed reward is off",
            Metric::ActionError => "how far the reconstructed action is off",
            Metric::NextStateError => "how far the reconstructed next observation is off",
            Metric::Found => "the part of the transitions that was reconstructed as a whole",
            Metric::GradientMatch => "how well the reconstruction explains what was seen; small even where it is wrong",
        }
    }

    /// Whether more of it is a better reconstruction.
    pub fn larger_is_nearer(self) -> bool {
        matches!(self, Metric::PsnrRgb | Metric::SsimRgb | Metric::PsnrDepth | Metric::SsimDepth | Metric::Iou | Metric::Found)
    }
}

/// One sample, to look at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// Which one.
    pub label: String,
    /// What it was.
    pub original: View,
    /// What came of it, in the order of the targets.
    pub reconstructed: Vec<(Target, View)>,
}

/// A sample or its reconstruction.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct View {
    /// Its pictures.
    pub pictures: Vec<Picture>,
    /// The box that is drawn over the pictures: left, top, right, bottom, in [0, 1].
    pub frame: Option<[f64; 4]>,
    /// Its numbers, by name.
    pub numbers: Vec<(String, f64)>,
    /// What to say below it.
    pub caption: String,
}

/// What the plan lets the server see.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Item by item.
    pub sees: Vec<Seen>,
    /// What it has no key for: names of arrays.
    pub secret: Vec<String>,
    /// Whether the measured attacks agree.
    pub agreement: Option<Agreement>,
}

/// One thing that the server sees.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seen {
    /// What.
    pub what: String,
    /// In which form.
    pub form: Form,
    /// Its size, if it has one.
    pub bytes: Option<u64>,
    /// How often: `once`, `per update`.
    pub often: String,
}

/// How something is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// Without the key.
    Ciphertext,
    /// In the clear, and the same whatever the data: sizes, times, the plan.
    Public,
    /// In the clear, and computed from the data: a revealed value, a decrypted update.
    Data,
}

/// Whether static flow and measured attacks agree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Whether they do.
    pub agrees: bool,
    /// In plain words.
    pub why: String,
}

/// A number for people: three digits, and powers of ten where it is very small or large.
pub fn number(value: f64) -> String {
    let size = value.abs();
    if !value.is_finite() {
        return "-".to_owned();
    }
    match size {
        0.0 => "0".to_owned(),
        _ if !(1e-3..1e5).contains(&size) => format!("{value:.1e}"),
        _ if size < 1.0 => format!("{value:.3}"),
        _ if size < 10.0 => format!("{value:.2}"),
        _ if size < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// A number of bytes for people.
fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", count as f64 / 1_073_741_824.0),
    }
}
