//! The client's part: values it knows, as a clear-text program.

use std::collections::BTreeMap;

use hecc_plan::{ClearId, ClearOp, ClearProgram, Function, Span, UPDATE};

use super::approximate::Polynomial;
use crate::check::hir::{ActionKind, Binary, Expr, ExprKind, Program, Range, Reduce, Value};
use crate::tensor::Data;
use crate::tensor::build::named;
use crate::tensor::graph::{AdamStep, Rate};

/// A client program under construction; equal nodes are made once.
#[derive(Clone, Debug, Default)]
pub struct Client {
    /// The program.
    pub program: ClearProgram,
    /// For each node, the exchange that must have come back before it can be computed.
    rounds: Vec<u32>,
    seen: BTreeMap<String, ClearId>,
    /// Exchange after which a decrypted value is there.
    decrypted: BTreeMap<u32, u32>,
    /// Steps that divide by a root.
    pub quotients: Vec<Quotient>,
}

/// A step of Adam's or RMSprop's in a client's program: `rate` m̂ / (√v̂ + ε).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quotient {
    /// m: the mean of gradients, or the gradient.
    pub mean: ClearId,
    /// How much of it is the newest gradient.
    pub part: f64,
    /// Whether √v̂ is the gradient's magnitude after the first update, which RMSprop's is a small part of.
    pub corrected: bool,
    /// The largest learning rate.
    pub rate: f64,
    /// √v̂ + ε, an affine function whose offset is ε.
    pub denominator: ClearId,
    /// The optimiser in the source.
    pub span: Span,
}

impl Client {
    /// Adds a node, or finds the equal one.
    pub fn push(&mut self, op: ClearOp) -> ClearId {
        let key = format!("{op:?}");
        if let Some(&id) = self.seen.get(&key) {
            return id;
        }
        let own = match &op {
            ClearOp::Decrypted(value) => self.decrypted.get(value).copied().unwrap_or(0),
            _ => 0,
        };
        let round = op.operands().iter().map(|o| self.rounds[o.0 as usize]).max().unwrap_or(0).max(own);
        let id = self.program.push(op);
        self.rounds.push(round);
        self.seen.insert(key, id);
        id
    }

    /// The polynomial of a node.
    pub fn polynomial(&mut self, x: ClearId, p: Polynomial) -> ClearId {
        let Polynomial { centre, half, coefficients, error: _, stages } = p;
        let outer = self.push(ClearOp::Chebyshev { x, centre, half, coefficients });
        let first = |at: usize| if at == 0 { (centre, half) } else { (0.0, 1.0) };
        let inner = stages.into_iter().enumerate().fold(None, |y, (at, coefficients)| {
            let (centre, half) = first(at);
            Some(self.push(ClearOp::Chebyshev { x: y.unwrap_or(x), centre, half, coefficients }))
        });
        inner.map_or(outer, |inner| self.push(ClearOp::Mul(outer, inner)))
    }

    /// The exchange that can send a node.
    pub fn round(&self, id: ClearId) -> u32 {
        self.rounds[id.0 as usize]
    }

    /// A value that the exchange `round` brings back.
    pub fn decrypted(&mut self, value: u32, round: u32) -> ClearId {
        self.decrypted.insert(value, round + 1);
        self.push(ClearOp::Decrypted(value))
    }

    /// 1 for every sample of the batch.
    pub fn ones(&mut self, program: &Program) -> ClearId {
        let observation = self.data(program, &Data::Observation { index: 0, next: false }, 1);
        let first = self.push(ClearOp::Slice { x: observation, start: 0, len: 1 });
        self.push(ClearOp::Affine { x: first, factor: 0.0, offset: 1.0 })
    }

    /// Some elements of a value, in that order.
    pub fn elements(&mut self, x: ClearId, elements: impl Iterator<Item = usize>) -> ClearId {
        let parts = elements.map(|start| self.push(ClearOp::Slice { x, start, len: 1 })).collect();
        self.push(ClearOp::Concat(parts))
    }

    /// factor x, without a node for 1.
    pub fn scaled(&mut self, x: ClearId, factor: f64) -> ClearId {
        if factor == 1.0 { x } else { self.push(ClearOp::Affine { x, factor, offset: 0.0 }) }
    }

    /// A value from outside, as algorithm bodies see it (normalised); `dim` elements per sample.
    pub fn data(&mut self, program: &Program, data: &Data, dim: usize) -> ClearId {
        match data {
            Data::Observation { index, next } => {
                let raw = self.observation(program, *index, *next);
                let ranges = pairs(&program.env.observations[*index].ranges);
                self.push(ClearOp::Normalise { x: raw, ranges })
            }
            Data::Feature { index, next } => self.expr(program, &program.env.features[*index].expr, *next),
            Data::Action => {
                let action = &program.env.action;
                let (dim, ranges) = match &action.kind {
                    ActionKind::Discrete { k } => (*k, None),
                    ActionKind::MultiDiscrete { n, k } => (n * k, None),
                    ActionKind::Continuous { ranges, .. } => (ranges.len(), Some(pairs(ranges))),
                };
                let x = self.push(ClearOp::Batch { name: action.name.clone(), dim });
                match ranges {
                    Some(ranges) => self.push(ClearOp::Normalise { x, ranges }),
                    None => x,
                }
            }
            Data::Reward => self.push(ClearOp::Batch { name: program.env.reward.clone(), dim: 1 }),
            Data::Done => self.push(ClearOp::Batch { name: "done".to_owned(), dim: 1 }),
            Data::Noise(name) => self.push(ClearOp::Batch { name: name.clone(), dim }),
            Data::Ones => self.ones(program),
        }
    }

    fn observation(&mut self, program: &Program, index: usize, next: bool) -> ClearId {
        let observation = &program.env.observations[index];
        let name = if next { format!("{}_next", observation.name) } else { observation.name.clone() };
        self.push(ClearOp::Batch { name, dim: observation.shape.iter().product() })
    }

    /// A client expression, in the environment's units; `primed` computes its twin over next states.
    pub fn expr(&mut self, program: &Program, expr: &Expr, primed: bool) -> ClearId {
        let mut go = |e: &Expr| self.expr(program, e, primed);
        match &expr.kind {
            ExprKind::Number(c) => self.push(ClearOp::Number(*c)),
            ExprKind::Value(Value::Observation { index, next }) => self.observation(program, *index, *next != primed),
            ExprKind::Value(Value::Feature { index, next }) => self.expr(program, &program.env.features[*index].expr, *next != primed),
            ExprKind::Value(Value::Action) => {
                let action = &program.env.action;
                let dim = match &action.kind {
                    ActionKind::Discrete { k } => *k,
                    ActionKind::MultiDiscrete { n, k } => n * k,
                    ActionKind::Continuous { ranges, .. } => ranges.len(),
                };
                self.push(ClearOp::Batch { name: action.name.clone(), dim })
            }
            ExprKind::Value(Value::Reward) => self.push(ClearOp::Batch { name: program.env.reward.clone(), dim: 1 }),
            ExprKind::Value(Value::Done) => self.push(ClearOp::Batch { name: "done".to_owned(), dim: 1 }),
            ExprKind::Index(x, index) => {
                let x = go(x);
                self.push(ClearOp::Slice { x, start: *index, len: 1 })
            }
            ExprKind::Binary(binary, a, b) => {
                let (a, b) = (go(a), go(b));
                self.push(match binary {
                    Binary::Add => ClearOp::Add(a, b),
                    Binary::Sub => ClearOp::Sub(a, b),
                    Binary::Mul => ClearOp::Mul(a, b),
                    Binary::Div => ClearOp::Div(a, b),
                })
            }
            ExprKind::Neg(x) => {
                let x = go(x);
                self.push(ClearOp::Affine { x, factor: -1.0, offset: 0.0 })
            }
            ExprKind::Pow(x, n) => {
                let x = go(x);
                let one = self.push(ClearOp::Affine { x, factor: 0.0, offset: 1.0 });
                (0..*n).fold(one, |product, _| self.push(ClearOp::Mul(product, x)))
            }
            ExprKind::Map(activation, x) => {
                let x = go(x);
                match named(&activation.function) {
                    Some(function) => self.push(ClearOp::Map(function, x)),
                    None => x,
                }
            }
            ExprKind::Reduce(Reduce::Max(_), x) => {
                let x = go(x);
                self.push(ClearOp::MaxElements(x))
            }
            ExprKind::Reduce(reduce, x) => {
                let dim = match x.ty {
                    crate::check::hir::Type::Sample(d) => d as f64,
                    _ => 1.0,
                };
                let x = go(x);
                let sum = self.push(ClearOp::SumElements(x));
                if matches!(reduce, Reduce::MeanElements | Reduce::MeanBatch) { self.scaled(sum, 1.0 / dim) } else { sum }
            }
            ExprKind::Extremum(which, _, a, b) => {
                let (a, b) = (go(a), go(b));
                self.push(match which {
                    crate::check::hir::Extremum::Min => ClearOp::Min(a, b),
                    crate::check::hir::Extremum::Max => ClearOp::Max(a, b),
                })
            }
            ExprKind::ArgMax(x) => {
                let x = go(x);
                self.push(ClearOp::ArgMax(x))
            }
            ExprKind::Dot(a, b) => {
                let (a, b) = (go(a), go(b));
                let product = self.push(ClearOp::Mul(a, b));
                self.push(ClearOp::SumElements(product))
            }
            ExprKind::Clip(x, low, high) => {
                let x = go(x);
                self.push(ClearOp::Clip { x, low: *low, high: *high })
            }
            ExprKind::Select(c, a, b) => {
                let (c, a, b) = (go(c), go(a), go(b));
                self.push(ClearOp::Select(c, a, b))
            }
            ExprKind::Stop(x) => go(x),
            ExprKind::Concat(parts) => {
                let parts = parts.iter().map(go).collect();
                self.push(ClearOp::Concat(parts))
            }
            ExprKind::Fourier { x, n, scale, seed } => {
                let x = go(x);
                self.push(ClearOp::Fourier { x, n: *n, scale: *scale, seed: *seed })
            }
            ExprKind::TensorFourier { angle, k, x, j, smooth } => {
                let (angle, x) = (go(angle), go(x));
                self.push(ClearOp::TensorFourier { angle, k: *k, x, j: *j, smooth: *smooth })
            }
            ExprKind::Atan2(y, x) => {
                let (y, x) = (go(y), go(x));
                self.push(ClearOp::Atan2(y, x))
            }
            ExprKind::Outer(a, b) => {
                let (a, b) = (go(a), go(b));
                self.push(ClearOp::Outer(a, b))
            }
            // `check` admits none of these in `client { ... }`.
            ExprKind::Apply { .. }
            | ExprKind::Project(..)
            | ExprKind::Sample { .. }
            | ExprKind::Value(Value::Let(_) | Value::Noise(_) | Value::State(_)) => self.push(ClearOp::Number(0.0)),
        }
    }

    /// A learning rate as it stands at this update: a single number, from the batch's `update`.
    pub fn rate(&mut self, rate: &Rate) -> ClearId {
        let update = self.push(ClearOp::Batch { name: UPDATE.to_owned(), dim: 1 });
        let number = self.push(ClearOp::MeanBatch(update));
        let part = 1.0 / rate.updates.saturating_sub(1).max(1) as f64;
        let part = self.push(ClearOp::Affine { x: number, factor: part, offset: 0.0 });
        let mut part = self.push(ClearOp::Clip { x: part, low: 0.0, high: 1.0 });
        if rate.cosine {
            let angle = self.push(ClearOp::Affine { x: part, factor: std::f64::consts::PI, offset: 0.0 });
            let cosine = self.push(ClearOp::Map(Function::Cos, angle));
            part = self.push(ClearOp::Affine { x: cosine, factor: -0.5, offset: 0.5 });
        }
        let (from, to) = rate.ends();
        self.push(ClearOp::Affine { x: part, factor: to - from, offset: from })
    }

    /// The number of the update that is being made, from 1.
    fn count(&mut self) -> ClearId {
        let update = self.push(ClearOp::Batch { name: UPDATE.to_owned(), dim: 1 });
        let number = self.push(ClearOp::MeanBatch(update));
        self.push(ClearOp::Affine { x: number, factor: 1.0, offset: 1.0 })
    }

    /// A step of Adam on a parameter, the mean and the mean square of its gradients.
    pub fn adam(&mut self, step: &AdamStep, [w, m, v]: [ClearId; 3], span: Span) -> ClearId {
        let corrected = |client: &mut Self, moment: ClearId, beta: f64| {
            if beta == 0.0 {
                return moment;
            }
            // 1 − βᵗ = 1 − e^(t log β).
            let count = client.count();
            let power = client.scaled(count, libm::log(beta));
            let power = client.push(ClearOp::Map(Function::Exp, power));
            let rest = client.push(ClearOp::Affine { x: power, factor: -1.0, offset: 1.0 });
            client.push(ClearOp::Div(moment, rest))
        };
        let mean = corrected(self, m, step.beta1);
        let square = corrected(self, v, step.beta2);
        let root = self.push(ClearOp::Map(Function::Sqrt, square));
        let denominator = self.push(ClearOp::Affine { x: root, factor: 1.0, offset: step.eps });
        let direction = self.push(ClearOp::Div(mean, denominator));
        let (from, to) = step.rate.ends();
        let rate = from.abs().max(to.abs());
        self.quotients.push(Quotient { mean: m, part: 1.0 - step.beta1, corrected: step.beta2 != 0.0, rate, denominator, span });
        let rate = self.rate(&step.rate);
        let moved = self.push(ClearOp::Mul(direction, rate));
        self.push(ClearOp::Sub(w, moved))
    }

    /// 1 at every `period`-th update, 0 at the others.
    pub fn due(&mut self, period: u32) -> ClearId {
        let update = self.push(ClearOp::Batch { name: UPDATE.to_owned(), dim: 1 });
        let update = self.push(ClearOp::MeanBatch(update));
        self.push(ClearOp::Due { update, period })
    }

    /// A named function or its derivative, exactly.
    pub fn map(&mut self, function: Function, order: u8, x: ClearId) -> ClearId {
        self.push(if order == 0 { ClearOp::Map(function, x) } else { ClearOp::Derivative(function, x) })
    }
}

fn pairs(ranges: &[Range]) -> Vec<[f64; 2]> {
    ranges.iter().map(|r| [r.low, r.high]).collect()
}
