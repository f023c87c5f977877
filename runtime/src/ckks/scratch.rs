//! How much scratch memory the steps of a plan need.

use poulpy_ckks::api::{CKKSDotProductOps, CKKSLinearTransformationOps, ckks_plaintext_diagonal_layout};
use poulpy_ckks::prelude::*;
use poulpy_core::api::GLWENormalize;
use poulpy_core::layouts::{GLWEAutomorphismKeyLayout, GLWETensorKeyLayout};

use hecc_plan::{KeyShape, Op, Plan, Wire};

use crate::ckks::backend::{Module, key_layout};
use crate::ckks::ciphertext::{half_bytes, layout};
use crate::ckks::matrix::PreparedMatrix;
use crate::ckks::plaintext::encode_bytes;

/// Bytes for the most demanding step.
pub(crate) fn step_bytes(module: &Module, plan: &Plan, matrices: &[PreparedMatrix]) -> usize {
    let ckks = &plan.ckks;
    let widest = Wire { scale: ckks.scale, k: ckks.max_k };
    // An operation that reads a sum which is not normalised first copies it.
    let copies = 8 * half_bytes(ckks, widest) + module.glwe_normalize_tmp_bytes();
    let limbs = ckks.max_k.div_ceil(ckks.base2k) as usize;
    let light = module
        .ckks_add_tmp_bytes(limbs)
        .max(module.ckks_sub_tmp_bytes(limbs))
        .max(module.ckks_add_pt_vec_tmp_bytes(limbs))
        .max(module.ckks_add_pt_const_tmp_bytes(limbs))
        .max(module.ckks_div_pow2_tmp_bytes(limbs))
        .max(module.ckks_copy_tmp_bytes(&layout(ckks, widest), &layout(ckks, widest)))
        .max(encode_bytes(module));
    let tensor = |shape: &KeyShape| -> GLWETensorKeyLayout { key_layout(ckks, shape).into() };
    let rotation = |shape: &KeyShape| -> GLWEAutomorphismKeyLayout { key_layout(ckks, shape).into() };
    let by_step = plan.steps.iter().map(|step| {
        let operands = step.op.operands();
        let k = operands.iter().map(|id| plan.steps[id.index()].wire.k).max().unwrap_or(step.wire.k).max(step.wire.k);
        // The width counts; a plaintext factor takes at most two limbs more than its scale.
        let wide = layout(ckks, Wire { scale: step.wire.scale, k });
        match &step.op {
            Op::Input(_)
            | Op::Carried(_)
            | Op::Bootstrap(_)
            | Op::Add(..)
            | Op::Sub(..)
            | Op::AddConst(..)
            | Op::AddPlain(..)
            | Op::Halve { .. }
            | Op::Narrow(_) => 0,
            Op::MulConst { bits, .. } => {
                let factor = layout(ckks, Wire { scale: *bits, k: *bits + 42 });
                module.ckks_mul_pt_const_tmp_bytes(&wide, &wide, &factor)
            }
            Op::MulPlain(_, id) => {
                let scale = plan.plains[id.0 as usize].scale;
                let factor = layout(ckks, Wire { scale, k: scale + 42 });
                module.ckks_mul_pt_vec_tmp_bytes(&wide, &wide, &factor)
            }
            // A product may be narrowed first, and then takes a narrower key.
            Op::Dot(pairs) => plan
                .keys
                .relinearisation
                .iter()
                .map(|shape| {
                    let narrow = layout(ckks, Wire { scale: step.wire.scale.min(shape.k), k: k.min(shape.k) });
                    module
                        .ckks_dot_product_ct_tmp_bytes(pairs.len(), &narrow, &narrow, &narrow, &tensor(shape))
                        .max(module.ckks_dot_product_ct_tmp_bytes(1, &narrow, &narrow, &narrow, &tensor(shape)))
                        .max(module.ckks_square_tmp_bytes(&narrow, &narrow, &tensor(shape)))
                })
                .max()
                .unwrap_or(0),
            Op::Rotate { by, .. } => {
                let keys = plan.keys.rotations.iter().filter(|key| key.by == *by);
                keys.map(|key| module.ckks_rotate_tmp_bytes(&wide, &rotation(&key.shape))).max().unwrap_or(0)
            }
            Op::Linear(_, matrix) => {
                let schedule = &matrices[matrix.0 as usize].schedule;
                let (babies, giants) = plan.matrices[matrix.0 as usize].rotations();
                let by: Vec<i64> = babies.into_iter().chain(giants).map(|r| (r * plan.geometry.lanes) as i64).collect();
                let diagonal = ckks_plaintext_diagonal_layout(&wide);
                let of_key = |shape: &KeyShape| {
                    module.ckks_linear_transformation_eval_self_tmp_bytes(
                        false,
                        &wide,
                        &diagonal,
                        schedule,
                        &tensor(shape),
                        &rotation(shape),
                    )
                };
                let keys = plan.keys.rotations.iter().filter(|key| by.contains(&key.by));
                let any = KeyShape { k, digit: ckks.base2k, dnum: k.div_ceil(ckks.base2k), aux: ckks.base2k + ckks.log_n };
                keys.map(|key| of_key(&key.shape)).max().unwrap_or_else(|| of_key(&any))
            }
        }
    });
    copies + light + by_step.max().unwrap_or(0)
}
