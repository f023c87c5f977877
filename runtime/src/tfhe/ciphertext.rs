//! Ciphertexts: fresh ones with the seed of their uniform half, all others in full.

use tfhe::core_crypto::commons::math::random::CompressionSeed;
use tfhe::core_crypto::prelude::*;

use hecc_plan::tfhe::noise::Modulus;
use hecc_plan::tfhe::parameters::{Parameters, RingId};

use crate::engine::EngineError;
use crate::tfhe::backend::{Generator, OneSeed, SEED_BYTES, bits, native, noise, public_seed, seed_of};
use crate::tfhe::keys::{put, words};
use crate::tfhe::secret::Secret;
use crate::wire::{Reader, WireError};

/// A ciphertext of one value: mask, then body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ct(pub(crate) Vec<u64>);

/// A value on the torus; one that does not fit wraps around.
pub(crate) fn place(value: i64, log_step: u32) -> u64 {
    64u32.checked_sub(log_step).and_then(|by| (value as u64).checked_shl(by)).unwrap_or(0)
}

/// The nearest value.
pub(crate) fn nearest(torus: u64, log_step: u32) -> i64 {
    let rounded = torus.wrapping_add(place(1, log_step + 1)) as i64;
    64u32.checked_sub(log_step).and_then(|by| rounded.checked_shr(by)).unwrap_or(0)
}

impl Ct {
    /// A ciphertext of `torus` without mask and noise.
    pub(crate) fn trivial(parameters: &Parameters, ring: RingId, torus: u64) -> Self {
        let mut words = vec![0; bits(parameters.ring(ring)).0 + 1];
        if let Some(body) = words.last_mut() {
            *body = torus;
        }
        Self(words)
    }

    /// For the library.
    pub(crate) fn view(&self) -> LweCiphertextView<'_, u64> {
        LweCiphertext::from_container(&self.0[..], native())
    }

    /// Adds `by` times another one of the same ring.
    pub(crate) fn add_scaled(&mut self, other: &Ct, by: i64) {
        debug_assert_eq!(self.0.len(), other.0.len());
        let by = by as u64;
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word = word.wrapping_add(other.wrapping_mul(by)));
    }

    /// Multiplies by `by`.
    pub(crate) fn scale(&mut self, by: i64) {
        self.0.iter_mut().for_each(|word| *word = word.wrapping_mul(by as u64));
    }

    /// Adds a constant.
    pub(crate) fn add_constant(&mut self, torus: u64) {
        if let Some(body) = self.0.last_mut() {
            *body = body.wrapping_add(torus);
        }
    }

    /// As bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, &self.0);
        bytes
    }

    /// From bytes: any words are a ciphertext, if there are as many as there should be.
    pub(crate) fn from_bytes(parameters: &Parameters, ring: RingId, bytes: &[u8]) -> Result<Self, WireError> {
        Ok(Self(words(bytes, bits(parameters.ring(ring)).0 + 1, u64::from_le_bytes)?))
    }
}

/// Bytes of so many fresh ciphertexts together.
pub(crate) fn sealed_bytes(count: usize) -> usize {
    SEED_BYTES + 8 * count
}

/// Encrypts values on the torus together: a fresh seed of all masks, and the bodies.
pub(crate) fn encrypt(secret: &Secret, ring: RingId, torus: Vec<u64>) -> Result<Vec<u8>, EngineError> {
    let parameters = secret.parameters();
    let mut bytes = Vec::with_capacity(sealed_bytes(torus.len()));
    let (seed, seed_bytes) = public_seed()?;
    bytes.extend_from_slice(&seed_bytes);
    if torus.is_empty() {
        return Ok(bytes);
    }
    let shape = parameters.ring(ring);
    let count = LweCiphertextCount(torus.len());
    let mut list = SeededLweCiphertextListOwned::new(0u64, bits(shape).to_lwe_size(), count, seed, native());
    let values = PlaintextList::from_container(torus);
    let noise = noise(parameters.security_bits, shape.bits(), Modulus::Big);
    encrypt_seeded_lwe_ciphertext_list(&secret.ring(ring)?.as_lwe_secret_key(), &mut list, &values, noise, &mut OneSeed::draw()?);
    put(&mut bytes, list.as_ref());
    Ok(bytes)
}

/// Reads fresh ciphertexts.
pub(crate) fn expand(parameters: &Parameters, ring: RingId, count: usize, bytes: &[u8]) -> Result<Vec<Ct>, WireError> {
    let mut reader = Reader(bytes);
    let seed = CompressionSeed::from(seed_of(reader.array::<SEED_BYTES>()?));
    let bodies = words(reader.0, count, u64::from_le_bytes)?;
    if bodies.is_empty() {
        return Ok(Vec::new());
    }
    let size = bits(parameters.ring(ring)).to_lwe_size();
    let seeded = SeededLweCiphertextList::from_container(bodies, size, seed, native());
    let mut list = LweCiphertextListOwned::new(0u64, size, LweCiphertextCount(count), native());
    decompress_seeded_lwe_ciphertext_list::<_, _, _, Generator>(&mut list, &seeded);
    Ok(list.as_ref().chunks_exact(size.0).map(|words| Ct(words.to_vec())).collect())
}

/// What a ciphertext holds on the torus, noise included.
pub(crate) fn phase(secret: &Secret, ring: RingId, ciphertext: &Ct) -> Result<u64, EngineError> {
    Ok(decrypt_lwe_ciphertext(&secret.ring(ring)?.as_lwe_secret_key(), &ciphertext.view()).0)
}
