//! The client: owner of data, states and secret.

use std::collections::BTreeMap;
use std::sync::Arc;

use hecc_plan::clear::Sources;
use hecc_plan::{ClearId, ClearOp, Content, DecisionKind, Escape, Plan, Span, Target, Tensor, Tensors, UPDATE, oracle};

use crate::engine::EngineError;
use crate::engine::error::Outgrown;
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
    outgrown: Vec<Outgrown>,
}

impl Progress {
    /// Nothing is known yet. `done`: updates since the client planted the carried ciphertexts; 0 where there are none.
    pub fn after(done: u32) -> Self {
        Self { done, ..Self::default() }
    }

    /// Values of this update that were larger than their ciphertexts had room for, and were clipped.
    pub(crate) fn outgrown(&mut self) -> Vec<Outgrown> {
        std::mem::take(&mut self.outgrown)
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

    /// Takes the server's answer of round `number`. Values that come back in the middle of an update and are larger than their
    /// ciphertexts have room for are clipped where the program only wants to be warned ([`hecc_plan::Escape`]).
    ///
    /// # Errors
    /// A message that is not this round's answer; HE0613 for values that cannot be trusted.
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
        let mut slots = parallel(self.threads, parts.len(), |i| self.cipher.open(parts[i].0, parts[i].1))?;
        let clips = plan.training.as_ref().is_some_and(|training| training.run.out_of_range == Escape::Warn);
        for (id, slots) in round.outputs.iter().zip(&mut slots) {
            let output = &plan.outputs[id.0 as usize];
            let step = &plan.steps[output.wire.index()];
            let room = libm::exp2(f64::from(step.wire.budget()) - 2.0);
            if let Some(outgrown) = outgrown(plan, &output.contents, slots, room, step.span) {
                let between = output.contents.iter().all(|content| matches!(content.tensor, Target::Value { .. }));
                if !(clips && between) {
                    return Err(EngineError::Range(outgrown));
                }
                slots.iter_mut().for_each(|v| *v = v.clamp(-room, room));
                progress.outgrown.push(outgrown);
            }
            oracle::unpack(plan, &output.contents, slots, &mut progress.values);
        }
        for (target, value) in &progress.values {
            if let Target::Value { id, .. } = target {
                progress.decrypted.insert(*id, value.clone());
            }
        }
        Ok(())
    }

    /// All slots of a round's message, the client's own or the server's answer, as this client's key opens them, theirs or not: what
    /// somebody makes of it who has a key. Nothing is checked that a wrong key would not keep.
    ///
    /// # Errors
    /// Bytes that are no message of this round.
    pub fn opened(&self, number: usize, message: &[u8]) -> Result<Vec<oracle::Slots>, EngineError> {
        let plan = &*self.plan;
        let round = &plan.rounds[number];
        if let Ok(payload) = wire::decode(message, Kind::Upload, self.fingerprint) {
            let mut reader = Reader(payload);
            reader.take(16)?;
            let mut parts = Vec::with_capacity(round.inputs.len());
            for id in &round.inputs {
                reader.take(4)?;
                let wire = plan.inputs[id.0 as usize].wire;
                parts.push((wire, reader.take(self.cipher.sealed_len(wire))?));
            }
            return parallel(self.threads, parts.len(), |i| self.cipher.reopen(parts[i].0, parts[i].1));
        }
        let mut reader = Reader(wire::decode(message, Kind::Download, self.fingerprint)?);
        reader.take(8)?;
        let mut parts = Vec::with_capacity(round.outputs.len());
        for id in &round.outputs {
            reader.take(4)?;
            let wire = plan.steps[plan.outputs[id.0 as usize].wire.index()].wire;
            parts.push((wire, reader.take(self.cipher.opened_len(wire))?));
        }
        parallel(self.threads, parts.len(), |i| self.cipher.open(parts[i].0, parts[i].1))
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
            let room = libm::exp2(f64::from(carried.fetch.budget()) - 2.0);
            if let Some(outgrown) = outgrown(plan, &carried.contents, slots, room, Span::default()) {
                return Err(EngineError::Range(outgrown));
            }
            oracle::unpack(plan, &carried.contents, slots, &mut values);
        }
        let (new, _) = self.finish(Progress { values, ..Progress::default() })?;
        states.extend(new);
        Ok(())
    }

    /// The new states that the client computes itself, once all rounds are through.
    ///
    /// # Errors
    /// [`EngineError`] for data that the plan cannot take; HE0609 if a state is not finite or beyond ±10⁶.
    pub fn settle(&self, batch: &Tensors, states: &Tensors, progress: &mut Progress) -> Result<Tensors, EngineError> {
        let plan = &*self.plan;
        let wanted: Vec<ClearId> = plan.settled.iter().map(|(_, node)| *node).collect();
        plan.client.eval(&wanted, Sources { batch, states, decrypted: &progress.decrypted }, &mut progress.known)?;
        let mut new = Tensors::new();
        for (name, node) in &plan.settled {
            let value = &progress.known[node];
            let shape = plan.states.iter().find(|state| state.name == *name).map_or(&value.shape, |state| &state.shape);
            let value = Tensor::new(shape.clone(), value.data.clone());
            sound(name, &value)?;
            new.insert(name.clone(), value);
        }
        Ok(new)
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
                    sound(&name, &value)?;
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

/// A state that runs away says so before it is used.
fn sound(name: &str, value: &Tensor) -> Result<(), EngineError> {
    match value.data.iter().find(|v| !v.is_finite() || v.abs() > DIVERGED) {
        Some(&value) => Err(EngineError::Diverged { name: name.to_owned(), value }),
        None => Ok(()),
    }
}

/// The first value in a ciphertext whose slots hold more than `room`: a value wraps around at half the modulus, and one that
/// comes within a factor of two of that is the last to be trusted.
fn outgrown(plan: &Plan, contents: &[Content<Target>], slots: &[f64], room: f64, span: Span) -> Option<Outgrown> {
    // Also what is no number.
    let beyond = |v: f64, limit: f64| v.is_nan() || v.abs() > limit;
    if !slots.iter().any(|&v| beyond(v, room)) {
        return None;
    }
    // Alone: other ciphertexts of the same array may have more room.
    let mut values = BTreeMap::new();
    oracle::unpack(plan, contents, slots, &mut values);
    contents.iter().find_map(|content| {
        let limit = content.factor.abs() * room;
        let value = *values[&content.tensor].data.iter().find(|v| beyond(**v, limit))?;
        let name = match &content.tensor {
            Target::State(name) | Target::Rated { name, .. } | Target::Result { name, .. } => name.clone(),
            Target::Value { id, .. } => {
                let within = plan.decisions.iter().find(|d| d.kind == DecisionKind::Activation && d.span == Some(span));
                within.map_or_else(|| format!("intermediate value {id}"), |d| format!("{}, intermediate value {id}", d.subject))
            }
        };
        Some(Outgrown { name, value, limit, span })
    })
}
