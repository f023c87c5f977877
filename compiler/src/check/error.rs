//! What can be wrong with a program that parses: plain data; the words are made in `diagnostics`.

use hecc_plan::Span;

use super::hir::{Range, Type};

/// An error of names, shapes, ranges or secrecy.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckError {
    /// A name that nothing has.
    UnknownName {
        /// "value", "net", "algorithm", "module", ...
        what: &'static str,
        /// The name.
        name: String,
        /// A name that is nearly it.
        meant: Option<String>,
        /// Where.
        span: Span,
    },
    /// Something named or given twice.
    Duplicate {
        /// What it is.
        what: &'static str,
        /// Its name, or empty for an item that stands alone.
        name: String,
        /// The second.
        span: Span,
        /// The first.
        first: Span,
    },
    /// The program, or a part of it, lacks something.
    Missing {
        /// What is missing, as it is written.
        what: &'static str,
        /// In what.
        within: &'static str,
        /// Where it should stand.
        span: Span,
    },
    /// A setting that does not exist.
    UnknownSetting {
        /// Its name.
        name: String,
        /// "train", "serve" or "secure".
        item: &'static str,
        /// A setting that is nearly it.
        meant: Option<String>,
        /// Where.
        span: Span,
    },
    /// A setting whose value is of the wrong kind.
    BadSetting {
        /// The setting.
        name: String,
        /// What it takes.
        expected: String,
        /// Where the value stands.
        span: Span,
    },
    /// A setting or parameter that has no default and is not set.
    MissingSetting {
        /// Its name.
        name: String,
        /// The algorithm that asks for it, if one does.
        algorithm: Option<String>,
        /// Where it should be set.
        span: Span,
    },
    /// A range that is not `[low, high]` with low below high.
    BadRange {
        /// The ends, where it has two constant ones.
        ends: Option<(f64, f64)>,
        /// Where.
        span: Span,
    },
    /// As many ranges as fit neither one for all nor one for each.
    RangeCount {
        /// Elements.
        elements: usize,
        /// Ranges.
        found: usize,
        /// Where.
        span: Span,
    },
    /// A function, activation, optimiser or schedule that does not exist.
    UnknownFunction {
        /// "function", "activation", "optimizer", ...
        what: &'static str,
        /// Its name.
        name: String,
        /// One that is nearly it.
        meant: Option<String>,
        /// Where.
        span: Span,
    },
    /// Arguments that do not fit a function.
    BadArguments {
        /// The function.
        function: String,
        /// What is wrong.
        problem: ArgumentProblem,
        /// Where.
        span: Span,
    },
    /// Values whose shapes do not go together.
    ShapeMismatch {
        /// What takes them.
        what: String,
        /// What it needs.
        expected: String,
        /// What it gets.
        found: String,
        /// Where.
        span: Span,
    },
    /// A net whose layers end in another shape than it declares.
    NetOutput {
        /// The net, or its head.
        name: String,
        /// As declared.
        declared: Vec<usize>,
        /// As the layers give it.
        found: Vec<usize>,
        /// The declaration.
        span: Span,
        /// The last layer.
        last: Span,
    },
    /// A layer that cannot take the shape before it.
    LayerInput {
        /// The layer.
        layer: &'static str,
        /// What it needs.
        needs: String,
        /// The shape before it.
        found: Vec<usize>,
        /// Where.
        span: Span,
    },
    /// A loss or revealed value that is not one number for the batch.
    NotScalar {
        /// "a loss", "a revealed value", "a scalar state".
        what: &'static str,
        /// Its type.
        found: Type,
        /// Where.
        span: Span,
    },
    /// An assignment to something that is not a state.
    NotAState {
        /// Its name.
        name: String,
        /// What it is instead.
        is: &'static str,
        /// Where.
        span: Span,
    },
    /// `over` something that has no parameters.
    NotTrainable {
        /// Its name.
        name: String,
        /// Where.
        span: Span,
    },
    /// A secret that would show in a public place.
    SecretFlow {
        /// The secret.
        secret: String,
        /// The public place.
        public: String,
        /// Where it flows.
        span: Span,
        /// Where the secret enters.
        source: Span,
        /// Where the place is declared public.
        declared: Span,
    },
    /// A name that is both secret and public.
    SecretAndPublic {
        /// The name.
        name: String,
        /// In `public`.
        span: Span,
        /// In `secret`.
        secret: Span,
    },
    /// A divisor that can be 0, or whose range is not known.
    DivisionByZero {
        /// Its range.
        range: Option<Range>,
        /// Where.
        span: Span,
    },
    /// Something that must be a constant and is not.
    NotConstant {
        /// What it is.
        what: String,
        /// Where.
        span: Span,
    },
    /// A declaration that differs from what a built-in environment has.
    EnvironmentMismatch {
        /// The environment.
        id: &'static str,
        /// "observation" or "action".
        what: &'static str,
        /// What the environment has, as it is written.
        known: &'static str,
        /// Where.
        span: Span,
    },
    /// An environment id that is nearly that of a built-in one.
    NearlyBuiltin {
        /// As written.
        id: String,
        /// The built-in.
        builtin: &'static str,
        /// Where.
        span: Span,
    },
    /// Something that exists but not here.
    Misplaced {
        /// It.
        what: String,
        /// Where it belongs.
        belongs: String,
        /// Where it stands.
        span: Span,
    },
    /// An index past the end.
    IndexRange {
        /// The index.
        index: f64,
        /// Elements.
        length: usize,
        /// Where.
        span: Span,
    },
    /// A value of another kind than is needed.
    WrongKind {
        /// What is needed.
        expected: String,
        /// What it is.
        found: String,
        /// Where.
        span: Span,
    },
    /// Heads that do not match the declared outputs.
    Heads {
        /// What is wrong with them.
        problem: HeadProblem,
        /// The net.
        net: String,
        /// Where.
        span: Span,
    },
    /// A number outside of what is possible.
    BadNumber {
        /// What it is.
        what: String,
        /// What it may be.
        expected: String,
        /// Where.
        span: Span,
    },
    /// An error in an algorithm of the standard library, as it is used here.
    InStandard {
        /// The module.
        module: String,
        /// The line of the module.
        line: usize,
        /// That line.
        text: String,
        /// The error; its spans are those of the `train` item.
        error: Box<CheckError>,
    },
}

/// What is wrong with arguments.
#[derive(Clone, Debug, PartialEq)]
pub enum ArgumentProblem {
    /// Too few or too many.
    Count {
        /// The arguments taken, as text.
        takes: String,
        /// How many are given.
        found: usize,
    },
    /// A named argument that the function does not have.
    UnknownName {
        /// The name.
        name: String,
        /// One that is nearly it.
        meant: Option<String>,
        /// All that it has.
        known: Vec<&'static str>,
    },
    /// An argument given twice.
    Twice {
        /// Its name.
        name: String,
    },
}

/// What is wrong with heads.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadProblem {
    /// Named outputs without `heads`.
    NoHeads,
    /// `heads` in a net with one unnamed output.
    NoNames,
    /// An output without a head.
    NoHead(String),
    /// A head without an output.
    NoOutput(String),
    /// A layer after `heads`.
    NotLast,
}

impl CheckError {
    /// Its code, `HE02xx`.
    pub fn code(&self) -> &'static str {
        match self {
            CheckError::UnknownName { .. } => "HE0201",
            CheckError::Duplicate { .. } => "HE0202",
            CheckError::Missing { .. } => "HE0203",
            CheckError::UnknownSetting { .. } => "HE0204",
            CheckError::BadSetting { .. } => "HE0205",
            CheckError::MissingSetting { .. } => "HE0206",
            CheckError::BadRange { .. } => "HE0207",
            CheckError::RangeCount { .. } => "HE0208",
            CheckError::UnknownFunction { .. } => "HE0209",
            CheckError::BadArguments { .. } => "HE0210",
            CheckError::ShapeMismatch { .. } => "HE0211",
            CheckError::NetOutput { .. } => "HE0212",
            CheckError::LayerInput { .. } => "HE0213",
            CheckError::NotScalar { .. } => "HE0214",
            CheckError::NotAState { .. } => "HE0215",
            CheckError::NotTrainable { .. } => "HE0216",
            CheckError::SecretFlow { .. } => "HE0217",
            CheckError::SecretAndPublic { .. } => "HE0218",
            CheckError::DivisionByZero { .. } => "HE0219",
            CheckError::NotConstant { .. } => "HE0220",
            CheckError::EnvironmentMismatch { .. } => "HE0221",
            CheckError::NearlyBuiltin { .. } => "HE0222",
            CheckError::Misplaced { .. } => "HE0223",
            CheckError::IndexRange { .. } => "HE0224",
            CheckError::WrongKind { .. } => "HE0225",
            CheckError::Heads { .. } => "HE0226",
            CheckError::BadNumber { .. } => "HE0227",
            CheckError::InStandard { error, .. } => error.code(),
        }
    }

    /// Where it stands.
    pub fn span(&self) -> Span {
        match self {
            CheckError::UnknownName { span, .. }
            | CheckError::Duplicate { span, .. }
            | CheckError::Missing { span, .. }
            | CheckError::UnknownSetting { span, .. }
            | CheckError::BadSetting { span, .. }
            | CheckError::MissingSetting { span, .. }
            | CheckError::BadRange { span, .. }
            | CheckError::RangeCount { span, .. }
            | CheckError::UnknownFunction { span, .. }
            | CheckError::BadArguments { span, .. }
            | CheckError::ShapeMismatch { span, .. }
            | CheckError::NetOutput { span, .. }
            | CheckError::LayerInput { span, .. }
            | CheckError::NotScalar { span, .. }
            | CheckError::NotAState { span, .. }
            | CheckError::NotTrainable { span, .. }
            | CheckError::SecretFlow { span, .. }
            | CheckError::SecretAndPublic { span, .. }
            | CheckError::DivisionByZero { span, .. }
            | CheckError::NotConstant { span, .. }
            | CheckError::EnvironmentMismatch { span, .. }
            | CheckError::NearlyBuiltin { span, .. }
            | CheckError::Misplaced { span, .. }
            | CheckError::IndexRange { span, .. }
            | CheckError::WrongKind { span, .. }
            | CheckError::Heads { span, .. }
            | CheckError::BadNumber { span, .. } => *span,
            CheckError::InStandard { error, .. } => error.span(),
        }
    }
}
