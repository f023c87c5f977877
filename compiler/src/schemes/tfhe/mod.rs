//! Lowering to TFHE: quantised integers, sums without bootstraps, a bootstrap for every table.
//!
//! [`lower`] chooses grids and makes a [`circuit`] of integers, [`assign`] gives it torus steps and keys, and the parameters
//! are the cheapest by which every bootstrap decides right but for the stated probability.

pub mod assign;
pub mod circuit;
mod decide;
pub mod error;
mod last;
pub mod linear;
pub mod lower;
mod seen;
pub mod served;

use std::collections::BTreeMap;

use hecc_plan::calibration::Calibration;
use hecc_plan::link::Link;
use hecc_plan::tfhe::analysis::{self, Decision};
use hecc_plan::tfhe::check::{LOG2_FAILURE, WIDEST};
use hecc_plan::tfhe::choose::{self, Between, Choice, Class, Demand, Source, Use};
use hecc_plan::tfhe::parameters::{LookupId, Parameters, RingId};
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::tfhe::sending::{self, Weighed};
use hecc_plan::tfhe::{Leanest, Op, Plan, Public, WireId, cost, minimum};
use hecc_plan::{ClearProgram, Span, Tensor, Tensors, init};

use crate::approximation::Approximation;
use crate::check::hir::{Observation, Program, Refresh, Task};
use crate::diagnostics::Diagnostic;
use crate::tensor::build::{self, Built};
use crate::tensor::eval::{self, Exact, Functions};
use crate::tensor::{Data, Graph, Shape, ranges};

pub use error::TfheError;
use lower::{Choices, Lowered, Master};
use seen::Seen;

/// Widest integers that a table reads, in bits.
pub const WIDEST_TABLE: u32 = 10;
/// Most bits below those that are read in states that the server carries: the finest for which there are parameters are taken.
const BELOW: &[u32] = &[lower::FINEST, 10, 8, 6];
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
    compile_calibrated(program, source, given, None, Prices::built_in(), Link::default())
}

/// [`compile`] with what a clear-text run of this source measured, by which grids are chosen, with what operations take, and
/// with what crosses over `link`.
///
/// # Errors
/// As [`compile`].
pub fn compile_calibrated(
    program: &Program,
    source: &str,
    given: &Given,
    calibration: Option<&Calibration>,
    prices: &Prices,
    link: Link,
) -> Result<Compiled, Vec<Diagnostic>> {
    served::supported(program).map_err(|errors| errors.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    if program.secure.refresh == Refresh::Auto && matches!(program.task, Task::Train(_)) {
        return by_cost(program, source, given, calibration, prices, link);
    }
    let built = build::build(program, false).map_err(|errors| errors.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    let mut plan = plans(program, source, &built, given, Seen { moving: None, measured: calibration }, prices)?.swap_remove(0);
    if let Some(training) = &mut plan.training {
        training.served = served::compile(program, source, &built, None, given, calibration, prices)?;
    }
    if let Err(faults) = hecc_plan::tfhe::check::check(&plan) {
        panic!("the compiler made a plan that does not check, which is a bug of hecc: {faults:?}");
    }
    Ok(Compiled { plan, graph: built.graph })
}

/// Compiles with the client refreshing, and with the server carrying the states, and takes what is predicted to take less time per
/// update, what crosses included.
fn by_cost(
    program: &Program,
    source: &str,
    given: &Given,
    calibration: Option<&Calibration>,
    prices: &Prices,
    link: Link,
) -> Result<Compiled, Vec<Diagnostic>> {
    let with = |refresh: Refresh| {
        let mut program = program.clone();
        program.secure.refresh = refresh;
        compile_calibrated(&program, source, given, calibration, prices, link)
    };
    let takes = |compiled: &Compiled| {
        let predicted = cost::predict(&compiled.plan, prices, 0);
        predicted.seconds + predicted.link_seconds(link)
    };
    let alone = |mut compiled: Compiled, who: &str, errors: &[Diagnostic]| {
        let why = errors.first().map_or("", |error| &error.message);
        compiled.plan.notes.push(format!("refresh = auto: {who}; the other way has no plan: {why}"));
        compiled
    };
    match (with(Refresh::Client), with(Refresh::Bootstrap)) {
        (Ok(client), Err(errors)) => Ok(alone(client, "the client", &errors)),
        (Err(errors), Ok(server)) => Ok(alone(server, "the server alone", &errors)),
        (Err(errors), Err(_)) => Err(errors),
        (Ok(client), Ok(server)) => {
            let (by_client, by_server) = (takes(&client), takes(&server));
            let (mut best, who) = if by_client <= by_server { (client, "the client") } else { (server, "the server alone") };
            best.plan.notes.push(format!(
                "refresh = auto: {who}; an update takes {by_client:.2} s with the client and {by_server:.2} s without, over {link}"
            ));
            Ok(best)
        }
    }
}

/// Products of an update from which on nobody who leaves the choice to the compiler would wait for tables: an hour each, and minutes
/// to compile.
const MANY: usize = 1 << 17;

/// Whether a program, by a server alone, takes far more tables than slots would be worth comparing with.
///
/// # Errors
/// HE0301 if so, and those of the tensor graph.
pub fn in_reach(program: &Program) -> Result<(), Vec<Diagnostic>> {
    let Task::Train(train) = &program.task else { return Ok(()) };
    let built = build::build(program, false).map_err(|errors| errors.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    let (graph, batch) = (&built.graph, train.settings.batch);
    let size = |id: crate::tensor::Id| match graph.shape(id) {
        Shape::Sample(d) => batch * d,
        Shape::Vector(d) => d,
        Shape::Matrix(out, inputs) => out * inputs,
    };
    let products = |id: crate::tensor::Id| {
        let inner = |slot: usize| size(graph.operands(id)[slot]);
        match graph.node(id).op {
            crate::tensor::Op::Dense | crate::tensor::Op::DenseTranspose => batch * inner(1),
            crate::tensor::Op::DenseGradient => batch * size(id),
            crate::tensor::Op::Mul => size(id),
            _ => 0,
        }
    };
    let count: usize = graph.ids().map(products).sum();
    if lower::carries(program) && count > MANY {
        let what = format!("{count} products an update by tables, for `secure auto`: write `secure tfhe` to have them");
        return Err(vec![Diagnostic::from(&TfheError::unsupported(what, train.span))]);
    }
    Ok(())
}

/// The plans of every way to compute a program, the one that is predicted to be fastest first.
///
/// # Errors
/// All errors of the first stage that has any.
pub fn ways(program: &Program, source: &str, given: &Given) -> Result<Vec<Plan>, Vec<Diagnostic>> {
    let built = build::build(program, false).map_err(|errors| errors.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    plans(program, source, &built, given, Seen::default(), Prices::built_in())
}

/// The same; `seen` has what is known of values beside a sample of them.
fn plans(
    program: &Program,
    source: &str,
    built: &Built,
    given: &Given,
    seen: Seen<'_>,
    prices: &Prices,
) -> Result<Vec<Plan>, Vec<Diagnostic>> {
    lowered(program, source, built, given, seen, prices).map_err(|errors| errors.iter().map(Diagnostic::from).collect())
}

fn lowered(
    program: &Program,
    source: &str,
    built: &Built,
    given: &Given,
    seen: Seen<'_>,
    prices: &Prices,
) -> Result<Vec<Plan>, Vec<TfheError>> {
    let (name, batch, seed, span) = match &program.task {
        Task::Train(train) => (train.algorithm.clone(), train.settings.batch, train.settings.seed, train.span),
        Task::Serve(serve) => ("serve".to_owned(), serve.batch, 0, serve.span),
    };
    if program.secure.bits != 128 {
        let span = program.secure.span.unwrap_or(span);
        return Err(vec![TfheError::unsupported(
            format!("{} bits of security with tables: write `bits = 128`", program.secure.bits),
            span,
        )]);
    }
    let carries = lower::carries(program);
    if carries && let Some(scaled) = built.scaled.first() {
        let what = "`adam` and `rmsprop` on integers: their steps are quotients; write `sgd` or `momentum`";
        return Err(vec![TfheError::unsupported(what, scaled.span)]);
    }
    if carries && !built.public.is_empty() {
        let what = "a training on integers by the server alone beside a public network: write `refresh = client`";
        return Err(vec![TfheError::unsupported(what, program.secure.span.unwrap_or(span))]);
    }
    let mut weights = init::initial_states(&built.states, seed);
    weights.extend(
        given.weights.iter().filter(|(name, _)| built.states.iter().any(|s| s.name == **name)).map(|(n, t)| (n.clone(), t.clone())),
    );
    let public: BTreeMap<String, Vec<f64>> =
        built.public.iter().filter_map(|(name, _)| Some((name.clone(), weights.get(name)?.data.clone()))).collect();
    let functions = seen.moving.map_or(&Exact as &dyn Functions, |moving| moving.functions);
    let (sample, samples) = sample(program, &built.graph, given, &weights, seed, functions);
    let lower = |choices: Choices| lower::run(program, built, batch, (&sample, samples), &public, choices, seen);
    let training = match &program.task {
        Task::Train(train) => Some(crate::emit::training(program, train, built, &Approximation::default())),
        Task::Serve(_) => None,
    };
    let is_public = |name: &str| public.contains_key(name);
    let as_public = |(name, shape): &(String, Vec<usize>)| {
        let values = public.get(name)?;
        Some(Public { name: name.clone(), shape: shape.clone(), values: values.iter().map(|v| *v as f32).collect() })
    };
    let common = Plan {
        name,
        source: crate::emit::fingerprint(source),
        parameters: Parameters { security_bits: 128, ..Parameters::default() },
        log2_failure: LOG2_FAILURE,
        batch,
        client: ClearProgram::default(),
        inputs: Vec::new(),
        tables: Vec::new(),
        steps: Vec::new(),
        outputs: Vec::new(),
        parcels: Vec::new(),
        states: built.states.iter().filter(|s| training.is_some() || !is_public(&s.name)).cloned().collect(),
        carried: Vec::new(),
        periods: built.periods.clone(),
        public: built.public.iter().filter_map(as_public).collect(),
        training,
        notes: Vec::new(),
        decisions: Vec::new(),
        fewest_bootstraps: None,
        leanest: None,
    };
    // Every way to compute it for which there are parameters; the cheapest is taken, the first of equals. States that the server
    // carries are as fine as they can be.
    let (mut ways, mut circuits, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for below in if carries { BELOW } else { &BELOW[..1] } {
        for choices in Choices::ALL {
            let choices = Choices { below: *below, ..choices };
            let lowered = match lower(choices) {
                Ok(lowered) => lowered,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            if circuits.contains(&lowered.circuit.nodes) {
                continue;
            }
            match way(&common, &lowered, choices, prices, span) {
                Ok(way) => ways.push(way),
                Err(error) => errors.push(vec![error]),
            }
            circuits.push(lowered.circuit.nodes);
        }
        if !ways.is_empty() {
            break;
        }
    }
    ways.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let Some((best, others)) = ways.split_first_mut() else { return Err(errors.swap_remove(0)) };
    let leaner = others.iter().filter(|way| way.plan.bootstraps() < best.plan.bootstraps());
    best.plan.leanest = leaner.min_by_key(|way| way.plan.bootstraps()).map(|way| Leanest {
        bootstraps: way.plan.bootstraps(),
        fewest: way.plan.fewest_bootstraps.unwrap_or_default(),
        seconds: way.seconds,
    });
    decide::run(program, best, others, given, seen);
    Ok(ways.into_iter().map(|way| way.plan).collect())
}

/// One way to compute a program.
struct Way {
    plan: Plan,
    masters: Vec<Master>,
    choice: Choice,
    choices: Choices,
    /// How results are sent, by key.
    sent: Vec<Weighed>,
    /// Predicted for a run.
    seconds: f64,
}

/// A plan of a circuit, with its parameters.
fn way(common: &Plan, lowered: &Lowered, choices: Choices, prices: &Prices, span: Span) -> Result<Way, TfheError> {
    let mut assigned = assign::run(&lowered.circuit);
    for output in &mut assigned.outputs {
        // Kernels of a convolution have four extents.
        if let hecc_plan::Target::State(name) = &output.target
            && let Some(state) = common.states.iter().find(|state| state.name == *name)
        {
            output.shape.clone_from(&state.shape);
        }
    }
    let mut plan = Plan {
        client: lowered.client.program.clone(),
        inputs: assigned.inputs,
        tables: assigned.tables,
        steps: assigned.steps,
        outputs: assigned.outputs,
        carried: assigned.carried,
        ..common.clone()
    };
    let wide = plan.steps.iter().max_by_key(|step| step.wire.bits).filter(|step| step.wire.bits > WIDEST);
    if let Some(step) = wide {
        return Err(TfheError::Noise { bits: step.wire.bits, span: step.span });
    }
    let demand = demand(&plan, assigned.rings, &assigned.lookups, &assigned.switches);
    let Some(choice) = choose::choose(&demand, prices) else {
        let (bits, span) = widest(&plan, span);
        return Err(TfheError::Noise { bits, span });
    };
    plan.parameters = choice.parameters.clone();
    let products = if choices.shared_halves { minimum::Products::Shared } else { minimum::Products::Apart };
    plan.fewest_bootstraps = Some(minimum::of(&plan, products));
    let sent = sending::choose(&mut plan);
    let seconds = cost::predict(&plan, prices, 0).seconds;
    Ok(Way { plan, masters: lowered.masters.clone(), choice, choices, sent, seconds })
}

/// Values of every node on a sample of the client's data.
fn sample(
    program: &Program,
    graph: &Graph,
    given: &Given,
    weights: &Tensors,
    seed: u64,
    functions: &dyn Functions,
) -> (Vec<Vec<f64>>, usize) {
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
    (eval::eval(graph, batch, functions, &|data| drawn.get(data).cloned().unwrap_or_default(), &states), batch)
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
        analysis::Source::Sent(_) => unreachable!("how results are sent is chosen after the parameters"),
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

/// The widest integers that a bootstrap reads, or the widest of all where there is none, and what asked for them.
fn widest(plan: &Plan, span: Span) -> (u32, Span) {
    let bits = |w: &WireId| plan.steps[w.index()].wire.bits;
    let read = plan.steps.iter().filter(|step| step.op.lookups().is_some());
    let all = || plan.steps.iter().map(|step| (step.wire.bits, step.span)).max_by_key(|(bits, _)| *bits);
    let read = read.filter_map(|step| Some((bits(step.op.operands().first()?), step.span))).max_by_key(|(bits, _)| *bits);
    read.or_else(all).unwrap_or((0, span))
}
