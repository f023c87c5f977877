//! Planning time: a loop's refreshes, and bootstraps inside bodies of thousands of operations.
//!
//!     cargo bench --bench planner
//!
//! How good the plans are is printed by `cargo test -p hecc-compiler --test suite -- --ignored --nocapture ratios`.

use divan::Bencher;
use hecc_compiler::planner::{
    Bits, Carried, Components, Curve, Dag, Limits, LoopBody, MaxPlus, Node, Offer, Packing, Party, Relinearisable, Ring, place,
    place_in_loop, plan_loop, relinearise,
};

fn main() {
    divan::main();
}

/// Bootstraps as measured: seconds by the bits left after.
fn offer() -> Offer {
    let points = [(140, 4.7), (525, 8.6), (595, 9.3)].map(|(bits, seconds)| (Bits(bits), seconds));
    Offer {
        name: "full".into(),
        party: Party::Server,
        slots: 1 << 15,
        input: Bits(10),
        output: Bits(595),
        seconds: Curve::new(points.to_vec()).expect("it grows"),
        moment_seconds: 0.0,
        traffic: Curve::constant(0.0),
        key_bytes: 0,
        memory_bytes: 0,
    }
}

fn node(spent: u32, operands: &[usize]) -> Node {
    let seconds = Curve::linear(0.1, 0.001);
    Node { spent: Bits(spent), seconds, ciphertexts: 1, operands: operands.to_vec(), available: Bits(500), required: None }
}

fn chain(count: usize) -> Dag {
    Dag { nodes: (0..count).map(|at| if at == 0 { node(0, &[]) } else { node(28, &[at - 1]) }).collect() }
}

/// Diamonds in a row: 2^(count / 3) paths.
fn diamonds(count: usize) -> Dag {
    let mut nodes = vec![node(0, &[])];
    while nodes.len() < count {
        let from = nodes.len() - 1;
        nodes.extend([node(28, &[from]), node(20, &[from]), node(0, &[from + 1, from + 2])]);
    }
    Dag { nodes }
}

/// Forward and backward through a deep network, activations and weights used in both.
fn network(count: usize) -> Dag {
    let layers = count / 6;
    let mut nodes = vec![node(0, &[])];
    let mut last = 0;
    let mut layer = Vec::new();
    for _ in 0..layers {
        let weight = nodes.len();
        nodes.extend([Node { ciphertexts: 4, ..node(0, &[]) }, node(28, &[last, weight]), node(28, &[weight + 1, weight + 1])]);
        layer.push((weight, last));
        last = weight + 2;
    }
    for (weight, activation) in layer.into_iter().rev() {
        let at = nodes.len();
        nodes.extend([node(28, &[last, weight + 1]), node(28, &[at, activation]), node(28, &[at, weight])]);
        nodes[at + 1].required = Some(Bits(20));
        last = at + 2;
    }
    Dag { nodes }
}

#[divan::bench(args = [1000, 8000], sample_count = 3)]
fn place_chain(bencher: Bencher<'_, '_>, count: usize) {
    let (dag, offer) = (chain(count), offer());
    bencher.bench(|| place(&dag, &offer));
}

#[divan::bench(args = [1000, 8000], sample_count = 3)]
fn place_diamonds(bencher: Bencher<'_, '_>, count: usize) {
    let (dag, offer) = (diamonds(count), offer());
    bencher.bench(|| place(&dag, &offer));
}

#[divan::bench(args = [1000, 8000], sample_count = 3)]
fn place_network(bencher: Bencher<'_, '_>, count: usize) {
    let (dag, offer) = (network(count), offer());
    bencher.bench(|| place(&dag, &offer));
}

/// The first weight is carried: it becomes its gradient.
#[divan::bench(args = [100, 1000], sample_count = 3)]
fn place_network_in_loop(bencher: Bencher<'_, '_>, count: usize) {
    let (dag, offer) = (network(count), offer());
    let carried = [(1, dag.nodes.len() - 2)];
    bencher.bench(|| place_in_loop(&dag, &carried, &offer));
}

#[divan::bench(args = [1000, 8000], sample_count = 3)]
fn relinearise_sums_of_products(bencher: Bencher<'_, '_>, count: usize) {
    let operation = |at: usize| {
        let (components, operands) = match at % 4 {
            _ if at < 4 => (Components::Two, vec![]),
            0 => (Components::Most, vec![at - 1, at - 2]),
            _ => (Components::Three, vec![at - at % 4, at - at % 4 - 4 * usize::from(at >= 8)]),
        };
        Relinearisable { components, operands, cost: 5, extra: 1, output: at + 1 == count }
    };
    let operations: Vec<Relinearisable> = (0..count).map(operation).collect();
    bencher.bench(|| relinearise::run(&operations));
}

/// Values of an eighth of the slots; each feeds itself and the next.
#[divan::bench(args = [2, 4, 6, 9], sample_count = 3)]
fn plan_a_loop(bencher: Bencher<'_, '_>, values: usize) {
    let spent = |to: usize, from: usize| match (to + values - from) % values {
        0 => Some(Bits(28 * (from as u32 % 4 + 1))),
        1 => Some(Bits(28)),
        _ => None,
    };
    let rows: Vec<Vec<Option<Bits>>> = (0..values).map(|to| (0..values).map(|from| spent(to, from)).collect()).collect();
    let carried = (0..values).map(|at| Carried { name: format!("v{at}"), slots: 4096, demand: Bits(0) }).collect();
    let body = LoopBody { carried, decay: MaxPlus::from_rows(&rows).expect("it is square"), trips: 50 };
    let packing =
        Packing { enter_bits: Bits(28), leave_bits: Bits(28), enter: Curve::linear(0.0, 0.0002), leave: Curve::linear(0.0, 0.0004) };
    let rings = [Ring { log_n: 16, update: Curve::linear(0.1, 0.002), packing, offers: vec![offer()] }];
    bencher.bench(|| plan_loop(&body, &rings, Limits::default()));
}
