//! Which named values the server may see, and where a secret enters an expression.
//!
//! Whatever `public` does not name is secret, whether `secret` names it or not: a forgotten name never leaks.

use std::collections::BTreeMap;

use hecc_plan::Span;

use super::hir::{Expr, ExprKind, NetRef, Value};

/// The lists of `secure`.
#[derive(Debug, Default)]
pub(super) struct Secrecy {
    /// Public names, with where they are declared.
    pub public: BTreeMap<String, Span>,
}

impl Secrecy {
    pub fn is_secret(&self, name: &str) -> bool {
        !self.public.contains_key(name)
    }
}

/// The first part of an expression that is secret by itself: what it is, and where.
///
/// `lets` holds the same of every `let`; `names` and `nets` name values and networks, these with their secrecy.
pub(super) fn source(
    e: &Expr,
    lets: &[Option<(String, Span)>],
    names: &dyn Fn(Value) -> String,
    nets: &dyn Fn(NetRef) -> (String, bool),
) -> Option<(String, Span)> {
    if !e.secret {
        return None;
    }
    let find = |list: &[&Expr]| list.iter().find_map(|x| source(x, lets, names, nets));
    match &e.kind {
        ExprKind::Value(Value::Let(id)) => lets.get(id.0).cloned().flatten(),
        ExprKind::Value(value) => Some((names(*value), e.span)),
        ExprKind::Apply { net, args } => {
            let (name, secret) = nets(*net);
            let args: Vec<&Expr> = args.iter().collect();
            find(&args).or_else(|| secret.then_some((name, e.span)))
        }
        ExprKind::Number(_) => None,
        ExprKind::Project(x, _)
        | ExprKind::Index(x, _)
        | ExprKind::Neg(x)
        | ExprKind::Pow(x, _)
        | ExprKind::Map(_, x)
        | ExprKind::Reduce(_, x)
        | ExprKind::ArgMax(x)
        | ExprKind::Clip(x, _, _)
        | ExprKind::Stop(x)
        | ExprKind::Fourier { x, .. } => find(&[x]),
        ExprKind::Binary(_, a, b)
        | ExprKind::Extremum(_, _, a, b)
        | ExprKind::Dot(a, b)
        | ExprKind::Atan2(a, b)
        | ExprKind::Outer(a, b)
        | ExprKind::TensorFourier { angle: a, x: b, .. } => find(&[a, b]),
        ExprKind::Select(a, b, c) => find(&[a, b, c]),
        ExprKind::Sample { mu, log_std, noise, .. } => find(&[mu, log_std, noise]),
        ExprKind::Concat(list) => find(&list.iter().collect::<Vec<_>>()),
    }
}
