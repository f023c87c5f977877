//! Twin networks in one: the values stay, the counts fall.

use hecc_compiler::passes::{self, PassName, twins};
use hecc_compiler::schemes::ckks::WIDEST;
use hecc_compiler::tensor::eval::Exact;
use hecc_compiler::tensor::{Graph, Op, build};
use hecc_compiler::{Options, check, compile, pipeline};
use hecc_plan::cost::{CostTable, predict};
use hecc_plan::counts::counts;
use hecc_plan::{ClearOp, DecisionKind, Plan, Ties};

use crate::support;

const SAC: &str = include_str!("../../examples/bench_sac.rl");

/// Actor-critics with two critics of these layers.
fn program(algorithm: &str, act: &str, actor: &str, critic: &str, secure: &str) -> String {
    let inputs = if act.starts_with("one of") { "s" } else { "s, a" };
    let step = match algorithm {
        "discrete_sac" => "policy_optimizer = adam(lr: 0.01) critic_optimizer = adam(lr: 0.01)",
        _ => "actor_optimizer = momentum(lr: 0.02) critic_optimizer = adam(lr: 0.01)",
    };
    format!(
        r#"use std.{algorithm}
env "Other-v0" {{ observe s: [3] in [-1, 1]  act a: {act}  reward r in [-1, 1] }}
net actor(s) -> {actor}
net first({inputs}) -> {critic}
net second({inputs}) -> {critic}
train {algorithm}(actor, first, second) {{ batch = 5 updates = 3 {step} }}
secure ckks {{ refresh = client {secure} }}"#
    )
}

/// Two critics whose values are added up, not compared, with parts that keep their shape.
fn averaged(secure: &str) -> String {
    format!(
        r#"env "Other-v0" {{ observe s: [6] in [-1, 1]  act a: [2] in [-1, 1]  reward r in [-1, 1] }}
net actor(s) -> [2] {{ dense 4 square dense 2 init small }}
net first(s, a) -> [1] {{ dense 8 square residual {{ dense 4 nobias square dense 8 scale 0.1 }} dense 1 }}
net second(s, a) -> [1] {{ dense 8 square residual {{ dense 4 nobias square dense 8 scale 0.1 }} dense 1 }}
algorithm averaged(actor, first, second) {{
    parameter discount = 0.9, optimizer
    state t = copy(first)
    state u = copy(second)
    let y = stop(r + discount * (1 - done) * 0.5 * (t(s', a) + u(s', a)))
    minimize mean((first(s, a) - y)^2) + mean((second(s, a) - y)^2) over first, second with optimizer
    minimize -mean(0.5 * (old(first)(s, actor(s)) + old(second)(s, actor(s)))) over actor with optimizer
    t <- mix(t, old(first), 0.1)
    u <- mix(u, old(second), 0.1)
}}
train averaged(actor, first, second) {{ batch = 5 updates = 3 optimizer = momentum(lr: 0.01) }}
secure ckks {{ refresh = client {secure} }}"#
    )
}

fn programs() -> Vec<String> {
    let heads = "(mu: [2], log_std: [2]) { dense 4 square heads { mu { dense 2 init small } log_std { dense 2 init small } } }";
    let deep = "[1] { dense 8 square dense 4 silu(degree: 2, range: [-4, 4]) dense 1 init small }";
    let shallow = "[1] { dense 4 nobias square dense 1 nobias init small }";
    vec![
        SAC.to_owned(),
        program("sac", "[2] in [-1, 1]", heads, deep, "client = [min, log]"),
        program("sac", "[2] in [-1, 1]", heads, shallow, "client = [min, log, optimizer]"),
        program("sac", "[2] in [-1, 1]", heads, deep, ""),
        program("td3", "[2] in [-1, 1]", "[2] { dense 4 square dense 2 tanh(degree: 3, range: [-2, 2]) }", deep, "client = [min]"),
        program(
            "discrete_sac",
            "one of 3",
            "[3] { dense 4 square dense 3 init small }",
            &deep.replace("1]", "3]").replace("dense 1", "dense 3"),
            "client = [min]",
        ),
        program("discrete_sac", "one of 2", "[2] { dense 2 }", "[2] { dense 3 square dense 2 }", "client = [min, softmax]"),
        averaged(""),
    ]
}

/// The graph of a program, and the same with twins in one.
fn graphs(source: &str) -> (Graph, Option<Graph>) {
    let program = check(source).expect("it checks");
    let facts = pipeline::facts(&program);
    let built = build::build(&program, false).expect("it builds");
    let graph = passes::run(&built.graph, &facts);
    let merged = twins::run(&graph, &facts, WIDEST);
    (graph, merged)
}

/// Layers of the forward pass, and those of two in one.
fn layers(graph: &Graph) -> (usize, usize) {
    let dense: Vec<_> = graph.ids().filter(|&id| matches!(graph.node(id).op, Op::Dense)).collect();
    let merged = |id: &&_| {
        let parts = graph.operands(graph.operands(**id)[1]);
        parts.iter().any(|&part| matches!(graph.node(part).op, Op::Expand(Ties::Strided { .. })))
    };
    (dense.len(), dense.iter().filter(merged).count())
}

#[test]
fn every_output_stays() {
    for source in programs() {
        let program = check(&source).expect("it checks");
        let built = build::build(&program, false).expect("it builds");
        let (graph, merged) = graphs(&source);
        let merged = merged.unwrap_or_else(|| panic!("no twins\n{source}"));
        assert_eq!(merged.verify(), Vec::<String>::new());
        let ((before, _), (after, both)) = (layers(&graph), layers(&merged));
        println!("{before} layers are {after}, {both} of them of two");
        assert!(both > 0 && before == after + both, "{source}\n{}", merged.print());
        let (batch, states) = support::data_of(&program, &built, 3);
        let want = support::run_graph(&program, &graph, &batch, &states, &Exact);
        let got = support::run_graph(&program, &merged, &batch, &states, &Exact);
        assert_eq!(want.len(), got.len());
        for ((output, want), (other, got)) in want.iter().zip(&got) {
            assert_eq!((output, want.len()), (other, got.len()));
            for (w, g) in want.iter().zip(got) {
                assert!((w - g).abs() <= 1e-12 * (1.0 + w.abs()), "{output:?}: {w}, merged {g}\n{source}");
            }
        }
    }
}

#[test]
fn plans_of_merged_twins_are_right() {
    let options = Options { insecure_log_n: Some(10), ..Options::default() };
    let mut taken = 0;
    for source in &programs()[1..] {
        let compiled = compile(source, &options).unwrap_or_else(|e| panic!("{e:?}\n{source}"));
        let said = compiled.plan.decisions.iter().find(|d| d.subject == "twin networks").expect("it is said");
        assert!(said.kind == DecisionKind::Layout && said.runner_up.is_some());
        let merged = layers(&compiled.graph).1 > 0;
        assert_eq!(said.choice.starts_with("two in one"), merged);
        taken += usize::from(merged);
        support::compiled_agrees(source, &compiled);
    }
    assert!(taken > 3, "{taken}");
}

/// The key owner reads the one of two twins for a minimum. The other has the polynomial that the program pins, not the function that
/// the key owner would compute of it.
#[test]
fn what_the_key_owner_does_not_read_stays_with_the_server() {
    let source = r#"env "Other-v0" { observe s: [2] in [-1.5, 1]  act a: one of 3  reward r in [-1, 1] }
net q(s) -> [3] { dense 3 }
algorithm own(q) {
    state t = copy(q)
    let y = stop(min(t(s')[0], q(s')[1]) * (1 - done) + r)
    reveal mean(y) as "target"
    minimize mean(tanh(q(s)[0], degree: 3, range: [-2, 2]) * r) over q with sgd(lr: 0.2)
    t <- mix(t, q, 0.1)
}
train own(q) { batch = 18 updates = 5 }
secure ckks { refresh = client client = [min] }"#;
    assert!(graphs(source).1.is_some(), "there are twins");
    support::agrees(source, 10);
}

#[test]
fn the_textbooks_actor_critic_takes_less_of_everything() {
    let plan = |without: &[PassName]| {
        let compiled = compile(SAC, &Options { without: without.to_vec(), ..Options::default() }).expect("it compiles");
        support::compiled_agrees(SAC, &compiled);
        compiled.plan
    };
    let figures = |plan: &Plan| {
        let counts = counts(plan);
        let crosses = counts.bytes_to_server_per_update + counts.bytes_to_client_per_update;
        let seconds = predict(plan, CostTable::built_in(), 0).seconds_per_update;
        [counts.multiplications, counts.rotations, counts.relinearisations, crosses as f64, seconds]
    };
    let (apart, merged) = (figures(&plan(&[PassName::Twins])), figures(&plan(&[])));
    println!("products, rotations, relinearisations, bytes, seconds: {apart:?} apart, {merged:?} in one");
    assert!(apart.iter().zip(&merged).all(|(apart, merged)| *merged < 0.8 * apart));
}

#[test]
fn a_plan_with_strides_that_do_not_fit_is_refused() {
    let options = Options { insecure_log_n: Some(10), ..Options::default() };
    let plan = compile(&programs()[1], &options).expect("it compiles").plan;
    assert_eq!(hecc_plan::check::check_insecure(&plan), Ok(()));
    type Spoil = fn(&mut [usize; 2], &mut [usize; 2]);
    let broken: [Spoil; 4] =
        [|first, step| *first = *step, |_, step| *step = [0, 1], |_, step| *step = [usize::MAX, 2], |_, step| *step = [64, 64]];
    let tied = |op: &ClearOp| matches!(op, ClearOp::Expand { .. } | ClearOp::Collect { .. });
    let at: Vec<usize> = (0..plan.client.nodes.len()).filter(|&at| tied(&plan.client.nodes[at].op)).collect();
    assert!(at.len() > 2);
    for at in [at[0], at[at.len() - 1]] {
        for spoil in broken {
            let mut other = plan.clone();
            let (ClearOp::Expand { ties: Ties::Strided { first, step }, .. }
            | ClearOp::Collect { ties: Ties::Strided { first, step }, .. }) = &mut other.client.nodes[at].op
            else {
                panic!("parameters stand interleaved")
            };
            spoil(first, step);
            assert!(hecc_plan::check::check_insecure(&other).is_err());
        }
    }
}
