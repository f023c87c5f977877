//! Where parameters stand in a tile.
//!
//! A tile has rows and columns. Layers take turns: one sums over the columns and has its outputs in the rows, the next sums
//! over the rows and has them in the columns; so what a layer leaves is where the next one needs it, and the same holds
//! backwards. Every parameter has columns of its own, which it keeps; its momentum, its target and so on stand in further
//! columns, in the same order.

use std::collections::BTreeMap;

use hecc_plan::Tiled;

use super::super::carried::{Family, families, role};
use crate::tensor::{Graph, Id, Op, Shape};

/// Along which axis of a tile the elements of a vector stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axis {
    Rows,
    Columns,
}

impl Axis {
    fn other(self) -> Self {
        match self {
            Axis::Rows => Axis::Columns,
            Axis::Columns => Axis::Rows,
        }
    }
}

/// Where a parameter stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Home {
    pub family: usize,
    pub role: usize,
    pub start: usize,
    pub strides: [usize; 2],
    pub shape: Vec<usize>,
}

impl Home {
    /// Slot of element `[o, i]`.
    pub(super) fn slot(&self, o: usize, i: usize) -> usize {
        self.start + o * self.strides[0] + i * self.strides[1]
    }

    /// Slots and both indices.
    pub(super) fn slots(&self) -> impl Iterator<Item = (usize, u32, u32)> + '_ {
        let (out, inputs) = (self.shape[0], self.shape.get(1).copied().unwrap_or(1));
        (0..out).flat_map(move |o| (0..inputs).map(move |i| (self.slot(o, i), o as u32, i as u32)))
    }

    pub(super) fn layout(&self) -> hecc_plan::Layout {
        let Home { start, strides, .. } = *self;
        hecc_plan::Layout::Tiled(Tiled { group: None, start, elements: (0, self.shape[0]), strides, copies: [(1, 0); 2] })
    }
}

/// The tile of a program.
#[derive(Clone, Debug)]
pub(super) struct Floor {
    pub rows: usize,
    pub cols: usize,
    pub homes: BTreeMap<String, Home>,
    /// The family that a gradient belongs to.
    pub families: BTreeMap<Id, usize>,
}

impl Floor {
    /// Gives every secret state its place; `None` if the layers of the graph do not take turns.
    pub(super) fn new(graph: &Graph, public: &[(String, Vec<usize>)]) -> Option<Self> {
        let families = families(graph, public);
        let axes = axes(graph, &families)?;
        let wide = Self::with(&families, &axes, false);
        let narrow = Self::with(&families, &axes, true);
        Some(if narrow.cols < wide.cols { narrow } else { wide })
    }

    /// With biases that stand along columns in one row, a column each, or `upright` in one column.
    fn with(families: &[Family], axes: &[Axis], upright: bool) -> Self {
        let mut rows = 1;
        let mut column = 0;
        let mut roles: Vec<String> = Vec::new();
        let mut spots: Vec<(usize, bool)> = Vec::new();
        for (family, &axis) in families.iter().zip(axes) {
            let (spot, columns, long) = match (family.shape, axis) {
                (Shape::Matrix(out, inputs), Axis::Rows) => ((column, true), inputs, out),
                (Shape::Matrix(out, inputs), Axis::Columns) => ((column, false), out, inputs),
                (Shape::Vector(d) | Shape::Sample(d), Axis::Columns) if !upright => ((column, false), d, 1),
                (Shape::Vector(d) | Shape::Sample(d), _) => ((column, true), 1, d),
            };
            spots.push(spot);
            column += columns;
            rows = rows.max(long.next_power_of_two());
            for name in &family.names {
                let role = role(name);
                if !roles.contains(&role) {
                    roles.push(role);
                }
            }
        }
        let block = column;
        let cols = (block * roles.len()).next_power_of_two();
        let mut homes = BTreeMap::new();
        let mut gradients = BTreeMap::new();
        for (index, (family, &(first, out_in_rows))) in families.iter().zip(&spots).enumerate() {
            let shape = match family.shape {
                Shape::Matrix(out, inputs) => vec![out, inputs],
                Shape::Vector(d) | Shape::Sample(d) => vec![d],
            };
            for name in &family.names {
                let role = roles.iter().position(|r| *r == role(name)).unwrap_or(0);
                let strides = if out_in_rows { [cols, 1] } else { [1, cols] };
                let home = Home { family: index, role, start: role * block + first, strides, shape: shape.clone() };
                homes.insert(name.clone(), home);
            }
            family.gradients.iter().for_each(|&id| {
                gradients.insert(id, index);
            });
        }
        Self { rows, cols, homes, families: gradients }
    }

    pub(super) fn tile(&self) -> usize {
        self.rows * self.cols
    }
}

/// The axis of each family's first index.
fn axes(graph: &Graph, families: &[Family]) -> Option<Vec<Axis>> {
    let family_of = |name: &str| families.iter().position(|f| f.names.iter().any(|n| n == name));
    let state_of = |id: Id| match &graph.node(id).op {
        Op::State(name) => family_of(name),
        _ => None,
    };
    let gradient_of = |id: Id| families.iter().position(|f| f.gradients.contains(&id));
    let long = |id: Id| matches!(graph.shape(id), Shape::Sample(d) if d > 1);
    let ids: Vec<Id> = graph.ids().collect();
    // Which of two things have the same axis, or not: nodes by index, then families.
    let mut ties: Vec<(usize, usize, bool)> = Vec::new();
    let family = |index: usize| ids.len() + index;
    for &id in &ids {
        let operands = graph.operands(id);
        match &graph.node(id).op {
            Op::Dense => {
                let w = state_of(operands[1])?;
                ties.push((id.index(), family(w), true));
                ties.push((operands[0].index(), family(w), false));
            }
            Op::DenseTranspose => {
                let w = state_of(operands[1])?;
                ties.push((id.index(), family(w), false));
                ties.push((operands[0].index(), family(w), true));
            }
            Op::DenseGradient => {
                let w = gradient_of(id)?;
                ties.push((operands[0].index(), family(w), true));
                ties.push((operands[1].index(), family(w), false));
            }
            Op::Spread => ties.push((id.index(), family(state_of(operands[0])?), true)),
            Op::SumBatch => ties.push((operands[0].index(), family(gradient_of(id)?), true)),
            _ => ties.extend(operands.iter().filter(|&&o| long(o) && long(id)).map(|o| (o.index(), id.index(), true))),
        }
    }
    // What the client knows it can send in any form: it ties nothing.
    let free: Vec<bool> = known(graph);
    ties.retain(|&(a, b, _)| !free.get(a).copied().unwrap_or(false) && !free.get(b).copied().unwrap_or(false));
    let mut axis: Vec<Option<Axis>> = vec![None; ids.len() + families.len()];
    loop {
        let mut changed = false;
        for &(a, b, same) in &ties {
            let turned = |x: Axis| if same { x } else { x.other() };
            match (axis[a], axis[b]) {
                (Some(x), None) => axis[b] = Some(turned(x)),
                (None, Some(x)) => axis[a] = Some(turned(x)),
                (Some(x), Some(y)) if turned(x) != y => return None,
                _ => continue,
            }
            changed = true;
        }
        // The first layer that is left sums over columns: observations are short.
        let layers = ids.iter().filter_map(|&id| match graph.node(id).op {
            Op::Dense => state_of(graph.operands(id)[1]),
            _ => None,
        });
        match layers.map(family).find(|&layer| axis[layer].is_none()) {
            Some(layer) if !changed => axis[layer] = Some(Axis::Rows),
            None if !changed => break,
            _ => {}
        }
    }
    Some((0..families.len()).map(|index| axis[family(index)].unwrap_or(Axis::Rows)).collect())
}

/// Nodes that the client computes by itself.
fn known(graph: &Graph) -> Vec<bool> {
    let mut known: Vec<bool> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let operands: Vec<bool> = graph.operands(id).iter().map(|o| known[o.index()]).collect();
        known.push(crate::passes::hoist::client_knows(&graph.node(id).op, &operands, &[]));
    }
    known
}
