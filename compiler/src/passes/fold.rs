//! Folds constants and takes out what does nothing.

use super::Facts;
use super::rebuild::rebuild;
use crate::tensor::{Graph, Id, Op, Shape};
use hecc_plan::Span;

/// Folds constants into scales and offsets, chains of them into one, and removes `stop` (gradients are there by now).
pub fn run(graph: &Graph, _facts: &Facts) -> Graph {
    rebuild(graph, |new, _, node, operands| {
        let constant = |id: Id| match new.node(id).op {
            Op::Constant(c) => Some(c),
            _ => None,
        };
        let (shape, span) = (node.shape, node.span);
        match (&node.op, operands.as_slice()) {
            (Op::Stop, &[x]) => x,
            (Op::Broadcast, &[x]) if new.shape(x) == shape => x,
            (Op::Broadcast | Op::Spread, &[x]) if constant(x).is_some() => {
                let c = constant(x).unwrap_or_default();
                new.push(Op::Constant(c), &[], shape, span)
            }
            (Op::Scale(c), &[x]) => scale(new, *c, x),
            (Op::Offset(c), &[x]) => offset(new, *c, x, span),
            (Op::Mul, &[a, b]) => match (constant(a), constant(b)) {
                (Some(c), _) => scale(new, c, b),
                (_, Some(c)) => scale(new, c, a),
                _ => new.push(Op::Mul, &[a, b], shape, span),
            },
            (Op::Add, &[a, b]) => match (constant(a), constant(b)) {
                (Some(c), _) => offset(new, c, b, span),
                (_, Some(c)) => offset(new, c, a, span),
                _ if a == b => scale(new, 2.0, a),
                _ => new.push(Op::Add, &[a, b], shape, span),
            },
            (Op::Sub, &[a, b]) => match (constant(a), constant(b)) {
                (_, Some(c)) => offset(new, -c, a, span),
                (Some(c), _) => {
                    let negated = scale(new, -1.0, b);
                    offset(new, c, negated, span)
                }
                _ => new.push(Op::Sub, &[a, b], shape, span),
            },
            _ => new.push(node.op.clone(), &operands, shape, span),
        }
    })
}

/// x + c, with chains of offsets and constants folded: one run is all that level 0 has.
fn offset(new: &mut Graph, c: f64, x: Id, span: Span) -> Id {
    let (op, shape) = (new.node(x).op.clone(), new.shape(x));
    match op {
        _ if c == 0.0 => x,
        Op::Constant(k) => new.push(Op::Constant(k + c), &[], shape, span),
        Op::Offset(k) => {
            let inner = new.operands(x)[0];
            offset(new, k + c, inner, span)
        }
        _ => new.push(Op::Offset(c), &[x], shape, span),
    }
}

/// c x, with chains of scales and constants folded.
fn scale(new: &mut Graph, c: f64, x: Id) -> Id {
    let node = new.node(x).clone();
    match node.op {
        _ if c == 1.0 => x,
        // Weights stay: a form without terms is lowered, a matrix of constants is not.
        _ if c == 0.0 && matches!(node.shape, Shape::Sample(_)) => new.push(Op::Constant(0.0), &[], node.shape, node.span),
        Op::Constant(k) => new.push(Op::Constant(c * k), &[], node.shape, node.span),
        Op::Scale(k) => {
            let inner = new.operands(x)[0];
            scale(new, c * k, inner)
        }
        _ => new.push(Op::Scale(c), &[x], node.shape, node.span),
    }
}
