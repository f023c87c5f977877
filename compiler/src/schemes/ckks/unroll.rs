//! Several updates between two refreshes: the body once per update, each on what the one before left, and a bootstrap of
//! what the last one leaves.

use std::collections::BTreeMap;

use hecc_plan::{Op, WireId};

use super::circuit::{CarriedDraft, Circuit, OutputDraft};

/// `updates` copies of the body, then a bootstrap of every carried ciphertext.
pub fn run(body: &Circuit, updates: u32) -> Circuit {
    scheduled(body, updates, |_, _| false)
}

/// The same with a bootstrap also after those updates, of those carried ciphertexts.
pub fn scheduled(body: &Circuit, updates: u32, refreshed: impl Fn(u32, usize) -> bool) -> Circuit {
    let rounds = body.nodes.iter().map(|n| n.round + 1).max().unwrap_or(1);
    let mut whole = Circuit::new(body.scale, body.slots);
    whole.plains.clone_from(&body.plains);
    whole.matrices.clone_from(&body.matrices);
    whole.rounds_per_update = rounds;
    let mut carried: Vec<Option<WireId>> = vec![None; body.carried.len()];
    for update in 0..updates {
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
                op => whole.push(op.map_operands(|w| copies[&w]), node.span),
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
    whole.carried = body.carried.iter().zip(last).map(|(draft, wire)| CarriedDraft { wire, ..draft.clone() }).collect();
    whole
}
