//! The rule by which learning rates are judged, against momentum itself on a quadratic loss.

use hecc_compiler::rehearsal::{self, Rehearsal};
use hecc_plan::{Tensor, Tensors, UPDATE, init};

const ROWS: usize = 4;

fn program(optimizer: &str, loss: &str) -> Rehearsal {
    let source = format!(
        "env \"Pendulum-v1\" {{
    observe s: [3] in [-1, 1], [-1, 1], [-1, 1]
    act a: [1] in [-1, 1]
    reward r in [-1, 1]
}}
net q(s) -> [1] {{ dense 1 nobias }}
algorithm fit(q) {{
    parameter optimizer
    minimize {loss} over q with optimizer
}}
train fit(q) {{ batch = {ROWS} updates = 3 optimizer = {optimizer} }}
secure ckks {{ secret = [s, a, r, q] refresh = client }}
"
    );
    rehearsal::run(&source).unwrap_or_else(|e| panic!("{e:?}"))
}

/// Features whose second moment has the eigenvalues 0.25 (twice) and 0.5.
fn batch() -> Tensors {
    let array = |shape: &[usize], v: &[f64]| Tensor::new(shape.to_vec(), v.to_vec());
    let zero = || array(&[ROWS], &[0.0; ROWS]);
    Tensors::from([
        ("s".to_owned(), array(&[ROWS, 3], &[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0])),
        ("s_next".to_owned(), array(&[ROWS, 3], &[0.0; 3 * ROWS])),
        ("a".to_owned(), array(&[ROWS, 1], &[0.0; ROWS])),
        ("r".to_owned(), array(&[ROWS], &[0.5, -0.5, 0.25, 1.0])),
        ("done".to_owned(), zero()),
        (UPDATE.to_owned(), zero()),
    ])
}

/// The largest weight after many updates.
fn trained(mut program: Rehearsal) -> f64 {
    let mut states = init::initial_states(&program.plan.states, 0);
    for _ in 0..400 {
        program.update(&batch(), &mut states).expect("it fits");
    }
    states["q.0.weight"].data.iter().fold(0.0, |m, v| v.abs().max(m))
}

#[test]
fn training_diverges_where_the_rule_says_so_and_not_below() {
    let half = "0.5 * mean((q(s)[0] - r)^2)";
    type Optimiser = fn(f64) -> String;
    let optimisers: [(Optimiser, f64, &str, f64); 4] = [
        (|lr| format!("sgd(lr: {lr})"), 4.0, half, 0.5),
        (|lr| format!("momentum(lr: {lr}, beta: 0.9)"), 7.6, half, 0.5),
        (|lr| format!("nesterov(lr: {lr}, beta: 0.5)"), 3.0, half, 0.5),
        (|lr| format!("momentum(lr: linear({lr}, {lr}), beta: 0.9)"), 3.8, "mean((q(s)[0] - r)^2)", 1.0),
    ];
    for (optimiser, limit, loss, curvature) in optimisers {
        for (part, stable) in [(0.97, true), (1.03, false)] {
            let program = program(&optimiser(part * limit), loss);
            let states = init::initial_states(&program.plan.states, 0);
            let found = program.step_sizes(&[batch(), batch()], &states).expect("it fits");
            let [step] = found.as_slice() else { panic!("{found:?}") };
            assert!((step.eigenvalue - curvature).abs() < 1e-3, "{step:?}");
            assert!((step.largest() / limit - 1.0).abs() < 1e-2, "{step:?}");
            assert_eq!(step.stable(), stable, "{step:?}");
            let largest = trained(program);
            assert_eq!(largest < 10.0, stable, "{} ends at {largest}", optimiser(part * limit));
        }
    }
}

#[test]
fn only_quadratic_losses_of_linear_networks_are_judged() {
    let judged = |optimizer: &str, loss: &str| {
        let program = program(optimizer, loss);
        let states = init::initial_states(&program.plan.states, 0);
        program.step_sizes(&[batch()], &states).expect("it fits").len()
    };
    assert_eq!(judged("sgd(lr: 0.1)", "mean((q(s)[0] - r)^2)"), 1);
    assert_eq!(judged("sgd(lr: 0.1)", "mean((q(s)[0] - r)^4)"), 0);
    assert_eq!(judged("adam(lr: 0.1)", "mean((q(s)[0] - r)^2)"), 0);
}
