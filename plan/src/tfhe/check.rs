//! The checker: a plan that passes runs, its integers fit where they stand, and noise turns a decision with at most the
//! probability that the plan states.

use std::collections::BTreeSet;

use super::analysis::{self, Decision, Demand, Source};
use super::parameters::{self, LookupId, RingId};
use super::{Op, Plan, Step, Table, noise, sending, served};
use crate::check::PlanError;
use crate::infer::{Known, extent_of, infer};
use crate::{ClearOp, ClearProgram, StateInit, Target};

/// Most that a bootstrap of a plan may fail with, log2.
pub const LOG2_FAILURE: f64 = -64.0;
/// Most terms of all linear combinations together, and most steps.
const LARGEST: usize = 1 << 24;
/// Most integers of all steps together: a small plan can name many, and each takes some hundred bytes to check.
const MOST_INTEGERS: usize = 1 << 22;
/// Most vectors that a server carries.
const MOST_CARRIED: usize = 1 << 12;
/// Widest integers, in bits.
pub const WIDEST: u32 = 30;
/// Widest tables, in bits.
const WIDEST_TABLE: u32 = 12;

/// Checks a plan for use.
///
/// # Errors
/// All violations of the first failing part.
pub fn check(plan: &Plan) -> Result<(), Vec<PlanError>> {
    if plan.parameters.security_bits < 128 {
        return Err(vec![PlanError::Parameters(format!("{} bits of security", plan.parameters.security_bits))]);
    }
    run(plan, false)
}

/// Checks everything but that a plan declares a security level: for tests with small keys.
///
/// # Errors
/// All violations of the first failing part.
pub fn check_insecure(plan: &Plan) -> Result<(), Vec<PlanError>> {
    run(plan, true)
}

fn run(plan: &Plan, insecure: bool) -> Result<(), Vec<PlanError>> {
    for part in [limits, structure, programs] {
        let errors = part(plan);
        if !errors.is_empty() {
            return Err(errors);
        }
    }
    let analysis = analysis::run(plan);
    let mut errors: Vec<PlanError> = analysis.faults.iter().map(|(index, reason)| fault(plan, *index, reason.clone())).collect();
    for (index, (step, (low, high))) in plan.steps.iter().zip(&analysis.ranges).enumerate() {
        if *low < step.wire.low || *high > step.wire.high {
            errors.push(fault(plan, index, format!("integers from {low} to {high} can occur, beyond those it states")));
        }
    }
    for demand in &analysis.demands {
        let failure = log2_failure(plan, demand);
        if failure > plan.log2_failure {
            let what = match demand.decision {
                Decision::Lookup(LookupId(id)) => format!("a bootstrap by lookup {id}"),
                Decision::Decrypt => "a decryption".to_owned(),
            };
            errors.push(PlanError::Parameters(format!("{what} fails with 2^{failure:.1}, more than 2^{:.1}", plan.log2_failure)));
        }
    }
    if errors.is_empty() { served::verify(plan.training.as_ref(), &plan.states, insecure) } else { Err(errors) }
}

/// log2 of the probability that noise turns a decision.
pub fn log2_failure(plan: &Plan, demand: &Demand) -> f64 {
    let parameters = &plan.parameters;
    let variance: f64 = demand.noise().map(|(source, sum)| sum * source_variance(parameters, source)).sum();
    let half_box = libm::exp2(f64::from(demand.half_box));
    match demand.decision {
        Decision::Lookup(id) => parameters.log2_failure(&parameters.lookups[id.0 as usize], variance, half_box),
        Decision::Decrypt => noise::log2_failure(half_box, variance),
    }
}

/// log2 of the most that a decision of each step fails with; `None` where nothing is decided.
pub fn failures(plan: &Plan) -> Vec<Option<f64>> {
    let worst = |demands: &Vec<Demand>| demands.iter().map(|demand| log2_failure(plan, demand)).max_by(f64::total_cmp);
    analysis::by_step(plan).iter().map(worst).collect()
}

/// The variance of what comes from a source.
pub fn source_variance(parameters: &parameters::Parameters, source: Source) -> f64 {
    match source {
        Source::Fresh(ring) => parameters.fresh(ring),
        Source::Lookup(id) => parameters.refreshed(&parameters.lookups[id.0 as usize]),
        Source::Switch(id) => parameters.switched(&parameters.switches[id.0 as usize]),
        Source::Sent(sending) => parameters.sent(sending),
    }
}

fn fault(plan: &Plan, index: usize, reason: String) -> PlanError {
    PlanError::Step { index, op: plan.steps[index].op.name(), reason }
}

fn limits(plan: &Plan) -> Vec<PlanError> {
    let mut errors: Vec<PlanError> = parameters::verify(&plan.parameters);
    let mut refuse = |reason: &str| errors.push(PlanError::Parameters(reason.to_owned()));
    if plan.log2_failure.is_nan() || plan.log2_failure > LOG2_FAILURE {
        refuse("bootstraps may fail with at most 2^-64");
    }
    if plan.batch == 0 || plan.batch > LARGEST || plan.steps.len() > LARGEST || plan.client.nodes.len() > LARGEST {
        refuse("too many samples or steps, or none");
    }
    let terms = plan.steps.iter().map(|step| match &step.op {
        Op::Affine { rows, operands } => rows.iter().map(|row| row.terms.len()).sum::<usize>() + rows.len() + operands.len(),
        Op::Table { tables, .. } => tables.len(),
        Op::Input(_) | Op::Carried(_) | Op::Floor { .. } | Op::Rest { .. } | Op::Sign { .. } | Op::Switch { .. } => 1,
    });
    if plan.carried.len() > MOST_CARRIED {
        refuse("too many vectors are carried");
    }
    if terms.sum::<usize>() > LARGEST || plan.steps.iter().map(|step| step.wire.len as usize).sum::<usize>() > MOST_INTEGERS {
        refuse("too many integers");
    }
    for table in &plan.tables {
        if !table.values.len().is_power_of_two() || !(2..=1 << WIDEST_TABLE).contains(&table.values.len()) {
            refuse("a table has 2 to 2^12 values, a power of two");
        }
    }
    errors
}

fn structure(plan: &Plan) -> Vec<PlanError> {
    let mut errors = Vec::new();
    let known = Counted::of(plan);
    for (index, step) in plan.steps.iter().enumerate() {
        if let Some(operand) = step.op.operands().iter().find(|operand| operand.index() >= index) {
            errors.push(PlanError::Dangling { what: "step", index, target: format!("wire {}", operand.0) });
        } else if let Err(reason) = formed(plan, &known, step) {
            errors.push(fault(plan, index, reason));
        }
    }
    for (index, output) in plan.outputs.iter().enumerate() {
        match plan.steps.get(output.wire.index()) {
            None => errors.push(PlanError::Dangling { what: "output", index, target: format!("wire {}", output.wire.0) }),
            Some(step) if extent_of(&output.shape).is_none_or(|(rows, cols)| rows * cols != step.wire.len as usize) => {
                errors.push(PlanError::Layout { what: output.label.clone(), reason: "its shape is not that of its wire".to_owned() });
            }
            Some(_) => {}
        }
    }
    for (index, carried) in plan.carried.iter().enumerate() {
        if carried.wire.index() >= plan.steps.len() {
            errors.push(PlanError::Dangling { what: "carried vector", index, target: format!("wire {}", carried.wire.0) });
        }
    }
    if errors.is_empty() { sending::verify(plan) } else { errors }
}

/// What steps ask for, counted once.
struct Counted {
    /// How many steps read each input.
    reads: Vec<usize>,
    /// How many steps read each carried vector.
    carried: Vec<usize>,
    /// (smallest, largest) value of each table.
    values: Vec<(i64, i64)>,
}

impl Counted {
    fn of(plan: &Plan) -> Self {
        let (mut reads, mut carried) = (vec![0; plan.inputs.len()], vec![0; plan.carried.len()]);
        for step in &plan.steps {
            let count = match step.op {
                Op::Input(id) => reads.get_mut(id.0 as usize),
                Op::Carried(id) => carried.get_mut(id.0 as usize),
                _ => None,
            };
            count.into_iter().for_each(|count| *count += 1);
        }
        let ends = |table: &Table| table.values.iter().fold((i64::MAX, i64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
        Self { reads, carried, values: plan.tables.iter().map(ends).collect() }
    }
}

/// Whether a step whose operands come before it is one.
fn formed(plan: &Plan, known: &Counted, step: &Step) -> Result<(), String> {
    let wire = step.wire;
    let is = |holds: bool, reason: &str| if holds { Ok(()) } else { Err(reason.to_owned()) };
    is((1..=WIDEST).contains(&wire.bits) && wire.len > 0 && (wire.ring.0 as usize) < plan.parameters.rings.len(), "its bits or its key")?;
    let room = 1i64 << wire.bits;
    is(-room <= wire.low && wire.low <= wire.high && wire.high < room, "the integers that it states do not fit its bits")?;
    let operand = |slot: usize| plan.steps[step.op.operands()[slot].index()].wire;
    let bootstrap = |id: LookupId, from: RingId| {
        let lookup = plan.parameters.lookups.get(id.0 as usize).ok_or("no such lookup")?;
        is(lookup.from == from && lookup.to == wire.ring && operand(0).len == wire.len, "the lookup is for other keys")
    };
    match &step.op {
        Op::Input(id) => {
            let reads = known.reads.get(id.0 as usize).ok_or("no such input")?;
            is(*reads == 1, "an input is read by one step")
        }
        Op::Carried(id) => {
            let reads = known.carried.get(id.0 as usize).ok_or("no such carried vector")?;
            is(*reads == 1, "a carried vector is read by one step")?;
            let kept = plan.steps.get(plan.carried[id.0 as usize].wire.index()).ok_or("no step makes the carried vector anew")?.wire;
            let same = (kept.ring, kept.bits, kept.len) == (wire.ring, wire.bits, wire.len);
            is(same && wire.low <= kept.low && kept.high <= wire.high, "what is kept is not what is carried")
        }
        Op::Affine { operands, rows } => {
            is(rows.len() == wire.len as usize, "not as many rows as integers")?;
            for slot in 0..operands.len() {
                is(operand(slot).ring == wire.ring, "an operand is under another key")?;
            }
            // On a coarser step stand only multiples of what is between the steps.
            let coarser: Vec<u32> = operands.iter().map(|w| wire.bits.saturating_sub(plan.steps[w.index()].wire.bits)).collect();
            let inside = |&(o, e, c): &(u32, u32, i64)| {
                (o as usize) < operands.len()
                    && e < operand(o as usize).len
                    && c.unsigned_abs() <= 1 << WIDEST
                    && c.trailing_zeros() >= coarser[o as usize]
            };
            is(rows.iter().all(|row| row.constant.unsigned_abs() <= 1 << 40 && row.terms.iter().all(inside)), "a term is out of range")
        }
        Op::Table { a: _, tables, lookup } => {
            bootstrap(*lookup, operand(0).ring)?;
            is(!tables.is_empty() && (tables.len() == 1 || tables.len() == wire.len as usize), "one table for all, or one for each")?;
            for id in tables {
                let table = plan.tables.get(id.0 as usize).ok_or("no such table")?;
                is(operand(0).bits <= WIDEST_TABLE && table.values.len() == 1 << operand(0).bits, "the table is for other integers")?;
                let (low, high) = known.values[id.0 as usize];
                is(-room <= low && high < room, "a value of the table does not fit")?;
            }
            Ok(())
        }
        Op::Floor { a: _, drop, lookup } => {
            bootstrap(*lookup, operand(0).ring)?;
            is(operand(0).ring == wire.ring, "dropping bits keeps the key")?;
            is((1..=WIDEST).contains(drop) && operand(0).bits.checked_sub(*drop) == Some(wire.bits), "the bits left")
        }
        Op::Rest { operands: [a, floor] } => {
            let of = matches!(plan.steps[floor.index()].op, Op::Floor { a: dropped, .. } if dropped == *a);
            is(of, "it is the rest of another vector")?;
            is(wire.bits == operand(0).bits && wire.ring == operand(0).ring && wire.len == operand(0).len, "its bits or its key")
        }
        Op::Sign { a: _, no, yes, lookup } => {
            bootstrap(*lookup, operand(0).ring)?;
            is((-room..room).contains(no) && (-room..room).contains(yes), "its values do not fit")
        }
        Op::Switch { a: _, switch } => {
            let switch = plan.parameters.switches.get(switch.0 as usize).ok_or("no such key switch")?;
            let fits = switch.from == operand(0).ring && switch.to == wire.ring;
            is(fits && operand(0).len == wire.len && operand(0).bits == wire.bits, "the key switch is for other keys")
        }
    }
}

/// The client's programs, and what goes in and out.
fn programs(plan: &Plan) -> Vec<PlanError> {
    let mut errors = Vec::new();
    let mut refuse = |what: &str, reason: &str| errors.push(PlanError::Layout { what: what.to_owned(), reason: reason.to_owned() });
    for state in plan.states.iter().filter(|state| state.shape.len() > 4 || extent_of(&state.shape).is_none()) {
        refuse(&state.name, "its shape is empty or too large");
    }
    for state in plan.states.iter().filter(|state| state.shape.is_empty() && matches!(state.init, StateInit::Orthogonal { .. })) {
        refuse(&state.name, "a single number is no matrix with orthogonal rows");
    }
    let training = plan.training.iter();
    let own = training.clone().flat_map(|t| [(&t.policy, "policy", Some(t.act)), (&t.watch.program, "watch", None)]);
    let recodes = training.filter_map(|t| t.env.recode.as_ref().map(|(program, out)| (program, "reward recoding", Some(*out))));
    let known = Known { states: &plan.states, values: Vec::new() };
    for (program, what, output) in own.chain(recodes) {
        if let Err(reason) = extents(&known, program, 2).and_then(|extents| match output {
            Some(output) if output.0 as usize >= extents.len() => Err("its output is no node of it".to_owned()),
            Some(_) | None => Ok(()),
        }) {
            refuse(what, &reason);
        }
    }
    for watched in plan.training.iter().flat_map(|t| &t.watch.arguments) {
        let [low, high] = watched.range;
        if watched.node.0 as usize >= plan.training.as_ref().map_or(0, |t| t.watch.program.nodes.len())
            || low.is_nan()
            || high.is_nan()
            || low >= high
        {
            refuse(&watched.name, "it is no node of the program, or its interval is empty");
        }
    }
    let extents = match extents(&known, &plan.client, plan.batch) {
        Ok(extents) => extents,
        Err(reason) => {
            refuse("client", &reason);
            return errors;
        }
    };
    let mut lengths = vec![None; plan.inputs.len()];
    for step in &plan.steps {
        if let Op::Input(id) = step.op {
            lengths[id.0 as usize] = Some(step.wire.len as usize);
        }
    }
    for (input, length) in plan.inputs.iter().zip(lengths) {
        let extent = extents.get(input.tensor.0 as usize);
        match (length, extent) {
            (Some(length), Some((rows, cols))) if rows * cols == length && positive(input.scale) => {}
            _ => refuse(&input.label, "no step reads it, or its size or scale is wrong"),
        }
    }
    for output in &plan.outputs {
        let known = match &output.target {
            Target::State(name) => plan.states.iter().any(|state| state.name == *name && state.shape == output.shape),
            Target::Result { .. } => true,
            Target::Rated { .. } | Target::Value { .. } => false,
        };
        if !known || !positive(output.scale) {
            refuse(&output.label, "no state of that name and shape, or its scale is wrong");
        }
    }
    carried(plan, &mut refuse);
    for public in &plan.public {
        if extent_of(&public.shape).is_none_or(|(rows, cols)| rows * cols != public.values.len()) {
            refuse(&public.name, "its shape is wrong");
        }
    }
    errors
}

/// Whether the server carries all states or none, and can be given them.
fn carried(plan: &Plan, refuse: &mut impl FnMut(&str, &str)) {
    if plan.carried.is_empty() {
        return;
    }
    let names: BTreeSet<&str> = plan.states.iter().map(|state| state.name.as_str()).collect();
    if let Some(odd) = plan.carried.iter().find(|carried| !names.contains(carried.state.as_str()) || !positive(carried.scale)) {
        refuse(&odd.state, "there is no state that the carried vector is a part of, or its scale is wrong");
        return;
    }
    let all = plan.parts();
    if all.values().map(Vec::len).sum::<usize>() != plan.carried.len() {
        refuse("carried", "no step reads one of the carried vectors");
    }
    for state in &plan.states {
        let parts = all.get(state.name.as_str()).map(Vec::as_slice).unwrap_or_default();
        let size = extent_of(&state.shape).map(|(rows, cols)| rows * cols);
        if parts.is_empty() || parts.iter().any(|part| Some(part.wire.len as usize) != size) {
            refuse(&state.name, "the server carries some states, and not this one in whole");
        }
        for pair in parts.windows(2) {
            let [coarse, fine] = pair else { continue };
            // A power of two, so that digits are the same on every machine.
            let (base, wire) = (coarse.scale / fine.scale, fine.wire);
            let whole = (2.0..=libm::exp2(f64::from(WIDEST))).contains(&base) && libm::exp2(libm::round(libm::log2(base))) == base;
            if !whole || wire.high - wire.low + 1 != base as i64 {
                refuse(&state.name, "a finer part takes what a step of the coarser one has room for, a power of two");
            }
        }
    }
    if plan.client.nodes.iter().any(|node| matches!(node.op, ClearOp::State(_))) {
        refuse("client", "the client has no states of its own where the server carries them");
    }
    if plan.outputs.iter().any(|output| matches!(output.target, Target::State(_))) {
        refuse("outputs", "states do not go to the client where the server carries them");
    }
}

fn positive(scale: f64) -> bool {
    scale.is_normal() && scale > 0.0 && (1.0 / scale).is_finite()
}

/// Rows and columns of a program's nodes.
fn extents(known: &Known<'_>, program: &ClearProgram, batch: usize) -> Result<Vec<(usize, usize)>, String> {
    for (index, node) in program.nodes.iter().enumerate() {
        if node.op.operands().iter().any(|operand| operand.0 as usize >= index) {
            return Err(format!("node {index} names a later one"));
        }
    }
    infer(known, program, batch).map_err(|(node, reason)| format!("node {node}: {reason}"))
}
