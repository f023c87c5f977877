//! How precise a plan's results are: the clear-text oracle with the noise that CKKS adds, step by step.
//!
//! Noise of fresh ciphertexts, of encodings and of rounding is drawn for every slot from a seed, and goes through the steps
//! with the values: what products amplify, what sums of like noise add up to, and what the client's own rounds make of it
//! is not estimated but computed. Standard deviations are those of Cheon et al., "Homomorphic Encryption for Arithmetic of
//! Approximate Numbers" (ASIACRYPT 2017), sections 3.4 and 4, for a ternary secret of density 2/3 and a modulus of bits.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::Serialize;

use crate::clear::{ClearError, Sources};
use crate::init::{normal, uniform};
use crate::oracle::{self, MissingPublic, Oracle, Slots};
use crate::{ActionSpec, Carried, ClearId, ClearOp, Machine, Op, Plan, Step, Target, Tensor, Tensors, UPDATE, Wires, drive};

/// Standard deviation of the error of a fresh ciphertext, per coefficient.
const FRESH: f64 = 3.2;
/// Deviations that the largest error of a whole ciphertext of slots is away from zero.
const PROMISED: f64 = 4.5;
/// Draws of the noise whose largest error counts: a single draw of one number may be small by chance.
const DRAWS: u64 = 8;
/// Deviations that count at least: the largest of few draws of few numbers may be small by chance.
const FEW: f64 = 2.5;
/// Slots of all steps beyond which fewer draws must do.
const MANY: usize = 1 << 27;
/// So many.
const FEW_DRAWS: u64 = 3;

/// Predicted precision of a state or result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Precision {
    /// Which.
    pub name: String,
    /// Largest error of an element after one update.
    pub error: f64,
    /// Range of the array: its largest element, at least 1.
    pub range: f64,
}

impl Precision {
    /// Bits between range and error.
    pub fn bits(&self) -> f64 {
        libm::log2(self.range / self.error.max(1e-18))
    }
}

/// The least precise of an update, in bits; `None` without results.
pub fn worst(all: &[Precision]) -> Option<&Precision> {
    all.iter().min_by(|a, b| a.bits().total_cmp(&b.bits()))
}

/// Why precision cannot be predicted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NoiseError {
    /// The sample data does not fit the plan.
    #[error(transparent)]
    Clear(#[from] ClearError),
    /// A public array is missing.
    #[error(transparent)]
    Public(#[from] MissingPublic),
}

/// Arrays to predict with.
#[derive(Clone, Debug, Default)]
pub struct Data {
    /// A batch.
    pub batch: Tensors,
    /// Carried states.
    pub states: Tensors,
    /// Public arrays.
    pub public: Tensors,
}

impl Data {
    /// A batch from the declared ranges, the initial states, and public weights of usual size; the same for the same seed.
    pub fn sample(plan: &Plan, seed: u64) -> Self {
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        let rows = plan.geometry.batch;
        let mut batch = Tensors::new();
        let env = plan.training.as_ref().map(|t| &t.env);
        let normalised = |id: ClearId| {
            plan.client.nodes.iter().find_map(|node| match &node.op {
                ClearOp::Normalise { x, ranges } if *x == id => Some(ranges.clone()),
                _ => None,
            })
        };
        // What enters features alone is not normalised.
        let declared = |name: &str| {
            let env = env?;
            let observed = |name: &str| env.observations.iter().find(|o| o.name == name).map(|o| o.ranges.clone());
            match &env.action {
                (action, ActionSpec::Continuous(ranges)) if action == name => Some(ranges.clone()),
                _ => observed(name.strip_suffix("_next").unwrap_or(name)).or_else(|| observed(name)),
            }
        };
        for (index, node) in plan.client.nodes.iter().enumerate() {
            let ClearOp::Batch { name, dim } = &node.op else { continue };
            let discrete = env.is_some_and(|env| env.action.0 == *name && !matches!(env.action.1, ActionSpec::Continuous(_)));
            // One of several where the environment does not say: only one-hot arrays are longer than one and have no range.
            let ranges = normalised(ClearId(index as u32)).or_else(|| declared(name));
            let mut data = vec![0.0; rows * dim];
            for row in data.chunks_mut((*dim).max(1)) {
                if name == "done" {
                    row.fill(f64::from(u8::from(uniform(&mut rng) < 0.1)));
                } else if discrete && *dim > 1 {
                    row[(uniform(&mut rng) * *dim as f64) as usize % dim] = 1.0;
                } else {
                    for (i, value) in row.iter_mut().enumerate() {
                        let reward = env.filter(|env| env.reward.0 == *name).map(|env| env.reward.1);
                        let [low, high] = ranges.as_ref().and_then(|r| r.get(i).copied()).or(reward).unwrap_or([-1.0, 1.0]);
                        *value = low + (high - low) * uniform(&mut rng);
                    }
                }
            }
            if name == UPDATE {
                data.fill(0.0);
            }
            batch.entry(name.clone()).or_insert_with(|| Tensor::new(vec![rows, *dim], data));
        }
        let mut public = Tensors::new();
        for (name, shape) in &plan.public {
            let size = libm::sqrt(1.0 / shape.get(1).copied().unwrap_or(16) as f64);
            let data = (0..shape.iter().product()).map(|_| size * normal(&mut rng)).collect();
            public.insert(name.clone(), Tensor::new(shape.clone(), data));
        }
        Self { batch, states: crate::init::initial(plan), public }
    }
}

/// Standard deviation of what an update adds to a slot that is bootstrapped: by the bootstrap and by the few roundings of
/// products, masks and rotations that put a new state in its place.
pub fn bootstrapped(offer: &crate::Bootstrap) -> f64 {
    let refreshed = libm::exp2(-f64::from(offer.precision)) / PROMISED;
    let rounding = rounding(offer.log_n, offer.scale);
    libm::sqrt(refreshed * refreshed + PLACING * rounding * rounding)
}

/// Roundings of placing a state.
const PLACING: f64 = 8.0;

/// Both halves of a ciphertext are rounded twice (the product or the key switch, then the result). Of a coefficient's error, a
/// slot's real part sees √(N/2) times as much.
fn rounding(log_n: u32, scale: u32) -> f64 {
    let n = libm::exp2(f64::from(log_n));
    libm::exp2(-f64::from(scale)) * libm::sqrt(2.0 * (1.0 + 2.0 * n / 3.0) / 12.0 * n / 2.0)
}

/// Predicts the errors of one update on `data`, by name of state or result. `threads` run the steps.
///
/// # Errors
/// [`NoiseError`] if `data` does not fit the plan.
pub fn precision(plan: &Plan, data: &Data, threads: usize) -> Result<Vec<Precision>, NoiseError> {
    let exact = update(plan, data, Carrier::Exact, threads)?;
    let mut found: BTreeMap<String, Apart> = BTreeMap::new();
    let draws = if plan.steps.len() * plan.geometry.slots() > MANY { FEW_DRAWS } else { DRAWS };
    for draw in 0..draws {
        for (name, noisy) in update(plan, data, Carrier::Noisy(draw), threads)? {
            let clear = &exact[&name];
            found.entry(name).or_default().see(&noisy, clear);
        }
    }
    let range = |name: &str| exact[name].data.iter().fold(1.0f64, |m, v| m.max(v.abs()));
    Ok(found.into_iter().map(|(name, apart)| Precision { error: apart.error(), range: range(&name), name }).collect())
}

/// Predicts the largest errors of elements of the client's `nodes` after one update on `data`, which are 0 where the update
/// does not compute them. `threads` run the steps.
///
/// # Errors
/// [`NoiseError`] if `data` does not fit the plan.
pub fn errors(plan: &Plan, data: &Data, nodes: &[ClearId], threads: usize) -> Result<Vec<f64>, NoiseError> {
    let exact = ran(plan, data, Carrier::Exact, threads)?.0;
    let mut found = vec![Apart::default(); nodes.len()];
    for draw in 0..FEW_DRAWS {
        let noisy = ran(plan, data, Carrier::Noisy(draw), threads)?.0;
        for (apart, node) in found.iter_mut().zip(nodes) {
            if let (Some(noisy), Some(exact)) = (noisy.get(node), exact.get(node)) {
                apart.see(noisy, exact);
            }
        }
    }
    Ok(found.iter().map(Apart::error).collect())
}

/// How far an array is from the exact one, over draws of the noise.
#[derive(Clone, Copy, Debug, Default)]
struct Apart {
    largest: f64,
    squares: f64,
    count: usize,
}

impl Apart {
    fn see(&mut self, noisy: &Tensor, exact: &Tensor) {
        for (a, b) in noisy.data.iter().zip(&exact.data) {
            self.largest = self.largest.max((a - b).abs());
            self.squares += (a - b) * (a - b);
        }
        self.count += noisy.data.len();
    }

    /// The largest error, or what few draws of few numbers may have missed.
    fn error(&self) -> f64 {
        self.largest.max(FEW * libm::sqrt(self.squares / self.count.max(1) as f64))
    }
}

/// Runs one update on `data` in the clear and without noise, and shows `look` the slots of every step, by its number, which it
/// may change before others use them. Gives the new states and the results.
///
/// # Errors
/// [`NoiseError`] if `data` does not fit the plan.
pub fn observed(plan: &Plan, data: &Data, threads: usize, look: &(dyn Fn(usize, &mut Slots) + Sync)) -> Result<Tensors, NoiseError> {
    update(plan, data, Carrier::Observed(look), threads)
}

/// What carries the values of an update.
#[derive(Clone, Copy)]
enum Carrier<'a> {
    Exact,
    /// With the noise of that draw.
    Noisy(u64),
    Observed(&'a (dyn Fn(usize, &mut Slots) + Sync)),
}

/// The oracle, watched.
struct Observed<'a> {
    oracle: Oracle<'a>,
    look: &'a (dyn Fn(usize, &mut Slots) + Sync),
}

impl Machine for Observed<'_> {
    type Wire = Slots;
    type Error = std::convert::Infallible;

    fn step(&self, index: usize, step: &Step, operands: &[&Slots]) -> Result<Slots, Self::Error> {
        let mut slots = self.oracle.step(index, step, operands)?;
        (self.look)(index, &mut slots);
        Ok(slots)
    }
}

/// One update: the new states and the results.
fn update(plan: &Plan, data: &Data, carrier: Carrier<'_>, threads: usize) -> Result<Tensors, NoiseError> {
    Ok(ran(plan, data, carrier, threads)?.1)
}

/// One update: what the client computed, and the new states and the results.
fn ran(plan: &Plan, data: &Data, carrier: Carrier<'_>, threads: usize) -> Result<(BTreeMap<ClearId, Tensor>, Tensors), NoiseError> {
    let (mut known, mut decrypted) = (BTreeMap::new(), BTreeMap::new());
    let mut values: BTreeMap<Target, Tensor> = BTreeMap::new();
    let mut inputs: BTreeMap<u32, Slots> = BTreeMap::new();
    let wires = Wires::new(plan);
    let mut carried: Vec<Arc<Slots>> = plan.carried.iter().map(|carried| Arc::new(resting(plan, carried, &data.states))).collect();
    // A period of several updates errs more: by what its data makes of it, which an update's promise is not about.
    for round in &plan.rounds[plan.rounds_of(0)] {
        let contents = |id: &crate::InputId| &plan.inputs[id.0 as usize].contents;
        let wanted: Vec<ClearId> = round.inputs.iter().flat_map(|id| contents(id).iter().map(|c| c.tensor)).collect();
        plan.client.eval(&wanted, Sources { batch: &data.batch, states: &data.states, decrypted: &decrypted }, &mut known)?;
        for id in &round.inputs {
            inputs.insert(id.0, oracle::pack(plan, contents(id), |tensor| &known[tensor]));
        }
        let oracle = Oracle::new(plan, &inputs, &data.public)?.with_carried(&carried, u64::from(round.update));
        let ran = match carrier {
            Carrier::Noisy(seed) => {
                drive(&Noisy::new(plan, oracle, &data.public, u64::from(round.update), seed), plan, round.steps, &wires, threads)
            }
            Carrier::Exact => drive(&oracle, plan, round.steps, &wires, threads),
            Carrier::Observed(look) => drive(&Observed { oracle, look }, plan, round.steps, &wires, threads),
        };
        match ran {
            Ok(()) => {}
            Err(never) => match never {},
        }
        let held = |wire: crate::WireId| wires.get(wire.index()).expect("what leaves the plan is held until it is released");
        let saved: Vec<_> = round.saves.iter().map(|(id, wire)| (id.0 as usize, held(*wire))).collect();
        saved.into_iter().for_each(|(index, slots)| carried[index] = slots);
        for id in &round.outputs {
            let output = &plan.outputs[id.0 as usize];
            oracle::unpack(plan, &output.contents, &held(output.wire), &mut values);
        }
        for (target, value) in &values {
            if let Target::Value { id, .. } = target {
                decrypted.insert(*id, value.clone());
            }
        }
    }
    for (carried, slots) in plan.carried.iter().zip(&carried) {
        oracle::unpack(plan, &carried.contents, slots, &mut values);
    }
    let mut named = Tensors::new();
    let settled: Vec<ClearId> = plan.settled.iter().map(|(_, node)| *node).collect();
    plan.client.eval(&settled, Sources { batch: &data.batch, states: &data.states, decrypted: &decrypted }, &mut known)?;
    named.extend(plan.settled.iter().map(|(name, node)| (name.clone(), known[node].clone())));
    for (target, mut value) in values {
        match target {
            Target::State(name) | Target::Result { name, .. } => drop(named.insert(name, value)),
            Target::Rated { name, by } => {
                let rate = known.get(&by).and_then(|rate| rate.data.first()).copied().unwrap_or(1.0);
                value.data.iter_mut().for_each(|v| *v *= rate);
                named.insert(name, value);
            }
            Target::Value { .. } => {}
        }
    }
    Ok((known, named))
}

/// A carried ciphertext's slots as a run starts them.
fn resting(plan: &Plan, carried: &Carried, states: &Tensors) -> Slots {
    let mut slots = vec![0.0; plan.geometry.slots()];
    for content in &carried.contents {
        if let Target::State(name) | Target::Rated { name, .. } = &content.tensor
            && let Some(value) = states.get(name)
        {
            content.layout.pack(&plan.geometry, value, 1.0 / content.factor, &mut slots);
        }
    }
    slots
}

/// The oracle, with the noise that CKKS adds to every step, drawn from a seed: the same for the same seed, whatever the threads.
pub struct Noisy<'a> {
    plan: &'a Plan,
    oracle: Oracle<'a>,
    public: &'a Tensors,
    seed: u64,
    update: u64,
}

impl<'a> Noisy<'a> {
    /// Adds noise to what `oracle` computes of `plan` with these public arrays. `update`: the number of the update, on which
    /// plain arrays may depend; `seed`: of its noise, another one for every update.
    pub fn new(plan: &'a Plan, oracle: Oracle<'a>, public: &'a Tensors, update: u64, seed: u64) -> Self {
        Self { plan, oracle, public, seed, update }
    }
}

impl Machine for Noisy<'_> {
    type Wire = Slots;
    type Error = std::convert::Infallible;

    fn step(&self, index: usize, step: &Step, operands: &[&Slots]) -> Result<Slots, Self::Error> {
        let mut slots = self.oracle.step(index, step, operands)?;
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index as u64);
        self.disturb(step, operands, &mut slots, &mut rng);
        Ok(slots)
    }
}

impl Noisy<'_> {
    fn disturb(&self, step: &Step, operands: &[&Slots], slots: &mut Slots, rng: &mut ChaCha20Rng) {
        let n = libm::exp2(f64::from(self.plan.ckks.log_n));
        let unit = libm::exp2(-f64::from(step.wire.scale));
        let rounding = rounding(self.plan.ckks.log_n, step.wire.scale);
        let mut white = |slots: &mut Slots, deviation: f64| slots.iter_mut().for_each(|v| *v += deviation * bell(rng));
        match &step.op {
            Op::Input(_) => white(slots, unit * FRESH * libm::sqrt(n / 2.0)),
            // The error of an approximate modular reduction, at the bits that the offer promises for every slot.
            Op::Bootstrap(_) => {
                let bits = self.plan.bootstrap.as_ref().map_or(0, |offer| offer.precision);
                white(slots, libm::exp2(-f64::from(bits)) / PROMISED);
            }
            Op::Carried(_) | Op::Add(..) | Op::Sub(..) | Op::Halve { .. } | Op::Narrow(_) => {}
            Op::AddConst(_, c) => {
                let error = rounded(*c, step.wire.scale) - c;
                slots.iter_mut().for_each(|v| *v += error);
            }
            Op::MulConst { c, bits, .. } => {
                let error = rounded(*c, *bits) - c;
                slots.iter_mut().zip(operands[0]).for_each(|(v, a)| *v += error * a);
                white(slots, rounding);
            }
            Op::AddPlain(_, id) => {
                let error = self.encoding(id.0, step.wire.scale, rng);
                slots.iter_mut().zip(error.iter().cycle()).for_each(|(v, e)| *v += e);
            }
            Op::MulPlain(_, id) => {
                let error = self.encoding(id.0, self.plan.plains[id.0 as usize].scale, rng);
                slots.iter_mut().zip(operands[0]).zip(error.iter().cycle()).for_each(|((v, a), e)| *v += e * a);
                slots.iter_mut().for_each(|v| *v += rounding * bell(rng));
            }
            Op::Dot(_) | Op::Rotate { .. } => white(slots, rounding),
            Op::Linear(_, id) => {
                let matrix = &self.plan.matrices[id.0 as usize];
                let square = operands[0].iter().map(|v| v * v).sum::<f64>() / operands[0].len() as f64;
                let coefficients = (matrix.rows.max(matrix.cols) * self.plan.geometry.lanes) as f64;
                let encoding = libm::exp2(-f64::from(matrix.scale)) * libm::sqrt(coefficients / 12.0);
                let giants = matrix.rotations().1.len() as f64;
                let spread = encoding * libm::sqrt(square * matrix.diagonals() as f64);
                white(slots, libm::sqrt(spread * spread + rounding * rounding * (1.0 + giants)));
            }
        }
    }

    /// What encoding a plaintext at `2^scale` changes, over one period: it has no more coefficients than it needs.
    fn encoding(&self, id: u32, scale: u32, rng: &mut ChaCha20Rng) -> Slots {
        let Ok(slots) = oracle::plain_slots(self.plan, &self.plan.plains[id as usize], self.public, self.update) else { return vec![0.0] };
        let mut period = slots.as_slice();
        while period.len() > 8 && period[..period.len() / 2] == period[period.len() / 2..] {
            period = &period[..period.len() / 2];
        }
        let deviation = libm::exp2(-f64::from(scale)) * libm::sqrt(period.len() as f64 / 12.0);
        (0..period.len()).map(|_| deviation * bell(rng)).collect()
    }
}

/// A number of mean 0 and deviation 1, nearly normal: the sum of eight bytes, where there are many to draw.
fn bell(rng: &mut ChaCha20Rng) -> f64 {
    let sum: u32 = rng.next_u64().to_le_bytes().iter().map(|&byte| u32::from(byte)).sum();
    // Eight uniform numbers on 0..=255: mean 1020, variance 8 (256² - 1) / 12.
    (f64::from(sum) - 1020.0) / 209.021_529_9
}

/// A constant as it is encoded.
fn rounded(c: f64, bits: u32) -> f64 {
    let unit = libm::exp2(f64::from(bits));
    libm::round(c * unit) / unit
}
