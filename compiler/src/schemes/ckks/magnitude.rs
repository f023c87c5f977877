//! How large the values of an update get: room for them is what a refresh takes, and what a wire must have left.
//!
//! The circuit runs in the clear, every slot of every step, padding included, since one slot that outgrows its ciphertext spoils
//! all of them. Two runs of a batch from the declared ranges: from the seeded start, and with weights as training may leave
//! them, of the size that a rehearsal measured where there was one. Arguments of polynomials are held in their intervals, which
//! the program or the compiler answers for; in the second run those that come first fill theirs, ends included. What was seen
//! is widened by a margin.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hecc_plan::calibration::Named;
use hecc_plan::init::{normal, uniform};
use hecc_plan::noise::{self, Data};
use hecc_plan::oracle::Slots;
use hecc_plan::{
    Ckks, ClearOp, ClearProgram, Geometry, Input, InputId, KeyManifest, Op, Output, OutputId, Plan, Round, State, StateInit, Step, Target,
    Tensor, Tensors, UPDATE, Wire, WireId,
};

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::budget;
use super::circuit::{Argument, Circuit};
use crate::approximation::shadow;
use crate::check::hir::{ActionKind, Program, Range, Task};
use crate::tensor::{Graph, Op as TensorOp};

/// Bits by which a value may outgrow what was seen of it: other data, and weights that training moves on.
const MARGIN: u32 = 3;
/// No ciphertext has room for more; a value that is not finite takes as much.
const MOST: u32 = 4096;

/// What is known of a program's states, and the room beyond.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// The states as they start.
    pub states: &'a [State],
    /// What a rehearsal saw of them.
    pub measured: &'a [Named],
    /// Further bits for everything: what an earlier plan of the run had too little of.
    pub room: u32,
}

/// Gives every step of `circuit` the room that its value takes, and every output what it needs at least.
pub(super) fn run(
    program: &Program,
    graph: &Graph,
    grid: Geometry,
    (circuit, client): (&mut Circuit, &ClearProgram),
    public: &[(String, Vec<usize>)],
    known: Known<'_>,
) {
    let order = Order::of(circuit);
    let plan = plan(graph, grid, circuit, client, public, &order);
    let mut sizes = vec![0.0f64; order.steps.len()];
    for (last, states) in [(false, starting(program, graph, known)), (true, trained(program, graph, known))] {
        let data = data(program, &plan, last, states);
        let watch = Watch::new(circuit, grid, &order, last);
        if noise::observed(&plan, &data, 1, &|step, slots| watch.look(step, slots)).is_ok() {
            sizes.iter_mut().zip(watch.sizes()).for_each(|(size, seen)| *size = size.max(seen));
        }
    }
    let margin = MARGIN + known.room;
    for (&node, size) in order.steps.iter().zip(sizes) {
        circuit.nodes[node].room = (bits(size) + 1 + margin).min(MOST);
    }
    for output in &mut circuit.outputs {
        let measured = output.contents.iter().filter_map(|content| {
            let (Target::State(name) | Target::Rated { name, .. }) = &content.tensor else { return None };
            Some(measured(name, known.measured)? / content.factor.abs())
        });
        let measured = measured.map(|size| bits(size) + 2 + margin).max().unwrap_or(0);
        let own = budget::taken(&circuit.nodes[output.wire.index()], 0);
        output.headroom = (output.headroom + known.room).max(own).max(measured);
    }
}

/// Bits before the point of values up to `size`.
fn bits(size: f64) -> u32 {
    if size.is_finite() { libm::ceil(libm::log2(size.max(1.0))) as u32 } else { MOST }
}

fn seed(program: &Program) -> u64 {
    match &program.task {
        Task::Train(train) => train.settings.seed,
        Task::Serve(_) => 0,
    }
}

/// Steps of a circuit in the order of its exchanges.
struct Order {
    /// Nodes by step.
    steps: Vec<usize>,
    /// Steps by node.
    at: Vec<Option<u32>>,
}

impl Order {
    fn of(circuit: &Circuit) -> Self {
        let needed = budget::needs(circuit, None);
        let mut steps: Vec<usize> = (0..circuit.nodes.len()).filter(|&node| needed[node].is_some()).collect();
        steps.sort_by_key(|&node| (circuit.nodes[node].round, node));
        let mut at = vec![None; circuit.nodes.len()];
        steps.iter().enumerate().for_each(|(step, &node)| at[node] = Some(step as u32));
        Self { steps, at }
    }

    fn wire(&self, wire: WireId) -> WireId {
        WireId(self.at[wire.index()].unwrap_or(0))
    }
}

/// A plan without widths and keys, for the oracle.
fn plan(graph: &Graph, grid: Geometry, circuit: &Circuit, client: &ClearProgram, public: &[(String, Vec<usize>)], order: &Order) -> Plan {
    let wire = Wire { scale: circuit.scale, k: 0 };
    let step = |&node: &usize| {
        let node = &circuit.nodes[node];
        Step { op: node.op.map_operands(|w| order.wire(w)), wire, span: node.span }
    };
    let last = order.steps.last().map_or(0, |&node| circuit.nodes[node].round);
    let rounds = (0..=last).map(|round| {
        let before = |round: u32| order.steps.partition_point(|&node| circuit.nodes[node].round < round) as u32;
        let steps = (before(round), before(round + 1));
        let of = |wire: &WireId| circuit.nodes[wire.index()].round == round;
        let inputs = order.steps[steps.0 as usize..steps.1 as usize].iter().filter_map(|&node| match circuit.nodes[node].op {
            Op::Input(id) => Some(InputId(id.0)),
            _ => None,
        });
        let outputs = circuit.outputs.iter().enumerate().filter(|(_, output)| of(&output.wire)).map(|(id, _)| OutputId(id as u32));
        Round { inputs: inputs.collect(), steps, outputs: outputs.collect(), update: 0, saves: Vec::new() }
    });
    Plan {
        name: "magnitudes".to_owned(),
        source: String::new(),
        ckks: Ckks { log_n: grid.slots().ilog2() + 1, base2k: 0, scale: circuit.scale, max_k: 0, log_modulus: 0, security_bits: 0 },
        geometry: grid,
        client: client.clone(),
        inputs: circuit.inputs.iter().map(|i| Input { label: String::new(), contents: i.contents.clone(), wire }).collect(),
        plains: circuit.plains.clone(),
        matrices: circuit.matrices.clone(),
        steps: order.steps.iter().map(step).collect(),
        outputs: circuit
            .outputs
            .iter()
            .map(|o| Output { label: String::new(), wire: order.wire(o.wire), contents: o.contents.clone() })
            .collect(),
        rounds: rounds.collect(),
        states: shapes(graph),
        settled: Vec::new(),
        periods: Vec::new(),
        public: public.to_vec(),
        carried: Vec::new(),
        bootstrap: None,
        keys: KeyManifest::default(),
        training: None,
        notes: Vec::new(),
        decisions: Vec::new(),
    }
}

/// The states that a graph reads or writes.
fn shapes(graph: &Graph) -> Vec<State> {
    let read = graph.ids().filter_map(|id| match &graph.node(id).op {
        TensorOp::State(name) => Some((name.clone(), id)),
        _ => None,
    });
    let written = graph.outputs.iter().filter_map(|(output, id)| match output {
        crate::tensor::Output::State(name) => Some((name.clone(), *id)),
        crate::tensor::Output::Result(_) => None,
    });
    let all: BTreeMap<String, _> = read.chain(written).collect();
    let state = |(name, id): (String, _)| State {
        name,
        shape: graph.shape(id).extents(),
        init: StateInit::Constant(0.0),
        span: hecc_plan::Span::default(),
    };
    all.into_iter().map(state).collect()
}

/// The states as they start.
fn starting(program: &Program, graph: &Graph, known: Known<'_>) -> Tensors {
    let started = hecc_plan::init::initial_states(known.states, seed(program));
    complete(graph, started)
}

/// Weights of gain one, or of the size that was measured.
fn trained(program: &Program, graph: &Graph, known: Known<'_>) -> Tensors {
    let shapes: BTreeMap<String, Vec<usize>> = shapes(graph).into_iter().map(|state| (state.name, state.shape)).collect();
    let drawn = shadow::weights(graph, known.states, seed(program)).into_iter().filter_map(|(name, mut data)| {
        let largest = data.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        if let Some(size) = measured(&name, known.measured).filter(|size| *size > largest) {
            let signed = |i: usize| if i.is_multiple_of(2) { size } else { -size };
            match largest > 0.0 {
                true => data.iter_mut().for_each(|v| *v *= size / largest),
                false => data.iter_mut().enumerate().for_each(|(i, v)| *v = signed(i)),
            }
        }
        Some((name.clone(), Tensor::new(shapes.get(&name)?.clone(), data)))
    });
    complete(graph, drawn.collect())
}

fn complete(graph: &Graph, mut states: Tensors) -> Tensors {
    for state in shapes(graph) {
        states.entry(state.name).or_insert_with(|| Tensor::zeros(&state.shape));
    }
    states
}

/// The largest magnitude that a rehearsal saw of a state.
fn measured(name: &str, all: &[Named]) -> Option<f64> {
    all.iter().find(|named| named.name == name).map(|named| named.spread.low.abs().max(named.spread.high.abs()))
}

/// A batch from the declared ranges, in the environment's units, and public weights of usual size.
fn data(program: &Program, plan: &Plan, last: bool, states: Tensors) -> Data {
    let env = &program.env;
    let mut rng = ChaCha20Rng::seed_from_u64(u64::from(last));
    let rows = plan.geometry.batch;
    let mut batch = Tensors::new();
    for node in &plan.client.nodes {
        let ClearOp::Batch { name, dim } = &node.op else { continue };
        let observed = |suffix: &'static str| env.observations.iter().find(move |o| name.strip_suffix(suffix) == Some(o.name.as_str()));
        let ranges = match &env.action.kind {
            ActionKind::Continuous { ranges, .. } if *name == env.action.name => Some(ranges),
            _ => observed("_next").or_else(|| observed("")).map(|o| &o.ranges),
        };
        let options = match env.action.kind {
            ActionKind::Discrete { k } | ActionKind::MultiDiscrete { k, .. } if *name == env.action.name => Some(k),
            _ => None,
        };
        let mut data = vec![0.0; rows * dim];
        for row in data.chunks_mut((*dim).max(1)) {
            let within = |range: Range, part: f64| range.low + (range.high - range.low) * part;
            match (name.as_str(), ranges, options) {
                (UPDATE, ..) => row.fill(if last { updates(program).saturating_sub(1) as f64 } else { 0.0 }),
                ("done", ..) => row.fill(f64::from(u8::from(uniform(&mut rng) < 0.1))),
                (_, _, Some(k)) => row.chunks_mut(k).for_each(|choice| choice[(uniform(&mut rng) * choice.len() as f64) as usize] = 1.0),
                (_, Some(ranges), _) => row.iter_mut().zip(ranges).for_each(|(v, range)| *v = within(*range, uniform(&mut rng))),
                (name, ..) if name == env.reward => row.fill(within(env.reward_range, uniform(&mut rng))),
                _ => row.iter_mut().for_each(|v| *v = normal(&mut rng)),
            }
        }
        batch.entry(name.clone()).or_insert_with(|| Tensor::new(vec![rows, *dim], data));
    }
    let mut public = Tensors::new();
    for (name, shape) in &plan.public {
        let size = libm::sqrt(1.0 / shape.get(1).copied().unwrap_or(16) as f64);
        let data = (0..shape.iter().product()).map(|_| size * normal(&mut rng)).collect();
        public.insert(name.clone(), Tensor::new(shape.clone(), data));
    }
    Data { batch, states, public }
}

fn updates(program: &Program) -> usize {
    match &program.task {
        Task::Train(train) => train.settings.updates,
        Task::Serve(_) => 1,
    }
}

/// Sees how large slots get, and holds arguments in their intervals.
struct Watch<'a> {
    grid: Geometry,
    /// By step.
    arguments: BTreeMap<usize, &'a Argument>,
    /// Steps whose argument is replaced by one that fills its interval: those that depend on no other argument.
    filled: Vec<bool>,
    /// Bits of the largest magnitude, by step; those of numbers that are not negative are ordered as the numbers are.
    sizes: Vec<AtomicU64>,
}

impl<'a> Watch<'a> {
    fn new(circuit: &'a Circuit, grid: Geometry, order: &Order, fills: bool) -> Self {
        let of = |argument: &'a Argument| Some((order.at[argument.wire.index()]? as usize, argument));
        let arguments: BTreeMap<usize, &Argument> = circuit.arguments.iter().filter_map(of).collect();
        let mut after = vec![false; circuit.nodes.len()];
        let mut filled = vec![false; order.steps.len()];
        for (step, &node) in order.steps.iter().enumerate() {
            let behind = circuit.nodes[node].op.operands().iter().any(|w| after[w.index()]);
            let argument = arguments.contains_key(&step);
            filled[step] = fills && argument && !behind;
            after[node] = behind || argument;
        }
        Self { grid, arguments, filled, sizes: order.steps.iter().map(|_| AtomicU64::new(0)).collect() }
    }

    fn look(&self, step: usize, slots: &mut Slots) {
        if let Some(argument) = self.arguments.get(&step) {
            let [low, high] = argument.interval;
            let (lanes, period) = (self.grid.lanes, argument.dim.next_power_of_two());
            let samples = self.grid.batch.saturating_sub(argument.group * lanes).min(lanes);
            let mut rng = ChaCha20Rng::seed_from_u64(step as u64);
            for (neuron, row) in slots.chunks_mut(lanes).enumerate().filter(|(neuron, _)| neuron % period < argument.dim) {
                for (sample, slot) in row[..samples].iter_mut().enumerate() {
                    *slot = match (self.filled[step], sample) {
                        (false, _) => slot.clamp(low, high),
                        (true, 0) if neuron.is_multiple_of(2) => low,
                        (true, 0) => high,
                        (true, _) => low + (high - low) * uniform(&mut rng),
                    };
                }
            }
        }
        // Beyond every number, so that it stays the largest.
        let size = slots.iter().fold(0.0f64, |m, v| if v.is_nan() { f64::INFINITY } else { m.max(v.abs()) });
        self.sizes[step].fetch_max(size.to_bits(), Ordering::Relaxed);
    }

    fn sizes(&self) -> impl Iterator<Item = f64> {
        self.sizes.iter().map(|bits| f64::from_bits(bits.load(Ordering::Relaxed)))
    }
}
