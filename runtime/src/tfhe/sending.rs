//! Results on their way back to the client: rounded to a smaller modulus, and packed where the plan has a key for it.
//!
//! A parcel holds ciphertexts one after the other, each in whole words: mask and body of one value, or the masks of a ring and as
//! many bodies as there are values. Their number of bytes follows from the plan; any bytes of that number are a parcel.

use tfhe::core_crypto::fft_impl::common::modulus_switch;
use tfhe::core_crypto::prelude::compressed_modulus_switched_glwe_ciphertext::CompressedModulusSwitchedGlweCiphertext;
use tfhe::core_crypto::prelude::packed_integers::PackedIntegers;
use tfhe::core_crypto::prelude::*;

use hecc_plan::tfhe::Wire;
use hecc_plan::tfhe::parameters::PackingId;
use hecc_plan::tfhe::sending::{Parcel, rounded_bytes};

use crate::engine::EngineError;
use crate::engine::party::parallel;
use crate::tfhe::backend::{bits, degree, native, rank};
use crate::tfhe::ciphertext::{Ct, nearest, phase};
use crate::tfhe::compute::Evaluator;
use crate::tfhe::keys::{put, words};
use crate::tfhe::secret::Secret;
use crate::wire::WireError;

/// The ciphertexts of a parcel, as they are sent.
pub(crate) fn send(evaluator: &Evaluator, parcel: &Parcel, values: &[&Ct], threads: usize) -> Result<Vec<u8>, EngineError> {
    let log_modulus = CiphertextModulusLog(parcel.log_modulus as usize);
    let mut bytes = Vec::new();
    match parcel.packing {
        Some(id) => {
            for values in values.chunks(evaluator.packing_ring(id)?.degree() as usize) {
                let packed = evaluator.pack(id, values, threads)?;
                let rounded = CompressedModulusSwitchedGlweCiphertext::compress(&packed, log_modulus, LweCiphertextCount(values.len()));
                put(&mut bytes, rounded.packed_integers().packed_coeffs());
            }
        }
        None => {
            for value in values {
                let rounded: Vec<u64> = value.0.iter().map(|&word| modulus_switch(word, log_modulus)).collect();
                put(&mut bytes, PackedIntegers::pack(&rounded, log_modulus).packed_coeffs());
            }
        }
    }
    Ok(bytes)
}

/// Decrypts a parcel of vectors of those kinds, of untrusted bytes: the nearest integers of each.
pub(crate) fn open(secret: &Secret, parcel: &Parcel, wires: &[Wire], bytes: &[u8], threads: usize) -> Result<Vec<Vec<i64>>, EngineError> {
    let count: usize = wires.iter().map(|wire| wire.len as usize).sum();
    let torus = match parcel.packing {
        Some(id) => packed(secret, id, parcel.log_modulus, count, bytes)?,
        None => each(secret, wires, parcel.log_modulus, count, bytes, threads)?,
    };
    let mut torus = torus.into_iter();
    Ok(wires.iter().map(|wire| torus.by_ref().take(wire.len as usize).map(|t| nearest(t, wire.bits + 1)).collect()).collect())
}

/// What each value's own ciphertext holds on the torus.
fn each(secret: &Secret, wires: &[Wire], log_modulus: u32, count: usize, bytes: &[u8], threads: usize) -> Result<Vec<u64>, EngineError> {
    let Some(ring) = wires.first().map(|wire| wire.ring) else { return Ok(Vec::new()) };
    let length = bits(secret.parameters().ring(ring)).0 + 1;
    let parts = split(bytes, &vec![length; count], log_modulus)?;
    parallel(threads, count, |i| phase(secret, ring, &Ct(unrounded(parts[i], length, log_modulus)?)))
}

/// What the coefficients of packed ciphertexts hold on the torus.
fn packed(secret: &Secret, id: PackingId, log_modulus: u32, count: usize, bytes: &[u8]) -> Result<Vec<u64>, EngineError> {
    let ring = secret.packing_ring(id)?;
    let (mask, most) = (bits(ring).0, degree(ring).0);
    let together: Vec<usize> = (0..count).step_by(most).map(|first| most.min(count - first)).collect();
    let lengths: Vec<usize> = together.iter().map(|together| mask + together).collect();
    let mut torus = Vec::with_capacity(count);
    for ((part, length), together) in split(bytes, &lengths, log_modulus)?.into_iter().zip(lengths).zip(together) {
        let mut words = unrounded(part, length, log_modulus)?;
        words.resize(mask + most, 0);
        let ciphertext = GlweCiphertext::from_container(words, degree(ring), native());
        let mut values = PlaintextList::new(0u64, PlaintextCount(most));
        decrypt_glwe_ciphertext(secret.packing(id)?, &ciphertext, &mut values);
        torus.extend(values.as_ref().iter().take(together));
    }
    Ok(torus)
}

/// The ciphertexts of a parcel, by how many words each has before they are rounded; nothing else may be there.
fn split<'a>(bytes: &'a [u8], lengths: &[usize], log_modulus: u32) -> Result<Vec<&'a [u8]>, WireError> {
    let size = |length: &usize| rounded_bytes(*length as u64, log_modulus) as usize;
    let want = lengths.iter().map(size).sum::<usize>();
    if bytes.len() != want {
        return Err(WireError::Truncated { got: bytes.len() as u64, want: want as u64 });
    }
    let mut rest = bytes;
    let mut next = |length: &usize| {
        let (part, after) = rest.split_at(size(length));
        rest = after;
        part
    };
    Ok(lengths.iter().map(&mut next).collect())
}

/// Words of the torus from as many of a smaller modulus.
fn unrounded(bytes: &[u8], count: usize, log_modulus: u32) -> Result<Vec<u64>, WireError> {
    let modulus = log_modulus as usize;
    let packed = words(bytes, (count * modulus).div_ceil(64), u64::from_le_bytes)?;
    let word = |i: usize| {
        let (at, shift) = (i * modulus / 64, i * modulus % 64);
        let low = packed[at] >> shift;
        let high = if shift + modulus > 64 { packed[at + 1] << (64 - shift) } else { 0 };
        (low | high) << (64 - modulus)
    };
    Ok((0..count).map(word).collect())
}

impl Evaluator {
    /// Packs as many ciphertexts as the ring of the key has coefficients, or fewer.
    pub(crate) fn pack(&self, id: PackingId, values: &[&Ct], threads: usize) -> Result<GlweCiphertextOwned<u64>, EngineError> {
        let key = self.packing(id)?;
        let size = key.input_key_lwe_dimension().to_lwe_size();
        let ring = self.packing_ring(id)?;
        if values.is_empty() || values.len() > ring.degree() as usize || values.iter().any(|value| value.0.len() != size.0) {
            return Err(EngineError::Turn("the ciphertexts are of another ring, or too many for one"));
        }
        let list =
            LweCiphertextList::from_container(values.iter().flat_map(|value| value.0.iter().copied()).collect::<Vec<_>>(), size, native());
        let mut packed = GlweCiphertextOwned::new(0u64, rank(ring).to_glwe_size(), degree(ring), native());
        par_keyswitch_lwe_ciphertext_list_and_pack_in_glwe_ciphertext_with_thread_count(
            key,
            &list,
            &mut packed,
            ThreadCount(threads.max(1)),
        );
        Ok(packed)
    }
}
