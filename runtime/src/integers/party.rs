//! What a scheme does for the two parties.

use hecc_plan::tfhe::sending::Parcel;
use hecc_plan::tfhe::{Made, Wire};

use crate::engine::EngineError;

/// The owner of the secret keys.
pub(crate) trait ClientCipher: Send + Sync {
    /// How many evaluation keys the server needs.
    fn keys(&self) -> usize;

    /// The message with evaluation key `index`.
    fn key(&self, index: usize) -> Result<Vec<u8>, EngineError>;

    /// Encrypts a vector of that kind.
    fn seal(&self, wire: Wire, integers: &[i64]) -> Result<Vec<u8>, EngineError>;

    /// Decrypts a vector that [`Self::seal`] encrypted, with this key or another, of untrusted bytes.
    fn reopen(&self, wire: Wire, bytes: &[u8]) -> Result<Vec<i64>, EngineError>;

    /// Decrypts a parcel of vectors of those kinds, of untrusted bytes.
    fn open(&self, parcel: &Parcel, wires: &[Wire], bytes: &[u8]) -> Result<Vec<Vec<i64>>, EngineError>;

    /// Decrypts a vector that the server carries, of untrusted bytes.
    fn open_carried(&self, wire: Wire, bytes: &[u8]) -> Result<Vec<i64>, EngineError>;
}

/// The owner of evaluation keys.
pub(crate) trait ServerCipher: Send {
    /// Takes the message with evaluation key `index`, of untrusted bytes.
    fn accept_key(&mut self, index: usize, message: &[u8]) -> Result<(), EngineError>;

    /// Says that all keys are there.
    fn ready(&mut self) -> Result<(), EngineError>;

    /// What the server is to carry, from what the client encrypted: untrusted bytes.
    fn take(&self, wire: Wire, bytes: &[u8]) -> Result<Vec<u8>, EngineError>;

    /// Runs all steps on the inputs in their order, of untrusted bytes, and on what is carried, and gives the parcels of the outputs in
    /// theirs and what is to be carried then.
    fn run(&mut self, inputs: &[&[u8]], carried: &[Vec<u8>]) -> Result<Made<Vec<u8>>, EngineError>;
}
