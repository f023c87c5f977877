//! The checker: a plan that passes runs. What can still fail afterwards is a missing key, a resource, a peer.

use std::collections::BTreeMap;

use crate::infer::{Known, extent_of, infer};
use crate::{
    Bootstrap, ClearId, ClearOp, Input, KeyShape, Lanes, Layout, Machine, Op, PlainPattern, Plan, Runs, Step, Target, Ties, Wire, Wires,
    drive, security, tfhe,
};

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PlanError {
    /// HE0501.
    #[error("the parameters are out of range: {0}")]
    Parameters(String),
    /// HE0502.
    #[error("the modulus has {have} bits, where ring degree 2^{log_n} allows {bound} at {bits}-bit security")]
    Insecure {
        /// log2 of the widest modulus.
        have: u32,
        /// What the tables allow.
        bound: u32,
        /// log2 of the ring degree.
        log_n: u32,
        /// Security level.
        bits: u32,
    },
    /// HE0503.
    #[error("{what} {index} names {target}, which does not exist or comes later")]
    Dangling {
        /// `step`, `round`, ...
        what: &'static str,
        /// Which.
        index: usize,
        /// What it names.
        target: String,
    },
    /// HE0504.
    #[error("step {index} ({op}): {reason}")]
    Step {
        /// Which.
        index: usize,
        /// Its operation.
        op: &'static str,
        /// Why it cannot run.
        reason: String,
    },
    /// HE0505.
    #[error("step {index} needs a {key} for {k} bits, which the key manifest lacks")]
    Key {
        /// Which step.
        index: usize,
        /// Which key.
        key: String,
        /// Width of the ciphertext.
        k: u32,
    },
    /// HE0506.
    #[error("{what} does not fit the slot grid: {reason}")]
    Layout {
        /// Which tensor.
        what: String,
        /// Why.
        reason: String,
    },
    /// HE0507.
    #[error("the rounds do not cover the steps in order, each input once and each output once")]
    Rounds,
    /// HE0508.
    #[error("the plan by which the server acts does not fit the training: {0}")]
    Policy(String),
}

impl PlanError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            PlanError::Parameters(_) => "HE0501",
            PlanError::Insecure { .. } => "HE0502",
            PlanError::Dangling { .. } => "HE0503",
            PlanError::Step { .. } => "HE0504",
            PlanError::Key { .. } => "HE0505",
            PlanError::Layout { .. } => "HE0506",
            PlanError::Rounds => "HE0507",
            PlanError::Policy(_) => "HE0508",
        }
    }
}

/// Checks a plan for use: everything [`check_insecure`] asks, and a security level of at least 128 bits.
///
/// # Errors
/// All violations of the first failing part.
pub fn check(plan: &Plan) -> Result<(), Vec<PlanError>> {
    if !matches!(plan.ckks.security_bits, 128 | 192 | 256) {
        return Err(vec![PlanError::Parameters(format!("{} bits of security (128, 192 or 256 are supported)", plan.ckks.security_bits))]);
    }
    run(plan, false)
}

/// Checks everything but that a plan declares a security level: for tests with small rings.
///
/// # Errors
/// All violations of the first failing part.
pub fn check_insecure(plan: &Plan) -> Result<(), Vec<PlanError>> {
    run(plan, true)
}

fn run(plan: &Plan, insecure: bool) -> Result<(), Vec<PlanError>> {
    for part in [parameters, bootstrap, structure, tensors, order] {
        let errors = part(plan);
        if !errors.is_empty() {
            return Err(errors);
        }
    }
    drive(&Checker { plan }, plan, (0, plan.steps.len() as u32), &Wires::new(plan), 1).map_err(|error| vec![error])?;
    tfhe::served::verify(plan.training.as_ref(), &plan.states, insecure)
}

const LARGEST: usize = 1 << 24;

/// Scales that a plan may have, in bits.
pub const SCALES: std::ops::RangeInclusive<u32> = 15..=50;

fn parameters(plan: &Plan) -> Vec<PlanError> {
    let (ckks, grid) = (&plan.ckks, &plan.geometry);
    let mut errors = Vec::new();
    let mut refuse = |reason: &str| errors.push(PlanError::Parameters(reason.to_owned()));
    if !(10..=17).contains(&ckks.log_n) {
        refuse("the ring degree must be 2^10 to 2^17");
        return errors;
    }
    if !(20..=54).contains(&ckks.base2k) || !SCALES.contains(&ckks.scale) || ckks.max_k > 4096 {
        refuse("limbs have 20 to 54 bits, scales 15 to 50, ciphertexts at most 4096");
    }
    if !grid.width.is_power_of_two() || !grid.lanes.is_power_of_two() || grid.width.checked_mul(grid.lanes) != Some(1 << (ckks.log_n - 1)) {
        refuse("width and lanes must be powers of two that fill the slots");
    }
    if grid.batch == 0 || grid.batch > LARGEST {
        refuse("the batch must have 1 to 2^24 samples");
    }
    if plan.steps.len() > LARGEST || plan.client.nodes.len() > LARGEST {
        refuse("too many steps");
    }
    let widest_key = |shape: &KeyShape| {
        if shape.digit == 0
            || shape.dnum == 0
            || shape.dnum > 256
            || !shape.digit.is_multiple_of(ckks.base2k)
            || shape.aux < shape.digit
            || shape.aux > 4096
            || shape.dnum.saturating_mul(shape.digit) < shape.k
        {
            u32::MAX
        } else {
            shape.log_modulus()
        }
    };
    let keys = plan.keys.relinearisation.iter().chain(plan.keys.rotations.iter().map(|r| &r.shape));
    let widest = keys.map(widest_key).max().unwrap_or(0).max(ckks.max_k).max(plan.bootstrap.as_ref().map_or(0, |b| b.log_modulus));
    if widest != ckks.log_modulus {
        refuse("the stated modulus is not the widest of keys and ciphertexts");
    }
    if errors.is_empty() && ckks.security_bits != 0 {
        match security::max_log_modulus(ckks.log_n, ckks.security_bits) {
            Some(bound) if ckks.log_modulus <= bound => {}
            bound => errors.push(PlanError::Insecure {
                have: ckks.log_modulus,
                bound: bound.unwrap_or(0),
                log_n: ckks.log_n,
                bits: ckks.security_bits,
            }),
        }
    }
    errors
}

/// A bootstrap is one that is offered, for the plan's ring and limbs; its secrets are sparser than the tables of dense ones
/// assume.
fn bootstrap(plan: &Plan) -> Vec<PlanError> {
    let Some(bootstrap) = &plan.bootstrap else { return Vec::new() };
    let ckks = &plan.ckks;
    let refuse = |reason: String| vec![PlanError::Parameters(reason)];
    if crate::bootstrap::offer(&bootstrap.name, bootstrap.scale).as_ref() != Some(bootstrap) {
        return refuse(format!("no bootstrap of name `{}` with these parameters is offered", bootstrap.name));
    }
    if (bootstrap.log_n, bootstrap.base2k) != (ckks.log_n, ckks.base2k) || bootstrap.output_k > ckks.max_k {
        return refuse(format!("the bootstrap `{}` is for another ring, other limbs or wider ciphertexts", bootstrap.name));
    }
    if ckks.security_bits == 0 {
        return Vec::new();
    }
    let secrets = [(ckks.log_modulus, bootstrap.hamming_weight), (bootstrap.sparse_log_modulus, bootstrap.sparse_hamming_weight)];
    let bound = |weight| security::max_log_modulus_of_weight(ckks.log_n, weight).filter(|_| ckks.security_bits == 128).unwrap_or(0);
    let insecure = secrets.into_iter().map(|(have, weight)| (have, bound(weight))).filter(|(have, bound)| have > bound);
    insecure.map(|(have, bound)| PlanError::Insecure { have, bound, log_n: ckks.log_n, bits: ckks.security_bits }).collect()
}

fn structure(plan: &Plan) -> Vec<PlanError> {
    let mut errors = Vec::new();
    let mut dangling = |what, index, target: String| errors.push(PlanError::Dangling { what, index, target });
    for (index, step) in plan.steps.iter().enumerate() {
        for operand in step.op.operands() {
            if operand.index() >= index {
                dangling("step", index, format!("wire {}", operand.0));
            }
        }
        match step.op {
            Op::Input(id) if id.0 as usize >= plan.inputs.len() => dangling("step", index, format!("input {}", id.0)),
            Op::AddPlain(_, id) | Op::MulPlain(_, id) if id.0 as usize >= plan.plains.len() => {
                dangling("step", index, format!("plaintext {}", id.0));
            }
            Op::Linear(_, id) if id.0 as usize >= plan.matrices.len() => dangling("step", index, format!("matrix {}", id.0)),
            Op::Carried(id) if id.0 as usize >= plan.carried.len() => dangling("step", index, format!("carried ciphertext {}", id.0)),
            _ => {}
        }
    }
    for (index, output) in plan.outputs.iter().enumerate() {
        for content in &output.contents {
            if let Target::Rated { by, .. } = content.tensor
                && by.0 as usize >= plan.client.nodes.len()
            {
                dangling("output", index, format!("client node {}", by.0));
            }
        }
        if output.wire.index() >= plan.steps.len() {
            dangling("output", index, format!("wire {}", output.wire.0));
        }
    }
    for (index, round) in plan.rounds.iter().enumerate() {
        for (id, wire) in &round.saves {
            if id.0 as usize >= plan.carried.len() {
                dangling("round", index, format!("carried ciphertext {}", id.0));
            }
            if wire.index() >= plan.steps.len() || wire.0 >= round.steps.1 {
                dangling("round", index, format!("wire {}", wire.0));
            }
        }
    }
    let training = plan.training.iter();
    let own = training.clone().flat_map(|t| [&t.policy, &t.watch.program]);
    let programs = own.chain(training.filter_map(|t| t.env.recode.as_ref().map(|r| &r.0)));
    for program in std::iter::once(&plan.client).chain(programs) {
        for (index, node) in program.nodes.iter().enumerate() {
            for operand in node.op.operands() {
                if operand.0 as usize >= index {
                    dangling("client node", index, format!("node {}", operand.0));
                }
            }
        }
    }
    for (index, (_, node)) in plan.settled.iter().enumerate() {
        if node.0 as usize >= plan.client.nodes.len() {
            dangling("settled state", index, format!("client node {}", node.0));
        }
    }
    for (index, input) in plan.inputs.iter().enumerate() {
        for content in &input.contents {
            if content.tensor.0 as usize >= plan.client.nodes.len() {
                dangling("input", index, format!("client node {}", content.tensor.0));
            }
        }
    }
    if let Some(training) = &plan.training {
        if training.act.0 as usize >= training.policy.nodes.len() {
            dangling("policy", 0, format!("node {}", training.act.0));
        }
        for watched in &training.watch.arguments {
            if watched.node.0 as usize >= training.watch.program.nodes.len() {
                dangling("watched argument", 0, format!("node {}", watched.node.0));
            }
        }
        if let Some((program, output)) = &training.env.recode
            && output.0 as usize >= program.nodes.len()
        {
            dangling("reward recoding", 0, format!("node {}", output.0));
        }
    }
    if errors.is_empty() && !rounds_are_whole(plan) {
        errors.push(PlanError::Rounds);
    }
    errors
}

fn rounds_are_whole(plan: &Plan) -> bool {
    let mut next = 0;
    let mut sent = vec![false; plan.inputs.len()];
    let mut brought = vec![false; plan.outputs.len()];
    let mut saved = vec![false; plan.carried.len()];
    for (number, round) in plan.rounds.iter().enumerate() {
        let before = number.checked_sub(1).map_or(0, |before| plan.rounds[before].update);
        let after = plan.rounds.get(number + 1).map(|next| next.update);
        let alone = round.update > 0 && plan.carried.is_empty();
        if alone || round.update < before || round.update - before > 1 || (number == 0 && round.update != 0) {
            return false;
        }
        // What is saved must survive an update that fails in a later round.
        if !round.saves.is_empty() && after == Some(round.update) {
            return false;
        }
        let (first, last) = round.steps;
        if first != next || last < first || last as usize > plan.steps.len() {
            return false;
        }
        next = last;
        for id in &round.inputs {
            if sent.get(id.0 as usize).is_none_or(|&s| s) {
                return false;
            }
            sent[id.0 as usize] = true;
        }
        let arrived = |step: &Step| match step.op {
            Op::Input(id) => sent[id.0 as usize],
            // A step that read it after it was saved would have to say which of the two it means.
            Op::Carried(id) => !saved[id.0 as usize],
            _ => true,
        };
        if !plan.steps[first as usize..last as usize].iter().all(arrived) {
            return false;
        }
        for (position, (id, _)) in round.saves.iter().enumerate() {
            if round.saves[..position].iter().any(|(earlier, _)| earlier == id) {
                return false;
            }
            saved[id.0 as usize] = true;
        }
        for id in &round.outputs {
            let ready = plan.outputs.get(id.0 as usize).is_some_and(|o| o.wire.0 < last);
            if !ready || std::mem::replace(&mut brought[id.0 as usize], true) {
                return false;
            }
        }
    }
    next as usize == plan.steps.len() && sent.iter().chain(&brought).all(|&done| done)
}

/// Values in their order, where rounds and tensors are sound.
fn order(plan: &Plan) -> Vec<PlanError> {
    if values_are_there(plan) { Vec::new() } else { vec![PlanError::Rounds] }
}

/// Whether everything that the client computes with has come back by then, in each update of the period.
fn values_are_there(plan: &Plan) -> bool {
    let last = plan.rounds.last().map_or(0, |round| round.update);
    (0..=last).all(|update| {
        let rounds: Vec<_> = plan.rounds.iter().filter(|round| round.update == update).collect();
        // After how many rounds of the update each value is whole.
        let mut whole: BTreeMap<u32, usize> = BTreeMap::new();
        for (number, round) in rounds.iter().enumerate() {
            for content in round.outputs.iter().flat_map(|id| &plan.outputs[id.0 as usize].contents) {
                if let Target::Value { id, .. } = content.tensor {
                    whole.insert(id, number + 1);
                }
            }
        }
        let mut after: Vec<Option<usize>> = Vec::with_capacity(plan.client.nodes.len());
        for node in &plan.client.nodes {
            let own = match node.op {
                ClearOp::Decrypted(value) => whole.get(&value).copied(),
                _ => Some(0),
            };
            let operands = node.op.operands().into_iter().map(|operand| after[operand.0 as usize]);
            after.push(operands.fold(own, |a, b| Some(a?.max(b?))));
        }
        let by = |node: &ClearId, round: usize| after[node.0 as usize].is_some_and(|after| after <= round);
        let sent = rounds.iter().enumerate().all(|(number, round)| {
            round.inputs.iter().flat_map(|id| &plan.inputs[id.0 as usize].contents).all(|content| by(&content.tensor, number))
        });
        sent && plan.settled.iter().all(|(_, node)| by(node, rounds.len()))
    })
}

fn tensors(plan: &Plan) -> Vec<PlanError> {
    let mut errors = Vec::new();
    let shape_of = |target: &Target| match target {
        Target::State(name) | Target::Rated { name, .. } => plan.states.iter().find(|s| s.name == *name).map(|s| s.shape.as_slice()),
        Target::Value { .. } | Target::Result { .. } => None,
    };
    let public_shape = |name: &str| plan.public.iter().find(|(n, _)| n == name).map(|(_, shape)| shape.as_slice());
    let tied = |name: &str, ties: Ties| public_shape(name).and_then(extent_of).and_then(|extent| ties.expanded(extent, LARGEST));
    let mut layout = |what: &str, layout: &Layout, shape: Option<&[usize]>| {
        if let Some(reason) = layout_fault(plan, layout, shape) {
            errors.push(PlanError::Layout { what: what.to_owned(), reason });
        }
    };
    for Input { label, contents, .. } in &plan.inputs {
        contents.iter().for_each(|c| layout(label, &c.layout, None));
    }
    for output in &plan.outputs {
        output.contents.iter().for_each(|c| layout(&output.label, &c.layout, shape_of(&c.tensor)));
    }
    for carried in &plan.carried {
        carried.contents.iter().for_each(|c| layout(&carried.label, &c.layout, shape_of(&c.tensor)));
    }
    for plain in &plan.plains {
        match &plain.pattern {
            PlainPattern::Public { name, ties, layout: l, .. } => layout(name, l, public_shape(name).filter(|_| ties.is_none())),
            PlainPattern::Lane { lane, .. } => {
                layout("mask", &Layout::Vector { period: 1, lanes: Lanes::One(*lane), runs: Runs::DENSE }, None)
            }
            PlainPattern::Lanes { .. } => {}
            PlainPattern::Parts { parts, .. } => parts.iter().for_each(|part| layout("mask", &part.layout, Some(&part.shape))),
            PlainPattern::Neurons { values } => {
                layout("constant", &Layout::Vector { period: values.len(), lanes: Lanes::All, runs: Runs::DENSE }, None);
            }
        }
    }
    let mut refuse = |what: &str, reason: &str| errors.push(PlanError::Layout { what: what.to_owned(), reason: reason.to_owned() });
    for input in plan.inputs.iter().filter(|i| i.wire.scale > i.wire.k || i.wire.k > plan.ckks.max_k) {
        refuse(&input.label, "its scale or width is out of range");
    }
    for carried in &plan.carried {
        let (wire, fetch) = (carried.wire, carried.fetch);
        if wire.scale > fetch.k || wire.k > plan.ckks.max_k || fetch.scale != wire.scale || fetch.k > wire.k {
            refuse(&carried.label, "its scales or widths are out of range");
        }
    }
    for (number, round) in plan.rounds.iter().enumerate() {
        for (id, wire) in &round.saves {
            let (carried, wire) = (&plan.carried[id.0 as usize], plan.steps[wire.index()].wire);
            let last = !plan.rounds[number + 1..].iter().any(|later| later.saves.iter().any(|(other, _)| other == id));
            if wire.scale != carried.fetch.scale || wire.k < carried.fetch.k || (last && wire != carried.wire) {
                refuse(&carried.label, "what is saved has another scale or width");
            }
        }
    }
    for content in plan.carried.iter().flat_map(|c| &c.contents) {
        match &content.tensor {
            Target::State(name) if plan.states.iter().any(|s| s.name == *name) => {}
            Target::State(name) => refuse(name, "no state of that name"),
            Target::Rated { .. } | Target::Value { .. } | Target::Result { .. } => {
                refuse("carried ciphertext", "it holds more than states")
            }
        }
        if !content.factor.is_normal() || !(1.0 / content.factor).is_finite() {
            refuse("carried ciphertext", "its factor has no inverse");
        }
    }
    for (name, _) in &plan.settled {
        if !plan.states.iter().any(|s| s.name == *name) {
            refuse(name, "no state of that name");
        }
        let goes_back =
            |content: &crate::Content<Target>| matches!(&content.tensor, Target::State(n) | Target::Rated { name: n, .. } if *n == *name);
        let twice = plan.settled.iter().filter(|(other, _)| other == name).count() > 1;
        if twice || plan.outputs.iter().flat_map(|o| &o.contents).chain(plan.carried.iter().flat_map(|c| &c.contents)).any(goes_back) {
            refuse(name, "it has two new values");
        }
    }
    for name in stale(plan) {
        refuse(name, "the client computes with it, but the server carries it");
    }
    for plain in &plan.plains {
        if !(8..=50).contains(&plain.scale) {
            refuse("plaintext", "its scale is not 8 to 50 bits");
        }
        match &plain.pattern {
            PlainPattern::Public { name, .. } if !plan.public.iter().any(|(n, _)| n == name) => {
                refuse(name, "no public array of that name");
            }
            PlainPattern::Public { name, ties: Some(ties), .. } if tied(name, *ties).is_none() => {
                refuse(name, "its ties are another array's");
            }
            PlainPattern::Lanes { values } if !values.len().is_power_of_two() || values.len() > plan.geometry.lanes => {
                refuse("mask", "its period is not a power of two within the lanes");
            }
            PlainPattern::Parts { parts, .. } if parts.iter().any(|p| extent_of(&p.shape).is_none()) => {
                refuse("mask", "a shape is empty or too large");
            }
            PlainPattern::Parts { by: Some(by), .. } if !plan.client.depends_on_update_alone(*by) => {
                refuse("mask", "its factor is not a number of the update's");
            }
            PlainPattern::Lane { .. }
            | PlainPattern::Neurons { .. }
            | PlainPattern::Lanes { .. }
            | PlainPattern::Parts { .. }
            | PlainPattern::Public { .. } => {}
        }
    }
    for m in &plan.matrices {
        let fits = |p: usize| p.is_power_of_two() && p <= plan.geometry.width;
        if !fits(m.rows) || !fits(m.cols) || m.baby == 0 || m.baby > m.diagonals() || !(8..=50).contains(&m.scale) {
            refuse(&m.name, "rows, columns or baby steps");
        }
        let size = match m.ties {
            Some(ties) => tied(&m.name, ties),
            None => public_shape(&m.name).filter(|shape| shape.len() == 2).map(|shape| (shape[0], shape[1])),
        };
        if size.is_none_or(|(out, inputs)| out > m.rows || inputs > m.cols) {
            refuse(&m.name, "no public array of that name and size");
        }
    }
    for state in &plan.states {
        if state.shape.is_empty()
            || state.shape.len() > 4
            || state.shape.contains(&0)
            || state.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n > LARGEST)
        {
            refuse(&state.name, "its shape is empty or too large");
        }
    }
    for (name, shape) in &plan.public {
        if extent_of(shape).is_none() {
            refuse(name, "its shape is empty or too large");
        }
    }
    let training = plan.training.iter();
    let policies = training.clone().flat_map(|t| [(&t.policy, "policy"), (&t.watch.program, "watch")]);
    let recodes = training.filter_map(|t| t.env.recode.as_ref().map(|r| (&r.0, "reward recoding")));
    let own = std::iter::once((&plan.client, "client"));
    let values: Vec<(u32, &[usize])> = plan
        .outputs
        .iter()
        .flat_map(|output| &output.contents)
        .filter_map(|content| match &content.tensor {
            Target::Value { id, shape } => Some((*id, shape.as_slice())),
            Target::State(_) | Target::Rated { .. } | Target::Result { .. } => None,
        })
        .collect();
    for (program, what) in own.chain(policies).chain(recodes) {
        // Any number of samples will do for the others; two tell rows from single ones.
        let (batch, values) = if what == "client" { (plan.geometry.batch, values.clone()) } else { (2, Vec::new()) };
        match infer(&Known { states: &plan.states, values }, program, batch) {
            Err((node, reason)) => refuse(&format!("{what} node {node}"), &reason),
            Ok(extents) if what == "client" => {
                for (name, node) in &plan.settled {
                    let state = plan.states.iter().find(|state| state.name == *name).and_then(|state| extent_of(&state.shape));
                    if state.is_some() && extents.get(node.0 as usize) != state.as_ref() {
                        refuse(name, "what settles it has another shape");
                    }
                }
            }
            Ok(_) => {}
        }
    }
    for watched in plan.training.iter().flat_map(|t| &t.watch.arguments) {
        let [low, high] = watched.range;
        if !(low.is_finite() && high.is_finite() && low < high) {
            refuse(&watched.name, "its interval is empty or not finite");
        }
    }
    for content in plan.outputs.iter().flat_map(|o| &o.contents) {
        match &content.tensor {
            Target::State(name) | Target::Rated { name, .. } if !plan.states.iter().any(|s| s.name == *name) => {
                refuse(name, "no state of that name");
            }
            Target::Value { id, shape } if extent_of(shape).is_none() => refuse(&format!("value {id}"), "its shape is empty or too large"),
            Target::Result { name, dim } if dim.checked_mul(plan.geometry.batch).is_none_or(|n| n > LARGEST) => {
                refuse(name, "it is too large");
            }
            Target::State(_) | Target::Rated { .. } | Target::Value { .. } | Target::Result { .. } => {}
        }
        if !content.factor.is_finite() {
            refuse("output", "its factor is not finite");
        }
    }
    if plan.inputs.iter().flat_map(|i| &i.contents).any(|c| !c.factor.is_finite()) {
        refuse("input", "its factor is not finite");
    }
    errors
}

/// Carried states that the client would read for its inputs: it has them as they were fetched last.
fn stale(plan: &Plan) -> Vec<&str> {
    let mut reached: Vec<bool> = vec![false; plan.client.nodes.len()];
    plan.inputs.iter().flat_map(|input| &input.contents).for_each(|content| reached[content.tensor.0 as usize] = true);
    let mut names = Vec::new();
    for (index, node) in plan.client.nodes.iter().enumerate().rev() {
        if !reached[index] {
            continue;
        }
        node.op.operands().into_iter().for_each(|operand| reached[operand.0 as usize] = true);
        if let ClearOp::State(name) = &node.op
            && plan.carried.iter().flat_map(|c| &c.contents).any(|c| c.tensor == Target::State(name.clone()))
        {
            names.push(name.as_str());
        }
    }
    names
}

fn layout_fault(plan: &Plan, layout: &Layout, shape: Option<&[usize]>) -> Option<String> {
    let grid = &plan.geometry;
    let period = |p: usize| (!p.is_power_of_two() || p > grid.width).then(|| format!("period {p} in width {}", grid.width));
    let lane = |lanes: Lanes| match lanes {
        Lanes::One(lane) if lane >= grid.lanes => Some(format!("lane {lane} of {}", grid.lanes)),
        _ => None,
    };
    let gaps = |runs: Runs, p: usize| {
        let sound = runs.run > 0 && runs.run <= runs.pitch && runs.pitch <= p;
        (!sound).then(|| format!("runs of {} every {} in {p}", runs.run, runs.pitch))
    };
    match *layout {
        Layout::Samples { group, period: p } => {
            period(p).or_else(|| (group >= grid.groups()).then(|| format!("group {group} of {}", grid.groups())))
        }
        Layout::Diagonal { diagonal, shift, rows, cols, lanes, runs: [of_rows, of_cols] } => period(rows)
            .or_else(|| period(cols))
            .or_else(|| gaps(of_rows, rows))
            .or_else(|| gaps(of_cols, cols))
            .or_else(|| (diagonal >= rows.min(cols) || shift >= grid.width).then(|| format!("diagonal {diagonal}")))
            .or_else(|| lane(lanes)),
        Layout::Vector { period: p, lanes, runs } => period(p).or_else(|| gaps(runs, p)).or_else(|| lane(lanes)),
        Layout::Tiled(tiled) => {
            let group = tiled.group.filter(|&group| group >= grid.groups()).map(|group| format!("group {group} of {}", grid.groups()));
            let inputs = match (tiled.group, shape) {
                (Some(_), _) => Some(1),
                (None, Some(shape)) => Some(shape.get(1).copied().unwrap_or(1)),
                (None, None) => None,
            };
            // Strides of 0 would count slots over and over.
            let [(copies, _), (more, _)] = tiled.copies;
            let few = |inputs: usize| {
                let last = tiled.elements.0.checked_add(tiled.elements.1);
                let counts = [tiled.elements.1, inputs, copies, more];
                last.is_some() && counts.into_iter().try_fold(1usize, usize::checked_mul).is_some_and(|all| all <= grid.width)
            };
            let inside = inputs.filter(|&inputs| few(inputs)).and_then(|inputs| tiled.last(inputs)).is_some_and(|last| last < grid.width);
            group.or_else(|| (!inside).then(|| format!("slots beyond a tile of {}", grid.width)))
        }
    }
}

struct Checker<'a> {
    plan: &'a Plan,
}

impl Machine for Checker<'_> {
    type Wire = Wire;
    type Error = PlanError;

    fn step(&self, index: usize, step: &Step, operands: &[&Wire]) -> Result<Wire, PlanError> {
        let out = step.wire;
        let refuse = |reason: String| PlanError::Step { index, op: step.op.name(), reason };
        if out.k > self.plan.ckks.max_k || out.scale < 10 || out.scale > out.k {
            return Err(refuse(format!("scale {} and width {} are out of range", out.scale, out.k)));
        }
        let scale = operands.iter().map(|w| w.scale).min().unwrap_or(out.scale);
        let budget = operands.iter().map(|w| w.budget()).min().unwrap_or(0);
        // What the operation spends, and by how much the scale grows.
        let (spent, gained) = match &step.op {
            Op::Input(id) => {
                let input = &self.plan.inputs[id.0 as usize];
                return if input.wire == out { Ok(out) } else { Err(refuse("differs from its input".to_owned())) };
            }
            Op::Carried(id) => {
                let carried = &self.plan.carried[id.0 as usize];
                return if carried.wire == out { Ok(out) } else { Err(refuse("differs from what is carried".to_owned())) };
            }
            Op::Bootstrap(a) => {
                let Some(bootstrap) = &self.plan.bootstrap else { return Err(refuse("the plan has no bootstrap".to_owned())) };
                let (operand, Bootstrap { scale, input_k, output_k, .. }) = (self.plan.steps[a.index()].wire, bootstrap);
                let takes = operand.scale == *scale && operand.k >= *input_k;
                let gives = out == Wire { scale: *scale, k: *output_k };
                return if takes && gives {
                    Ok(out)
                } else {
                    Err(refuse(format!("the bootstrap takes {input_k} bits at scale {scale} and gives {output_k}")))
                };
            }
            Op::Add(..) | Op::Sub(..) | Op::AddConst(..) | Op::AddPlain(..) | Op::Narrow(_) => (0, 0),
            Op::MulConst { bits, .. } => (*bits, 0),
            Op::Halve { bits, .. } => (*bits, *bits),
            Op::MulPlain(_, plain) => (self.plan.plains[plain.0 as usize].scale, 0),
            Op::Linear(a, matrix) => {
                let matrix = &self.plan.matrices[matrix.0 as usize];
                let (babies, giants) = matrix.rotations();
                let k = self.plan.steps[a.index()].wire.k;
                for by in babies.into_iter().chain(giants) {
                    self.rotation(index, (by * self.plan.geometry.lanes) as i64, k)?;
                }
                (matrix.scale, 0)
            }
            Op::Dot(pairs) => {
                if pairs.is_empty() {
                    return Err(refuse("no products".to_owned()));
                }
                let k = operands.iter().map(|w| w.k).max().unwrap_or(0);
                if !self.plan.keys.relinearisation.iter().any(|key| key.k >= k) {
                    return Err(PlanError::Key { index, key: "relinearisation key".to_owned(), k });
                }
                (operands.iter().map(|w| w.scale).max().unwrap_or(0), 0)
            }
            Op::Rotate { by, .. } => {
                let slots = self.plan.geometry.slots() as i64;
                if !(1..slots).contains(by) {
                    return Err(refuse(format!("{by} is not a rotation of {slots} slots")));
                }
                self.rotation(index, *by, operands[0].k)?;
                (0, 0)
            }
        };
        if budget < spent || out.scale != scale + gained || out.budget() > budget - spent {
            return Err(refuse(format!(
                "{} bits of budget at scale {} cannot give {} bits at scale {} after spending {spent}",
                budget,
                scale,
                out.budget(),
                out.scale
            )));
        }
        if let Op::MulConst { c, .. } | Op::AddConst(_, c) = step.op
            && !c.is_finite()
        {
            return Err(refuse("the constant is not a finite number".to_owned()));
        }
        Ok(out)
    }
}

impl Checker<'_> {
    fn rotation(&self, index: usize, by: i64, k: u32) -> Result<(), PlanError> {
        match self.plan.keys.rotations.iter().find(|key| key.by == by) {
            Some(key) if key.shape.k >= k => Ok(()),
            _ => Err(PlanError::Key { index, key: format!("rotation key by {by}"), k }),
        }
    }
}
