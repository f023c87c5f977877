//! Every lowering against the reference evaluator of the tensor graph.

use hecc_compiler::{Options, compile};

use crate::support::agrees;

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

#[test]
fn a_network_used_below_its_own_minimize() {
    agrees(
        r#"env "Other-v0" { observe s: [3] in [-1, 1]  act a: [2] in [-1, 1]  reward r in [-2, 2] }
net v(s) -> [1] { dense 6 square dense 1 }
net p(s) -> [2] { dense 4 tanh(degree: 3, range: [-3, 3]) dense 2 }
net c(s, x: [2]) -> [1] { dense 5 square dense 1 }
algorithm chain(v, p, c) {
    parameter optimizer
    minimize mean((v(s) - r)^2) over v with optimizer
    minimize mean((c(s, a) - v(s'))^2) over c with optimizer
    minimize mean(-c(s, p(s))) over p with optimizer
    minimize mean((v(s) - r)^2) over v with sgd(lr: 0.05)
    reveal mean((v(s) - r)^2) as "loss"
    reveal mean(c(s, p(s))) as "gain"
}
train chain(v, p, c) { batch = 16 updates = 2 optimizer = momentum(lr: 0.1, beta: 0.5) average = 0.1 }
secure ckks { refresh = client }"#,
        10,
    );
}

#[test]
fn learning_rates_that_change() {
    for (optimizer, extra) in [
        ("sgd(lr: linear(1.0, 0.1))", ""),
        ("momentum(lr: cosine(0.5, 0), beta: 0.9)", ""),
        ("nesterov(lr: linear(0.01, 1.0), beta: 0.5)", "client = [max]"),
    ] {
        let source = dqn("dense 8 square dense 2", 16, optimizer, extra).replace("updates = 3", "updates = 5");
        agrees(&source, 10);
    }
}

#[test]
fn every_kth_update() {
    let source = r#"env "CartPole-v1" { observe s: [4] in [-4, 4]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 8 square dense 2 }
algorithm hard(q) {
    parameter discount, optimizer
    state t = copy(q)
    let y = stop(r + discount * (1 - done) * max(t(s')))
    minimize mean((dot(q(s), a) - y)^2) over q with optimizer
    every 3 { t <- q }
}
train hard(q) { discount = 0.9 batch = 16 updates = 6 optimizer = momentum(lr: 0.1, beta: 0.5) }
secure ckks { refresh = client }"#;
    agrees(source, 10);
    let plan = compile(source, &Options { insecure_log_n: Some(10), ..Options::default() }).expect("it compiled").plan;
    let due = |state: &str| (0..6).filter(|&update| plan.is_due(state, update)).collect::<Vec<u64>>();
    assert_eq!(due("t.0.weight"), [2, 5]);
    assert_eq!(due("q.0.weight"), [0, 1, 2, 3, 4, 5]);
    let below = source.replace("every 3 { t <- q }", "every 3 { t <- q }\n    reveal mean(t(s)[0]) as \"value\"");
    let errors = compile(&below, &Options { insecure_log_n: Some(10), ..Options::default() }).expect_err("its value depends on the update");
    assert!(errors[0].message.contains("below an `every`"), "{errors:?}");
}

/// An algorithm of one's own on a network and a number.
fn own(net: &str, body: &str, optimizer: &str) -> String {
    format!(
        r#"env "CartPole-v1" {{ observe s: [4] in [-4, 4]  act a: one of 2  reward r in [-1, 1] }}
net q(s) -> [2] {{ {net} }}
algorithm own(q) {{
    parameter optimizer
    {body}
}}
train own(q) {{ batch = 16 updates = 4 optimizer = {optimizer} }}
secure ckks {{ refresh = client }}"#
    )
}

const LOSS: &str = "minimize mean((dot(q(s), a) - r)^2) over q with optimizer";

#[test]
fn numbers_of_ones_own_are_revealed_and_take_constants() {
    for number in [
        "n <- 0.9 * n + 0.1 * mean(r)  reveal n as \"n\"",
        "n <- 0.9 * n + 0.1  reveal mean(r) as \"r\"",
        "n <- 0.9 * n + 0.1 * mean(dot(q(s), a)) + 0.2  reveal n as \"n\"",
        "n <- 0.3",
        "n <- 0 * n",
        "minimize (n - 1)^2 over n with sgd(lr: 0.1)",
    ] {
        agrees(&own("dense 4 square dense 2", &format!("state n = 0.5\n    {LOSS}\n    {number}"), "sgd(lr: 0.1)"), 10);
    }
}

#[test]
fn steps_of_which_nothing_old_is_left() {
    let target = "state t = copy(q)\n    minimize mean((dot(q(s), a) - stop(r + t(s')[0]))^2) over q with optimizer\n    t <- mix(t, q, 1)";
    for optimizer in ["adam(lr: 0.1)", "rmsprop(lr: 0.1)", "momentum(lr: 0.1)"] {
        agrees(&own("dense 2", target, optimizer), 10);
    }
    for optimizer in ["adam(lr: 0.1, beta2: 0, eps: 1)", "rmsprop(lr: 0.1, rho: 0, eps: 1)", "adam(lr: 0.1, beta1: 0)"] {
        agrees(&own("dense 2", LOSS, optimizer), 10);
    }
}

#[test]
fn networks_of_constants() {
    agrees(&own("scale 0 dense 2", LOSS, "sgd(lr: 0.1)"), 10);
    agrees(&own("dense 3 scale 0 dense 2", LOSS, "momentum(lr: 0.1)"), 10);
    for loss in ["mean(sum(q(0 * s)) - r)", "mean((sum(q(s * 0 + 0.5)) - r)^2)"] {
        agrees(&own("dense 3 square dense 2", &format!("minimize {loss} over q with optimizer"), "sgd(lr: 0.1)"), 10);
    }
}
