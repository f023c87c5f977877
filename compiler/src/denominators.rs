//! The ε of Adam and RMSprop where the key owner takes their steps: large enough that noise takes none.
//!
//! A step is lr m̂ / (√v̂ + ε). After the first update m̂ is the gradient g and √v̂ its magnitude, so that where g is 0 or
//! nearly, noise δ of a decrypted gradient becomes a step of lr δ / (δ + ε): nearly the learning rate, whatever the precision.
//! With ε ≥ lr δ / p it is at most p. Later updates have more in v and are less sensitive.

use std::collections::BTreeMap;

use hecc_plan::noise::{self, Data};
use hecc_plan::{ClearId, ClearOp, Decision, DecisionKind, Plan, Span};

use crate::schemes::ckks::known::Quotient;

/// How much smaller than what the program asks for errors of weights are to be: noise is now and then larger than predicted.
const MARGIN: f64 = 2.0;

/// Raises each ε that is too small for errors of at most `precision`, one for all parameters of an optimiser. What was decided.
pub fn run(plan: &mut Plan, quotients: &[Quotient], precision: f64) -> Vec<Decision> {
    if quotients.is_empty() {
        return Vec::new();
    }
    let means: Vec<ClearId> = quotients.iter().map(|quotient| quotient.mean).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let errors = noise::errors(plan, &Data::sample(plan, 0), &means, threads).expect("a plan's own sample fits it");
    // Noise of a gradient, and the ε that it takes.
    let mut least: BTreeMap<Span, (f64, f64)> = BTreeMap::new();
    for (quotient, error) in quotients.iter().zip(errors) {
        let noise = error / quotient.part;
        let (most, eps) = least.entry(quotient.span).or_default();
        *most = most.max(noise);
        *eps = eps.max(two_digits(MARGIN * quotient.rate * noise / precision));
    }
    let mut raised: BTreeMap<Span, f64> = BTreeMap::new();
    for quotient in quotients {
        let ClearOp::Affine { offset, .. } = &mut plan.client.nodes[quotient.denominator.0 as usize].op else { continue };
        let eps = least[&quotient.span].1;
        if *offset < eps {
            raised.insert(quotient.span, *offset);
            *offset = eps;
        }
    }
    raised.into_iter().map(|(span, own)| decision(span, own, least[&span])).collect()
}

/// Rounded up.
fn two_digits(x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    let digits = libm::exp10(1.0 - libm::floor(libm::log10(x)));
    libm::ceil(x * digits) / digits
}

fn decision(span: Span, own: f64, (noise, eps): (f64, f64)) -> Decision {
    Decision {
        kind: DecisionKind::Optimiser,
        subject: "the key owner's step".to_owned(),
        choice: format!("ε = {eps:e}, not {own:e}"),
        why: format!(
            "gradients come back with noise of up to {noise:.1e}, and where they are 0 it would take steps of the whole learning rate"
        ),
        runner_up: None,
        span: Some(span),
    }
}
