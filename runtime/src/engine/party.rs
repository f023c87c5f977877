//! What a backend does for each of the two parties.

use hecc_plan::oracle::Slots;
use hecc_plan::{InputId, Wire};

use crate::engine::EngineError;

/// The client's half: it turns slots into bytes that only it can read back.
pub(crate) trait ClientCipher: Send + Sync {
    /// How many evaluation keys the server needs.
    fn keys(&self) -> usize;
    /// The message with evaluation key `index`.
    fn key(&self, index: usize) -> Result<Vec<u8>, EngineError>;
    /// A fresh ciphertext.
    fn seal(&self, label: &str, wire: Wire, slots: &[f64]) -> Result<Vec<u8>, EngineError>;
    /// Bytes that [`Self::open`] takes.
    fn opened_len(&self, wire: Wire) -> usize;
    /// The slots of a result.
    fn open(&self, wire: Wire, bytes: &[u8]) -> Result<Slots, EngineError>;
    /// Bytes of a fresh ciphertext.
    fn sealed_len(&self, wire: Wire) -> usize;
    /// The slots of a fresh ciphertext.
    fn reopen(&self, wire: Wire, bytes: &[u8]) -> Result<Slots, EngineError>;
}

/// The server's half. Nothing it is given, and no type it names, holds a secret.
pub(crate) trait ServerCipher: Send + Sync {
    /// Takes the message with evaluation key `index`.
    fn accept_key(&self, index: usize, message: &[u8]) -> Result<(), EngineError>;
    /// Says that all keys are there.
    fn ready(&mut self) -> Result<(), EngineError>;
    /// Keeps the client's carried ciphertexts, in the order of the plan.
    fn plant(&mut self, carried: &[&[u8]]) -> Result<(), EngineError>;
    /// An update begins: keeps the carried ciphertexts as they are beside those that it makes.
    fn begin(&mut self);
    /// An update begins again: the carried ciphertexts are those of [`Self::begin`].
    fn go_back(&mut self);
    /// The carried ciphertexts, narrowed for the client; those of [`Self::begin`] if `before`.
    fn fetch(&self, before: bool) -> Result<Vec<Vec<u8>>, EngineError>;
    /// Runs round `number` of an update (counted from 0) on the client's ciphertexts; round 0 starts afresh.
    fn run(&mut self, number: usize, update: u64, inputs: Vec<(InputId, &[u8])>) -> Result<Vec<Vec<u8>>, EngineError>;
}

/// Runs `work` on `0..count` on up to `threads` threads, results in order. The first error in that order counts.
pub(crate) fn parallel<T: Send, E: Send>(threads: usize, count: usize, work: impl Fn(usize) -> Result<T, E> + Sync) -> Result<Vec<T>, E> {
    if threads.min(count) <= 1 {
        return (0..count).map(work).collect();
    }
    let next = std::sync::atomic::AtomicUsize::new(0);
    let parts: Vec<Vec<(usize, Result<T, E>)>> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.min(count))
            .map(|_| {
                scope.spawn(|| {
                    let mut part = Vec::new();
                    loop {
                        let index = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if index >= count {
                            return part;
                        }
                        let result = work(index);
                        let failed = result.is_err();
                        part.push((index, result));
                        if failed {
                            return part;
                        }
                    }
                })
            })
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let mut results: Vec<(usize, Result<T, E>)> = parts.into_iter().flatten().collect();
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}
