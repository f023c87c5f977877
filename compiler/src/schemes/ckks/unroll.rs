//! Several updates between two refreshes: the body once per update, each on what the one before left, and a bootstrap of
//! what the last one leaves.

use std::collections::BTreeMap;

use hecc_plan::{MatrixId, Op, PlainId, WireId};

use super::circuit::{CarriedDraft, Circuit, OutputDraft};

/// The bodies one after the other, then a bootstrap of every carried ciphertext.
pub fn run(bodies: &[&Circuit]) -> Circuit {
    scheduled(bodies, |_, _| false)
}

/// The same with a bootstrap also after those updates, of those carried ciphertexts.
///
/// # Panics
/// Without a body.
pub fn scheduled(bodies: &[&Circuit], refreshed: impl Fn(u32, usize) -> bool) -> Circuit {
    let first = bodies[0];
    let updates = bodies.len() as u32;
    let rounds = bodies.iter().flat_map(|body| &body.nodes).map(|n| n.round + 1).max().unwrap_or(1);
    let mut whole = Circuit::new(first.scale, first.slots);
    whole.plains.clone_from(&first.plains);
    whole.matrices.clone_from(&first.matrices);
    whole.rounds_per_update = rounds;
    let mut carried: Vec<Option<WireId>> = vec![None; first.carried.len()];
    for (update, body) in (0..updates).zip(bodies) {
        // Bodies of one program, not all of which need every mask.
        let constants = (!std::ptr::eq(*body, first)).then(|| Constants::new(&mut whole, body));
        whole.floor = update * rounds;
        let mut copies: BTreeMap<WireId, WireId> = BTreeMap::new();
        for (index, node) in body.nodes.iter().enumerate() {
            let copy = match &node.op {
                Op::Input(id) => {
                    let draft = &body.inputs[id.0 as usize];
                    whole.input(&draft.label, draft.contents.clone(), draft.round + update * rounds, node.span)
                }
                Op::Carried(id) => match carried[id.0 as usize] {
                    Some(wire) => wire,
                    None => whole.push(Op::Carried(*id), node.span),
                },
                op => {
                    let op = op.map_operands(|w| copies[&w]);
                    whole.push(constants.as_ref().map_or(op.clone(), |constants| constants.of(op)), node.span)
                }
            };
            copies.insert(WireId(index as u32), copy);
        }
        for draft in &body.outputs {
            whole.outputs.push(OutputDraft { wire: copies[&draft.wire], ..draft.clone() });
        }
        for (id, draft) in body.carried.iter().enumerate() {
            let wire = copies[&draft.wire];
            let span = whole.nodes[wire.index()].span;
            let due = update + 1 == updates || refreshed(update, id);
            carried[id] = Some(if due { whole.push(Op::Bootstrap(wire), span) } else { wire });
        }
        whole.saves.push(carried.iter().copied().flatten().collect());
    }
    let last = whole.saves.last().cloned().unwrap_or_default();
    whole.carried = first.carried.iter().zip(last).map(|(draft, wire)| CarriedDraft { wire, ..draft.clone() }).collect();
    whole
}

/// Where the constants of a body are in the whole.
struct Constants {
    plains: Vec<PlainId>,
    matrices: Vec<MatrixId>,
}

impl Constants {
    fn new(whole: &mut Circuit, body: &Circuit) -> Self {
        let plains = body.plains.iter().map(|plain| whole.plain(plain.clone())).collect();
        Self { plains, matrices: body.matrices.iter().map(|matrix| whole.matrix(matrix.clone())).collect() }
    }

    fn of(&self, op: Op) -> Op {
        match op {
            Op::AddPlain(a, plain) => Op::AddPlain(a, self.plains[plain.0 as usize]),
            Op::MulPlain(a, plain) => Op::MulPlain(a, self.plains[plain.0 as usize]),
            Op::Linear(a, matrix) => Op::Linear(a, self.matrices[matrix.0 as usize]),
            other => other,
        }
    }
}
