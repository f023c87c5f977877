//! Reverse-mode differentiation on the tensor graph: the gradient is more nodes of the same graph.
//!
//! Source: Griewank and Walther, "Evaluating Derivatives", ch. 3 (adjoints in reverse order of evaluation).

use std::collections::BTreeMap;

use super::TensorError;
use super::graph::{Elementwise, Graph, Id, Map, Op, Shape};

/// Adds the gradients of the number `loss` with respect to `wanted` to the graph. A wanted node that the loss does not
/// depend on has no entry.
///
/// # Errors
/// [`TensorError::NotSupported`] where the loss depends on a wanted node through an operation without a derivative.
pub fn gradients(graph: &mut Graph, loss: Id, wanted: &[Id]) -> Result<BTreeMap<Id, Id>, TensorError> {
    let reaches = reaches(graph, wanted);
    let mut adjoints: BTreeMap<Id, Id> = BTreeMap::new();
    let span = graph.node(loss).span;
    let one = graph.push(Op::Constant(1.0), &[], graph.shape(loss), span);
    adjoints.insert(loss, one);
    let order: Vec<Id> = graph.ids().take(loss.index() + 1).collect();
    for &id in order.iter().rev() {
        let Some(&adjoint) = adjoints.get(&id) else { continue };
        if !reaches[id.index()] {
            continue;
        }
        let operands = graph.operands(id);
        for (slot, &operand) in operands.iter().enumerate() {
            if reaches[operand.index()]
                && let Some(part) = partial(graph, id, &operands, slot, adjoint)?
            {
                let sum = match adjoints.get(&operand) {
                    Some(&so_far) => graph.push(Op::Add, &[so_far, part], graph.shape(operand), graph.node(operand).span),
                    None => part,
                };
                adjoints.insert(operand, sum);
            }
        }
    }
    Ok(wanted.iter().filter_map(|&w| adjoints.get(&w).map(|&g| (w, g))).collect())
}

/// Which nodes depend on a wanted one, not through a `stop`.
pub(super) fn reaches(graph: &Graph, wanted: &[Id]) -> Vec<bool> {
    let mut reaches = vec![false; graph.len()];
    for id in graph.ids() {
        let stop = matches!(graph.node(id).op, Op::Stop);
        reaches[id.index()] = wanted.contains(&id) || (!stop && graph.operands(id).iter().any(|o| reaches[o.index()]));
    }
    reaches
}

/// The adjoint that operand `slot` of `id` receives.
fn partial(graph: &mut Graph, id: Id, operands: &[Id], slot: usize, adjoint: Id) -> Result<Option<Id>, TensorError> {
    let node = graph.node(id).clone();
    let (span, shape) = (node.span, graph.shape(operands[slot]));
    let mut push = |op: Op, operands: &[Id], shape: Shape| graph.push(op, operands, shape, span);
    Ok(Some(match &node.op {
        Op::Data(_) | Op::State(_) | Op::Constant(_) => return Ok(None),
        Op::Add => adjoint,
        Op::Sub if slot == 0 => adjoint,
        Op::Sub => push(Op::Scale(-1.0), &[adjoint], shape),
        Op::Mul => push(Op::Mul, &[operands[1 - slot], adjoint], shape),
        Op::Scale(c) => push(Op::Scale(*c), &[adjoint], shape),
        Op::Rate(rate) => push(Op::Rate(*rate), &[adjoint], shape),
        Op::Offset(_) => adjoint,
        Op::Dense if slot == 0 => push(Op::DenseTranspose, &[adjoint, operands[1]], shape),
        Op::Dense => push(Op::DenseGradient, &[adjoint, operands[0]], shape),
        Op::DenseTranspose if slot == 0 => push(Op::Dense, &[adjoint, operands[1]], shape),
        Op::DenseTranspose => push(Op::DenseGradient, &[operands[0], adjoint], shape),
        Op::Conv(w) if slot == 0 => push(Op::ConvTranspose(*w), &[adjoint, operands[1]], shape),
        Op::Conv(w) => push(Op::ConvGradient(*w), &[adjoint, operands[0]], shape),
        Op::ConvTranspose(w) if slot == 0 => push(Op::Conv(*w), &[adjoint, operands[1]], shape),
        Op::ConvTranspose(w) => push(Op::ConvGradient(*w), &[operands[0], adjoint], shape),
        Op::Repeat => push(Op::SumRuns, &[adjoint], shape),
        Op::SumRuns => push(Op::Repeat, &[adjoint], shape),
        Op::Spread => push(Op::SumBatch, &[adjoint], shape),
        Op::SumBatch => push(Op::Spread, &[adjoint], shape),
        Op::SumElements => push(Op::Broadcast, &[adjoint], shape),
        Op::Broadcast => push(Op::SumElements, &[adjoint], shape),
        Op::Slice { start, step } => push(Op::Place { start: *start, step: *step }, &[adjoint], shape),
        Op::Place { start, step } => push(Op::Slice { start: *start, step: *step }, &[adjoint], shape),
        Op::Map(map) if map.order == 0 => {
            let derivative = push(Op::Map(Map { order: 1, ..map.clone() }), &[operands[0]], shape);
            push(Op::Mul, &[derivative, adjoint], shape)
        }
        Op::Extremum { larger, pins } => {
            // max(a, b) = (a + b + |a - b|) / 2, so d/da = (1 + sign(a - b)) / 2; the roles change with slot and with min.
            let difference = push(Op::Sub, &[operands[0], operands[1]], shape);
            let sign = Map { function: Elementwise::Named(hecc_plan::Function::Abs), order: 1, pins: *pins };
            let sign = push(Op::Map(sign), &[difference], shape);
            let half = push(Op::Scale(if *larger == (slot == 0) { 0.5 } else { -0.5 }), &[sign], shape);
            let weight = push(Op::Offset(0.5), &[half], shape);
            push(Op::Mul, &[weight, adjoint], shape)
        }
        // Gradients are there before any pass lays patches out.
        Op::Patches(_) | Op::Places(_) | Op::PlacesGradient(_) | Op::Expand(_) | Op::Collect(_) => {
            return Err(TensorError::unsupported("a gradient of what a pass laid out", span));
        }
        Op::DenseGradient | Op::ConvGradient(_) | Op::Map(_) | Op::AdamStep(_) => {
            return Err(TensorError::unsupported("a gradient of a gradient", span));
        }
        Op::Max(_) => {
            return Err(TensorError::NotSupported {
                what: "a gradient through `max` over a vector".to_owned(),
                help: Some("put the target in stop(...), or take max(a, b) of two values".to_owned()),
                span,
            });
        }
        Op::Return | Op::Refresh => adjoint,
        // Piecewise constant.
        Op::ArgMax | Op::Stop => return Ok(None),
    }))
}
