//! Runs a plan on clear slots, and the tensor graph beside it; random programs.

pub mod programs;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::convert::Infallible;

use hecc_compiler::approximation::Approximation;
use hecc_compiler::check::hir::{ActionKind, Pins, Program, Task};
use hecc_compiler::passes::{PassName, hoist};
use hecc_compiler::schemes::ckks;
use hecc_compiler::schemes::ckks::approximate::{Polynomial, approximate};
use hecc_compiler::tensor::build::{self, Built};
use hecc_compiler::tensor::eval::{self, Exact, Functions};
use hecc_compiler::tensor::graph::{Elementwise, Map};
use hecc_compiler::tensor::{Data, Graph, Id, Op, Output};
use hecc_compiler::{Compiled, Options, check, compile, denominators, diagnostics, tracking};
use hecc_plan::clear::Sources;
use hecc_plan::oracle::{Oracle, Slots, pack, unpack};
use hecc_plan::{Function, Machine, Plan, Step, Target, Tensor, Tensors, Wires, drive};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// The update that tests run, where learning rates change.
const UPDATE: f64 = 2.0;

/// A stream of numbers in [-1, 1].
pub struct Numbers(ChaCha20Rng);

impl Numbers {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha20Rng::seed_from_u64(seed))
    }

    pub fn next(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }
}

/// A random batch in the environment's units, and weights around their initial values.
pub fn data(program: &Program, plan: &Plan, seed: u64) -> (Tensors, Tensors) {
    arrays(program, plan.geometry.batch, hecc_plan::init::initial(plan), &plan.public, seed)
}

/// [`data`] of a program that is not compiled further than to its graph.
pub fn data_of(program: &Program, built: &Built, seed: u64) -> (Tensors, Tensors) {
    let rows = match &program.task {
        Task::Train(train) => train.settings.batch,
        Task::Serve(serve) => serve.batch,
    };
    arrays(program, rows, hecc_plan::init::initial_states(&built.states, 0), &built.public, seed)
}

fn arrays(program: &Program, rows: usize, mut states: Tensors, public: &[(String, Vec<usize>)], seed: u64) -> (Tensors, Tensors) {
    let mut numbers = Numbers::new(seed);
    let mut batch = Tensors::new();
    for observation in &program.env.observations {
        for name in [observation.name.clone(), format!("{}_next", observation.name)] {
            let dim = observation.ranges.len();
            let value = |i: usize, n: f64| {
                let range = observation.ranges[i % dim];
                range.low + (range.high - range.low) * (0.5 + 0.5 * n)
            };
            let data = (0..rows * dim).map(|i| value(i, numbers.next())).collect();
            batch.insert(name, Tensor::new(vec![rows, dim], data));
        }
    }
    let action = match &program.env.action.kind {
        ActionKind::Discrete { k } => {
            let mut data = vec![0.0; rows * k];
            (0..rows).for_each(|row| data[row * k + numbers.below(*k)] = 1.0);
            Tensor::new(vec![rows, *k], data)
        }
        ActionKind::MultiDiscrete { n, k } => Tensor::zeros(&[rows, n * k]),
        ActionKind::Continuous { ranges, .. } => {
            let data = (0..rows * ranges.len()).map(|i| ranges[i % ranges.len()].high * numbers.next()).collect();
            Tensor::new(vec![rows, ranges.len()], data)
        }
    };
    batch.insert(program.env.action.name.clone(), action);
    batch.insert(program.env.reward.clone(), Tensor::new(vec![rows], (0..rows).map(|_| numbers.next()).collect()));
    batch.insert("update".into(), Tensor::new(vec![rows], vec![UPDATE; rows]));
    batch.insert("done".into(), Tensor::new(vec![rows], (0..rows).map(|_| numbers.below(2) as f64).collect()));
    if let Task::Train(train) = &program.task {
        for noise in &train.body.noises {
            let data = (0..rows * noise.dim).map(|_| numbers.next()).collect();
            batch.insert(noise.name.clone(), Tensor::new(vec![rows, noise.dim], data));
        }
    }
    for (name, state) in &mut states {
        state.data.iter_mut().for_each(|v| {
            *v = match name.rsplit('.').next() {
                // What an optimiser keeps of squares is none below 0, and a scale is near what it starts as.
                Some("square") if *v == 0.0 => 0.1 * numbers.next().abs(),
                Some("scale" | "square") => *v * (1.0 + 0.3 * numbers.next()),
                _ => *v + 0.1 * numbers.next(),
            }
        });
    }
    for (name, shape) in public {
        let fan = shape.get(1).copied().unwrap_or(1) as f64;
        let values = (0..shape.iter().product()).map(|_| numbers.next() / fan.sqrt()).collect();
        states.entry(name.clone()).or_insert_with(|| Tensor::new(shape.clone(), values));
    }
    (batch, states)
}

/// The oracle, and whether every value fits beside its scale: a ciphertext wraps around at half its modulus.
struct Watched<'a> {
    oracle: Oracle<'a>,
    /// Whether values are small enough for their room to be asked for.
    tame: bool,
}

impl Machine for Watched<'_> {
    type Wire = Slots;
    type Error = Infallible;

    fn step(&self, index: usize, step: &Step, operands: &[&Slots]) -> Result<Slots, Infallible> {
        let slots = self.oracle.step(index, step, operands)?;
        let largest = slots.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let room = f64::from(step.wire.budget()) - 1.0;
        assert!(!self.tame || largest.log2() < room, "step {index} ({}) holds {largest:e}, with room for 2^{room}", step.op.name());
        Ok(slots)
    }
}

/// New states and results of one run of `plan` on clear slots.
pub fn run_plan(plan: &Plan, batch: &Tensors, states: &Tensors, tame: bool) -> BTreeMap<Target, Tensor> {
    let mut known = BTreeMap::new();
    let mut decrypted = BTreeMap::new();
    let mut values = BTreeMap::new();
    let wires = Wires::new(plan);
    let mut slots = BTreeMap::new();
    for round in &plan.rounds {
        for id in &round.inputs {
            let input = &plan.inputs[id.0 as usize];
            let wanted: Vec<_> = input.contents.iter().map(|c| c.tensor).collect();
            let sources = Sources { batch, states, decrypted: &decrypted };
            plan.client.eval(&wanted, sources, &mut known).expect("the batch is whole");
            slots.insert(id.0, pack(plan, &input.contents, |id| &known[id]));
        }
        let oracle = Oracle::new(plan, &slots, states).expect("public arrays are there");
        drive(&Watched { oracle, tame }, plan, round.steps, &wires, 2).unwrap_or_else(|never| match never {});
        for id in &round.outputs {
            let output = &plan.outputs[id.0 as usize];
            let wire = wires.get(output.wire.index()).expect("an output is held");
            unpack(plan, &output.contents, &wire, &mut values);
        }
        for (target, value) in &values {
            if let Target::Value { id, .. } = target {
                decrypted.insert(*id, value.clone());
            }
        }
    }
    let settled: Vec<_> = plan.settled.iter().map(|(_, node)| *node).collect();
    plan.client.eval(&settled, Sources { batch, states, decrypted: &decrypted }, &mut known).expect("everything came back");
    let rated = |(target, mut value): (Target, Tensor)| match target {
        Target::Rated { name, by } => {
            value.data.iter_mut().for_each(|v| *v *= known[&by].data[0]);
            (Target::State(name), value)
        }
        target => (target, value),
    };
    let settled = plan.settled.iter().map(|(name, node)| (Target::State(name.clone()), known[node].clone()));
    values.into_iter().map(rated).chain(settled).collect()
}

/// The plan's polynomials.
pub struct Approximated<'a> {
    program: &'a Program,
    fitted: Fitted,
    /// The number of the update.
    update: std::cell::Cell<f64>,
}

/// Polynomials by what they approximate: a fit takes longer than all its evaluations.
#[derive(Default)]
pub struct Fitted(RefCell<BTreeMap<String, Polynomial>>);

impl Fitted {
    /// Value of the polynomial for a map at x.
    pub fn eval(&self, map: &Map, x: f64, tolerance: f64, cap: usize) -> f64 {
        let mut fitted = self.0.borrow_mut();
        let p = fitted.entry(format!("{map:?}")).or_insert_with(|| {
            let p = approximate(&map.function, &map.pins, tolerance, cap);
            if map.order == 0 { p } else { p.derivative() }
        });
        p.eval(x)
    }
}

impl<'a> Approximated<'a> {
    pub fn new(program: &'a Program) -> Self {
        Self { program, fitted: Fitted::default(), update: UPDATE.into() }
    }
}

impl Functions for Approximated<'_> {
    fn map(&self, map: &Map, x: f64) -> f64 {
        if map.pins.degree == Some(EXACT) {
            return Exact.map(map, x);
        }
        let cap = if map.pins.degree.is_some() { usize::MAX } else { ckks::degree_cap() };
        self.fitted.eval(map, x, ckks::tolerance(self.program), cap)
    }

    fn update(&self) -> f64 {
        self.update.get()
    }

    fn abs(&self, pins: &Pins, x: f64) -> f64 {
        self.map(&Map { function: Elementwise::Named(Function::Abs), order: 0, pins: *pins }, x)
    }
}

/// The degree that marks what the client computes, as the function itself.
const EXACT: usize = usize::MAX;

/// The graph with a mark on every function that the client computes.
fn marked(program: &Program, graph: &Graph) -> Graph {
    let mut new = Graph::default();
    let mut ids: Vec<Id> = Vec::new();
    let mut known: Vec<bool> = Vec::new();
    for id in graph.ids() {
        let node = graph.node(id);
        let operands = graph.operands(id);
        let of_client: Vec<bool> = operands.iter().map(|o| known[o.index()]).collect();
        known.push(hoist::client_knows(&node.op, &of_client, &program.secure.client));
        let exact = |pins: &Pins| Pins { degree: if known[id.index()] { Some(EXACT) } else { pins.degree }, ..*pins };
        let op = match &node.op {
            Op::Map(map) => Op::Map(Map { pins: exact(&map.pins), ..map.clone() }),
            Op::Max(pins) => Op::Max(exact(pins)),
            Op::Extremum { larger, pins } => Op::Extremum { larger: *larger, pins: exact(pins) },
            other => other.clone(),
        };
        let operands: Vec<Id> = operands.iter().map(|o| ids[o.index()]).collect();
        ids.push(new.push(op, &operands, node.shape, node.span));
    }
    new.outputs = graph.outputs.iter().map(|(output, id)| (output.clone(), ids[id.index()])).collect();
    new
}

/// The graph with those derivatives computed from values that the plan computes so.
fn from_values(graph: &Graph, approximation: &Approximation) -> Graph {
    let mut new = Graph::default();
    let mut ids: Vec<Id> = Vec::new();
    for id in graph.ids() {
        let node = graph.node(id);
        let operands: Vec<Id> = graph.operands(id).iter().map(|o| ids[o.index()]).collect();
        let mut push = |op: Op, operands: &[Id]| new.push(op, operands, node.shape, node.span);
        let from_value = |f: Function| approximation.activations.iter().any(|a| a.from_value && a.function == f && a.span == node.span);
        let value = |function: Function, pins: Pins| Op::Map(Map { function: Elementwise::Named(function), order: 0, pins });
        ids.push(match &node.op {
            Op::Map(Map { function: Elementwise::Named(f), order: 1, pins }) if from_value(*f) => match f {
                Function::Softplus => push(value(Function::Sigmoid, Pins { degree: None, ..*pins }), &operands),
                f => {
                    let s = push(value(*f, *pins), &operands);
                    let other = if *f == Function::Tanh { push(Op::Mul, &[s, s]) } else { s };
                    let negative = push(Op::Scale(-1.0), &[other]);
                    let rest = push(Op::Offset(1.0), &[negative]);
                    if *f == Function::Tanh { rest } else { push(Op::Mul, &[s, rest]) }
                }
            },
            op => push(op.clone(), &operands),
        });
    }
    new.outputs = graph.outputs.iter().map(|(output, id)| (output.clone(), ids[id.index()])).collect();
    new
}

/// Outputs of the tensor graph on the same data.
pub fn run_graph(
    program: &Program,
    graph: &Graph,
    batch: &Tensors,
    states: &Tensors,
    functions: &dyn Functions,
) -> Vec<(Output, Vec<f64>)> {
    let rows = batch["done"].data.len();
    let data = |data: &Data| -> Vec<f64> {
        match data {
            Data::Observation { index, next } => {
                let observation = &program.env.observations[*index];
                let name = if *next { format!("{}_next", observation.name) } else { observation.name.clone() };
                let dim = observation.ranges.len();
                let normal = |(i, v): (usize, &f64)| {
                    let range = observation.ranges[i % dim];
                    2.0 * (v - range.low) / (range.high - range.low) - 1.0
                };
                batch[&name].data.iter().enumerate().map(normal).collect()
            }
            Data::Action => {
                let array = batch[&program.env.action.name].data.clone();
                match &program.env.action.kind {
                    ActionKind::Continuous { ranges, .. } => {
                        let normal = |(i, v): (usize, &f64)| {
                            let range = ranges[i % ranges.len()];
                            2.0 * (v - range.low) / (range.high - range.low) - 1.0
                        };
                        array.iter().enumerate().map(normal).collect()
                    }
                    _ => array,
                }
            }
            Data::Reward => batch[&program.env.reward].data.clone(),
            Data::Done => batch["done"].data.clone(),
            Data::Noise(name) => batch[name].data.clone(),
            Data::Feature { .. } => panic!("tests of features compare elsewhere"),
            Data::Ones => vec![1.0; rows],
        }
    };
    let states = states.iter().map(|(name, t)| (name.clone(), t.data.clone())).collect();
    let graph = &marked(program, graph);
    let values = eval::eval(graph, rows, functions, &data, &states);
    graph.outputs.iter().map(|(output, id)| (output.clone(), values[id.index()].clone())).collect()
}

/// Compiles, runs the plan on clear slots and the unoptimised graph beside it, and compares everything that leaves.
pub fn agrees(source: &str, log_n: u32) {
    let options = Options { insecure_log_n: Some(log_n), ..Options::default() };
    let compiled = compile(source, &options).unwrap_or_else(|e| panic!("{}", diagnostics::render(&e, source, "program.rl", false)));
    compiled_agrees(source, &compiled);
}

/// The program with the optimisers that its plan has.
fn resolved(source: &str, plan: &Plan) -> Program {
    let program = check(source).expect("it compiled");
    let insecure = (plan.ckks.security_bits == 0).then_some(plan.ckks.log_n);
    tracking::resolve(&program, None, insecure).expect("it compiled").program
}

/// [`agrees`], of a program that was compiled before.
pub fn compiled_agrees(source: &str, compiled: &Compiled) {
    let plan = &compiled.plan;
    let program = resolved(source, plan);
    let (batch, states) = data(&program, plan, 7);
    let functions = Approximated::new(&program);
    let built = compiled.approximation.apply(&build::build(&program, false).expect("it compiled").graph);
    let built = from_values(&denominators::applied(&built, &compiled.raised), &compiled.approximation);
    // A program that diverges outgrows its ciphertexts, which the runtime reports; its plan is right all the same.
    let reference = run_graph(&program, &built, &batch, &states, &functions);
    let tame = reference.iter().flat_map(|(_, values)| values).all(|v| v.abs() < 4.0);
    let values = run_plan(plan, &batch, &states, tame);
    for (name, graph) in [("built", &built), ("optimised", &compiled.graph)] {
        for (output, want) in run_graph(&program, graph, &batch, &states, &functions) {
            let got = match &output {
                Output::State(name) => match values.get(&Target::State(name.clone())) {
                    Some(value) => value.data.clone(),
                    None => states[name].data.clone(),
                },
                Output::Result(name) => {
                    let found = values.iter().find(|(t, _)| matches!(t, Target::Result { name: n, .. } if n == name));
                    found.unwrap_or_else(|| panic!("no result {name}\n{source}")).1.data.clone()
                }
            };
            assert_eq!(got.len(), want.len(), "{output:?}\n{source}");
            for (i, (g, w)) in got.iter().zip(&want).enumerate() {
                assert!((g - w).abs() < 1e-8 * (1.0 + w.abs()), "{name}: {output:?}[{i}]: plan {g}, graph {w}\n{source}");
            }
        }
    }
}

/// Compiles a program whose server trains alone, runs more updates than a period has, each on a batch of its own, and
/// compares the carried states after every one with the graph's.
pub fn agrees_alone(source: &str, log_n: u32) -> Compiled {
    agrees_without(source, log_n, &[])
}

/// [`agrees_alone`] with passes left out.
pub fn agrees_without(source: &str, log_n: u32, without: &[PassName]) -> Compiled {
    let options = Options { insecure_log_n: Some(log_n), without: without.to_vec(), ..Options::default() };
    let compiled = compile(source, &options).unwrap_or_else(|e| panic!("{}", diagnostics::render(&e, source, "program.rl", false)));
    compiled_agrees_alone(source, &compiled);
    compiled
}

/// [`agrees_alone`], of a program that was compiled before.
pub fn compiled_agrees_alone(source: &str, compiled: &Compiled) {
    let plan = &compiled.plan;
    let program = resolved(source, plan);
    let built = build::build(&program, false).expect("it compiled");
    let graph = from_values(&compiled.approximation.apply(&built.graph), &compiled.approximation);
    let functions = Approximated::new(&program);
    let (_, start) = data(&program, plan, 7);
    let empty = Tensors::new();
    let mut saved: Vec<std::sync::Arc<Slots>> = plan.carried.iter().map(|c| std::sync::Arc::new(seal(plan, &c.contents, &start))).collect();
    let mut expected = start.clone();
    let mut wires = Wires::new(plan);
    for number in 0..2 * plan.updates() + 1 {
        let update = number % plan.updates();
        if update == 0 {
            wires = Wires::new(plan);
        }
        let (mut batch, _) = data(&program, plan, 100 + u64::from(number));
        batch.insert("update".into(), Tensor::new(vec![plan.geometry.batch], vec![f64::from(number); plan.geometry.batch]));
        functions.update.set(f64::from(number));
        let carried = saved.clone();
        let (mut known, mut decrypted, mut values) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for round in &plan.rounds[plan.rounds_of(update)] {
            let mut slots = BTreeMap::new();
            for id in &round.inputs {
                let input = &plan.inputs[id.0 as usize];
                let wanted: Vec<_> = input.contents.iter().map(|c| c.tensor).collect();
                let sources = Sources { batch: &batch, states: &empty, decrypted: &decrypted };
                plan.client.eval(&wanted, sources, &mut known).expect("the client needs the batch alone");
                slots.insert(id.0, pack(plan, &input.contents, |id| &known[id]));
            }
            let oracle = Oracle::new(plan, &slots, &empty).expect("nothing is public").with_carried(&carried, u64::from(number));
            drive(&Watched { oracle, tame: true }, plan, round.steps, &wires, 2).unwrap_or_else(|never| match never {});
            for id in &round.outputs {
                let output = &plan.outputs[id.0 as usize];
                unpack(plan, &output.contents, &wires.get(output.wire.index()).expect("an output is held"), &mut values);
            }
            for (target, value) in &values {
                if let Target::Value { id, .. } = target {
                    decrypted.insert(*id, value.clone());
                }
            }
            for (id, wire) in &round.saves {
                saved[id.0 as usize] = wires.get(wire.index()).expect("a saved wire is held");
            }
        }
        for (output, values) in run_graph(&program, &graph, &batch, &expected.clone(), &functions) {
            if let Output::State(name) = output
                && plan.is_due(&name, u64::from(number))
            {
                expected.get_mut(&name).expect("a state").data = values;
            }
        }
        let mut values = BTreeMap::new();
        for (carried, slots) in plan.carried.iter().zip(&saved) {
            unpack(plan, &carried.contents, slots, &mut values);
        }
        for state in &plan.states {
            let got = &values[&Target::State(state.name.clone())].data;
            for (i, (g, w)) in got.iter().zip(&expected[&state.name].data).enumerate() {
                assert!((g - w).abs() < 1e-8 * (1.0 + w.abs()), "update {number}: {}[{i}]: plan {g}, graph {w}\n{source}", state.name);
            }
        }
    }
}

/// The slots of a carried ciphertext as training starts.
fn seal(plan: &Plan, contents: &[hecc_plan::Content<Target>], states: &Tensors) -> Slots {
    let mut slots = vec![0.0; plan.geometry.slots()];
    for content in contents {
        let Target::State(name) = &content.tensor else { panic!("only states are carried") };
        content.layout.pack(&plan.geometry, &states[name], 1.0 / content.factor, &mut slots);
    }
    slots
}
