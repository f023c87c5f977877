//! The clear-text oracle: the plan executed on plain slots, through the same loop as the encrypted executors.

use std::borrow::Cow;

use crate::{Carried, Content, Geometry, Machine, Matrix, Op, Plain, PlainPart, PlainPattern, Plan, Step, Target, Tensor, Tensors, Ties};

/// Slots of a clear-text wire.
pub type Slots = Vec<f64>;

/// Executes steps on plain slots.
#[derive(Debug)]
pub struct Oracle<'a> {
    plan: &'a Plan,
    inputs: &'a std::collections::BTreeMap<u32, Slots>,
    carried: &'a [std::sync::Arc<Slots>],
    plains: Vec<Slots>,
    matrices: Vec<Cow<'a, Tensor>>,
}

/// A public array is missing or has the wrong shape.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("the public array `{0}` is missing or has the wrong shape")]
pub struct MissingPublic(pub String);

impl<'a> Oracle<'a> {
    /// An oracle for `plan` on packed `inputs` (by input number) with the plan's `public` arrays.
    ///
    /// # Errors
    /// [`MissingPublic`].
    pub fn new(plan: &'a Plan, inputs: &'a std::collections::BTreeMap<u32, Slots>, public: &'a Tensors) -> Result<Self, MissingPublic> {
        let plains = plan.plains.iter().map(|p| plain_slots(plan, p, public, 0)).collect::<Result<_, _>>()?;
        let matrices = plan.matrices.iter().map(|m| public_tied(plan, &m.name, m.ties, public)).collect::<Result<_, _>>()?;
        Ok(Self { plan, inputs, carried: &[], plains, matrices })
    }

    /// The same, with the carried ciphertexts' slots, in the order of the plan, and at an update other than the first.
    #[must_use]
    pub fn with_carried(mut self, carried: &'a [std::sync::Arc<Slots>], update: u64) -> Self {
        for (plain, slots) in self.plan.plains.iter().zip(&mut self.plains) {
            if plain.changes()
                && let Ok(now) = plain_slots(self.plan, plain, &Tensors::new(), update)
            {
                *slots = now;
            }
        }
        Self { carried, ..self }
    }
}

impl Machine for Oracle<'_> {
    type Wire = Slots;
    type Error = std::convert::Infallible;

    fn step(&self, _index: usize, step: &Step, operands: &[&Slots]) -> Result<Slots, Self::Error> {
        let slots = self.plan.geometry.slots();
        let zip = |a: &[f64], b: &[f64], f: fn(f64, f64) -> f64| a.iter().zip(b).map(|(&a, &b)| f(a, b)).collect::<Slots>();
        let map = |f: &dyn Fn(f64) -> f64| operands[0].iter().map(|&a| f(a)).collect::<Slots>();
        Ok(match &step.op {
            Op::Input(id) => self.inputs.get(&id.0).cloned().unwrap_or_else(|| vec![0.0; slots]),
            Op::Add(..) => zip(operands[0], operands[1], |a, b| a + b),
            Op::Sub(..) => zip(operands[0], operands[1], |a, b| a - b),
            Op::AddConst(_, c) => map(&|a| a + c),
            Op::AddPlain(_, p) => zip(operands[0], &self.plains[p.0 as usize], |a, b| a + b),
            Op::MulConst { c, .. } => map(&|a| a * c),
            Op::MulPlain(_, p) => zip(operands[0], &self.plains[p.0 as usize], |a, b| a * b),
            Op::Halve { bits, .. } => map(&|a| a * libm::exp2(-f64::from(*bits))),
            Op::Dot(_) => {
                let mut sum = vec![0.0; slots];
                for pair in operands.chunks_exact(2) {
                    sum.iter_mut().zip(pair[0].iter().zip(pair[1])).for_each(|(s, (a, b))| *s += a * b);
                }
                sum
            }
            Op::Rotate { by, .. } => {
                let mut out = operands[0].clone();
                out.rotate_left(by.rem_euclid(slots as i64) as usize);
                out
            }
            Op::Linear(_, m) => {
                let index = m.0 as usize;
                apply(&self.plan.geometry, &self.plan.matrices[index], &self.matrices[index], operands[0])
            }
            Op::Narrow(_) | Op::Bootstrap(_) => operands[0].clone(),
            Op::Carried(id) => self.carried.get(id.0 as usize).map_or_else(|| vec![0.0; slots], |slots| (**slots).clone()),
        })
    }
}

/// `out[i] = Σ_k W[i mod rows, (i + k) mod cols] x[i + k]` over the diagonals k, in every lane.
fn apply(geometry: &Geometry, matrix: &Matrix, weights: &Tensor, x: &[f64]) -> Slots {
    let (width, lanes) = (geometry.width, geometry.lanes);
    let mut out = vec![0.0; width * lanes];
    for k in 0..matrix.diagonals() {
        for i in 0..width {
            let from = (i + k) % width;
            let w = matrix.element(weights, i, k);
            if w != 0.0 {
                for b in 0..lanes {
                    out[i * lanes + b] += w * x[from * lanes + b];
                }
            }
        }
    }
    out
}

impl Matrix {
    /// What diagonal `k` holds in neuron `i`, the factor included; zero in the padding.
    pub fn element(&self, weights: &Tensor, i: usize, k: usize) -> f64 {
        let (row, col) = (i % self.rows, (i + k) % self.cols);
        let (out, inputs) = (weights.shape[0], weights.shape[1]);
        if row < out && col < inputs { self.factor * weights.data[row * inputs + col] } else { 0.0 }
    }
}

/// A public array of `plan` by name, if it has the stated shape.
///
/// # Errors
/// [`MissingPublic`].
pub fn public_array<'a>(plan: &Plan, name: &str, public: &'a Tensors) -> Result<&'a Tensor, MissingPublic> {
    let missing = || MissingPublic(name.to_owned());
    let (_, shape) = plan.public.iter().find(|(n, _)| n == name).ok_or_else(missing)?;
    public.get(name).filter(|t| t.shape == *shape && t.data.iter().all(|v| v.is_finite())).ok_or_else(missing)
}

/// The same as the array that its ties make of it.
///
/// # Errors
/// [`MissingPublic`].
pub fn public_tied<'a>(plan: &Plan, name: &str, ties: Option<Ties>, public: &'a Tensors) -> Result<Cow<'a, Tensor>, MissingPublic> {
    let array = public_array(plan, name, public)?;
    match ties {
        None => Ok(Cow::Borrowed(array)),
        Some(ties) => ties.expand(array).map(Cow::Owned).ok_or_else(|| MissingPublic(name.to_owned())),
    }
}

/// Slots of a plaintext vector at an update, counted from 0.
///
/// # Errors
/// [`MissingPublic`].
pub fn plain_slots(plan: &Plan, plain: &Plain, public: &Tensors, update: u64) -> Result<Slots, MissingPublic> {
    let grid = &plan.geometry;
    let mut slots = vec![0.0; grid.slots()];
    match &plain.pattern {
        PlainPattern::Lane { lane, value } => (0..grid.width).for_each(|i| slots[i * grid.lanes + lane] = *value),
        PlainPattern::Neurons { values } => {
            for (i, chunk) in slots.chunks_mut(grid.lanes).enumerate() {
                chunk.fill(values[i % values.len()]);
            }
        }
        PlainPattern::Lanes { values } => {
            for chunk in slots.chunks_mut(grid.lanes) {
                chunk.iter_mut().zip(values.iter().cycle()).for_each(|(slot, value)| *slot = *value);
            }
        }
        PlainPattern::Parts { parts, by } => {
            let by = by.map_or(1.0, |by| plan.client.at_update(by, update));
            for PlainPart { layout, shape, value } in parts {
                let ones = Tensor { shape: shape.clone(), data: vec![1.0; shape.iter().product()] };
                layout.pack(grid, &ones, by * value, &mut slots);
            }
        }
        PlainPattern::Public { name, ties, layout, factor } => {
            layout.pack(grid, &*public_tied(plan, name, *ties, public)?, *factor, &mut slots);
        }
    }
    Ok(slots)
}

/// Packs the contents of an input.
pub fn pack<'a, T: 'a>(plan: &Plan, contents: &'a [Content<T>], mut tensor: impl FnMut(&'a T) -> &'a Tensor) -> Slots {
    let mut slots = vec![0.0; plan.geometry.slots()];
    for content in contents {
        content.layout.pack(&plan.geometry, tensor(&content.tensor), content.factor, &mut slots);
    }
    slots
}

/// Packs a carried ciphertext: its states are `factor` times the slots. A state that is missing counts as zero.
pub fn pack_carried(plan: &Plan, carried: &Carried, states: &Tensors) -> Slots {
    let mut slots = vec![0.0; plan.geometry.slots()];
    for content in &carried.contents {
        if let Target::State(name) = &content.tensor
            && let Some(state) = states.get(name)
        {
            content.layout.pack(&plan.geometry, state, 1.0 / content.factor, &mut slots);
        }
    }
    slots
}

/// Unpacks an output into `values`, which gain a tensor for every target (states keep their shape).
pub fn unpack(plan: &Plan, contents: &[Content<Target>], slots: &[f64], values: &mut std::collections::BTreeMap<Target, Tensor>) {
    for content in contents {
        let value = values.entry(content.tensor.clone()).or_insert_with(|| Tensor::zeros(&target_shape(plan, &content.tensor)));
        content.layout.unpack(&plan.geometry, slots, content.factor, value);
    }
}

fn target_shape(plan: &Plan, target: &Target) -> Vec<usize> {
    match target {
        Target::State(name) | Target::Rated { name, .. } => {
            plan.states.iter().find(|s| s.name == *name).map(|s| s.shape.clone()).unwrap_or_default()
        }
        Target::Value { shape, .. } => shape.clone(),
        Target::Result { dim: 0, .. } => vec![1],
        Target::Result { dim, .. } => vec![plan.geometry.batch, *dim],
    }
}
