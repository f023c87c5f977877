//! The plan.

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, ClearId, ClearProgram, Geometry, Layout, Span, Step, Ties, Training, Wire, WireId};

/// Index of an [`Input`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InputId(pub u32);
/// Index of an [`Output`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OutputId(pub u32);
/// Index of a [`Plain`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlainId(pub u32);
/// Index of a [`Matrix`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MatrixId(pub u32);

/// Index of a [`Carried`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CarriedId(pub u32);

/// One update (or one evaluation), or a period of several updates, and how it is repeated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What the program calls itself: the algorithm, or `serve`.
    pub name: String,
    /// Fingerprint of the source text, for messages.
    pub source: String,
    /// Scheme parameters.
    pub ckks: Ckks,
    /// The slot grid.
    pub geometry: Geometry,
    /// What the client computes in the clear; [`Input`]s, later rounds and the policy refer to its nodes.
    pub client: ClearProgram,
    /// Ciphertexts that the client makes.
    pub inputs: Vec<Input>,
    /// Plaintext vectors that the server uses.
    pub plains: Vec<Plain>,
    /// Plaintext matrices that the server uses.
    pub matrices: Vec<Matrix>,
    /// Steps of the server, in an order in which they can run.
    pub steps: Vec<Step>,
    /// Ciphertexts that go back to the client.
    pub outputs: Vec<Output>,
    /// Exchanges: upload, compute, download, in turn.
    pub rounds: Vec<Round>,
    /// Values carried from update to update; the key owner keeps them between updates under `refresh = client`.
    pub states: Vec<State>,
    /// States that the key owner computes itself, of what came back, as an update ends.
    #[serde(default)]
    pub settled: Vec<(String, ClearId)>,
    /// States whose new value counts only at each K-th update; at the others the key owner keeps the old one.
    pub periods: Vec<(String, u32)>,
    /// Public arrays that the server needs (weights of a public policy), with their shapes.
    pub public: Vec<(String, Vec<usize>)>,
    /// Ciphertexts of states that the server keeps from update to update.
    #[serde(default)]
    pub carried: Vec<Carried>,
    /// How the server refreshes ciphertexts, where it does.
    #[serde(default)]
    pub bootstrap: Option<Bootstrap>,
    /// Keys that the server needs, besides those of the bootstrap.
    pub keys: KeyManifest,
    /// The training run, where there is one.
    pub training: Option<Training>,
    /// What the compiler decided, for people: activations, ranges, notes.
    pub notes: Vec<String>,
    /// The same with reasons and runners-up.
    #[serde(default)]
    pub decisions: Vec<Decision>,
}

/// Something the compiler decided.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// What about.
    pub kind: DecisionKind,
    /// Of what: an activation, a cycle, the plan.
    pub subject: String,
    /// What was chosen.
    pub choice: String,
    /// Why.
    pub why: String,
    /// What came second, and what it would cost.
    #[serde(default)]
    pub runner_up: Option<String>,
    /// The source that asked for it.
    #[serde(default)]
    pub span: Option<Span>,
}

/// What a [`Decision`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecisionKind {
    /// The ring degree.
    Ring,
    /// The scale of ciphertexts.
    Scale,
    /// A polynomial: its degree, interval and error.
    Activation,
    /// How ciphertexts follow the scale of gradients.
    Optimiser,
    /// Where numbers stand among the slots.
    Layout,
    /// A bootstrap: which cycle forced it.
    Bootstrap,
    /// Ciphertexts that the client refreshes inside an update.
    Exchange,
    /// How many relinearisations there are.
    Relinearisation,
    /// Which rotation keys are made.
    Keys,
}

impl DecisionKind {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            DecisionKind::Ring => "ring",
            DecisionKind::Scale => "scale",
            DecisionKind::Activation => "activation",
            DecisionKind::Optimiser => "optimiser",
            DecisionKind::Layout => "layout",
            DecisionKind::Bootstrap => "bootstrap",
            DecisionKind::Exchange => "exchanges",
            DecisionKind::Relinearisation => "relinearisations",
            DecisionKind::Keys => "keys",
        }
    }
}

impl Plan {
    /// How many updates the rounds make before they start over.
    pub fn updates(&self) -> u32 {
        self.rounds.last().map_or(1, |round| round.update + 1)
    }

    /// The rounds of an update of the period.
    pub fn rounds_of(&self, update: u32) -> std::ops::Range<usize> {
        let before = |limit: u32| self.rounds.partition_point(|round| round.update < limit);
        before(update)..before(update.saturating_add(1))
    }

    /// Whether a state takes its new value at `update`, counted from 0.
    pub fn is_due(&self, state: &str, update: u64) -> bool {
        let period = self.periods.iter().find(|(name, _)| name == state).map_or(1, |(_, period)| *period);
        (update + 1).is_multiple_of(u64::from(period.max(1)))
    }
}

/// CKKS parameters. The modulus is 2^k for any k; budgets are bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ckks {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Bits of a limb.
    pub base2k: u32,
    /// Scale of ciphertexts.
    pub scale: u32,
    /// Widest ciphertext.
    pub max_k: u32,
    /// log2 of the widest modulus, keys included: what security is counted on.
    pub log_modulus: u32,
    /// Security level asked for, in bits; 0 marks a test plan that is not secure.
    pub security_bits: u32,
}

/// A ciphertext of the client's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// For people.
    pub label: String,
    /// What it holds; the parts do not overlap.
    pub contents: Vec<Content<ClearId>>,
    /// Scale and width.
    pub wire: Wire,
}

/// Label of ciphertexts that the client decrypts in the middle of an update and encrypts anew.
pub const REFRESHED: &str = "refreshed";

/// A ciphertext that goes back to the client.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// For people.
    pub label: String,
    /// The step that makes it.
    pub wire: WireId,
    /// What it holds.
    pub contents: Vec<Content<Target>>,
}

/// A ciphertext of states that stays with the server: the client makes it once, at `wire`, and may fetch it after any
/// update, narrowed to `fetch`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// For people.
    pub label: String,
    /// The states it holds, each `factor` times its slots; the parts do not overlap.
    pub contents: Vec<Content<Target>>,
    /// Scale and width as a period begins.
    pub wire: Wire,
    /// Scale and width as the client gets it.
    pub fetch: Wire,
}

/// A tensor in a ciphertext: the slots hold `factor` times an input, and an output is `factor` times the slots.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Content<T> {
    /// Which tensor.
    pub tensor: T,
    /// Where.
    pub layout: Layout,
    /// The constant between tensor and slots.
    pub factor: f64,
}

/// Where a decrypted value goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Target {
    /// New value of a carried state.
    State(String),
    /// The same, once multiplied by a number of the client's (a learning rate that changes).
    Rated {
        /// The state.
        name: String,
        /// The number, as a node of the client's program.
        by: ClearId,
    },
    /// A value the client goes on computing with: [`crate::ClearOp::Decrypted`].
    Value {
        /// Number, unique in the plan.
        id: u32,
        /// Its shape: `[B, dim]` per sample, or that of a parameter.
        shape: Vec<usize>,
    },
    /// A result under its name, `[B, dim]`, or one number per update for `dim` 0.
    Result {
        /// `output`, or the label of a `reveal`.
        name: String,
        /// Elements per sample; 0 for one number.
        dim: usize,
    },
}

/// A plaintext vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plain {
    /// Its slots.
    pub pattern: PlainPattern,
    /// log2 of the scale it is encoded at.
    pub scale: u32,
}

impl Plain {
    /// Whether it changes from update to update.
    pub fn changes(&self) -> bool {
        matches!(self.pattern, PlainPattern::Parts { by: Some(_), .. })
    }
}

/// Slots of a plaintext vector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum PlainPattern {
    /// `value` in one lane, 0 elsewhere.
    Lane {
        /// Which lane.
        lane: usize,
        /// The value.
        value: f64,
    },
    /// `values[i mod period]` in neuron i, every lane.
    Neurons {
        /// One value per neuron of a period.
        values: Vec<f64>,
    },
    /// `values[b mod values.len()]` in lane b, every neuron.
    Lanes {
        /// One value per lane of a period.
        values: Vec<f64>,
    },
    /// Constants where tensors stand: each part's value in the slots of its layout, 0 elsewhere.
    Parts {
        /// The constants.
        parts: Vec<PlainPart>,
        /// A number that they are multiplied by and that changes from update to update: a node of the client's program
        /// that depends on the number of the update alone, so that the server knows it too.
        by: Option<ClearId>,
    },
    /// `factor` times a public array, in a layout.
    Public {
        /// Its name.
        name: String,
        /// How its elements stand in what is laid out, where that is another array.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ties: Option<Ties>,
        /// Where it stands.
        layout: Layout,
        /// The factor.
        factor: f64,
    },
}

/// A constant where a tensor stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlainPart {
    /// Where the tensor stands.
    pub layout: Layout,
    /// The tensor's shape; its padding stays zero.
    pub shape: Vec<usize>,
    /// The constant.
    pub value: f64,
}

/// A public matrix applied along the neuron axis. With `rows < cols` (padded) what comes out are partial sums, and
/// rotations by multiples of `rows` follow as steps of their own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// Name of the public array `[out, in]`.
    pub name: String,
    /// How its elements stand in the matrix, where that is another array: a convolution.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ties: Option<Ties>,
    /// Padded number of rows.
    pub rows: usize,
    /// Padded number of columns.
    pub cols: usize,
    /// Baby steps: diagonals per giant step.
    pub baby: usize,
    /// The weights are multiplied by this.
    pub factor: f64,
    /// log2 of the scale its diagonals are encoded at.
    pub scale: u32,
}

impl Matrix {
    /// Number of diagonals.
    pub fn diagonals(&self) -> usize {
        self.rows.min(self.cols)
    }

    /// Rotations (in neurons) of the baby steps and of the giant steps, without 0.
    pub fn rotations(&self) -> (Vec<usize>, Vec<usize>) {
        let d = self.diagonals();
        ((1..self.baby.min(d)).collect(), (1..d.div_ceil(self.baby)).map(|g| g * self.baby).collect())
    }
}

/// One exchange.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Round {
    /// What the client sends first.
    pub inputs: Vec<InputId>,
    /// Steps `[first, last)` that the server then runs.
    pub steps: (u32, u32),
    /// What the server sends back.
    pub outputs: Vec<OutputId>,
    /// Which update of the period it belongs to, from 0.
    #[serde(default)]
    pub update: u32,
    /// Wires that the server then keeps as its carried ciphertexts, in the last round of an update.
    #[serde(default)]
    pub saves: Vec<(CarriedId, WireId)>,
}

/// A carried value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Its name, as PyTorch would: `q.0.weight`, `q.0.weight.momentum`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: StateInit,
    /// Where it was declared.
    pub span: Span,
}

/// How a carried value starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum StateInit {
    /// Weights `[out, in]`: orthogonal, times `gain`.
    Orthogonal {
        /// The gain.
        gain: f64,
        /// Distinguishes the streams of a seed.
        stream: u64,
    },
    /// Weights: normal with variance 2 / in.
    He {
        /// Distinguishes the streams of a seed.
        stream: u64,
    },
    /// All equal.
    Constant(f64),
    /// Equal to another state.
    Copy(String),
}

/// Keys that the server needs besides its program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyManifest {
    /// Relinearisation keys, narrowest first; a product takes the first that is wide enough.
    pub relinearisation: Vec<KeyShape>,
    /// Rotation keys, by slots.
    pub rotations: Vec<RotationKey>,
}

/// A rotation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotationKey {
    /// Slots, in `1..slots`.
    pub by: i64,
    /// Its shape.
    pub shape: KeyShape,
}

/// Shape of an evaluation key: ciphertexts of `k` bits are cut into `dnum` digits of `digit` bits, with `aux` guard bits.
/// Its modulus has `dnum * digit + aux` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyShape {
    /// Widest ciphertext it switches.
    pub k: u32,
    /// Bits of a digit.
    pub digit: u32,
    /// Number of digits.
    pub dnum: u32,
    /// Guard bits.
    pub aux: u32,
}

impl KeyShape {
    /// log2 of the key's modulus.
    pub fn log_modulus(&self) -> u32 {
        self.dnum * self.digit + self.aux
    }
}
