//! The clear backend: slots instead of ciphertexts, the same parties, messages and loop.

use std::collections::BTreeMap;
use std::sync::Arc;

use hecc_plan::noise::Noisy;
use hecc_plan::oracle::{Oracle, Slots};
use hecc_plan::{InputId, Plan, Tensors, Wire, Wires, drive};

use crate::engine::EngineError;
use crate::engine::party::{ClientCipher, ServerCipher};
use crate::wire::{Reader, WireError};

/// Bytes of a vector of slots.
pub(crate) fn sealed_len(plan: &Plan, _wire: Wire) -> usize {
    8 * plan.geometry.slots()
}

/// Writes slots as they are.
pub(crate) struct ClearClient {
    slots: usize,
}

/// Computes on slots.
pub(crate) struct ClearServer {
    plan: Arc<Plan>,
    public: Tensors,
    threads: usize,
    /// Seed of the noise, if there is to be any.
    noise: Option<u64>,
    inputs: BTreeMap<u32, Slots>,
    carried: Vec<Arc<Slots>>,
    before: Vec<Arc<Slots>>,
    wires: Wires<Slots>,
}

impl ClearClient {
    pub(crate) fn new(plan: &Plan) -> Self {
        Self { slots: plan.geometry.slots() }
    }
}

impl ClientCipher for ClearClient {
    fn keys(&self) -> usize {
        0
    }

    fn key(&self, _index: usize) -> Result<Vec<u8>, EngineError> {
        Err(EngineError::Turn("there are no keys"))
    }

    fn seal(&self, _label: &str, _wire: Wire, slots: &[f64]) -> Result<Vec<u8>, EngineError> {
        Ok(write(slots))
    }

    fn opened_len(&self, _wire: Wire) -> usize {
        8 * self.slots
    }

    fn open(&self, _wire: Wire, bytes: &[u8]) -> Result<Slots, EngineError> {
        Ok(read(bytes)?)
    }

    fn sealed_len(&self, _wire: Wire) -> usize {
        8 * self.slots
    }

    fn reopen(&self, _wire: Wire, bytes: &[u8]) -> Result<Slots, EngineError> {
        Ok(read(bytes)?)
    }
}

impl ClearServer {
    pub(crate) fn new(plan: Arc<Plan>, public: Tensors, threads: usize, noise: Option<u64>) -> Self {
        Self { wires: Wires::new(&plan), plan, public, threads, noise, inputs: BTreeMap::new(), carried: Vec::new(), before: Vec::new() }
    }
}

impl ServerCipher for ClearServer {
    fn accept_key(&self, _index: usize, _message: &[u8]) -> Result<(), EngineError> {
        Err(EngineError::Turn("there are no keys"))
    }

    fn ready(&mut self) -> Result<(), EngineError> {
        Oracle::new(&self.plan, &self.inputs, &self.public)?;
        Ok(())
    }

    fn plant(&mut self, carried: &[&[u8]]) -> Result<(), EngineError> {
        self.carried = carried.iter().map(|bytes| Ok(Arc::new(read(bytes)?))).collect::<Result<_, WireError>>()?;
        Ok(())
    }

    fn begin(&mut self) {
        self.before.clone_from(&self.carried);
    }

    fn go_back(&mut self) {
        self.carried.clone_from(&self.before);
    }

    fn fetch(&self, before: bool) -> Result<Vec<Vec<u8>>, EngineError> {
        let carried = if before { &self.before } else { &self.carried };
        Ok(carried.iter().map(|slots| write(slots)).collect())
    }

    fn run(&mut self, number: usize, update: u64, inputs: Vec<(InputId, &[u8])>) -> Result<Vec<Vec<u8>>, EngineError> {
        if number == 0 {
            self.wires = Wires::new(&self.plan);
            self.inputs.clear();
        }
        for (id, bytes) in inputs {
            self.inputs.insert(id.0, read(bytes)?);
        }
        let round = &self.plan.rounds[number];
        let oracle = Oracle::new(&self.plan, &self.inputs, &self.public)?.with_carried(&self.carried, update);
        let ran = match self.noise {
            // Odd factors keep the seeds of different runs and updates apart.
            Some(seed) => {
                let seed = seed.wrapping_mul(0xd134_2543_de82_ef95).wrapping_add(update);
                drive(&Noisy::new(&self.plan, oracle, &self.public, update, seed), &self.plan, round.steps, &self.wires, self.threads)
            }
            None => drive(&oracle, &self.plan, round.steps, &self.wires, self.threads),
        };
        match ran {
            Ok(()) => {}
            Err(never) => match never {},
        }
        let outputs = round.outputs.iter().map(|id| {
            let index = self.plan.outputs[id.0 as usize].wire.index();
            let slots = self.wires.get(index).ok_or(EngineError::Turn("a result is not there"))?;
            self.wires.release(index);
            Ok(write(&slots))
        });
        let outputs = outputs.collect::<Result<_, EngineError>>()?;
        for (id, wire) in &round.saves {
            self.carried[id.0 as usize] = self.wires.get(wire.index()).ok_or(EngineError::Turn("a wire is not there"))?;
            self.wires.release(wire.index());
        }
        Ok(outputs)
    }
}

fn write(slots: &[f64]) -> Vec<u8> {
    slots.iter().flat_map(|slot| slot.to_le_bytes()).collect()
}

fn read(bytes: &[u8]) -> Result<Slots, WireError> {
    let mut reader = Reader(bytes);
    (0..bytes.len() / 8).map(|_| Ok(f64::from_bits(reader.u64()?))).collect()
}
