//! Which attack fits a loss: what its gradient is of.

use hecc_compiler::check::hir::{
    ActionKind, Binary, Body, Expr, ExprKind, Function, NetId, NetRef, Program, Stmt, Task, Trained, Type, Value as Named,
};

/// What a loss trains, as far as an attack needs to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// Values of discrete actions: `(dot(q(s), a) - y)^2`.
    Values(Call),
    /// Logarithms of probabilities of discrete actions: `dot(log(softmax(policy(s))), a) * return`.
    Policy(Call),
    /// A value that learns from the next state's: `(v(s, a) - stop(...))^2`.
    Transition(Call),
    /// Something else of networks.
    Other,
}

impl Form {
    /// The network whose output the loss is of.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Form::Values(call) | Form::Policy(call) | Form::Transition(call) => Some(call),
            Form::Other => None,
        }
    }
}

/// A trained network applied.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The network.
    pub net: NetId,
    /// The call itself.
    pub expr: Expr,
    /// What it is applied to, one after another.
    pub pieces: Vec<Piece>,
}

/// A part of a network's input.
#[derive(Clone, Debug, PartialEq)]
pub struct Piece {
    /// What it is.
    pub part: Part,
    /// First element.
    pub start: usize,
    /// Number of elements.
    pub len: usize,
}

/// What a part of an input is.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// An observation, by its number.
    Observation(usize),
    /// A feature of the client's, by its number.
    Feature(usize),
    /// The action.
    Action,
    /// What another network makes of observations.
    Embedded(NetId, Vec<Piece>),
    /// Something else.
    Other,
}

/// What each `minimize` of a program is, in their order.
pub fn forms(program: &Program) -> Vec<Form> {
    let Task::Train(train) = &program.task else { return Vec::new() };
    let mut forms = Vec::new();
    collect(program, &train.body, &train.body.statements, &mut forms);
    forms
}

fn collect(program: &Program, body: &Body, statements: &[Stmt], forms: &mut Vec<Form>) {
    for statement in statements {
        match statement {
            Stmt::Minimize { loss, over, .. } => forms.push(Finder { program, body, over }.form(loss)),
            Stmt::Every { body: inner, .. } => collect(program, body, inner, forms),
            Stmt::Let(_) | Stmt::Assign { .. } | Stmt::Reveal { .. } => {}
        }
    }
}

struct Finder<'a> {
    program: &'a Program,
    body: &'a Body,
    over: &'a [Trained],
}

impl<'a> Finder<'a> {
    fn form(&self, loss: &'a Expr) -> Form {
        let discrete = !matches!(self.program.env.action.kind, ActionKind::Continuous { .. });
        let chosen = self.search(loss, &mut |expr| {
            let ExprKind::Dot(a, b) = &expr.kind else { return None };
            let (a, b) = (self.resolve(a), self.resolve(b));
            let of = match (is_action(a), is_action(b)) {
                (true, false) if discrete => b,
                (false, true) if discrete => a,
                _ => return None,
            };
            self.probabilities(of).map(Form::Policy).or_else(|| self.call(of).map(Form::Values))
        });
        let learned = || {
            self.search(loss, &mut |expr| {
                let ExprKind::Binary(Binary::Sub, a, b) = &expr.kind else { return None };
                let (a, b) = (self.resolve(a), self.resolve(b));
                let stopped = |e: &Expr| matches!(e.kind, ExprKind::Stop(_));
                let value = match (stopped(a), stopped(b)) {
                    (false, true) => a,
                    (true, false) => b,
                    _ => return None,
                };
                self.search(value, &mut |part| self.call(part).map(Form::Transition))
            })
        };
        let found = chosen.or_else(learned);
        found.unwrap_or(Form::Other)
    }

    /// The net in `log(softmax(net(...)))`.
    fn probabilities(&self, expr: &'a Expr) -> Option<Call> {
        let ExprKind::Map(outer, inner) = &expr.kind else { return None };
        let ExprKind::Map(softmax, logits) = &self.resolve(inner).kind else { return None };
        let fits = outer.function == Function::Log && softmax.function == Function::Softmax;
        fits.then(|| self.call(self.resolve(logits))).flatten()
    }

    /// A trained net applied.
    fn call(&self, expr: &'a Expr) -> Option<Call> {
        let ExprKind::Apply { net: NetRef::Net(net), args } = &expr.kind else { return None };
        self.over.contains(&Trained::Net(*net)).then(|| Call { net: *net, expr: expr.clone(), pieces: self.pieces(args) })
    }

    fn pieces(&self, args: &'a [Expr]) -> Vec<Piece> {
        let (mut pieces, mut start) = (Vec::new(), 0);
        for arg in args {
            self.piece(arg, &mut start, &mut pieces);
        }
        pieces
    }

    fn piece(&self, expr: &'a Expr, start: &mut usize, pieces: &mut Vec<Piece>) {
        let expr = self.resolve(expr);
        let part = match &expr.kind {
            ExprKind::Concat(parts) => {
                parts.iter().for_each(|part| self.piece(part, start, pieces));
                return;
            }
            ExprKind::Value(Named::Observation { index, next: false }) => Part::Observation(*index),
            ExprKind::Value(Named::Feature { index, next: false }) => Part::Feature(*index),
            ExprKind::Value(Named::Action) => Part::Action,
            ExprKind::Apply { net: NetRef::Net(net), args } => Part::Embedded(*net, self.pieces(args)),
            _ => Part::Other,
        };
        let len = match &expr.ty {
            Type::Sample(d) => *d,
            Type::Image(shape) => shape.iter().product(),
            Type::Number | Type::Batch | Type::Tuple(_) => 1,
        };
        pieces.push(Piece { part, start: *start, len });
        *start += len;
    }

    /// What a name stands for.
    fn resolve(&self, mut expr: &'a Expr) -> &'a Expr {
        while let ExprKind::Value(Named::Let(id)) = &expr.kind {
            expr = &self.body.lets[id.0].expr;
        }
        expr
    }

    /// The first match of an expression and its parts, not inside of `stop`.
    fn search(&self, expr: &'a Expr, visit: &mut dyn FnMut(&'a Expr) -> Option<Form>) -> Option<Form> {
        let expr = self.resolve(expr);
        if let Some(found) = visit(expr) {
            return Some(found);
        }
        let parts: Vec<&Expr> = match &expr.kind {
            ExprKind::Apply { args, .. } => args.iter().collect(),
            ExprKind::Concat(parts) => parts.iter().collect(),
            ExprKind::Project(x, _)
            | ExprKind::Index(x, _)
            | ExprKind::Neg(x)
            | ExprKind::Pow(x, _)
            | ExprKind::Map(_, x)
            | ExprKind::Reduce(_, x)
            | ExprKind::ArgMax(x)
            | ExprKind::Clip(x, ..) => vec![x],
            ExprKind::Binary(_, a, b) | ExprKind::Extremum(_, _, a, b) | ExprKind::Dot(a, b) => vec![a, b],
            ExprKind::Select(a, b, c) => vec![a, b, c],
            ExprKind::Sample { mu, log_std, noise, .. } => vec![mu, log_std, noise],
            _ => Vec::new(),
        };
        parts.into_iter().find_map(|part| self.search(part, visit))
    }
}

fn is_action(expr: &Expr) -> bool {
    matches!(expr.kind, ExprKind::Value(Named::Action))
}
