//! The plan reader and the checker against damaged, foreign and inconsistent plans; and the compiler's bytes.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hecc_compiler::{Options, compile};
use hecc_plan::check::{self, PlanError};
use hecc_plan::clear::Sources;
use hecc_plan::oracle::{Oracle, pack, unpack};
use hecc_plan::{
    ClearId, ClearOp, InputId, KeyShape, Lanes, Layout, Op, OutputId, PlainId, PlainPattern, Plan, PlanFileError, Runs, Target, Tensor,
    Tensors, Tiled, WireId, Wires, counts, drive, read, write,
};
use proptest::prelude::*;
use serde_json::Value;

const PROGRAMS: [(&str, &str); 7] = [
    ("tiles", include_str!("golden/tiles.rl")),
    ("dqn_polynomial_max", include_str!("golden/dqn_polynomial_max.rl")),
    ("dqn_client_max", include_str!("golden/dqn_client_max.rl")),
    ("regression", include_str!("golden/regression.rl")),
    ("residual", include_str!("golden/residual.rl")),
    ("serve_secret", include_str!("golden/serve_secret.rl")),
    ("serve_public", include_str!("golden/serve_public.rl")),
];

fn compiled(source: &str) -> Plan {
    compile(source, &Options::default()).unwrap_or_else(|e| panic!("{e:?}")).plan
}

static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| PROGRAMS.iter().map(|(_, source)| compiled(source)).collect());
static FILES: LazyLock<Vec<String>> = LazyLock::new(|| PLANS.iter().map(write).collect());

fn plan(name: &str) -> Plan {
    let at = PROGRAMS.iter().position(|(n, _)| *n == name).expect("a program of that name");
    PLANS[at].clone()
}

/// What every command does with a plan that it has read; nothing of it may panic.
fn look_at(plan: &Plan) {
    check::check(plan).expect("the reader accepts what checks");
    assert_eq!(read(write(plan).as_bytes()).expect("what was accepted once is accepted again"), *plan);
    let _ = counts::counts(plan);
    let _ = hecc_plan::print(plan);
    let _ = hecc_plan::fingerprint(plan);
}

/// Runs a plan on data of the shapes that it asks for.
fn use_plan(plan: &Plan) {
    look_at(plan);
    let mut states = hecc_plan::init::initial(plan);
    for (name, shape) in &plan.public {
        states.insert(name.clone(), Tensor::zeros(shape));
    }
    let rows = plan.geometry.batch;
    let mut batch = Tensors::new();
    for node in &plan.client.nodes {
        if let ClearOp::Batch { name, dim } = &node.op {
            batch.insert(name.clone(), Tensor::new(vec![rows, *dim], vec![0.25; rows * dim]));
        }
    }
    run(plan, &batch, &states).unwrap_or_else(|error| panic!("an accepted plan does not run: {error}"));
}

fn run(plan: &Plan, batch: &Tensors, states: &Tensors) -> Result<BTreeMap<Target, Tensor>, Box<dyn std::error::Error>> {
    let (mut known, mut decrypted, mut values) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let wires = Wires::new(plan);
    let mut slots = BTreeMap::new();
    for round in &plan.rounds {
        for id in &round.inputs {
            let input = &plan.inputs[id.0 as usize];
            let wanted: Vec<ClearId> = input.contents.iter().map(|c| c.tensor).collect();
            plan.client.eval(&wanted, Sources { batch, states, decrypted: &decrypted }, &mut known)?;
            slots.insert(id.0, pack(plan, &input.contents, |id| &known[id]));
        }
        let oracle = Oracle::new(plan, &slots, states)?;
        drive(&oracle, plan, round.steps, &wires, 1).unwrap_or_else(|never| match never {});
        for id in &round.outputs {
            let output = &plan.outputs[id.0 as usize];
            let wire = wires.get(output.wire.index()).expect("a wire that leaves is held");
            unpack(plan, &output.contents, &wire, &mut values);
        }
        for (target, value) in &values {
            if let Target::Value { id, .. } = target {
                decrypted.insert(*id, value.clone());
            }
        }
    }
    Ok(values)
}

#[test]
fn plans_survive_the_file() {
    for (plan, file) in PLANS.iter().zip(FILES.iter()) {
        let again = read(file.as_bytes()).expect("a plan is read back");
        assert_eq!(again, *plan);
        assert_eq!(write(&again), *file);
        use_plan(plan);
    }
}

#[test]
fn the_same_source_gives_the_same_bytes() {
    let threads: Vec<_> = (0..3)
        .map(|turn| {
            std::thread::spawn(move || {
                // Each thread compiles in another order.
                let mut files: Vec<(usize, String)> =
                    (0..PROGRAMS.len()).map(|i| (i + turn) % PROGRAMS.len()).map(|i| (i, write(&compiled(PROGRAMS[i].1)))).collect();
                files.sort();
                files
            })
        })
        .collect();
    for thread in threads {
        for (index, file) in thread.join().expect("no panic") {
            assert!(file == FILES[index], "{} compiled to other bytes", PROGRAMS[index].0);
        }
    }
}

#[test]
fn comments_and_spaces_change_the_fingerprint_of_the_source_only() {
    let source = PROGRAMS[0].1;
    // Spans move with the text; a comment at the end moves none.
    let mut other = compiled(&format!("{source}// the end\n"));
    assert_ne!(other.source, PLANS[0].source);
    other.source.clone_from(&PLANS[0].source);
    assert_eq!(other, PLANS[0]);
}

#[test]
fn other_files_are_no_plans() {
    for text in ["", "{}", "null", "[]", "plan", "{\"magic\":\"other\",\"version\":1}", "\u{0}\u{1}", PROGRAMS[0].1] {
        assert!(matches!(read(text.as_bytes()), Err(PlanFileError::NotAPlan)), "{text:?}");
    }
    assert!(matches!(read(&[0xff; 64]), Err(PlanFileError::NotAPlan)));
    let deep = format!("{{\"magic\":{}", "[".repeat(100_000));
    assert!(matches!(read(deep.as_bytes()), Err(PlanFileError::NotAPlan)));
}

#[test]
fn other_versions_are_named() {
    let file = &FILES[0];
    let version = format!("\"version\":{}", hecc_plan::VERSION);
    for other in [0u32, hecc_plan::VERSION + 1, u32::MAX] {
        let text = file.replacen(&version, &format!("\"version\":{other}"), 1);
        let error = read(text.as_bytes()).expect_err("another version");
        assert!(matches!(error, PlanFileError::Version(v) if v == other), "{error}");
        assert_eq!(error.code(), "HE0512");
        assert!(error.to_string().contains("compile the program again"));
    }
}

#[test]
fn truncated_files_are_damaged() {
    for file in FILES.iter() {
        let whole = file.trim_end().len();
        for length in (0..64).chain((64..whole).step_by(whole / 97)).chain(whole - 8..whole) {
            let error = read(&file.as_bytes()[..length]).expect_err("a part of a plan");
            assert!(matches!(error.code(), "HE0511" | "HE0513"), "{length}: {error}");
            if length > 32 {
                assert_eq!(error.code(), "HE0513", "{length}: {error}");
            }
        }
    }
}

/// Numbers in a value, in a fixed order.
fn numbers(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => 0,
        Value::Number(_) => 1,
        Value::Array(parts) => parts.iter().map(numbers).sum(),
        Value::Object(fields) => fields.values().map(numbers).sum(),
    }
}

/// The `n`-th number.
fn number_mut(value: &mut Value, mut n: usize) -> Option<&mut Value> {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => None,
        Value::Number(_) => (n == 0).then_some(value),
        Value::Array(parts) => {
            for part in parts {
                let inside = numbers(part);
                if n < inside {
                    return number_mut(part, n);
                }
                n -= inside;
            }
            None
        }
        Value::Object(fields) => {
            for part in fields.values_mut() {
                let inside = numbers(part);
                if n < inside {
                    return number_mut(part, n);
                }
                n -= inside;
            }
            None
        }
    }
}

/// Walks down by `path`, as far as there is something inside.
fn descend<'a>(mut value: &'a mut Value, path: &[usize]) -> &'a mut Value {
    for &step in path {
        let inside = match &*value {
            Value::Array(parts) => parts.len(),
            Value::Object(fields) => fields.len(),
            _ => 0,
        };
        if inside == 0 {
            break;
        }
        value = match value {
            Value::Array(parts) => &mut parts[step % inside],
            Value::Object(fields) => fields.values_mut().nth(step % inside).expect("counted"),
            _ => unreachable!("has something inside"),
        };
    }
    value
}

#[derive(Clone, Debug)]
enum Mutation {
    Number(usize, Number),
    Remove(Vec<usize>, usize),
    Double(Vec<usize>, usize),
    Swap(Vec<usize>, usize, usize),
    Replace(Vec<usize>, Value),
}

#[derive(Clone, Debug)]
enum Number {
    Add(i64),
    Times(u64),
    Is(u64),
    Minus,
    Real(f64),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let path = || prop::collection::vec(any::<usize>(), 1..8);
    let number = prop_oneof![
        4 => (-3i64..=3).prop_map(Number::Add),
        1 => (0u64..=4).prop_map(Number::Times),
        2 => prop::sample::select(vec![0, 1, 2, 7, 64, 1 << 16, u64::from(u32::MAX), 1 << 40, u64::MAX]).prop_map(Number::Is),
        1 => Just(Number::Minus),
        1 => prop::sample::select(vec![0.5, -1e300, 1e300, 1e-300]).prop_map(Number::Real),
    ];
    let replacement = prop::sample::select(vec![
        Value::Null,
        Value::Bool(true),
        Value::Array(Vec::new()),
        Value::from(0),
        Value::from("x"),
        Value::from("q.0.weight"),
        serde_json::json!({}),
    ]);
    prop_oneof![
        6 => (any::<usize>(), number).prop_map(|(n, number)| Mutation::Number(n, number)),
        1 => (path(), any::<usize>()).prop_map(|(path, at)| Mutation::Remove(path, at)),
        1 => (path(), any::<usize>()).prop_map(|(path, at)| Mutation::Double(path, at)),
        1 => (path(), any::<usize>(), any::<usize>()).prop_map(|(path, a, b)| Mutation::Swap(path, a, b)),
        1 => (path(), replacement).prop_map(|(path, value)| Mutation::Replace(path, value)),
    ]
}

fn apply(value: &mut Value, mutation: &Mutation) {
    match mutation {
        Mutation::Number(n, number) => {
            let count = numbers(value);
            let Some(place) = number_mut(value, n % count.max(1)) else { return };
            let old = place.clone();
            *place = match (number, old.as_i64(), old.as_f64()) {
                (Number::Add(by), Some(old), _) => Value::from(old.wrapping_add(*by)),
                (Number::Times(by), Some(old), _) => Value::from(old.wrapping_mul(*by as i64)),
                (Number::Add(by), None, Some(old)) => Value::from(old + *by as f64),
                (Number::Times(by), None, Some(old)) => Value::from(old * *by as f64),
                (Number::Minus, _, Some(old)) => Value::from(-old),
                (Number::Is(n), ..) => Value::from(*n),
                (Number::Real(x), ..) => Value::from(*x),
                (_, _, None) => old,
            };
        }
        Mutation::Remove(path, at) => {
            if let Value::Array(parts) = descend(value, path)
                && !parts.is_empty()
            {
                parts.remove(at % parts.len());
            }
        }
        Mutation::Double(path, at) => {
            if let Value::Array(parts) = descend(value, path)
                && !parts.is_empty()
            {
                let part = parts[at % parts.len()].clone();
                parts.push(part);
            }
        }
        Mutation::Swap(path, a, b) => {
            if let Value::Array(parts) = descend(value, path)
                && !parts.is_empty()
            {
                let length = parts.len();
                parts.swap(a % length, b % length);
            }
        }
        Mutation::Replace(path, with) => *descend(value, path) = with.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn flipped_bytes_never_panic(program in 0..PROGRAMS.len(), flips in prop::collection::vec((any::<usize>(), 0u8..8), 1..4)) {
        let mut bytes = FILES[program].clone().into_bytes();
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        if let Ok(plan) = read(&bytes) {
            look_at(&plan);
        }
    }

    #[test]
    fn mutated_plans_never_panic(program in 0..PROGRAMS.len(), mutations in prop::collection::vec(mutation(), 1..4)) {
        if let Ok(plan) = read(mutated(program, &["plan"], &mutations).as_bytes()) {
            look_at(&plan);
        }
    }

    #[test]
    fn mutated_server_parts_are_refused_or_run(
        program in 0..PROGRAMS.len(),
        part in prop::sample::select(vec!["ckks", "plains", "matrices", "steps", "steps", "rounds", "keys"]),
        mutations in prop::collection::vec(mutation(), 1..4),
    ) {
        if let Ok(plan) = read(mutated(program, &["plan", part], &mutations).as_bytes()) {
            use_plan(&plan);
        }
    }

    #[test]
    fn mutated_plans_are_refused_or_run(program in 0..PROGRAMS.len(), mutations in prop::collection::vec(mutation(), 1..4)) {
        if let Ok(plan) = read(mutated(program, &["plan"], &mutations).as_bytes()) {
            use_plan(&plan);
        }
    }
}

/// The file of a program with changes inside the part at `path`.
fn mutated(program: usize, path: &[&str], mutations: &[Mutation]) -> String {
    let mut value: Value = serde_json::from_str(&FILES[program]).expect("a plan is JSON");
    let part = path.iter().fold(&mut value, |value, key| value.get_mut(*key).expect("a plan has this part"));
    for mutation in mutations {
        apply(part, mutation);
    }
    value.to_string()
}

/// The first error of a plan that is refused.
fn refused(plan: &Plan) -> PlanError {
    let errors = check::check(plan).expect_err("the plan is inconsistent");
    let error = errors.into_iter().next().expect("a refusal has an error");
    let file = read(write(plan).as_bytes()).expect_err("the reader refuses it too");
    assert_eq!(file.code(), error.code());
    assert!(!error.to_string().is_empty());
    error
}

fn changed(name: &str, change: impl FnOnce(&mut Plan)) -> PlanError {
    let mut plan = plan(name);
    change(&mut plan);
    refused(&plan)
}

fn first(plan: &Plan, wanted: impl Fn(&Op) -> bool) -> usize {
    plan.steps.iter().position(|s| wanted(&s.op)).expect("the plan has such a step")
}

#[test]
fn parameters_out_of_range() {
    type Change = fn(&mut Plan);
    let changes: [Change; 15] = [
        |p| p.ckks.security_bits = 0,
        |p| p.ckks.security_bits = 100,
        |p| p.ckks.log_n = 0,
        |p| p.ckks.log_n = 40,
        |p| p.ckks.base2k = 0,
        |p| p.ckks.base2k = 60,
        |p| p.ckks.scale = 60,
        |p| p.ckks.max_k = 5000,
        |p| p.ckks.log_modulus += 1,
        |p| p.geometry.width *= 2,
        |p| p.geometry.lanes = 0,
        |p| (p.geometry.width, p.geometry.lanes) = (1 << 40, 1 << 40),
        |p| p.geometry.batch = 0,
        |p| p.keys.relinearisation[0].digit = 0,
        |p| p.keys.rotations[0].shape.dnum = u32::MAX,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let error = changed("dqn_polynomial_max", change);
        assert_eq!(error.code(), "HE0501", "{number}: {error}");
    }
}

#[test]
fn insecure_plans() {
    let error = changed("dqn_polynomial_max", |p| p.ckks.security_bits = 256);
    assert!(matches!(error, PlanError::Insecure { bits: 256, .. }), "{error}");
    assert_eq!(error.code(), "HE0502");
    let test = compile(PROGRAMS[0].1, &Options { insecure_log_n: Some(10), ..Options::default() }).expect("it compiles").plan;
    assert_eq!(refused(&test).code(), "HE0501");
    check::check_insecure(&test).expect("tests may use it");
}

#[test]
fn dangling_names() {
    type Change = fn(&mut Plan);
    let changes: [(&str, Change); 9] = [
        ("dqn_polynomial_max", |p| {
            let at = first(p, |op| matches!(op, Op::Add(..)));
            p.steps[at].op = Op::Add(WireId(at as u32), WireId(0));
        }),
        ("dqn_polynomial_max", |p| p.outputs[0].wire = WireId(u32::MAX)),
        ("dqn_polynomial_max", |p| p.steps[0].op = Op::Input(InputId(9999))),
        ("dqn_polynomial_max", |p| p.inputs[0].contents[0].tensor = ClearId(9999)),
        ("dqn_polynomial_max", |p| {
            let last = ClearId(p.client.nodes.len() as u32);
            p.client.nodes[0].op = ClearOp::SumElements(last);
        }),
        ("dqn_polynomial_max", |p| p.training.as_mut().expect("it trains").act = ClearId(9999)),
        ("dqn_client_max", |p| p.training.as_mut().expect("it trains").env.recode.as_mut().expect("it recodes").1 = ClearId(9999)),
        ("serve_public", |p| p.matrices.clear()),
        ("serve_public", |p| {
            let at = first(p, |op| matches!(op, Op::AddPlain(..)));
            p.steps[at].op = Op::AddPlain(WireId(0), PlainId(9999));
        }),
    ];
    for (number, (name, change)) in changes.into_iter().enumerate() {
        let error = changed(name, change);
        assert_eq!(error.code(), "HE0503", "{number}: {error}");
    }
}

#[test]
fn steps_that_cannot_run() {
    type Change = fn(&mut Plan);
    let changes: [(&str, Change); 9] = [
        ("dqn_polynomial_max", |p| {
            let at = first(p, |op| matches!(op, Op::Dot(_)));
            p.steps[at].wire.k += p.ckks.scale;
        }),
        ("dqn_polynomial_max", |p| {
            let at = first(p, |op| matches!(op, Op::Dot(_)));
            p.steps[at].op = Op::Dot(Vec::new());
        }),
        ("dqn_polynomial_max", |p| {
            let at = first(p, |op| matches!(op, Op::Add(..)));
            p.steps[at].wire.scale += 1;
        }),
        ("dqn_polynomial_max", |p| p.steps[0].wire.k -= 1),
        ("dqn_polynomial_max", |p| p.steps[0].wire.k = u32::MAX),
        ("dqn_polynomial_max", |p| {
            let at = first(p, |op| matches!(op, Op::Rotate { .. }));
            let Op::Rotate { a, .. } = p.steps[at].op else { unreachable!("found above") };
            p.steps[at].op = Op::Rotate { a, by: 0 };
        }),
        ("dqn_polynomial_max", |p| {
            let at = first(p, |op| matches!(op, Op::Rotate { .. }));
            let Op::Rotate { a, .. } = p.steps[at].op else { unreachable!("found above") };
            p.steps[at].op = Op::Rotate { a, by: i64::MIN };
        }),
        ("dqn_polynomial_max", |p| {
            let at = first(p, |op| matches!(op, Op::Add(..)));
            p.steps[at].op = Op::MulConst { a: WireId(0), c: 0.5, bits: u32::MAX };
        }),
        ("dqn_polynomial_max", |p| {
            let at = first(p, |op| matches!(op, Op::Add(..)));
            p.steps[at].op = Op::Halve { a: WireId(0), bits: u32::MAX };
        }),
    ];
    for (number, (name, change)) in changes.into_iter().enumerate() {
        let error = changed(name, change);
        assert_eq!(error.code(), "HE0504", "{number}: {error}");
    }
}

#[test]
fn missing_keys() {
    for error in [
        changed("dqn_polynomial_max", one_narrow_key),
        changed("dqn_polynomial_max", |p| p.keys.rotations.truncate(1)),
        changed("serve_public", |p| p.keys.rotations.iter_mut().for_each(|key| key.by += 1)),
    ] {
        assert_eq!(error.code(), "HE0505", "{error}");
    }
}

/// Leaves one key of the same modulus that is too narrow for every product.
fn one_narrow_key(plan: &mut Plan) {
    let widest = plan.keys.relinearisation.iter().find(|key| key.log_modulus() == plan.ckks.log_modulus).copied();
    plan.keys.relinearisation = widest.into_iter().map(|key| KeyShape { k: 1, ..key }).collect();
}

#[test]
fn tiles_beyond_their_slots() {
    fn tiled(plan: &mut Plan, change: impl Fn(&mut Tiled)) {
        let Layout::Tiled(tiled) = &mut plan.carried[0].contents[0].layout else { panic!("the program is packed in tiles") };
        change(tiled);
    }
    type Change = fn(&mut Plan);
    let changes: [Change; 6] = [
        |p| tiled(p, |t| t.start = 1 << 20),
        |p| tiled(p, |t| t.strides = [usize::MAX, 1]),
        |p| tiled(p, |t| t.copies[0] = (usize::MAX, 0)),
        |p| tiled(p, |t| t.elements = (0, usize::MAX)),
        |p| tiled(p, |t| t.group = Some(9)),
        // What the client sends is of samples.
        |p| p.inputs[0].contents[0].layout = p.carried[0].contents[0].layout,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let error = changed("tiles", change);
        assert_eq!(error.code(), "HE0506", "{number}: {error}");
    }
}

#[test]
fn layouts_beyond_the_grid() {
    type Change = fn(&mut Plan);
    fn vector(period: usize, lanes: Lanes, runs: Runs) -> Layout {
        Layout::Vector { period, lanes, runs }
    }
    fn diagonal(diagonal: usize, runs: Runs) -> Layout {
        Layout::Diagonal { diagonal, shift: 0, rows: 2, cols: 4, lanes: Lanes::All, runs: [Runs::DENSE, runs] }
    }
    let changes: [(&str, Change); 15] = [
        ("dqn_polynomial_max", |p| p.inputs[0].contents[0].layout = Layout::Samples { group: 0, period: p.geometry.width * 2 }),
        ("dqn_polynomial_max", |p| p.inputs[0].contents[0].layout = Layout::Samples { group: 9, period: 1 }),
        ("dqn_polynomial_max", |p| p.inputs[0].contents[0].layout = vector(0, Lanes::All, Runs::DENSE)),
        ("dqn_polynomial_max", |p| p.outputs[0].contents[0].layout = vector(1, Lanes::One(1 << 20), Runs::DENSE)),
        ("dqn_polynomial_max", |p| p.outputs[0].contents[0].layout = diagonal(2, Runs::DENSE)),
        ("dqn_polynomial_max", |p| p.outputs[0].contents[0].layout = diagonal(0, Runs { run: 1, pitch: 0 })),
        ("dqn_polynomial_max", |p| p.outputs[0].contents[0].layout = diagonal(0, Runs { run: 3, pitch: 2 })),
        ("dqn_polynomial_max", |p| p.inputs[0].contents[0].layout = vector(4, Lanes::All, Runs { run: 0, pitch: 2 })),
        ("dqn_polynomial_max", |p| p.inputs[0].contents[0].layout = vector(4, Lanes::All, Runs { run: 1, pitch: usize::MAX })),
        ("dqn_polynomial_max", |p| p.outputs[0].contents[0].tensor = Target::State("nothing".to_owned())),
        ("dqn_polynomial_max", |p| p.plains[0].scale = 60),
        ("dqn_polynomial_max", |p| p.states[0].shape = vec![usize::MAX, 2]),
        ("dqn_polynomial_max", |p| p.states[0].shape = vec![0, usize::MAX, usize::MAX]),
        ("dqn_polynomial_max", |p| p.plains[0].pattern = PlainPattern::Neurons { values: Vec::new() }),
        ("serve_public", |p| p.matrices[0].baby = 0),
    ];
    for (number, (name, change)) in changes.into_iter().enumerate() {
        let error = changed(name, change);
        assert_eq!(error.code(), "HE0506", "{number}: {error}");
    }
}

#[test]
fn rounds_that_are_not_whole() {
    type Change = fn(&mut Plan);
    let changes: [Change; 7] = [
        |p| p.rounds.clear(),
        |p| p.rounds[0].steps.0 = 1,
        |p| p.rounds[1].steps.1 += 1,
        |p| p.rounds[0].inputs.truncate(1),
        |p| p.rounds[1].inputs.push(InputId(0)),
        |p| p.rounds[0].outputs.push(OutputId(u32::MAX)),
        |p| p.rounds.swap(0, 1),
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let error = changed("dqn_client_max", change);
        assert!(matches!(error, PlanError::Rounds), "{number}: {error}");
        assert_eq!(error.code(), "HE0507");
    }
}

#[test]
fn inconsistent_files_keep_the_code_of_their_first_error() {
    let mut plan = plan("dqn_client_max");
    plan.rounds.clear();
    let error = read(write(&plan).as_bytes()).expect_err("it is inconsistent");
    assert_eq!(error.code(), "HE0507");
    assert_eq!(PlanFileError::Inconsistent(Vec::new()).code(), "HE0514");
}
