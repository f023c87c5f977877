//! The server: owner of evaluation keys, and of nothing else.

use std::sync::Arc;

use hecc_plan::fingerprint_tfhe;
use hecc_plan::tfhe::Plan;

use super::party::ServerCipher;
use crate::engine::EngineError;
use crate::wire::{self, Kind, Reader};

/// Runs the steps of a plan on ciphertexts.
pub struct Server {
    /// Which inputs can be kept.
    kept: Vec<bool>,
    /// Those that are, as they came.
    weights: Option<Vec<Vec<u8>>>,
    plan: Arc<Plan>,
    carriage: Option<Carriage>,
    fingerprint: u64,
    cipher: Box<dyn ServerCipher>,
}

/// What the server carries from update to update.
struct Carriage {
    /// The vectors, in the order of the plan.
    now: Vec<Vec<u8>>,
    /// The same before the last update: the client may have failed on its answer.
    before: Vec<Vec<u8>>,
    /// Updates since they were planted.
    done: u32,
}

impl Server {
    pub(crate) fn new(plan: Arc<Plan>, cipher: Box<dyn ServerCipher>) -> Self {
        Self { kept: plan.kept(), weights: None, carriage: None, fingerprint: fingerprint_tfhe(&plan), plan, cipher }
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

    /// Takes what it is to carry, in place of what it had.
    ///
    /// # Errors
    /// A message that does not hold it; what was carried stays.
    pub fn plant(&mut self, message: &[u8]) -> Result<(), EngineError> {
        let mut reader = Reader(wire::decode(message, Kind::Plant, self.fingerprint)?);
        let sealed = wire::read_sized_parts(&mut reader, self.plan.carried.len())?;
        reader.end()?;
        let kept = self.plan.carried.iter().map(|carried| self.plan.steps[carried.wire.index()].wire);
        let now = kept.zip(sealed).map(|(wire, bytes)| self.cipher.take(wire, bytes)).collect::<Result<Vec<_>, _>>()?;
        self.carriage = Some(Carriage { before: now.clone(), now, done: 0 });
        Ok(())
    }

    /// Answers the client's wish for what is carried: as it is after the last update whose answer the client has, which may be the
    /// one before the server's last.
    ///
    /// # Errors
    /// Another message, or HE0611 if there is nothing (yet, or no longer).
    pub fn fetch(&self, message: &[u8]) -> Result<Vec<u8>, EngineError> {
        let mut reader = Reader(wire::decode(message, Kind::Fetch, self.fingerprint)?);
        let done = reader.u32()?;
        reader.end()?;
        let carriage = self.carriage.as_ref().ok_or(EngineError::Turn("there are no carried ciphertexts"))?;
        let vectors = match carriage.done.checked_sub(done) {
            Some(0) => &carriage.now,
            Some(1) => &carriage.before,
            _ => return Err(EngineError::Turn("the carried ciphertexts are those of another update")),
        };
        Ok(wire::encode(Kind::Carried, self.fingerprint, &wire::sized_parts(vectors)))
    }

    /// Runs the plan once on the client's message, and answers. An update of carried ciphertexts is applied once: its message is
    /// refused after that.
    ///
    /// # Errors
    /// A message that is not the plan's, HE0611 for one of another update, or a failure of the library.
    pub fn run(&mut self, message: &[u8]) -> Result<Vec<u8>, EngineError> {
        let mut reader = Reader(wire::decode(message, Kind::Upload, self.fingerprint)?);
        let outputs = if self.plan.carried.is_empty() {
            let inputs = wire::read_sized_parts(&mut reader, self.kept.len())?;
            reader.end()?;
            self.cipher.run(&inputs, &[])?.outputs
        } else {
            let (done, update) = (reader.u32()?, u64::from(reader.u32()?));
            let inputs = wire::read_sized_parts(&mut reader, self.kept.len())?;
            reader.end()?;
            let carriage = self.carriage.as_mut().ok_or(EngineError::Turn("there are no carried ciphertexts"))?;
            if done != carriage.done {
                let applied = done < carriage.done;
                return Err(EngineError::Turn(if applied { "this update is applied already" } else { "the update is not the next" }));
            }
            let mut made = self.cipher.run(&inputs, &carriage.now)?;
            for ((carried, new), old) in self.plan.carried.iter().zip(&mut made.carried).zip(&carriage.now) {
                if !self.plan.is_due(&carried.state, update) {
                    new.clone_from(old);
                }
            }
            carriage.before = std::mem::replace(&mut carriage.now, made.carried);
            carriage.done += 1;
            made.outputs
        };
        Ok(wire::encode(Kind::Download, self.fingerprint, &wire::sized_parts(&outputs)))
    }

    /// Keeps the inputs that depend on states alone, in place of those it had.
    ///
    /// # Errors
    /// A message that is not the plan's; what was kept stays.
    pub fn keep(&mut self, message: &[u8]) -> Result<(), EngineError> {
        let mut reader = Reader(wire::decode(message, Kind::Plant, self.fingerprint)?);
        let count = self.kept.iter().filter(|kept| **kept).count();
        let weights = wire::read_sized_parts(&mut reader, count)?.into_iter().map(<[u8]>::to_vec).collect();
        reader.end()?;
        self.weights = Some(weights);
        Ok(())
    }

    /// Runs the plan once on the client's message and on what is kept, and answers.
    ///
    /// # Errors
    /// As [`Self::run`], or if nothing is kept.
    pub fn answer(&mut self, message: &[u8]) -> Result<Vec<u8>, EngineError> {
        let weights = self.weights.as_ref().ok_or(EngineError::Turn("there are no weights yet"))?;
        let mut reader = Reader(wire::decode(message, Kind::Upload, self.fingerprint)?);
        let asked = wire::read_sized_parts(&mut reader, self.kept.len() - weights.len())?;
        reader.end()?;
        let (mut kept, mut asked) = (weights.iter(), asked.into_iter());
        // As many of each as there are: the messages were read so.
        let inputs = self.kept.iter().filter_map(|&keeps| if keeps { kept.next().map(Vec::as_slice) } else { asked.next() });
        let outputs = self.cipher.run(&inputs.collect::<Vec<_>>(), &[])?.outputs;
        Ok(wire::encode(Kind::Download, self.fingerprint, &wire::sized_parts(&outputs)))
    }
}
