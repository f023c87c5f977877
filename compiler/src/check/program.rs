//! The whole program: items collected, then checked in the order in which they depend on one another.

use hecc_plan::Span;

use super::error::CheckError;
use super::expressions::{Exprs, Place};
use super::hir::*;
use super::names::nearest;
use super::train::Available;
use super::{environment, nets, settings, train};
use crate::syntax::ast::{self, Item};

/// Checks a program. All errors are in the list, in source order.
pub fn run(program: &ast::Program) -> Result<Program, Vec<CheckError>> {
    let mut errors = Vec::new();
    let made = check(program, &mut errors);
    match made {
        Some(made) if errors.is_empty() => Ok(made),
        _ => {
            errors.sort_by_key(|error| (error.span(), error.code()));
            errors.dedup();
            errors.truncate(crate::syntax::scan::MAX_ERRORS);
            Err(errors)
        }
    }
}

#[derive(Default)]
struct Items<'a> {
    uses: Vec<&'a ast::Use>,
    envs: Vec<&'a ast::Env>,
    nets: Vec<&'a ast::Net>,
    algorithms: Vec<&'a ast::Algorithm>,
    trains: Vec<&'a ast::Train>,
    serves: Vec<&'a ast::Serve>,
    secures: Vec<&'a ast::Secure>,
}

impl<'a> Items<'a> {
    fn of(program: &'a ast::Program) -> Self {
        let mut items = Items::default();
        for item in &program.items {
            match item {
                Item::Use(x) => items.uses.push(x),
                Item::Env(x) => items.envs.push(x),
                Item::Net(x) => items.nets.push(x),
                Item::Algorithm(x) => items.algorithms.push(x),
                Item::Train(x) => items.trains.push(x),
                Item::Serve(x) => items.serves.push(x),
                Item::Secure(x) => items.secures.push(x),
            }
        }
        items
    }

    /// How often each kind of item may stand.
    fn count(&self, end: Span, errors: &mut Vec<CheckError>) {
        let mut once = |what, spans: Vec<Span>| {
            if let Some((first, rest)) = spans.split_first() {
                errors.extend(rest.iter().map(|span| CheckError::Duplicate { what, name: String::new(), span: *span, first: *first }));
            }
        };
        let head = |span: Span, letters: u32| Span { start: span.start, end: span.start + letters };
        once("`env`", self.envs.iter().map(|x| head(x.span, 3)).collect());
        once("`secure`", self.secures.iter().map(|x| head(x.span, 6)).collect());
        let mut tasks: Vec<Span> = self.trains.iter().map(|x| head(x.span, 5)).collect();
        tasks.extend(self.serves.iter().map(|x| head(x.span, 5)));
        tasks.sort();
        let none = tasks.is_empty();
        once("`train` or `serve`", tasks);
        let mut named = |what, names: Vec<&ast::Name>| {
            for (at, name) in names.iter().enumerate() {
                if let Some(first) = names[..at].iter().find(|first| first.text == name.text) {
                    errors.push(CheckError::Duplicate { what, name: name.text.clone(), span: name.span, first: first.span });
                }
            }
        };
        named("net", self.nets.iter().map(|x| &x.name).collect());
        named("algorithm", self.algorithms.iter().map(|x| &x.name).collect());
        for (missing, what) in [
            (self.envs.is_empty(), "env \"ID\" { ... }"),
            (self.nets.is_empty(), "net NAME(INPUT) -> [SHAPE] { ... }"),
            (none, "train ALGORITHM(NET) { ... }` or `serve EXPR"),
        ] {
            if missing {
                errors.push(CheckError::Missing { what, within: "the program", span: end });
            }
        }
    }
}

fn check(program: &ast::Program, errors: &mut Vec<CheckError>) -> Option<Program> {
    let items = Items::of(program);
    let end = program.items.last().map_or(0, |item| item.span().end);
    items.count(Span { start: end, end }, errors);
    let library = library(&items, errors);
    let env = *items.envs.first()?;

    let names = environment::declared(env);
    let mut all: Vec<String> = names.iter().map(|(name, _)| name.text.clone()).collect();
    all.push("done".into());
    all.extend(items.nets.iter().map(|net| net.name.text.clone()));
    let blank = environment::check(&ast::Env { lines: Vec::new(), ..env.clone() }, &super::secrecy::Secrecy::default(), &mut Vec::new());
    let nothing = super::secrecy::Secrecy::default();
    let mut constants = Exprs::new(Place::Constant, &blank.env, &[], &[], &nothing);
    let (secure, secrecy) = settings::secure(&mut constants, items.secures.first().copied(), &all);
    errors.append(&mut constants.errors);

    let environment = environment::check(env, &secrecy, errors);
    let mut made_nets = Vec::new();
    let mut broken_nets = Vec::new();
    for net in &items.nets {
        if let Some((first, what)) = names.iter().find(|(name, _)| name.text == net.name.text) {
            let _ = what;
            errors.push(CheckError::Duplicate { what: "name", name: net.name.text.clone(), span: net.name.span, first: first.span });
        }
        let mut exprs = Exprs::new(Place::Constant, &environment.env, &environment.broken, &[], &secrecy);
        match nets::check(&mut exprs, &environment.names, secrecy.is_secret(&net.name.text), net) {
            Some(net) => made_nets.push(net),
            None => broken_nets.push(net.name.text.clone()),
        }
        errors.append(&mut exprs.errors);
    }

    let mut broken = environment.broken.clone();
    broken.extend(broken_nets.iter().cloned());
    let task = if let Some(written) = items.trains.first() {
        let mut available: Vec<Available<'_>> = library
            .iter()
            .flat_map(|(name, text, program)| {
                Items::of(program).algorithms.into_iter().map(|algorithm| Available { algorithm, standard: Some((name.as_str(), *text)) })
            })
            .collect();
        available.extend(items.algorithms.iter().map(|algorithm| Available { algorithm, standard: None }));
        let mut exprs = Exprs::new(Place::Body, &environment.env, &broken, &made_nets, &secrecy);
        exprs.feature_ranges.clone_from(&environment.feature_ranges);
        let made = train::check(&mut exprs, written, &available, &broken_nets);
        errors.append(&mut exprs.errors);
        made.map(Task::Train)
    } else {
        let written = items.serves.first()?;
        let mut exprs = Exprs::new(Place::Serve, &environment.env, &broken, &made_nets, &secrecy);
        exprs.feature_ranges.clone_from(&environment.feature_ranges);
        let expr = exprs.check(&written.expr);
        let batch = settings::serve(&mut exprs, &written.settings);
        errors.append(&mut exprs.errors);
        expr.map(|expr| Task::Serve(Serve { expr, batch, span: written.span }))
    };
    Some(Program { env: environment.env, nets: made_nets, task: task?, secure })
}

type Module = (String, &'static str, ast::Program);

/// The modules of the standard library that the program uses.
fn library(items: &Items<'_>, errors: &mut Vec<CheckError>) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    let mut seen: Vec<&ast::Name> = Vec::new();
    for path in items.uses.iter().flat_map(|item| &item.paths) {
        if let Some(first) = seen.iter().find(|first| first.text == path.text) {
            errors.push(CheckError::Duplicate { what: "module", name: path.text.clone(), span: path.span, first: first.span });
            continue;
        }
        seen.push(path);
        let text = path.text.strip_prefix("std.").and_then(crate::library::source);
        let Some(text) = text else {
            let known: Vec<String> = crate::library::NAMES.iter().map(|name| format!("std.{name}")).collect();
            let meant = match crate::library::source(&path.text) {
                Some(_) => Some(format!("std.{}", path.text)),
                None => nearest(&path.text, known.iter().map(String::as_str)),
            };
            errors.push(CheckError::UnknownName { what: "module", name: path.text.clone(), meant, span: path.span });
            continue;
        };
        // A test parses every module; one that does not parse has no algorithms.
        let Ok(program) = crate::syntax::parse(text) else { continue };
        for algorithm in &items.algorithms {
            if path.text.strip_prefix("std.") == Some(algorithm.name.text.as_str()) {
                let name = algorithm.name.text.clone();
                errors.push(CheckError::Duplicate { what: "algorithm", name, span: algorithm.name.span, first: path.span });
            }
        }
        modules.push((path.text.clone(), text, program));
    }
    modules
}
