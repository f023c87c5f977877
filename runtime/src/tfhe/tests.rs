//! Both parties together, at a size without security; noise against its formulas at real sizes.

use std::sync::Arc;

use tfhe::core_crypto::commons::noise_formulas::{
    centered_mean_shifted_modulus_switch::centered_binary_shifted_modulus_switch_additive_variance,
    lwe_keyswitch::keyswitch_additive_variance_132_bits_security_gaussian,
    lwe_packing_keyswitch::packing_keyswitch_additive_variance_132_bits_security_gaussian,
    lwe_programmable_bootstrap::pbs_variance_132_bits_security_gaussian_fft_mul, modulus_switch::modulus_switch_additive_variance,
    secure_noise::minimal_lwe_variance_for_132_bits_security_gaussian,
};
use tfhe::core_crypto::prelude::*;

use hecc_plan::tfhe::Wire;
use hecc_plan::tfhe::choose::{Between, Class, Demand, Source, Use, choose};
use hecc_plan::tfhe::noise::{self, Modulus};
use hecc_plan::tfhe::parameters::{
    Decomposition, Lookup, LookupId, PACKED_LOG_N, Packing, PackingId, Parameters, Ring, RingId, Switch, SwitchId, verify,
};
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::tfhe::sending::{Parcel, Sending};

use crate::engine::EngineError;
use crate::tfhe::ciphertext::{Ct, encrypt, expand, nearest, phase, place, sealed_bytes};
use crate::tfhe::compute::{Accumulator, Evaluator, small};
use crate::tfhe::keys;
use crate::tfhe::secret::Secret;
use crate::tfhe::sending;

const PRINT: u64 = 0x1234_5678_9abc_def0;
const BITS: RingId = RingId(0);
const TABLES: RingId = RingId(1);

fn digits(base_log: u32, levels: u32) -> Decomposition {
    Decomposition { base_log, levels }
}

/// Short secrets, whose noise is that of long ones.
fn tiny() -> Parameters {
    let lookup = |to, rotation| Lookup { from: BITS, small: 100, switch: digits(3, 5), to, rotation };
    Parameters {
        security_bits: 0,
        rings: vec![Ring { dimension: 2, log_n: 8 }, Ring { dimension: 1, log_n: 9 }],
        lookups: vec![lookup(BITS, digits(15, 2)), lookup(TABLES, digits(15, 2))],
        switches: vec![Switch { from: TABLES, to: BITS, decomposition: digits(12, 3) }],
        packings: vec![Packing { from: TABLES, to: Ring { dimension: 8, log_n: 6 }, decomposition: digits(5, 4) }],
    }
}

/// Secrets of 128 bits of security, for what [`noise_follows`] does: tables of three bits within the first ring and of four
/// into the second, and dropping four of seven bits.
fn real() -> Parameters {
    let usage = |half_box_log2, sources: &[(Source, f64)]| Use { half_box_log2, sources: sources.to_vec(), count: 1.0 };
    let dropping = |dropped: i32| {
        let raised = 4f64.powi(7 - dropped);
        usage(-2.0, &[(Source::Fresh(BITS), raised), (Source::Lookup(0), f64::from(dropped) * raised)])
    };
    let uses = [usage(-5.0, &[(Source::Fresh(BITS), 1.0)])].into_iter().chain((0..4).map(dropping)).collect();
    let table = usage(-6.0, &[(Source::Fresh(BITS), 1.0), (Source::Lookup(0), 4.0)]);
    let demand = Demand {
        security_bits: 128,
        rings: 2,
        classes: vec![Class { from: BITS, to: BITS, uses }, Class { from: BITS, to: TABLES, uses: vec![table] }],
        switches: vec![Between { from: TABLES, to: BITS, count: 1.0 }],
        readings: vec![usage(-7.0, &[(Source::Lookup(1), 1.0), (Source::Switch(0), 1.0)])],
        log2_failure: -64.0,
    };
    let choice = choose(&demand, Prices::built_in()).expect("parameters");
    eprintln!("{choice:?}");
    choice.parameters
}

/// Secret and keys, all of them sent.
fn parties(parameters: Parameters) -> (Secret, Evaluator, keys::EvaluationKeys) {
    assert_eq!(verify(&parameters), []);
    let secret = Secret::generate(Arc::new(parameters.clone())).expect("a secret");
    let messages: Vec<_> = (0..keys::list(&parameters).len()).map(|index| keys::make(&secret, index, PRINT).expect("a key")).collect();
    let accept = || {
        let accept = |(index, message): (usize, &Vec<u8>)| Some(keys::accept(&parameters, index, PRINT, message).expect("a key"));
        keys::sort(&parameters, messages.iter().enumerate().map(accept).collect()).expect("all keys")
    };
    let (first, second) = (accept(), accept());
    (secret, Evaluator::new(parameters, first), second)
}

fn fresh(secret: &Secret, ring: RingId, values: &[i64], log_step: u32) -> Vec<Ct> {
    let torus = values.iter().map(|value| place(*value, log_step)).collect();
    let bytes = encrypt(secret, ring, torus).expect("ciphertexts");
    assert_eq!(bytes.len(), sealed_bytes(values.len()));
    expand(secret.parameters(), ring, values.len(), &bytes).expect("ciphertexts")
}

fn open(secret: &Secret, ring: RingId, ciphertext: &Ct, log_step: u32) -> i64 {
    nearest(phase(secret, ring, ciphertext).expect("a phase"), log_step)
}

#[test]
fn values_come_back() {
    let secret = Secret::generate(Arc::new(tiny())).expect("a secret");
    for ring in [BITS, TABLES] {
        let values: Vec<i64> = (-128..128).collect();
        for (value, ciphertext) in values.iter().zip(fresh(&secret, ring, &values, 9)) {
            assert_eq!(open(&secret, ring, &ciphertext, 9), *value);
        }
        let sum = fresh(&secret, ring, &[3, -5, 7], 12).iter().zip([2, 3, -4]).fold(
            Ct::trivial(secret.parameters(), ring, place(11, 12)),
            |mut sum, (ciphertext, by)| {
                sum.add_scaled(ciphertext, by);
                sum
            },
        );
        assert_eq!(open(&secret, ring, &sum, 12), 11 + 6 - 15 - 28);
    }
    assert_eq!(format!("{secret:?}"), "Secret");
}

#[test]
fn lookups_signs_bits_and_switches_decide_rightly() {
    let (secret, evaluator, _) = parties(tiny());
    let (bits, tables) = (LookupId(0), LookupId(1));

    // Every value of a table of three bits, to another step.
    let outputs: Vec<i64> = vec![5, -3, 0, 7, -8, 2, 1, -1];
    for (lookup, ring) in [(bits, BITS), (tables, TABLES)] {
        let table = Accumulator::table(evaluator.ring_of(lookup).expect("a ring"), &outputs, 6).expect("a table");
        for (ciphertext, output) in fresh(&secret, BITS, &(-4..4).collect::<Vec<_>>(), 4).iter().zip(&outputs) {
            let result = evaluator.lookup(lookup, ciphertext, &table).expect("a lookup");
            assert_eq!(open(&secret, ring, &result, 6), *output);
        }
    }

    // A comparison without padding, to two values far from each other.
    for value in [-8, -7, -1, 0, 1, 7] {
        let ciphertext = &fresh(&secret, BITS, &[value], 4)[0];
        let result = evaluator.sign(tables, ciphertext, 4, (-3, 12), 6).expect("a sign");
        assert_eq!(open(&secret, TABLES, &result, 6), if value < 0 { -3 } else { 12 });
    }

    // Seven bits with padding, of which four go.
    for value in [-64, -63, -17, -16, -1, 0, 1, 15, 16, 63] {
        let ciphertext = &fresh(&secret, BITS, &[value], 8)[0];
        assert_eq!(open(&secret, BITS, &evaluator.low_bit(bits, ciphertext, 8).expect("a bit"), 8), value & 1);
        let rest = evaluator.drop_bits(bits, ciphertext, 8, 4).expect("bits");
        assert_eq!(open(&secret, BITS, &rest, 4), value >> 4);
    }

    // There and back.
    let result = evaluator.sign(tables, &fresh(&secret, BITS, &[3], 4)[0], 4, (-5, 9), 8).expect("a sign");
    let moved = evaluator.switch(SwitchId(0), &result).expect("a switch");
    assert_eq!(open(&secret, BITS, &moved, 8), 9);
}

#[test]
fn what_does_not_fit_is_refused() {
    let (secret, evaluator, _) = parties(tiny());
    let parameters = secret.parameters();
    let ring = parameters.ring(TABLES);
    assert!(Accumulator::table(ring, &[0; 512], 4).is_err());
    assert!(Accumulator::table(ring, &[0; 3], 4).is_err());
    assert!(Accumulator::table(ring, &[], 4).is_err());

    let operand = &fresh(&secret, TABLES, &[1], 4)[0];
    let short = Ct(operand.0[1..].to_vec());
    let table = Accumulator::constant(ring, 1);
    assert!(matches!(evaluator.lookup(LookupId(1), &short, &table), Err(EngineError::Turn(_))));
    assert!(matches!(evaluator.lookup(LookupId(9), operand, &table), Err(EngineError::Turn(_))));
    assert!(matches!(evaluator.switch(SwitchId(0), &short), Err(EngineError::Turn(_))));
    assert!(matches!(evaluator.switch(SwitchId(1), operand), Err(EngineError::Turn(_))));
    assert!(evaluator.drop_bits(LookupId(1), operand, 4, 1).is_err());
    assert!(evaluator.drop_bits(LookupId(0), operand, 4, 4).is_err());
    assert!(evaluator.low_bit(LookupId(0), operand, 0).is_err());

    let bytes = encrypt(&secret, BITS, vec![1, 2, 3]).expect("ciphertexts");
    assert!(expand(parameters, BITS, 4, &bytes).is_err());
    assert!(expand(parameters, BITS, 3, &bytes[..30]).is_err());
    assert!(expand(parameters, BITS, 0, &bytes[..3]).is_err());
    assert_eq!(expand(parameters, BITS, 0, &bytes[..16]), Ok(vec![]));
}

#[test]
fn keys_are_taken_whole_and_in_their_place() {
    let parameters = tiny();
    let secret = Secret::generate(Arc::new(parameters.clone())).expect("a secret");
    let count = keys::list(&parameters).len();
    assert_eq!(count, 6);
    let mut bytes = 0;
    for index in 0..count {
        let message = keys::make(&secret, index, PRINT).expect("a key");
        bytes += message.len() - crate::wire::OVERHEAD - 4;
        assert!(keys::accept(&parameters, index, PRINT, &message).is_ok());
        assert!(keys::accept(&parameters, (index + 1) % count, PRINT, &message).is_err());
        assert!(keys::accept(&parameters, index, PRINT + 1, &message).is_err());
        assert!(keys::accept(&parameters, index, PRINT, &message[..message.len() - 1]).is_err());
        let payload = crate::wire::decode(&message, crate::wire::Kind::Key, PRINT).expect("a message");
        for length in [0, 3, 4, 19, 20, payload.len() - 1] {
            let cut = crate::wire::encode(crate::wire::Kind::Key, PRINT, &payload[..length]);
            assert!(keys::accept(&parameters, index, PRINT, &cut).is_err(), "key {index} of {length} bytes");
        }
        let longer = crate::wire::encode(crate::wire::Kind::Key, PRINT, &[payload, &[0; 8]].concat());
        assert!(keys::accept(&parameters, index, PRINT, &longer).is_err());
        // Any words are a key: a useless one, but nothing that the library stumbles over.
        let mut noise = payload.to_vec();
        noise[4..].iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * 37 % 251) as u8);
        assert!(keys::accept(&parameters, index, PRINT, &crate::wire::encode(crate::wire::Kind::Key, PRINT, &noise)).is_ok());
    }
    assert_eq!(bytes as u64, parameters.key_bytes().seeded);
    assert!(keys::make(&secret, count, PRINT).is_err());
    let missing = keys::sort(&parameters, (0..count).map(|_| None).collect());
    assert!(matches!(missing, Err(EngineError::Key(name)) if name == "switching key of lookup 0"));
}

#[test]
fn formulas_are_those_of_the_library() {
    let close = |ours: f64, theirs: Variance| assert!((ours / theirs.0 - 1.0).abs() < 1e-9, "{ours:e} is not {:e}", theirs.0);
    let (q, p) = (2f64.powi(64), 2f64.powi(32));
    let base = |d: Decomposition| (DecompositionBaseLog(d.base_log as usize), DecompositionLevelCount(d.levels as usize));
    for small in (500..=1500).step_by(50) {
        let dimension = LweDimension(small as usize);
        let n = f64::from(small);
        close(noise::secure_variance(n, Modulus::Small), minimal_lwe_variance_for_132_bits_security_gaussian(dimension, p));
        close(noise::secure_variance(n, Modulus::Big), minimal_lwe_variance_for_132_bits_security_gaussian(dimension, q));
        for (rank, log_n) in [(4, 8), (4, 9), (2, 10), (1, 11), (1, 12), (1, 14)] {
            let ring = Ring { dimension: rank, log_n };
            let (bits, big) = (f64::from(ring.bits()), LweDimension(ring.bits() as usize));
            let degree = PolynomialSize(ring.degree() as usize);
            let rounding = centered_binary_shifted_modulus_switch_additive_variance(dimension, p, 2.0 * f64::from(ring.degree()));
            close(noise::centred_switch(n, log_n), rounding);
            for log_modulus in [1, 10, 24, 40] {
                let theirs = modulus_switch_additive_variance(big, q, 2f64.powi(log_modulus as i32));
                close(noise::rounding(bits, log_modulus), theirs);
            }
            for d in [digits(1, 12), digits(2, 5), digits(3, 5), digits(4, 3), digits(10, 2)] {
                let (b, l) = base(d);
                let key = noise::secure_variance(n, Modulus::Small);
                let theirs = keyswitch_additive_variance_132_bits_security_gaussian(big, dimension, b, l, q, p);
                close(noise::keyswitch(bits, key, d, Modulus::Small), theirs);
                let key = noise::secure_variance(bits, Modulus::Big);
                let theirs = keyswitch_additive_variance_132_bits_security_gaussian(big, big, b, l, q, q);
                close(noise::keyswitch(bits, key, d, Modulus::Big), theirs);
                let (rank, together) = (GlweDimension(rank as usize), f64::from(small));
                let theirs = packing_keyswitch_additive_variance_132_bits_security_gaussian(big, rank, degree, b, l, together, q);
                close(noise::packing(bits, key, d, together), theirs);
            }
            for d in [digits(23, 1), digits(15, 2), digits(10, 3), digits(8, 5)] {
                let (b, l) = base(d);
                let key = noise::secure_variance(bits, Modulus::Big);
                let theirs =
                    pbs_variance_132_bits_security_gaussian_fft_mul(dimension, GlweDimension(rank as usize), degree, b, l, 53.0, q);
                close(noise::bootstrap(n, rank, log_n, key, d), theirs);
            }
        }
    }
}

/// Mean and variance of what a ciphertext holds beside its value.
fn measure(errors: &[f64]) -> (f64, f64) {
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    (mean, errors.iter().map(|e| (e - mean).powi(2)).sum::<f64>() / (errors.len() - 1) as f64)
}

fn error(torus: u64, value: u64) -> f64 {
    torus.wrapping_sub(value) as i64 as f64 / 2f64.powi(64)
}

/// Prints, and holds a measured variance to a predicted one.
fn hold(what: &str, errors: &[f64], predicted: f64) {
    let (mean, variance) = measure(errors);
    let ratio = variance / predicted;
    eprintln!(
        "{what}: mean 2^{:.1}, deviation 2^{:.2}, predicted 2^{:.2}, variance {ratio:.2} times that",
        mean.abs().log2(),
        variance.log2() / 2.0,
        predicted.log2() / 2.0
    );
    // The deviation of a variance of so many samples, four times.
    let spread = 4.0 * (2.0 / errors.len() as f64).sqrt();
    assert!(ratio < 1.0 + spread + 0.1 && ratio > (1.0 - spread) * 0.5, "{what}: {ratio}");
    assert!(mean.abs() < 6.0 * (predicted / errors.len() as f64).sqrt(), "{what}: mean {mean:e}");
}

fn noise_follows(parameters: Parameters, samples: usize) {
    let (secret, evaluator, keys) = parties(parameters);
    for value in [-64, -63, -17, -1, 0, 1, 15, 63] {
        let rest = evaluator.drop_bits(LookupId(0), &fresh(&secret, BITS, &[value], 8)[0], 8, 4).expect("bits");
        assert_eq!(open(&secret, BITS, &rest, 4), value >> 4);
    }
    let parameters = secret.parameters();
    let values: Vec<i64> = (0..samples as i64).map(|i| i % 8 - 4).collect();
    let of = |ring, ciphertext: &Ct, value| error(phase(&secret, ring, ciphertext).expect("a phase"), value);
    for ring in [BITS, TABLES] {
        let errors: Vec<f64> =
            fresh(&secret, ring, &values, 4).iter().zip(&values).map(|(ct, value)| of(ring, ct, place(*value, 4))).collect();
        hold(&format!("fresh, ring {}", ring.0), &errors, parameters.fresh(ring));
    }
    for (index, lookup) in parameters.lookups.iter().enumerate() {
        let id = LookupId(index as u32);
        let fresh = fresh(&secret, lookup.from, &values, 4);
        let degree = parameters.ring(lookup.to).degree();
        let small_secret = secret.small(index).expect("a secret");
        let (mut switched, mut rounded) = (Vec::new(), Vec::new());
        for (ciphertext, value) in fresh.iter().zip(&values) {
            let small = small(&keys.lookups[index], ciphertext).expect("a switch");
            let held = decrypt_lwe_ciphertext(small_secret, &small).0;
            switched.push(error(u64::from(held) << 32, place(*value, 4)));
            let log = PolynomialSize(degree as usize).to_blind_rotation_input_modulus_log();
            let round = lwe_ciphertext_centered_binary_modulus_switch::<u32, usize, _>(small.as_view(), log);
            let mask: usize = round.mask().zip(small_secret.as_ref()).map(|(a, s)| a * *s as usize).sum();
            // Half a unit was taken off, so that boxes of an even number of units have a middle.
            let turned = (round.body().wrapping_sub(mask)).wrapping_mul(2).wrapping_add(1);
            rounded.push(error((turned as u64) << (64 - log.0 - 1), place(*value, 4)));
        }
        let incoming = parameters.fresh(lookup.from);
        let all = parameters.added(lookup);
        let rounding = noise::centred_switch(f64::from(lookup.small), parameters.ring(lookup.to).log_n);
        hold(&format!("lookup {index}, switched"), &switched, incoming + all - rounding);
        hold(&format!("lookup {index}, rounded"), &rounded, incoming + all);
        let table = Accumulator::table(parameters.ring(lookup.to), &[0, 1, 2, 3, 4, 5, 6, 7], 5).expect("a table");
        let results: Vec<Ct> = fresh.iter().map(|ct| evaluator.lookup(id, ct, &table).expect("a lookup")).collect();
        let errors: Vec<f64> = results.iter().zip(&values).map(|(ct, value)| of(lookup.to, ct, place(value + 4, 5))).collect();
        hold(&format!("lookup {index}, looked up"), &errors, parameters.refreshed(lookup));
        if lookup.to == TABLES {
            let switch = &parameters.switches[0];
            let errors: Vec<f64> = results
                .iter()
                .zip(&values)
                .map(|(ct, value)| of(switch.to, &evaluator.switch(SwitchId(0), ct).expect("a switch"), place(value + 4, 5)))
                .collect();
            hold("switched between rings", &errors, parameters.refreshed(lookup) + parameters.switched(switch));
        }
        assert!(results.iter().zip(&values).all(|(ct, value)| nearest(phase(&secret, lookup.to, ct).expect("a phase"), 5) == value + 4));
    }
}

/// Every value back from a parcel, and how far off each was.
fn there_and_back(secret: &Secret, evaluator: &Evaluator, parcel: &Parcel, wires: &[Wire]) -> Vec<f64> {
    let values: Vec<Vec<i64>> = wires.iter().map(|w| (0..i64::from(w.len)).map(|i| w.low + i % (w.high - w.low + 1)).collect()).collect();
    let sealed: Vec<Vec<Ct>> = wires.iter().zip(&values).map(|(w, v)| fresh(secret, w.ring, v, w.bits + 1)).collect();
    let all: Vec<&Ct> = sealed.iter().flatten().collect();
    let bytes = sending::send(evaluator, parcel, &all, 2).expect("a parcel");
    assert_eq!(sending::open(secret, parcel, wires, &bytes, 2).expect("vectors"), values);
    for length in [0, 1, 7, 8, bytes.len() - 8, bytes.len() - 1] {
        assert!(sending::open(secret, parcel, wires, &bytes[..length], 2).is_err());
    }
    assert!(sending::open(secret, parcel, wires, &[&bytes[..], &[0; 8]].concat(), 2).is_err());
    // Any bytes of the right number are ciphertexts.
    let other: Vec<u8> = (0..bytes.len()).map(|i| (i * 37 % 251) as u8).collect();
    sending::open(secret, parcel, wires, &other, 2).expect("vectors");
    // At the finest step, what is decrypted is the noise.
    let fine: Vec<Wire> = wires.iter().map(|w| Wire { bits: 62, ..*w }).collect();
    let opened = sending::open(secret, parcel, &fine, &bytes, 2).expect("vectors");
    let off = |(w, (v, t)): (&Wire, (&i64, &i64))| error((*t as u64) << 1, place(*v, w.bits + 1));
    wires.iter().zip(values.iter().zip(&opened)).flat_map(|(w, (v, t))| v.iter().zip(t).map(move |pair| off((w, pair)))).collect()
}

#[test]
fn parcels_are_rounded_and_packed() {
    let mut parameters = tiny();
    // Every degree that there may be, with digits fine enough for many together.
    parameters.packings = PACKED_LOG_N
        .map(|log_n| Packing { from: TABLES, to: Ring { dimension: 2048 >> log_n, log_n }, decomposition: digits(6, 4) })
        .collect();
    let (secret, evaluator, _) = parties(parameters);
    let parameters = secret.parameters();
    let wire = |len, bits: u32| Wire { len, ring: TABLES, bits, low: -(1 << bits), high: (1 << bits) - 1 };
    for count in [1, 63, 64, 65, 200] {
        let wires = [wire(count, 5), wire(3, 2)];
        for (packing, log_n) in (0..).map(PackingId).zip(PACKED_LOG_N) {
            let parcel = Parcel { outputs: vec![0, 1], log_modulus: 17 + count % 5, packing: Some(packing) };
            let errors = there_and_back(&secret, &evaluator, &parcel, &wires);
            assert_eq!(errors.len() as u32, count + 3);
            // Ten deviations: none is that far off by chance.
            let together = (count + 3).min(1 << log_n);
            let most = 10.0
                * (parameters.sent(Sending { ring: TABLES, packing: Some(packing), together, log_modulus: parcel.log_modulus })).sqrt();
            assert!(errors.iter().all(|e| e.abs() < most), "{log_n}: {errors:?}");
        }
        for log_modulus in [14, 16, 21, 32, 43, 63, 64] {
            let parcel = Parcel { outputs: vec![0, 1], log_modulus, packing: None };
            there_and_back(&secret, &evaluator, &parcel, &wires);
        }
    }
    let operand = &fresh(&secret, TABLES, &[1], 4)[0];
    let short = Ct(operand.0[1..].to_vec());
    assert!(matches!(evaluator.pack(PackingId(9), &[operand], 1), Err(EngineError::Turn(_))));
    assert!(matches!(evaluator.pack(PackingId(0), &[&short], 1), Err(EngineError::Turn(_))));
    assert!(matches!(evaluator.pack(PackingId(0), &[], 1), Err(EngineError::Turn(_))));
    assert!(matches!(evaluator.pack(PackingId(0), &[operand; 65], 1), Err(EngineError::Turn(_))));
    let parcel = Parcel { outputs: vec![0], log_modulus: 20, packing: Some(PackingId(9)) };
    assert!(sending::open(&secret, &parcel, &[wire(1, 2)], &[], 1).is_err());
    assert!(sending::send(&evaluator, &parcel, &[operand], 1).is_err());
}

/// The noise of parcels, of two values each: what is rounded of a mask is in all values that share it.
fn noise_of_parcels_follows(parameters: Parameters) {
    let (secret, evaluator, _) = parties(parameters);
    let parameters = secret.parameters();
    let wires = [Wire { len: 2, ring: TABLES, bits: 4, low: -16, high: 15 }];
    for (log_modulus, packing) in [(16, None), (40, Some(PackingId(0))), (15, Some(PackingId(0)))] {
        let parcel = Parcel { outputs: vec![0], log_modulus, packing };
        let errors: Vec<f64> = (0..320).flat_map(|_| there_and_back(&secret, &evaluator, &parcel, &wires)).collect();
        let sent = parameters.sent(Sending { ring: TABLES, packing, together: if packing.is_some() { 2 } else { 1 }, log_modulus });
        hold(&format!("sent modulo 2^{log_modulus}, packing {packing:?}"), &errors, parameters.fresh(TABLES) + sent);
    }
}

#[test]
fn noise_follows_its_formulas() {
    noise_of_parcels_follows(tiny());
    noise_follows(tiny(), 400);
}

#[test]
#[ignore = "a minute: cargo test --release -p hecc-runtime --lib tfhe -- --ignored --nocapture"]
fn noise_follows_its_formulas_at_128_bits() {
    noise_of_parcels_follows(Parameters {
        packings: vec![Packing { from: TABLES, to: Ring { dimension: 20, log_n: 6 }, decomposition: digits(4, 5) }],
        ..real()
    });
    noise_follows(real(), 600);
}

#[test]
#[ignore = "a measurement: cargo test --release -p hecc-runtime --lib tfhe -- --ignored --nocapture"]
fn how_long_it_takes() {
    let now = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 * 1e-6
    };
    let time = |what: &str, count: u32, work: &mut dyn FnMut()| {
        let start = now();
        (0..count).for_each(|_| work());
        eprintln!("{what}: {:.2} ms of the processor", (now() - start) / f64::from(count));
    };
    let parameters = real();
    let secret = Secret::generate(Arc::new(parameters.clone())).expect("a secret");
    let mut arrived = Vec::new();
    for (index, which) in keys::list(&parameters).iter().enumerate() {
        let mut message = Vec::new();
        time(&format!("making the {which}"), 1, &mut || message = keys::make(&secret, index, PRINT).expect("a key"));
        eprintln!("  of {} KiB", message.len() >> 10);
        let mut key = None;
        time(&format!("taking the {which}"), 1, &mut || key = keys::accept(&parameters, index, PRINT, &message).ok());
        arrived.push(key);
    }
    let evaluator = Evaluator::new(parameters.clone(), keys::sort(&parameters, arrived).expect("all keys"));
    let operand = &fresh(&secret, BITS, &[1], 4)[0];
    for (index, lookup) in parameters.lookups.iter().enumerate() {
        let table = Accumulator::constant(parameters.ring(lookup.to), 1 << 60);
        time(&format!("lookup {index}"), 20, &mut || drop(evaluator.lookup(LookupId(index as u32), operand, &table)));
        eprintln!("  predicted {:.2} ms", Prices::built_in().lookup(&parameters, lookup) * 1e3);
    }
    let result = &fresh(&secret, TABLES, &[1], 4)[0];
    time("switch between rings", 20, &mut || drop(evaluator.switch(SwitchId(0), result)));
    eprintln!("  predicted {:.2} ms", Prices::built_in().between(&parameters, &parameters.switches[0]) * 1e3);
    time("encryption of 64 values", 20, &mut || drop(encrypt(&secret, BITS, vec![1; 64])));
}
