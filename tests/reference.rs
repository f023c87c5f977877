//! Updates against numpy's: programs, batches and expected states that `tests/tools/reference_update.py` wrote.

use std::path::PathBuf;
use std::sync::Arc;

use hecc_compiler::{Options, compile};
use hecc_plan::Tensors;
use hecc_runtime::arrays;
use hecc_runtime::engine::{Backend, Engine};
use hecc_runtime::session::intake;

/// Relative to an array's largest element, or to 1.
const TOLERANCE: f64 = 1e-9;

#[test]
fn cartpole() {
    replay("cartpole", 3);
}

#[test]
fn squares_and_plain_descent() {
    replay("regression", 2);
}

#[test]
fn three_hidden_layers_and_the_clients_maximum() {
    replay("deep", 3);
}

#[test]
fn a_tournament_of_three() {
    replay("tournament", 2);
}

#[test]
fn an_actor_and_its_critic() {
    replay("actor_critic", 3);
}

#[test]
fn a_served_policy() {
    replay("actor", 1);
}

/// Consecutive updates, each from the last one's own result.
fn replay(name: &str, updates: usize) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/reference_{name}.safetensors"));
    let bytes = std::fs::read(path).expect("a fixture");
    let program = arrays::note(&bytes, "program").expect("metadata").expect("a program");
    let fixture = arrays::read(&bytes).expect("arrays");
    let under = |prefix: &str| -> Tensors {
        fixture.iter().filter_map(|(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value.clone()))).collect()
    };
    let plan = Arc::new(compile(&program, &Options::default()).expect("a program that compiles").plan);
    let mut carried = under("start.");
    for update in 0..updates {
        let mut given =
            intake::sort(&*plan, carried.into_iter().chain(under(&format!("batch.{update}."))).collect()).expect("what is needed");
        assert!(given.unused.is_empty(), "{:?}", given.unused);
        let public = given.public.clone();
        let mut engine = Engine::new(Arc::clone(&plan), Backend::Clear, given.public, 0, &mut |_, _| ()).expect("an engine");
        let results = engine.update(&given.batch, &mut given.states).expect("an update").results;
        let expected = under(&format!("after.{update}."));
        for state in &plan.states {
            assert!(expected.contains_key(&state.name), "update {update} has nothing to compare {} with", state.name);
        }
        for (name, want) in &expected {
            let got = given.states.get(name).or_else(|| results.get(name)).unwrap_or_else(|| panic!("no {name}"));
            assert_eq!(got.data.len(), want.data.len(), "{name}");
            let largest = want.data.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            let error = want.data.iter().zip(&got.data).map(|(w, g)| (w - g).abs()).fold(0.0, f64::max);
            assert!(error <= TOLERANCE * largest, "update {update}, {name}: {error:e} off");
        }
        carried = given.states.into_iter().chain(public).collect();
    }
}
