//! One update: the statements of an algorithm, with its networks and parameters put in.

use hecc_plan::Span;

use super::error::CheckError;
use super::expressions::{Binding, Exprs, kind_of, project};
use super::hir::*;
use super::names::nearest;
use super::{nets, settings};
use crate::syntax::ast::{self, StmtKind};

const MAX_PERIOD: f64 = 1e9;

impl Exprs<'_> {
    /// Checks the statements of a body into [`Exprs::body`]; parameters and networks are in scope already.
    pub(super) fn statements(&mut self, written: &[ast::Stmt], nested: bool) -> Vec<Stmt> {
        let mut made = Vec::new();
        let outer = self.scope.len();
        for stmt in written {
            self.statement(stmt, nested, &mut made);
        }
        if nested {
            self.scope.truncate(outer);
        }
        made
    }

    fn statement(&mut self, stmt: &ast::Stmt, nested: bool, made: &mut Vec<Stmt>) {
        let span = self.place(stmt.span);
        if nested && matches!(stmt.kind, StmtKind::Parameter(_) | StmtKind::State { .. } | StmtKind::Noise { .. }) {
            self.misplaced("this declaration", "it stands in the algorithm itself, outside of `every`", span);
        }
        match &stmt.kind {
            // Bound before the body is checked.
            StmtKind::Parameter(_) => {}
            StmtKind::State { name, init } => {
                let kind = self.state(init);
                let binding = match kind {
                    Some(kind) => {
                        let id = StateId(self.body.states.len());
                        let secret = match kind {
                            StateKind::Copy(net) | StateKind::Fresh(net) => self.nets[net.0].secret,
                            StateKind::Scalar(_) => false,
                        };
                        if self.state_secret.len() <= id.0 {
                            self.state_secret.push(secret);
                        }
                        self.body.states.push(State { name: name.text.clone(), kind, span });
                        Binding::State(id)
                    }
                    None => Binding::Broken,
                };
                self.declare(name, binding);
            }
            StmtKind::Noise { name, shape } => {
                let binding = match self.noise_length(shape) {
                    Some(dim) => {
                        self.body.noises.push(Noise { name: name.text.clone(), dim });
                        Binding::Noise(NoiseId(self.body.noises.len() - 1))
                    }
                    None => Binding::Broken,
                };
                self.declare(name, binding);
            }
            StmtKind::Let { names, tuple, value } => self.bind_let(names, *tuple, value, span, made),
            StmtKind::Minimize { loss, over, with } => {
                let loss_span = self.place(loss.span);
                let loss = self.check(loss).filter(|loss| self.scalar("a loss", loss));
                let over = self.trained(over);
                let optimizer = self.optimizer(with);
                if let Some(loss) = &loss {
                    self.flow(loss, &over, loss_span);
                }
                if let (Some(loss), Some(optimizer)) = (loss, optimizer) {
                    let over = over.into_iter().map(|(trained, _)| trained).collect();
                    made.push(Stmt::Minimize { loss, over, optimizer, span });
                }
            }
            StmtKind::Assign { name, value } => {
                if let Some((state, value)) = self.assign(name, value) {
                    made.push(Stmt::Assign { state, value, span });
                }
            }
            StmtKind::Reveal { value, label } => {
                if let Some(value) = self.check(value).filter(|value| self.scalar("a revealed value", value)) {
                    made.push(Stmt::Reveal { value, label: label.text.clone(), span });
                }
            }
            StmtKind::Every { period, body } => {
                let period = self.natural(period, "a period", 1.0, MAX_PERIOD);
                let body = self.statements(body, true);
                if let Some(period) = period {
                    made.push(Stmt::Every { period, body, span });
                }
            }
        }
    }

    /// Puts a name in scope, and reports one that is taken.
    fn declare(&mut self, name: &ast::Name, binding: Binding) {
        let span = self.place(name.span);
        let text = &name.text;
        let first = if self.lookup(text).is_some() {
            self.declared_at(text).unwrap_or(span)
        } else if self.standard.is_none() && self.env_value(text).is_some() {
            Span { end: self.env.span.start + 3, ..self.env.span }
        } else {
            self.scope.push((text.clone(), binding));
            return;
        };
        // The first keeps the name, so that no second error follows from this one.
        self.report(CheckError::Duplicate { what: "name", name: text.clone(), span, first });
    }

    fn declared_at(&self, name: &str) -> Option<Span> {
        match self.lookup(name)? {
            Binding::State(id) => Some(self.body.states[id.0].span),
            Binding::Let(id) => Some(self.body.lets[id.0].expr.span),
            Binding::Number(_) | Binding::Optimizer(_) | Binding::Noise(_) | Binding::Net(_) | Binding::Broken => None,
        }
    }

    fn state(&mut self, init: &ast::Expr) -> Option<StateKind> {
        if let ast::ExprKind::Call(callee, args) = &init.kind
            && matches!(&callee.kind, ast::ExprKind::Name(name) if name == "copy")
            && self.lookup("copy").is_none()
        {
            let [ast::Arg { name: None, value }] = args.as_slice() else {
                let problem = super::error::ArgumentProblem::Count { takes: "(net)".into(), found: args.len() };
                self.bad_arguments("copy", problem, init.span);
                return None;
            };
            return match self.net_ref(value) {
                Some(Ok(net)) => Some(StateKind::Copy(self.base_net(net))),
                Some(Err(())) => None,
                None => {
                    self.not_a_network(value);
                    None
                }
            };
        }
        match self.net_ref(init) {
            Some(Ok(net)) => Some(StateKind::Fresh(self.base_net(net))),
            Some(Err(())) => None,
            None => self.constant(init, "the start of a state").map(StateKind::Scalar),
        }
    }

    fn not_a_network(&mut self, e: &ast::Expr) {
        let span = self.place(e.span);
        if let ast::ExprKind::Name(name) = &e.kind
            && self.lookup(name).is_none()
        {
            let nets = self.scope.iter().filter(|(_, binding)| matches!(binding, Binding::Net(_) | Binding::State(_)));
            let meant = nearest(name, nets.map(|(name, _)| name.as_str()));
            self.report(CheckError::UnknownName { what: "net of the algorithm", name: name.clone(), meant, span });
        } else {
            self.wrong_kind("a network", "something else", span);
        }
    }

    fn noise_length(&mut self, shape: &ast::Shape) -> Option<usize> {
        let mut length = 1_usize;
        for dim in &shape.dims {
            let one = match dim {
                ast::Dim::Number(number) => nets::size(self, number, "a size")?,
                ast::Dim::Name(name) => match settings::length_of(self, &name.text) {
                    Some(length) => length,
                    None => {
                        let span = self.place(name.span);
                        self.report(CheckError::NotConstant { what: format!("the size `{}`", name.text), span });
                        return None;
                    }
                },
            };
            length = length.saturating_mul(one);
        }
        Some(length)
    }

    fn new_let(&mut self, name: String, expr: Expr, made: &mut Vec<Stmt>) -> LetId {
        let id = LetId(self.body.lets.len());
        self.let_ranges.push(self.range_of(&expr));
        self.let_sources.push(self.source(&expr));
        self.body.lets.push(Let { name, expr });
        made.push(Stmt::Let(id));
        id
    }

    fn bind_let(&mut self, names: &[ast::Name], tuple: bool, value: &ast::Expr, span: Span, made: &mut Vec<Stmt>) {
        let Some(expr) = self.check(value) else {
            for name in names {
                self.declare(name, Binding::Broken);
            }
            return;
        };
        if !tuple {
            for name in names {
                let id = self.new_let(name.text.clone(), expr.clone(), made);
                self.declare(name, Binding::Let(id));
            }
            return;
        }
        let count = match &expr.ty {
            Type::Tuple(list) => list.len(),
            Type::Number | Type::Sample(_) | Type::Image(_) | Type::Batch => 1,
        };
        if count != names.len() || !matches!(expr.ty, Type::Tuple(_)) {
            self.wrong_kind(format!("{} values, one for each name", names.len()), kind_of(&expr.ty), expr.span);
            for name in names {
                self.declare(name, Binding::Broken);
            }
            return;
        }
        let title: Vec<&str> = names.iter().map(|name| name.text.as_str()).collect();
        let (ty, secret) = (expr.ty.clone(), expr.secret);
        let whole = self.new_let(format!("({})", title.join(", ")), expr, made);
        for (at, name) in names.iter().enumerate() {
            let of = Expr { kind: ExprKind::Value(Value::Let(whole)), ty: ty.clone(), secret, span };
            if let Some(part) = project(of, at, span) {
                let id = self.new_let(name.text.clone(), part, made);
                self.declare(name, Binding::Let(id));
            }
        }
    }

    fn scalar(&mut self, what: &'static str, e: &Expr) -> bool {
        let fits = matches!(e.ty, Type::Batch) || (matches!(e.ty, Type::Number) && what != "a loss");
        if !fits {
            self.report(CheckError::NotScalar { what, found: e.ty.clone(), span: e.span });
        }
        fits
    }

    fn trained(&mut self, over: &[ast::Name]) -> Vec<(Trained, String)> {
        let mut list = Vec::new();
        for name in over {
            let span = self.place(name.span);
            let trained = match self.lookup(&name.text) {
                Some(Binding::Net(id)) => Trained::Net(*id),
                Some(Binding::State(id)) => Trained::State(*id),
                Some(Binding::Broken) => continue,
                Some(Binding::Number(_) | Binding::Optimizer(_) | Binding::Let(_) | Binding::Noise(_)) => {
                    self.report(CheckError::NotTrainable { name: name.text.clone(), span });
                    continue;
                }
                None if self.env_value(&name.text).is_some() => {
                    self.report(CheckError::NotTrainable { name: name.text.clone(), span });
                    continue;
                }
                None => {
                    let e = ast::Expr { kind: ast::ExprKind::Name(name.text.clone()), span: name.span };
                    self.not_a_network(&e);
                    continue;
                }
            };
            if list.iter().any(|(known, _)| *known == trained) {
                self.report(CheckError::Duplicate { what: "net after `over`", name: name.text.clone(), span, first: span });
            } else {
                list.push((trained, name.text.clone()));
            }
        }
        list
    }

    /// A secret loss makes what it trains secret; a public net may not become so.
    fn flow(&mut self, loss: &Expr, over: &[(Trained, String)], span: Span) {
        if !loss.secret {
            return;
        }
        for (trained, _) in over {
            match trained {
                Trained::State(id) => self.state_secret[id.0] = true,
                Trained::Net(id) => {
                    let public = self.nets[id.0].name.clone();
                    if let Some(declared) = self.secrecy.public.get(&public).copied() {
                        let (secret, source) = self.source(loss).unwrap_or_else(|| ("a secret".into(), span));
                        self.report(CheckError::SecretFlow { secret, public, span, source, declared });
                    }
                }
            }
        }
    }

    fn assign(&mut self, name: &ast::Name, value: &ast::Expr) -> Option<(StateId, StateExpr)> {
        let span = self.place(name.span);
        let not = |exprs: &mut Self, is| {
            exprs.report(CheckError::NotAState { name: name.text.clone(), is, span });
            None
        };
        let id = match self.lookup(&name.text).cloned() {
            Some(Binding::State(id)) => id,
            Some(Binding::Broken) => return None,
            Some(Binding::Net(_)) => return not(self, "a network: only `minimize` changes it"),
            Some(Binding::Let(_)) => return not(self, "a `let`, which keeps its value"),
            Some(Binding::Noise(_)) => return not(self, "a noise"),
            Some(Binding::Number(_) | Binding::Optimizer(_)) => return not(self, "a parameter, set in `train`"),
            None if self.env_value(&name.text).is_some() => return not(self, "a value of the environment"),
            None => {
                let states = self.scope.iter().filter(|(_, binding)| matches!(binding, Binding::State(_)));
                let meant = nearest(&name.text, states.map(|(name, _)| name.as_str()));
                self.report(CheckError::UnknownName { what: "state", name: name.text.clone(), meant, span });
                return None;
            }
        };
        if let StateKind::Scalar(_) = self.body.states[id.0].kind {
            let value = self.check(value)?;
            if !self.scalar("a scalar state", &value) {
                return None;
            }
            self.state_secret[id.0] |= value.secret;
            return Some((id, StateExpr::Scalar(value)));
        }
        let terms = self.networks(value)?;
        let own = self.base_net(NetRef::State(id));
        for (_, net) in &terms {
            let (base, secret) = match net {
                NetRef::Net(net) | NetRef::Old(net) => (*net, self.nets[net.0].secret),
                NetRef::State(state) => (self.base_net(*net), self.state_secret[state.0]),
            };
            self.state_secret[id.0] |= secret;
            if !same_parameters(&self.nets[own.0], &self.nets[base.0]) {
                let expected = format!("a network shaped as `{}`", self.nets[own.0].name);
                let found = format!("`{}`", self.nets[base.0].name);
                let (what, span) = (format!("the state `{}`", name.text), self.place(value.span));
                self.report(CheckError::ShapeMismatch { what, expected, found, span });
                return None;
            }
        }
        Some((id, StateExpr::Networks(terms)))
    }

    /// A linear combination of networks.
    fn networks(&mut self, e: &ast::Expr) -> Option<Vec<(f64, NetRef)>> {
        use ast::{BinaryOp, ExprKind as Written};
        if let Some(net) = self.net_ref(e) {
            return net.ok().map(|net| vec![(1.0, net)]);
        }
        match &e.kind {
            Written::Paren(inner) => self.networks(inner),
            Written::Neg(inner) => Some(times(-1.0, self.networks(inner)?)),
            Written::Binary(op @ (BinaryOp::Add | BinaryOp::Sub), a, b) => {
                let (a, b) = (self.networks(a), self.networks(b));
                let sign = if *op == BinaryOp::Add { 1.0 } else { -1.0 };
                Some(plus(a?, times(sign, b?)))
            }
            Written::Binary(BinaryOp::Mul, a, b) => {
                // Which factor is the network shows in its names.
                if self.has_network(a) {
                    let (net, c) = (self.networks(a), self.constant(b, "the factor of a network"));
                    return Some(times(c?, net?));
                }
                let (c, net) = (self.constant(a, "the factor of a network"), self.networks(b));
                Some(times(c?, net?))
            }
            Written::Binary(BinaryOp::Div, a, b) => {
                let (net, c) = (self.networks(a), self.constant(b, "the divisor of a network"));
                let (net, c) = (net?, c?);
                if c == 0.0 {
                    let span = self.place(b.span);
                    self.report(CheckError::DivisionByZero { range: Some(Range { low: 0.0, high: 0.0 }), span });
                    return None;
                }
                Some(times(1.0 / c, net))
            }
            Written::Call(callee, args) if matches!(&callee.kind, Written::Name(name) if name == "mix") => {
                let [a, b, share] = args.as_slice() else {
                    let problem = super::error::ArgumentProblem::Count { takes: "(old, new, share)".into(), found: args.len() };
                    self.bad_arguments("mix", problem, e.span);
                    return None;
                };
                let (a, b) = (self.networks(&a.value), self.networks(&b.value));
                let share = self.constant(&share.value, "the share of `mix`");
                let (a, b, share) = (a?, b?, share?);
                Some(plus(times(1.0 - share, a), times(share, b)))
            }
            _ => {
                self.not_a_network(e);
                None
            }
        }
    }

    fn has_network(&mut self, e: &ast::Expr) -> bool {
        use ast::ExprKind as Written;
        match &e.kind {
            Written::Name(_) => matches!(self.net_ref(e), Some(Ok(_))),
            Written::Paren(x) | Written::Neg(x) => self.has_network(x),
            Written::Binary(_, a, b) => self.has_network(a) || self.has_network(b),
            Written::Call(callee, _) => matches!(&callee.kind, Written::Name(name) if name == "old" || name == "mix"),
            Written::Number(_) | Written::Text(_) | Written::List(_) | Written::Index(_, _) | Written::Field(_, _) => false,
        }
    }
}

fn times(c: f64, mut terms: Vec<(f64, NetRef)>) -> Vec<(f64, NetRef)> {
    for (factor, _) in &mut terms {
        *factor *= c;
    }
    terms
}

fn plus(mut a: Vec<(f64, NetRef)>, b: Vec<(f64, NetRef)>) -> Vec<(f64, NetRef)> {
    for (c, net) in b {
        match a.iter_mut().find(|(_, known)| *known == net) {
            Some((sum, _)) => *sum += c,
            None => a.push((c, net)),
        }
    }
    a
}

/// Whether two nets have the same parameters: the same dense and conv layers in the same order.
fn same_parameters(a: &Net, b: &Net) -> bool {
    fn collect(layers: &[Layer], out: &mut Vec<(Vec<usize>, bool)>) {
        for layer in layers {
            match &layer.kind {
                LayerKind::Dense { inputs, outputs, bias, .. } => out.push((vec![*outputs, *inputs], *bias)),
                LayerKind::Conv { inputs, outputs, kernel, bias, .. } => out.push((vec![*outputs, *inputs, *kernel, *kernel], *bias)),
                LayerKind::Residual(inner) => collect(inner, out),
                LayerKind::Flatten | LayerKind::Activation(_) | LayerKind::Scale(_) => {}
            }
        }
    }
    let parameters = |net: &Net| {
        let mut out = Vec::new();
        collect(&net.layers, &mut out);
        for head in &net.outputs {
            collect(&head.layers, &mut out);
        }
        out
    };
    parameters(a) == parameters(b)
}
