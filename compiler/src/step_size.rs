//! Whether a learning rate is small enough, for a network that is linear in its inputs.
//!
//! Where a loss is quadratic in the parameters w, its gradient is H w + c, and an optimiser with a momentum is a linear
//! recurrence in each eigenvector of H. It is stable as long as lr λ stays below a limit that β gives, λ the largest
//! eigenvalue. Under `0.5 mean((w.f - y)²)` H is the second moment of the features f that the client computes; in general it
//! is that times the curvature of the loss, and both together are seen in how gradients differ.

use std::collections::BTreeMap;

use hecc_plan::Tensors;
use hecc_plan::clear::ClearError;

use crate::check::hir::{LayerKind, OptimizerKind, Program, Schedule, Stmt, Task, Trained};
use crate::rehearsal::Rehearsal;

/// Rounds of the power iteration: what it finds is λ or a little less.
const ROUNDS: usize = 24;
/// Gradients of a quadratic loss differ by as much per step, however long it is; up to rounding.
const QUADRATIC: f64 = 1e-6;

/// A network that is linear in its inputs, and how it is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// The network.
    pub net: String,
    /// The largest learning rate of its schedule.
    pub lr: f64,
    /// What lr λ has to stay below.
    pub limit: f64,
}

/// What a client's data say of a learning rate.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSize {
    /// The network and its optimiser.
    pub of: Linear,
    /// λ: the largest eigenvalue of the loss's second derivative by the network's parameters.
    pub eigenvalue: f64,
}

impl StepSize {
    /// The learning rate from which on training diverges.
    pub fn largest(&self) -> f64 {
        self.of.limit / self.eigenvalue
    }

    /// Whether the program's is smaller.
    pub fn stable(&self) -> bool {
        self.of.lr < self.largest()
    }
}

/// The networks of a program that are one dense layer without an activation, under optimisers that are linear in the gradient.
pub(crate) fn linear(program: &Program) -> Vec<Linear> {
    let Task::Train(train) = &program.task else { return Vec::new() };
    let mut found = Vec::new();
    for statement in &train.body.statements {
        let Stmt::Minimize { over, optimizer, .. } = statement else { continue };
        // Of g alone; of b = βb + g as PyTorch has it; of g + βb, which are Nesterov's points that look ahead.
        let limit = match optimizer.kind {
            OptimizerKind::Sgd => 2.0,
            OptimizerKind::Momentum { beta } => 2.0 * (1.0 + beta),
            OptimizerKind::Nesterov { beta } => 2.0 * (1.0 + beta) / (1.0 + 2.0 * beta),
            OptimizerKind::Adam { .. } | OptimizerKind::RmsProp { .. } => continue,
        };
        let lr = match optimizer.lr {
            Schedule::Constant(lr) => lr,
            Schedule::Linear(from, to) | Schedule::Cosine(from, to) => from.max(to),
        };
        for trained in over {
            let Trained::Net(id) = trained else { continue };
            let net = &program.nets[id.0];
            let plain = net.outputs.iter().all(|head| head.layers.is_empty());
            if plain && matches!(net.layers.as_slice(), [layer] if matches!(layer.kind, LayerKind::Dense { .. })) {
                found.push(Linear { net: net.name.clone(), lr, limit });
            }
        }
    }
    found
}

impl Rehearsal {
    /// Largest eigenvalues for the networks that are linear in their inputs and whose loss is quadratic, over all of
    /// `batches` together, at `states`. In the clear: this is for who owns the data.
    ///
    /// # Errors
    /// If an array of a batch is missing or has the wrong shape.
    pub fn step_sizes(&self, batches: &[Tensors], states: &Tensors) -> Result<Vec<StepSize>, ClearError> {
        let mut found = Vec::new();
        for of in self.linear() {
            let prefix = format!("{}.", of.net);
            let gradient = |states: &Tensors| self.mean_gradient(batches, states, &prefix);
            let here = gradient(states)?;
            if here.is_empty() {
                continue;
            }
            let moved = |direction: &Flat, step: f64| {
                let mut moved = states.clone();
                for (name, values) in direction {
                    if let Some(state) = moved.get_mut(name) {
                        state.data.iter_mut().zip(values).for_each(|(w, d)| *w += step * d);
                    }
                }
                Ok(scaled(&difference(&gradient(&moved)?, &here), 1.0 / step))
            };
            // Any direction that no symmetry singles out.
            let mut phase = 0.0;
            let start = here.iter().map(|(name, values)| {
                let start = values.iter().map(|_| {
                    phase += 1.0;
                    1.0 + 0.5 * libm::sin(phase * phase)
                });
                (name.clone(), start.collect())
            });
            let mut direction: Flat = start.collect();
            direction = scaled(&direction, 1.0 / norm(&direction));
            let (long, short) = (moved(&direction, 1.0)?, moved(&direction, 0.125)?);
            // What is no number is not quadratic either.
            let bent = norm(&difference(&long, &short)) / norm(&long);
            if bent.is_nan() || bent > QUADRATIC {
                continue;
            }
            let mut eigenvalue = 0.0;
            for _ in 0..ROUNDS {
                let image = moved(&direction, 1.0)?;
                eigenvalue = norm(&image);
                if eigenvalue == 0.0 {
                    break;
                }
                direction = scaled(&image, 1.0 / eigenvalue);
            }
            if eigenvalue > 0.0 {
                found.push(StepSize { of: of.clone(), eigenvalue });
            }
        }
        Ok(found)
    }

    /// The gradients of the parameters whose names begin so, averaged over batches.
    fn mean_gradient(&self, batches: &[Tensors], states: &Tensors, prefix: &str) -> Result<Flat, ClearError> {
        let mut sum = Flat::new();
        for batch in batches {
            for (name, gradient) in self.gradients(batch, states)? {
                if name.starts_with(prefix) {
                    let sum = sum.entry(name).or_insert_with(|| vec![0.0; gradient.len()]);
                    sum.iter_mut().zip(&gradient).for_each(|(s, g)| *s += g / batches.len() as f64);
                }
            }
        }
        Ok(sum)
    }
}

/// Vectors of all parameters, by name.
type Flat = BTreeMap<String, Vec<f64>>;

fn norm(a: &Flat) -> f64 {
    libm::sqrt(a.values().flatten().map(|v| v * v).sum())
}

fn scaled(a: &Flat, by: f64) -> Flat {
    a.iter().map(|(name, values)| (name.clone(), values.iter().map(|v| by * v).collect())).collect()
}

/// `a - b` of vectors with the same names and lengths.
fn difference(a: &Flat, b: &Flat) -> Flat {
    a.iter().zip(b.values()).map(|((name, a), b)| (name.clone(), a.iter().zip(b).map(|(a, b)| a - b).collect())).collect()
}
