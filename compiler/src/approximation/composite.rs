//! The sign as a composition of odd polynomials of low degree, each the best one where the one before leaves its values.
//!
//! One polynomial for |x| errs by about 0.28 / degree of half its interval, since it must turn at 0; a composition gets a bit
//! more exact with every product. Source: Lee, Lee, No and Kim, "Minimax approximation of sign function by composite
//! polynomial for homomorphic comparison", IEEE TDSC 2022 (eprint 2020/834). The exchange is Remez's, on [near, 1] in the
//! odd Chebyshev polynomials.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use hecc_plan::clear::chebyshev;

/// Degrees of stages: the last of a depth of two, three and four products, and one between.
const DEGREES: [usize; 4] = [3, 5, 7, 15];
/// How near to 0 the first stage looks, in errors.
const NEAR: [f64; 6] = [10.0, 8.0, 6.0, 4.0, 2.0, 0.9];
/// What the grid may miss of an extremum.
const MARGIN: f64 = 1e-4;
/// Most stages.
const STAGES: usize = 10;
/// Exchanges of one stage.
const EXCHANGES: usize = 30;
/// Points of the search for extrema.
const POINTS: usize = 800;
/// The error is level when its extrema agree to this part.
const LEVEL: f64 = 1e-9;

/// Coefficients of stages whose composition s makes t s(t) differ from |t| by at most `error` on [-1, 1]: the least depth,
/// then the fewest products. `None` where that takes too many stages.
pub fn sign(error: f64) -> Option<Vec<Vec<f64>>> {
    // Every lowering asks again.
    static KNOWN: Mutex<BTreeMap<u64, Option<Vec<Vec<f64>>>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let compositions = || [7, 15].into_iter().filter_map(|degree| uniform(degree, error)).min_by_key(|stages| cost(stages));
    known.entry(error.to_bits()).or_insert_with(compositions).clone()
}

/// The largest difference of t s(t) and |t|.
pub fn off(stages: &[Vec<f64>]) -> f64 {
    let grid = (0..=4000).map(|i| f64::from(i) / 4000.0).chain((0..1000).map(|i| libm::exp2(-f64::from(i) / 50.0)));
    grid.map(|t| (t * stages.iter().fold(t, |y, stage| chebyshev(stage, y)) - t).abs()).fold(0.0, f64::max)
}

/// Products in a row, and products, of a composition.
fn cost(stages: &[Vec<f64>]) -> (u32, usize) {
    let one = |stage: &Vec<f64>| match stage.len() - 1 {
        3 => (2, 2),
        5 => (3, 3),
        7 => (3, 4),
        _ => (4, 7),
    };
    stages.iter().map(one).fold((0, 0), |(depth, products), (d, p)| (depth + d, products + p))
}

/// Stages of one degree and a last one of the least degree that does.
fn uniform(degree: usize, error: f64) -> Option<Vec<Vec<f64>>> {
    // Nearer to 0 than the first stage looks, s still grows: t s(t) is off by about a tenth of that distance.
    let tries = NEAR.iter().filter_map(|near| stages(degree, (near * error).min(0.5), error));
    tries.into_iter().find(|stages| off(stages) <= error)
}

fn stages(degree: usize, mut near: f64, error: f64) -> Option<Vec<Vec<f64>>> {
    let mut stages = Vec::new();
    for _ in 0..STAGES {
        let (mut stage, off) = best(degree, near);
        if off <= 0.9 * error {
            let least = DEGREES.iter().take_while(|&&d| d < degree).map(|&d| best(d, near)).find(|(_, off)| *off <= 0.9 * error);
            stages.push(least.map_or(stage, |(stage, _)| stage));
            return Some(stages);
        }
        // The next stage takes arguments up to one; beyond, it would be far off.
        stage.iter_mut().for_each(|c| *c /= (1.0 + off) * (1.0 + MARGIN));
        near = (1.0 - off) / (1.0 + off) * (1.0 - 100.0 * MARGIN);
        stages.push(stage);
    }
    None
}

/// The odd polynomial of that degree that is nearest to one on [near, 1], and how far off it is.
fn best(degree: usize, near: f64) -> (Vec<f64>, f64) {
    let count = degree.div_ceil(2) + 1;
    // Equal steps of the angle, and as many of the logarithm: extrema crowd at both ends.
    let half = |i: usize| i as f64 / (POINTS - 1) as f64;
    let mut points: Vec<f64> = (0..POINTS)
        .flat_map(|i| {
            let angle = (1.0 + near) / 2.0 - (1.0 - near) / 2.0 * libm::cos(std::f64::consts::PI * half(i));
            [angle, libm::exp(libm::log(near) * (1.0 - half(i)))]
        })
        .map(|t| t.clamp(near, 1.0))
        .collect();
    points.sort_by(f64::total_cmp);
    let mut reference: Vec<f64> = (0..count).map(|i| points[i * (points.len() - 1) / (count - 1)]).collect();
    let mut best = (vec![0.0, 1.0], 1.0 - near);
    for _ in 0..EXCHANGES {
        let Some((coefficients, level)) = levelled(&reference, degree) else { break };
        let errors: Vec<f64> = points.iter().map(|&t| 1.0 - chebyshev(&coefficients, t)).collect();
        let largest = errors.iter().fold(0.0f64, |m, e| m.max(e.abs()));
        if largest < best.1 {
            best = (coefficients, largest);
        }
        if largest - level.abs() <= LEVEL * largest {
            break;
        }
        // The largest error between each two changes of its sign.
        let mut peaks: Vec<(f64, f64)> = Vec::new();
        for (&t, &e) in points.iter().zip(&errors) {
            match peaks.last_mut() {
                Some(peak) if peak.1 * e >= 0.0 => {
                    if e.abs() > peak.1.abs() {
                        *peak = (t, e);
                    }
                }
                _ => peaks.push((t, e)),
            }
        }
        while peaks.len() > count {
            let first = peaks[0].1.abs() < peaks[peaks.len() - 1].1.abs();
            peaks.remove(if first { 0 } else { peaks.len() - 1 });
        }
        if peaks.len() < count {
            break;
        }
        reference = peaks.into_iter().map(|(t, _)| t).collect();
    }
    best
}

/// The odd polynomial whose distance from one alternates with one size on the reference, and that size.
fn levelled(reference: &[f64], degree: usize) -> Option<(Vec<f64>, f64)> {
    let n = reference.len();
    let row = |(i, &t): (usize, &f64)| {
        let mut powers = vec![1.0, t];
        for k in 2..=degree {
            powers.push(2.0 * t * powers[k - 1] - powers[k - 2]);
        }
        let mut row: Vec<f64> = powers.into_iter().skip(1).step_by(2).collect();
        row.push(if i % 2 == 0 { 1.0 } else { -1.0 });
        row.push(1.0);
        row
    };
    let mut solution = super::minimax::solve(reference.iter().enumerate().map(row).collect())?;
    let level = solution.pop()?;
    let mut coefficients = vec![0.0; degree + 1];
    solution.into_iter().take(n).enumerate().for_each(|(i, c)| coefficients[2 * i + 1] = c);
    Some((coefficients, level))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compositions_reach_what_they_promise() {
        let mut last = 0;
        for error in [1e-2, 1e-3, 1e-4, 1e-5, 1e-6] {
            let stages = sign(error).expect("few stages are enough");
            let apply = |t: f64| stages.iter().fold(t, |y, stage| chebyshev(stage, y));
            let grid = (0..=20_000).map(|i| f64::from(i) / 20_000.0).chain((0..2000).map(|i| libm::exp2(-f64::from(i) / 100.0)));
            let off = grid.map(|t| (t * apply(t) - t).abs()).fold(0.0, f64::max);
            assert!(off <= 1.001 * error, "{off:e} instead of {error:e}");
            let (depth, _) = cost(&stages);
            assert!(depth > last && depth <= 27, "{depth}");
            last = depth;
        }
    }

    #[test]
    fn a_stage_is_the_best_cubic() {
        // 1 - p alternates: at the near end, at the extremum, and at 1.
        let (c, off) = best(3, 0.25);
        let p = |t: f64| chebyshev(&c, t);
        assert!((1.0 - p(0.25) - off).abs() < 1e-6 && (1.0 - p(1.0) - off).abs() < 1e-6, "{c:?} {off}");
    }
}
