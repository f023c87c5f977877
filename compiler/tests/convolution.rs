//! Convolutions: gradients of a program with images against central differences, and plans against the graph, whose convolutions are
//! direct.

use hecc_compiler::inspection::{self, Circuit, Inspection, Rows, Weights};
use hecc_compiler::passes::{self, Facts, places};
use hecc_compiler::tensor::autodiff::gradients;
use hecc_compiler::tensor::build;
use hecc_compiler::tensor::{Data, Id, Op};
use hecc_compiler::{Options, compile, front};
use hecc_plan::{Ties, check, init};
use proptest::prelude::*;

use crate::support::{self, agrees, agrees_alone};

const PROGRAM: &str = r#"
env "Image-v0" {
    observe x: [2, 9, 8] in [0, 1]
    observe v: [3] in [-1, 1]
    act a: one of 3
    reward r in [0, 1]
}
net see(x) -> [4] {
    conv 3 kernel 3 stride 2 silu
    conv 2 kernel 2 nobias tanh
    residual { scale 0.5 }
    flatten
    dense 4 silu
}
net q(f: [4], v) -> [3] { dense 6 tanh  dense 3 }
algorithm looking(see, q) {
    parameter discount = 0.9, optimizer
    state t = copy(q)
    let y = stop(r + discount * (1 - done) * max(t(see(x'), v')))
    minimize mean((dot(q(see(x), v), a) - y)^2) over see, q with optimizer
}
train looking(see, q) { updates = 1  optimizer = sgd(0.1) }
secure SCHEME
"#;

fn numbers(count: usize, phase: f64) -> Vec<f64> {
    (0..count).map(|i| (phase + 1.7 * i as f64 * i as f64).sin()).collect()
}

fn inspected() -> (Inspection, Rows, Weights) {
    let program = inspection::inspect(&PROGRAM.replace("SCHEME", "ckks"), 2).expect("it checks").expect("it trains");
    assert!(program.graph.verify().is_empty(), "{:?}", program.graph.verify());
    let mut rows: Rows = program.dims().into_iter().enumerate().map(|(i, (data, dim))| (data, numbers(2 * dim, i as f64))).collect();
    // The target is the reward alone, which no weight moves.
    rows.insert(Data::Done, vec![1.0; 2]);
    let mut weights: Weights = init::initial_states(&program.states, 3).into_iter().map(|(name, t)| (name, t.data)).collect();
    for (name, values) in &mut weights {
        if name.ends_with("bias") {
            *values = numbers(values.len(), 0.4).iter().map(|v| 0.1 * v).collect();
        }
    }
    (program, rows, weights)
}

#[test]
fn gradients_of_a_program_with_images_are_its_slopes() {
    let (program, rows, weights) = inspected();
    let minimized = &program.minimized[0];
    let wanted: Vec<Id> = minimized.parameters.iter().map(|p| p.gradient).collect();
    let found = program.circuit(&wanted).values(2, &rows, &weights);
    assert_eq!(minimized.parameters.len(), 3 + 2 + 4);
    let loss = program.circuit(&[minimized.loss]);
    for (parameter, gradient) in minimized.parameters.iter().zip(&found) {
        for (i, own) in gradient.iter().enumerate() {
            let at = |by: f64| {
                let mut moved = weights.clone();
                moved.get_mut(&parameter.name).expect("a parameter")[i] += by;
                loss.values(2, &rows, &moved)[0][0]
            };
            let slope = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((slope - own).abs() < 1e-8, "{}[{i}]: {own} and {slope}", parameter.name);
        }
    }
}

#[test]
fn gradients_in_images_are_slopes() {
    let (program, rows, weights) = inspected();
    let hecc_compiler::check::hir::Task::Train(train) = &program.program.task else { panic!("it trains") };
    let hecc_compiler::check::hir::Stmt::Minimize { loss, .. } = &train.body.statements[1] else { panic!("a loss") };
    let scalar = build::scalar(&program.program, loss).expect("it builds");
    let mut graph = scalar.graph.clone();
    let image = |id: &Id| matches!(&graph.node(*id).op, Op::Data(Data::Observation { index: 0, next: false }));
    let image = graph.ids().find(image).expect("an image");
    assert!(scalar.parameters.contains_key("see.0.weight"));
    let found = gradients(&mut graph, scalar.value, &[image]).expect("it has a gradient");
    assert!(graph.verify().is_empty(), "{:?}", graph.verify());
    let slopes = Circuit::new(&graph, &[found[&image]]).values(2, &rows, &weights);
    let held = Circuit::new(&graph, &[scalar.value]);
    let data = Data::Observation { index: 0, next: false };
    for (i, own) in slopes[0].iter().enumerate() {
        let moved = |by: f64| {
            let mut rows = rows.clone();
            rows.get_mut(&data).expect("an image")[i] += by;
            held.values(2, &rows, &weights)[0][0]
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((slope - own).abs() < 1e-8, "pixel {i}: {own} and {slope}");
    }
}

/// A program of images that trains under encryption, with layers, a batch, an optimiser and settings of `secure`.
fn images(image: &str, net: &str, batch: usize, optimizer: &str, secure: &str) -> String {
    format!(
        r#"use std.dqn
env "Image-v0" {{
    observe s: {image} in [0, 255]
    act a: one of 2
    reward r in [-1, 1]
}}
net q(s) -> [2] {{ {net} }}
train dqn(q) {{ discount = 0.9 batch = {batch} updates = 3 average = 0.05 optimizer = {optimizer} tau = 0.1 }}
secure ckks {{ refresh = client {secure} }}"#
    )
}

/// One evaluation, by a secret network or a public one.
fn served(image: &str, net: &str, batch: usize, public: bool) -> String {
    let public = if public { "public = [q]" } else { "" };
    format!(
        r#"env "Image-v0" {{ observe s: {image} in [0, 1]  act a: one of 2  reward r in [-1, 1] }}
net q(s) -> [2] {{ {net} }}
serve q(s) {{ batch = {batch} }}
secure ckks {{ secret = [s] {public} }}"#
    )
}

const SMALL: &str = "conv 2 kernel 3 stride 2 square flatten dense 2";
const DEEP: &str = "conv 3 kernel 2 silu(degree: 3) residual { conv 3 kernel 1 nobias tanh(degree: 3) scale 0.5 } conv 2 kernel 2 stride 2 nobias \
                    flatten dense 5 square dense 2";

#[test]
fn plans_train_on_images_as_the_graph_does() {
    for (optimizer, secure) in [
        ("sgd(lr: 0.1)", ""),
        ("momentum(lr: linear(0.5, 0.1), beta: 0.9)", "client = [max]"),
        ("nesterov(lr: 0.1, beta: 0.5)", "client = [optimizer]"),
        ("adam(lr: 0.01)", "client = [max, target]"),
        ("rmsprop(lr: 0.01)", "client = [tanh, max]"),
    ] {
        agrees(&images("[1, 6, 5]", SMALL, 6, optimizer, secure), 10);
    }
    agrees(&images("[2, 6, 5]", DEEP, 5, "momentum(lr: 0.1, beta: 0.9)", "client = [max]"), 11);
}

#[test]
fn plans_serve_images_as_the_graph_does() {
    for public in [true, false] {
        agrees(&served("[2, 6, 7]", DEEP, 3, public), 10);
        agrees(&served("[3, 4, 4]", "conv 5 kernel 4 flatten dense 2", 70, public), 10);
    }
}

#[test]
fn images_of_networks_that_change_within_the_update() {
    agrees(
        r#"env "Image-v0" { observe s: [1, 5, 5] in [0, 1]  observe v: [2] in [-1, 1]  act a: [2] in [-1, 1]  reward r in [-2, 2] }
net see(s) -> [3] { conv 2 kernel 3 square  flatten  dense 3 }
net c(f: [3], v) -> [1] { dense 4 square  dense 1 }
algorithm chain(see, c) {
    parameter optimizer
    state t = copy(see)
    minimize mean((c(see(s), v) - r)^2) over see, c with optimizer
    minimize mean((c(see(s'), v') - stop(c(t(s), v)))^2) + 0.1 * mean(c(see(s), v)^2) over see with sgd(lr: 0.05)
    t <- mix(t, see, 0.1)
    every 2 { reveal mean(c(see(s), v)) as "value" }
}
train chain(see, c) { batch = 6 updates = 2 optimizer = momentum(lr: 0.1, beta: 0.5) }
secure ckks { refresh = client }"#,
        10,
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any sizes, against the convolution as it is defined.
    #[test]
    fn windows_of_any_size(
        (channels, outputs, kernel, stride) in (1usize..4, 1usize..5, 1usize..4, 1usize..4),
        (over, wider, batch) in (0usize..5, 0usize..5, 1usize..40),
        (bias, public, trains) in (any::<bool>(), any::<bool>(), any::<bool>()),
    ) {
        let image = format!("[{channels}, {}, {}]", kernel + over, kernel + wider);
        let net = format!("conv {outputs} kernel {kernel} stride {stride} {} square flatten dense 2", if bias { "" } else { "nobias" });
        if trains {
            agrees(&images(&image, &net, batch, "sgd(lr: 0.1)", "client = [max]"), 10);
        } else {
            agrees(&served(&image, &net, batch, public), 10);
        }
    }
}

#[test]
fn patches_take_the_place_of_matrices_where_they_are_cheaper() {
    let options = Options { insecure_log_n: Some(11), ..Options::default() };
    let nets = [
        // Nine places in sixteen; sixteen in sixteen; a second layer on places with gaps, and a part that keeps its shape.
        "conv 4 kernel 3 stride 2 square flatten dense 6 square dense 2",
        "conv 4 kernel 2 stride 2 square flatten dense 2",
        "conv 3 kernel 4 stride 2 square residual { square scale 0.1 } conv 2 kernel 2 square flatten dense 2",
    ];
    for net in nets {
        for optimizer in ["momentum(lr: 0.1, beta: 0.9)", "adam(lr: 0.01)"] {
            let source = images("[1, 8, 8]", net, 8, optimizer, "client = [max]");
            let compiled = compile(&source, &options).expect("it compiles");
            support::compiled_agrees(&source, &compiled);
            assert!(compiled.graph.ids().any(|id| matches!(compiled.graph.node(id).op, Op::Places(_))), "{net}");
        }
    }
    let source = served("[1, 8, 8]", nets[0], 8, false);
    let compiled = compile(&source, &options).expect("it compiles");
    support::compiled_agrees(&source, &compiled);
    assert!(compiled.graph.print().contains("places 1x8x8 kernel 3 stride 2"), "{}", compiled.graph.print());
}

#[test]
fn patches_stay_away_from_what_needs_whole_pictures() {
    let facts = Facts::default();
    let patched = |image: &str, net: &str| {
        let program = front::check(&images(image, net, 4, "sgd(lr: 0.1)", "")).expect("it checks");
        let built = build::build(&program, false).expect("it builds");
        places::run(&passes::run(&built.graph, &facts), &facts, 4096).is_some()
    };
    assert!(patched("[1, 8, 8]", "conv 2 kernel 3 stride 2 square flatten dense 2"));
    // The places of a softmax over the picture are summed; patches of many channels are too long for a ciphertext.
    assert!(!patched("[1, 8, 8]", "conv 2 kernel 3 stride 2 flatten softmax dense 2"));
    assert!(!patched("[3, 32, 32]", "conv 2 kernel 3 stride 2 square flatten dense 2"));
}

#[test]
fn parameters_are_named_and_shaped_as_pytorch_has_them() {
    let options = Options { insecure_log_n: Some(10), ..Options::default() };
    let plan = compile(&images("[2, 5, 5]", SMALL, 4, "momentum(lr: 0.1)", ""), &options).expect("it compiles").plan;
    let shape = |name: &str| plan.states.iter().find(|s| s.name == name).map(|s| s.shape.clone());
    for suffix in ["", ".momentum", ".average"] {
        assert_eq!(shape(&format!("q.0.weight{suffix}")), Some(vec![2, 2, 3, 3]), "{suffix}");
        assert_eq!(shape(&format!("q.0.bias{suffix}")), Some(vec![2]), "{suffix}");
    }
    assert_eq!(shape("q.1.weight"), Some(vec![2, 8]));
    let plan = compile(&served("[2, 5, 5]", SMALL, 4, true), &options).expect("it compiles").plan;
    assert_eq!(plan.public[0], ("q.0.weight".to_owned(), vec![2, 2, 3, 3]));
}

#[test]
fn a_plan_with_ties_of_another_array_is_refused() {
    let options = Options { insecure_log_n: Some(10), ..Options::default() };
    let plan = compile(&served("[2, 5, 5]", SMALL, 4, true), &options).expect("it compiles").plan;
    assert_eq!(check::check_insecure(&plan), Ok(()));
    let mut other = plan.clone();
    other.public[0].1 = vec![3, 2, 3, 3];
    assert!(check::check_insecure(&other).is_err());
    let mut other = plan.clone();
    other.matrices[0].ties = None;
    assert!(check::check_insecure(&other).is_err());
    let mut other = plan;
    let Some(Ties::Kernel(window)) = &mut other.matrices[0].ties else { panic!("a convolution") };
    window.stride = 0;
    assert!(check::check_insecure(&other).is_err());
}

#[test]
fn what_is_too_large_says_its_size() {
    for (image, net, says) in [
        ("[4, 40, 40]", SMALL, "a vector of length 8192 does not fit a ciphertext (at most 4096)"),
        ("[3, 32, 32]", "conv 8 kernel 3 stride 2 square flatten dense 2", "from 3072 to 1800 numbers is a matrix of 2048 diagonals"),
    ] {
        let errors = compile(&served(image, net, 2, false), &Options::default()).expect_err("too large");
        assert!(errors.iter().all(|e| e.code == "HE0403" && e.message.contains(says) && e.help.is_some()), "{errors:?}");
    }
}

/// Kernels of the first layer rest among what the server carries, once for all places.
#[test]
fn the_server_alone_trains_kernels() {
    let alone = |image: &str, net: &str, batch: usize, optimizer: &str, secure: &str| {
        images(image, net, batch, optimizer, secure).replace("refresh = client", "refresh = bootstrap")
    };
    // Four places of four; six of eight, with gaps that the next layer steps over.
    for (image, net) in [
        ("[1, 4, 4]", "conv 2 kernel 3 square flatten dense 2"),
        ("[1, 4, 5]", "conv 2 kernel 3 square flatten dense 3 square dense 2"),
        ("[2, 3, 4]", "conv 3 kernel 2 nobias square residual { scale 0.5 } flatten dense 2"),
    ] {
        for optimizer in ["sgd(lr: 0.002)", "momentum(lr: linear(0.002, 0.001), beta: 0.5)"] {
            agrees_alone(&alone(image, net, 6, optimizer, "client = [max]"), 10);
        }
    }
    let net = "conv 2 kernel 2 relu(degree: 2, range: [-3, 3]) flatten dense 2";
    agrees_alone(&alone("[1, 3, 4]", net, 5, "adam(lr: 0.01)", "client = [max] precision = 1e-6"), 10);
    agrees_alone(&alone("[1, 4, 4]", net, 8, "nesterov(lr: 0.1, beta: 0.5)", ""), 10);
}

#[test]
fn the_server_alone_trains_kernels_twice_in_an_update() {
    for (optimizer, precision) in [("momentum(lr: 0.1, beta: 0.5)", 1e-3), ("adam(lr: 0.01)", 1e-6)] {
        agrees_alone(
            &format!(
                r#"env "Image-v0" {{ observe s: [1, 3, 4] in [0, 1]  act a: one of 2  reward r in [-2, 2] }}
net c(s) -> [2] {{ conv 2 kernel 2 square  flatten  dense 2 }}
algorithm chain(c) {{
    parameter optimizer
    state t = copy(c)
    minimize mean((dot(c(s), a) - r)^2) over c with optimizer
    minimize mean((dot(c(s'), a) - stop(dot(t(s), a)))^2) over c with sgd(lr: 0.05)
    t <- mix(t, c, 0.1)
}}
train chain(c) {{ batch = 6 updates = 3 optimizer = {optimizer} }}
secure ckks {{ refresh = bootstrap precision = {precision} }}"#
            ),
            10,
        );
    }
}

#[test]
fn where_nobody_has_the_kernels_it_says_who_could() {
    let twice = "conv 2 kernel 3 square conv 2 kernel 2 square flatten dense 2";
    let source = images("[1, 6, 5]", twice, 4, "sgd(lr: 0.1)", "").replace("refresh = client", "refresh = bootstrap");
    let errors = compile(&source, &Options::default()).expect_err("nobody lays the kernels out");
    assert!(errors.iter().all(|e| e.code == "HE0301" && e.help.as_deref().is_some_and(|h| h.contains("refresh = client"))), "{errors:?}");
    let plan = compile(&source.replace("refresh = bootstrap", "refresh = auto"), &Options::default()).expect("the client can").plan;
    assert!(plan.notes.iter().any(|note| note.starts_with("refresh = auto: the client")), "{:?}", plan.notes);
}
