//! Lowering to TFHE: quantised integers, sums without bootstraps, a bootstrap for every table.
//!
//! [`lower`] chooses grids and makes a [`circuit`] of integers, [`assign`] gives it torus steps and keys, and the parameters
//! are the cheapest by which every bootstrap decides right but for the stated probability.

pub mod assign;
pub mod circuit;
mod decide;
pub mod error;
pub mod linear;
pub mod lower;

use std::collections::BTreeMap;

use hecc_plan::tfhe::analysis::{self, Decision};
use hecc_plan::tfhe::check::LOG2_FAILURE;
use hecc_plan::tfhe::choose::{self, Between, Class, Demand, Source, Use};
use hecc_plan::tfhe::parameters::{LookupId, Parameters, RingId};
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::tfhe::{Op, Plan, Public, WireId};
use hecc_plan::{Span, Tensor, Tensors, init};

use crate::approximation::Approximation;
use crate::check::hir::{Observation, Program, Refresh, Task};
use crate::diagnostics::Diagnostic;
use crate::tensor::build::{self, Built};
use crate::tensor::eval::{self, Exact};
use crate::tensor::{Data, Graph, Shape, ranges};

pub use error::TfheError;

/// Widest integers that a table reads, in bits.
pub const WIDEST_TABLE: u32 = 10;
/// Samples that scales are chosen by, where none are given.
const SAMPLES: usize = 512;

/// What a program is compiled for, beside its source.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Parameters of networks: those of public ones stand in the plan, those of secret ones only choose scales. The seeded
    /// initial ones where there are none.
    pub weights: Tensors,
    /// Observations that scales are chosen by, in the environment's units; random ones of the declared ranges where there are
    /// none.
    pub sample: Tensors,
}

/// A compiled program.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The plan.
    pub plan: Plan,
    /// The tensor graph.
    pub graph: Graph,
}

/// Compiles a checked program whose scheme is TFHE; `source` is only named in the plan.
///
/// # Errors
/// All errors of the first stage that has any.
pub fn compile(program: &Program, source: &str, given: &Given) -> Result<Compiled, Vec<Diagnostic>> {
    let built = build::build(program, false).map_err(|errors| errors.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    let plan = plan(program, source, &built, given).map_err(|errors| errors.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    if let Err(faults) = hecc_plan::tfhe::check::check(&plan) {
        panic!("the compiler made a plan that does not check, which is a bug of hecc: {faults:?}");
    }
    Ok(Compiled { plan, graph: built.graph })
}

fn plan(program: &Program, source: &str, built: &Built, given: &Given) -> Result<Plan, Vec<TfheError>> {
    let (name, batch, seed, span) = match &program.task {
        Task::Train(train) => (train.algorithm.clone(), train.settings.batch, train.settings.seed, train.span),
        Task::Serve(serve) => ("serve".to_owned(), serve.batch, 0, serve.span),
    };
    if program.secure.bits != 128 {
        let span = program.secure.span.unwrap_or(span);
        return Err(vec![TfheError::unsupported(format!("{} bits of security with tables", program.secure.bits), span)]);
    }
    if matches!(program.task, Task::Train(_)) && program.secure.refresh == Refresh::Bootstrap {
        let what = "training on integers without the client: write `refresh = client`, and the key owner keeps the states";
        return Err(vec![TfheError::unsupported(what, program.secure.span.unwrap_or(span))]);
    }
    let mut weights = init::initial_states(&built.states, seed);
    weights.extend(
        given.weights.iter().filter(|(name, _)| built.states.iter().any(|s| s.name == **name)).map(|(n, t)| (n.clone(), t.clone())),
    );
    let public: BTreeMap<String, Vec<f64>> =
        built.public.iter().filter_map(|(name, _)| Some((name.clone(), weights.get(name)?.data.clone()))).collect();
    let (sample, samples) = sample(program, &built.graph, given, &weights, seed);
    let lowered = lower::run(program, &built.graph, batch, (&sample, samples), &public)?;
    let assigned = assign::run(&lowered.circuit);
    let training = match &program.task {
        Task::Train(train) => Some(crate::emit::training(program, train, built, &Approximation::default())),
        Task::Serve(_) => None,
    };
    let is_public = |name: &str| public.contains_key(name);
    let as_public = |(name, shape): &(String, Vec<usize>)| {
        let values = public.get(name)?;
        Some(Public { name: name.clone(), shape: shape.clone(), values: values.iter().map(|v| *v as f32).collect() })
    };
    let mut plan = Plan {
        name,
        source: crate::emit::fingerprint(source),
        parameters: Parameters { security_bits: 128, ..Parameters::default() },
        log2_failure: LOG2_FAILURE,
        batch,
        client: lowered.client.program,
        inputs: assigned.inputs,
        tables: assigned.tables,
        steps: assigned.steps,
        outputs: assigned.outputs,
        states: built.states.iter().filter(|s| training.is_some() || !is_public(&s.name)).cloned().collect(),
        periods: built.periods.clone(),
        public: built.public.iter().filter_map(as_public).collect(),
        training,
        notes: Vec::new(),
        decisions: Vec::new(),
    };
    let demand = demand(&plan, assigned.rings, &assigned.lookups, &assigned.switches);
    let Some(choice) = choose::choose(&demand, &Prices::BUILT_IN) else {
        let (bits, span) = widest(&plan, span);
        return Err(vec![TfheError::Noise { bits, span }]);
    };
    plan.parameters = choice.parameters.clone();
    decide::run(program, &mut plan, &choice, given);
    Ok(plan)
}

/// Values of every node on a sample of the client's data.
fn sample(program: &Program, graph: &Graph, given: &Given, weights: &Tensors, seed: u64) -> (Vec<Vec<f64>>, usize) {
    let observed = |o: &Observation| given.sample.get(&o.name).map(|t| normalised(o, t));
    let rows = program.env.observations.iter().filter_map(|o| Some(observed(o)?.len() / o.ranges.len())).min();
    let batch = rows.filter(|&rows| rows > 0).unwrap_or(SAMPLES).min(4096);
    let mut drawn: BTreeMap<Data, Vec<f64>> = BTreeMap::new();
    for (stream, id) in graph.ids().enumerate() {
        let (crate::tensor::Op::Data(data), Shape::Sample(dim)) = (&graph.node(id).op, graph.shape(id)) else { continue };
        let given = match data {
            Data::Observation { index, .. } => observed(&program.env.observations[*index]),
            _ => None,
        };
        let values = given.unwrap_or_else(|| ranges::sample(program, data, batch, dim, seed, stream as u64));
        drawn.insert(data.clone(), values.into_iter().take(batch * dim).collect());
    }
    let states = weights.iter().map(|(name, t)| (name.clone(), t.data.clone())).collect();
    (eval::eval(graph, batch, &Exact, &|data| drawn.get(data).cloned().unwrap_or_default(), &states), batch)
}

/// Observations as networks see them.
fn normalised(observation: &Observation, given: &Tensor) -> Vec<f64> {
    let ranges = &observation.ranges;
    let one = |(i, v): (usize, &f64)| {
        let range = ranges[i % ranges.len()];
        (2.0 * (v - range.low) / (range.high - range.low) - 1.0).clamp(-1.0, 1.0)
    };
    given.data.iter().enumerate().map(one).collect()
}

/// What the steps ask of parameters.
fn demand(plan: &Plan, rings: u32, lookups: &[(RingId, RingId)], switches: &[(RingId, RingId)]) -> Demand {
    let found = analysis::run(plan);
    let source = |source: analysis::Source| match source {
        analysis::Source::Fresh(ring) => Source::Fresh(ring),
        analysis::Source::Lookup(id) => Source::Lookup(id.0 as usize),
        analysis::Source::Switch(id) => Source::Switch(id.0 as usize),
    };
    let uses = |decision: Decision, count: f64| {
        let asked = found.demands.iter().filter(move |demand| demand.decision == decision);
        let used = asked.enumerate().map(move |(i, demand)| Use {
            half_box_log2: f64::from(demand.half_box),
            sources: demand.noise().map(|(s, sum)| (source(s), sum)).collect(),
            // The others only bound the noise.
            count: if i == 0 { count } else { 0.0 },
        });
        used.collect::<Vec<Use>>()
    };
    let count = |lookup: usize| -> f64 {
        let each = plan.steps.iter().filter_map(|step| step.op.lookups().map(|(id, times)| (id, times, step.wire.len)));
        each.filter(|(id, ..)| id.0 as usize == lookup).map(|(_, times, len)| f64::from(times) * f64::from(len)).sum()
    };
    let switched = |number: usize| -> f64 {
        let is = |op: &Op| matches!(op, Op::Switch { switch, .. } if switch.0 as usize == number);
        plan.steps.iter().filter(|step| is(&step.op)).map(|step| f64::from(step.wire.len)).sum()
    };
    let class =
        |(i, &(from, to)): (usize, &(RingId, RingId))| Class { from, to, uses: uses(Decision::Lookup(LookupId(i as u32)), count(i)) };
    Demand {
        security_bits: 128,
        rings,
        classes: lookups.iter().enumerate().map(class).collect(),
        switches: switches.iter().enumerate().map(|(i, &(from, to))| Between { from, to, count: switched(i) }).collect(),
        readings: uses(Decision::Decrypt, 0.0),
        log2_failure: plan.log2_failure,
    }
}

/// The widest integers that a bootstrap reads, and what asked for them.
fn widest(plan: &Plan, span: Span) -> (u32, Span) {
    let bits = |w: &WireId| plan.steps[w.index()].wire.bits;
    let read = plan.steps.iter().filter(|step| step.op.lookups().is_some());
    read.filter_map(|step| Some((bits(step.op.operands().first()?), step.span))).max_by_key(|(bits, _)| *bits).unwrap_or((0, span))
}
