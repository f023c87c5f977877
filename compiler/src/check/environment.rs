//! The environment: observations, action, reward, and what the client computes from them.

use hecc_plan::Span;

use super::error::CheckError;
use super::expressions::{Exprs, Place, action_length};
use super::hir::*;
use super::nets;
use super::secrecy::Secrecy;
use crate::syntax::ast::{self, Choice, EnvLineKind, StmtKind};

/// What the environment declares.
pub(super) struct Environment {
    pub env: Env,
    pub names: Names,
    /// Names declared with an error.
    pub broken: Vec<String>,
    pub feature_ranges: Vec<Option<Range>>,
}

/// Names of the environment, for nets.
#[derive(Default)]
pub(super) struct Names {
    /// Values that can be inputs of nets, with their shapes.
    pub inputs: Vec<(String, Vec<usize>)>,
}

/// Names that the environment declares, rightly or wrongly, with where.
pub(super) fn declared(env: &ast::Env) -> Vec<(&ast::Name, &'static str)> {
    let mut names = Vec::new();
    for line in &env.lines {
        match &line.kind {
            EnvLineKind::Observe { name, .. } => names.push((name, "observation")),
            EnvLineKind::Act { name, .. } => names.push((name, "action")),
            EnvLineKind::Reward { name, .. } => names.push((name, "reward")),
            EnvLineKind::Client(body) => names.extend(body.iter().flat_map(|stmt| match &stmt.kind {
                StmtKind::Let { names, .. } => names.iter().map(|name| (name, "feature")).collect::<Vec<_>>(),
                _ => Vec::new(),
            })),
        }
    }
    names
}

/// Checks the environment.
pub(super) fn check(written: &ast::Env, secrecy: &Secrecy, errors: &mut Vec<CheckError>) -> Environment {
    let nowhere = Span::default();
    let action = Action { name: String::new(), kind: ActionKind::Discrete { k: 1 }, span: nowhere };
    let env = Env {
        id: written.id.text.clone(),
        observations: Vec::new(),
        action,
        reward: String::new(),
        reward_range: Range { low: -1.0, high: 1.0 },
        declared_reward_range: Range { low: -1.0, high: 1.0 },
        recode: None,
        features: Vec::new(),
        span: written.span,
    };
    let mut made = Environment { env, names: Names::default(), broken: Vec::new(), feature_ranges: Vec::new() };
    duplicates(written, errors);
    for line in &written.lines {
        made.line(line, secrecy, errors);
    }
    for (what, found) in [
        ("observe NAME: [SHAPE] in [LOW, HIGH]", has(written, |k| matches!(k, EnvLineKind::Observe { .. }))),
        ("act NAME: one of K", has(written, |k| matches!(k, EnvLineKind::Act { .. }))),
        ("reward NAME in [LOW, HIGH]", has(written, |k| matches!(k, EnvLineKind::Reward { .. }))),
    ] {
        if !found {
            errors.push(CheckError::Missing { what, within: "the environment", span: written.id.span });
        }
    }
    for line in &written.lines {
        if let EnvLineKind::Client(body) = &line.kind {
            made.client(body, secrecy, errors);
        }
    }
    super::builtin::check(written, &made, errors);
    made
}

fn has(written: &ast::Env, is: fn(&EnvLineKind) -> bool) -> bool {
    written.lines.iter().any(|line| is(&line.kind))
}

fn duplicates(written: &ast::Env, errors: &mut Vec<CheckError>) {
    let mut seen: Vec<&ast::Name> = Vec::new();
    for (name, what) in declared(written) {
        if let Some(first) = seen.iter().find(|first| first.text == name.text) {
            errors.push(CheckError::Duplicate { what, name: name.text.clone(), span: name.span, first: first.span });
        }
        if name.text.ends_with('\'') || name.text == "done" {
            let belongs = if name.text == "done" {
                "every environment has it: choose another name"
            } else {
                "`'` marks the next state: choose a name without it"
            };
            errors.push(CheckError::Misplaced { what: format!("the name `{}`", name.text), belongs: belongs.into(), span: name.span });
        }
        seen.push(name);
    }
    type Is = fn(&EnvLineKind) -> bool;
    let once: [(&'static str, Is); 3] = [
        ("`act`", |k| matches!(k, EnvLineKind::Act { .. })),
        ("`reward`", |k| matches!(k, EnvLineKind::Reward { .. })),
        ("`client`", |k| matches!(k, EnvLineKind::Client(_))),
    ];
    for (what, is) in once {
        let mut lines = written.lines.iter().filter(|line| is(&line.kind));
        if let Some(first) = lines.next() {
            errors.extend(lines.map(|line| CheckError::Duplicate { what, name: String::new(), span: line.span, first: first.span }));
        }
    }
}

impl Environment {
    fn line(&mut self, line: &ast::EnvLine, secrecy: &Secrecy, errors: &mut Vec<CheckError>) {
        let mut exprs = Exprs::new(Place::Constant, &self.env, &[], &[], secrecy);
        let span = line.span;
        match &line.kind {
            EnvLineKind::Observe { name, shape, ranges } => {
                let made = value(&mut exprs, shape, ranges);
                errors.append(&mut exprs.errors);
                match made {
                    Some((shape, ranges)) => {
                        self.names.inputs.push((name.text.clone(), shape.clone()));
                        self.env.observations.push(Observation { name: name.text.clone(), shape, ranges, span });
                    }
                    None => self.broken.push(name.text.clone()),
                }
            }
            EnvLineKind::Act { name, shape, choice } => {
                let kind = action(&mut exprs, shape.as_ref(), choice);
                errors.append(&mut exprs.errors);
                match kind {
                    Some(kind) => {
                        self.names.inputs.push((name.text.clone(), vec![action_length(&kind)]));
                        self.env.action = Action { name: name.text.clone(), kind, span };
                    }
                    None => self.broken.push(name.text.clone()),
                }
            }
            EnvLineKind::Reward { name, range } => {
                let range = exprs.range(range);
                errors.append(&mut exprs.errors);
                self.env.reward = name.text.clone();
                if let Some(range) = range {
                    (self.env.reward_range, self.env.declared_reward_range) = (range, range);
                }
            }
            EnvLineKind::Client(_) => {}
        }
    }

    fn client(&mut self, body: &[ast::Stmt], secrecy: &Secrecy, errors: &mut Vec<CheckError>) {
        for stmt in body {
            match &stmt.kind {
                StmtKind::Let { names, tuple: false, value } => {
                    let Some(name) = names.first() else { continue };
                    let made = self.expr(Place::Feature, value, secrecy, errors);
                    let Some((expr, range)) = made else {
                        self.broken.push(name.text.clone());
                        continue;
                    };
                    let Type::Sample(dim) = expr.ty else {
                        let (expected, found) = ("a vector per sample".into(), super::expressions::kind_of(&expr.ty));
                        errors.push(CheckError::WrongKind { expected, found, span: value.span });
                        self.broken.push(name.text.clone());
                        continue;
                    };
                    public_flow(secrecy, &name.text, &expr, value.span, &self.env, errors);
                    self.names.inputs.push((name.text.clone(), vec![dim]));
                    self.env.features.push(Feature { name: name.text.clone(), dim, expr });
                    self.feature_ranges.push(range);
                }
                StmtKind::Assign { name, value } if name.text == self.env.reward => {
                    if self.env.recode.is_some() {
                        let (what, name_text) = ("recoding of the reward", name.text.clone());
                        let first = self.env.recode.as_ref().map_or(name.span, |e| e.span);
                        errors.push(CheckError::Duplicate { what, name: name_text, span: stmt.span, first });
                    }
                    let Some((expr, range)) = self.expr(Place::Recode, value, secrecy, errors) else { continue };
                    if !matches!(expr.ty, Type::Sample(1) | Type::Number) {
                        let (expected, found) = ("one number per sample".into(), super::expressions::kind_of(&expr.ty));
                        errors.push(CheckError::WrongKind { expected, found, span: value.span });
                        continue;
                    }
                    public_flow(secrecy, &name.text, &expr, value.span, &self.env, errors);
                    if let Some(range) = range {
                        self.env.reward_range = range;
                    }
                    self.env.recode = Some(expr);
                }
                StmtKind::Assign { name, .. } => {
                    let is =
                        if declared_here(&self.env, &name.text) { "not the reward: write `let` for a feature" } else { "unknown here" };
                    errors.push(CheckError::NotAState { name: name.text.clone(), is, span: name.span });
                }
                _ => {
                    let (what, belongs) = ("`let (A, B)`".to_string(), "a feature has one name".to_string());
                    errors.push(CheckError::Misplaced { what, belongs, span: stmt.span });
                }
            }
        }
    }

    fn expr(&mut self, place: Place, value: &ast::Expr, secrecy: &Secrecy, errors: &mut Vec<CheckError>) -> Option<(Expr, Option<Range>)> {
        let mut exprs = Exprs::new(place, &self.env, &self.broken, &[], secrecy);
        exprs.feature_ranges.clone_from(&self.feature_ranges);
        let made = exprs.check(value);
        let range = made.as_ref().and_then(|e| exprs.range_of(e));
        errors.append(&mut exprs.errors);
        made.map(|e| (e, range))
    }
}

fn declared_here(env: &Env, name: &str) -> bool {
    env.action.name == name || env.observations.iter().any(|o| o.name == name) || env.features.iter().any(|f| f.name == name)
}

/// A feature or reward that is public although it is computed from a secret.
fn public_flow(secrecy: &Secrecy, name: &str, expr: &Expr, span: Span, env: &Env, errors: &mut Vec<CheckError>) {
    if let (true, Some(declared)) = (expr.secret, secrecy.public.get(name)) {
        let exprs = Exprs::new(Place::Recode, env, &[], &[], secrecy);
        let (secret, source) = exprs.source(expr).unwrap_or_else(|| ("a secret".into(), span));
        errors.push(CheckError::SecretFlow { secret, public: name.to_string(), span, source, declared: *declared });
    }
}

/// A shape and one range for each of its elements.
fn value(exprs: &mut Exprs<'_>, shape: &ast::Shape, written: &[ast::Expr]) -> Option<(Vec<usize>, Vec<Range>)> {
    let dims = nets::dims(exprs, shape);
    let ranges: Vec<Option<Range>> = written.iter().map(|range| exprs.range(range)).collect();
    let dims = dims?;
    let elements: usize = dims.iter().product();
    if written.len() != 1 && written.len() != elements {
        let span = written.first().zip(written.last()).map_or(shape.span, |(a, b)| Span { start: a.span.start, end: b.span.end });
        exprs.report(CheckError::RangeCount { elements, found: written.len(), span });
    }
    // Where a range is wrong, any other lets the rest of the program be checked; the error is recorded.
    let stand_in = Range { low: -1.0, high: 1.0 };
    let given = |i: usize| if ranges.len() == 1 { ranges[0] } else { ranges.get(i).copied().flatten() };
    let ranges = (0..elements).map(|i| given(i).unwrap_or(stand_in)).collect();
    Some((dims, ranges))
}

fn action(exprs: &mut Exprs<'_>, shape: Option<&ast::Shape>, choice: &Choice) -> Option<ActionKind> {
    match (shape, choice) {
        (None, Choice::OneOf(k)) => nets::size(exprs, k, "the number of actions").map(|k| ActionKind::Discrete { k }),
        (Some(shape), Choice::OneOf(k)) => {
            let (dims, k) = (nets::dims(exprs, shape), nets::size(exprs, k, "the number of options"));
            match (dims?.as_slice(), k?) {
                ([n], k) if *n as f64 * k as f64 <= nets::MAX_ELEMENTS => Some(ActionKind::MultiDiscrete { n: *n, k }),
                (other, _) => {
                    let (what, expected) = ("several choices".to_string(), "`[n]`".to_string());
                    exprs.report(CheckError::ShapeMismatch { what, expected, found: format!("{other:?}"), span: shape.span });
                    None
                }
            }
        }
        (Some(shape), Choice::In(ranges)) => value(exprs, shape, ranges).map(|(shape, ranges)| ActionKind::Continuous { shape, ranges }),
        // The grammar asks for a shape before `in`.
        (None, Choice::In(_)) => None,
    }
}
