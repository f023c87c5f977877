//! Widths: every wire gets the budget that what follows needs, and no more. Backwards from the outputs, a product asks of
//! its operands what it spends on top of what its result must have.

use std::collections::BTreeMap;

use hecc_plan::{
    Bootstrap, Carried, CarriedId, Input, InputId, KeyManifest, KeyShape, Op, Output, RotationKey, Round, Step, Wire, WireId, security,
};

use super::circuit::{Circuit, Node};

/// A circuit with widths.
#[derive(Clone, Debug)]
pub struct Sized {
    /// Steps, by exchange.
    pub steps: Vec<Step>,
    /// Inputs that are used.
    pub inputs: Vec<Input>,
    /// Outputs.
    pub outputs: Vec<Output>,
    /// Exchanges.
    pub rounds: Vec<Round>,
    /// What the server keeps.
    pub carried: Vec<Carried>,
    /// Widest wire.
    pub max_k: u32,
}

/// Room for the magnitude of what the key owner fetches, in bits.
pub(super) const FETCH_BITS: u32 = 8;

/// Gives widths to what outputs need of `circuit`; `base2k` is the size of a limb.
pub fn size(circuit: &Circuit, base2k: u32, bootstrap: Option<&Bootstrap>) -> Sized {
    let need = needs(circuit, bootstrap);
    let mut order: Vec<usize> = (0..circuit.nodes.len()).filter(|&i| need[i].is_some()).collect();
    order.sort_by_key(|&i| (circuit.nodes[i].round, i));
    let mut sizer = Sizer {
        circuit,
        base2k,
        bootstrap,
        need,
        wires: BTreeMap::new(),
        narrowed: BTreeMap::new(),
        inputs: BTreeMap::new(),
        sized: Sized { steps: Vec::new(), inputs: Vec::new(), outputs: Vec::new(), rounds: Vec::new(), carried: Vec::new(), max_k: 0 },
    };
    sizer.carried();
    let last = circuit.nodes.iter().zip(&sizer.need).filter(|(_, n)| n.is_some()).map(|(n, _)| n.round).max().unwrap_or(0);
    let mut at = 0;
    for round in 0..=last {
        let first = sizer.sized.steps.len() as u32;
        while at < order.len() && circuit.nodes[order[at]].round == round {
            sizer.node(order[at]);
            at += 1;
        }
        sizer.finish_round(round, first);
    }
    sizer.sized
}

/// Budget each node must have left; `None` where no output needs it.
pub(super) fn needs(circuit: &Circuit, bootstrap: Option<&Bootstrap>) -> Vec<Option<u32>> {
    needs_without(circuit, bootstrap, &[]).0
}

/// The same where every carried ciphertext is bootstrapped as a period ends, so that the next one asks nothing of it.
/// `takes` is what a bootstrap needs of its operand.
pub(super) fn needs_once(circuit: &Circuit, takes: u32) -> Vec<Option<u32>> {
    needs_with_ends(circuit, Some(takes), &[], &vec![FETCH_BITS; circuit.carried.len()])
}

/// [`needs`] without the bootstraps that are marked, and whether the periods repeat: what the last update leaves of a carried
/// ciphertext is what the first one of the next period has, whether it is bootstrapped there, somewhere before, or not at all.
pub(super) fn needs_without(circuit: &Circuit, bootstrap: Option<&Bootstrap>, left_out: &[bool]) -> (Vec<Option<u32>>, bool) {
    let takes = bootstrap.map(|bootstrap| bootstrap.input_k - circuit.scale);
    let mut ends = vec![FETCH_BITS; circuit.carried.len()];
    // Each round settles at least one ciphertext more, if each cycle of them has a bootstrap.
    for _ in 0..=circuit.carried.len() + 1 {
        let need = needs_with_ends(circuit, takes, left_out, &ends);
        if bootstrap.is_none() || circuit.saves.is_empty() {
            return (need, true);
        }
        let before = ends.clone();
        for (node, need) in circuit.nodes.iter().zip(&need) {
            if let (Op::Carried(id), Some(bits)) = (&node.op, need) {
                let end = &mut ends[id.0 as usize];
                *end = (*end).max(*bits);
            }
        }
        if ends == before {
            return (need, true);
        }
    }
    (needs_with_ends(circuit, takes, left_out, &ends), false)
}

/// The same where the carried ciphertexts must have `ends` left when a period is over.
fn needs_with_ends(circuit: &Circuit, takes: Option<u32>, left_out: &[bool], ends: &[u32]) -> Vec<Option<u32>> {
    let mut need: Vec<Option<u32>> = vec![None; circuit.nodes.len()];
    let raise = |slot: &mut Option<u32>, bits: u32| *slot = Some(slot.map_or(bits, |n| n.max(bits)));
    for output in &circuit.outputs {
        raise(&mut need[output.wire.index()], output.headroom);
    }
    for wire in circuit.saves.iter().flatten() {
        raise(&mut need[wire.index()], FETCH_BITS);
    }
    match circuit.saves.last() {
        Some(last) => last.iter().zip(ends).for_each(|(wire, &bits)| raise(&mut need[wire.index()], bits)),
        // One update alone has no saves yet.
        None => circuit.carried.iter().for_each(|draft| raise(&mut need[draft.wire.index()], FETCH_BITS)),
    }
    for index in (0..circuit.nodes.len()).rev() {
        let Some(bits) = need[index] else { continue };
        let node = &circuit.nodes[index];
        let (op, bits) = (&node.op, bits.max(node.room));
        need[index] = Some(bits);
        let bits = match (op, takes) {
            // What comes out is as wide as ever.
            (Op::Bootstrap(_), Some(takes)) if left_out.get(index) != Some(&true) => taken(node, takes),
            _ => bits + spent(circuit, op),
        };
        op.visit_operands(|operand| raise(&mut need[operand.index()], bits));
    }
    need
}

/// What a refresh that takes `takes` at least needs of this value: a factor of two more than it takes up, so that the key
/// owner can tell that it did not wrap around.
pub(super) fn taken(node: &Node, takes: u32) -> u32 {
    if node.room == 0 { takes } else { takes.max(node.room + 1) }
}

/// Bits of budget that an operation spends.
pub(super) fn spent(circuit: &Circuit, op: &Op) -> u32 {
    match op {
        Op::Input(_)
        | Op::Carried(_)
        | Op::Add(..)
        | Op::Sub(..)
        | Op::AddConst(..)
        | Op::AddPlain(..)
        | Op::Rotate { .. }
        | Op::Narrow(_)
        | Op::Bootstrap(_) => 0,
        Op::MulConst { bits, .. } | Op::Halve { bits, .. } => *bits,
        Op::MulPlain(_, plain) => circuit.plains[plain.0 as usize].scale,
        Op::Linear(_, matrix) => circuit.matrices[matrix.0 as usize].scale,
        Op::Dot(_) => circuit.scale,
    }
}

struct Sizer<'a> {
    circuit: &'a Circuit,
    base2k: u32,
    bootstrap: Option<&'a Bootstrap>,
    need: Vec<Option<u32>>,
    wires: BTreeMap<usize, WireId>,
    narrowed: BTreeMap<(WireId, u32), WireId>,
    inputs: BTreeMap<u32, InputId>,
    sized: Sized,
}

impl Sizer<'_> {
    /// The carried ciphertexts, each as wide as the updates of a period need it.
    fn carried(&mut self) {
        let scale = self.circuit.scale;
        for (id, draft) in self.circuit.carried.iter().enumerate() {
            let reads = |node: &Node| node.op == Op::Carried(CarriedId(id as u32));
            let read = self.circuit.nodes.iter().position(reads);
            let need = read.and_then(|index| self.need[index]).unwrap_or(0).max(FETCH_BITS);
            self.sized.carried.push(Carried {
                label: draft.label.clone(),
                contents: draft.contents.clone(),
                wire: Wire { scale, k: scale + need },
                fetch: Wire { scale, k: scale + FETCH_BITS },
            });
        }
    }

    fn push(&mut self, step: Step) -> WireId {
        self.sized.max_k = self.sized.max_k.max(step.wire.k);
        self.sized.steps.push(step);
        WireId(self.sized.steps.len() as u32 - 1)
    }

    fn node(&mut self, index: usize) {
        let node = &self.circuit.nodes[index];
        let scale = self.circuit.scale;
        let budget = self.need[index].unwrap_or(0);
        let wire = Wire { scale, k: scale + budget };
        let wire = match (&node.op, self.bootstrap) {
            (Op::Carried(id), _) => self.sized.carried[id.0 as usize].wire,
            (Op::Bootstrap(_), Some(bootstrap)) => Wire { scale, k: bootstrap.output_k },
            _ => wire,
        };
        let asked = scale + budget + spent(self.circuit, &node.op);
        let map = |s: &Self, w: WireId| s.wires[&w.index()];
        let op = match &node.op {
            Op::Input(id) => {
                let draft = &self.circuit.inputs[id.0 as usize];
                let next = InputId(self.sized.inputs.len() as u32);
                self.inputs.insert(id.0, next);
                self.sized.inputs.push(Input { label: draft.label.clone(), contents: draft.contents.clone(), wire });
                Op::Input(next)
            }
            Op::Add(a, b) => Op::Add(map(self, *a), map(self, *b)),
            Op::Sub(a, b) => Op::Sub(map(self, *a), map(self, *b)),
            Op::AddConst(a, c) => Op::AddConst(map(self, *a), *c),
            Op::AddPlain(a, p) => Op::AddPlain(map(self, *a), *p),
            Op::MulConst { a, c, bits } => Op::MulConst { a: map(self, *a), c: *c, bits: *bits },
            Op::MulPlain(a, p) => Op::MulPlain(self.narrow(*a, asked, false), *p),
            Op::Halve { a, bits } => Op::Halve { a: map(self, *a), bits: *bits },
            Op::Dot(pairs) => {
                // The library sums products in the transform domain when all operands of a side have one width.
                let exact = pairs.len() > 1;
                Op::Dot(pairs.iter().map(|&(a, b)| (self.narrow(a, asked, exact), self.narrow(b, asked, exact))).collect())
            }
            Op::Rotate { a, by } => Op::Rotate { a: self.narrow(*a, asked, false), by: *by },
            Op::Linear(a, m) => Op::Linear(self.narrow(*a, asked, false), *m),
            Op::Narrow(a) => Op::Narrow(map(self, *a)),
            Op::Carried(id) => Op::Carried(*id),
            Op::Bootstrap(a) => Op::Bootstrap(self.narrow(*a, self.bootstrap.map_or(asked, |b| b.input_k), true)),
        };
        let wire = self.push(Step { op, wire, span: node.span });
        self.wires.insert(index, wire);
    }

    /// A wire at the width asked for, if that saves a limb (or `exact` asks for it).
    fn narrow(&mut self, wire: WireId, k: u32, exact: bool) -> WireId {
        let wire = self.wires[&wire.index()];
        let have = self.sized.steps[wire.index()].wire;
        let saves = have.k.div_ceil(self.base2k) > k.div_ceil(self.base2k);
        if have.k == k || !(exact || saves) {
            return wire;
        }
        if let Some(&narrow) = self.narrowed.get(&(wire, k)) {
            return narrow;
        }
        let span = self.sized.steps[wire.index()].span;
        let narrow = self.push(Step { op: Op::Narrow(wire), wire: Wire { scale: have.scale, k }, span });
        self.narrowed.insert((wire, k), narrow);
        narrow
    }

    fn finish_round(&mut self, round: u32, first: u32) {
        let last = self.sized.steps.len() as u32;
        let inputs = self.sized.steps[first as usize..].iter().filter_map(|s| match s.op {
            Op::Input(id) => Some(id),
            _ => None,
        });
        let inputs = inputs.collect();
        let mut outputs = Vec::new();
        for draft in &self.circuit.outputs {
            if self.circuit.nodes[draft.wire.index()].round == round {
                outputs.push(hecc_plan::OutputId(self.sized.outputs.len() as u32));
                let k = self.circuit.scale + draft.headroom;
                let wire = self.narrow(draft.wire, k, true);
                self.sized.outputs.push(Output { label: draft.label.clone(), wire, contents: draft.contents.clone() });
            }
        }
        let per = self.circuit.rounds_per_update;
        let update = round.checked_div(per).unwrap_or(0);
        let mut saves = Vec::new();
        if per > 0 && (round + 1).is_multiple_of(per) {
            let ends = update as usize + 1 == self.circuit.saves.len();
            for (id, wire) in self.circuit.saves[update as usize].clone().into_iter().enumerate() {
                let wire = if ends { self.narrow(wire, self.sized.carried[id].wire.k, true) } else { self.wires[&wire.index()] };
                saves.push((CarriedId(id as u32), wire));
            }
        }
        let last = last.max(self.sized.steps.len() as u32);
        self.sized.rounds.push(Round { inputs, steps: (first, last), outputs, update, saves });
    }
}

/// Keys for `steps`: rotation keys each as wide as their widest use; relinearisation keys in up to three widths, since a
/// narrow key has fewer digits. `None` if some key does not fit under `bound`.
pub fn keys(sized: &Sized, lanes: usize, matrices: &[hecc_plan::Matrix], log_n: u32, base2k: u32, bound: u32) -> Option<KeyManifest> {
    let mut rotations: BTreeMap<i64, u32> = BTreeMap::new();
    let mut products: Vec<u32> = Vec::new();
    let mut rotation = |by: i64, k: u32| {
        let widest = rotations.entry(by).or_insert(0);
        *widest = (*widest).max(k);
    };
    for step in &sized.steps {
        let k = |w: &WireId| sized.steps[w.index()].wire.k;
        match &step.op {
            Op::Rotate { a, by } => rotation(*by, k(a)),
            Op::Linear(a, m) => {
                let (babies, giants) = matrices[m.0 as usize].rotations();
                babies.into_iter().chain(giants).for_each(|by| rotation((by * lanes) as i64, k(a)));
            }
            Op::Dot(pairs) => products.push(pairs.iter().map(|(a, b)| k(a).max(k(b))).max().unwrap_or(0)),
            _ => {}
        }
    }
    let shape = |k: u32| security::key_shape(log_n, base2k, k, bound);
    products.sort_unstable();
    products.dedup();
    let mut tiers: Vec<KeyShape> = Vec::new();
    for digits in [1, 2, u32::MAX] {
        let widest = products.iter().rev().filter_map(|&k| shape(k)).find(|s| s.dnum <= digits);
        tiers.extend(widest.filter(|s| !tiers.contains(s)));
    }
    if let Some(&widest) = products.last()
        && tiers.last().is_none_or(|t| t.k < widest)
    {
        return None;
    }
    let rotations = rotations.into_iter().map(|(by, k)| shape(k).map(|shape| RotationKey { by, shape })).collect::<Option<_>>()?;
    Some(KeyManifest { relinearisation: tiers, rotations })
}
