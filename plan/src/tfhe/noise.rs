//! How noise grows: variances on the torus, where one is the whole modulus. That is 2^64 under the secrets of rings, and 2^32
//! under small secrets, whose noise is far above its last bit.
//!
//! The formulas are those of tfhe-rs 1.8 (`core_crypto::commons::noise_formulas`: binary secrets, Gaussian noise, products
//! by Fourier transforms of doubles); a test of the runtime holds them against the library's. Transcendental functions are
//! `libm`'s, since what follows from them gets into plans.

use crate::tfhe::parameters::Decomposition;

/// Bits of security that [`secure_variance`] is for.
pub const SECURE_BITS: u32 = 132;
/// Bits of a double's mantissa.
const MANTISSA: f64 = 53.0;

/// A modulus, by its log2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modulus {
    /// 2^32, under small secrets.
    Small = 32,
    /// 2^64, under the secrets of rings.
    Big = 64,
}

impl Modulus {
    /// Its inverse, squared.
    fn unit(self) -> f64 {
        libm::exp2(-2.0 * f64::from(self as u32))
    }
}

/// Smallest variance of a ciphertext or key under a secret of `dimension` uniform bits that has 132 bits of security.
pub fn secure_variance(dimension: f64, modulus: Modulus) -> f64 {
    16.0 * modulus.unit() + libm::exp2(5.314_691_876_750_68 - 0.049_782_913_165_266_1 * dimension)
}

/// What switching from a ring's secret of `input` bits adds, by a switching key of variance `key` under `to`.
pub fn keyswitch(input: f64, key: f64, decomposition: Decomposition, to: Modulus) -> f64 {
    let (levels, rounding) = parts(decomposition);
    let (from, to) = (Modulus::Big.unit(), to.unit());
    levels * input * key * digit(decomposition) + input * (from / 48.0 + rounding / 24.0) + (to - from) / 12.0
}

/// What packing `together` ciphertexts under a secret of `input` bits adds to each, by a packing key of variance `key`.
pub fn packing(input: f64, key: f64, decomposition: Decomposition, together: f64) -> f64 {
    let (levels, rounding) = parts(decomposition);
    levels * input * together * key * digit(decomposition) + input * (Modulus::Big.unit() / 12.0 + rounding / 24.0)
}

/// What rounding a ciphertext under a secret of `input` bits to a modulus of `2^log_modulus` adds.
pub fn rounding(input: f64, log_modulus: u32) -> f64 {
    if log_modulus >= Modulus::Big as u32 {
        return 0.0;
    }
    let (from, to) = (Modulus::Big.unit(), libm::exp2(-2.0 * f64::from(log_modulus)));
    input * (from / 48.0 + to / 24.0) + (to - from) / 12.0
}

/// The variance after a blind rotation, whatever it was before: by a bootstrapping key of variance `key` for a small secret
/// of `small` bits, in a ring of degree `2^log_n` and rank `rank`.
pub fn bootstrap(small: f64, rank: u32, log_n: u32, key: f64, decomposition: Decomposition) -> f64 {
    small * bootstrap_step(rank, log_n, key, decomposition)
}

/// What each bit of the small secret adds in a [`bootstrap`].
pub fn bootstrap_step(rank: u32, log_n: u32, key: f64, decomposition: Decomposition) -> f64 {
    let (levels, rounding) = parts(decomposition);
    let unit = Modulus::Big.unit();
    let (k, n) = (f64::from(rank), libm::exp2(f64::from(log_n)));
    let transform = 0.007_05
        * libm::exp2(2.0 * (f64::from(decomposition.base_log) - MANTISSA))
        * libm::pow(levels, 1.018_27)
        * libm::pow(k, 1.220_03)
        * libm::exp2(2.220_03 * f64::from(log_n))
        * libm::pow(k + 1.0, 1.018_27);
    transform + levels * n * key * digit(decomposition) * (k + 1.0) - unit / 24.0
        + 0.5 * k * n * (unit / 48.0 + rounding / 24.0)
        + rounding / 24.0
}

/// What rounding to multiples of `2^-(log_n + 1)` adds to a ciphertext under `small` bits, once the mean that the mask tells
/// is taken off.
pub fn centred_switch(small: f64, log_n: u32) -> f64 {
    small * (Modulus::Small.unit() / 24.0 + libm::exp2(-2.0 * f64::from(log_n + 1)) / 48.0)
}

/// The number of levels, and the square of the smallest digit's weight.
fn parts(decomposition: Decomposition) -> (f64, f64) {
    let levels = f64::from(decomposition.levels);
    (levels, libm::exp2(-2.0 * levels * f64::from(decomposition.base_log)))
}

/// The mean square of a digit.
fn digit(decomposition: Decomposition) -> f64 {
    libm::exp2(2.0 * f64::from(decomposition.base_log)) / 12.0 + 1.0 / 6.0
}

/// log2 of the probability that Gaussian noise of that variance leaves ±`half_box`: −∞ without noise, 0 without a box or where
/// the variance is no number.
pub fn log2_failure(half_box: f64, variance: f64) -> f64 {
    if half_box <= 0.0 || variance.is_nan() {
        return 0.0;
    }
    log2_erfc(half_box / (2.0 * variance.max(0.0)).sqrt())
}

/// The largest variance with which ±`half_box` is left with a probability of at most `2^log2_failure`.
pub fn largest_variance(half_box: f64, log2_failure: f64) -> f64 {
    let (mut low, mut high) = (0.0, 64.0);
    for _ in 0..64 {
        let middle = 0.5 * (low + high);
        if log2_erfc(middle) <= log2_failure {
            high = middle;
        } else {
            low = middle;
        }
    }
    let ratio = half_box / high;
    0.5 * ratio * ratio
}

/// log2 of the complementary error function for `x >= 0`: in the tail, where that is no double, by its continued fraction.
fn log2_erfc(x: f64) -> f64 {
    if x < 3.0 {
        return libm::log2(libm::erfc(x));
    }
    if x.is_infinite() {
        return f64::NEG_INFINITY;
    }
    let fraction = (1..=80).rev().fold(x, |rest, i| x + 0.5 * f64::from(i) / rest);
    -x * x * std::f64::consts::LOG2_E - libm::log2(fraction * std::f64::consts::PI.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64, relative: f64) {
        assert!((a / b - 1.0).abs() < relative, "{a:e} is not {b:e}");
    }

    fn decomposition(base_log: u32, levels: u32) -> Decomposition {
        Decomposition { base_log, levels }
    }

    /// The modulus as the formulas of the library have it.
    const M: f64 = 18_446_744_073_709_551_616.0;

    #[test]
    fn variances_are_those_of_the_formulas_by_hand() {
        assert_eq!(Modulus::Big.unit(), M.powi(-2));
        // 2^(5.3146… − 0.04978… · 808) = 2^−34.9099…
        close(secure_variance(808.0, Modulus::Big), 2f64.powf(-34.909_901_960_784_33), 1e-12);
        close(secure_variance(2048.0, Modulus::Big), 2f64.powf(-96.640_714_285_714) + 2f64.powi(-124), 1e-11);
        close(secure_variance(4096.0, Modulus::Big), 2f64.powi(-124), 1e-12);
        close(secure_variance(2048.0, Modulus::Small), 2f64.powi(-60), 1e-10);
        // Five levels of three bits from 2048: 5·2048·key·(64/12 + 1/6) + 2048·2^−30/24.
        let key = secure_variance(808.0, Modulus::Small);
        close(keyswitch(2048.0, key, decomposition(3, 5), Modulus::Small), 56_320.0 * key + 2048.0 / 24.0 / 2f64.powi(30), 1e-12);
        // 808/48 of (2·2048)^−2.
        close(centred_switch(808.0, 11), 808.0 / 48.0 / 4096f64.powi(2), 1e-10);
        // One level of 22 bits, k = 1, N = 2048.
        let (b, key) = (2f64.powi(44), secure_variance(2048.0, Modulus::Big));
        let by_hand = 0.00705 * 2f64.powi(22 + 44 - 128) * 2048f64.powf(2.22003) * 2f64.powf(1.01827)
            + 2048.0 * key * (b / 12.0 + 1.0 / 6.0) * 2.0
            + 1025.0 / 24.0 / b;
        close(bootstrap(808.0, 1, 11, key, decomposition(22, 1)), 808.0 * by_hand, 1e-9);
    }

    #[test]
    fn failure_is_right_far_out_and_joins_smoothly() {
        // Two-sided tails of the normal distribution: 1.96 σ is 5 %, 6 σ is 1.973e−9.
        close(log2_failure(1.959_963_984_540_054, 1.0), 0.05f64.log2(), 1e-12);
        close(log2_failure(6.0, 1.0), 1.973_175_290_075_396e-9_f64.log2(), 1e-12);
        // 40 σ: 7.31e−350, below every double.
        close(log2_failure(40.0, 1.0), 7.312_18f64.log2() - 350.0 * 10f64.log2(), 1e-7);
        let (below, above) = (log2_erfc(3.0 - 1e-12), log2_erfc(3.0));
        assert!((below - above).abs() < 1e-9, "{below} {above}");
        assert_eq!(log2_failure(0.1, 0.0), f64::NEG_INFINITY);
        assert_eq!(log2_failure(0.0, 0.1), 0.0);
        assert_eq!(log2_failure(0.1, f64::INFINITY), 0.0);
        assert_eq!(log2_failure(0.1, f64::NAN), 0.0);
    }

    #[test]
    fn the_largest_variance_just_holds() {
        for (half_box, failure) in [(0.25, -64.0), (2f64.powi(-7), -128.0), (2f64.powi(-20), -10.0)] {
            let variance = largest_variance(half_box, failure);
            assert!(log2_failure(half_box, variance) <= failure);
            assert!(log2_failure(half_box, variance * 1.001) > failure);
        }
    }

    #[test]
    fn noise_grows_with_what_it_should_grow_with() {
        let small = |n| secure_variance(n, Modulus::Small);
        for n in (500..1200).step_by(10).map(f64::from) {
            assert!(small(n + 10.0) < small(n));
            assert!(centred_switch(n + 10.0, 11) > centred_switch(n, 11));
            let switch = |n| keyswitch(2048.0, small(n), decomposition(3, 5), Modulus::Small);
            assert!(switch(n + 10.0) < switch(n));
            let key = secure_variance(2048.0, Modulus::Big);
            assert!(bootstrap(n + 10.0, 1, 11, key, decomposition(22, 1)) > bootstrap(n, 1, 11, key, decomposition(22, 1)));
        }
    }
}
