//! The client: owner of data, states and secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use hecc_plan::clear::Sources;
use hecc_plan::{ClearId, ClearOp, Plan, Target, Tensor, Tensors, UPDATE, oracle};

use crate::engine::EngineError;
use crate::engine::party::{ClientCipher, parallel};
use crate::wire::{self, Kind, Reader, WireError};

/// Larger values of a state count as divergence.
const DIVERGED: f64 = 1e6;

/// Packs and encrypts what a round needs; decrypts and unpacks what it brings.
pub struct Client {
    plan: Arc<Plan>,
    fingerprint: u64,
    cipher: Box<dyn ClientCipher>,
    threads: usize,
}

/// What the client knows within one update.
#[derive(Default)]
pub struct Progress {
    done: u32,
    known: BTreeMap<ClearId, Tensor>,
    decrypted: BTreeMap<u32, Tensor>,
    values: BTreeMap<Target, Tensor>,
}

impl Progress {
    /// Nothing is known yet. `done`: updates since the client planted the carried ciphertexts; 0 where there are none.
    pub fn after(done: u32) -> Self {
        Self { done, ..Self::default() }
    }
}

impl Client {
    pub(crate) fn new(plan: Arc<Plan>, cipher: Box<dyn ClientCipher>, threads: usize) -> Self {
        Self { fingerprint: hecc_plan::fingerprint(&plan), plan, cipher, threads }
    }

    /// How many evaluation keys the server needs.
    pub fn keys(&self) -> usize {
        self.cipher.keys()
    }

    /// The message with evaluation key `index`.
    ///
    /// # Errors
    /// If the operating system has no random numbers or the library fails.
    pub fn key(&self, index: usize) -> Result<Vec<u8>, EngineError> {
        self.cipher.key(index)
    }

    /// Checks batch and states before an update.
    ///
    /// # Errors
    /// Missing or misshapen arrays, and a batch of another size.
    pub fn check(&self, batch: &Tensors, states: &Tensors) -> Result<(), EngineError> {
        for node in &self.plan.client.nodes {
            if let ClearOp::Batch { name, .. } = &node.op
                && let Some(array) = batch.get(name)
            {
                let got = array.shape.first().copied().unwrap_or(1);
                if got != self.plan.geometry.batch {
                    return Err(EngineError::Batch { name: name.clone(), got, want: self.plan.geometry.batch });
                }
            }
        }
        for state in &self.plan.states {
            let value = states.get(&state.name).ok_or_else(|| EngineError::Array(format!("the state `{}` is missing", state.name)))?;
            if value.shape != state.shape || value.data.len() != state.shape.iter().product::<usize>() {
                return Err(EngineError::Array(format!(
                    "the state `{}` has shape {:?}, where the plan has {:?}",
                    state.name, value.shape, state.shape
                )));
            }
            if let Some(sample) = value.data.iter().position(|v| !v.is_finite()) {
                return Err(EngineError::NotFinite { name: state.name.clone(), sample });
            }
        }
        Ok(())
    }

    /// The message of round `number`.
    ///
    /// # Errors
    /// [`EngineError`] for data that the plan cannot take, or if the library fails.
    pub fn upload(&self, number: usize, batch: &Tensors, states: &Tensors, progress: &mut Progress) -> Result<Vec<u8>, EngineError> {
        let plan = &*self.plan;
        let round = &plan.rounds[number];
        let inputs: Vec<_> = round.inputs.iter().map(|id| (*id, &plan.inputs[id.0 as usize])).collect();
        let mut wanted: Vec<ClearId> = inputs.iter().flat_map(|(_, input)| input.contents.iter().map(|c| c.tensor)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let sources = Sources { batch, states, decrypted: &progress.decrypted };
        plan.client.eval(&wanted, sources, &mut progress.known)?;
        let known = &progress.known;
        let sealed = parallel(self.threads, inputs.len(), |i| {
            let (_, input) = inputs[i];
            let slots = oracle::pack(plan, &input.contents, |id| &known[id]);
            if let Some(slot) = slots.iter().position(|v| !v.is_finite()) {
                return Err(EngineError::NotFinite { name: input.label.clone(), sample: slot % plan.geometry.lanes });
            }
            self.cipher.seal(&input.label, input.wire, &slots)
        })?;
        // The number of the update is no secret: the server counts the rounds.
        let update = batch.get(UPDATE).and_then(|update| update.data.first()).map_or(0, |&update| update as u32);
        let mut payload = Vec::with_capacity(16 + sealed.iter().map(|s| 4 + s.len()).sum::<usize>());
        payload.extend_from_slice(&(number as u32).to_le_bytes());
        payload.extend_from_slice(&progress.done.to_le_bytes());
        payload.extend_from_slice(&update.to_le_bytes());
        payload.extend_from_slice(&(sealed.len() as u32).to_le_bytes());
        for ((id, _), bytes) in inputs.iter().zip(&sealed) {
            payload.extend_from_slice(&id.0.to_le_bytes());
            payload.extend_from_slice(bytes);
        }
        Ok(wire::encode(Kind::Upload, self.fingerprint, &payload))
    }

    /// Takes the server's answer of round `number`.
    ///
    /// # Errors
    /// A message that is not this round's answer.
    pub fn receive(&self, number: usize, message: &[u8], progress: &mut Progress) -> Result<(), EngineError> {
        let plan = &*self.plan;
        let mut reader = Reader(wire::decode(message, Kind::Download, self.fingerprint)?);
        if reader.u32()? != number as u32 {
            return Err(EngineError::Turn("the answer is that of another round"));
        }
        let round = &plan.rounds[number];
        if reader.u32()? as usize != round.outputs.len() {
            return Err(WireError::Damaged("the number of ciphertexts is not the round's").into());
        }
        let mut parts = Vec::with_capacity(round.outputs.len());
        for id in &round.outputs {
            if reader.u32()? != id.0 {
                return Err(WireError::Damaged("a ciphertext is out of order").into());
            }
            let wire = plan.steps[plan.outputs[id.0 as usize].wire.index()].wire;
            parts.push((wire, reader.take(self.cipher.opened_len(wire))?));
        }
        reader.end()?;
        let slots = parallel(self.threads, parts.len(), |i| self.cipher.open(parts[i].0, parts[i].1))?;
        for (id, slots) in round.outputs.iter().zip(&slots) {
            let output = &plan.outputs[id.0 as usize];
            oracle::unpack(plan, &output.contents, slots, &mut progress.values);
            let room = f64::from(plan.steps[output.wire.index()].wire.budget()) - 2.0;
            for content in &output.contents {
                in_room(&content.tensor, &progress.values[&content.tensor], content.factor.abs() * libm::exp2(room))?;
            }
        }
        for (target, value) in &progress.values {
            if let Target::Value { id, .. } = target {
                progress.decrypted.insert(*id, value.clone());
            }
        }
        Ok(())
    }

    /// The message with the carried ciphertexts of `states`, as a period begins.
    ///
    /// # Errors
    /// [`EngineError`] for values that do not fit, or if the library fails.
    pub fn plant(&self, states: &Tensors) -> Result<Vec<u8>, EngineError> {
        let plan = &*self.plan;
        let sealed = parallel(self.threads, plan.carried.len(), |i| {
            let carried = &plan.carried[i];
            self.cipher.seal(&carried.label, carried.wire, &oracle::pack_carried(plan, carried, states))
        })?;
        Ok(wire::encode(Kind::Plant, self.fingerprint, &wire::parts(&sealed)))
    }

    /// The message that asks for the carried ciphertexts as they are after `done` updates since they were planted.
    pub fn ask(&self, done: u32) -> Vec<u8> {
        wire::encode(Kind::Fetch, self.fingerprint, &done.to_le_bytes())
    }

    /// Takes the carried ciphertexts, and unpacks them into `states`, which are untouched on an error.
    ///
    /// # Errors
    /// A message that is not the server's answer; HE0609 or HE0613 for values that cannot be trusted.
    pub fn gather(&self, message: &[u8], states: &mut Tensors) -> Result<(), EngineError> {
        let plan = &*self.plan;
        let mut reader = Reader(wire::decode(message, Kind::Carried, self.fingerprint)?);
        let lengths = plan.carried.iter().map(|carried| self.cipher.opened_len(carried.fetch));
        let parts = wire::read_parts(&mut reader, lengths)?;
        reader.end()?;
        let slots = parallel(self.threads, parts.len(), |i| self.cipher.open(plan.carried[i].fetch, parts[i]))?;
        let mut values = BTreeMap::new();
        for (carried, slots) in plan.carried.iter().zip(&slots) {
            oracle::unpack(plan, &carried.contents, slots, &mut values);
            let room = libm::exp2(f64::from(carried.fetch.budget()) - 2.0);
            for content in &carried.contents {
                in_room(&content.tensor, &values[&content.tensor], content.factor.abs() * room)?;
            }
        }
        let (new, _) = self.finish(Progress { values, ..Progress::default() })?;
        states.extend(new);
        Ok(())
    }

    /// The new states and the results, once all rounds are through.
    ///
    /// # Errors
    /// HE0609 if a state is not finite or beyond ±10⁶.
    pub fn finish(&self, progress: Progress) -> Result<(Tensors, BTreeMap<String, Tensor>), EngineError> {
        let (mut states, mut results) = (Tensors::new(), BTreeMap::new());
        let Progress { known, values, .. } = progress;
        for (target, mut value) in values {
            if let Target::Rated { by, .. } = &target {
                let rate = known.get(by).and_then(|rate| rate.data.first()).copied();
                let rate = rate.ok_or_else(|| EngineError::Array(format!("the array `{}` is missing", UPDATE)))?;
                value.data.iter_mut().for_each(|v| *v *= rate);
            }
            match target {
                Target::State(name) | Target::Rated { name, .. } => {
                    if let Some(&value) = value.data.iter().find(|v| !v.is_finite() || v.abs() > DIVERGED) {
                        return Err(EngineError::Diverged { name, value });
                    }
                    states.insert(name, value);
                }
                Target::Value { .. } => {}
                Target::Result { name, .. } => {
                    results.insert(name, value);
                }
            }
        }
        Ok((states, results))
    }
}

/// A value wraps around at half the modulus; one that comes within a factor of two of that is the last to be trusted.
fn in_room(target: &Target, value: &Tensor, limit: f64) -> Result<(), EngineError> {
    let name = || match target {
        Target::State(name) | Target::Rated { name, .. } | Target::Result { name, .. } => name.clone(),
        Target::Value { id, .. } => format!("intermediate value {id}"),
    };
    match value.data.iter().find(|v| v.abs() > limit) {
        Some(&value) => Err(EngineError::Range { name: name(), value, limit }),
        None => Ok(()),
    }
}
