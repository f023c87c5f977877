//! Arrays that the user gives for one update: which are the batch, which the states, and whether they fit.

use hecc_plan::{ActionSpec, Arrays, ClearOp, Interface, StateInit, Tensor, Tensors, UPDATE};

use crate::env;

/// The arrays of a file, by their use.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// The batch: every array `[B]` or `[B, dim]`, choices one-hot.
    pub batch: Tensors,
    /// The states.
    pub states: Tensors,
    /// The public arrays.
    pub public: Tensors,
    /// Arrays that the plan has no use for.
    pub unused: Vec<String>,
}

/// Why the arrays do not fit the plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IntakeError {
    /// HE0653.
    #[error("{what} `{name}` is missing; the plan needs it with shape {want:?}")]
    Missing {
        /// `the array`, `the weight`, ...
        what: &'static str,
        /// Its name.
        name: String,
        /// Its shape.
        want: Vec<usize>,
    },
    /// HE0654.
    #[error("`{name}` has shape {got:?}, where the plan needs {want:?}")]
    Shape {
        /// Which array.
        name: String,
        /// Its shape.
        got: Vec<usize>,
        /// What the plan needs.
        want: Vec<usize>,
    },
    /// HE0655.
    #[error("`{name}` has {got} samples, where the plan's batch has {want}")]
    Batch {
        /// Which array.
        name: String,
        /// Its samples.
        got: usize,
        /// The plan's.
        want: usize,
    },
    /// HE0656.
    #[error("`{name}` holds {value} at {index}, which is not {want}")]
    Value {
        /// Which array.
        name: String,
        /// The first wrong value.
        value: f64,
        /// Where it stands among all elements.
        index: usize,
        /// What it should be.
        want: String,
    },
}

impl IntakeError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            IntakeError::Missing { .. } => "HE0653",
            IntakeError::Shape { .. } => "HE0654",
            IntakeError::Batch { .. } => "HE0655",
            IntakeError::Value { .. } => "HE0656",
        }
    }
}

/// Sorts the arrays of a file for one update of `plan`.
///
/// A batch needs every array that the client's program reads. States need every weight; optimiser states start as the
/// plan says and copies as their original where they are missing.
///
/// # Errors
/// [`IntakeError`], the first in the order of batch, states, public arrays.
pub fn sort<'a>(plan: impl Into<Interface<'a>>, mut arrays: Tensors) -> Result<Given, IntakeError> {
    let plan: Interface<'a> = plan.into();
    let mut given = Given::default();
    let batch = plan.batch;
    // One number; where it is not given, the first update.
    let number = arrays.remove(UPDATE).and_then(|array| array.data.first().copied()).unwrap_or(0.0);
    given.batch.insert(UPDATE.to_owned(), Tensor::new(vec![batch], vec![number; batch]));
    for node in &plan.client.nodes {
        let ClearOp::Batch { name, dim } = &node.op else { continue };
        if given.batch.contains_key(name) {
            continue;
        }
        let want = if *dim == 1 { vec![batch] } else { vec![batch, *dim] };
        let array =
            arrays.remove(name).ok_or_else(|| IntakeError::Missing { what: "the array", name: name.clone(), want: want.clone() })?;
        finite(name, &array)?;
        let got = array.shape.first().copied().unwrap_or(1);
        if got != batch {
            return Err(IntakeError::Batch { name: name.clone(), got, want: batch });
        }
        let action = plan.training.map(|t| &t.env.action).filter(|(action, _)| action == name);
        let array = match action.map(|(_, kind)| kind) {
            Some(ActionSpec::Discrete(k)) => choices(name, array, 1, *k)?,
            Some(ActionSpec::MultiDiscrete(n, k)) => choices(name, array, *n, *k)?,
            Some(ActionSpec::Continuous(_)) | None => array,
        };
        if array.data.len() != batch * dim {
            return Err(IntakeError::Shape { name: name.clone(), got: array.shape, want });
        }
        given.batch.insert(name.clone(), array);
    }
    for state in plan.states {
        if let Some(array) = arrays.remove(&state.name) {
            given.states.insert(state.name.clone(), shaped(&state.name, array, &state.shape)?);
        }
    }
    for state in plan.states.iter().filter(|state| !given.states.contains_key(&state.name)).collect::<Vec<_>>() {
        let missing = || IntakeError::Missing { what: "the weight", name: state.name.clone(), want: state.shape.clone() };
        let kept_for_another = plan.states.iter().any(|s| state.name.strip_prefix(&s.name).is_some_and(|rest| rest.starts_with('.')));
        let value = match &state.init {
            StateInit::Copy(of) => given.states.get(of).cloned().ok_or_else(missing)?,
            StateInit::Constant(c) if kept_for_another => Tensor::new(state.shape.clone(), vec![*c; state.shape.iter().product()]),
            StateInit::Constant(_) | StateInit::Orthogonal { .. } | StateInit::He { .. } => return Err(missing()),
        };
        given.states.insert(state.name.clone(), value);
    }
    if let Arrays::Fixed(fixed) = plan.public {
        // What was rounded to single precision when the plan was compiled is the same array.
        for public in fixed {
            let Some(array) = arrays.remove(&public.name) else { continue };
            let array = shaped(&public.name, array, &public.shape)?;
            if let Some(index) = (0..array.data.len()).find(|&i| array.data[i] as f32 != public.values[i]) {
                let want = format!("the {} that the plan was compiled for; compile it again with these weights", public.values[index]);
                return Err(IntakeError::Value { name: public.name.clone(), value: array.data[index], index, want });
            }
        }
    }
    let wanted = match plan.public {
        Arrays::Given(arrays) => arrays,
        Arrays::Fixed(_) => &[],
    };
    for (name, shape) in wanted {
        let missing = || IntakeError::Missing { what: "the public array", name: name.clone(), want: shape.clone() };
        let array = arrays.remove(name).ok_or_else(missing)?;
        given.public.insert(name.clone(), shaped(name, array, shape)?);
    }
    given.unused = arrays.into_keys().collect();
    Ok(given)
}

fn finite(name: &str, array: &Tensor) -> Result<(), IntakeError> {
    match array.data.iter().position(|v| !v.is_finite()) {
        Some(index) => {
            Err(IntakeError::Value { name: name.to_owned(), value: array.data[index], index, want: "a finite number".to_owned() })
        }
        None => Ok(()),
    }
}

fn shaped(name: &str, array: Tensor, shape: &[usize]) -> Result<Tensor, IntakeError> {
    if array.shape != shape {
        return Err(IntakeError::Shape { name: name.to_owned(), got: array.shape, want: shape.to_vec() });
    }
    finite(name, &array)?;
    Ok(array)
}

/// Choices of `n` times one of `k`, given as indices `[B]` or `[B, n]` or as one-hots, as one-hots `[B, n k]`.
fn choices(name: &str, array: Tensor, n: usize, k: usize) -> Result<Tensor, IntakeError> {
    let (rows, cols) = array.rows_cols();
    let fault = |index: usize, want: String| IntakeError::Value { name: name.to_owned(), value: array.data[index], index, want };
    if cols == n * k && (k > 1 || array.shape.len() > 1) {
        for (choice, row) in array.data.chunks(k).enumerate() {
            let ones = row.iter().filter(|&&v| v == 1.0).count();
            if let Some(at) = row.iter().position(|&v| v != 0.0 && v != 1.0) {
                return Err(fault(choice * k + at, "0 or 1, as in a one-hot row".to_owned()));
            }
            if ones != 1 {
                return Err(fault(choice * k, format!("of a one-hot row: {ones} of its {k} elements are 1")));
            }
        }
        return Ok(array);
    }
    if cols != n {
        let want = vec![rows, env::width(&ActionSpec::MultiDiscrete(n, k))];
        return Err(IntakeError::Shape { name: name.to_owned(), got: array.shape, want });
    }
    let mut data = vec![0.0; rows * n * k];
    for (i, &index) in array.data.iter().enumerate() {
        if index.fract() != 0.0 || !(0.0..k as f64).contains(&index) {
            return Err(fault(i, format!("one of the choices 0 to {}", k - 1)));
        }
        data[i * k + index as usize] = 1.0;
    }
    Ok(Tensor::new(vec![rows, n * k], data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(values: &[f64]) -> Tensor {
        Tensor::new(vec![values.len()], values.to_vec())
    }

    #[test]
    fn indices_become_one_hot() {
        let out = choices("a", index(&[1.0, 0.0]), 1, 2).expect("indices");
        assert_eq!(out, Tensor::new(vec![2, 2], vec![0.0, 1.0, 1.0, 0.0]));
        assert_eq!(choices("a", out.clone(), 1, 2).expect("one-hot"), out);
        let pairs = Tensor::new(vec![1, 2], vec![2.0, 0.0]);
        assert_eq!(choices("a", pairs, 2, 3).expect("indices").data, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn wrong_choices_are_named() {
        for (value, code) in [(2.0, "HE0656"), (-1.0, "HE0656"), (0.5, "HE0656")] {
            let error = choices("a", index(&[0.0, value]), 1, 2).expect_err("no such choice");
            assert_eq!(error.code(), code);
            assert!(error.to_string().contains(&format!("`a` holds {value} at 1")), "{error}");
        }
        let soft = Tensor::new(vec![1, 2], vec![0.5, 0.5]);
        assert_eq!(choices("a", soft, 1, 2).expect_err("not one-hot").code(), "HE0656");
        let none = Tensor::new(vec![1, 2], vec![0.0, 0.0]);
        assert_eq!(choices("a", none, 1, 2).expect_err("not one-hot").code(), "HE0656");
        let wide = Tensor::new(vec![1, 3], vec![0.0, 0.0, 1.0]);
        assert_eq!(choices("a", wide, 1, 2).expect_err("too wide").code(), "HE0654");
    }
}
