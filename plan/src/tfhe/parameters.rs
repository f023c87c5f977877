//! Rings, keys and their shapes.

use serde::{Deserialize, Serialize};

use crate::check::PlanError;
use crate::tfhe::noise::{self, Modulus};

/// Most bytes of all keys at the server.
pub const LARGEST_KEYS: u64 = 1 << 33;
/// Bits of a small secret.
pub const SMALL: std::ops::RangeInclusive<u32> = 500..=1500;
/// Bits of a ring's secret.
pub const BIG: std::ops::RangeInclusive<u32> = 1024..=32_768;
/// log2 of the degree of a ring.
pub const LOG_N: std::ops::RangeInclusive<u32> = 8..=15;
/// Most polynomials of a ring's secret.
pub const LARGEST_RANK: u32 = 16;
/// Most bits that digits keep: those of a double's mantissa.
pub const LARGEST_GADGET: u32 = 53;
/// Most bits that digits keep on the way to a small secret, under a modulus of 2^32.
pub const LARGEST_SMALL_GADGET: u32 = 31;
/// How much longer than it is a secret without security counts, so that its noise is that of real ones.
const INSECURE_STRETCH: u32 = 8;
/// log2 of the degree of a ring that values are packed in: no transform needs it to be large.
pub const PACKED_LOG_N: std::ops::RangeInclusive<u32> = 6..=11;
/// Most rings, lookups, switches or packing keys.
const MOST: usize = 16;

/// A ring and its secret, of `dimension` polynomials of degree `2^log_n`; their coefficients are the secret of the
/// ciphertexts of single values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ring {
    /// Polynomials of the secret.
    pub dimension: u32,
    /// log2 of the degree.
    pub log_n: u32,
}

impl Ring {
    /// The degree.
    pub fn degree(&self) -> u32 {
        1 << self.log_n
    }

    /// Bits of the secret.
    pub fn bits(&self) -> u32 {
        self.dimension << self.log_n
    }
}

/// A ring of the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RingId(pub u32);

/// Digits of a number: `levels` of them, of `base_log` bits each, from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Decomposition {
    /// Bits of a digit.
    pub base_log: u32,
    /// Digits.
    pub levels: u32,
}

/// Keys for a lookup: a switch to a small secret, and a blind rotation by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Lookup {
    /// Where the operand is.
    pub from: RingId,
    /// Bits of the small secret.
    pub small: u32,
    /// Digits of the operand.
    pub switch: Decomposition,
    /// Where the result is.
    pub to: RingId,
    /// Digits of the accumulator.
    pub rotation: Decomposition,
}

/// Keys of a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LookupId(pub u32);

/// A key that takes ciphertexts from one ring's secret to another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Switch {
    /// Where the operand is.
    pub from: RingId,
    /// Where the result is.
    pub to: RingId,
    /// Digits of the operand.
    pub decomposition: Decomposition,
}

/// A key that packs ciphertexts of single values into ciphertexts of as many as a ring has coefficients, under a secret of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Packing {
    /// Where the operands are.
    pub from: RingId,
    /// The ring of the result, which is none of the plan's rings.
    pub to: Ring,
    /// Digits of the operands.
    pub decomposition: Decomposition,
}

/// A packing key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackingId(pub u32);

/// A key between rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SwitchId(pub u32);

/// Everything that both parties must agree on. The noise of a key or a fresh ciphertext is not in here: it is what the
/// length of its secret takes to be secure.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// 128, or 0 for tests.
    pub security_bits: u32,
    /// Rings.
    pub rings: Vec<Ring>,
    /// Lookups.
    pub lookups: Vec<Lookup>,
    /// Switches between rings.
    pub switches: Vec<Switch>,
    /// Keys that pack what goes back to the client.
    #[serde(default)]
    pub packings: Vec<Packing>,
}

/// Bytes of a key: as the client sends it, and as the server uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyBytes {
    /// With the seed of its uniform part.
    pub seeded: u64,
    /// In full.
    pub expanded: u64,
}

/// The variance of keys and fresh ciphertexts under a secret of that many bits.
pub fn variance(security_bits: u32, secret_bits: u32, modulus: Modulus) -> f64 {
    let stretch = if security_bits == 0 { INSECURE_STRETCH } else { 1 };
    noise::secure_variance(f64::from(secret_bits) * f64::from(stretch), modulus)
}

fn switch_key_bytes(from: u32, to: u32, decomposition: Decomposition, modulus: Modulus) -> KeyBytes {
    let rows = u64::from(from) * u64::from(decomposition.levels);
    let word = u64::from(modulus as u32 / 8);
    KeyBytes { seeded: 16 + word * rows, expanded: word * rows * u64::from(to + 1) }
}

impl Parameters {
    /// A ring, or one of nothing where there is none: a plan that passes its check has all it names.
    pub fn ring(&self, id: RingId) -> Ring {
        self.rings.get(id.0 as usize).copied().unwrap_or(Ring { dimension: 0, log_n: 0 })
    }

    /// The variance of fresh ciphertexts, and of the keys that encrypt under a ring's secret.
    pub fn fresh(&self, ring: RingId) -> f64 {
        variance(self.security_bits, self.ring(ring).bits(), Modulus::Big)
    }

    /// What is added to the noise of a lookup's operand before the lookup decides.
    pub fn added(&self, lookup: &Lookup) -> f64 {
        let from = f64::from(self.ring(lookup.from).bits());
        let key = variance(self.security_bits, lookup.small, Modulus::Small);
        noise::keyswitch(from, key, lookup.switch, Modulus::Small)
            + noise::centred_switch(f64::from(lookup.small), self.ring(lookup.to).log_n)
    }

    /// The variance of a lookup's result, whatever its operand's was.
    pub fn refreshed(&self, lookup: &Lookup) -> f64 {
        let ring = self.ring(lookup.to);
        noise::bootstrap(f64::from(lookup.small), ring.dimension, ring.log_n, self.fresh(lookup.to), lookup.rotation)
    }

    /// What a switch between rings adds.
    pub fn switched(&self, switch: &Switch) -> f64 {
        noise::keyswitch(f64::from(self.ring(switch.from).bits()), self.fresh(switch.to), switch.decomposition, Modulus::Big)
    }

    /// What packing so many values together adds to each.
    pub fn packed(&self, packing: &Packing, together: u32) -> f64 {
        let key = variance(self.security_bits, packing.to.bits(), Modulus::Big);
        noise::packing(f64::from(self.ring(packing.from).bits()), key, packing.decomposition, f64::from(together))
    }

    /// log2 of the probability that a lookup decides wrongly on an operand of that variance, where decisions lie `half_box`
    /// off.
    pub fn log2_failure(&self, lookup: &Lookup, variance: f64, half_box: f64) -> f64 {
        noise::log2_failure(half_box, variance + self.added(lookup))
    }

    /// Bytes of the two keys of a lookup: that of the switch, and that of the rotation.
    pub fn lookup_bytes(&self, lookup: &Lookup) -> (KeyBytes, KeyBytes) {
        let switch = switch_key_bytes(self.ring(lookup.from).bits(), lookup.small, lookup.switch, Modulus::Small);
        let ring = self.ring(lookup.to);
        let size = u64::from(ring.dimension + 1);
        let rows = u64::from(lookup.small) * u64::from(lookup.rotation.levels) * size;
        let words = rows << ring.log_n;
        (switch, KeyBytes { seeded: 16 + 8 * words, expanded: 8 * words * size })
    }

    /// Bytes of the key of a switch between rings.
    pub fn switch_bytes(&self, switch: &Switch) -> KeyBytes {
        switch_key_bytes(self.ring(switch.from).bits(), self.ring(switch.to).bits(), switch.decomposition, Modulus::Big)
    }

    /// Bytes of a packing key.
    pub fn packing_bytes(&self, packing: &Packing) -> KeyBytes {
        let rows = u64::from(self.ring(packing.from).bits()) * u64::from(packing.decomposition.levels);
        let words = rows << packing.to.log_n;
        KeyBytes { seeded: 16 + 8 * words, expanded: 8 * words * u64::from(packing.to.dimension + 1) }
    }

    /// Bytes of all keys.
    pub fn key_bytes(&self) -> KeyBytes {
        let lookups = self.lookups.iter().flat_map(|lookup| <[KeyBytes; 2]>::from(self.lookup_bytes(lookup)));
        let packings = self.packings.iter().map(|packing| self.packing_bytes(packing));
        let all = lookups.chain(self.switches.iter().map(|switch| self.switch_bytes(switch))).chain(packings);
        all.fold(KeyBytes::default(), |sum, key| KeyBytes {
            seeded: sum.seeded.saturating_add(key.seeded),
            expanded: sum.expanded.saturating_add(key.expanded),
        })
    }

    /// Bytes of so many fresh ciphertexts together: a seed, and a word for each.
    pub fn fresh_bytes(count: u64) -> u64 {
        16 + 8 * count
    }

    /// Bytes of a ciphertext in full.
    pub fn full_bytes(&self, ring: RingId) -> u64 {
        8 * (u64::from(self.ring(ring).bits()) + 1)
    }
}

/// What is wrong with parameters: nothing, or the library can take them and they are as secure as they say. The noise needs no
/// check: it follows from the lengths of the secrets.
pub fn verify(parameters: &Parameters) -> Vec<PlanError> {
    let mut errors = Vec::new();
    let mut refuse = |reason: String| errors.push(PlanError::Parameters(reason));
    let secure = match parameters.security_bits {
        128 => true,
        0 => false,
        bits => {
            refuse(format!("{bits} bits of security (128 is supported for lookups)"));
            return errors;
        }
    };
    let Parameters { rings, lookups, switches, packings, security_bits: _ } = parameters;
    if rings.is_empty() || [rings.len(), lookups.len(), switches.len(), packings.len()].iter().any(|&count| count > MOST) {
        refuse(format!("there must be a ring, and at most {MOST} rings, lookups, switches and packing keys"));
        return errors;
    }
    let shortest = |range: &std::ops::RangeInclusive<u32>| if secure { *range.start() } else { range.start() / INSECURE_STRETCH };
    for (index, ring) in rings.iter().enumerate() {
        let (rank, log_n) = (ring.dimension, ring.log_n);
        if !(1..=LARGEST_RANK).contains(&rank) || !LOG_N.contains(&log_n) {
            refuse(format!("ring {index} must have 1 to {LARGEST_RANK} polynomials of degree 2^{} to 2^{}", LOG_N.start(), LOG_N.end()));
        } else if !(shortest(&BIG)..=*BIG.end()).contains(&ring.bits()) {
            refuse(format!("the secret of ring {index} must have {} to {} bits, not {}", shortest(&BIG), BIG.end(), ring.bits()));
        }
    }
    for (index, packing) in packings.iter().enumerate() {
        let (rank, log_n) = (packing.to.dimension, packing.to.log_n);
        let (low, high) = (PACKED_LOG_N.start(), PACKED_LOG_N.end());
        let bits = u64::from(rank) << log_n.min(32);
        if !PACKED_LOG_N.contains(&log_n) || !(u64::from(shortest(&BIG))..=u64::from(*BIG.end())).contains(&bits) {
            refuse(format!(
                "packing key {index} must lead to a secret of {} to {} bits and a degree of 2^{low} to 2^{high}",
                shortest(&BIG),
                BIG.end()
            ));
        }
    }
    let mut digits = |what: &str, index: usize, d: Decomposition, most: u32| {
        if d.base_log == 0 || d.levels == 0 || d.levels.checked_mul(d.base_log).is_none_or(|bits| bits > most) {
            refuse(format!("{what} {index} must have digits of at least a bit, and at most {most} bits in all"));
        }
    };
    for (index, lookup) in lookups.iter().enumerate() {
        digits("the switch of lookup", index, lookup.switch, LARGEST_SMALL_GADGET);
        digits("the rotation of lookup", index, lookup.rotation, LARGEST_GADGET);
    }
    for (index, switch) in switches.iter().enumerate() {
        digits("switch", index, switch.decomposition, LARGEST_GADGET);
    }
    for (index, packing) in packings.iter().enumerate() {
        digits("packing key", index, packing.decomposition, LARGEST_GADGET);
    }
    let missing = |id: RingId| id.0 as usize >= rings.len();
    for (index, lookup) in lookups.iter().enumerate() {
        if missing(lookup.from) || missing(lookup.to) {
            errors.push(PlanError::Dangling { what: "lookup", index, target: "a ring".to_owned() });
        }
        if !(shortest(&SMALL)..=*SMALL.end()).contains(&lookup.small) {
            errors.push(PlanError::Parameters(format!(
                "the small secret of lookup {index} must have {} to {} bits, not {}",
                shortest(&SMALL),
                SMALL.end(),
                lookup.small
            )));
        }
    }
    for (index, switch) in switches.iter().enumerate() {
        if missing(switch.from) || missing(switch.to) {
            errors.push(PlanError::Dangling { what: "switch", index, target: "a ring".to_owned() });
        } else if switch.from == switch.to {
            errors.push(PlanError::Parameters(format!("switch {index} stays in its ring")));
        }
    }
    for (index, packing) in packings.iter().enumerate() {
        if missing(packing.from) {
            errors.push(PlanError::Dangling { what: "packing key", index, target: "a ring".to_owned() });
        }
    }
    if errors.is_empty() && parameters.key_bytes().expanded > LARGEST_KEYS {
        errors.push(PlanError::Parameters(format!("all keys together take more than {} GiB", LARGEST_KEYS >> 30)));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Parameters {
        let lookup = Lookup {
            from: RingId(0),
            small: 808,
            switch: Decomposition { base_log: 3, levels: 5 },
            to: RingId(1),
            rotation: Decomposition { base_log: 22, levels: 1 },
        };
        Parameters {
            security_bits: 128,
            rings: vec![Ring { dimension: 4, log_n: 9 }, Ring { dimension: 1, log_n: 11 }],
            lookups: vec![lookup],
            switches: vec![Switch { from: RingId(1), to: RingId(0), decomposition: Decomposition { base_log: 12, levels: 2 } }],
            packings: vec![Packing {
                from: RingId(1),
                to: Ring { dimension: 18, log_n: 6 },
                decomposition: Decomposition { base_log: 4, levels: 5 },
            }],
        }
    }

    #[test]
    fn good_parameters_pass_and_each_silly_one_is_refused() {
        assert_eq!(verify(&sample()), []);
        let silly: [fn(&mut Parameters); 28] = [
            |p| p.security_bits = 192,
            |p| p.rings.clear(),
            |p| p.rings = vec![p.rings[0]; 17],
            |p| p.lookups = vec![p.lookups[0]; 17],
            |p| p.rings[0].dimension = 0,
            |p| p.rings[0].dimension = u32::MAX,
            |p| p.rings[0].log_n = 40,
            |p| p.rings[0].log_n = u32::MAX,
            |p| p.rings[0] = Ring { dimension: 1, log_n: 9 },
            |p| p.rings[0] = Ring { dimension: 2, log_n: 15 },
            |p| p.lookups[0].small = 499,
            |p| p.lookups[0].small = u32::MAX,
            |p| p.lookups[0].from = RingId(2),
            |p| p.lookups[0].to = RingId(u32::MAX),
            |p| p.lookups[0].switch.levels = 0,
            |p| p.lookups[0].switch.base_log = 0,
            |p| p.lookups[0].rotation = Decomposition { base_log: u32::MAX, levels: u32::MAX },
            |p| p.lookups[0].rotation.levels = 3,
            |p| p.lookups[0].switch.levels = 11,
            |p| p.switches[0].to = RingId(1),
            |p| p.packings = vec![p.packings[0]; 17],
            |p| p.packings[0].from = RingId(2),
            |p| p.packings[0].to.dimension = 15,
            |p| p.packings[0].to.dimension = u32::MAX,
            |p| p.packings[0].to.log_n = u32::MAX,
            |p| p.packings[0].to = Ring { dimension: 1024, log_n: 1 },
            |p| p.packings[0].decomposition.levels = u32::MAX,
            |p| {
                // Each key is small enough, all together are not.
                p.rings[1] = Ring { dimension: 16, log_n: 11 };
                p.lookups[0] = Lookup { small: 1500, rotation: Decomposition { base_log: 5, levels: 10 }, ..p.lookups[0] };
            },
        ];
        for (number, spoil) in silly.iter().enumerate() {
            let mut parameters = sample();
            spoil(&mut parameters);
            assert_ne!(verify(&parameters), [], "case {number}");
        }
    }

    #[test]
    fn short_secrets_are_for_tests_alone() {
        let mut parameters = sample();
        parameters.rings = vec![Ring { dimension: 1, log_n: 8 }; 2];
        parameters.lookups[0].small = 64;
        assert_eq!(verify(&parameters).len(), 3);
        parameters.security_bits = 0;
        assert_eq!(verify(&parameters), []);
        // Their noise is that of secrets as long as real ones.
        assert_eq!(parameters.fresh(RingId(0)), noise::secure_variance(2048.0, Modulus::Big));
    }

    #[test]
    fn keys_have_the_bytes_of_their_words() {
        let parameters = sample();
        let (switch, rotation) = parameters.lookup_bytes(&parameters.lookups[0]);
        assert_eq!(switch, KeyBytes { seeded: 16 + 4 * 2048 * 5, expanded: 4 * 2048 * 5 * 809 });
        assert_eq!(rotation, KeyBytes { seeded: 16 + 8 * 808 * 2 * 2048, expanded: 8 * 808 * 4 * 2048 });
        assert_eq!(parameters.switch_bytes(&parameters.switches[0]).expanded, 8 * 2048 * 2 * 2049);
        let packing = parameters.packing_bytes(&parameters.packings[0]);
        assert_eq!(packing, KeyBytes { seeded: 16 + 8 * 2048 * 5 * 64, expanded: 8 * 2048 * 5 * 19 * 64 });
        let all = parameters.key_bytes();
        assert_eq!(all.expanded, switch.expanded + rotation.expanded + 8 * 2048 * 2 * 2049 + packing.expanded);
    }
}
