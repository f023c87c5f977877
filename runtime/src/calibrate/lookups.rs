//! What operations on integers take: blind rotations in every ring that parameters are chosen from, key switches, and terms of
//! sums.

use rustix::time::ClockId;

use hecc_plan::tfhe::parameters::Ring;
use hecc_plan::tfhe::prices::{Prices, Rotation};

use super::{Options, timed_by};
use crate::engine::EngineError;
use crate::tfhe::probe::Probe;

/// Bits of the small secret that rotations are measured with: most keys of plans have about as many.
const SMALL: u32 = 800;
/// Most bytes of a key: of larger ones a part is turned by, which leaves the caches all the same.
const LARGEST_KEY: u64 = 192 << 20;
/// Rotations in a row of each thread: as many as steps of small plans have.
const IN_A_ROW: usize = 3;

/// Largest ring, and most levels, of a quick measurement: larger ones are priced by what is like them.
const QUICK_RING: u32 = 12;
const QUICK_LEVELS: u32 = 2;

/// Measures [`Prices`]: seconds that the processor spends on the process, shared among its threads, which all work, each doing
/// the same a few times in a row; the least of some runs. `progress` is told what comes next.
///
/// # Errors
/// If the library fails.
pub fn lookups(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<Prices, EngineError> {
    let threads = options.threads();
    let mut wanted = Prices::wanted();
    if options.quick {
        wanted.retain(|(ring, levels)| ring.log_n <= QUICK_RING && *levels <= QUICK_LEVELS);
    }
    let runs = if options.quick { 2 } else { 4 };
    let mut rotations = Vec::with_capacity(wanted.len());
    for (index, &(ring, levels)) in wanted.iter().enumerate() {
        let Ring { dimension, log_n } = ring;
        progress(&format!("lookup {} of {}: {dimension} polynomials of degree 2^{log_n}, {levels} levels", index + 1, wanted.len()));
        let small = bits(ring, levels);
        let probe = Probe::new(small, ring, levels, threads);
        let each = if ring.log_n > 13 { 1 } else { IN_A_ROW };
        let seconds = least(runs, threads, each, || probe.rotations(each))?;
        rotations.push(Rotation { dimension, log_n, levels, seconds: seconds / f64::from(small) });
    }
    progress("key switches, and sums of integers");
    let probe = Probe::new(SMALL, Ring { dimension: 1, log_n: 11 }, 1, threads);
    let (shrink, between, operand) = probe.lengths();
    let many = 64;
    Ok(Prices {
        threads,
        rotations,
        switch: least(runs, threads, 8, || probe.shrinks(8))? / shrink,
        between: least(runs, threads, 4, || probe.moves(4))? / between,
        term: least(runs, threads, many, || probe.terms(many))? / operand,
    })
}

/// Bits of the small secret: fewer where the key would be too large.
fn bits(ring: Ring, levels: u32) -> u32 {
    let polynomials = u64::from(ring.dimension + 1);
    let each = 8 * u64::from(levels) * polynomials * polynomials * u64::from(ring.degree());
    u32::try_from(LARGEST_KEY / each).unwrap_or(SMALL).clamp(16, SMALL)
}

/// Seconds of one operation on one thread, the least of some runs of `each` on every thread; the first run does not count.
fn least(runs: usize, threads: usize, each: usize, mut work: impl FnMut() -> Result<(), EngineError>) -> Result<f64, EngineError> {
    work()?;
    let mut least = f64::INFINITY;
    for _ in 0..runs {
        let (seconds, outcome) = timed_by(ClockId::ProcessCPUTime, &mut work);
        outcome?;
        least = least.min(seconds);
    }
    Ok(least / (threads * each) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_of_ring_is_measured() {
        for (dimension, log_n, levels) in [(1, 9, 1), (1, 9, 3), (1, 11, 1), (3, 9, 1)] {
            let probe = Probe::new(64, Ring { dimension, log_n }, levels, 2);
            let seconds = least(1, 2, 2, || probe.rotations(2)).expect("rotations");
            assert!(seconds > 0.0 && seconds.is_finite());
        }
    }

    #[test]
    fn keys_that_are_measured_fit_the_memory() {
        assert_eq!(bits(Ring { dimension: 1, log_n: 10 }, 1), SMALL);
        assert!(bits(Ring { dimension: 1, log_n: 15 }, 3) < 100);
    }
}
