//! The server: owner of evaluation keys and public arrays, and of nothing else.

use std::sync::Arc;

use hecc_plan::Plan;

use crate::engine::EngineError;
use crate::engine::party::ServerCipher;
use crate::wire::{self, Kind, Reader, WireError};

/// Runs the rounds of a plan on ciphertexts.
pub struct Server {
    plan: Arc<Plan>,
    fingerprint: u64,
    cipher: Box<dyn ServerCipher>,
    sealed_len: fn(&Plan, hecc_plan::Wire) -> usize,
    next: usize,
}

impl Server {
    pub(crate) fn new(plan: Arc<Plan>, cipher: Box<dyn ServerCipher>, sealed_len: fn(&Plan, hecc_plan::Wire) -> usize) -> Self {
        Self { fingerprint: hecc_plan::fingerprint(&plan), plan, cipher, sealed_len, next: 0 }
    }

    /// Takes the message with evaluation key `index`; several threads may bring keys at once.
    ///
    /// # Errors
    /// A message that is not that key.
    pub fn accept_key(&self, index: usize, message: &[u8]) -> Result<(), EngineError> {
        self.cipher.accept_key(index, message)
    }

    /// Says that all keys are there.
    ///
    /// # Errors
    /// HE0606 if one is missing, HE0601 if a public array is.
    pub fn ready(&mut self) -> Result<(), EngineError> {
        self.cipher.ready()
    }

    /// Takes the client's carried ciphertexts; a period begins.
    ///
    /// # Errors
    /// A message that does not hold them, or a failure of the library.
    pub fn plant(&mut self, message: &[u8]) -> Result<(), EngineError> {
        let mut reader = Reader(wire::decode(message, Kind::Plant, self.fingerprint)?);
        let lengths = self.plan.carried.iter().map(|carried| (self.sealed_len)(&self.plan, carried.wire));
        let carried = wire::read_parts(&mut reader, lengths)?;
        reader.end()?;
        self.next = 0;
        self.cipher.plant(&carried)
    }

    /// Answers the client's wish for the carried ciphertexts: those of the last update that was finished.
    ///
    /// # Errors
    /// Another message, HE0611 if there are none yet, or a failure of the library.
    pub fn fetch(&self, message: &[u8]) -> Result<Vec<u8>, EngineError> {
        Reader(wire::decode(message, Kind::Fetch, self.fingerprint)?).end()?;
        Ok(wire::encode(Kind::Carried, self.fingerprint, &wire::parts(&self.cipher.fetch()?)))
    }

    /// Runs round `number` on the client's message, and answers. Round 0 starts a period afresh.
    ///
    /// # Errors
    /// A message that is not this round's, or a failure of the library.
    pub fn round(&mut self, number: usize, message: &[u8]) -> Result<Vec<u8>, EngineError> {
        let plan = Arc::clone(&self.plan);
        let Some(round) = plan.rounds.get(number).filter(|_| number == 0 || number == self.next) else {
            return Err(EngineError::Turn("the round is not the next"));
        };
        let mut reader = Reader(wire::decode(message, Kind::Upload, self.fingerprint)?);
        if reader.u32()? != number as u32 {
            return Err(EngineError::Turn("the ciphertexts are those of another round"));
        }
        let update = u64::from(reader.u32()?);
        if reader.u32()? as usize != round.inputs.len() {
            return Err(WireError::Damaged("the number of ciphertexts is not the round's").into());
        }
        let mut inputs = Vec::with_capacity(round.inputs.len());
        for id in &round.inputs {
            if reader.u32()? != id.0 {
                return Err(WireError::Damaged("a ciphertext is out of order").into());
            }
            inputs.push((*id, reader.take((self.sealed_len)(&plan, plan.inputs[id.0 as usize].wire))?));
        }
        reader.end()?;
        self.next = usize::MAX;
        let outputs = self.cipher.run(number, update, inputs)?;
        self.next = number + 1;
        let mut payload = Vec::with_capacity(8 + outputs.iter().map(|o| 4 + o.len()).sum::<usize>());
        payload.extend_from_slice(&(number as u32).to_le_bytes());
        payload.extend_from_slice(&(outputs.len() as u32).to_le_bytes());
        for (id, bytes) in round.outputs.iter().zip(&outputs) {
            payload.extend_from_slice(&id.0.to_le_bytes());
            payload.extend_from_slice(bytes);
        }
        Ok(wire::encode(Kind::Download, self.fingerprint, &payload))
    }
}
