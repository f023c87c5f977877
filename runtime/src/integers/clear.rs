//! The clear backend: integers as they are.

use std::collections::BTreeMap;
use std::sync::Arc;

use hecc_plan::tfhe::{Op, Plan, Wire, oracle};

use super::party::{ClientCipher, ServerCipher};
use crate::engine::EngineError;
use crate::wire::WireError;

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

    fn open(&self, wire: Wire, bytes: &[u8]) -> Result<Vec<i64>, EngineError> {
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

    fn run(&mut self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, EngineError> {
        let mut integers = BTreeMap::new();
        for step in &self.plan.steps {
            if let Op::Input(id) = step.op {
                let bytes = inputs.get(id.0 as usize).ok_or(WireError::Damaged("a vector is missing"))?;
                integers.insert(id.0, read(step.wire, bytes)?);
            }
        }
        Ok(oracle::run(&self.plan, &integers).iter().map(|vector| write(vector)).collect())
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
