//! Expressions of a body.

use super::{Builder, Built1, Failed};
use crate::check::hir::{Binary, Expr, ExprKind, Extremum, Pins, Range, Reduce, Task, Train, Type, Value};
use crate::tensor::graph::{Data, Graph, Id, Op, Shape};
use crate::tensor::ranges;
use hecc_plan::Span;

impl Builder<'_> {
    /// A single value.
    pub(super) fn one(&mut self, expr: &Expr, train: Option<&Train>) -> Result<Id, Failed> {
        match self.expr(expr, train)?.as_slice() {
            [id] => Ok(*id),
            _ => self.unsupported("several values where one is needed", expr.span),
        }
    }

    /// A batch number as `Vector(1)`.
    pub(super) fn as_vector(&mut self, id: Id, span: Span) -> Result<Id, Failed> {
        match self.graph.shape(id) {
            Shape::Vector(1) => Ok(id),
            Shape::Sample(1) if matches!(self.graph.node(id).op, Op::Constant(_)) => {
                let Op::Constant(c) = self.graph.node(id).op else { unreachable!("matched above") };
                Ok(self.graph.push(Op::Constant(c), &[], Shape::Vector(1), span))
            }
            _ => self.unsupported("a value per sample where one number is needed", span),
        }
    }

    pub(super) fn expr(&mut self, expr: &Expr, train: Option<&Train>) -> Built1 {
        let span = expr.span;
        Ok(vec![match &expr.kind {
            ExprKind::Number(c) => self.graph.push(Op::Constant(*c), &[], Shape::Sample(1), span),
            ExprKind::Value(value) => return self.value(value, expr, train),
            ExprKind::Apply { net, args } => {
                let args = args.iter().map(|a| self.one(a, train)).collect::<Result<Vec<_>, _>>()?;
                let input = self.concat(&args, span);
                return self.apply(*net, input, train, span);
            }
            ExprKind::Project(inner, index) => {
                let values = self.expr(inner, train)?;
                match values.get(*index) {
                    Some(&id) => id,
                    None => self.unsupported("this projection", span)?,
                }
            }
            ExprKind::Index(inner, index) => {
                let x = self.one(inner, train)?;
                self.graph.push(Op::Slice { start: *index, step: 1 }, &[x], Shape::Sample(1), span)
            }
            ExprKind::Binary(binary, a, b) => {
                let (a, b) = (self.one(a, train)?, self.one(b, train)?);
                self.binary(*binary, a, b, span)?
            }
            ExprKind::Neg(x) => {
                let x = self.one(x, train)?;
                self.graph.push(Op::Scale(-1.0), &[x], self.graph.shape(x), span)
            }
            ExprKind::Pow(x, n) => {
                let x = self.one(x, train)?;
                self.power(x, *n, span)
            }
            ExprKind::Map(activation, x) => {
                let x = self.one(x, train)?;
                self.map(activation, x, None, span)?
            }
            ExprKind::Reduce(reduce, x) => {
                let inner = self.one(x, train)?;
                self.reduce(*reduce, inner, span)?
            }
            ExprKind::Extremum(which, pins, a, b) => {
                let (a, b) = (self.one(a, train)?, self.one(b, train)?);
                let (a, b) = self.same_shape(a, b, span);
                let pins = self.difference_pins(*pins);
                let op = Op::Extremum { larger: *which == Extremum::Max, pins };
                self.graph.push(op, &[a, b], self.graph.shape(a), span)
            }
            ExprKind::ArgMax(x) => {
                let x = self.one(x, train)?;
                self.graph.push(Op::ArgMax, &[x], self.graph.shape(x), span)
            }
            ExprKind::Dot(a, b) => {
                let (a, b) = (self.one(a, train)?, self.one(b, train)?);
                let (a, b) = self.same_shape(a, b, span);
                let product = self.graph.push(Op::Mul, &[a, b], self.graph.shape(a), span);
                self.sum_elements(product, span)
            }
            ExprKind::Stop(x) => {
                let x = self.one(x, train)?;
                self.graph.push(Op::Stop, &[x], self.graph.shape(x), span)
            }
            ExprKind::Concat(parts) => {
                let parts = parts.iter().map(|p| self.one(p, train)).collect::<Result<Vec<_>, _>>()?;
                self.concat(&parts, span)
            }
            ExprKind::Clip(x, low, high) => {
                let x = self.one(x, train)?;
                self.clip(x, *low, *high, span)
            }
            ExprKind::Select(c, a, b) => {
                let (c, a, b) = (self.one(c, train)?, self.one(a, train)?, self.one(b, train)?);
                self.select(c, a, b, span)?
            }
            ExprKind::Sample { mu, log_std, noise, pins } => {
                let (mu, log_std, noise) = (self.one(mu, train)?, self.one(log_std, train)?, self.one(noise, train)?);
                return self.sample([mu, log_std, noise], *pins, span);
            }
            ExprKind::Fourier { .. } | ExprKind::TensorFourier { .. } | ExprKind::Atan2(..) | ExprKind::Outer(..) => {
                self.unsupported("this function outside `client { ... }`", span)?
            }
        }])
    }

    fn value(&mut self, value: &Value, expr: &Expr, train: Option<&Train>) -> Built1 {
        let shape = match &expr.ty {
            Type::Sample(d) => Shape::Sample(*d),
            Type::Image([c, h, w]) => Shape::Sample(c * h * w),
            Type::Batch | Type::Number => Shape::Vector(1),
            Type::Tuple(_) => Shape::Sample(1),
        };
        let data = match value {
            Value::Observation { index, next } => Data::Observation { index: *index, next: *next },
            Value::Feature { index, next } => Data::Feature { index: *index, next: *next },
            Value::Action => Data::Action,
            Value::Reward => Data::Reward,
            Value::Done => Data::Done,
            Value::Noise(id) => match train {
                Some(train) => Data::Noise(train.body.noises[id.0].name.clone()),
                None => self.unsupported("noise outside an algorithm", expr.span)?,
            },
            Value::Let(id) => {
                // What acts is built of lets that no statement has come to.
                if let (None, Some(train), false) = (self.lets.get(&id.0), train, self.in_order) {
                    let value = self.expr(&train.body.lets[id.0].expr, Some(train))?;
                    self.lets.insert(id.0, value);
                }
                return self.lets.get(&id.0).cloned().ok_or(Failed);
            }
            Value::State(id) => return self.scalars.get(&id.0).map(|&id| vec![id]).ok_or(Failed),
        };
        Ok(vec![self.graph.push(Op::Data(data), &[], shape, expr.span)])
    }

    /// Element-wise operands in one shape: numbers and `Sample(1)` broadcast.
    pub(super) fn same_shape(&mut self, a: Id, b: Id, span: Span) -> (Id, Id) {
        let target = match (self.graph.shape(a), self.graph.shape(b)) {
            (x, y) if x == y => return (a, b),
            (Shape::Sample(x), Shape::Sample(y)) => Shape::Sample(x.max(y)),
            (Shape::Sample(x), _) | (_, Shape::Sample(x)) => Shape::Sample(x),
            (x, _) => x,
        };
        (self.broadcast(a, target, span), self.broadcast(b, target, span))
    }

    pub(super) fn broadcast(&mut self, id: Id, target: Shape, span: Span) -> Id {
        match (self.graph.shape(id), target) {
            (have, want) if have == want => id,
            (Shape::Vector(1), Shape::Sample(_)) => {
                let spread = self.graph.push(Op::Spread, &[id], Shape::Sample(1), span);
                self.broadcast(spread, target, span)
            }
            _ => self.graph.push(Op::Broadcast, &[id], target, span),
        }
    }

    pub(super) fn constant(&self, id: Id) -> Option<f64> {
        match self.graph.node(id).op {
            Op::Constant(c) => Some(c),
            _ => None,
        }
    }

    pub(super) fn binary(&mut self, binary: Binary, a: Id, b: Id, span: Span) -> Result<Id, Failed> {
        let (ca, cb) = (self.constant(a), self.constant(b));
        let shape = |g: &Graph, id: Id| g.shape(id);
        let g = &mut self.graph;
        Ok(match (binary, ca, cb) {
            (Binary::Add, Some(c), None) => g.push(Op::Offset(c), &[b], shape(g, b), span),
            (Binary::Add, None, Some(c)) => g.push(Op::Offset(c), &[a], shape(g, a), span),
            (Binary::Sub, None, Some(c)) => g.push(Op::Offset(-c), &[a], shape(g, a), span),
            (Binary::Sub, Some(c), None) => {
                let negated = g.push(Op::Scale(-1.0), &[b], shape(g, b), span);
                g.push(Op::Offset(c), &[negated], shape(g, b), span)
            }
            // A term that a program's parameter switches off is not computed.
            (Binary::Mul, Some(0.0), None) => g.push(Op::Constant(0.0), &[], shape(g, b), span),
            (Binary::Mul, None, Some(0.0)) => g.push(Op::Constant(0.0), &[], shape(g, a), span),
            (Binary::Mul, Some(c), None) => g.push(Op::Scale(c), &[b], shape(g, b), span),
            (Binary::Mul, None, Some(c)) => g.push(Op::Scale(c), &[a], shape(g, a), span),
            (Binary::Div, None, Some(c)) => g.push(Op::Scale(1.0 / c), &[a], shape(g, a), span),
            _ => {
                let (a, b) = self.same_shape(a, b, span);
                let shape = self.graph.shape(a);
                match binary {
                    Binary::Add => self.graph.push(Op::Add, &[a, b], shape, span),
                    Binary::Sub => self.graph.push(Op::Sub, &[a, b], shape, span),
                    Binary::Mul => self.graph.push(Op::Mul, &[a, b], shape, span),
                    Binary::Div => self.unsupported("division by a value that is not a constant", span)?,
                }
            }
        })
    }

    pub(super) fn power(&mut self, x: Id, n: u32, span: Span) -> Id {
        let shape = self.graph.shape(x);
        match n {
            0 => self.graph.push(Op::Constant(1.0), &[], shape, span),
            1 => x,
            n => {
                // Halves, so that the depth is log2 n.
                let half = self.power(x, n / 2, span);
                let other = if n.is_multiple_of(2) { half } else { self.power(x, n - n / 2, span) };
                self.graph.push(Op::Mul, &[half, other], shape, span)
            }
        }
    }

    pub(super) fn sum_elements(&mut self, x: Id, span: Span) -> Id {
        if self.graph.shape(x) == Shape::Sample(1) { x } else { self.graph.push(Op::SumElements, &[x], Shape::Sample(1), span) }
    }

    fn reduce(&mut self, reduce: Reduce, x: Id, span: Span) -> Result<Id, Failed> {
        let shape = self.graph.shape(x);
        let batch = match &self.program.task {
            Task::Train(train) => train.settings.batch,
            Task::Serve(serve) => serve.batch,
        } as f64;
        let x = if self.padded && matches!(reduce, Reduce::SumBatch | Reduce::MeanBatch) { self.filled(x, span) } else { x };
        Ok(match (reduce, shape) {
            (Reduce::SumElements, Shape::Sample(_)) => self.sum_elements(x, span),
            (Reduce::MeanElements, Shape::Sample(d)) => {
                let sum = self.sum_elements(x, span);
                self.graph.push(Op::Scale(1.0 / d as f64), &[sum], Shape::Sample(1), span)
            }
            (Reduce::SumBatch, Shape::Sample(1)) => self.graph.push(Op::SumBatch, &[x], Shape::Vector(1), span),
            (Reduce::MeanBatch, Shape::Sample(1)) => {
                let sum = self.graph.push(Op::SumBatch, &[x], Shape::Vector(1), span);
                self.graph.push(Op::Scale(1.0 / batch), &[sum], Shape::Vector(1), span)
            }
            (Reduce::Max(_), Shape::Sample(1)) => x,
            (Reduce::Max(pins), Shape::Sample(_)) => {
                let pins = self.difference_pins(pins);
                self.graph.push(Op::Max(pins), &[x], Shape::Sample(1), span)
            }
            _ => self.unsupported("this reduction", span)?,
        })
    }

    /// Zero in the lanes that no sample fills, where biases would be summed too.
    fn filled(&mut self, x: Id, span: Span) -> Id {
        let ones = self.graph.push(Op::Data(Data::Ones), &[], Shape::Sample(1), span);
        let (ones, x) = self.same_shape(ones, x, span);
        self.graph.push(Op::Mul, &[ones, x], self.graph.shape(x), span)
    }

    /// Pins of a maximum: unless the program says so, action values differ by at most twice the declared reward range's width. Where the
    /// degree is open, too, a shadow run says whether they do from the start: what is steep inside of its interval explodes outside.
    pub(super) fn difference_pins(&self, pins: Pins) -> Pins {
        let width = ranges::difference(self.program);
        let default = pins.degree.map(|_| Range { low: -width, high: width });
        Pins { range: pins.range.or(default), ..pins }
    }

    pub(super) fn concat(&mut self, parts: &[Id], span: Span) -> Id {
        let dim = |g: &Graph, id: Id| match g.shape(id) {
            Shape::Sample(d) | Shape::Vector(d) => d,
            Shape::Matrix(o, i) => o * i,
        };
        if let [only] = parts {
            return *only;
        }
        let total: usize = parts.iter().map(|&p| dim(&self.graph, p)).sum();
        let mut start = 0;
        let mut sum: Option<Id> = None;
        for &part in parts {
            let length = dim(&self.graph, part);
            let placed = self.graph.push(Op::Place { start, step: 1 }, &[part], Shape::Sample(total), span);
            start += length;
            sum = Some(sum.map_or(placed, |sum| self.graph.push(Op::Add, &[sum, placed], Shape::Sample(total), span)));
        }
        sum.unwrap_or_else(|| self.graph.push(Op::Constant(0.0), &[], Shape::Sample(1), span))
    }
}
