//! What a scheme does for the two parties.

use hecc_plan::tfhe::Wire;

use crate::engine::EngineError;

/// The owner of the secret keys.
pub(crate) trait ClientCipher: Send + Sync {
    /// How many evaluation keys the server needs.
    fn keys(&self) -> usize;

    /// The message with evaluation key `index`.
    fn key(&self, index: usize) -> Result<Vec<u8>, EngineError>;

    /// Encrypts a vector of that kind.
    fn seal(&self, wire: Wire, integers: &[i64]) -> Result<Vec<u8>, EngineError>;

    /// Decrypts a vector of that kind, of untrusted bytes.
    fn open(&self, wire: Wire, bytes: &[u8]) -> Result<Vec<i64>, EngineError>;
}

/// The owner of evaluation keys.
pub(crate) trait ServerCipher: Send {
    /// Takes the message with evaluation key `index`, of untrusted bytes.
    fn accept_key(&mut self, index: usize, message: &[u8]) -> Result<(), EngineError>;

    /// Says that all keys are there.
    fn ready(&mut self) -> Result<(), EngineError>;

    /// Runs all steps on the inputs in their order, of untrusted bytes, and gives the outputs in theirs.
    fn run(&mut self, inputs: &[&[u8]]) -> Result<Vec<Vec<u8>>, EngineError>;
}
