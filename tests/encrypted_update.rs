//! Compiled programs on small insecure rings: ciphertexts against clear slots.

use std::sync::Arc;

use hecc_compiler::schemes::ckks::inside::Method;
use hecc_compiler::{Options, compile};
use hecc_plan::counts::counts;
use hecc_plan::{ClearOp, Layout, Plan, Target, Tensor, Tensors};
use hecc_runtime::engine::{Backend, Engine, Update};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Bytes around the ciphertexts of a message: its frame, the round and the count, and an id for each ciphertext.
const FRAME: u64 = 36 + 8;
/// The client also says the number of the update, and how many updates it has seen.
const NUMBER: u64 = 8;
/// A fresh ciphertext carries the seed of its uniform half.
const SEED: u64 = 32;

fn plan(source: &str, log_n: u32) -> Arc<Plan> {
    let compiled = compile(source, &Options { insecure_log_n: Some(log_n), ..Options::default() }).unwrap_or_else(|e| panic!("{e:?}"));
    Arc::new(compiled.plan)
}

/// A batch in the environment's ranges: actions one-hot, ends of episodes 0 or 1.
fn batch(plan: &Plan, seed: u64) -> Tensors {
    let mut rng = StdRng::seed_from_u64(seed);
    let rows = plan.geometry.batch;
    let mut tensors = Tensors::new();
    for node in &plan.client.nodes {
        let ClearOp::Batch { name, dim } = &node.op else { continue };
        let data: Vec<f64> = match name.as_str() {
            "a" if *dim > 1 => (0..rows)
                .flat_map(|_| {
                    let chosen = rng.random_range(0..*dim);
                    (0..*dim).map(move |i| f64::from(u8::from(i == chosen)))
                })
                .collect(),
            "done" => (0..rows * dim).map(|_| f64::from(rng.random_range(0..2u8))).collect(),
            _ => (0..rows * dim).map(|_| rng.random_range(-0.4..0.4)).collect(),
        };
        tensors.entry(name.clone()).or_insert_with(|| Tensor::new(vec![rows, *dim], data));
    }
    tensors
}

fn public(plan: &Plan) -> Tensors {
    let mut rng = StdRng::seed_from_u64(5);
    let array = |(name, shape): &(String, Vec<usize>)| {
        let data = (0..shape.iter().product()).map(|_| rng.random_range(-0.5..0.5)).collect();
        (name.clone(), Tensor::new(shape.clone(), data))
    };
    plan.public.iter().map(array).collect()
}

fn engine(plan: &Arc<Plan>, backend: Backend) -> Engine {
    Engine::insecure_for_tests(Arc::clone(plan), backend, public(plan), 0, &mut |_, _| {}).expect("the engine starts")
}

/// The largest difference of two sets of arrays of the same names.
fn apart(a: &Tensors, b: &Tensors) -> f64 {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let pairs = a.values().zip(b.values()).flat_map(|(a, b)| a.data.iter().zip(&b.data));
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Updates of which the client refreshes or settles the states, on ciphertexts and on clear slots. What is promised of an update may
/// come on top of what earlier ones left.
fn trains_with_client(plan: Arc<Plan>, updates: u64, promised: f64) {
    let start = hecc_plan::init::initial(&plan);
    let (mut secret, mut clear) = (start.clone(), start.clone());
    let engine = |backend| match plan.ckks.security_bits {
        0 => engine(&plan, backend),
        _ => Engine::new(Arc::clone(&plan), backend, Tensors::new(), 0, &mut |_, _| {}).expect("the engine starts"),
    };
    let mut engines = [engine(Backend::Ckks), engine(Backend::Clear)];
    let mut seen = 0.0f64;
    for number in 0..updates {
        let mut data = batch(&plan, number);
        data.insert(hecc_plan::UPDATE.to_owned(), Tensor::new(vec![plan.geometry.batch], vec![number as f64; plan.geometry.batch]));
        let ours = engines[0].update(&data, &mut secret).expect("it runs");
        engines[1].update(&data, &mut clear).expect("it runs");
        let error = apart(&secret, &clear);
        println!("update {number}: 2^{:.1} apart, {:.1} s", error.log2(), ours.seconds);
        assert!(error < promised * (number + 1) as f64, "update {number}: states are {error} apart");
        seen = seen.max(error);
    }
    assert!(seen > 0.0, "ciphertexts are noisy: equal states were not encrypted");
    assert!(apart(&clear, &start) > 1e-3, "training changes the weights");
}

/// What crossed is what the plan counts: only ciphertexts have these sizes.
fn crossed_as_counted(plan: &Plan, update: &Update) {
    let counts = counts(plan);
    let rounds = plan.rounds.len() as u64;
    let (inputs, outputs) = (plan.inputs.len() as u64, plan.outputs.len() as u64);
    assert_eq!(update.bytes_to_server, counts.bytes_to_server_per_update + rounds * (FRAME + NUMBER) + (4 + SEED) * inputs);
    assert_eq!(update.bytes_to_client, counts.bytes_to_client_per_update + rounds * FRAME + 4 * outputs);
}

fn trains(source: &str, log_n: u32, rounds: usize) {
    let plan = plan(source, log_n);
    assert_eq!(plan.rounds.len(), rounds);
    let start = hecc_plan::init::initial(&plan);
    let (mut secret, mut clear) = (start.clone(), start.clone());
    let mut engines = [engine(&plan, Backend::Ckks), engine(&plan, Backend::Clear)];
    let mut seen = 0.0f64;
    for number in 0..3 {
        let data = batch(&plan, number);
        let [ours, theirs] = [(0, &mut secret), (1, &mut clear)].map(|(i, states)| engines[i].update(&data, states).expect("it runs"));
        let error = apart(&secret, &clear);
        println!("update {number}: 2^{:.1} apart", error.log2());
        assert!(error < (-10.0f64).exp2(), "update {number}: states are {error} apart");
        assert!(apart(&ours.results, &theirs.results) < (-10.0f64).exp2());
        seen = seen.max(error);
        crossed_as_counted(&plan, &ours);
        assert_ne!(ours.bytes_to_server, theirs.bytes_to_server);
    }
    assert!(seen > 0.0, "ciphertexts are noisy: equal states were not encrypted");
    assert!(apart(&clear, &start) > 1e-3, "training changes the weights");
}

/// The server trains alone: whatever it bootstraps, its states stay within the promised precision of those in the clear.
fn trains_alone(plan: Arc<Plan>, updates: u64, promised: f64) {
    assert!(counts(&plan).bootstraps_per_update > 0.0 && !plan.carried.is_empty());
    assert!(plan.outputs.is_empty(), "nothing comes back unless the client fetches it");
    let start = hecc_plan::init::initial(&plan);
    let (mut secret, mut clear) = (start.clone(), start.clone());
    let engine = |backend| match plan.ckks.security_bits {
        0 => engine(&plan, backend),
        _ => Engine::new(Arc::clone(&plan), backend, Tensors::new(), 0, &mut |_, _| {}).expect("the engine starts"),
    };
    let mut engines = [engine(Backend::Ckks), engine(Backend::Clear)];
    let mut seen = 0.0f64;
    for number in 0..updates {
        let mut data = batch(&plan, number);
        data.insert(hecc_plan::UPDATE.to_owned(), Tensor::new(vec![plan.geometry.batch], vec![number as f64; plan.geometry.batch]));
        for (engine, states) in engines.iter_mut().zip([&mut secret, &mut clear]) {
            engine.update(&data, states).expect("it runs");
            engine.fetch(states).expect("it fetches");
        }
        let error = apart(&secret, &clear);
        println!("update {number}: 2^{:.1} apart", error.log2());
        assert!(error < promised, "update {number}: states are {error} apart");
        seen = seen.max(error);
    }
    println!("{updates} updates: at most 2^{:.1} apart", seen.log2());
    assert!(seen > 0.0, "ciphertexts are noisy: equal states were not encrypted");
    assert!(apart(&clear, &start) > 1e-3, "training changes the weights");
}

fn serves(source: &str, log_n: u32) {
    let plan = plan(source, log_n);
    let data = batch(&plan, 9);
    let mut states = hecc_plan::init::initial(&plan);
    let [ours, theirs] = [Backend::Ckks, Backend::Clear].map(|backend| engine(&plan, backend).update(&data, &mut states).expect("it runs"));
    let error = apart(&ours.results, &theirs.results);
    println!("served: 2^{:.1} apart", error.log2());
    assert!(error > 0.0 && error < (-10.0f64).exp2(), "outputs are {error} apart");
    assert!(theirs.results["output"].data.iter().any(|v| v.abs() > 1e-2));
    crossed_as_counted(&plan, &ours);
}

#[test]
fn a_dqn_with_a_polynomial_maximum() {
    trains(include_str!("golden/dqn_polynomial_max.rl"), 11, 1);
}

#[test]
fn a_dqn_with_the_clients_maximum() {
    trains(include_str!("golden/dqn_client_max.rl"), 11, 2);
}

#[test]
fn a_dqn_on_images() {
    let plan = plan(include_str!("golden/images.rl"), 11);
    assert!(plan.settled.iter().any(|(name, _)| name == "q.0.weight.momentum"), "the key owner sums the gradients of kernels");
    trains_with_client(plan, 1, 1e-3);
}

#[test]
fn a_regression_with_several_results() {
    trains(include_str!("golden/regression.rl"), 11, 1);
}

#[test]
fn twenty_updates_of_a_server_alone() {
    trains_alone(plan(include_str!("golden/alone.rl"), 10), 20, 1e-3);
}

#[test]
fn twenty_updates_in_tiles() {
    let plan = plan(include_str!("golden/tiles.rl"), 10);
    assert!(plan.carried[0].contents.iter().all(|content| matches!(content.layout, Layout::Tiled(_))));
    trains_alone(plan, 20, 1e-3);
}

/// Momenta and averages have a ciphertext of their own, which keeps its budget over several updates.
#[test]
fn twenty_updates_of_ciphertexts_at_rates_of_their_own() {
    let source = r#"env "Other-v0" { observe s: [4] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 32 square dense 2 init small }
algorithm fit(q) { parameter optimizer  minimize mean((dot(q(s), a) - r)^2) over q with optimizer }
train fit(q) { batch = 16 average = 0.05 updates = 20 optimizer = momentum(lr: 0.05, beta: 0.9) }
secure ckks { refresh = bootstrap precision = 2e-4 }"#;
    let plan = plan(source, 10);
    let ciphertexts = plan.carried.len() as f64;
    assert!(ciphertexts > 1.0 && counts(&plan).bootstraps_per_update < ciphertexts);
    trains_alone(plan, 20, 1e-3);
}

/// Kernels that rest once for six places, with a gap of two before the next element.
#[test]
fn twenty_updates_of_kernels_at_a_server_alone() {
    let source = r#"env "Image-v0" { observe s: [1, 4, 5] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { conv 2 kernel 3 square flatten dense 2 init small }
algorithm fit(q) { parameter optimizer  minimize mean((dot(q(s), a) - r)^2) over q with optimizer }
train fit(q) { batch = 8 updates = 20 optimizer = momentum(lr: 0.05, beta: 0.5) }
secure ckks { refresh = bootstrap }"#;
    trains_alone(plan(source, 10), 20, 1e-3);
}

/// A maximum that the program leaves open is a composition where steps are large, with the key owner and without.
#[test]
fn maxima_by_compositions() {
    let source = |refresh: &str| {
        format!(
            r#"env "Other-v0" {{ observe s: [4] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }}
net q(s) -> [2] {{ dense 4 square dense 2 }}
algorithm own(q) {{
    state t = copy(q)
    let y = stop(r + 0.9 * (1 - done) * max(t(s'), range: [-2, 2]))
    minimize mean((dot(q(s), a) - y)^2) over q with sgd(lr: 0.3)
    t <- mix(t, q, 0.1)
}}
train own(q) {{ batch = 16 updates = 20 }}
secure ckks {{ refresh = {refresh} precision = 1e-4 }}"#
        )
    };
    let [client, alone] = ["client", "bootstrap"].map(|refresh| plan(&source(refresh), 10));
    for plan in [&client, &alone] {
        let maximum = plan.decisions.iter().find(|d| d.subject.starts_with("max, of the difference")).expect("it is said");
        assert!(maximum.choice.starts_with("a composition"), "{maximum:?}");
    }
    trains_with_client(client, 3, 1e-4);
    trains_alone(alone, 3, 1e-3);
}

/// What is refreshed inside an update, sixteen samples of each value, side by side in one ciphertext.
#[test]
fn updates_whose_values_share_bootstraps() {
    let source = include_str!("golden/twins.rl");
    let of = |method| {
        let options = Options { insecure_log_n: Some(10), inside: Some(method), ..Options::default() };
        Arc::new(compile(source, &options).unwrap_or_else(|e| panic!("{e:?}")).plan)
    };
    let shared = of(Method::Shared);
    assert!(counts(&shared).bootstraps_per_update < counts(&of(Method::Cuts)).bootstraps_per_update);
    trains_alone(shared, 3, 1e-3);
}

/// A soft actor-critic of two critics and Adam: small, or that of the example.
fn actor_critic(alone: bool) -> String {
    let source = include_str!("../examples/bench_sac.rl");
    if alone { source.replace("refresh = client", "refresh = bootstrap").replace("client  = [min, log]", "") } else { source.to_owned() }
}

fn tiny(source: &str) -> String {
    let hidden = "    dense 32 silu(degree: 4, range: [-4, 4])\n";
    source
        .replace(&hidden.repeat(2), "    dense 4 silu(degree: 4, range: [-4, 4])\n")
        .replace("batch            = 64", "batch            = 16")
}

#[test]
fn a_soft_actor_critic_with_adam_that_the_client_refreshes() {
    let plan = plan(&tiny(&actor_critic(false)), 11);
    assert!(!plan.settled.is_empty(), "the key owner takes Adam's step");
    trains_with_client(plan, 3, 1e-3);
}

/// Critics of two hidden layers stand interleaved, and their gradients come back together.
#[test]
fn twin_critics_in_one() {
    let source = actor_critic(false).replace("dense 32", "dense 4").replace("batch            = 64", "batch            = 16");
    let plan = plan(&source, 11);
    let said = plan.decisions.iter().find(|decision| decision.subject == "twin networks").expect("there are twins");
    assert!(said.choice.starts_with("two in one"), "{}", said.choice);
    trains_with_client(plan, 2, 1e-3);
}

/// The key owner takes part in one more way, one line of the program each.
#[test]
fn a_soft_actor_critic_whose_targets_and_steps_are_the_clients() {
    for part in ["[target]", "[optimizer]"] {
        let source = tiny(&actor_critic(false)).replace("client  = [min, log]", &format!("client = {part}"));
        let source = source.replace("adam(lr: 0.003, beta2: 0.99, eps: 1e-3)", "momentum(lr: 0.02)");
        let plan = plan(&source, 11);
        let returned = plan.outputs.iter().flat_map(|output| &output.contents);
        assert_eq!(returned.into_iter().any(|content| matches!(content.tensor, Target::State(_))), part == "[target]");
        trains_with_client(plan, 2, 1e-3);
    }
}

#[test]
fn a_soft_actor_critic_with_adam_of_a_server_alone() {
    let plan = plan(&tiny(&actor_critic(true)), 10);
    assert!(plan.states.iter().any(|state| state.name == "actor.0.weight.scale"));
    // The mean of normalised gradients has magnitude one, whatever the gradients', and this small ring the least scale: their
    // noise is seen in it.
    trains_alone(plan, 2, 0.1);
}

/// At 128 bits, as users run them.
fn secure(source: &str) -> Arc<Plan> {
    let plan = Arc::new(compile(source, &Options::default()).unwrap_or_else(|e| panic!("{e:?}")).plan);
    assert_eq!(plan.ckks.security_bits, 128);
    plan
}

#[test]
#[ignore = "five minutes and 9 GiB: cargo test --release --test suite -- --ignored --nocapture --test-threads 1 encrypted_update::"]
fn twenty_updates_of_the_pole_at_128_bits() {
    trains_alone(secure(include_str!("../examples/cartpole_dqn_alone.rl")), 20, 1e-3);
}

#[test]
#[ignore = "two minutes and 9 GiB: cargo test --release --test suite -- --ignored --nocapture --test-threads 1 encrypted_update::"]
fn twenty_updates_in_tiles_at_128_bits() {
    let source = include_str!("../examples/bench_regression.rl");
    trains_alone(secure(&source.replace("refresh = client", "refresh = bootstrap").replace("batch     = 16", "batch     = 64")), 20, 1e-3);
}

#[test]
#[ignore = "four minutes and 5 GiB: cargo test --release --test suite -- --ignored --nocapture --test-threads 1 textbook"]
fn ten_updates_of_the_textbooks_actor_critic_at_128_bits() {
    trains_with_client(secure(&actor_critic(false)), 10, 1e-3);
}

#[test]
#[ignore = "seven minutes and 16 GiB: cargo test --release --test suite -- --ignored --nocapture --test-threads 1 textbook"]
fn two_updates_of_the_textbooks_actor_critic_alone_at_128_bits() {
    trains_alone(secure(&actor_critic(true)), 2, 1e-2);
}

#[test]
fn a_secret_network() {
    serves(include_str!("golden/serve_secret.rl"), 11);
}

#[test]
fn a_public_network() {
    serves(include_str!("golden/serve_public.rl"), 11);
}

#[test]
fn images_by_a_public_network_and_a_secret_one() {
    let source = include_str!("golden/images_public.rl");
    serves(source, 10);
    serves(&source.replace("public = [q]", ""), 10);
}

/// The secret is fresh for each engine, and so is the noise: what must not depend on it does not.
#[test]
fn two_runs_differ_in_noise_only() {
    let plan = plan(include_str!("golden/dqn_polynomial_max.rl"), 10);
    let data = batch(&plan, 4);
    let runs = [0, 1].map(|_| {
        let mut states = hecc_plan::init::initial(&plan);
        let update = engine(&plan, Backend::Ckks).update(&data, &mut states).expect("it runs");
        (states, update.bytes_to_server, update.bytes_to_client)
    });
    let error = apart(&runs[0].0, &runs[1].0);
    assert!(error > 0.0 && error < (-10.0f64).exp2(), "{error}");
    assert_eq!((runs[0].1, runs[0].2), (runs[1].1, runs[1].2));
}
