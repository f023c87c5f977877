//! The random streams of a run: seeded, independent, and resumable by position.

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// What a stream is for. Streams of one seed are independent of each other and of those that draw initial weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// First states of episodes.
    Environments,
    /// Random actions and exploration.
    Actions,
    /// Which transitions make a batch.
    Batches,
    /// Noise that the client draws for an update.
    Noise,
    /// Episodes of the random policy, to compare with.
    Baseline,
    /// Batches that are looked at before the first update.
    Probe,
    /// The evaluation after so many updates; the final one has its own.
    Evaluation(Option<u32>),
}

/// The stream of `seed` for a purpose.
pub fn stream(seed: u64, purpose: Purpose) -> ChaCha20Rng {
    let number = match purpose {
        Purpose::Environments => 1 << 40,
        Purpose::Actions => 2 << 40,
        Purpose::Batches => 3 << 40,
        Purpose::Noise => 4 << 40,
        Purpose::Evaluation(None) => 5 << 40,
        Purpose::Evaluation(Some(update)) => (6 << 40) + u64::from(update),
        Purpose::Baseline => 7 << 40,
        Purpose::Probe => 8 << 40,
    };
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    rng.set_stream(number);
    rng
}

/// How far a stream was read, in words of 32 bits.
pub fn position(rng: &ChaCha20Rng) -> u64 {
    u64::try_from(rng.get_word_pos()).unwrap_or(u64::MAX)
}

/// The stream of `seed` for a purpose, at a [`position`].
pub fn stream_at(seed: u64, purpose: Purpose, position: u64) -> ChaCha20Rng {
    let mut rng = stream(seed, purpose);
    rng.set_word_pos(u128::from(position));
    rng
}

/// A number in [0, 1).
pub fn uniform(rng: &mut ChaCha20Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// A whole number below `n`, or 0 if `n` is.
pub fn below(rng: &mut ChaCha20Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// A standard normal number, by Box and Muller.
pub fn normal(rng: &mut ChaCha20Rng) -> f64 {
    let radius = libm::sqrt(-2.0 * libm::log(1.0 - uniform(rng)));
    radius * libm::cos(2.0 * std::f64::consts::PI * uniform(rng))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_resumes_where_it_was() {
        let mut rng = stream(7, Purpose::Actions);
        (0..13).for_each(|_| {
            uniform(&mut rng);
        });
        let mut again = stream_at(7, Purpose::Actions, position(&rng));
        assert_eq!((0..100).map(|_| rng.next_u64()).collect::<Vec<_>>(), (0..100).map(|_| again.next_u64()).collect::<Vec<_>>());
        assert_ne!(stream(7, Purpose::Batches).next_u64(), stream(7, Purpose::Noise).next_u64());
    }

    #[test]
    fn choices_are_uniform_and_bounded() {
        let mut rng = stream(0, Purpose::Actions);
        let mut counts = [0; 5];
        (0..50_000).for_each(|_| counts[below(&mut rng, 5)] += 1);
        assert!(counts.iter().all(|&c| (9_600..10_400).contains(&c)), "{counts:?}");
        assert_eq!(below(&mut rng, 0), 0);
        let mean = (0..20_000).map(|_| normal(&mut rng)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03, "{mean}");
    }
}
