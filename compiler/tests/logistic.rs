//! Logistic regression by Nesterov's accelerated gradient, an algorithm of a user's own.

use std::path::Path;

use hecc_compiler::check::hir::{Pins, Range};
use hecc_compiler::schemes::ckks::approximate::approximate;
use hecc_compiler::tensor::graph::Elementwise;
use hecc_compiler::tensor::{Output, build};
use hecc_compiler::{Options, check, compile};
use hecc_plan::{Function, Op, Plan};

use crate::support::{self, Approximated};

/// The step, and how far the look-ahead goes.
const RATE: f64 = 0.5;
const GAMMA: f64 = 0.9;

fn source() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/logistic_nesterov.rl");
    std::fs::read_to_string(path).expect("the program is there")
}

fn one_ciphertext_and_bootstrap(plan: &Plan) {
    let bootstraps = plan.steps.iter().filter(|step| matches!(step.op, Op::Bootstrap(_))).count();
    assert_eq!(plan.carried.len(), 1, "weights and look-ahead share a ciphertext");
    assert!(bootstraps <= plan.updates() as usize, "{bootstraps} bootstraps in {} updates", plan.updates());
    assert!(plan.rounds.iter().all(|round| round.outputs.is_empty()), "the client gets nothing back");
}

#[test]
fn one_bootstrap_per_update_or_fewer() {
    let compiled = support::agrees_alone(&source(), 10);
    one_ciphertext_and_bootstrap(&compiled.plan);
    // As a user compiles it.
    let compiled = compile(&source(), &Options::default()).expect("it compiles");
    one_ciphertext_and_bootstrap(&compiled.plan);
    assert!(compiled.plan.ckks.security_bits >= 128);
}

#[test]
fn it_is_nesterovs_recursion() {
    let program = check(&source()).expect("it checks");
    let built = build::build(&program, false).expect("it builds");
    let functions = Approximated::new(&program);
    let pins = Pins { degree: Some(3), range: Some(Range { low: -6.0, high: 6.0 }), within: None };
    let sigmoid = approximate(&Elementwise::Named(Function::Sigmoid), &pins, 0.0, usize::MAX);
    let (_, mut states) = support::data_of(&program, &built, 3);
    for name in ["weight", "bias"] {
        let start = states[&format!("v.0.{name}")].clone();
        for net in ["theta", "phi"] {
            states.insert(format!("{net}.0.{name}"), start.clone());
        }
    }
    // Weights, then the bias.
    let of = |net: &str, states: &hecc_plan::Tensors| {
        [&states[&format!("{net}.0.weight")].data[..], &states[&format!("{net}.0.bias")].data].concat()
    };
    let (mut theta, mut phi) = (of("theta", &states), of("phi", &states));
    for update in 0..5 {
        let (batch, _) = support::data_of(&program, &built, 100 + update);
        let (rewards, rows) = (&batch["r"].data, batch["r"].data.len());
        let mut gradient = vec![0.0; 9];
        for (x, r) in batch["x"].data.chunks(8).zip(rewards) {
            let x = [x, &[1.0]].concat();
            let z: f64 = x.iter().zip(&phi).map(|(x, w)| x * w).sum();
            gradient.iter_mut().zip(&x).for_each(|(g, x)| *g += (sigmoid.eval(z) - r) * x / rows as f64);
        }
        let next: Vec<f64> = phi.iter().zip(&gradient).map(|(p, g)| p - RATE * g).collect();
        phi = next.iter().zip(&theta).map(|(n, t)| n + GAMMA * (n - t)).collect();
        theta = next;
        for (output, values) in support::run_graph(&program, &built.graph, &batch, &states.clone(), &functions) {
            if let Output::State(name) = output {
                states.get_mut(&name).expect("a state").data = values;
            }
        }
        for (net, want) in [("theta", &theta), ("phi", &phi)] {
            for (got, want) in of(net, &states).iter().zip(want) {
                assert!((got - want).abs() < 1e-9, "update {update}: {net}: {got} instead of {want}");
            }
        }
    }
}
