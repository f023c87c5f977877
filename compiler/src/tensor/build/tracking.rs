//! Recurrences that follow the inverse root of the mean square of gradients without a root or a division, as operations of
//! the graph: what ciphertexts compute, and what [`crate::tracking`] measures them by.
//!
//! With τ = ε², v the mean square and w near (v + τ)^-1/2, the new w is w P(u) where u = (v + τ) w² is near 1 and P near
//! u^-1/2: what error w had cancels, up to that of P. Gradients are kept over their largest, v over its square, and w as ε w,
//! so that every state is at most 1. The product (v + τ) w comes first, which is at most 1 as well and keeps its bits.

use hecc_plan::Span;

use crate::check::hir::By;
use crate::tensor::graph::{Graph, Id, Op};

/// Where [`POLYNOMIAL`] holds, and from where on w is lost.
pub const INTERVAL: [f64; 2] = [0.9, 20.0];
/// u^-1/2 by powers of (u - 10.45) / 9.55, with the least largest relative error on [`INTERVAL`], 1.6 %.
pub const POLYNOMIAL: [f64; 8] = [
    0.305_159_017_077_954_6,
    -0.120_725_828_298_097_46,
    0.212_390_767_338_547_23,
    -0.311_581_937_033_310_05,
    -0.398_556_846_495_443_43,
    0.627_673_542_082_613_2,
    0.509_877_867_423_029,
    -0.604_122_535_929_364_5,
];

/// The constants of a recurrence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// β2.
    pub beta2: f64,
    /// ε.
    pub eps: f64,
    /// The largest magnitude of a gradient.
    pub largest: f64,
}

impl Constants {
    /// (ε / G)².
    pub fn floor(&self) -> f64 {
        let part = self.eps / self.largest;
        part * part
    }
}

/// What a recurrence carries from update to update.
#[derive(Clone, Copy, Debug)]
pub struct States {
    /// ε w.
    pub scale: Id,
    /// v / G², where it is kept.
    pub square: Option<Id>,
}

/// Adds nodes of one shape.
struct Maker<'a> {
    graph: &'a mut Graph,
    like: Id,
    span: Span,
}

impl Maker<'_> {
    fn op(&mut self, op: Op, operands: &[Id]) -> Id {
        let shape = self.graph.shape(self.like);
        self.graph.push(op, operands, shape, self.span)
    }

    fn mul(&mut self, a: Id, b: Id) -> Id {
        self.op(Op::Mul, &[a, b])
    }

    fn add(&mut self, a: Id, b: Id) -> Id {
        self.op(Op::Add, &[a, b])
    }

    fn scale(&mut self, c: f64, x: Id) -> Id {
        self.op(Op::Scale(c), &[x])
    }

    /// c0 + c1 x.
    fn line(&mut self, c0: f64, c1: f64, x: Id) -> Id {
        let scaled = self.scale(c1, x);
        self.op(Op::Offset(c0), &[scaled])
    }
}

/// `value` over its scale: g w, where `scale` is ε w.
pub fn over_scale(graph: &mut Graph, value: Id, scale: Id, eps: f64, span: Span) -> Id {
    let mut make = Maker { graph, like: value, span };
    let divided = make.scale(1.0 / eps, value);
    make.mul(divided, scale)
}

/// The states after an update with this gradient.
pub fn track(graph: &mut Graph, by: By, gradient: Id, old: States, constants: Constants, span: Span) -> States {
    let mut make = Maker { graph, like: gradient, span };
    let Constants { beta2, eps, largest } = constants;
    let (By::Newton | By::Polynomial, Some(square)) = (by, old.square) else {
        // w (1 + c (1 - (g w)² - τ w²)), c = (1 - β2) / 2: one step of Newton's on the mean of g² + τ.
        let normalised = over_scale(make.graph, gradient, old.scale, eps, span);
        let (square, floor) = (make.mul(normalised, normalised), make.mul(old.scale, old.scale));
        let whole = make.add(square, floor);
        let shrink = make.mul(old.scale, whole);
        let c = (1.0 - beta2) / 2.0;
        let (grown, shrunk) = (make.scale(1.0 + c, old.scale), make.scale(c, shrink));
        let scale = make.op(Op::Sub, &[grown, shrunk]);
        return States { scale, square: None };
    };
    let floor = constants.floor();
    let root = eps / largest;
    let part = make.scale(1.0 / largest, gradient);
    let fresh = make.mul(part, part);
    let (kept, gained) = (make.scale(beta2, square), make.scale(1.0 - beta2, fresh));
    let square = make.add(kept, gained);
    let sum = make.op(Op::Offset(floor), &[square]);
    // √(v + τ) / G, then u times ε / G.
    let ratio = make.mul(sum, old.scale);
    let ratio = make.scale(1.0 / root, ratio);
    let u = make.mul(ratio, old.scale);
    let correction = match by {
        By::Polynomial => polynomial(&mut make, u, root),
        By::Newton | By::LogAverage => make.line(1.5, -0.5 / root, u),
    };
    States { scale: make.mul(old.scale, correction), square: Some(square) }
}

/// [`POLYNOMIAL`] of u, which comes times `factor`, three products deep.
fn polynomial(make: &mut Maker<'_>, u: Id, factor: f64) -> Id {
    let [low, high] = INTERVAL;
    let (centre, half) = ((low + high) / 2.0, (high - low) / 2.0);
    let y = make.line(-centre / half, 1.0 / (factor * half), u);
    let (c, y2) = (POLYNOMIAL, make.mul(y, y));
    let y4 = make.mul(y2, y2);
    let quarter = |make: &mut Maker<'_>, at: usize| {
        let (first, second) = (make.line(c[at], c[at + 1], y), make.line(c[at + 2], c[at + 3], y));
        let second = make.mul(second, y2);
        make.add(first, second)
    };
    let (low, high) = (quarter(make, 0), quarter(make, 4));
    let high = make.mul(high, y4);
    make.add(low, high)
}

/// Products one after another: from the gradient to a scale, and from it to the step where that takes the new one.
pub fn levels(by: By) -> usize {
    match by {
        By::LogAverage => 3,
        By::Newton => 4,
        By::Polynomial => 7,
    }
}

/// Products of an update, the step's not counted, and whether g w is among them.
pub fn products(by: By) -> (usize, bool) {
    match by {
        By::LogAverage => (4, true),
        By::Newton => (4, false),
        By::Polynomial => (9, false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomial_errs_as_it_says() {
        let [low, high] = INTERVAL;
        let error = |i: u32| {
            let u = low + (high - low) * f64::from(i) / 4000.0;
            let y = (u - (low + high) / 2.0) / ((high - low) / 2.0);
            POLYNOMIAL.iter().rev().fold(0.0, |sum, c| sum * y + c) * u.sqrt() - 1.0
        };
        let largest = (0..=4000).map(|i| error(i).abs()).fold(0.0, f64::max);
        assert!((0.0155..0.0157).contains(&largest), "{largest}");
    }
}
