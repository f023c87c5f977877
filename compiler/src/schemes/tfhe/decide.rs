//! What was decided, for people.

use hecc_plan::tfhe::choose::Choice;
use hecc_plan::tfhe::{Op, Plan};
use hecc_plan::{Decision, DecisionKind};

use super::Given;
use crate::check::hir::Program;

/// Adds notes and decisions to a plan.
pub fn run(program: &Program, plan: &mut Plan, choice: &Choice, given: &Given) {
    let (weights, activations) = program.secure.quantize;
    plan.notes.push(format!("integers: weights of {weights} bits, activations of {activations}"));
    if !plan.public.is_empty() {
        let whose = if given.weights.is_empty() { "the seeded initial network: give `--weights` for a trained one" } else { "as given" };
        plan.notes.push(format!("public weights stand in the plan: {whose}"));
    }
    if given.sample.is_empty() {
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
