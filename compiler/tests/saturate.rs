//! What equality saturation does to lowered plans: never worse, in sum better, and the same every time.

use std::fs;
use std::path::Path;

use hecc_compiler::passes::PassName;
use hecc_compiler::schemes::ckks::Measure;
use hecc_compiler::{Compiled, Options, compile, diagnostics};

fn programs(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut files: Vec<_> = fs::read_dir(&root)
        .expect("a folder of programs")
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|x| x == "rl"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), fs::read_to_string(path).expect("a program")))
        .collect()
}

fn compiled(source: &str, small: bool, without: &[PassName]) -> Compiled {
    let options = Options { insecure_log_n: small.then_some(10), without: without.to_vec(), ..Options::default() };
    compile(source, &options).unwrap_or_else(|e| panic!("{}", diagnostics::render(&e, source, "program.rl", false)))
}

/// Measures without and with saturation.
fn both(name: &str, source: &str, small: bool) -> (Measure, Measure) {
    let (without, with) = (compiled(source, small, &[PassName::Saturate]).measure, compiled(source, small, &[]).measure);
    println!(
        "{name:<22} depth {:4} -> {:4}  rotations {:5} -> {:5}  products {:5} -> {:5}  relinearisations {:5} -> {:5}",
        without.depth_bits,
        with.depth_bits,
        without.rotations,
        with.rotations,
        without.products,
        with.products,
        without.relinearisations,
        with.relinearisations
    );
    (without, with)
}

#[test]
fn golden_programs_never_cost_more() {
    for (name, source) in programs("tests/golden") {
        let (without, with) = both(&name, &source, true);
        assert!(with == without || with.beats(&without), "{name}");
    }
    for (name, source) in programs("examples") {
        let (without, with) = both(&name, &source, false);
        assert!(with == without || with.beats(&without), "{name}");
    }
}
