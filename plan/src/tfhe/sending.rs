//! How results go back to the client: rounded to as few bits as their noise allows, and where the bytes of a key for it are soon
//! saved, packed into few ciphertexts of many values.
//!
//! A ciphertext of one value has a word for every bit of the secret, and all words but one are mask. Rounding to a modulus of
//! `2^log_modulus` keeps as many bits of each. A packing key takes such ciphertexts to a secret of its own, under which one mask
//! serves as many values as its ring has coefficients. Both add noise before the client decrypts, which the checker counts.

use serde::{Deserialize, Serialize};

use super::analysis::{self, Decision};
use super::check::source_variance;
use super::noise;
use super::parameters::{BIG, Decomposition, LARGEST_GADGET, PACKED_LOG_N, Packing, PackingId, Parameters, Ring, RingId};
use super::{Plan, Wire};
use crate::check::PlanError;

/// log2 of the modulus of a word: nothing is rounded.
pub const WORD: u32 = 64;
/// How often a plan that does not say so is run with one set of keys, for all that its packing key is weighed by.
const RUNS: u64 = 64;
/// What is left of the largest variance that a decryption can stand, for sums that are made in another order.
const SURE: f64 = 0.999;
/// Longest secrets and most digits that packing is tried with: there is no need for more.
const LONGEST: u32 = 4096;
const MOST_LEVELS: u32 = 8;

/// Vectors that go back to the client together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// Which outputs: their integers follow each other. All are under one key.
    pub outputs: Vec<u32>,
    /// log2 of the modulus that they are rounded to.
    pub log_modulus: u32,
    /// The key by which they are packed; each integer by itself where there is none.
    pub packing: Option<PackingId>,
}

/// How a ciphertext is sent, as far as its noise goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sending {
    /// The key that it is under.
    pub ring: RingId,
    /// The key by which it is packed.
    pub packing: Option<PackingId>,
    /// With how many.
    pub together: u32,
    /// log2 of the modulus.
    pub log_modulus: u32,
}

/// Ways to send the results under one key, as they were weighed: bytes of all runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weighed {
    /// Numbers.
    pub values: u64,
    /// Bytes of a run as ciphertexts are.
    pub whole: u64,
    /// Bytes of a run, each value rounded by itself.
    pub each: u64,
    /// Bytes of a packing key, and of a run with it, for the key that takes the fewest in all.
    pub packed: Option<(u64, u64)>,
    /// How many runs they were weighed for.
    pub runs: u64,
}

impl Weighed {
    /// Whether the packing key is worth its bytes.
    pub fn packs(&self) -> bool {
        self.packed.is_some_and(|(key, run)| key.saturating_add(self.runs.saturating_mul(run)) < self.runs.saturating_mul(self.each))
    }
}

impl Plan {
    /// The vectors of a parcel.
    pub fn parcel_wires(&self, parcel: &Parcel) -> Vec<Wire> {
        parcel.outputs.iter().map(|&output| self.steps[self.outputs[output as usize].wire.index()].wire).collect()
    }

    /// Bytes of a parcel.
    pub fn parcel_bytes(&self, parcel: &Parcel) -> u64 {
        let wires = self.parcel_wires(parcel);
        let ring = wires.first().map_or(RingId(0), |wire| wire.ring);
        let count = wires.iter().map(|wire| u64::from(wire.len)).sum();
        match parcel.packing.and_then(|id| self.parameters.packings.get(id.0 as usize)) {
            Some(packing) => packed_bytes(packing.to, count, parcel.log_modulus),
            None => count * rounded_bytes(u64::from(self.parameters.ring(ring).bits()) + 1, parcel.log_modulus),
        }
    }

    /// The parcel of each output, for those that have one.
    pub(super) fn sendings(&self) -> Vec<Option<Sending>> {
        let mut sendings = vec![None; self.outputs.len()];
        for parcel in &self.parcels {
            let wires = self.parcel_wires(parcel);
            let count = wires.iter().fold(0u32, |sum, wire| sum.saturating_add(wire.len));
            let ring = wires.first().map_or(RingId(0), |wire| wire.ring);
            let degree = parcel.packing.and_then(|id| Some(self.parameters.packings.get(id.0 as usize)?.to.degree()));
            let together = degree.map_or(1, |degree| count.min(degree));
            let sending = Sending { ring, packing: parcel.packing, together, log_modulus: parcel.log_modulus };
            parcel.outputs.iter().for_each(|&output| sendings[output as usize] = Some(sending));
        }
        sendings
    }
}

impl Parameters {
    /// The variance that sending adds to what the client decrypts.
    pub fn sent(&self, sending: Sending) -> f64 {
        let packing = sending.packing.and_then(|id| self.packings.get(id.0 as usize));
        match packing {
            Some(packing) => self.packed(packing, sending.together) + noise::rounding(f64::from(packing.to.bits()), sending.log_modulus),
            None => noise::rounding(f64::from(self.ring(sending.ring).bits()), sending.log_modulus),
        }
    }
}

/// Bytes of so many numbers of so many bits one after the other, in whole words.
pub fn rounded_bytes(numbers: u64, log_modulus: u32) -> u64 {
    8 * (numbers * u64::from(log_modulus)).div_ceil(64)
}

/// Bytes of so many values packed into ciphertexts of a ring.
fn packed_bytes(ring: Ring, count: u64, log_modulus: u32) -> u64 {
    let (mask, degree) = (u64::from(ring.bits()), u64::from(ring.degree()));
    let (full, rest) = (count / degree, count % degree);
    let last = if rest > 0 { rounded_bytes(mask + rest, log_modulus) } else { 0 };
    full * rounded_bytes(mask + degree, log_modulus) + last
}

/// What is wrong with the parcels of a plan whose steps and outputs are well formed.
pub(super) fn verify(plan: &Plan) -> Vec<PlanError> {
    let mut errors = Vec::new();
    let mut refuse = |index: usize, reason: &str| {
        errors.push(PlanError::Parameters(format!("parcel {index}: {reason}")));
    };
    let mut times = vec![0usize; plan.outputs.len()];
    for (index, parcel) in plan.parcels.iter().enumerate() {
        if parcel.outputs.iter().any(|&output| output as usize >= times.len()) || parcel.outputs.is_empty() {
            refuse(index, "it has no output, or one that there is not");
            continue;
        }
        parcel.outputs.iter().for_each(|&output| times[output as usize] += 1);
        let wires = plan.parcel_wires(parcel);
        if wires.iter().any(|wire| wire.ring != wires[0].ring) {
            refuse(index, "its vectors are under different keys");
        }
        if !(1..=WORD).contains(&parcel.log_modulus) {
            refuse(index, "a modulus has 1 to 64 bits");
        }
        if let Some(id) = parcel.packing
            && plan.parameters.packings.get(id.0 as usize).is_none_or(|packing| packing.from != wires[0].ring)
        {
            refuse(index, "there is no such packing key, or it is for another key");
        }
    }
    if let Some(output) = times.iter().position(|&times| times != 1) {
        let label = &plan.outputs[output].label;
        errors.push(PlanError::Parameters(format!("`{label}` is in no parcel, or in several: compile the program again")));
    }
    errors
}

/// An output, and the variance that may be added before it is decrypted.
struct Slack {
    output: u32,
    wire: Wire,
    room: f64,
}

/// Chooses how the results of a plan with parameters are sent, by the bytes of all its runs and of the keys.
pub fn choose(plan: &mut Plan) -> Vec<Weighed> {
    let runs = plan.training.as_ref().map_or(RUNS, |training| training.run.updates.max(1) as u64);
    let slacks = slacks(plan);
    let mut rings: Vec<RingId> = slacks.iter().map(|slack| slack.wire.ring).collect();
    rings.sort_unstable();
    rings.dedup();
    let mut all = Vec::new();
    for ring in rings {
        let of_ring: Vec<&Slack> = slacks.iter().filter(|slack| slack.wire.ring == ring).collect();
        let bits = plan.parameters.ring(ring).bits();
        let values: u64 = of_ring.iter().map(|slack| u64::from(slack.wire.len)).sum();
        let fits = |slack: &Slack| fewest_bits(|log_modulus| noise::rounding(f64::from(bits), log_modulus), slack.room);
        let alone: Vec<u32> = of_ring.iter().map(|slack| fits(slack).unwrap_or(WORD)).collect();
        let size = |(slack, &log_modulus): (&&Slack, &u32)| u64::from(slack.wire.len) * rounded_bytes(u64::from(bits) + 1, log_modulus);
        let each = of_ring.iter().zip(&alone).map(size).sum();
        let room = of_ring.iter().fold(f64::INFINITY, |least, slack| least.min(slack.room));
        let best = packing(&plan.parameters, ring, values, room, runs);
        let packed = best.as_ref().map(|best| (plan.parameters.packing_bytes(&best.packing).seeded, best.run));
        let weighed = Weighed { values, whole: values * plan.parameters.full_bytes(ring), each, packed, runs };
        all.push(weighed);
        match best.filter(|_| weighed.packs()) {
            Some(best) => {
                let id = PackingId(plan.parameters.packings.len() as u32);
                plan.parameters.packings.push(best.packing);
                let outputs = of_ring.iter().map(|slack| slack.output).collect();
                plan.parcels.push(Parcel { outputs, log_modulus: best.log_modulus, packing: Some(id) });
            }
            None => plan.parcels.extend(of_ring.iter().zip(alone).map(|(slack, log_modulus)| Parcel {
                outputs: vec![slack.output],
                log_modulus,
                packing: None,
            })),
        }
    }
    all
}

/// What every output can stand.
fn slacks(plan: &Plan) -> Vec<Slack> {
    let demands = analysis::by_step(plan);
    let of = |(output, wire): (u32, usize)| {
        let decrypted = demands[wire].iter().filter(|demand| demand.decision == Decision::Decrypt);
        let room = decrypted.map(|demand| {
            let variance: f64 = demand.noise().map(|(source, sum)| sum * source_variance(&plan.parameters, source)).sum();
            SURE * noise::largest_variance(libm::exp2(f64::from(demand.half_box)), plan.log2_failure) - variance
        });
        Slack { output, wire: plan.steps[wire].wire, room: room.fold(f64::INFINITY, f64::min) }
    };
    (0..).zip(plan.outputs.iter().map(|output| output.wire.index())).map(of).collect()
}

/// The shortest modulus whose noise is within `room`.
fn fewest_bits(noise: impl Fn(u32) -> f64, room: f64) -> Option<u32> {
    (1..WORD).find(|&log_modulus| noise(log_modulus) <= room)
}

/// A packing key, and what is sent with it.
struct Packed {
    packing: Packing,
    log_modulus: u32,
    /// Bytes of a run.
    run: u64,
}

/// The key with which the fewest bytes are sent in all, for so many values, all of which stand `room`.
fn packing(parameters: &Parameters, from: RingId, values: u64, room: f64, runs: u64) -> Option<Packed> {
    let mut best: Option<(u64, Packed)> = None;
    for log_n in PACKED_LOG_N {
        for dimension in BIG.start() >> log_n..=LONGEST >> log_n {
            let to = Ring { dimension, log_n };
            let together = values.min(u64::from(to.degree())) as u32;
            for levels in 1..=MOST_LEVELS {
                let quietest = (1..=LARGEST_GADGET / levels)
                    .map(|base_log| Packing { from, to, decomposition: Decomposition { base_log, levels } })
                    .map(|packing| (parameters.packed(&packing, together), packing))
                    .min_by(|a, b| a.0.total_cmp(&b.0));
                let Some((added, packing)) = quietest.filter(|(added, _)| *added < room) else { continue };
                let sent = |log_modulus| added + noise::rounding(f64::from(to.bits()), log_modulus);
                let Some(log_modulus) = fewest_bits(sent, room) else { continue };
                let run = packed_bytes(to, values, log_modulus);
                let all = parameters.packing_bytes(&packing).seeded.saturating_add(runs.saturating_mul(run));
                if best.as_ref().is_none_or(|(least, _)| all < *least) {
                    best = Some((all, Packed { packing, log_modulus, run }));
                }
            }
        }
    }
    best.map(|(_, packed)| packed)
}
