//! Polynomials for functions: minimax for smooth ones, least squares for those with a kink, on any interval.
//! Trefethen, "Approximation Theory and Approximation Practice", ch. 3, 4, 8 and 10.

use hecc_plan::Function;
use hecc_plan::clear::chebyshev;

use crate::approximation::{composite, minimax};
use crate::check::hir::{Pins, Range};
use crate::tensor::graph::Elementwise;

/// A polynomial on an interval, in the Chebyshev basis of t = (x − centre) / half.
#[derive(Clone, Debug, PartialEq)]
pub struct Polynomial {
    /// Middle of the interval.
    pub centre: f64,
    /// Half its width.
    pub half: f64,
    /// Coefficients of T_0, T_1, ...; the last is not 0 unless it is the only one.
    pub coefficients: Vec<f64>,
    /// Largest error on the interval (0 for a given polynomial).
    pub error: f64,
    /// Stages of a composition, in t; its result is multiplied by the polynomial. Empty where there is none.
    pub stages: Vec<Vec<f64>>,
}

impl Polynomial {
    /// Its degree; of a composition, that of its steepest stage.
    pub fn degree(&self) -> usize {
        self.stages.iter().chain([&self.coefficients]).map(|c| c.len() - 1).max().unwrap_or(0)
    }

    /// Whether it is a composition.
    pub fn is_composed(&self) -> bool {
        !self.stages.is_empty()
    }

    /// Value at x.
    pub fn eval(&self, x: f64) -> f64 {
        let t = (x - self.centre) / self.half;
        let stages = self.stages.iter().fold(t, |y, stage| chebyshev(stage, y));
        chebyshev(&self.coefficients, t) * if self.is_composed() { stages } else { 1.0 }
    }

    /// The derivative, exactly: c'_{k-1} = c'_{k+1} + 2 k c_k. Of a composition, which approximates |x|, the sign.
    #[must_use]
    pub fn derivative(&self) -> Self {
        let n = self.coefficients.len();
        let mut d = vec![0.0; n + 1];
        for k in (1..n).rev() {
            d[k - 1] = d[k + 1] + 2.0 * k as f64 * self.coefficients[k];
        }
        d[0] /= 2.0;
        d.truncate((n - 1).max(1));
        d.iter_mut().for_each(|c| *c /= self.half);
        Self { coefficients: d, ..self.clone() }
    }

    /// Coefficients in powers of t, for degrees up to 4.
    pub fn powers(&self) -> [f64; 5] {
        let c = |k: usize| self.coefficients.get(k).copied().unwrap_or(0.0);
        [c(0) - c(2) + c(4), c(1) - 3.0 * c(3), 2.0 * c(2) - 8.0 * c(4), 4.0 * c(3), 8.0 * c(4)]
    }
}

/// Degrees tried where the program pins none: what a depth of 1, 2, 3, 4, 5 products reaches, and their even neighbours.
const DEGREES: [usize; 8] = [2, 3, 4, 7, 8, 15, 16, 31];

/// The polynomial for `function`: of the pinned degree, or the composition of the pinned error, or of the smallest degree that meets
/// `tolerance` and does not exceed `cap`.
pub fn approximate(function: &Elementwise, pins: &Pins, tolerance: f64, cap: usize) -> Polynomial {
    let range = pins.range.unwrap_or(Range { low: -1.0, high: 1.0 });
    match function {
        Elementwise::Polynomial(powers) => given(powers, range),
        Elementwise::Named(named) => match (pins.degree, pins.within.and_then(|error| composed(range, error))) {
            (Some(degree), _) => fit(*named, range, degree),
            (None, Some(composition)) => composition,
            (None, None) => {
                let candidates = DEGREES.iter().filter(|&&d| d <= cap.max(2)).map(|&d| fit(*named, range, d));
                let mut best: Option<Polynomial> = None;
                for candidate in candidates {
                    let met = candidate.error <= tolerance;
                    if best.as_ref().is_none_or(|b| candidate.error < 0.99 * b.error) {
                        best = Some(candidate);
                    }
                    if met {
                        break;
                    }
                }
                let best = best.unwrap_or_else(|| fit(*named, range, 2));
                let tight = *named == Function::Abs && best.error > tolerance && tolerance <= COMPOSED;
                tight.then(|| composed(range, tolerance)).flatten().unwrap_or(best)
            }
        },
    }
}

/// A largest error of |x| above which no composition is tried: what training allows, where one polynomial of little depth
/// serves better.
const COMPOSED: f64 = 2e-3;

/// |x| on an interval around 0, made symmetric, as x times a composition for its sign: cheaper than one polynomial of the same error
/// where that is small, since those err by 0.28 / degree.
pub fn composed(range: Range, tolerance: f64) -> Option<Polynomial> {
    if range.low >= 0.0 || range.high <= 0.0 {
        return None;
    }
    let half = range.high.max(-range.low);
    let stages = composite::sign(tolerance / half)?;
    let error = half * composite::off(&stages);
    Some(Polynomial { centre: 0.0, half, coefficients: vec![0.0, half], error, stages })
}

fn fit(function: Function, range: Range, degree: usize) -> Polynomial {
    let (centre, half) = ((range.low + range.high) / 2.0, (range.high - range.low) / 2.0);
    let f = |t: f64| function.eval(centre + half * t);
    let at: &[f64] = match function {
        Function::Relu | Function::Abs => &[0.0],
        Function::HardTanh => &[-1.0, 1.0],
        _ => &[],
    };
    let kinks: Vec<f64> = at.iter().map(|x| (x - centre) / half).filter(|t| t.abs() < 1.0).collect();
    let mut coefficients = if kinks.is_empty() { smooth(&f, degree) } else { least_squares(&f, &kinks, degree) };
    let largest = coefficients.iter().fold(0.0f64, |m, c| m.max(c.abs()));
    coefficients.iter_mut().filter(|c| c.abs() < 1e-13 * largest).for_each(|c| *c = 0.0);
    while coefficients.len() > 1 && coefficients.last() == Some(&0.0) {
        coefficients.pop();
    }
    let grid = (0..=2000).map(|i| f64::from(i) / 1000.0 - 1.0).chain(kinks);
    let error = grid.map(|t| (chebyshev(&coefficients, t) - f(t)).abs()).fold(0.0, f64::max);
    Polynomial { centre, half, coefficients, error, stages: Vec::new() }
}

/// The best polynomial. What symmetry makes vanish vanishes exactly, which the evaluation counts on: an odd function's even
/// part, an even one's odd part but for a multiple of t (silu, gelu, softplus on intervals around 0).
fn smooth(f: &dyn Fn(f64) -> f64, degree: usize) -> Vec<f64> {
    let grid = || (0..=16).map(|i| f64::from(i) / 16.0);
    let size = grid().map(|t| f(t).abs().max(f(-t).abs())).fold(0.0, f64::max);
    let vanishes = |part: &dyn Fn(f64) -> f64| grid().all(|t| part(t).abs() <= 1e-14 * size);
    let (middle, slope) = (f(0.0), (f(1.0) - f(-1.0)) / 2.0);
    let even = vanishes(&|t| (f(t) - f(-t)) / 2.0 - slope * t);
    let odd = vanishes(&|t| (f(t) + f(-t)) / 2.0 - middle);
    // One degree more, which adds nothing, makes the points of the exchange as symmetric as the error's.
    let best = |f: &dyn Fn(f64) -> f64, degree: usize| minimax::run(f, degree, interpolate(f, degree));
    let mut c = match (even, odd) {
        (true, _) => {
            let mut c = best(&|t| f(t) - slope * t, degree | 1);
            c.iter_mut().skip(1).step_by(2).for_each(|c| *c = 0.0);
            c[1] = slope;
            c
        }
        (_, true) => {
            let mut c = best(&|t| f(t) - middle, degree.next_multiple_of(2));
            c.iter_mut().step_by(2).for_each(|c| *c = 0.0);
            c[0] = middle;
            c
        }
        (false, false) => best(f, degree),
    };
    c.truncate(degree + 1);
    c
}

fn given(powers: &[f64], range: Range) -> Polynomial {
    let half = range.high.abs().max(range.low.abs());
    let f = |t: f64| powers.iter().rev().fold(0.0, |sum, c| sum * t * half + c);
    let mut coefficients = interpolate(&f, powers.len().saturating_sub(1));
    while coefficients.len() > 1 && coefficients.last().is_some_and(|c| c.abs() < 1e-14) {
        coefficients.pop();
    }
    Polynomial { centre: 0.0, half, coefficients, error: 0.0, stages: Vec::new() }
}

/// Interpolation in the Chebyshev points of the first kind.
fn interpolate(f: &dyn Fn(f64) -> f64, degree: usize) -> Vec<f64> {
    let n = degree + 1;
    let angle = |j: usize| std::f64::consts::PI * (j as f64 + 0.5) / n as f64;
    let values: Vec<f64> = (0..n).map(|j| f(libm::cos(angle(j)))).collect();
    (0..n)
        .map(|k| {
            let sum: f64 = values.iter().enumerate().map(|(j, v)| v * libm::cos(k as f64 * angle(j))).sum();
            sum * if k == 0 { 1.0 } else { 2.0 } / n as f64
        })
        .collect()
}

/// Least squares with uniform weight: projection on Legendre polynomials, integrated from kink to kink.
fn least_squares(f: &dyn Fn(f64) -> f64, kinks: &[f64], degree: usize) -> Vec<f64> {
    const PANELS: usize = 2048;
    let mut moments = vec![0.0; degree + 1];
    let ends: Vec<f64> = [-1.0].into_iter().chain(kinks.iter().copied()).chain([1.0]).collect();
    for (from, to) in ends.iter().copied().zip(ends.iter().copied().skip(1)) {
        let h: f64 = (to - from) / (2 * PANELS) as f64;
        for i in 0..=2 * PANELS {
            let weight = match i {
                0 => 1.0,
                i if i == 2 * PANELS => 1.0,
                i if i % 2 == 1 => 4.0,
                _ => 2.0,
            };
            let t = from + h * i as f64;
            let v = f(t) * weight * h / 3.0;
            for (moment, p) in moments.iter_mut().zip(legendre(t, degree)) {
                *moment += v * p;
            }
        }
    }
    let projection = |t: f64| moments.iter().zip(legendre(t, degree)).enumerate().map(|(k, (m, p))| (k as f64 + 0.5) * m * p).sum::<f64>();
    interpolate(&projection, degree)
}

/// P_0(t) to P_degree(t).
fn legendre(t: f64, degree: usize) -> Vec<f64> {
    let mut p = vec![1.0, t];
    for k in 1..degree {
        let k_f = k as f64;
        p.push(((2.0 * k_f + 1.0) * t * p[k] - k_f * p[k - 1]) / (k_f + 1.0));
    }
    p.truncate(degree + 1);
    p
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pins(degree: usize, low: f64, high: f64) -> Pins {
        Pins { degree: Some(degree), range: Some(Range { low, high }), within: None }
    }

    #[test]
    fn relu_of_degree_two_is_the_least_squares_parabola() {
        let p = approximate(&Elementwise::Named(Function::Relu), &pins(2, -2.0, 2.0), 0.0, 31);
        let [c0, c1, c2, ..] = p.powers();
        // On [-R, R]: 3R/32 + x/2 + 15 x²/(32 R), here in t = x / 2.
        assert!((c0 - 0.1875).abs() < 1e-9 && (c1 - 1.0).abs() < 1e-9 && (c2 - 0.9375).abs() < 1e-9, "{c0} {c1} {c2}");
    }

    const SMOOTH: [Function; 11] = [
        Function::Silu,
        Function::Gelu,
        Function::Tanh,
        Function::Sigmoid,
        Function::Softplus,
        Function::Mish,
        Function::Square,
        Function::Exp,
        Function::Sin,
        Function::Cos,
        Function::LogSech2,
    ];
    const POSITIVE: [Function; 3] = [Function::Log, Function::Sqrt, Function::Reciprocal];
    const KINKED: [Function; 3] = [Function::Relu, Function::Abs, Function::HardTanh];

    /// Value and derivative against the function on a dense grid: what is recorded is what is there, and it gets small.
    fn agrees(function: Function, low: f64, high: f64, degree: usize, value: f64, slope: f64) {
        let p = approximate(&Elementwise::Named(function), &pins(degree, low, high), 0.0, 31);
        let d = p.derivative();
        let (mut error, mut steepness, mut size, mut turn) = (0.0f64, 0.0f64, 0.0f64, 0.0f64);
        for i in 0..=5000 {
            let x = low + (high - low) * f64::from(i) / 5000.0;
            error = error.max((p.eval(x) - function.eval(x)).abs());
            steepness = steepness.max((d.eval(x) - function.derivative(x)).abs());
            (size, turn) = (size.max(function.eval(x).abs()), turn.max(function.derivative(x).abs()));
        }
        assert!(error <= 1.001 * p.error + 1e-12 * size, "{function:?} on [{low}, {high}]: {error:e}, recorded {:e}", p.error);
        assert!(error <= value * size.max(1e-3), "{function:?} of degree {degree} on [{low}, {high}] is {error:e} off");
        assert!(steepness <= slope * turn.max(1e-3), "{function:?}' of degree {degree} on [{low}, {high}] is {steepness:e} off");
    }

    #[test]
    fn intervals_need_not_be_symmetric_or_start_at_zero() {
        for (low, high) in [(-1.0, 5.0), (1.0, 3.0), (-7.0, -2.0), (-4.0, 4.0), (0.0, 6.0), (-0.5, 0.25), (2.0, 2.5)] {
            SMOOTH.iter().for_each(|&f| agrees(f, low, high, 15, 3e-3, 0.15));
            SMOOTH.iter().for_each(|&f| agrees(f, low, high, 31, 2e-5, 2e-3));
        }
        for (low, high) in [(1.0, 3.0), (0.5, 6.0), (10.0, 12.0)] {
            POSITIVE.iter().for_each(|&f| agrees(f, low, high, 15, 2e-3, 0.05));
        }
        for (low, high) in [(-1.0, 5.0), (-4.0, 4.0), (-7.0, 1.0)] {
            KINKED.iter().for_each(|&f| agrees(f, low, high, 15, 0.1, 4.0));
        }
        // Without the kink they are lines.
        for (low, high) in [(1.0, 3.0), (-7.0, -2.0)] {
            KINKED.iter().for_each(|&f| agrees(f, low, high, 3, 1e-12, 1e-11));
        }
    }

    #[test]
    fn smooth_functions_get_the_best_polynomial() {
        // Interpolation in Chebyshev points is not the best one: by a factor that theory bounds and this measures.
        let interpolated = |f: Function, low: f64, high: f64, degree: usize| {
            let (centre, half) = ((low + high) / 2.0, (high - low) / 2.0);
            let c = interpolate(&|t| f.eval(centre + half * t), degree);
            (0..=4000)
                .map(|i| f64::from(i) / 2000.0 - 1.0)
                .map(|t| (chebyshev(&c, t) - f.eval(centre + half * t)).abs())
                .fold(0.0, f64::max)
        };
        for (f, low, high, degree) in [(Function::Silu, -8.0, 8.0, 8), (Function::Tanh, -4.0, 4.0, 7), (Function::Sigmoid, -3.0, 8.0, 7)] {
            let best = approximate(&Elementwise::Named(f), &pins(degree, low, high), 0.0, 31).error;
            let other = interpolated(f, low, high, degree);
            assert!(best < 0.95 * other, "{f:?}: {best:e} against {other:e}");
        }
    }

    #[test]
    fn symmetry_is_exact() {
        let p = approximate(&Elementwise::Named(Function::Silu), &pins(16, -8.0, 8.0), 0.0, 31);
        assert!(p.coefficients.iter().skip(3).step_by(2).all(|&c| c == 0.0) && p.coefficients[1] == 4.0, "{p:?}");
        let p = approximate(&Elementwise::Named(Function::Tanh), &pins(15, -8.0, 8.0), 0.0, 31);
        assert!(p.coefficients.iter().step_by(2).all(|&c| c == 0.0), "{p:?}");
    }

    #[test]
    fn the_derivative_is_that_of_the_polynomial() {
        for degree in 1..=16 {
            let p = approximate(&Elementwise::Named(Function::Silu), &pins(degree, -3.0, 4.0), 0.0, 31);
            let d = p.derivative();
            for i in 1..20 {
                let x = -3.0 + 7.0 * f64::from(i) / 20.0;
                let numeric = (p.eval(x + 1e-5) - p.eval(x - 1e-5)) / 2e-5;
                assert!((d.eval(x) - numeric).abs() < 1e-6 * (1.0 + numeric.abs()), "degree {degree} at {x}");
            }
        }
    }

    #[test]
    fn a_given_polynomial_is_kept_exactly() {
        let p = approximate(&Elementwise::Polynomial(vec![0.5, -1.0, 2.0, 0.25]), &Pins::default(), 0.0, 31);
        for x in [-2.0, -0.3, 0.0, 1.7] {
            assert!((p.eval(x) - (0.5 - x + 2.0 * x * x + 0.25 * x * x * x)).abs() < 1e-12);
        }
    }
}
