//! Arrays in and out of safetensors files.

use std::collections::HashMap;

use hecc_plan::{Tensor, Tensors};
use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensorError, SafeTensors};

/// Why a file of arrays was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ArraysError {
    /// HE0651.
    #[error("this is not a safetensors file, or it is damaged: {0}")]
    Damaged(String),
    /// HE0652.
    #[error("`{name}` has elements of type {dtype}; F64, F32, I64, I32, U8 and BOOL are read")]
    Type {
        /// Which array.
        name: String,
        /// Its type.
        dtype: String,
    },
}

impl ArraysError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            ArraysError::Damaged(_) => "HE0651",
            ArraysError::Type { .. } => "HE0652",
        }
    }
}

/// Reads every array of a safetensors file as doubles.
///
/// # Errors
/// [`ArraysError`].
pub fn read(bytes: &[u8]) -> Result<Tensors, ArraysError> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| ArraysError::Damaged(error.to_string()))?;
    let mut tensors = Tensors::new();
    for (name, view) in file.iter() {
        let data = numbers(name, &view)?;
        let shape = view.shape().to_vec();
        if shape.iter().product::<usize>() != data.len() {
            return Err(ArraysError::Damaged(format!("`{name}` has not as many elements as its shape")));
        }
        tensors.insert(name.to_owned(), Tensor::new(shape, data));
    }
    Ok(tensors)
}

/// The text that a file carries beside its arrays, under `key`.
///
/// # Errors
/// [`ArraysError::Damaged`].
pub fn note(bytes: &[u8], key: &str) -> Result<Option<String>, ArraysError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| ArraysError::Damaged(error.to_string()))?;
    Ok(header.metadata().as_ref().and_then(|notes| notes.get(key).cloned()))
}

/// Writes arrays as F64, with a note (key and text) beside them. The same arrays give the same bytes.
///
/// # Errors
/// [`ArraysError::Damaged`] if a shape and its data disagree.
pub fn write(tensors: &Tensors, note: Option<(&str, String)>) -> Result<Vec<u8>, ArraysError> {
    let damaged = |error: SafeTensorError| ArraysError::Damaged(error.to_string());
    let bytes: Vec<Vec<u8>> = tensors.values().map(|t| t.data.iter().flat_map(|v| v.to_le_bytes()).collect()).collect();
    let mut views = Vec::with_capacity(bytes.len());
    for ((name, tensor), bytes) in tensors.iter().zip(&bytes) {
        views.push((name.as_str(), TensorView::new(Dtype::F64, tensor.shape.clone(), bytes).map_err(damaged)?));
    }
    let notes = note.map(|(key, text)| HashMap::from([(key.to_owned(), text)]));
    safetensors::serialize(views, notes).map_err(damaged)
}

fn numbers(name: &str, view: &TensorView<'_>) -> Result<Vec<f64>, ArraysError> {
    let bytes = view.data();
    Ok(match view.dtype() {
        Dtype::F64 => each(bytes, f64::from_le_bytes),
        Dtype::F32 => each(bytes, |b| f64::from(f32::from_le_bytes(b))),
        Dtype::I64 => each(bytes, |b| i64::from_le_bytes(b) as f64),
        Dtype::I32 => each(bytes, |b| f64::from(i32::from_le_bytes(b))),
        Dtype::U8 => each(bytes, |[b]: [u8; 1]| f64::from(b)),
        Dtype::BOOL => each(bytes, |[b]: [u8; 1]| f64::from(u8::from(b != 0))),
        other => return Err(ArraysError::Type { name: name.to_owned(), dtype: format!("{other:?}") }),
    })
}

fn each<const N: usize>(bytes: &[u8], number: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| number(chunk)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Tensors {
        Tensors::from([
            ("q.0.bias".to_owned(), Tensor::new(vec![3], vec![1.0, -2.5, 1e-300])),
            ("q.0.weight".to_owned(), Tensor::new(vec![2, 1], vec![0.1, 0.2])),
            ("scalar".to_owned(), Tensor::scalar(7.0)),
        ])
    }

    #[test]
    fn arrays_come_back_bit_for_bit() {
        let bytes = write(&sample(), Some(("hecc", "{}".to_owned()))).expect("writes");
        assert_eq!(read(&bytes).expect("reads"), sample());
        assert_eq!(note(&bytes, "hecc").expect("reads"), Some("{}".to_owned()));
        assert_eq!(note(&bytes, "other").expect("reads"), None);
        assert_eq!(bytes, write(&sample(), Some(("hecc", "{}".to_owned()))).expect("writes"));
    }

    #[test]
    fn every_type_is_read_or_named() {
        let types = [
            (Dtype::F32, 4, true),
            (Dtype::I64, 8, true),
            (Dtype::I32, 4, true),
            (Dtype::U8, 1, true),
            (Dtype::BOOL, 1, true),
            (Dtype::F16, 2, false),
        ];
        for (dtype, size, readable) in types {
            let mut data = vec![0; 2 * size];
            data[size - 1] = if dtype == Dtype::F32 { 0xc0 } else { u8::from(size == 1) };
            let view = TensorView::new(dtype, vec![2], &data).expect("a view");
            let bytes = safetensors::serialize([("x", view)], None).expect("writes");
            match read(&bytes) {
                Ok(tensors) => assert!(readable && tensors["x"].shape == [2] && tensors["x"].data[1] == 0.0),
                Err(error) => assert!(!readable && error.code() == "HE0652", "{error}"),
            }
        }
    }

    proptest! {
        #[test]
        fn hostile_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (read(&bytes), note(&bytes, "hecc"));
        }

        #[test]
        fn damaged_files_never_panic(at in 0usize..400, with in any::<u8>(), cut in 0usize..400) {
            let mut bytes = write(&sample(), None).expect("writes");
            let len = bytes.len();
            bytes[at % len] ^= with;
            let _ = read(&bytes);
            bytes.truncate(cut % len);
            prop_assert!(read(&bytes).is_err());
        }
    }
}
