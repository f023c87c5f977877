//! Plans whose server carries the states: several updates per period, bootstraps, fetching, and what goes wrong.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use hecc_plan::bootstrap::{self, Bootstrap};
use hecc_plan::check::{PlanError, check, check_insecure};
use hecc_plan::{
    Carried, CarriedId, ClearOp, Content, KeyShape, Layout, Op, Output, OutputId, Plan, Span, State, StateInit, Target, Tensor, Tensors,
    Wire, WireId,
};
use hecc_runtime::engine::{Backend, Engine, EngineError, Progress, insecure_parties_for_tests};
use hecc_runtime::wire;

use crate::engine_support::{self, Builder};

const SCALE: u32 = 30;
const ROWS: usize = 32;

fn offer() -> Bootstrap {
    bootstrap::offer("insecure-dense-10", SCALE).unwrap()
}

fn plan() -> Plan {
    plan_of(offer())
}

/// w <- w + x w in every slot, twice in a period, then a bootstrap.
fn plan_of(offer: Bootstrap) -> Plan {
    let scale = offer.scale;
    let full = Wire { scale, k: offer.output_k };
    let mut b = Builder::new(offer.log_n, offer.base2k, scale, offer.output_k);
    let rows = b.plan.geometry.batch;
    b.plan.ckks.security_bits = if offer.is_insecure() { 0 } else { 128 };
    let name = || "w".to_owned();
    b.plan.states.push(State { name: name(), shape: vec![rows, 16], init: StateInit::Constant(1.0), span: Span::default() });
    let layout = Layout::Samples { group: 0, period: 16 };
    let contents = vec![Content { tensor: Target::State(name()), layout, factor: 2.0 }];
    let fetch = Wire { scale, k: scale + 10 };
    b.plan.carried.push(Carried { label: "states".to_owned(), contents, wire: full, fetch });
    b.plan.bootstrap = Some(offer);
    let mut k = full.k;
    let mut w = b.step(Op::Carried(CarriedId(0)), scale, k);
    for update in 0..2 {
        b.update = update;
        let x = b.input("x", k);
        let change = b.step(Op::Dot(vec![(w, x)]), scale, k - scale);
        let old = b.step(Op::Narrow(w), scale, k - scale);
        w = b.step(Op::Add(old, change), scale, k - scale);
        k -= scale;
        if update == 0 {
            b.saves = vec![(CarriedId(0), w)];
            b.end_round();
        }
    }
    w = b.step(Op::Bootstrap(w), scale, full.k);
    b.saves = vec![(CarriedId(0), w)];
    b.finish()
}

fn batch(update: usize) -> Tensors {
    let data = (0..ROWS * 16).map(|i| 0.3 * ((i * (update + 2)) as f64 * 0.7).sin()).collect();
    [("x".to_owned(), Tensor::new(vec![ROWS, 16], data))].into()
}

fn initial() -> Tensors {
    let data = (0..ROWS * 16).map(|i| (i as f64 * 0.37).cos()).collect();
    [("w".to_owned(), Tensor::new(vec![ROWS, 16], data))].into()
}

/// One update in plain arithmetic.
fn step(states: &mut Tensors, update: usize) {
    let batch = batch(update);
    let x = &batch["x"].data;
    states.get_mut("w").unwrap().data.iter_mut().zip(x).for_each(|(w, x)| *w += x * *w);
}

/// Bits after the point that the worst element keeps.
fn bits(have: &Tensors, want: &Tensors) -> f64 {
    -have["w"].data.iter().zip(&want["w"].data).map(|(a, b)| (a - b).abs()).fold(1e-300, f64::max).log2()
}

fn engine(plan: &Plan, backend: Backend) -> Engine {
    Engine::insecure_for_tests(Arc::new(plan.clone()), backend, Tensors::new(), 2, &mut |_, _| ()).unwrap()
}

/// Five updates, two and a half periods: fetched in the middle of one, changed by the client, and at the end.
fn trains(backend: Backend, least: f64) {
    let plan = plan();
    let mut engine = engine(&plan, backend);
    let (mut states, mut want) = (initial(), initial());
    for update in 0..5 {
        let before = states.clone();
        engine.update(&batch(update), &mut states).unwrap();
        assert_eq!(states, before, "an update leaves what the server carries");
        step(&mut want, update);
    }
    engine.fetch(&mut states).unwrap();
    let after = bits(&states, &want);
    assert!(after > least, "{after:.1} bits after five updates and two bootstraps");
    engine.update(&batch(5), &mut states).unwrap();
    step(&mut want, 5);
    engine.fetch(&mut states).unwrap();
    let after = bits(&states, &want);
    assert!(after > least, "{after:.1} bits after going on");
    (states, want) = (initial(), initial());
    engine.forget();
    engine.update(&batch(0), &mut states).unwrap();
    step(&mut want, 0);
    engine.fetch(&mut states).unwrap();
    let after = bits(&states, &want);
    assert!(after > least, "{after:.1} bits after starting over");
}

#[test]
fn a_server_trains_alone_in_the_clear() {
    trains(Backend::Clear, 40.0);
}

#[test]
fn a_server_trains_alone_on_ciphertexts() {
    trains(Backend::Ckks, 14.0);
}

#[test]
fn precision_survives_bootstraps_in_a_row() {
    let plan = plan();
    let mut engine = engine(&plan, Backend::Ckks);
    let (mut states, want) = (initial(), initial());
    let zero: Tensors = [("x".to_owned(), Tensor::zeros(&[ROWS, 16]))].into();
    let mut seen = Vec::new();
    for _ in 0..3 {
        (0..2).for_each(|_| drop(engine.update(&zero, &mut states).unwrap()));
        engine.fetch(&mut states).unwrap();
        seen.push(bits(&states, &want));
    }
    let stated = f64::from(offer().precision) - 1.0;
    assert!(seen[0] > stated && seen[2] > seen[0] - 2.0, "{seen:?} bits, {stated} stated for values of factor 2");
}

/// States up to 1 in a slot, which repeat as often as an offer of few slots wants it, and inputs that change none.
fn periodic(plan: &Plan, offer: &Bootstrap) -> (Tensors, Tensors) {
    let (rows, lanes) = (plan.geometry.batch, plan.geometry.lanes);
    let tensor = |name: &str, data: Vec<f64>| -> Tensors { [(name.to_owned(), Tensor::new(vec![rows, 16], data))].into() };
    // Element `i` of row `r` is in slot `i * lanes + r`.
    let slot = |index: usize| (index % 16 * lanes + index / 16) % (1 << offer.log_slots);
    let states = (0..rows * 16).map(|index| 2.0 * (slot(index) as f64 * 0.37).sin()).collect();
    (tensor("w", states), tensor("x", vec![0.0; rows * 16]))
}

#[test]
fn a_sparse_bootstrap_refreshes_slots_that_repeat() {
    for scale in [26, 30, 36] {
        let offer = bootstrap::offer("insecure-sparse-10-16", scale).unwrap();
        let plan = plan_of(offer.clone());
        let (want, zero) = periodic(&plan, &offer);
        let (mut engine, mut states) = (engine(&plan, Backend::Ckks), want.clone());
        let mut seen = Vec::new();
        for _ in 0..3 {
            (0..2).for_each(|_| drop(engine.update(&zero, &mut states).unwrap()));
            engine.fetch(&mut states).unwrap();
            // All copies of a slot: the result is as periodic as the operand.
            seen.push(bits(&states, &want));
        }
        let stated = f64::from(offer.precision) - 1.0;
        // Errors of bootstraps in a row add up.
        let holds = seen[0] > stated && seen[2] > stated - 2.0;
        assert!(holds, "scale {scale}: {seen:?} bits, {stated} stated for values of factor 2");
    }
}

#[test]
fn a_dense_bootstrap_of_scarce_bits_refreshes_every_slot() {
    for scale in [26, 32] {
        let offer = bootstrap::offer("insecure-dense-13", scale).unwrap();
        let plan = plan_of(offer.clone());
        let (want, zero) = periodic(&plan, &offer);
        let (mut engine, mut states) = (engine(&plan, Backend::Ckks), want.clone());
        (0..2).for_each(|_| drop(engine.update(&zero, &mut states).unwrap()));
        engine.fetch(&mut states).unwrap();
        let (seen, stated) = (bits(&states, &want), f64::from(offer.precision) - 1.0);
        assert!(seen > stated, "scale {scale}: {seen} bits, {stated} stated for values of factor 2");
    }
}

#[test]
fn a_sparse_bootstrap_averages_the_copies_of_a_slot() {
    let offer = bootstrap::offer("insecure-sparse-10-16", SCALE).unwrap();
    let plan = plan_of(offer.clone());
    let (want, zero) = periodic(&plan, &offer);
    let mut states = want.clone();
    let copies = f64::from(1u32 << offer.log_copies());
    states.get_mut("w").unwrap().data[0] += 0.5;
    let mut engine = engine(&plan, Backend::Ckks);
    (0..2).for_each(|_| drop(engine.update(&zero, &mut states).unwrap()));
    engine.fetch(&mut states).unwrap();
    let worst = states["w"].data.iter().zip(&want["w"].data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!((worst - 0.5 / copies).abs() < 0.01 / copies, "{worst}");
}

/// Seconds, memory and precision of an offer, in slots up to 1: `cargo test -p hecc-runtime --test suite -- --ignored engine_carried::
/// --nocapture --test-threads 1`.
fn measure(name: &str, threads: usize) {
    measure_at(SCALE, name, threads);
}

fn measure_at(scale: u32, name: &str, threads: usize) {
    let offer = bootstrap::offer(name, scale).unwrap();
    let plan = Arc::new(plan_of(offer.clone()));
    let (want, zero) = periodic(&plan, &offer);
    let memory = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| status.lines().find_map(|l| l.strip_prefix(name)?.split_whitespace().next()?.parse::<f64>().ok());
        ["VmRSS:", "VmHWM:"].map(|name| field(name).unwrap_or_default() / 1048576.0)
    };
    let start = std::time::Instant::now();
    let mut engine = Engine::new(Arc::clone(&plan), Backend::Ckks, Tensors::new(), threads, &mut |_, _| ()).unwrap();
    println!(
        "{name}, scale {scale}, {threads} threads: gains {} bits, keys {:.2} GiB in {:.1} s",
        offer.gain(),
        engine.key_bytes() as f64 / 1073741824.0,
        start.elapsed().as_secs_f64()
    );
    let mut states = want.clone();
    let mut worst = f64::INFINITY;
    for period in 0..3 {
        let light = engine.update(&zero, &mut states).unwrap().server_seconds;
        let heavy = engine.update(&zero, &mut states).unwrap().server_seconds;
        engine.fetch(&mut states).unwrap();
        let kept = bits(&states, &want);
        worst = worst.min(kept);
        println!(
            "  period {period}: {light:.2} s without, {heavy:.2} s with the bootstrap; {kept:.1} bits; memory now, peak {:.1?} GiB",
            memory()
        );
    }
    assert!(worst > f64::from(offer.precision) - 2.0, "{worst} bits");
}

#[test]
#[ignore = "keys of 1 GiB, 4 GiB of memory: cargo test --release -p hecc-runtime --test suite -- --ignored --nocapture --test-threads 1 engine_carried::"]
fn dense_15() {
    [26, 30, 32].into_iter().for_each(|scale| measure_at(scale, "dense-15", 2));
}

#[test]
#[ignore = "keys of 1 GiB, 6 GiB of memory: cargo test --release -p hecc-runtime --test suite -- --ignored --nocapture --test-threads 1 engine_carried::"]
fn dense_16_narrow() {
    measure("dense-16-narrow", 2);
}

#[test]
#[ignore = "keys of 1 GiB, 7 GiB of memory: cargo test --release -p hecc-runtime --test suite -- --ignored --nocapture --test-threads 1 engine_carried::"]
fn dense_16() {
    measure("dense-16", 1);
    measure("dense-16", 2);
}

#[test]
#[ignore = "keys of 1 GiB, 7 GiB of memory: cargo test --release -p hecc-runtime --test suite -- --ignored --nocapture --test-threads 1 engine_carried::"]
fn dense_16_scales() {
    [34, 38].into_iter().for_each(|scale| measure_at(scale, "dense-16-narrow", 2));
}

#[test]
#[ignore = "keys of 2 GiB, 11 GiB of memory: cargo test --release -p hecc-runtime --test suite -- --ignored --nocapture --test-threads 1 engine_carried::"]
fn dense_16_wide() {
    measure("dense-16-wide", 2);
}

#[test]
#[ignore = "keys of 1 GiB, 6 GiB of memory: cargo test --release -p hecc-runtime --test suite -- --ignored --nocapture --test-threads 1 engine_carried::"]
fn sparse_15() {
    (6..=11).for_each(|log_slots| measure(&format!("sparse-15-{}", 1 << log_slots), 2));
}

#[test]
#[ignore = "keys of 1 GiB, 6 GiB of memory: cargo test --release -p hecc-runtime --test suite -- --ignored --nocapture --test-threads 1 engine_carried::"]
fn sparse_15_scales() {
    [26, 28, 34].into_iter().for_each(|scale| measure_at(scale, "sparse-15-512", 2));
}

#[test]
#[ignore = "keys of 1 GiB, 8 GiB of memory: cargo test --release -p hecc-runtime --test suite -- --ignored --nocapture --test-threads 1 engine_carried::"]
fn sparse_16() {
    (8..=12).for_each(|log_slots| measure(&format!("sparse-16-{}", 1 << log_slots), 2));
}

#[test]
fn a_failed_update_leaves_the_states_of_the_last() {
    let plan = plan();
    let mut engine = engine(&plan, Backend::Clear);
    let (mut states, mut want) = (initial(), initial());
    engine.update(&batch(0), &mut states).unwrap();
    step(&mut want, 0);
    let broken: Tensors = [("x".to_owned(), Tensor::new(vec![ROWS, 16], vec![f64::NAN; ROWS * 16]))].into();
    assert!(engine.update(&broken, &mut states).is_err());
    engine.update(&batch(1), &mut states).unwrap();
    step(&mut want, 1);
    engine.fetch(&mut states).unwrap();
    assert!(bits(&states, &want) > 40.0);
}

/// The answer of every update gets lost once: the client sends it again, and asks for the states before and after it.
fn applied_once(backend: Backend, least: f64) {
    let plan = Arc::new(plan());
    let (client, mut server) = insecure_parties_for_tests(Arc::clone(&plan), backend, Tensors::new(), 2).unwrap();
    (0..client.keys()).for_each(|index| server.accept_key(index, &client.key(index).unwrap()).unwrap());
    server.ready().unwrap();
    server.plant(&client.plant(&initial()).unwrap()).unwrap();
    let (mut want, mut states) = (initial(), Tensors::new());
    let upload = |done: u32, number: usize| client.upload(number, &batch(done as usize), &initial(), &mut Progress::after(done)).unwrap();
    for done in 0..3u32 {
        let number = done as usize % 2;
        let message = upload(done, number);
        server.round(number, &message).unwrap();
        assert!(matches!(server.round(number, &message), Err(EngineError::Turn(_))), "update {done}");
        client.gather(&server.fetch(&client.ask(done)).unwrap(), &mut states).unwrap();
        assert!(bits(&states, &want) > least, "without update {done}, which the client does not know of");
        step(&mut want, done as usize);
        client.gather(&server.fetch(&client.ask(done + 1)).unwrap(), &mut states).unwrap();
        assert!(bits(&states, &want) > least, "with update {done}");
        assert!(matches!(server.fetch(&client.ask(done + 2)), Err(EngineError::Turn(_))), "not there yet");
    }
    assert!(matches!(server.fetch(&client.ask(1)), Err(EngineError::Turn(_))), "no longer there");
    assert!(matches!(server.round(0, &upload(4, 0)), Err(EngineError::Turn(_))), "update 3 is missing");
    assert!(matches!(server.round(0, &upload(3, 0)), Err(EngineError::Turn(_))), "another round of the period");
    server.round(1, &upload(3, 1)).unwrap();
}

#[test]
fn an_update_is_applied_once() {
    applied_once(Backend::Clear, 40.0);
    applied_once(Backend::Ckks, 14.0);
}

/// The plan with the new weights of each update as a result.
fn revealing() -> Plan {
    let mut plan = plan();
    let mut wires: Vec<_> = plan.rounds.iter().map(|round| round.saves[0].1).collect();
    // What the bootstrap takes: its result would outlive the round in the same way.
    wires[1] = WireId(wires[1].0 - 1);
    for (round, wire) in plan.rounds.iter_mut().zip(wires) {
        round.outputs = vec![OutputId(plan.outputs.len() as u32)];
        let tensor = Target::Result { name: format!("w{}", round.update), dim: 16 };
        let contents = vec![Content { tensor, layout: Layout::Samples { group: 0, period: 16 }, factor: 2.0 }];
        plan.outputs.push(Output { label: "w".to_owned(), wire, contents });
    }
    plan
}

#[test]
fn an_update_that_fails_after_the_servers_last_round_is_tried_again() {
    let plan = revealing();
    // Sixteen times what the first update's result has room for.
    let huge = f64::from(plan.steps[plan.outputs[0].wire.index()].wire.budget() + 4).exp2();
    let huge: Tensors = [("x".to_owned(), Tensor::new(vec![ROWS, 16], vec![huge; ROWS * 16]))].into();
    let mut engine = engine(&plan, Backend::Clear);
    let (mut states, mut want) = (initial(), initial());
    for update in 0..4 {
        // The server is through, and the client refuses what comes back.
        let failed = engine.update(&huge, &mut states);
        assert!(matches!(failed, Err(EngineError::Range(_))), "{:?}", failed.map(|_| ()));
        if update % 2 == 1 {
            engine.fetch(&mut states).unwrap();
            assert!(bits(&states, &want) > 40.0, "before update {update}");
        }
        engine.update(&batch(update), &mut states).unwrap();
        step(&mut want, update);
        engine.fetch(&mut states).unwrap();
        assert!(bits(&states, &want) > 40.0, "after update {update}, {} bits", bits(&states, &want));
    }
}

#[test]
fn messages_with_carried_ciphertexts_are_checked() {
    let plan = Arc::new(plan());
    let (client, mut server) = insecure_parties_for_tests(Arc::clone(&plan), Backend::Clear, Tensors::new(), 1).unwrap();
    server.ready().unwrap();
    let message = client.plant(&initial()).unwrap();
    for cut in [0, 7, 31, message.len() / 2, message.len() - 1] {
        assert!(matches!(server.plant(&message[..cut]), Err(EngineError::Message(_))), "{cut} bytes");
    }
    let mut flipped = message.clone();
    flipped[100] ^= 1;
    assert!(matches!(server.plant(&flipped), Err(EngineError::Message(_))));
    assert!(matches!(server.fetch(&message), Err(EngineError::Message(_))), "another kind");
    let print = hecc_plan::fingerprint(&plan);
    let two = wire::encode(wire::Kind::Plant, print, &2u32.to_le_bytes());
    assert!(matches!(server.plant(&two), Err(EngineError::Message(_))), "two ciphertexts");
    let long = wire::encode(wire::Kind::Fetch, print, &[0; 5]);
    assert!(matches!(server.fetch(&long), Err(EngineError::Message(_))), "a payload where there is none");
    server.plant(&message).unwrap();
    let answer = server.fetch(&client.ask(0)).unwrap();
    let mut states = Tensors::new();
    client.gather(&answer, &mut states).unwrap();
    assert!(bits(&states, &initial()) > 40.0);
    let empty = wire::encode(wire::Kind::Carried, print, &0u32.to_le_bytes());
    assert!(matches!(client.gather(&empty, &mut states), Err(EngineError::Message(_))));
}

#[test]
fn a_server_without_carried_ciphertexts_says_so() {
    let plan = Arc::new(plan());
    let (client, mut server) = insecure_parties_for_tests(Arc::clone(&plan), Backend::Ckks, Tensors::new(), 1).unwrap();
    assert!(matches!(server.plant(&client.plant(&initial()).unwrap()), Err(EngineError::Turn(_))), "no keys yet");
    assert!(matches!(server.fetch(&client.ask(0)), Err(EngineError::Turn(_))));
    assert!(matches!(server.ready(), Err(EngineError::Key(_))));
}

#[test]
fn plans_that_carry_wrongly_are_refused() {
    type Spoil = fn(&mut Plan);
    let spoiled: [(&str, Spoil); 18] = [
        ("HE0506", |p| p.client.nodes[0].op = ClearOp::State("w".to_owned())),
        ("HE0503", |p| p.steps[0].op = Op::Carried(CarriedId(1))),
        ("HE0503", |p| p.rounds[0].saves = vec![(CarriedId(1), WireId(0))]),
        ("HE0503", |p| p.rounds[0].saves = vec![(CarriedId(0), WireId(99))]),
        ("HE0503", |p| p.rounds[0].saves = vec![(CarriedId(0), WireId(6))]),
        ("HE0507", |p| p.rounds[0].saves = vec![(CarriedId(0), WireId(0)), (CarriedId(0), WireId(0))]),
        ("HE0507", |p| p.rounds[1].update = 2),
        ("HE0507", |p| p.rounds[0].update = 1),
        ("HE0507", |p| p.rounds[1].update = 0),
        ("HE0506", |p| p.rounds[1].saves = vec![(CarriedId(0), WireId(4))]),
        ("HE0506", |p| p.carried[0].fetch.k = 1000),
        ("HE0506", |p| p.carried[0].fetch.scale = 29),
        ("HE0506", |p| p.carried[0].contents[0].factor = 0.0),
        ("HE0506", |p| p.carried[0].contents[0].tensor = Target::State("v".to_owned())),
        ("HE0506", |p| p.carried[0].wire.k -= 1),
        ("HE0504", |p| p.bootstrap = None),
        ("HE0501", |p| p.bootstrap.as_mut().unwrap().input_k -= 1),
        ("HE0501", |p| p.bootstrap.as_mut().unwrap().name = "dense-16".to_owned()),
    ];
    for (number, (code, spoil)) in spoiled.into_iter().enumerate() {
        let mut plan = plan();
        spoil(&mut plan);
        let keys = plan.keys.relinearisation.iter().map(KeyShape::log_modulus).chain(plan.bootstrap.as_ref().map(|b| b.log_modulus));
        plan.ckks.log_modulus = keys.max().unwrap().max(plan.ckks.max_k);
        let errors = check_insecure(&plan).unwrap_err();
        let codes: Vec<_> = errors.iter().map(PlanError::code).collect();
        assert!(codes.contains(&code), "{number}: {errors:?}");
    }
}

#[test]
fn an_insecure_bootstrap_is_only_for_tests() {
    let mut plan = plan();
    plan.ckks.security_bits = 128;
    assert!(check(&plan).is_err());
}

#[test]
fn plan_files_hold_what_is_carried() {
    let plan = plan();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    // Plans from before there were carried ciphertexts.
    let mut old: serde_json::Value = serde_json::to_value(engine_support::two_rounds()).unwrap();
    let fields = old.as_object_mut().unwrap();
    fields.remove("carried");
    fields.remove("bootstrap");
    for round in fields["rounds"].as_array_mut().unwrap() {
        let round = round.as_object_mut().unwrap();
        round.remove("update");
        round.remove("saves");
    }
    assert_eq!(serde_json::from_value::<Plan>(old).unwrap(), engine_support::two_rounds());
}
