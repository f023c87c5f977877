//! The key owner refreshes ciphertexts inside an update: it decrypts them, whatever they hold, and encrypts them anew. So a
//! deep update fits a small ring, where operations are cheap. Where, [`super::refresh`] says, as for bootstraps.

use std::collections::BTreeMap;

use hecc_plan::{ClearId, ClearOp, ClearProgram, Content, Geometry, Layout, Op, REFRESHED, Target, Tiled, WireId};

use super::budget::taken;
use super::circuit::{Circuit, OutputDraft};
use super::refresh::{self, Refresher};

/// Least room for the magnitude of what is refreshed, in bits, whatever [`super::magnitude`] saw of it: with sign and a factor
/// of two to be trusted, what Chebyshev's T_16 is a tenth beyond its interval.
const HEADROOM: u32 = 12;

/// The circuit and the client's program with exchanges, so that no value needs more than `reach` bits of budget; `None` where
/// they cannot help, or none is needed.
pub(super) fn run(circuit: &Circuit, client: &ClearProgram, grid: &Geometry, reach: u32) -> Option<(Circuit, ClearProgram)> {
    let refresher = Refresher { takes: HEADROOM, gives: reach, inputs: true };
    let marked = refresh::with(circuit, refresher).or_else(|| refresh::latest(circuit, refresher))?;
    let refreshed = |circuit: &Circuit| circuit.nodes.iter().any(|node| matches!(node.op, Op::Bootstrap(_)));
    refreshed(&marked).then(|| exchanged(&marked, client, grid))
}

/// Slots as they stand, as a tensor `[lanes, width]` of a layout that covers them all.
fn whole(grid: &Geometry) -> (Vec<usize>, Layout) {
    let tiled = Tiled { group: Some(0), start: 0, elements: (0, grid.width), strides: [1, 0], copies: [(1, 0); 2] };
    (vec![grid.lanes, grid.width], Layout::Tiled(tiled))
}

/// Every refresh as an output and an input. What the key owner sends waits for what it computes it from, so that rounds are
/// counted anew.
fn exchanged(circuit: &Circuit, client: &ClearProgram, grid: &Geometry) -> (Circuit, ClearProgram) {
    let mut client = client.clone();
    let (shape, layout) = whole(grid);
    let brought = circuit.outputs.iter().flat_map(|output| &output.contents).filter_map(|content| match content.tensor {
        Target::Value { id, .. } => Some(id),
        _ => None,
    });
    let mut next = brought.max().map_or(0, |id| id + 1);
    // Values that come back from each wire, and the round after which each is there.
    let mut values: BTreeMap<WireId, Vec<u32>> = BTreeMap::new();
    for output in &circuit.outputs {
        let ids = output.contents.iter().filter_map(|content| match content.tensor {
            Target::Value { id, .. } => Some(id),
            _ => None,
        });
        values.entry(output.wire).or_default().extend(ids);
    }
    let mut back: BTreeMap<u32, u32> = BTreeMap::new();
    let mut sent: Vec<(WireId, u32)> = Vec::new();
    let mut new = circuit.emptied();
    new.floor = 0;
    let mut copies: Vec<WireId> = Vec::with_capacity(circuit.nodes.len());
    for (index, node) in circuit.nodes.iter().enumerate() {
        let copy = match &node.op {
            Op::Input(id) => {
                let draft = &circuit.inputs[id.0 as usize];
                let round = draft.contents.iter().map(|content| round_of(&client, content.tensor, &back)).max().unwrap_or(0);
                new.input(&draft.label, draft.contents.clone(), round, node.span)
            }
            Op::Bootstrap(operand) => {
                let operand = copies[operand.index()];
                let (id, round) = (next, new.nodes[operand.index()].round);
                next += 1;
                sent.push((operand, id));
                back.insert(id, round + 1);
                let clear = client.push(ClearOp::Decrypted(id));
                let contents = vec![Content { tensor: clear, layout, factor: 1.0 }];
                new.input(REFRESHED, contents, round + 1, node.span)
            }
            op => new.push(op.map_operands(|w| copies[w.index()]), node.span),
        };
        new.make_room(copy, node.room);
        copies.push(copy);
        for id in values.get(&WireId(index as u32)).into_iter().flatten() {
            let round = new.nodes[copy.index()].round + 1;
            let there = back.entry(*id).or_insert(0);
            *there = (*there).max(round);
        }
    }
    new.outputs.iter_mut().for_each(|output| output.wire = copies[output.wire.index()]);
    let returned = |(wire, id): (WireId, u32)| OutputDraft {
        label: REFRESHED.to_owned(),
        wire,
        contents: vec![Content { tensor: Target::Value { id, shape: shape.clone() }, layout, factor: 1.0 }],
        headroom: taken(&new.nodes[wire.index()], HEADROOM),
    };
    let returned: Vec<OutputDraft> = sent.into_iter().map(returned).collect();
    new.outputs.extend(returned);
    (new, client)
}

/// The exchange that can send a node: after everything that it is computed from has come back.
fn round_of(client: &ClearProgram, id: ClearId, back: &BTreeMap<u32, u32>) -> u32 {
    let mut needed = vec![false; client.nodes.len()];
    needed[id.0 as usize] = true;
    let mut round = 0;
    for (index, node) in client.nodes.iter().enumerate().rev().filter(|(index, _)| *index <= id.0 as usize) {
        if needed[index] {
            node.op.operands().into_iter().for_each(|operand| needed[operand.0 as usize] = true);
            if let ClearOp::Decrypted(value) = node.op {
                round = round.max(back.get(&value).copied().unwrap_or(0));
            }
        }
    }
    round
}
