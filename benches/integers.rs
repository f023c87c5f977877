//! Seconds per action of a policy on exact integers, and per update of a small network, with the engine reused.
//!
//!     cargo bench --bench integers            # all
//!     cargo bench --bench integers action     # one group
//!
//! All cores are used. Keys are made before the clock starts; encryption, the server's circuit and decryption count.

use std::path::Path;
use std::sync::Arc;

use divan::Bencher;
use hecc_compiler::schemes::tfhe::{self, Given};
use hecc_plan::{Tensor, Tensors, init};
use hecc_runtime::arrays;
use hecc_runtime::integers::{Backend, Engine};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

fn fixture(name: &str) -> Tensors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    arrays::read(&std::fs::read(path).expect("a fixture is readable")).expect("a fixture is whole")
}

fn engine(source: &str, given: &Given) -> (Engine, Arc<hecc_plan::tfhe::Plan>) {
    let program = hecc_compiler::front::check(source).expect("the program checks");
    let plan = Arc::new(tfhe::compile(&program, source, given).expect("the program compiles").plan);
    (Engine::new(Arc::clone(&plan), Backend::Tfhe, 0, &mut |_, _| {}).expect("an engine"), plan)
}

/// One action of 4-HIDDEN-2 with public weights, `w4 a4`, the comparison included.
#[divan::bench(args = [16, 64], sample_count = 15, sample_size = 1)]
fn action(bencher: Bencher, hidden: usize) {
    let source = include_str!("../examples/integers/cartpole_policy.rl").replace("dense 16", &format!("dense {hidden}"));
    let sample = fixture(&format!("policy_{hidden}_observations.safetensors"));
    let rows: Vec<Tensor> = sample["s"].data.chunks(4).map(|row| Tensor::new(vec![1, 4], row.to_vec())).collect();
    let (mut engine, _) = engine(&source, &Given { weights: fixture(&format!("policy_{hidden}.safetensors")), sample });
    let mut next = rows.iter().cycle();
    bencher.bench_local(|| {
        let batch = Tensors::from([("s".to_owned(), next.next().expect("rows").clone())]);
        engine.update(&batch, &mut Tensors::new()).expect("an action")
    });
}

/// One update of DQN with 4-8-2, batch 4, everything secret, `w4 a4`.
#[divan::bench(sample_count = 2, sample_size = 1)]
fn dqn(bencher: Bencher) {
    let (mut engine, plan) = engine(include_str!("../examples/integers/cartpole_dqn.rl"), &Given::default());
    let mut states = init::initial_states(&plan.states, 0);
    let array = |shape: &[usize], value: f64| Tensor::new(shape.to_vec(), vec![value; shape.iter().product()]);
    let batch = Tensors::from([
        ("s".to_owned(), array(&[4, 4], 0.3)),
        ("s_next".to_owned(), array(&[4, 4], -0.2)),
        ("a".to_owned(), Tensor::new(vec![4, 2], vec![1.0, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0])),
        ("r".to_owned(), array(&[4], 1.0)),
        ("done".to_owned(), array(&[4], 0.0)),
    ]);
    bencher.bench_local(|| engine.update(&batch, &mut states).expect("an update"));
}
