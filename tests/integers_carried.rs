//! A server that carries the states on integers: encrypted it makes what it makes in the clear, update after update; each update is
//! applied once; what is fetched and planted again is the same; and plans in which noise or integers would pile up are refused.

use std::path::Path;
use std::sync::Arc;

use assert_cmd::Command;
use hecc_compiler::schemes::tfhe::{self, Given};
use hecc_plan::tfhe::check::check;
use hecc_plan::tfhe::{Op, Plan, Row, Step, WireId};
use hecc_plan::{AnyPlan, ClearNode, ClearOp, Target, Tensor, Tensors, init, write_tfhe};
use hecc_runtime::engine::EngineError;
use hecc_runtime::integers::{Backend, Client, Engine, Server, parties};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use serde_json::Value;

/// The smallest that has everything: a target network, a maximum, products, both kinds of parts.
const SOURCE: &str = r#"use std.dqn
env "Other-v0" { observe s: [1] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 2 }
train dqn(q) { batch = 1 updates = 4 tau = 0.5 optimizer = sgd(lr: 0.25) }
secure tfhe { quantize = w3 a3 }"#;

fn plan() -> Plan {
    let program = hecc_compiler::front::check(SOURCE).expect("the program checks");
    tfhe::compile(&program, SOURCE, &Given::default()).expect("the program compiles").plan
}

fn batch(update: usize) -> Tensors {
    let s = |phase: f64| Tensor::new(vec![1, 1], vec![(update as f64 * 1.9 + phase).sin()]);
    Tensors::from([
        ("s".to_owned(), s(0.3)),
        ("s_next".to_owned(), s(1.1)),
        ("a".to_owned(), Tensor::new(vec![1, 2], if update.is_multiple_of(2) { vec![1.0, 0.0] } else { vec![0.0, 1.0] })),
        ("r".to_owned(), Tensor::new(vec![1], vec![if update.is_multiple_of(3) { 1.0 } else { -0.5 }])),
        ("done".to_owned(), Tensor::new(vec![1], vec![f64::from(u8::from(update % 4 == 3))])),
    ])
}

fn engine(plan: &Arc<Plan>, backend: Backend) -> Engine {
    Engine::new(Arc::clone(plan), backend, 0, &mut |_, _| {}).expect("an engine")
}

#[test]
fn encrypted_updates_in_a_row_equal_clear_ones() {
    let plan = Arc::new(plan());
    println!("{} bootstraps an update", plan.bootstraps());
    let start = init::initial_states(&plan.states, 0);
    let (mut known, mut secret) = (start.clone(), start.clone());
    let (mut clear, mut encrypted) = (engine(&plan, Backend::Clear), engine(&plan, Backend::Tfhe));
    for update in 0..2 {
        for (engine, states) in [(&mut clear, &mut known), (&mut encrypted, &mut secret)] {
            let took = engine.update(&batch(update), states).expect("an update");
            // Between updates the client has what it had.
            assert_eq!(*states, start);
            println!("{:.1} s", took.seconds);
        }
    }
    clear.fetch(&mut known).expect("the states");
    encrypted.fetch(&mut secret).expect("the states");
    assert_eq!(known, secret);
    assert_ne!(known, start);
}

/// Client and server, and what has been planted.
fn planted(plan: &Arc<Plan>, states: &Tensors) -> (Client, Server) {
    let (client, mut server) = parties(Arc::clone(plan), Backend::Clear, 1).expect("two parties");
    server.plant(&client.plant(states).expect("a message")).expect("it is taken");
    (client, server)
}

fn fetched(client: &Client, server: &Server, done: u32, states: &Tensors) -> Tensors {
    let mut states = states.clone();
    client.gather(&server.fetch(&client.ask(done)).expect("an answer"), &mut states).expect("states");
    states
}

fn turned<T: std::fmt::Debug>(result: Result<T, EngineError>) {
    assert!(matches!(result, Err(EngineError::Turn(_))), "{result:?}");
}

#[test]
fn an_update_is_applied_once() {
    let plan = Arc::new(plan());
    let start = init::initial_states(&plan.states, 0);
    let (client, mut server) = planted(&plan, &start);
    turned(parties(Arc::clone(&plan), Backend::Clear, 1).expect("two parties").1.fetch(&client.ask(0)));
    let begun = fetched(&client, &server, 0, &start);
    let message = |done: u32, update: usize| client.batch(done, &batch(update), &start).expect("a message");
    turned(server.run(&message(1, 0)));
    server.run(&message(0, 0)).expect("an update");
    turned(server.run(&message(0, 0)));
    let first = fetched(&client, &server, 1, &start);
    // As long as the client does not go on, it can have what there was before.
    assert_eq!(fetched(&client, &server, 0, &start), begun);
    assert_ne!(first, begun);
    turned(server.fetch(&client.ask(2)));
    server.run(&message(1, 1)).expect("an update");
    turned(server.fetch(&client.ask(0)));
    assert_eq!(fetched(&client, &server, 1, &start), first);
    // A message that is cut short changes nothing.
    let second = fetched(&client, &server, 2, &start);
    let next = message(2, 2);
    assert!(server.run(&next[..next.len() - 9]).is_err());
    assert!(server.plant(&next).is_err());
    assert_eq!(fetched(&client, &server, 2, &start), second);
}

#[test]
fn runs_go_on_from_what_was_fetched() {
    let plan = Arc::new(plan());
    let start = init::initial_states(&plan.states, 3);
    let ten = |interrupted: bool| {
        let (mut engine, mut states) = (engine(&plan, Backend::Clear), start.clone());
        for update in 0..10 {
            engine.update(&batch(update), &mut states).expect("an update");
            if interrupted && update % 4 == 1 {
                engine.fetch(&mut states).expect("the states");
                engine.forget();
            }
        }
        engine.fetch(&mut states).expect("the states");
        states
    };
    assert_eq!(ten(true), ten(false));
}

#[test]
fn a_failed_update_takes_nothing_with_it() {
    let plan = Arc::new(plan());
    let (mut engine, mut states) = (engine(&plan, Backend::Clear), init::initial_states(&plan.states, 0));
    engine.update(&batch(0), &mut states).expect("an update");
    let mut odd = batch(1);
    odd.remove("r");
    assert!(engine.update(&odd, &mut states).is_err());
    engine.update(&batch(1), &mut states).expect("an update");
    engine.fetch(&mut states).expect("the states");
    let (mut whole, mut other) = (self::engine(&plan, Backend::Clear), init::initial_states(&plan.states, 0));
    for update in 0..2 {
        whole.update(&batch(update), &mut other).expect("an update");
    }
    whole.fetch(&mut other).expect("the states");
    assert_eq!(states, other);
}

#[test]
fn the_commands_train_resume_and_say_who_holds_what() {
    let folder = tempfile::tempdir().expect("a folder");
    let program = include_str!("../examples/integers/cartpole_dqn_alone.rl");
    std::fs::write(folder.path().join("p.rl"), program).expect("it is written");
    let hecc = |args: &[&str]| {
        let data: &Path = folder.path();
        let run = Command::cargo_bin("hecc").expect("the command").current_dir(data).env("XDG_DATA_HOME", data).args(args).assert().code(0);
        String::from_utf8(run.get_output().stdout.clone()).expect("text")
    };
    let train = ["train", "p.rl", "--episodes", "1", "--backend", "clear"];
    hecc(&[&train[..], &["--updates", "6", "--out", "whole"]].concat());
    hecc(&[&train[..], &["--updates", "4", "--checkpoint", "2", "--out", "parts"]].concat());
    hecc(&[&train[..], &["--updates", "6", "--resume", "parts"]].concat());
    let weights = |run: &str| std::fs::read(folder.path().join(run).join("weights.safetensors")).expect("weights");
    assert_eq!(weights("whole"), weights("parts"));
    let learned = hecc(&["explain", "p.rl", "--leakage"]);
    assert!(learned.contains("which the server keeps encrypted between updates"), "{learned}");
    assert!(learned.contains("when the client fetches the states"), "{learned}");
    let explained = hecc(&["explain", "p.rl"]);
    assert!(explained.contains("carried by the server, in"), "{explained}");
    assert!(explained.contains("the state `t.0.weight`"), "{explained}");
    assert!(hecc(&["compile", "p.rl", "--emit", "dot"]).contains("carried"));
}

/// The numbers of a document, in order.
fn numbers<'a>(value: &'a mut Value, found: &mut Vec<&'a mut Value>) {
    match value {
        Value::Number(_) => found.push(value),
        Value::Array(items) => items.iter_mut().for_each(|item| numbers(item, found)),
        Value::Object(fields) => fields.values_mut().for_each(|field| numbers(field, found)),
        _ => {}
    }
}

#[test]
fn spoilt_plans_make_nothing_panic() {
    let good: Value = serde_json::from_str(&write_tfhe(&plan())).expect("a document");
    let mut random = ChaCha20Rng::seed_from_u64(20_261_120);
    let mut accepted = 0;
    for case in 0..400 {
        let mut spoilt = good.clone();
        for _ in 0..random.random_range(1..3) {
            let mut found = Vec::new();
            numbers(&mut spoilt, &mut found);
            let at = random.random_range(0..found.len());
            let near = found[at].as_i64().unwrap_or(1);
            let values = [0, -1, near.wrapping_add(1), near.wrapping_sub(1), near.wrapping_mul(2), i64::MAX, i64::MIN, 1 << 24, 1 << 31];
            *found[at] = values[random.random_range(0..values.len())].into();
        }
        let Ok(AnyPlan::Tfhe(plan)) = hecc_plan::read_any(spoilt.to_string().as_bytes()) else { continue };
        accepted += 1;
        let plan = Arc::new(*plan);
        let mut states = init::initial_states(&plan.states, case);
        let Ok(mut engine) = Engine::new(Arc::clone(&plan), Backend::Clear, 1, &mut |_, _| {}) else { continue };
        for update in 0..3 {
            let _ = engine.update(&batch(update), &mut states);
        }
        let _ = engine.fetch(&mut states);
    }
    println!("{accepted} of 400 spoilt plans are accepted");
    assert!(accepted > 10);
}

/// The number of the carried vector whose parts are `parts` many, and its place among them.
fn finer(plan: &Plan) -> usize {
    let parts = plan.parts();
    parts.values().find(|parts| parts.len() > 1).expect("a state of several parts")[1].number
}

/// A step that gives carried vector `number` as it was, under another name.
fn same_again(plan: &mut Plan, number: usize) -> WireId {
    let read = plan.steps.iter().position(|step| matches!(step.op, Op::Carried(id) if id.0 as usize == number)).expect("a reader");
    let wire = plan.steps[read].wire;
    let rows = (0..wire.len).map(|e| Row { terms: vec![(0, e, 1)], constant: 0 }).collect();
    plan.steps.push(Step { op: Op::Affine { operands: vec![WireId(read as u32)], rows }, wire, span: plan.steps[read].span });
    WireId(plan.steps.len() as u32 - 1)
}

#[test]
fn what_would_pile_up_is_refused() {
    let good = plan();
    assert!(check(&good).is_ok());
    // Noise that is kept from update to update grows without end, however little is added to it.
    let mut piled = good.clone();
    let number = finer(&piled);
    piled.carried[number].wire = same_again(&mut piled, number);
    let errors = check(&piled).expect_err("noise piles up");
    assert!(errors.iter().any(|error| error.to_string().contains("pile up")), "{errors:?}");
    // What nothing makes anew may stay.
    let mut still = good.clone();
    let read = still.steps.iter().position(|step| matches!(step.op, Op::Carried(id) if id.0 as usize == number)).expect("a reader");
    still.carried[number].wire = WireId(read as u32);
    assert!(check(&still).is_ok());
    // Integers that grow beyond what the next update reads.
    let mut grown = good.clone();
    let read = grown.steps.iter().position(|step| matches!(step.op, Op::Carried(_))).expect("a reader");
    (grown.steps[read].wire.low, grown.steps[read].wire.high) = (0, 0);
    assert!(check(&grown).is_err());
    // One noise in two integers of a vector, as if it were two.
    let mut shared = good.clone();
    let number = (0..shared.carried.len()).find(|&n| shared.steps[shared.carried[n].wire.index()].wire.len > 1).expect("a vector");
    let made = shared.carried[number].wire;
    let wire = shared.steps[made.index()].wire;
    let rows = (0..wire.len).map(|_| Row { terms: vec![(0, 0, 1)], constant: 0 }).collect();
    shared.steps.push(Step { op: Op::Affine { operands: vec![made], rows }, wire, span: shared.steps[0].span });
    shared.carried[number].wire = WireId(shared.steps.len() as u32 - 1);
    let errors = check(&shared).expect_err("a noise is shared");
    assert!(errors.iter().any(|error| error.to_string().contains("share a noise")), "{errors:?}");
}

#[test]
fn plans_that_carry_something_else_are_refused() {
    let good = plan();
    let spoils: [fn(&mut Plan); 12] = [
        |p| p.carried.truncate(1),
        |p| p.carried[0].wire = WireId(u32::MAX),
        |p| p.carried[0].wire = WireId(p.steps.len() as u32),
        |p| p.carried[0].state = "nobody".to_owned(),
        |p| p.carried[0].scale = -1.0,
        |p| p.carried[0].scale = f64::NAN,
        |p| p.carried.iter_mut().for_each(|carried| carried.scale = 1.0),
        |p| p.carried = vec![p.carried[0].clone(); 1 << 13],
        |p| {
            let number = finer(p);
            p.carried[number].scale *= 3.0;
        },
        |p| {
            p.states.pop();
        },
        |p| {
            let name = p.states[0].name.clone();
            p.client.nodes.push(ClearNode { op: ClearOp::State(name) });
        },
        |p| {
            let (carried, shape) = (p.carried[0].clone(), p.states[0].shape.clone());
            let target = Target::State(carried.state.clone());
            let label = carried.state.clone();
            p.outputs.push(hecc_plan::tfhe::Output { label, wire: carried.wire, target, shape, scale: carried.scale });
        },
    ];
    for (number, spoil) in spoils.iter().enumerate() {
        let mut plan = good.clone();
        spoil(&mut plan);
        assert!(check(&plan).is_err(), "case {number}");
        assert!(hecc_plan::read_any(write_tfhe(&plan).as_bytes()).is_err(), "case {number}");
    }
    assert!(hecc_plan::read_any(write_tfhe(&good).as_bytes()).is_ok());
}
