//! What was decided for a plan, why, and what came second.

use std::collections::BTreeMap;

use hecc_plan::link::Link;
use hecc_plan::{Decision, DecisionKind, Op, REFRESHED, Span, Ties};

use super::approximate::{Polynomial, approximate};
use super::inside::{Inside, Way};
use super::keys::Fewer;
use super::{Lowered, Measure, relinearise};
use crate::approximation::{ActivationChoice, Approximation, Form};
use crate::check::hir::{Pins, Program, Task};
use crate::tensor::Op as TensorOp;
use crate::tensor::graph::Elementwise;

/// An activation's polynomial.
#[derive(Clone, Debug)]
pub struct Fit {
    /// For people.
    pub name: String,
    /// The function.
    pub function: Elementwise,
    /// What the program pins.
    pub pins: Pins,
    /// The polynomial.
    pub polynomial: Polynomial,
    /// The source that asked for it.
    pub span: Span,
}

/// What a ring brought: seconds, where there is a client what crosses counted, or the bits needed and available.
pub type Tried = (u32, Result<f64, (u32, u32)>);

/// The decisions behind what was lowered; `link` is what plans were compared over.
pub fn run(program: &Program, lowered: &Lowered, link: Link) -> Vec<Decision> {
    let mut decisions = vec![ring(lowered, &lowered.tried), scale(program, lowered), layout(lowered)];
    decisions.extend(lowered.fits.iter().map(|fit| activation(program, fit, &lowered.approximation)));
    decisions.extend(degrees(lowered));
    decisions.extend(convolutions(lowered));
    decisions.extend(twins(lowered));
    decisions.extend(bootstrap(lowered));
    decisions.extend(exchanges(lowered, link));
    decisions.extend(crossing(program, lowered));
    decisions.extend(relinearisations(lowered));
    decisions.extend(keys(lowered));
    decisions
}

/// Fewer rotation keys than rotations, for memory.
fn keys(lowered: &Lowered) -> Option<Decision> {
    let Fewer { keys, peak, limit, rotations, seconds } = lowered.fewer.as_ref()?;
    let own = Measure::of(&lowered.circuit).rotations;
    let choice = format!("{} rotation keys instead of {keys}", lowered.keys.rotations.len());
    let why = format!(
        "with all of them the peak is {} MiB, and {} MiB are allowed; rotations without a key are chains of others, {own} in all",
        peak >> 20,
        limit >> 20
    );
    let runner_up = format!("all keys: {rotations} rotations, {seconds:.2} s of work per update instead of {:.2} s", lowered.seconds);
    Some(decision(DecisionKind::Keys, "the rotations", choice, why, Some(runner_up), None))
}

/// Ciphertexts that the client refreshes inside an update.
fn exchanges(lowered: &Lowered, link: Link) -> Option<Decision> {
    let without = lowered.without_exchanges.as_ref()?;
    let count = lowered.sized.outputs.iter().filter(|output| output.label == REFRESHED).count();
    let rounds = plural(lowered.sized.rounds.len(), "exchange");
    let choice = format!("{} refreshed by the client inside an update, which has {rounds}", plural(count, "ciphertext"));
    let why = match without {
        Ok(_) => format!("narrower ciphertexts are faster, the client's work and what crosses, at {link}, counted"),
        Err((needed, available)) => format!("an update in one piece needs {needed} bits, and a ciphertext of this ring has {available}"),
    };
    let runner_up = without.ok().map(|seconds| format!("none: {seconds:.2} s per update and what crosses"));
    Some(decision(DecisionKind::Exchange, "the update", choice, why, runner_up, None))
}

/// What goes to the server in an update, and what comes back.
fn crossing(program: &Program, lowered: &Lowered) -> Option<Decision> {
    let Task::Train(_) = &program.task else { return None };
    let updates = lowered.sized.rounds.last().map_or(1, |round| round.update + 1) as usize;
    let (up, sent) = by_label(lowered.sized.inputs.iter().map(|input| input.label.as_str()));
    let (down, back) = by_label(lowered.sized.outputs.iter().map(|output| output.label.as_str()));
    let back =
        if down == 0 { "nothing to the client".to_owned() } else { format!("{} to the client ({back})", plural(down, "ciphertext")) };
    let rounds = plural(lowered.sized.rounds.len(), "exchange");
    let choice = format!("{} to the server ({sent}), {back}, in {rounds}, {}", plural(up, "ciphertext"), every(updates));
    let secure = &program.secure;
    let hands: Vec<String> = secure.client.iter().map(|op| format!("{op:?}").to_lowercase()).collect();
    let refresh = if lowered.bootstrap.is_some() { "the server refreshes by bootstrapping" } else { "the client refreshes" };
    let why = if hands.is_empty() { refresh.to_owned() } else { format!("{refresh}, and the client computes {}", hands.join(", ")) };
    Some(decision(DecisionKind::Exchange, "what crosses", choice, why, None, None))
}

/// How many there are, and how many of each label.
fn by_label<'a>(labels: impl Iterator<Item = &'a str>) -> (usize, String) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    labels.for_each(|label| *counts.entry(label).or_insert(0) += 1);
    let total = counts.values().sum();
    let parts: Vec<String> = counts.into_iter().map(|(label, count)| format!("{label} {count}")).collect();
    (total, parts.join(", "))
}

/// Relinearisations against the exact minimum.
fn relinearisations(lowered: &Lowered) -> Option<Decision> {
    let Measure { relinearisations: count, products, .. } = Measure::of(&lowered.circuit);
    let least = relinearise::least(&lowered.circuit);
    let choice = if count == least { format!("{count}, the minimum") } else { format!("{count}; the minimum is {least}") };
    let why = if count == least {
        "an exact cut: products that meet in sums are relinearised together"
    } else {
        "fewer would compute products twice, or need smaller limbs"
    };
    let runner_up = (count < products).then(|| format!("one for each product: {products}"));
    (products > 0).then(|| decision(DecisionKind::Relinearisation, "the plan", choice, why.to_owned(), runner_up, None))
}

fn decision(kind: DecisionKind, subject: &str, choice: String, why: String, runner_up: Option<String>, span: Option<Span>) -> Decision {
    Decision { kind, subject: subject.to_owned(), choice, why, runner_up, span }
}

fn ring(lowered: &Lowered, tried: &[Tried]) -> Decision {
    let log_n = lowered.ckks.log_n;
    let smaller = tried.iter().filter(|(n, _)| *n < log_n).filter_map(|(n, outcome)| match outcome {
        Err((needed, available)) => Some(format!("2^{n} has {available} bits for ciphertexts where {needed} are needed")),
        Ok(_) => None,
    });
    let smaller: Vec<String> = smaller.collect();
    let seconds = |n: u32| tried.iter().find_map(|(m, outcome)| outcome.as_ref().ok().filter(|_| *m == n));
    let why = match (smaller.last(), seconds(log_n)) {
        (Some(reason), _) => format!("the smallest that is deep enough: {reason}"),
        (None, Some(_)) => "the cheapest that is deep enough and holds the vectors".to_owned(),
        (None, None) => "fixed".to_owned(),
    };
    let others = tried.iter().filter(|(n, _)| *n != log_n).filter_map(|(n, outcome)| outcome.as_ref().ok().map(|s| (*n, *s)));
    let runner_up = others
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .zip(seconds(log_n))
        .map(|((n, other), own)| format!("2^{n}: {:.2} times the cost", other / own));
    let choice = format!("degree 2^{log_n}, {} slots, ciphertexts of up to {} bits", lowered.geometry.slots(), lowered.ckks.max_k);
    decision(DecisionKind::Ring, "the plan", choice, why, runner_up, None)
}

fn scale(program: &Program, lowered: &Lowered) -> Decision {
    let asked = libm::ceil(-libm::log2(program.secure.precision));
    let what = match program.task {
        Task::Train(_) => "an update",
        Task::Serve(_) => "an evaluation",
    };
    let why = format!(
        "{asked} bits of precision asked for, about {} bits that rounding costs at this ring degree, the rest for the operations of {what}",
        lowered.ckks.log_n - 2
    );
    let limbs = lowered.ckks.max_k.div_ceil(lowered.ckks.base2k);
    let choice = format!("2^{}, in limbs of {} bits, {limbs} at most", lowered.ckks.scale, lowered.ckks.base2k);
    decision(DecisionKind::Scale, "the plan", choice, why, None, None)
}

fn layout(lowered: &Lowered) -> Decision {
    let grid = &lowered.geometry;
    let groups = plural(grid.groups(), "ciphertext");
    let (choice, why) = if lowered.in_tiles {
        let choice = format!("tiles of {} slots, {} samples, a batch of {} in {groups}", grid.width, grid.lanes, grid.batch);
        let why = "the batch is small: all parameters stand side by side in the slots of each sample, one product is a whole layer, \
                   and the sum over the samples is cyclic and leaves new states where the next update needs them";
        (choice, why.to_owned())
    } else {
        let choice = format!("{} neurons by {} lanes, a batch of {} in {groups}", grid.width, grid.lanes, grid.batch);
        let why = "neurons outermost: their rotations are cyclic and need no mask; the widest vector, padded, sets their number and \
                   the samples fill the lanes";
        (choice, why.to_owned())
    };
    let diagonals: usize = lowered.circuit.matrices.iter().map(hecc_plan::Matrix::diagonals).sum();
    let runner_up = (diagonals > 0).then(|| {
        let rotations: usize = lowered.circuit.matrices.iter().map(|m| m.rotations().0.len() + m.rotations().1.len()).sum();
        format!("matrices without baby steps: {} rotations instead of {rotations}", diagonals - lowered.circuit.matrices.len())
    });
    decision(DecisionKind::Layout, "the slots", choice, why, runner_up, None)
}

/// Which of the degrees that meet the error budget together.
fn degrees(lowered: &Lowered) -> Option<Decision> {
    let (other, seconds) = lowered.degrees.as_ref()?;
    let list = |forms: &[Form]| forms.iter().map(Form::to_string).collect::<Vec<_>>().join(", ");
    let choice = list(&lowered.approximation.degrees());
    let why = "of those within the error budget predicted to take the least time, what crosses counted".to_owned();
    let runner_up = format!("{}: {seconds:.2} s per update and what crosses", list(other));
    Some(decision(DecisionKind::Activation, "all degrees", choice, why, Some(runner_up), None))
}

/// What each convolution is a product of.
fn convolutions(lowered: &Lowered) -> Vec<Decision> {
    let mut decisions: Vec<Decision> = Vec::new();
    for id in lowered.graph.ids() {
        let node = lowered.graph.node(id);
        let padded = |a: usize, b: usize| a.next_power_of_two().min(b.next_power_of_two());
        let (choice, why, other) = match &node.op {
            TensorOp::Places(w) => {
                let (patch, places) = (w.patch(), w.places());
                let choice = format!("patches of {patch} numbers at {places} places by kernels of {} diagonals", padded(w.outputs, patch));
                let why = "the client has the picture and sends each patch that kernels meet; its places stand side by side, so that \
                           one product is of all of them";
                (choice, why, "a matrix of the whole picture")
            }
            TensorOp::Conv(w) => {
                let (output, input) = (w.output(), w.input());
                let choice = format!("a matrix of {output} by {input}, {} diagonals", padded(output, input));
                let why = "whoever has the kernels in the clear lays them out at every place, and what follows is a dense layer";
                (choice, why, "patches of the client's")
            }
            _ => continue,
        };
        let said = |d: &Decision| d.span == Some(node.span);
        if !decisions.iter().any(said) {
            // A graph with patches may have a matrix further on, which has no other way.
            let patches = lowered.graph.ids().any(|id| matches!(lowered.graph.node(id).op, TensorOp::Places(_)));
            let two = lowered.convolved.filter(|_| patches == matches!(node.op, TensorOp::Places(_)));
            let runner_up = two.map(|seconds| format!("{other}: {seconds:.2} s per update and what crosses"));
            decisions.push(decision(DecisionKind::Layout, "a convolution", choice, why.to_owned(), runner_up, Some(node.span)));
        }
    }
    decisions
}

/// Whether networks of one shape stand interleaved.
fn twins(lowered: &Lowered) -> Option<Decision> {
    let seconds = lowered.twins?;
    let merged = |id| match lowered.graph.node(id).op {
        TensorOp::Dense => {
            let parts = lowered.graph.operands(lowered.graph.operands(id)[1]);
            parts.iter().any(|&part| matches!(lowered.graph.node(part).op, TensorOp::Expand(Ties::Strided { .. })))
        }
        _ => false,
    };
    let count = lowered.graph.ids().filter(|&id| merged(id)).count();
    let (choice, why, other) = if count > 0 {
        let why = "they do the same on the slots that one of them leaves empty: a matrix of the two has as many diagonals as one";
        (format!("two in one, neuron beside neuron, in {}", plural(count, "layer")), why, "each in ciphertexts of its own")
    } else {
        ("each in ciphertexts of its own".to_owned(), "two in one would leave room for fewer samples, or more would cross", "two in one")
    };
    let runner_up = format!("{other}: {seconds:.2} s per update and what crosses");
    Some(decision(DecisionKind::Layout, "twin networks", choice, why.to_owned(), Some(runner_up), None))
}

/// How often something happens.
pub(super) fn every(updates: usize) -> String {
    if updates == 1 { "every update".to_owned() } else { format!("every {updates} updates") }
}

fn plural(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// The cycle through the carried states forces a bootstrap: what an update spends must be won back.
fn bootstrap(lowered: &Lowered) -> Option<Decision> {
    let offer = lowered.bootstrap.as_ref()?;
    let updates = lowered.sized.rounds.last().map_or(1, |round| round.update + 1);
    let steps = lowered.sized.steps.iter();
    let count = steps.clone().filter(|step| matches!(step.op, Op::Bootstrap(_))).count();
    let span = steps.filter(|step| matches!(step.op, Op::Bootstrap(_))).map(|step| step.span).next();
    let choice = format!("{count} by `{}` {}", offer.name, every(updates as usize));
    let cycle = lowered.cycle.as_ref().map_or("the cycle through the carried states spends budget at every update".to_owned(), |cycle| {
        let first = cycle.states.first().map_or("", String::as_str);
        format!("the cycle {} -> {first} spends {:.0} bits per update", cycle.states.join(" -> "), cycle.bits)
    });
    let inside = lowered.inside.as_ref().map_or(String::new(), |inside| {
        let Inside { count, bound, ways } = inside;
        let bound = bound.map_or(String::new(), |bound| format!("; bound {bound}, one for each value"));
        let gap = inside.gap().map_or(String::new(), |gap| format!("; gap {:.0} %", 100.0 * gap));
        let way = |Way { method, updates, count, seconds }: &Way| {
            format!("by {} {count} {}, {seconds:.2} s per update", method.name(), every(*updates))
        };
        let ways: Vec<String> = ways.iter().map(way).collect();
        format!("; bootstraps inside the body: {count}{bound}{gap}; {}", ways.join("; "))
    });
    let why = format!("{cycle}, and {} gives back {} bits{inside}", offer.name, offer.gain());
    let runner_up = lowered
        .second
        .as_ref()
        .map(|(way, seconds)| format!("{way}: {seconds:.2} s of work per update instead of {:.2} s", lowered.seconds));
    Some(decision(DecisionKind::Bootstrap, "the carried states", choice, why, runner_up, span))
}

fn activation(program: &Program, fit: &Fit, approximation: &Approximation) -> Decision {
    let Fit { name, function, pins, polynomial, span } = fit;
    let (low, high) = (polynomial.centre - polynomial.half, polynomial.centre + polynomial.half);
    let open = |a: &&ActivationChoice| a.span == *span && !a.pinned && Elementwise::Named(a.function) == *function;
    let open = approximation.activations.iter().find(open);
    let share = open.map_or(String::new(), |a| format!(", {:.0} % of the error budget", 100.0 * a.share));
    let degrees: Vec<String> = polynomial.stages.iter().map(|stage| (stage.len() - 1).to_string()).collect();
    let what = match degrees.as_slice() {
        [] => format!("degree {}", polynomial.degree()),
        degrees => format!("a composition of degrees {} for the sign, times the argument,", degrees.join(", ")),
    };
    let choice = format!("{what} on [{low}, {high}], largest error {:.1e}{share}", polynomial.error);
    let tolerance = super::tolerance(program);
    let why = match (open, pins.degree, function) {
        (Some(a), ..) => {
            let from_value = if a.from_value { "; its derivative is computed from its value" } else { "" };
            let composed = if polynomial.is_composed() {
                "one polynomial errs by about 0.28 / degree of half the interval, and a composition takes fewer products; "
            } else {
                ""
            };
            format!(
                "{composed}an error of 1 in it moves the outputs by {:.1e}, and all polynomials together by {:.1e} of the {:.1e} \
                 allowed{from_value}",
                a.sensitivity, approximation.measured, approximation.budget
            )
        }
        (None, Some(_), _) => "the program says so".to_owned(),
        (None, None, Elementwise::Polynomial(_)) => "it is a polynomial already".to_owned(),
        (None, None, Elementwise::Named(_)) if polynomial.error <= tolerance => {
            format!("the lowest degree with an error below {tolerance:.1e}")
        }
        (None, None, Elementwise::Named(_)) => format!("no degree up to {} gets below {tolerance:.1e}", super::degree_cap()),
    };
    let other = match (polynomial.degree(), pins.degree) {
        _ if polynomial.is_composed() => 63,
        (degree, Some(_)) => 2 * degree + 1,
        (degree, None) => (degree / 2).max(1),
    };
    let alternative = approximate(function, &Pins { degree: Some(other), within: None, ..*pins }, tolerance, usize::MAX);
    let runner_up = matches!(function, Elementwise::Named(_)).then(|| {
        format!(
            "degree {}: error {:.1e}, {} deep instead of {}",
            other,
            alternative.error,
            plural(depth(other) as usize, "product"),
            if polynomial.is_composed() {
                1 + polynomial.stages.iter().map(|stage| depth(stage.len() - 1)).sum::<u32>()
            } else {
                depth(polynomial.degree())
            }
        )
    });
    decision(DecisionKind::Activation, name, choice, why, runner_up, Some(*span))
}

/// Products in a row that a polynomial of that degree takes.
fn depth(degree: usize) -> u32 {
    (degree + 1).next_power_of_two().ilog2()
}
