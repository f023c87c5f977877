//! The circuit under construction: steps without widths. Equal steps are made once.

use std::fmt::Write;
use std::hash::{Hash, Hasher};

use hashbrown::HashTable;
use hecc_plan::{ClearId, Content, InputId, Matrix, MatrixId, Op, Plain, PlainId, Span, Target, WireId};
use rustc_hash::FxHasher;

/// A step before its width is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What to do.
    pub op: Op,
    /// What asked for it.
    pub span: Span,
    /// Bits of budget spent since the freshest input.
    pub depth: u32,
    /// The exchange after which it can run.
    pub round: u32,
    /// Bits over the scale that its value takes, sign included, as far as [`super::magnitude`] looked; 0 where it did not.
    pub room: u32,
}

/// An input before its width is known.
#[derive(Clone, Debug, PartialEq)]
pub struct InputDraft {
    /// For people.
    pub label: String,
    /// What it holds.
    pub contents: Vec<Content<ClearId>>,
    /// The exchange that sends it.
    pub round: u32,
}

/// A ciphertext that the server keeps from update to update, before its width is known.
#[derive(Clone, Debug, PartialEq)]
pub struct CarriedDraft {
    /// For people.
    pub label: String,
    /// What it holds.
    pub contents: Vec<Content<Target>>,
    /// The step that makes its new value.
    pub wire: WireId,
}

/// An output before its width is known.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputDraft {
    /// For people.
    pub label: String,
    /// The step.
    pub wire: WireId,
    /// What it holds.
    pub contents: Vec<Content<Target>>,
    /// Bits of budget it must still have, so that its values do not wrap around.
    pub headroom: u32,
}

/// Where the argument of a polynomial stands, and the interval that it stays in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Argument {
    /// The step.
    pub wire: WireId,
    /// Which ciphertext of the batch it is.
    pub group: usize,
    /// Elements per sample; the other slots hold anything.
    pub dim: usize,
    /// The interval, of what the slots hold.
    pub interval: [f64; 2],
}

/// A circuit.
#[derive(Clone, Debug)]
pub struct Circuit {
    /// Scale of ciphertexts, in bits.
    pub scale: u32,
    /// Slots.
    pub slots: usize,
    /// Steps, operands first.
    pub nodes: Vec<Node>,
    /// Inputs.
    pub inputs: Vec<InputDraft>,
    /// Plaintext vectors.
    pub plains: Vec<Plain>,
    /// Plaintext matrices.
    pub matrices: Vec<Matrix>,
    /// Outputs.
    pub outputs: Vec<OutputDraft>,
    /// What the server carries, by [`hecc_plan::CarriedId`].
    pub carried: Vec<CarriedDraft>,
    /// What the server keeps after each update, by [`hecc_plan::CarriedId`].
    pub saves: Vec<Vec<WireId>>,
    /// Arguments of polynomials, for lanes of samples.
    pub arguments: Vec<Argument>,
    /// Exchanges of an update; 0 where all exchanges are of one update.
    pub rounds_per_update: u32,
    /// The exchange before which no step that is added now shall run.
    pub floor: u32,
    /// Steps, by [`hash`] of their operations.
    seen: HashTable<u32>,
}

impl Circuit {
    /// An empty circuit.
    pub fn new(scale: u32, slots: usize) -> Self {
        Self {
            scale,
            slots,
            nodes: Vec::new(),
            inputs: Vec::new(),
            plains: Vec::new(),
            matrices: Vec::new(),
            outputs: Vec::new(),
            carried: Vec::new(),
            saves: Vec::new(),
            arguments: Vec::new(),
            rounds_per_update: 0,
            floor: 0,
            seen: HashTable::new(),
        }
    }

    /// The same interface and constants without steps, inputs and arguments.
    pub fn emptied(&self) -> Self {
        Self {
            plains: self.plains.clone(),
            matrices: self.matrices.clone(),
            outputs: self.outputs.clone(),
            carried: self.carried.clone(),
            saves: self.saves.clone(),
            rounds_per_update: self.rounds_per_update,
            floor: self.floor,
            ..Self::new(self.scale, self.slots)
        }
    }

    /// A copy in which `step` adds what takes the place of each step, on the copies of its operands; `None` for steps that
    /// nothing uses any more.
    pub fn rebuilt(&self, mut step: impl FnMut(&mut Self, usize, &dyn Fn(WireId) -> WireId) -> Option<WireId>) -> Self {
        let mut new = self.emptied();
        let mut copies: Vec<Option<WireId>> = Vec::with_capacity(self.nodes.len());
        let of = |copies: &[Option<WireId>], w: WireId| copies[w.index()].expect("what a step uses is kept");
        for (index, node) in self.nodes.iter().enumerate() {
            new.floor = node.round;
            let copy = match &node.op {
                Op::Input(id) => {
                    let draft = &self.inputs[id.0 as usize];
                    Some(new.input(&draft.label, draft.contents.clone(), draft.round, node.span))
                }
                _ => step(&mut new, index, &|w| of(&copies, w)),
            };
            if let Some(copy) = copy {
                new.make_room(copy, node.room);
            }
            copies.push(copy);
        }
        let moved = |argument: &Argument| Some(Argument { wire: copies[argument.wire.index()]?, ..*argument });
        new.arguments = self.arguments.iter().filter_map(moved).collect();
        new.floor = self.floor;
        new.outputs.iter_mut().for_each(|output| output.wire = of(&copies, output.wire));
        new.carried.iter_mut().for_each(|carried| carried.wire = of(&copies, carried.wire));
        new.saves.iter_mut().flatten().for_each(|wire| *wire = of(&copies, *wire));
        new
    }

    /// The circuit as text.
    pub fn print(&self) -> String {
        let mut out = String::new();
        for (index, node) in self.nodes.iter().enumerate() {
            let _ = writeln!(out, "w{index} = {:?} depth={} round={}", node.op, node.depth, node.round);
        }
        for output in &self.outputs {
            let _ = writeln!(out, "output w{} \"{}\" headroom={}", output.wire.0, output.label, output.headroom);
        }
        out
    }

    /// Bits spent so far on the way to a wire.
    pub fn depth(&self, wire: WireId) -> u32 {
        self.nodes[wire.index()].depth
    }

    /// Adds a step, or finds the equal one.
    pub fn push(&mut self, op: Op, span: Span) -> WireId {
        let own_hash = hash(&op);
        if let Some(&wire) = self.seen.find(own_hash, |&wire| self.nodes[wire as usize].op == op) {
            return WireId(wire);
        }
        let operands = op.operands();
        let deepest = operands.iter().map(|&w| self.depth(w)).max().unwrap_or(0);
        let spent = super::budget::spent(self, &op);
        let own = match &op {
            Op::Input(id) => self.inputs[id.0 as usize].round,
            _ => 0,
        };
        let round = operands.iter().map(|w| self.nodes[w.index()].round).max().unwrap_or(0).max(own).max(self.floor);
        let wire = WireId(self.nodes.len() as u32);
        self.nodes.push(Node { op, span, depth: deepest + spent, round, room: 0 });
        self.seen.insert_unique(own_hash, wire.0, |&wire| hash(&self.nodes[wire as usize].op));
        wire
    }

    /// Says that the value of a step takes so many bits at least.
    pub fn make_room(&mut self, wire: WireId, bits: u32) {
        let room = &mut self.nodes[wire.index()].room;
        *room = (*room).max(bits);
    }

    /// A ciphertext of the client's.
    pub fn input(&mut self, label: &str, contents: Vec<Content<ClearId>>, round: u32, span: Span) -> WireId {
        let found = self.inputs.iter().position(|i| i.contents == contents && i.round == round);
        let id = found.unwrap_or_else(|| {
            self.inputs.push(InputDraft { label: label.to_owned(), contents, round });
            self.inputs.len() - 1
        });
        self.push(Op::Input(InputId(id as u32)), span)
    }

    /// A plaintext vector.
    pub fn plain(&mut self, plain: Plain) -> PlainId {
        let found = self.plains.iter().position(|p| *p == plain);
        PlainId(found.unwrap_or_else(|| {
            self.plains.push(plain);
            self.plains.len() - 1
        }) as u32)
    }

    /// A plaintext matrix.
    pub fn matrix(&mut self, matrix: Matrix) -> MatrixId {
        let found = self.matrices.iter().position(|m| *m == matrix);
        MatrixId(found.unwrap_or_else(|| {
            self.matrices.push(matrix);
            self.matrices.len() - 1
        }) as u32)
    }

    /// A rotation by any number of slots.
    pub fn rotate(&mut self, a: WireId, by: i64, span: Span) -> WireId {
        match by.rem_euclid(self.slots as i64) {
            0 => a,
            by => self.push(Op::Rotate { a, by }, span),
        }
    }

    /// Σ over `count` (a power of two) rotations by multiples of `stride` slots.
    pub fn rotate_and_sum(&mut self, mut a: WireId, stride: usize, count: usize, span: Span) -> WireId {
        let mut step = 1;
        while step < count {
            let rotated = self.rotate(a, (stride * step) as i64, span);
            a = self.push(Op::Add(a, rotated), span);
            step *= 2;
        }
        a
    }
}

/// The same for equal operations, and from run to run.
fn hash(op: &Op) -> u64 {
    let mut hasher = FxHasher::default();
    std::mem::discriminant(op).hash(&mut hasher);
    match op {
        Op::Input(id) => id.hash(&mut hasher),
        Op::Carried(id) => id.hash(&mut hasher),
        Op::Add(a, b) | Op::Sub(a, b) => (a, b).hash(&mut hasher),
        Op::AddConst(a, c) => (a, c.to_bits()).hash(&mut hasher),
        Op::AddPlain(a, plain) | Op::MulPlain(a, plain) => (a, plain).hash(&mut hasher),
        Op::MulConst { a, c, bits } => (a, c.to_bits(), bits).hash(&mut hasher),
        Op::Halve { a, bits } => (a, bits).hash(&mut hasher),
        Op::Dot(pairs) => pairs.hash(&mut hasher),
        Op::Rotate { a, by } => (a, by).hash(&mut hasher),
        Op::Linear(a, matrix) => (a, matrix).hash(&mut hasher),
        Op::Narrow(a) | Op::Bootstrap(a) => a.hash(&mut hasher),
    }
    hasher.finish()
}
