//! Bootstraps inside an update, by layers of cuts, by the planner and by the e-graph.

use hecc_compiler::schemes::ckks::inside::Method;
use hecc_compiler::{Compiled, Options, compile, diagnostics};
use hecc_plan::{DecisionKind, Op};

use crate::support::compiled_agrees_alone;

const SILU: &str = "silu(degree: 7, range: [-3, 3])";
const RELU: &str = "relu(degree: 2, range: [-2, 2])";

fn dqn(layers: &[usize], activation: &str, log_n: Option<u32>, inside: Option<Method>) -> (String, Compiled) {
    let layers: Vec<String> = layers.iter().map(|width| format!("dense {width} {activation}")).collect();
    let source = format!(
        r#"use std.dqn
env "CartPole-v1" {{
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
}}
net q(s) -> [2] {{ {} dense 2 }}
train dqn(q) {{ discount = 0.99 batch = 16 updates = 9 optimizer = momentum(lr: 0.02, beta: 0.9) tau = 0.01 }}
secure ckks {{ refresh = bootstrap }}"#,
        layers.join(" ")
    );
    let options = Options { insecure_log_n: log_n, inside, ..Options::default() };
    let compiled = compile(&source, &options).unwrap_or_else(|e| panic!("{}", diagnostics::render(&e, &source, "program.rl", false)));
    (source, compiled)
}

fn per_update(compiled: &Compiled) -> f64 {
    let all = compiled.plan.steps.iter().filter(|step| matches!(step.op, Op::Bootstrap(_))).count();
    all as f64 / f64::from(compiled.plan.updates())
}

/// What extraction chooses is what the others are measured by: here none needs fewer bootstraps, and the plan is right.
#[test]
fn the_e_graph_chooses_where_to_bootstrap() {
    for (layers, activation) in [(&[4][..], SILU), (&[4, 4], RELU), (&[5, 7], SILU)] {
        let (source, compiled) = dqn(layers, activation, Some(10), Some(Method::Graph));
        compiled_agrees_alone(&source, &compiled);
        let why = &compiled.plan.decisions.iter().find(|d| d.kind == DecisionKind::Bootstrap).expect("it bootstraps").why;
        assert!(why.contains("by the e-graph"), "{why}");
        let others = [Method::Cuts, Method::Planner].map(|method| per_update(&dqn(layers, activation, Some(10), Some(method)).1));
        println!("{layers:?}: {} bootstraps per update by the e-graph, {others:?} by cuts and by the planner", per_update(&compiled));
        if layers.len() == 1 {
            assert!(others.iter().all(|other| per_update(&compiled) <= *other), "{others:?}");
        }
    }
}

/// One bootstrap refreshes what several did where the samples leave lanes empty, and the plan is right.
#[test]
fn values_of_few_samples_share_a_bootstrap() {
    let source = include_str!("../../tests/golden/twins.rl");
    let by = |method| {
        let options = Options { insecure_log_n: Some(10), inside: Some(method), ..Options::default() };
        compile(source, &options).unwrap_or_else(|e| panic!("{}", diagnostics::render(&e, source, "twins.rl", false)))
    };
    let shared = by(Method::Shared);
    compiled_agrees_alone(source, &shared);
    let each = per_update(&by(Method::Cuts));
    println!("{} bootstraps per update, {each} with one for each value", per_update(&shared));
    assert!(per_update(&shared) <= 0.8 * each, "{} of {each}", per_update(&shared));
}

/// The best of all is at least as good as the best of each.
#[test]
#[ignore = "minutes: cargo test --release -p hecc-compiler --test suite -- --ignored --nocapture bootstraps::"]
fn figures() {
    for log_n in [Some(10), None] {
        for (layers, activation) in [
            (&[4][..], RELU),
            (&[4, 4], RELU),
            (&[4, 4, 4], RELU),
            (&[4, 4, 4, 4], "square"),
            (&[4], SILU),
            (&[5, 7], SILU),
            (&[5, 7, 4], SILU),
            (&[5, 7, 4, 4], SILU),
            (&[5, 7, 4, 4, 4], SILU),
            (&[32], RELU),
            (&[32, 32], SILU),
        ] {
            let mut line = format!("{log_n:?} {layers:?} {}", &activation[..4]);
            for method in [Some(Method::Cuts), Some(Method::Planner), Some(Method::Graph), Some(Method::Shared), None] {
                let start = std::time::Instant::now();
                let (_, compiled) = dqn(layers, activation, log_n, method);
                let why = &compiled.plan.decisions.iter().find(|d| d.kind == DecisionKind::Bootstrap).expect("it bootstraps").why;
                let inside = why.split_once("inside the body: ").map_or("-", |(_, inside)| inside);
                let time = start.elapsed().as_secs_f64();
                line += &format!("\n   {method:?}: {:.2} per update, {inside} ({time:.1} s)", per_update(&compiled));
            }
            println!("{line}");
        }
    }
}
