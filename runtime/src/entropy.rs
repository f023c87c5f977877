//! Randomness of the operating system's.

use rand::TryRngCore;
use zeroize::Zeroizing;

use crate::engine::EngineError;

/// 32 bytes of the operating system's.
pub(crate) fn entropy() -> Result<Zeroizing<[u8; 32]>, EngineError> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::rngs::OsRng.try_fill_bytes(&mut *seed).map_err(|error| EngineError::Entropy(error.to_string()))?;
    Ok(seed)
}
