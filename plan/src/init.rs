//! Seeded numbers: initial weights and random features. Only their seed is stored; every machine draws the same.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::{Plan, State, StateInit, Tensor, Tensors};

/// The states of `plan` as a run with `seed` starts them.
pub fn initial_states(states: &[State], seed: u64) -> Tensors {
    let mut tensors = Tensors::new();
    // Copies may name a state that stands later: two sweeps, since a copy is never a copy's copy.
    for copies in [false, true] {
        for state in states {
            let value = match &state.init {
                StateInit::Copy(_) if !copies => continue,
                StateInit::Copy(of) => tensors.get(of).cloned().unwrap_or_else(|| Tensor::zeros(&state.shape)),
                _ if copies => continue,
                StateInit::Orthogonal { gain, stream } => orthogonal(&state.shape, *gain, seed, *stream),
                StateInit::He { stream } => {
                    let inputs: usize = state.shape.iter().skip(1).product();
                    let deviation = libm::sqrt(2.0 / inputs.max(1) as f64);
                    let mut rng = rng(seed, *stream);
                    let count = state.shape.iter().product();
                    Tensor::new(state.shape.clone(), (0..count).map(|_| deviation * normal(&mut rng)).collect())
                }
                StateInit::Constant(c) => Tensor::new(state.shape.clone(), vec![*c; state.shape.iter().product()]),
            };
            tensors.insert(state.name.clone(), value);
        }
    }
    tensors
}

/// [`initial_states`] of a plan, with its own seed.
pub fn initial(plan: &Plan) -> Tensors {
    initial_states(&plan.states, plan.training.as_ref().map_or(0, |t| t.run.seed))
}

/// Weights and phases of random Fourier features: w `[n, dim]` normal times `scale`, b uniform in [0, 2π).
pub fn fourier(dim: usize, n: usize, scale: f64, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut rng = rng(seed, u64::MAX);
    let w = (0..n * dim).map(|_| scale * normal(&mut rng)).collect();
    let b = (0..n).map(|_| 2.0 * std::f64::consts::PI * uniform(&mut rng)).collect();
    (w, b)
}

/// A matrix with orthogonal rows or columns, whichever are fewer: Gram-Schmidt on normal vectors. Its rows have a mean square
/// norm of `gain²`, so that a layer of any shape keeps the size of what it gets.
fn orthogonal(shape: &[usize], gain: f64, seed: u64, stream: u64) -> Tensor {
    let (out, inputs) = (shape[0], shape[1..].iter().product::<usize>());
    let (count, length) = (out.min(inputs), out.max(inputs));
    let mut rng = rng(seed, stream);
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut v: Vec<f64> = (0..length).map(|_| normal(&mut rng)).collect();
        // Twice is enough (Kahan): the second sweep removes what rounding left.
        for _ in 0..2 {
            for u in &vectors {
                let dot: f64 = u.iter().zip(&v).map(|(a, b)| a * b).sum();
                v.iter_mut().zip(u).for_each(|(a, b)| *a -= dot * b);
            }
        }
        let norm = libm::sqrt(v.iter().map(|x| x * x).sum());
        if norm > 1e-6 {
            v.iter_mut().for_each(|x| *x /= norm);
            vectors.push(v);
        }
    }
    let size = gain * libm::sqrt((out as f64 / inputs as f64).max(1.0));
    let at = |o: usize, i: usize| size * if out <= inputs { vectors[o][i] } else { vectors[i][o] };
    let data = (0..out).flat_map(|o| (0..inputs).map(move |i| (o, i))).map(|(o, i)| at(o, i)).collect();
    Tensor::new(shape.to_vec(), data)
}

fn rng(seed: u64, stream: u64) -> ChaCha20Rng {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// A number from [0, 1).
pub fn uniform(rng: &mut ChaCha20Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A standard normal number, by Box and Muller.
pub fn normal(rng: &mut ChaCha20Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - uniform(rng)));
    radius * libm::cos(2.0 * std::f64::consts::PI * uniform(rng))
}
