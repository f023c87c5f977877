//! Where the users of a value want its elements.

use std::collections::BTreeMap;

use super::Tiles;
use super::place::Home;
use super::slots::{Entry, Need};
use crate::tensor::{Id, Op as TensorOp};

impl Tiles<'_> {
    /// Where layers, biases and gradients want elements; what is computed element by element hands it on.
    pub(super) fn needs_of(&self) -> Vec<Vec<Need>> {
        let graph = self.lowering.graph;
        let mut needs: Vec<Vec<Need>> = vec![Vec::new(); graph.len()];
        let ids: Vec<Id> = graph.ids().collect();
        for &id in ids.iter().rev() {
            let operands = graph.operands(id);
            let own = needs[id.index()].clone();
            let mut ask = |operand: Id, need: Need| {
                let list: &mut Vec<Need> = &mut needs[operand.index()];
                if !need.is_empty() && !list.contains(&need) {
                    list.push(need);
                }
            };
            match &graph.node(id).op {
                op @ (TensorOp::Dense | TensorOp::DenseTranspose) => {
                    if let TensorOp::State(name) = &graph.node(operands[1]).op {
                        let forward = matches!(op, TensorOp::Dense);
                        ask(operands[0], self.side(&self.floor.homes[name], !forward));
                    }
                }
                TensorOp::DenseGradient => {
                    if let Some(home) = self.base(id) {
                        ask(operands[0], self.error_places(id, &home));
                        ask(operands[1], self.side(&home, false));
                    }
                }
                TensorOp::SumBatch if !ids.iter().any(|&layer| self.twin(layer) == Some(id)) => {
                    if let Some(home) = self.base(id) {
                        ask(operands[0], self.side(&home, true));
                    }
                }
                TensorOp::Add
                | TensorOp::Sub
                | TensorOp::Mul
                | TensorOp::Scale(_)
                | TensorOp::Offset(_)
                | TensorOp::Map(_)
                | TensorOp::Extremum { .. }
                | TensorOp::Stop => {
                    for need in own {
                        operands.iter().for_each(|&operand| ask(operand, need.clone()));
                    }
                }
                TensorOp::Broadcast => own.into_iter().for_each(|need| ask(operands[0], need.iter().map(|&(slot, _)| (slot, 0)).collect())),
                TensorOp::Slice { start, step: 1 } => own.into_iter().for_each(|need| {
                    ask(operands[0], need.iter().map(|&(slot, e)| (slot, e + *start as u32)).collect());
                }),
                _ => {}
            }
        }
        needs
    }

    /// The slots of a parameter, with its first index or its second.
    pub(super) fn side(&self, home: &Home, first: bool) -> Need {
        home.slots().map(|(slot, o, i)| (slot, if first { o } else { i })).collect()
    }

    /// Where the gradient of a layer wants the error, that of its bias included if it is one input more.
    pub(super) fn error_places(&self, gradient: Id, home: &Home) -> Need {
        let bias = self.twin(gradient).and_then(|bias| self.base(bias));
        let mut need = self.side(home, true);
        need.extend(bias.iter().flat_map(|bias| self.side(bias, true)));
        need
    }

    /// The gradient of the bias that belongs to that of a layer whose input the client sends: it can send a 1 for it.
    pub(super) fn twin(&self, gradient: Id) -> Option<Id> {
        let graph = self.lowering.graph;
        let operands = graph.operands(gradient);
        if !matches!(graph.node(gradient).op, TensorOp::DenseGradient) || !self.lowering.known[operands[1].index()] {
            return None;
        }
        let biases = graph.ids().filter(|&id| matches!(graph.node(id).op, TensorOp::SumBatch));
        biases.into_iter().find(|&id| graph.operands(id)[0] == operands[0])
    }

    /// Where a gradient comes to stand: the weights' own place.
    pub(super) fn base(&self, gradient: Id) -> Option<Home> {
        let family = *self.floor.families.get(&gradient)?;
        self.base_of(family).cloned()
    }

    pub(super) fn base_of(&self, family: usize) -> Option<&Home> {
        let members = self.floor.homes.iter().filter(|(_, home)| home.family == family);
        members.min_by_key(|(name, _)| (name.split('.').count(), (*name).clone())).map(|(_, home)| home)
    }
}

pub(super) fn need_of(at: &[Entry]) -> Need {
    at.iter().enumerate().filter_map(|(slot, entry)| Some((slot, entry.element()?))).collect()
}

/// The first slot of each element.
pub(super) fn anchors(need: &Need) -> Need {
    let mut first: Need = Vec::new();
    for &(slot, e) in need {
        if !first.iter().any(|&(_, known)| known == e) {
            first.push((slot, e));
        }
    }
    first
}

/// All needs in one, unless two want different elements in one slot.
pub(super) fn merged(needs: &[Need]) -> Option<Need> {
    let mut all: BTreeMap<usize, u32> = BTreeMap::new();
    for &(slot, e) in needs.iter().flatten() {
        if all.insert(slot, e).is_some_and(|other| other != e) {
            return None;
        }
    }
    (!all.is_empty()).then(|| all.into_iter().collect())
}
