//! Arrays of NumPy's, and files that are made to hurt.

use std::io::{Cursor, Write};

use hecc_audit::arrays::{DataError, Wanted, read, read_within, transitions};
use hecc_plan::{Tensor, Tensors};
use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

const RECORDED: &[u8] = include_bytes!("fixtures/arrays.npz");

/// An `.npy` file with this header, whatever it says.
fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(header.len()).expect("a short header").to_le_bytes();
    [b"\x93NUMPY\x01\x00".as_slice(), &length, header.as_bytes(), data].concat()
}

fn header(descr: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n")
}

fn npz(entries: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method)).expect("written to memory");
        writer.write_all(bytes).expect("written to memory");
    }
    writer.finish().expect("written to memory").into_inner()
}

fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

#[test]
fn what_numpy_wrote_is_read() {
    let arrays = read(RECORDED, "file").unwrap();
    let eighths: Vec<f64> = (0..24).map(|i| f64::from(i) / 8.0).collect();
    assert_eq!(arrays["s"], Tensor::new(vec![4, 2, 3], eighths.clone()));
    assert_eq!(arrays["s_next"], Tensor::new(vec![4, 2, 3], eighths), "column by column, in single precision");
    assert_eq!(arrays["a"], Tensor::new(vec![4], vec![0.0, 2.0, 1.0, 2.0]));
    assert_eq!(arrays["r"], Tensor::new(vec![4], vec![-1.5, 0.25, 1e300, -0.0]), "of the other byte order");
    assert_eq!(arrays["done"].data, [0.0, 1.0, 0.0, 1.0]);
    assert_eq!(arrays["small"].data, [-128.0, 127.0]);
    assert_eq!(arrays["bytes"], Tensor::new(vec![1, 2], vec![0.0, 255.0]));
    assert_eq!(arrays["matrix"], Tensor::new(vec![2, 3], vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0]));
    assert_eq!(arrays.len(), 8);
}

#[test]
fn a_single_array_is_called_as_its_file() {
    let file = npy(&header("<f8", "(2,)"), &doubles(&[1.0, 2.0]));
    assert_eq!(read(&file, "s").unwrap(), Tensors::from([("s".to_owned(), Tensor::new(vec![2], vec![1.0, 2.0]))]));
    let scalar = npy(&header("<f8", "()"), &doubles(&[3.0]));
    assert_eq!(read(&scalar, "s").unwrap()["s"], Tensor::scalar(3.0));
}

#[test]
fn headers_that_lie_are_refused() {
    let data = doubles(&[1.0, 2.0]);
    let deep = format!("{{'descr': '<f8', 'fortran_order': False, 'shape': {}2{}}}", "(".repeat(1500), ")".repeat(1500));
    let huge = "(18446744073709551615, 18446744073709551615)";
    for (what, text) in [
        ("more than there is", header("<f8", "(3,)")),
        ("less than there is", header("<f8", "(1,)")),
        ("a product beyond all numbers", header("<f8", huge)),
        ("an extent beyond all numbers", header("<f8", "(99999999999999999999999999999,)")),
        ("nothing times everything", header("<f8", "(0, 18446744073709551615)")),
        ("fewer than none", header("<f8", "(-2,)")),
        ("a list of extents", header("<f8", "[2]")),
        ("an extent that is no number", header("<f8", "('2',)")),
        ("too many extents", header("<f8", "(2, 1, 1, 1, 1, 1, 1, 1, 1)")),
        ("brackets without end", deep),
        ("no dictionary", "(1, 2)".to_owned()),
        ("no Python", "{'descr': ".to_owned()),
        ("no type", "{'fortran_order': False, 'shape': (2,)}".to_owned()),
        ("an order that is none", "{'descr': '<f8', 'fortran_order': 3, 'shape': (2,)}".to_owned()),
        ("something else", "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), 'x': 1}".to_owned()),
        ("a shape twice", "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), 'shape': (2,)}".to_owned()),
        ("more than a header is long", format!("{}{}", header("<f8", "(2,)"), " ".repeat(5000))),
    ] {
        let error = read(&npy(&text, &data), "s").expect_err(what);
        assert_eq!(error.code(), "HE0711", "{what}: {error}");
    }
    for descr in ["|O", "<f2", "<c16", "<U4", "<f18446744073709551615", "=f8", "", "<f", "é8"] {
        let error = read(&npy(&header(descr, "(2,)"), &data), "s").expect_err(descr);
        assert_eq!(error.code(), "HE0712", "{descr}: {error}");
    }
    let structure = "{'descr': [('x', '<f8', (18446744073709551615, 2))], 'fortran_order': False, 'shape': (2,)}";
    assert_eq!(read(&npy(structure, &data), "s").expect_err("a structure").code(), "HE0712");
}

#[test]
fn a_header_that_claims_gigabytes_is_not_allocated() {
    let file = [b"\x93NUMPY\x02\x00".as_slice(), &u32::MAX.to_le_bytes(), b"{}"].concat();
    assert_eq!(read(&file, "s").unwrap_err().code(), "HE0711");
}

#[test]
fn every_truncation_is_refused() {
    let file = npy(&header("<f8", "(2,)"), &doubles(&[1.0, 2.0]));
    for end in 0..file.len() {
        assert_eq!(read(&file[..end], "s").expect_err("it is cut").code(), "HE0711", "at {end}");
    }
    for end in 0..RECORDED.len() {
        assert!(read(&RECORDED[..end], "s").is_err(), "at {end}");
    }
}

#[test]
fn what_unpacks_to_too_much_is_refused() {
    let zeros = npy(&header("|u1", "(100000,)"), &[0; 100_000]);
    let bomb = npz(&[("s.npy", zeros)], CompressionMethod::Deflated);
    assert!(bomb.len() < 2000);
    assert_eq!(read_within(&bomb, "f", 50_000).unwrap_err(), DataError::TooLarge { most: 50_000 });
    // As doubles it is eight times as large as unpacked.
    assert_eq!(read_within(&bomb, "f", 700_000).unwrap_err(), DataError::TooLarge { most: 700_000 });
    assert!(read_within(&bomb, "f", 800_000).is_ok());
    let small = npy(&header("<f8", "(1,)"), &doubles(&[1.0]));
    let names: Vec<String> = (0..300).map(|i| format!("{i}.npy")).collect();
    let many: Vec<(&str, Vec<u8>)> = names.iter().map(|name| (name.as_str(), small.clone())).collect();
    assert_eq!(read(&npz(&many, CompressionMethod::Stored), "f").unwrap_err().code(), "HE0713");
}

#[test]
fn archives_of_other_things_are_refused() {
    for bytes in [b"".as_slice(), b"PK\x03\x04", b"no archive", &[0; 4096]] {
        assert_eq!(read(bytes, "s").unwrap_err().code(), "HE0711");
    }
    let text = npz(&[("readme.txt", b"hello".to_vec())], CompressionMethod::Stored);
    assert!(read(&text, "s").unwrap_err().to_string().contains("readme.txt"));
    assert!(read(&npz(&[("s.npy", b"hello".to_vec())], CompressionMethod::Stored), "f").unwrap_err().to_string().contains("`s`"));
}

fn wanted() -> Vec<Wanted> {
    let of = |name: &str, shape: &[usize], choices, required| Wanted { name: name.to_owned(), shape: shape.to_vec(), choices, required };
    vec![of("s", &[2, 3], None, true), of("a", &[3], Some(3), true), of("r", &[], None, false)]
}

fn given(entries: &[(&str, &[usize], &[f64])]) -> Tensors {
    entries.iter().map(|(name, shape, data)| ((*name).to_owned(), Tensor::new(shape.to_vec(), data.to_vec()))).collect()
}

#[test]
fn transitions_are_brought_into_shape() {
    let state: &[f64] = &[0.5; 12];
    let fitted =
        transitions(given(&[("s", &[2, 2, 3], state), ("a", &[2], &[2.0, 0.0]), ("r", &[2, 1], &[1.0, -1.0])]), &wanted()).unwrap();
    assert_eq!(fitted["a"], Tensor::new(vec![2, 3], vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0]));
    assert_eq!(fitted["r"].shape, [2]);
    assert_eq!(fitted["s"].shape, [2, 2, 3]);
    let hot = given(&[("s", &[2, 2, 3], state), ("a", &[2, 3], &[0.0, 1.0, 0.0, 1.0, 0.0, 0.0])]);
    assert_eq!(transitions(hot.clone(), &wanted()).unwrap(), hot, "the reward may be missing");
}

#[test]
fn arrays_that_are_no_transitions_are_told_by_name() {
    let state: &[f64] = &[0.5; 12];
    let choice: (&str, &[usize], &[f64]) = ("a", &[2], &[2.0, 0.0]);
    for (what, code, arrays) in [
        ("`b`", "HE0714", given(&[("b", &[2], &[0.0, 0.0])])),
        ("no array `a`", "HE0714", given(&[("s", &[2, 2, 3], state)])),
        ("[B, 2, 3]", "HE0715", given(&[("s", &[2, 3, 2], state), choice])),
        ("as many samples", "HE0715", given(&[("s", &[2, 2, 3], state), ("a", &[3], &[0.0; 3])])),
        ("[B]", "HE0715", given(&[("s", &[2, 2, 3], state), choice, ("r", &[], &[1.0])])),
        ("finite", "HE0716", given(&[("s", &[2, 2, 3], state), choice, ("r", &[2], &[1.0, f64::NAN])])),
        ("from 0 to 2", "HE0716", given(&[("s", &[2, 2, 3], state), ("a", &[2], &[3.0, 0.0])])),
        ("from 0 to 2", "HE0716", given(&[("s", &[2, 2, 3], state), ("a", &[2], &[0.5, 0.0])])),
        ("0 or 1", "HE0716", given(&[("s", &[2, 2, 3], state), ("a", &[2, 3], &[0.5, 0.5, 0.0, 1.0, 0.0, 0.0])])),
        ("one 1", "HE0716", given(&[("s", &[2, 2, 3], state), ("a", &[2, 3], &[1.0, 1.0, 0.0, 1.0, 0.0, 0.0])])),
    ] {
        let error = transitions(arrays, &wanted()).expect_err(what);
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(what), "{error}");
    }
}

proptest! {
    #[test]
    fn damage_never_panics(at in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut archive = RECORDED.to_vec();
        let mut single = npy(&header("<f8", "(2, 1)"), &doubles(&[1.0, 2.0]));
        for (index, byte) in at {
            let (i, j) = (index.index(archive.len()), index.index(single.len()));
            archive[i] = byte;
            single[j] = byte;
        }
        // Some damage hits what nothing depends on; what is read is whole.
        for arrays in [read(&archive, "f"), read(&single, "f")].into_iter().flatten() {
            prop_assert!(arrays.values().all(|array| array.shape.iter().product::<usize>() == array.data.len()));
        }
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,80}") {
        let _ = read(&bytes, "f");
        let _ = read(&npy(&text, &bytes), "f");
        let _ = read(&[b"PK\x03\x04".as_slice(), &bytes].concat(), "f");
    }
}
