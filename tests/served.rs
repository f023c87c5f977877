//! `policy = server`: trainings, in slots and on integers, whose policy the server evaluates on integers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use assert_cmd::Command;
use hecc_compiler::{AnyCompiled, Options, compile_any};
use hecc_plan::check::{PlanError, check};
use hecc_plan::{ActionSpec, AnyPlan, ClearOp, Interface, Plan, Tensor, Tensors, init, read, read_any, tfhe, write};
use hecc_runtime::engine::{Engine as Slots, EngineError};
use hecc_runtime::integers::{Backend, Engine, parties};
use hecc_runtime::session::policy::InTheClear;
use hecc_runtime::session::{Acting, Event, Outcome, Served, Session, SessionError, Settings, Updater};
use hecc_runtime::{engine, env};
use predicates::prelude::*;

const EXAMPLE: &str = include_str!("../examples/integers/cartpole_served.rl");
const SLOTS: &str = r#"use std.dqn
env "CartPole-v1" {
    observe s: [4] in [-2.4, 2.4], [-3, 3], [-0.21, 0.21], [-3, 3]
    act     a: one of 2
    reward  r in [-1, 1]
}
net q(s) -> [2] { dense 2 relu(degree: 2, range: [-3, 3]) dense 2 init small }
train dqn(q) {
    batch     = 16
    updates   = 3
    warmup    = 50
    explore   = epsilon(0.3, 0.0, 2)
    evaluate  = 1
    checkpoint = 2
    optimizer = momentum(lr: 0.1)
}
secure ckks { refresh = client  client = [max]  policy = server  quantize = w3 a3 }"#;

fn compiled(source: &str) -> AnyPlan {
    compile_any(source, &Options::default(), None).unwrap_or_else(|errors| panic!("{errors:?}")).into_plan()
}

fn slots(source: &str) -> Plan {
    match compiled(source) {
        AnyPlan::Ckks(plan) => *plan,
        AnyPlan::Tfhe(_) => panic!("a plan of slots"),
    }
}

fn acts(plan: &Plan) -> Arc<tfhe::Plan> {
    let training = plan.training.as_ref().expect("it trains");
    Arc::new((**training.served.as_ref().expect("the server acts")).clone())
}

fn carried(plan: &Arc<tfhe::Plan>, backend: Backend) -> Engine {
    Engine::new(Arc::clone(plan), backend, 0, &mut |_, _| ()).expect("an engine")
}

fn observation(i: usize) -> Vec<f64> {
    [1.9, 2.1, 0.19, 2.7].iter().enumerate().map(|(j, size)| size * ((7 * i + 3 * j + i * j) as f64).sin()).collect()
}

/// A run in which the server acts, and how often weights were clipped.
fn run<'a>(
    plan: impl Into<Interface<'a>>,
    updater: &mut dyn Updater,
    acting: impl Acting + 'a,
    episodes: usize,
) -> Result<(Outcome, usize), SessionError> {
    let mut clipped = 0;
    let session = Session::start(plan, Settings { episodes, ..Settings::default() })?.acted_by(acting);
    let outcome = session.run(updater, &AtomicBool::new(false), &mut |event| clipped += usize::from(matches!(event, Event::Clipped(_))))?;
    Ok((outcome, clipped))
}

#[test]
fn a_training_in_slots_acts_on_integers() {
    let plan = Arc::new(slots(SLOTS));
    let training = plan.training.as_ref().expect("it trains");
    let updater = || Slots::new(Arc::clone(&plan), engine::Backend::Clear, Tensors::new(), 1, &mut |_, _| ()).expect("an engine");
    let served = || Served::new(training, carried(&acts(&plan), Backend::Clear), None);
    let (outcome, clipped) = run(&*plan, &mut updater(), served(), 2).expect("runs");
    let acted = outcome.totals.acting;
    assert_eq!((outcome.updates, outcome.returns.len(), clipped), (3, 2, 0));
    // One evaluation on the way, one at the end, and no more than one set of weights after each update.
    let played = outcome.totals.last_return.expect("evaluated") + outcome.returns.iter().sum::<f64>();
    assert!((played as u64..=played as u64 + 3).contains(&acted.actions), "{acted:?}, {played} steps");
    assert!((2..=5).contains(&acted.boundaries) && acted.bytes_to_server > 0 && acted.bytes_to_client > 0, "{acted:?}");
    let again = run(&*plan, &mut updater(), served(), 2).expect("runs").0;
    assert_eq!((again.states, again.returns), (outcome.states, outcome.returns), "the same run again");
    let alone = Session::start(&*plan, Settings::default()).expect("starts");
    let error = alone.run(&mut updater(), &AtomicBool::new(false), &mut |_| ()).expect_err("the client does not act");
    assert_eq!(error.code(), "HE0671");
}

#[test]
fn a_training_on_integers_acts_by_the_same_means() {
    let source =
        SLOTS.replace("secure ckks", "secure tfhe").replace("momentum(lr: 0.1)", "sgd(lr: 0.0625)").replace("batch     = 16", "batch = 2");
    let AnyPlan::Tfhe(plan) = compiled(&source) else { panic!("a plan of integers") };
    let plan = Arc::new(*plan);
    let training = plan.training.as_ref().expect("it trains");
    let policy = Arc::new((**training.served.as_ref().expect("the server acts")).clone());
    let served = Served::new(training, carried(&policy, Backend::Clear), None);
    let (outcome, _) = run(&*plan, &mut carried(&plan, Backend::Clear), served, 1).expect("runs");
    assert!(outcome.totals.acting.actions > 0 && outcome.returns.len() == 1);
    let file = hecc_plan::write_tfhe(&plan);
    assert_eq!(read_any(file.as_bytes()).expect("is read back"), AnyPlan::Tfhe(Box::new((*plan).clone())));
}

#[test]
fn what_the_server_keeps_and_what_it_is_asked_are_the_whole() {
    let plan = slots(SLOTS);
    let policy = acts(&plan);
    let states = init::initial_states(&plan.states, 3);
    let mut engine = carried(&policy, Backend::Clear);
    assert!(engine.keep(&states).expect("keeps").clipped.is_empty());
    for i in 0..20 {
        let batch = Tensors::from([("s".to_owned(), Tensor::new(vec![1, 4], observation(i)))]);
        let whole = engine.update(&batch, &mut states.clone()).expect("at once").results;
        assert_eq!(engine.ask(&batch, &states).expect("in parts").results, whole);
    }
}

#[test]
fn integers_choose_as_the_network_does() {
    let plan = slots(&EXAMPLE.replace("w5 a5", "w6 a6"));
    let training = plan.training.as_ref().expect("it trains");
    let mut states = init::initial_states(&plan.states, 3);
    // What both action values have in common, or how large they are, must not matter, nor how unlike the rows have become.
    for (name, factor, more) in [("q.1.weight", 30.0, -4.0), ("q.1.bias", 0.0, 7.0)] {
        let names = [name.to_owned(), format!("{name}.average")];
        names.iter().for_each(|name| states.get_mut(name).expect("a state").data.iter_mut().for_each(|v| *v = factor * *v + more));
    }
    let mut served = Served::new(training, carried(&acts(&plan), Backend::Clear), None);
    let observations: Vec<Vec<f64>> = (0..300).map(observation).collect();
    let rows: Vec<&[f64]> = observations.iter().map(Vec::as_slice).collect();
    let got = served.act(&states, &rows, None).expect("acts");
    let want = InTheClear(training).act(&states, &rows, None).expect("acts");
    let alike = got.iter().zip(&want).filter(|(a, b)| a == b).count();
    assert!(alike >= 270, "{alike} of 300");
    assert!(want.contains(&env::Action::Discrete(0)) && want.contains(&env::Action::Discrete(1)), "a choice there is");
    assert!(served.clipped().is_empty());
}

#[test]
fn weights_beyond_their_grid_are_told() {
    let plan = slots(SLOTS);
    let training = plan.training.as_ref().expect("it trains");
    let mut states = init::initial_states(&plan.states, 0);
    states.get_mut("q.0.weight").expect("a state").data[3] = -100.0;
    let mut served = Served::new(training, carried(&acts(&plan), Backend::Clear), None);
    served.act(&states, &[&observation(0)], None).expect("acts all the same");
    let clipped = served.clipped();
    assert_eq!(clipped.len(), 1);
    assert!(clipped[0].to_string().starts_with("1 of the 8 numbers of `q.0.weight` leave the grid"), "{}", clipped[0]);
    // A run that asks for it ends instead.
    let mut wide = plan.clone();
    let policy = wide.training.as_mut().and_then(|t| t.served.as_mut()).expect("the server acts");
    policy.inputs.iter_mut().for_each(|input| input.scale /= 1024.0);
    let engine = carried(&acts(&wide), Backend::Clear);
    let settings = Settings { stop_out_of_range: true, episodes: 1, ..Settings::default() };
    let source = write(&wide);
    let wide = read(source.as_bytes()).expect("still a plan");
    let training = wide.training.as_ref().expect("it trains");
    let mut updater = Slots::new(Arc::new(wide.clone()), engine::Backend::Clear, Tensors::new(), 1, &mut |_, _| ()).expect("an engine");
    let session = Session::start(&wide, settings).expect("starts").acted_by(Served::new(training, engine, None));
    match session.run(&mut updater, &AtomicBool::new(false), &mut |_| ()) {
        Err(error) => assert_eq!(error.code(), "HE0672"),
        Ok(_) => panic!("weights of any size are beyond such a grid"),
    }
}

#[test]
fn a_long_evaluation_is_announced_and_can_be_stopped() {
    let plan = Arc::new(slots(SLOTS));
    let training = plan.training.as_ref().expect("it trains");
    let mut updater = Slots::new(Arc::clone(&plan), engine::Backend::Clear, Tensors::new(), 1, &mut |_, _| ()).expect("an engine");
    let served = Served::new(training, carried(&acts(&plan), Backend::Clear), Some(2.5));
    let session = Session::start(&*plan, Settings { episodes: 40, ..Settings::default() }).expect("starts").acted_by(served);
    let stop = AtomicBool::new(false);
    let (mut announced, mut abandoned) = (Vec::new(), 0);
    let outcome = session.run(&mut updater, &stop, &mut |event| match event {
        Event::Evaluating(evaluating) => {
            announced.push((evaluating.episodes, evaluating.steps));
            assert!(evaluating.seconds_per_action > 0.0);
            stop.store(evaluating.episodes == 40, Ordering::Relaxed);
        }
        Event::Abandoned => abandoned += 1,
        _ => {}
    });
    let outcome = outcome.expect("it stops without an error");
    assert_eq!(announced, [(1, 500), (40, 500)]);
    assert_eq!((outcome.interrupted, outcome.updates, abandoned), (true, 3, 1));
    assert!(outcome.returns.is_empty() && outcome.weights.contains_key("q.0.weight"));
}

#[test]
fn plans_whose_policy_is_another_are_refused() {
    type Change = fn(&mut Plan, &mut tfhe::Plan);
    let changes: [(&str, Change); 11] = [
        ("it trains itself", |p, s| s.training.clone_from(&p.training)),
        ("its size or scale is wrong", |_, s| s.batch = 2),
        ("bits of security", |_, s| s.parameters.security_bits = 64),
        ("no array that the training releases", |_, s| {
            let own = std::mem::replace(&mut s.states[0].name, "q.9.weight".to_owned());
            s.client.nodes.iter_mut().for_each(|node| {
                if let ClearOp::State(name) = &mut node.op
                    && *name == own
                {
                    *name = "q.9.weight".to_owned();
                }
            });
        }),
        ("no array that the training releases", |p, _| p.training.as_mut().expect("it trains").release.clear()),
        ("no array that the training releases", |p, _| p.states.iter_mut().for_each(|s| s.shape = vec![3, 3])),
        ("which the environment does not observe", |_, s| {
            s.client.nodes.iter_mut().for_each(|node| {
                if let ClearOp::Batch { name, .. } = &mut node.op {
                    *name = "done".to_owned();
                }
            });
        }),
        ("one of 3 actions", |p, _| p.training.as_mut().expect("it trains").env.action.1 = ActionSpec::Discrete(3)),
        ("not one of a few", |p, _| p.training.as_mut().expect("it trains").env.action.1 = ActionSpec::Continuous(vec![[-1.0, 1.0]; 2])),
        ("one of 2 actions", |_, s| {
            s.outputs.clear();
            s.parcels.clear();
        }),
        ("weights stand in it", |_, s| s.public.push(tfhe::Public { name: "q.0.bias".to_owned(), shape: vec![1], values: vec![0.0] })),
    ];
    for (words, change) in changes {
        let mut plan = slots(SLOTS);
        let mut policy = (*acts(&plan)).clone();
        change(&mut plan, &mut policy);
        plan.training.as_mut().expect("it trains").served = Some(Box::new(policy));
        // Shapes of the training's own states are its own matter, and looked at first.
        let errors = check(&plan).expect_err(words);
        let own = errors.iter().all(|error| !matches!(error, PlanError::Policy(_)));
        assert!(own || errors.iter().any(|e| e.code() == "HE0508" && e.to_string().contains(words)), "{words}: {errors:?}");
        assert!(!own || words.contains("releases"), "{words}: {errors:?}");
        assert!(read(write(&plan).as_bytes()).is_err());
    }
}

#[test]
fn damaged_files_are_refused_and_none_panics() {
    let plan = slots(SLOTS);
    let file = write(&plan);
    let again = read(file.as_bytes()).expect("a plan is read back");
    assert_eq!((&again, write(&again)), (&plan, file.clone()));
    let start = file.find("\"served\"").expect("the file has the policy");
    for length in (start..file.trim_end().len()).step_by(997) {
        assert_eq!(read(&file.as_bytes()[..length]).expect_err("a part").code(), "HE0513");
    }
    // Other digits, at many places: refused with a code, or a plan that checks.
    for at in (start..file.len()).step_by(211) {
        for digit in *b"09-" {
            let mut bytes = file.clone().into_bytes();
            let Some(place) = (at..file.len()).find(|&i| bytes[i].is_ascii_digit()) else { continue };
            bytes[place] = digit;
            match read(&bytes) {
                Ok(plan) => check(&plan).expect("the reader accepts what checks"),
                Err(error) => assert!(error.code().starts_with("HE05"), "{error}"),
            }
        }
    }
    // Without the plan for acting it is another training; as a file of the version before, it is none.
    let old = file.replacen(&format!("\"version\":{}", hecc_plan::VERSION), "\"version\":1", 1);
    assert_eq!(read(old.as_bytes()).expect_err("another version").code(), "HE0512");
}

#[test]
fn messages_out_of_turn_are_refused() {
    let plan = slots(SLOTS);
    let policy = acts(&plan);
    let (client, mut server) = parties(Arc::clone(&policy), Backend::Clear, 1).expect("parties");
    let states = init::initial_states(&plan.states, 0);
    let batch = Tensors::from([("s".to_owned(), Tensor::new(vec![1, 4], observation(1)))]);
    let question = client.question(&batch, &states).expect("a question");
    assert!(matches!(server.answer(&question), Err(EngineError::Turn(_))), "no weights yet");
    let (weights, _) = client.weights(&states).expect("weights");
    assert!(matches!(server.keep(&question), Err(EngineError::Message(_))), "a question is no weights");
    for length in (0..weights.len()).step_by(7) {
        assert!(matches!(server.keep(&weights[..length]), Err(EngineError::Message(_))), "{length}");
    }
    server.keep(&weights).expect("keeps");
    assert!(matches!(server.answer(&weights), Err(EngineError::Message(_))), "weights are no question");
    let whole = client.upload(&batch, &states).expect("all at once");
    assert!(matches!(server.answer(&whole), Err(EngineError::Message(_))), "more than was asked for");
    client.receive(&server.answer(&question).expect("answers"), &batch).expect("an action");
}

fn hecc(folder: &std::path::Path, args: &[&str]) -> assert_cmd::assert::Assert {
    Command::cargo_bin("hecc").expect("the command").current_dir(folder).env("XDG_DATA_HOME", folder).args(args).assert()
}

#[test]
fn the_commands_say_who_acts_and_train() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    std::fs::write(folder.join("p.rl"), EXAMPLE).expect("writes");
    let all = |words: &[&str]| words.iter().map(|w| predicate::str::contains((*w).to_owned())).collect::<Vec<_>>();
    let said = |args: &[&str], words: &[&str]| {
        let done = hecc(folder, args).code(0);
        all(words).into_iter().fold(done, assert_cmd::assert::Assert::stdout)
    };
    said(&["compile", "p.rl", "-o", "p.plan"], &["ckks, slots", "the server, tfhe:", "per action", "client re-encryption of 58 weights"]);
    let done = said(&["compile", "p.rl", "--json"], &["\"acting\""]);
    let json: serde_json::Value = serde_json::from_slice(&done.get_output().stdout).expect("one JSON object");
    for key in ["predicted_seconds_per_action", "programmable_bootstraps", "bytes_to_server_per_boundary", "bytes_to_client_per_action"] {
        assert!(json["acting"][key].as_f64().is_some_and(|v| v > 0.0), "{key} in {json}");
    }
    for file in ["p.rl", "p.plan"] {
        said(&["explain", file], &["\nActing\n", "it evaluates no network to act", "The plan by which the server acts"]);
        said(&["explain", file, "--leakage"], &["encrypts weights anew", "how many actions it chooses", "the weights that act"]);
    }
    let train = ["train", "p.plan", "--backend", "clear", "--updates", "2", "--episodes", "2", "--json", "--out", "run"];
    let done = hecc(folder, &train).code(0);
    let json: serde_json::Value = serde_json::from_slice(&done.get_output().stdout).expect("one JSON object");
    assert!(json["acting"]["actions"].as_u64().is_some_and(|n| n >= 16) && json["acting"]["boundaries"] == 1, "{json}");
}

#[test]
#[ignore = "a minute: cargo test --test suite -- --ignored --nocapture served::"]
fn an_encrypted_training_acts_by_encrypted_integers() {
    let source = SLOTS.replace("checkpoint = 2", "checkpoint = 9").replace("epsilon(0.3, 0.0, 2)", "epsilon(0.0, 0.0, 1)");
    let plan = Arc::new(slots(&source));
    let training = plan.training.as_ref().expect("it trains");
    let policy = acts(&plan);
    let each = tfhe::served::predict(&policy, tfhe::prices::Prices::built_in(), 0).action;
    let outcomes = [(engine::Backend::Clear, Backend::Clear), (engine::Backend::Ckks, Backend::Tfhe)].map(|(trains, acts)| {
        let mut updater = Slots::new(Arc::clone(&plan), trains, Tensors::new(), 0, &mut |_, _| ()).expect("an engine");
        run(&*plan, &mut updater, Served::new(training, carried(&policy, acts), None), 0).expect("runs").0
    });
    let [clear, encrypted] = outcomes;
    let acted = encrypted.totals.acting;
    println!("{acted:?}; {} bootstraps, {:.2} s predicted", each.bootstraps, each.seconds);
    assert_eq!((acted.actions, acted.boundaries), (3, 3));
    assert_eq!((acted.actions, clear.totals.acting.boundaries), (clear.totals.acting.actions, 3));
    for (name, state) in &clear.states {
        assert!(state.data.iter().zip(&encrypted.states[name].data).all(|(a, b)| (a - b).abs() < 1e-3), "{name}");
    }
    // With the weights that came out of the encrypted training, bit for bit.
    let observations = [observation(1), observation(2)];
    let rows: Vec<&[f64]> = observations.iter().map(Vec::as_slice).collect();
    let act = |backend| Served::new(training, carried(&policy, backend), None).act(&encrypted.states, &rows, None).expect("acts");
    assert_eq!(act(Backend::Tfhe), act(Backend::Clear));
}

#[test]
fn compiled_programs_of_either_scheme_carry_the_policy() {
    let any = |source: &str| compile_any(source, &Options::default(), None);
    assert!(matches!(any(SLOTS), Ok(AnyCompiled::Ckks(c)) if c.plan.training.as_ref().is_some_and(|t| t.served.is_some())));
    let client = SLOTS.replace("policy = server", "");
    assert!(matches!(any(&client), Ok(AnyCompiled::Ckks(c)) if c.plan.training.as_ref().is_some_and(|t| t.served.is_none())));
}
