//! The last layer before a choice, for weights that the client has in the clear whenever they are new.
//!
//! Which value is the largest does not change if the same is taken from all of them, or if all are multiplied by a positive number.
//! Action values differ little and have much in common, so that a grid for the weights as they are would be wasted on what does
//! not matter: the client takes the mean over the actions away, and divides by the largest of what is left. The grid then fits
//! whatever training makes of the weights. Of two actions one row is the other's negative, and half of the products are enough.

use hecc_plan::{ClearId, ClearOp};

use crate::schemes::ckks::known::Client;
use crate::tensor::eval::Functions;
use crate::tensor::graph::{Graph, Op, Shape};
use crate::tensor::{Id, Output};

/// Points of an interval at which a function is looked at.
const POINTS: usize = 64;
/// How much larger a value of few bits can be than what it rounds.
const ROUNDED: f64 = 1.25;
/// Added to the divisor, which is 0 where all actions are alike.
const LEAST: f64 = 1e-9;

/// A dense layer whose largest element is the program's result.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    /// The product.
    pub dense: Id,
    /// Its weights.
    pub weight: Id,
    /// What is added to it.
    pub bias: Option<Id>,
    /// Actions.
    pub actions: usize,
    /// What the product does not exceed in magnitude, with weights as the client sends them and however they are rounded.
    pub reach: f64,
}

impl Last {
    /// That of a graph, if it has one.
    pub fn find(graph: &Graph, functions: &dyn Functions) -> Option<Self> {
        let [(Output::Result(_), choice)] = &graph.outputs[..] else { return None };
        let operand = |id: Id, slot: usize| graph.operands(id)[slot];
        let is_state = |id: Id| matches!(graph.node(id).op, Op::State(_));
        let Op::ArgMax = graph.node(*choice).op else { return None };
        let values = operand(*choice, 0);
        let (dense, bias) = match &graph.node(values).op {
            Op::Add => {
                let sides = [operand(values, 0), operand(values, 1)];
                let spread = sides.iter().position(|&side| matches!(graph.node(side).op, Op::Spread))?;
                (sides[1 - spread], Some(operand(sides[spread], 0)))
            }
            _ => (values, None),
        };
        let Op::Dense = graph.node(dense).op else { return None };
        let (x, weight) = (operand(dense, 0), operand(dense, 1));
        let Shape::Matrix(actions, inputs) = graph.shape(weight) else { return None };
        // The largest of what the layer below gives.
        let Op::Map(map) = &graph.node(x).op else { return None };
        let range = map.pins.range?;
        let at = |i: usize| functions.map(map, range.low + (range.high - range.low) * i as f64 / POINTS as f64).abs();
        let largest = (0..=POINTS).map(at).fold(0.0, f64::max);
        let known = actions > 1 && is_state(weight) && bias.is_none_or(is_state);
        known.then_some(Self { dense, weight, bias, actions, reach: ROUNDED * inputs as f64 * largest * bound(actions) })
    }

    /// The weights as the client sends them, and their largest magnitude.
    pub fn weights(&self, client: &mut Client, weight: ClearId) -> (ClearId, f64) {
        let (centred, size) = self.centred(client, weight);
        (client.push(ClearOp::Div(centred, size)), bound(self.actions))
    }

    /// The bias that goes with such weights, and where it is clipped.
    pub fn bias(&self, client: &mut Client, weight: ClearId, bias: ClearId) -> (ClearId, f64) {
        let (_, size) = self.centred(client, weight);
        let sum = client.push(ClearOp::SumElements(bias));
        let mean = client.scaled(sum, 1.0 / self.actions as f64);
        let centred = client.push(ClearOp::Sub(bias, mean));
        let bias = client.push(ClearOp::Div(centred, size));
        // Of two actions a bias beyond the reach of the product decides by itself, and need be no larger; of more, two such would
        // no longer differ.
        let within = ClearOp::Clip { x: bias, low: -self.reach, high: self.reach };
        (if self.actions == 2 { client.push(within) } else { bias }, self.reach)
    }

    /// `[actions, inputs]` without the mean over the actions, and a number that is the largest of it for two actions, and at
    /// least a part of it for more.
    fn centred(&self, client: &mut Client, weight: ClearId) -> (ClearId, ClearId) {
        let mean = client.push(ClearOp::MeanBatch(weight));
        let centred = client.push(ClearOp::Sub(weight, mean));
        let negative = client.scaled(centred, -1.0);
        let (most, least) = (client.push(ClearOp::MaxElements(centred)), client.push(ClearOp::MaxElements(negative)));
        let largest = client.push(ClearOp::Max(most, least));
        let size = client.push(ClearOp::MeanBatch(largest));
        (centred, client.push(ClearOp::Affine { x: size, factor: 1.0, offset: LEAST }))
    }
}

/// No row is larger than all others together, which it undoes: so much larger than the mean of all can it be.
fn bound(actions: usize) -> f64 {
    actions as f64 / 2.0
}
