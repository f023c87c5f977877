//! The steps of a CKKS plan. Budgets and scales are counted in bits: a wire of width `k` holds a message at scale
//! `2^scale` under a modulus `2^k`; what is left for products is `k - scale`.

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{CarriedId, InputId, MatrixId, PlainId, Span};

/// Index of a step and of the ciphertext it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct WireId(pub u32);

impl WireId {
    /// As an index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What is known of a ciphertext.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wire {
    /// log2 of the scale, the precision that a product keeps and spends.
    pub scale: u32,
    /// log2 of the modulus.
    pub k: u32,
}

impl Wire {
    /// Bits left for products.
    pub fn budget(self) -> u32 {
        self.k - self.scale
    }
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What to do.
    pub op: Op,
    /// The ciphertext made.
    pub wire: Wire,
    /// The source that asked for it.
    pub span: Span,
}

/// An operation on ciphertexts. Wires are earlier steps of the same plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// A ciphertext of the client's.
    Input(InputId),
    /// a + b.
    Add(WireId, WireId),
    /// a − b.
    Sub(WireId, WireId),
    /// a + c in every slot.
    AddConst(WireId, f64),
    /// a + p, slot by slot.
    AddPlain(WireId, PlainId),
    /// c a; spends `bits`.
    MulConst {
        /// The operand.
        a: WireId,
        /// The constant.
        c: f64,
        /// Scale of the encoded constant.
        bits: u32,
    },
    /// a p, slot by slot; spends the plaintext's scale.
    MulPlain(WireId, PlainId),
    /// a / 2^bits: a relabelling that costs nothing but `bits` of budget.
    Halve {
        /// The operand.
        a: WireId,
        /// How often.
        bits: u32,
    },
    /// Σ a b over the pairs, with one relinearisation; spends the scale.
    Dot(Vec<(WireId, WireId)>),
    /// Slots shifted: `out[j] = a[j + by]`, cyclically.
    Rotate {
        /// The operand.
        a: WireId,
        /// Slots.
        by: i64,
    },
    /// A plaintext matrix along the neuron axis, by diagonals in baby and giant steps; spends the matrix's scale.
    Linear(WireId, MatrixId),
    /// The same value at a narrower modulus, so that what follows costs less.
    Narrow(WireId),
    /// A carried ciphertext, as the server saved it last.
    Carried(CarriedId),
    /// The same value at the width that the plan's bootstrap gives; the operand has at least the width that it takes.
    Bootstrap(WireId),
}

impl Op {
    /// Its name, as plans print it.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Input(_) => "input",
            Op::Add(..) => "add",
            Op::Sub(..) => "sub",
            Op::AddConst(..) => "add_const",
            Op::AddPlain(..) => "add_plain",
            Op::MulConst { .. } => "mul_const",
            Op::MulPlain(..) => "mul_plain",
            Op::Halve { .. } => "halve",
            Op::Dot(_) => "dot",
            Op::Rotate { .. } => "rotate",
            Op::Linear(..) => "linear",
            Op::Narrow(_) => "narrow",
            Op::Carried(_) => "carried",
            Op::Bootstrap(_) => "bootstrap",
        }
    }

    /// The operands, in order.
    pub fn operands(&self) -> SmallVec<[WireId; 2]> {
        let mut operands = SmallVec::new();
        self.visit_operands(|wire| operands.push(wire));
        operands
    }

    /// [`Self::operands`], one by one.
    pub fn visit_operands(&self, mut visit: impl FnMut(WireId)) {
        match self {
            Op::Input(_) | Op::Carried(_) => {}
            Op::Add(a, b) | Op::Sub(a, b) => [*a, *b].into_iter().for_each(visit),
            Op::AddConst(a, _)
            | Op::AddPlain(a, _)
            | Op::MulConst { a, .. }
            | Op::MulPlain(a, _)
            | Op::Halve { a, .. }
            | Op::Rotate { a, .. }
            | Op::Linear(a, _)
            | Op::Narrow(a)
            | Op::Bootstrap(a) => visit(*a),
            Op::Dot(pairs) => pairs.iter().flat_map(|&(a, b)| [a, b]).for_each(visit),
        }
    }

    /// The same operation on other operands.
    #[must_use]
    pub fn map_operands(&self, mut f: impl FnMut(WireId) -> WireId) -> Op {
        match self {
            Op::Input(_) | Op::Carried(_) => self.clone(),
            Op::Add(a, b) => Op::Add(f(*a), f(*b)),
            Op::Sub(a, b) => Op::Sub(f(*a), f(*b)),
            Op::AddConst(a, c) => Op::AddConst(f(*a), *c),
            Op::AddPlain(a, p) => Op::AddPlain(f(*a), *p),
            Op::MulConst { a, c, bits } => Op::MulConst { a: f(*a), c: *c, bits: *bits },
            Op::MulPlain(a, p) => Op::MulPlain(f(*a), *p),
            Op::Halve { a, bits } => Op::Halve { a: f(*a), bits: *bits },
            Op::Dot(pairs) => Op::Dot(pairs.iter().map(|&(a, b)| (f(a), f(b))).collect()),
            Op::Rotate { a, by } => Op::Rotate { a: f(*a), by: *by },
            Op::Linear(a, m) => Op::Linear(f(*a), *m),
            Op::Narrow(a) => Op::Narrow(f(*a)),
            Op::Bootstrap(a) => Op::Bootstrap(f(*a)),
        }
    }
}
