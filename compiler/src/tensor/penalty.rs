//! The range penalty: keeps the arguments of polynomials inside their intervals while a network is trained.
//!
//! The loss gains the mean over the batch of (κ R / 4) ((z − c) / R)⁴ for each argument z of an activation on [c − R, c + R],
//! which adds κ ((z − c) / R)³ to the gradient of z: nothing to speak of well inside, κ at the ends, and rising steeply.

use std::collections::BTreeMap;

use super::autodiff::reaches;
use super::graph::{self, Data, Elementwise, Graph, Id, Map, Op, Shape};
use crate::check::hir::{ClientOp, Range, Settings};
use crate::passes::hoist::client_computes;

/// How the penalty is counted.
pub(super) struct Penalty<'a> {
    /// κ and the number of samples.
    pub settings: &'a Settings,
    /// What the key owner computes exactly, whatever its range.
    pub client: &'a [ClientOp],
    /// Whether some lanes hold no sample.
    pub padded: bool,
}

/// `loss` plus the penalties of the activations between it and the `wanted` parameters, each application counted once.
/// Functions in expressions whose range nothing pins have none.
pub(super) fn penalised(graph: &mut Graph, loss: Id, wanted: &[Id], penalty: &Penalty<'_>) -> Id {
    let Settings { range_penalty: kappa, batch, .. } = *penalty.settings;
    if kappa == 0.0 {
        return loss;
    }
    let span = graph.node(loss).span;
    let mut sum = loss;
    for (z, Range { low, high }) in arguments(graph, loss, wanted, penalty.client) {
        let shape = graph.shape(z);
        let (centre, half) = ((low + high) / 2.0, (high - low) / 2.0);
        let shifted = if centre == 0.0 { z } else { graph.push(Op::Offset(-centre), &[z], shape, span) };
        let t = graph.push(Op::Scale(1.0 / half), &[shifted], shape, span);
        let square = graph.push(Op::Mul, &[t, t], shape, span);
        let quartic = graph.push(Op::Mul, &[square, square], shape, span);
        let total = if shape == Shape::Sample(1) { quartic } else { graph.push(Op::SumElements, &[quartic], Shape::Sample(1), span) };
        let total = if penalty.padded {
            let ones = graph.push(Op::Data(Data::Ones), &[], Shape::Sample(1), span);
            graph.push(Op::Mul, &[ones, total], Shape::Sample(1), span)
        } else {
            total
        };
        let number = graph.push(Op::SumBatch, &[total], Shape::Vector(1), span);
        let factor = kappa * half / 4.0 / batch as f64;
        let term = graph.push(Op::Scale(factor), &[number], Shape::Vector(1), span);
        sum = graph.push(Op::Add, &[sum, term], Shape::Vector(1), span);
    }
    sum
}

/// Arguments with their intervals, one for each activation that the gradient passes.
fn arguments(graph: &Graph, loss: Id, wanted: &[Id], client: &[ClientOp]) -> Vec<(Id, Range)> {
    let reaches = reaches(graph, wanted);
    let mut used = vec![false; graph.len()];
    used[loss.index()] = true;
    let nodes: Vec<Id> = graph.ids().collect();
    for &id in nodes.iter().rev().filter(|id| reaches[id.index()]) {
        if used[id.index()] {
            graph.operands(id).iter().for_each(|o| used[o.index()] = true);
        }
    }
    // Equal values have one class: a network that is written twice is applied once.
    let mut classes: BTreeMap<(String, Vec<usize>, String), usize> = BTreeMap::new();
    let mut class: Vec<usize> = Vec::with_capacity(nodes.len());
    let mut found: BTreeMap<usize, (Id, Range)> = BTreeMap::new();
    for &id in &nodes {
        let node = graph.node(id);
        let operands: Vec<usize> = graph.operands(id).iter().map(|o| class[o.index()]).collect();
        let next = classes.len();
        let own = *classes.entry((graph::name(&node.op), operands, format!("{:?}", node.shape))).or_insert(next);
        class.push(own);
        if let Op::Map(Map { function: Elementwise::Named(_), order: 0, pins }) = &node.op
            && let Some(range) = pins.range
            && used[id.index()]
            && reaches[id.index()]
            && !client_computes(&node.op, client)
        {
            found.entry(own).or_insert((graph.operands(id)[0], range));
        }
    }
    found.into_values().collect()
}
