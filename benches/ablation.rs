//! What each pass gives the examples: plans without it against plans with all of them: `cargo bench --bench ablation`.
//!
//! Seconds are the predicted ones of an update, on all threads, and what crosses takes over the default link, by which plans are
//! chosen; a ratio of their sums above 1 is what leaving the pass out costs.

use hecc_compiler::passes::{NAMES, PassName};
use hecc_compiler::{Compiled, Options, compile};
use hecc_plan::cost::{CostTable, predict};

// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the examples can be listed")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rl"))
        .collect();
    files.sort();
    println!(
        "{:<22} {:<10} {:>9} {:>7} {:>7} {:>6} {:>10} {:>9}",
        "program", "without", "seconds", "link", "ratio", "depth", "rotations", "products"
    );
    for file in files {
        let name = file.file_stem().expect("an example has a name").to_string_lossy().into_owned();
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        let source = std::fs::read_to_string(&file).expect("an example");
        let mut whole = None;
        for without in std::iter::once(None).chain(NAMES.map(Some)) {
            let options = Options { without: without.into_iter().collect(), ..Options::default() };
            let label = without.map_or("-", PassName::as_str);
            match compile(&source, &options) {
                Ok(compiled) => row(&name, label, &compiled, &mut whole),
                Err(errors) => println!("{name:<22} {label:<10} {}", errors[0].message),
            }
        }
    }
}

fn row(name: &str, without: &str, compiled: &Compiled, whole: &mut Option<f64>) {
    let prediction = predict(&compiled.plan, CostTable::built_in(), 0);
    let (seconds, link) = (prediction.seconds_per_update, prediction.link_seconds);
    let ratio = (seconds + link) / *whole.get_or_insert(seconds + link);
    let measure = &compiled.measure;
    println!(
        "{name:<22} {without:<10} {seconds:>9.3} {link:>7.3} {ratio:>7.2} {:>6} {:>10} {:>9}",
        measure.depth_bits, measure.rotations, measure.products
    );
}
