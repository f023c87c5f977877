//! The client: owner of the data, the states and the secret keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use hecc_plan::clear::Sources;
use hecc_plan::tfhe::{Op, Plan, Wire, quantise};
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
        let plan = &*self.plan;
        for state in &plan.states {
            let value = states.get(&state.name).ok_or_else(|| EngineError::Array(format!("the state `{}` is missing", state.name)))?;
            if value.shape != state.shape || value.data.len() != state.shape.iter().product::<usize>() {
                let reason = format!("the state `{}` has shape {:?}, where the plan has {:?}", state.name, value.shape, state.shape);
                return Err(EngineError::Array(reason));
            }
        }
        for (name, array) in batch.iter().filter(|(name, _)| *name != UPDATE) {
            let got = array.shape.first().copied().unwrap_or(1);
            if got != plan.batch {
                return Err(EngineError::Batch { name: name.clone(), got, want: plan.batch });
            }
        }
        let wanted: Vec<_> = plan.inputs.iter().map(|input| input.tensor).collect();
        let (decrypted, mut known) = (BTreeMap::new(), BTreeMap::new());
        plan.client.eval(&wanted, Sources { batch, states, decrypted: &decrypted }, &mut known)?;
        let mut vectors = Vec::with_capacity(plan.inputs.len());
        for (number, input) in plan.inputs.iter().enumerate() {
            let wire = self.input(number);
            let values = &known[&input.tensor].data;
            if let Some(sample) = values.iter().position(|v| !v.is_finite()) {
                return Err(EngineError::NotFinite { name: input.label.clone(), sample });
            }
            vectors.push(quantise(values, input.scale, wire.low, wire.high));
        }
        Ok(vectors)
    }

    /// The message with the encrypted inputs.
    ///
    /// # Errors
    /// As [`Self::integers`], or if the library fails.
    pub fn upload(&self, batch: &Tensors, states: &Tensors) -> Result<Vec<u8>, EngineError> {
        let integers = self.integers(batch, states)?;
        let sealed = integers.iter().enumerate().map(|(i, v)| self.cipher.seal(self.input(i), v));
        let sealed = sealed.collect::<Result<Vec<_>, _>>()?;
        Ok(wire::encode(Kind::Upload, self.fingerprint, &wire::sized_parts(&sealed)))
    }

    /// Takes the server's answer: new states and results.
    ///
    /// # Errors
    /// A message that is not the answer, or one with integers that cannot be.
    pub fn receive(&self, message: &[u8], batch: &Tensors) -> Result<Received, EngineError> {
        let plan = &*self.plan;
        let mut reader = Reader(wire::decode(message, Kind::Download, self.fingerprint)?);
        let parts = wire::read_sized_parts(&mut reader, plan.outputs.len())?;
        reader.end()?;
        let update = batch.get(UPDATE).and_then(|update| update.data.first()).map_or(0, |&update| update as u64);
        let (mut states, mut results) = (Tensors::new(), BTreeMap::new());
        for (output, bytes) in plan.outputs.iter().zip(parts) {
            let wire = plan.steps[output.wire.index()].wire;
            let integers = self.cipher.open(wire, bytes)?;
            if integers.iter().any(|v| !(wire.low..=wire.high).contains(v)) {
                return Err(WireError::Damaged("an integer is out of range").into());
            }
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
