//! A plan as text, for people.

use std::fmt::Write;

use crate::counts::half_bytes;
use crate::{Lanes, Layout, Op, PlainPattern, Plan, Runs, Step, Target, Ties, Tiled};

/// Prints `plan`: parameters, states, exchanges and steps, the same text for the same plan.
pub fn print(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_plan(plan, &mut text);
    text
}

fn write_plan(plan: &Plan, out: &mut String) -> std::fmt::Result {
    let (ckks, grid) = (&plan.ckks, &plan.geometry);
    writeln!(out, "plan {} (source {})", plan.name, plan.source)?;
    writeln!(
        out,
        "ckks N=2^{} scale={} max_k={} log_modulus={} security={} base2k={}",
        ckks.log_n, ckks.scale, ckks.max_k, ckks.log_modulus, ckks.security_bits, ckks.base2k
    )?;
    writeln!(out, "grid {} neurons x {} lanes, batch {} in {} groups", grid.width, grid.lanes, grid.batch, grid.groups())?;
    for note in &plan.notes {
        writeln!(out, "note {note}")?;
    }
    for (name, shape) in &plan.public {
        writeln!(out, "public {name} {shape:?}")?;
    }
    for state in &plan.states {
        let period = plan.periods.iter().find(|(name, _)| *name == state.name);
        let every = period.map(|(_, period)| format!(" every {period}")).unwrap_or_default();
        writeln!(out, "state {} {:?} = {:?}{every}", state.name, state.shape, state.init)?;
    }
    for (index, node) in plan.client.nodes.iter().enumerate() {
        writeln!(out, "client c{index} = {:?}", node.op)?;
    }
    for (index, input) in plan.inputs.iter().enumerate() {
        let parts = input.contents.iter().map(|c| format!("{}c{} {}", times(c.factor), c.tensor.0, layout(&c.layout)));
        writeln!(out, "input i{index} \"{}\" k={} scale={}: {}", input.label, input.wire.k, input.wire.scale, join(parts))?;
    }
    for (index, plain) in plan.plains.iter().enumerate() {
        let pattern = match &plain.pattern {
            PlainPattern::Lane { lane, value } => format!("{value} in lane {lane}"),
            PlainPattern::Neurons { values } => format!("neurons {values:?}"),
            PlainPattern::Lanes { values } => format!("lanes {values:?}"),
            PlainPattern::Parts { parts, by } => {
                let by = by.map_or(String::new(), |by| format!("c{} * ", by.0));
                join(parts.iter().map(|p| format!("{by}{} {:?} {}", p.value, p.shape, layout(&p.layout))))
            }
            PlainPattern::Public { name, ties, layout: l, factor } => format!("{}{name}{} {}", times(*factor), tied(*ties), layout(l)),
        };
        writeln!(out, "plain p{index} scale={}: {pattern}", plain.scale)?;
    }
    for (index, m) in plan.matrices.iter().enumerate() {
        let name = format!("{}{}", m.name, tied(m.ties));
        writeln!(out, "matrix m{index} = {}{name} {}x{} baby={} scale={}", times(m.factor), m.rows, m.cols, m.baby, m.scale)?;
    }
    for (index, carried) in plan.carried.iter().enumerate() {
        let parts = carried.contents.iter().map(|c| format!("{} = {}{}", target(&c.tensor), times(c.factor), layout(&c.layout)));
        let (wire, fetch) = (carried.wire, carried.fetch);
        writeln!(out, "carried s{index} \"{}\" k={} scale={} fetch k={}: {}", carried.label, wire.k, wire.scale, fetch.k, join(parts))?;
    }
    if let Some(b) = &plan.bootstrap {
        writeln!(out, "bootstrap {} scale={} k={} to k={}", b.name, b.scale, b.input_k, b.output_k)?;
    }
    for key in &plan.keys.relinearisation {
        writeln!(out, "key relinearisation k={} digits={}x{} aux={}", key.k, key.dnum, key.digit, key.aux)?;
    }
    for key in &plan.keys.rotations {
        writeln!(out, "key rotation {} k={} digits={}x{} aux={}", key.by, key.shape.k, key.shape.dnum, key.shape.digit, key.shape.aux)?;
    }
    for (number, round) in plan.rounds.iter().enumerate() {
        let up: u64 = round.inputs.iter().map(|i| half_bytes(plan, plan.inputs[i.0 as usize].wire.k)).sum();
        let update = if plan.updates() > 1 { format!(" of update {}", round.update) } else { String::new() };
        writeln!(out, "round {number}{update}: client sends {up} bytes: {}", join(round.inputs.iter().map(|i| format!("i{}", i.0))))?;
        for (index, step) in plan.steps.iter().enumerate().take(round.steps.1 as usize).skip(round.steps.0 as usize) {
            writeln!(out, "  w{index} = {} : k={} scale={}", operation(step), step.wire.k, step.wire.scale)?;
        }
        for id in &round.outputs {
            let output = &plan.outputs[id.0 as usize];
            let parts = output.contents.iter().map(|c| format!("{} = {}{}", target(&c.tensor), times(c.factor), layout(&c.layout)));
            let down = 2 * half_bytes(plan, plan.steps[output.wire.index()].wire.k);
            writeln!(out, "  client receives w{} \"{}\", {down} bytes: {}", output.wire.0, output.label, join(parts))?;
        }
        for (id, wire) in &round.saves {
            writeln!(out, "  server keeps w{} as s{}", wire.0, id.0)?;
        }
    }
    if let Some(training) = &plan.training {
        let run = &training.run;
        writeln!(out, "train {} for {} updates of batch {}: {:?}", training.env.id, run.updates, run.batch, run)?;
        if training.served.is_none() {
            for (index, node) in training.policy.nodes.iter().enumerate() {
                writeln!(out, "policy c{index} = {:?}", node.op)?;
            }
            writeln!(out, "acts by the largest of c{}", training.act.0)?;
        }
        for watched in &training.watch.arguments {
            let [low, high] = watched.range;
            writeln!(out, "watches {} on [{low}, {high}]", watched.name)?;
        }
        if let Some(served) = &training.served {
            writeln!(out, "the server acts by this plan:")?;
            out.write_str(&crate::tfhe::print(served))?;
        }
    }
    Ok(())
}

fn operation(step: &Step) -> String {
    match &step.op {
        Op::Input(id) => format!("input i{}", id.0),
        Op::Add(a, b) => format!("add w{} w{}", a.0, b.0),
        Op::Sub(a, b) => format!("sub w{} w{}", a.0, b.0),
        Op::AddConst(a, c) => format!("add_const w{} {c}", a.0),
        Op::AddPlain(a, p) => format!("add_plain w{} p{}", a.0, p.0),
        Op::MulConst { a, c, bits } => format!("mul_const w{} {c} bits={bits}", a.0),
        Op::MulPlain(a, p) => format!("mul_plain w{} p{}", a.0, p.0),
        Op::Halve { a, bits } => format!("halve w{} {bits}", a.0),
        Op::Dot(pairs) => format!("dot {}", join(pairs.iter().map(|(a, b)| format!("w{}*w{}", a.0, b.0)))),
        Op::Rotate { a, by } => format!("rotate w{} {by}", a.0),
        Op::Linear(a, m) => format!("linear w{} m{}", a.0, m.0),
        Op::Narrow(a) => format!("narrow w{}", a.0),
        Op::Carried(id) => format!("carried s{}", id.0),
        Op::Bootstrap(a) => format!("bootstrap w{}", a.0),
    }
}

fn layout(layout: &Layout) -> String {
    let lanes = |lanes: &Lanes| match lanes {
        Lanes::All => String::new(),
        Lanes::One(lane) => format!("@{lane}"),
    };
    match layout {
        Layout::Samples { group, period } => format!("samples[{group}]/{period}"),
        Layout::Diagonal { diagonal, shift, rows, cols, lanes: l, runs } => {
            format!("diagonal[{diagonal}-{shift}]/{rows}x{cols}{}{}", lanes(l), gaps(runs))
        }
        Layout::Vector { period, lanes: l, runs } => format!("vector/{period}{}{}", lanes(l), gaps(&[*runs])),
        Layout::Tiled(Tiled { group, start, elements: (first, count), strides: [a, b], copies: [(copies, apart), (more, further)] }) => {
            let group = group.map_or(String::new(), |group| format!("[{group}]"));
            // A plan that is printed before it is checked may say anything.
            let copied = if copies.saturating_mul(*more) > 1 { format!(" x{copies}+{apart} x{more}+{further}") } else { String::new() };
            format!("tiled{group}@{start}+{a}+{b} {first}..{}{copied}", first.saturating_add(*count))
        }
    }
}

fn gaps(runs: &[Runs]) -> String {
    if runs.iter().all(Runs::is_dense) {
        return String::new();
    }
    let runs: Vec<String> = runs.iter().map(|Runs { run, pitch }| format!("{run}/{pitch}")).collect();
    format!(" by {}", runs.join("x"))
}

fn target(target: &Target) -> String {
    match target {
        Target::State(name) => name.clone(),
        Target::Rated { name, by } => format!("{name} / c{}", by.0),
        Target::Value { id, .. } => format!("v{id}"),
        Target::Result { name, .. } => format!("result {name}"),
    }
}

fn tied(ties: Option<Ties>) -> String {
    ties.map_or(String::new(), |ties| format!(" as {ties:?}"))
}

fn times(factor: f64) -> String {
    if factor == 1.0 { String::new() } else { format!("{factor} * ") }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}
