//! The secrets: one of each ring, a small one of each lookup, and one of each packing key.

use std::sync::Arc;

use tfhe::core_crypto::prelude::*;
use zeroize::Zeroize;

use hecc_plan::tfhe::parameters::{PackingId, Parameters, Ring, RingId};

use crate::engine::EngineError;
use crate::tfhe::backend::{Generator, OneSeed, degree, rank};

/// Secrets of uniform bits. They are never written, and overwritten when no longer needed; the library does not overwrite the
/// states of its generators.
pub(crate) struct Secret {
    parameters: Arc<Parameters>,
    rings: Vec<GlweSecretKeyOwned<u64>>,
    small: Vec<LweSecretKeyOwned<u32>>,
    packings: Vec<GlweSecretKeyOwned<u64>>,
}

impl Secret {
    /// Fresh secrets.
    pub(crate) fn generate(parameters: Arc<Parameters>) -> Result<Self, EngineError> {
        let mut generator = SecretRandomGenerator::<Generator>::new(OneSeed::draw()?.seed());
        let mut secret = Self { parameters: Arc::clone(&parameters), rings: Vec::new(), small: Vec::new(), packings: Vec::new() };
        for ring in &parameters.rings {
            secret.rings.push(allocate_and_generate_new_binary_glwe_secret_key(rank(*ring), degree(*ring), &mut generator));
        }
        for lookup in &parameters.lookups {
            let length = LweDimension(lookup.small as usize);
            secret.small.push(allocate_and_generate_new_binary_lwe_secret_key(length, &mut generator));
        }
        for packing in &parameters.packings {
            let (rank, degree) = (rank(packing.to), degree(packing.to));
            secret.packings.push(allocate_and_generate_new_binary_glwe_secret_key(rank, degree, &mut generator));
        }
        Ok(secret)
    }

    /// What they are for.
    pub(crate) fn parameters(&self) -> &Arc<Parameters> {
        &self.parameters
    }

    /// The secret of a ring.
    pub(crate) fn ring(&self, id: RingId) -> Result<&GlweSecretKeyOwned<u64>, EngineError> {
        self.rings.get(id.0 as usize).ok_or(EngineError::Turn("there is no such ring"))
    }

    /// The small secret of the lookup of that index.
    pub(crate) fn small(&self, lookup: usize) -> Result<&LweSecretKeyOwned<u32>, EngineError> {
        self.small.get(lookup).ok_or(EngineError::Turn("there is no such lookup"))
    }

    /// The secret that a packing key leads to.
    pub(crate) fn packing(&self, id: PackingId) -> Result<&GlweSecretKeyOwned<u64>, EngineError> {
        self.packings.get(id.0 as usize).ok_or(EngineError::Turn("there is no such packing key"))
    }

    /// Its ring.
    pub(crate) fn packing_ring(&self, id: PackingId) -> Result<Ring, EngineError> {
        let packing = self.parameters.packings.get(id.0 as usize);
        packing.map(|packing| packing.to).ok_or(EngineError::Turn("there is no such packing key"))
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.rings.iter_mut().for_each(|secret| secret.as_mut().zeroize());
        self.small.iter_mut().for_each(|secret| secret.as_mut().zeroize());
        self.packings.iter_mut().for_each(|secret| secret.as_mut().zeroize());
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}
