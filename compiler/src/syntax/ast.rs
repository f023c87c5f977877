//! The program as written: one node per thing that stands in the text, each with its span.

use hecc_plan::Span;

/// A whole file.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Program {
    /// Items, in source order.
    pub items: Vec<Item>,
    /// Comments, in source order.
    pub comments: Vec<Comment>,
}

/// A `//` comment.
#[derive(Clone, Debug, PartialEq)]
pub struct Comment {
    /// From `//` to the end of the line, without trailing white space.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A name as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Name {
    /// Its letters, with the `'` of a primed name.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

/// A number as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Number {
    /// Its digits.
    pub text: String,
    /// Its value.
    pub value: f64,
    /// Where it stands.
    pub span: Span,
}

/// An item.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// `use std.dqn`.
    Use(Use),
    /// `env "ID" { ... }`.
    Env(Env),
    /// `net NAME(...) -> ... { ... }`.
    Net(Net),
    /// `algorithm NAME(...) { ... }`.
    Algorithm(Algorithm),
    /// `train ALGORITHM(...) { ... }`.
    Train(Train),
    /// `serve EXPR { ... }`.
    Serve(Serve),
    /// `secure SCHEME { ... }`.
    Secure(Secure),
}

impl Item {
    /// Where the item stands.
    pub fn span(&self) -> Span {
        match self {
            Item::Use(x) => x.span,
            Item::Env(x) => x.span,
            Item::Net(x) => x.span,
            Item::Algorithm(x) => x.span,
            Item::Train(x) => x.span,
            Item::Serve(x) => x.span,
            Item::Secure(x) => x.span,
        }
    }
}

/// `use PATH, ...`.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// Dotted paths.
    pub paths: Vec<Name>,
    /// The whole item.
    pub span: Span,
}

/// `env "ID" { ... }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Env {
    /// The id, without quotes.
    pub id: Name,
    /// Its lines.
    pub lines: Vec<EnvLine>,
    /// The whole item.
    pub span: Span,
}

/// A line of `env`.
#[derive(Clone, Debug, PartialEq)]
pub struct EnvLine {
    /// What it is.
    pub kind: EnvLineKind,
    /// Where it stands.
    pub span: Span,
}

/// What a line of `env` is.
#[derive(Clone, Debug, PartialEq)]
pub enum EnvLineKind {
    /// `observe NAME: [SHAPE] in RANGE, ...`.
    Observe {
        /// Its name.
        name: Name,
        /// Its shape.
        shape: Shape,
        /// Lists of two numbers.
        ranges: Vec<Expr>,
    },
    /// `act NAME: ...`.
    Act {
        /// Its name.
        name: Name,
        /// `[N]`, absent in `one of K`.
        shape: Option<Shape>,
        /// `one of K` or `in RANGE, ...`.
        choice: Choice,
    },
    /// `reward NAME in RANGE`.
    Reward {
        /// Its name.
        name: Name,
        /// A list of two numbers.
        range: Expr,
    },
    /// `client { ... }`.
    Client(Vec<Stmt>),
}

/// What an action is chosen from.
#[derive(Clone, Debug, PartialEq)]
pub enum Choice {
    /// `one of K`.
    OneOf(Number),
    /// `in RANGE, ...`.
    In(Vec<Expr>),
}

/// `[4]`, `[3, 84, 84]`, `[a]` (as long as `a`).
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// Sizes.
    pub dims: Vec<Dim>,
    /// Where it stands.
    pub span: Span,
}

/// A size.
#[derive(Clone, Debug, PartialEq)]
pub enum Dim {
    /// A number.
    Number(Number),
    /// The length of a named value.
    Name(Name),
}

/// `net NAME(INPUT, ...) -> OUTPUT { ... }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Net {
    /// Its name.
    pub name: Name,
    /// Inputs.
    pub inputs: Vec<NetInput>,
    /// Outputs.
    pub output: Output,
    /// Layers; `heads` is one of them.
    pub layers: Vec<Layer>,
    /// The whole item.
    pub span: Span,
}

/// `NAME` or `NAME: [SHAPE]`.
#[derive(Clone, Debug, PartialEq)]
pub struct NetInput {
    /// Its name.
    pub name: Name,
    /// Its shape, where given.
    pub shape: Option<Shape>,
}

/// What a net gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// `[2]`.
    Single(Shape),
    /// `(mu: [1], log_std: [1])`.
    Named(Vec<(Name, Shape)>),
}

/// A layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// What it is.
    pub kind: LayerKind,
    /// Where it stands.
    pub span: Span,
}

/// What a layer is.
#[derive(Clone, Debug, PartialEq)]
pub enum LayerKind {
    /// `dense N ...`.
    Dense {
        /// N.
        units: Number,
        /// What follows.
        tail: Tail,
    },
    /// `conv N kernel K stride S ...`.
    Conv {
        /// N.
        channels: Number,
        /// K.
        kernel: Number,
        /// S, 1 where absent.
        stride: Option<Number>,
        /// What follows.
        tail: Tail,
    },
    /// `flatten`.
    Flatten,
    /// An activation alone.
    Activation(Activation),
    /// `residual { ... }`.
    Residual(Vec<Layer>),
    /// `scale C`.
    Scale(Number),
    /// `heads { ... }`.
    Heads(Vec<Head>),
}

/// What follows the sizes of a dense or conv layer.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Tail {
    /// The activation.
    pub activation: Option<Activation>,
    /// Where `nobias` stands.
    pub nobias: Option<Span>,
    /// `init NAME`, every one given.
    pub init: Vec<Name>,
}

/// `silu`, `silu(degree: 7)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Activation {
    /// Which.
    pub name: Name,
    /// Its arguments.
    pub args: Vec<Arg>,
    /// Where it stands.
    pub span: Span,
}

/// `NAME { LAYER ... }` in `heads`.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// The output it makes.
    pub name: Name,
    /// Its layers.
    pub layers: Vec<Layer>,
    /// Where it stands.
    pub span: Span,
}

/// `algorithm NAME(NET, ...) { ... }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Algorithm {
    /// Its name.
    pub name: Name,
    /// The nets it is given.
    pub nets: Vec<Name>,
    /// One update.
    pub body: Vec<Stmt>,
    /// The whole item.
    pub span: Span,
}

/// `train ALGORITHM(NET, ...) { ... }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Train {
    /// The algorithm.
    pub algorithm: Name,
    /// The nets it is given.
    pub nets: Vec<Name>,
    /// `NAME = VALUE` lines.
    pub settings: Vec<Setting>,
    /// The whole item.
    pub span: Span,
}

/// `serve EXPR { ... }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Serve {
    /// What is evaluated.
    pub expr: Expr,
    /// `NAME = VALUE` lines.
    pub settings: Vec<Setting>,
    /// The whole item.
    pub span: Span,
}

/// `secure SCHEME { ... }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Secure {
    /// `ckks`, `tfhe` or `auto`.
    pub scheme: Name,
    /// `NAME = VALUE` lines.
    pub settings: Vec<Setting>,
    /// The whole item.
    pub span: Span,
}

/// `NAME = VALUE`.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// Its name.
    pub name: Name,
    /// Its value.
    pub value: SettingValue,
    /// Where it stands.
    pub span: Span,
}

/// The value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub enum SettingValue {
    /// `0.99`, `[s, a]`, `adam(3e-4)`, `bootstrap`.
    Expr(Expr),
    /// `w4 a6`.
    Quantize {
        /// Bits of weights, as written.
        weights: String,
        /// Bits of activations, as written.
        activations: String,
        /// Where it stands.
        span: Span,
    },
}

impl SettingValue {
    /// Where the value stands.
    pub fn span(&self) -> Span {
        match self {
            SettingValue::Expr(e) => e.span,
            SettingValue::Quantize { span, .. } => *span,
        }
    }
}

/// A statement.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it is.
    pub kind: StmtKind,
    /// Where it stands.
    pub span: Span,
}

/// What a statement is.
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `parameter NAME [= DEFAULT], ...`.
    Parameter(Vec<(Name, Option<Expr>)>),
    /// `state NAME = EXPR`.
    State {
        /// Its name.
        name: Name,
        /// How it starts.
        init: Expr,
    },
    /// `noise NAME: [SHAPE]`.
    Noise {
        /// Its name.
        name: Name,
        /// Its shape.
        shape: Shape,
    },
    /// `let NAME = EXPR` (one name) or `let (A, B) = EXPR` (`tuple`).
    Let {
        /// The names bound.
        names: Vec<Name>,
        /// Whether the names stand in parentheses.
        tuple: bool,
        /// Their value.
        value: Expr,
    },
    /// `minimize EXPR over NAME, ... with EXPR`.
    Minimize {
        /// The loss.
        loss: Expr,
        /// What is trained.
        over: Vec<Name>,
        /// The optimiser.
        with: Expr,
    },
    /// `NAME <- EXPR`.
    Assign {
        /// The state.
        name: Name,
        /// Its new value.
        value: Expr,
    },
    /// `reveal EXPR as "label"`.
    Reveal {
        /// What.
        value: Expr,
        /// The label, without quotes.
        label: Name,
    },
    /// `every K { ... }`.
    Every {
        /// K.
        period: Expr,
        /// What.
        body: Vec<Stmt>,
    },
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// What an expression is.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A number.
    Number(Number),
    /// A name.
    Name(String),
    /// A string, without quotes.
    Text(String),
    /// `(x)`.
    Paren(Box<Expr>),
    /// `[x, ...]`.
    List(Vec<Expr>),
    /// `-x`.
    Neg(Box<Expr>),
    /// `a + b` and its siblings.
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `f(x, ...)`.
    Call(Box<Expr>, Vec<Arg>),
    /// `v[i]`.
    Index(Box<Expr>, Box<Expr>),
    /// `x.mu`.
    Field(Box<Expr>, Name),
}

/// An infix operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BinaryOp {
    /// `+`.
    Add,
    /// `-`.
    Sub,
    /// `*`.
    Mul,
    /// `/`.
    Div,
    /// `^`.
    Pow,
}

impl BinaryOp {
    /// The operator as written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Pow => "^",
        }
    }
}

/// An argument: `x` or `name: x`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arg {
    /// Its name, where given.
    pub name: Option<Name>,
    /// Its value.
    pub value: Expr,
}
