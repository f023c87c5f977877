//! What a circuit spends, before widths: to compare graphs by what they are lowered to.

use std::collections::BTreeSet;

use hecc_plan::Op;

use super::budget::needs;
use super::circuit::Circuit;

/// Depth, rotations and products of what the outputs of a circuit need. The order is by depth, then rotations, then products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Measure {
    /// Bits of budget of the freshest input.
    pub depth_bits: u32,
    /// Rotations.
    pub rotations: u64,
    /// Rotation keys.
    pub rotation_keys: u64,
    /// Products of ciphertexts.
    pub products: u64,
    /// Relinearisations.
    pub relinearisations: u64,
    /// Products with plaintexts and constants.
    pub plain_products: u64,
    /// Ciphertexts that cross.
    pub crossing: u64,
}

impl Measure {
    /// Measures a circuit.
    pub fn of(circuit: &Circuit) -> Self {
        let mut total = Self::default();
        let need = needs(circuit, None);
        let mut keys: BTreeSet<i64> = BTreeSet::new();
        for (node, need) in circuit.nodes.iter().zip(&need) {
            let Some(bits) = need else { continue };
            total.depth_bits = total.depth_bits.max(*bits);
            match &node.op {
                Op::Input(_) => total.crossing += 1,
                Op::Carried(_)
                | Op::Bootstrap(_)
                | Op::Add(..)
                | Op::Sub(..)
                | Op::AddConst(..)
                | Op::AddPlain(..)
                | Op::Halve { .. }
                | Op::Narrow(_) => {}
                Op::MulConst { .. } | Op::MulPlain(..) => total.plain_products += 1,
                Op::Dot(pairs) => {
                    total.products += pairs.len() as u64;
                    total.relinearisations += 1;
                }
                Op::Rotate { by, .. } => {
                    total.rotations += 1;
                    keys.insert(*by);
                }
                Op::Linear(_, matrix) => {
                    let matrix = &circuit.matrices[matrix.0 as usize];
                    let (babies, giants) = matrix.rotations();
                    total.rotations += (babies.len() + giants.len()) as u64;
                    total.plain_products += matrix.diagonals() as u64;
                }
            }
        }
        total.crossing += circuit.outputs.len() as u64;
        total.rotation_keys = keys.len() as u64;
        total
    }

    /// Whether this is no deeper than `other`, has no more rotations and no more products, and less of something: of one of
    /// these, or of relinearisations where these are equal.
    pub fn beats(&self, other: &Self) -> bool {
        let counts = |m: &Self| [u64::from(m.depth_bits), m.rotations, m.products];
        let (own, others) = (counts(self), counts(other));
        let never_more = own.iter().zip(others).all(|(a, b)| *a <= b);
        never_more && (own != others || self.relinearisations < other.relinearisations)
    }

    /// Whether this is shallower than `other` by a sixteenth, and has at most a twentieth more rotations and products together.
    pub fn shortens(&self, other: &Self) -> bool {
        let switched = |m: &Self| m.rotations + m.products;
        16 * self.depth_bits <= 15 * other.depth_bits && 20 * switched(self) <= 21 * switched(other)
    }
}
