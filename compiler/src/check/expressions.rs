//! Expressions: types, constant folding, secrecy.

use hecc_plan::Span;

use super::error::CheckError;
use super::hir::*;
use super::interval::Ranges;
use super::names::nearest;
use super::secrecy::{Secrecy, source};
use crate::syntax::ast::{self, BinaryOp};

/// Where an expression stands decides what it may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A feature: observations and earlier features, in the environment's units.
    Feature,
    /// The recoding of the reward: everything the client has.
    Recode,
    /// A body: the batch, nets, states.
    Body,
    /// `serve`: observations, features and the action.
    Serve,
    /// A setting, a size: constants only.
    Constant,
}

impl Place {
    pub fn is_client(self) -> bool {
        matches!(self, Place::Feature | Place::Recode)
    }
}

/// What a name of a body stands for.
#[derive(Clone, Debug)]
pub(super) enum Binding {
    Number(f64),
    Optimizer(Optimizer),
    Let(LetId),
    Noise(NoiseId),
    State(StateId),
    Net(NetId),
    /// Declared, but with an error that is already reported.
    Broken,
}

/// Checks expressions in a scope.
pub(super) struct Exprs<'a> {
    pub place: Place,
    pub env: &'a Env,
    /// Names of the environment that are declared with an error.
    pub broken: &'a [String],
    pub nets: &'a [Net],
    pub secrecy: &'a Secrecy,
    /// Names of the body, innermost last.
    pub scope: Vec<(String, Binding)>,
    pub body: Body,
    /// Whether each state is secret.
    pub state_secret: Vec<bool>,
    pub let_ranges: Vec<Option<Range>>,
    /// Where the secret of each `let` enters.
    pub let_sources: Vec<Option<(String, Span)>>,
    pub feature_ranges: Vec<Option<Range>>,
    /// In a body: what a reward of 1 at each step sums to at most, over the steps of a return.
    pub terms: f64,
    /// In an algorithm of the standard library: the span of the `train` item, which all errors name.
    pub standard: Option<Span>,
    pub errors: Vec<CheckError>,
}

impl Expr {
    pub(super) fn number(&self) -> Option<f64> {
        match self.kind {
            ExprKind::Number(x) => Some(x),
            _ => None,
        }
    }
}

impl<'a> Exprs<'a> {
    pub fn new(place: Place, env: &'a Env, broken: &'a [String], nets: &'a [Net], secrecy: &'a Secrecy) -> Self {
        Exprs {
            place,
            env,
            broken,
            nets,
            secrecy,
            scope: Vec::new(),
            body: Body::default(),
            state_secret: Vec::new(),
            let_ranges: Vec::new(),
            let_sources: Vec::new(),
            feature_ranges: Vec::new(),
            terms: 1.0,
            standard: None,
            errors: Vec::new(),
        }
    }

    /// The span to give to what stands at `span`: in the standard library, the program's `train` item.
    pub fn place(&self, span: Span) -> Span {
        self.standard.unwrap_or(span)
    }

    pub fn report(&mut self, error: CheckError) {
        self.errors.push(error);
    }

    pub fn misplaced(&mut self, what: impl Into<String>, belongs: impl Into<String>, span: Span) {
        let span = self.place(span);
        self.report(CheckError::Misplaced { what: what.into(), belongs: belongs.into(), span });
    }

    pub fn wrong_kind(&mut self, expected: impl Into<String>, found: impl Into<String>, span: Span) {
        self.report(CheckError::WrongKind { expected: expected.into(), found: found.into(), span });
    }

    pub fn lookup(&self, name: &str) -> Option<&Binding> {
        self.scope.iter().rev().find(|(known, _)| known == name).map(|(_, binding)| binding)
    }

    pub fn range_of(&self, e: &Expr) -> Option<Range> {
        let units = self.place.is_client();
        Ranges { env: self.env, units, lets: &self.let_ranges, features: &self.feature_ranges, terms: self.terms }.of(e)
    }

    /// A constant, unless it is not finite.
    pub fn fold(&mut self, value: f64, span: Span) -> Option<Expr> {
        if !value.is_finite() {
            self.report(CheckError::BadNumber { what: "this constant".into(), expected: "finite".into(), span });
            return None;
        }
        Some(Expr { kind: ExprKind::Number(value), ty: Type::Number, secret: false, span })
    }

    /// Checks an expression; `None` after an error, which is in `errors` then.
    pub fn check(&mut self, e: &ast::Expr) -> Option<Expr> {
        let span = self.place(e.span);
        match &e.kind {
            ast::ExprKind::Number(n) => self.fold(n.value, span),
            ast::ExprKind::Paren(inner) => self.check(inner),
            ast::ExprKind::Name(name) => self.name(name, span),
            ast::ExprKind::Text(_) => {
                self.wrong_kind("a value", "a string", span);
                None
            }
            ast::ExprKind::List(_) => {
                self.wrong_kind("a value", "a list", span);
                None
            }
            ast::ExprKind::Neg(inner) => {
                let inner = self.check(inner)?;
                if let Some(x) = inner.number() {
                    return self.fold(-x, span);
                }
                self.single(&inner)?;
                let (ty, secret) = (inner.ty.clone(), inner.secret);
                Some(Expr { kind: ExprKind::Neg(Box::new(inner)), ty, secret, span })
            }
            ast::ExprKind::Binary(op, a, b) => self.binary(*op, a, b, span),
            ast::ExprKind::Call(callee, args) => self.call(callee, args, span),
            ast::ExprKind::Index(of, index) => self.index(of, index, span),
            ast::ExprKind::Field(of, field) => {
                let of = self.check(of)?;
                let Some(names) = self.tuple_names(&of) else {
                    self.wrong_kind("the result of a net with named outputs", kind_of(&of.ty), of.span);
                    return None;
                };
                match names.iter().position(|name| *name == field.text) {
                    Some(at) => project(of, at, span),
                    None => {
                        let meant = nearest(&field.text, names.iter().map(String::as_str));
                        let span = self.place(field.span);
                        self.report(CheckError::UnknownName { what: "output", name: field.text.clone(), meant, span });
                        None
                    }
                }
            }
        }
    }

    fn index(&mut self, of: &ast::Expr, index: &ast::Expr, span: Span) -> Option<Expr> {
        let (of, i) = (self.check(of), self.constant(index, "an index"));
        let (of, i) = (of?, i?);
        let length = match &of.ty {
            Type::Sample(n) => *n,
            Type::Tuple(list) => list.len(),
            other @ (Type::Number | Type::Image(_) | Type::Batch) => {
                self.wrong_kind("a vector", kind_of(other), of.span);
                return None;
            }
        };
        if i.fract() != 0.0 || i < 0.0 || i >= length as f64 {
            let span = self.place(index.span);
            self.report(CheckError::IndexRange { index: i, length, span });
            return None;
        }
        let i = i as usize;
        if matches!(of.ty, Type::Tuple(_)) {
            return project(of, i, span);
        }
        let secret = of.secret;
        Some(Expr { kind: ExprKind::Index(Box::new(of), i), ty: Type::Sample(1), secret, span })
    }

    fn name(&mut self, name: &str, span: Span) -> Option<Expr> {
        let value = |value, ty, secret| Some(Expr { kind: ExprKind::Value(value), ty, secret, span });
        match self.lookup(name).cloned() {
            Some(Binding::Number(x)) => return self.fold(x, span),
            Some(Binding::Optimizer(_)) => {
                self.wrong_kind("a value", format!("the optimizer `{name}`"), span);
                return None;
            }
            Some(Binding::Let(id)) => {
                let bound = &self.body.lets[id.0].expr;
                if let Some(x) = bound.number() {
                    return self.fold(x, span);
                }
                return value(Value::Let(id), bound.ty.clone(), bound.secret);
            }
            Some(Binding::Noise(id)) => return value(Value::Noise(id), Type::Sample(self.body.noises[id.0].dim), false),
            Some(Binding::State(id)) => match self.body.states[id.0].kind {
                StateKind::Scalar(_) => return value(Value::State(id), Type::Batch, self.state_secret[id.0]),
                StateKind::Copy(_) | StateKind::Fresh(_) => {
                    self.wrong_kind("a value", format!("the network `{name}`: apply it, as in `{name}(s)`"), span);
                    return None;
                }
            },
            Some(Binding::Net(_)) => {
                self.wrong_kind("a value", format!("the network `{name}`: apply it, as in `{name}(s)`"), span);
                return None;
            }
            Some(Binding::Broken) => return None,
            None => {}
        }
        if let Some((found, ty)) = self.env_value(name) {
            let allowed = match (self.place, &found) {
                (Place::Constant, _) => false,
                (Place::Body | Place::Recode, _) => true,
                (Place::Feature, Value::Observation { next: false, .. } | Value::Feature { next: false, .. }) => true,
                (Place::Serve, Value::Observation { next: false, .. } | Value::Feature { next: false, .. } | Value::Action) => true,
                (Place::Feature | Place::Serve, _) => false,
            };
            if !allowed {
                let belongs = match self.place {
                    Place::Feature => "a feature is computed from the observations of one state",
                    Place::Serve => "`serve` has the observations, the features and the action of one state",
                    Place::Constant => "only constants can stand here",
                    Place::Body | Place::Recode => "it belongs elsewhere",
                };
                self.misplaced(format!("`{name}`"), belongs, span);
                return None;
            }
            return value(found, ty, self.secrecy.is_secret(name.trim_end_matches('\'')));
        }
        if self.broken.iter().any(|known| known == name.trim_end_matches('\'')) {
            return None;
        }
        if self.nets.iter().any(|net| net.name == name) {
            match self.place {
                Place::Body => self.misplaced(
                    format!("the network `{name}`"),
                    "an algorithm uses the networks in its parentheses: add it there and in `train`",
                    span,
                ),
                Place::Feature | Place::Recode => {
                    self.misplaced(format!("the network `{name}`"), "the client's part runs before any network", span)
                }
                Place::Serve | Place::Constant => self.wrong_kind("a value", format!("the network `{name}`"), span),
            }
            return None;
        }
        if super::calls::is_function(name) {
            self.wrong_kind("a value", format!("the function `{name}`: apply it, as in `{name}(...)`"), span);
            return None;
        }
        let known = self.known_values();
        let meant = nearest(name, known.iter().map(String::as_str));
        let what = if self.place == Place::Constant { "constant" } else { "value" };
        self.report(CheckError::UnknownName { what, name: name.to_string(), meant, span });
        None
    }

    /// The value of the batch that a name stands for. In the standard library, `a` and `r` are the action and the reward by any name.
    pub fn env_value(&self, name: &str) -> Option<(Value, Type)> {
        let (base, next) = match name.strip_suffix('\'') {
            Some(base) => (base, true),
            None => (name, false),
        };
        if let Some(index) = self.env.observations.iter().position(|o| o.name == base) {
            return Some((Value::Observation { index, next }, sample_type(&self.env.observations[index].shape)));
        }
        if let Some(index) = self.env.features.iter().position(|f| f.name == base) {
            return Some((Value::Feature { index, next }, Type::Sample(self.env.features[index].dim)));
        }
        if next {
            return None;
        }
        if name == self.env.action.name || (self.standard.is_some() && name == "a") {
            return Some((Value::Action, Type::Sample(action_length(&self.env.action.kind))));
        }
        if name == self.env.reward || (self.standard.is_some() && name == "r") {
            return Some((Value::Reward, Type::Sample(1)));
        }
        (name == "done").then_some((Value::Done, Type::Sample(1)))
    }

    fn known_values(&self) -> Vec<String> {
        let mut known: Vec<String> = self.scope.iter().rev().map(|(name, _)| name.clone()).collect();
        if self.place == Place::Constant {
            return known;
        }
        let twins = matches!(self.place, Place::Body | Place::Recode);
        let names = self.env.observations.iter().map(|o| &o.name).chain(self.env.features.iter().map(|f| &f.name));
        for name in names {
            known.push(name.clone());
            if twins {
                known.push(format!("{name}'"));
            }
        }
        known.extend([self.env.action.name.clone(), self.env.reward.clone(), "done".to_string()]);
        known
    }

    /// Reports a tuple where one value is needed.
    pub fn single(&mut self, e: &Expr) -> Option<()> {
        if let Type::Tuple(_) = e.ty {
            self.wrong_kind("one value", kind_of(&e.ty), e.span);
            return None;
        }
        Some(())
    }

    /// The type of an element-wise combination.
    pub fn join(&mut self, what: &str, a: &Expr, b: &Expr, span: Span) -> Option<Type> {
        self.single(a)?;
        self.single(b)?;
        Some(match (&a.ty, &b.ty) {
            (x, y) if x == y => x.clone(),
            (Type::Number, other) | (other, Type::Number) => other.clone(),
            (Type::Batch, other) | (other, Type::Batch) => other.clone(),
            (Type::Sample(1), other) | (other, Type::Sample(1)) => other.clone(),
            (x, y) => {
                self.report(CheckError::ShapeMismatch { what: what.into(), expected: shape_of(x), found: shape_of(y), span });
                return None;
            }
        })
    }

    fn binary(&mut self, op: BinaryOp, a: &ast::Expr, b: &ast::Expr, span: Span) -> Option<Expr> {
        if op == BinaryOp::Pow {
            return self.power(a, b, span);
        }
        let (left, right) = (self.check(a), self.check(b));
        let (left, right) = (left?, right?);
        if let (Some(x), Some(y)) = (left.number(), right.number()) {
            if op == BinaryOp::Div && y == 0.0 {
                self.report(CheckError::DivisionByZero { range: Some(Range { low: 0.0, high: 0.0 }), span: right.span });
                return None;
            }
            let value = match op {
                BinaryOp::Add => x + y,
                BinaryOp::Sub => x - y,
                BinaryOp::Mul => x * y,
                BinaryOp::Div | BinaryOp::Pow => x / y,
            };
            return self.fold(value, span);
        }
        let ty = self.join(&format!("`{}`", op.symbol()), &left, &right, span)?;
        let secret = left.secret || right.secret;
        let (op, right) = match op {
            BinaryOp::Add => (Binary::Add, right),
            BinaryOp::Sub => (Binary::Sub, right),
            BinaryOp::Mul => (Binary::Mul, right),
            BinaryOp::Div | BinaryOp::Pow => self.divisor(right)?,
        };
        Some(Expr { kind: ExprKind::Binary(op, Box::new(left), Box::new(right)), ty, secret, span })
    }

    /// Division: exact for the client; elsewhere a product with a constant or with a function of known range.
    fn divisor(&mut self, right: Expr) -> Option<(Binary, Expr)> {
        let range = self.range_of(&right);
        let Some(known) = range.filter(|r| r.low > 0.0 || r.high < 0.0) else {
            self.report(CheckError::DivisionByZero { range, span: right.span });
            return None;
        };
        if self.place.is_client() {
            return Some((Binary::Div, right));
        }
        let (ty, secret, span) = (right.ty.clone(), right.secret, right.span);
        if let Some(x) = right.number() {
            return Some((Binary::Mul, self.fold(1.0 / x, span)?));
        }
        let pins = Pins { range: Some(known), ..Pins::default() };
        let activation = Activation { function: Function::Reciprocal, pins };
        Some((Binary::Mul, Expr { kind: ExprKind::Map(activation, Box::new(right)), ty, secret, span }))
    }

    fn power(&mut self, a: &ast::Expr, b: &ast::Expr, span: Span) -> Option<Expr> {
        let (base, exponent) = (self.check(a), self.constant(b, "an exponent"));
        let (base, exponent) = (base?, exponent?);
        if let Some(x) = base.number() {
            return self.fold(libm::pow(x, exponent), span);
        }
        self.single(&base)?;
        if exponent.fract() != 0.0 || !(1.0..=64.0).contains(&exponent) {
            let expected = "a whole number from 1 to 64".to_string();
            let span = self.place(b.span);
            self.report(CheckError::BadNumber { what: "an exponent".into(), expected, span });
            return None;
        }
        let (ty, secret) = (base.ty.clone(), base.secret);
        if exponent == 1.0 {
            return Some(base);
        }
        Some(Expr { kind: ExprKind::Pow(Box::new(base), exponent as u32), ty, secret, span })
    }

    /// Names of the parts of a tuple.
    pub fn tuple_names(&self, e: &Expr) -> Option<Vec<String>> {
        let mut e = e;
        loop {
            match &e.kind {
                ExprKind::Value(Value::Let(id)) => e = &self.body.lets[id.0].expr,
                ExprKind::Stop(inner) => e = inner,
                ExprKind::Apply { net, .. } => {
                    let Type::Tuple(_) = e.ty else { return None };
                    let net = &self.nets[self.base_net(*net).0];
                    return Some(net.outputs.iter().map(|head| head.name.clone().unwrap_or_default()).collect());
                }
                ExprKind::Sample { .. } => return Some(vec!["action".into(), "log_prob".into()]),
                _ => return None,
            }
        }
    }

    /// Where the secret of an expression enters it.
    pub fn source(&self, e: &Expr) -> Option<(String, Span)> {
        source(
            e,
            &self.let_sources,
            &|value| match value {
                Value::Observation { index, .. } => self.env.observations[index].name.clone(),
                Value::Feature { index, .. } => self.env.features[index].name.clone(),
                Value::Action => self.env.action.name.clone(),
                Value::Reward => self.env.reward.clone(),
                Value::Done => "done".into(),
                Value::Let(id) => self.body.lets[id.0].name.clone(),
                Value::Noise(id) => self.body.noises[id.0].name.clone(),
                Value::State(id) => self.body.states[id.0].name.clone(),
            },
            &|net| match net {
                NetRef::Net(id) | NetRef::Old(id) => (self.nets[id.0].name.clone(), self.nets[id.0].secret),
                NetRef::State(id) => (self.body.states[id.0].name.clone(), self.state_secret[id.0]),
            },
        )
    }

    /// The net whose architecture a reference has.
    pub fn base_net(&self, net: NetRef) -> NetId {
        match net {
            NetRef::Net(id) | NetRef::Old(id) => id,
            NetRef::State(id) => match self.body.states[id.0].kind {
                StateKind::Copy(id) | StateKind::Fresh(id) => id,
                // `net_ref` makes references to network states only.
                StateKind::Scalar(_) => NetId(0),
            },
        }
    }
}

/// `tuple[i]`; `None` never, for the caller's convenience.
pub(super) fn project(of: Expr, at: usize, span: Span) -> Option<Expr> {
    let Type::Tuple(list) = &of.ty else { return None };
    let (ty, secret) = (list.get(at)?.clone(), of.secret);
    Some(Expr { kind: ExprKind::Project(Box::new(of), at), ty, secret, span })
}

/// The type of one sample of a shape.
pub(super) fn sample_type(shape: &[usize]) -> Type {
    match shape {
        [c, h, w] => Type::Image([*c, *h, *w]),
        other => Type::Sample(other.iter().product()),
    }
}

/// Length of an action on the wire.
pub(super) fn action_length(kind: &ActionKind) -> usize {
    match kind {
        ActionKind::Discrete { k } => *k,
        ActionKind::MultiDiscrete { n, k } => n * k,
        ActionKind::Continuous { shape, .. } => shape.iter().product(),
    }
}

/// A type in the user's words.
pub(crate) fn kind_of(ty: &Type) -> String {
    match ty {
        Type::Number => "a constant".into(),
        Type::Sample(1) => "one number per sample".into(),
        Type::Sample(n) => format!("a vector of {n} per sample"),
        Type::Image([c, h, w]) => format!("an image [{c}, {h}, {w}] per sample"),
        Type::Batch => "one number for the batch".into(),
        Type::Tuple(list) => format!("{} values", list.len()),
    }
}

/// A type as a shape.
pub(super) fn shape_of(ty: &Type) -> String {
    match ty {
        Type::Sample(n) => format!("[{n}]"),
        Type::Image([c, h, w]) => format!("[{c}, {h}, {w}]"),
        Type::Number | Type::Batch | Type::Tuple(_) => kind_of(ty),
    }
}
