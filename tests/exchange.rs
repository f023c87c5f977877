//! What the key owner decrypts in the middle of an update, and everything else, has room in its ciphertext: on small rings
//! without security that are cut as secure ones are.

use std::sync::Arc;
use std::sync::Mutex;

use hecc_compiler::{Options, compile};
use hecc_plan::noise::{self, Data};
use hecc_plan::{Collect, Escape, Plan, REFRESHED, Tensor, Tensors};
use hecc_runtime::engine::{Backend, Engine, EngineError, Update};
use hecc_runtime::session::{Session, Settings};

/// Samples of an update.
const BATCH: usize = 32;
/// Bits of the widest modulus, as of ring degree 2^13.
const NARROW: u32 = 218;
/// As of 2^14.
const WIDE: u32 = 438;
/// Between them.
const MIDDLE: u32 = 300;

const ACROBOT: &str = include_str!("../examples/acrobot_sac.rl");
const MOUNTAINCAR: &str = include_str!("../examples/mountaincar_dqn.rl");
const MOUNTAINCAR_SAC: &str = include_str!("../examples/mountaincar_sac.rl");

/// Acrobot's logits pinned to an interval on which the sum of their exponentials is 0 in no sample, but in the padding.
fn tight() -> String {
    ACROBOT.replace("range: [-1.5, 1.5]", "range: [-1, 1]")
}

/// The plan of a program with a small batch.
fn plan(source: &str, modulus: u32) -> Plan {
    let small = |line: &str| match line.trim_start().split_once('=') {
        Some((name, _)) if name.trim() == "batch" => format!("batch = {BATCH}\n"),
        Some((name, _)) if name.trim() == "collect" => "collect = random(200)\n".to_owned(),
        _ => format!("{line}\n"),
    };
    let source: String = source.lines().map(small).collect();
    let options = Options { insecure_log_n: Some(11), insecure_modulus: Some(modulus), ..Options::default() };
    compile(&source, &options).expect("a program that compiles").plan
}

/// Batches of transitions of the random policy.
fn batches(plan: &Plan, count: usize) -> Vec<Tensors> {
    assert_eq!(plan.training.as_ref().map(|t| t.run.collect), Some(Collect::Random(200)));
    let mut session = Session::start(plan, Settings::default()).expect("a session");
    session.gather(&mut |_| ()).expect("transitions");
    session.probe(count)
}

/// The states as they start, moved by chance.
fn moved(plan: &Plan, seed: u64) -> Tensors {
    let mut states = hecc_plan::init::initial(plan);
    let mut z = seed;
    let mut next = || {
        z = z.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (z >> 33) as f64 / f64::from(1u32 << 31) - 0.5
    };
    states.values_mut().flat_map(|t| &mut t.data).for_each(|v| *v += 0.1 * next());
    states
}

fn engine(plan: &Plan, backend: Backend) -> Engine {
    Engine::insecure_for_tests(Arc::new(plan.clone()), backend, Tensors::new(), 2, &mut |_, _| ()).expect("an engine")
}

fn refreshed(plan: &Plan) -> usize {
    plan.outputs.iter().filter(|output| output.label == REFRESHED).count()
}

#[test]
fn no_value_is_larger_than_its_wire_has_room_for() {
    for (name, source, modulus) in [
        ("acrobot_sac", tight(), MIDDLE),
        ("mountaincar_dqn", MOUNTAINCAR.to_owned(), NARROW),
        ("mountaincar_sac", MOUNTAINCAR_SAC.to_owned(), WIDE),
    ] {
        let plan = plan(&source, modulus);
        let mut largest = vec![0.0f64; plan.steps.len()];
        for (seed, batch) in (1..).zip(batches(&plan, 3)) {
            let seen = Mutex::new(&mut largest);
            let look = |step: usize, slots: &mut Vec<f64>| {
                let mut seen = seen.lock().expect("no thread panicked");
                seen[step] = slots.iter().fold(seen[step], |m, v| m.max(v.abs()));
            };
            let data = Data { batch, states: moved(&plan, seed), public: Tensors::new() };
            noise::observed(&plan, &data, 1, &look).expect("data that fit");
        }
        // A value wraps around at half the modulus; what crosses must stay below half of that.
        for (step, largest) in plan.steps.iter().zip(&largest) {
            let room = (f64::from(step.wire.budget()) - 1.0).exp2();
            assert!(*largest < room, "{name}: {:?} holds {largest} of {room}", step.op);
        }
        let crossing = plan.outputs.iter().map(|output| (output.label.as_str(), output.wire.index()));
        let mut tightest = f64::INFINITY;
        for (label, step) in crossing {
            let room = (f64::from(plan.steps[step].wire.budget()) - 2.0).exp2();
            assert!(largest[step] <= room, "{name}: {label} holds {} of {room}", largest[step]);
            tightest = tightest.min(room / largest[step]);
        }
        println!("{name}: {} refreshed, room for {tightest:.1} times as much at least", refreshed(&plan));
    }
}

/// Encrypted updates against clear ones, on transitions of the environment.
fn agree(plan: &Plan, updates: usize) {
    assert!(refreshed(plan) > 0, "the update is cut");
    let batches = batches(plan, updates);
    let run = |backend: Backend| -> (Vec<Update>, Tensors) {
        let mut engine = engine(plan, backend);
        let mut states = hecc_plan::init::initial(plan);
        let updates = batches.iter().map(|batch| engine.update(batch, &mut states).expect("an update")).collect();
        (updates, states)
    };
    let ((secret, new), (_, clear)) = (run(Backend::Ckks), run(Backend::Clear));
    assert!(secret.iter().all(|update| update.outgrown.is_empty()));
    for (name, want) in &clear {
        let size = want.data.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        let error = new[name].data.iter().zip(&want.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(error < 1e-3 * size, "{name} is {error} off, of {size}");
    }
}

#[test]
fn what_stands_in_padding_has_room_as_well() {
    agree(&plan(&tight(), MIDDLE), 2);
}

#[test]
fn rewards_of_their_own_scale_have_room() {
    agree(&plan(MOUNTAINCAR, NARROW), 2);
}

/// Any batch from the declared ranges, of which no environment has such transitions, and an update goes on.
#[test]
fn random_data_end_no_update() {
    let plan = plan(MOUNTAINCAR, NARROW);
    let data = Data::sample(&plan, 1);
    let mut states = data.states.clone();
    engine(&plan, Backend::Ckks).update(&data.batch, &mut states).expect("an update");
    assert!(states.values().all(|Tensor { data, .. }| data.iter().all(|v| v.is_finite())));
}

/// What the program says of values out of range counts for those that outgrow their ciphertexts, too: here since weights are so
/// large that the maximum's polynomial is far outside of its interval.
#[test]
fn what_outgrows_its_ciphertext_is_clipped_or_ends_the_update() {
    let mut plan = plan(MOUNTAINCAR, NARROW);
    let batch = batches(&plan, 1).swap_remove(0);
    let initial = hecc_plan::init::initial(&plan);
    let mut run = |start: &Tensors, out_of_range: Escape| {
        plan.training.as_mut().expect("a training").run.out_of_range = out_of_range;
        let mut states = start.clone();
        let update = engine(&plan, Backend::Clear).update(&batch, &mut states);
        (update, states)
    };
    let larger = |factor: f64| {
        let mut states = initial.clone();
        states.values_mut().flat_map(|t| &mut t.data).for_each(|v| *v *= factor);
        states
    };
    let (start, update, states) = (0..40)
        .map(|power| larger(1.25f64.powi(power)))
        .find_map(|start| match run(&start, Escape::Warn) {
            (Ok(update), states) if !update.outgrown.is_empty() => Some((start, update, states)),
            _ => None,
        })
        .expect("weights for which a value outgrows its ciphertext, and the new weights do not");
    assert!(update.outgrown.iter().all(|o| o.value.abs() > o.limit && o.name.contains("intermediate value")));
    assert!(states != start && states.values().all(|t| t.data.iter().all(|v| v.is_finite())));
    for ends in [Escape::Stop, Escape::Widen] {
        let (update, states) = run(&start, ends);
        let error = update.expect_err("a value without room");
        assert!(matches!(&error, EngineError::Range(outgrown) if outgrown.value.abs() > outgrown.limit), "{error}");
        assert_eq!((error.code(), &states), ("HE0613", &start));
    }
}
