//! What the choice of degrees is worth against all choices.

use hecc_plan::cost::{CostTable, predict};

use super::shadow::{Shadow, resized};
use super::{Form, Group, groups, polynomial};
use crate::check::hir::Pins;
use crate::passes::{self, Level, Selection};
use crate::tensor::build;
use crate::tensor::graph::Elementwise;
use crate::{Compiled, Options, compile};

const DEGREES: [usize; 13] = [2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 16, 24, 31];

/// A network with `functions`, served or trained.
fn program(functions: &[String; 2], served: bool, precision: f64) -> String {
    let net = |last| format!("dense 16 {} dense 16 {} {last}", functions[0], functions[1]);
    if served {
        format!(
            "env \"Pendulum-v1\" {{ observe s: [3] in [-1, 1], [-1, 1], [-8, 8]  act a: [1] in [-2, 2]  reward r in [-16.3, 0] }}
net actor(s) -> [1] {{ {} }}
serve actor(s) {{ batch = 32 }}
secure ckks {{ precision = {precision} }}",
            net("dense 1")
        )
    } else {
        format!(
            "use std.dqn
env \"CartPole-v1\" {{
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
}}
net q(s) -> [2] {{ {} }}
train dqn(q) {{ discount = 0.9 batch = 32 updates = 3 optimizer = sgd(lr: 0.5) tau = 0.1 }}
secure ckks {{ refresh = client client = [max] precision = {precision} }}",
            net("dense 2")
        )
    }
}

/// What plans are compared by: seconds, and what crosses.
fn cost(compiled: &Compiled) -> f64 {
    let predicted = predict(&compiled.plan, CostTable::built_in(), 0);
    predicted.seconds_per_update + predicted.link_seconds
}

/// The most that these degrees, one for each group, move the outputs of a program by.
fn moved(source: &str, choices: &[[usize; 2]]) -> Vec<f64> {
    let program = crate::front::check(source).expect("it checks");
    let built = build::build(&program, false).expect("it builds");
    let graph = passes::run_some(&built.graph, &crate::pipeline::facts(&program), &Selection::new(Level::default(), &[]));
    let (graph, batch) = resized(&program, &graph);
    let groups: Vec<Group> = groups(&program, &graph);
    let shadows = [0, 1].map(|draw| Shadow::new(&program, (&graph, &built.states), batch, draw));
    // Each degree is fitted once.
    let fits = |group: &Group| DEGREES.map(|degree| (degree, shadows[0].fits(group, Form::Degree(degree))));
    let fits: Vec<_> = groups.iter().map(fits).collect();
    let of = |i: usize, degree: usize| &fits[i].iter().find(|(d, _)| *d == degree).expect("one of the degrees").1;
    let worst = |&[a, b]: &[usize; 2]| shadows.iter().map(|shadow| shadow.moved([of(0, a), of(1, b)])).fold(0.0, f64::max);
    choices.iter().map(worst).collect()
}

/// Every pair of degrees that keeps the budget, lowered.
#[test]
#[ignore = "minutes of figures: cargo test --release -p hecc-compiler --lib -- --ignored --nocapture exhaustive"]
fn the_chosen_degrees_are_about_the_cheapest_of_all() {
    let pairs: Vec<[usize; 2]> = DEGREES.iter().flat_map(|&a| DEGREES.map(|b| [a, b])).collect();
    let mut ratios = Vec::new();
    for names in [["silu", "silu"], ["sigmoid", "tanh"], ["gelu", "mish"]] {
        for (served, precision) in [(true, 1e-3), (false, 1e-3)] {
            let source = program(&names.map(str::to_owned), served, precision);
            let chosen = compile(&source, &Options::default()).expect("it compiles");
            let activations = &chosen.approximation.activations;
            let allowed = chosen.approximation.budget.max(chosen.approximation.measured);
            let alike = |i: usize, degree: usize| {
                let a = &activations[i];
                let at = |k: i32| a.range.low + (a.range.high - a.range.low) * f64::from(k) / 2000.0;
                let pins = Form::Degree(degree).pin(Pins { range: Some(a.range), ..Pins::default() });
                let p = polynomial(&Elementwise::Named(a.function), 0, &pins, 1.0);
                let values = || (0..=2000).map(|k| a.function.eval(at(k)));
                let (low, high) = values().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
                served || p.error <= (high - low) / 32.0
            };
            let kept = moved(&source, &pairs).into_iter().zip(&pairs).filter(|(moved, _)| *moved <= allowed).map(|(_, pair)| *pair);
            let kept = kept.filter(|pair| alike(0, pair[0]) && alike(1, pair[1]));
            let costs = kept.map(|pair| {
                let pinned = |i: usize| {
                    let range = activations[i].range;
                    format!("{}(degree: {}, range: [{}, {}])", names[i], pair[i], range.low, range.high)
                };
                let compiled = compile(&program(&[pinned(0), pinned(1)], served, precision), &Options::default());
                (compiled.map_or(f64::INFINITY, |compiled| cost(&compiled)), pair)
            });
            let (best, pair) = costs.min_by(|a, b| a.0.total_cmp(&b.0)).expect("what is chosen keeps it");
            let own: Vec<usize> = activations.iter().map(|a| a.degree).collect();
            ratios.push(cost(&chosen) / best);
            let task = if served { "served" } else { "trained" };
            println!("{names:?} {task} {precision}: {own:?} {:.3} s, {pair:?} {best:.3} s", cost(&chosen));
        }
    }
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    println!("on average {mean:.3} times the cheapest, at most {:.3}", ratios.iter().copied().fold(0.0, f64::max));
    assert!(mean < 1.05);
}
