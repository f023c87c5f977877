//! Evaluation keys: made by the client in seeded form, sent, expanded and prepared by the server.
//!
//! A key message holds the number of the key in the plan (relinearisation keys, rotation keys, then those of the bootstrap),
//! the seeds of its uniform halves and the digits of the other halves. Keys of the steps and of the bootstrap are kept apart
//! even where they are for the same rotation: the steps work on narrower ciphertexts, for which a narrower key costs less.

use std::collections::HashMap;
use std::sync::Arc;

use poulpy_ckks::prelude::CKKSModuleInfos;
use poulpy_core::CoreError;
use poulpy_core::api::{
    GLWEAutomorphismKeyCompressedEncryptSk, GLWEAutomorphismKeyDecompress, GLWEAutomorphismKeyPreparedFactory,
    GLWESwitchingKeyCompressedEncryptSk, GLWESwitchingKeyDecompress, GLWESwitchingKeyPreparedFactory, GLWETensorKeyCompressedEncryptSk,
    GLWETensorKeyDecompress, GLWETensorKeyPreparedFactory,
};
use poulpy_core::layouts::{
    GGLWECompressedSeedMut, GGLWECompressedToBackendMut, GLWEAutomorphismKeyAlloc, GLWEAutomorphismKeyCompressedAlloc,
    GLWEAutomorphismKeyLayout, GLWESwitchingKeyAlloc, GLWESwitchingKeyCompressedAlloc, GLWESwitchingKeyDegreesMut, GLWESwitchingKeyLayout,
    GLWETensorKeyAlloc, GLWETensorKeyCompressedAlloc, GLWETensorKeyLayout, GetAutomorphismKey, GetTensorKey, SetGaloisElement,
    TorusPrecision,
    prepared::{
        GLWEAutomorphismKeyPreparedBackendRef, GLWEAutomorphismKeyPreparedToBackendRef, GLWETensorKeyPreparedBackendRef,
        GLWETensorKeyPreparedToBackendRef,
    },
};
use poulpy_hal::source::Source;

use hecc_plan::{KeyShape, Plan};

use crate::ckks::backend::{
    Arenas, Backend, BootstrapKeys, Module, Parallel, ParallelModule, ParallelRotationKey, ParallelSwitchingKey, ParallelTensorKey,
    RotationKey, TensorKey, key_layout,
};
use crate::ckks::bootstrap::switching_layout;
use crate::ckks::secret::Secret;
use crate::engine::EngineError;
use crate::entropy::entropy;
use crate::wire::{self, Kind, Reader, WireError};

/// A key of the plan.
#[derive(Clone, Copy)]
pub(crate) struct Which {
    /// What it does.
    task: Task,
    /// Its shape.
    shape: KeyShape,
    /// Whether it is one of the bootstrap's.
    bootstrap: bool,
}

/// What a key does.
#[derive(Clone, Copy)]
enum Task {
    /// Relinearises products.
    Relinearise,
    /// Rotates by that many slots.
    Rotate(i64),
    /// Conjugates.
    Conjugate,
    /// Switches to the sparse secret.
    ToSparse,
    /// Switches back, with that many bits over the rows.
    ToDense(u32),
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.task {
            Task::Relinearise => write!(f, "relinearisation key for {} bits", self.shape.k)?,
            Task::Rotate(by) => write!(f, "rotation key by {by}")?,
            Task::Conjugate => write!(f, "conjugation key")?,
            Task::ToSparse | Task::ToDense(_) => write!(f, "key between secrets")?,
        }
        if self.bootstrap { write!(f, " of the bootstrap") } else { Ok(()) }
    }
}

/// The keys of a plan, in the order of their numbers.
pub(crate) fn list(plan: &Plan) -> Vec<Which> {
    let own = |task, shape: &KeyShape| Which { task, shape: *shape, bootstrap: false };
    let mut keys: Vec<Which> = plan.keys.relinearisation.iter().map(|shape| own(Task::Relinearise, shape)).collect();
    keys.extend(plan.keys.rotations.iter().map(|key| own(Task::Rotate(key.by), &key.shape)));
    if let Some(bootstrap) = &plan.bootstrap {
        let theirs = |task, shape: &KeyShape| Which { task, shape: *shape, bootstrap: true };
        let parts = &bootstrap.keys;
        keys.push(theirs(Task::Relinearise, &parts.relinearisation));
        keys.push(theirs(Task::Conjugate, &parts.conjugation));
        keys.push(theirs(Task::ToSparse, &parts.to_sparse));
        keys.push(theirs(Task::ToDense(parts.to_dense_offset), &parts.to_dense));
        keys.extend(parts.rotations.iter().map(|key| theirs(Task::Rotate(key.by), &key.shape)));
    }
    keys
}

/// The layout of a key, by the kind of object it is.
enum Form {
    Tensor(GLWETensorKeyLayout),
    Automorphism(i64, GLWEAutomorphismKeyLayout),
    Switching(GLWESwitchingKeyLayout),
}

fn form(module: &Module, plan: &Plan, which: &Which) -> Form {
    let (ckks, shape) = (&plan.ckks, &which.shape);
    match which.task {
        Task::Relinearise => Form::Tensor(key_layout(ckks, shape).into()),
        Task::Rotate(by) => Form::Automorphism(module.ckks_galois_element(by), key_layout(ckks, shape).into()),
        Task::Conjugate => Form::Automorphism(-1, key_layout(ckks, shape).into()),
        Task::ToSparse => Form::Switching(switching_layout(ckks, shape, 0)),
        Task::ToDense(offset) => Form::Switching(switching_layout(ckks, shape, offset)),
    }
}

/// Scratch bytes of making any of the keys.
pub(crate) fn making_bytes(module: &Module, plan: &Plan) -> usize {
    let bytes = list(plan).into_iter().map(|which| match form(module, plan, &which) {
        Form::Tensor(layout) => module.glwe_tensor_key_compressed_encrypt_sk_tmp_bytes(&layout),
        Form::Automorphism(_, layout) => module.glwe_automorphism_key_compressed_encrypt_sk_tmp_bytes(&layout),
        Form::Switching(layout) => module.glwe_switching_key_compressed_encrypt_sk_tmp_bytes(&layout),
    });
    bytes.max().unwrap_or(0)
}

/// Makes key `index`, as a message.
pub(crate) fn make(
    module: &Module,
    plan: &Plan,
    index: usize,
    fingerprint: u64,
    secret: &Secret,
    arenas: &Arenas,
) -> Result<Vec<u8>, EngineError> {
    let which = list(plan).get(index).copied().ok_or(EngineError::Turn("there is no such key"))?;
    let mut errors = Source::new(*entropy()?);
    // This seed only draws the seeds of the uniform halves, which are public.
    let uniform = *entropy()?;
    let dense = secret.coefficients();
    let mut payload = (index as u32).to_le_bytes().to_vec();
    match form(module, plan, &which) {
        Form::Tensor(layout) => {
            let mut key = module.glwe_tensor_key_compressed_alloc_from_infos(&layout);
            arenas.with(|scratch| module.glwe_tensor_key_compressed_encrypt_sk(&mut key, dense.get(), uniform, &mut errors, scratch));
            write(&mut payload, &mut key);
        }
        Form::Automorphism(element, layout) => {
            let mut key = module.glwe_automorphism_key_compressed_alloc_from_infos(&layout);
            arenas.with(|scratch| {
                module.glwe_automorphism_key_compressed_encrypt_sk(&mut key, element, dense.get(), uniform, &mut errors, scratch);
            });
            write(&mut payload, &mut key);
        }
        Form::Switching(layout) => {
            let sparse = secret.sparse_coefficients().ok_or(EngineError::Turn("there is no sparse secret"))?;
            let (from, to) = if matches!(which.task, Task::ToSparse) { (&dense, &sparse) } else { (&sparse, &dense) };
            let mut key = module.glwe_switching_key_compressed_alloc_from_infos(&layout);
            arenas.with(|scratch| {
                module.glwe_switching_key_compressed_encrypt_sk(&mut key, from.get(), to.get(), uniform, &mut errors, scratch);
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
    mut reader: Reader<'_>,
    base2k: u32,
    key: &mut K,
) -> Result<(), WireError> {
    for seed in key.seed_mut() {
        *seed = reader.array()?;
    }
    let mut view = key.to_backend_mut();
    let words = view.data_mut().raw_mut();
    wire::get_digits(reader.take(8 * words.len())?, base2k, words)?;
    reader.end()
}

/// The server's keys for the steps.
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
    /// For products of the bootstrap.
    BootstrapTensor(ParallelTensorKey),
    /// For its automorphisms.
    BootstrapRotation(i64, ParallelRotationKey),
    /// To its sparse secret.
    ToSparse(ParallelSwitchingKey),
    /// And back.
    ToDense(ParallelSwitchingKey),
}

fn preparing_bytes<B: poulpy_hal::layouts::Backend>(module: &poulpy_hal::layouts::Module<B>, forms: &[Form]) -> usize
where
    poulpy_hal::layouts::Module<B>:
        GLWETensorKeyPreparedFactory<B> + GLWEAutomorphismKeyPreparedFactory<B> + GLWESwitchingKeyPreparedFactory<B>,
{
    let bytes = forms.iter().map(|form| match form {
        Form::Tensor(layout) => module.glwe_tensor_key_prepare_tmp_bytes(layout),
        Form::Automorphism(_, layout) => module.glwe_automorphism_key_prepare_tmp_bytes(layout),
        Form::Switching(layout) => module.glwe_switching_key_prepare_tmp_bytes(layout),
    });
    bytes.max().unwrap_or(0)
}

/// Where the server takes keys in.
pub(crate) struct Intake {
    arenas: Arenas,
    /// For the bootstrap's keys.
    parallel: Option<(Arc<ParallelModule>, Arenas<Parallel>)>,
}

impl Intake {
    /// Scratch for any of the keys; that of the bootstrap's depends on the threads of the pool this is called in.
    pub(crate) fn new(module: &Module, plan: &Plan, parallel: Option<&Arc<ParallelModule>>) -> Self {
        let forms = |bootstrap: bool| {
            let keys = list(plan).into_iter().filter(move |which| which.bootstrap == bootstrap);
            keys.map(|which| form(module, plan, &which)).collect::<Vec<_>>()
        };
        let arenas = Arenas::new(preparing_bytes(module, &forms(false)));
        let parallel = parallel.map(|module| (Arc::clone(module), Arenas::new(preparing_bytes(&**module, &forms(true)))));
        Self { arenas, parallel }
    }

    /// Reads the message of key `index`. Lengths and digits are checked against the plan before the library sees any.
    pub(crate) fn accept(
        &self,
        module: &Module,
        plan: &Plan,
        index: usize,
        fingerprint: u64,
        message: &[u8],
    ) -> Result<EvaluationKey, EngineError> {
        let which = list(plan).get(index).copied().ok_or(EngineError::Turn("there is no such key"))?;
        let mut reader = Reader(wire::decode(message, Kind::Key, fingerprint)?);
        if reader.u32()? as usize != index {
            return Err(EngineError::Turn("the key is another"));
        }
        let base2k = plan.ckks.base2k;
        let parallel = self.parallel.as_ref().filter(|_| which.bootstrap);
        Ok(match form(module, plan, &which) {
            Form::Tensor(layout) => {
                let mut seeded = module.glwe_tensor_key_compressed_alloc_from_infos(&layout);
                read(reader, base2k, &mut seeded)?;
                let mut key = module.glwe_tensor_key_alloc_from_infos(&layout);
                module.glwe_tensor_key_decompress(&mut key, &seeded);
                drop(seeded);
                match parallel {
                    Some((module, arenas)) => {
                        let mut prepared = module.glwe_tensor_key_prepared_alloc_from_infos(&layout);
                        arenas.with(|scratch| module.glwe_tensor_key_prepare(&mut prepared, &key, scratch));
                        EvaluationKey::BootstrapTensor(prepared)
                    }
                    None => {
                        let mut prepared = module.glwe_tensor_key_prepared_alloc_from_infos(&layout);
                        self.arenas.with(|scratch| module.glwe_tensor_key_prepare(&mut prepared, &key, scratch));
                        EvaluationKey::Tensor(which.shape.k, prepared)
                    }
                }
            }
            Form::Automorphism(element, layout) => {
                let mut seeded = module.glwe_automorphism_key_compressed_alloc_from_infos(&layout);
                read(reader, base2k, &mut seeded)?;
                seeded.set_p(element);
                let mut key = module.glwe_automorphism_key_alloc_from_infos(&layout);
                module.glwe_automorphism_key_decompress(&mut key, &seeded);
                drop(seeded);
                match parallel {
                    Some((module, arenas)) => {
                        let mut prepared = module.glwe_automorphism_key_prepared_alloc_from_infos(&layout);
                        arenas.with(|scratch| module.glwe_automorphism_key_prepare(&mut prepared, &key, scratch));
                        EvaluationKey::BootstrapRotation(element, prepared)
                    }
                    None => {
                        let mut prepared = module.glwe_automorphism_key_prepared_alloc_from_infos(&layout);
                        self.arenas.with(|scratch| module.glwe_automorphism_key_prepare(&mut prepared, &key, scratch));
                        EvaluationKey::Rotation(element, prepared)
                    }
                }
            }
            Form::Switching(layout) => {
                let (to, arenas) = parallel.ok_or(EngineError::Turn("the key is one of a bootstrap"))?;
                let mut seeded = module.glwe_switching_key_compressed_alloc_from_infos(&layout);
                read(reader, base2k, &mut seeded)?;
                (*seeded.input_degree(), *seeded.output_degree()) = (layout.n, layout.n);
                let mut key = module.glwe_switching_key_alloc_from_infos(&layout);
                module.glwe_switching_key_decompress(&mut key, &seeded);
                let mut prepared = to.glwe_switching_key_prepared_alloc_from_infos(&layout);
                arenas.with(|scratch| to.glwe_switching_key_prepare(&mut prepared, &key, scratch));
                match which.task {
                    Task::ToSparse => EvaluationKey::ToSparse(prepared),
                    Task::Relinearise | Task::Rotate(_) | Task::Conjugate | Task::ToDense(_) => EvaluationKey::ToDense(prepared),
                }
            }
        })
    }
}

/// Sorts keys by their use, the narrowest relinearisation key first; the second part is there if all keys of a bootstrap are.
pub(crate) fn sort(keys: Vec<EvaluationKey>) -> (EvaluationKeys, Option<BootstrapKeys>) {
    let mut own = EvaluationKeys { tensors: Vec::new(), rotations: HashMap::new() };
    let (mut tensor_key, mut rotation_keys, mut to_sparse, mut to_dense) = (None, HashMap::new(), None, None);
    for key in keys {
        match key {
            EvaluationKey::Tensor(k, key) => own.tensors.push((k, key)),
            EvaluationKey::Rotation(element, key) => {
                own.rotations.insert(element, key);
            }
            EvaluationKey::BootstrapTensor(key) => tensor_key = Some(key),
            EvaluationKey::BootstrapRotation(element, key) => {
                rotation_keys.insert(element, key);
            }
            EvaluationKey::ToSparse(key) => to_sparse = Some(key),
            EvaluationKey::ToDense(key) => to_dense = Some(key),
        }
    }
    own.tensors.sort_by_key(|(k, _)| *k);
    let bootstrap = tensor_key.zip(to_sparse).map(|(tensor_key, to_sparse)| BootstrapKeys {
        rotation_keys,
        tensor_key,
        encapsulation_keys: Some((to_sparse, to_dense)),
        first_factor_keys: HashMap::new(),
        conversion_keys: None,
    });
    (own, bootstrap)
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
