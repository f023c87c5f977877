//! What compiles at the highest level compiles at every level, and without any one pass. The highest level of the examples is with the
//! golden plans.

use std::fs;
use std::path::Path;

use hecc_compiler::passes::{Level, NAMES, PassName};
use hecc_compiler::{Compiled, Options, compile, diagnostics};

use crate::support;

/// A level, and the pass that is left out of it.
type Way = (u8, Option<PassName>);

/// Every level, and the highest without each pass.
fn every_way() -> Vec<Way> {
    (0..=3).rev().map(|level| (level, None)).chain(NAMES.map(|pass| (3, Some(pass)))).collect()
}

/// Compiles a program in several ways.
fn compiled(name: &str, source: &str, small: bool, ways: &[Way]) -> Vec<Compiled> {
    let compiled = ways.iter().map(|&(level, without)| {
        let options = Options {
            insecure_log_n: small.then_some(10),
            level: Level::new(level),
            without: without.into_iter().collect(),
            ..Options::default()
        };
        compile(source, &options)
            .unwrap_or_else(|e| panic!("{name}, level {level} without {without:?}\n{}", diagnostics::render(&e, source, name, false)))
    });
    compiled.collect()
}

/// Compiles each program of a folder in the ways that `of` has for its number.
fn folder(name: &str, small: bool, of: impl Fn(usize) -> Vec<Way>) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    let files = fs::read_dir(&root).expect("a folder of programs").map(|entry| entry.expect("a folder can be listed").path());
    let mut files: Vec<_> = files.filter(|path| path.extension().is_some_and(|x| x == "rl")).collect();
    files.sort();
    assert!(!files.is_empty(), "{name}");
    for (number, path) in files.iter().enumerate() {
        compiled(&path.display().to_string(), &fs::read_to_string(path).expect("a program"), small, &of(number));
    }
}

/// Of small programs every level; passes in turn, so that each is left out of every third program.
#[test]
fn small_programs() {
    folder("tests/golden", true, |number| {
        let (levels, passes) = every_way().into_iter().partition::<Vec<Way>, _>(|(_, without)| without.is_none());
        levels.into_iter().chain(passes.into_iter().skip(number % 3).step_by(3)).collect()
    });
}

/// Of the examples the lower levels in turn.
#[test]
fn examples() {
    folder("examples", false, |number| vec![([2, 1, 0][number % 3], None)]);
}

#[test]
#[ignore = "minutes: cargo test -p hecc-compiler --test suite -- --ignored in_every_way"]
fn in_every_way() {
    folder("tests/golden", true, |_| every_way());
    folder("examples", false, |_| vec![(2, None), (1, None), (0, None)]);
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
        for compiled in compiled(mean, &source, true, &every_way()) {
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
    for compiled in compiled("scaled layers", source, true, &every_way()) {
        support::compiled_agrees(source, &compiled);
    }
}
