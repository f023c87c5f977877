//! How wide a modulus may be, and the shape of evaluation keys under that bound.
//!
//! Bounds are those of "Security Guidelines for Implementing Homomorphic Encryption" (Bossuat et al., eprint 2024/463,
//! Table 4.2: classical attacks, ternary secrets, error of standard deviation 3.2) on log2 of the whole modulus, keys included.

use crate::KeyShape;

/// Smallest and largest supported log2 of the ring degree.
pub const LOG_N: std::ops::RangeInclusive<u32> = 12..=17;

/// Largest log2 of the modulus for a ring of degree `2^log_n` at `bits` of security (128, 192 or 256), or `None` outside
/// the tables.
pub fn max_log_modulus(log_n: u32, bits: u32) -> Option<u32> {
    let row: [u32; 3] = match log_n {
        12 => [106, 73, 56],
        13 => [214, 147, 114],
        14 => [430, 297, 230],
        15 => [868, 597, 462],
        16 => [1747, 1199, 929],
        17 => [3523, 2411, 0],
        _ => return None,
    };
    let bound = match bits {
        128 => row[0],
        192 => row[1],
        256 => row[2],
        _ => return None,
    };
    (bound > 0).then_some(bound)
}

/// Largest log2 of the modulus for a ternary secret of that Hamming weight at 128 bits: estimates of the primal hybrid attack
/// of eprint 2026/279, from the tables of `sparse-key-estimate` (github.com/jdumezy/sparse-key-estimate, aa2c40d), or `None`
/// outside them.
pub fn max_log_modulus_of_weight(log_n: u32, hamming_weight: u32) -> Option<u32> {
    match (log_n, hamming_weight) {
        (15, 1024) => Some(851),
        (15, 32) => Some(162),
        (16, 1024) => Some(1707),
        (16, 32) => Some(345),
        _ => None,
    }
}

/// The key with the fewest digits that switches ciphertexts of `k` bits under a modulus of at most `bound` bits, in limbs
/// of `base2k` bits. The guard bits exceed a digit, so that what the switch adds stays below the rounding of its result.
/// `None` if no key fits.
pub fn key_shape(log_n: u32, base2k: u32, k: u32, bound: u32) -> Option<KeyShape> {
    (1..=k.div_ceil(base2k))
        .filter_map(|limbs| {
            let digit = limbs * base2k;
            let dnum = k.div_ceil(digit);
            let gadget = dnum * digit;
            let aux = (digit + log_n).min(bound.saturating_sub(gadget));
            (aux >= digit && gadget + aux >= k + digit + 2).then_some(KeyShape { k, digit, dnum, aux })
        })
        .min_by_key(|shape| (shape.dnum, shape.digit))
}

/// Widest ciphertext for which a key fits under `bound`.
pub fn max_k(log_n: u32, base2k: u32, bound: u32) -> u32 {
    (1..=bound).rev().find(|&k| key_shape(log_n, base2k, k, bound).is_some()).unwrap_or(0)
}
