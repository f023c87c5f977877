//! Polynomials of ciphertexts.
//!
//! Constants are not multiplied in where they can wait: a value is `factor` times its ciphertexts, and only the sum of two
//! values of different factors needs a product with a constant. A parabola is one square (complete the square), an even
//! quartic two. From degree 5 on, Chebyshev's basis with binary splitting: `p = q T_m + r`, m the largest power of two in
//! the degree, spends ceil(log2(degree + 1)) products (Paterson and Stockmeyer 1973; Bossuat et al. 2021, section 3).

use hecc_plan::{Geometry, Op, Span, WireId};

use super::approximate::Polynomial;
use super::circuit::Argument;
use super::lower::{Cts, Lowering};
use crate::check::hir::Program;
use crate::tensor::Graph;

impl Lowering<'_> {
    /// p of a value. The degree is at least 1.
    pub(super) fn polynomial(&mut self, x: &Cts, p: &Polynomial, span: Span) -> Cts {
        let x = &if p.degree() > 1 { self.balanced(x, p.half, span) } else { x.clone() };
        self.note_argument(x, p);
        if p.is_composed() {
            return self.composition(x, p, span);
        }
        let even = p.coefficients.iter().skip(1).step_by(2).all(|&c| c == 0.0);
        match p.degree() {
            0 | 1 => {
                let [c0, c1, ..] = p.powers();
                self.affine(x, p, c0, c1, span)
            }
            2 => {
                let [c0, c1, c2, ..] = p.powers();
                let t = self.argument(x, p, span);
                self.parabola(&t, [c0, c1, c2], span)
            }
            3 => self.cubic(x, p, span),
            4 if even => {
                let [c0, _, c2, _, c4] = p.powers();
                let t = self.argument(x, p, span);
                let y = self.multiply(&t, &t, span);
                self.parabola(&y, [c0, c2, c4], span)
            }
            _ => self.chebyshev(x, p, span),
        }
    }

    /// Says which slots the interval is about.
    fn note_argument(&mut self, x: &Cts, p: &Polynomial) {
        let ends = [(p.centre - p.half) / x.factor, (p.centre + p.half) / x.factor];
        let interval = [ends[0].min(ends[1]), ends[0].max(ends[1])];
        let arguments = x.wires.iter().enumerate().map(|(group, &wire)| Argument { wire, group, dim: x.dim, interval });
        self.circuit.arguments.extend(arguments);
    }

    /// Each stage on what the one before gives, and the whole times c1 t, or c0.
    fn composition(&mut self, x: &Cts, p: &Polynomial, span: Span) -> Cts {
        let t = self.argument(x, p, span);
        let stage = |coefficients: &Vec<f64>| Polynomial {
            centre: 0.0,
            half: 1.0,
            coefficients: coefficients.clone(),
            error: 0.0,
            stages: Vec::new(),
        };
        let sign = p.stages.iter().map(stage).fold(t.clone(), |y, stage| self.polynomial(&y, &stage, span));
        let [c0, c1, ..] = p.powers();
        if c1 == 0.0 {
            return Cts { factor: c0 * sign.factor, ..sign };
        }
        let product = self.multiply(&t, &sign, span);
        Cts { factor: c1 * product.factor, ..product }
    }

    /// t = (x − centre) / half, whatever its factor.
    fn argument(&mut self, x: &Cts, p: &Polynomial, span: Span) -> Cts {
        let shifted = self.offset(x, -p.centre, span);
        Cts { factor: shifted.factor / p.half, ..shifted }
    }

    fn affine(&mut self, x: &Cts, p: &Polynomial, c0: f64, c1: f64, span: Span) -> Cts {
        let t = self.argument(x, p, span);
        let scaled = Cts { factor: t.factor * c1, ..t };
        self.offset(&scaled, c0, span)
    }

    /// c0 + c1 t + c2 t² = c2 (t + c1 / 2 c2)² + c0 − c1² / 4 c2.
    fn parabola(&mut self, t: &Cts, [c0, c1, c2]: [f64; 3], span: Span) -> Cts {
        let u = self.offset(t, c1 / (2.0 * c2), span);
        let square = self.multiply(&u, &u, span);
        let square = Cts { factor: c2 * square.factor, ..square };
        self.offset(&square, c0 - c1 * c1 / (4.0 * c2), span)
    }

    /// t (c1 + c3 t²) + c2 t² + c0.
    fn cubic(&mut self, x: &Cts, p: &Polynomial, span: Span) -> Cts {
        let [c0, c1, c2, c3, _] = p.powers();
        let t = self.argument(x, p, span);
        let y = self.multiply(&t, &t, span);
        let inner = self.offset(&Cts { factor: c3 * y.factor, ..y.clone() }, c1, span);
        let mut sum = self.multiply(&t, &inner, span);
        if c2 != 0.0 {
            let quadratic = Cts { factor: c2 * y.factor, ..y };
            sum = self.add(&sum, &quadratic, span);
        }
        self.offset(&sum, c0, span)
    }

    fn chebyshev(&mut self, x: &Cts, p: &Polynomial, span: Span) -> Cts {
        let t = self.argument(x, p, span);
        let t = self.rescale(&t, 1.0, span);
        let c = &p.coefficients;
        let mut basis = vec![t.wires.clone()];
        let wires = if c.iter().skip(3).step_by(2).all(|&c| c == 0.0) {
            // An even polynomial plus a multiple of t (silu, softplus on a symmetric interval): T_2k(t) = T_k(T_2(t)).
            self.double(&mut basis, span);
            let even: Vec<f64> = c.iter().step_by(2).copied().collect();
            let mut half = vec![basis[1].clone()];
            let sum = self.split(&mut half, &even, span);
            match c.get(1) {
                Some(&c1) if c1 != 0.0 => {
                    let linear = self.times(&basis[0].clone(), c1, span);
                    self.zip(&sum, &linear, span)
                }
                _ => sum,
            }
        } else {
            self.split(&mut basis, c, span)
        };
        Cts { wires, factor: 1.0, dim: x.dim, clean: false }
    }

    /// Adds T_2m to the basis [T_1, T_2, T_4, ...].
    fn double(&mut self, basis: &mut Vec<Vec<WireId>>, span: Span) {
        let last = basis[basis.len() - 1].clone();
        let next = last
            .into_iter()
            .map(|t| {
                let square = self.circuit.push(Op::Dot(vec![(t, t)]), span);
                let twice = self.circuit.push(Op::Add(square, square), span);
                self.circuit.push(Op::AddConst(twice, -1.0), span)
            })
            .collect();
        basis.push(next);
    }

    /// Σ c_k T_k over the basis [T_1, T_2, T_4, ...], which grows as needed.
    fn split(&mut self, basis: &mut Vec<Vec<WireId>>, c: &[f64], span: Span) -> Vec<WireId> {
        let degree = c.iter().rposition(|&c| c != 0.0).unwrap_or(0);
        if degree <= 1 {
            let linear = self.times(&basis[0].clone(), c.get(1).copied().unwrap_or(0.0), span);
            return self.shift(&linear, c[0], span);
        }
        let level = degree.ilog2() as usize;
        let m = 1usize << level;
        while basis.len() <= level {
            self.double(basis, span);
        }
        // T_j = 2 T_m T_{j-m} − T_{2m-j} for m < j < 2m.
        let mut quotient = vec![0.0; degree - m + 1];
        let mut rest = c[..m].to_vec();
        quotient[0] = c[m];
        for j in m + 1..=degree {
            quotient[j - m] = 2.0 * c[j];
            rest[2 * m - j] -= c[j];
        }
        let high = if quotient.iter().skip(1).all(|&c| c == 0.0) {
            self.times(&basis[level].clone(), quotient[0], span)
        } else {
            let q = self.split(basis, &quotient, span);
            q.into_iter().zip(basis[level].clone()).map(|(q, t)| self.circuit.push(Op::Dot(vec![(q, t)]), span)).collect()
        };
        if rest.iter().skip(1).all(|&c| c == 0.0) {
            return self.shift(&high, rest[0], span);
        }
        let low = self.split(basis, &rest, span);
        self.zip(&high, &low, span)
    }

    fn times(&mut self, wires: &[WireId], c: f64, span: Span) -> Vec<WireId> {
        let bits = constant_bits(c);
        wires.iter().map(|&a| self.circuit.push(Op::MulConst { a, c, bits }, span)).collect()
    }

    fn shift(&mut self, wires: &[WireId], c: f64, span: Span) -> Vec<WireId> {
        if c == 0.0 {
            return wires.to_vec();
        }
        wires.iter().map(|&a| self.circuit.push(Op::AddConst(a, c), span)).collect()
    }

    fn zip(&mut self, a: &[WireId], b: &[WireId], span: Span) -> Vec<WireId> {
        a.iter().zip(b).map(|(&a, &b)| self.circuit.push(Op::Add(a, b), span)).collect()
    }
}

/// Bits of depth of a polynomial and of its derivative, each in turn at its best factor, and the products of both together.
pub(crate) fn cost(program: &Program, p: Option<&Polynomial>, derivative: Option<&Polynomial>) -> (u32, u32, usize) {
    let graph = Graph::default();
    let grid = Geometry { width: 1, lanes: 2, batch: 1 };
    let mut lowering = Lowering::new(program, &graph, grid, 30, &[]);
    let wire = lowering.circuit.input("x", Vec::new(), 0, Span::default());
    let mut depth = |p: Option<&Polynomial>| match p {
        Some(p) if p.degree() > 0 => {
            let x = Cts { wires: vec![wire], factor: p.half, dim: 1, clean: true };
            let wires = lowering.polynomial(&x, p, Span::default()).wires;
            lowering.circuit.depth(wires[0])
        }
        Some(_) | None => 0,
    };
    let depths = (depth(p), depth(derivative));
    let products = lowering.circuit.nodes.iter().filter(|n| matches!(n.op, Op::Dot(_))).count();
    (depths.0, depths.1, products)
}

/// Scale of a constant so that it is known to about 2^-21 of itself.
pub(super) fn constant_bits(c: f64) -> u32 {
    let magnitude = if c == 0.0 { 0.0 } else { libm::floor(libm::log2(c.abs())) };
    (21.0 - magnitude).clamp(8.0, 40.0) as u32
}
