//! Circuits of integers: plans check, and the oracle agrees with the arithmetic that the integers stand for.

use std::collections::BTreeMap;

use hecc_compiler::schemes::tfhe::{self, Given};
use hecc_compiler::tensor::eval;
use hecc_compiler::tensor::graph::{Data, Output};
use hecc_plan::clear::Sources;
use hecc_plan::tfhe::{Op, Plan, oracle, quantise};
use hecc_plan::{Target, Tensor, Tensors, init};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

const ENV: &str = r#"env "Other-v0" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
}
"#;
const OBSERVED: &str = "[4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]";
const RANGES: [f64; 4] = [4.8, 4.0, 0.42, 4.0];

fn compiled(source: &str, given: &Given) -> Plan {
    let program = hecc_compiler::front::check(source).unwrap_or_else(|errors| panic!("{errors:?}"));
    tfhe::compile(&program, source, given).unwrap_or_else(|errors| panic!("{errors:?}")).plan
}

/// What the client sends, and what the oracle makes of it, as real numbers by name.
fn evaluated(plan: &Plan, batch: &Tensors, states: &Tensors) -> Tensors {
    let wanted: Vec<_> = plan.inputs.iter().map(|input| input.tensor).collect();
    let (decrypted, mut known) = (BTreeMap::new(), BTreeMap::new());
    plan.client.eval(&wanted, Sources { batch, states, decrypted: &decrypted }, &mut known).expect("arrays that fit");
    let mut integers = BTreeMap::new();
    for step in &plan.steps {
        if let Op::Input(id) = step.op {
            let input = &plan.inputs[id.0 as usize];
            integers.insert(id.0, quantise(&known[&input.tensor].data, input.scale, step.wire.low, step.wire.high));
        }
    }
    let named = |target: &Target| match target {
        Target::State(name) | Target::Result { name, .. } | Target::Rated { name, .. } => name.clone(),
        Target::Value { id, .. } => id.to_string(),
    };
    let outputs = plan.outputs.iter().zip(oracle::run(plan, &integers));
    outputs.map(|(o, v)| (named(&o.target), Tensor::new(o.shape.clone(), v.iter().map(|&v| v as f64 * o.scale).collect()))).collect()
}

struct Random(ChaCha20Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    /// Uniform in [-1, 1].
    fn unit(&mut self) -> f64 {
        self.0.next_u64() as f64 / u64::MAX as f64 * 2.0 - 1.0
    }

    fn tensor(&mut self, shape: &[usize], bound: f64) -> Tensor {
        Tensor::new(shape.to_vec(), (0..shape.iter().product::<usize>()).map(|_| (self.unit() * bound) as f32 as f64).collect())
    }

    /// Weights and biases of a network with those widths.
    fn network(&mut self, widths: &[usize]) -> Tensors {
        let mut weights = Tensors::new();
        for (layer, pair) in widths.windows(2).enumerate() {
            let bound = (3.0 / pair[0] as f64).sqrt();
            weights.insert(format!("q.{layer}.weight"), self.tensor(&[pair[1], pair[0]], bound));
            weights.insert(format!("q.{layer}.bias"), self.tensor(&[pair[1]], 0.3));
        }
        weights
    }

    fn observation(&mut self) -> Tensor {
        Tensor::new(vec![1, 4], RANGES.iter().map(|r| r * self.unit()).collect())
    }
}

/// The network in double precision.
fn forward(weights: &Tensors, s: &Tensor, f: fn(f64) -> f64) -> Vec<f64> {
    let mut x: Vec<f64> = s.data.iter().zip(RANGES).map(|(v, r)| v / r).collect();
    let layers = weights.len() / 2;
    for layer in 0..layers {
        let (w, b) = (&weights[&format!("q.{layer}.weight")], &weights[&format!("q.{layer}.bias")]);
        let y =
            b.data.iter().enumerate().map(|(o, b)| b + w.data[o * x.len()..][..x.len()].iter().zip(&x).map(|(w, x)| w * x).sum::<f64>());
        x = y.map(|v| if layer + 1 < layers { f(v) } else { v }).collect();
    }
    x
}

#[test]
fn policies_act_as_their_networks_do() {
    for (seed, (layers, quantize, least)) in [
        ("dense 16 relu dense 2", "w4 a4", 0.75),
        ("dense 8 tanh dense 2", "w4 a5", 0.75),
        ("dense 8 relu dense 6 relu dense 2", "w5 a5", 0.75),
        ("dense 8 silu dense 3", "w5 a5", 0.75),
        ("dense 5", "w4 a4", 0.75),
    ]
    .into_iter()
    .enumerate()
    {
        let last: usize = layers.rsplit(' ').next().and_then(|n| n.parse().ok()).expect("a last layer");
        let source = format!(
            "{}net q(s) -> [{last}] {{ {layers} }}\nserve argmax(q(s)) {{ batch = 1 }}\nsecure tfhe {{ secret = [s] public = [q] quantize = {quantize} }}",
            ENV.replace("one of 2", &format!("one of {last}"))
        );
        let mut random = Random::new(seed as u64);
        let mut widths = vec![4];
        widths.extend(
            layers.split("dense ").skip(1).map(|part| part.split(' ').next().and_then(|n| n.parse::<usize>().ok()).expect("a width")),
        );
        let weights = random.network(&widths);
        let plan = compiled(&source, &Given { weights: weights.clone(), sample: Tensors::new() });
        let f: fn(f64) -> f64 = match () {
            () if layers.contains("tanh") => f64::tanh,
            () if layers.contains("silu") => |x| x / (1.0 + (-x).exp()),
            () => |x| x.max(0.0),
        };
        let (mut same, total) = (0, 300);
        for _ in 0..total {
            let s = random.observation();
            let q = forward(&weights, &s, f);
            let batch = Tensors::from([("s".to_owned(), s)]);
            let chosen = evaluated(&plan, &batch, &Tensors::new())["output"].data.clone();
            assert_eq!(chosen.iter().sum::<f64>(), 1.0, "one action");
            let best = (0..q.len()).max_by(|&a, &b| q[a].total_cmp(&q[b])).expect("actions");
            same += usize::from(chosen[best] == 1.0);
        }
        assert!(same as f64 >= least * total as f64, "{layers} {quantize}: {same} of {total}");
        println!("{layers} {quantize}: {same} of {total}, {} bootstraps", plan.bootstraps());
    }
}

#[test]
fn values_of_a_public_network_are_close() {
    let source = format!(
        "{ENV}net q(s) -> [2] {{ dense 12 relu dense 2 }}\nserve q(s) {{ batch = 3 }}\nsecure tfhe {{ secret = [s] public = [q] quantize = w6 a6 }}"
    );
    let mut random = Random::new(7);
    let weights = random.network(&[4, 12, 2]);
    let plan = compiled(&source, &Given { weights: weights.clone(), sample: Tensors::new() });
    for _ in 0..50 {
        let rows: Vec<Tensor> = (0..3).map(|_| random.observation()).collect();
        let s = Tensor::new(vec![3, 4], rows.iter().flat_map(|r| r.data.clone()).collect());
        let out = &evaluated(&plan, &Tensors::from([("s".to_owned(), s)]), &Tensors::new())["output"];
        for (row, got) in rows.iter().zip(out.data.chunks(2)) {
            for (want, got) in forward(&weights, row, |x| x.max(0.0)).iter().zip(got) {
                assert!((want - got).abs() < 0.12, "{want} against {got}");
            }
        }
    }
}

#[test]
fn secret_weights_are_multiplied_exactly() {
    let source = format!("{ENV}net q(s) -> [3] {{ dense 3 }}\nserve q(s) {{ batch = 2 }}\nsecure tfhe {{ quantize = w4 a4 }}");
    let mut random = Random::new(3);
    let weights = random.network(&[4, 3]);
    let plan = compiled(&source, &Given { weights: weights.clone(), sample: Tensors::new() });
    let grid = |label: &str| {
        plan.inputs.iter().find(|i| i.label == label).map(|i| i.scale).unwrap_or_else(|| panic!("{label}: {:?}", plan.inputs))
    };
    let (s_scale, w_scale) = (grid("observation 0"), grid("q.0.weight"));
    for _ in 0..50 {
        let rows: Vec<Tensor> = (0..2).map(|_| random.observation()).collect();
        let s = Tensor::new(vec![2, 4], rows.iter().flat_map(|r| r.data.clone()).collect());
        let out = &evaluated(&plan, &Tensors::from([("s".to_owned(), s)]), &weights)["output"];
        let w = quantise(&weights["q.0.weight"].data, w_scale, -7, 7);
        for (row, got) in rows.iter().zip(out.data.chunks(3)) {
            let x = quantise(&row.data.iter().zip(RANGES).map(|(v, r)| v / r).collect::<Vec<f64>>(), s_scale, -7, 7);
            for (o, got) in got.iter().enumerate() {
                let product: i64 = (0..4).map(|i| w[o * 4 + i] * x[i]).sum();
                let bias = (weights["q.0.bias"].data[o] / (s_scale * w_scale)).round();
                assert!((got / (s_scale * w_scale) - product as f64 - bias).abs() < 1e-6, "{got} against {product} + {bias}");
            }
        }
    }
}

#[test]
fn a_bootstrap_each_for_what_needs_one() {
    let source = format!(
        "{ENV}net q(s) -> [2] {{ dense 16 relu dense 2 }}\nserve argmax(q(s)) {{ batch = 1 }}\nsecure tfhe {{ secret = [s] public = [q] quantize = w4 a4 }}"
    );
    let plan = compiled(&source, &Given { weights: Random::new(0).network(&[4, 16, 2]), sample: Tensors::new() });
    let count = |f: fn(&Op) -> bool| plan.steps.iter().filter(|s| f(&s.op)).map(|s| s.wire.len).sum::<u32>();
    assert!(count(|op| matches!(op, Op::Table { .. })) <= 16, "a table for each hidden neuron");
    assert_eq!(count(|op| matches!(op, Op::Sign { .. })), 1, "a comparison for the arg-max of two");
}

#[test]
fn an_update_of_dqn_goes_where_the_exact_one_goes() {
    let cosines: Vec<f64> = ["w4 a4", "w5 a5"].iter().map(|bits| alike(ENV, "dense 8 relu dense 2", &RANGES, bits)).collect();
    // The more bits the nearer.
    assert!(cosines[0] > 0.6 && cosines[1] > 0.8, "{cosines:?}");
}

#[test]
fn an_update_on_images_goes_where_the_exact_one_goes() {
    let cosine = alike(&ENV.replace(OBSERVED, "[1, 3, 3] in [-1, 1]"), "conv 2 kernel 2 relu flatten dense 2", &[1.0; 9], "w5 a5");
    assert!(cosine > 0.8, "{cosine}");
}

#[test]
fn images_are_convolved() {
    let env = ENV.replace(OBSERVED, "[2, 4, 5] in [-1, 1]");
    let net = "net q(s) -> [3] { conv 3 kernel 2 stride 2 relu flatten dense 3 }";
    for (public, bits, largest) in [("public = [q]", "w6 a6", 0.15), ("", "w4 a4", 0.6)] {
        let source = format!("{env}{net}\nserve q(s) {{ batch = 2 }}\nsecure tfhe {{ secret = [s] {public} quantize = {bits} }}");
        let program = hecc_compiler::front::check(&source).expect("checks");
        let mut random = Random::new(5);
        let shapes = [("0.weight", vec![3, 2, 2, 2]), ("0.bias", vec![3]), ("1.weight", vec![3, 12]), ("1.bias", vec![3])];
        let weights: Tensors = shapes.iter().map(|(name, shape)| (format!("q.{name}"), random.tensor(shape, 0.5))).collect();
        let given = Given { weights: weights.clone(), sample: Tensors::new() };
        let tfhe::Compiled { plan, graph } = tfhe::compile(&program, &source, &given).expect("compiles");
        let flat: BTreeMap<String, Vec<f64>> = weights.iter().map(|(name, t)| (name.clone(), t.data.clone())).collect();
        for _ in 0..20 {
            let s = random.tensor(&[2, 2, 4, 5], 1.0);
            let values = eval::eval(&graph, 2, &eval::Exact, &|_| s.data.clone(), &flat);
            let got = &evaluated(&plan, &Tensors::from([("s".to_owned(), s.clone())]), &weights)["output"];
            for (want, got) in values[graph.outputs[0].1.index()].iter().zip(&got.data) {
                assert!((want - got).abs() < largest, "{bits}: {want} against {got}");
            }
        }
    }
}

/// The cosine of the angle between updates in double precision and on integers.
fn alike(env: &str, layers: &str, ranges: &[f64], bits: &str) -> f64 {
    let source = format!(
        "use std.dqn\n{env}net q(s) -> [2] {{ {layers} }}\ntrain dqn(q) {{ batch = 4 updates = 3 tau = 0.25 optimizer = sgd(lr: 0.0625) }}\nsecure tfhe {{ refresh = client quantize = {bits} }}"
    );
    let program = hecc_compiler::front::check(&source).expect("checks");
    let tfhe::Compiled { plan, graph } = tfhe::compile(&program, &source, &Given::default()).expect("compiles");
    let states = init::initial_states(&plan.states, 0);
    let flat: BTreeMap<String, Vec<f64>> = states.iter().map(|(name, t)| (name.clone(), t.data.clone())).collect();
    let mut random = Random::new(11);
    // Updates of both, of all parameters, over some batches.
    let (mut exact, mut rounded) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let mut units = |n: usize| (0..n).map(|_| random.unit()).collect::<Vec<f64>>();
        let (s, next, r) = (units(4 * ranges.len()), units(4 * ranges.len()), units(4));
        let a: Vec<f64> = (0..4).flat_map(|i| if r[i] > 0.0 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
        let scaled = |x: &[f64]| Tensor::new(vec![4, ranges.len()], x.iter().zip(ranges.iter().cycle()).map(|(v, r)| v * r).collect());
        let batch = Tensors::from([
            ("s".to_owned(), scaled(&s)),
            ("s_next".to_owned(), scaled(&next)),
            ("a".to_owned(), Tensor::new(vec![4, 2], a.clone())),
            ("r".to_owned(), Tensor::new(vec![4], r.clone())),
            ("done".to_owned(), Tensor::new(vec![4], vec![0.0; 4])),
        ]);
        let data = |data: &Data| match data {
            Data::Observation { next: false, .. } => s.clone(),
            Data::Observation { next: true, .. } => next.clone(),
            Data::Action => a.clone(),
            Data::Reward => r.clone(),
            Data::Done => vec![0.0; 4],
            Data::Feature { .. } | Data::Noise(_) | Data::Ones => vec![1.0; 4],
        };
        let values = eval::eval(&graph, 4, &eval::Exact, &data, &flat);
        let new = evaluated(&plan, &batch, &states);
        for (output, id) in &graph.outputs {
            let Output::State(name) = output else { continue };
            if name.starts_with("q.") {
                exact.extend(values[id.index()].iter().zip(&flat[name]).map(|(new, old)| new - old));
                rounded.extend(new[name].data.iter().zip(&flat[name]).map(|(new, old)| new - old));
            }
        }
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = dot(&exact, &rounded) / (dot(&exact, &exact) * dot(&rounded, &rounded)).sqrt();
    println!("{bits}: {} bootstraps; cosine of the exact and the rounded update {cosine:.3}", plan.bootstraps());
    cosine
}

#[test]
fn the_cheaper_scheme_is_taken_and_said() {
    let policy = |serve: &str, secure: &str| {
        let source = format!(
            "{ENV}net q(s) -> [2] {{ dense 4 square dense 2 }}\nserve {serve} {{ batch = 1 }}\nsecure auto {{ secret = [s] public = [q] {secure} }}"
        );
        hecc_compiler::compile_any(&source, &hecc_compiler::Options::default(), None).expect("one scheme can").into_plan()
    };
    let (exact, slots) = (policy("argmax(q(s))", "quantize = w4 a4"), policy("q(s)", "quantize = w4 a13"));
    let hecc_plan::AnyPlan::Tfhe(exact) = exact else { panic!("an arg-max needs tables") };
    assert!(exact.notes.iter().any(|note| note.starts_with("scheme: tfhe; slots (CKKS) cannot do it")), "{:?}", exact.notes);
    let hecc_plan::AnyPlan::Ckks(slots) = slots else { panic!("tables of 13 bits are too large") };
    assert!(slots.notes.iter().any(|note| note.starts_with("scheme: ckks; tables (TFHE) cannot do it")), "{:?}", slots.notes);
    // What both can do goes by the predicted time.
    let (chosen, notes) = match policy("q(s)", "quantize = w4 a4") {
        hecc_plan::AnyPlan::Ckks(plan) => ("ckks", plan.notes),
        hecc_plan::AnyPlan::Tfhe(plan) => ("tfhe", plan.notes),
    };
    let note = notes.iter().find(|note| note.starts_with("scheme:")).expect("it is said");
    let seconds: Vec<f64> = note.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(seconds.len(), 2, "{note}");
    assert_eq!(chosen, if seconds[1] < seconds[0] { "tfhe" } else { "ckks" }, "{note}");
    assert!(note.starts_with(&format!("scheme: {chosen}; predicted")), "{note}");
}

/// A public network, whose integers no table reads, of as many bits as a program may ask for: there are parameters, or it is said that
/// there are none.
#[test]
fn sums_of_many_bits_have_parameters_or_are_refused() {
    let compiled = |served: &str, quantize: &str| {
        let source = format!(
            "{ENV}net q(s) -> [3] {{ dense 3 }}\nserve {served} {{ batch = 2 }}\nsecure tfhe {{ public = [q] quantize = {quantize} }}"
        );
        let program = hecc_compiler::front::check(&source).expect("it checks");
        tfhe::compile(&program, &source, &Given::default()).map(|compiled| compiled.plan)
    };
    for quantize in ["w1 a1", "w2 a1", "w1 a16", "w4 a4", "w8 a8", "w4 a16", "w16 a1", "w16 a16"] {
        for served in ["q(s)", "concat(q(s), s)"] {
            match compiled(served, quantize) {
                Ok(plan) => hecc_plan::tfhe::check::check(&plan).expect("a plan that checks"),
                Err(errors) => assert!(errors.iter().all(|e| e.code == "HE0405"), "{served} {quantize}: {errors:?}"),
            }
        }
    }
    // One bit beside a sign, products included; and functions that have no value for what can come.
    for (served, quantize) in [("s[0] * q(s)[0]", "w1 a1"), ("log(q(s))", "w4 a4"), ("sqrt(q(s))", "w4 a4")] {
        let plan = compiled(served, quantize).unwrap_or_else(|errors| panic!("{served}: {errors:?}"));
        hecc_plan::tfhe::check::check(&plan).expect("a plan that checks");
    }
    compiled("q(s)", "w4 a4").expect("four bits have parameters");
}
