//! The steps of a TFHE plan. A wire is a vector of small signed integers, one LWE ciphertext each: the integer v stands at
//! v 2^-(bits + 1) of the torus.

use serde::{Deserialize, Serialize};

use super::parameters::{LookupId, RingId, SwitchId};
use crate::{CarriedId, InputId, Span};

/// Index of a step and of the vector that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WireId(pub u32);

/// Index of a [`Table`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableId(pub u32);

impl WireId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wire {
    /// How many integers.
    pub len: u32,
    /// The key that they are encrypted under.
    pub ring: RingId,
    /// -log2 of the torus step, less 1: a table reads integers of `bits` bits, and beside them there is room for one more.
    pub bits: u32,
    /// The smallest integer that can occur.
    pub low: i64,
    /// The largest.
    pub high: i64,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    pub op: Op,
    /// What it makes.
    pub wire: Wire,
    /// The source that asked for it.
    pub span: Span,
}

/// One integer of an [`Op::Affine`]: Σ coefficient × operand's element, + constant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// (which operand, which element, coefficient).
    pub terms: Vec<(u32, u32, i64)>,
    /// The constant.
    pub constant: i64,
}

impl Row {
    /// What all coefficients have in common, with the sign of the first.
    pub fn factor(&self) -> i64 {
        let common = self.terms.iter().fold(0i64, |a, &(_, _, c)| gcd(a, c.saturating_abs())).max(1);
        if self.terms.first().is_some_and(|&(_, _, c)| c < 0) { -common } else { common }
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// An operation on vectors. Wires are earlier steps of the same plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// Ciphertexts of the client's.
    Input(InputId),
    /// What the server keeps from the last update, or the client's where there was none.
    Carried(CarriedId),
    /// Linear combinations with integer coefficients; no bootstrap. An operand has at least the `bits` of what is made, or its
    /// coefficients are multiples of as many powers of two as are missing.
    Affine {
        /// What is combined.
        operands: Vec<WireId>,
        /// A row per integer made.
        rows: Vec<Row>,
    },
    /// A function of each integer, by one programmable bootstrap.
    Table {
        /// The argument: integers of `bits` bits.
        a: WireId,
        /// One table for all, or one for each integer.
        tables: Vec<TableId>,
        /// How to bootstrap.
        lookup: LookupId,
    },
    /// floor(v / 2^drop): the lowest bits are bootstrapped away, one after the other.
    Floor {
        /// The argument: integers of `bits` bits.
        a: WireId,
        /// How many bits.
        drop: u32,
        /// How to bootstrap.
        lookup: LookupId,
    },
    /// v − 2^drop floor(v / 2^drop): what a floor has dropped, from 0 to 2^drop − 1. No bootstrap.
    Rest {
        /// v, and its floor.
        operands: [WireId; 2],
    },
    /// `no` where v < 0, `yes` where v >= 0, by one bootstrap; integers of `bits + 1` bits, without room beside them.
    Sign {
        /// The argument.
        a: WireId,
        /// What is made of negative integers.
        no: i64,
        /// What is made of the others.
        yes: i64,
        /// How to bootstrap.
        lookup: LookupId,
    },
    /// The same integers under another key.
    Switch {
        /// The argument.
        a: WireId,
        /// How to switch.
        switch: SwitchId,
    },
}

impl Op {
    /// Its name, as plans print it.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input(_) => "input",
            Op::Carried(_) => "carried",
            Op::Affine { .. } => "affine",
            Op::Table { .. } => "table",
            Op::Floor { .. } => "floor",
            Op::Rest { .. } => "rest",
            Op::Sign { .. } => "sign",
            Op::Switch { .. } => "switch",
        }
    }

    /// The operands, in order.
    pub fn operands(&self) -> &[WireId] {
        match self {
            Op::Input(_) | Op::Carried(_) => &[],
            Op::Affine { operands, .. } => operands,
            Op::Rest { operands } => operands,
            Op::Table { a, .. } | Op::Floor { a, .. } | Op::Sign { a, .. } | Op::Switch { a, .. } => std::slice::from_ref(a),
        }
    }

    /// Programmable bootstraps of each integer that it makes, and how.
    pub fn lookups(&self) -> Option<(LookupId, u32)> {
        match self {
            Op::Input(_) | Op::Carried(_) | Op::Affine { .. } | Op::Switch { .. } | Op::Rest { .. } => None,
            Op::Table { lookup, .. } | Op::Sign { lookup, .. } => Some((*lookup, 1)),
            Op::Floor { lookup, drop, .. } => Some((*lookup, *drop)),
        }
    }
}

/// Values of a function of a signed integer of `p` bits: entry i is that of i − 2^(p−1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Table {
    /// 2^p values.
    pub values: Vec<i64>,
}

impl Table {
    /// Tabulates a function of integers of `bits` bits.
    pub fn of(bits: u32, f: impl FnMut(i64) -> i64) -> Self {
        let half = 1i64 << (bits - 1);
        Self { values: (-half..half).map(f).collect() }
    }

    /// The value at an integer; the ends beyond them.
    pub fn at(&self, v: i64) -> i64 {
        let half = self.values.len() as i64 / 2;
        let index = (v + half).clamp(0, self.values.len() as i64 - 1);
        self.values[index as usize]
    }
}
