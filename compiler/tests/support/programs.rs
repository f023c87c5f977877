//! Random valid programs.

use proptest::prelude::*;
use proptest::sample::select;

const ACTIVATIONS: [&str; 12] = [
    "",
    "square",
    "relu(degree: 2)",
    "relu(degree: 4, range: [-3, 2])",
    "silu(degree: 3)",
    "tanh(degree: 4, range: [-2, 3])",
    "sigmoid(degree: 3)",
    "softplus(degree: 5)",
    "gelu(degree: 6)",
    "mish(degree: 1)",
    "poly(0.1, 0.5, 0.25, -0.1)",
    "tanh(degree: 7)",
];

const OPTIMIZERS: [&str; 5] = [
    "sgd(lr: 0.1)",
    "momentum(lr: 0.3, beta: 0.5)",
    "nesterov(lr: 0.2, beta: 0.9)",
    "sgd(lr: linear(0.2, 0.05))",
    "momentum(lr: cosine(0.1, 0.3), beta: 0.5)",
];

/// Losses on a net `q` with as many outputs as the action has elements; `y` is a target, `s` the state.
const LOSSES: [&str; 14] = [
    "mean((dot(q(s), a) - r)^2)",
    "mean((dot(q(s), a) - y)^2)",
    "0.5 * mean((q(s)[1] - y)^2)",
    "0.1 * mean(sum(q(s)^2))",
    "mean(mean(q(s)))",
    "mean(max(q(s)[0], r, degree: 2, range: [-3, 3]))",
    "-mean(min(q(s)[0], q(s)[1], degree: 4, range: [-3, 3]))",
    "0.2 * mean((dot(q(s), a) - y)^3)",
    "mean(tanh(q(s)[0], degree: 3, range: [-2, 2]) * r)",
    "0.1 * mean(dot(concat(q(s), r), concat(a, y))^2)",
    "mean((dot(old(q)(s), a) - r) * dot(q(s'), stop(q(s))))",
    "0.01 * sum((dot(q(s), a) + done / 2)^2)",
    "mean(dot(q(s), a) / (2 + s[0]))",
    "mean(exp(q(s)[0], degree: 3, range: [-2, 2]) - q(s)[1])",
];

const TARGETS: [&str; 5] = [
    "stop(r + discount * (1 - done) * max(t(s')))",
    "stop(r + discount * (1 - done) * max(q(s'), degree: 2, range: [-3, 3]))",
    "stop(r + discount * dot(t(s'), a))",
    "r - 0.5 * done",
    "stop(min(t(s')[0], q(s')[1], degree: 3, range: [-4, 4]) * (1 - done) + r)",
];

fn layer() -> impl Strategy<Value = String> {
    (1usize..=8, select(&ACTIVATIONS[..]), select(vec!["", "", "nobias", "init small", "init he"]), 0u8..6).prop_map(
        |(width, activation, option, kind)| match kind {
            0 => format!("dense {width} {option} {activation} scale 0.5"),
            1 => format!("dense {width} {option} residual {{ dense {width} {activation} }}"),
            _ => format!("dense {width} {activation} {option}"),
        },
    )
}

fn net(name: &'static str, outputs: usize) -> impl Strategy<Value = String> {
    (prop::collection::vec(layer(), 0..=2), select(vec!["", "nobias", "init small"]))
        .prop_map(move |(layers, last)| format!("net {name}(s) -> [{outputs}] {{ {} dense {outputs} {last} }}\n", layers.join(" ")))
}

fn environment(dim: usize, actions: usize, discrete: bool) -> String {
    let act = if discrete { format!("one of {actions}") } else { format!("[{actions}] in [-2, 2]") };
    format!("env \"Other-v0\" {{ observe s: [{dim}] in [-1.5, 1]  act a: {act}  reward r in [-1, 1] }}\n")
}

/// A training program: a standard algorithm or one of its own.
pub fn training() -> impl Strategy<Value = String> {
    let shape = (1usize..=6, 2usize..=4, any::<bool>(), 1usize..=40, 1usize..=3);
    let settings =
        (select(&OPTIMIZERS[..]), select(vec!["off", "0.05"]), select(vec!["[]", "[max]", "[argmax, min]", "[tanh, exp, max]"]), 0u8..6);
    let own = (prop::collection::vec(select(&LOSSES[..]), 1..=2), select(&TARGETS[..]), any::<bool>(), any::<bool>());
    (shape, settings, own).prop_flat_map(
        |((dim, actions, discrete, batch, n_step), (optimizer, average, client, kind), (losses, target, reveal, order))| {
            net("q", actions).prop_map(move |net| {
                let loss = losses.join(" + ");
                let mix = "t <- mix(t, q, 0.1)";
                let minimize = format!("minimize {loss} over q with optimizer");
                let body = if order { format!("{mix}\n    {minimize}") } else { format!("{minimize}\n    {mix}") };
                let reveal = if reveal { "reveal mean(y) as \"target\"" } else { "" };
                let (discrete, client, head, name) = match kind {
                    0 => (true, client, "use std.dqn\n".to_owned(), "dqn"),
                    1 => (true, "[argmax]", "use std.double_dqn\n".to_owned(), "double_dqn"),
                    _ => {
                        let text = format!(
                            "algorithm own(q) {{\n    parameter discount, optimizer\n    state t = copy(q)\n    let y = {target}\n    {reveal}\n    {body}\n}}\n"
                        );
                        (discrete, client, text, "own")
                    }
                };
                let env = environment(dim, actions, discrete);
                format!(
                    "{head}{env}{net}train {name}(q) {{ discount = 0.9 batch = {batch} updates = 5 n_step = {n_step} average = {average} optimizer = {optimizer} }}\nsecure ckks {{ refresh = client client = {client} }}"
                )
            })
        },
    )
}

/// A served network, public or secret.
pub fn serving() -> impl Strategy<Value = String> {
    (1usize..=6, 1usize..=4, 1usize..=40, any::<bool>(), 0u8..4).prop_flat_map(|(dim, outputs, batch, public, kind)| {
        net("q", outputs).prop_map(move |net| {
            let env = environment(dim, 2, true);
            let serve = match kind {
                0 => "max(q(s), degree: 2, range: [-3, 3])",
                1 => "concat(q(s), s)",
                _ => "q(s)",
            };
            let public = if public { "public = [q]" } else { "" };
            format!("{env}{net}serve {serve} {{ batch = {batch} }}\nsecure ckks {{ secret = [s] {public} }}")
        })
    })
}
