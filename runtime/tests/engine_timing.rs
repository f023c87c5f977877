//! How long operations take at a secure size: `cargo test --release -p hecc-runtime --test suite -- --ignored --nocapture engine_timing::`.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Instant;

use hecc_plan::{Matrix, MatrixId, Op, Plan, Tensor, Tensors, WireId};
use hecc_runtime::engine::{Backend, Engine, Update};

use crate::engine_support::{Builder, batch};

const REPEATS: u32 = 20;

fn base(k: u32) -> (Builder, WireId, WireId) {
    let mut b = Builder::new(14, 52, 40, k);
    b.plan.ckks.security_bits = 128;
    let (x, y) = (b.input("x", k), b.input("y", k));
    (b, x, y)
}

fn run(plan: Plan, public: &Tensors, threads: usize) -> (Engine, Update) {
    let plan = Arc::new(plan);
    let mut engine = Engine::new(Arc::clone(&plan), Backend::Ckks, public.clone(), threads, &mut |_, _| {}).unwrap();
    let data = batch(&plan, 1);
    engine.update(&data, &mut Tensors::new()).unwrap();
    let updates: Vec<Update> = (0..3).map(|_| engine.update(&data, &mut Tensors::new()).unwrap()).collect();
    let best = updates.into_iter().min_by(|a, b| a.server_seconds.total_cmp(&b.server_seconds)).unwrap();
    (engine, best)
}

#[test]
#[ignore = "a minute: cargo test --release -p hecc-runtime --test suite -- --ignored --nocapture engine_timing::"]
fn operations_at_2_14() {
    for k in [364, 208, 104] {
        let (mut b, x, _) = base(k);
        b.output("x", x);
        let (_, nothing) = run(b.finish(), &Tensors::new(), 1);
        println!("k={k}: round trip of 2 inputs and 1 output: client {:.1} ms", 1e3 * nothing.client_seconds);
        let time = |name: &str, make: &dyn Fn(&mut Builder, WireId, WireId) -> WireId| {
            let (mut b, x, y) = base(k);
            b.output("x", x);
            for _ in 0..REPEATS {
                make(&mut b, x, y);
            }
            let plan = b.finish();
            let (_, one) = run(plan.clone(), &Tensors::new(), 1);
            let (_, two) = run(plan, &Tensors::new(), 2);
            let each = |u: &Update| 1e3 * (u.server_seconds - nothing.server_seconds) / f64::from(REPEATS);
            println!("  {name:<26} {:>7.2} ms, on two threads {:>7.2} ms", each(&one), each(&two));
        };
        time("add", &|b, x, y| b.step(Op::Add(x, y), 40, k));
        time("mul_const", &|b, x, _| b.step(Op::MulConst { a: x, c: 0.3, bits: 20 }, 40, k - 20));
        time("rotate", &|b, x, _| b.step(Op::Rotate { a: x, by: 512 }, 40, k));
        time("dot of 1", &|b, x, y| b.step(Op::Dot(vec![(x, y)]), 40, k - 40));
        time("square", &|b, x, _| b.step(Op::Dot(vec![(x, x)]), 40, k - 40));
        time("dot of 4", &|b, x, y| b.step(Op::Dot(vec![(x, y), (x, x), (y, y), (y, x)]), 40, k - 40));
        time("dot of 1, narrow result", &|b, x, y| b.step(Op::Dot(vec![(x, y)]), 40, 52));
        time("halve", &|b, x, _| b.step(Op::Halve { a: x, bits: 2 }, 42, k));
        time("narrow", &|b, x, _| b.step(Op::Narrow(x), 40, k - 40));
    }
}

#[test]
#[ignore = "a minute: cargo test --release -p hecc-runtime --test suite -- --ignored --nocapture engine_timing::"]
fn keys_and_matrices_at_2_14() {
    let (mut b, x, _) = base(364);
    let public = Tensors::from([("w".to_owned(), Tensor::new(vec![16, 16], (0..256).map(|i| f64::from(i).sin()).collect()))]);
    b.plan.public.push(("w".to_owned(), vec![16, 16]));
    b.plan.matrices.push(Matrix { name: "w".to_owned(), ties: None, rows: 16, cols: 16, baby: 4, factor: 1.0, scale: 40 });
    let mapped = b.step(Op::Linear(x, MatrixId(0)), 40, 60);
    b.output("y", mapped);
    let plan = b.finish();
    let start = Instant::now();
    let (engine, update) = run(plan.clone(), &public, 0);
    println!(
        "{} keys, {} MiB, first update and three more: {:.2} s",
        plan.keys.rotations.len(),
        engine.key_bytes() >> 20,
        start.elapsed().as_secs_f64()
    );
    println!("linear 16x16: server {:.1} ms, client {:.1} ms", 1e3 * update.server_seconds, 1e3 * update.client_seconds);
}
