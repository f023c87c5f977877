//! The server: owner of evaluation keys, and of nothing else.

use std::sync::Arc;

use hecc_plan::fingerprint_tfhe;
use hecc_plan::tfhe::Plan;

use super::party::ServerCipher;
use crate::engine::EngineError;
use crate::wire::{self, Kind, Reader};

/// Runs the steps of a plan on ciphertexts.
pub struct Server {
    inputs: usize,
    fingerprint: u64,
    cipher: Box<dyn ServerCipher>,
}

impl Server {
    pub(crate) fn new(plan: Arc<Plan>, cipher: Box<dyn ServerCipher>) -> Self {
        Self { inputs: plan.inputs.len(), fingerprint: fingerprint_tfhe(&plan), cipher }
    }

    /// Takes the message with evaluation key `index`.
    ///
    /// # Errors
    /// A message that is not that key.
    pub fn accept_key(&mut self, index: usize, message: &[u8]) -> Result<(), EngineError> {
        self.cipher.accept_key(index, message)
    }

    /// Says that all keys are there.
    ///
    /// # Errors
    /// HE0606 if one is missing.
    pub fn ready(&mut self) -> Result<(), EngineError> {
        self.cipher.ready()
    }

    /// Runs the plan once on the client's message, and answers.
    ///
    /// # Errors
    /// A message that is not the plan's, or a failure of the library.
    pub fn run(&mut self, message: &[u8]) -> Result<Vec<u8>, EngineError> {
        let mut reader = Reader(wire::decode(message, Kind::Upload, self.fingerprint)?);
        let inputs = wire::read_sized_parts(&mut reader, self.inputs)?;
        reader.end()?;
        let outputs = self.cipher.run(&inputs)?;
        Ok(wire::encode(Kind::Download, self.fingerprint, &wire::sized_parts(&outputs)))
    }
}
