//! Fewer rotation keys where memory is short: the same results, more rotations.

use std::path::Path;

use hecc_compiler::{Compiled, MemoryLimit, Options, compile};
use hecc_plan::DecisionKind;
use hecc_plan::cost::{CostTable, predict};
use hecc_plan::counts::counts;

use crate::support;

fn program(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(name)).expect("the program is there")
}

fn options(bytes: Option<u64>) -> Options {
    let memory = bytes.map(|bytes| MemoryLimit { bytes, costs: None, threads: 1 });
    Options { insecure_log_n: Some(10), memory, ..Options::default() }
}

fn peak(compiled: &Compiled) -> u64 {
    predict(&compiled.plan, CostTable::built_in(), 1).memory.peak()
}

/// Compiles with room for all keys, then for some bytes less, and compares.
fn fewer(source: &str) -> (Compiled, Compiled) {
    let full = compile(source, &options(None)).expect("it compiles");
    let keys = |compiled: &Compiled| compiled.plan.keys.rotations.len();
    let ample = compile(source, &options(Some(peak(&full)))).expect("it compiles");
    assert_eq!(ample.plan, full.plan, "what fits stays");
    // Room for half of the keys.
    let none = compile(source, &options(Some(0))).expect("it compiles");
    let limit = u64::midpoint(peak(&full), peak(&none));
    let some = compile(source, &options(Some(limit))).expect("it compiles");
    assert!(peak(&some) <= limit, "{} > {limit}", peak(&some));
    assert!(keys(&none) < keys(&some) && keys(&some) < keys(&full), "{} {} {}", keys(&none), keys(&some), keys(&full));
    assert!(counts(&some.plan).rotations > counts(&full.plan).rotations);
    let decision = some.plan.decisions.iter().find(|d| d.kind == DecisionKind::Keys).expect("it is told");
    assert_eq!(decision.choice, format!("{} rotation keys instead of {}", keys(&some), keys(&full)));
    (some, none)
}

#[test]
fn an_update_with_the_client() {
    let source = program("tests/golden/dqn_polynomial_max.rl");
    let (some, none) = fewer(&source);
    support::compiled_agrees(&source, &some);
    support::compiled_agrees(&source, &none);
}

#[test]
fn an_update_without_it() {
    let source = program("tests/golden/alone.rl");
    let (some, none) = fewer(&source);
    support::compiled_agrees_alone(&source, &some);
    support::compiled_agrees_alone(&source, &none);
}

#[test]
fn matrices_keep_their_keys() {
    let source = program("tests/golden/serve_public.rl").replace("dense 4", "dense 64");
    let full = compile(&source, &options(None)).expect("it compiles");
    let none = compile(&source, &options(Some(0))).expect("it compiles");
    assert!(none.plan.keys.rotations.len() <= full.plan.keys.rotations.len());
    support::compiled_agrees(&source, &none);
}
