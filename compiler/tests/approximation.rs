//! Degrees under a budget, ranges from a rehearsal, and the range penalty.

use std::collections::BTreeMap;

use hecc_compiler::approximation::{Approximation, Form};
use hecc_compiler::check::hir::Program;
use hecc_compiler::passes::PassName;
use hecc_compiler::tensor::eval::Exact;
use hecc_compiler::tensor::graph::{Elementwise, Map};
use hecc_compiler::tensor::{Op, Output, build};
use hecc_compiler::{Compiled, Options, check, compile, compile_calibrated, rehearsal};
use hecc_plan::calibration::Calibration;
use hecc_plan::cost::{CostTable, predict};
use hecc_plan::counts::counts;
use hecc_plan::{Tensor, Tensors};

use crate::support::{self, Numbers, data, data_of, run_graph};

const FUNCTIONS: [&str; 6] = ["silu", "tanh", "sigmoid", "softplus", "gelu", "mish"];

fn small() -> Options {
    Options { insecure_log_n: Some(11), ..Options::default() }
}

fn serve(net: &str, precision: &str) -> String {
    format!(
        r#"env "Pendulum-v1" {{ observe s: [3] in [-1, 1], [-1, 1], [-8, 8]  act a: [1] in [-2, 2]  reward r in [-16.3, 0] }}
net actor(s) -> [1] {{ {net} }}
serve actor(s) {{ batch = 32 }}
secure ckks {{ precision = {precision} }}"#
    )
}

fn train(net: &str, settings: &str, precision: &str) -> String {
    format!(
        r#"use std.dqn
env "CartPole-v1" {{
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
}}
net q(s) -> [2] {{ {net} }}
train dqn(q) {{ discount = 0.9 batch = 32 updates = 3 optimizer = sgd(lr: 0.5) tau = 0.1 {settings} }}
secure ckks {{ refresh = client client = [max] precision = {precision} }}"#
    )
}

/// The largest error of what leaves the program's graph, with the chosen polynomials against exact functions: results as
/// they are, weights relative to the largest.
fn error(source: &str, compiled: &Compiled) -> f64 {
    let program = check(source).expect("it compiled");
    let (batch, states) = data(&program, &compiled.plan, 3);
    let graph = &compiled.graph;
    let polynomial = run_graph(&program, graph, &batch, &states, &support::Approximated::new(&program));
    let exact = run_graph(&program, graph, &batch, &states, &Exact);
    let scale = states.values().flat_map(|t| &t.data).fold(0.0f64, |m, v| m.max(v.abs()));
    let mut largest = 0.0f64;
    for ((output, a), (_, b)) in polynomial.iter().zip(&exact) {
        let scale = if matches!(output, Output::Result(_)) { 1.0 } else { scale };
        largest = a.iter().zip(b).map(|(a, b)| (a - b).abs() / scale).fold(largest, f64::max);
    }
    largest
}

fn depth(compiled: &Compiled) -> u32 {
    counts(&compiled.plan).depth_bits
}

#[test]
fn a_served_network_keeps_its_promise() {
    for f in FUNCTIONS {
        let mut last = 0;
        for precision in ["0.05", "1e-2", "1e-3", "1e-4"] {
            let source = serve(&format!("dense 16 {f} dense 16 {f} dense 1 tanh"), precision);
            let compiled = compile(&source, &small()).unwrap_or_else(|e| panic!("{f} at {precision}: {e:?}"));
            let a = &compiled.approximation;
            let promised: f64 = precision.parse().expect("a number");
            assert!(a.met() && a.budget < promised, "{f} at {precision}: {a:?}");
            let error = error(&source, &compiled);
            assert!(error <= promised, "{f} at {precision}: {error:e} off\n{a:?}");
            let sum: usize = a.activations.iter().map(|c| c.degree).sum();
            assert!(sum >= last, "{f}: coarser at {precision}");
            last = sum;
            assert!(depth(&compiled) > 0);
        }
    }
}

#[test]
fn an_update_keeps_its_promise() {
    for f in FUNCTIONS {
        for precision in ["1e-2", "1e-3", "1e-5"] {
            let source = train(&format!("dense 8 {f} dense 8 {f} dense 2"), "", precision);
            let compiled = compile(&source, &small()).unwrap_or_else(|e| panic!("{f} at {precision}: {e:?}"));
            let promised: f64 = precision.parse().expect("a number");
            let error = error(&source, &compiled);
            assert!(error <= promised, "{f} at {precision}: {error:e} off\n{:?}", compiled.approximation);
            assert!(compiled.approximation.activations.iter().all(|c| c.derivative_error.is_some()));
        }
    }
}

/// A target by a maximum, and a loss with a gradient through a minimum.
fn compares(pins: &str, precision: &str) -> String {
    format!(
        r#"env "CartPole-v1" {{
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
}}
net q(s) -> [2] {{ dense 8 silu dense 2 }}
algorithm own(q) {{
    state t = copy(q)
    let y = stop(r + 0.9 * (1 - done) * max(t(s'){pins}))
    minimize mean((dot(q(s), a) - y)^2) - 0.1 * mean(min(q(s)[0], q(s)[1]{pins})) over q with sgd(lr: 0.5)
    t <- mix(t, q, 0.1)
}}
train own(q) {{ batch = 32 updates = 3 }}
secure ckks {{ refresh = client precision = {precision} }}"#
    )
}

#[test]
fn maxima_and_minima_share_the_budget() {
    let mut last = f64::INFINITY;
    for precision in ["1e-2", "1e-3", "1e-5"] {
        let source = compares("", precision);
        let compiled = compile(&source, &small()).unwrap_or_else(|e| panic!("at {precision}: {e:?}"));
        let a = &compiled.approximation;
        let promised: f64 = precision.parse().expect("a number");
        assert!(a.met() && compiled.warnings.is_empty(), "{a:?} {:?}", compiled.warnings);
        let error = error(&source, &compiled);
        assert!(error <= promised, "{error:e} off at {precision}: {a:?}");
        println!("{precision}: {error:.1e} off, by {:?}", a.degrees());
        let [silu, max, slope] = a.activations.as_slice() else { panic!("{a:?}") };
        assert_eq!([&silu.name, &max.name, &slope.name], ["silu after q.0", "abs in max after t.1", "abs"]);
        assert!(max.derivative_error.is_none() && slope.derivative_error.is_some(), "{a:?}");
        assert!(max.error < last && max.sensitivity > 0.0 && max.share > 0.0 && !max.pinned, "{a:?}");
        assert!(precision == "1e-2" || matches!(max.form, Form::Composition(_)), "{max:?}");
        last = max.error;
        support::compiled_agrees(&source, &compiled);
        let said = compiled.plan.decisions.iter().filter(|d| d.subject.starts_with("max, of the difference"));
        assert!(
            said.clone().count() > 0 && said.clone().all(|d| d.why.contains("all polynomials together")),
            "{:?}",
            said.collect::<Vec<_>>()
        );
    }
}

/// Chebyshev's polynomials of high degrees ask for a scale that no plan may have more of, however little it would cost.
#[test]
fn the_finest_scale_has_a_plan() {
    let plan = compile(&train("dense 8 silu dense 2", "", "1e-6"), &Options::default()).expect("it compiles").plan;
    assert!((48..=50).contains(&plan.ckks.scale), "2^{}", plan.ckks.scale);
}

/// Action values that differ by more than rewards let expect do so from the start, and an open maximum has an interval for them.
#[test]
fn open_maxima_reach_what_is_seen() {
    let reach = |pins: &str| {
        let source = compares(pins, "1e-3").replace("reward r in [-1, 1]", "reward r in [0, 0.01]");
        let compiled = compile(&source, &small()).expect("it compiles");
        let maxima = compiled.graph.ids().filter_map(|id| match compiled.graph.node(id).op {
            Op::Max(pins) | Op::Extremum { pins, .. } => pins.range,
            _ => None,
        });
        maxima.map(|range| range.high).fold(0.0, f64::max)
    };
    let (open, pinned, own) = (reach(""), reach(", degree: 4"), reach(", range: [-0.3, 0.3]"));
    assert_eq!((pinned, own), (0.02, 0.3));
    assert!(open > 0.25 && open < 20.0, "{open}");
}

/// What a program pins is its own, however far from a maximum; it is told how far.
#[test]
fn pinned_maxima_do_not_count() {
    let source = compares(", degree: 4", "1e-3");
    let compiled = compile(&source, &small()).expect("it compiles");
    let error = error(&source, &compiled);
    assert!(error > 1e-2 && compiled.approximation.met(), "{error:e}");
    let notes = &compiled.plan.notes;
    assert!(notes.iter().any(|note| note.contains("pinned degrees move the outputs by") && note.contains("does not count")), "{notes:?}");
    assert!(compiled.plan.decisions.iter().any(|d| d.why == "the program says so" && d.choice.starts_with("degree 4 on")));
}

/// What a maximum over six activations leaves: no number of combinations is too large.
#[test]
fn many_activations_are_chosen_by_the_programme() {
    let net = "dense 4 silu residual { dense 4 tanh } residual { dense 4 gelu } residual { dense 4 sigmoid } residual { dense 4 mish } dense 1 tanh";
    let compiled = compile(&serve(net, "1e-3"), &Options { insecure_log_n: Some(10), ..Options::default() }).expect("it compiles");
    let a = &compiled.approximation;
    assert_eq!(a.activations.len(), 6);
    assert!(a.met(), "{a:?}");
    let shares: f64 = a.activations.iter().map(|c| c.share).sum();
    assert!((shares - a.measured / a.budget).abs() < 1e-9 && shares > 0.0);
}

#[test]
fn pins_stay_and_cost_nothing() {
    let source = train("dense 8 silu(degree: 3, range: [-2, 3]) dense 8 tanh(range: [-1.5, 1]) dense 2", "", "1e-3");
    let compiled = compile(&source, &small()).expect("it compiles");
    let [silu, tanh] = compiled.approximation.activations.as_slice() else { panic!("two activations") };
    assert_eq!((silu.degree, silu.range.low, silu.range.high, silu.pinned, silu.share), (3, -2.0, 3.0, true, 0.0));
    assert_eq!((tanh.range.low, tanh.range.high, tanh.pinned), (-1.5, 1.0, false));
    assert!(silu.sensitivity > 0.0 && tanh.sensitivity > 0.0, "{silu:?} {tanh:?}");
    assert_eq!(silu.name, "silu after q.0");
}

#[test]
fn forward_and_backward_share_one_polynomial() {
    let compiled = compile(&train("dense 8 silu dense 8 mish dense 2", "", "1e-4"), &small()).expect("it compiles");
    let mut degrees: BTreeMap<String, Vec<(u8, Option<usize>)>> = BTreeMap::new();
    for id in compiled.graph.ids() {
        if let Op::Map(Map { function: Elementwise::Named(f), order, pins }) = &compiled.graph.node(id).op {
            degrees.entry(f.name().to_owned()).or_default().push((*order, pins.degree));
        }
    }
    assert_eq!(degrees.len(), 2);
    for (f, uses) in degrees {
        assert!(uses.iter().any(|u| u.0 == 1) && uses.iter().any(|u| u.0 == 0));
        assert!(uses.iter().all(|u| u.1.is_some() && u.1 == uses[0].1), "{f}: {uses:?}");
    }
}

/// tanh' = 1 − tanh² and σ' = σ (1 − σ) of the polynomials that are there anyway: fewer products, and an error that is measured.
#[test]
fn derivatives_come_from_values_where_that_is_cheaper() {
    let slopes = |compiled: &Compiled| {
        compiled.graph.ids().filter(|&id| matches!(&compiled.graph.node(id).op, Op::Map(Map { order: 1, .. }))).count()
    };
    for f in ["tanh", "sigmoid"] {
        let source = train(&format!("dense 16 {f} dense 2"), "", "1e-3");
        let plan = |without: &[PassName]| compile(&source, &Options { without: without.to_vec(), ..small() }).expect("it compiles");
        let (with, without) = (plan(&[]), plan(&[PassName::Saturate]));
        assert!(slopes(&with) < slopes(&without), "{f}");
        assert!(counts(&with.plan).multiplications < counts(&without.plan).multiplications, "{f}");
        let a = &with.approximation;
        assert!(a.met() && a.activations.iter().any(|c| c.from_value), "{f}: {a:?}");
        assert!(without.approximation.activations.iter().all(|c| !c.from_value));
        let error = error(&source, &with);
        assert!(error <= 1e-3, "{f}: {error:e} off");
        assert!(with.plan.decisions.iter().any(|d| d.why.contains("its derivative is computed from its value")), "{f}");
        support::compiled_agrees(&source, &with);
    }
}

/// A kink meets no budget; the compiler says so and does what it can.
#[test]
fn what_cannot_be_met_is_said() {
    let compiled = compile(&serve("dense 8 relu dense 1", "1e-4"), &small()).expect("it compiles");
    let Approximation { activations, measured, budget, .. } = &compiled.approximation;
    assert!(measured > budget && activations[0].share > 1.0, "{:?}", compiled.approximation);
    assert!(compiled.plan.notes.iter().any(|n| n.contains("more than is allowed")), "{:?}", compiled.plan.notes);
}

/// Random transitions in the declared ranges.
fn rehearse(source: &str, updates: usize) -> Calibration {
    let mut rehearsal = rehearsal::run(source).expect("it checks");
    let program: Program = check(source).expect("it checks");
    let mut states = hecc_plan::init::initial(&rehearsal.plan);
    for update in 0..updates {
        let (batch, _) = data(&program, &rehearsal.plan, update as u64);
        rehearsal.update(&batch, &mut states).expect("the batch is whole");
    }
    rehearsal.calibration()
}

#[test]
fn a_rehearsal_is_the_exact_update() {
    let source = train("dense 8 silu dense 2", "average = 0.1", "1e-3");
    let program = check(&source).expect("it checks");
    let built = build::build(&program, false).expect("it builds");
    let (batch, start) = data_of(&program, &built, 5);
    let want = run_graph(&program, &built.graph, &batch, &start, &Exact);
    let mut states: Tensors = start.clone();
    let mut rehearsal = rehearsal::run(&source).expect("it checks");
    let mut batch = batch.clone();
    // Rates do not change here; the first update is as good as another.
    batch.insert("update".to_owned(), Tensor::new(vec![32], vec![0.0; 32]));
    rehearsal.update(&batch, &mut states).expect("the batch is whole");
    for (output, want) in want {
        let Output::State(name) = output else { continue };
        for (g, w) in states[&name].data.iter().zip(&want) {
            assert!((g - w).abs() < 1e-12 * (1.0 + w.abs()), "{name}: {g} {w}");
        }
    }
    let seen = rehearsal.calibration();
    let names: Vec<&str> = seen.arguments.iter().map(|a| a.name.as_str()).collect();
    assert_eq!(names, ["silu after t.0", "silu after q.0"]);
    assert!(
        seen.states.iter().any(|s| s.name == "q.0.weight")
            && seen.gradients.iter().any(|g| g.name == "q.2.weight" || g.name == "q.1.weight")
    );
}

#[test]
fn ranges_of_a_rehearsal_replace_derived_ones() {
    let source = train("dense 8 silu dense 8 tanh(range: [-9, 9]) dense 2", "", "1e-3");
    let seen = rehearse(&source, 4);
    let derived = compile(&source, &small()).expect("it compiles");
    let measured = compile_calibrated(&source, &small(), Some(&seen)).expect("it compiles");
    let range = |c: &Compiled, i: usize| c.approximation.activations[i].range;
    let hull = |name: &str| {
        let here = seen.arguments.iter().filter(|a| a.function.name() == name).map(|a| a.spread);
        here.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), s| (l.min(s.low), h.max(s.high)))
    };
    let (low, high) = hull("silu");
    assert!(range(&measured, 0).low <= low && range(&measured, 0).high >= high, "{:?} {low} {high}", range(&measured, 0));
    assert!(range(&measured, 0).high < range(&derived, 0).high, "less than the margin of what nobody measured");
    assert_eq!((range(&measured, 1).low, range(&measured, 1).high), (-9.0, 9.0), "a pin stays");
    assert!(depth(&measured) <= depth(&derived), "{:?} {:?}", measured.approximation, derived.approximation);
    assert_eq!(measured.plan, compile_calibrated(&source, &small(), Some(&seen)).expect("it compiles").plan);
}

fn penalised(kappa: f64) -> String {
    format!(
        r#"env "Other-v0" {{ observe s: [3] in [-1, 1]  act a: [2] in [-1, 1]  reward r in [-2, 2] }}
net v(s) -> [1] {{ dense 4 tanh(degree: 3, range: [-0.5, 1.5]) dense 1 }}
algorithm fit(v) {{
    let e = v(s) - r
    minimize mean(e * (v(s) - r)) over v with sgd(lr: 1)
}}
train fit(v) {{ batch = 8 updates = 2 range_penalty = {kappa} }}
secure ckks {{ refresh = client }}"#
    )
}

/// The step is the gradient of the loss plus the mean of (κ R / 4) ((z − c) / R)⁴.
#[test]
fn the_penalty_is_a_gradient() {
    const KAPPA: f64 = 0.3;
    let source = penalised(KAPPA);
    let program = check(&source).expect("it checks");
    let built = build::build(&program, false).expect("it builds");
    let (batch, mut states) = data_of(&program, &built, 2);
    let mut numbers = Numbers::new(9);
    states.values_mut().flat_map(|t| &mut t.data).for_each(|v| *v += numbers.next());
    let loss = |states: &Tensors| {
        let (w, b, u, c) = (&states["v.0.weight"].data, &states["v.0.bias"].data, &states["v.1.weight"].data, &states["v.1.bias"].data);
        let rows = batch["s"].data.chunks(3).zip(&batch["r"].data);
        let sample = |(x, r): (&[f64], &f64)| {
            let z: Vec<f64> = (0..4).map(|o| b[o] + (0..3).map(|i| w[o * 3 + i] * x[i]).sum::<f64>()).collect();
            let y = c[0] + (0..4).map(|o| u[o] * z[o].tanh()).sum::<f64>();
            let penalty: f64 = z.iter().map(|z| KAPPA / 4.0 * (z - 0.5).powi(4)).sum();
            (y - r).powi(2) + penalty
        };
        rows.map(sample).sum::<f64>() / 8.0
    };
    for (output, new) in run_graph(&program, &built.graph, &batch, &states, &Exact) {
        let Output::State(name) = output else { panic!("only states") };
        for (element, new) in new.into_iter().enumerate() {
            let old = states[&name].data[element];
            let at = |by: f64| {
                let mut moved = states.clone();
                moved.get_mut(&name).expect("a state").data[element] += by;
                loss(&moved)
            };
            let quotient = (at(1e-5) - at(-1e-5)) / 2e-5;
            let step = old - new;
            assert!((step - quotient).abs() < 1e-6 * (1.0 + quotient.abs()), "{name}[{element}]: {step} {quotient}");
        }
    }
}

/// The cubic costs two products from its argument on, at a time when the gradient has gone further anyway.
#[test]
fn the_penalty_costs_no_depth_where_gradients_are_deep() {
    let depths = |net: &str| {
        ["0", "0.1"].map(|kappa| depth(&compile(&train(net, &format!("range_penalty = {kappa}"), "1e-3"), &small()).expect("it compiles")))
    };
    let [without, with] = depths("dense 8 silu(degree: 7, range: [-4, 4]) dense 8 silu(degree: 7, range: [-4, 4]) dense 2");
    assert_eq!(with, without);
    let [without, with] = depths("dense 8 silu(degree: 3, range: [-4, 4]) dense 2");
    assert!(with <= without + 30, "{with} against {without}: one constant at most");
    support::agrees(&penalised(0.2), 10);
    support::agrees(&train("dense 5 silu dense 2", "range_penalty = 0.1 batch = 30", "1e-3").replace("batch = 32", ""), 10);
}

/// A served maximum, or magnitude, of what two networks say.
fn compared(what: &str, precision: &str) -> String {
    format!(
        r#"env "Pendulum-v1" {{ observe s: [3] in [-1, 1], [-1, 1], [-8, 8]  act a: [1] in [-2, 2]  reward r in [-16.3, 0] }}
net actor(s) -> [2] {{ dense 2 nobias }}
serve {what} {{ batch = 32 }}
secure ckks {{ precision = {precision} }}"#
    )
}

#[test]
fn tight_comparisons_are_compositions() {
    for what in ["abs(actor(s), range: [-8, 8])", "max(actor(s), range: [-8, 8])", "min(actor(s)[0], actor(s)[1], range: [-8, 8])"] {
        for precision in ["1e-2", "1e-3", "1e-4"] {
            let source = compared(what, precision);
            let compiled = compile(&source, &small()).unwrap_or_else(|e| panic!("{what} at {precision}: {e:?}"));
            support::compiled_agrees(&source, &compiled);
            let promised: f64 = precision.parse().expect("a number");
            let error = error(&source, &compiled);
            assert!(error <= promised, "{what} at {precision}: {error:e} off");
            let said = compiled.plan.decisions.iter().find(|d| d.kind == hecc_plan::DecisionKind::Activation).expect("it is said");
            assert!(said.choice.contains("a composition of degrees"), "{}", said.choice);
            // One polynomial would need a degree of 0.28 * 8 / error, and so about twice its square root of products.
            let single = 2.0 * (2.2 / (promised / 8.0)).sqrt();
            let count = counts(&compiled.plan).multiplications as f64;
            assert!(count < single, "{count} products instead of {single:.0}");
        }
        // A pinned degree stays the program's own.
        let source = compared(&what.replace("range:", "degree: 4, range:"), "1e-3");
        let compiled = compile(&source, &small()).expect("it compiles");
        assert!(compiled.plan.decisions.iter().all(|d| !d.choice.contains("composition")));
    }
}

#[test]
fn what_a_softmax_divides_by_is_as_wide_as_its_logits() {
    let range = std::f64::consts::E;
    for (what, function, within) in [
        ("softmax(actor(s), range: [-1, 1])", "reciprocal", [4.0 / range, 4.0 * range]),
        ("log(softmax(actor(s), range: [-1, 1]))", "log", [4.0 / range, 4.0 * range]),
        ("log(softmax(actor(s), range: [-1, 1]), range: [0, 1])", "log", [4.0, 4.0 * range]),
    ] {
        let source = compared(what, "1e-3").replace("-> [2]", "-> [4]").replace("dense 2", "dense 4 init small");
        let compiled = compile(&source, &small()).unwrap_or_else(|e| panic!("{what}: {e:?}"));
        let found = compiled.approximation.activations.iter().find(|a| a.name.starts_with(function));
        let found = found.unwrap_or_else(|| panic!("{what}: {:?}", compiled.approximation.activations));
        assert!((found.range.low - within[0]).abs() < 1e-12 && (found.range.high - within[1]).abs() < 1e-12, "{found:?}");
        let exp = compiled.approximation.activations.iter().find(|a| a.name.starts_with("exp")).expect("there are powers");
        assert_eq!(exp.range.high, 1.0, "{exp:?}");
        support::compiled_agrees(&source, &compiled);
    }
}

/// What [`Compiled`] plans are compared by: seconds, and what crosses over a gigabit link.
fn cost(compiled: &Compiled) -> f64 {
    let counts = counts(&compiled.plan);
    let crosses = counts.bytes_to_server_per_update + counts.bytes_to_client_per_update;
    predict(&compiled.plan, CostTable::built_in(), 0).seconds_per_update + crosses as f64 / 125e6
}

#[test]
fn of_the_degrees_within_the_budget_the_faster_are_taken() {
    let source = serve("dense 16 gelu dense 16 mish dense 1", "1e-4");
    let plan = |without: &[PassName]| compile(&source, &Options { without: without.to_vec(), ..Options::default() }).expect("it compiles");
    let (both, shallowest) = (plan(&[]), plan(&[PassName::Degrees]));
    assert_ne!(both.approximation.degrees(), shallowest.approximation.degrees());
    assert!(both.approximation.met() && shallowest.approximation.met());
    assert!(cost(&both) < cost(&shallowest), "{} {}", cost(&both), cost(&shallowest));
    let said = both.plan.decisions.iter().find(|decision| decision.subject == "all degrees").expect("it is said");
    let list = |compiled: &Compiled| compiled.approximation.degrees().iter().map(Form::to_string).collect::<Vec<_>>().join(", ");
    let (degrees, rest) = said.runner_up.as_ref().and_then(|other| other.split_once(": ")).expect("the other degrees");
    assert!(said.choice == list(&both) && degrees != said.choice, "{said:?}");
    let seconds: f64 = rest.split(' ').next().and_then(|figure| figure.parse().ok()).unwrap_or_else(|| panic!("{rest}"));
    assert!((0.99..1.5).contains(&(seconds / cost(&both))), "{rest}: {}", cost(&both));
}
