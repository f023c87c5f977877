//! The ε of Adam and RMSprop where the key owner takes their steps: large enough that noise takes none.
//!
//! A step is lr m̂ / (√v̂ + ε). After Adam's first update m̂ is the gradient g and √v̂ its magnitude (of RMSprop's at most that), so
//! that where g is 0 or nearly, noise of up to δ makes a step of up to lr, whatever the precision. Between gradients δ apart
//! steps differ by at most lr δ / (δ / 2 + ε), which is p where ε = δ (lr / p − 1/2). Later updates have more in v and are less
//! sensitive.

use std::collections::BTreeMap;

use hecc_plan::noise::{self, Data};
use hecc_plan::{ClearId, ClearOp, Decision, DecisionKind, Plan, Span};

use crate::passes::rebuild::rebuild;
use crate::schemes::ckks::known::Quotient;
use crate::tensor::graph::AdamStep;
use crate::tensor::{Graph, Op};

/// How much smaller than what the program asks for errors of weights are to be: noise is now and then larger than predicted.
const MARGIN: f64 = 2.0;
/// No plan is more precise than that.
const FINEST: f64 = 1.0 / (1 << 24) as f64;

/// An ε that was raised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Raised {
    /// The optimiser in the source.
    pub span: Span,
    /// What it says.
    pub from: f64,
    /// What the plan has.
    pub to: f64,
    /// The largest noise of its gradients.
    pub noise: f64,
}

/// Raises each ε that is too small for errors of at most `precision`, one for all parameters of an optimiser.
pub(crate) fn run(plan: &mut Plan, quotients: &[Quotient], precision: f64) -> Vec<Raised> {
    let Some(noise) = noise_of(plan, quotients) else { return Vec::new() };
    // The noise of an optimiser's gradients, and the ε that it takes.
    let mut least: BTreeMap<Span, (f64, f64)> = BTreeMap::new();
    for (quotient, noise) in quotients.iter().zip(noise) {
        let own = if quotient.corrected { 0.5 } else { 0.0 };
        let (most, eps) = least.entry(quotient.span).or_default();
        *most = most.max(noise);
        *eps = eps.max(two_digits(noise * (MARGIN * quotient.rate / precision.max(FINEST) - own)));
    }
    let mut raised: BTreeMap<Span, Raised> = BTreeMap::new();
    for quotient in quotients {
        let (noise, to) = least[&quotient.span];
        let eps = eps_of(plan, quotient);
        if *eps < to {
            raised.insert(quotient.span, Raised { span: quotient.span, from: *eps, to, noise });
            *eps = to;
        }
    }
    raised.into_values().collect()
}

/// A tensor graph with these ε.
pub fn applied(graph: &Graph, raised: &[Raised]) -> Graph {
    rebuild(graph, |new, _, node, operands| {
        let op = match node.op {
            Op::AdamStep(step) => {
                let to = raised.iter().find(|raised| raised.span == node.span).map_or(step.eps, |raised| raised.to);
                Op::AdamStep(AdamStep { eps: to, ..step })
            }
            ref op => op.clone(),
        };
        new.push(op, &operands, node.shape, node.span)
    })
}

fn eps_of<'a>(plan: &'a mut Plan, quotient: &Quotient) -> &'a mut f64 {
    match &mut plan.client.nodes[quotient.denominator.0 as usize].op {
        ClearOp::Affine { offset, .. } => offset,
        _ => unreachable!("a denominator is √v̂ plus an offset"),
    }
}

/// The largest noise of each quotient's gradient, while no step makes noise of its own for the gradients after it: with an ε
/// beside which they are small. `None` where there is none to look at.
fn noise_of(plan: &Plan, quotients: &[Quotient]) -> Option<Vec<f64>> {
    if quotients.is_empty() {
        return None;
    }
    let mut smooth = plan.clone();
    quotients.iter().for_each(|quotient| *eps_of(&mut smooth, quotient) += 1.0);
    let means: Vec<ClearId> = quotients.iter().map(|quotient| quotient.mean).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let errors = noise::errors(&smooth, &Data::sample(plan, 0), &means, threads).ok()?;
    Some(errors.iter().zip(quotients).map(|(error, quotient)| error / quotient.part).collect())
}

/// Rounded up.
fn two_digits(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let digits = libm::exp10(1.0 - libm::floor(libm::log10(x)));
    libm::ceil(x * digits) / digits
}

impl Raised {
    pub(crate) fn note(&self) -> String {
        format!("the key owner's step: ε = {:e}, not {:e}, beside noise of up to {:.1e} in gradients", self.to, self.from, self.noise)
    }

    pub(crate) fn decision(&self) -> Decision {
        let why = "and where they are 0 it would take steps of the whole learning rate";
        Decision {
            kind: DecisionKind::Optimiser,
            subject: "the key owner's step".to_owned(),
            choice: format!("ε = {:e}, not {:e}", self.to, self.from),
            why: format!("gradients come back with noise of up to {:.1e}, {why}", self.noise),
            runner_up: None,
            span: Some(self.span),
        }
    }
}
