//! What others send decides nothing but an error: plans, keys, inputs and answers that are spoilt in any way make nothing panic,
//! and nothing take long.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use hecc_compiler::schemes::tfhe::{self, Given};
use hecc_plan::tfhe::check::check;
use hecc_plan::tfhe::{Op, Plan};
use hecc_plan::{AnyPlan, ClearId, ClearOp, Tensor, Tensors, init, read_any, write_tfhe};
use hecc_runtime::engine::EngineError;
use hecc_runtime::integers::{Backend, Client, Engine, Server, parties};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use serde_json::{Number, Value};

const SOURCE: &str = r#"env "Other-v0" { observe s: [2] in [-1, 1], [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 2 relu dense 2 }
serve argmax(q(s)) { batch = 1 }
secure tfhe { quantize = w3 a3 }"#;

/// Longest that reading a spoilt plan may take: no speed is judged here, only that a hostile one cannot hold the reader up.
const LONGEST: Duration = Duration::from_secs(60);

fn compiled(source: &str) -> Plan {
    let program = hecc_compiler::front::check(source).expect("the program checks");
    tfhe::compile(&program, source, &Given::default()).expect("the program compiles").plan
}

static PLAN: LazyLock<Arc<Plan>> = LazyLock::new(|| Arc::new(compiled(SOURCE)));

/// Sums of what the client encrypts, so many that they are packed.
const MANY: &str = r#"env "Other-v0" { observe s: [2] in [-1, 1], [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 2 }
serve q(s) { batch = 70 }
secure tfhe { secret = [s] public = [q] quantize = w3 a3 }"#;

static PACKED: LazyLock<Arc<Plan>> = LazyLock::new(|| {
    let plan = compiled(MANY);
    assert!(plan.parcels.iter().any(|parcel| parcel.packing.is_some()), "{:?}", plan.decisions);
    Arc::new(plan)
});

fn read(text: &str) -> Option<Plan> {
    let begun = Instant::now();
    let read = read_any(text.as_bytes());
    assert!(begun.elapsed() < LONGEST, "reading took {:?}", begun.elapsed());
    match read {
        Ok(AnyPlan::Tfhe(plan)) => Some(*plan),
        Ok(AnyPlan::Ckks(_)) => panic!("a plan of TFHE became one of CKKS"),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            None
        }
    }
}

// Plans.

/// One place of a document, and what is done there.
#[derive(Clone, Debug)]
struct Spoil {
    place: prop::sample::Index,
    how: u8,
    other: prop::sample::Index,
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

fn find<'a>(value: &'a mut Value, place: &mut usize) -> Option<&'a mut Value> {
    if *place == 0 {
        return Some(value);
    }
    *place -= 1;
    match value {
        Value::Array(items) => items.iter_mut().find_map(|item| find(item, place)),
        Value::Object(fields) => fields.values_mut().find_map(|item| find(item, place)),
        _ => None,
    }
}

fn spoil(plan: &mut Value, spoil: &Spoil) {
    let mut place = spoil.place.index(count(plan));
    let Some(value) = find(plan, &mut place) else { return };
    let how = spoil.how;
    match value {
        Value::Number(number) => {
            let near = |by: i64| number.as_i64().map(|n| Number::from(n.wrapping_add(by))).unwrap_or_else(|| number.clone());
            *number = match how % 14 {
                0 => 0.into(),
                1 => (-1).into(),
                2 => u32::MAX.into(),
                3 => i64::MAX.into(),
                4 => i64::MIN.into(),
                5 => u64::MAX.into(),
                6 => Number::from_f64(1e308).expect("finite"),
                7 => Number::from_f64(-5e-324).expect("finite"),
                8 => (1 << 24).into(),
                9 => (1 << 31).into(),
                10 => near(1),
                11 => near(-1),
                12 => number.as_i64().map_or(2, |n| n.wrapping_mul(2)).into(),
                _ => number.as_i64().map_or(3, |n| n / 2).into(),
            };
        }
        Value::String(text) => match how % 3 {
            0 => text.clear(),
            1 => *text = "x".repeat(100_000),
            _ => text.push('\u{10FFFF}'),
        },
        Value::Array(items) if items.is_empty() => items.push(Value::from(how)),
        Value::Array(items) => {
            let (at, other) = (spoil.other.index(items.len()), usize::from(how) % items.len());
            match how % 6 {
                0 => drop(items.remove(at)),
                1 => items.insert(at, items[other].clone()),
                2 => items.swap(at, other),
                3 => items.clear(),
                4 => (0..10_000).for_each(|_| items.push(items[at].clone())),
                _ => items.truncate(at),
            }
        }
        Value::Object(fields) => {
            let keys: Vec<String> = fields.keys().cloned().collect();
            let Some(key) = keys.get(spoil.other.index(keys.len().max(1))) else { return };
            match how % 3 {
                0 => drop(fields.remove(key)),
                1 => drop(fields.insert(key.clone(), Value::Null)),
                _ => drop(fields.insert(key.clone(), Value::Array(vec![]))),
            }
        }
        Value::Bool(b) => *b = !*b,
        Value::Null => *value = Value::from(how),
    }
}

/// Arrays of the shapes that a plan asks for.
fn arrays(plan: &Plan, rng: &mut ChaCha20Rng) -> (Tensors, Tensors) {
    let mut batch = Tensors::new();
    for node in &plan.client.nodes {
        if let ClearOp::Batch { name, dim } = &node.op {
            let data = (0..plan.batch * dim).map(|_| rng.random_range(-1.0..1.0)).collect();
            batch.insert(name.clone(), Tensor::new(vec![plan.batch, *dim], data));
        }
    }
    (batch, init::initial_states(&plan.states, 1))
}

type Ran = Result<(BTreeMap<String, Tensor>, Tensors), String>;

fn ran(plan: &Arc<Plan>, backend: Backend, batch: &Tensors, states: &Tensors) -> Ran {
    let mut engine = Engine::new(Arc::clone(plan), backend, 2, &mut |_, _| {}).map_err(|error| error.to_string())?;
    let mut states = states.clone();
    let update = engine.update(batch, &mut states).map_err(|error| error.to_string())?;
    Ok((update.results, states))
}

fn key_bytes(plan: &Plan) -> u64 {
    plan.parameters.key_bytes().expanded
}

#[test]
fn spoilt_plans_are_refused_or_run() {
    let whole: Value = serde_json::from_str(&write_tfhe(&PLAN)).expect("a plan is a document");
    let mut runner = TestRunner::new_with_rng(
        Config { cases: 1, failure_persistence: None, ..Config::default() },
        TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]),
    );
    let one = (any::<prop::sample::Index>(), any::<u8>(), any::<prop::sample::Index>()).prop_map(|(place, how, other)| Spoil {
        place,
        how,
        other,
    });
    let several = prop::collection::vec(one, 1..4);
    // Those of the steps and parameters alone, too: most of a document is elsewhere.
    let parts =
        ["/tfhe", "/tfhe/parameters", "/tfhe/steps", "/tfhe/client", "/tfhe/inputs", "/tfhe/outputs", "/tfhe/states", "/tfhe/parcels"];
    let (mut accepted, mut encrypted, mut equal) = (0, 0, 0);
    let mut rng = ChaCha20Rng::seed_from_u64(3);
    for case in 0..600 {
        let spoils = several.new_tree(&mut runner).expect("a strategy").current();
        let mut document = whole.clone();
        let part = document.pointer_mut(parts[case % parts.len()]).expect("a part of a plan");
        spoils.iter().for_each(|s| spoil(part, s));
        let text = document.to_string();
        let Some(plan) = catch_unwind(|| read(&text)).unwrap_or_else(|_| panic!("case {case} panics: {spoils:?}")) else { continue };
        accepted += 1;
        let changed = plan.steps != PLAN.steps || plan.parameters != PLAN.parameters;
        let plan = Arc::new(plan);
        let (batch, states) = arrays(&plan, &mut rng);
        let run = |backend| {
            catch_unwind(AssertUnwindSafe(|| ran(&plan, backend, &batch, &states)))
                .unwrap_or_else(|_| panic!("case {case} panics on {backend:?}: {spoils:?}"))
        };
        let clear = run(Backend::Clear);
        if changed && encrypted < 3 && key_bytes(&plan) < 2 * key_bytes(&PLAN) {
            encrypted += 1;
            match (clear, run(Backend::Tfhe)) {
                (Ok(clear), Ok(got)) => {
                    assert_eq!(got, clear, "case {case}: {spoils:?}");
                    equal += 1;
                }
                // No result is a result, as long as nothing else is said.
                (Err(_), Err(_)) => {}
                (clear, got) => panic!("case {case}: {clear:?} in the clear, {got:?} encrypted: {spoils:?}"),
            }
        }
    }
    println!("{accepted} of 600 spoilt plans are accepted, {encrypted} ran encrypted, {equal} with the clear result");
    assert!(accepted > 10 && encrypted == 3 && equal > 0);
}

#[test]
fn files_cut_short_are_refused() {
    let text = write_tfhe(&PLAN);
    for length in (0..text.len()).step_by(text.len() / 200) {
        if let Some(start) = text.get(..length) {
            assert!(read(start).is_none(), "{length} bytes");
        }
    }
    assert!(read(&"[".repeat(1 << 20)).is_none());
    assert!(read(&format!(r#"{{"magic":"hecc-plan","version":{},"tfhe":{}"#, hecc_plan::VERSION, "[".repeat(1 << 20))).is_none());
}

/// Changes to a plan that each went wrong, or could.
#[test]
fn numbers_at_the_edges_are_refused() {
    fn affine(plan: &mut Plan) -> &mut hecc_plan::tfhe::Row {
        plan.steps
            .iter_mut()
            .find_map(|step| match &mut step.op {
                Op::Affine { rows, .. } => rows.iter_mut().find(|row| !row.terms.is_empty()),
                _ => None,
            })
            .expect("a sum")
    }
    let spoils: [fn(&mut Plan); 12] = [
        |p| affine(p).terms[0].2 = i64::MIN,
        |p| affine(p).terms[0].2 = i64::MAX,
        |p| affine(p).terms[0].0 = u32::MAX,
        |p| affine(p).terms[0].1 = u32::MAX,
        |p| affine(p).constant = i64::MIN,
        |p| affine(p).constant = i64::MAX,
        |p| p.steps.iter_mut().for_each(|step| step.wire.bits = 0),
        |p| p.steps.iter_mut().for_each(|step| step.wire.bits = u32::MAX),
        |p| p.steps.iter_mut().for_each(|step| step.wire.len = u32::MAX),
        |p| p.steps.iter_mut().for_each(|step| (step.wire.low, step.wire.high) = (i64::MIN, i64::MAX)),
        |p| p.tables.iter_mut().for_each(|table| table.values[0] = i64::MIN),
        |p| p.log2_failure = f64::NAN,
    ];
    for (number, spoil) in spoils.iter().enumerate() {
        let mut plan = (**PLAN).clone();
        spoil(&mut plan);
        assert!(check(&plan).is_err(), "case {number}");
    }
}

/// Sums that leave every word behind do not look small by stopping at its end.
#[test]
fn sums_beyond_a_word_are_refused() {
    let mut plan = (**PLAN).clone();
    let at = plan.steps.iter().position(|step| matches!(step.op, Op::Affine { .. })).expect("a sum");
    let source = plan.steps[at].op.operands()[0].index();
    let input = plan.steps[source].wire;
    let Op::Affine { rows, .. } = &mut plan.steps[at].op else { panic!("it is a sum") };
    let c = 1i64 << 30;
    // Up to 2^60 and more each: 64 of them one way, and 63 back.
    let terms = |sign: i64, count| std::iter::repeat_n((0, 0, sign * c), count);
    rows.iter_mut().for_each(|row| row.terms = terms(-1, 64).chain(terms(1, 63)).collect());
    for bits in [input.bits, 29] {
        plan.steps[source].wire = hecc_plan::tfhe::Wire { bits, low: (1 << bits) - 1, high: (1 << bits) - 1, ..input };
        assert!(check(&plan).is_err());
    }
}

/// Small documents that name a lot are refused before it is made.
#[test]
fn plans_that_would_take_gigabytes_are_refused() {
    let mut plan = (**PLAN).clone();
    let mut big = plan.clone();
    big.batch = 1 << 23;
    big.steps.iter_mut().for_each(|step| step.wire.len = 1 << 23);
    assert!(read(&write_tfhe(&big)).is_none());

    // A sum of many, and many copies of it: each would hold all their noises.
    let wire = plan.steps[0].wire;
    let (count, span) = (20_000u32, plan.steps[0].span);
    let row = |terms| hecc_plan::tfhe::Row { terms, constant: 0 };
    let name = hecc_plan::tfhe::WireId;
    let step = |op, len| hecc_plan::tfhe::Step { op, wire: hecc_plan::tfhe::Wire { len, low: 0, high: 0, ..wire }, span };
    plan.steps = vec![
        step(plan.steps[0].op.clone(), count),
        step(Op::Affine { operands: vec![name(0)], rows: vec![row((0..count).map(|i| (0, i, 1)).collect())] }, 1),
        step(Op::Affine { operands: vec![name(1)], rows: (0..count).map(|_| row(vec![(0, 0, 1)])).collect() }, count),
        step(Op::Affine { operands: vec![name(2)], rows: (0..count).map(|i| row(vec![(0, i, 1)])).collect() }, count),
    ];
    plan.inputs.truncate(1);
    plan.outputs.clear();
    plan.parcels.clear();
    plan.client.nodes.retain(|node| matches!(node.op, ClearOp::Batch { .. }));
    plan.client.nodes.truncate(1);
    let ClearOp::Batch { dim, .. } = &mut plan.client.nodes[0].op else { panic!("only data is left") };
    *dim = count as usize;
    plan.inputs[0].tensor = ClearId(0);
    let begun = Instant::now();
    let errors = check(&plan).expect_err("too many noises");
    assert!(errors.iter().any(|error| error.to_string().contains("too many noises")), "{errors:?}");
    assert!(begun.elapsed() < LONGEST, "{:?}", begun.elapsed());
}

// Messages.

const HEADER: usize = 32;

/// Puts the right sum under bytes that end with another.
fn summed(mut message: Vec<u8>) -> Vec<u8> {
    let end = message.len().saturating_sub(4);
    message.truncate(end);
    let sum = crc32fast::hash(&message);
    message.extend_from_slice(&sum.to_le_bytes());
    message
}

/// A message with another payload, and all else right.
fn with_payload(message: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut made = message[..HEADER - 8].to_vec();
    made.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    made.extend_from_slice(payload);
    made.extend_from_slice(&[0; 4]);
    summed(made)
}

fn payload(message: &[u8]) -> &[u8] {
    &message[HEADER..message.len() - 4]
}

/// A message spoilt in ways that a reader must notice, whatever it carries.
fn spoilt(message: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("empty".to_owned(), vec![])];
    let inside = payload(message);
    for length in [1, 7, 8, 11, HEADER - 1, HEADER, HEADER + 3, HEADER + 4, HEADER + 8, message.len() / 2, message.len() - 1] {
        all.push((format!("cut to {length} bytes"), message[..length].to_vec()));
        all.push((format!("cut to {length} bytes and summed"), summed(message[..length].to_vec())));
    }
    for length in [0, 1, 3, 4, 7, 8, 12, 16, 19, 20, 24, inside.len() / 2, inside.len() - 8, inside.len() - 1] {
        let length = length.min(inside.len() - 1);
        all.push((format!("a payload of {length} bytes"), with_payload(message, &inside[..length])));
    }
    for more in [1, 4, 8, 4096] {
        all.push((format!("{more} bytes more"), [message, &vec![0; more]].concat()));
        all.push((format!("{more} bytes more of payload"), with_payload(message, &[inside, &vec![0; more]].concat())));
    }
    // All bits of the header; the sum is right or not.
    for bit in 0..8 * HEADER {
        let mut flipped = message.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // One with a sum each eighth: sums of keys take their time.
        if bit % 8 == 7 {
            all.push((format!("bit {bit} flipped and summed"), summed(flipped.clone())));
        }
        if bit % 8 == 0 {
            all.push((format!("bit {bit} flipped"), flipped));
        }
    }
    for at in [HEADER, HEADER + 5, message.len() / 2, message.len() - 1] {
        let mut flipped = message.to_vec();
        flipped[at] ^= 0x40;
        all.push((format!("byte {at} flipped"), flipped));
    }
    all.push(("noughts".to_owned(), vec![0; message.len().min(1 << 16)]));
    all.push(("ones".to_owned(), vec![0xff; message.len().min(1 << 16)]));
    all
}

/// An error, and one that can be printed; never a panic.
fn refused<T>(what: &str, act: impl FnOnce() -> Result<T, EngineError>) {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(Err(error)) => assert!(!error.to_string().is_empty(), "{what}"),
        Ok(Ok(_)) => panic!("{what} is taken"),
        Err(_) => panic!("{what} panics"),
    }
}

fn batch() -> Tensors {
    Tensors::from([("s".to_owned(), Tensor::new(vec![1, 2], vec![0.7, -0.9]))])
}

fn answer(client: &Client, server: &mut Server) -> BTreeMap<String, Tensor> {
    let upload = client.upload(&batch(), &init::initial_states(&PLAN.states, 0)).expect("an upload");
    let download = server.run(&upload).expect("an answer");
    client.receive(&download, &batch()).expect("results").1
}

fn clear_answer() -> BTreeMap<String, Tensor> {
    let (client, mut server) = parties(Arc::clone(&PLAN), Backend::Clear, 1).expect("parties");
    answer(&client, &mut server)
}

#[test]
fn spoilt_keys_are_refused_and_good_ones_still_taken() {
    let (client, mut server) = parties(Arc::clone(&PLAN), Backend::Tfhe, 2).expect("parties");
    let other = Arc::new(compiled(&SOURCE.replace("batch = 1", "batch = 2")));
    let (other_client, _) = parties(other, Backend::Tfhe, 2).expect("parties");
    let count = client.keys();
    let good: Vec<Vec<u8>> = (0..count).map(|index| client.key(index).expect("a key")).collect();
    let upload = client.upload(&batch(), &init::initial_states(&PLAN.states, 0)).expect("an upload");
    refused("a key too many", || client.key(count));
    refused("a key too many", || client.key(usize::MAX));
    refused("an input without keys", || server.run(&upload));
    refused("no key at all", || server.ready());
    for (index, message) in good.iter().enumerate() {
        for (what, bytes) in spoilt(message) {
            refused(&format!("key {index}, {what},"), || server.accept_key(index, &bytes));
        }
        for place in [(index + 1) % count, count, usize::MAX].into_iter().filter(|place| *place != index) {
            refused(&format!("key {index} as {place}"), || server.accept_key(place, message));
        }
        refused("a key of another plan", || server.accept_key(index, &other_client.key(index).expect("a key")));
        refused("an upload as a key", || server.accept_key(index, &upload));
        refused("too few keys", || server.ready());
        server.accept_key(index, message).expect("the right key");
        refused("a key as an input", || server.run(message));
        refused("an input without keys", || server.run(&upload));
    }
    // One more time is no harm.
    server.accept_key(0, &good[0]).expect("the right key");
    server.ready().expect("all keys");
    refused("a key after all are there", || server.accept_key(0, &good[0]));
    refused("being ready twice", || server.ready());
    assert_eq!(answer(&client, &mut server), clear_answer());
}

/// Keys of any bytes of the right length are keys, and what they compute is garbage, which the client may notice.
#[test]
fn random_keys_compute_garbage() {
    let (client, mut server) = parties(Arc::clone(&PLAN), Backend::Tfhe, 2).expect("parties");
    let mut rng = ChaCha20Rng::seed_from_u64(11);
    for index in 0..client.keys() {
        let message = client.key(index).expect("a key");
        let mut inside = payload(&message).to_vec();
        rng.fill(&mut inside[4..]);
        server.accept_key(index, &with_payload(&message, &inside)).expect("a key of random words");
    }
    server.ready().expect("all keys");
    let upload = client.upload(&batch(), &init::initial_states(&PLAN.states, 0)).expect("an upload");
    let download = server.run(&upload).expect("garbage");
    let _ = client.receive(&download, &batch());
}

#[test]
fn spoilt_inputs_and_answers_are_refused_and_good_ones_still_taken() {
    for backend in [Backend::Clear, Backend::Tfhe] {
        let (client, mut server) = parties(Arc::clone(&PLAN), backend, 2).expect("parties");
        for index in 0..client.keys() {
            server.accept_key(index, &client.key(index).expect("a key")).expect("the right key");
        }
        server.ready().expect("all keys");
        let states = init::initial_states(&PLAN.states, 0);
        let upload = client.upload(&batch(), &states).expect("an upload");
        let download = server.run(&upload).expect("an answer");
        for (what, bytes) in spoilt(&upload) {
            refused(&format!("{backend:?}: an input, {what},"), || server.run(&bytes));
        }
        for (what, bytes) in spoilt(&download) {
            refused(&format!("{backend:?}: an answer, {what},"), || client.receive(&bytes, &batch()));
        }
        refused("an answer as an input", || server.run(&download));
        refused("an input as an answer", || client.receive(&upload, &batch()));
        // Numbers and lengths of parts.
        for (message, answered) in [(&upload, false), (&download, true)] {
            for (at, width) in [(0, 4), (4, 4), (8, 8)] {
                for value in [u64::MAX, 1 << 31, (1 << 62) | (1 << 30), (1 << 40) | 77, payload(message).len() as u64] {
                    let mut inside = payload(message).to_vec();
                    inside[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
                    let bytes = with_payload(message, &inside);
                    let what = format!("{backend:?}: {value} at {at}");
                    if answered {
                        refused(&what, || client.receive(&bytes, &batch()));
                    } else {
                        refused(&what, || server.run(&bytes));
                    }
                }
            }
        }
        // Random words: inputs of TFHE, which compute garbage; the others are out of range.
        let mut rng = ChaCha20Rng::seed_from_u64(13);
        for (message, answered) in [(&upload, false), (&download, true)] {
            let mut inside = payload(message).to_vec();
            rng.fill(&mut inside[16..20]);
            let end = inside.len();
            rng.fill(&mut inside[end - 8..]);
            let bytes = with_payload(message, &inside);
            let act = AssertUnwindSafe(|| if answered { client.receive(&bytes, &batch()).is_ok() } else { server.run(&bytes).is_ok() });
            let taken = catch_unwind(act).expect("random words panic");
            assert!(backend == Backend::Tfhe || !taken);
        }
        // What the owner of the data gives may not fit either.
        for shape in [vec![], vec![0], vec![1], vec![2, 1], vec![1, 3], vec![1, 2, 1], vec![2, 2]] {
            let data = vec![0.5; shape.iter().product()];
            let odd = Tensors::from([("s".to_owned(), Tensor::new(shape.clone(), data))]);
            let made = catch_unwind(AssertUnwindSafe(|| client.upload(&odd, &states))).unwrap_or_else(|_| panic!("{shape:?} panics"));
            if let Ok(bytes) = made {
                let _ = server.run(&bytes);
            }
        }
        refused("no data", || client.upload(&Tensors::new(), &states));
        refused("no states", || client.upload(&batch(), &Tensors::new()));
        for update in [f64::MAX, -1.0, f64::NAN] {
            let mut batch = batch();
            batch.insert(hecc_plan::UPDATE.to_owned(), Tensor::new(vec![], vec![update]));
            assert!(client.receive(&download, &batch).is_ok());
        }
        assert_eq!(answer(&client, &mut server), clear_answer());
    }
}

/// Changes to how results are sent, and the keys for it.
#[test]
fn odd_parcels_are_refused() {
    let packed = |plan: &Plan| plan.parcels.iter().position(|parcel| parcel.packing.is_some()).expect("a packed parcel");
    let spoils: [fn(&mut Plan, usize); 19] = [
        |p, _| p.parcels.clear(),
        |p, at| p.parcels[at].outputs.clear(),
        |p, at| p.parcels[at].outputs = vec![0, 0],
        |p, at| p.parcels[at].outputs = vec![u32::MAX],
        |p, at| p.parcels.push(p.parcels[at].clone()),
        |p, at| p.parcels[at].log_modulus = 0,
        |p, at| p.parcels[at].log_modulus = 65,
        |p, at| p.parcels[at].log_modulus = u32::MAX,
        // Too coarse for what is decrypted.
        |p, at| p.parcels[at].log_modulus -= 1,
        |p, at| p.parcels[at].packing = Some(hecc_plan::tfhe::parameters::PackingId(u32::MAX)),
        |p, _| p.parameters.packings.clear(),
        |p, _| p.parameters.packings[0].from.0 = u32::MAX,
        |p, _| p.parameters.packings[0].to.dimension = 0,
        |p, _| p.parameters.packings[0].to.dimension = u32::MAX,
        |p, _| p.parameters.packings[0].to.log_n = u32::MAX,
        |p, _| p.parameters.packings[0].to.log_n = 0,
        |p, _| p.parameters.packings[0].decomposition.levels = 0,
        |p, _| p.parameters.packings[0].decomposition.base_log = u32::MAX,
        |p, _| p.parameters.packings[0].decomposition = hecc_plan::tfhe::parameters::Decomposition { base_log: 1, levels: 1 },
    ];
    for (number, spoil) in spoils.iter().enumerate() {
        let mut plan = (**PACKED).clone();
        spoil(&mut plan, packed(&PACKED));
        assert!(check(&plan).is_err(), "case {number}");
    }
}

#[test]
fn spoilt_packing_keys_and_parcels_are_refused() {
    let (client, mut server) = parties(Arc::clone(&PACKED), Backend::Tfhe, 2).expect("parties");
    let batch = Tensors::from([("s".to_owned(), Tensor::new(vec![70, 2], (0..140).map(|i| (f64::from(i) * 0.7).sin()).collect()))]);
    for index in 0..client.keys() {
        let key = client.key(index).expect("a key");
        for (what, bytes) in spoilt(&key) {
            refused(&format!("key {index}, {what},"), || server.accept_key(index, &bytes));
        }
        refused("a key missing", || server.ready());
        server.accept_key(index, &key).expect("the right key");
    }
    server.ready().expect("all keys");
    let upload = client.upload(&batch, &Tensors::new()).expect("an upload");
    let download = server.run(&upload).expect("an answer");
    for (what, bytes) in spoilt(&download) {
        refused(&format!("an answer, {what},"), || client.receive(&bytes, &batch));
    }
    for (at, width) in [(0, 4), (4, 4), (8, 8)] {
        for value in [u64::MAX, 1 << 31, (1 << 62) | (1 << 30), (1 << 40) | 77, payload(&download).len() as u64] {
            let mut inside = payload(&download).to_vec();
            inside[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
            refused(&format!("{value} at {at}"), || client.receive(&with_payload(&download, &inside), &batch));
        }
    }
    // Any bytes of the right number are ciphertexts, of garbage.
    let mut rng = ChaCha20Rng::seed_from_u64(17);
    for _ in 0..4 {
        let mut inside = payload(&download).to_vec();
        rng.fill(&mut inside[16..]);
        let _ = client.receive(&with_payload(&download, &inside), &batch);
    }
    let (clear, mut clear_server) = parties(Arc::clone(&PACKED), Backend::Clear, 1).expect("parties");
    let upload = clear.upload(&batch, &Tensors::new()).expect("an upload");
    let clear_download = clear_server.run(&upload).expect("an answer");
    refused("integers as ciphertexts", || client.receive(&clear_download, &batch));
    assert_eq!(client.receive(&download, &batch).expect("results"), clear.receive(&clear_download, &batch).expect("results"));
}
