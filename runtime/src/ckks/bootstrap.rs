//! Bootstraps: the library's circuit and key layouts for an offer of the plan crate, and the compiled circuit.

use std::sync::{Arc, Mutex, PoisonError};

use poulpy_ckks::CKKSCompositionError;
use poulpy_ckks::api::{CKKSAddOps, CKKSBootstrappingOps, CKKSConjugateOps, CKKSDFTOps, CKKSEvalModOps, CKKSInnerSumOps, CKKSPow2Ops};
use poulpy_ckks::layouts::{
    BootstrappingContextPrepared, BootstrappingKeysLayout, BootstrappingPipeline, BootstrappingPlan, BootstrappingTechniques,
    CKKSPlaintextOwned, DFTOutputFormat, DFTPlan, DFTType, EncapsulationKeysLayout, EvalMod, EvalModPlan, EvalModType,
    SparseSecretEncapsulation,
};
use poulpy_ckks::polynomial::SplitStrategy;
use poulpy_ckks::prelude::*;
use poulpy_core::layouts::{GGLWELayout, GLWESwitchingKeyLayout};
use poulpy_hal::api::{ScratchOwnedAlloc, ScratchOwnedBorrow};
use poulpy_hal::layouts::ScratchOwned;

use hecc_plan::bootstrap::Circuit;
use hecc_plan::{Bootstrap, Ckks, KeyShape, Wire};

use crate::ckks::backend::{BootstrapKeys, Ciphertext, Parallel, ParallelModule, key_layout};
use crate::ckks::ciphertext::layout;
use crate::engine::EngineError;

/// Turns a failure of the library while it sets the circuit up into an error.
fn library(reason: impl std::fmt::Display) -> EngineError {
    EngineError::Library { place: "the bootstrap".to_owned(), reason: reason.to_string() }
}

/// The library's circuit.
pub(crate) fn circuit(bootstrap: &Bootstrap) -> Result<BootstrappingPlan, EngineError> {
    let Circuit { decode, decode_scale, ratio, guard, encode, encode_scale, reduce_scale, coefficient_scale, degree, interval, doublings } =
        &bootstrap.circuit;
    let matrices = |list: &[(u32, u32)]| list.iter().map(|&(layers, giant)| (layers as usize, giant as usize)).collect::<Vec<_>>();
    let transform = |kind, list: &[(u32, u32)], scale: u32, budget| {
        let meta = CoeffsMeta::from_delta_budget(scale as usize, budget);
        DFTPlan::new(kind, matrices(list), DFTOutputFormat::SplitRealAndImag, meta).map(|plan| plan.with_power_of_two_keys(true))
    };
    // Half: real and imaginary parts come back as sums with their conjugates.
    let decode = transform(DFTType::Decode, decode, *decode_scale, 2).and_then(|plan| plan.with_scaling(0.5)).map_err(library)?;
    let encode = transform(DFTType::Encode, encode, *encode_scale, 3).map_err(library)?;
    let reduce = EvalModPlan {
        eval_mod_type: EvalModType::CosHKEven,
        log_msg_ratio: *ratio as usize,
        f_mod_degree: *degree as usize,
        f_mod_interval: *interval as usize,
        f_mod_log_interval_reduction: *doublings as usize,
        f_mod_inv_degree: None,
        scaling: None,
        split_strategy: SplitStrategy::MinDepth,
        coeffs_meta: CoeffsMeta::from_delta_budget(*coefficient_scale as usize, 4),
        f_mod_log_delta: *reduce_scale as usize,
    };
    let sparse = SparseSecretEncapsulation { hamming_weight: bootstrap.sparse_hamming_weight as usize };
    let techniques = BootstrappingTechniques { sparse_secret_encapsulation: Some(sparse), eval_round_plus: None };
    BootstrappingPlan::new(BootstrappingPipeline::S2CFirst, techniques, encode, reduce, decode)
        .and_then(|plan| plan.with_c2s_guard_bits(*guard as usize))
        .map_err(library)
}

/// The library's layout of a key between secrets, with `offset` bits over its rows.
pub(crate) fn switching_layout(ckks: &Ckks, shape: &KeyShape, offset: u32) -> GLWESwitchingKeyLayout {
    GGLWELayout { k_offset: offset.into(), ..key_layout(ckks, shape) }.into()
}

fn keys_layout(module: &ParallelModule, ckks: &Ckks, bootstrap: &Bootstrap) -> BootstrappingKeysLayout {
    let keys = &bootstrap.keys;
    let rotations = keys.rotations.iter().map(|key| (module.ckks_galois_element(key.by), key_layout(ckks, &key.shape).into()));
    BootstrappingKeysLayout {
        rotation_keys: rotations.chain([(-1, key_layout(ckks, &keys.conjugation).into())]).collect(),
        tensor_key: key_layout(ckks, &keys.relinearisation).into(),
        encapsulation: Some(EncapsulationKeysLayout {
            dense_to_sparse: switching_layout(ckks, &keys.to_sparse, 0),
            sparse_to_dense: Some(switching_layout(ckks, &keys.to_dense, keys.to_dense_offset)),
        }),
        first_factor_key: None,
        conversion_keys: None,
    }
}

/// A circuit, ready to run on the threads of a pool. One bootstrap runs at a time: it takes much memory, and all threads.
pub(crate) struct Bootstrapper {
    ckks: Ckks,
    bootstrap: Bootstrap,
    module: Arc<ParallelModule>,
    pool: Arc<rayon::ThreadPool>,
    context: BootstrappingContextPrepared<Parallel, f64>,
    keys: BootstrapKeys,
    /// How the raise scales, where this crate drives the stages.
    raise: EvalModPlan,
    scratch: Mutex<ScratchOwned<Parallel>>,
}

/// The ring for bootstraps, and its threads.
pub(crate) fn threads(log_n: u32, threads: usize) -> Result<(Arc<ParallelModule>, Arc<rayon::ThreadPool>), EngineError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build().map_err(library)?;
    Ok((Arc::new(ParallelModule::new(1 << log_n)), Arc::new(pool)))
}

impl Bootstrapper {
    /// Compiles the circuit.
    pub(crate) fn new(
        module: Arc<ParallelModule>,
        pool: Arc<rayon::ThreadPool>,
        ckks: &Ckks,
        bootstrap: &Bootstrap,
        keys: BootstrapKeys,
    ) -> Result<Self, EngineError> {
        let plan = circuit(bootstrap)?;
        let context = pool.install(|| compile(&module, ckks, &plan))?;
        let wire = |k| layout(ckks, Wire { scale: bootstrap.scale, k });
        let (input, raised) = (wire(bootstrap.input_k), wire(bootstrap.bootstrap_k));
        let layouts = keys_layout(&module, ckks, bootstrap);
        // The pool's threads share the scratch memory: how much depends on how many there are.
        let bytes = pool.install(|| module.ckks_bootstrap_tmp_bytes(&raised, &input, &context, &layouts));
        let traced = layouts.rotation_keys.values().map(|key| module.ckks_inner_sum_tmp_bytes(&raised, &raised, key)).max();
        let bytes = bytes.max(module.ckks_copy_tmp_bytes(&raised, &raised)).max(traced.unwrap_or(0));
        let scratch = Mutex::new(ScratchOwned::alloc(bytes));
        // The reduction's own scale would be the library's choice, and more than the raised ciphertext needs.
        let lifted = (bootstrap.scale + bootstrap.circuit.ratio + bootstrap.circuit.guard) as usize;
        let raise = EvalModPlan { f_mod_log_delta: lifted, ..*plan.eval_mod() };
        Ok(Self { ckks: *ckks, bootstrap: bootstrap.clone(), module, pool, context, keys, raise, scratch })
    }

    /// Bootstraps `a`. A wider operand is narrowed first, which is exact; the result gives back the memory of the raised
    /// ciphertext.
    pub(crate) fn run(&self, a: &Ciphertext) -> Result<Ciphertext, CKKSError> {
        let module = &*self.module;
        let alloc = |k: u32| -> Ciphertext { module.ckks_ciphertext_alloc(self.ckks.base2k.into(), k.into()) };
        let mut held = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        let scratch = &mut *held;
        self.pool.install(|| {
            let mut operand = alloc(self.bootstrap.input_k);
            module.ckks_copy(&mut operand, a, &mut scratch.borrow())?;
            let mut raised = alloc(self.bootstrap.bootstrap_k);
            if self.bootstrap.log_copies() == 0 {
                module.ckks_bootstrap(&mut raised, &operand, &self.context, &self.keys, &mut scratch.borrow())?;
            } else {
                raised = self.sparse(operand, raised, scratch)?;
            }
            let mut result = alloc(self.bootstrap.output_k);
            module.ckks_copy(&mut result, &raised, &mut scratch.borrow())?;
            Ok(result)
        })
    }

    /// The stages of a sparse bootstrap, as the library's driver runs those of a dense one of real slots, with the trace.
    fn sparse(&self, operand: Ciphertext, mut raised: Ciphertext, scratch: &mut ScratchOwned<Parallel>) -> Result<Ciphertext, CKKSError> {
        let (module, context, rotations) = (&*self.module, &self.context, &self.keys.rotation_keys);
        let (log_slots, log_copies) = (self.bootstrap.log_slots as usize, self.bootstrap.log_copies() as usize);
        let alloc = |k: u32| -> Ciphertext { module.ckks_ciphertext_alloc(self.ckks.base2k.into(), k.into()) };
        let meta = operand.meta();
        // Twice, for the matrix that decodes halves.
        let mut coefficients = alloc(self.bootstrap.input_k);
        module.ckks_double_into(&mut coefficients, &operand, &mut scratch.borrow())?;
        drop(operand);
        module.ckks_dft_matrix_eval_assign(&mut coefficients, context.slots_to_coeffs(), rotations, &mut scratch.borrow())?;
        module.ckks_bootstrap_mod_up(&mut raised, &coefficients, &self.raise, &self.keys, &mut scratch.borrow())?;
        drop(coefficients);
        module.ckks_inner_sum_assign(log_slots, log_copies, true, &mut raised, rotations, &mut scratch.borrow())?;
        module.ckks_dft_matrix_eval_assign(&mut raised, context.coeffs_to_slots(), rotations, &mut scratch.borrow())?;
        let mut other = alloc(self.bootstrap.bootstrap_k);
        module.ckks_conjugate_into(&mut other, &raised, rotations, &mut scratch.borrow())?;
        module.ckks_add_assign(&mut raised, &other, &mut scratch.borrow())?;
        raised.set_slots(SlotsKind::Real);
        drop(other);
        let mut result = alloc(self.bootstrap.bootstrap_k);
        module.ckks_eval_mod(&mut result, &raised, self.reduction()?, &self.keys.tensor_key, &mut scratch.borrow())?;
        result.set_log_delta(result.log_delta() - self.bootstrap.circuit.guard as usize - log_copies);
        result.set_meta(meta);
        Ok(result)
    }

    fn reduction(&self) -> Result<&EvalMod<f64, CKKSPlaintextOwned<Parallel>>, CKKSError> {
        let missing = || CKKSCompositionError::InvalidOperand { op: "bootstrap", reason: "the circuit has no reduction".to_owned() };
        self.context.eval_mod().ok_or_else(|| missing().into())
    }
}

fn compile(
    module: &ParallelModule,
    ckks: &Ckks,
    plan: &BootstrappingPlan,
) -> Result<BootstrappingContextPrepared<Parallel, f64>, EngineError> {
    type Context = BootstrappingContextPrepared<Parallel, f64>;
    let bytes = Context::compile_unprepared_tmp_bytes(module, plan).map_err(library)?;
    let mut scratch = ScratchOwned::alloc(bytes);
    let context = Context::compile_unprepared(module, ckks.base2k.into(), plan, &mut scratch.borrow()).map_err(library)?;
    let mut scratch = ScratchOwned::alloc(context.prepare_tmp_bytes(module));
    context.prepare(module, &mut scratch.borrow()).map_err(library)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use hecc_plan::bootstrap::{SCALES, offers};

    /// The offers state widths and keys without knowing the library: here they are compared with it.
    #[test]
    fn offers_are_what_the_library_computes() {
        let modules: BTreeMap<u32, ParallelModule> = [10, 13, 15, 16].map(|log_n| (log_n, ParallelModule::new(1 << log_n))).into();
        for bootstrap in SCALES.flat_map(offers) {
            let plan = circuit(&bootstrap).expect("a circuit");
            let name = format!("{} at {}", bootstrap.name, bootstrap.scale);
            let module = &modules[&bootstrap.log_n];
            let (log_n, scale) = (bootstrap.log_n as usize, bootstrap.scale as usize);
            let (input_k, bootstrap_k) = (bootstrap.input_k as usize, bootstrap.bootstrap_k as usize);
            let (log_slots, log_copies) = (bootstrap.log_slots as usize, bootstrap.log_copies() as usize);
            assert_eq!(plan.coeffs_to_slots().log_slots(), log_slots, "{name}");
            assert_eq!(plan.slots_to_coeffs().log_slots(), log_slots, "{name}");
            assert_eq!(plan.input_k(scale + bootstrap.circuit.ratio as usize), input_k, "{name}");
            assert_eq!(plan.bootstrap_k(bootstrap.output_k as usize, scale) + log_copies, bootstrap_k, "{name}");
            let widths = plan.key_widths(log_n, bootstrap_k, input_k, scale);
            let traced = module.ckks_inner_sum_galois_elements((1u32 << log_n).into(), log_slots, log_copies);
            let mut asked = widths.rotation_keys;
            asked.extend(traced.into_iter().map(|element| (element, bootstrap_k)));
            let keys = &bootstrap.keys;
            let mut stated: BTreeMap<i64, usize> =
                keys.rotations.iter().map(|key| (module.ckks_galois_element(key.by), key.shape.k as usize)).collect();
            stated.insert(-1, keys.conjugation.k as usize);
            assert_eq!(stated, asked, "{name}");
            let product = widths.tensor_key - log_copies;
            assert!(keys.relinearisation.k as usize >= product, "{name}: {} {product}", keys.relinearisation.k);
            let window = plan.raised_window(scale + bootstrap.circuit.ratio as usize);
            assert!((keys.to_dense.dnum * keys.to_dense.digit) as usize >= window, "{name}");
            // The widest sums: a factor of a transform adds up fewer products than that before it carries.
            assert!(ParallelModule::max_base2k(1 << log_n, 1024, 64, true) >= bootstrap.base2k as usize, "{name}");
        }
    }
}
