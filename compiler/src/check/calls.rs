//! Calls: networks applied, and the functions of the language.

use hecc_plan::Span;

use super::arguments::{ACTIVATIONS, Signature, activation_named};
use super::error::{ArgumentProblem, CheckError};
use super::expressions::{Binding, Exprs, Place, kind_of, project, sample_type, shape_of};
use super::hir::*;
use super::interval;
use super::names::nearest;
use crate::syntax::ast::{self, Arg};

/// Functions of expressions that are not activations.
const FUNCTIONS: [&str; 24] = [
    "min",
    "max",
    "argmax",
    "sum",
    "mean",
    "dot",
    "clip",
    "exp",
    "log",
    "sqrt",
    "abs",
    "select",
    "stop",
    "concat",
    "sample",
    "old",
    "mix",
    "copy",
    "sin",
    "cos",
    "atan2",
    "outer",
    "fourier",
    "tensor_fourier",
];

/// Most features that the client computes.
const MAX_FEATURES: f64 = 65536.0;

/// Whether a function of expressions has this name.
pub(super) fn is_function(name: &str) -> bool {
    FUNCTIONS.contains(&name) || ACTIVATIONS.contains(&name)
}

const fn signature(names: &'static [&'static str], required: usize, pins: bool) -> Signature {
    Signature { names, required, pins }
}

impl Exprs<'_> {
    /// The network that an expression names: `q`, `t`, `old(q)`. `None` without an error where it names none.
    pub fn net_ref(&mut self, e: &ast::Expr) -> Option<Result<NetRef, ()>> {
        match &e.kind {
            ast::ExprKind::Paren(inner) => self.net_ref(inner),
            ast::ExprKind::Name(name) => match self.lookup(name) {
                Some(Binding::Net(id)) => Some(Ok(NetRef::Net(*id))),
                Some(Binding::State(id)) => match self.body.states[id.0].kind {
                    StateKind::Copy(_) | StateKind::Fresh(_) => Some(Ok(NetRef::State(*id))),
                    StateKind::Scalar(_) => None,
                },
                Some(Binding::Broken) => Some(Err(())),
                Some(Binding::Number(_) | Binding::Optimizer(_) | Binding::Let(_) | Binding::Noise(_)) => None,
                None if self.place == Place::Serve => {
                    let id = self.nets.iter().position(|net| net.name == *name)?;
                    Some(Ok(NetRef::Net(NetId(id))))
                }
                None => None,
            },
            ast::ExprKind::Call(callee, args) => {
                let ast::ExprKind::Name(name) = &callee.kind else { return None };
                if name != "old" || self.lookup("old").is_some() {
                    return None;
                }
                let [Arg { name: None, value }] = args.as_slice() else {
                    self.bad_arguments("old", ArgumentProblem::Count { takes: "(net)".into(), found: args.len() }, e.span);
                    return Some(Err(()));
                };
                match self.net_ref(value) {
                    Some(Ok(NetRef::Net(id))) => Some(Ok(NetRef::Old(id))),
                    Some(Err(())) => Some(Err(())),
                    Some(Ok(NetRef::Old(_) | NetRef::State(_))) | None => {
                        let span = self.place(value.span);
                        self.wrong_kind("one of the algorithm's networks", "something else", span);
                        Some(Err(()))
                    }
                }
            }
            _ => None,
        }
    }

    pub(super) fn call(&mut self, callee: &ast::Expr, args: &[Arg], span: Span) -> Option<Expr> {
        if let Some(net) = self.net_ref(callee) {
            return self.apply(net.ok()?, args, span);
        }
        let ast::ExprKind::Name(name) = &callee.kind else {
            let span = self.place(callee.span);
            self.wrong_kind("a network or a function", "something else", span);
            return None;
        };
        if is_function(name) {
            return self.function(name, args, span);
        }
        let place = self.place(callee.span);
        if let Some(index) = self.nets.iter().position(|net| net.name == *name) {
            let name = self.nets[index].name.clone();
            let belongs = match self.place {
                Place::Body => "an algorithm uses the networks in its parentheses: add it there and in `train`",
                Place::Feature | Place::Recode => "the client's part runs before any network",
                Place::Serve | Place::Constant => "only constants can stand here",
            };
            self.misplaced(format!("the network `{name}`"), belongs, place);
            return None;
        }
        if self.lookup(name).is_some() || self.env_value(name).is_some() {
            self.wrong_kind("a network or a function", format!("the value `{name}`"), place);
            return None;
        }
        if self.broken.iter().any(|broken| broken == name) {
            return None;
        }
        let mut known: Vec<&str> = self.scope.iter().rev().map(|(name, _)| name.as_str()).collect();
        known.extend(self.nets.iter().map(|net| net.name.as_str()));
        known.extend(FUNCTIONS);
        known.extend(ACTIVATIONS);
        let meant = nearest(name, known);
        self.report(CheckError::UnknownFunction { what: "network or function", name: name.clone(), meant, span: place });
        None
    }

    fn apply(&mut self, net: NetRef, args: &[Arg], span: Span) -> Option<Expr> {
        let id = self.base_net(net);
        let nets = self.nets;
        let target = &nets[id.0];
        if let Some(named) = args.iter().find_map(|arg| arg.name.as_ref()) {
            let problem = ArgumentProblem::UnknownName { name: named.text.clone(), meant: None, known: Vec::new() };
            self.bad_arguments(&target.name, problem, named.span);
            return None;
        }
        let checked = match self.whole_state(target, args, span) {
            Some(checked) => checked,
            None => args.iter().map(|arg| self.check(&arg.value)).collect(),
        };
        if checked.len() != target.inputs.len() {
            let inputs: Vec<&str> = target.inputs.iter().map(|input| input.name.as_str()).collect();
            let problem = ArgumentProblem::Count { takes: format!("({})", inputs.join(", ")), found: checked.len() };
            self.bad_arguments(&target.name, problem, span);
            return None;
        }
        let mut given = Vec::new();
        for (arg, input) in checked.into_iter().zip(&target.inputs) {
            let Some(arg) = arg else { continue };
            let wanted = sample_type(&input.shape);
            if arg.ty == wanted {
                given.push(arg);
            } else {
                let what = format!("input `{}` of `{}`", input.name, target.name);
                self.report(CheckError::ShapeMismatch { what, expected: shape_of(&wanted), found: shape_of(&arg.ty), span: arg.span });
            }
        }
        if given.len() != target.inputs.len() {
            return None;
        }
        let own = match net {
            NetRef::Net(_) | NetRef::Old(_) => target.secret,
            NetRef::State(state) => self.state_secret[state.0],
        };
        let secret = own || given.iter().any(|arg| arg.secret);
        let ty = match target.outputs.as_slice() {
            [one] if one.name.is_none() => sample_type(&one.shape),
            heads => Type::Tuple(heads.iter().map(|head| sample_type(&head.shape)).collect()),
        };
        Some(Expr { kind: ExprKind::Apply { net, args: given }, ty, secret, span })
    }

    /// In the standard library `s` stands for the whole state: a net gets whatever observations and features it asks for.
    fn whole_state(&mut self, target: &Net, args: &[Arg], span: Span) -> Option<Vec<Option<Expr>>> {
        self.standard?;
        let (first, rest) = args.split_first()?;
        let ast::ExprKind::Name(name) = &first.value.kind else { return None };
        let twin = match name.as_str() {
            "s" => "",
            "s'" => "'",
            _ => return None,
        };
        let mut rest = rest.iter();
        let mut given = Vec::new();
        for input in &target.inputs {
            let name = format!("{}{twin}", input.name);
            match self.env_value(&name) {
                Some((value @ (Value::Observation { .. } | Value::Feature { .. }), ty)) => {
                    let secret = self.secrecy.is_secret(&input.name);
                    given.push(Some(Expr { kind: ExprKind::Value(value), ty, secret, span }));
                }
                _ => given.push(rest.next().and_then(|arg| self.check(&arg.value))),
            }
        }
        given.extend(rest.map(|arg| self.check(&arg.value)));
        Some(given)
    }

    fn function(&mut self, name: &str, args: &[Arg], span: Span) -> Option<Expr> {
        if let Some(function) = activation_named(name).or(match name {
            "exp" => Some(Function::Exp),
            "log" => Some(Function::Log),
            "sqrt" => Some(Function::Sqrt),
            "abs" => Some(Function::Abs),
            "sin" => Some(Function::Sin),
            "cos" => Some(Function::Cos),
            _ => None,
        }) {
            if matches!(function, Function::Sin | Function::Cos) && !self.for_client(name, span) {
                return None;
            }
            let (bound, pins) = self.bind(name, &signature(&["x"], 1, true), args, span)?;
            let x = self.check(bound[0]?)?;
            return self.map(Activation { function, pins }, x, span);
        }
        match name {
            "poly" => {
                let Some((x, coefficients)) = args.split_first() else {
                    let problem = ArgumentProblem::Count { takes: "(x, c0, c1, ...)".into(), found: 0 };
                    self.bad_arguments("poly", problem, span);
                    return None;
                };
                let (x, coefficients) = (self.check(&x.value), self.coefficients(coefficients, span));
                self.map(Activation { function: Function::Poly(coefficients?), pins: Pins::default() }, x?, span)
            }
            "min" | "max" => self.extremum(name, args, span),
            "argmax" => {
                let x = self.vector(name, args, span)?;
                let (ty, secret) = (x.ty.clone(), x.secret);
                Some(Expr { kind: ExprKind::ArgMax(Box::new(x)), ty, secret, span })
            }
            "sum" | "mean" => self.reduce(name, args, span),
            "dot" | "outer" => {
                if name == "outer" && !self.for_client(name, span) {
                    return None;
                }
                let [a, b] = self.checked(name, &["a", "b"], args, span)?;
                let (Type::Sample(n), Type::Sample(m)) = (&a.ty, &b.ty) else {
                    let found = format!("{} and {}", kind_of(&a.ty), kind_of(&b.ty));
                    self.wrong_kind("two vectors", found, span);
                    return None;
                };
                let (n, m, secret) = (*n, *m, a.secret || b.secret);
                if name == "outer" {
                    let ty = Type::Sample(n.saturating_mul(m));
                    return Some(Expr { kind: ExprKind::Outer(Box::new(a), Box::new(b)), ty, secret, span });
                }
                if n != m {
                    self.report(CheckError::ShapeMismatch {
                        what: "`dot`".into(),
                        expected: format!("[{n}]"),
                        found: format!("[{m}]"),
                        span,
                    });
                    return None;
                }
                Some(Expr { kind: ExprKind::Dot(Box::new(a), Box::new(b)), ty: Type::Sample(1), secret, span })
            }
            "clip" => {
                let (bound, _) = self.bind(name, &signature(&["x", "lo", "hi"], 3, false), args, span)?;
                let x = self.check(bound[0]?);
                let (lo, hi) = (self.constant(bound[1]?, "a limit of `clip`"), self.constant(bound[2]?, "a limit of `clip`"));
                let (x, lo, hi) = (x?, lo?, hi?);
                if lo >= hi {
                    self.report(CheckError::BadRange { ends: Some((lo, hi)), span });
                    return None;
                }
                self.single(&x)?;
                if let Some(x) = x.number() {
                    return self.fold(x.clamp(lo, hi), span);
                }
                let (ty, secret) = (x.ty.clone(), x.secret);
                Some(Expr { kind: ExprKind::Clip(Box::new(x), lo, hi), ty, secret, span })
            }
            "select" => {
                let [c, a, b] = self.checked(name, &["c", "a", "b"], args, span)?;
                let inner = self.join("`select`", &a, &b, span)?;
                let (like, secret) = (Expr { ty: inner, ..a.clone() }, c.secret || a.secret || b.secret);
                let ty = self.join("`select`", &c, &like, span)?;
                let (c, a, b) = (Box::new(c), Box::new(a), Box::new(b));
                Some(Expr { kind: ExprKind::Select(c, a, b), ty, secret, span })
            }
            "stop" => {
                let [x] = self.checked(name, &["x"], args, span)?;
                if x.number().is_some() {
                    return Some(x);
                }
                let (ty, secret) = (x.ty.clone(), x.secret);
                Some(Expr { kind: ExprKind::Stop(Box::new(x)), ty, secret, span })
            }
            "concat" => self.concat(args, span),
            "sample" => self.sample(args, span),
            "atan2" => {
                if !self.for_client(name, span) {
                    return None;
                }
                let [y, x] = self.checked(name, &["y", "x"], args, span)?;
                let ty = self.join("`atan2`", &y, &x, span)?;
                let secret = y.secret || x.secret;
                Some(Expr { kind: ExprKind::Atan2(Box::new(y), Box::new(x)), ty, secret, span })
            }
            "fourier" => self.fourier(args, span),
            "tensor_fourier" => self.tensor_fourier(args, span),
            // old, mix, copy: of networks, not of values.
            _ => {
                let belongs = match name {
                    "old" => "it names a network, which is then applied: `old(q)(s)`",
                    "mix" => "it gives a network: `t <- mix(t, q, tau)`",
                    _ => "it starts a state: `state t = copy(q)`",
                };
                self.misplaced(format!("`{name}`"), belongs, span);
                None
            }
        }
    }

    fn for_client(&mut self, name: &str, span: Span) -> bool {
        if !self.place.is_client() && self.place != Place::Constant {
            self.misplaced(format!("`{name}`"), "only the client computes it, in `env ... { client { ... } }`", span);
            return false;
        }
        true
    }

    /// Checks arguments that are all required.
    fn checked<const N: usize>(&mut self, name: &str, params: &'static [&'static str; N], args: &[Arg], span: Span) -> Option<[Expr; N]> {
        let (bound, _) = self.bind(name, &signature(params, N, false), args, span)?;
        let checked: Vec<Option<Expr>> = bound.into_iter().map(|arg| self.check(arg?)).collect();
        let checked: Option<Vec<Expr>> = checked.into_iter().collect();
        checked?.try_into().ok()
    }

    fn vector(&mut self, name: &str, args: &[Arg], span: Span) -> Option<Expr> {
        let (bound, _) = self.bind(name, &signature(&["v"], 1, false), args, span)?;
        let x = self.check(bound[0]?)?;
        if !matches!(x.ty, Type::Sample(_)) {
            self.wrong_kind("a vector", kind_of(&x.ty), x.span);
            return None;
        }
        Some(x)
    }

    fn map(&mut self, activation: Activation, x: Expr, span: Span) -> Option<Expr> {
        self.single(&x)?;
        if activation.function == Function::Softmax && !matches!(x.ty, Type::Sample(_)) {
            self.wrong_kind("a vector", kind_of(&x.ty), x.span);
            return None;
        }
        if let Some(value) = x.number() {
            return self.fold(interval::constant(&activation.function, value).unwrap_or(1.0), span);
        }
        let (ty, secret) = (x.ty.clone(), x.secret);
        Some(Expr { kind: ExprKind::Map(activation, Box::new(x)), ty, secret, span })
    }

    fn extremum(&mut self, name: &str, args: &[Arg], span: Span) -> Option<Expr> {
        let (bound, pins) = self.bind(name, &signature(&["a", "b"], 1, true), args, span)?;
        let second = bound[1].map(|b| self.check(b));
        let a = self.check(bound[0]?);
        let Some(b) = second else {
            let a = a?;
            if !matches!(a.ty, Type::Sample(_)) {
                self.wrong_kind("a vector", kind_of(&a.ty), a.span);
                return None;
            }
            let secret = a.secret;
            if name == "max" {
                return Some(Expr { kind: ExprKind::Reduce(Reduce::Max(pins), Box::new(a)), ty: Type::Sample(1), secret, span });
            }
            // min(v) = -max(-v)
            let negated = |x: Expr| Expr { ty: x.ty.clone(), secret, span, kind: ExprKind::Neg(Box::new(x)) };
            let largest = Expr { kind: ExprKind::Reduce(Reduce::Max(pins), Box::new(negated(a))), ty: Type::Sample(1), secret, span };
            return Some(negated(largest));
        };
        let (a, b) = (a?, b?);
        let extremum = if name == "min" { Extremum::Min } else { Extremum::Max };
        if let (Some(x), Some(y)) = (a.number(), b.number()) {
            return self.fold(if extremum == Extremum::Min { x.min(y) } else { x.max(y) }, span);
        }
        let ty = self.join(&format!("`{name}`"), &a, &b, span)?;
        let secret = a.secret || b.secret;
        Some(Expr { kind: ExprKind::Extremum(extremum, pins, Box::new(a), Box::new(b)), ty, secret, span })
    }

    fn reduce(&mut self, name: &str, args: &[Arg], span: Span) -> Option<Expr> {
        let [x] = self.checked(if name == "sum" { "sum" } else { "mean" }, &["x"], args, span)?;
        if x.number().is_some() && name == "mean" {
            return Some(x);
        }
        let sum = name == "sum";
        let (reduce, ty) = match &x.ty {
            Type::Sample(1) if self.place != Place::Body => {
                self.wrong_kind("a vector: there is no batch here", kind_of(&x.ty), x.span);
                return None;
            }
            Type::Sample(1) => (if sum { Reduce::SumBatch } else { Reduce::MeanBatch }, Type::Batch),
            Type::Sample(_) | Type::Image(_) => (if sum { Reduce::SumElements } else { Reduce::MeanElements }, Type::Sample(1)),
            other @ (Type::Number | Type::Batch | Type::Tuple(_)) => {
                self.wrong_kind("a value per sample", kind_of(other), x.span);
                return None;
            }
        };
        let secret = x.secret;
        Some(Expr { kind: ExprKind::Reduce(reduce, Box::new(x)), ty, secret, span })
    }

    fn concat(&mut self, args: &[Arg], span: Span) -> Option<Expr> {
        if args.len() < 2 || args.iter().any(|arg| arg.name.is_some()) {
            let problem = ArgumentProblem::Count { takes: "(a, b, ...)".into(), found: args.len() };
            self.bad_arguments("concat", problem, span);
            return None;
        }
        let checked: Vec<Option<Expr>> = args.iter().map(|arg| self.check(&arg.value)).collect();
        let mut length = 0_usize;
        let mut sound = true;
        for x in checked.iter().flatten() {
            if let Type::Sample(n) = x.ty {
                length = length.saturating_add(n);
            } else {
                self.wrong_kind("a vector", kind_of(&x.ty), x.span);
                sound = false;
            }
        }
        let checked: Vec<Expr> = checked.into_iter().collect::<Option<_>>()?;
        let secret = checked.iter().any(|x| x.secret);
        sound.then_some(Expr { kind: ExprKind::Concat(checked), ty: Type::Sample(length), secret, span })
    }

    fn sample(&mut self, args: &[Arg], span: Span) -> Option<Expr> {
        if self.place.is_client() {
            self.misplaced("`sample`", "an algorithm's body or `serve` samples actions", span);
            return None;
        }
        let positional = args.iter().filter(|arg| arg.name.is_none()).count();
        let (mu, log_std, noise, pins) = if positional == 2 {
            let (bound, pins) = self.bind("sample", &signature(&["head", "noise"], 2, true), args, span)?;
            let (head, noise) = (self.check(bound[0]?), self.check(bound[1]?));
            let (head, noise) = (head?, noise?);
            let names = self.tuple_names(&head).unwrap_or_default();
            let place = |name: &str| names.iter().position(|known| known == name);
            let (Some(mu), Some(log_std)) = (place("mu"), place("log_std")) else {
                self.wrong_kind("a net with outputs `mu` and `log_std`", kind_of(&head.ty), head.span);
                return None;
            };
            let place = head.span;
            (project(head.clone(), mu, place)?, project(head, log_std, place)?, noise, pins)
        } else {
            let (bound, pins) = self.bind("sample", &signature(&["mu", "log_std", "noise"], 3, true), args, span)?;
            let (mu, log_std, noise) = (self.check(bound[0]?), self.check(bound[1]?), self.check(bound[2]?));
            (mu?, log_std?, noise?, pins)
        };
        let Type::Sample(n) = mu.ty else {
            self.wrong_kind("a vector", kind_of(&mu.ty), mu.span);
            return None;
        };
        for (what, x) in [("the `log_std` of `sample`", &log_std), ("the noise of `sample`", &noise)] {
            let scalar = matches!(x.ty, Type::Number | Type::Batch | Type::Sample(1)) && what.contains("log_std");
            if x.ty != mu.ty && !scalar {
                let (found, span) = (shape_of(&x.ty), x.span);
                self.report(CheckError::ShapeMismatch { what: what.into(), expected: format!("[{n}]"), found, span });
                return None;
            }
        }
        let secret = mu.secret || log_std.secret || noise.secret;
        let ty = Type::Tuple(vec![Type::Sample(n), Type::Sample(1)]);
        let kind = ExprKind::Sample { mu: Box::new(mu), log_std: Box::new(log_std), noise: Box::new(noise), pins };
        Some(Expr { kind, ty, secret, span })
    }

    fn fourier(&mut self, args: &[Arg], span: Span) -> Option<Expr> {
        if !self.for_client("fourier", span) {
            return None;
        }
        let (bound, _) = self.bind("fourier", &signature(&["x", "n", "scale", "seed"], 2, false), args, span)?;
        let x = self.check(bound[0]?);
        let n = self.natural(bound[1]?, "the number of features", 1.0, MAX_FEATURES);
        let scale = bound[2].map_or(Some(1.0), |e| self.constant(e, "`scale`"));
        let seed = bound[3].map_or(Some(0), |e| self.natural(e, "a seed", 0.0, 9e15));
        let (x, n, scale, seed) = (x?, n?, scale?, seed?);
        let Type::Sample(_) = x.ty else {
            self.wrong_kind("a vector", kind_of(&x.ty), x.span);
            return None;
        };
        let secret = x.secret;
        let kind = ExprKind::Fourier { x: Box::new(x), n, scale, seed: seed as u64 };
        Some(Expr { kind, ty: Type::Sample(n), secret, span })
    }

    fn tensor_fourier(&mut self, args: &[Arg], span: Span) -> Option<Expr> {
        if !self.for_client("tensor_fourier", span) {
            return None;
        }
        let params = &["angle", "K", "x", "J", "smooth"];
        let (bound, _) = self.bind("tensor_fourier", &signature(params, 4, false), args, span)?;
        let (angle, x) = (self.check(bound[0]?), self.check(bound[2]?));
        let k = self.natural(bound[1]?, "`K`", 0.0, 128.0);
        let j = self.natural(bound[3]?, "`J`", 0.0, 128.0);
        let smooth = bound[4].map_or(Some(0.5), |e| self.constant(e, "`smooth`"));
        let (angle, x, k, j, smooth) = (angle?, x?, k?, j?, smooth?);
        for part in [&angle, &x] {
            if part.ty != Type::Sample(1) {
                let found = shape_of(&part.ty);
                let what = "`tensor_fourier`".to_string();
                self.report(CheckError::ShapeMismatch { what, expected: "one number per sample".into(), found, span: part.span });
                return None;
            }
        }
        // A little room for rounding: s[2] / 8 of a range [-8, 8].
        if self.range_of(&x).is_some_and(|r| r.low < -1.0 - 1e-9 || r.high > 1.0 + 1e-9) {
            let expected = "in [-1, 1]: divide it by the end of its range".to_string();
            self.report(CheckError::BadNumber { what: "`x` of `tensor_fourier`".into(), expected, span: x.span });
            return None;
        }
        let secret = angle.secret || x.secret;
        let dim = (2 * k + 1) * (j + 1);
        let kind = ExprKind::TensorFourier { angle: Box::new(angle), k, x: Box::new(x), j, smooth };
        Some(Expr { kind, ty: Type::Sample(dim), secret, span })
    }
}
