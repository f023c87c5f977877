//! Which cycle of carried states forces bootstraps: the update with every state in a ciphertext of its own, and the bits that
//! it spends on the way from each to each.

use hecc_plan::{CarriedId, Op};

use super::budget;
use super::circuit::Circuit;
use crate::planner::{Bits, MaxPlus};

/// States that feed each other, and what they spend.
#[derive(Clone, Debug, PartialEq)]
pub struct Cycle {
    /// States, each feeding the next, the last the first.
    pub states: Vec<String>,
    /// Bits per update in the long run.
    pub bits: f64,
}

/// The cycle that spends most per update; `None` if no state depends on itself.
pub fn run(body: &Circuit) -> Option<Cycle> {
    let cycle = MaxPlus::from_rows(&decay(body))?.critical_cycle()?;
    let states = cycle.values.iter().map(|&value| body.carried[value].label.clone()).collect();
    Some(Cycle { states, bits: cycle.mean() })
}

/// Most bits on a way from each carried ciphertext to the new value of each, by new value.
pub(super) fn decay(body: &Circuit) -> Vec<Vec<Option<Bits>>> {
    let spent: Vec<_> = (0..body.carried.len()).map(|from| spent_since(body, from)).collect();
    body.carried.iter().map(|to| spent.iter().map(|from| from[to.wire.index()].map(Bits)).collect()).collect()
}

/// Most bits on a way from a carried ciphertext to each value.
pub(super) fn spent_since(body: &Circuit, from: usize) -> Vec<Option<u32>> {
    let mut spent: Vec<Option<u32>> = Vec::with_capacity(body.nodes.len());
    for node in &body.nodes {
        let before = node.op.operands().iter().filter_map(|w| spent[w.index()]).max();
        spent.push(match node.op {
            Op::Carried(CarriedId(id)) if id as usize == from => Some(0),
            _ => before.map(|bits| bits + budget::spent(body, &node.op)),
        });
    }
    spent
}
