//! What was decided, for people.

use hecc_plan::tfhe::sending::Weighed;
use hecc_plan::tfhe::{Op, Plan};
use hecc_plan::{Decision, DecisionKind};

use super::lower::{Choices, Master};
use super::seen::Seen;
use super::{Given, Way};
use crate::check::hir::Program;

/// Adds notes and decisions to a plan.
pub(super) fn run(program: &Program, best: &mut Way, others: &[Way], given: &Given, seen: Seen<'_>) {
    let alternatives = alternatives(best, others);
    let Way { plan, choice, masters, sent, .. } = best;
    plan.decisions.extend(sent.iter().map(sending));
    plan.decisions.extend(alternatives);
    let (weights, activations) = super::lower::bits(program);
    plan.notes.push(format!("integers: weights of {weights} bits, activations of {activations}"));
    if !plan.carried.is_empty() {
        carried(plan, masters);
    }
    if !plan.public.is_empty() {
        let whose = if given.weights.is_empty() { "the seeded initial network: give `--weights` for a trained one" } else { "as given" };
        plan.notes.push(format!("public weights stand in the plan: {whose}"));
    }
    if let Some(measured) = seen.measured {
        plan.notes.push(format!(
            "scales: weights reach a quarter further, and arguments of functions as far, as over {} updates in the clear",
            measured.updates
        ));
    } else if given.sample.is_empty() {
        plan.notes.push("scales are chosen on random data of the declared ranges: give `--sample` for recorded observations".to_owned());
    }
    if !program.secure.client.is_empty() {
        plan.notes.push("`client = [...]` is not used: tables compute every function exactly, without the client".to_owned());
    }
    for (index, lookup) in choice.parameters.lookups.iter().enumerate() {
        let count: u64 = plan
            .steps
            .iter()
            .filter_map(|step| step.op.lookups().map(|(id, times)| (id, u64::from(times) * u64::from(step.wire.len))))
            .filter(|(id, _)| id.0 as usize == index)
            .map(|(_, count)| count)
            .sum();
        let failure = choice.log2_failure[index].iter().fold(f64::NEG_INFINITY, |m, f| m.max(*f));
        let ring = choice.parameters.ring(lookup.to);
        plan.decisions.push(Decision {
            kind: DecisionKind::Bootstrap,
            subject: format!("lookup {index}: {count} per run"),
            choice: format!(
                "small key of {}, {} polynomials of degree {}, {} levels of {} bits",
                lookup.small,
                ring.dimension,
                ring.degree(),
                lookup.rotation.levels,
                lookup.rotation.base_log
            ),
            why: format!("the cheapest by which each fails with at most 2^{failure:.1}"),
            runner_up: None,
            span: None,
        });
    }
    for step in &plan.steps {
        if let Op::Floor { a, drop, .. } = &step.op {
            let bits = plan.steps[a.index()].wire.bits;
            plan.decisions.push(Decision {
                kind: DecisionKind::Layout,
                subject: format!("{} integers of {bits} bits", step.wire.len),
                choice: format!("{drop} lowest bits dropped, a bootstrap of a small key each"),
                why: format!(
                    "a table of {} bits then reads the rest; one of {bits} bits would take a ring {} times as large",
                    bits - drop,
                    1u64 << drop
                ),
                runner_up: None,
                span: Some(step.span),
            });
        }
    }
}

/// How results are sent, and why.
fn sending(sent: &Weighed) -> Decision {
    let kib = |bytes: u64| format!("{:.1} KiB", bytes as f64 / 1024.0);
    let each = format!("each rounded to the bits that its noise allows, {} a run", kib(sent.each));
    let packed = sent.packed.map(|(key, run)| format!("packed into ciphertexts of many, {} a run and a key of {}", kib(run), kib(key)));
    let runs = sent.runs;
    let (choice, why, runner_up) = match packed {
        Some(packed) if sent.packs() => (packed, format!("the key is worth its bytes in {runs} runs"), Some(each)),
        Some(packed) => (each, format!("a packing key is not worth its bytes in {runs} runs"), Some(packed)),
        None => (each, "the noise leaves no room for packing".to_owned(), None),
    };
    Decision {
        kind: DecisionKind::Layout,
        subject: format!("{} results to the client, {} as they are", sent.values, kib(sent.whole)),
        choice,
        why,
        runner_up,
        span: None,
    }
}

/// Says how states are carried, and what that loses.
fn carried(plan: &mut Plan, masters: &[Master]) {
    plan.notes.push(
        "states: carried by the server as ciphertexts, of which the products read the upper bits; the client sends batches, and fetches states when it wants them"
            .to_owned(),
    );
    let rounded = masters.iter().map(|master| master.rounded).fold(0.0f64, f64::max);
    if rounded > 1e-6 {
        plan.notes.push(format!(
            "learning rate, 1/batch and shares of old states are rounded to multiples of the states' grids, by at most {:.1} % of them: powers of two are not",
            100.0 * rounded
        ));
    }
    for master in masters {
        let Master { state, span, bits: (read, below), scale, most, lost, .. } = master;
        let why = match lost {
            0 => "that is the grid of its changes, so that none is lost".to_owned(),
            lost => format!("its changes stand on a grid {lost} bits finer, to which noise leaves no room: they are rounded"),
        };
        plan.decisions.push(Decision {
            kind: DecisionKind::Layout,
            subject: format!("the state `{state}`"),
            choice: format!("{read} bits that are read and {below} below them: multiples of {scale}, clipped at {most}"),
            why: format!("{why}; each update drops {below} bits, keeps them, and clips the rest by tables, so that noise does not pile up"),
            runner_up: None,
            span: Some(*span),
        });
    }
}

/// What else there was, if anything.
fn alternatives(best: &Way, others: &[Way]) -> Option<Decision> {
    let cost = |way: &Way| format!("{} bootstraps, {:.3} s predicted", way.plan.bootstraps(), way.seconds);
    let mut runner_up: Vec<String> = Vec::new();
    for way in others {
        runner_up.push(format!("{}: {}", named(way.choices), cost(way)));
    }
    (!others.is_empty()).then(|| Decision {
        kind: DecisionKind::Bootstrap,
        subject: "how products and maxima are computed".to_owned(),
        choice: format!("{}: {}", named(best.choices), cost(best)),
        why: "the least predicted time".to_owned(),
        runner_up: Some(runner_up.join("; ")),
        span: None,
    })
}

fn named(choices: Choices) -> &'static str {
    if choices.together {
        return "all pairs compared, products by quarter squares, integers of a vector as narrow as the narrowest";
    }
    if choices.radix {
        return if choices.shared_halves {
            "products of wide integers from those of their halves, which share tables"
        } else {
            "products of wide integers from those of their halves"
        };
    }
    match (choices.tournament, choices.shared_halves) {
        (false, false) => "all pairs compared, products by quarter squares",
        (false, true) => "all pairs compared, products that share tables of their factors",
        (true, false) => "a tournament, products by quarter squares",
        (true, true) => "a tournament, products that share tables of their factors",
    }
}
