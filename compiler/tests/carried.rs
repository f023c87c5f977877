//! Training without the client: what the server carries, against the tensor graph, over several updates.

use hecc_compiler::passes::PassName;
use hecc_compiler::{Options, compile};
use hecc_plan::{Layout, Op, noise};

use crate::support::{agrees_alone, agrees_without};

fn dqn(net: &str, batch: usize, optimizer: &str, more: &str, client: &str) -> String {
    format!(
        r#"use std.dqn
env "CartPole-v1" {{
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
}}
net q(s) -> [2] {{ {net} }}
train dqn(q) {{ discount = 0.99 batch = {batch} updates = 9 {more} optimizer = {optimizer} tau = 0.01 }}
secure ckks {{ refresh = bootstrap {client} }}"#
    )
}

#[test]
fn a_regression_of_squares() {
    let source = r#"env "Other-v0" { observe s: [4] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 8 square dense 2 }
algorithm fit(q) { parameter optimizer  minimize mean((dot(q(s), a) - r)^2) over q with optimizer }
train fit(q) { batch = 16 updates = 9 optimizer = sgd(lr: 0.25) }
secure ckks { refresh = bootstrap }"#;
    let compiled = agrees_alone(source, 10);
    assert!(compiled.plan.rounds.iter().all(|round| round.outputs.is_empty()), "the client gets nothing back");
}

/// Twelve pieces of each kind in lanes of four: three ciphertexts, though a power of two would be four.
#[test]
fn states_of_more_pieces_than_lanes() {
    let source = r#"env "Other-v0" { observe s: [100] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 8 square dense 2 }
algorithm fit(q) { parameter optimizer  minimize mean((dot(q(s), a) - r)^2) over q with optimizer }
train fit(q) { batch = 4 updates = 9 optimizer = momentum(lr: 0.005, beta: 0.5) }
secure ckks { refresh = bootstrap }"#;
    assert_eq!(agrees_alone(source, 10).plan.carried.len(), 6);
}

#[test]
fn the_clients_maximum_in_the_middle_of_an_update() {
    agrees_alone(
        &dqn(
            "dense 8 relu(degree: 2, range: [-2, 2]) dense 2 init small",
            16,
            "momentum(lr: 0.1, beta: 0.9)",
            "average = 0.05",
            "client = [max]",
        ),
        10,
    );
    let compiled =
        agrees_alone(&dqn("dense 8 relu(degree: 2) dense 2", 16, "nesterov(lr: 0.05, beta: 0.9)", "average = 0.05", "client = [max]"), 10);
    assert!(compiled.plan.rounds.len() > compiled.plan.updates() as usize);
}

#[test]
fn bootstraps_inside_an_update() {
    let net = "dense 4 relu(degree: 2, range: [-2, 2]) dense 2 init small";
    agrees_alone(&dqn(net, 16, "momentum(lr: 0.1, beta: 0.9)", "average = 0.05", ""), 10);
    let layer = "silu(degree: 7, range: [-3, 3])";
    let deep = format!("dense 5 {layer} dense 7 {layer} dense 4 {layer} dense 2");
    let compiled = agrees_alone(&dqn(&deep, 16, "momentum(lr: 0.02, beta: 0.9)", "", ""), 10);
    let plan = &compiled.plan;
    let bootstraps = plan.steps.iter().filter(|step| matches!(step.op, Op::Bootstrap(_))).count();
    assert!(bootstraps > plan.carried.len(), "{bootstraps} bootstraps");
}

#[test]
fn few_bootstraps_inside_a_deep_update() {
    let layer = "silu(degree: 7, range: [-3, 3])";
    let deep = format!("dense 5 {layer} dense 7 {layer} dense 4 {layer} dense 4 {layer} dense 2");
    let compiled = agrees_alone(&dqn(&deep, 16, "momentum(lr: 0.02, beta: 0.9)", "", ""), 10);
    let plan = &compiled.plan;
    let bootstraps = plan.steps.iter().filter(|step| matches!(step.op, Op::Bootstrap(_))).count();
    // Layers of cuts alone take 15 per update.
    assert!(bootstraps <= 8 * plan.updates() as usize, "{bootstraps} in {} updates", plan.updates());
    let decision = plan.decisions.iter().find(|d| d.kind == hecc_plan::DecisionKind::Bootstrap).expect("it bootstraps");
    let inside = format!("bootstraps inside the body: {}; bound ", bootstraps - plan.carried.len());
    assert!(decision.why.contains(&inside), "{}", decision.why);
}

#[test]
fn odd_widths_and_unfilled_lanes() {
    for batch in [3, 20, 100] {
        let source = format!(
            r#"env "Other-v0" {{ observe s: [3] in [-1, 1]  act a: one of 3  reward r in [-1, 1] }}
net q(s) -> [3] {{ dense 5 square dense 3 }}
algorithm fit(q) {{ parameter optimizer  minimize mean((dot(q(s), a) - r)^2) over q with optimizer }}
train fit(q) {{ batch = {batch} updates = 9 optimizer = momentum(lr: 0.1, beta: 0.5) }}
secure ckks {{ refresh = bootstrap }}"#
        );
        agrees_alone(&source, 10);
    }
}

#[test]
fn learning_rates_that_change_and_targets_that_move_rarely() {
    let source = |optimizer: &str| {
        format!(
            r#"env "Other-v0" {{ observe s: [2] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }}
net q(s) -> [2] {{ dense 4 square dense 2 }}
algorithm fit(q) {{
    parameter optimizer
    state t = copy(q)
    minimize mean((dot(q(s), a) - r - 0.1 * dot(t(s'), a))^2) over q with optimizer
    every 3 {{ t <- q }}
}}
train fit(q) {{ batch = 16 updates = 12 optimizer = {optimizer} }}
secure ckks {{ refresh = bootstrap }}"#
        )
    };
    agrees_alone(&source("momentum(lr: linear(0.2, 0.01), beta: 0.5)"), 10);
    agrees_alone(&source("sgd(lr: cosine(0.2, 0.05))"), 10);
}

#[test]
fn a_network_used_below_its_own_minimize() {
    let source = r#"env "Other-v0" { observe s: [2] in [-1, 1]  act a: [1] in [-1, 1]  reward r in [-1, 1] }
net v(s) -> [1] { dense 1 }
net w(s) -> [1] { dense 1 }
algorithm chain(v, w) {
    minimize mean((v(s) - r)^2) over v with sgd(lr: 0.1)
    minimize mean((w(s) - v(s'))^2) over w with sgd(lr: 0.1)
}
train chain(v, w) { batch = 16 updates = 4 }
secure ckks { refresh = bootstrap }"#;
    agrees_alone(source, 10);
}

/// What Adam has changed is used again: its products stand in the lanes of its own parameter, which others come before.
#[test]
fn an_adaptive_optimiser_above_another_use() {
    let source = r#"env "Other-v0" { observe s: [2] in [-1, 1]  act a: [1] in [-1, 1]  reward r in [-1, 1] }
net v(s) -> [1] { dense 1 }
net w(s) -> [1] { dense 1 nobias }
algorithm chain(v, w) {
    minimize mean((w(s) - r)^2) over w with adam(lr: 0.02)
    minimize mean((v(s) - stop(w(s')))^2) over v with sgd(lr: 0.1)
}
train chain(v, w) { batch = 16 updates = 4 }
secure ckks { refresh = bootstrap precision = 1e-6 }"#;
    agrees_without(source, 10, &[PassName::Tiles]);
}

/// Small batches with all parameters in the slots of each sample, against the tensor graph.
fn agrees_in_tiles(source: &str) -> hecc_compiler::Compiled {
    let compiled = agrees_without(source, 10, &[PassName::Lanes]);
    let layouts = compiled.plan.carried.iter().flat_map(|carried| &carried.contents).map(|content| content.layout);
    assert!(layouts.clone().count() > 0 && layouts.clone().all(|layout| matches!(layout, Layout::Tiled(_))), "not in tiles\n{source}");
    compiled
}

fn regression(net: &str, dims: (usize, usize), batch: usize, optimizer: &str) -> String {
    let (inputs, actions) = dims;
    format!(
        r#"env "Other-v0" {{ observe s: [{inputs}] in [-1, 1]  act a: one of {actions}  reward r in [-1, 1] }}
net q(s) -> [{actions}] {{ {net} }}
algorithm fit(q) {{ parameter optimizer  minimize mean((dot(q(s), a) - r)^2) over q with optimizer }}
train fit(q) {{ batch = {batch} updates = 9 optimizer = {optimizer} }}
secure ckks {{ refresh = bootstrap }}"#
    )
}

#[test]
fn tiles_of_a_regression() {
    agrees_in_tiles(&regression("dense 8 square dense 2", (4, 2), 16, "sgd(lr: 0.25)"));
    // One ciphertext holds eight samples: fewer rotations than in lanes.
    let source = regression("dense 8 square dense 2", (4, 2), 8, "sgd(lr: 0.25)");
    let (tiles, lanes) = (agrees_in_tiles(&source).plan, agrees_without(&source, 10, &[PassName::Tiles]).plan);
    let rotations = |plan: &hecc_plan::Plan| {
        let all = plan.steps.iter().filter(|step| matches!(step.op, Op::Rotate { .. })).count();
        all as f64 / f64::from(plan.updates())
    };
    let (few, many) = (rotations(&tiles), rotations(&lanes));
    assert!(1.5 * few <= many, "{few} rotations per update in tiles, {many} in lanes");
}

#[test]
fn tiles_of_odd_widths_deep_networks_and_unfilled_ciphertexts() {
    for batch in [3, 20, 32] {
        agrees_in_tiles(&regression("dense 5 square dense 3", (3, 3), batch, "momentum(lr: 0.1, beta: 0.5)"));
    }
    agrees_in_tiles(&regression("dense 4 square dense 3", (2, 3), 8, "nesterov(lr: 0.07, beta: 0.9)"));
    agrees_in_tiles(&regression("dense 2", (5, 2), 16, "momentum(lr: 0.3, beta: 0.9)"));
    agrees_in_tiles(&regression("dense 4 square dense 3 square dense 2", (2, 2), 8, "sgd(lr: 0.1)"));
    agrees_in_tiles(&regression("dense 4 relu(degree: 2, range: [-2, 2]) dense 2", (2, 2), 8, "sgd(lr: 0.3)"));
}

#[test]
fn tiles_of_targets_averages_and_rates_that_change() {
    let net = "dense 4 relu(degree: 2, range: [-2, 2]) dense 2 init small";
    agrees_in_tiles(&dqn(net, 8, "momentum(lr: 0.1, beta: 0.9)", "average = 0.05", ""));
    agrees_in_tiles(&regression("dense 4 square dense 2", (2, 2), 8, "momentum(lr: linear(0.2, 0.01), beta: 0.5)"));
    agrees_in_tiles(
        r#"env "Other-v0" { observe s: [2] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 4 square dense 2 }
algorithm fit(q) {
    state t = copy(q)
    minimize mean((dot(q(s), a) - r - 0.1 * dot(t(s'), a))^2) over q with sgd(lr: 0.2)
    every 3 { t <- q }
}
train fit(q) { batch = 8 updates = 12 }
secure ckks { refresh = bootstrap }"#,
    );
}

/// A polynomial of a high degree explodes beyond its interval: in a ring of 128 bits, since a small one has no depth for it.
#[test]
fn tiles_of_polynomials_of_high_degrees() {
    let bits = |degree: u32| {
        let net = "dense 4 relu(degree: 2, range: [-2, 2]) dense 2 init small";
        let source = dqn(net, 8, "momentum(lr: 0.1, beta: 0.9)", &format!("degree_of_max = {degree}"), "");
        let plan = compile(&source, &Options { without: vec![PassName::Lanes], ..Options::default() }).expect("it compiles").plan;
        assert!(plan.carried[0].contents.iter().all(|content| matches!(content.layout, Layout::Tiled(_))));
        let precision = noise::precision(&plan, &noise::Data::sample(&plan, 0), 2).expect("sample data fits");
        noise::worst(&precision).expect("there are states").bits()
    };
    // Chebyshev's polynomials amplify noise by the square of their degree, and the scale follows.
    let (mild, steep) = (bits(4), bits(24));
    assert!(steep > mild - 1.0, "{steep:.1} bits of degree 24, {mild:.1} of degree 4");
}

/// States that do not fit into one ciphertext: those that spend little share one, which is bootstrapped more rarely.
#[test]
fn several_carried_ciphertexts_at_rates_of_their_own() {
    let net = "dense 32 relu(degree: 2, range: [-2, 2]) dense 2 init small";
    let sources = [
        dqn(net, 16, "momentum(lr: 0.1, beta: 0.9)", "average = 0.05", ""),
        regression("dense 32 square dense 2", (4, 2), 16, "nesterov(lr: 0.1, beta: 0.9)")
            .replace("batch = 16", "batch = 16 average = 0.05"),
    ];
    for source in sources {
        let plan = agrees_without(&source, 10, &[PassName::Tiles]).plan;
        let bootstraps = plan.steps.iter().filter(|step| matches!(step.op, Op::Bootstrap(_))).count();
        let labels: Vec<&str> = plan.carried.iter().map(|carried| carried.label.as_str()).collect();
        println!("{labels:?}: {bootstraps} bootstraps in {} updates", plan.updates());
        assert!(plan.carried.len() > 1, "{labels:?}");
        assert!(bootstraps < plan.carried.len() * plan.updates() as usize, "{bootstraps} in {} updates", plan.updates());
    }
}

/// A target network in a ciphertext of its own stays as it is until it moves: no mask spends of it, no bootstrap is for it.
#[test]
fn targets_that_move_rarely_in_ciphertexts_of_their_own() {
    let source = r#"env "Other-v0" { observe s: [4] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 64 square dense 2 }
algorithm fit(q) {
    state t = copy(q)
    minimize mean((dot(q(s), a) - r - 0.1 * dot(t(s'), a))^2) over q with sgd(lr: 0.1)
    every 3 { t <- q }
}
train fit(q) { batch = 8 updates = 12 }
secure ckks { refresh = bootstrap }"#;
    let plan = agrees_without(source, 10, &[PassName::Tiles]).plan;
    let bootstraps = plan.steps.iter().filter(|step| matches!(step.op, Op::Bootstrap(_))).count();
    let labels: Vec<&str> = plan.carried.iter().map(|carried| carried.label.as_str()).collect();
    println!("{labels:?}: {bootstraps} bootstraps in {} updates", plan.updates());
    assert!(plan.carried.len() > 1, "{labels:?}");
    assert!(3 * bootstraps <= 4 * plan.updates() as usize, "{bootstraps} in {} updates", plan.updates());
}

/// Training is a loop: the plan holds what one period repeats, however often it runs.
#[test]
fn a_plan_does_not_grow_with_the_updates() {
    for refresh in ["bootstrap", "client"] {
        let plan = |updates: usize| {
            let source = dqn("dense 8 square dense 2", 16, "momentum(lr: linear(0.1, 0.01), beta: 0.9)", "", "")
                .replace("updates = 9", &format!("updates = {updates}"))
                .replace("refresh = bootstrap", &format!("refresh = {refresh}"));
            let options = Options { insecure_log_n: Some(10), ..Options::default() };
            compile(&source, &options).expect("a program").plan
        };
        let (few, many) = (plan(80), plan(80_000));
        assert_eq!((few.steps.len(), few.plains.len(), few.rounds.len()), (many.steps.len(), many.plains.len(), many.rounds.len()));
        assert!(few.steps.len() > 20 && few.updates() <= 8);
    }
}
