//! Ranges of pre-activations that a program does not pin: the largest that a shadow of the seeded initial network shows
//! over its input box, with a margin for what training or other weights will do.

use hecc_plan::{StateInit, Tensor, init};

use crate::check::hir::{Function, Layer, LayerKind, Net, Range};

/// Samples of the shadow run.
const SAMPLES: usize = 512;

/// The range of every activation of `net`, in the order of its layers (residual branches in place, heads in order).
/// `margin` widens what the shadow saw; inputs are taken from [-1, 1].
pub fn activation_ranges(net: &Net, seed: u64, stream: u64, margin: f64) -> Vec<Range> {
    let width: usize = net.input_shape.iter().product();
    let state = [hecc_plan::State {
        name: "x".to_owned(),
        shape: vec![SAMPLES, width],
        init: StateInit::He { stream: u64::MAX - 1 },
        span: hecc_plan::Span::default(),
    }];
    // A normal sample squashed to the box reaches its corners, where pre-activations are largest.
    let drawn = init::initial_states(&state, seed).remove("x").unwrap_or_default();
    let spread = libm::sqrt(width as f64 / 2.0);
    let x: Vec<f64> = drawn.data.iter().map(|v| (1.5 * v * spread).clamp(-1.0, 1.0)).collect();
    let mut shadow = Shadow { seed, stream, next: 0, margin, ranges: Vec::new() };
    let trunk = shadow.layers(&net.layers, Tensor::new(vec![SAMPLES, width], x));
    for head in &net.outputs {
        shadow.layers(&head.layers, trunk.clone());
    }
    shadow.ranges
}

struct Shadow {
    seed: u64,
    stream: u64,
    next: u64,
    margin: f64,
    ranges: Vec<Range>,
}

impl Shadow {
    fn layers(&mut self, layers: &[Layer], mut x: Tensor) -> Tensor {
        for layer in layers {
            x = self.layer(layer, x);
        }
        x
    }

    fn layer(&mut self, layer: &Layer, x: Tensor) -> Tensor {
        let rows = x.shape[0];
        match &layer.kind {
            LayerKind::Dense { inputs, outputs, init, .. } => {
                let weights = super::build::weight_init(*init, self.stream + self.next);
                self.next += 1;
                let state = [hecc_plan::State { name: "w".to_owned(), shape: vec![*outputs, *inputs], init: weights, span: layer.span }];
                let w = init::initial_states(&state, self.seed).remove("w").unwrap_or_default();
                let mut y = Vec::with_capacity(rows * outputs);
                for row in x.data.chunks(*inputs) {
                    for o in 0..*outputs {
                        y.push(w.data[o * inputs..(o + 1) * inputs].iter().zip(row).map(|(a, b)| a * b).sum());
                    }
                }
                Tensor::new(vec![rows, *outputs], y)
            }
            // A convolution is not lowered yet; its activations keep the default range.
            LayerKind::Conv { .. } => {
                self.next += 1;
                Tensor::zeros(&[rows, layer.shape.iter().product()])
            }
            LayerKind::Flatten => x,
            LayerKind::Scale(c) => Tensor::new(x.shape.clone(), x.data.iter().map(|v| c * v).collect()),
            LayerKind::Residual(inner) => {
                let y = self.layers(inner, x.clone());
                Tensor::new(x.shape.clone(), x.data.iter().zip(&y.data).map(|(a, b)| a + b).collect())
            }
            LayerKind::Activation(activation) => {
                let seen = x.data.iter().fold(0.0f64, |m, v| m.max(v.abs()));
                // Quarter steps, so that a range reads well and does not hang on the last digit of a seed.
                let half = (libm::ceil(seen * self.margin * 4.0) / 4.0).max(1.0);
                self.ranges.push(Range { low: -half, high: half });
                let data = x.data.iter().map(|&v| exact(&activation.function, v)).collect();
                Tensor::new(x.shape.clone(), data)
            }
        }
    }
}

fn exact(function: &Function, x: f64) -> f64 {
    match function {
        Function::Poly(c) => c.iter().rev().fold(0.0, |sum, c| sum * x + c),
        Function::Softmax => 0.5,
        other => super::build::named(other).map_or(x, |f| f.eval(x)),
    }
}
