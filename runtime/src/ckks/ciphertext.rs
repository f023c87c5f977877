//! Ciphertexts: fresh ones with the seed of their uniform half, results in full.

use poulpy_ckks::prelude::*;
use poulpy_core::api::{GLWECompressedEncryptSk, GLWEDecompress, GLWENormalize};
use poulpy_core::layouts::{
    GLWECompressedAlloc, GLWECompressedSeed, GLWECompressedSeedMut, GLWELayout, GLWEPlaintextAlloc, GLWEPlaintextLayout, GLWEToBackendMut,
    GLWEToBackendRef, IntPolyInfos, Rank,
};
use poulpy_hal::api::{VecZnxLsh, VecZnxLshTmpBytes, VecZnxRsh, VecZnxRshTmpBytes};
use poulpy_hal::layouts::{ScratchArena, ZnxView, ZnxViewMut};
use poulpy_hal::source::Source;

use hecc_plan::oracle::Slots;
use hecc_plan::{Ckks, Wire};

use crate::ckks::backend::{Backend, Ciphertext, Module};
use crate::ckks::plaintext::{encode_bytes, encode_slots, library, meta};
use crate::ckks::secret::Secret;
use crate::engine::EngineError;
use crate::entropy::entropy;
use crate::wire::{self, Reader, WireError};

/// The most bits over the scale that decryption keeps.
const DECODED_BUDGET: u32 = 24;

/// Bytes of a polynomial.
pub(crate) fn half_bytes(ckks: &Ckks, wire: Wire) -> usize {
    (wire.k.div_ceil(ckks.base2k) as usize * 8) << ckks.log_n
}

/// Bytes of a fresh ciphertext.
pub(crate) fn seeded_bytes(ckks: &Ckks, wire: Wire) -> usize {
    32 + half_bytes(ckks, wire)
}

/// Bytes of a result.
pub(crate) fn full_bytes(ckks: &Ckks, wire: Wire) -> usize {
    2 * half_bytes(ckks, wire)
}

/// The library's layout of a ciphertext.
pub(crate) fn layout(ckks: &Ckks, wire: Wire) -> CKKSLayout {
    CKKSLayout {
        glwe_layout: GLWELayout { n: (1u32 << ckks.log_n).into(), base2k: ckks.base2k.into(), k: wire.k.into(), rank: Rank(1) },
        meta: meta(wire.scale),
    }
}

/// Scratch bytes of the client's work on ciphertexts of that layout.
pub(crate) fn client_bytes(module: &Module, ckks: &Ckks, wire: Wire) -> usize {
    let ct = layout(ckks, wire);
    let limbs = wire.k.div_ceil(ckks.base2k) as usize;
    let pt = layout(ckks, Wire { scale: wire.scale, k: wire.scale + DECODED_BUDGET });
    encode_bytes(module)
        .max(module.glwe_compressed_encrypt_sk_tmp_bytes(&ct))
        .max(module.vec_znx_rsh_tmp_bytes(limbs))
        .max(module.vec_znx_lsh_tmp_bytes(limbs))
        .max(module.ckks_decrypt_tmp_bytes(&pt, &ct))
}

/// Encrypts slots: a fresh seed of the uniform half, and the digits of the other half.
pub(crate) fn encrypt(
    module: &Module,
    ckks: &Ckks,
    label: &str,
    wire: Wire,
    slots: &[f64],
    secret: &Secret,
    scratch: &mut ScratchArena<'_, Backend>,
) -> Result<Vec<u8>, EngineError> {
    let message = encode_slots(module, ckks, label, slots, (wire.scale, wire.budget()), false, scratch)?;
    // On the torus the message stands `budget` bits below one; the encoding is an integer whose last limb ends at
    // `encoded_k`.
    let (n, base2k) = (1u32 << ckks.log_n, ckks.base2k as usize);
    let mut placed =
        module.glwe_plaintext_alloc_from_infos(&GLWEPlaintextLayout { n: n.into(), base2k: ckks.base2k.into(), k: wire.k.into() });
    let encoded = message.encoded_k().as_usize();
    {
        let source = GLWEToBackendRef::<Backend>::to_backend_ref(&message);
        let mut target = GLWEToBackendMut::<Backend>::to_backend_mut(&mut placed);
        match (wire.k as usize).checked_sub(encoded) {
            Some(down) => module.vec_znx_rsh(base2k, down, target.data_mut(), 0, source.data(), 0, scratch),
            None => module.vec_znx_lsh(base2k, encoded - wire.k as usize, target.data_mut(), 0, source.data(), 0, scratch),
        }
    }
    let mut seeded = module.glwe_compressed_alloc(ckks.base2k.into(), wire.k.into(), Rank(1));
    let mut errors = Source::new(*entropy()?);
    module.glwe_compressed_encrypt_sk(&mut seeded, &placed, secret.prepared(), *entropy()?, &mut errors, scratch);
    let mut bytes = Vec::with_capacity(seeded_bytes(ckks, wire));
    bytes.extend_from_slice(seeded.seed());
    wire::put_words(&mut bytes, seeded.data().raw());
    Ok(bytes)
}

/// Reads a fresh ciphertext.
pub(crate) fn expand(module: &Module, ckks: &Ckks, wire: Wire, bytes: &[u8]) -> Result<Ciphertext, WireError> {
    let mut reader = Reader(bytes);
    let mut seeded = module.glwe_compressed_alloc(ckks.base2k.into(), wire.k.into(), Rank(1));
    *seeded.seed_mut() = reader.array()?;
    wire::get_digits(reader.0, ckks.base2k, seeded.data_mut().raw_mut())?;
    seeded.set_plaintext_meta(Some(meta(wire.scale)));
    let mut ciphertext = module.ckks_ciphertext_alloc(ckks.base2k.into(), wire.k.into());
    module.glwe_decompress(&mut *ciphertext, &seeded);
    Ok(ciphertext)
}

/// Writes a result.
pub(crate) fn write(module: &Module, ciphertext: &Ciphertext, scratch: &mut ScratchArena<'_, Backend>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if (**ciphertext).is_canonical() {
        wire::put_words(&mut bytes, ciphertext.data().raw());
    } else {
        let mut normal = ciphertext.clone();
        module.glwe_normalize_assign(&mut normal, scratch);
        wire::put_words(&mut bytes, normal.data().raw());
    }
    bytes
}

/// Decrypts a result.
pub(crate) fn decrypt(
    module: &Module,
    ckks: &Ckks,
    wire: Wire,
    bytes: &[u8],
    secret: &Secret,
    scratch: &mut ScratchArena<'_, Backend>,
) -> Result<Slots, EngineError> {
    let mut ciphertext = module.ckks_ciphertext_alloc(ckks.base2k.into(), wire.k.into());
    wire::get_digits(bytes, ckks.base2k, ciphertext.data_mut().raw_mut())?;
    ciphertext.set_meta(meta(wire.scale));
    (*ciphertext).set_canonical(true);
    let slots = module.ckks_max_slots();
    let k = wire.scale + wire.budget().min(DECODED_BUDGET);
    let mut message = module.ckks_plaintext_alloc_from_slots(slots, ckks.base2k.into(), k.into());
    message.set_meta(meta(wire.scale));
    module.ckks_decrypt(&mut message, &ciphertext, secret.prepared(), scratch).map_err(library("decryption"))?;
    let (mut real, mut imaginary) = (vec![0.0; slots], vec![0.0; slots]);
    module.ckks_decode_slots_host_into(&message, &mut real, &mut imaginary, scratch).map_err(library("decoding"))?;
    Ok(real)
}
