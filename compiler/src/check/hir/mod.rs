//! The checked program: every name resolved, every shape and range known, every default filled in.
//!
//! `check` is the only producer. A value's secrecy is decided here, once, and never weakens afterwards.

mod run;

use hecc_plan::Span;

pub use run::{By, Explore, Optimizer, OptimizerKind, Schedule, Settings, Tracking};

/// A whole checked program.
#[derive(Clone, Debug, PartialEq)]
pub struct Program {
    /// What the client owns.
    pub env: Env,
    /// Networks, in source order; [`NetId`] indexes them.
    pub nets: Vec<Net>,
    /// What to compile: a training loop or one evaluation.
    pub task: Task,
    /// Who may see what.
    pub secure: Secure,
}

/// Index of a network in [`Program::nets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetId(pub usize);
/// Index of a state in [`Body::states`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub usize);
/// Index of a `let` in [`Body::lets`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LetId(pub usize);
/// Index of a `noise` in [`Body::noises`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NoiseId(pub usize);

/// A closed interval `[low, high]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Lower end.
    pub low: f64,
    /// Upper end, above `low`.
    pub high: f64,
}

/// The environment and what the client computes from it before it encrypts.
#[derive(Clone, Debug, PartialEq)]
pub struct Env {
    /// Gymnasium's name of the environment.
    pub id: String,
    /// Observations, in source order.
    pub observations: Vec<Observation>,
    /// The action.
    pub action: Action,
    /// Name of the reward.
    pub reward: String,
    /// Range of the reward after the client's recoding; without one, the declared range.
    pub reward_range: Range,
    /// Range of the reward as it is declared, in the environment's units, before the recoding.
    pub declared_reward_range: Range,
    /// The client's recoding of the reward (`r <- EXPR`), in the environment's units.
    pub recode: Option<Expr>,
    /// The client's features (`let f = EXPR`), in source order. A feature `f` has its primed twin `f'` over next states.
    pub features: Vec<Feature>,
    /// The whole item.
    pub span: Span,
}

/// One `observe` entry.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Its name in the program.
    pub name: String,
    /// `[n]` or `[channels, height, width]`.
    pub shape: Vec<usize>,
    /// One range per element, row-major.
    pub ranges: Vec<Range>,
    /// Where it is declared.
    pub span: Span,
}

/// The action.
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Its name in the program.
    pub name: String,
    /// Discrete, multi-discrete or continuous.
    pub kind: ActionKind,
    /// Where it is declared.
    pub span: Span,
}

/// What an action is.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionKind {
    /// One of `k`, one-hot on the wire: a vector of length `k`.
    Discrete {
        /// Number of actions.
        k: usize,
    },
    /// `n` choices of `k` each: a vector of length `n * k`, one-hot per choice.
    MultiDiscrete {
        /// Number of choices.
        n: usize,
        /// Options of each choice.
        k: usize,
    },
    /// A real vector.
    Continuous {
        /// Its shape.
        shape: Vec<usize>,
        /// One range per element.
        ranges: Vec<Range>,
    },
}

/// A client-side feature.
#[derive(Clone, Debug, PartialEq)]
pub struct Feature {
    /// Its name in the program.
    pub name: String,
    /// Length of the vector.
    pub dim: usize,
    /// How the client computes it; [`Value::Observation`] in it is in the environment's units.
    pub expr: Expr,
}

/// A parameterised function.
#[derive(Clone, Debug, PartialEq)]
pub struct Net {
    /// Its name.
    pub name: String,
    /// Inputs, in order; a call gives one argument for each, and they are concatenated.
    pub inputs: Vec<NetInput>,
    /// Shape of the (concatenated) input of the first layer: `[n]`, or `[c, h, w]`.
    pub input_shape: Vec<usize>,
    /// Trunk layers.
    pub layers: Vec<Layer>,
    /// Named outputs; a net without `heads` has one, unnamed, fed by the trunk itself with no further layers.
    pub outputs: Vec<Head>,
    /// Whether its parameters are secret from the server.
    pub secret: bool,
    /// The whole item.
    pub span: Span,
}

/// One input of a net.
#[derive(Clone, Debug, PartialEq)]
pub struct NetInput {
    /// The environment value it is named after, or its own name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// One output of a net.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// `mu` of `(mu: [1], ...)`; `None` for a net with a single unnamed output.
    pub name: Option<String>,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Layers after the trunk.
    pub layers: Vec<Layer>,
}

/// A layer, with the shape it produces.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What it is.
    pub kind: LayerKind,
    /// Shape of its output.
    pub shape: Vec<usize>,
    /// Where it stands.
    pub span: Span,
}

/// What a layer is.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerKind {
    /// `y = W x + b`. Parameters `NET.INDEX.weight` `[out, in]` and `NET.INDEX.bias` `[out]`.
    Dense {
        /// Number among the net's dense and conv layers, in source order (heads in order after the trunk), from 0.
        index: usize,
        /// Inputs.
        inputs: usize,
        /// Outputs.
        outputs: usize,
        /// `false` for `nobias`.
        bias: bool,
        /// How the weights start.
        init: Init,
    },
    /// A two-dimensional convolution without padding.
    Conv {
        /// As for `Dense`.
        index: usize,
        /// Input channels.
        inputs: usize,
        /// Output channels.
        outputs: usize,
        /// Side of the square kernel.
        kernel: usize,
        /// Stride.
        stride: usize,
        /// `false` for `nobias`.
        bias: bool,
        /// How the weights start.
        init: Init,
    },
    /// `[c, h, w]` to `[c * h * w]`.
    Flatten,
    /// An activation.
    Activation(Activation),
    /// `x + f(x)`.
    Residual(Vec<Layer>),
    /// `c x`.
    Scale(f64),
}

/// How weights start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Orthogonal rows or columns (gain √2 before relu-like activations is not applied: gain 1).
    Orthogonal,
    /// Normal with variance 2 / inputs.
    He,
    /// A tenth of the default.
    Small,
    /// Zero.
    Zero,
}

/// A function with what the program pins of how it is computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    /// Which function.
    pub function: Function,
    /// Pins.
    pub pins: Pins,
}

/// Named non-linear functions.
#[derive(Clone, Debug, PartialEq)]
pub enum Function {
    /// max(x, 0).
    Relu,
    /// x sigmoid(x).
    Silu,
    /// x Φ(x).
    Gelu,
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// log(1 + e^x).
    Softplus,
    /// x tanh(softplus(x)).
    Mish,
    /// x².
    Square,
    /// Softmax over the vector.
    Softmax,
    /// A given polynomial, coefficients from degree 0 up.
    Poly(Vec<f64>),
    /// e^x.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// |x|.
    Abs,
    /// 1 / x, from a division by a value whose range excludes 0.
    Reciprocal,
    /// Sine (client only).
    Sin,
    /// Cosine (client only).
    Cos,
}

/// What a program pins of a function: `silu(degree: 7, range: [-8, 8])`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pins {
    /// Degree of the polynomial.
    pub degree: Option<usize>,
    /// Interval of the argument.
    pub range: Option<Range>,
    /// Largest error of a composition of polynomials: never the program's own, but what the compiler chose.
    pub within: Option<f64>,
}

/// What to compile.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// `train ALGORITHM(NET, ...) { ... }`.
    Train(Train),
    /// `serve EXPR { batch = N }`.
    Serve(Serve),
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Serve {
    /// What is evaluated.
    pub expr: Expr,
    /// Samples at once.
    pub batch: usize,
    /// The whole item.
    pub span: Span,
}

/// A training run: the algorithm's body with its parameters substituted, and the run's settings.
#[derive(Clone, Debug, PartialEq)]
pub struct Train {
    /// The algorithm's name.
    pub algorithm: String,
    /// One update.
    pub body: Body,
    /// The run.
    pub settings: Settings,
    /// The whole item.
    pub span: Span,
}

/// One update.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Body {
    /// Persistent values.
    pub states: Vec<State>,
    /// Named values.
    pub lets: Vec<Let>,
    /// Noise inputs.
    pub noises: Vec<Noise>,
    /// Statements, in order.
    pub statements: Vec<Stmt>,
}

/// A persistent value.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Its name.
    pub name: String,
    /// How it starts, and so what it is.
    pub kind: StateKind,
    /// Where it is declared.
    pub span: Span,
}

/// What a state is.
#[derive(Clone, Debug, PartialEq)]
pub enum StateKind {
    /// `copy(NET)`: a network that starts equal to it.
    Copy(NetId),
    /// `= NET`: a network of the same shape that starts fresh.
    Fresh(NetId),
    /// `= CONST`: a scalar.
    Scalar(f64),
}

/// A named value.
#[derive(Clone, Debug, PartialEq)]
pub struct Let {
    /// Its name.
    pub name: String,
    /// What it stands for.
    pub expr: Expr,
}

/// A noise input, standard normal.
#[derive(Clone, Debug, PartialEq)]
pub struct Noise {
    /// Its name.
    pub name: String,
    /// Length per sample.
    pub dim: usize,
}

/// A statement. `let` bindings stand in [`Body::lets`] and are evaluated where [`Stmt::Let`] stands.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// The value is bound here (networks inside it are as they stand here).
    Let(LetId),
    /// Gradient step.
    Minimize {
        /// A batch scalar.
        loss: Expr,
        /// Trained nets and scalar states.
        over: Vec<Trained>,
        /// The optimiser.
        optimizer: Optimizer,
        /// Where it stands.
        span: Span,
    },
    /// `t <- EXPR`.
    Assign {
        /// The state.
        state: StateId,
        /// Its new value.
        value: StateExpr,
        /// Where it stands.
        span: Span,
    },
    /// Decrypted by the key owner after each update.
    Reveal {
        /// A batch scalar or a state scalar.
        value: Expr,
        /// Its label.
        label: String,
        /// Where it stands.
        span: Span,
    },
    /// Only on each `period`-th update.
    Every {
        /// K.
        period: usize,
        /// What.
        body: Vec<Stmt>,
        /// Where it stands.
        span: Span,
    },
}

/// What `minimize` trains.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trained {
    /// A net.
    Net(NetId),
    /// A state: a copy of a net, or a scalar.
    State(StateId),
}

/// New value of a state.
#[derive(Clone, Debug, PartialEq)]
pub enum StateExpr {
    /// A linear combination of networks of one shape, constants folded: `mix(t, q, tau)` is `[(1 - tau, t), (tau, q)]`.
    Networks(Vec<(f64, NetRef)>),
    /// A new value of a scalar state (a batch scalar expression).
    Scalar(Expr),
}

/// Which version of a network a call means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NetRef {
    /// The net as it stands where the call stands.
    Net(NetId),
    /// The net as it stood at the start of the update.
    Old(NetId),
    /// A network state as it stands where the call stands.
    State(StateId),
}

/// A typed expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its type.
    pub ty: Type,
    /// Whether it is secret from the server.
    pub secret: bool,
    /// Where it stands.
    pub span: Span,
}

/// Type of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A compile-time number (broadcasts to anything).
    Number,
    /// A vector per sample; `Sample(1)` counts as a per-sample scalar.
    Sample(usize),
    /// An image per sample, `[channels, height, width]`.
    Image([usize; 3]),
    /// One number for the whole batch (after `mean`, or a scalar state).
    Batch,
    /// Several values, of a net with named outputs or of `sample`.
    Tuple(Vec<Type>),
}

/// What an expression is. Constant arithmetic is folded into `Number`.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A constant.
    Number(f64),
    /// A named value.
    Value(Value),
    /// A network applied; several outputs make a [`Type::Tuple`].
    Apply {
        /// Which network.
        net: NetRef,
        /// One per input.
        args: Vec<Expr>,
    },
    /// `tuple.0`: one of several values.
    Project(Box<Expr>, usize),
    /// `v[i]`.
    Index(Box<Expr>, usize),
    /// Element-wise, broadcasting `Sample(1)`, `Batch` and `Number`.
    Binary(Binary, Box<Expr>, Box<Expr>),
    /// −x.
    Neg(Box<Expr>),
    /// x^n.
    Pow(Box<Expr>, u32),
    /// An element-wise function (softmax: over the vector).
    Map(Activation, Box<Expr>),
    /// A reduction.
    Reduce(Reduce, Box<Expr>),
    /// Element-wise minimum or maximum of two (pins: of the polynomial in their difference).
    Extremum(Extremum, Pins, Box<Expr>, Box<Expr>),
    /// Index (as a one-hot vector) of the largest element.
    ArgMax(Box<Expr>),
    /// Σ a b over the elements of each sample.
    Dot(Box<Expr>, Box<Expr>),
    /// Limits x to [lo, hi].
    Clip(Box<Expr>, f64, f64),
    /// c ? a : b, c in {0, 1}.
    Select(Box<Expr>, Box<Expr>, Box<Expr>),
    /// No gradient.
    Stop(Box<Expr>),
    /// Concatenation.
    Concat(Vec<Expr>),
    /// tanh-squashed Gaussian: a tuple (action, log_prob).
    Sample {
        /// Mean.
        mu: Box<Expr>,
        /// Logarithm of the standard deviation.
        log_std: Box<Expr>,
        /// Standard normal noise.
        noise: Box<Expr>,
        /// Pins of the squash.
        pins: Pins,
    },
    /// Client only: n random Fourier features cos(w·x + b).
    Fourier {
        /// Argument.
        x: Box<Expr>,
        /// Number of features.
        n: usize,
        /// Scale of w.
        scale: f64,
        /// Seed of w and b.
        seed: u64,
    },
    /// Client only: products of trigonometric features.
    TensorFourier {
        /// The angle, a scalar per sample.
        angle: Box<Expr>,
        /// Largest multiple of the angle.
        k: usize,
        /// The second argument, in [-1, 1].
        x: Box<Expr>,
        /// Largest multiple of the second.
        j: usize,
        /// Exponent of the amplitudes.
        smooth: f64,
    },
    /// Client only: atan2(y, x).
    Atan2(Box<Expr>, Box<Expr>),
    /// Client only: the outer product, flattened row-major.
    Outer(Box<Expr>, Box<Expr>),
}

/// A named value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// Observation i (normalised in bodies; in the environment's units in `client`), or its next-state twin.
    Observation {
        /// Index in [`Env::observations`].
        index: usize,
        /// `s'`.
        next: bool,
    },
    /// Feature i, or its next-state twin.
    Feature {
        /// Index in [`Env::features`].
        index: usize,
        /// `f'`.
        next: bool,
    },
    /// The action: one-hot, or normalised.
    Action,
    /// The reward (n-step, recoded).
    Reward,
    /// 1 where the episode ended by termination.
    Done,
    /// A `let`.
    Let(LetId),
    /// A noise.
    Noise(NoiseId),
    /// A scalar state, as it stands here.
    State(StateId),
}

/// Element-wise arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// a + b.
    Add,
    /// a − b.
    Sub,
    /// a b.
    Mul,
    /// a / b; b's declared range excludes 0.
    Div,
}

/// A reduction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reduce {
    /// Σ over the elements of each sample: `Sample(n)` to `Sample(1)`.
    SumElements,
    /// Mean over the elements of each sample.
    MeanElements,
    /// Σ over the batch: `Sample(1)` to `Batch`.
    SumBatch,
    /// Mean over the batch.
    MeanBatch,
    /// Largest element of each sample.
    Max(Pins),
}

/// Minimum or maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extremum {
    /// The smaller.
    Min,
    /// The larger.
    Max,
}

/// Who may see what, and by which scheme.
#[derive(Clone, Debug, PartialEq)]
pub struct Secure {
    /// The scheme.
    pub scheme: Scheme,
    /// Security level in bits: 128, 192 or 256.
    pub bits: u32,
    /// Who refreshes spent ciphertexts.
    pub refresh: Refresh,
    /// Operations the key owner computes.
    pub client: Vec<ClientOp>,
    /// Largest error of an update against exact arithmetic, relative to the weights.
    pub precision: f64,
    /// TFHE: bits of weights and of activations.
    pub quantize: (u32, u32),
    /// Who evaluates the policy to act.
    pub policy: Party,
    /// The item, where there is one.
    pub span: Option<Span>,
}

/// The scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Approximate arithmetic.
    Ckks,
    /// Exact integers.
    Tfhe,
    /// The cheaper by the cost model.
    Auto,
}

/// Who refreshes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// The server, by bootstrapping.
    Bootstrap,
    /// The key owner decrypts and re-encrypts.
    Client,
    /// By cost and bytes.
    Auto,
}

/// An operation that the key owner may compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ClientOp {
    /// Maxima (also `argmax`).
    Max,
    /// Minima.
    Min,
    /// Arg-max.
    ArgMax,
    /// Any named non-linear function by its name in the language.
    Exp,
    /// log.
    Log,
    /// sqrt.
    Sqrt,
    /// abs.
    Abs,
    /// clip.
    Clip,
    /// Division.
    Div,
    /// select.
    Select,
    /// relu.
    Relu,
    /// silu.
    Silu,
    /// gelu.
    Gelu,
    /// tanh.
    Tanh,
    /// sigmoid.
    Sigmoid,
    /// softplus.
    Softplus,
    /// mish.
    Mish,
    /// softmax.
    Softmax,
    /// sample.
    Sample,
    /// What stands in `stop(...)` alone, of what networks give.
    Target,
    /// The steps of optimisers, of gradients.
    Optimizer,
}

/// A party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// The key owner.
    Client,
    /// The rented machine.
    Server,
}
