//! Layers: a product with the carried ciphertext, and a bias.

use std::collections::BTreeMap;

use hecc_plan::{Op, Span, WireId};

use super::needs::{anchors, need_of};
use super::place::Home;
use super::slots::{Entry, Term, Terms, covers};
use super::{Placed, Tiles, added};
use crate::schemes::ckks::carried::STATE_RANGE;
use crate::schemes::ckks::lower::{Cts, Value};
use crate::tensor::{Id, Op as TensorOp};

impl Tiles<'_> {
    /// A product with a carried matrix, and the sum over its inputs (or its outputs, for the transpose).
    pub(super) fn layer(&mut self, id: Id, forward: bool, operands: &[Id], span: Span) -> Option<Placed> {
        let Some(Value::Form(form)) = self.lowering.value_of(operands[1]) else { return None };
        let home = self.floor.homes.get(&form.single()?)?.clone();
        let need = self.side(&home, !forward);
        let mut to: BTreeMap<usize, (u32, u32)> = home.slots().map(|(s, o, i)| (s, if forward { (o, i) } else { (i, o) })).collect();
        let (dim, mut count) = if forward { (home.shape[0], home.shape[1]) } else { (home.shape[1], home.shape[0]) };
        let x = match self.known(operands[0]) {
            Some(known) => {
                let mut at = vec![Entry::Zero; self.floor.tile()];
                need.iter().for_each(|&(slot, e)| at[slot] = Entry::Element(e));
                let mut ones = Vec::new();
                if let Some(bias) = self.joined(id, forward) {
                    // The bias is one input more, which is always 1.
                    for (slot, e, _) in bias.slots() {
                        to.insert(slot, (e, count as u32));
                        ones.push(slot);
                    }
                    count += 1;
                }
                let factor = self.lowering.wanted[id.index()].unwrap_or(known.scale) / STATE_RANGE;
                let wires = self.send(&known, &at, factor, &ones, span);
                ones.iter().for_each(|&slot| at[slot] = Entry::Scalar);
                Placed { cts: Cts { wires, factor, dim: count, clean: true }, at, parts: None }
            }
            None => {
                let x = self.placed[operands[0].index()].clone()?;
                self.realise(&x, &need, span)?
            }
        };
        let used = self.used();
        let term = |(slot, entry): (usize, &Entry)| match (to.get(&slot), entry) {
            (_, Entry::Zero) => Term::Zero,
            (Some(&(element, index)), entry) if entry.serves(index) => Term::new(element, index),
            // What no state fills is zero.
            _ if !used[slot] => Term::Zero,
            _ => Term::Junk,
        };
        let terms = Terms { at: x.at.iter().enumerate().map(term).collect(), count: count as u32, scalar: false, alike: false };
        let carried = self.carried;
        let dot = |&wire: &WireId| self.lowering.circuit.push(Op::Dot(vec![(carried.min(wire), carried.max(wire))]), span);
        let wires: Vec<WireId> = x.cts.wires.iter().map(dot).collect();
        self.settle(wires, terms, x.cts.factor * STATE_RANGE, dim, &self.needs[id.index()].clone(), span)
    }

    fn used(&self) -> Vec<bool> {
        let mut used = vec![false; self.floor.tile()];
        self.floor.homes.values().flat_map(Home::slots).for_each(|(slot, ..)| used[slot] = true);
        used
    }

    /// The bias of a layer, if all users of the layer add it.
    pub(super) fn joined(&self, id: Id, forward: bool) -> Option<&Home> {
        let graph = self.lowering.graph;
        let mut bias = None;
        let users = graph.ids().filter(|&user| graph.operands(user).contains(&id));
        for user in users {
            let operands = graph.operands(user);
            let other = operands.iter().copied().find(|&operand| operand != id)?;
            let (TensorOp::Add, TensorOp::Spread) = (&graph.node(user).op, &graph.node(other).op) else { return None };
            let name = self.spread(other)?;
            if bias.replace(name.clone()).is_some_and(|earlier| earlier != name) {
                return None;
            }
        }
        self.floor.homes.get(&bias.filter(|_| forward)?)
    }

    /// The state that is spread over the batch.
    pub(super) fn spread(&self, id: Id) -> Option<String> {
        let graph = self.lowering.graph;
        match &graph.node(graph.operands(id)[0]).op {
            TensorOp::State(name) => Some(name.clone()),
            _ => None,
        }
    }

    /// A sum of a layer and a bias that stands elsewhere.
    pub(super) fn biased(&mut self, id: Id, y: &Placed, name: &str, span: Span) -> Option<Placed> {
        let home = self.floor.homes.get(name)?.clone();
        let wanted = self.where_sent(id, y, y.cts.dim)?;
        let need = need_of(&wanted);
        let targets: BTreeMap<u32, usize> = anchors(&need).into_iter().map(|(slot, e)| (e, slot)).collect();
        let mut groups: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        let mut at = vec![Entry::Zero; self.floor.tile()];
        for (slot, e, _) in home.slots() {
            let target = *targets.get(&e)?;
            at[target] = Entry::Element(e);
            groups.entry(slot as i64 - target as i64).or_default().push(slot);
        }
        let mut sum: Option<WireId> = None;
        for (distance, slots) in groups {
            let masked = self.masked(self.carried, &slots, STATE_RANGE / y.cts.factor, span);
            let moved = self.lowering.circuit.rotate(masked, distance, span);
            sum = Some(sum.map_or(moved, |sum| self.lowering.circuit.push(Op::Add(sum, moved), span)));
        }
        let terms = Terms { alike: true, ..Terms::settled(&at) };
        let found = terms.windows(self.floor.cols, y.cts.dim, std::slice::from_ref(&need))?;
        let wires = self.apply(&[sum?], &found.steps, span);
        let cts = Cts { wires: vec![wires[0]; y.cts.wires.len()], ..y.cts.clone() };
        let cts = self.lowering.add(&y.cts, &cts, span);
        let sum = added(&y.at, &found.at);
        covers(&sum, y.cts.dim).then_some(Placed { cts, at: sum, parts: None })
    }
}
