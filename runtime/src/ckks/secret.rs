//! The secret key.

use poulpy_core::api::{GLWESecretPreparedFactory, GLWESecretSampling};
use poulpy_core::layouts::{BackendGLWESecret, BackendGLWESecretPrepared, GLWESecretAlloc, Rank};
use poulpy_hal::layouts::ZnxViewMut;
use poulpy_hal::source::Source;
use zeroize::{Zeroize, ZeroizeOnDrop};

use hecc_plan::Bootstrap;

use crate::ckks::backend::{Backend, Module};
use crate::engine::EngineError;
use crate::entropy::entropy;

/// What the secret is drawn from.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Seed([u8; 32]);

/// A ternary secret, each coefficient uniform in {−1, 0, 1} or as many of them non-zero as a bootstrap asks for: the seed it
/// is drawn from, and its form for encryption and decryption. The library wipes its own scratch after use, but not the state
/// of a sampler.
pub(crate) struct Secret {
    seed: Seed,
    hamming_weight: Option<u32>,
    /// The secret of a bootstrap around the raise, and its weight.
    sparse: Option<(Seed, u32)>,
    prepared: BackendGLWESecretPrepared<Backend>,
    module: std::sync::Arc<Module>,
}

/// The coefficients of the secret, overwritten when no longer needed.
pub(crate) struct Coefficients(BackendGLWESecret<Backend>);

impl Secret {
    /// A fresh secret, as `bootstrap` wants it.
    pub(crate) fn generate(module: std::sync::Arc<Module>, bootstrap: Option<&Bootstrap>) -> Result<Self, EngineError> {
        let seed = Seed(*entropy()?);
        let hamming_weight = bootstrap.map(|b| b.hamming_weight);
        let sparse = bootstrap.map(|b| Ok::<_, EngineError>((Seed(*entropy()?), b.sparse_hamming_weight))).transpose()?;
        let mut prepared = module.glwe_secret_prepared_alloc(Rank(1));
        module.glwe_secret_prepare(&mut prepared, coefficients(&module, &seed, hamming_weight).get());
        Ok(Self { seed, hamming_weight, sparse, prepared, module })
    }

    /// The form for encryption and decryption.
    pub(crate) fn prepared(&self) -> &BackendGLWESecretPrepared<Backend> {
        &self.prepared
    }

    /// The coefficients, drawn again, for the evaluation keys.
    pub(crate) fn coefficients(&self) -> Coefficients {
        coefficients(&self.module, &self.seed, self.hamming_weight)
    }

    /// The coefficients of the secret around the raise.
    pub(crate) fn sparse_coefficients(&self) -> Option<Coefficients> {
        self.sparse.as_ref().map(|(seed, weight)| coefficients(&self.module, seed, Some(*weight)))
    }
}

fn coefficients(module: &Module, seed: &Seed, hamming_weight: Option<u32>) -> Coefficients {
    let mut secret = Coefficients(module.glwe_secret_alloc(Rank(1)));
    let mut source = Source::new(seed.0);
    match hamming_weight {
        Some(weight) => module.glwe_secret_fill_ternary_hw(&mut secret.0, weight as usize, &mut source),
        None => module.glwe_secret_fill_ternary_prob(&mut secret.0, 2.0 / 3.0, &mut source),
    }
    secret
}

impl Coefficients {
    /// For the library.
    pub(crate) fn get(&self) -> &BackendGLWESecret<Backend> {
        &self.0
    }
}

impl Drop for Coefficients {
    fn drop(&mut self) {
        self.0.data_mut().raw_mut().zeroize();
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        // The library gives no access to the words of the prepared form: preparing zero overwrites them all.
        let zero = self.module.glwe_secret_alloc(Rank(1));
        self.module.glwe_secret_prepare(&mut self.prepared, &zero);
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}
