//! The clear backend: integers as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use hecc_plan::tfhe::sending::Parcel;
use hecc_plan::tfhe::{Made, Op, Plan, Wire, oracle};

use super::party::{ClientCipher, ServerCipher};
use crate::engine::EngineError;
use crate::wire::{Reader, WireError};

/// Writes integers as they are.
pub(crate) struct ClearClient;

/// Computes on integers.
pub(crate) struct ClearServer {
    plan: Arc<Plan>,
}

impl ClearServer {
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        Self { plan }
    }
}

impl ClientCipher for ClearClient {
    fn keys(&self) -> usize {
        0
    }

    fn key(&self, _index: usize) -> Result<Vec<u8>, EngineError> {
        Err(EngineError::Turn("there are no keys"))
    }

    fn seal(&self, _wire: Wire, integers: &[i64]) -> Result<Vec<u8>, EngineError> {
        Ok(write(integers))
    }

    fn reopen(&self, wire: Wire, bytes: &[u8]) -> Result<Vec<i64>, EngineError> {
        Ok(read(wire, bytes)?)
    }

    fn open(&self, _parcel: &Parcel, wires: &[Wire], bytes: &[u8]) -> Result<Vec<Vec<i64>>, EngineError> {
        let mut reader = Reader(bytes);
        let vectors = wires.iter().map(|wire| read(*wire, reader.take(8 * wire.len as usize)?)).collect::<Result<_, _>>()?;
        reader.end()?;
        Ok(vectors)
    }

    fn open_carried(&self, wire: Wire, bytes: &[u8]) -> Result<Vec<i64>, EngineError> {
        Ok(read(wire, bytes)?)
    }
}

impl ServerCipher for ClearServer {
    fn accept_key(&mut self, _index: usize, _message: &[u8]) -> Result<(), EngineError> {
        Err(EngineError::Turn("there are no keys"))
    }

    fn ready(&mut self) -> Result<(), EngineError> {
        Ok(())
    }

    fn take(&self, wire: Wire, bytes: &[u8]) -> Result<Vec<u8>, EngineError> {
        Ok(write(&read(wire, bytes)?))
    }

    fn run(&mut self, inputs: &[&[u8]], carried: &[Vec<u8>]) -> Result<Made<Vec<u8>>, EngineError> {
        let (mut integers, mut kept) = (BTreeMap::new(), vec![Vec::new(); carried.len()]);
        let missing = WireError::Damaged("a vector is missing");
        for step in &self.plan.steps {
            match step.op {
                Op::Input(id) => {
                    let bytes = inputs.get(id.0 as usize).ok_or(missing.clone())?;
                    integers.insert(id.0, read(step.wire, bytes)?);
                }
                Op::Carried(id) => {
                    let (bytes, kept) = carried.get(id.0 as usize).zip(kept.get_mut(id.0 as usize)).ok_or(missing.clone())?;
                    *kept = read(step.wire, bytes)?;
                }
                _ => {}
            }
        }
        let made = oracle::update(&self.plan, &integers, &kept);
        let sent = |parcel: &Parcel| parcel.outputs.iter().flat_map(|&output| write(&made.outputs[output as usize])).collect();
        let outputs = self.plan.parcels.iter().map(sent).collect();
        Ok(Made { outputs, carried: made.carried.iter().map(|vector| write(vector)).collect() })
    }
}

fn write(integers: &[i64]) -> Vec<u8> {
    integers.iter().flat_map(|v| v.to_le_bytes()).collect()
}

fn read(wire: Wire, bytes: &[u8]) -> Result<Vec<i64>, WireError> {
    let want = 8 * wire.len as usize;
    if bytes.len() != want {
        return Err(WireError::Truncated { got: bytes.len() as u64, want: want as u64 });
    }
    let integers: Vec<i64> = bytes.chunks_exact(8).map(|c| i64::from_le_bytes([c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]])).collect();
    if integers.iter().all(|v| (wire.low..=wire.high).contains(v)) {
        Ok(integers)
    } else {
        Err(WireError::Damaged("an integer is out of range"))
    }
}
