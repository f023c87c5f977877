//! An arg-max that nobody computes exactly: the weights that the polynomial maximum gives its arguments.
//!
//! max(a, b) = (a + b) / 2 + p(a − b) / 2 with p near |·|, and so its slopes are (1 ± p'(a − b)) / 2: near 1 for the larger,
//! near 0 for the other, and halves where they are equal. Of more than two, halves of the vector play the same tournament.

use super::{Builder, Op, Shape, Task};
use crate::check::hir::{Pins, Scheme};
use crate::passes::hoist::{client_computes, client_knows};
use crate::tensor::graph::{Elementwise, Graph, Id, Map};
use hecc_plan::{Function, Span};

impl Builder<'_> {
    /// Replaces every arg-max of a training under CKKS that the key owner does not compute. What is served has a precision to
    /// keep, which no such weights have.
    pub(super) fn choices(&mut self) {
        let (client, scheme) = (&self.program.secure.client, self.program.secure.scheme);
        let trains = matches!(self.program.task, Task::Train(_));
        if self.clear || !trains || scheme != Scheme::Ckks || client_computes(&Op::ArgMax, client) {
            return;
        }
        let old = std::mem::take(&mut self.graph);
        let (mut known, mut moved): (Vec<bool>, Vec<Id>) = (Vec::new(), Vec::new());
        for id in old.ids() {
            let (node, operands) = (old.node(id), old.operands(id));
            let of: Vec<bool> = operands.iter().map(|o| known[o.index()]).collect();
            known.push(client_knows(&node.op, &of, client));
            let operands: Vec<Id> = operands.iter().map(|o| moved[o.index()]).collect();
            moved.push(match node.op {
                Op::ArgMax if !of[0] => self.weights(operands[0], node.span),
                _ => self.graph.push(node.op.clone(), &operands, node.shape, node.span),
            });
        }
        self.graph.outputs = old.outputs.iter().map(|(output, id)| (output.clone(), moved[id.index()])).collect();
        self.scales.iter_mut().for_each(|scaled| scaled.gradient = moved[scaled.gradient.index()]);
    }

    /// The weights of the elements of `x`, which sum to 1.
    fn weights(&mut self, x: Id, span: Span) -> Id {
        let Shape::Sample(all) = self.graph.shape(x) else { return x };
        if all == 1 {
            return self.graph.push(Op::Constant(1.0), &[], Shape::Sample(1), span);
        }
        let first = all / 2;
        let halves = [(0, first), (first, all - first)];
        let parts = halves.map(|(start, len)| self.graph.push(Op::Slice { start, step: 1 }, &[x], Shape::Sample(len), span));
        let pins = self.difference_pins(Pins { degree: Some(4), ..Pins::default() });
        let one = Shape::Sample(1);
        let [left, right] = parts.map(|part| largest(&mut self.graph, part, pins, span));
        let difference = self.graph.push(Op::Sub, &[left, right], one, span);
        let slope = Map { function: Elementwise::Named(Function::Abs), order: 1, pins };
        let slope = self.graph.push(Op::Map(slope), &[difference], one, span);
        let shares = [0.5, -0.5].map(|half| {
            let share = self.graph.push(Op::Scale(half), &[slope], one, span);
            self.graph.push(Op::Offset(0.5), &[share], one, span)
        });
        let mut placed = Vec::with_capacity(2);
        for (((start, len), part), share) in halves.into_iter().zip(parts).zip(shares) {
            let inner = if len == 1 {
                share
            } else {
                let (wide, inner) = (self.graph.push(Op::Broadcast, &[share], Shape::Sample(len), span), self.weights(part, span));
                self.graph.push(Op::Mul, &[wide, inner], Shape::Sample(len), span)
            };
            placed.push(self.graph.push(Op::Place { start, step: 1 }, &[inner], Shape::Sample(all), span));
        }
        self.graph.push(Op::Add, &placed, Shape::Sample(all), span)
    }
}

fn largest(graph: &mut Graph, x: Id, pins: Pins, span: Span) -> Id {
    if graph.shape(x) == Shape::Sample(1) { x } else { graph.push(Op::Max(pins), &[x], Shape::Sample(1), span) }
}
