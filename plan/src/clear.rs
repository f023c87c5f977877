//! What the client computes in the clear: normalisation, features, products of things it owns, interactive maxima, and
//! the policy that acts.

use serde::{Deserialize, Serialize};

use crate::convolution::Window;
use crate::{Tensor, Tensors, Ties};

/// The array of a batch that holds the number of the update, from 0, for learning rates that change.
pub const UPDATE: &str = "update";

/// Index of a node of a [`ClearProgram`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClearId(pub u32);

/// Clear-text operations in an order in which they can run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClearProgram {
    /// The nodes.
    pub nodes: Vec<ClearNode>,
}

/// One node: per-sample values are `[B, dim]`; states keep their own shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClearNode {
    /// What it computes.
    pub op: ClearOp,
}

/// A clear-text operation. Element-wise ones broadcast `[B, 1]` and scalars.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ClearOp {
    /// An array of the batch, in the environment's units, as `[B, dim]`.
    Batch {
        /// `s`, `s_next`, `a`, `r`, `done`, or the name of a noise.
        name: String,
        /// Elements per sample.
        dim: usize,
    },
    /// A carried state, as the client holds it.
    State(String),
    /// A value that an earlier round brought back.
    Decrypted(u32),
    /// A constant.
    Number(f64),
    /// 2 (x − low) / (high − low) − 1, per element; values outside are clipped.
    Normalise {
        /// The argument.
        x: ClearId,
        /// Ranges.
        ranges: Vec<[f64; 2]>,
    },
    /// a + b.
    Add(ClearId, ClearId),
    /// a − b.
    Sub(ClearId, ClearId),
    /// a b.
    Mul(ClearId, ClearId),
    /// a / b.
    Div(ClearId, ClearId),
    /// The smaller.
    Min(ClearId, ClearId),
    /// The larger.
    Max(ClearId, ClearId),
    /// factor x + offset.
    Affine {
        /// The argument.
        x: ClearId,
        /// Factor.
        factor: f64,
        /// Offset.
        offset: f64,
    },
    /// x limited to [low, high].
    Clip {
        /// The argument.
        x: ClearId,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
    },
    /// c ? a : b.
    Select(ClearId, ClearId, ClearId),
    /// An exact function, element-wise.
    Map(Function, ClearId),
    /// The `order`-th derivative (0 or 1) of an exact function, element-wise.
    Derivative(Function, ClearId),
    /// A polynomial, coefficients from degree 0 up, in `(x - centre) / half`, Chebyshev basis.
    Chebyshev {
        /// The argument.
        x: ClearId,
        /// Middle of the interval.
        centre: f64,
        /// Half its width.
        half: f64,
        /// Chebyshev coefficients.
        coefficients: Vec<f64>,
    },
    /// Σ over the elements of each sample.
    SumElements(ClearId),
    /// Largest element of each sample.
    MaxElements(ClearId),
    /// One-hot of the largest element of each sample (the first of equals).
    ArgMax(ClearId),
    /// Elements `start..start + len` of each sample.
    Slice {
        /// The argument.
        x: ClearId,
        /// First.
        start: usize,
        /// How many.
        len: usize,
    },
    /// Concatenation along the elements.
    Concat(Vec<ClearId>),
    /// Mean over the batch: one row.
    MeanBatch(ClearId),
    /// 1 at every `period`-th update, 0 at the others.
    Due {
        /// The number of the update, from 0.
        update: ClearId,
        /// The period.
        period: u32,
    },
    /// `x Wᵀ + b` with states as weights.
    Dense {
        /// The argument `[B, in]`.
        x: ClearId,
        /// `[out, in]`.
        weight: ClearId,
        /// `[out]`.
        bias: Option<ClearId>,
    },
    /// A parameter as the larger one that a layer takes, by its ties.
    Expand {
        /// The argument.
        x: ClearId,
        /// Where its elements stand.
        ties: Ties,
    },
    /// Its adjoint: what stands in the places of each element, summed.
    Collect {
        /// The argument.
        x: ClearId,
        /// Where the elements stand in it.
        ties: Ties,
    },
    /// All patches of each image, the numbers of one a pitch apart: `[B, patch · pitch]`.
    Patches {
        /// Images.
        x: ClearId,
        /// Where kernels stand.
        window: Window,
    },
    /// atan2(y, x).
    Atan2(ClearId, ClearId),
    /// The outer product of each sample, flattened row-major.
    Outer(ClearId, ClearId),
    /// n random Fourier features cos(w·x + b), w normal times `scale`, b uniform in [0, 2π), drawn from `seed`.
    Fourier {
        /// The argument.
        x: ClearId,
        /// How many.
        n: usize,
        /// Scale of w.
        scale: f64,
        /// Seed of w and b.
        seed: u64,
    },
    /// The (2K+1)(J+1) products of {cos kθ, sin kθ} and cos(jπ(x+1)/2), amplitudes (1 + k² + j²/4)^(−smooth), √2 for
    /// each of k, j > 0.
    TensorFourier {
        /// θ.
        angle: ClearId,
        /// K.
        k: usize,
        /// x.
        x: ClearId,
        /// J.
        j: usize,
        /// Exponent.
        smooth: f64,
    },
}

/// Exact element-wise functions (softmax: over each sample).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Function {
    /// max(x, 0).
    Relu,
    /// x sigmoid(x).
    Silu,
    /// x Φ(x).
    Gelu,
    /// Hyperbolic tangent.
    Tanh,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// log(1 + e^x).
    Softplus,
    /// x tanh(softplus(x)).
    Mish,
    /// x².
    Square,
    /// e^x.
    Exp,
    /// Natural logarithm.
    Log,
    /// Square root.
    Sqrt,
    /// |x|.
    Abs,
    /// 1 / x.
    Reciprocal,
    /// Sine.
    Sin,
    /// Cosine.
    Cos,
    /// x limited to [-1, 1].
    HardTanh,
    /// log(1 − tanh² x), the logarithm of how much tanh squashes.
    LogSech2,
}

impl Function {
    /// Its name in the language.
    pub fn name(self) -> &'static str {
        match self {
            Function::Relu => "relu",
            Function::Silu => "silu",
            Function::Gelu => "gelu",
            Function::Tanh => "tanh",
            Function::Sigmoid => "sigmoid",
            Function::Softplus => "softplus",
            Function::Mish => "mish",
            Function::Square => "square",
            Function::Exp => "exp",
            Function::Log => "log",
            Function::Sqrt => "sqrt",
            Function::Abs => "abs",
            Function::Reciprocal => "reciprocal",
            Function::Sin => "sin",
            Function::Cos => "cos",
            Function::HardTanh => "hard_tanh",
            Function::LogSech2 => "log_sech2",
        }
    }

    /// Its value, by `libm`, so that every machine computes the same bits.
    pub fn eval(self, x: f64) -> f64 {
        match self {
            Function::Relu => x.max(0.0),
            Function::Silu => x * sigmoid(x),
            Function::Gelu => x * gaussian_cdf(x),
            Function::Tanh => libm::tanh(x),
            Function::Sigmoid => sigmoid(x),
            Function::Softplus => softplus(x),
            Function::Mish => x * libm::tanh(softplus(x)),
            Function::Square => x * x,
            Function::Exp => libm::exp(x),
            Function::Log => libm::log(x),
            Function::Sqrt => libm::sqrt(x),
            Function::Abs => x.abs(),
            Function::Reciprocal => 1.0 / x,
            Function::Sin => libm::sin(x),
            Function::Cos => libm::cos(x),
            Function::HardTanh => x.clamp(-1.0, 1.0),
            // 2 (log 2 − |x| − log(1 + e^(−2|x|))), which overflows nowhere.
            Function::LogSech2 => 2.0 * (std::f64::consts::LN_2 - x.abs() - libm::log1p(libm::exp(-2.0 * x.abs()))),
        }
    }

    /// Its derivative (at a kink, the one from the right).
    pub fn derivative(self, x: f64) -> f64 {
        match self {
            Function::Relu => f64::from(u8::from(x >= 0.0)),
            Function::Silu => sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x))),
            Function::Gelu => gaussian_cdf(x) + x * libm::exp(-x * x / 2.0) / libm::sqrt(2.0 * std::f64::consts::PI),
            Function::Tanh => 1.0 - libm::tanh(x) * libm::tanh(x),
            Function::Sigmoid => sigmoid(x) * (1.0 - sigmoid(x)),
            Function::Softplus => sigmoid(x),
            Function::Mish => {
                let t = libm::tanh(softplus(x));
                t + x * (1.0 - t * t) * sigmoid(x)
            }
            Function::Square => 2.0 * x,
            Function::Exp => libm::exp(x),
            Function::Log => 1.0 / x,
            Function::Sqrt => 0.5 / libm::sqrt(x),
            Function::Abs => {
                if x >= 0.0 {
                    1.0
                } else {
                    -1.0
                }
            }
            Function::Reciprocal => -1.0 / (x * x),
            Function::Sin => libm::cos(x),
            Function::Cos => -libm::sin(x),
            Function::HardTanh => f64::from(u8::from((-1.0..1.0).contains(&x))),
            Function::LogSech2 => -2.0 * libm::tanh(x),
        }
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

fn gaussian_cdf(x: f64) -> f64 {
    0.5 * libm::erfc(-x / std::f64::consts::SQRT_2)
}

/// Value of Σ c_k T_k(t) by Clenshaw's recurrence.
pub fn chebyshev(coefficients: &[f64], t: f64) -> f64 {
    let (mut next, mut after) = (0.0, 0.0);
    for &c in coefficients.iter().skip(1).rev() {
        (next, after) = (2.0 * t * next - after + c, next);
    }
    coefficients.first().copied().unwrap_or(0.0) + t * next - after
}

/// Why a clear-text program could not run on the data it was given.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ClearError {
    /// An array is missing.
    #[error("the {what} `{name}` is missing")]
    Missing {
        /// `array` of the batch, `state`, ...
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// An array has the wrong shape.
    #[error("`{name}` has shape {got:?}, where the plan needs {want}")]
    Shape {
        /// Its name.
        name: String,
        /// Its shape.
        got: Vec<usize>,
        /// What was expected, in words.
        want: String,
    },
    /// A number is not finite.
    #[error("`{name}` holds a value that is not a finite number (sample {sample})")]
    NotFinite {
        /// Its name.
        name: String,
        /// Index of the sample.
        sample: usize,
    },
    /// Operands disagree; a plan that checks never gets here with well-shaped data.
    #[error("node {0} of the client's program has operands of different lengths")]
    Inconsistent(u32),
}

/// Where a clear-text program finds its arrays.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// The batch.
    pub batch: &'a Tensors,
    /// Carried states.
    pub states: &'a Tensors,
    /// Values brought back by earlier rounds.
    pub decrypted: &'a std::collections::BTreeMap<u32, Tensor>,
}

impl ClearProgram {
    /// Adds a node.
    pub fn push(&mut self, op: ClearOp) -> ClearId {
        let id = ClearId(self.nodes.len() as u32);
        self.nodes.push(ClearNode { op });
        id
    }

    /// Computes the nodes `wanted` needs, in order; the results stand under their ids. `known` holds nodes computed
    /// before (by an earlier round) and gains the new ones.
    ///
    /// # Errors
    /// [`ClearError`] if an array is missing, misshapen or not finite.
    pub fn eval(
        &self,
        wanted: &[ClearId],
        sources: Sources<'_>,
        known: &mut std::collections::BTreeMap<ClearId, Tensor>,
    ) -> Result<(), ClearError> {
        let mut needed = vec![false; self.nodes.len()];
        let mut stack: Vec<ClearId> = wanted.to_vec();
        while let Some(id) = stack.pop() {
            if !std::mem::replace(&mut needed[id.0 as usize], true) && !known.contains_key(&id) {
                stack.extend(self.nodes[id.0 as usize].op.operands());
            }
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let id = ClearId(index as u32);
            if needed[index] && !known.contains_key(&id) {
                let value = self.eval_node(id, &node.op, sources, known)?;
                known.insert(id, value);
            }
        }
        Ok(())
    }

    /// Whether a node is a number that depends on nothing but the number of the update.
    pub fn depends_on_update_alone(&self, id: ClearId) -> bool {
        let mut stack = vec![id];
        while let Some(id) = stack.pop() {
            let Some(node) = self.nodes.get(id.0 as usize) else { return false };
            match &node.op {
                ClearOp::Number(_) => {}
                ClearOp::Batch { name, dim: 1 } if name == UPDATE => {}
                ClearOp::Add(..)
                | ClearOp::Sub(..)
                | ClearOp::Mul(..)
                | ClearOp::Div(..)
                | ClearOp::Affine { .. }
                | ClearOp::Clip { .. }
                | ClearOp::Map(..)
                | ClearOp::MeanBatch(_)
                | ClearOp::Due { .. } => stack.extend(node.op.operands()),
                _ => return false,
            }
        }
        true
    }

    /// The value of such a node at an update, counted from 0; 0 for any other node.
    pub fn at_update(&self, id: ClearId, update: u64) -> f64 {
        let batch = Tensors::from([(UPDATE.to_owned(), Tensor::new(vec![1], vec![update as f64]))]);
        let (states, decrypted, mut known) = Default::default();
        let sources = Sources { batch: &batch, states: &states, decrypted: &decrypted };
        match self.eval(&[id], sources, &mut known) {
            Ok(()) => known.get(&id).and_then(|value| value.data.first()).copied().unwrap_or(0.0),
            Err(_) => 0.0,
        }
    }

    fn eval_node(
        &self,
        id: ClearId,
        op: &ClearOp,
        sources: Sources<'_>,
        known: &std::collections::BTreeMap<ClearId, Tensor>,
    ) -> Result<Tensor, ClearError> {
        let get = |id: &ClearId| known.get(id).ok_or(ClearError::Inconsistent(id.0));
        let zip = |a: &ClearId, b: &ClearId, f: fn(f64, f64) -> f64| broadcast(id, get(a)?, get(b)?, f);
        Ok(match op {
            ClearOp::Batch { name, dim } => batch_array(sources.batch, name, *dim)?,
            ClearOp::State(name) => {
                sources.states.get(name).cloned().ok_or_else(|| ClearError::Missing { what: "state", name: name.clone() })?
            }
            ClearOp::Decrypted(value) => sources
                .decrypted
                .get(value)
                .cloned()
                .ok_or_else(|| ClearError::Missing { what: "decrypted value", name: value.to_string() })?,
            ClearOp::Number(c) => Tensor::new(vec![1, 1], vec![*c]),
            ClearOp::Normalise { x, ranges } => {
                let x = get(x)?;
                let (_, dim) = x.rows_cols();
                if dim != ranges.len() {
                    return Err(ClearError::Inconsistent(id.0));
                }
                let data = x.data.iter().enumerate().map(|(i, &v)| {
                    let [low, high] = ranges[i % dim];
                    2.0 * (v.clamp(low, high) - low) / (high - low) - 1.0
                });
                Tensor::new(x.shape.clone(), data.collect())
            }
            ClearOp::Add(a, b) => zip(a, b, |a, b| a + b)?,
            ClearOp::Sub(a, b) => zip(a, b, |a, b| a - b)?,
            ClearOp::Mul(a, b) => zip(a, b, |a, b| a * b)?,
            ClearOp::Div(a, b) => zip(a, b, |a, b| a / b)?,
            ClearOp::Min(a, b) => zip(a, b, f64::min)?,
            ClearOp::Max(a, b) => zip(a, b, f64::max)?,
            ClearOp::Affine { x, factor, offset } => map(get(x)?, |v| factor * v + offset),
            ClearOp::Clip { x, low, high } => map(get(x)?, |v| v.clamp(*low, *high)),
            ClearOp::Due { update, period } => {
                let period = f64::from((*period).max(1));
                map(get(update)?, |v| f64::from(u8::from((v + 1.0) % period == 0.0)))
            }
            ClearOp::Select(c, a, b) => {
                let chosen = zip(c, a, |c, a| if c != 0.0 { a } else { f64::NAN })?;
                broadcast(id, &chosen, get(b)?, |a, b| if a.is_nan() { b } else { a })?
            }
            ClearOp::Map(f, x) => map(get(x)?, |v| f.eval(v)),
            ClearOp::Derivative(f, x) => map(get(x)?, |v| f.derivative(v)),
            ClearOp::Chebyshev { x, centre, half, coefficients } => map(get(x)?, |v| chebyshev(coefficients, (v - centre) / half)),
            ClearOp::SumElements(x) => rows(get(x)?, |row, out| out.push(row.iter().sum())),
            ClearOp::MaxElements(x) => rows(get(x)?, |row, out| out.push(row.iter().copied().fold(f64::NEG_INFINITY, f64::max))),
            ClearOp::ArgMax(x) => rows(get(x)?, |row, out| {
                let best = arg_max(row);
                out.extend((0..row.len()).map(|i| f64::from(u8::from(i == best))));
            }),
            ClearOp::Slice { x, start, len } => {
                let x = get(x)?;
                if start + len > x.rows_cols().1 {
                    return Err(ClearError::Inconsistent(id.0));
                }
                rows(x, |row, out| out.extend_from_slice(&row[*start..start + len]))
            }
            ClearOp::Concat(parts) => {
                let parts = parts.iter().map(get).collect::<Result<Vec<_>, _>>()?;
                let count = parts.iter().map(|p| p.rows_cols().0).max().unwrap_or(1);
                let mut data = Vec::new();
                for row in 0..count {
                    for part in &parts {
                        let (r, d) = part.rows_cols();
                        let row = if r == 1 { 0 } else { row };
                        data.extend_from_slice(part.data.get(row * d..(row + 1) * d).ok_or(ClearError::Inconsistent(id.0))?);
                    }
                }
                Tensor::new(vec![count, data.len() / count], data)
            }
            ClearOp::MeanBatch(x) => {
                let x = get(x)?;
                let (r, d) = x.rows_cols();
                let mean = |j: usize| (0..r).map(|i| x.data[i * d + j]).sum::<f64>() / r as f64;
                Tensor::new(vec![1, d], (0..d).map(mean).collect())
            }
            ClearOp::Dense { x, weight, bias } => {
                let (x, w) = (get(x)?, get(weight)?);
                let bias = bias.as_ref().map(get).transpose()?;
                let (_, inputs) = x.rows_cols();
                let out = w.shape.first().copied().unwrap_or(1);
                if w.data.len() != out * inputs || bias.is_some_and(|b| b.data.len() != out) {
                    return Err(ClearError::Inconsistent(id.0));
                }
                rows(x, |row, result| {
                    for o in 0..out {
                        let dot: f64 = w.data[o * inputs..(o + 1) * inputs].iter().zip(row).map(|(w, x)| w * x).sum();
                        result.push(dot + bias.map_or(0.0, |b| b.data[o]));
                    }
                })
            }
            ClearOp::Expand { x, ties } => ties.expand(get(x)?).ok_or(ClearError::Inconsistent(id.0))?,
            ClearOp::Collect { x, ties } => ties.collect(get(x)?).ok_or(ClearError::Inconsistent(id.0))?,
            ClearOp::Patches { x, window } => {
                let x = get(x)?;
                let (rows, cols) = x.rows_cols();
                if cols != window.input() {
                    return Err(ClearError::Inconsistent(id.0));
                }
                Tensor::new(vec![rows, window.patch() * window.pitch()], window.patches(rows, &x.data))
            }
            ClearOp::Atan2(y, x) => zip(y, x, libm::atan2)?,
            ClearOp::Outer(a, b) => {
                let (a, b) = (get(a)?, get(b)?);
                let ((r, m), (_, n)) = (a.rows_cols(), b.rows_cols());
                let mut data = Vec::with_capacity(r * m * n);
                for row in 0..r {
                    for i in 0..m {
                        data.extend((0..n).map(|j| a.data[row * m + i] * b.data[row * n + j]));
                    }
                }
                Tensor::new(vec![r, m * n], data)
            }
            ClearOp::Fourier { x, n, scale, seed } => {
                let x = get(x)?;
                let (w, b) = crate::init::fourier(x.rows_cols().1, *n, *scale, *seed);
                rows(x, |row, out| {
                    for j in 0..*n {
                        let dot: f64 = row.iter().enumerate().map(|(i, v)| w[j * row.len() + i] * v).sum();
                        out.push(libm::cos(dot + b[j]));
                    }
                })
            }
            ClearOp::TensorFourier { angle, k, x, j, smooth } => {
                let (angle, x) = (get(angle)?, get(x)?);
                let root = |harmonic: usize| if harmonic > 0 { std::f64::consts::SQRT_2 } else { 1.0 };
                let amplitude = |k: f64, l: f64| libm::pow(1.0 + k * k + l * l / 4.0, -smooth);
                let amplitudes: Vec<f64> = (0..=*k).flat_map(|k| (0..=*j).map(move |l| amplitude(k as f64, l as f64))).collect();
                let mut data = Vec::with_capacity(angle.data.len() * (2 * k + 1) * (j + 1));
                for (&theta, &x) in angle.data.iter().zip(&x.data) {
                    let across = |l: usize| libm::cos(l as f64 * std::f64::consts::PI * (x + 1.0) / 2.0) * root(l);
                    let across: Vec<f64> = (0..=*j).map(across).collect();
                    for m in 0..=2 * k {
                        let harmonic = m.div_ceil(2);
                        let around = if m % 2 == 1 { libm::cos(harmonic as f64 * theta) } else { libm::sin(harmonic as f64 * theta) };
                        let around = if m == 0 { 1.0 } else { around * root(harmonic) };
                        let row = &amplitudes[harmonic * (j + 1)..(harmonic + 1) * (j + 1)];
                        data.extend(across.iter().zip(row).map(|(across, amplitude)| around * across * amplitude));
                    }
                }
                let count = angle.data.len();
                Tensor::new(vec![count, (2 * k + 1) * (j + 1)], data)
            }
        })
    }
}

impl ClearOp {
    /// The operands.
    pub fn operands(&self) -> Vec<ClearId> {
        match self {
            ClearOp::Batch { .. } | ClearOp::State(_) | ClearOp::Decrypted(_) | ClearOp::Number(_) => Vec::new(),
            ClearOp::Normalise { x, .. }
            | ClearOp::Affine { x, .. }
            | ClearOp::Clip { x, .. }
            | ClearOp::Due { update: x, .. }
            | ClearOp::Map(_, x)
            | ClearOp::Derivative(_, x)
            | ClearOp::Chebyshev { x, .. }
            | ClearOp::SumElements(x)
            | ClearOp::MaxElements(x)
            | ClearOp::ArgMax(x)
            | ClearOp::Slice { x, .. }
            | ClearOp::MeanBatch(x)
            | ClearOp::Patches { x, .. }
            | ClearOp::Expand { x, .. }
            | ClearOp::Collect { x, .. }
            | ClearOp::Fourier { x, .. } => vec![*x],
            ClearOp::Add(a, b)
            | ClearOp::Sub(a, b)
            | ClearOp::Mul(a, b)
            | ClearOp::Div(a, b)
            | ClearOp::Min(a, b)
            | ClearOp::Max(a, b)
            | ClearOp::Atan2(a, b)
            | ClearOp::Outer(a, b) => vec![*a, *b],
            ClearOp::Select(c, a, b) => vec![*c, *a, *b],
            ClearOp::Concat(parts) => parts.clone(),
            ClearOp::Dense { x, weight, bias } => [Some(*x), Some(*weight), *bias].into_iter().flatten().collect(),
            ClearOp::TensorFourier { angle, x, .. } => vec![*angle, *x],
        }
    }
}

/// Index of the largest element, the first of equals.
pub fn arg_max(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |best, i| if values[i] > values[best] { i } else { best })
}

fn map(x: &Tensor, f: impl Fn(f64) -> f64) -> Tensor {
    Tensor::new(x.shape.clone(), x.data.iter().map(|&v| f(v)).collect())
}

fn rows(x: &Tensor, mut f: impl FnMut(&[f64], &mut Vec<f64>)) -> Tensor {
    let (count, dim) = x.rows_cols();
    let mut data = Vec::new();
    for row in 0..count {
        f(&x.data[row * dim..(row + 1) * dim], &mut data);
    }
    let dim = data.len().checked_div(count).unwrap_or(0);
    Tensor::new(vec![count, dim], data)
}

fn broadcast(id: ClearId, a: &Tensor, b: &Tensor, f: fn(f64, f64) -> f64) -> Result<Tensor, ClearError> {
    let ((ra, da), (rb, db)) = (a.rows_cols(), b.rows_cols());
    let (r, d) = (ra.max(rb), da.max(db));
    let fits = |have: usize, want: usize| have == want || have == 1;
    if !(fits(ra, r) && fits(rb, r) && fits(da, d) && fits(db, d)) {
        return Err(ClearError::Inconsistent(id.0));
    }
    let at = |t: &Tensor, rows: usize, dim: usize, i: usize, j: usize| {
        t.data[if rows == 1 { 0 } else { i } * dim + if dim == 1 { 0 } else { j }]
    };
    let mut data = Vec::with_capacity(r * d);
    for i in 0..r {
        for j in 0..d {
            data.push(f(at(a, ra, da, i, j), at(b, rb, db, i, j)));
        }
    }
    Ok(Tensor::new(vec![r, d], data))
}

fn batch_array(batch: &Tensors, name: &str, dim: usize) -> Result<Tensor, ClearError> {
    let array = batch.get(name).ok_or_else(|| ClearError::Missing { what: "array", name: name.to_owned() })?;
    let rows = array.shape.first().copied().unwrap_or(1);
    let (_, have) = array.rows_cols();
    if let Some(at) = array.data.iter().position(|v| !v.is_finite()) {
        return Err(ClearError::NotFinite { name: name.to_owned(), sample: at.checked_div(have).unwrap_or(0) });
    }
    if have != dim || array.data.len() != rows * dim {
        return Err(ClearError::Shape {
            name: name.to_owned(),
            got: array.shape.clone(),
            want: if dim == 1 { "[batch]".to_owned() } else { format!("[batch, {dim}]") },
        });
    }
    Ok(Tensor::new(vec![rows, dim], array.data.clone()))
}
