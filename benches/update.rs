//! Seconds per update on ciphertexts, with the engine reused, and of compilation.
//!
//!     cargo bench --bench update            # all
//!     cargo bench --bench update cartpole   # one group
//!
//! All cores are used; HECC_THREADS says how many, where not all. Keys are made before the clock starts. An update is both
//! parties' work: encryption of batch and weights, the server's circuit, decryption. `cargo bench --bench parts` tells them apart.

#[allow(dead_code, reason = "what bootstraps is timed by the other bench")]
mod workload;

use divan::Bencher;
use workload::{Workload, wide};

fn main() {
    divan::main();
}

#[divan::bench(args = [256, 1024], sample_count = 5, sample_size = 1)]
fn cartpole(bencher: Bencher, batch: usize) {
    run(bencher, &mut Workload::cartpole(batch));
}

#[divan::bench(args = [16, 32], sample_count = 10, sample_size = 1)]
fn regression(bencher: Bencher, batch: usize) {
    run(bencher, &mut Workload::regression(batch));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn actor(bencher: Bencher) {
    run(bencher, &mut Workload::actor());
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn compile_wide(bencher: Bencher) {
    bencher.bench_local(|| wide().steps.len());
}

fn run(bencher: Bencher, workload: &mut Workload) {
    // The first update prepares what later ones reuse.
    workload.update();
    bencher.bench_local(|| workload.update());
}
