//! Evaluation keys: made by the client in seeded form, sent, expanded and transformed by the server.
//!
//! A key message holds the number of the key (for each lookup its switch and its rotation, then the switches between rings, then
//! the packing keys),
//! the seed of its uniform half, and the words of the other half. Their number follows from the parameters and is checked
//! before anything is allocated; any words and any seed are a key.

use tfhe::conformance::ParameterSetConformant;
use tfhe::core_crypto::commons::math::random::CompressionSeed;
use tfhe::core_crypto::fft_impl::fft64::crypto::bootstrap::LweBootstrapKeyConformanceParams;
use tfhe::core_crypto::prelude::*;

use hecc_plan::tfhe::noise::Modulus;
use hecc_plan::tfhe::parameters::{Decomposition, PackingId, Parameters, RingId};

use crate::engine::EngineError;
use crate::tfhe::backend::{
    BigSwitchKey, Generator, OneSeed, PackingKey, RotationKey, SEED_BYTES, SmallSwitchKey, bits, degree, digits, native, noise,
    public_seed, rank, seed_of,
};
use crate::tfhe::secret::Secret;
use crate::wire::{self, Kind, Reader, WireError};

/// A key, by what it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// To the small secret of the lookup of that index.
    Small(usize),
    /// For the blind rotation of the lookup of that index.
    Rotation(usize),
    /// The switch between rings of that index.
    Between(usize),
    /// The packing key of that index.
    Packing(usize),
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Which::Small(lookup) => write!(f, "switching key of lookup {lookup}"),
            Which::Rotation(lookup) => write!(f, "bootstrapping key of lookup {lookup}"),
            Which::Between(switch) => write!(f, "key of switch {switch}"),
            Which::Packing(packing) => write!(f, "packing key {packing}"),
        }
    }
}

/// The keys, in the order of their numbers.
pub(crate) fn list(parameters: &Parameters) -> Vec<Which> {
    let lookups = (0..parameters.lookups.len()).flat_map(|lookup| [Which::Small(lookup), Which::Rotation(lookup)]);
    let switches = (0..parameters.switches.len()).map(Which::Between);
    lookups.chain(switches).chain((0..parameters.packings.len()).map(Which::Packing)).collect()
}

fn find(parameters: &Parameters, index: usize) -> Result<Which, EngineError> {
    list(parameters).get(index).copied().ok_or(EngineError::Turn("there is no such key"))
}

/// The message with key `index`.
pub(crate) fn make(secret: &Secret, index: usize, fingerprint: u64) -> Result<Vec<u8>, EngineError> {
    let parameters = secret.parameters();
    let security = parameters.security_bits;
    let (seed, seed_bytes) = public_seed()?;
    let mut errors = OneSeed::draw()?;
    let mut payload = (index as u32).to_le_bytes().to_vec();
    payload.extend_from_slice(&seed_bytes);
    match find(parameters, index)? {
        Which::Small(at) => {
            let lookup = &parameters.lookups[at];
            let (from, to) = (secret.ring(lookup.from)?.as_lwe_secret_key(), secret.small(at)?);
            let (base, levels) = digits(lookup.switch);
            let mut key = SeededLweKeyswitchKeyOwned::new(0u32, base, levels, from.lwe_dimension(), to.lwe_dimension(), seed, native());
            let noise = noise(security, lookup.small, Modulus::Small);
            generate_seeded_lwe_keyswitch_key(&from, to, &mut key, noise, &mut errors);
            key.as_ref().iter().for_each(|word| payload.extend_from_slice(&word.to_le_bytes()));
        }
        Which::Rotation(at) => {
            let lookup = &parameters.lookups[at];
            let (small, big, ring) = (secret.small(at)?, secret.ring(lookup.to)?, parameters.ring(lookup.to));
            let (base, levels) = digits(lookup.rotation);
            let size = rank(ring).to_glwe_size();
            let mut key = SeededLweBootstrapKeyOwned::new(0u64, size, degree(ring), base, levels, small.lwe_dimension(), seed, native());
            let noise = noise(security, ring.bits(), Modulus::Big);
            generate_seeded_lwe_bootstrap_key(small, big, &mut key, noise, &mut errors);
            put(&mut payload, key.as_ref());
        }
        Which::Between(at) => {
            let switch = &parameters.switches[at];
            let (from, to) = (secret.ring(switch.from)?.as_lwe_secret_key(), secret.ring(switch.to)?.as_lwe_secret_key());
            let (base, levels) = digits(switch.decomposition);
            let mut key = SeededLweKeyswitchKeyOwned::new(0u64, base, levels, from.lwe_dimension(), to.lwe_dimension(), seed, native());
            let noise = noise(security, parameters.ring(switch.to).bits(), Modulus::Big);
            generate_seeded_lwe_keyswitch_key(&from, &to, &mut key, noise, &mut errors);
            put(&mut payload, key.as_ref());
        }
        Which::Packing(at) => {
            let packing = &parameters.packings[at];
            let (from, to) = (secret.ring(packing.from)?.as_lwe_secret_key(), secret.packing(PackingId(at as u32))?);
            let (base, levels) = digits(packing.decomposition);
            let (rank, degree) = (rank(packing.to), degree(packing.to));
            let mut key = SeededLwePackingKeyswitchKey::new(0u64, base, levels, from.lwe_dimension(), rank, degree, seed, native());
            let noise: DynamicDistribution<u64> = noise(security, packing.to.bits(), Modulus::Big);
            generate_seeded_lwe_packing_keyswitch_key(&from, to, &mut key, noise, &mut errors);
            put(&mut payload, key.as_ref());
        }
    }
    Ok(wire::encode(Kind::Key, fingerprint, &payload))
}

/// Appends words.
pub(crate) fn put(bytes: &mut Vec<u8>, words: &[u64]) {
    bytes.reserve(8 * words.len());
    words.iter().for_each(|word| bytes.extend_from_slice(&word.to_le_bytes()));
}

/// Reads so many words, and nothing else.
pub(crate) fn words<T, const N: usize>(bytes: &[u8], count: usize, read: fn([u8; N]) -> T) -> Result<Vec<T>, WireError> {
    let (chunks, rest) = bytes.as_chunks::<N>();
    if chunks.len() != count || !rest.is_empty() {
        return Err(WireError::Truncated { got: bytes.len() as u64, want: (N * count) as u64 });
    }
    Ok(chunks.iter().map(|chunk| read(*chunk)).collect())
}

/// A key, ready for use.
pub(crate) enum Key {
    /// Of [`Which::Small`].
    Small(SmallSwitchKey),
    /// Of [`Which::Rotation`].
    Rotation(RotationKey),
    /// Of [`Which::Between`].
    Between(BigSwitchKey),
    /// Of [`Which::Packing`].
    Packing(PackingKey),
}

impl Key {
    /// Whether the library finds it to be of the parameters, before anything is computed with it.
    fn conforms(&self, parameters: &Parameters, which: Which) -> bool {
        let length = |ring: RingId| bits(parameters.ring(ring));
        match (self, which) {
            (Key::Small(key), Which::Small(at)) => {
                let lookup = &parameters.lookups[at];
                is_switch(key, length(lookup.from), LweDimension(lookup.small as usize), lookup.switch)
            }
            (Key::Between(key), Which::Between(at)) => {
                let switch = &parameters.switches[at];
                is_switch(key, length(switch.from), length(switch.to), switch.decomposition)
            }
            (Key::Packing(key), Which::Packing(at)) => {
                let packing = &parameters.packings[at];
                let (decomp_base_log, decomp_level_count) = digits(packing.decomposition);
                key.is_conformant(&LwePackingKeyswitchKeyConformanceParams {
                    decomp_base_log,
                    decomp_level_count,
                    input_lwe_dimension: length(packing.from),
                    output_glwe_size: rank(packing.to).to_glwe_size(),
                    output_polynomial_size: degree(packing.to),
                    ciphertext_modulus: native(),
                })
            }
            (Key::Rotation(key), Which::Rotation(at)) => {
                let lookup = &parameters.lookups[at];
                let ring = parameters.ring(lookup.to);
                let (decomp_base_log, decomp_level_count) = digits(lookup.rotation);
                key.is_conformant(&LweBootstrapKeyConformanceParams {
                    decomp_base_log,
                    decomp_level_count,
                    input_lwe_dimension: LweDimension(lookup.small as usize),
                    output_glwe_size: rank(ring).to_glwe_size(),
                    polynomial_size: degree(ring),
                    ciphertext_modulus: native(),
                })
            }
            _ => false,
        }
    }
}

fn is_switch<T: UnsignedInteger>(key: &LweKeyswitchKeyOwned<T>, from: LweDimension, to: LweDimension, by: Decomposition) -> bool {
    let (decomp_base_log, decomp_level_count) = digits(by);
    key.is_conformant(&LweKeyswitchKeyConformanceParams {
        decomp_base_log,
        decomp_level_count,
        output_lwe_size: to.to_lwe_size(),
        input_lwe_dimension: from,
        ciphertext_modulus: native(),
    })
}

/// Reads the message of key `index`.
pub(crate) fn accept(parameters: &Parameters, index: usize, fingerprint: u64, message: &[u8]) -> Result<Key, EngineError> {
    let which = find(parameters, index)?;
    let mut reader = Reader(wire::decode(message, Kind::Key, fingerprint)?);
    if reader.u32()? as usize != index {
        return Err(EngineError::Turn("the key is another"));
    }
    let seed = CompressionSeed::from(seed_of(reader.array::<SEED_BYTES>()?));
    let Reader(body) = reader;
    let key = match which {
        Which::Small(at) => {
            let lookup = &parameters.lookups[at];
            let (from, to) = (bits(parameters.ring(lookup.from)), LweDimension(lookup.small as usize));
            let (base, levels) = digits(lookup.switch);
            let words = words(body, from.0 * levels.0, u32::from_le_bytes)?;
            let seeded = SeededLweKeyswitchKey::from_container(words, base, levels, to.to_lwe_size(), seed, native());
            let mut key = LweKeyswitchKeyOwned::new(0u32, base, levels, from, to, native());
            decompress_seeded_lwe_keyswitch_key::<_, _, _, Generator>(&mut key, &seeded);
            Key::Small(key)
        }
        Which::Rotation(at) => {
            let lookup = &parameters.lookups[at];
            let (small, ring) = (LweDimension(lookup.small as usize), parameters.ring(lookup.to));
            let (base, levels) = digits(lookup.rotation);
            let (size, degree) = (rank(ring).to_glwe_size(), degree(ring));
            let words = words(body, small.0 * levels.0 * size.0 * degree.0, u64::from_le_bytes)?;
            let seeded = SeededLweBootstrapKey::from_container(words, size, degree, base, levels, seed, native());
            let mut plain = LweBootstrapKeyOwned::new(0u64, size, degree, base, levels, small, native());
            decompress_seeded_lwe_bootstrap_key::<_, _, _, Generator>(&mut plain, &seeded);
            drop(seeded);
            let mut key = FourierLweBootstrapKey::new(small, size, degree, base, levels);
            convert_standard_lwe_bootstrap_key_to_fourier(&plain, &mut key);
            Key::Rotation(key)
        }
        Which::Between(at) => {
            let switch = &parameters.switches[at];
            let (from, to) = (bits(parameters.ring(switch.from)), bits(parameters.ring(switch.to)));
            let (base, levels) = digits(switch.decomposition);
            let words = words(body, from.0 * levels.0, u64::from_le_bytes)?;
            let seeded = SeededLweKeyswitchKey::from_container(words, base, levels, to.to_lwe_size(), seed, native());
            let mut key = LweKeyswitchKeyOwned::new(0u64, base, levels, from, to, native());
            decompress_seeded_lwe_keyswitch_key::<_, _, _, Generator>(&mut key, &seeded);
            Key::Between(key)
        }
        Which::Packing(at) => {
            let packing = &parameters.packings[at];
            let (from, rank, degree) = (bits(parameters.ring(packing.from)), rank(packing.to), degree(packing.to));
            let (base, levels) = digits(packing.decomposition);
            let words = words(body, from.0 * levels.0 * degree.0, u64::from_le_bytes)?;
            let seeded = SeededLwePackingKeyswitchKey::from_container(words, base, levels, rank.to_glwe_size(), degree, seed, native());
            let mut key = LwePackingKeyswitchKey::new(0u64, base, levels, from, rank, degree, native());
            decompress_seeded_lwe_packing_keyswitch_key::<_, _, _, Generator>(&mut key, &seeded);
            Key::Packing(key)
        }
    };
    if key.conforms(parameters, which) { Ok(key) } else { Err(WireError::Damaged("the key is of other parameters").into()) }
}

/// Keys of a lookup.
pub(crate) struct LookupKeys {
    /// From where to where it leads.
    pub(crate) from: RingId,
    /// ... to.
    pub(crate) to: RingId,
    /// To the small secret.
    pub(crate) switch: SmallSwitchKey,
    /// For the rotation.
    pub(crate) rotation: RotationKey,
    /// Tables of the transform.
    pub(crate) fft: Fft,
}

/// All keys of the server.
pub(crate) struct EvaluationKeys {
    /// By lookup.
    pub(crate) lookups: Vec<LookupKeys>,
    /// By switch.
    pub(crate) switches: Vec<BigSwitchKey>,
    /// By packing key.
    pub(crate) packings: Vec<PackingKey>,
}

/// Sorts keys, in the order of their numbers, by their use.
pub(crate) fn sort(parameters: &Parameters, keys: Vec<Option<Key>>) -> Result<EvaluationKeys, EngineError> {
    let lacks = |which: Which| EngineError::Key(which.to_string());
    let mut keys = keys.into_iter();
    let mut next = || keys.next().flatten();
    let mut lookups = Vec::new();
    for (at, lookup) in parameters.lookups.iter().enumerate() {
        let Some(Key::Small(switch)) = next() else { return Err(lacks(Which::Small(at))) };
        let Some(Key::Rotation(rotation)) = next() else { return Err(lacks(Which::Rotation(at))) };
        let fft = Fft::new(rotation.polynomial_size());
        lookups.push(LookupKeys { from: lookup.from, to: lookup.to, switch, rotation, fft });
    }
    let mut switches = Vec::new();
    for at in 0..parameters.switches.len() {
        let Some(Key::Between(key)) = next() else { return Err(lacks(Which::Between(at))) };
        switches.push(key);
    }
    let mut packings = Vec::new();
    for at in 0..parameters.packings.len() {
        let Some(Key::Packing(key)) = next() else { return Err(lacks(Which::Packing(at))) };
        packings.push(key);
    }
    Ok(EvaluationKeys { lookups, switches, packings })
}
