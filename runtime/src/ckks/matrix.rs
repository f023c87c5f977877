//! Public matrices: their diagonals, rotated for the giant steps, encoded and transformed once.

use poulpy_ckks::api::{
    CKKSLinearTransformationOps, LinearTransformation, LinearTransformationLayout, LinearTransformationStrategy, PreparedDiagonal,
};
use poulpy_ckks::encoding::{ckks_linear_transformation_encode_from_diagonals, ckks_linear_transformation_encode_tmp_bytes};
use poulpy_ckks::layouts::ComplexDiagonals;
use poulpy_ckks::prelude::*;
use poulpy_core::layouts::{Diagonals, LinearTransformationPlan};
use poulpy_hal::api::{ScratchOwnedAlloc, ScratchOwnedBorrow};
use poulpy_hal::layouts::ScratchOwned;

use hecc_plan::{Matrix, Plan, Tensor};

use crate::ckks::backend::{Backend, Module};
use crate::ckks::plaintext::{library, meta};
use crate::engine::EngineError;

type Prepared = LinearTransformation<PreparedDiagonal<<Backend as poulpy_hal::layouts::Backend>::OwnedBuf, Backend>>;

/// A matrix, ready for products.
pub(crate) struct PreparedMatrix {
    /// The transform.
    pub(crate) transform: Prepared,
    /// Its schedule.
    pub(crate) schedule: LinearTransformationPlan,
}

/// Encodes `matrix` with `weights`.
pub(crate) fn prepare(module: &Module, plan: &Plan, matrix: &Matrix, weights: &Tensor) -> Result<PreparedMatrix, EngineError> {
    let (grid, ckks) = (&plan.geometry, &plan.ckks);
    let slots = grid.slots();
    let period = matrix.rows.max(matrix.cols);
    let mut largest = 0.0f64;
    let mut real = Diagonals::new(slots);
    for k in 0..matrix.diagonals() {
        let mut values = vec![0.0; period * grid.lanes];
        for (i, lanes) in values.chunks_mut(grid.lanes).enumerate() {
            lanes.fill(matrix.element(weights, i, k));
        }
        let peak = values.iter().fold(0.0f64, |m, v| m.max(v.abs()));
        largest = largest.max(peak);
        // The library's schedule always has the main diagonal; others may be left out.
        if peak > 0.0 || k == 0 {
            real.set((k * grid.lanes) as i64, values);
        }
    }
    let diagonals = ComplexDiagonals::new(real, Diagonals::new(slots));
    let head = largest.max(1.0).log2().ceil() as u32 + 2;
    let coefficients = CoeffsMeta { k: (matrix.scale + head).into(), meta: meta(matrix.scale) };
    let strategy = LinearTransformationStrategy::Bsgs { giant_step: matrix.baby * grid.lanes };
    let layout = LinearTransformationLayout { indexes: diagonals.indexes(), slots, strategy };
    let mut arena = ScratchOwned::<Backend>::alloc(ckks_linear_transformation_encode_tmp_bytes::<Backend, Module, f64>(module, slots));
    let encoded = ckks_linear_transformation_encode_from_diagonals::<Backend, f64>(
        module,
        ckks.base2k.into(),
        coefficients,
        &diagonals,
        strategy,
        false,
        &mut arena.borrow(),
    )
    .map_err(|error| EngineError::Library { place: format!("matrix `{}`", matrix.name), reason: format!("{error:#}") })?;
    let first = encoded.first_diagonal_plaintext().ok_or(EngineError::Turn("a matrix has no diagonals"))?;
    let mut transform = Prepared::alloc_prepared(module, &layout, first);
    let mut arena = ScratchOwned::<Backend>::alloc(module.ckks_linear_transformation_rhs_prepare_tmp_bytes(first));
    module
        .ckks_linear_transformation_rhs_prepare(&mut transform, &encoded, &mut arena.borrow())
        .map_err(library(format!("matrix `{}`", matrix.name)))?;
    Ok(PreparedMatrix { transform, schedule: layout.index() })
}
