//! Functions on exact integers: what the oracle gives is the function of the integers that were encrypted, rounded once.

use std::collections::BTreeMap;

use hecc_compiler::schemes::tfhe::{self, Given};
use hecc_plan::clear::Sources;
use hecc_plan::tfhe::{Op, Plan, oracle, quantise};
use hecc_plan::{Tensor, Tensors};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

fn program(serve: &str, quantize: &str) -> String {
    format!(
        "env \"Other-v0\" {{ observe s: [4] in [-1, 1], [-1, 1], [-1, 1], [-1, 1] observe t: [1] in [-1, 1] act a: one of 2 reward r in [-1, 1] }}\n\
         net q(s) -> [2] {{ dense 2 }}\nserve {serve} {{ batch = 1 }}\nsecure tfhe {{ secret = [s, t, a] public = [q] quantize = {quantize} }}"
    )
}

fn compiled(source: &str) -> Plan {
    let program = hecc_compiler::front::check(source).unwrap_or_else(|errors| panic!("{source}\n{errors:?}"));
    let plan = tfhe::compile(&program, source, &Given::default()).unwrap_or_else(|errors| panic!("{source}\n{errors:?}")).plan;
    hecc_plan::tfhe::check::check(&plan).expect("a plan checks");
    plan
}

struct Random(ChaCha20Rng);

impl Random {
    fn unit(&mut self) -> f64 {
        self.0.next_u64() as f64 / u64::MAX as f64 * 2.0 - 1.0
    }
}

/// What the oracle makes of an observation and an action.
fn evaluated(plan: &Plan, s: &[f64], a: usize) -> Vec<f64> {
    let one_hot = (0..2).map(|i| f64::from(u8::from(i == a))).collect();
    let batch = Tensors::from([
        ("s".to_owned(), Tensor::new(vec![1, 4], s[..4].to_vec())),
        ("t".to_owned(), Tensor::new(vec![1, 1], s[4..].to_vec())),
        ("a".to_owned(), Tensor::new(vec![1, 2], one_hot)),
    ]);
    let wanted: Vec<_> = plan.inputs.iter().map(|input| input.tensor).collect();
    let (decrypted, states, mut known) = (BTreeMap::new(), Tensors::new(), BTreeMap::new());
    plan.client.eval(&wanted, Sources { batch: &batch, states: &states, decrypted: &decrypted }, &mut known).expect("arrays that fit");
    let mut integers = BTreeMap::new();
    for step in &plan.steps {
        if let Op::Input(id) = step.op {
            let input = &plan.inputs[id.0 as usize];
            integers.insert(id.0, quantise(&known[&input.tensor].data, input.scale, step.wire.low, step.wire.high));
        }
    }
    oracle::run(plan, &integers)[0].iter().map(|&v| v as f64 * plan.outputs[0].scale).collect()
}

/// Programs and what they are, on values of `bits` bits that are all multiples of one step.
type Case = (&'static str, fn(&[f64], usize) -> Vec<f64>);

fn first_largest(x: &[f64]) -> usize {
    (0..x.len()).fold(0, |best, i| if x[i] > x[best] { i } else { best })
}

/// Those that make no value that needs more bits.
const EXACT: [Case; 11] = [
    ("relu(s)", |s, _| s[..4].iter().map(|v| v.max(0.0)).collect()),
    ("abs(s)", |s, _| s[..4].iter().map(|v| v.abs()).collect()),
    ("max(s[0], s[1])", |s, _| vec![s[0].max(s[1])]),
    ("min(s[0], s[1])", |s, _| vec![s[0].min(s[1])]),
    ("max(s)", |s, _| vec![s[..4].iter().copied().fold(f64::NEG_INFINITY, f64::max)]),
    ("min(s)", |s, _| vec![s[..4].iter().copied().fold(f64::INFINITY, f64::min)]),
    ("argmax(s)", |s, _| (0..4).map(|i| f64::from(u8::from(i == first_largest(&s[..4])))).collect()),
    ("select(a[0], s[0], s[1])", |s, a| vec![if a == 0 { s[0] } else { s[1] }]),
    ("select(a[1], s[2], relu(s[3]))", |s, a| vec![if a == 1 { s[2] } else { s[3].max(0.0) }]),
    // Comparisons: the arg-max of two.
    ("argmax(concat(s[0], s[1]))", |s, _| if s[0] >= s[1] { vec![1.0, 0.0] } else { vec![0.0, 1.0] }),
    ("select(argmax(concat(s[0], s[1]))[0], s[2], s[3])", |s, _| vec![if s[0] >= s[1] { s[2] } else { s[3] }]),
];

/// Those whose result is on a grid of its own, to which a table rounds it; a clip's middle is rounded by itself.
const ROUNDED: [Case; 4] = [
    ("clip(s, -0.5, 0.5)", |s, _| s[..4].iter().map(|v| v.clamp(-0.5, 0.5)).collect()),
    ("clip(s, -0.5, 0.25)", |s, _| s[..4].iter().map(|v| v.clamp(-0.5, 0.25)).collect()),
    ("relu(0.3 * s)", |s, _| s[..4].iter().map(|v| (0.3 * v).max(0.0)).collect()),
    ("tanh(s)", |s, _| s[..4].iter().map(|v| v.tanh()).collect()),
];

/// The largest difference of what the oracle gives from what a program is, in steps of the input, and the output's grid in such.
fn worst(quantize: &str, (serve, function): Case, random: &mut Random) -> (f64, f64) {
    let bits: i32 = quantize[1..2].parse().expect("bits");
    let step = 1.0 / (2f64.powi(bits - 1) - 1.0);
    let plan = compiled(&program(serve, quantize));
    let mut worst = 0.0f64;
    for _ in 0..300 {
        let s: Vec<f64> = (0..5).map(|_| (random.unit() / step).round() * step).collect();
        let a = usize::from(random.unit() > 0.0);
        let (got, want) = (evaluated(&plan, &s, a), function(&s, a));
        assert_eq!(got.len(), want.len(), "{serve}");
        worst = got.iter().zip(&want).fold(worst, |worst, (got, want)| worst.max((got - want).abs() / step));
    }
    println!("{quantize} {serve}: {} bootstraps, off by {worst:.3} steps at most", plan.bootstraps());
    (worst, plan.outputs[0].scale / step)
}

#[test]
fn functions_of_encrypted_integers_are_exact() {
    let mut random = Random(ChaCha20Rng::seed_from_u64(21));
    for quantize in ["w3 a3", "w4 a4", "w5 a5"] {
        for case in EXACT {
            let (off, _) = worst(quantize, case, &mut random);
            assert!(off < 1e-9, "{quantize} {}: off by {off} steps", case.0);
        }
        for case in ROUNDED {
            let (off, grid) = worst(quantize, case, &mut random);
            let roundings = if case.0.contains("0.25") { 2.0 } else { 1.0 };
            assert!(off <= 0.5 * roundings * grid + 1e-9, "{quantize} {}: off by {off} steps, on a grid of {grid}", case.0);
        }
    }
}

/// What the oracle makes of two samples under weights.
fn products(plan: &Plan, s: &[f64], states: &Tensors) -> Vec<Vec<i64>> {
    let batch = Tensors::from([("s".to_owned(), Tensor::new(vec![2, 3], s.to_vec()))]);
    let wanted: Vec<_> = plan.inputs.iter().map(|input| input.tensor).collect();
    let (decrypted, mut known) = (BTreeMap::new(), BTreeMap::new());
    plan.client.eval(&wanted, Sources { batch: &batch, states, decrypted: &decrypted }, &mut known).expect("arrays that fit");
    let mut integers = BTreeMap::new();
    for step in &plan.steps {
        if let Op::Input(id) = step.op {
            let input = &plan.inputs[id.0 as usize];
            integers.insert(id.0, quantise(&known[&input.tensor].data, input.scale, step.wire.low, step.wire.high));
        }
    }
    oracle::run(plan, &integers)
}

#[test]
fn wide_products_are_made_of_halves_where_that_is_cheaper() {
    let source = |quantize: &str| {
        format!(
            "env \"Other-v0\" {{ observe s: [3] in [-1, 1], [-1, 1], [-1, 1] act a: one of 2 reward r in [-1, 1] }}\n\
             net q(s) -> [2] {{ dense 2 }}\nserve q(s) {{ batch = 2 }}\nsecure tfhe {{ quantize = {quantize} }}"
        )
    };
    let mut random = Random(ChaCha20Rng::seed_from_u64(8));
    // Of six bits both do; tables of nine bits, which whole products of eight take, have no parameters.
    for (quantize, least, halves) in [("w4 a4", 1, Some(false)), ("w6 a6", 2, None), ("w8 a8", 1, Some(true)), ("w8 a5", 1, Some(true))] {
        let source = source(quantize);
        let program = hecc_compiler::front::check(&source).expect("checks");
        let plans = tfhe::ways(&program, &source, &Given::default()).unwrap_or_else(|errors| panic!("{quantize}: {errors:?}"));
        let chosen = plans[0].decisions.iter().find(|d| d.subject.starts_with("how")).map_or("", |d| &d.choice);
        println!("{quantize}: {} ways; {chosen}", plans.len());
        for plan in &plans {
            hecc_plan::tfhe::check::check(plan).expect("a plan checks");
            assert!(plan.fewest_bootstraps <= Some(plan.bootstraps()));
        }
        assert!(plans.len() >= least, "{quantize}: {} ways", plans.len());
        let dropped = |plan: &Plan| plan.steps.iter().any(|step| matches!(step.op, Op::Floor { .. }));
        assert!(halves.is_none_or(|halves| dropped(&plans[0]) == halves), "{quantize}: {chosen}");
        let seconds = |plan: &Plan| hecc_plan::tfhe::cost::predict(plan, hecc_plan::tfhe::prices::Prices::built_in(), 0).seconds;
        assert!(plans.iter().all(|plan| seconds(&plans[0]) <= seconds(plan)), "the cheapest is taken");
        // All ways make the same integers.
        let mut tensor = |shape: &[usize]| {
            let count = shape.iter().product();
            Tensor::new(shape.to_vec(), (0..count).map(|_| random.unit()).collect())
        };
        for _ in 0..40 {
            let states = Tensors::from([("q.0.weight".to_owned(), tensor(&[2, 3])), ("q.0.bias".to_owned(), tensor(&[2]))]);
            let s = tensor(&[2, 3]).data;
            let of: Vec<_> = plans.iter().map(|plan| products(plan, &s, &states)).collect();
            assert!(of.iter().all(|made| *made == of[0]), "{quantize}");
        }
    }
}
