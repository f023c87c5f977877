//! Fewer rotations in a circuit: two in a row are one, and a sum of two by as many slots is one of the sum. What is summed
//! may then be sums of products, which need one relinearisation together.

use hecc_plan::{Op, WireId};

use super::budget::needs;
use super::circuit::{Argument, Circuit};
use super::measure::Measure;

/// The circuit with rotations moved behind sums, or `circuit` as it is where that saves nothing.
pub fn run(circuit: Circuit) -> Circuit {
    let mut mover = Mover { uses: uses(&circuit), new: Circuit::new(circuit.scale, circuit.slots), single: Vec::new() };
    mover.new.inputs.clone_from(&circuit.inputs);
    mover.new.plains.clone_from(&circuit.plains);
    mover.new.matrices.clone_from(&circuit.matrices);
    let need = needs(&circuit, None);
    let mut map: Vec<Option<WireId>> = Vec::with_capacity(circuit.nodes.len());
    for (index, node) in circuit.nodes.iter().enumerate() {
        let wire = need[index].map(|_| {
            let of = |w: WireId| map[w.index()].expect("what a needed step uses is needed");
            let wire = mover.step(node.op.map_operands(of), node.span);
            mover.mark(wire, mover.uses[index] == 1);
            wire
        });
        map.push(wire);
    }
    for output in &circuit.outputs {
        let mut output = output.clone();
        output.wire = map[output.wire.index()].expect("an output is needed");
        mover.new.outputs.push(output);
    }
    let moved = |argument: &Argument| Some(Argument { wire: map[argument.wire.index()]?, ..*argument });
    mover.new.arguments = circuit.arguments.iter().filter_map(moved).collect();
    if Measure::of(&mover.new).beats(&Measure::of(&circuit)) { mover.new } else { circuit }
}

struct Mover {
    uses: Vec<u32>,
    new: Circuit,
    /// Steps of the new circuit that one step uses.
    single: Vec<bool>,
}

impl Mover {
    fn mark(&mut self, wire: WireId, single: bool) {
        self.single.resize(self.new.nodes.len(), true);
        self.single[wire.index()] = single;
    }

    fn step(&mut self, op: Op, span: hecc_plan::Span) -> WireId {
        match op {
            Op::Rotate { a, by } => match self.rotation(a) {
                Some((inner, first)) => self.new.rotate(inner, first + by, span),
                None => self.new.rotate(a, by, span),
            },
            Op::Add(a, b) => match (self.rotation(a), self.rotation(b)) {
                (Some((x, k)), Some((y, l))) if k == l => {
                    let sum = self.sum(x, y, span);
                    self.new.rotate(sum, k, span)
                }
                // (r + rot x) + rot y, the form in which sums of matrix products come.
                (None, Some((y, k))) if let Some((rest, x)) = self.inner(a, k) => {
                    let sum = self.sum(x, y, span);
                    let rotated = self.new.rotate(sum, k, span);
                    self.new.push(Op::Add(rest, rotated), span)
                }
                _ => self.new.push(Op::Add(a, b), span),
            },
            op => self.new.push(op, span),
        }
    }

    /// x + y; two sums of products are one.
    fn sum(&mut self, x: WireId, y: WireId, span: hecc_plan::Span) -> WireId {
        if let (Op::Dot(a), Op::Dot(b)) = (&self.new.nodes[x.index()].op, &self.new.nodes[y.index()].op)
            && self.is_single(x)
            && self.is_single(y)
        {
            let pairs = a.iter().chain(b).copied().collect();
            return self.new.push(Op::Dot(pairs), span);
        }
        self.new.push(Op::Add(x, y), span)
    }

    fn is_single(&self, wire: WireId) -> bool {
        self.single.get(wire.index()).copied().unwrap_or(true)
    }

    /// What a rotation that nothing else uses rotates, and by how much.
    fn rotation(&self, wire: WireId) -> Option<(WireId, i64)> {
        match &self.new.nodes[wire.index()].op {
            Op::Rotate { a, by } if self.is_single(wire) => Some((*a, *by)),
            _ => None,
        }
    }

    /// `r + rot_k x` as r and x, where nothing else uses the sum.
    fn inner(&self, wire: WireId, by: i64) -> Option<(WireId, WireId)> {
        let Op::Add(a, b) = self.new.nodes[wire.index()].op else { return None };
        if !self.is_single(wire) {
            return None;
        }
        let rotated = |w: WireId| self.rotation(w).filter(|(_, k)| *k == by).map(|(x, _)| x);
        rotated(b).map(|x| (a, x)).or_else(|| rotated(a).map(|x| (b, x)))
    }
}

fn uses(circuit: &Circuit) -> Vec<u32> {
    let need = needs(circuit, None);
    let mut uses = vec![0; circuit.nodes.len()];
    for (node, need) in circuit.nodes.iter().zip(need) {
        if need.is_some() {
            node.op.operands().iter().for_each(|w| uses[w.index()] += 1);
        }
    }
    circuit.outputs.iter().for_each(|o| uses[o.wire.index()] += 1);
    uses
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemes::ckks::circuit::OutputDraft;
    use hecc_plan::{ClearId, Content, Layout, Span, Target};

    fn circuit(build: impl Fn(&mut Circuit, &[WireId]) -> WireId) -> Circuit {
        let mut circuit = Circuit::new(30, 64);
        let layout = Layout::Samples { group: 0, period: 4 };
        let wires: Vec<WireId> =
            (0..4).map(|i| circuit.input("x", vec![Content { tensor: ClearId(i), layout, factor: 1.0 }], 0, Span::default())).collect();
        let wire = build(&mut circuit, &wires);
        let contents = vec![Content { tensor: Target::Value { id: 0, shape: vec![4] }, layout, factor: 1.0 }];
        circuit.outputs.push(OutputDraft { label: "y".into(), wire, contents, headroom: 8 });
        circuit
    }

    #[test]
    fn sums_of_like_rotations_are_one_rotation() {
        let span = Span::default();
        // r + rot_3 (a b) + rot_3 (c d): one rotation and one relinearisation are enough.
        let before = circuit(|c, x| {
            let (p, q) = (c.push(Op::Dot(vec![(x[0], x[1])]), span), c.push(Op::Dot(vec![(x[2], x[3])]), span));
            let (p, q) = (c.rotate(p, 3, span), c.rotate(q, 3, span));
            let sum = c.push(Op::Add(x[0], p), span);
            c.push(Op::Add(sum, q), span)
        });
        let after = Measure::of(&run(before.clone()));
        assert_eq!((Measure::of(&before).rotations, Measure::of(&before).relinearisations), (2, 2));
        assert_eq!((after.rotations, after.relinearisations, after.products), (1, 1, 2));
    }

    #[test]
    fn rotations_in_a_row_are_one() {
        let span = Span::default();
        let before = circuit(|c, x| {
            let once = c.rotate(x[0], 5, span);
            c.push(Op::Rotate { a: once, by: 60 }, span)
        });
        let after = run(before);
        assert_eq!(Measure::of(&after).rotations, 1);
        assert!(after.nodes.iter().any(|n| matches!(n.op, Op::Rotate { by: 1, .. })));
    }

    #[test]
    fn a_rotation_that_others_use_stays() {
        let span = Span::default();
        let before = circuit(|c, x| {
            let (p, q) = (c.rotate(x[0], 3, span), c.rotate(x[1], 3, span));
            let sum = c.push(Op::Add(p, q), span);
            let product = c.push(Op::Dot(vec![(p, q)]), span);
            c.push(Op::Add(sum, product), span)
        });
        assert_eq!(run(before.clone()).print(), before.print());
    }
}
