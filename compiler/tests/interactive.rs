//! What the key owner takes part in, one line of `secure` each: every variant computes what its graph says, and what crosses is what
//! it should be.

use std::collections::BTreeSet;
use std::sync::Arc;

use hecc_compiler::{Compiled, Options, compile, diagnostics};
use hecc_plan::cost::{CostTable, predict};
use hecc_plan::link::{Link, round_trips};
use hecc_plan::{DecisionKind, Plan, Target};

use crate::support::{agrees_alone, compiled_agrees, data, run_plan};

/// A small soft actor-critic.
fn actor_critic(optimizer: &str, secure: &str) -> String {
    format!(
        r#"use std.sac
env "Other-v0" {{ observe s: [3] in [-1, 1]  act a: [1] in [-1, 1]  reward r in [-1, 1] }}
net actor(s) -> (mu: [1], log_std: [1]) {{
    dense 4 silu(degree: 2, range: [-4, 4])
    heads {{ mu {{ dense 1 init small }}  log_std {{ dense 1 tanh(degree: 3, range: [-2, 2]) init small }} }}
}}
net first(s, a) -> [1] {{ dense 4 silu(degree: 2, range: [-4, 4]) dense 1 }}
net second(s, a) -> [1] {{ dense 4 silu(degree: 2, range: [-4, 4]) dense 1 }}
train sac(actor, first, second) {{
    batch = 16 updates = 3 alpha = 0.02 tau = 0.05
    actor_optimizer = {optimizer} critic_optimizer = {optimizer}
}}
secure ckks {{ {secure} }}"#
    )
}

fn compiled(source: &str) -> Compiled {
    let options = Options { insecure_log_n: Some(11), ..Options::default() };
    compile(source, &options).unwrap_or_else(|e| panic!("{}", diagnostics::render(&e, source, "program.rl", false)))
}

const MOMENTUM: &str = "momentum(lr: 0.05)";

/// What comes back in the middle of an update, by label.
fn returned(plan: &Plan) -> BTreeSet<&str> {
    let value = |output: &&hecc_plan::Output| output.contents.iter().any(|c| matches!(c.tensor, Target::Value { .. }));
    plan.outputs.iter().filter(value).map(|output| output.label.as_str()).filter(|label| *label != hecc_plan::REFRESHED).collect()
}

fn what_crosses(plan: &Plan) -> String {
    let crosses = plan.decisions.iter().find(|d| d.kind == DecisionKind::Exchange && d.subject == "what crosses");
    crosses.expect("every training says what crosses").choice.clone()
}

#[test]
fn the_server_alone() {
    let plan = agrees_alone(&actor_critic(MOMENTUM, "refresh = bootstrap"), 10).plan;
    assert!(plan.outputs.is_empty() && plan.settled.is_empty());
    assert!(what_crosses(&plan).contains("nothing to the client"), "{}", what_crosses(&plan));
}

#[test]
fn the_client_refreshes() {
    let source = actor_critic(MOMENTUM, "refresh = client");
    let compiled = compiled(&source);
    compiled_agrees(&source, &compiled);
    assert!(compiled.plan.carried.is_empty());
    assert!(what_crosses(&compiled.plan).contains("state"), "{}", what_crosses(&compiled.plan));
}

#[test]
fn the_client_computes_functions() {
    let source = actor_critic(MOMENTUM, "refresh = client client = [min, log, exp, tanh]");
    let functions = compiled(&source);
    compiled_agrees(&source, &functions);
    assert!(returned(&functions.plan).contains("to the client"));
    let fits = |compiled: &Compiled| compiled.plan.decisions.iter().filter(|d| d.kind == DecisionKind::Activation).count();
    let plain = compiled(&actor_critic(MOMENTUM, "refresh = client"));
    assert!(fits(&functions) < fits(&plain), "exact functions need no polynomial");
}

/// With the client, which computes nothing of an update.
fn refreshed_only() -> Plan {
    compiled(&actor_critic(MOMENTUM, "refresh = client")).plan
}

#[test]
fn the_client_computes_the_target() {
    for secure in ["refresh = client client = [target]", "refresh = bootstrap client = [target]"] {
        let source = actor_critic(MOMENTUM, secure);
        if secure.contains("bootstrap") {
            let plan = agrees_alone(&source, 10).plan;
            assert_eq!(returned(&plan), BTreeSet::from(["network output"]));
            continue;
        }
        let compiled = compiled(&source);
        compiled_agrees(&source, &compiled);
        // The actor at s', then both targets at what the client samples there.
        assert_eq!(returned(&compiled.plan).into_iter().filter(|label| *label == "network output").count(), 1);
        assert!(compiled.plan.rounds.len() >= 3, "{} rounds", compiled.plan.rounds.len());
        // The logarithm in the target's density is the client's, exactly; the actor's own needs no gradient of it.
        let fits = |plan: &Plan| plan.decisions.iter().filter(|d| d.kind == DecisionKind::Activation).count();
        let plain = refreshed_only();
        assert!(fits(&compiled.plan) < fits(&plain), "{} and {}", fits(&compiled.plan), fits(&plain));
    }
}

#[test]
fn the_client_takes_the_steps() {
    for optimizer in [MOMENTUM, "sgd(lr: linear(0.05, 0.01))", "nesterov(lr: 0.05)", "adam(lr: 0.01)", "rmsprop(lr: 0.01)"] {
        let source = actor_critic(optimizer, "client = [optimizer]");
        let compiled = compiled(&source);
        compiled_agrees(&source, &compiled);
        let plan = &compiled.plan;
        let settled: BTreeSet<&str> = plan.settled.iter().map(|(name, _)| name.as_str()).collect();
        let all: BTreeSet<&str> = plan.states.iter().map(|state| state.name.as_str()).collect();
        assert_eq!(settled, all, "every state is the key owner's");
        let back = plan.outputs.iter().flat_map(|output| &output.contents);
        assert!(back.clone().count() > 0 && back.into_iter().all(|c| !matches!(c.tensor, Target::State(_) | Target::Rated { .. })));
    }
}

/// Whoever takes the steps, the states are the same.
#[test]
fn steps_of_the_client_are_those_of_the_server() {
    let program = |secure: &str| actor_critic("momentum(lr: linear(0.05, 0.01))", secure);
    let [ours, theirs] = ["refresh = client", "client = [optimizer]"].map(|secure| {
        let source = program(secure);
        let compiled = compiled(&source);
        let checked = hecc_compiler::check(&source).expect("it compiled");
        let (batch, states) = data(&checked, &compiled.plan, 3);
        run_plan(&compiled.plan, &batch, &states, false)
    });
    let mut compared = 0;
    for (target, value) in ours.iter().filter(|(target, _)| matches!(target, Target::State(_))) {
        for (a, b) in value.data.iter().zip(&theirs[target].data) {
            assert!((a - b).abs() < 1e-9 * (1.0 + a.abs()), "{target:?}: {a} and {b}");
            compared += 1;
        }
    }
    assert!(compared > 100);
}

#[test]
fn the_cheaper_refresh_is_taken_and_told() {
    let source = actor_critic("adam(lr: 0.01, eps: 1e-3)", "refresh = auto");
    let options = Options { insecure_log_n: Some(10), ..Options::default() };
    let plan = compile(&source, &options).expect("it compiles").plan;
    let note = plan.notes.iter().find(|note| note.starts_with("refresh = auto")).expect("it says which");
    assert!(note.contains("the client") && note.contains("without") && note.contains("crossing"), "{note}");
    // Without bootstraps of that ring there is one way only.
    let one = compiled(&source).plan;
    assert!(one.notes.iter().any(|note| note.starts_with("refresh = auto: the client; the other way has no plan")), "{:?}", one.notes);
    // The textbook's step where the client takes it.
    let textbook = plan.states.iter().any(|state| state.name.ends_with(".square"));
    assert_eq!(textbook, plan.carried.is_empty());
}

#[test]
fn a_slow_link_is_worth_fewer_and_shorter_exchanges() {
    let source = include_str!("../../examples/mobile_dqn.rl");
    let slow = Link { bytes_per_second: 12.5e6, round_trip: 0.03 };
    let table = CostTable { link: slow, ..CostTable::built_in().clone() };
    let near = compile(source, &Options::default()).expect("it compiles").plan;
    let far = compile(source, &Options { costs: Some(Arc::new(table.clone())), ..Options::default() }).expect("it compiles").plan;
    let [a, b] = [&near, &far].map(|plan| predict(plan, &table, 0));
    assert!(b.seconds_per_update > a.seconds_per_update, "the near plan computes less: {a:?}, {b:?}");
    assert!(b.seconds_per_update + b.link_seconds < 0.9 * (a.seconds_per_update + a.link_seconds), "{a:?}, {b:?}");
    assert!(round_trips(&far.rounds) < round_trips(&near.rounds));
}

#[test]
fn steps_of_the_client_need_its_refresh() {
    let options = Options { insecure_log_n: Some(10), ..Options::default() };
    let source = actor_critic(MOMENTUM, "refresh = bootstrap client = [optimizer]");
    let errors = compile(&source, &options).expect_err("two parties cannot have the weights");
    assert!(errors[0].message.contains("steps of optimisers by the client"), "{}", errors[0].message);
}
