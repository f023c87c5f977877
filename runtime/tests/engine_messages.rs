//! Messages that were cut, changed, swapped or forged are errors, never panics; and they hold no secret.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use hecc_plan::{Plan, Tensor, Tensors};
use hecc_runtime::engine::{Backend, Client, EngineError, Progress, Server, insecure_parties_for_tests};
use hecc_runtime::wire::{self, Kind, WireError};

use crate::engine_support::{batch, every_operation, two_rounds};

fn parties(plan: &Arc<Plan>, backend: Backend) -> (Client, Server) {
    let (client, mut server) = insecure_parties_for_tests(Arc::clone(plan), backend, Tensors::new(), 2).unwrap();
    (0..client.keys()).for_each(|i| server.accept_key(i, &client.key(i).unwrap()).unwrap());
    server.ready().unwrap();
    (client, server)
}

fn states() -> Tensors {
    Tensors::from([("s".to_owned(), Tensor::new(vec![16], vec![0.25; 16]))])
}

/// Every length class, and then some.
fn lengths(whole: usize) -> impl Iterator<Item = usize> {
    (0..48).chain((0..40).map(move |i| whole * i / 40)).chain(whole.saturating_sub(40)..whole).filter(move |&n| n < whole)
}

fn is_damage(error: &EngineError) -> bool {
    matches!(error.code(), "HE0603" | "HE0604" | "HE0605")
}

fn hostile(message: &[u8], kind: Kind, fingerprint: u64, mut read: impl FnMut(&[u8]) -> Result<(), EngineError>) {
    for length in lengths(message.len()) {
        let error = read(&message[..length]).unwrap_err();
        assert_eq!(error.code(), "HE0604", "{length} bytes: {error}");
    }
    let mut longer = message.to_vec();
    longer.push(0);
    assert_eq!(read(&longer).unwrap_err().code(), "HE0604");
    for position in (0..64).chain((0..64).map(|i| message.len() * i / 64)).chain(message.len() - 8..message.len()) {
        let mut flipped = message.to_vec();
        flipped[position] ^= 1 << (position % 8);
        let error = read(&flipped).unwrap_err();
        assert!(is_damage(&error), "bit in byte {position}: {error}");
    }
    let mut version = message.to_vec();
    version[8] = 9;
    let error = read(&version).unwrap_err();
    assert_eq!((error.code(), error), ("HE0605", EngineError::Message(WireError::Version(9))));
    let payload = wire::decode(message, kind, fingerprint).unwrap().to_vec();
    let foreign = wire::encode(kind, fingerprint ^ 1, &payload);
    assert_eq!(read(&foreign).unwrap_err().code(), "HE0603");
    for other in [Kind::Key, Kind::Upload, Kind::Download].into_iter().filter(|&other| other != kind) {
        assert_eq!(read(&wire::encode(other, fingerprint, &payload)).unwrap_err().code(), "HE0604");
    }
    // With a right checksum: payloads that were cut, padded, filled or shuffled.
    for length in lengths(payload.len()) {
        let error = read(&wire::encode(kind, fingerprint, &payload[..length])).unwrap_err();
        assert!(matches!(error.code(), "HE0604" | "HE0611"), "payload of {length} bytes: {error}");
    }
    let mut padded = payload.clone();
    padded.extend_from_slice(&[0; 8]);
    assert_eq!(read(&wire::encode(kind, fingerprint, &padded)).unwrap_err().code(), "HE0604");
    for at in 0..payload.len().min(16) {
        let mut forged = payload.clone();
        forged[at] ^= 0xff;
        // Bytes of a seed may be anything.
        if let Err(error) = read(&wire::encode(kind, fingerprint, &forged)) {
            assert!(matches!(error.code(), "HE0604" | "HE0611"), "byte {at}: {error}");
        }
    }
    for fill in [0x00, 0x55, 0xff, 0x80] {
        if let Err(error) = read(&wire::encode(kind, fingerprint, &vec![fill; payload.len()])) {
            assert!(matches!(error.code(), "HE0604" | "HE0611"), "{fill:x}: {error}");
        }
    }
}

#[test]
fn hostile_uploads() {
    let plan = Arc::new(two_rounds());
    let print = hecc_plan::fingerprint(&plan);
    let (client, mut server) = parties(&plan, Backend::Ckks);
    let message = client.upload(0, &batch(&plan, 1), &states(), &mut Progress::default()).unwrap();
    hostile(&message, Kind::Upload, print, |bytes| server.round(0, bytes).map(drop));
    // A digit outside its range, under a right checksum.
    let mut payload = wire::decode(&message, Kind::Upload, print).unwrap().to_vec();
    let digit = 16 + 4 + 32 + 8 * 100;
    payload[digit..digit + 8].copy_from_slice(&i64::MAX.to_le_bytes());
    let error = server.round(0, &wire::encode(Kind::Upload, print, &payload)).unwrap_err();
    assert_eq!(error, EngineError::Message(WireError::Damaged("a digit is out of range")));
    // After all that the server still works.
    server.round(0, &message).unwrap();
    server.round(0, &message).unwrap();
}

#[test]
fn hostile_downloads() {
    let plan = Arc::new(two_rounds());
    let print = hecc_plan::fingerprint(&plan);
    let (client, mut server) = parties(&plan, Backend::Ckks);
    let message = client.upload(0, &batch(&plan, 1), &states(), &mut Progress::default()).unwrap();
    let answer = server.round(0, &message).unwrap();
    hostile(&answer, Kind::Download, print, |bytes| client.receive(0, bytes, &mut Progress::default()));
    client.receive(0, &answer, &mut Progress::default()).unwrap();
    assert_eq!(client.receive(1, &answer, &mut Progress::default()).unwrap_err().code(), "HE0611");
}

#[test]
fn hostile_keys() {
    let plan = Arc::new(two_rounds());
    let print = hecc_plan::fingerprint(&plan);
    let (client, _) = parties(&plan, Backend::Ckks);
    let (_, mut server) = insecure_parties_for_tests(Arc::clone(&plan), Backend::Ckks, Tensors::new(), 1).unwrap();
    for index in 0..client.keys() {
        let key = client.key(index).unwrap();
        hostile(&key, Kind::Key, print, |bytes| server.accept_key(index, bytes));
        assert!(server.accept_key(index + 1, &key).is_err());
        assert_ne!(client.key(index).unwrap(), key, "keys are made with fresh randomness");
    }
    server.accept_key(0, &client.key(0).unwrap()).unwrap();
    assert_eq!(server.accept_key(99, &client.key(0).unwrap()).unwrap_err().code(), "HE0611");
    let (_, mut bare) = insecure_parties_for_tests(Arc::clone(&plan), Backend::Ckks, Tensors::new(), 1).unwrap();
    bare.accept_key(0, &client.key(0).unwrap()).unwrap();
    let missing = bare.ready().unwrap_err();
    assert_eq!((missing.code(), missing.to_string()), ("HE0606", "the server lacks the rotation key by 64".to_owned()));
    server.accept_key(1, &client.key(1).unwrap()).unwrap();
    server.ready().unwrap();
}

#[test]
fn rounds_run_in_turn() {
    let plan = Arc::new(two_rounds());
    for backend in [Backend::Ckks, Backend::Clear] {
        let (client, mut server) = parties(&plan, backend);
        let data = batch(&plan, 1);
        let mut progress = Progress::default();
        let first = client.upload(0, &data, &states(), &mut progress).unwrap();
        assert_eq!(server.round(1, &first).unwrap_err().code(), "HE0611");
        let answer = server.round(0, &first).unwrap();
        assert_eq!(server.round(2, &first).unwrap_err().code(), "HE0611");
        assert_eq!(server.round(1, &first).unwrap_err().code(), "HE0611");
        client.receive(0, &answer, &mut progress).unwrap();
        let second = client.upload(1, &data, &states(), &mut progress).unwrap();
        server.round(1, &second).unwrap();
        assert_eq!(server.round(1, &second).unwrap_err().code(), "HE0611");
    }
}

#[test]
fn ciphertexts_of_another_key_decrypt_to_noise() {
    let plan = Arc::new(two_rounds());
    let (client, mut server) = parties(&plan, Backend::Ckks);
    let (other, _) = parties(&plan, Backend::Ckks);
    let message = client.upload(0, &batch(&plan, 1), &states(), &mut Progress::default()).unwrap();
    let answer = server.round(0, &message).unwrap();
    let mut progress = Progress::default();
    // Noise fills the whole modulus, beyond what a value may hold.
    assert_eq!(other.receive(0, &answer, &mut progress).unwrap_err().code(), "HE0613");
    let shown = client.upload(0, &batch(&plan, 1), &states(), &mut Progress::default()).unwrap();
    assert_ne!(shown, message, "encryption is randomised");
}

/// What an unencrypted ternary secret or small message would look like: a run of small words.
#[test]
fn messages_hold_no_run_of_small_words() {
    let (plan, public) = every_operation(11, 52, 40);
    let plan = Arc::new(plan);
    let (client, _) = insecure_parties_for_tests(Arc::clone(&plan), Backend::Ckks, public, 1).unwrap();
    let mut messages: Vec<Vec<u8>> = (0..client.keys()).map(|i| client.key(i).unwrap()).collect();
    messages.push(client.upload(0, &batch(&plan, 1), &Tensors::new(), &mut Progress::default()).unwrap());
    for message in messages {
        for offset in 0..8 {
            let mut run = 0;
            for word in message[offset..].chunks_exact(8) {
                let word = i64::from_le_bytes(word.try_into().unwrap());
                run = if (-1..=1).contains(&word) { run + 1 } else { 0 };
                assert!(run < 8);
            }
        }
    }
}
