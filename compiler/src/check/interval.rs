//! Ranges of values by interval arithmetic, for divisors and for features that need a range.

use super::hir::*;

/// Where the ranges of named values come from.
pub(super) struct Ranges<'a> {
    pub env: &'a Env,
    /// In the environment's units (`client`), or normalised.
    pub units: bool,
    /// Of each `let`, as it was bound.
    pub lets: &'a [Option<Range>],
    /// Of each feature.
    pub features: &'a [Option<Range>],
    /// In a body: what a reward of 1 at each step sums to at most, over the steps of a return.
    pub terms: f64,
}

impl Ranges<'_> {
    /// The range of every element of a value; `None` where it is not known.
    pub fn of(&self, e: &Expr) -> Option<Range> {
        match &e.kind {
            ExprKind::Number(x) => Some(Range { low: *x, high: *x }),
            ExprKind::Value(value) => self.value(*value, None),
            ExprKind::Index(of, index) => match &of.kind {
                ExprKind::Value(value) => self.value(*value, Some(*index)),
                _ => self.of(of),
            },
            ExprKind::Neg(x) => self.of(x).map(|r| Range { low: 0.0 - r.high, high: 0.0 - r.low }),
            ExprKind::Binary(op, a, b) => {
                let (a, b) = (self.of(a)?, self.of(b)?);
                match op {
                    Binary::Add => bounded(a.low + b.low, a.high + b.high),
                    Binary::Sub => bounded(a.low - b.high, a.high - b.low),
                    Binary::Mul => hull(&[a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high]),
                    Binary::Div if b.low > 0.0 || b.high < 0.0 => hull(&[a.low / b.low, a.low / b.high, a.high / b.low, a.high / b.high]),
                    Binary::Div => None,
                }
            }
            ExprKind::Pow(x, n) => {
                let x = self.of(x)?;
                let (low, high) = (libm::pow(x.low, f64::from(*n)), libm::pow(x.high, f64::from(*n)));
                let zero = if n % 2 == 0 && x.low < 0.0 && x.high > 0.0 { 0.0 } else { low };
                hull(&[low, high, zero])
            }
            ExprKind::Map(activation, x) => self.map(&activation.function, x),
            ExprKind::Extremum(Extremum::Min, _, a, b) => {
                let (a, b) = (self.of(a)?, self.of(b)?);
                bounded(a.low.min(b.low), a.high.min(b.high))
            }
            ExprKind::Extremum(Extremum::Max, _, a, b) => {
                let (a, b) = (self.of(a)?, self.of(b)?);
                bounded(a.low.max(b.low), a.high.max(b.high))
            }
            ExprKind::Reduce(reduce, x) => match reduce {
                Reduce::Max(_) | Reduce::MeanElements | Reduce::MeanBatch => self.of(x),
                Reduce::SumElements => {
                    let Type::Sample(n) = x.ty else { return None };
                    self.of(x).and_then(|r| bounded(r.low * n as f64, r.high * n as f64))
                }
                Reduce::SumBatch => None,
            },
            ExprKind::ArgMax(_) => Some(Range { low: 0.0, high: 1.0 }),
            ExprKind::Clip(_, low, high) => Some(Range { low: *low, high: *high }),
            ExprKind::Stop(x) => self.of(x),
            ExprKind::Select(_, a, b) => union(self.of(a)?, self.of(b)?),
            ExprKind::Concat(list) => list.iter().map(|x| self.of(x)).reduce(|a, b| union(a?, b?))?,
            ExprKind::Fourier { .. } => Some(Range { low: -1.0, high: 1.0 }),
            ExprKind::TensorFourier { .. } => Some(Range { low: -2.0, high: 2.0 }),
            ExprKind::Atan2(_, _) => Some(Range { low: -std::f64::consts::PI, high: std::f64::consts::PI }),
            ExprKind::Dot(_, _) | ExprKind::Outer(_, _) | ExprKind::Apply { .. } | ExprKind::Project(_, _) | ExprKind::Sample { .. } => {
                None
            }
        }
    }

    fn map(&self, function: &Function, x: &Expr) -> Option<Range> {
        let monotone = |f: fn(f64) -> f64| self.of(x).and_then(|r| bounded(f(r.low), f(r.high)));
        match function {
            Function::Tanh => monotone(libm::tanh).or(Some(Range { low: -1.0, high: 1.0 })),
            Function::Sigmoid => monotone(sigmoid).or(Some(Range { low: 0.0, high: 1.0 })),
            Function::Softmax => Some(Range { low: 0.0, high: 1.0 }),
            Function::Sin | Function::Cos => Some(Range { low: -1.0, high: 1.0 }),
            Function::Relu => self.of(x).map(|r| Range { low: r.low.max(0.0), high: r.high.max(0.0) }),
            Function::Exp => monotone(libm::exp),
            Function::Softplus => monotone(softplus),
            Function::Log => self.of(x).filter(|r| r.low > 0.0).and_then(|r| bounded(libm::log(r.low), libm::log(r.high))),
            Function::Sqrt => self.of(x).filter(|r| r.low >= 0.0).and_then(|r| bounded(libm::sqrt(r.low), libm::sqrt(r.high))),
            Function::Abs => self.of(x).map(|r| {
                let low = if r.low <= 0.0 && r.high >= 0.0 { 0.0 } else { r.low.abs().min(r.high.abs()) };
                Range { low, high: r.low.abs().max(r.high.abs()) }
            }),
            Function::Square => self.of(x).and_then(|r| {
                let low = if r.low <= 0.0 && r.high >= 0.0 { 0.0 } else { (r.low * r.low).min(r.high * r.high) };
                bounded(low, (r.low * r.low).max(r.high * r.high))
            }),
            Function::Reciprocal => self.of(x).filter(|r| r.low > 0.0 || r.high < 0.0).and_then(|r| hull(&[1.0 / r.low, 1.0 / r.high])),
            Function::Silu | Function::Gelu | Function::Mish | Function::Poly(_) => None,
        }
    }

    fn value(&self, value: Value, element: Option<usize>) -> Option<Range> {
        match value {
            Value::Observation { index, .. } if self.units => {
                let ranges = &self.env.observations.get(index)?.ranges;
                match element {
                    Some(i) => ranges.get(i).copied(),
                    None => ranges.iter().copied().map(Some).reduce(|a, b| union(a?, b?))?,
                }
            }
            Value::Observation { .. } => Some(Range { low: -1.0, high: 1.0 }),
            Value::Feature { index, .. } => self.features.get(index).copied().flatten(),
            Value::Action => match &self.env.action.kind {
                ActionKind::Discrete { .. } | ActionKind::MultiDiscrete { .. } => Some(Range { low: 0.0, high: 1.0 }),
                ActionKind::Continuous { ranges, .. } if self.units => match element {
                    Some(i) => ranges.get(i).copied(),
                    None => ranges.iter().copied().map(Some).reduce(|a, b| union(a?, b?))?,
                },
                ActionKind::Continuous { .. } => Some(Range { low: -1.0, high: 1.0 }),
            },
            Value::Reward if self.units => Some(self.env.declared_reward_range),
            Value::Reward => {
                let recoded = |e: &Expr| Ranges { units: true, lets: &[], ..*self }.of(e);
                let step = self.env.recode.as_ref().map_or(Some(self.env.declared_reward_range), recoded)?;
                // An episode may end after any of the steps.
                hull(&[step.low, step.high, step.low * self.terms, step.high * self.terms])
            }
            Value::Done => Some(Range { low: 0.0, high: 1.0 }),
            Value::Let(id) => self.lets.get(id.0).copied().flatten(),
            Value::Noise(_) | Value::State(_) => None,
        }
    }
}

fn bounded(low: f64, high: f64) -> Option<Range> {
    (low.is_finite() && high.is_finite()).then_some(Range { low, high })
}

fn hull(ends: &[f64]) -> Option<Range> {
    let low = ends.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ends.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if ends.iter().any(|x| x.is_nan()) { None } else { bounded(low, high) }
}

fn union(a: Range, b: Range) -> Option<Range> {
    bounded(a.low.min(b.low), a.high.max(b.high))
}

/// 1 / (1 + e^-x).
pub(super) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + libm::exp(-x))
}

/// log(1 + e^x), without overflow.
pub(super) fn softplus(x: f64) -> f64 {
    x.max(0.0) + libm::log1p(libm::exp(-x.abs()))
}

/// A function of a constant; `None` for those of a whole vector.
pub(super) fn constant(function: &Function, x: f64) -> Option<f64> {
    Some(match function {
        Function::Relu => x.max(0.0),
        Function::Silu => x * sigmoid(x),
        Function::Gelu => 0.5 * x * (1.0 + libm::erf(x / std::f64::consts::SQRT_2)),
        Function::Tanh => libm::tanh(x),
        Function::Sigmoid => sigmoid(x),
        Function::Softplus => softplus(x),
        Function::Mish => x * libm::tanh(softplus(x)),
        Function::Square => x * x,
        Function::Poly(c) => c.iter().rev().fold(0.0, |sum, c| sum * x + c),
        Function::Exp => libm::exp(x),
        Function::Log => libm::log(x),
        Function::Sqrt => libm::sqrt(x),
        Function::Abs => x.abs(),
        Function::Reciprocal => 1.0 / x,
        Function::Sin => libm::sin(x),
        Function::Cos => libm::cos(x),
        Function::Softmax => return None,
    })
}
