//! Fewer rotation keys than rotations: where memory does not hold them all, some rotations are chains of others
//! ([`crate::planner::rotations`]). Rotations inside products with matrices keep theirs.

use std::collections::{BTreeMap, BTreeSet};

use hecc_plan::Op;

use super::budget::needs;
use super::circuit::Circuit;
use crate::planner::rotations;

/// What fewer keys save and cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Fewer {
    /// Keys that all rotations would have.
    pub keys: usize,
    /// Bytes at the peak with them.
    pub peak: u64,
    /// Bytes allowed.
    pub limit: u64,
    /// Rotations with a key for each, over the updates of a period.
    pub rotations: u64,
    /// Seconds of the server per update with them.
    pub seconds: f64,
}

/// Least keys that are tried beside those of matrices: with fewer, chains get long.
const LEAST: usize = 4;

/// How few keys a circuit is tried with.
pub fn least(circuit: &Circuit, lanes: usize) -> usize {
    LEAST + fixed(circuit, lanes).len()
}

/// The circuit with at most `most` rotation keys; `None` if that cannot be.
pub fn run(circuit: &Circuit, lanes: usize, most: usize) -> Option<Circuit> {
    let needed = needs(circuit, None);
    let mut wanted: BTreeMap<i64, u64> = BTreeMap::new();
    for (node, _) in circuit.nodes.iter().zip(&needed).filter(|(_, need)| need.is_some()) {
        if let Op::Rotate { by, .. } = node.op {
            *wanted.entry(by).or_insert(0) += 1;
        }
    }
    let wanted: Vec<(i64, u64)> = wanted.into_iter().collect();
    let fixed: Vec<i64> = fixed(circuit, lanes).into_iter().collect();
    let keys = rotations::run_with(&wanted, circuit.slots as u64, most, &fixed)?;
    Some(circuit.rebuilt(|new, index, copy| {
        needed[index]?;
        let node = &circuit.nodes[index];
        let Op::Rotate { a, by } = node.op else { return Some(new.push(node.op.map_operands(copy), node.span)) };
        let step = by.rem_euclid(circuit.slots as i64) as u64;
        Some(keys.chains[&step].iter().fold(copy(a), |wire, &key| new.rotate(wire, key as i64, node.span)))
    }))
}

/// Rotations of the products with matrices, in slots.
fn fixed(circuit: &Circuit, lanes: usize) -> BTreeSet<i64> {
    let matrices = circuit.nodes.iter().filter_map(|node| match node.op {
        Op::Linear(_, matrix) => Some(circuit.matrices[matrix.0 as usize].rotations()),
        _ => None,
    });
    matrices.flat_map(|(babies, giants)| babies.into_iter().chain(giants)).map(|by| (by * lanes) as i64).collect()
}
