//! Arithmetic on ciphertexts of per-sample values: sums at one factor, products, masks, and moves between slots.

use hecc_plan::{Content, Lanes, Layout, Op, Plain, PlainPattern, Runs, Span, WireId};

use super::circuit::Circuit;
use super::lower::{Cts, Lowering, Value};
use super::polynomial::constant_bits;

impl Lowering<'_> {
    /// a ± b; of two fresh values, at the factor that is wished for.
    pub fn sum(&mut self, a: Value, b: Value, minus: bool, wish: Option<f64>, span: Span) -> Option<Value> {
        let negate = |value: Value| match value {
            Value::Known { clear, dim, elements, scale } => Value::Known { clear, dim, elements, scale: -scale },
            Value::Bias { source, dim, scale } => Value::Bias { source, dim, scale: -scale },
            Value::PublicBias { name, ties, dim, scale } => Value::PublicBias { name, ties, dim, scale: -scale },
            Value::Cts(cts) => Value::Cts(Cts { factor: -cts.factor, ..cts }),
            Value::Form(_) | Value::Owned(_) => value,
        };
        let b = if minus { negate(b) } else { b };
        Some(Value::Cts(match (&a, &b) {
            (Value::PublicBias { name, ties, dim, scale }, Value::Cts(x))
            | (Value::Cts(x), Value::PublicBias { name, ties, dim, scale }) => {
                let layout = Layout::Vector { period: dim.next_power_of_two(), lanes: Lanes::All, runs: Runs::DENSE };
                let pattern = PlainPattern::Public { name: name.clone(), ties: *ties, layout, factor: scale / x.factor };
                let plain = self.circuit.plain(Plain { pattern, scale: self.circuit.scale });
                let wires = x.wires.iter().map(|&w| self.circuit.push(Op::AddPlain(w, plain), span)).collect();
                Cts { wires, ..x.clone() }
            }
            (Value::Cts(x), Value::Cts(y)) => {
                let (x, y) = (x.clone(), y.clone());
                self.add(&x, &y, span)
            }
            (Value::Cts(x), fresh) | (fresh, Value::Cts(x)) => {
                let x = x.clone();
                let y = self.fresh(fresh, x.factor, span)?;
                self.add(&x, &y, span)
            }
            _ => {
                let factor = wish.unwrap_or(1.0);
                let (x, y) = (self.fresh(&a, factor, span)?, self.fresh(&b, factor, span)?);
                self.add(&x, &y, span)
            }
        }))
    }

    /// a + b; where factors differ, the one that has spent less is rescaled.
    pub fn add(&mut self, a: &Cts, b: &Cts, span: Span) -> Cts {
        let depth = |c: &Circuit, x: &Cts| x.wires.iter().map(|&w| c.depth(w)).max().unwrap_or(0);
        let (mut a, mut b) = (a.clone(), b.clone());
        if a.factor.abs() != b.factor.abs() {
            let rescale_b = match (self.can_refit(&a), self.can_refit(&b)) {
                // The smaller factor has the larger ciphertexts, and so the smaller noise.
                (true, true) => a.factor.abs() <= b.factor.abs(),
                (free, other) if free != other => other,
                _ => depth(&self.circuit, &b) <= depth(&self.circuit, &a),
            };
            if rescale_b {
                b = self.rescale(&b, a.factor, span);
            } else {
                a = self.rescale(&a, b.factor, span);
            }
        }
        let same = a.factor == b.factor;
        let wires = a.wires.iter().zip(&b.wires).map(|(&x, &y)| self.add_wires(x, y, same, span)).collect();
        Cts { wires, factor: a.factor, dim: a.dim.max(b.dim), clean: a.clean && b.clean && a.dim == b.dim }
    }

    /// x ± y; two sums of products become one, with one relinearisation.
    fn add_wires(&mut self, x: WireId, y: WireId, plus: bool, span: Span) -> WireId {
        if plus && let (Op::Dot(a), Op::Dot(b)) = (&self.circuit.nodes[x.index()].op, &self.circuit.nodes[y.index()].op) {
            let pairs = a.iter().chain(b).copied().collect();
            return self.circuit.push(Op::Dot(pairs), span);
        }
        self.circuit.push(if plus { Op::Add(x, y) } else { Op::Sub(x, y) }, span)
    }

    /// Whether another factor costs nothing: every product has a factor of the client's batch, sent for it.
    fn can_refit(&self, cts: &Cts) -> bool {
        cts.wires.iter().all(|&w| match &self.circuit.nodes[w.index()].op {
            Op::Dot(pairs) => pairs.iter().all(|&(a, b)| self.batch_input(a) || self.batch_input(b)),
            _ => false,
        })
    }

    fn batch_input(&self, wire: WireId) -> bool {
        match self.circuit.nodes[wire.index()].op {
            Op::Input(id) => {
                let contents = &self.circuit.inputs[id.0 as usize].contents;
                contents.iter().all(|c| matches!(c.layout, Layout::Samples { .. } | Layout::Tiled(_)))
            }
            _ => false,
        }
    }

    /// The same value at another factor.
    pub fn rescale(&mut self, cts: &Cts, factor: f64, span: Span) -> Cts {
        let ratio = cts.factor / factor;
        if ratio == 1.0 {
            return cts.clone();
        }
        let refit = self.can_refit(cts);
        let wires = cts
            .wires
            .iter()
            .map(|&wire| {
                if refit && let Op::Dot(pairs) = self.circuit.nodes[wire.index()].op.clone() {
                    let pairs = pairs.into_iter().map(|pair| self.refit(pair, ratio, span)).collect();
                    return self.circuit.push(Op::Dot(pairs), span);
                }
                if ratio == 2.0 {
                    return self.circuit.push(Op::Add(wire, wire), span);
                }
                self.circuit.push(Op::MulConst { a: wire, c: ratio, bits: constant_bits(ratio) }, span)
            })
            .collect();
        Cts { wires, factor, ..cts.clone() }
    }

    /// A product whose batch input is sent `ratio` times as large.
    pub fn refit(&mut self, (a, b): (WireId, WireId), ratio: f64, span: Span) -> (WireId, WireId) {
        let (fresh, other, first) = if self.batch_input(a) { (a, b, true) } else { (b, a, false) };
        let Op::Input(id) = self.circuit.nodes[fresh.index()].op else { return (a, b) };
        let draft = self.circuit.inputs[id.0 as usize].clone();
        let contents = draft.contents.into_iter().map(|c| Content { factor: c.factor * ratio, ..c }).collect();
        let scaled = self.circuit.input(&draft.label, contents, draft.round, span);
        if first { (scaled, other) } else { (other, scaled) }
    }

    /// The same value with ciphertexts of the magnitude that `unit` has, unless they are near it already.
    pub fn balanced(&mut self, x: &Cts, unit: f64, span: Span) -> Cts {
        let off = (x.factor / unit).abs();
        if (1.0 / 8.0..=8.0).contains(&off) { x.clone() } else { self.rescale(x, unit, span) }
    }

    /// a b.
    pub fn multiply(&mut self, a: &Cts, b: &Cts, span: Span) -> Cts {
        let pairs = a.wires.iter().zip(&b.wires);
        let wires = pairs.map(|(&x, &y)| self.circuit.push(Op::Dot(vec![(x.min(y), x.max(y))]), span)).collect();
        let clean = (a.clean && a.dim >= b.dim) || (b.clean && b.dim >= a.dim);
        Cts { wires, factor: a.factor * b.factor, dim: a.dim.max(b.dim), clean }
    }

    /// x + c.
    pub fn offset(&mut self, x: &Cts, c: f64, span: Span) -> Cts {
        if c == 0.0 {
            return x.clone();
        }
        let wires = x.wires.iter().map(|&w| self.circuit.push(Op::AddConst(w, c / x.factor), span)).collect();
        Cts { wires, clean: x.clean && x.dim == x.period(), ..x.clone() }
    }

    /// x times a pattern over the neurons of a period.
    pub fn masked(&mut self, x: &Cts, values: Vec<f64>, span: Span) -> Cts {
        let plain = self.circuit.plain(Plain { pattern: PlainPattern::Neurons { values }, scale: self.packing.mask_bits });
        let wires = x.wires.iter().map(|&w| self.circuit.push(Op::MulPlain(w, plain), span)).collect();
        Cts { wires, clean: true, ..x.clone() }
    }

    pub fn cleaned(&mut self, x: &Cts, span: Span) -> Cts {
        if x.clean || x.dim == x.period() {
            return x.clone();
        }
        let values = (0..x.period()).map(|i| f64::from(u8::from(i < x.dim))).collect();
        self.masked(x, values, span)
    }

    /// Sums of `turns` numbers that stand interleaved.
    pub fn sum_elements(&mut self, x: &Cts, turns: usize, span: Span) -> Cts {
        let x = self.cleaned(x, span);
        let (stride, count) = (self.grid.lanes * turns, x.period() / turns);
        let wires = x.wires.iter().map(|&w| self.circuit.rotate_and_sum(w, stride, count, span)).collect();
        Cts { wires, dim: turns, clean: true, factor: x.factor }
    }

    /// Elements `start..start + dim` of each sample: what is kept moves to the front and is repeated at its own period.
    pub fn slice(&mut self, x: &Cts, start: usize, dim: usize, span: Span) -> Cts {
        let values = (0..x.period()).map(|i| f64::from(u8::from((start..start + dim).contains(&i)))).collect();
        let masked = self.masked(x, values, span);
        let (lanes, period) = (self.grid.lanes, dim.next_power_of_two());
        let wires = masked
            .wires
            .iter()
            .map(|&w| {
                let front = self.circuit.rotate(w, (start * lanes) as i64, span);
                self.circuit.rotate_and_sum(front, period * lanes, x.period() / period, span)
            })
            .collect();
        Cts { wires, dim, clean: true, factor: x.factor }
    }

    /// A value in elements from `start` of `dim`, zeros around it.
    pub fn place(&mut self, x: &Cts, start: usize, dim: usize, span: Span) -> Cts {
        let back = -((start * self.grid.lanes) as i64);
        // A value repeats at its period, so that a move by whole periods is none.
        let aligned = start.is_multiple_of(x.period());
        let wires = x.wires.iter().map(|&w| if aligned { w } else { self.circuit.rotate(w, back, span) }).collect();
        let inside = |i: usize| (start..start + x.dim).contains(&i);
        let values = (0..dim.next_power_of_two()).map(|i| f64::from(u8::from(inside(i)))).collect();
        let masked = self.masked(&Cts { wires, ..x.clone() }, values, span);
        Cts { dim, ..masked }
    }
}
