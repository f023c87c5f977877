//! What equality saturation does to lowered plans: never worse, in sum better, and the same every time.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hecc_compiler::approximation::Form;
use hecc_compiler::passes::{self, Level, NAMES, PassName, saturate};
use hecc_compiler::schemes::ckks::Measure;
use hecc_compiler::tensor::{Graph, Op, build};
use hecc_compiler::{Options, check, compile, diagnostics, pipeline};
use hecc_plan::Span;
use hecc_plan::cost::{CostTable, predict};

use crate::support;

fn programs(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut files: Vec<_> = fs::read_dir(&root)
        .expect("a folder of programs")
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|x| x == "rl"))
        .collect();
    files.sort();
    files
        .iter()
        .map(|path| (path.file_stem().expect("a name").to_string_lossy().into_owned(), fs::read_to_string(path).expect("a program")))
        .collect()
}

/// Measures without and with saturation, and where depth may cost a few rotations and products.
fn all(name: &str, source: &str, small: bool) -> [Measure; 3] {
    measured(name, source, small).0
}

/// The same, and whether time alone decides: where bootstraps or exchanges cut an update, depths are those of its pieces.
fn measured(name: &str, source: &str, small: bool) -> ([Measure; 3], bool) {
    let options = |trade: bool, without: &[PassName]| Options {
        insecure_log_n: small.then_some(10),
        // Twins are merged, degrees chosen and cuts refined of whatever graph saturation leaves.
        without: [without, &[PassName::Twins, PassName::Degrees, PassName::Refine]].concat(),
        trade,
        ..Options::default()
    };
    let mut cut = false;
    let mut measure = |options| {
        let compiled = compile(source, &options).unwrap_or_else(|e| panic!("{}", diagnostics::render(&e, source, "program.rl", false)));
        cut |= compiled.plan.outputs.iter().any(|output| output.label == "refreshed");
        compiled.measure
    };
    let (without, with) = (measure(options(false, &[PassName::Saturate])), measure(options(false, &[])));
    // Of large programs time alone decides.
    let measures = [without, with, if small { measure(options(true, &[])) } else { with }];
    let text = |m: &Measure| format!("{:4} {:4} {:4} {:4}", m.depth_bits, m.rotations, m.products, m.relinearisations);
    println!("{name:<22} {}", measures.iter().map(text).collect::<Vec<_>>().join("   "));
    // Where the server bootstraps, several updates stand in one circuit.
    if source.contains("refresh = bootstrap") {
        return (measures, true);
    }
    let [without, with, trade] = &measures;
    if cut {
        assert!(with.rotations <= without.rotations && with.products <= without.products, "{name}");
        return (measures, true);
    }
    assert!(with == without || with.beats(without), "{name}");
    assert!(trade.depth_bits <= without.depth_bits, "{name}");
    (measures, false)
}

fn serving(expression: &str) -> String {
    format!(
        r#"env "Other-v0" {{ observe s: [4] in [-1, 1]  act a: [1] in [-1, 1]  reward r in [-1, 1] }}
net actor(s) -> [4] {{ dense 4 }}
serve {expression} {{ batch = 4 }}
secure ckks {{ secret = [s, actor] }}"#
    )
}

fn training(net: &str, loss: &str, env: &str) -> String {
    format!(
        r#"env "Other-v0" {{ observe s: [3] in [-1, 1]  {env}  reward r in [-1, 1] }}
{net}
algorithm fit(q) {{ parameter optimizer  minimize {loss} over q with optimizer }}
train fit(q) {{ batch = 4 updates = 2 optimizer = sgd(lr: 0.1) }}
secure ckks {{ refresh = client }}"#
    )
}

const CONTINUOUS: &str = "act a: [1] in [-1, 1]";

fn levels(before: Measure, after: Measure) -> u32 {
    // A level is about the scale of a small ring.
    (before.depth_bits - after.depth_bits) / 20
}

#[test]
fn products_are_balanced_and_shared() {
    let [without, with, _] = all("power chain", &serving("actor(s) * (actor(s) * (actor(s) * actor(s)))"), true);
    assert!(levels(without, with) >= 1 && with.products < without.products);
    let long = serving("((((((actor(s) * s) * actor(s)) * s) * actor(s)) * s) * actor(s)) * s");
    let [without, with, _] = all("known and not", &long, true);
    assert!(levels(without, with) >= 4 && with.products < without.products);
    let [without, with, _] = all("four factors", &serving("((actor(s) * actor(s)) * s) * (actor(s) + s)"), true);
    assert!(levels(without, with) >= 1);
    let [without, with, _] = all("common factor", &serving("actor(s) * s + actor(s) * actor(s)"), true);
    assert!(with.products < without.products);
}

#[test]
fn errors_multiply_last() {
    let square = "net q(s) -> [1] { dense 4 square  dense 1 }";
    let deep = "net q(s) -> [1] { dense 4 square  dense 4 square  dense 1 }";
    let free = "net q(s) -> [1] { dense 4 sigmoid  dense 1 }";
    let pinned = "net q(s) -> [1] { dense 4 sigmoid(degree: 3, range: [-2, 2])  dense 4 tanh(degree: 3, range: [-2, 2])  dense 1 }";
    let heads = "net q(s) -> [2] { dense 4 square  dense 2 }";
    for (name, source, least) in [
        ("value", training(square, "mean((q(s) - r)^2)", CONTINUOUS), 1),
        ("value, two layers", training(deep, "mean((q(s) - r)^2)", CONTINUOUS), 3),
        ("bootstrapped value", training(square, "mean((q(s) - stop(r + 0.9 * q(s')))^2)", CONTINUOUS), 1),
        ("sigmoid", training(free, "mean((q(s) - r)^2)", CONTINUOUS), 1),
        ("pinned", training(pinned, "mean((q(s) - r)^2)", CONTINUOUS), 4),
        ("one-hot", training(heads, "mean((dot(q(s), a) - r)^2)", "act a: one of 2"), 1),
    ] {
        let [without, _, trade] = all(name, &source, true);
        assert!(levels(without, trade) >= least, "{name}");
    }
}

#[test]
fn golden_programs_cost_less_in_sum() {
    let all: Vec<(String, String, bool)> = [("tests/golden", true), ("examples", false)]
        .into_iter()
        .flat_map(|(folder, small)| programs(folder).into_iter().map(move |(name, source)| (name, source, small)))
        .collect();
    // Two at a time: each compiles for itself.
    let half =
        |first: usize| all.iter().skip(first).step_by(2).map(|(name, source, small)| measured(name, source, *small)).collect::<Vec<_>>();
    let (even, odd) = std::thread::scope(|scope| {
        let odd = scope.spawn(|| half(1));
        (half(0), odd.join().expect("the other half is measured"))
    });
    let mut sums = [[0; 3]; 3];
    for (measures, timed) in even.into_iter().chain(odd) {
        for (sum, m) in sums.iter_mut().zip(measures).filter(|_| !timed) {
            sum[0] += u64::from(m.depth_bits);
            sum[1] += m.rotations;
            sum[2] += m.products;
        }
    }
    println!("sums {sums:?}");
    let [without, with, _] = sums;
    assert!(with[0] < without[0] && with[1] <= without[1] && with[2] <= without[2], "{sums:?}");
}

/// Of this program the graph that is cheaper as lowered is dearer once its twins are merged and its updates cut better.
#[test]
fn the_finished_plan_is_no_dearer_than_without() {
    let source = include_str!("../../examples/pendulum_td3.rl");
    let cost = |without: &[PassName]| {
        let options = Options { without: without.to_vec(), ..Options::default() };
        let predicted = predict(&compile(source, &options).expect("an example compiles").plan, CostTable::built_in(), 0);
        predicted.seconds_per_update + predicted.link_seconds
    };
    let (with, without) = (cost(&[]), cost(&[PassName::Saturate]));
    println!("{with:.3} s with saturation, {without:.3} s without");
    assert!(with <= without);
}

#[test]
fn passes_are_left_out_by_name() {
    assert_eq!("hoist".parse(), Ok(PassName::Hoist));
    let unknown = "horst".parse::<PassName>().expect_err("no pass has this name");
    assert!(NAMES.iter().all(|name| unknown.to_string().contains(name.as_str())), "{unknown}");
    let source = training("net q(s) -> [1] { dense 4 square  dense 1 }", "mean((q(s) - r)^2)", CONTINUOUS);
    let depths: Vec<u32> = (0..=3)
        .map(|level| {
            let options = Options { insecure_log_n: Some(10), level: Level::new(level), ..Options::default() };
            compile(&source, &options).expect("it compiles at every level").measure.depth_bits
        })
        .collect();
    assert!(depths.is_sorted_by(|a, b| a >= b), "{depths:?}");
    for name in NAMES {
        let options = Options { insecure_log_n: Some(10), without: vec![name], trade: true, ..Options::default() };
        let compiled = compile(&source, &options).expect("it compiles without any pass");
        support::compiled_agrees(&source, &compiled);
    }
}

/// One e-graph, and extractions by each choice of degrees: never one polynomial in one place and another in the next.
#[test]
fn extraction_makes_all_its_choices_by_one_of_those_offered() {
    let source = training("net q(s) -> [1] { dense 4 tanh  dense 4 tanh  dense 1 }", "mean((q(s) - r)^2)", CONTINUOUS);
    let program = check(&source).expect("it checks");
    let facts = pipeline::facts(&program);
    let graph = passes::run(&build::build(&program, false).expect("it builds").graph, &facts);
    let tanh = |graph: &Graph| {
        let maps = graph.ids().filter_map(|id| match &graph.node(id).op {
            Op::Map(map) => Some((graph.node(id).span, map.pins.degree)),
            _ => None,
        });
        maps.collect::<BTreeSet<_>>()
    };
    let layers: Vec<Span> = tanh(&graph).into_iter().map(|(span, _)| span).collect();
    assert_eq!(layers.len(), 2);
    let choice = |degrees: [usize; 2]| layers.iter().zip(degrees).map(|(&span, degree)| (("tanh", span), Form::Degree(degree))).collect();
    let choices = [[7, 15], [15, 3]].map(choice);
    let front = saturate::front(&graph, &facts, &choices);
    for (number, choice) in choices.iter().enumerate() {
        let own: Vec<&Graph> = front.iter().filter(|(of, _)| *of == number).map(|(_, graph)| graph).collect();
        assert!(!own.is_empty());
        for graph in own {
            let found = tanh(graph);
            assert!(
                found.iter().all(|(span, degree)| choice.get(&("tanh", *span)).copied() == degree.map(Form::Degree)),
                "{found:?}, not {choice:?}"
            );
        }
    }
}

#[test]
fn the_same_program_gives_the_same_plan() {
    let source = training("net q(s) -> [1] { dense 4 tanh  dense 4 square  dense 1 }", "mean((q(s) - r)^2)", CONTINUOUS);
    let options = Options { insecure_log_n: Some(10), trade: true, ..Options::default() };
    let text = || hecc_plan::write(&compile(&source, &options).expect("it compiles").plan);
    assert_eq!(text(), text());
}
