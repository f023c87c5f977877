//! Settings of `train`, `serve` and `secure`.

use hecc_plan::Escape;

use super::error::CheckError;
use super::expressions::{Exprs, action_length};
use super::hir::*;
use super::names::nearest;
use super::secrecy::Secrecy;
use crate::syntax::ast::{self, ExprKind as Written, SettingValue};

/// Settings of every run.
pub(super) const TRAIN: [&str; 15] = [
    "batch",
    "updates",
    "warmup",
    "capacity",
    "envs",
    "every",
    "collect",
    "n_step",
    "average",
    "range_penalty",
    "seed",
    "evaluate",
    "checkpoint",
    "explore",
    "out_of_range",
];
const SECURE: [&str; 8] = ["bits", "secret", "public", "refresh", "client", "precision", "quantize", "policy"];
const MOST: f64 = 9_007_199_254_740_992.0;
/// Largest batch.
const LARGEST_BATCH: f64 = 1_048_576.0;

/// The defaults of a run.
pub(super) fn defaults(action: &ActionKind) -> Settings {
    let explore = match action {
        ActionKind::Continuous { .. } => Explore::Policy,
        ActionKind::Discrete { .. } | ActionKind::MultiDiscrete { .. } => Explore::Epsilon(1.0, 0.05, 5000),
    };
    Settings {
        batch: 64,
        updates: 0,
        warmup: 1000,
        capacity: 100_000,
        envs: 1,
        every: 1,
        collect: None,
        n_step: 1,
        discount: None,
        average: None,
        range_penalty: 0.0,
        seed: 0,
        evaluate: 10,
        checkpoint: 50,
        explore,
        out_of_range: Escape::Warn,
    }
}

/// Reports a setting given twice; gives the settings, the first of each name.
pub(super) fn distinct<'a>(settings: &'a [ast::Setting], errors: &mut Vec<CheckError>) -> Vec<&'a ast::Setting> {
    let mut seen: Vec<&ast::Setting> = Vec::new();
    for setting in settings {
        match seen.iter().find(|first| first.name.text == setting.name.text) {
            Some(first) => {
                let name = setting.name.text.clone();
                errors.push(CheckError::Duplicate { what: "setting", name, span: setting.name.span, first: first.name.span });
            }
            None => seen.push(setting),
        }
    }
    seen
}

fn bad<T>(exprs: &mut Exprs<'_>, setting: &ast::Setting, expected: &str) -> Option<T> {
    let (name, span) = (setting.name.text.clone(), setting.value.span());
    exprs.report(CheckError::BadSetting { name, expected: expected.to_string(), span });
    None
}

fn name_of(value: &SettingValue) -> Option<&str> {
    match value {
        SettingValue::Expr(ast::Expr { kind: Written::Name(name), .. }) => Some(name),
        _ => None,
    }
}

fn call_of(value: &SettingValue) -> Option<(&str, Vec<&ast::Expr>)> {
    let SettingValue::Expr(ast::Expr { kind: Written::Call(callee, args), .. }) = value else { return None };
    let Written::Name(name) = &callee.kind else { return None };
    Some((name, args.iter().map(|arg| &arg.value).collect()))
}

/// A number, whatever is wrong with which is a matter of this setting.
fn number(exprs: &mut Exprs<'_>, setting: &ast::Setting, expected: &str, fits: impl Fn(f64) -> bool) -> Option<f64> {
    let SettingValue::Expr(e) = &setting.value else { return bad(exprs, setting, expected) };
    if matches!(e.kind, Written::List(_) | Written::Text(_)) {
        return bad(exprs, setting, expected);
    }
    let before = exprs.errors.len();
    let found = exprs.check(e).and_then(|e| e.number());
    match found.filter(|x| fits(*x)) {
        Some(x) => Some(x),
        None => {
            exprs.errors.truncate(before);
            bad(exprs, setting, expected)
        }
    }
}

/// Samples of a batch.
fn batch(exprs: &mut Exprs<'_>, setting: &ast::Setting) -> Option<usize> {
    let expected = format!("a whole number from 1 to {LARGEST_BATCH}");
    number(exprs, setting, &expected, |x| x.fract() == 0.0 && (1.0..=LARGEST_BATCH).contains(&x)).map(|x| x as usize)
}

fn natural(exprs: &mut Exprs<'_>, setting: &ast::Setting, least: f64) -> Option<usize> {
    let expected = if least > 0.0 { "a whole number above 0" } else { "a whole number, 0 or above" };
    number(exprs, setting, expected, |x| x.fract() == 0.0 && x >= least && x <= MOST).map(|x| x as usize)
}

/// Sets one setting of a run; unknown names are the caller's.
pub(super) fn set(exprs: &mut Exprs<'_>, settings: &mut Settings, setting: &ast::Setting) {
    let value = &setting.value;
    let mut put = |exprs: &mut Exprs<'_>, place: fn(&mut Settings) -> &mut usize, least: f64| {
        if let Some(n) = natural(exprs, setting, least) {
            *place(settings) = n;
        }
    };
    match setting.name.text.as_str() {
        "batch" => settings.batch = batch(exprs, setting).unwrap_or(settings.batch),
        "updates" => put(exprs, |s| &mut s.updates, 1.0),
        "warmup" => put(exprs, |s| &mut s.warmup, 0.0),
        "capacity" => put(exprs, |s| &mut s.capacity, 1.0),
        "envs" => put(exprs, |s| &mut s.envs, 1.0),
        "every" => put(exprs, |s| &mut s.every, 1.0),
        "n_step" => put(exprs, |s| &mut s.n_step, 1.0),
        "evaluate" => put(exprs, |s| &mut s.evaluate, 0.0),
        "checkpoint" => put(exprs, |s| &mut s.checkpoint, 1.0),
        "seed" => settings.seed = natural(exprs, setting, 0.0).unwrap_or(0) as u64,
        "average" => {
            settings.average = match name_of(value) {
                Some("off") => None,
                _ => number(exprs, setting, "a number above 0, up to 1, or `off`", |x| x > 0.0 && x <= 1.0),
            }
        }
        "range_penalty" => {
            settings.range_penalty = match name_of(value) {
                Some("off") => 0.0,
                _ => number(exprs, setting, "a number, 0 or above, or `off`", |x| x >= 0.0 && x.is_finite()).unwrap_or(0.0),
            }
        }
        "out_of_range" => match name_of(value) {
            Some("warn") => settings.out_of_range = Escape::Warn,
            Some("widen") => settings.out_of_range = Escape::Widen,
            Some("stop") => settings.out_of_range = Escape::Stop,
            _ => bad(exprs, setting, "`warn`, `widen` or `stop`").unwrap_or(()),
        },
        "collect" => {
            let expected = "`online`, or `random(N)` with a whole number N above 0";
            settings.collect = match (name_of(value), call_of(value)) {
                (Some("online"), _) => None,
                (_, Some(("random", args))) if args.len() == 1 => match whole(exprs, args[0], 1.0) {
                    Some(n) => Some(n),
                    None => bad(exprs, setting, expected),
                },
                _ => bad(exprs, setting, expected),
            }
        }
        "explore" => {
            let expected = "`policy`, or `epsilon(FROM, TO, STEPS)` with FROM and TO in [0, 1]";
            let made = match (name_of(value), call_of(value)) {
                (Some("policy"), _) => Some(Explore::Policy),
                (_, Some(("epsilon", args))) if args.len() == 3 => {
                    let (from, to) = (plain(exprs, args[0]), plain(exprs, args[1]));
                    let share = |x: &f64| (0.0..=1.0).contains(x);
                    match (from.filter(share), to.filter(share), whole(exprs, args[2], 0.0)) {
                        (Some(from), Some(to), Some(steps)) => Some(Explore::Epsilon(from, to, steps)),
                        _ => bad(exprs, setting, expected),
                    }
                }
                _ => bad(exprs, setting, expected),
            };
            if let Some(made) = made {
                settings.explore = made;
            }
        }
        _ => {}
    }
}

/// A constant, silently.
fn plain(exprs: &mut Exprs<'_>, e: &ast::Expr) -> Option<f64> {
    let before = exprs.errors.len();
    let found = exprs.check(e).and_then(|e| e.number());
    exprs.errors.truncate(before);
    found
}

fn whole(exprs: &mut Exprs<'_>, e: &ast::Expr, least: f64) -> Option<usize> {
    plain(exprs, e).filter(|x| x.fract() == 0.0 && *x >= least && *x <= MOST).map(|x| x as usize)
}

/// The settings of `serve`: its batch.
pub(super) fn serve(exprs: &mut Exprs<'_>, written: &[ast::Setting]) -> usize {
    let mut samples = 64;
    let mut errors = std::mem::take(&mut exprs.errors);
    for setting in distinct(written, &mut errors) {
        if setting.name.text == "batch" {
            samples = batch(exprs, setting).unwrap_or(samples);
        } else {
            unknown(exprs, setting, "serve", &["batch"]);
        }
    }
    errors.append(&mut exprs.errors);
    exprs.errors = errors;
    samples
}

/// Reports a setting that does not exist.
pub(super) fn unknown(exprs: &mut Exprs<'_>, setting: &ast::Setting, item: &'static str, known: &[&str]) {
    let name = setting.name.text.clone();
    let meant = nearest(&name, known.iter().copied());
    exprs.report(CheckError::UnknownSetting { name, item, meant, span: setting.name.span });
}

/// Checks `secure`. `names` are all names that can be secret or public.
pub(super) fn secure(exprs: &mut Exprs<'_>, item: Option<&ast::Secure>, names: &[String]) -> (Secure, Secrecy) {
    let mut secrecy = Secrecy::default();
    let mut made = Secure {
        scheme: Scheme::Ckks,
        bits: 128,
        refresh: Refresh::Bootstrap,
        client: Vec::new(),
        precision: 1e-3,
        quantize: (8, 8),
        policy: Party::Client,
        span: item.map(|item| item.span),
    };
    let Some(item) = item else { return (made, secrecy) };
    match item.scheme.text.as_str() {
        "ckks" => made.scheme = Scheme::Ckks,
        "tfhe" => made.scheme = Scheme::Tfhe,
        "auto" => made.scheme = Scheme::Auto,
        other => {
            let meant = nearest(other, ["ckks", "tfhe", "auto"]);
            let name = other.to_string();
            exprs.report(CheckError::UnknownName { what: "scheme", name, meant, span: item.scheme.span });
        }
    }
    let mut secret: Vec<(String, hecc_plan::Span)> = Vec::new();
    let mut errors = std::mem::take(&mut exprs.errors);
    for setting in distinct(&item.settings, &mut errors) {
        let word = name_of(&setting.value).unwrap_or("");
        match setting.name.text.as_str() {
            "bits" => {
                let fits = |x: f64| x == 128.0 || x == 192.0 || x == 256.0;
                made.bits = number(exprs, setting, "128, 192 or 256", fits).map_or(made.bits, |x| x as u32);
            }
            "precision" => {
                let found = number(exprs, setting, "a number above 0 and below 1", |x| x > 0.0 && x < 1.0);
                made.precision = found.unwrap_or(made.precision);
            }
            "refresh" => match word {
                "bootstrap" => made.refresh = Refresh::Bootstrap,
                "client" => made.refresh = Refresh::Client,
                "auto" => made.refresh = Refresh::Auto,
                _ => bad(exprs, setting, "`bootstrap`, `client` or `auto`").unwrap_or(()),
            },
            "policy" => match word {
                "client" => made.policy = Party::Client,
                "server" => made.policy = Party::Server,
                _ => bad(exprs, setting, "`client` or `server`").unwrap_or(()),
            },
            "quantize" => {
                let bits = |text: &str| text.parse::<u32>().ok().filter(|bits| (1..=16).contains(bits));
                let pair = match &setting.value {
                    SettingValue::Quantize { weights, activations, .. } => bits(weights).zip(bits(activations)),
                    SettingValue::Expr(_) => None,
                };
                match pair {
                    Some(pair) => made.quantize = pair,
                    None => bad(exprs, setting, "bits from 1 to 16 of weights and of activations, such as `w4 a6`").unwrap_or(()),
                }
            }
            "client" => {
                for (name, span) in list(exprs, setting) {
                    match client_op(&name) {
                        Some(op) if !made.client.contains(&op) => made.client.push(op),
                        Some(_) => {}
                        None => {
                            let meant = nearest(&name, CLIENT_OPS.iter().map(|(name, _)| *name));
                            exprs.report(CheckError::UnknownFunction { what: "client operation", name, meant, span });
                        }
                    }
                }
            }
            "secret" => secret = names_in(exprs, setting, names),
            "public" => secrecy.public = names_in(exprs, setting, names).into_iter().collect(),
            _ => unknown(exprs, setting, "secure", &SECURE),
        }
    }
    // Whoever takes the steps has the weights.
    if made.client.contains(&ClientOp::Optimizer) && !item.settings.iter().any(|setting| setting.name.text == "refresh") {
        made.refresh = Refresh::Client;
    }
    for (name, span) in &secret {
        if let Some(public) = secrecy.public.get(name) {
            exprs.report(CheckError::SecretAndPublic { name: name.clone(), span: *public, secret: *span });
        }
    }
    // What is both stays secret, so that no second error follows from the first.
    secrecy.public.retain(|name, _| !secret.iter().any(|(known, _)| known == name));
    errors.append(&mut exprs.errors);
    exprs.errors = errors;
    (made, secrecy)
}

/// The names of `[a, b]`.
fn list(exprs: &mut Exprs<'_>, setting: &ast::Setting) -> Vec<(String, hecc_plan::Span)> {
    let SettingValue::Expr(ast::Expr { kind: Written::List(list), .. }) = &setting.value else {
        return bad(exprs, setting, "a list of names, such as `[s, q]`").unwrap_or_default();
    };
    let mut names = Vec::new();
    for one in list {
        match &one.kind {
            Written::Name(name) => names.push((name.clone(), one.span)),
            _ => exprs.report(CheckError::BadSetting {
                name: setting.name.text.clone(),
                expected: "a list of names, such as `[s, q]`".into(),
                span: one.span,
            }),
        }
    }
    names
}

fn names_in(exprs: &mut Exprs<'_>, setting: &ast::Setting, known: &[String]) -> Vec<(String, hecc_plan::Span)> {
    let mut found: Vec<(String, hecc_plan::Span)> = Vec::new();
    for (name, span) in list(exprs, setting) {
        if !known.contains(&name) {
            let meant = nearest(&name, known.iter().map(String::as_str));
            exprs.report(CheckError::UnknownName { what: "environment value or net", name, meant, span });
        } else if let Some((_, first)) = found.iter().find(|(other, _)| *other == name) {
            exprs.report(CheckError::Duplicate { what: "name in this list", name, span, first: *first });
        } else {
            found.push((name, span));
        }
    }
    found
}

const CLIENT_OPS: [(&str, ClientOp); 21] = [
    ("max", ClientOp::Max),
    ("min", ClientOp::Min),
    ("argmax", ClientOp::ArgMax),
    ("exp", ClientOp::Exp),
    ("log", ClientOp::Log),
    ("sqrt", ClientOp::Sqrt),
    ("abs", ClientOp::Abs),
    ("clip", ClientOp::Clip),
    ("div", ClientOp::Div),
    ("select", ClientOp::Select),
    ("relu", ClientOp::Relu),
    ("silu", ClientOp::Silu),
    ("gelu", ClientOp::Gelu),
    ("tanh", ClientOp::Tanh),
    ("sigmoid", ClientOp::Sigmoid),
    ("softplus", ClientOp::Softplus),
    ("mish", ClientOp::Mish),
    ("softmax", ClientOp::Softmax),
    ("sample", ClientOp::Sample),
    ("target", ClientOp::Target),
    ("optimizer", ClientOp::Optimizer),
];

fn client_op(name: &str) -> Option<ClientOp> {
    CLIENT_OPS.iter().find(|(known, _)| *known == name).map(|(_, op)| *op)
}

/// Length of a named value of the environment, for sizes such as `noise e: [a]`.
pub(super) fn length_of(exprs: &Exprs<'_>, name: &str) -> Option<usize> {
    if exprs.standard.is_some() && name == "a" {
        return Some(action_length(&exprs.env.action.kind));
    }
    match exprs.env_value(name)?.1 {
        Type::Sample(n) => Some(n),
        Type::Number | Type::Image(_) | Type::Batch | Type::Tuple(_) => None,
    }
}
