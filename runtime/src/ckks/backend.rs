//! The library's types, for the kernels that this build uses.

use poulpy_ckks::layouts::BootstrappingKeysPrepared;
use poulpy_core::layouts::{
    BackendGLWEAutomorphismKeyPrepared, BackendGLWESwitchingKeyPrepared, BackendGLWETensorKeyPrepared, GGLWELayout, Rank,
};
use poulpy_hal::api::{ScratchOwnedAlloc, ScratchOwnedBorrow};
use poulpy_hal::layouts::{ScratchArena, ScratchOwned};

use hecc_plan::{Ckks, KeyShape};

/// AVX-512-IFMA kernels.
#[cfg(target_feature = "avx512ifma")]
pub(crate) type Backend = poulpy_cpu_avx512::NTT3x42Ifma;
/// AVX2 kernels.
#[cfg(all(target_feature = "avx2", target_feature = "fma", not(target_feature = "avx512ifma")))]
pub(crate) type Backend = poulpy_cpu_avx::NTT4x30Avx;
/// Portable kernels.
#[cfg(not(any(target_feature = "avx512ifma", all(target_feature = "avx2", target_feature = "fma"))))]
pub(crate) type Backend = poulpy_cpu_portable::NTT4x30Portable;

/// Their name.
pub(crate) const KERNELS: &str = if cfg!(target_feature = "avx512ifma") {
    "AVX-512-IFMA"
} else if cfg!(all(target_feature = "avx2", target_feature = "fma")) {
    "AVX2"
} else {
    "portable"
};

/// AVX-512-IFMA kernels that share their work among threads. Ciphertexts are those of [`Backend`]; prepared keys are not.
#[cfg(target_feature = "avx512ifma")]
pub(crate) type Parallel = poulpy_cpu_avx512::NTT3x42IfmaRayon;
/// AVX2 kernels that share their work among threads.
#[cfg(all(target_feature = "avx2", target_feature = "fma", not(target_feature = "avx512ifma")))]
pub(crate) type Parallel = poulpy_cpu_avx::NTT4x30AvxRayon;
/// Portable kernels that share their work among threads.
#[cfg(not(any(target_feature = "avx512ifma", all(target_feature = "avx2", target_feature = "fma"))))]
pub(crate) type Parallel = poulpy_cpu_rayon::NTT4x30PortableRayon;

pub(crate) type Module = poulpy_hal::layouts::Module<Backend>;
pub(crate) type Ciphertext = poulpy_ckks::layouts::CKKSCiphertextOwned<Backend>;
pub(crate) type Plaintext = poulpy_ckks::layouts::CKKSPlaintextOwned<Backend>;
pub(crate) type TensorKey = BackendGLWETensorKeyPrepared<Backend>;
pub(crate) type RotationKey = BackendGLWEAutomorphismKeyPrepared<Backend>;

/// The same for the bootstrap.
pub(crate) type ParallelModule = poulpy_hal::layouts::Module<Parallel>;
pub(crate) type ParallelTensorKey = BackendGLWETensorKeyPrepared<Parallel>;
pub(crate) type ParallelRotationKey = BackendGLWEAutomorphismKeyPrepared<Parallel>;
pub(crate) type ParallelSwitchingKey = BackendGLWESwitchingKeyPrepared<Parallel>;
pub(crate) type BootstrapKeys = BootstrappingKeysPrepared<<Parallel as poulpy_hal::layouts::Backend>::OwnedBuf, Parallel>;

/// The library's layout of an evaluation key.
pub(crate) fn key_layout(ckks: &Ckks, shape: &KeyShape) -> GGLWELayout {
    GGLWELayout {
        n: (1u32 << ckks.log_n).into(),
        base2k: ckks.base2k.into(),
        dnum: shape.dnum.into(),
        k_aux: shape.aux.into(),
        rank_in: Rank(1),
        rank_out: Rank(1),
        k_digit: shape.digit.into(),
        k_offset: 0u32.into(),
        stride: 1,
    }
}

/// Scratch memory: one arena per thread that asks, kept for the next.
pub(crate) struct Arenas<B: poulpy_hal::layouts::Backend = Backend> {
    bytes: usize,
    free: std::sync::Mutex<Vec<ScratchOwned<B>>>,
}

impl<B> Arenas<B>
where
    B: poulpy_hal::layouts::Backend,
    ScratchOwned<B>: ScratchOwnedAlloc<B> + ScratchOwnedBorrow<B>,
{
    /// Arenas of `bytes`.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, free: std::sync::Mutex::default() }
    }

    /// Lends an arena to `work`.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut ScratchArena<'_, B>) -> T) -> T {
        let held = self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop();
        let mut arena = held.unwrap_or_else(|| ScratchOwned::alloc(self.bytes));
        let result = work(&mut arena.borrow());
        self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(arena);
        result
    }

    /// Overwrites what computations left behind.
    pub(crate) fn wipe(&self) {
        for arena in &mut *self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
            arena.borrow().wipe(self.bytes);
        }
    }
}
