//! Bootstraps that the runtime knows, as data: what they take, what they give, their circuits and keys, and what security
//! is counted on.
//!
//! All are dense: every slot is refreshed. Slots must be real. The circuit is that of Cheon et al. (eprint 2018/153) in the
//! order slots to coefficients, raise of the modulus, coefficients to slots, reduction by a cosine (Han and Ki, eprint
//! 2019/688), under a sparse secret that lives only around the raise (Bossuat et al., eprint 2022/024). The scales inside
//! follow the scale of the ciphertexts: whatever is finer than the rounding of the operand is wasted.

use std::collections::BTreeMap;

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
    /// log2 of the number of slots it refreshes: `log_n - 1`, all of them.
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
    /// Double-angle steps after it; with a polynomial of degree 30 the reduction is eight products deep.
    pub doublings: u32,
}

/// Products on the longest path of the reduction.
const REDUCE_DEPTH: u32 = 8;

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
    if SCALES.contains(&scale) { family.at(scale) } else { None }
}

/// Every bootstrap at one scale, those for tests last.
pub fn offers(scale: u32) -> Vec<Bootstrap> {
    FAMILIES.iter().filter_map(|family| offer(family.name, scale)).collect()
}

/// What the offers of a name have in common.
struct Family {
    name: &'static str,
    log_n: u32,
    bootstrap_k: u32,
    /// Bits of the scale that the result's rounding takes.
    rounding: u32,
    decode: [(u32, u32); 3],
    encode: [(u32, u32); 3],
}

const DENSE_16: Family = Family {
    name: "dense-16",
    log_n: 16,
    bootstrap_k: 1300,
    rounding: 15,
    decode: [(4, 4), (5, 128), (6, 4096)],
    encode: [(5, 4096), (5, 256), (5, 8)],
};

/// The widths are the largest for which the widest keys have 3, 5 and 13 digits.
const FAMILIES: [Family; 4] = [
    Family { name: "dense-16-narrow", bootstrap_k: 1248, ..DENSE_16 },
    DENSE_16,
    Family { name: "dense-16-wide", bootstrap_k: 1400, ..DENSE_16 },
    Family {
        name: "insecure-dense-10",
        log_n: 10,
        bootstrap_k: 1000,
        rounding: 14,
        decode: [(3, 4), (3, 4), (3, 4)],
        encode: [(3, 4), (3, 4), (3, 4)],
    },
];

const BASE2K: u32 = 52;
const HAMMING_WEIGHT: u32 = 1024;
const SPARSE_HAMMING_WEIGHT: u32 = 32;
/// The weight in rings too small for the other.
const TEST_HAMMING_WEIGHT: u32 = 192;

impl Family {
    fn at(&self, scale: u32) -> Option<Bootstrap> {
        let circuit = Circuit {
            decode: self.decode.to_vec(),
            decode_scale: scale - 4,
            ratio: 13,
            guard: 8,
            encode: self.encode.to_vec(),
            encode_scale: (scale + 18).min(54),
            reduce_scale: (scale + 22).min(60),
            coefficient_scale: (scale + 6).min(46),
            degree: 30,
            interval: 16,
            doublings: 3,
        };
        let matrices = |list: &[(u32, u32)], scale| list.len() as u32 * scale;
        let input_k = scale + circuit.ratio + matrices(&circuit.decode, circuit.decode_scale);
        let after_encode = self.bootstrap_k - matrices(&circuit.encode, circuit.encode_scale);
        let output_k = after_encode - REDUCE_DEPTH * circuit.reduce_scale - circuit.guard;

        // The small ring is insecure anyway: it takes the bounds of a large one.
        let insecure = self.name.starts_with(INSECURE);
        let bound = |weight| max_log_modulus_of_weight(if insecure { 16 } else { self.log_n }, weight);
        let (dense, sparse) = (bound(HAMMING_WEIGHT)?, bound(SPARSE_HAMMING_WEIGHT)?);
        let shape = |k, bound| key_shape(self.log_n, BASE2K, k, bound);
        let widths = rotation_widths(self.log_n, self.bootstrap_k, input_k, &circuit);
        let rotations = widths.into_iter().map(|(by, k)| Some(RotationKey { by, shape: shape(k, dense)? }));
        let to_dense = shape(scale + circuit.ratio + circuit.guard, sparse)?;
        let keys = BootstrapKeys {
            relinearisation: shape(after_encode + 1, dense)?,
            conjugation: shape(after_encode, dense)?,
            rotations: rotations.collect::<Option<_>>()?,
            to_sparse: shape(scale + circuit.ratio, sparse)?,
            to_dense,
            to_dense_offset: self.bootstrap_k - to_dense.dnum * to_dense.digit,
        };
        let mut bootstrap = Bootstrap {
            name: self.name.to_owned(),
            log_n: self.log_n,
            log_slots: self.log_n - 1,
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
            // The sine's error is that of a cube: 2^-23 for a slot of 1.
            precision: (scale - self.rounding).min(22),
            circuit,
            keys,
        };
        // The first is the one under the sparse secret.
        let under_dense = bootstrap.key_shapes().into_iter().skip(1).map(|(shape, offset)| shape.log_modulus() + offset);
        bootstrap.log_modulus = under_dense.max()?.max(self.bootstrap_k);
        Some(bootstrap)
    }
}

/// Rotations of the transforms, and the widest ciphertext that each switches. A matrix of `layers` layers above `low` others
/// rotates by sums of powers of two, from `2^low`, and back by the next power, except the one at the top.
fn rotation_widths(log_n: u32, bootstrap_k: u32, input_k: u32, circuit: &Circuit) -> BTreeMap<i64, u32> {
    let (log_slots, slots) = (log_n - 1, 1i64 << (log_n - 1));
    let mut widths = BTreeMap::new();
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
    let (mut low, mut k) = (log_slots, bootstrap_k);
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
