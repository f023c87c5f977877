//! Which expression of an algorithm acts in the environment.

use hecc_plan::{ClearId, ClearProgram};

use crate::approximation::Approximation;
use crate::check::hir::{ActionKind, Activation, Expr, ExprKind, Function, NetId, NetRef, Program, Stmt, Train, Type, Value};
use crate::schemes::ckks::policy;
use crate::tensor::build;

/// What acts on the current state, as the algorithm itself computes it: the action that it samples (its noise is an array of
/// the program's, zero for the action in the middle); of a vector of actions else, the trained network that gives one; of
/// choices, the logits of its `softmax`, or the values of its first trained network, which several applications side by side can
/// give. `first` is that network.
pub fn acting(program: &Program, train: &Train, first: Option<NetId>, approximation: &Approximation) -> Option<(ClearProgram, ClearId)> {
    let expr = expression(program, train, first?)?;
    let graph = approximation.apply(&build::evaluation(program, &expr).ok()?);
    let averaged = train.settings.average.is_some();
    let rename = |name: &str| if averaged { format!("{name}.average") } else { name.to_owned() };
    let tolerance = crate::schemes::ckks::tolerance(program);
    policy::policy(program, &graph, tolerance, crate::schemes::ckks::degree_cap(), &rename)
}

/// That expression.
pub fn expression(program: &Program, train: &Train, first: NetId) -> Option<Expr> {
    let mut roots = Vec::new();
    losses(&train.body.statements, &mut roots);
    roots.extend(train.body.lets.iter().map(|l| &l.expr));
    let mut all = Vec::new();
    roots.into_iter().for_each(|root| within(root, &mut all));
    let current = |expr: &Expr| is_current(train, expr);
    let applied = |expr: &Expr| matches!(&expr.kind, ExprKind::Apply { net: NetRef::Net(_), .. }) && current(expr);
    // The numbers that say what to do, as the policy gives them: one per choice, or the action itself.
    let width = match &program.env.action.kind {
        ActionKind::Continuous { ranges, .. } => ranges.len(),
        ActionKind::Discrete { k } => *k,
        ActionKind::MultiDiscrete { n, k } => n * k,
    };
    let sampled = all.iter().find_map(|expr| match &expr.kind {
        ExprKind::Sample { mu, log_std, .. } if current(mu) && current(log_std) => {
            let ty = mu.ty.clone();
            Some(Expr { kind: ExprKind::Project(Box::new((*expr).clone()), 0), ty, secret: expr.secret, span: expr.span })
        }
        _ => None,
    });
    if sampled.is_some() {
        return sampled;
    }
    let logits = || {
        all.iter().find_map(|expr| match &expr.kind {
            ExprKind::Map(Activation { function: Function::Softmax, .. }, logits)
                if current(logits) && logits.ty == Type::Sample(width) =>
            {
                Some((**logits).clone())
            }
            _ => None,
        })
    };
    let found = |of: &dyn Fn(&Expr) -> bool| all.iter().find(|expr| of(expr)).map(|expr| (*expr).clone());
    match &program.env.action.kind {
        ActionKind::Continuous { .. } => found(&|expr| applied(expr) && expr.ty == Type::Sample(width)),
        ActionKind::Discrete { .. } | ActionKind::MultiDiscrete { .. } => logits()
            .or_else(|| found(&|expr| side_by_side(expr, first) && current(expr) && expr.ty == Type::Sample(width)))
            .or_else(|| found(&|expr| applied(expr) && applies(expr, first))),
    }
}

/// Applications of a network, concatenated.
fn side_by_side(expr: &Expr, net: NetId) -> bool {
    matches!(&expr.kind, ExprKind::Concat(all) if all.iter().all(|expr| applies(expr, net)))
}

fn applies(expr: &Expr, net: NetId) -> bool {
    matches!(&expr.kind, ExprKind::Apply { net: NetRef::Net(applied), .. } if *applied == net)
}

/// Whether an expression is of networks as they stand, current observations and features, and noise.
fn is_current(train: &Train, expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Value(Value::Observation { next, .. } | Value::Feature { next, .. }) => !next,
        ExprKind::Value(Value::Let(id)) => is_current(train, &train.body.lets[id.0].expr),
        ExprKind::Value(_) | ExprKind::Apply { net: NetRef::Old(_) | NetRef::State(_), .. } => false,
        _ => parts(expr).iter().all(|p| is_current(train, p)),
    }
}

/// An expression and all inside it.
fn within<'a>(expr: &'a Expr, all: &mut Vec<&'a Expr>) {
    all.push(expr);
    parts(expr).into_iter().for_each(|part| within(part, all));
}

fn losses<'a>(statements: &'a [Stmt], found: &mut Vec<&'a Expr>) {
    for statement in statements {
        match statement {
            Stmt::Minimize { loss, .. } => found.push(loss),
            Stmt::Every { body, .. } => losses(body, found),
            Stmt::Let(_) | Stmt::Assign { .. } | Stmt::Reveal { .. } => {}
        }
    }
}

/// The expressions directly inside one.
fn parts(expr: &Expr) -> Vec<&Expr> {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::Value(_) => Vec::new(),
        ExprKind::Apply { args, .. } | ExprKind::Concat(args) => args.iter().collect(),
        ExprKind::Project(a, _)
        | ExprKind::Index(a, _)
        | ExprKind::Neg(a)
        | ExprKind::Pow(a, _)
        | ExprKind::Map(_, a)
        | ExprKind::Reduce(_, a)
        | ExprKind::ArgMax(a)
        | ExprKind::Clip(a, ..)
        | ExprKind::Stop(a)
        | ExprKind::Fourier { x: a, .. } => vec![a],
        ExprKind::Binary(_, a, b)
        | ExprKind::Extremum(_, _, a, b)
        | ExprKind::Dot(a, b)
        | ExprKind::Atan2(a, b)
        | ExprKind::Outer(a, b)
        | ExprKind::TensorFourier { angle: a, x: b, .. } => vec![a, b],
        ExprKind::Select(a, b, c) => vec![a, b, c],
        ExprKind::Sample { mu, log_std, noise, .. } => vec![mu, log_std, noise],
    }
}
