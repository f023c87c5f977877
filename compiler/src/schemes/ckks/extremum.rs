//! Maxima and minima, by polynomials of differences.

use hecc_plan::Span;

use super::lower::{Cts, Lowering};
use crate::check::hir::Pins;
use crate::tensor::graph::{Elementwise, Map};

impl Lowering<'_> {
    /// The largest element of each sample, by halves.
    pub fn maximum(&mut self, x: &Cts, pins: &Pins, span: Span) -> Cts {
        if !x.dim.is_power_of_two() {
            let mut row: Vec<Cts> = (0..x.dim).map(|i| self.slice(x, i, 1, span)).collect();
            while row.len() > 1 {
                let half = row.len().div_ceil(2);
                row = (0..half)
                    .map(|i| match row.get(i + half) {
                        Some(b) => self.extremum(&row[i].clone(), &b.clone(), true, pins, span),
                        None => row[i].clone(),
                    })
                    .collect();
            }
            return row.swap_remove(0);
        }
        let mut x = x.clone();
        while x.dim > 1 {
            // The other half stands half a period on, so one rotation makes all pairs.
            let half = x.dim / 2;
            let by = (half * self.grid.lanes) as i64;
            let wires = x.wires.iter().map(|&w| self.circuit.rotate(w, by, span)).collect();
            let other = Cts { wires, ..x.clone() };
            let larger = self.extremum(&x, &other, true, pins, span);
            x = Cts { dim: half, clean: true, ..larger };
        }
        x
    }

    /// (a + b ± |a − b|) / 2.
    pub fn extremum(&mut self, a: &Cts, b: &Cts, larger: bool, pins: &Pins, span: Span) -> Cts {
        let sum = self.add(a, b, span);
        let negative = Cts { factor: -b.factor, ..b.clone() };
        let difference = self.add(a, &negative, span);
        let map = Map { function: Elementwise::Named(hecc_plan::Function::Abs), order: 0, pins: *pins };
        let p = self.approximation(&map);
        self.note_fit("max, of the difference: abs", &map, &p, span);
        let abs = self.polynomial(&difference, &p, span);
        let half = |x: Cts, sign: f64| Cts { factor: 0.5 * sign * x.factor, ..x };
        self.add(&half(sum, 1.0), &half(abs, if larger { 1.0 } else { -1.0 }), span)
    }
}
