//! The end of an update: gradients are summed over the batch, once for all of them, and new states are sums of old states
//! and of that, moved to their columns.

use std::collections::BTreeMap;

use hecc_plan::{ClearId, ClearOp, Content, Op, PlainPart, PlainPattern, Span, Target, WireId};

use super::super::carried::STATE_RANGE;
use super::super::circuit::CarriedDraft;
use super::super::lower::{Cts, Form, Value};
use super::super::pack::one_rate;
use super::super::polynomial::constant_bits;
use super::Tiles;
use super::place::Home;
use super::slots::{Entry, clean};
use crate::tensor::{Id, Op as TensorOp, Output};

/// Gradients in their places, before the sum over the batch.
struct Share {
    wire: WireId,
    /// The constant between slots and gradient.
    factor: f64,
    /// Gradients of these families.
    families: Vec<usize>,
    /// Zero outside of their places.
    clean: bool,
    /// The gradient whose error carries its constant.
    lead: Id,
    span: Span,
}

/// What a state takes of its gradient.
struct Part {
    family: usize,
    coefficient: f64,
    rate: Option<usize>,
    due: Option<ClearId>,
    home: Home,
}

/// Where numbers go: slots to the left, and a factor that changes from update to update.
type Route = (i64, Option<ClearId>);

impl Tiles<'_> {
    pub(super) fn finish(&mut self) -> Option<()> {
        let forms = self.forms()?;
        let shares = self.shares(&forms)?;
        let mut parts: Vec<Part> = Vec::new();
        let mut sums: Vec<(WireId, bool)> = Vec::new();
        let mut still: BTreeMap<Route, Vec<(Home, f64)>> = BTreeMap::new();
        for (name, (form, _)) in &forms {
            let home = self.floor.homes[name].clone();
            let period = self.lowering.periods.iter().find(|(n, _)| n == name).map(|(_, period)| *period);
            let due = period.map(|period| self.lowering.client.due(period));
            let mut keep = |from: &Home, c: f64, by: Option<ClearId>| {
                still.entry((from.start as i64 - home.start as i64, by)).or_default().push((from.clone(), c));
            };
            for ((state, rate), &c) in &form.states {
                let by = self.lowering.factor(*rate, due);
                keep(&self.floor.homes[state], c, by);
            }
            if let Some(due) = due {
                let rest = self.lowering.client.push(ClearOp::Affine { x: due, factor: -1.0, offset: 1.0 });
                keep(&home, 1.0, Some(rest));
            }
            if !form.gradients.is_empty() {
                let (rate, gradient) = one_rate(form)?;
                let coefficient = *gradient.values().next()?;
                parts.push(Part { family: home.family, coefficient, rate, due, home });
            }
        }
        self.old_states(still, &mut sums);
        if !parts.is_empty() {
            self.gradients(&shares, parts, &mut sums)?;
        }
        let span = forms.values().next().map_or(Span::default(), |(_, span)| *span);
        // A sum starts with something that is not taken away.
        sums.sort_by_key(|&(_, minus)| minus);
        let mut all = sums.into_iter();
        let (mut sum, _) = all.next().filter(|&(_, minus)| !minus)?;
        for (wire, minus) in all {
            sum = self.lowering.circuit.push(if minus { Op::Sub(sum, wire) } else { Op::Add(sum, wire) }, span);
        }
        let content =
            |(name, home): (&String, &Home)| Content { tensor: Target::State(name.clone()), layout: home.layout(), factor: STATE_RANGE };
        let contents = self.floor.homes.iter().map(content).collect();
        let mut roles: Vec<String> = self.floor.homes.keys().map(|name| super::super::carried::role(name)).collect();
        roles.sort();
        roles.dedup();
        self.lowering.circuit.carried.push(CarriedDraft { label: roles.join(" + "), contents, wire: sum });
        Some(())
    }

    /// The new value of every state; what the update leaves alone is itself.
    fn forms(&self) -> Option<BTreeMap<String, (Form, Span)>> {
        let graph = self.lowering.graph;
        let still = |name: &String| Form { states: [((name.clone(), None), 1.0)].into(), ..Form::default() };
        let mut forms: BTreeMap<String, (Form, Span)> =
            self.floor.homes.keys().map(|name| (name.clone(), (still(name), Span::default()))).collect();
        for (output, id) in &graph.outputs {
            let Output::State(name) = output else { return None };
            let Some(Value::Form(form)) = self.lowering.value_of(*id).filter(|v| !matches!(v, Value::Form(f) if !f.products.is_empty()))
            else {
                return None;
            };
            forms.insert(name.clone(), (form, graph.node(*id).span));
        }
        Some(forms)
    }

    /// Products for all gradients that the states take.
    fn shares(&mut self, forms: &BTreeMap<String, (Form, Span)>) -> Option<Vec<Share>> {
        let graph = self.lowering.graph;
        let used = |id: Id| forms.values().any(|(form, _)| form.gradients.keys().any(|(gradient, _)| *gradient == id));
        let ids: Vec<Id> = graph.ids().filter(|&id| used(id)).collect();
        // One gradient each: sums of gradients of one parameter have no place of their own here.
        let single = forms.values().all(|(form, _)| form.gradients.len() <= 1);
        let mut families: Vec<usize> = ids.iter().filter_map(|id| self.floor.families.get(id)).copied().collect();
        families.sort_unstable();
        families.dedup();
        if !single || families.len() != ids.len() {
            return None;
        }
        let mut done: Vec<Id> = Vec::new();
        let mut shares = Vec::new();
        // Layers first: the gradient of a bias can be one input more of theirs.
        let layers = ids.iter().filter(|&&id| matches!(graph.node(id).op, TensorOp::DenseGradient));
        let biases = ids.iter().filter(|&&id| matches!(graph.node(id).op, TensorOp::SumBatch));
        for &id in layers.chain(biases) {
            if done.contains(&id) {
                continue;
            }
            let operands = graph.operands(id);
            let home = self.base(id)?;
            let span = graph.node(id).span;
            let need = self.error_places(id, &home);
            let region: Vec<usize> = need.iter().map(|&(slot, _)| slot).collect();
            let mut families = vec![home.family];
            let mut ones = Vec::new();
            let known = operands.get(1).and_then(|&x| self.known(x));
            if let Some(bias) = self.twin(id) {
                let home = self.base(bias)?;
                ones = home.slots().map(|(slot, ..)| slot).collect();
                families.push(home.family);
                done.push(bias);
            }
            done.push(id);
            let error = self.placed[operands[0].index()].clone()?;
            let error = self.realise(&error, &need, span)?;
            let (wire, factor, rest) = match (operands.get(1), known) {
                (None, _) => (self.all_groups(&error.cts, span), error.cts.factor, error.at.clone()),
                (Some(_), Some(known)) => {
                    let mut at = vec![Entry::Zero; self.floor.tile()];
                    self.side(&home, false).into_iter().for_each(|(slot, e)| at[slot] = Entry::Element(e));
                    let factor = if known.scale == 0.0 { 1.0 } else { known.scale };
                    let wires = self.send(&known, &at, factor, &ones, span);
                    ones.iter().for_each(|&slot| at[slot] = Entry::Scalar);
                    (self.pairs(&error.cts.wires, &wires, span), error.cts.factor * factor, products(&error.at, &at))
                }
                (Some(&x), None) => {
                    let x = self.placed[x.index()].clone()?;
                    let need = self.side(&home, false);
                    let x = self.realise(&x, &need, span)?;
                    (self.pairs(&error.cts.wires, &x.cts.wires, span), error.cts.factor * x.cts.factor, products(&error.at, &x.at))
                }
            };
            let mut outside = rest;
            region.iter().for_each(|&slot| outside[slot] = Entry::Zero);
            let clean = clean(&outside) && outside.iter().all(|&entry| entry == Entry::Zero);
            shares.push(Share { wire, factor, families, clean, lead: id, span });
        }
        Some(shares)
    }

    fn pairs(&mut self, a: &[WireId], b: &[WireId], span: Span) -> WireId {
        let pairs = a.iter().zip(b).map(|(&a, &b)| (a.min(b), a.max(b))).collect();
        self.lowering.circuit.push(Op::Dot(pairs), span)
    }

    fn all_groups(&mut self, x: &Cts, span: Span) -> WireId {
        let mut sum = x.wires[0];
        for &wire in &x.wires[1..] {
            sum = self.lowering.circuit.push(Op::Add(sum, wire), span);
        }
        sum
    }

    /// Sums of old states: a mask for each distance, and none where everything stays as it is.
    fn old_states(&mut self, still: BTreeMap<Route, Vec<(Home, f64)>>, sums: &mut Vec<(WireId, bool)>) {
        let span = Span::default();
        for ((distance, by), homes) in still {
            let all = homes.len() == self.floor.homes.len();
            let wire = if distance == 0 && by.is_none() && all && homes.iter().all(|(_, c)| *c == 1.0) {
                self.carried
            } else {
                let part = |(home, value): (Home, f64)| PlainPart { layout: home.layout(), shape: home.shape, value };
                let pattern = PlainPattern::Parts { parts: homes.into_iter().map(part).collect(), by };
                self.mask(self.carried, pattern, span)
            };
            sums.push((self.lowering.circuit.rotate(wire, distance, span), false));
        }
    }

    /// The sum of all shares over the batch, moved to every state that takes some of it.
    fn gradients(&mut self, shares: &[Share], parts: Vec<Part>, sums: &mut Vec<(WireId, bool)>) -> Option<()> {
        let mut largest: BTreeMap<usize, f64> = BTreeMap::new();
        for part in &parts {
            let most = largest.entry(part.family).or_insert(0.0);
            *most = most.max(part.coefficient.abs());
        }
        // A slot shall be a power of two times what a state takes. Which one, the constants decide that are there already, of
        // the share that cannot be sent at another one.
        let fixed = shares.iter().find(|share| !self.is_sent(share)).or(shares.first())?;
        let lead = largest[fixed.families.first()?] * fixed.factor.abs() / STATE_RANGE;
        let unit = libm::exp2(libm::round(libm::log2(lead)));
        let mut total: Option<WireId> = None;
        for share in shares {
            let most = largest[&share.families[0]];
            if share.families.iter().any(|family| largest[family] != most) {
                return None;
            }
            let wire = self.refitted(share, share.factor * most / (STATE_RANGE * unit));
            total = Some(total.map_or(wire, |sum| self.lowering.circuit.push(Op::Add(sum, wire), share.span)));
        }
        let span = shares[0].span;
        let lanes = self.lowering.grid.lanes;
        let sum = self.lowering.circuit.rotate_and_sum(total?, self.floor.tile(), lanes, span);
        let families: usize = shares.iter().map(|share| share.families.len()).sum();
        let mut routes: BTreeMap<Route, Vec<(Home, f64)>> = BTreeMap::new();
        for part in parts {
            let base = self.base_of(part.family)?.clone();
            let by = self.lowering.factor(part.rate, part.due);
            let distance = base.start as i64 - part.home.start as i64;
            routes.entry((distance, by)).or_default().push((base, unit * part.coefficient / largest[&part.family]));
        }
        for ((distance, by), homes) in routes {
            let c = homes[0].1;
            let uniform = by.is_none() && homes.len() == families && homes.iter().all(|(_, value)| (value / c - 1.0).abs() < 1e-12);
            let (wire, minus) = if uniform {
                (self.times(sum, c.abs(), span), c < 0.0)
            } else {
                let part = |(home, value): (Home, f64)| PlainPart { layout: home.layout(), shape: home.shape, value };
                let pattern = PlainPattern::Parts { parts: homes.into_iter().map(part).collect(), by };
                (self.mask(sum, pattern, span), false)
            };
            sums.push((self.lowering.circuit.rotate(wire, distance, span), minus));
        }
        Some(())
    }

    /// A wire times a positive number; powers of two take as few bits as they are.
    fn times(&mut self, a: WireId, c: f64, span: Span) -> WireId {
        let exact = libm::log2(c);
        let bits = if exact < 0.0 && exact == libm::round(exact) { -exact as u32 } else { constant_bits(c) };
        if c == 1.0 { a } else { self.lowering.circuit.push(Op::MulConst { a, c, bits }, span) }
    }

    /// Whether a share is a product with what the client sends.
    fn is_sent(&self, share: &Share) -> bool {
        let circuit = &self.lowering.circuit;
        let input = |wire: WireId| matches!(circuit.nodes[wire.index()].op, Op::Input(_));
        match &circuit.nodes[share.wire.index()].op {
            Op::Dot(pairs) => pairs.iter().all(|&(a, b)| input(a) || input(b)),
            _ => false,
        }
    }

    /// A share `ratio` times as large, and zero outside of its places.
    fn refitted(&mut self, share: &Share, ratio: f64) -> WireId {
        let near = (ratio - 1.0).abs() < 1e-12;
        if !share.clean {
            let homes = share.families.iter().filter_map(|&family| self.base_of(family).cloned());
            let part = |home: Home| PlainPart { layout: home.layout(), shape: home.shape, value: ratio };
            let pattern = PlainPattern::Parts { parts: homes.map(part).collect(), by: None };
            return self.mask(share.wire, pattern, share.span);
        }
        if near {
            return share.wire;
        }
        if self.is_sent(share)
            && let Op::Dot(pairs) = self.lowering.circuit.nodes[share.wire.index()].op.clone()
        {
            let pairs = pairs.into_iter().map(|pair| self.lowering.refit(pair, ratio, share.span)).collect();
            return self.lowering.circuit.push(Op::Dot(pairs), share.span);
        }
        if let Some(product) = self.constant_of(share.lead) {
            let before = self.wishes.get(&product).copied().unwrap_or(1.0);
            self.missed.insert(product, before / ratio);
        }
        let bits = constant_bits(ratio);
        self.lowering.circuit.push(Op::MulConst { a: share.wire, c: ratio, bits }, share.span)
    }

    /// The product with what the client sends that a gradient's error comes from.
    fn constant_of(&self, gradient: Id) -> Option<Id> {
        let graph = self.lowering.graph;
        let mut id = graph.operands(gradient)[0];
        loop {
            let operands = graph.operands(id);
            let known = operands.iter().any(|&operand| self.known(operand).is_some());
            let computed = operands.iter().copied().find(|&operand| self.known(operand).is_none())?;
            match graph.node(id).op {
                TensorOp::Mul if known => return Some(id),
                TensorOp::Mul | TensorOp::Scale(_) | TensorOp::Add | TensorOp::Sub | TensorOp::Broadcast | TensorOp::SumElements => {
                    id = computed;
                }
                _ => return None,
            }
        }
    }
}

/// What a product holds.
fn products(a: &[Entry], b: &[Entry]) -> Vec<Entry> {
    a.iter().zip(b).map(|(&a, &b)| if a == Entry::Zero || b == Entry::Zero { Entry::Zero } else { Entry::Junk }).collect()
}
