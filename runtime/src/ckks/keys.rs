//! Evaluation keys: made by the client in seeded form, sent, expanded and prepared by the server.
//!
//! A key message holds the number of the key in the manifest (relinearisation keys first), the seeds of its uniform halves and
//! the digits of the other halves.

use std::collections::HashMap;

use poulpy_ckks::prelude::CKKSModuleInfos;
use poulpy_core::CoreError;
use poulpy_core::api::{
    GLWEAutomorphismKeyCompressedEncryptSk, GLWEAutomorphismKeyDecompress, GLWEAutomorphismKeyPreparedFactory,
    GLWETensorKeyCompressedEncryptSk, GLWETensorKeyDecompress, GLWETensorKeyPreparedFactory,
};
use poulpy_core::layouts::{
    GGLWECompressedSeedMut, GGLWECompressedToBackendMut, GLWEAutomorphismKeyAlloc, GLWEAutomorphismKeyCompressedAlloc,
    GLWEAutomorphismKeyLayout, GLWETensorKeyAlloc, GLWETensorKeyCompressedAlloc, GLWETensorKeyLayout, GetAutomorphismKey, GetTensorKey,
    SetGaloisElement, TorusPrecision,
    prepared::{
        GLWEAutomorphismKeyPreparedBackendRef, GLWEAutomorphismKeyPreparedToBackendRef, GLWETensorKeyPreparedBackendRef,
        GLWETensorKeyPreparedToBackendRef,
    },
};
use poulpy_hal::source::Source;

use hecc_plan::{Ckks, KeyManifest, KeyShape};

use crate::ckks::backend::{Arenas, Backend, Module, RotationKey, TensorKey, key_layout};
use crate::ckks::secret::{Secret, entropy};
use crate::engine::EngineError;
use crate::wire::{self, Kind, Reader, WireError};

/// Which key of the manifest.
#[derive(Clone, Copy)]
pub(crate) enum Which {
    /// For products.
    Relinearisation(KeyShape),
    /// For a rotation by that many slots.
    Rotation(i64, KeyShape),
}

/// Key `index` of the manifest, relinearisation keys first.
pub(crate) fn which(keys: &KeyManifest, index: usize) -> Option<Which> {
    match index.checked_sub(keys.relinearisation.len()) {
        None => keys.relinearisation.get(index).map(|shape| Which::Relinearisation(*shape)),
        Some(index) => keys.rotations.get(index).map(|key| Which::Rotation(key.by, key.shape)),
    }
}

/// How many keys the manifest names.
pub(crate) fn count(keys: &KeyManifest) -> usize {
    keys.relinearisation.len() + keys.rotations.len()
}

/// Scratch bytes of making any of the keys.
pub(crate) fn making_bytes(module: &Module, ckks: &Ckks, keys: &KeyManifest) -> usize {
    let tensors = keys.relinearisation.iter().map(|shape| {
        let layout: GLWETensorKeyLayout = key_layout(ckks, shape).into();
        module.glwe_tensor_key_compressed_encrypt_sk_tmp_bytes(&layout)
    });
    let rotations = keys.rotations.iter().map(|key| {
        let layout: GLWEAutomorphismKeyLayout = key_layout(ckks, &key.shape).into();
        module.glwe_automorphism_key_compressed_encrypt_sk_tmp_bytes(&layout)
    });
    tensors.chain(rotations).max().unwrap_or(0)
}

/// Makes key `index`, as a message.
pub(crate) fn make(
    module: &Module,
    ckks: &Ckks,
    keys: &KeyManifest,
    index: usize,
    fingerprint: u64,
    secret: &Secret,
    arenas: &Arenas,
) -> Result<Vec<u8>, EngineError> {
    let which = which(keys, index).ok_or(EngineError::Turn("there is no such key"))?;
    let mut errors = Source::new(*entropy()?);
    // This seed only draws the seeds of the uniform halves, which are public.
    let uniform = *entropy()?;
    let secret = secret.coefficients();
    let mut payload = (index as u32).to_le_bytes().to_vec();
    match which {
        Which::Relinearisation(shape) => {
            let layout: GLWETensorKeyLayout = key_layout(ckks, &shape).into();
            let mut key = module.glwe_tensor_key_compressed_alloc_from_infos(&layout);
            arenas.with(|scratch| module.glwe_tensor_key_compressed_encrypt_sk(&mut key, secret.get(), uniform, &mut errors, scratch));
            write(&mut payload, &mut key);
        }
        Which::Rotation(by, shape) => {
            let layout: GLWEAutomorphismKeyLayout = key_layout(ckks, &shape).into();
            let mut key = module.glwe_automorphism_key_compressed_alloc_from_infos(&layout);
            let element = module.ckks_galois_element(by);
            arenas.with(|scratch| {
                module.glwe_automorphism_key_compressed_encrypt_sk(&mut key, element, secret.get(), uniform, &mut errors, scratch);
            });
            write(&mut payload, &mut key);
        }
    }
    Ok(wire::encode(Kind::Key, fingerprint, &payload))
}

fn write<K: GGLWECompressedToBackendMut<Backend> + GGLWECompressedSeedMut>(payload: &mut Vec<u8>, key: &mut K) {
    key.seed_mut().iter().for_each(|seed| payload.extend_from_slice(seed));
    wire::put_words(payload, key.to_backend_mut().data().raw());
}

fn read<K: GGLWECompressedToBackendMut<Backend> + GGLWECompressedSeedMut>(
    reader: &mut Reader<'_>,
    base2k: u32,
    key: &mut K,
) -> Result<(), WireError> {
    for seed in key.seed_mut() {
        *seed = reader.array()?;
    }
    let mut view = key.to_backend_mut();
    let words = view.data_mut().raw_mut();
    wire::get_digits(reader.take(8 * words.len())?, base2k, words)
}

/// The server's keys.
pub(crate) struct EvaluationKeys {
    tensors: Vec<(u32, TensorKey)>,
    rotations: HashMap<i64, RotationKey>,
}

/// One of the server's keys.
pub(crate) enum EvaluationKey {
    /// For products of ciphertexts of up to that many bits.
    Tensor(u32, TensorKey),
    /// For the automorphism of that Galois element.
    Rotation(i64, RotationKey),
}

/// Reads the message of key `index`. Lengths and digits are checked against the manifest before the library sees any.
pub(crate) fn accept(
    module: &Module,
    ckks: &Ckks,
    keys: &KeyManifest,
    index: usize,
    fingerprint: u64,
    message: &[u8],
    arenas: &Arenas,
) -> Result<EvaluationKey, EngineError> {
    let which = which(keys, index).ok_or(EngineError::Turn("there is no such key"))?;
    let mut reader = Reader(wire::decode(message, Kind::Key, fingerprint)?);
    if reader.u32()? as usize != index {
        return Err(EngineError::Turn("the key is another"));
    }
    match which {
        Which::Relinearisation(shape) => {
            let layout: GLWETensorKeyLayout = key_layout(ckks, &shape).into();
            let mut seeded = module.glwe_tensor_key_compressed_alloc_from_infos(&layout);
            read(&mut reader, ckks.base2k, &mut seeded)?;
            reader.end()?;
            let mut key = module.glwe_tensor_key_alloc_from_infos(&layout);
            module.glwe_tensor_key_decompress(&mut key, &seeded);
            drop(seeded);
            let mut prepared = module.glwe_tensor_key_prepared_alloc_from_infos(&layout);
            arenas.with(|scratch| module.glwe_tensor_key_prepare(&mut prepared, &key, scratch));
            Ok(EvaluationKey::Tensor(shape.k, prepared))
        }
        Which::Rotation(by, shape) => {
            let layout: GLWEAutomorphismKeyLayout = key_layout(ckks, &shape).into();
            let element = module.ckks_galois_element(by);
            let mut seeded = module.glwe_automorphism_key_compressed_alloc_from_infos(&layout);
            read(&mut reader, ckks.base2k, &mut seeded)?;
            reader.end()?;
            seeded.set_p(element);
            let mut key = module.glwe_automorphism_key_alloc_from_infos(&layout);
            module.glwe_automorphism_key_decompress(&mut key, &seeded);
            drop(seeded);
            let mut prepared = module.glwe_automorphism_key_prepared_alloc_from_infos(&layout);
            arenas.with(|scratch| module.glwe_automorphism_key_prepare(&mut prepared, &key, scratch));
            Ok(EvaluationKey::Rotation(element, prepared))
        }
    }
}

/// Scratch bytes of taking any of the keys.
pub(crate) fn accepting_bytes(module: &Module, ckks: &Ckks, keys: &KeyManifest) -> usize {
    let tensors = keys.relinearisation.iter().map(|shape| {
        let layout: GLWETensorKeyLayout = key_layout(ckks, shape).into();
        module.glwe_tensor_key_prepare_tmp_bytes(&layout)
    });
    let rotations = keys.rotations.iter().map(|key| {
        let layout: GLWEAutomorphismKeyLayout = key_layout(ckks, &key.shape).into();
        module.glwe_automorphism_key_prepare_tmp_bytes(&layout)
    });
    tensors.chain(rotations).max().unwrap_or(0)
}

impl EvaluationKeys {
    /// Sorts keys by their use, the narrowest relinearisation key first.
    pub(crate) fn new(keys: Vec<EvaluationKey>) -> Self {
        let (mut tensors, mut rotations) = (Vec::new(), HashMap::new());
        for key in keys {
            match key {
                EvaluationKey::Tensor(k, key) => tensors.push((k, key)),
                EvaluationKey::Rotation(element, key) => {
                    rotations.insert(element, key);
                }
            }
        }
        tensors.sort_by_key(|(k, _)| *k);
        Self { tensors, rotations }
    }
}

impl GetTensorKey<Backend> for EvaluationKeys {
    fn lookup_tensor_key(&self, k: TorusPrecision) -> poulpy_core::Result<GLWETensorKeyPreparedBackendRef<'_, Backend>> {
        let wide = self.tensors.iter().find(|(width, _)| *width >= k.0);
        wide.map(|(_, key)| key.to_backend_ref())
            .ok_or_else(|| CoreError::GGLWEKeyUse { op: "product", detail: format!("no relinearisation key for {k} bits") })
    }
}

impl GetAutomorphismKey<Backend> for EvaluationKeys {
    fn lookup_automorphism_key(
        &self,
        p: i64,
        k: TorusPrecision,
    ) -> poulpy_core::Result<GLWEAutomorphismKeyPreparedBackendRef<'_, Backend>> {
        self.rotations
            .get(&p)
            .map(GLWEAutomorphismKeyPreparedToBackendRef::to_backend_ref)
            .ok_or_else(|| CoreError::GGLWEKeyUse { op: "rotation", detail: format!("no rotation key for {k} bits") })
    }
}
