//! Bootstraps that the runtime knows, as data: what they take, what they give, their circuits and keys, and what security
//! is counted on.
//!
//! A dense one refreshes every slot. A sparse one refreshes `2^log_slots`, which must repeat through the ciphertext: the slot
//! `i` equals that at `i mod 2^log_slots`. Slots must be real. The circuit is that of Cheon et al. (eprint 2018/153) in the
//! order slots to coefficients, raise of the modulus, coefficients to slots, reduction by a cosine (Han and Ki, eprint
//! 2019/688), under a sparse secret that lives only around the raise (Bossuat et al., eprint 2022/024). A sparse one has a
//! trace after the raise, which averages the copies of a slot, and transforms of few slots. The scales inside follow the scale
//! of the ciphertexts: whatever is finer than the rounding of the operand is wasted.
//!
//! Names: `dense-16` is for all slots of the ring of degree 2^16, some with a word for the width; `sparse-15-512` is for 512
//! slots that repeat in that of degree 2^15.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::security::{key_shape, max_log_modulus_of_weight};
use crate::{KeyShape, RotationKey};

/// Names of bootstraps with less than 128 bits of security start so.
pub const INSECURE: &str = "insecure-";
/// Scales that bootstraps are offered at.
pub const SCALES: std::ops::RangeInclusive<u32> = 26..=40;

/// A bootstrap: it takes a ciphertext of at least `input_k` bits and gives one of `output_k`, both at `scale`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Its name; the others of a name differ in scale.
    pub name: String,
    /// log2 of the ring degree.
    pub log_n: u32,
    /// log2 of the number of slots it refreshes: `log_n - 1`, all of them, or fewer, which fill the ciphertext repeated.
    pub log_slots: u32,
    /// Scale of operand and result.
    pub scale: u32,
    /// Narrowest operand.
    pub input_k: u32,
    /// Width of the result.
    pub output_k: u32,
    /// Width right after the modulus is raised.
    pub bootstrap_k: u32,
    /// Bits of a limb.
    pub base2k: u32,
    /// Hamming weight of the ternary secret.
    pub hamming_weight: u32,
    /// Hamming weight of the secret around the raise.
    pub sparse_hamming_weight: u32,
    /// log2 of the widest modulus under the secret.
    pub log_modulus: u32,
    /// log2 of the widest modulus under the sparse secret.
    pub sparse_log_modulus: u32,
    /// log2 of the largest slot for which `precision` holds.
    pub log_bound: u32,
    /// Bits after the point that all slots of the result have in common with the operand's.
    pub precision: u32,
    /// What it does.
    pub circuit: Circuit,
    /// What the server needs for it.
    pub keys: BootstrapKeys,
}

/// The stages of a bootstrap. A transform is a product of sparse matrices; each takes a number of layers of the butterfly,
/// with baby and giant steps of so many slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circuit {
    /// Slots to coefficients: layers and giant step of each matrix.
    pub decode: Vec<(u32, u32)>,
    /// Scale of its matrices.
    pub decode_scale: u32,
    /// log2 of the modulus over the scale at the raise: what a slot may reach, and how linear the sine is.
    pub ratio: u32,
    /// Bits of scale that are added at the raise.
    pub guard: u32,
    /// Coefficients to slots.
    pub encode: Vec<(u32, u32)>,
    /// Scale of its matrices.
    pub encode_scale: u32,
    /// Scale of the reduction.
    pub reduce_scale: u32,
    /// Scale of the coefficients of its polynomial.
    pub coefficient_scale: u32,
    /// Degree of its polynomial.
    pub degree: u32,
    /// The polynomial approximates the cosine over ±that many moduli.
    pub interval: u32,
    /// Double-angle steps after it.
    pub doublings: u32,
}

impl Circuit {
    /// Products on the longest path of the reduction: the polynomial is even, and is evaluated in the square.
    pub fn depth(&self) -> u32 {
        1 + (self.degree / 2 + 1).next_power_of_two().ilog2() + self.doublings
    }
}

/// Evaluation keys of a bootstrap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootstrapKeys {
    /// For the products of the reduction.
    pub relinearisation: KeyShape,
    /// For complex conjugation.
    pub conjugation: KeyShape,
    /// Rotations of the transforms.
    pub rotations: Vec<RotationKey>,
    /// From the secret to the sparse one.
    pub to_sparse: KeyShape,
    /// Back: it switches the raised ciphertext, which is small, `to_dense_offset` bits below the top.
    pub to_dense: KeyShape,
    /// Bits over the rows of that key.
    pub to_dense_offset: u32,
}

impl Bootstrap {
    /// Whether it is for tests only.
    pub fn is_insecure(&self) -> bool {
        self.name.starts_with(INSECURE)
    }

    /// log2 of how often the slots repeat in a ciphertext: the trace that averages the copies makes them add up.
    pub fn log_copies(&self) -> u32 {
        self.log_n - 1 - self.log_slots
    }

    /// Bits that the narrowest operand gains.
    pub fn gain(&self) -> u32 {
        self.output_k - self.input_k
    }

    /// Shapes of all keys, that to the sparse secret first, and the bits over their rows.
    pub fn key_shapes(&self) -> Vec<(KeyShape, u32)> {
        let BootstrapKeys { relinearisation, conjugation, rotations, to_sparse, to_dense, to_dense_offset } = &self.keys;
        let whole = [to_sparse, relinearisation, conjugation].into_iter().chain(rotations.iter().map(|key| &key.shape));
        whole.map(|shape| (*shape, 0)).chain([(*to_dense, *to_dense_offset)]).collect()
    }
}

/// The bootstrap of that name, for ciphertexts at that scale.
pub fn offer(name: &str, scale: u32) -> Option<Bootstrap> {
    let family = FAMILIES.iter().find(|family| family.name == name)?;
    if (*SCALES.start()..=family.finest).contains(&scale) { family.at(scale) } else { None }
}

/// Every bootstrap at one scale: the dense ones, those for tests last, then the sparse ones, likewise.
pub fn offers(scale: u32) -> Vec<Bootstrap> {
    FAMILIES.iter().filter_map(|family| offer(&family.name, scale)).collect()
}

/// What the offers of a name have in common.
struct Family {
    name: String,
    log_n: u32,
    log_slots: u32,
    bootstrap_k: u32,
    /// Bits of the scale that the result's rounding takes.
    rounding: u32,
    /// The largest scale that it is offered at: above it, measured, the result is no more precise.
    finest: u32,
    /// Whether bits are scarce: scales inside are as small as the precision of the result allows.
    scarce: bool,
    decode: Vec<(u32, u32)>,
    encode: Vec<(u32, u32)>,
}

static FAMILIES: LazyLock<Vec<Family>> = LazyLock::new(|| dense().into_iter().chain(sparse()).collect());

/// At 2^16 the widths are the largest for which the widest keys have 3, 5 and 13 digits.
fn dense() -> Vec<Family> {
    let secure = |name: &str, bootstrap_k| Family {
        name: name.to_owned(),
        log_n: 16,
        log_slots: 15,
        bootstrap_k,
        rounding: 15,
        finest: *SCALES.end(),
        scarce: false,
        decode: vec![(4, 4), (5, 128), (6, 4096)],
        encode: vec![(5, 4096), (5, 256), (5, 8)],
    };
    let small = Family {
        name: "insecure-dense-10".to_owned(),
        log_n: 10,
        log_slots: 9,
        bootstrap_k: 1000,
        rounding: 14,
        finest: *SCALES.end(),
        scarce: false,
        decode: vec![(3, 4), (3, 4), (3, 4)],
        encode: vec![(3, 4), (3, 4), (3, 4)],
    };
    let half = Family { finest: 32, ..scarce("dense-15".to_owned(), 15, 14, SCARCE_K, 16) };
    let small_half = Family { finest: 32, ..scarce("insecure-dense-13".to_owned(), 13, 12, SCARCE_K, 16) };
    vec![half, secure("dense-16-narrow", 1248), secure("dense-16", 1300), secure("dense-16-wide", 1400), small, small_half]
}

/// The largest width that a key switches at 2^15.
const SCARCE_K: u32 = 780;

/// At 2^15 the width is the largest that a key switches, for bits are scarce there; at 2^16 the largest for which the keys
/// have 3 digits.
fn sparse() -> Vec<Family> {
    let secure = |log_n: u32, bootstrap_k| {
        move |log_slots: u32| scarce(format!("sparse-{log_n}-{}", 1 << log_slots), log_n, log_slots, bootstrap_k, 16)
    };
    let small = scarce("insecure-sparse-10-16".to_owned(), 10, 4, 780, 15);
    (6..=11).map(secure(15, SCARCE_K)).chain((8..=12).map(secure(16, 1248))).chain([small]).collect()
}

/// A family with small scales, and transforms of one or two matrices.
fn scarce(name: String, log_n: u32, log_slots: u32, bootstrap_k: u32, rounding: u32) -> Family {
    let (decode, encode) = if log_slots > MOST_LAYERS {
        let (low, high) = (log_slots / 2, log_slots.div_ceil(2));
        (vec![matrix(0, low), matrix(low, high)], vec![matrix(low, high), matrix(0, low)])
    } else {
        (vec![matrix(0, log_slots)], vec![matrix(0, log_slots)])
    };
    Family { name, log_n, log_slots, bootstrap_k, rounding, finest: *SCALES.end(), scarce: true, decode, encode }
}

/// Most layers of the only matrix of a transform. A matrix has about `2^layers` diagonals, so that two are faster above, by
/// more than their scales cost.
const MOST_LAYERS: u32 = 7;

/// A matrix of `layers` layers above `low`: its giant step halves them.
fn matrix(low: u32, layers: u32) -> (u32, u32) {
    (layers, 1 << (low + layers.div_ceil(2)))
}

const BASE2K: u32 = 52;
const HAMMING_WEIGHT: u32 = 1024;
const SPARSE_HAMMING_WEIGHT: u32 = 32;
/// The weight in rings too small for the other.
const TEST_HAMMING_WEIGHT: u32 = 192;

impl Family {
    fn circuit(&self, scale: u32) -> Circuit {
        let (decode, encode) = (self.decode.clone(), self.encode.clone());
        let dense = self.log_slots + 1 == self.log_n;
        // Of few slots, one double-angle step after a higher degree is a product less deep than three steps. The fit keeps 22
        // bits up to nine moduli, 18 at ten and 10 at eleven; with 32 coefficients of the secret set, a slot has eleven with a
        // chance below 2^-32 and more with one below 2^-41. That is too often where all slots are refreshed.
        let (degree, interval, doublings) = if dense { (30, 16, 3) } else { (60, 12, 1) };
        if !self.scarce {
            return Circuit {
                decode,
                decode_scale: scale - 4,
                ratio: 13,
                guard: 8,
                encode,
                encode_scale: (scale + 18).min(54),
                reduce_scale: (scale + 22).min(60),
                coefficient_scale: (scale + 6).min(46),
                degree,
                interval,
                doublings,
            };
        }
        let layers = |list: &[(u32, u32)]| list.iter().map(|matrix| matrix.0).max().unwrap_or(0);
        // Half a bit of ratio for one of scale: the sine's error, which is quadratic in it, stays below the rounding.
        let ratio = (scale - 7).div_euclid(2).clamp(10, 13);
        Circuit {
            // More layers sum up more rounded products.
            decode_scale: scale + layers(&decode) - 13,
            decode,
            ratio,
            // The trace multiplies by the number of copies, and guards as well.
            guard: if dense { 8 } else { 0 },
            encode_scale: (scale + 4 + 3 * layers(&encode) / 2).min(54),
            encode,
            reduce_scale: (scale + ratio + 7).min(60),
            coefficient_scale: (scale + 12).min(50),
            degree,
            interval,
            doublings,
        }
    }

    fn at(&self, scale: u32) -> Option<Bootstrap> {
        let circuit = self.circuit(scale);
        let matrices = |list: &[(u32, u32)], scale| list.len() as u32 * scale;
        let input_k = scale + circuit.ratio + matrices(&circuit.decode, circuit.decode_scale);
        let log_copies = self.log_n - 1 - self.log_slots;
        let after_encode = self.bootstrap_k - matrices(&circuit.encode, circuit.encode_scale);
        let spent = circuit.depth() * circuit.reduce_scale + circuit.guard + log_copies;
        // What no product is left of is no refresh.
        let output_k = after_encode.checked_sub(spent).filter(|&k| k >= input_k + scale)?;

        // The small ring is insecure anyway: it takes the bounds of a large one.
        let insecure = self.name.starts_with(INSECURE);
        let bound = |weight| max_log_modulus_of_weight(if insecure { 16 } else { self.log_n }, weight);
        let (dense, sparse) = (bound(HAMMING_WEIGHT)?, bound(SPARSE_HAMMING_WEIGHT)?);
        let shape = |k, bound| key_shape(self.log_n, BASE2K, k, bound);
        let widths = self.rotation_widths(input_k, &circuit);
        let rotations = widths.into_iter().map(|(by, k)| Some(RotationKey { by, shape: shape(k, dense)? }));
        let to_dense = shape(scale + circuit.ratio + circuit.guard, sparse)?;
        // The reduction keeps the bits over the scale, and has a larger one.
        let more = circuit.reduce_scale.saturating_sub(scale + circuit.ratio + circuit.guard + log_copies).max(1);
        let keys = BootstrapKeys {
            relinearisation: shape(after_encode + more, dense)?,
            conjugation: shape(after_encode, dense)?,
            rotations: rotations.collect::<Option<_>>()?,
            to_sparse: shape(scale + circuit.ratio, sparse)?,
            to_dense,
            to_dense_offset: self.bootstrap_k - to_dense.dnum * to_dense.digit,
        };
        let mut bootstrap = Bootstrap {
            name: self.name.clone(),
            log_n: self.log_n,
            log_slots: self.log_slots,
            scale,
            input_k,
            output_k,
            bootstrap_k: self.bootstrap_k,
            base2k: BASE2K,
            hamming_weight: if insecure { TEST_HAMMING_WEIGHT } else { HAMMING_WEIGHT },
            sparse_hamming_weight: SPARSE_HAMMING_WEIGHT,
            log_modulus: self.bootstrap_k,
            sparse_log_modulus: keys.to_sparse.log_modulus(),
            log_bound: 0,
            // The sine's error is that of a cube: 2^-23 for a slot of 1 where the ratio is 13.
            precision: (scale - self.rounding).min(2 * circuit.ratio - 4),
            circuit,
            keys,
        };
        // The first is the one under the sparse secret.
        let under_dense = bootstrap.key_shapes().into_iter().skip(1).map(|(shape, offset)| shape.log_modulus() + offset);
        bootstrap.log_modulus = under_dense.max()?.max(self.bootstrap_k);
        Some(bootstrap)
    }

    /// Rotations of the trace and of the transforms, and the widest ciphertext that each switches. A matrix of `layers` layers
    /// above `low` others rotates by sums of powers of two, from `2^low`, and back by the next power, except the one at the
    /// top. The trace rotates by the powers from the number of slots on.
    fn rotation_widths(&self, input_k: u32, circuit: &Circuit) -> BTreeMap<i64, u32> {
        let (log_slots, slots) = (self.log_slots, 1i64 << self.log_slots);
        let mut widths: BTreeMap<i64, u32> = (log_slots..self.log_n - 1).map(|power| (1 << power, self.bootstrap_k)).collect();
        let mut need = |by: i64, k: u32| {
            let width: &mut u32 = widths.entry(by).or_default();
            *width = k.max(*width);
        };
        let mut matrix = |low: u32, layers: u32, k: u32| {
            let high = low + layers;
            (low..high).for_each(|layer| need(1 << layer, k));
            if high < log_slots {
                need(slots - (1 << high), k);
            }
        };
        let (mut low, mut k) = (log_slots, self.bootstrap_k);
        for &(layers, _) in &circuit.encode {
            low -= layers;
            matrix(low, layers, k);
            k -= circuit.encode_scale;
        }
        (low, k) = (0, input_k);
        for &(layers, _) in &circuit.decode {
            matrix(low, layers, k);
            low += layers;
            k -= circuit.decode_scale;
        }
        widths
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moduli_are_within_the_bounds_of_their_rings() {
        for bootstrap in SCALES.flat_map(offers).filter(|bootstrap| !bootstrap.is_insecure()) {
            let bound = |weight| max_log_modulus_of_weight(bootstrap.log_n, weight).expect("a bound");
            let Bootstrap { name, scale, hamming_weight, sparse_hamming_weight, .. } = &bootstrap;
            assert!(bootstrap.log_modulus <= bound(*hamming_weight), "{name} at {scale}: {}", bootstrap.log_modulus);
            assert!(bootstrap.sparse_log_modulus <= bound(*sparse_hamming_weight), "{name} at {scale}");
        }
    }

    #[test]
    fn names_tell_offers_apart_and_each_gains() {
        for scale in SCALES {
            let all = offers(scale);
            let names: std::collections::BTreeSet<&str> = all.iter().map(|bootstrap| bootstrap.name.as_str()).collect();
            assert_eq!(names.len(), all.len());
            assert!(all.iter().all(|bootstrap| bootstrap.gain() >= scale));
        }
        assert!(offer("sparse-15-512", 30).is_some_and(|bootstrap| bootstrap.gain() >= 200));
        assert_eq!(offer("sparse-15-512", *SCALES.end() + 1), None);
        assert!(offer("dense-15", 32).is_some() && offer("dense-15", 33).is_none());
    }
}
