//! The client: owner of the data, the states and the secret keys.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hecc_plan::clear::Sources;
use hecc_plan::tfhe::{Op, Plan, Wire, quantise, split};
use hecc_plan::{Target, Tensor, Tensors, UPDATE, fingerprint_tfhe};

use super::party::ClientCipher;
use crate::engine::EngineError;
use crate::wire::{self, Kind, Reader, WireError};

/// Computes what crosses, and reads what comes back.
pub struct Client {
    plan: Arc<Plan>,
    fingerprint: u64,
    cipher: Box<dyn ClientCipher>,
}

/// Weights that leave the grid on which a plan takes them: the client clips them.
#[derive(Clone, Debug, PartialEq)]
pub struct Clipped {
    /// Which array.
    pub name: String,
    /// How many of its numbers.
    pub count: usize,
    /// How many it has.
    pub of: usize,
    /// The one that is furthest off.
    pub largest: f64,
    /// What it is clipped to.
    pub limit: f64,
}

impl fmt::Display for Clipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, count, of, largest, limit } = self;
        write!(
            f,
            "{count} of the {of} numbers of `{name}` leave the grid that the server acts on: {largest:.3}, where it ends at {limit:.3}"
        )
    }
}

/// The number of the update that a batch is for, from 0.
fn number(batch: &Tensors) -> u64 {
    batch.get(UPDATE).and_then(|update| update.data.first()).map_or(0, |&update| update as u64)
}

fn within(wire: Wire, integers: &[i64]) -> Result<(), WireError> {
    match integers.iter().all(|v| (wire.low..=wire.high).contains(v)) {
        true => Ok(()),
        false => Err(WireError::Damaged("an integer is out of range")),
    }
}

/// New states, and results by name.
type Received = (Tensors, BTreeMap<String, Tensor>);

impl Client {
    pub(crate) fn new(plan: Arc<Plan>, cipher: Box<dyn ClientCipher>) -> Self {
        Self { fingerprint: fingerprint_tfhe(&plan), plan, cipher }
    }

    /// How many evaluation keys the server needs.
    pub fn keys(&self) -> usize {
        self.cipher.keys()
    }

    /// The message with evaluation key `index`.
    ///
    /// # Errors
    /// If there is no such key, or the library fails.
    pub fn key(&self, index: usize) -> Result<Vec<u8>, EngineError> {
        self.cipher.key(index)
    }

    /// The integers of every input: data and states, rounded to their grids and clipped to their ranges.
    ///
    /// # Errors
    /// HE0601, HE0602 and HE0608 for arrays that do not fit.
    pub fn integers(&self, batch: &Tensors, states: &Tensors) -> Result<Vec<Vec<i64>>, EngineError> {
        let all: Vec<usize> = (0..self.plan.inputs.len()).collect();
        let values = self.values(&all, batch, states)?;
        Ok(all.iter().zip(&values).map(|(&number, values)| self.rounded(number, values)).collect())
    }

    /// The message with the encrypted inputs.
    ///
    /// # Errors
    /// As [`Self::integers`], or if the library fails.
    pub fn upload(&self, batch: &Tensors, states: &Tensors) -> Result<Vec<u8>, EngineError> {
        let all: Vec<usize> = (0..self.plan.inputs.len()).collect();
        let values = self.values(&all, batch, states)?;
        self.sealed(Kind::Upload, &all, &values)
    }

    /// The message with the encrypted inputs, for a server that carries the states and has done so many updates of them.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub fn batch(&self, done: u32, batch: &Tensors, states: &Tensors) -> Result<Vec<u8>, EngineError> {
        let all: Vec<usize> = (0..self.plan.inputs.len()).collect();
        let values = self.values(&all, batch, states)?;
        let mut payload = done.to_le_bytes().to_vec();
        payload.extend_from_slice(&(number(batch) as u32).to_le_bytes());
        payload.extend_from_slice(&wire::sized_parts(&self.seal(&all, &values)?));
        Ok(wire::encode(Kind::Upload, self.fingerprint, &payload))
    }

    /// The message with the states that the server is to carry.
    ///
    /// # Errors
    /// HE0601 for a state that is missing or has another shape, HE0608 for one that is not finite, or if the library fails.
    pub fn plant(&self, states: &Tensors) -> Result<Vec<u8>, EngineError> {
        let parts = self.plan.parts();
        let mut sealed = vec![Vec::new(); self.plan.carried.len()];
        self.shaped(states)?;
        for (name, parts) in &parts {
            let value = states.get(*name).ok_or_else(|| EngineError::Array(format!("the state `{name}` is missing")))?;
            if let Some(sample) = value.data.iter().position(|v| !v.is_finite()) {
                return Err(EngineError::NotFinite { name: (*name).to_owned(), sample });
            }
            for (part, integers) in parts.iter().zip(split(&value.data, parts)) {
                sealed[part.number] = self.cipher.seal(part.wire, &integers)?;
            }
        }
        Ok(wire::encode(Kind::Plant, self.fingerprint, &wire::sized_parts(&sealed)))
    }

    /// The message that asks for what the server carries, as it is after `done` updates since it was planted.
    pub fn ask(&self, done: u32) -> Vec<u8> {
        wire::encode(Kind::Fetch, self.fingerprint, &done.to_le_bytes())
    }

    /// Takes what the server carries into `states`, which are untouched on an error.
    ///
    /// # Errors
    /// A message that is not the server's answer, or one with integers that cannot be.
    pub fn gather(&self, message: &[u8], states: &mut Tensors) -> Result<(), EngineError> {
        let plan = &*self.plan;
        let mut reader = Reader(wire::decode(message, Kind::Carried, self.fingerprint)?);
        let vectors = wire::read_sized_parts(&mut reader, plan.carried.len())?;
        reader.end()?;
        let parts = plan.parts();
        let mut new = Tensors::new();
        for state in &plan.states {
            let mut data = vec![0.0; state.shape.iter().product()];
            for part in parts.get(state.name.as_str()).into_iter().flatten() {
                let integers = self.cipher.open_carried(part.wire, vectors[part.number])?;
                within(part.wire, &integers)?;
                data.iter_mut().zip(integers).for_each(|(v, integer)| *v += integer as f64 * part.scale);
            }
            new.insert(state.name.clone(), Tensor::new(state.shape.clone(), data));
        }
        states.extend(new);
        Ok(())
    }

    /// The message with those inputs that depend on states alone, for the server to keep, and which of them leave their grid.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub fn weights(&self, states: &Tensors) -> Result<(Vec<u8>, Vec<Clipped>), EngineError> {
        let kept = self.inputs(true);
        let values = self.values(&kept, &Tensors::new(), states)?;
        let clipped = kept.iter().zip(&values).filter_map(|(&number, values)| self.clipped(number, values)).collect();
        Ok((self.sealed(Kind::Plant, &kept, &values)?, clipped))
    }

    /// The message with the inputs that the server does not keep.
    ///
    /// # Errors
    /// As [`Self::upload`].
    pub fn question(&self, batch: &Tensors, states: &Tensors) -> Result<Vec<u8>, EngineError> {
        let asked = self.inputs(false);
        let values = self.values(&asked, batch, states)?;
        self.sealed(Kind::Upload, &asked, &values)
    }

    /// Numbers of the inputs that the server keeps, or of those that it does not.
    fn inputs(&self, kept: bool) -> Vec<usize> {
        self.plan.kept().into_iter().enumerate().filter(|(_, keeps)| *keeps == kept).map(|(number, _)| number).collect()
    }

    /// The real numbers of some inputs.
    fn values(&self, numbers: &[usize], batch: &Tensors, states: &Tensors) -> Result<Vec<Vec<f64>>, EngineError> {
        let plan = &*self.plan;
        self.shaped(states)?;
        for (name, array) in batch.iter().filter(|(name, _)| *name != UPDATE) {
            let got = array.shape.first().copied().unwrap_or(1);
            if got != plan.batch {
                return Err(EngineError::Batch { name: name.clone(), got, want: plan.batch });
            }
        }
        let wanted: Vec<_> = numbers.iter().map(|&number| plan.inputs[number].tensor).collect();
        let (decrypted, mut known) = (BTreeMap::new(), BTreeMap::new());
        plan.client.eval(&wanted, Sources { batch, states, decrypted: &decrypted }, &mut known)?;
        let mut vectors = Vec::with_capacity(numbers.len());
        for input in numbers.iter().map(|&number| &plan.inputs[number]) {
            let values = &known[&input.tensor].data;
            if let Some(sample) = values.iter().position(|v| !v.is_finite()) {
                return Err(EngineError::NotFinite { name: input.label.clone(), sample });
            }
            vectors.push(values.clone());
        }
        Ok(vectors)
    }

    /// Whether all states are there.
    fn shaped(&self, states: &Tensors) -> Result<(), EngineError> {
        for state in &self.plan.states {
            let value = states.get(&state.name).ok_or_else(|| EngineError::Array(format!("the state `{}` is missing", state.name)))?;
            if value.shape != state.shape || value.data.len() != state.shape.iter().product::<usize>() {
                let reason = format!("the state `{}` has shape {:?}, where the plan has {:?}", state.name, value.shape, state.shape);
                return Err(EngineError::Array(reason));
            }
        }
        Ok(())
    }

    fn rounded(&self, number: usize, values: &[f64]) -> Vec<i64> {
        let wire = self.input(number);
        quantise(values, self.plan.inputs[number].scale, wire.low, wire.high)
    }

    fn sealed(&self, kind: Kind, numbers: &[usize], values: &[Vec<f64>]) -> Result<Vec<u8>, EngineError> {
        Ok(wire::encode(kind, self.fingerprint, &wire::sized_parts(&self.seal(numbers, values)?)))
    }

    fn seal(&self, numbers: &[usize], values: &[Vec<f64>]) -> Result<Vec<Vec<u8>>, EngineError> {
        let sealed = numbers.iter().zip(values).map(|(&number, v)| self.cipher.seal(self.input(number), &self.rounded(number, v)));
        sealed.collect()
    }

    /// What rounding to the grid cuts off, beyond the half step that any rounding takes.
    fn clipped(&self, number: usize, values: &[f64]) -> Option<Clipped> {
        let (wire, input) = (self.input(number), &self.plan.inputs[number]);
        let (low, high) = ((wire.low as f64 - 0.5) * input.scale, (wire.high as f64 + 0.5) * input.scale);
        let beyond: Vec<f64> = values.iter().copied().filter(|v| *v < low || *v > high).collect();
        let largest = beyond.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs()))?;
        let limit = if largest < 0.0 { wire.low } else { wire.high } as f64 * input.scale;
        Some(Clipped { name: input.label.clone(), count: beyond.len(), of: values.len(), largest, limit })
    }

    /// The integers of [`Self::upload`]'s or [`Self::batch`]'s message, this client's or another's, as this client's key opens them: what somebody makes of
    /// it who has a key.
    ///
    /// # Errors
    /// Bytes that are no such message.
    pub fn opened(&self, message: &[u8]) -> Result<Vec<Vec<i64>>, EngineError> {
        let mut reader = Reader(wire::decode(message, Kind::Upload, self.fingerprint)?);
        if !self.plan.carried.is_empty() {
            // The numbers of the update.
            reader.take(8)?;
        }
        let parts = wire::read_sized_parts(&mut reader, self.plan.inputs.len())?;
        reader.end()?;
        parts.into_iter().enumerate().map(|(number, bytes)| self.cipher.reopen(self.input(number), bytes)).collect()
    }

    /// Takes the server's answer: new states and results.
    ///
    /// # Errors
    /// A message that is not the answer, or one with integers that cannot be.
    pub fn receive(&self, message: &[u8], batch: &Tensors) -> Result<Received, EngineError> {
        let plan = &*self.plan;
        let mut reader = Reader(wire::decode(message, Kind::Download, self.fingerprint)?);
        let parts = wire::read_sized_parts(&mut reader, plan.parcels.len())?;
        reader.end()?;
        let mut opened = vec![Vec::new(); plan.outputs.len()];
        for (parcel, bytes) in plan.parcels.iter().zip(parts) {
            let vectors = self.cipher.open(parcel, &plan.parcel_wires(parcel), bytes)?;
            parcel.outputs.iter().zip(vectors).for_each(|(&output, integers)| opened[output as usize] = integers);
        }
        let update = number(batch);
        let (mut states, mut results) = (Tensors::new(), BTreeMap::new());
        for (output, integers) in plan.outputs.iter().zip(opened) {
            let wire = plan.steps[output.wire.index()].wire;
            within(wire, &integers)?;
            let value = Tensor::new(output.shape.clone(), integers.iter().map(|&v| v as f64 * output.scale).collect());
            match &output.target {
                Target::State(name) if !plan.is_due(name, update) => {}
                Target::State(name) => {
                    states.insert(name.clone(), value);
                }
                Target::Result { name, .. } => {
                    results.insert(name.clone(), value);
                }
                Target::Rated { .. } | Target::Value { .. } => {}
            }
        }
        Ok((states, results))
    }

    /// The vector that an input is.
    fn input(&self, number: usize) -> Wire {
        let step = self.plan.steps.iter().find(|step| matches!(step.op, Op::Input(id) if id.0 as usize == number));
        step.expect("a step of a checked plan reads every input").wire
    }
}
