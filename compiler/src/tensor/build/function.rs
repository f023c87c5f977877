//! Functions of values: named ones, and those that are built of others.

use super::{Builder, Built1, Failed};
use crate::check::hir::{Activation, Binary, Function, Pins, Range};
use crate::tensor::graph::{Elementwise, Id, Map, Op, Shape};
use hecc_plan::Span;

/// The plan's name of a function that is approximated.
pub fn named(function: &Function) -> Option<hecc_plan::Function> {
    use hecc_plan::Function as F;
    Some(match function {
        Function::Relu => F::Relu,
        Function::Silu => F::Silu,
        Function::Gelu => F::Gelu,
        Function::Tanh => F::Tanh,
        Function::Sigmoid => F::Sigmoid,
        Function::Softplus => F::Softplus,
        Function::Mish => F::Mish,
        Function::Square => F::Square,
        Function::Exp => F::Exp,
        Function::Log => F::Log,
        Function::Sqrt => F::Sqrt,
        Function::Abs => F::Abs,
        Function::Reciprocal => F::Reciprocal,
        Function::Sin => F::Sin,
        Function::Cos => F::Cos,
        Function::Softmax | Function::Poly(_) => return None,
    })
}

impl Builder<'_> {
    pub(super) fn map(&mut self, activation: &Activation, x: Id, derived: Option<Range>, span: Span) -> Result<Id, Failed> {
        let shape = self.graph.shape(x);
        let pins = Pins { range: activation.pins.range.or(derived), ..activation.pins };
        let function = match (&activation.function, named(&activation.function)) {
            (Function::Square, _) => return Ok(self.graph.push(Op::Mul, &[x, x], shape, span)),
            (Function::Softmax, _) => return Ok(self.softmax(x, pins, span)),
            (Function::Log, _) if self.softmaxes.contains_key(&x) => {
                let (z, of) = self.softmaxes[&x];
                // The logits of both are the same, and what a program says of them once holds for both.
                let pins = if pins == Pins::default() { of } else { pins };
                return Ok(self.log_softmax(z, pins, span));
            }
            (Function::Poly(c), _) => Elementwise::Polynomial(c.clone()),
            (_, Some(function)) => Elementwise::Named(function),
            _ => return self.unsupported("this function", span),
        };
        Ok(self.graph.push(Op::Map(Map { function, order: 0, pins }), &[x], shape, span))
    }

    fn function(&mut self, function: hecc_plan::Function, x: Id, pins: Pins, span: Span) -> Id {
        let map = Map { function: Elementwise::Named(function), order: 0, pins };
        self.graph.push(Op::Map(map), &[x], self.graph.shape(x), span)
    }

    fn scale(&mut self, c: f64, x: Id, span: Span) -> Id {
        self.graph.push(Op::Scale(c), &[x], self.graph.shape(x), span)
    }

    fn offset(&mut self, c: f64, x: Id, span: Span) -> Id {
        self.graph.push(Op::Offset(c), &[x], self.graph.shape(x), span)
    }

    fn pair(&mut self, op: Op, a: Id, b: Id, span: Span) -> Id {
        let (a, b) = self.same_shape(a, b, span);
        self.graph.push(op, &[a, b], self.graph.shape(a), span)
    }

    /// z₁ − z₂ of two logits.
    fn logit(&mut self, z: Id, span: Span) -> Id {
        let [first, second] = [0, 1].map(|start| self.graph.push(Op::Slice { start, step: 1 }, &[z], Shape::Sample(1), span));
        self.graph.push(Op::Sub, &[first, second], Shape::Sample(1), span)
    }

    /// Σ e^z of logits, each in the interval that the program pins: what a function of the sum has to reach.
    fn sum_of_powers(&self, z: Id, pins: Pins) -> Pins {
        let count = match self.graph.shape(z) {
            Shape::Sample(n) | Shape::Vector(n) => n as f64,
            Shape::Matrix(..) => return Pins::default(),
        };
        let range = pins.range.map(|Range { low, high }| Range { low: count * libm::exp(low), high: count * libm::exp(high) });
        Pins { range, ..Pins::default() }
    }

    /// Probabilities by logits. Of two, σ(z₁ − z₂) and its rest, without an exponential or a division; of more, e^z over its
    /// sum.
    fn softmax(&mut self, z: Id, pins: Pins, span: Span) -> Id {
        let probabilities = if self.graph.shape(z) == Shape::Sample(2) {
            let logit = self.logit(z, span);
            let first = self.function(hecc_plan::Function::Sigmoid, logit, pins, span);
            let rest = self.scale(-1.0, first, span);
            let second = self.offset(1.0, rest, span);
            self.concat(&[first, second], span)
        } else {
            let powers = self.function(hecc_plan::Function::Exp, z, pins, span);
            let sum = self.sum_elements(powers, span);
            let inverse = self.function(hecc_plan::Function::Reciprocal, sum, self.sum_of_powers(z, pins), span);
            self.pair(Op::Mul, powers, inverse, span)
        };
        self.softmaxes.insert(probabilities, (z, pins));
        probabilities
    }

    /// The logarithm of the probabilities by logits z: −softplus(z₂ − z₁) and −softplus(z₁ − z₂) of two (softplus(−x) is
    /// softplus(x) − x); z − log Σ e^z of more.
    fn log_softmax(&mut self, z: Id, pins: Pins, span: Span) -> Id {
        if self.graph.shape(z) == Shape::Sample(2) {
            let logit = self.logit(z, span);
            let soft = self.function(hecc_plan::Function::Softplus, logit, pins, span);
            let second = self.scale(-1.0, soft, span);
            let first = self.pair(Op::Add, logit, second, span);
            self.concat(&[first, second], span)
        } else {
            let powers = self.function(hecc_plan::Function::Exp, z, pins, span);
            let sum = self.sum_elements(powers, span);
            let log = self.function(hecc_plan::Function::Log, sum, self.sum_of_powers(z, pins), span);
            self.pair(Op::Sub, z, log, span)
        }
    }

    /// x limited to [low, high]: the identity limited to [-1, 1], moved there.
    pub(super) fn clip(&mut self, x: Id, low: f64, high: f64, span: Span) -> Id {
        let (centre, half) = ((low + high) / 2.0, (high - low) / 2.0);
        let shifted = if centre == 0.0 { x } else { self.offset(-centre, x, span) };
        let unit = self.scale(1.0 / half, shifted, span);
        let limited = self.function(hecc_plan::Function::HardTanh, unit, Pins::default(), span);
        let wide = self.scale(half, limited, span);
        if centre == 0.0 { wide } else { self.offset(centre, wide, span) }
    }

    /// c ? a : b for c in {0, 1}: b + c (a − b).
    pub(super) fn select(&mut self, c: Id, a: Id, b: Id, span: Span) -> Result<Id, Failed> {
        let difference = self.binary(Binary::Sub, a, b, span)?;
        let chosen = self.binary(Binary::Mul, c, difference, span)?;
        self.binary(Binary::Add, b, chosen, span)
    }

    /// The tanh-squashed Gaussian (Haarnoja et al., 2018, appendix C): u = μ + e^s ε, the action tanh u, and
    /// log π = Σ (−ε²/2 − s − log(2π)/2 − log(1 − tanh² u)).
    pub(super) fn sample(&mut self, [mu, log_std, noise]: [Id; 3], pins: Pins, span: Span) -> Built1 {
        let deviation = match self.constant(log_std) {
            Some(c) => self.scale(libm::exp(c), noise, span),
            None => {
                let std = self.function(hecc_plan::Function::Exp, log_std, Pins::default(), span);
                self.pair(Op::Mul, std, noise, span)
            }
        };
        let u = self.pair(Op::Add, mu, deviation, span);
        let action = self.function(hecc_plan::Function::Tanh, u, pins, span);
        // −ε²/2 − s − log(2π)/2, whose owner knows the noise.
        let square = self.pair(Op::Mul, noise, noise, span);
        let half = self.scale(-0.5, square, span);
        let normal = self.offset(-0.5 * libm::log(2.0 * std::f64::consts::PI), half, span);
        let density = match self.constant(log_std) {
            Some(c) => self.offset(-c, normal, span),
            None => self.pair(Op::Sub, normal, log_std, span),
        };
        let squash = self.function(hecc_plan::Function::LogSech2, u, pins, span);
        let each = self.pair(Op::Sub, density, squash, span);
        Ok(vec![action, self.sum_elements(each, span)])
    }
}
