//! States that a server carries on integers: over many updates in a row they are what plain arithmetic on their grids makes of them,
//! and they go where the exact update goes.

use std::collections::BTreeMap;

use hecc_compiler::schemes::tfhe::{self, Given};
use hecc_compiler::tensor::eval;
use hecc_compiler::tensor::graph::{Data, Output};
use hecc_plan::clear::Sources;
use hecc_plan::tfhe::check::check;
use hecc_plan::tfhe::{Op, Part, Plan, oracle, quantise, split};
use hecc_plan::{AnyPlan, Target, Tensor, Tensors, init};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

fn compiled(source: &str) -> tfhe::Compiled {
    let program = hecc_compiler::front::check(source).unwrap_or_else(|errors| panic!("{errors:?}\n{source}"));
    let compiled = tfhe::compile(&program, source, &Given::default()).unwrap_or_else(|errors| panic!("{errors:?}\n{source}"));
    check(&compiled.plan).expect("the plan checks");
    compiled
}

/// A server without ciphertexts: what it carries, and its updates.
struct Server<'a> {
    plan: &'a Plan,
    carried: Vec<Vec<i64>>,
    updates: u64,
}

impl<'a> Server<'a> {
    fn new(plan: &'a Plan, states: &Tensors) -> Self {
        let mut carried = vec![Vec::new(); plan.carried.len()];
        for (name, parts) in plan.parts() {
            parts.iter().zip(split(&states[name].data, &parts)).for_each(|(part, integers)| carried[part.number] = integers);
        }
        Self { plan, carried, updates: 0 }
    }

    /// One update; gives the integers of its inputs, and its results.
    fn update(&mut self, batch: &Tensors) -> (BTreeMap<u32, Vec<i64>>, Tensors) {
        let plan = self.plan;
        let wanted: Vec<_> = plan.inputs.iter().map(|input| input.tensor).collect();
        let (states, decrypted, mut known) = (Tensors::new(), BTreeMap::new(), BTreeMap::new());
        plan.client.eval(&wanted, Sources { batch, states: &states, decrypted: &decrypted }, &mut known).expect("arrays that fit");
        let mut integers = BTreeMap::new();
        for step in &plan.steps {
            if let Op::Input(id) = step.op {
                let input = &plan.inputs[id.0 as usize];
                integers.insert(id.0, quantise(&known[&input.tensor].data, input.scale, step.wire.low, step.wire.high));
            }
        }
        let made = oracle::update(plan, &integers, &self.carried);
        for (number, new) in made.carried.into_iter().enumerate() {
            if plan.is_due(&plan.carried[number].state, self.updates) {
                self.carried[number] = new;
            }
        }
        self.updates += 1;
        let named = |target: &Target| match target {
            Target::Result { name, .. } => name.clone(),
            other => panic!("{other:?} leaves"),
        };
        let results = plan.outputs.iter().zip(made.outputs);
        let results =
            results.map(|(o, v)| (named(&o.target), Tensor::new(o.shape.clone(), v.iter().map(|v| *v as f64 * o.scale).collect())));
        (integers, results.collect())
    }

    /// A state, as the client fetches it.
    fn state(&self, name: &str) -> Vec<f64> {
        let parts = &self.plan.parts()[name];
        let value = |e: usize| parts.iter().map(|part| self.carried[part.number][e] as f64 * part.scale).sum();
        (0..parts[0].wire.len as usize).map(value).collect()
    }
}

struct Random(ChaCha20Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    /// Uniform in [-1, 1].
    fn unit(&mut self) -> f64 {
        self.0.next_u64() as f64 / u64::MAX as f64 * 2.0 - 1.0
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A number on a master grid, recomputed: integers of the finest step, of which `low` bits are carried as they are, `mid` above them are
/// refreshed, and the rest is clipped at ±`most`.
#[derive(Clone, Debug)]
struct Master {
    scale: f64,
    low: u32,
    mid: u32,
    most: i64,
    values: Vec<i64>,
}

impl Master {
    fn new(parts: &[Part], mid: u32, initial: &[f64]) -> Self {
        let (top, finest) = (parts[0], parts[parts.len() - 1]);
        let below = (top.scale / finest.scale).log2() as u32;
        let mut master = Self { scale: finest.scale, low: below - mid, mid, most: top.wire.high, values: Vec::new() };
        master.values = initial.iter().map(|v| master.cut((v / finest.scale + 0.5).floor() as i64)).collect();
        master
    }

    /// The parts of an integer, from its middle up.
    fn digits(&self, v: i64) -> (i64, i64, i64) {
        let half = |bits: u32| if bits > 0 { 1i64 << (bits - 1) } else { 0 };
        let low = (v + half(self.low)).rem_euclid(1 << self.low) - half(self.low);
        let above = (v - low) >> self.low;
        let mid = (above + half(self.mid)).rem_euclid(1 << self.mid) - half(self.mid);
        ((above - mid) >> self.mid, mid, low)
    }

    fn cut(&self, v: i64) -> i64 {
        let (high, mid, low) = self.digits(v);
        (((high.clamp(-self.most, self.most) << self.mid) + mid) << self.low) + low
    }

    /// What can be read, in steps of the finest part.
    fn read(&self, e: usize) -> i64 {
        self.values[e] - self.digits(self.values[e]).2
    }

    fn high(&self, e: usize) -> i64 {
        self.digits(self.values[e]).0
    }

    fn real(&self) -> Vec<f64> {
        self.values.iter().map(|v| *v as f64 * self.scale).collect()
    }
}

/// Learns the same whatever its weights are, so that all its integers are known; `t` follows it, and `k` is what it was.
fn drift(batch: usize, tau: f64, optimizer: &str, quantize: &str) -> String {
    format!(
        r#"env "Other-v0" {{ observe s: [2] in [-1, 1], [-1, 1]  act a: one of 2  reward r in [-1, 1] }}
net q(s) -> [2] {{ dense 2 }}
algorithm drift(q) {{
    parameter tau, optimizer
    state t = copy(q)
    state k = copy(q)
    reveal mean(t(s)[0]) as "value"
    minimize mean(q(s)[0] - q(s)[1]) over q with optimizer
    t <- mix(t, q, tau)
    every 3 {{ k <- q }}
}}
train drift(q) {{ batch = {batch} updates = 3 tau = {tau} optimizer = {optimizer} }}
secure tfhe {{ quantize = {quantize} }}"#
    )
}

/// The state named so, as it was before an update, made anew by adding `change` steps.
fn moved(master: &mut Master, change: impl Fn(usize) -> i64) {
    let new = (0..master.values.len()).map(|e| master.cut(master.values[e] + change(e)));
    master.values = new.collect();
}

#[test]
fn many_updates_are_what_plain_integers_make_of_them() {
    let (mut clipped, mut still) = (0, 0);
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let (batch, tau) = (random.of(&[1usize, 2, 3, 4]), random.of(&[0.25, 0.125, 0.1, 0.03]));
        // Momentum takes as many bits again, for which noise leaves less room.
        let beta = (seed % 3 == 2).then_some(0.75);
        let (rates, bits): (&[f64], &[&str]) = match beta {
            Some(_) => (&[0.0625, 0.25], &["w3 a3", "w4 a4"]),
            None => (&[0.0625, 0.25, 0.1], &["w3 a3", "w4 a4", "w4 a3", "w5 a4"]),
        };
        let (rate, quantize) = (random.of(rates), random.of(bits));
        let optimizer = beta.map_or(format!("sgd(lr: {rate})"), |beta| format!("momentum(lr: {rate}, beta: {beta})"));
        let source = drift(batch, tau, &optimizer, quantize);
        let plan = compiled(&source).plan;
        let states = init::initial_states(&plan.states, seed);
        let mut server = Server::new(&plan, &states);
        let parts = plan.parts();
        let master = |name: &str, mid: u32| Master::new(&parts[name], mid, &states[name].data);
        let (mut q, mut t) = (master("q.0.weight", 0), master("t.0.weight", 0));
        let mut k = q.clone();
        let mut v = beta.map(|_| master("q.0.weight.momentum", 3));
        let lean = random.unit();
        for update in 0..40 {
            let s: Vec<f64> = (0..2 * batch).map(|_| (0.5 * random.unit() + lean).clamp(-1.0, 1.0)).collect();
            let data = Tensors::from([
                ("s".to_owned(), Tensor::new(vec![batch, 2], s.clone())),
                ("a".to_owned(), Tensor::new(vec![batch, 2], [1.0, 0.0].repeat(batch))),
                ("r".to_owned(), Tensor::new(vec![batch], vec![0.0; batch])),
                ("done".to_owned(), Tensor::new(vec![batch], vec![0.0; batch])),
                ("s_next".to_owned(), Tensor::new(vec![batch, 2], s.clone())),
            ]);
            // What t gives: its upper bits, times observations of as many bits as activations have.
            let bits: u32 = quantize[4..].parse().expect("bits");
            let step = ((1.0 / (f64::from(1u32 << (bits - 1)) - 1.0)).log2().round()).exp2();
            let coarse = quantise(&s, step, -(1 << (bits - 1)) + 1, (1 << (bits - 1)) - 1);
            let (high, bias) = (parts["t.0.weight"][0], parts["t.0.bias"][0]);
            let sum: i64 = (0..batch).map(|b| t.high(0) * coarse[2 * b] + t.high(1) * coarse[2 * b + 1]).sum();
            let value = (sum as f64 * step * high.scale) / batch as f64 + server.carried[bias.number][0] as f64 * bias.scale;
            let (_, results) = server.update(&data);
            assert!((results["value"].data[0] - value).abs() < 1e-9, "{source}\nupdate {update}: {value} and {:?}", results["value"]);
            // The sum of the gradient on a grid, the sign of each action's.
            let gradient = |step: f64, e: usize| {
                let sent = quantise(&s, step, i64::MIN, i64::MAX);
                let sum: i64 = (0..batch).map(|b| sent[2 * b + e % 2]).sum();
                if e < 2 { sum } else { -sum }
            };
            let before = q.values.clone();
            match (&mut v, beta) {
                (Some(v), Some(beta)) => {
                    let kept: Vec<i64> = (0..4).map(|e| v.values[e] - v.read(e)).collect();
                    let shrunk: Vec<i64> = (0..4).map(|e| (beta * v.read(e) as f64).round() as i64).collect();
                    let grid = v.scale * batch as f64;
                    let new = (0..4).map(|e| v.cut(shrunk[e] + kept[e] + gradient(grid, e)));
                    v.values = new.collect();
                    let part = |e: usize| {
                        let (high, mid, _) = v.digits(v.values[e]);
                        let step = v.scale * f64::from(1u32 << v.low);
                        // Coefficients are rounded to the grid, each by itself.
                        let coefficient = |scale: f64| (rate * scale / q.scale).round() as i64;
                        -(high * coefficient(step * 8.0) + mid * coefficient(step))
                    };
                    let changes: Vec<i64> = (0..4).map(part).collect();
                    moved(&mut q, |e| changes[e]);
                }
                _ => {
                    let grid = q.scale * batch as f64 / rate;
                    moved(&mut q, |e| -gradient(grid, e));
                }
            }
            clipped += (0..4).filter(|&e| q.high(e).abs() == q.most && before[e] != q.values[e]).count();
            let (follows, unit) = (q.clone(), tau * parts["t.0.weight"][0].scale / t.scale);
            let changes: Vec<i64> = (0..4).map(|e| ((follows.high(e) - t.high(e)) as f64 * unit).round() as i64).collect();
            still += changes.iter().filter(|change| **change == 0).count();
            moved(&mut t, |e| changes[e]);
            if update % 3 == 2 {
                k.values.clone_from(&q.values);
            }
            let context = format!("{source}\nupdate {update}");
            assert_eq!(server.state("q.0.weight"), q.real(), "{context}");
            assert_eq!(server.state("t.0.weight"), t.real(), "{context}");
            let read: Vec<f64> = (0..4).map(|e| k.high(e) as f64 * high.scale).collect();
            assert_eq!(server.state("k.0.weight"), read, "{context}");
            if let Some(v) = &v {
                assert_eq!(server.state("q.0.weight.momentum"), v.real(), "{context}");
            }
            // What is fetched and planted again is what it was.
            let fetched = plan.states.iter().map(|state| (state.name.clone(), Tensor::new(state.shape.clone(), server.state(&state.name))));
            assert_eq!(Server::new(&plan, &fetched.collect()).carried, server.carried, "{context}");
        }
    }
    assert!(clipped > 20 && still > 20, "{clipped} clipped, {still} that stand still");
}

const DQN: &str = r#"use std.dqn
env "Other-v0" { observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 8 relu dense 2 }
train dqn(q) { batch = 4 updates = 3 tau = 0.25 optimizer = sgd(lr: 0.0625) }
"#;

#[test]
fn dqn_goes_where_the_exact_update_goes() {
    let source = format!("{DQN}secure tfhe {{ quantize = w4 a4 }}");
    let tfhe::Compiled { plan, graph } = compiled(&source);
    let mut random = Random::new(11);
    let mut server = Server::new(&plan, &init::initial_states(&plan.states, 0));
    let (mut exact, mut rounded) = (Vec::new(), Vec::new());
    for _ in 0..8 {
        let mut units = |n: usize| (0..n).map(|_| random.unit()).collect::<Vec<f64>>();
        let (s, next, r) = (units(16), units(16), units(4));
        let a: Vec<f64> = r.iter().flat_map(|r| if *r > 0.0 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
        let scaled = |x: &[f64]| Tensor::new(vec![4, 4], x.iter().zip([4.8, 4.0, 0.42, 4.0].iter().cycle()).map(|(v, r)| v * r).collect());
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
        let before: BTreeMap<String, Vec<f64>> = plan.states.iter().map(|s| (s.name.clone(), server.state(&s.name))).collect();
        let values = eval::eval(&graph, 4, &eval::Exact, &data, &before);
        server.update(&batch);
        for (output, id) in &graph.outputs {
            let Output::State(name) = output else { continue };
            if name.starts_with("q.") {
                exact.extend(values[id.index()].iter().zip(&before[name]).map(|(new, old)| new - old));
                rounded.extend(server.state(name).iter().zip(&before[name]).map(|(new, old)| new - old));
            }
        }
    }
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let cosine = dot(&exact, &rounded) / (dot(&exact, &exact) * dot(&rounded, &rounded)).sqrt();
    println!("{} bootstraps; cosine of the exact and the rounded updates {cosine:.3}", plan.bootstraps());
    assert!(cosine > 0.6, "{cosine}");
}

/// Grids that leave noise no room are coarser, and it is said.
#[test]
fn states_of_many_bits_are_rounded() {
    let source = DQN.replace("batch = 4", "batch = 64").replace("0.0625", "0.001") + "secure tfhe { quantize = w4 a4 }";
    let plan = compiled(&source).plan;
    assert!(plan.decisions.iter().any(|decision| decision.why.contains("they are rounded")), "{:?}", plan.decisions);
}

#[test]
fn who_refreshes_is_chosen_by_what_it_takes() {
    let any = |secure: &str| {
        let source = format!("{DQN}secure {secure}");
        hecc_compiler::compile_any(&source, &hecc_compiler::Options::default(), None).expect("a way").into_plan()
    };
    let AnyPlan::Tfhe(auto) = any("tfhe { refresh = auto quantize = w4 a4 }") else { panic!("it says tfhe") };
    assert!(auto.notes.iter().any(|note| note.starts_with("refresh = auto: ")), "{:?}", auto.notes);
    // Without a word the server is alone, under either scheme.
    let notes = match any("auto { quantize = w4 a4 }") {
        AnyPlan::Tfhe(plan) => plan.notes,
        AnyPlan::Ckks(plan) => plan.notes,
    };
    let note = notes.iter().find(|note| note.starts_with("scheme: ")).expect("it is said");
    assert!(note.contains("predicted"), "{note}");
}
