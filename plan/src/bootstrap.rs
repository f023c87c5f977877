//! Bootstraps that the runtime knows, as data: what they take, what they give, and what security is counted on.
//!
//! All are dense: every slot is refreshed. Slots must be real. Circuits are those of "Bootstrapping for Approximate
//! Homomorphic Encryption" (Cheon et al., eprint 2018/153) in the order slots to coefficients, modulus raise,
//! coefficients to slots, modular reduction by a cosine (Han and Ki, eprint 2019/688), under a sparse secret that lives
//! only around the raise (Bossuat et al., eprint 2022/024).

use serde::{Deserialize, Serialize};

/// Names of bootstraps with less than 128 bits of security start so.
pub const INSECURE: &str = "insecure-";

/// A bootstrap: it takes a ciphertext of at least `input_k` bits and gives one of `output_k`, both at `scale`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Under which the runtime knows its circuit.
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
    /// Bytes of its keys as they cross.
    pub key_bytes: u64,
}

impl Bootstrap {
    /// Whether it is for tests only.
    pub fn is_insecure(&self) -> bool {
        self.name.starts_with(INSECURE)
    }

    /// Bits that a ciphertext gains.
    pub fn gain(&self) -> u32 {
        self.output_k - self.input_k
    }
}

/// Scales that bootstraps are offered at.
pub const SCALES: std::ops::RangeInclusive<u32> = 26..=40;

/// The bootstrap of that name, for ciphertexts at that scale.
pub fn offer(name: &str, scale: u32) -> Option<Bootstrap> {
    let family = FAMILIES.iter().find(|family| family.name == name)?;
    SCALES.contains(&scale).then(|| family.at(scale))
}

/// Every bootstrap at one scale, those for tests last.
pub fn offers(scale: u32) -> Vec<Bootstrap> {
    FAMILIES.iter().filter_map(|family| offer(family.name, scale)).collect()
}

/// What the offers of a name have in common.
struct Family {
    name: &'static str,
    log_n: u32,
    /// What the operand has beside the scale: the ratio of modulus and message at the raise, and the bits that the
    /// transform before it spends.
    below: u32,
    output_k: u32,
    /// What the circuit after the raise spends.
    spent: u32,
    hamming_weight: u32,
    log_modulus: u32,
    sparse_log_modulus: u32,
    precision: u32,
    key_bytes: u64,
}

const FAMILIES: [Family; 2] = [
    Family {
        name: "dense-16",
        log_n: 16,
        below: 103,
        output_k: 720,
        spent: 620,
        hamming_weight: 1024,
        log_modulus: 1680,
        sparse_log_modulus: 120,
        precision: 16,
        key_bytes: 0,
    },
    Family {
        name: "insecure-dense-10",
        log_n: 10,
        below: 103,
        output_k: 400,
        spent: 620,
        hamming_weight: 192,
        log_modulus: 1680,
        sparse_log_modulus: 120,
        precision: 16,
        key_bytes: 0,
    },
];

impl Family {
    fn at(&self, scale: u32) -> Bootstrap {
        Bootstrap {
            name: self.name.to_owned(),
            log_n: self.log_n,
            log_slots: self.log_n - 1,
            scale,
            input_k: scale + self.below,
            output_k: self.output_k,
            bootstrap_k: self.output_k + self.spent,
            base2k: 52,
            hamming_weight: self.hamming_weight,
            sparse_hamming_weight: 32,
            log_modulus: self.log_modulus,
            sparse_log_modulus: self.sparse_log_modulus,
            log_bound: 0,
            precision: self.precision,
            key_bytes: self.key_bytes,
        }
    }
}
