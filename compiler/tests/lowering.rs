//! Every lowering against the reference evaluator of the tensor graph.

mod support;

use hecc_compiler::tensor::Output;
use hecc_compiler::{Options, check, compile};
use hecc_plan::Target;

/// Compiles, runs the plan on clear slots and the unoptimised graph beside it, and compares everything that leaves.
fn agrees(source: &str, log_n: u32) {
    let program = check(source).unwrap_or_else(|e| panic!("{e:?}\n{source}"));
    let compiled = compile(source, &Options { insecure_log_n: Some(log_n) }).unwrap_or_else(|e| panic!("{e:?}\n{source}"));
    let plan = &compiled.plan;
    let (batch, states) = support::data(&program, plan, 7);
    let values = support::run_plan(plan, &batch, &states);
    let functions = support::Approximated(&program);
    let built = hecc_compiler::tensor::build::build(&program, false).expect("it compiled");
    for (name, graph) in [("built", &built.graph), ("optimised", &compiled.graph)] {
        for (output, want) in support::run_graph(&program, graph, &batch, &states, &functions) {
            let got = match &output {
                Output::State(name) => match values.get(&Target::State(name.clone())) {
                    Some(value) => value.data.clone(),
                    None => states[name].data.clone(),
                },
                Output::Result(name) => {
                    let found = values.iter().find(|(t, _)| matches!(t, Target::Result { name: n, .. } if n == name));
                    found.unwrap_or_else(|| panic!("no result {name}")).1.data.clone()
                }
            };
            assert_eq!(got.len(), want.len(), "{output:?}");
            for (i, (g, w)) in got.iter().zip(&want).enumerate() {
                assert!((g - w).abs() < 1e-8 * (1.0 + w.abs()), "{name}: {output:?}[{i}]: plan {g}, graph {w}\n{source}");
            }
        }
    }
}

fn dqn(net: &str, batch: usize, optimizer: &str, secure: &str) -> String {
    format!(
        r#"use std.dqn
env "CartPole-v1" {{
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
}}
net q(s) -> [2] {{ {net} }}
train dqn(q) {{ discount = 0.99 batch = {batch} updates = 3 average = 0.05 optimizer = {optimizer} tau = 0.01 }}
secure ckks {{ refresh = client {secure} }}"#
    )
}

#[test]
fn dqn_with_a_polynomial_maximum() {
    agrees(&dqn("dense 8 relu(degree: 2, range: [-2, 2]) dense 2 init small", 16, "momentum(lr: 1.0, beta: 0.9)", ""), 10);
}

#[test]
fn dqn_with_groups_and_unfilled_lanes() {
    for batch in [3, 64, 100, 150] {
        agrees(&dqn("dense 8 relu(degree: 2) dense 2", batch, "nesterov(lr: 0.5, beta: 0.9)", ""), 10);
    }
}

#[test]
fn dqn_with_the_clients_maximum() {
    agrees(&dqn("dense 8 square dense 2", 16, "sgd(lr: 0.1)", "client = [max]"), 10);
}

#[test]
fn deep_networks_of_odd_widths() {
    agrees(&dqn("dense 5 silu(degree: 3) dense 7 tanh(degree: 4) dense 2", 10, "sgd(lr: 0.1)", ""), 11);
    agrees(&dqn("dense 3 nobias square residual { dense 3 sigmoid(degree: 2) } scale 0.5 dense 2", 10, "sgd(lr: 0.1)", ""), 11);
}

#[test]
fn activations_of_any_degree() {
    for f in ["relu", "silu", "tanh", "sigmoid", "softplus", "gelu", "mish"] {
        for degree in [1, 2, 3, 4, 5, 7, 8, 15] {
            let net = format!("dense 4 {f}(degree: {degree}, range: [-3, 3]) dense 2");
            agrees(&dqn(&net, 8, "sgd(lr: 0.1)", "client = [max]"), 10);
        }
    }
    agrees(&dqn("dense 4 silu(degree: 6, range: [-1, 4]) dense 2", 8, "sgd(lr: 0.1)", "client = [max]"), 10);
    agrees(&dqn("dense 4 poly(0.1, 0.5, 0.25, -0.1) dense 2", 8, "sgd(lr: 0.1)", "client = [max]"), 10);
}

#[test]
fn a_served_network_public_and_secret() {
    let serve = |net: &str, public: &str| {
        format!(
            r#"env "Pendulum-v1" {{ observe s: [3] in [-1, 1], [-1, 1], [-8, 8]  act a: [1] in [-2, 2]  reward r in [-16.3, 0] }}
net actor(s) -> [1] {{ {net} }}
serve actor(s) {{ batch = 12 }}
secure ckks {{ secret = [s] {public} }}"#
        )
    };
    for public in ["", "public = [actor]"] {
        agrees(&serve("dense 16 silu dense 5 tanh(degree: 5) dense 1 tanh", public), 10);
        agrees(&serve("dense 7 nobias relu(degree: 2) dense 1", public), 10);
    }
}

#[test]
fn a_custom_algorithm_with_every_kind_of_expression() {
    agrees(
        r#"env "Other-v0" { observe s: [3] in [-1, 1]  observe x: [2] in [0, 4]  act a: one of 3  reward r in [-2, 2] }
net q(s, x) -> [3] { dense 6 square dense 3 }
net v(s) -> [1] { dense 4 tanh(degree: 3, range: [-2, 2]) dense 1 }
algorithm mixed(q, v) {
    parameter discount, optimizer
    state t = copy(q)
    state u = copy(v)
    let target = stop(r + discount * (1 - done) * max(t(s', x'), degree: 4, range: [-3, 3]))
    let e = dot(q(s, x), a) - target
    t <- mix(t, q, 0.1)
    minimize mean(e^2) over q with optimizer
    minimize mean((v(s) - max(u(s'), dot(old(q)(s, x), a), degree: 2, range: [-4, 4]))^2) + 0.01 * mean(v(s)^2) over v with sgd(lr: 0.2)
    u <- mix(u, v, 0.05)
    reveal mean(e^2) as "loss"
}
train mixed(q, v) { discount = 0.9 batch = 11 updates = 2 optimizer = momentum(lr: 0.3, beta: 0.5) }
secure ckks { refresh = client }"#,
        11,
    );
}
