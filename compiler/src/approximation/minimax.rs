//! Best polynomials in the largest error, by Remez's exchange in the Chebyshev basis.
//!
//! Sources: Remez 1934; Pachón and Trefethen, "Barycentric-Remez algorithms for best polynomial approximation", BIT 2009;
//! Trefethen, "Approximation Theory and Approximation Practice", ch. 10.

use hecc_plan::clear::chebyshev;

/// Exchanges after which the reference is as good as it gets: convergence is quadratic.
const EXCHANGES: usize = 24;
/// Points of the search for extrema, per interval of the reference.
const DENSITY: usize = 16;
/// Parabolas through three ever closer points that an extremum is refined by.
const REFINEMENTS: usize = 4;
/// The error is level when its extrema agree to this part.
const LEVEL: f64 = 1e-11;

/// Chebyshev coefficients on [-1, 1] of the polynomial of degree at most `degree` whose largest error is smallest, starting
/// from `start` (an interpolant): kept where no exchange improves on it, as below the accuracy of doubles.
pub fn run(f: &dyn Fn(f64) -> f64, degree: usize, start: Vec<f64>) -> Vec<f64> {
    let count = degree + 2;
    let points = extrema(count * DENSITY);
    let values: Vec<f64> = points.iter().map(|&t| f(t)).collect();
    let peaks = |c: &[f64]| {
        let errors: Vec<f64> = points.iter().zip(&values).map(|(&t, v)| v - chebyshev(c, t)).collect();
        peaks(&points, &errors, &|t| f(t) - chebyshev(c, t))
    };
    let largest = |peaks: &[(f64, f64)]| peaks.iter().fold(0.0f64, |m, p| m.max(p.1.abs()));
    let mut best = (largest(&peaks(&start)), start);
    let mut reference = extrema(count - 1);
    for _ in 0..EXCHANGES {
        let Some((coefficients, level)) = levelled(f, &reference) else { break };
        let peaks = peaks(&coefficients);
        let error = largest(&peaks);
        if error < best.0 {
            best = (error, coefficients);
        }
        if error - level.abs() <= LEVEL * error {
            break;
        }
        match alternating(peaks, count) {
            Some(next) => reference = next,
            None => break,
        }
    }
    best.1
}

/// cos(jπ/n) for j = n..0: ascending, both ends included.
fn extrema(n: usize) -> Vec<f64> {
    (0..=n).rev().map(|j| libm::cos(std::f64::consts::PI * j as f64 / n as f64)).collect()
}

/// The polynomial whose error alternates with one size on the reference, and that size: a linear system.
fn levelled(f: &dyn Fn(f64) -> f64, reference: &[f64]) -> Option<(Vec<f64>, f64)> {
    let n = reference.len();
    let rows: Vec<Vec<f64>> = reference
        .iter()
        .enumerate()
        .map(|(i, &t)| {
            let mut row = vec![1.0, t];
            for k in 2..n - 1 {
                row.push(2.0 * t * row[k - 1] - row[k - 2]);
            }
            row.truncate(n - 1);
            row.push(if i % 2 == 0 { 1.0 } else { -1.0 });
            row.push(f(t));
            row
        })
        .collect();
    let mut solution = solve(rows)?;
    let level = solution.pop()?;
    Some((solution, level))
}

/// The solution of a linear system, its right side the last column: Gauss with partial pivots. Chebyshev polynomials near
/// Chebyshev points make it well conditioned.
pub(super) fn solve(mut rows: Vec<Vec<f64>>) -> Option<Vec<f64>> {
    let n = rows.len();
    for column in 0..n {
        let pivot = (column..n).max_by(|&a, &b| rows[a][column].abs().total_cmp(&rows[b][column].abs()))?;
        rows.swap(column, pivot);
        if rows[column][column].abs() < 1e-13 {
            return None;
        }
        let (above, below) = rows.split_at_mut(column + 1);
        for row in below {
            let factor = row[column] / above[column][column];
            row[column..].iter_mut().zip(&above[column][column..]).for_each(|(v, p)| *v -= factor * p);
        }
    }
    let mut solution = vec![0.0; n];
    for i in (0..n).rev() {
        let known: f64 = (i + 1..n).map(|j| rows[i][j] * solution[j]).sum();
        solution[i] = (rows[i][n] - known) / rows[i][i];
    }
    Some(solution)
}

/// The largest error between each two changes of its sign, and where.
fn peaks(points: &[f64], errors: &[f64], error: &dyn Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let mut peaks: Vec<(usize, f64)> = Vec::new();
    for (i, &e) in errors.iter().enumerate() {
        match peaks.last_mut() {
            Some(last) if last.1 * e >= 0.0 => {
                if e.abs() > last.1.abs() {
                    *last = (i, e);
                }
            }
            _ => peaks.push((i, e)),
        }
    }
    let refined = |(i, e): (usize, f64)| {
        let mut peak = (points[i], e);
        if i == 0 || i + 1 == points.len() {
            return peak;
        }
        let mut width = (points[i + 1] - points[i]).min(points[i] - points[i - 1]);
        for _ in 0..REFINEMENTS {
            let [left, right] = [peak.0 - width, peak.0 + width];
            let t = apex([left, peak.0, right], [error(left), peak.1, error(right)]);
            let there = error(t);
            if there.abs() > peak.1.abs() {
                peak = (t, there);
            }
            width /= 8.0;
        }
        peak
    };
    peaks.into_iter().map(refined).collect()
}

/// The next reference: `count` peaks of alternating signs, the largest of them among it.
fn alternating(mut peaks: Vec<(f64, f64)>, count: usize) -> Option<Vec<f64>> {
    // Of too many, the smaller end goes; inside, two neighbours would have to go together.
    while peaks.len() > count {
        let (first, last) = (peaks[0].1.abs(), peaks[peaks.len() - 1].1.abs());
        if first < last {
            peaks.remove(0);
        } else {
            peaks.pop();
        }
    }
    (peaks.len() == count).then(|| peaks.into_iter().map(|p| p.0).collect())
}

/// Where the parabola through three points has its apex, within them.
fn apex(t: [f64; 3], v: [f64; 3]) -> f64 {
    let (left, right) = ((v[1] - v[0]) / (t[1] - t[0]), (v[2] - v[1]) / (t[2] - t[1]));
    let curvature = (right - left) / (t[2] - t[0]);
    let at = (t[0] + t[1]) / 2.0 - left / (2.0 * curvature);
    if at.is_finite() { at.clamp(t[0], t[2]) } else { t[1] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_best_polynomials() {
        // |t| of degree 2: t² + 1/8. e^t of degree 1: slope (e − 1/e) / 2. t⁴ of degree 3: t² − 1/8.
        let abs = run(&|t: f64| t.abs(), 2, vec![0.5, 0.0, 0.5]);
        assert!((abs[0] - 0.625).abs() < 1e-3 && (abs[2] - 0.5).abs() < 1e-3, "{abs:?}");
        let exp = run(&libm::exp, 1, vec![1.0, 1.0]);
        assert!((exp[1] - libm::sinh(1.0)).abs() < 1e-9, "{exp:?}");
        let quartic = run(&|t: f64| t.powi(4), 3, vec![0.0; 4]);
        assert!((quartic[0] - 0.375).abs() < 1e-12 && (quartic[2] - 0.5).abs() < 1e-12, "{quartic:?}");
    }

    #[test]
    fn the_error_alternates_with_one_size() {
        for degree in [3, 6, 9, 15] {
            let c = run(&|t| libm::tanh(3.0 * t + 0.7), degree, vec![0.0]);
            let error = |t: f64| libm::tanh(3.0 * t + 0.7) - chebyshev(&c, t);
            let samples: Vec<f64> = (0..=20_000).map(|i| error(f64::from(i) / 10_000.0 - 1.0)).collect();
            let largest = samples.iter().fold(0.0f64, |m, e| m.max(e.abs()));
            let mut turns = 0;
            let mut sign = 0.0;
            for e in samples {
                if e.abs() > 0.9999 * largest && e.signum() != sign {
                    (turns, sign) = (turns + 1, e.signum());
                }
            }
            assert!(turns >= degree + 2, "degree {degree}: {turns} alternations of {largest:e}");
        }
    }
}
