//! Maxima and minima as plans compute them: by the polynomial of a difference's magnitude. On the wide intervals that declared
//! rewards leave it, it is so far off that gradients are larger for it, and that what is learnt may be the error.

use std::cell::RefCell;

use super::{Approximation, known};
use crate::check::hir::{ClientOp, Pins, Program, Task};
use crate::diagnostics::Diagnostic;
use crate::schemes::ckks::approximate::Polynomial;
use crate::schemes::ckks::magnitude;
use crate::tensor::eval::{Exact, Functions};
use crate::tensor::graph::Map;
use crate::tensor::{Graph, Op, TensorError};

/// Exact functions, but for maxima and minima of pinned degrees.
pub(crate) struct Maxima<'a> {
    program: &'a Program,
    made: RefCell<Vec<(Pins, Polynomial)>>,
}

impl<'a> Maxima<'a> {
    pub fn new(program: &'a Program) -> Self {
        Self { program, made: RefCell::new(Vec::new()) }
    }
}

impl Functions for Maxima<'_> {
    fn map(&self, map: &Map, x: f64) -> f64 {
        Exact.map(map, x)
    }

    fn abs(&self, pins: &Pins, x: f64) -> f64 {
        // What the program leaves open is chosen to do no harm.
        if pins.degree.is_none() || [ClientOp::Max, ClientOp::Min].iter().any(|op| self.program.secure.client.contains(op)) {
            return x.abs();
        }
        let x = pins.range.map_or(x, |range| x.clamp(range.low, range.high));
        let mut made = self.made.borrow_mut();
        let at = made.iter().position(|(other, _)| other == pins).unwrap_or_else(|| {
            made.push((*pins, magnitude(self.program, *pins)));
            made.len() - 1
        });
        made[at].1.eval(x)
    }
}

/// Warnings for maxima and minima of a training whose polynomials are further off than any reward is from zero, or, where the program
/// leaves them open, than its precision allows. `graph` has the polynomials of `approximation`.
pub(crate) fn coarse(program: &Program, graph: &Graph, approximation: &Approximation) -> Vec<Diagnostic> {
    let range = program.env.reward_range;
    let reward = range.low.abs().max(range.high.abs());
    if !matches!(program.task, Task::Train(_)) || reward == 0.0 {
        return Vec::new();
    }
    let known = known(program, graph);
    let mut found: Vec<(Pins, Diagnostic)> = Vec::new();
    for id in graph.ids().filter(|id| !known[id.index()]) {
        let node = graph.node(id);
        let (Op::Max(pins) | Op::Extremum { pins, .. }) = &node.op else { continue };
        if found.iter().any(|(other, _)| other == pins) {
            continue;
        }
        // (a + b ± |a - b|) / 2.
        let error = magnitude(program, *pins).error / 2.0;
        let missed = approximation.activations.iter().any(|a| a.span == node.span && !a.pinned && a.moved > approximation.budget);
        let Some(interval) = pins.range.filter(|_| error > reward || missed) else { continue };
        let (what, than) = if error > reward {
            let what = format!("the polynomial of this maximum or minimum is off by up to {error:.2}, more than any reward");
            (what, format!("; rewards are at most {reward:.2}"))
        } else {
            let what = format!("the polynomial of this maximum or minimum is off by up to {error:.1e}, further than `precision` allows");
            (what, format!("; new weights move by more than the {:.1e} allowed", approximation.budget))
        };
        let here = format!("of differences in [{}, {}]{than}", interval.low, interval.high);
        let help = "`hecc calibrate` measures how far the values differ; `range: [low, high]` in the call pins it".to_owned();
        let diagnostic = Diagnostic::from(&TensorError::Coarse { what, span: node.span }).here(here).help(help).warning();
        found.push((*pins, diagnostic));
    }
    found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
}
