//! Policies and updates on exact integers: what is encrypted equals the clear run bit for bit.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hecc_compiler::schemes::tfhe::{self, Given};
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::tfhe::{Plan, cost};
use hecc_plan::{Tensor, Tensors, init};
use hecc_runtime::arrays;
use hecc_runtime::env::{self, Action};
use hecc_runtime::integers::{Backend, Engine};
use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

const EPISODES: u64 = 100;

fn fixture(name: &str) -> Tensors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    arrays::read(&std::fs::read(&path).expect("a fixture is readable")).expect("a fixture is whole")
}

fn compiled(source: &str, given: &Given) -> Arc<Plan> {
    let program = hecc_compiler::front::check(source).expect("the program checks");
    Arc::new(tfhe::compile(&program, source, given).expect("the program compiles").plan)
}

/// The policy with so many hidden neurons, and the observations that were recorded with it.
fn policy(hidden: usize) -> (Arc<Plan>, Vec<Tensor>) {
    let sample = fixture(&format!("policy_{hidden}_observations.safetensors"));
    let rows: Vec<Tensor> = sample["s"].data.chunks(4).map(|row| Tensor::new(vec![1, 4], row.to_vec())).collect();
    let source = include_str!("../examples/integers/cartpole_policy.rl").replace("dense 16", &format!("dense {hidden}"));
    let given = Given { weights: fixture(&format!("policy_{hidden}.safetensors")), sample };
    (compiled(&source, &given), rows)
}

fn engine(plan: &Arc<Plan>, backend: Backend) -> Engine {
    Engine::new(Arc::clone(plan), backend, 0, &mut |_, _| {}).expect("an engine")
}

fn action(engine: &mut Engine, observation: &Tensor) -> Vec<f64> {
    let batch = Tensors::from([("s".to_owned(), observation.clone())]);
    engine.update(&batch, &mut Tensors::new()).expect("an action").results["output"].data.clone()
}

/// Encrypted and clear actions on every so many recorded observations.
fn agree(hidden: usize, every: usize) {
    let (plan, rows) = policy(hidden);
    let (mut clear, mut encrypted) = (engine(&plan, Backend::Clear), engine(&plan, Backend::Tfhe));
    let (mut seconds, mut count) = (0.0, 0);
    for row in rows.iter().step_by(every) {
        let begun = Instant::now();
        let got = action(&mut encrypted, row);
        seconds += begun.elapsed().as_secs_f64();
        count += 1;
        assert_eq!(got, action(&mut clear, row), "{:?}", row.data);
    }
    println!("4-{hidden}-2: {count} encrypted actions equal the clear ones, {:.3} s each", seconds / f64::from(count));
}

#[test]
fn encrypted_actions_equal_clear_ones() {
    agree(16, 500);
}

#[test]
#[ignore = "two minutes: cargo test --release --test suite -- --ignored --nocapture --test-threads 1 integers::"]
fn a_hundred_encrypted_actions_equal_clear_ones() {
    agree(16, 10);
    agree(64, 100);
}

#[test]
fn integers_balance_the_pole() {
    for hidden in [16, 64] {
        let (plan, _) = policy(hidden);
        let mut engine = engine(&plan, Backend::Clear);
        let mut total = 0.0;
        for seed in 0..EPISODES {
            let mut rng = ChaCha20Rng::seed_from_u64(seed);
            let mut pole = env::make("CartPole-v1").expect("built in");
            let mut observation = pole.reset(&mut rng);
            loop {
                let one_hot = action(&mut engine, &Tensor::new(vec![1, 4], observation));
                let step = pole.step(&Action::Discrete(usize::from(one_hot[1] == 1.0))).expect("an action");
                total += step.reward;
                if step.terminated || step.truncated {
                    break;
                }
                observation = step.observation;
            }
        }
        let mean = total / EPISODES as f64;
        println!("4-{hidden}-2 on integers: {mean:.1} over {EPISODES} episodes");
        assert!(mean >= 0.95 * 500.0, "4-{hidden}-2: {mean}");
    }
}

#[test]
#[ignore = "two minutes: cargo test --release --test suite -- --ignored --nocapture --test-threads 1 integers::"]
fn encrypted_updates_equal_clear_ones() {
    let plan = compiled(include_str!("../examples/integers/cartpole_dqn.rl"), &Given::default());
    let (mut clear, mut encrypted) = (engine(&plan, Backend::Clear), engine(&plan, Backend::Tfhe));
    let mut states = [0, 0].map(|seed| init::initial_states(&plan.states, seed));
    for update in 0..2u8 {
        let value = |i: usize, scale: f64| scale * ((i * 7 + usize::from(update) * 3) as f64 * 0.61).sin();
        let array =
            |shape: &[usize], scale: f64| Tensor::new(shape.to_vec(), (0..shape.iter().product()).map(|i| value(i, scale)).collect());
        let batch = Tensors::from([
            ("s".to_owned(), array(&[4, 4], 0.4)),
            ("s_next".to_owned(), array(&[4, 4], 0.4)),
            ("a".to_owned(), Tensor::new(vec![4, 2], vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0])),
            ("r".to_owned(), array(&[4], 1.0)),
            ("done".to_owned(), Tensor::new(vec![4], vec![0.0, 0.0, 1.0, 0.0])),
        ]);
        let begun = Instant::now();
        encrypted.update(&batch, &mut states[0]).expect("an encrypted update");
        println!("an update of 4-8-2, batch 4: {:.1} s", begun.elapsed().as_secs_f64());
        clear.update(&batch, &mut states[1]).expect("a clear update");
        assert_eq!(states[0], states[1]);
    }
}

const SECRET_POLICY: &str = r#"env "Other-v0" { observe s: [2] in [-1, 1], [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 2 relu dense 2 }
serve argmax(q(s)) { batch = 1 }
secure tfhe { quantize = w3 a3 }"#;

#[test]
fn a_secret_network_acts() {
    let plan = compiled(SECRET_POLICY, &Given::default());
    let states = init::initial_states(&plan.states, 0);
    let (mut clear, mut encrypted) = (engine(&plan, Backend::Clear), engine(&plan, Backend::Tfhe));
    for s in [[0.7, -0.9], [-0.4, 1.0]] {
        let batch = Tensors::from([("s".to_owned(), Tensor::new(vec![1, 2], s.to_vec()))]);
        let run = |engine: &mut Engine| engine.update(&batch, &mut states.clone()).expect("an action").results["output"].clone();
        assert_eq!(run(&mut encrypted), run(&mut clear));
    }
}

/// Bytes around a payload of so many parts: the message's header and sum, how many there are, and each with its number and length.
fn framing(parts: usize) -> u64 {
    (32 + 4 + 4 + 12 * parts) as u64
}

/// Sums of what the client encrypts, so many that a packing key pays.
const MANY: &str = r#"env "Other-v0" { observe s: [2] in [-1, 1], [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 2 }
serve q(s) { batch = 70 }
secure tfhe { secret = [s] public = [q] quantize = w3 a3 }"#;

#[test]
fn what_crosses_is_what_was_predicted_and_results_are_packed_where_that_pays() {
    for (source, batch, packs) in [(SECRET_POLICY, 1, false), (MANY, 70, true)] {
        let plan = compiled(source, &Given::default());
        let states = init::initial_states(&plan.states, 0);
        let s = (0..2 * batch).map(|i| (i as f64 * 0.7).sin()).collect();
        let batch = Tensors::from([("s".to_owned(), Tensor::new(vec![batch, 2], s))]);
        let run = |backend| engine(&plan, backend).update(&batch, &mut states.clone()).expect("results");
        let (clear, encrypted) = (run(Backend::Clear), run(Backend::Tfhe));
        assert_eq!(encrypted.results, clear.results);
        let predicted = cost::predict(&plan, Prices::built_in(), 0);
        assert_eq!(encrypted.bytes_to_server, predicted.bytes_to_server + framing(plan.inputs.len()));
        assert_eq!(encrypted.bytes_to_client, predicted.bytes_to_client + framing(plan.parcels.len()));
        assert_eq!(plan.parcels.iter().any(|parcel| parcel.packing.is_some()), packs);
        let wires = plan.outputs.iter().map(|output| plan.steps[output.wire.index()].wire);
        let whole: u64 = wires.map(|wire| u64::from(wire.len) * plan.parameters.full_bytes(wire.ring)).sum();
        println!("{whole} bytes as ciphertexts are, {} as they are sent", predicted.bytes_to_client);
        assert!(predicted.bytes_to_client * if packs { 100 } else { 4 } < whole);
    }
}

/// A choice between what is clipped and the larger of two, by who of two others is ahead.
const FUNCTIONS: &str = r#"env "Other-v0" { observe s: [4] in [-1, 1], [-1, 1], [-1, 1], [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 2 }
serve select(argmax(concat(s[0], s[1]))[0], clip(s[2], -0.5, 1), max(abs(s[3]), relu(s[2]))) { batch = 1 }
secure tfhe { public = [q] quantize = w3 a3 }"#;

#[test]
fn encrypted_functions_equal_clear_ones() {
    let plan = compiled(FUNCTIONS, &Given::default());
    let (mut clear, mut encrypted) = (engine(&plan, Backend::Clear), engine(&plan, Backend::Tfhe));
    let mut seen = std::collections::BTreeSet::new();
    for i in 0..6 {
        let s: Vec<f64> = (0..4).map(|e| (f64::from(i * 4 + e) * 1.7).sin()).collect();
        let batch = Tensors::from([("s".to_owned(), Tensor::new(vec![1, 4], s))]);
        let run = |engine: &mut Engine| engine.update(&batch, &mut Tensors::new()).expect("a value").results["output"].clone();
        let got = run(&mut encrypted);
        assert_eq!(got, run(&mut clear));
        seen.insert(format!("{:?}", got.data));
    }
    assert!(seen.len() > 1, "{seen:?}");
}
