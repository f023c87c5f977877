//! What a plan costs, counted over the same steps.

use serde::{Deserialize, Serialize};

use crate::{Bootstrap, KeyShape, Machine, Op, Plan, Step, Wires, drive};

/// Counts of one update; where a plan makes several, their mean (of bytes: rounded up). Bytes are those of ciphertext and key data as they cross: a fresh ciphertext or key is sent
/// with the seed of its uniform half instead of the half itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Counts {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// Security level.
    pub security_bits: u32,
    /// Bits of budget between the freshest input and the most spent output.
    pub depth_bits: u32,
    /// Products of two ciphertexts.
    pub multiplications: f64,
    /// Products of a ciphertext and a plaintext vector (each diagonal of a matrix counts), and with constants.
    pub plaintext_multiplications: f64,
    /// Rotations.
    pub rotations: f64,
    /// Relinearisations.
    pub relinearisations: f64,
    /// Bootstraps of the server.
    pub bootstraps_per_update: f64,
    /// Ciphertexts of carried state or intermediate values that the key owner decrypts and re-encrypts.
    pub refreshes_per_update: f64,
    /// Rotation keys.
    pub rotation_keys: u64,
    /// Bytes of all evaluation keys.
    pub key_bytes: u64,
    /// Ciphertext bytes, client to server.
    pub bytes_to_server_per_update: u64,
    /// Ciphertext bytes, server to client.
    pub bytes_to_client_per_update: u64,
}

/// Counts `plan`.
pub fn counts(plan: &Plan) -> Counts {
    let mut total = Counts { log_n: plan.ckks.log_n, security_bits: plan.ckks.security_bits, ..Counts::default() };
    let counter = Counter { plan, total: std::sync::Mutex::new(Counts::default()) };
    match drive(&counter, plan, (0, plan.steps.len() as u32), &Wires::new(plan), 1) {
        Ok(()) => {}
        Err(never) => match never {},
    }
    let seen = counter.total.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let bytes_per_update = |total: u64| total.div_ceil(u64::from(plan.updates()));
    let per_update = |total: f64| total / f64::from(plan.updates());
    total.multiplications = per_update(seen.multiplications);
    total.plaintext_multiplications = per_update(seen.plaintext_multiplications);
    total.rotations = per_update(seen.rotations);
    total.relinearisations = per_update(seen.relinearisations);
    total.bootstraps_per_update = per_update(seen.bootstraps_per_update);
    total.rotation_keys = plan.keys.rotations.len() as u64;
    let shapes = plan.keys.relinearisation.iter().chain(plan.keys.rotations.iter().map(|r| &r.shape));
    total.key_bytes = shapes.map(|shape| key_bytes(plan, shape)).sum::<u64>() + bootstrap_key_bytes(plan);
    total.bytes_to_server_per_update = bytes_per_update(plan.inputs.iter().map(|i| half_bytes(plan, i.wire.k)).sum());
    let brought = plan.outputs.iter().map(|o| 2 * half_bytes(plan, plan.steps[o.wire.index()].wire.k));
    total.bytes_to_client_per_update = bytes_per_update(brought.sum());
    total.refreshes_per_update = per_update(plan.outputs.len() as f64);
    if plan.training.is_none() {
        total.refreshes_per_update =
            plan.outputs.iter().filter(|o| o.contents.iter().any(|c| matches!(c.tensor, crate::Target::Value { .. }))).count() as f64;
    }
    let freshest = plan.inputs.iter().map(|i| i.wire.budget()).max().unwrap_or(0);
    let spent = plan.outputs.iter().map(|o| plan.steps[o.wire.index()].wire.budget()).min().unwrap_or(0);
    total.depth_bits = freshest.saturating_sub(spent);
    total
}

/// Bytes of one polynomial of a ciphertext of `k` bits: what a seeded ciphertext needs.
pub fn half_bytes(plan: &Plan, k: u32) -> u64 {
    (u64::from(k.div_ceil(plan.ckks.base2k)) * 8) << plan.ckks.log_n
}

/// Bytes of a seeded key.
pub fn key_bytes(plan: &Plan, shape: &KeyShape) -> u64 {
    u64::from(shape.dnum) * half_bytes(plan, shape.log_modulus())
}

/// Bytes of the bootstrap's seeded keys.
fn bootstrap_key_bytes(plan: &Plan) -> u64 {
    let shapes = plan.bootstrap.iter().flat_map(Bootstrap::key_shapes);
    shapes.map(|(shape, offset)| u64::from(shape.dnum) * half_bytes(plan, offset + shape.log_modulus())).sum()
}

struct Counter<'a> {
    plan: &'a Plan,
    total: std::sync::Mutex<Counts>,
}

impl Machine for Counter<'_> {
    type Wire = ();
    type Error = std::convert::Infallible;

    fn step(&self, _index: usize, step: &Step, _operands: &[&()]) -> Result<(), Self::Error> {
        let mut total = self.total.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match &step.op {
            Op::Input(_)
            | Op::Carried(_)
            | Op::Add(..)
            | Op::Sub(..)
            | Op::AddConst(..)
            | Op::AddPlain(..)
            | Op::Halve { .. }
            | Op::Narrow(_) => {}
            Op::Bootstrap(_) => total.bootstraps_per_update += 1.0,
            Op::MulConst { .. } | Op::MulPlain(..) => total.plaintext_multiplications += 1.0,
            Op::Dot(pairs) => {
                total.multiplications += pairs.len() as f64;
                total.relinearisations += 1.0;
            }
            Op::Rotate { .. } => total.rotations += 1.0,
            Op::Linear(_, matrix) => {
                let matrix = &self.plan.matrices[matrix.0 as usize];
                let (babies, giants) = matrix.rotations();
                total.rotations += (babies.len() + giants.len()) as f64;
                total.plaintext_multiplications += matrix.diagonals() as f64;
            }
        }
        Ok(())
    }
}
