//! Adaptive optimisers: the textbook's, taken by the key owner, and the one that ciphertexts track, against the tensor graph and
//! against Adam itself.

use std::collections::BTreeMap;

use hecc_compiler::check::hir::{By, Refresh};
use hecc_compiler::diagnostics::{Diagnostic, Severity};
use hecc_compiler::tensor::build::tracking::Constants;
use hecc_compiler::tensor::eval::{Exact, eval};
use hecc_compiler::tensor::graph::{AdamStep, Rate};
use hecc_compiler::tensor::{Data, Op, Output, build};
use hecc_compiler::tracking::{self, NEAR, Variant};
use hecc_compiler::{Compiled, Options, compile};
use hecc_plan::clear::Sources;
use hecc_plan::{DecisionKind, StateInit, Tensor, Tensors};

use crate::support::{Numbers, agrees, agrees_alone};

fn regression(net: &str, optimizer: &str, secure: &str) -> String {
    format!(
        r#"env "Other-v0" {{ observe s: [3] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }}
net q(s) -> [2] {{ {net} }}
algorithm fit(q) {{ parameter optimizer  minimize mean((dot(q(s), a) - r)^2) over q with optimizer }}
train fit(q) {{ batch = 16 updates = 9 optimizer = {optimizer} }}
secure ckks {{ {secure} }}"#
    )
}

const OPTIMISERS: [&str; 4] = [
    "adam(lr: 0.01)",
    "adam(lr: linear(0.02, 0.001), beta1: 0.5, beta2: 0.9)",
    "rmsprop(lr: 0.01, rho: 0.9)",
    "rmsprop(lr: cosine(0.02, 0.01))",
];

#[test]
fn the_key_owner_takes_the_step_of_the_textbook() {
    for optimizer in OPTIMISERS {
        agrees(&regression("dense 4 square dense 2", optimizer, "refresh = client"), 11);
    }
}

#[test]
fn a_step_is_adams() {
    // The recurrences of the paper, written out.
    let rate = Rate { from: 0.1, to: 0.1, cosine: false, updates: 5 };
    let step = AdamStep { rate, beta1: 0.9, beta2: 0.99, eps: 1e-3 };
    let (mut w, mut m, mut v) = (0.5f64, 0.0, 0.0);
    let mut own = w;
    for (t, g) in [0.3, -0.2, 0.05, 0.4, -0.6].into_iter().enumerate() {
        m = 0.9 * m + 0.1 * g;
        v = 0.99 * v + 0.01 * g * g;
        own = step.apply(own, m, v, t as f64);
        let power = |beta: f64| 1.0 - beta.powi(t as i32 + 1);
        w -= 0.1 * (m / power(0.9)) / ((v / power(0.99)).sqrt() + 1e-3);
        assert!((own - w).abs() < 1e-14, "step {t}: {own} and {w}");
    }
}

#[test]
fn ciphertexts_track_the_scale_of_gradients() {
    for optimizer in OPTIMISERS {
        agrees_alone(&regression("dense 4 square dense 2", optimizer, "refresh = bootstrap"), 10);
    }
}

#[test]
fn ciphertexts_track_it_by_every_recurrence() {
    for by in ["log_average", "newton", "polynomial"] {
        for rest in ["", ", lagged: off, normalised: off"] {
            let optimizer = format!("adam(lr: 0.01, beta2: 0.99, eps: 0.2, by: {by}{rest})");
            println!("{optimizer}");
            agrees_alone(&regression("dense 4 square dense 2", &optimizer, "refresh = bootstrap precision = 1e-6"), 10);
        }
        let optimizer = format!("rmsprop(lr: linear(0.02, 0.01), rho: 0.9, eps: 0.3, by: {by})");
        println!("{optimizer}");
        agrees_alone(&regression("dense 4 square dense 2", &optimizer, "refresh = bootstrap"), 10);
    }
}

#[test]
fn two_networks_with_rates_of_their_own_share_the_products() {
    let source = r#"env "Other-v0" { observe s: [2] in [-1, 1]  act a: [1] in [-1, 1]  reward r in [-1, 1] }
net v(s) -> [1] { dense 2 square dense 1 }
net w(s) -> [1] { dense 4 square dense 1 }
algorithm both(v, w) {
    state t = copy(v)
    let y = stop(r + 0.9 * t(s'))
    minimize mean((v(s) - y)^2) over v with adam(lr: 0.02, beta2: 0.9)
    minimize mean((w(s) - old(v)(s))^2) over w with adam(lr: 0.005, beta1: 0.8, beta2: 0.9)
    t <- mix(t, v, 0.1)
}
train both(v, w) { batch = 16 updates = 4 }
secure ckks { refresh = bootstrap }"#;
    let compiled = agrees_alone(source, 10);
    assert_eq!(compiled.plan.carried.len(), 1, "weights, means, scales and targets share a ciphertext");
}

/// What a tracked scale makes of a sequence of gradients, by the graph that is lowered: ε w after each.
fn tracked(gradients: &[f64], beta2: f64, eps: f64, start: f64) -> Vec<f64> {
    let source =
        regression("dense 1 nobias", &format!("rmsprop(lr: 0.01, rho: {beta2})"), "refresh = bootstrap").replace("-> [2]", "-> [1]");
    let source = source.replace("dot(q(s), a)", "q(s)").replace("[3]", "[1]");
    let program = hecc_compiler::check(&source).expect("it is a program");
    assert_eq!(program.secure.refresh, Refresh::Bootstrap);
    let graph = build::build(&program, false).expect("it builds").graph;
    // The gradient is 2 (w s - r) s: with w = 0 and s = 1 it is -2 r.
    let mut scale = start;
    let mut scales = Vec::new();
    for &gradient in gradients {
        let states = [("q.0.weight".to_owned(), vec![0.0]), ("q.0.weight.scale".to_owned(), vec![scale])].into();
        let data = |data: &Data| match data {
            Data::Reward => vec![-gradient * 16.0 / 2.0; 1],
            _ => vec![1.0; 1],
        };
        let values = eval(&graph, 1, &Exact, &data, &states);
        let output = graph.outputs.iter().find(|(o, _)| *o == Output::State("q.0.weight.scale".to_owned())).expect("it is tracked");
        scale = values[output.1.index()][0];
        scales.push(scale);
    }
    assert!(graph.ids().any(|id| matches!(graph.node(id).op, Op::Mul)), "by products");
    let floor = 1e-4f64.max(eps);
    scales.into_iter().map(|scale| scale / floor).collect()
}

#[test]
fn the_tracked_scale_follows_adams() {
    let mut numbers = Numbers::new(5);
    let (mut errors, mut worst) = (Vec::new(), 0.0f64);
    for coordinate in 0..40 {
        let size = 10f64.powf(-3.0 + 2.7 * f64::from(coordinate) / 39.0);
        let normal = |numbers: &mut Numbers| (0..12).map(|_| (numbers.next() + 1.0) / 2.0).sum::<f64>() - 6.0;
        let drift = |t: usize| (0.5 * (t as f64 / 200.0).sin()).exp();
        let gradients: Vec<f64> = (0..600).map(|t| size * drift(t) * normal(&mut numbers)).collect();
        let (beta2, eps) = (0.99, 1e-4);
        let start = size * size;
        let ours = tracked(&gradients, beta2, eps, eps / (start + eps * eps).sqrt());
        let mut v = start;
        for (t, (gradient, ours)) in gradients.iter().zip(&ours).enumerate() {
            v = beta2 * v + (1.0 - beta2) * gradient * gradient;
            let exact = 1.0 / (v + eps * eps).sqrt();
            // The first updates still tell of the start.
            if t >= 100 {
                errors.push((ours / exact - 1.0).abs());
                worst = worst.max((ours / exact - 1.0).abs());
            }
            assert!(ours.is_finite() && *ours > 0.0, "coordinate {coordinate} diverged at {t}");
        }
    }
    errors.sort_by(f64::total_cmp);
    let median = errors[errors.len() / 2];
    println!("step sizes against Adam's: median error {:.2} %, largest {:.1} %", 100.0 * median, 100.0 * worst);
    assert!(median < 0.02, "median error {median}");
}

fn compiled(optimizer: &str, secure: &str) -> Result<Compiled, Vec<Diagnostic>> {
    let options = Options { insecure_log_n: Some(10), ..Options::default() };
    compile(&regression("dense 4 square dense 2", optimizer, secure), &options)
}

#[test]
fn the_cheapest_recurrence_that_holds_is_taken() {
    for (beta2, eps) in [(0.999, 1e-3), (0.99, 1e-3), (0.99, 3.0), (0.9, 2.5), (0.9, 1e-3)] {
        let optimizer = format!("adam(lr: 0.01, beta2: {beta2}, eps: {eps})");
        let plan = compiled(&optimizer, "refresh = bootstrap precision = 1e-6").expect("it compiles");
        let [best, others @ ..] = plan.choices[0].variants.as_slice() else { panic!("there is a choice") };
        println!("{optimizer}: {best}");
        others.iter().for_each(|other| println!("    {other}"));
        assert_eq!(others.len(), 11, "three recurrences, lagged or not, the mean of either");
        let near = |v: &Variant| v.error.median <= NEAR && v.error.largest < 0.9;
        let price = |v: &Variant| (v.levels_to_weights, v.products, v.levels);
        let best_near = near(best);
        for other in others.iter().filter(|other| other.holds && near(other)) {
            assert!(best_near && price(best) <= price(other), "{other}");
        }
        // Without v nothing is ever thrown off.
        assert!(best.holds && plan.warnings.is_empty());
        let decision = plan.plan.decisions.iter().find(|d| d.kind == DecisionKind::Optimiser).expect("it is told");
        assert!(decision.choice.contains(best.by.name()) && decision.runner_up.as_ref().is_some_and(|all| all.contains("polynomial")));
    }
    // Of few gradients a logarithmic average is none: the mean square itself is better, where ε allows for it.
    let plan = compiled("adam(lr: 0.01, beta2: 0.9, eps: 2.5)", "refresh = bootstrap precision = 1e-6").expect("it compiles");
    assert_eq!(plan.choices[0].variants[0].by, By::Newton);
    let plan = compiled("adam(lr: 0.01, beta2: 0.99, eps: 1e-3)", "refresh = bootstrap").expect("it compiles");
    assert_eq!(plan.choices[0].variants[0].by, By::LogAverage);
}

#[test]
fn a_recurrence_that_does_not_hold_is_told_with_the_least_eps() {
    for by in ["newton", "polynomial"] {
        let optimizer = |eps: f64| format!("adam(lr: 0.01, beta2: 0.99, eps: {eps}, by: {by})");
        let warned = compiled(&optimizer(1e-3), "refresh = bootstrap precision = 1e-6").expect("it is a warning");
        let [warning] = warned.warnings.as_slice() else { panic!("one warning: {:?}", warned.warnings) };
        assert_eq!((warning.code, warning.severity), ("HE0303", Severity::Warning));
        let choice = &warned.choices[0];
        let (best, largest) = (choice.variants[0], choice.constants.largest);
        assert!(warning.help.as_ref().is_some_and(|help| help.contains(&format!("{:.2e}", best.least_eps))), "{warning:?}");
        // The rule, written out.
        let noise = 6.7 * choice.noise / (2.0f64 * 0.01).sqrt();
        let jump = if by == "newton" { 0.01 / 2.0 } else { 0.01 / 19.0 };
        assert!((best.least_eps - largest * noise.max(jump).sqrt()).abs() < 1e-12 * largest);
        assert!(choice.noise > 0.0);
        let quiet = compiled(&optimizer(1.01 * best.least_eps), "refresh = bootstrap precision = 1e-6").expect("it compiles");
        assert!(quiet.warnings.is_empty() && quiet.choices[0].variants[0].holds);
    }
    let hopeless = "adam(lr: 0.01, beta2: 0.9999999, eps: 1e-3, by: newton)";
    let errors = compiled(hopeless, "refresh = bootstrap precision = 0.5").expect_err("nothing holds");
    assert_eq!((errors[0].code, errors[0].severity), ("HE0303", Severity::Error));
}

#[test]
fn a_recurrence_that_holds_and_does_not_follow_is_told_with_an_eps_that_would() {
    let warned = compiled("adam(lr: 0.01)", "refresh = bootstrap").expect("it is a warning");
    let [warning] = warned.warnings.as_slice() else { panic!("one warning: {:?}", warned.warnings) };
    assert_eq!((warning.code, warning.severity), ("HE0303", Severity::Warning));
    let help = warning.help.as_ref().expect("it says what to do");
    let eps: f64 = help.split_whitespace().find_map(|word| word.parse().ok()).expect("an eps");
    let better = compiled(&format!("adam(lr: 0.01, eps: {eps})"), "refresh = bootstrap").expect("it compiles");
    assert!(better.warnings.is_empty(), "{help}: {:?}", better.warnings);
}

#[test]
fn scales_start_where_a_coarse_maximum_leaves_the_gradients() {
    // Rewards of at most 0.17 after recoding; without a range the maximum has an interval for the 17 of the environment.
    let source = |pins: &str| {
        format!(
            r#"env "Other-v0" {{ observe s: [3] in [-1, 1]  act a: one of 2  reward r in [-17, 0]  client {{ r <- 0.01 * r }} }}
net q(s) -> [2] {{ dense 4 square dense 2 init small }}
algorithm fit(q) {{
    parameter optimizer
    state t = copy(q)
    let y = stop(r + 0.9 * max(t(s'){pins}))
    minimize mean((dot(q(s), a) - y)^2) over q with optimizer
    t <- mix(t, q, 0.1)
}}
train fit(q) {{ batch = 16 updates = 9 optimizer = adam(lr: 0.01, beta2: 0.99, eps: 1e-3) }}
secure ckks {{ refresh = bootstrap }}"#
        )
    };
    let [wide, narrow] = [", degree: 4", ", degree: 4, range: [-0.5, 0.5]"].map(source);
    let starts = |source: &str| {
        let program = hecc_compiler::front::check(source).expect("the program checks");
        let resolved = tracking::resolve(&program, None, Some(10)).expect("a recurrence");
        let built = build::build(&resolved.program, false).expect("it builds");
        let scales = built.states.iter().filter(|state| state.name.ends_with(".scale"));
        scales.map(|state| if let StateInit::Constant(start) = state.init { start } else { panic!("{}", state.name) }).collect::<Vec<_>>()
    };
    let (coarse, fine) = (starts(&wide), starts(&narrow));
    assert!(coarse.len() == 4 && coarse.iter().zip(&fine).all(|(c, f)| *c < f / 5.0), "{coarse:?} {fine:?}");
    let warned = |source: &str| {
        let options = Options { insecure_log_n: Some(10), ..Options::default() };
        let warnings = compile(source, &options).expect("it compiles").warnings.into_iter();
        // In so small a ring noise is loud beside that ε.
        warnings.map(|w| (w.code, w.severity)).filter(|(code, _)| *code != "HE0303").collect::<Vec<_>>()
    };
    assert_eq!(warned(&wide), [("HE0304", Severity::Warning)]);
    assert_eq!(warned(&narrow), []);
}

#[test]
fn scales_that_leave_their_mean_squares_are_watched() {
    let compiled = compiled("adam(lr: 0.01, beta2: 0.9, eps: 2.5, by: newton)", "refresh = bootstrap").expect("it compiles");
    let watch = &compiled.plan.training.as_ref().expect("a training").watch;
    let floor = compiled.choices[0].constants.floor();
    // ε w of a half where v is three times τ, and of twice that, which (v + τ) w² = 4 shows.
    for (scale, product) in [(0.5, 1.0), (1.0, 4.0)] {
        let value = |state: &hecc_plan::State| if state.name.ends_with(".scale") { scale } else { 3.0 * floor };
        let tensor = |state: &hecc_plan::State| {
            let data = vec![value(state); state.shape.iter().product()];
            (state.name.clone(), Tensor::new(state.shape.clone(), data))
        };
        let states: Tensors = compiled.plan.states.iter().map(tensor).collect();
        let watched: Vec<_> = watch.arguments.iter().filter(|argument| argument.name.starts_with("the scale of ")).collect();
        assert_eq!(watched.len(), 4, "two layers, weight and bias");
        for argument in watched {
            let (batch, decrypted, mut known) = (Tensors::new(), BTreeMap::new(), BTreeMap::new());
            let sources = Sources { batch: &batch, states: &states, decrypted: &decrypted };
            watch.program.eval(&[argument.node], sources, &mut known).expect("states are there");
            assert!(known[&argument.node].data.iter().all(|u| (u - product).abs() < 1e-12), "{}", argument.name);
            assert_eq!((argument.range[0]..=argument.range[1]).contains(&product), product == 1.0, "{}", argument.name);
        }
    }
}

#[test]
fn optimisers_say_what_they_take() {
    for (optimizer, said) in [
        ("adam(lr: 0.01, by: newtown)", "`log_average` or `newton` or `polynomial`"),
        ("adam(lr: 0.01, lagged: yes)", "`on` or `off`"),
        ("rmsprop(lr: 0.01, normalised: on)", "normalised"),
    ] {
        let errors = compiled(optimizer, "refresh = bootstrap").expect_err("it is no word of the language");
        assert!(format!("{errors:?}").contains(said), "{errors:?}");
    }
    // The key owner's step has nothing to choose.
    let textbook = compiled("adam(lr: 0.01, by: newton)", "refresh = client").expect("it compiles");
    assert!(textbook.choices.is_empty() && textbook.warnings.is_empty());
}

/// Without the rule: noise throws a mean square off where τ is smaller, and leaves it alone where it is not.
#[test]
fn noise_throws_off_what_the_rule_forbids() {
    let constants = |eps: f64| Constants { beta2: 0.99, eps, largest: 1.0 };
    let noise = 2f64.powi(-16);
    let least = (6.7 * noise / 0.02f64.sqrt()).sqrt();
    for by in [By::Newton, By::Polynomial] {
        let jump: f64 = if by == By::Newton { 0.005 } else { 0.01 / 19.0 };
        let holds = tracking::simulated(by, constants(1.05 * least.max(jump.sqrt())), noise);
        assert!(holds.largest < 0.5 && holds.median < NEAR, "{by:?}: {holds:?}");
        let thrown = tracking::simulated(by, constants(0.1 * least), noise);
        assert!(thrown.largest >= 0.9, "{by:?}: {thrown:?}");
    }
    let average = tracking::simulated(By::LogAverage, constants(0.1 * least), noise);
    assert!(average.median < 0.05, "{average:?}");
}
