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
    /// Updates of the carried ciphertexts since they were planted.
    done: u32,
    /// Whether an update has begun and not ended.
    open: bool,
}

impl Server {
    pub(crate) fn new(plan: Arc<Plan>, cipher: Box<dyn ServerCipher>, sealed_len: fn(&Plan, hecc_plan::Wire) -> usize) -> Self {
        Self { fingerprint: hecc_plan::fingerprint(&plan), plan, cipher, sealed_len, next: 0, done: 0, open: false }
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
        (self.next, self.done, self.open) = (0, 0, false);
        self.cipher.plant(&carried)
    }

    /// Answers the client's wish for the carried ciphertexts: those of the last update whose answers the client has, which
    /// may be the one before the server's last.
    ///
    /// # Errors
    /// Another message, HE0611 if there are none (yet, or no longer), or a failure of the library.
    pub fn fetch(&self, message: &[u8]) -> Result<Vec<u8>, EngineError> {
        let mut reader = Reader(wire::decode(message, Kind::Fetch, self.fingerprint)?);
        let done = reader.u32()?;
        reader.end()?;
        let before = match self.done.checked_sub(done) {
            Some(0) => self.open,
            Some(1) if !self.open => true,
            _ => return Err(EngineError::Turn("the carried ciphertexts are those of another update")),
        };
        Ok(wire::encode(Kind::Carried, self.fingerprint, &wire::parts(&self.cipher.fetch(before)?)))
    }

    /// The ciphertexts in the client's message of a round: all that the server has of a batch.
    ///
    /// # Errors
    /// A message that is not this round's.
    pub fn ciphertexts<'m>(&self, number: usize, message: &'m [u8]) -> Result<Vec<&'m [u8]>, EngineError> {
        let mut reader = Reader(wire::decode(message, Kind::Upload, self.fingerprint)?);
        reader.take(16)?;
        let inputs = self.plan.rounds.get(number).map(|round| round.inputs.as_slice()).unwrap_or_default();
        let part = |id: &hecc_plan::InputId| {
            reader.take(4)?;
            Ok(reader.take((self.sealed_len)(&self.plan, self.plan.inputs[id.0 as usize].wire))?)
        };
        inputs.iter().map(part).collect()
    }

    /// Runs round `number` on the client's message, and answers. Round 0 starts a period afresh. An update of carried
    /// ciphertexts is applied once: its messages are refused after that.
    ///
    /// # Errors
    /// A message that is not this round's, HE0611 for one of another update, or a failure of the library.
    pub fn round(&mut self, number: usize, message: &[u8]) -> Result<Vec<u8>, EngineError> {
        let plan = Arc::clone(&self.plan);
        let Some(round) = plan.rounds.get(number).filter(|_| number == 0 || number == self.next) else {
            return Err(EngineError::Turn("the round is not the next"));
        };
        let mut reader = Reader(wire::decode(message, Kind::Upload, self.fingerprint)?);
        if reader.u32()? != number as u32 {
            return Err(EngineError::Turn("the ciphertexts are those of another round"));
        }
        let done = reader.u32()?;
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
        let carries = !plan.carried.is_empty();
        let rounds = plan.rounds_of(round.update);
        if carries {
            if done != self.done || round.update != self.done % plan.updates() {
                let applied = done < self.done;
                return Err(EngineError::Turn(if applied { "this update is applied already" } else { "the update is not the next" }));
            }
            if number == rounds.start {
                if self.open {
                    self.cipher.go_back()
                } else {
                    self.cipher.begin()
                }
                self.open = true;
            }
        }
        self.next = usize::MAX;
        let outputs = self.cipher.run(number, update, inputs)?;
        self.next = number + 1;
        if carries && self.next == rounds.end {
            self.done += 1;
            self.open = false;
        }
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
