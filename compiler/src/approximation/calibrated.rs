//! Ranges that a clear-text run measured, as pins of the functions that the program leaves open.
//!
//! The rule for the margin: the interval is the hull of all applications of a function, a quarter wider about its middle,
//! since another seed or noise goes elsewhere than the run did; what is positive (negative) stays so. If its middle is within
//! a quarter of its half width of 0 it is made symmetric, which halves the terms of many polynomials. Ends are rounded outward.

use hecc_plan::calibration::{Calibration, Wider};
use hecc_plan::{Function, Span};

use crate::check::hir::{self, Expr, ExprKind, Layer, LayerKind, Pins, Program, Range, Reduce, StateExpr, Stmt, Task};
use crate::tensor::build::named;

/// How much wider than what was seen.
const MARGIN: f64 = 1.25;

/// The program with a range for every function that has none and that was measured.
pub fn run(program: &Program, calibration: &Calibration) -> Program {
    let range = |function: Function, span: Span| {
        let here = calibration.arguments.iter().filter(|a| a.function == function && a.span == span).map(|a| a.spread);
        let hull = here.fold(None, |hull: Option<(f64, f64)>, s| {
            let (low, high) = hull.unwrap_or((s.low, s.high));
            Some((low.min(s.low), high.max(s.high)))
        });
        hull.map(|(low, high)| widened(low, high))
    };
    pinned(program, &Measured { range: &range, replaces: false })
}

/// The program with these intervals, whatever it pins itself; of several for one function, all.
pub fn wider(program: &Program, intervals: &[Wider]) -> Program {
    let range = |function: Function, span: Span| {
        let here = intervals.iter().filter(|w| w.function == function.name() && w.span == span).map(|w| w.range);
        here.reduce(|a, b| [a[0].min(b[0]), a[1].max(b[1])]).map(|[low, high]| Range { low, high })
    };
    pinned(program, &Measured { range: &range, replaces: true })
}

fn pinned(program: &Program, measured: &Measured<'_>) -> Program {
    let mut program = program.clone();
    for net in &mut program.nets {
        net.layers.iter_mut().for_each(|layer| measured.layer(layer));
        net.outputs.iter_mut().flat_map(|head| &mut head.layers).for_each(|layer| measured.layer(layer));
    }
    match &mut program.task {
        Task::Serve(serve) => measured.expr(&mut serve.expr),
        Task::Train(train) => {
            train.body.lets.iter_mut().for_each(|l| measured.expr(&mut l.expr));
            measured.statements(&mut train.body.statements);
        }
    }
    program
}

/// Intervals of functions by place.
struct Measured<'a> {
    range: &'a dyn Fn(Function, Span) -> Option<Range>,
    /// Also of those that have one.
    replaces: bool,
}

impl Measured<'_> {
    fn pin(&self, pins: &mut Pins, function: Option<Function>, span: Span) {
        if let Some(function) = function.filter(|_| self.replaces || pins.range.is_none()) {
            pins.range = (self.range)(function, span).or(pins.range);
        }
    }

    fn layer(&self, layer: &mut Layer) {
        let span = layer.span;
        match &mut layer.kind {
            LayerKind::Activation(activation) => self.pin(&mut activation.pins, named(&activation.function), span),
            LayerKind::Residual(inner) => inner.iter_mut().for_each(|layer| self.layer(layer)),
            LayerKind::Dense { .. } | LayerKind::Conv { .. } | LayerKind::Flatten | LayerKind::Scale(_) => {}
        }
    }

    fn statements(&self, statements: &mut [Stmt]) {
        for statement in statements {
            match statement {
                Stmt::Minimize { loss, .. } => self.expr(loss),
                Stmt::Assign { value: StateExpr::Scalar(expr), .. } | Stmt::Reveal { value: expr, .. } => self.expr(expr),
                Stmt::Every { body, .. } => self.statements(body),
                Stmt::Let(_) | Stmt::Assign { value: StateExpr::Networks(_), .. } => {}
            }
        }
    }

    fn expr(&self, expr: &mut Expr) {
        let span = expr.span;
        match &mut expr.kind {
            ExprKind::Map(hir::Activation { function, pins }, _) => self.pin(pins, named(function), span),
            ExprKind::Extremum(_, pins, ..) | ExprKind::Reduce(Reduce::Max(pins), _) => self.pin(pins, Some(Function::Abs), span),
            ExprKind::Sample { pins, .. } => self.pin(pins, Some(Function::Tanh), span),
            _ => {}
        }
        for part in parts(expr) {
            self.expr(part);
        }
    }
}

/// The expressions directly inside one.
fn parts(expr: &mut Expr) -> Vec<&mut Expr> {
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::Value(_) => Vec::new(),
        ExprKind::Apply { args, .. } | ExprKind::Concat(args) => args.iter_mut().collect(),
        ExprKind::Project(a, _)
        | ExprKind::Index(a, _)
        | ExprKind::Neg(a)
        | ExprKind::Pow(a, _)
        | ExprKind::Map(_, a)
        | ExprKind::Reduce(_, a)
        | ExprKind::ArgMax(a)
        | ExprKind::Clip(a, ..)
        | ExprKind::Stop(a)
        | ExprKind::Fourier { x: a, .. } => vec![a],
        ExprKind::Binary(_, a, b)
        | ExprKind::Extremum(_, _, a, b)
        | ExprKind::Dot(a, b)
        | ExprKind::Atan2(a, b)
        | ExprKind::Outer(a, b)
        | ExprKind::TensorFourier { angle: a, x: b, .. } => vec![a, b],
        ExprKind::Select(a, b, c) => vec![a, b, c],
        ExprKind::Sample { mu, log_std, noise, .. } => vec![mu, log_std, noise],
    }
}

/// The interval for values from `low` to `high`.
fn widened(low: f64, high: f64) -> Range {
    let centre = (low + high) / 2.0;
    let half = ((high - low) / 2.0).max(0.05 * (1.0 + centre.abs())) * MARGIN;
    let (from, to) = (centre - half, centre + half);
    match (low > 0.0, high < 0.0) {
        (true, _) if from <= 0.0 => Range { low: low / MARGIN, high: to },
        (_, true) if to >= 0.0 => Range { low: from, high: high / MARGIN },
        _ if centre.abs() <= half / 4.0 => {
            let half = outward(from.abs().max(to.abs()), half);
            Range { low: -half, high: half }
        }
        _ => Range { low: -outward(-from, half), high: outward(to, half) },
    }
}

/// Up to two digits of what the interval is wide, so that it reads well.
fn outward(end: f64, half: f64) -> f64 {
    let parts = libm::exp10(1.0 - libm::floor(libm::log10(half)));
    libm::ceil(end * parts) / parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn margins_keep_signs_and_make_symmetric_what_nearly_is() {
        let pair = |low, high| {
            let Range { low, high } = widened(low, high);
            (low, high)
        };
        assert_eq!(pair(-4.0, 4.0), (-5.0, 5.0));
        assert_eq!(pair(-4.0, 5.0), (-6.2, 6.2));
        assert_eq!(pair(-1.0, 7.0), (-2.0, 8.0));
        let (low, high) = pair(0.1, 6.0);
        assert!(low > 0.0 && low < 0.1 && high > 6.0);
        let (low, high) = pair(-6.0, -0.1);
        assert!(high < 0.0 && high > -0.1 && low < -6.0);
        let (low, high) = pair(0.0, 0.0);
        assert!(low < 0.0 && high > 0.0, "a value that never moved still has an interval");
    }
}
