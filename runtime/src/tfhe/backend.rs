//! The library's types, and what it needs to be told.

use tfhe::core_crypto::commons::math::random::{CompressionSeed, Seed};
use tfhe::core_crypto::prelude::*;
use zeroize::Zeroize;

use hecc_plan::tfhe::noise::Modulus;
use hecc_plan::tfhe::parameters::{self, Ring};

use crate::engine::EngineError;
use crate::entropy::entropy;

/// The generator of all randomness: AES in counter mode, from seeds of the operating system's.
pub(crate) type Generator = DefaultRandomGenerator;
/// A key from a ring's secret to a small one.
pub(crate) type SmallSwitchKey = LweKeyswitchKeyOwned<u32>;
/// A key from a ring's secret to another's.
pub(crate) type BigSwitchKey = LweKeyswitchKeyOwned<u64>;
/// A key that packs ciphertexts of single values.
pub(crate) type PackingKey = LwePackingKeyswitchKeyOwned<u64>;
/// A key for blind rotations, transformed.
pub(crate) type RotationKey = FourierLweBootstrapKeyOwned;

/// Bytes of a seed.
pub(crate) const SEED_BYTES: usize = 16;

/// One seed of the operating system's, for one generator: the library asks a seeder where it wants noise, and has no way to say
/// that there is none.
pub(crate) struct OneSeed(Option<[u8; SEED_BYTES]>);

impl OneSeed {
    /// Draws it.
    pub(crate) fn draw() -> Result<Self, EngineError> {
        let bytes = entropy()?;
        let mut seed = [0; SEED_BYTES];
        seed.copy_from_slice(&bytes[..SEED_BYTES]);
        Ok(Self(Some(seed)))
    }
}

impl Seeder for OneSeed {
    fn seed(&mut self) -> Seed {
        let mut bytes = self.0.take().expect("a generator asks for one seed");
        let seed = seed_of(bytes);
        bytes.zeroize();
        seed
    }

    fn is_available() -> bool {
        true
    }
}

impl Drop for OneSeed {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A seed from its bytes in a message.
pub(crate) fn seed_of(bytes: [u8; SEED_BYTES]) -> Seed {
    Seed(u128::from_le_bytes(bytes))
}

/// A fresh seed of a uniform half, which is public, and its bytes.
pub(crate) fn public_seed() -> Result<(CompressionSeed, [u8; SEED_BYTES]), EngineError> {
    let bytes = entropy()?;
    let mut seed = [0; SEED_BYTES];
    seed.copy_from_slice(&bytes[..SEED_BYTES]);
    Ok((seed_of(seed).into(), seed))
}

/// The noise of keys and fresh ciphertexts under a secret of that many bits.
pub(crate) fn noise<T: UnsignedInteger>(security_bits: u32, secret_bits: u32, modulus: Modulus) -> DynamicDistribution<T> {
    DynamicDistribution::new_gaussian(Variance(parameters::variance(security_bits, secret_bits, modulus)))
}

/// The modulus of a word.
pub(crate) fn native<T: UnsignedInteger>() -> CiphertextModulus<T> {
    CiphertextModulus::new_native()
}

/// A ring's rank.
pub(crate) fn rank(ring: Ring) -> GlweDimension {
    GlweDimension(ring.dimension as usize)
}

/// A ring's degree.
pub(crate) fn degree(ring: Ring) -> PolynomialSize {
    PolynomialSize(ring.degree() as usize)
}

/// Bits of a ring's secret.
pub(crate) fn bits(ring: Ring) -> LweDimension {
    LweDimension(ring.bits() as usize)
}

/// Digits, as the library wants them.
pub(crate) fn digits(decomposition: parameters::Decomposition) -> (DecompositionBaseLog, DecompositionLevelCount) {
    (DecompositionBaseLog(decomposition.base_log as usize), DecompositionLevelCount(decomposition.levels as usize))
}
