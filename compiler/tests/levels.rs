//! What compiles at the highest level compiles at every level; small programs without any one pass, too. The highest level of the
//! examples is with the golden plans.

use std::fs;
use std::path::Path;

use hecc_compiler::passes::{Level, NAMES, PassName};
use hecc_compiler::{Compiled, Options, compile, diagnostics};

use crate::support;

/// Compiles at every level but, on a large ring, the highest, and on a small one without each pass; the first is the highest of those.
fn everywhere(name: &str, source: &str, small: bool) -> Vec<Compiled> {
    let highest = if small { 3 } else { 2 };
    let ways = (0..=highest).rev().map(|level| (level, None)).chain(NAMES.iter().filter(|_| small).map(|pass| (3, Some(*pass))));
    ways.map(|(level, without): (u8, Option<PassName>)| {
        let options = Options {
            insecure_log_n: small.then_some(10),
            level: Level::new(level),
            without: without.into_iter().collect(),
            ..Options::default()
        };
        compile(source, &options)
            .unwrap_or_else(|e| panic!("{name}, level {level} without {without:?}\n{}", diagnostics::render(&e, source, name, false)))
    })
    .collect()
}

fn folder(name: &str, small: bool) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let files = fs::read_dir(&root).expect("a folder of programs").map(|entry| entry.expect("a folder can be listed").path());
    let mut programs = 0;
    for path in files.filter(|path| path.extension().is_some_and(|x| x == "rl")) {
        everywhere(&path.display().to_string(), &fs::read_to_string(&path).expect("a program"), small);
        programs += 1;
    }
    assert!(programs > 0, "{name}");
}

#[test]
fn small_programs() {
    folder("tests/golden", true);
}

#[test]
fn examples() {
    folder("examples", false);
}

#[test]
fn revealed_means() {
    let means = [
        "mean(y)",
        "mean(r)",
        "mean(y * r) - mean(r)",
        "(mean(y) + 1) - 1",
        "1 - (1 - mean(y))",
        "2 * mean(y) + 1",
        "mean(y) * 2 / 4 + 0",
        "mean(y * 0 + 1)",
        "mean(0 * y - 1 + r)",
        "mean((y - 1) * (y + 1)) + mean(done * y)",
    ];
    for mean in means {
        let source = format!(
            r#"env "Other-v0" {{ observe s: [2] in [-1, 1]  act a: [1] in [-1, 1]  reward r in [-1, 1] }}
net value(s, a) -> [1] {{ dense 3 square dense 1 }}
algorithm fit(value) {{
    parameter optimizer
    let y = value(s, a)
    minimize mean((y - r)^2) over value with optimizer
    reveal {mean} as "mean"
}}
train fit(value) {{ batch = 4 updates = 2 optimizer = nesterov(lr: 0.1, beta: 0.5) }}
secure ckks {{ refresh = client }}"#
        );
        for compiled in everywhere(mean, &source, true) {
            support::compiled_agrees(&source, &compiled);
        }
    }
}

#[test]
fn scaled_layers_without_activations() {
    let source = r#"use std.double_dqn
env "Other-v0" { observe s: [5] in [-1.5, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 2 scale 0.5 dense 8 scale 0.5 dense 2 nobias }
train double_dqn(q) { batch = 21 updates = 5 average = 0.05 optimizer = momentum(lr: 0.3, beta: 0.5) }
secure ckks { refresh = client client = [argmax] }"#;
    for compiled in everywhere("scaled layers", source, true) {
        support::compiled_agrees(source, &compiled);
    }
}
