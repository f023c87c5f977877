//! Maxima and minima as plans compute them: by the polynomial of a difference's magnitude. On the wide intervals that declared
//! rewards leave it, it is so far off that gradients are larger for it, and that what is learnt may be the error.

use std::cell::RefCell;

use hecc_plan::Function;

use super::known;
use crate::check::hir::{ClientOp, Pins, Program, Task};
use crate::diagnostics::Diagnostic;
use crate::schemes::ckks;
use crate::schemes::ckks::approximate::{Polynomial, approximate};
use crate::tensor::eval::{Exact, Functions};
use crate::tensor::graph::{Elementwise, Map};
use crate::tensor::{Graph, Op, TensorError};

/// Exact functions, but for maxima and minima.
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
        if [ClientOp::Max, ClientOp::Min].iter().any(|op| self.program.secure.client.contains(op)) {
            return x.abs();
        }
        let x = pins.range.map_or(x, |range| x.clamp(range.low, range.high));
        let mut made = self.made.borrow_mut();
        let at = made.iter().position(|(other, _)| other == pins).unwrap_or_else(|| {
            made.push((*pins, magnitude(self.program, pins)));
            made.len() - 1
        });
        made[at].1.eval(x)
    }
}

fn magnitude(program: &Program, pins: &Pins) -> Polynomial {
    let cap = if pins.degree.is_some() { usize::MAX } else { ckks::degree_cap() };
    approximate(&Elementwise::Named(Function::Abs), pins, ckks::tolerance(program), cap)
}

/// Warnings for maxima and minima of a training whose polynomials are further off than any reward is from zero.
pub(crate) fn coarse(program: &Program, graph: &Graph) -> Vec<Diagnostic> {
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
        let error = magnitude(program, pins).error / 2.0;
        let Some(interval) = pins.range.filter(|_| error > reward) else { continue };
        let what = format!("the polynomial of this maximum or minimum is off by up to {error:.2}, more than any reward");
        let here = format!("of differences in [{}, {}]; rewards are at most {reward:.2}", interval.low, interval.high);
        let help = "`hecc calibrate` measures how far the values differ; `range: [low, high]` in the call pins it".to_owned();
        let diagnostic = Diagnostic::from(&TensorError::Coarse { what, span: node.span }).here(here).help(help).warning();
        found.push((*pins, diagnostic));
    }
    found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
}
