//! What carried states become at the end of an update.
//!
//! Every new state is a sum of old states, which the key owner refreshes anyway, and of one gradient: s' = Σ c s + k g. The
//! key owner sends (Σ c s) / k in the lanes of s, the server adds the packed gradient, and the value read back is k times
//! the slots: the optimiser, the target network and the averages cost no product. All states share the ciphertexts that
//! cross; a gradient is summed over its lanes, masked to one lane and rotated to its place once, for all states it enters.

use std::collections::BTreeMap;

use hecc_plan::{ClearId, ClearOp, Content, Lanes, Layout, Op, Plain, PlainPattern, Runs, Span, Target, WireId};

use super::MASK_BITS;
use super::circuit::OutputDraft;
use super::lower::{Form, Lowering, Term, magnitude_bits};
use crate::tensor::Id;

/// Σ c state: what the key owner computes of carried states.
type OldStates = BTreeMap<Term<String>, f64>;
/// Ciphertexts with their layouts.
pub(super) type Pieces = Vec<(WireId, Layout)>;

/// Room for the magnitude of weights and momenta, in bits.
const WEIGHT_BITS: u32 = 6;

/// A packed value: where it goes, and what of it the key owner computes from old states.
#[derive(Clone, Debug)]
struct Part {
    target: Target,
    old: OldStates,
    /// The value is what crosses times this learning rate.
    rate: Option<usize>,
}

/// A new state: its name, what of it the key owner computes, and its share of a gradient.
#[derive(Clone, Debug)]
struct Moved {
    name: String,
    old: OldStates,
    coefficient: f64,
    rate: Option<usize>,
}

/// A gradient direction: what all states of one parameter share.
struct Direction {
    /// Pieces of the gradient, lanes not summed.
    pieces: Pieces,
    factor: f64,
    /// The states that it moves.
    states: Vec<Moved>,
    span: Span,
}

impl Lowering<'_> {
    /// One number per update, for the key owner. What of it is old states comes from there, and goes back with the rest.
    pub(super) fn reveal(&mut self, name: &str, form: &Form, span: Span) {
        let rated = form.states.keys().any(|(_, rate)| rate.is_some());
        let (gradients, old) = match one_rate(form) {
            Some((None, gradients)) if !rated => (gradients, &form.states),
            None if form.is_of_states() && !rated => (BTreeMap::new(), &form.states),
            _ => {
                self.unsupported("revealing this value", span);
                return;
            }
        };
        let alone = gradients.is_empty();
        let Some((pieces, factor)) = self.combined(&gradients, span).or(alone.then(|| (Vec::new(), 1.0))) else { return };
        if (self.carries() && !old.is_empty()) || pieces.len() > 1 {
            self.unsupported("revealing this value", span);
            return;
        }
        let layout = pieces.first().map_or(Layout::Vector { period: 1, lanes: Lanes::One(0), runs: Runs::DENSE }, |(_, layout)| *layout);
        let sum = pieces.first().map(|&(wire, _)| self.circuit.rotate_and_sum(wire, 1, self.grid.lanes, span));
        let kept = (!old.is_empty()).then(|| {
            let tensor = self.combination(old);
            let round = self.client.round(tensor);
            self.circuit.input("state", vec![Content { tensor, layout, factor: 1.0 / factor }], round, span)
        });
        let Some(mut wire) = sum.zip(kept).map(|(sum, kept)| self.circuit.push(Op::Add(sum, kept), span)).or(sum).or(kept) else {
            self.unsupported("revealing a constant", span);
            return;
        };
        if form.constant != 0.0 {
            wire = self.circuit.push(Op::AddConst(wire, form.constant / factor), span);
        }
        let tensor = Target::Result { name: name.to_owned(), dim: 0 };
        let contents = vec![Content { tensor, layout, factor }];
        let headroom = WEIGHT_BITS + magnitude_bits(factor);
        self.circuit.outputs.push(OutputDraft { label: name.to_owned(), wire, contents, headroom });
    }

    /// A parameter that this update has changed, at one learning rate, brought back by the key owner for use in the same update.
    pub(super) fn refreshed(&mut self, form: &Form, shape: &[usize], span: Span) -> Option<ClearId> {
        let key = format!("{form:?}");
        if let Some(&clear) = self.refreshed.get(&key) {
            return Some(clear);
        }
        let (rate, gradients) = one_rate(form)?;
        let lead = *gradients.values().next()?;
        let ratios = gradients.iter().map(|(&id, &c)| (id, c / lead)).collect();
        let (pieces, factor) = self.combined(&ratios, span)?;
        let factor = lead * factor;
        let id = self.decrypted;
        self.decrypted += 1;
        let mut round = 0;
        for chunk in pieces.chunks(self.grid.lanes) {
            let mut gradient: Option<WireId> = None;
            let mut parts = Vec::new();
            for (lane, &(wire, layout)) in chunk.iter().enumerate() {
                let placed = self.gather(wire, lane, span);
                gradient = Some(gradient.map_or(placed, |sum| self.circuit.push(Op::Add(sum, placed), span)));
                let target = Target::Value { id, shape: shape.to_vec() };
                let part = Part { target, old: form.states.clone(), rate };
                parts.push(Content { tensor: part, layout: in_lane(layout, lane), factor });
            }
            let wire = self.finish_pack(gradient, parts, WEIGHT_BITS + magnitude_bits(factor * self.smallest(rate)), span)?;
            round = round.max(self.circuit.nodes[wire.index()].round);
        }
        let mut clear = self.client.decrypted(id, round);
        if let Some(rate) = rate {
            let rate = self.client.rate(&self.rates[rate]);
            clear = self.client.push(ClearOp::Mul(clear, rate));
        }
        self.refreshed.insert(key, clear);
        Some(clear)
    }

    /// Packs the new values of all states that change.
    pub(super) fn pack_states(&mut self, forms: &[(String, Form, Span)]) {
        let mut directions: BTreeMap<Vec<(Id, String)>, Direction> = BTreeMap::new();
        for (name, form, span) in forms {
            let unchanged = form.single().as_ref() == Some(name);
            if unchanged || self.public.iter().any(|(n, _)| n == name) {
                continue;
            }
            // What no gradient moves, or those alone that came back already, the key owner computes itself.
            let alone = |id: Id| Form { gradients: [((id, None), 1.0)].into(), ..Form::default() };
            if form.gradients.keys().all(|(id, _)| self.refreshed.contains_key(&format!("{:?}", alone(*id)))) {
                if let Some(clear) = self.owned_form(form, &[], *span) {
                    self.settles.push((name.clone(), clear));
                }
                continue;
            }
            // Steps at several rates are the key owner's (`steps_at_client`).
            let Some((rate, gradients)) = one_rate(form) else { continue };
            let lead = gradients.values().next().copied().unwrap_or(1.0);
            let ratios: BTreeMap<Id, f64> = gradients.iter().map(|(&id, &c)| (id, c / lead)).collect();
            let key: Vec<(Id, String)> = ratios.iter().map(|(&id, ratio)| (id, format!("{ratio:.12e}"))).collect();
            if !directions.contains_key(&key) {
                let Some((pieces, factor)) = self.combined(&ratios, *span) else { return };
                directions.insert(key.clone(), Direction { pieces, factor, states: Vec::new(), span: *span });
            }
            if let Some(direction) = directions.get_mut(&key) {
                direction.states.push(Moved { name: name.clone(), old: form.states.clone(), coefficient: lead, rate });
            }
        }
        let directions: Vec<Direction> = directions.into_values().collect();
        self.pack_directions(&directions);
    }

    /// Σ c gradient over gradients of one parameter, as pieces with one factor.
    pub(super) fn combined(&mut self, gradients: &BTreeMap<Id, f64>, span: Span) -> Option<(Pieces, f64)> {
        let mut result: Option<(Pieces, f64)> = None;
        for (id, &c) in gradients {
            let gradient = self.gradients.get(id)?.clone();
            let factor = gradient.factor * c;
            result = Some(match result {
                None => (gradient.pieces, factor),
                Some((pieces, common)) => {
                    let mut sum = Vec::with_capacity(pieces.len());
                    for ((a, layout), (b, other)) in pieces.into_iter().zip(gradient.pieces) {
                        if layout != other {
                            self.unsupported("gradients of one parameter in different layouts", span);
                            return None;
                        }
                        let single = |wire| super::lower::Cts { wires: vec![wire], factor, dim: 1, clean: false };
                        let b = self.rescale(&single(b), common, span).wires[0];
                        sum.push((self.circuit.push(Op::Add(a, b), span), layout));
                    }
                    (sum, common)
                }
            });
        }
        result
    }

    fn pack_directions(&mut self, directions: &[Direction]) {
        let block: usize = directions.iter().map(|d| d.pieces.len()).sum();
        let copies = directions.iter().map(|d| d.states.len()).max().unwrap_or(0);
        if block == 0 {
            return;
        }
        let lanes = self.grid.lanes;
        // One ciphertext for everything where it fits, else one row of ciphertexts per copy.
        let together = block * copies <= lanes;
        let count = block.div_ceil(lanes);
        let mut sums: Vec<Option<WireId>> = vec![None; count];
        let mut contents: Vec<Vec<Content<Part>>> = vec![Vec::new(); if together { 1 } else { count * copies }];
        let mut headroom = vec![0; contents.len()];
        let mut position = 0;
        for direction in directions {
            for &(wire, layout) in &direction.pieces {
                let lane = position % lanes;
                let placed = self.gather(wire, lane, direction.span);
                let sum = &mut sums[position / lanes];
                *sum = Some(sum.map_or(placed, |sum| self.circuit.push(Op::Add(sum, placed), direction.span)));
                for (copy, moved) in direction.states.iter().enumerate() {
                    let (target, lane) = if together { (0, lane + copy * block) } else { (copy * count + position / lanes, lane) };
                    let factor = moved.coefficient * direction.factor;
                    let bits = magnitude_bits(factor * self.smallest(moved.rate));
                    headroom[target] = headroom[target].max(WEIGHT_BITS + bits);
                    let part = Part { target: Target::State(moved.name.clone()), old: moved.old.clone(), rate: moved.rate };
                    contents[target].push(Content { tensor: part, layout: in_lane(layout, lane), factor });
                }
                position += 1;
            }
        }
        let span = directions[0].span;
        let mut sums: Vec<WireId> = sums.into_iter().flatten().collect();
        if together {
            let first = sums[0];
            for copy in 1..copies {
                let copied = self.circuit.rotate(first, -((copy * block) as i64), span);
                sums[0] = self.circuit.push(Op::Add(sums[0], copied), span);
            }
        }
        for (target, parts) in contents.into_iter().enumerate().filter(|(_, parts)| !parts.is_empty()) {
            let gradient = sums[if together { 0 } else { target % count }];
            self.finish_pack(gradient.into(), parts, headroom[target], span);
        }
    }

    fn smallest(&self, rate: Option<usize>) -> f64 {
        rate.map_or(1.0, |rate| self.rates[rate].smallest())
    }

    /// Sums a piece over its lanes and puts the sum in one lane, zero elsewhere.
    fn gather(&mut self, wire: WireId, lane: usize, span: Span) -> WireId {
        let sum = self.circuit.rotate_and_sum(wire, 1, self.grid.lanes, span);
        let plain = self.circuit.plain(Plain { pattern: PlainPattern::Lane { lane: 0, value: 1.0 }, scale: MASK_BITS });
        let masked = self.circuit.push(Op::MulPlain(sum, plain), span);
        self.circuit.rotate(masked, -(lane as i64), span)
    }

    /// Adds what the key owner sends, and returns the sum to it.
    fn finish_pack(&mut self, gradient: Option<WireId>, parts: Vec<Content<Part>>, headroom: u32, span: Span) -> Option<WireId> {
        let mut sent = Vec::new();
        let mut returned = Vec::new();
        for Content { tensor: Part { target, old, rate }, layout, factor } in parts {
            let rate = rate.map(|rate| self.client.rate(&self.rates[rate]));
            if !old.is_empty() {
                let mut tensor = self.combination(&old);
                if let Some(rate) = rate {
                    tensor = self.client.push(ClearOp::Div(tensor, rate));
                }
                sent.push(Content { tensor, layout, factor: 1.0 / factor });
            }
            let target = match (target, rate) {
                (Target::State(name), Some(by)) => Target::Rated { name, by },
                (target, _) => target,
            };
            returned.push(Content { tensor: target, layout, factor });
        }
        let round = sent.iter().map(|c| self.client.round(c.tensor)).max().unwrap_or(0);
        let kept = (!sent.is_empty()).then(|| self.circuit.input("state", sent, round, span));
        let wire = match (gradient, kept) {
            (Some(gradient), Some(kept)) => self.circuit.push(Op::Add(gradient, kept), span),
            (Some(wire), None) | (None, Some(wire)) => wire,
            (None, None) => return None,
        };
        let alone = kept.is_none() && returned.iter().all(|content| matches!(content.tensor, Target::Value { .. }));
        let label = if alone { "gradient" } else { "state" }.to_owned();
        self.circuit.outputs.push(OutputDraft { label, wire, contents: returned, headroom });
        Some(wire)
    }
}

pub(super) fn in_lane(layout: Layout, lane: usize) -> Layout {
    let lanes = Lanes::One(lane);
    match layout {
        Layout::Diagonal { diagonal, shift, rows, cols, runs, .. } => Layout::Diagonal { diagonal, shift, rows, cols, lanes, runs },
        Layout::Vector { period, runs, .. } => Layout::Vector { period, lanes, runs },
        Layout::Samples { .. } | Layout::Tiled(_) => layout,
    }
}

/// The gradients of a form and the learning rate that all of them have.
pub(super) fn one_rate(form: &Form) -> Option<(Option<usize>, BTreeMap<Id, f64>)> {
    let (_, rate) = *form.gradients.keys().next()?;
    let same = form.gradients.keys().all(|(_, r)| *r == rate);
    same.then(|| (rate, form.gradients.iter().map(|((id, _), &c)| (*id, c)).collect()))
}
