//! `train`: the algorithm found, its parameters set, its body checked.

use hecc_plan::Span;

use super::arguments::Signature;
use super::error::{ArgumentProblem, CheckError};
use super::expressions::{Binding, Exprs};
use super::hir::*;
use super::names::nearest;
use super::settings;
use crate::syntax::ast::{self, ExprKind as Written, SettingValue, StmtKind};

const OPTIMIZERS: [&str; 5] = ["sgd", "momentum", "nesterov", "adam", "rmsprop"];

/// An algorithm that a program can train with.
pub(super) struct Available<'a> {
    pub algorithm: &'a ast::Algorithm,
    /// The module of the standard library that it is from, with its text.
    pub standard: Option<(&'a str, &'static str)>,
}

/// Checks a run. `exprs` stands in the scope of a body, without anything in it; its errors are added to.
pub(super) fn check(exprs: &mut Exprs<'_>, written: &ast::Train, algorithms: &[Available<'_>], broken_nets: &[String]) -> Option<Train> {
    let title = &written.algorithm;
    let found = algorithms.iter().rfind(|a| a.algorithm.name.text == title.text);
    if found.is_none() {
        let meant = nearest(&title.text, algorithms.iter().map(|a| a.algorithm.name.text.as_str()));
        let meant = meant.or_else(|| crate::library::source(&title.text).map(|_| format!("use std.{}", title.text)));
        exprs.report(CheckError::UnknownName { what: "algorithm", name: title.text.clone(), meant, span: title.span });
    }
    let nets = networks(exprs, written, broken_nets);
    let mut run = settings::defaults(&exprs.env.action.kind);
    let parameters = found.map(|found| parameters(&found.algorithm.body)).unwrap_or_default();
    let mut errors = std::mem::take(&mut exprs.errors);
    let given = settings::distinct(&written.settings, &mut errors);
    std::mem::swap(&mut exprs.errors, &mut errors);
    exprs.errors.extend(errors);
    for setting in &given {
        let name = setting.name.text.as_str();
        if settings::TRAIN.contains(&name) {
            constant_place(exprs, |exprs| settings::set(exprs, &mut run, setting));
        } else if found.is_some() && !parameters.iter().any(|(known, _)| known.text == name) {
            let mut known: Vec<&str> = parameters.iter().map(|(name, _)| name.text.as_str()).collect();
            known.extend(settings::TRAIN);
            settings::unknown(exprs, setting, "train", &known);
        }
    }
    if !given.iter().any(|setting| setting.name.text == "updates") {
        exprs.report(CheckError::MissingSetting { name: "updates".into(), algorithm: None, span: title.span });
    }
    let found = found?;
    if written.nets.len() != found.algorithm.nets.len() {
        let names: Vec<&str> = found.algorithm.nets.iter().map(|name| name.text.as_str()).collect();
        let takes = format!("({})", names.join(", "));
        let end = written.nets.last().map_or(title.span.end, |name| name.span.end);
        let span = Span { start: title.span.start, end };
        exprs.bad_arguments(&title.text, ArgumentProblem::Count { takes, found: written.nets.len() }, span);
        return None;
    }
    let before = exprs.errors.len();
    let own = std::mem::take(&mut exprs.errors);
    let result = run_body(exprs, written, found, &parameters, &given, &nets, &mut run);
    let inner = std::mem::replace(&mut exprs.errors, own);
    exprs.errors.extend(inner);
    if exprs.errors.len() > before {
        return None;
    }
    Some(Train { algorithm: title.text.clone(), body: result, settings: run, span: written.span })
}

/// Checks the body until the secrecy of its states is settled: a state can be used above the line that makes it secret.
fn run_body(
    exprs: &mut Exprs<'_>,
    written: &ast::Train,
    found: &Available<'_>,
    parameters: &[Parameter<'_>],
    given: &[&ast::Setting],
    nets: &[Binding],
    run: &mut Settings,
) -> Body {
    let algorithm = found.algorithm;
    let mut scope: Vec<(String, Binding)> = Vec::new();
    for (formal, net) in algorithm.nets.iter().zip(nets) {
        if scope.iter().any(|(name, _)| *name == formal.text) {
            exprs.report(CheckError::Duplicate { what: "net", name: formal.text.clone(), span: formal.span, first: algorithm.name.span });
        }
        scope.push((formal.text.clone(), net.clone()));
    }
    let bound = bind_parameters(exprs, written, found, parameters, given, run);
    scope.extend(bound);
    let discount = run.discount.unwrap_or(1.0);
    exprs.terms = if discount < 1.0 { (1.0 - libm::pow(discount, run.n_step as f64)) / (1.0 - discount) } else { run.n_step as f64 };
    let settled_errors = std::mem::take(&mut exprs.errors);
    loop {
        exprs.scope.clone_from(&scope);
        exprs.body = Body::default();
        exprs.let_ranges.clear();
        exprs.let_sources.clear();
        exprs.errors.clear();
        let before = exprs.state_secret.clone();
        if let Some((module, text)) = found.standard {
            exprs.standard = Some(Span {
                start: written.algorithm.span.start,
                end: written.nets.last().map_or(written.algorithm.span.end, |n| n.span.end),
            });
            exprs.body.statements = standard_statements(exprs, &algorithm.body, module, text);
            exprs.standard = None;
        } else {
            exprs.body.statements = exprs.statements(&algorithm.body, false);
        }
        if exprs.state_secret == before {
            break;
        }
    }
    let mut all = settled_errors;
    all.append(&mut exprs.errors);
    exprs.errors = all;
    std::mem::take(&mut exprs.body)
}

/// Statements of the standard library; an error in one names its line.
fn standard_statements(exprs: &mut Exprs<'_>, body: &[ast::Stmt], module: &str, text: &'static str) -> Vec<Stmt> {
    let mut made = Vec::new();
    for stmt in body {
        let before = exprs.errors.len();
        made.extend(exprs.statements(std::slice::from_ref(stmt), false));
        let at = stmt.span.start as usize;
        let line = text[..at].matches('\n').count() + 1;
        let source = text[at..].lines().next().unwrap_or_default().trim().to_string();
        for error in exprs.errors.split_off(before) {
            let module = module.to_string();
            exprs.errors.push(CheckError::InStandard { module, line, text: source.clone(), error: Box::new(error) });
        }
    }
    made
}

fn networks(exprs: &mut Exprs<'_>, written: &ast::Train, broken_nets: &[String]) -> Vec<Binding> {
    let mut bound = Vec::new();
    for name in &written.nets {
        bound.push(match exprs.nets.iter().position(|net| net.name == name.text) {
            Some(id) => Binding::Net(NetId(id)),
            None if broken_nets.contains(&name.text) => Binding::Broken,
            None => {
                let known = exprs.nets.iter().map(|net| net.name.as_str()).chain(broken_nets.iter().map(String::as_str));
                let meant = nearest(&name.text, known);
                exprs.report(CheckError::UnknownName { what: "net", name: name.text.clone(), meant, span: name.span });
                Binding::Broken
            }
        });
    }
    bound
}

type Parameter<'a> = (&'a ast::Name, Option<&'a ast::Expr>);

fn parameters(body: &[ast::Stmt]) -> Vec<Parameter<'_>> {
    body.iter()
        .flat_map(|stmt| match &stmt.kind {
            StmtKind::Parameter(list) => list.iter().map(|(name, value)| (name, value.as_ref())).collect(),
            _ => Vec::new(),
        })
        .collect()
}

/// Runs a check in which only constants and parameters are in scope.
fn constant_place<T>(exprs: &mut Exprs<'_>, run: impl FnOnce(&mut Exprs<'_>) -> T) -> T {
    let place = std::mem::replace(&mut exprs.place, super::expressions::Place::Constant);
    let result = run(exprs);
    exprs.place = place;
    result
}

fn bind_parameters(
    exprs: &mut Exprs<'_>,
    written: &ast::Train,
    found: &Available<'_>,
    parameters: &[Parameter<'_>],
    given: &[&ast::Setting],
    run: &mut Settings,
) -> Vec<(String, Binding)> {
    let mut bound: Vec<(String, Binding)> = Vec::new();
    for (name, default) in parameters {
        if bound.iter().any(|(known, _)| *known == name.text) {
            let (what, text) = ("parameter", name.text.clone());
            exprs.report(CheckError::Duplicate { what, name: text, span: name.span, first: found.algorithm.name.span });
            continue;
        }
        let setting = given.iter().find(|setting| setting.name.text == name.text);
        let value = match setting.map(|setting| &setting.value) {
            Some(SettingValue::Expr(e)) => Some(e),
            Some(SettingValue::Quantize { span, .. }) => {
                let (name, expected) = (name.text.clone(), "a number or an optimizer".to_string());
                exprs.report(CheckError::BadSetting { name, expected, span: *span });
                None
            }
            None => *default,
        };
        let binding = match value {
            Some(e) => {
                // A default of the standard library has no place in the program's text.
                exprs.standard = (setting.is_none() && found.standard.is_some()).then_some(written.algorithm.span);
                exprs.scope.clone_from(&bound);
                let made = constant_place(exprs, |exprs| parameter(exprs, &name.text, e));
                exprs.scope.clear();
                exprs.standard = None;
                made
            }
            None if setting.is_some() => Binding::Broken,
            None => {
                let algorithm = Some(found.algorithm.name.text.clone());
                exprs.report(CheckError::MissingSetting { name: name.text.clone(), algorithm, span: written.algorithm.span });
                Binding::Broken
            }
        };
        let binding = match binding {
            Binding::Number(x) if name.text == "discount" => {
                run.discount = Some(x);
                Binding::Number(libm::pow(x, run.n_step as f64))
            }
            other => other,
        };
        bound.push((name.text.clone(), binding));
    }
    bound
}

fn parameter(exprs: &mut Exprs<'_>, name: &str, e: &ast::Expr) -> Binding {
    let span = exprs.place(e.span);
    match &e.kind {
        Written::Paren(inner) => return parameter(exprs, name, inner),
        Written::Call(callee, _) => {
            if let Written::Name(function) = &callee.kind
                && !super::calls::is_function(function)
            {
                return exprs.optimizer(e).map_or(Binding::Broken, Binding::Optimizer);
            }
        }
        Written::Name(other) => {
            if let Some(binding) = exprs.lookup(other) {
                return binding.clone();
            }
            let optimizer = OPTIMIZERS.contains(&other.as_str());
            let expected = if optimizer { format!("arguments: `{other}(lr: 1e-3)`") } else { "a number or an optimizer".to_string() };
            exprs.report(CheckError::BadSetting { name: name.to_string(), expected, span });
            return Binding::Broken;
        }
        Written::List(_) | Written::Text(_) => {
            let expected = "a number or an optimizer".to_string();
            exprs.report(CheckError::BadSetting { name: name.to_string(), expected, span });
            return Binding::Broken;
        }
        Written::Number(_) | Written::Neg(_) | Written::Binary(..) | Written::Index(..) | Written::Field(..) => {}
    }
    exprs.constant(e, "a parameter").map_or(Binding::Broken, Binding::Number)
}

/// What is on or off.
const SWITCH: [(&str, bool); 2] = [("on", true), ("off", false)];

impl Exprs<'_> {
    /// An optimiser: a parameter that is one, or `adam(3e-4)`.
    pub(super) fn optimizer(&mut self, e: &ast::Expr) -> Option<Optimizer> {
        let span = self.place(e.span);
        let (callee, args) = match &e.kind {
            Written::Paren(inner) => return self.optimizer(inner),
            Written::Name(name) => {
                match self.lookup(name) {
                    Some(Binding::Optimizer(optimizer)) => return Some(optimizer.clone()),
                    Some(Binding::Broken) => return None,
                    Some(_) => self.wrong_kind("an optimizer, such as `adam(3e-4)`", format!("`{name}`"), span),
                    None if OPTIMIZERS.contains(&name.as_str()) => {
                        self.bad_arguments(name, ArgumentProblem::Count { takes: "(lr, ...)".into(), found: 0 }, e.span);
                    }
                    None => self.unknown_optimizer(name, e.span),
                }
                return None;
            }
            Written::Call(callee, args) => (callee, args),
            _ => {
                self.wrong_kind("an optimizer, such as `adam(3e-4)`", "something else", span);
                return None;
            }
        };
        let Written::Name(name) = &callee.kind else {
            self.wrong_kind("an optimizer, such as `adam(3e-4)`", "something else", span);
            return None;
        };
        let signature = match name.as_str() {
            "sgd" => Signature { names: &["lr"], required: 1, pins: false },
            "momentum" | "nesterov" => Signature { names: &["lr", "beta"], required: 1, pins: false },
            "adam" => Signature { names: &["lr", "beta1", "beta2", "eps", "by", "lagged", "normalised"], required: 1, pins: false },
            "rmsprop" => Signature { names: &["lr", "rho", "eps", "by", "lagged"], required: 1, pins: false },
            other => {
                self.unknown_optimizer(other, callee.span);
                return None;
            }
        };
        let (bound, _) = self.bind(name, &signature, args, e.span)?;
        let lr = bound[0].and_then(|lr| self.schedule(lr));
        let mut share = |at: usize, what: &str, default: f64| match bound.get(at).copied().flatten() {
            None => Some(default),
            Some(e) => self.between(e, what, |x| (0.0..1.0).contains(&x), "from 0 up to, but not, 1"),
        };
        let kind = match name.as_str() {
            "sgd" => Some(OptimizerKind::Sgd),
            "momentum" => share(1, "`beta`", 0.9).map(|beta| OptimizerKind::Momentum { beta }),
            "nesterov" => share(1, "`beta`", 0.9).map(|beta| OptimizerKind::Nesterov { beta }),
            "adam" => {
                let (beta1, beta2) = (share(1, "`beta1`", 0.9), share(2, "`beta2`", 0.999));
                let eps = bound[3].map_or(Some(1e-8), |e| self.between(e, "`eps`", |x| x > 0.0, "above 0"));
                beta1.zip(beta2).zip(eps).map(|((beta1, beta2), eps)| OptimizerKind::Adam { beta1, beta2, eps })
            }
            _ => {
                let rho = share(1, "`rho`", 0.99);
                let eps = bound[2].map_or(Some(1e-8), |e| self.between(e, "`eps`", |x| x > 0.0, "above 0"));
                rho.zip(eps).map(|(rho, eps)| OptimizerKind::RmsProp { rho, eps })
            }
        };
        let argument = |name: &str| signature.names.iter().position(|known| *known == name).and_then(|at| bound[at]);
        let tracking = Tracking {
            by: self.word(argument("by"), "by", &By::ALL.map(|by| (by.name(), by)))?,
            lagged: self.word(argument("lagged"), "lagged", &SWITCH)?,
            normalised: self.word(argument("normalised"), "normalised", &SWITCH)?,
            largest: None,
        };
        Some(Optimizer { kind: kind?, lr: lr?, tracking, span })
    }

    /// What a word stands for, where one is given; `None` after an error.
    fn word<T: Copy>(&mut self, given: Option<&ast::Expr>, name: &str, words: &[(&str, T)]) -> Option<Option<T>> {
        let Some(e) = given else { return Some(None) };
        let found = match &e.kind {
            Written::Name(word) => words.iter().find(|(known, _)| known == word),
            _ => None,
        };
        if found.is_none() {
            let known: Vec<String> = words.iter().map(|(word, _)| format!("`{word}`")).collect();
            let span = self.place(e.span);
            self.report(CheckError::BadSetting { name: name.to_owned(), expected: known.join(" or "), span });
        }
        found.map(|(_, value)| Some(*value))
    }

    fn unknown_optimizer(&mut self, name: &str, span: Span) {
        let meant = nearest(name, OPTIMIZERS);
        let span = self.place(span);
        self.report(CheckError::UnknownFunction { what: "optimizer", name: name.to_string(), meant, span });
    }

    fn between(&mut self, e: &ast::Expr, what: &str, fits: impl Fn(f64) -> bool, expected: &str) -> Option<f64> {
        let x = self.constant(e, what)?;
        if !fits(x) {
            let (what, expected, span) = (what.to_string(), expected.to_string(), self.place(e.span));
            self.report(CheckError::BadNumber { what, expected, span });
            return None;
        }
        Some(x)
    }

    fn schedule(&mut self, e: &ast::Expr) -> Option<Schedule> {
        let rate = |exprs: &mut Self, e| exprs.between(e, "a learning rate", |x| x >= 0.0, "0 or above");
        if let Written::Call(callee, args) = &e.kind
            && let Written::Name(name) = &callee.kind
            && matches!(name.as_str(), "linear" | "cosine")
        {
            let (bound, _) = self.bind(name, &Signature { names: &["from", "to"], required: 2, pins: false }, args, e.span)?;
            let (from, to) = (rate(self, bound[0]?), rate(self, bound[1]?));
            let (from, to) = (from?, to?);
            return Some(if name == "linear" { Schedule::Linear(from, to) } else { Schedule::Cosine(from, to) });
        }
        if let Written::Call(callee, _) = &e.kind
            && let Written::Name(name) = &callee.kind
            && !super::calls::is_function(name)
        {
            let meant = nearest(name, ["linear", "cosine"]);
            let span = self.place(callee.span);
            self.report(CheckError::UnknownFunction { what: "schedule", name: name.clone(), meant, span });
            return None;
        }
        rate(self, e).map(Schedule::Constant)
    }
}
