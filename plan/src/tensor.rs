//! Dense clear-text arrays.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Named arrays: a batch, a set of weights.
pub type Tensors = BTreeMap<String, Tensor>;

/// A row-major array of doubles.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Tensor {
    /// Extents; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements, row-major.
    pub data: Vec<f64>,
}

impl Tensor {
    /// Wraps `data`.
    ///
    /// # Panics
    /// If the number of elements is not that of `shape`: every caller derives one from the other.
    pub fn new(shape: Vec<usize>, data: Vec<f64>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "a tensor's data must fill its shape");
        Self { shape, data }
    }

    /// All zero.
    pub fn zeros(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    /// One number.
    pub fn scalar(value: f64) -> Self {
        Self { shape: Vec::new(), data: vec![value] }
    }

    /// Rows and columns of a per-sample value: `[B, d]`; `[B]` counts as `[B, 1]`, a scalar as `[1, 1]`.
    pub fn rows_cols(&self) -> (usize, usize) {
        match *self.shape.as_slice() {
            [] => (1, 1),
            [rows] => (rows, 1),
            [rows, ..] => (rows, self.data.len().checked_div(rows).unwrap_or(0)),
        }
    }
}
