//! Networks layer by layer: what is known of a network's inner values from the gradients of its parameters.

use hecc_compiler::check::hir::{Activation, Function, Layer, LayerKind, Net};
use hecc_compiler::inspection::Weights;
use hecc_compiler::tensor::build::named;
use hecc_compiler::tensor::convolution::Window;

/// The dense part of a network: from its first dense layer on, whose input is in the gradients, to its last.
#[derive(Clone, Debug)]
pub struct Stack<'a> {
    /// The network.
    pub net: &'a Net,
    /// Position of the first dense layer; what stands before it is no dense layer.
    first: usize,
    /// Numbers of the first and the last dense layer, by which their parameters are named.
    ends: (usize, usize),
    /// What stands behind the last dense layer.
    tail: &'a [Layer],
}

impl<'a> Stack<'a> {
    /// The stack of a net whose first and last dense layers have biases; `None` where gradients do not tell their input, or
    /// where the net has heads.
    pub fn of(net: &'a Net) -> Option<Self> {
        let plain = matches!(net.outputs.as_slice(), [head] if head.layers.is_empty());
        let dense = |layer: &Layer| match layer.kind {
            LayerKind::Dense { index, bias, .. } => Some((index, bias)),
            _ => None,
        };
        let first = net.layers.iter().position(|layer| !simple(layer))?;
        let (start, true) = dense(&net.layers[first])? else { return None };
        let last = net.layers.iter().rposition(|layer| dense(layer).is_some())?;
        let (end, true) = dense(&net.layers[last])? else { return None };
        let tail = &net.layers[last + 1..];
        let settled = tail.iter().all(|layer| matches!(layer.kind, LayerKind::Activation(_) | LayerKind::Scale(_) | LayerKind::Flatten));
        (plain && settled).then_some(Self { net, first, ends: (start, end), tail })
    }

    /// Whether images come before the first dense layer.
    pub fn sees_images(&self) -> bool {
        self.net.layers[..self.first].iter().any(|layer| matches!(layer.kind, LayerKind::Conv { .. }))
    }

    /// Whether the output is that of the last dense layer itself.
    pub fn is_linear_at_the_end(&self) -> bool {
        self.tail.iter().all(|layer| matches!(layer.kind, LayerKind::Flatten))
    }

    /// The input of the first dense layer, where one sample made the gradient: ∇W = δ xᵀ and ∇b = δ give x = ∇Wᵀ ∇b / |∇b|².
    pub fn input(&self, gradient: &Weights) -> Option<Vec<f64>> {
        let (weight, bias) = (self.part(gradient, self.ends.0, "weight")?, self.part(gradient, self.ends.0, "bias")?);
        let square: f64 = bias.iter().map(|b| b * b).sum();
        let mut input = vec![0.0; weight.len() / bias.len()];
        for (row, b) in weight.chunks(input.len()).zip(bias) {
            input.iter_mut().zip(row).for_each(|(x, w)| *x += w * b / square);
        }
        Some(input)
    }

    /// The input of the first dense layer by that of the network.
    pub fn front(&self, weights: &Weights, input: Vec<f64>) -> Option<Vec<f64>> {
        Some(run(&self.net.layers[..self.first], &self.net.name, weights, (input, self.net.input_shape.clone()))?.0)
    }

    /// The gradient of the last bias: the error that runs backwards through the network.
    pub fn error<'g>(&self, gradient: &'g Weights) -> Option<&'g [f64]> {
        self.part(gradient, self.ends.1, "bias")
    }

    /// The output by the input of the first dense layer.
    pub fn output(&self, weights: &Weights, input: Vec<f64>) -> Option<Vec<f64>> {
        Some(run(&self.net.layers[self.first..], &self.net.name, weights, (input, Vec::new()))?.0)
    }

    /// What the last dense layer puts out by the input of the first, and the derivative of the output by it.
    pub fn slopes(&self, weights: &Weights, input: Vec<f64>) -> Option<Vec<f64>> {
        let body = &self.net.layers[self.first..self.net.layers.len() - self.tail.len()];
        let (mut z, _) = run(body, &self.net.name, weights, (input, Vec::new()))?;
        let mut slopes = vec![1.0; z.len()];
        for layer in self.tail {
            match &layer.kind {
                LayerKind::Activation(Activation { function, .. }) => {
                    let derivative = |x: f64| derivative(function, x);
                    for (slope, x) in slopes.iter_mut().zip(&z) {
                        *slope *= derivative(*x)?;
                    }
                    z = activation(function, z)?;
                }
                LayerKind::Scale(c) => {
                    z.iter_mut().for_each(|x| *x *= c);
                    slopes.iter_mut().for_each(|x| *x *= c);
                }
                _ => {}
            }
        }
        Some(slopes)
    }

    fn part<'g>(&self, of: &'g Weights, index: usize, what: &str) -> Option<&'g [f64]> {
        of.get(&format!("{}.{index}.{what}", self.net.name)).map(Vec::as_slice)
    }
}

/// Layers of which gradients tell nothing that a dense layer behind them does not.
fn simple(layer: &Layer) -> bool {
    matches!(layer.kind, LayerKind::Conv { .. } | LayerKind::Flatten | LayerKind::Scale(_) | LayerKind::Activation(_))
}

/// A whole network on one input.
pub fn apply(net: &Net, weights: &Weights, input: Vec<f64>) -> Option<Vec<f64>> {
    Some(run(&net.layers, &net.name, weights, (input, net.input_shape.clone()))?.0)
}

/// Layers on one value of a given shape; the shape matters to convolutions only.
fn run(layers: &[Layer], name: &str, weights: &Weights, input: (Vec<f64>, Vec<usize>)) -> Option<(Vec<f64>, Vec<usize>)> {
    let (mut x, mut shape) = input;
    let get = |index: usize, what: &str| weights.get(&format!("{name}.{index}.{what}"));
    for layer in layers {
        x = match &layer.kind {
            LayerKind::Dense { index, inputs, bias, .. } => {
                let sum = |row: &[f64]| row.iter().zip(&x).map(|(w, x)| w * x).sum::<f64>();
                let mut y: Vec<f64> = get(*index, "weight")?.chunks(*inputs).map(sum).collect();
                if *bias {
                    y.iter_mut().zip(get(*index, "bias")?).for_each(|(y, b)| *y += b);
                }
                y
            }
            LayerKind::Conv { index, outputs, kernel, stride, bias, .. } => {
                let [channels, height, width] = shape[..] else { return None };
                let window = Window { channels, height, width, outputs: *outputs, kernel: *kernel, stride: *stride };
                let mut y = window.forward(1, &x, get(*index, "weight")?);
                if *bias {
                    y.chunks_mut(window.places()).zip(get(*index, "bias")?).for_each(|(y, b)| y.iter_mut().for_each(|y| *y += b));
                }
                y
            }
            LayerKind::Flatten => x,
            LayerKind::Activation(of) => activation(&of.function, x)?,
            LayerKind::Scale(c) => x.iter().map(|v| c * v).collect(),
            LayerKind::Residual(inner) => {
                let (y, _) = run(inner, name, weights, (x.clone(), shape.clone()))?;
                x.iter().zip(y).map(|(a, b)| a + b).collect()
            }
        };
        shape.clone_from(&layer.shape);
    }
    Some((x, shape))
}

fn activation(function: &Function, x: Vec<f64>) -> Option<Vec<f64>> {
    Some(match function {
        Function::Softmax => softmax(&x),
        Function::Poly(c) => x.iter().map(|x| c.iter().rev().fold(0.0, |sum, c| sum * x + c)).collect(),
        other => {
            let function = named(other)?;
            x.iter().map(|&x| function.eval(x)).collect()
        }
    })
}

fn derivative(function: &Function, x: f64) -> Option<f64> {
    match function {
        Function::Softmax => None,
        Function::Poly(c) => Some(c.iter().enumerate().skip(1).rev().fold(0.0, |sum, (i, c)| sum * x + i as f64 * c)),
        other => named(other).map(|function| function.derivative(x)),
    }
}

/// Probabilities by logits.
pub fn softmax(z: &[f64]) -> Vec<f64> {
    let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = z.iter().map(|v| libm::exp(v - most)).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|p| p / sum).collect()
}
