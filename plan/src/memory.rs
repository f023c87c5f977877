//! The most memory that a plan takes at a time, part by part. Both parties run in one process here: keys, plaintexts and
//! matrices stay, ciphertexts come and go with the schedule, and what a message holds lies there twice while it is passed on.

use serde::Serialize;

use crate::cost::{Kind, RingCosts};
use crate::counts::{half_bytes, key_bytes};
use crate::schedule::Run;
use crate::{Bootstrap, KeyShape, Op, PlainPattern, Plan, Round, Target};

/// Most memory at a time, in bytes, by what holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// The process and the library's tables.
    pub base: u64,
    /// Evaluation keys, prepared for products.
    pub keys: u64,
    /// Plaintexts and matrices, prepared.
    pub plaintexts: u64,
    /// Scratch of the threads.
    pub scratch: u64,
    /// Ciphertexts and messages of an update at its peak.
    pub ciphertexts: u64,
    /// What the client has decrypted in an update.
    pub values: u64,
    /// What the making of keys took and the allocator keeps.
    pub making: u64,
}

impl Memory {
    /// The peak: their sum, since an update runs when all else is there.
    pub fn peak(&self) -> u64 {
        let Memory { base, keys, plaintexts, scratch, ciphertexts, values, making } = *self;
        base + keys + plaintexts + scratch + ciphertexts + values + making
    }

    /// The parts by name, largest first.
    pub fn parts(&self) -> Vec<(&'static str, u64)> {
        let Memory { base, keys, plaintexts, scratch, ciphertexts, values, making } = *self;
        let mut parts = vec![
            ("evaluation keys", keys),
            ("ciphertexts and messages", ciphertexts),
            ("values that the client decrypts", values),
            ("plaintexts and matrices", plaintexts),
            ("scratch of the threads and of bootstraps", scratch),
            ("the making of keys, kept by the allocator", making),
            ("process and library", base),
        ];
        parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        parts
    }
}

/// A plan takes more memory than it may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an update would take {} MiB of memory, more than the {} MiB allowed: {}", .need >> 20, .limit >> 20, .parts.join(", "))]
pub struct TooMuch {
    /// Predicted bytes.
    pub need: u64,
    /// Allowed bytes.
    pub limit: u64,
    /// What takes them, in words, largest first.
    pub parts: Vec<String>,
}

impl TooMuch {
    /// Its code.
    pub fn code(&self) -> &'static str {
        "HE0531"
    }
}

impl Memory {
    /// Checks the peak against a limit.
    ///
    /// # Errors
    /// HE0531, with what takes the memory.
    pub fn within(&self, limit: u64) -> Result<(), TooMuch> {
        let need = self.peak();
        if need <= limit {
            return Ok(());
        }
        let parts = self.parts().into_iter().map(|(name, bytes)| format!("{} MiB of {name}", bytes >> 20)).collect();
        Err(TooMuch { need, limit, parts })
    }
}

/// The process before it has seen a plan: code, stacks, what compiling leaves with the allocator, what the allocator maps
/// ahead, and what the heaps of its threads keep. Fitted to the examples on two threads (`cargo bench --bench predict`).
const PROCESS: u64 = 88 << 20;

/// Ciphertexts and values leave gaps with the allocator, one part in so many of their peak. Fitted likewise.
const GAPS: u64 = 8;

/// Follows the rounds of an update.
pub struct Model<'a> {
    plan: &'a Plan,
    memory: Memory,
    /// Ciphertexts held from earlier rounds, and until when each wire is needed.
    last_use: Vec<usize>,
    held: u64,
    resting: u64,
}

impl<'a> Model<'a> {
    /// Starts with what stays through all rounds.
    pub fn new(plan: &'a Plan, ring: &RingCosts, threads: usize) -> Self {
        let n = 1u64 << plan.ckks.log_n;
        let limbs = |bits: u32| bits.div_ceil(plan.ckks.base2k);
        let transformed = |limbs: u64| (limbs as f64 * n as f64 * ring.limb_bytes) as u64;
        let bootstrap: Vec<KeyShape> = plan.bootstrap.iter().flat_map(Bootstrap::key_shapes).map(|(shape, _)| shape).collect();
        let own = plan.keys.relinearisation.iter().chain(plan.keys.rotations.iter().map(|key| &key.shape));
        let shapes: Vec<&KeyShape> = own.chain(&bootstrap).collect();
        let prepared = |shape: &KeyShape| transformed(2 * u64::from(shape.dnum * limbs(shape.log_modulus())));
        // The message and the seeded key; then the whole key and its prepared form.
        let making = |shape: &KeyShape| 5 * key_bytes(plan, shape);
        let widest_making = shapes.iter().map(|shape| making(shape)).max().unwrap_or(0);
        let mut plaintexts = 0;
        for plain in &plan.plains {
            let period = match &plain.pattern {
                PlainPattern::Lane { .. } | PlainPattern::Public { .. } => plan.geometry.slots(),
                PlainPattern::Parts { .. } => plan.geometry.slots(),
                PlainPattern::Neurons { values } => values.len() * plan.geometry.lanes,
                PlainPattern::Lanes { values } => values.len(),
            };
            plaintexts += u64::from(limbs(plain.scale + 2)) * 16 * period as u64;
        }
        for matrix in &plan.matrices {
            plaintexts += transformed(matrix.diagonals() as u64 * u64::from(limbs(matrix.scale + 3)));
        }
        let scratch = scratch(plan, ring);
        let client = ring.scratch(Kind::Encrypt, limbs(plan.ckks.max_k), 0).max(0.0) as u64;
        let mut last_use: Vec<usize> = (0..plan.steps.len()).collect();
        for (index, step) in plan.steps.iter().enumerate() {
            step.op.operands().iter().for_each(|operand| last_use[operand.index()] = index);
        }
        for wire in
            plan.outputs.iter().map(|output| output.wire).chain(plan.rounds.iter().flat_map(|r| r.saves.iter().map(|(_, wire)| *wire)))
        {
            last_use[wire.index()] = usize::MAX;
        }
        // What the server carries from update to update, and what it carried before the last.
        let resting: u64 = plan.carried.iter().map(|carried| 4 * half_bytes(plan, carried.wire.k)).sum();
        let memory = Memory {
            base: PROCESS + ring.library_bytes,
            keys: shapes.iter().map(|shape| prepared(shape)).sum(),
            plaintexts,
            scratch: threads as u64 * (scratch + client) + bootstrap_bytes(plan),
            ciphertexts: 0,
            values: decrypted_bytes(plan),
            making: threads as u64 * widest_making,
        };
        Self { plan, memory, last_use, held: resting, resting }
    }

    /// A round under the schedule `run` of its steps.
    pub fn round(&mut self, round: &Round, run: &Run) {
        let plan = self.plan;
        let bytes = |index: usize| 2 * half_bytes(plan, plan.steps[index].wire.k);
        let (first, last) = (round.steps.0 as usize, round.steps.1 as usize);
        let sent: u64 = round.inputs.iter().map(|id| half_bytes(plan, plan.inputs[id.0 as usize].wire.k)).sum();
        // What the client sealed, its message, and the server's copy of it.
        let message = 2 * sent;
        let mut pending = sent;
        // Space is taken when a step starts and given back after the last user ended.
        let mut events: Vec<(f64, i64)> = Vec::new();
        let mut used_until: Vec<f64> = run.end.clone();
        for index in first..last {
            for operand in plan.steps[index].op.operands().into_iter().filter(|w| w.index() >= first) {
                let until = &mut used_until[operand.index() - first];
                *until = until.max(run.end[index - first]);
            }
        }
        for index in first..last {
            events.push((run.start[index - first], bytes(index) as i64));
            if matches!(plan.steps[index].op, Op::Input(_)) {
                let half = half_bytes(plan, plan.steps[index].wire.k);
                events.push((run.end[index - first], -(half.min(pending) as i64)));
                pending -= half.min(pending);
            }
            if (first..last).contains(&self.last_use[index]) {
                events.push((used_until[index - first], -(bytes(index) as i64)));
            }
        }
        events.sort_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        let mut now = self.held as i64 + message as i64 + sent as i64;
        let mut peak = now;
        for (_, change) in events {
            now += change;
            peak = peak.max(now);
        }
        let kept = (0..last).filter(|&index| self.last_use[index] >= last && self.last_use[index] != usize::MAX);
        self.held = self.resting + kept.map(bytes).sum::<u64>();
        self.memory.ciphertexts = self.memory.ciphertexts.max(peak.unsigned_abs());
    }

    /// The parts.
    pub fn finish(self) -> Memory {
        let with_gaps = |bytes: u64| bytes + bytes / GAPS;
        let Memory { ciphertexts, values, .. } = self.memory;
        Memory { ciphertexts: with_gaps(ciphertexts), values: with_gaps(values), ..self.memory }
    }
}

/// Polynomials at its widest that a bootstrap works with (matrices, powers, scratch), as one was measured to.
const BOOTSTRAP_POLYNOMIALS: u64 = 170;

/// What bootstraps work with besides their keys.
fn bootstrap_bytes(plan: &Plan) -> u64 {
    plan.bootstrap.as_ref().map_or(0, |b| BOOTSTRAP_POLYNOMIALS * u64::from(b.bootstrap_k.div_ceil(b.base2k)) * (8 << b.log_n))
}

/// What the client holds of the values that come back in the middle of an update until it is over: as they came, for its
/// program, and as nodes of that.
fn decrypted_bytes(plan: &Plan) -> u64 {
    let slots = (8 * plan.geometry.slots()) as u64;
    let back = |output: &&crate::Output| output.contents.iter().any(|content| matches!(content.tensor, Target::Value { .. }));
    3 * slots * plan.outputs.iter().filter(back).count() as u64
}

/// Scratch bytes of the most demanding step.
fn scratch(plan: &Plan, ring: &RingCosts) -> u64 {
    let limbs = |bits: u32| bits.div_ceil(plan.ckks.base2k);
    let keys = &plan.keys;
    let of = |kind, k, key: u32| ring.scratch(kind, limbs(k), key);
    let by_step = plan.steps.iter().map(|step| {
        let k = step.op.operands().iter().map(|w| plan.steps[w.index()].wire.k).max().unwrap_or(0).max(step.wire.k);
        match &step.op {
            Op::Input(_)
            | Op::Carried(_)
            | Op::Bootstrap(_)
            | Op::Add(..)
            | Op::Sub(..)
            | Op::AddConst(..)
            | Op::AddPlain(..)
            | Op::Halve { .. }
            | Op::Narrow(_) => 0.0,
            Op::MulConst { .. } => of(Kind::MulConst, k, 0),
            Op::MulPlain(..) => of(Kind::MulPlain, k, 0),
            Op::Dot(pairs) => {
                let key = keys.relinearisation.iter().map(|key| limbs(key.log_modulus())).max().unwrap_or(0);
                let more = pairs.len().saturating_sub(2) as f64 * ring.scratch(Kind::Pair, limbs(k), 0);
                if pairs.len() == 1 { of(Kind::Product, k, key) } else { of(Kind::Dot2, k, key) + more }
            }
            Op::Rotate { by, .. } => {
                let key = keys.rotations.iter().find(|key| key.by == *by);
                of(Kind::Rotate, k, key.map_or(0, |key| limbs(key.shape.log_modulus())))
            }
            Op::Linear(_, matrix) => {
                let key = keys.rotations.iter().map(|key| limbs(key.shape.log_modulus())).max().unwrap_or(0);
                let (babies, giants) = plan.matrices[matrix.0 as usize].rotations();
                of(Kind::LinearBase, k, key) + (babies.len() + giants.len()) as f64 * of(Kind::LinearBaby, k, 0)
            }
        }
    });
    // Copies of operands that are not normalised, as the executor provides for.
    let copies = 8.0 * half_bytes(plan, plan.ckks.max_k) as f64;
    (copies + by_step.fold(0.0, f64::max)) as u64
}
