//! Every pass keeps the value of every output, on random graphs and on the graphs of random programs.

use std::collections::BTreeMap;

use hecc_compiler::approximation::Degrees;
use hecc_compiler::check::hir::{ClientOp, Pins, Range};
use hecc_compiler::passes::{self, Facts, fold, hoist, prune, saturate, share};
use hecc_compiler::tensor::eval::{Exact, eval};
use hecc_compiler::tensor::graph::{Elementwise, Map};
use hecc_compiler::tensor::{Data, Graph, Id, Op, Output, Shape, build};
use hecc_compiler::{check, pipeline};
use hecc_plan::{Function, Span};
use proptest::prelude::*;

use crate::support::{self, Numbers, programs};

const BATCH: usize = 3;
/// Elements of the action.
const ACTION: usize = 3;

type Pass = fn(&Graph, &Facts) -> Graph;
const PASSES: [(&str, Pass); 5] =
    [("fold", fold::run), ("share", share::run), ("hoist", hoist::run), ("prune", prune::run), ("all", passes::run)];

/// A random graph: each gene picks an operation and operands among the nodes so far.
struct Grower {
    graph: Graph,
    states: usize,
}

impl Grower {
    fn push(&mut self, op: Op, operands: &[Id], shape: Shape) -> Id {
        self.graph.push(op, operands, shape, Span::default())
    }

    /// One of the nodes whose shape is wanted, if there is any.
    fn pick(&self, gene: u32, wanted: impl Fn(Shape) -> bool) -> Option<Id> {
        let fitting: Vec<Id> = self.graph.ids().filter(|&id| wanted(self.graph.shape(id))).collect();
        // Late nodes are likelier, so that graphs grow deep.
        let from = if gene & 1 == 1 { fitting.len() / 2 } else { 0 };
        fitting.get(from + (gene >> 1) as usize % (fitting.len() - from).max(1)).copied()
    }

    fn state(&mut self, shape: Shape) -> Id {
        self.states += 1;
        self.push(Op::State(format!("s{}", self.states)), &[], shape)
    }

    fn grow(&mut self, kind: u8, first: u32, second: u32) -> Option<Id> {
        let constant = [0.0, 1.0, -1.0, 0.5, -2.0, 0.3][second as usize % 6];
        let d = 1 + second as usize % 4;
        let sample = |s: Shape| matches!(s, Shape::Sample(_));
        let x = self.pick(first, sample)?;
        let shape = self.graph.shape(x);
        let Shape::Sample(dim) = shape else { return None };
        let like = |s: Shape| s == shape;
        let pins = Pins { degree: Some(4), range: Some(Range { low: -3.0, high: 3.0 }), within: None };
        Some(match kind {
            0 => self.push(Op::Constant(constant), &[], Shape::Sample(d)),
            1 => self.push(Op::Constant(constant), &[], Shape::Vector(d)),
            2 => self.state(if first.is_multiple_of(2) { Shape::Vector(d) } else { Shape::Matrix(d, 1 + first as usize % 3) }),
            3 => self.push(Op::Data([Data::Reward, Data::Done, Data::Ones][d % 3].clone()), &[], Shape::Sample(1)),
            4 => self.push(Op::Data(Data::Action), &[], Shape::Sample(ACTION)),
            5 => self.push(Op::Data(Data::Observation { index: 0, next: d.is_multiple_of(2) }), &[], Shape::Sample(2)),
            6..=8 => {
                let y = self.pick(second, like)?;
                let op = [Op::Add, Op::Sub, Op::Mul][kind as usize - 6].clone();
                self.push(op, &[x, y], shape)
            }
            9 => self.push(Op::Scale(constant), &[x], shape),
            10 => self.push(Op::Offset(constant), &[x], shape),
            11 => self.push(Op::Stop, &[x], shape),
            12 => {
                let w = self
                    .pick(second, |s| matches!(s, Shape::Matrix(_, i) if i == dim))
                    .unwrap_or_else(|| self.state(Shape::Matrix(d, dim)));
                let Shape::Matrix(out, _) = self.graph.shape(w) else { return None };
                self.push(Op::Dense, &[x, w], Shape::Sample(out))
            }
            13 => {
                let w = self
                    .pick(second, |s| matches!(s, Shape::Matrix(o, _) if o == dim))
                    .unwrap_or_else(|| self.state(Shape::Matrix(dim, d)));
                let Shape::Matrix(_, inputs) = self.graph.shape(w) else { return None };
                self.push(Op::DenseTranspose, &[x, w], Shape::Sample(inputs))
            }
            14 => {
                let y = self.pick(second, sample)?;
                let Shape::Sample(inputs) = self.graph.shape(y) else { return None };
                self.push(Op::DenseGradient, &[x, y], Shape::Matrix(dim, inputs))
            }
            15 => {
                let v = self.pick(second, |s| matches!(s, Shape::Vector(_)))?;
                let Shape::Vector(length) = self.graph.shape(v) else { return None };
                self.push(Op::Spread, &[v], Shape::Sample(length))
            }
            16 => self.push(Op::SumBatch, &[x], Shape::Vector(dim)),
            17 => {
                let turns = if second.is_multiple_of(3) && dim.is_multiple_of(2) { 2 } else { 1 };
                self.push(Op::SumElements, &[x], Shape::Sample(turns))
            }
            18 if second.is_multiple_of(5) => self.push(Op::Broadcast, &[x], Shape::Sample(2 * dim)),
            18 => {
                let one = self.pick(first, |s| s == Shape::Sample(1))?;
                self.push(Op::Broadcast, &[one], Shape::Sample(if second.is_multiple_of(2) { ACTION } else { d }))
            }
            19 if second.is_multiple_of(3) => self.push(Op::Slice { start: 0, step: 2 }, &[x], Shape::Sample(dim.div_ceil(2))),
            20 if second.is_multiple_of(3) => self.push(Op::Place { start: 1, step: 2 }, &[x], Shape::Sample(2 * dim)),
            19 => self.push(Op::Slice { start: dim / 2, step: 1 }, &[x], Shape::Sample(dim - dim / 2)),
            20 => self.push(Op::Place { start: d, step: 1 }, &[x], Shape::Sample(dim + d)),
            21 => {
                let function = [Function::Tanh, Function::Sigmoid, Function::Sin][d % 3];
                self.push(Op::Map(Map { function: Elementwise::Named(function), order: (second >> 4) as u8 % 2, pins }), &[x], shape)
            }
            22 => self.push(Op::Max(pins), &[x], Shape::Sample(1)),
            23 => {
                let y = self.pick(second, like)?;
                self.push(Op::Extremum { larger: d.is_multiple_of(2), pins }, &[x, y], shape)
            }
            // What losses do with a one-hot action: Σ a x, and a (c x + ...).
            24 => {
                let a = self.push(Op::Data(Data::Action), &[], Shape::Sample(ACTION));
                let q = self.pick(second, |s| s == Shape::Sample(ACTION))?;
                let product = self.push(Op::Mul, &[a, q], Shape::Sample(ACTION));
                let sum = self.push(Op::SumElements, &[product], Shape::Sample(1));
                let wide = self.push(Op::Broadcast, &[sum], Shape::Sample(ACTION));
                self.push(Op::Mul, &[wide, a], Shape::Sample(ACTION))
            }
            // The same vector operations on parameters.
            25 => {
                let v = self.pick(first, |s| !matches!(s, Shape::Sample(_)))?;
                let shape = self.graph.shape(v);
                let w = self.pick(second, |s| s == shape)?;
                self.push([Op::Add, Op::Sub, Op::Mul][d % 3].clone(), &[v, w], shape)
            }
            _ => {
                let v = self.pick(first, |s| !matches!(s, Shape::Sample(_)))?;
                let shape = self.graph.shape(v);
                self.push(if d.is_multiple_of(2) { Op::Scale(constant) } else { Op::Offset(constant) }, &[v], shape)
            }
        })
    }
}

fn grown(genes: &[(u8, u32, u32)]) -> Graph {
    let mut grower = Grower { graph: Graph::default(), states: 0 };
    grower.push(Op::Data(Data::Observation { index: 0, next: false }), &[], Shape::Sample(2));
    grower.push(Op::Data(Data::Action), &[], Shape::Sample(ACTION));
    grower.state(Shape::Vector(2));
    for &(kind, first, second) in genes {
        grower.grow(kind, first, second);
    }
    let mut graph = grower.graph;
    let ids: Vec<Id> = graph.ids().collect();
    // The last node, and every third before it.
    for (number, id) in ids.iter().rev().step_by(3).enumerate() {
        graph.outputs.push((Output::Result(format!("r{number}")), *id));
    }
    graph
}

/// Values of the outputs, and the largest number on the way.
fn values(graph: &Graph, seed: u64) -> (Vec<Vec<f64>>, f64) {
    let numbers = |salt: u64, count: usize| {
        let mut numbers = Numbers::new(seed ^ salt);
        (0..count).map(|_| numbers.next()).collect::<Vec<f64>>()
    };
    let data = |data: &Data| match data {
        Data::Action => (0..BATCH * ACTION).map(|i| f64::from(u8::from(i % ACTION == (i / ACTION + seed as usize) % ACTION))).collect(),
        Data::Reward => numbers(1, BATCH),
        Data::Done => (0..BATCH).map(|i| (i % 2) as f64).collect(),
        Data::Observation { next, .. } => numbers(2 + u64::from(*next), BATCH * 2),
        other => panic!("no random graph has {other:?}"),
    };
    let states: BTreeMap<String, Vec<f64>> = graph
        .ids()
        .filter_map(|id| {
            let Op::State(name) = &graph.node(id).op else { return None };
            let length = match graph.shape(id) {
                Shape::Vector(d) | Shape::Sample(d) => d,
                Shape::Matrix(o, i) => o * i,
            };
            let salt = name.bytes().fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
            Some((name.clone(), numbers(salt, length)))
        })
        .collect();
    let all = eval(graph, BATCH, &Exact, &data, &states);
    let largest = all.iter().flatten().fold(1.0f64, |m, v| m.max(v.abs()));
    (graph.outputs.iter().map(|(_, id)| all[id.index()].clone()).collect(), largest)
}

fn same(name: &str, before: &Graph, after: &Graph, seed: u64) -> Result<(), TestCaseError> {
    prop_assert!(after.verify().is_empty(), "{name}: {:?}\n{}", after.verify(), before.print());
    let labels = |g: &Graph| g.outputs.iter().map(|(o, id)| (o.clone(), g.shape(*id))).collect::<Vec<_>>();
    prop_assert_eq!(labels(before), labels(after), "{}", name);
    let ((old, size), (new, _)) = (values(before, seed), values(after, seed));
    for (number, (old, new)) in old.iter().zip(&new).enumerate() {
        for (a, b) in old.iter().zip(new) {
            prop_assert!((a - b).abs() <= 1e-9 * size, "{name}: output {number}: {a} became {b}\n{}\n{}", before.print(), after.print());
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keep_random_graphs(
        genes in prop::collection::vec((0u8..27, any::<u32>(), any::<u32>()), 1..40),
        client in prop::sample::subsequence(vec![ClientOp::Max, ClientOp::Min, ClientOp::ArgMax, ClientOp::Tanh], 0..=4),
        one_hot in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let graph = grown(&genes);
        prop_assert!(graph.verify().is_empty(), "{:?}", graph.verify());
        let facts = Facts { client, one_hot, ..Facts::default() };
        for (name, pass) in PASSES {
            let once = pass(&graph, &facts);
            same(name, &graph, &once, seed)?;
            if name != "all" {
                same(name, &graph, &pass(&once, &facts), seed)?;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn saturation_keeps_random_graphs(
        genes in prop::collection::vec((0u8..27, any::<u32>(), any::<u32>()), 1..40),
        client in prop::sample::subsequence(vec![ClientOp::Max, ClientOp::ArgMax, ClientOp::Tanh], 0..=3),
        one_hot in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let graph = grown(&genes);
        let facts = Facts { client, one_hot, tolerance: 0.0, degree_cap: 16 };
        for before in [&graph, &passes::run(&graph, &facts)] {
            let front = || saturate::front(before, &facts, &[Degrees::default()]);
            let graphs = front();
            prop_assert!(!graphs.is_empty());
            for (_, after) in &graphs {
                same("saturate", before, after, seed)?;
            }
            let printed = |front: &[(usize, Graph)]| front.iter().map(|(_, graph)| graph.print()).collect::<Vec<_>>();
            prop_assert_eq!(printed(&graphs), printed(&front()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keep_random_programs(source in prop_oneof![programs::training(), programs::serving()]) {
        let program = check(&source).expect("the program is valid");
        let built = build::build(&program, false).expect("the program is lowered");
        let facts = pipeline::facts(&program);
        let (batch, states) = support::data_of(&program, &built, 11);
        let functions = support::Approximated::new(&program);
        let before = support::run_graph(&program, &built.graph, &batch, &states, &functions);
        let mut graph = built.graph.clone();
        for (name, pass) in [PASSES[0], PASSES[1], PASSES[2], PASSES[0], PASSES[1], PASSES[3], PASSES[4]] {
            graph = pass(&graph, &facts);
            prop_assert!(graph.verify().is_empty(), "{name}: {:?}\n{source}", graph.verify());
            let after = support::run_graph(&program, &graph, &batch, &states, &functions);
            for ((output, old), (other, new)) in before.iter().zip(&after) {
                prop_assert_eq!(output, other);
                for (a, b) in old.iter().zip(new) {
                    prop_assert!((a - b).abs() <= 1e-9 * (1.0 + a.abs()), "{name}: {output:?}: {a} became {b}\n{source}");
                }
            }
        }
    }
}

/// One example of each thing that a pass is for.
#[test]
fn do_what_they_are_for() {
    let one = Shape::Sample(1);
    let mut graph = Graph::default();
    let mut push = |op: Op, operands: &[Id], shape: Shape| graph.push(op, operands, shape, Span::default());
    let r = push(Op::Data(Data::Reward), &[], one);
    let s = push(Op::State("s".into()), &[], Shape::Vector(1));
    let q = push(Op::Spread, &[s], one);
    let two = push(Op::Scale(2.0), &[q], one);
    let four = push(Op::Scale(2.0), &[two], one);
    let again = push(Op::Scale(2.0), &[two], one);
    let error = push(Op::Sub, &[four, r], one);
    let stopped = push(Op::Stop, &[error], one);
    let product = push(Op::Mul, &[stopped, r], one);
    let unused = push(Op::Mul, &[again, again], one);
    graph.outputs.push((Output::Result("x".into()), product));
    let facts = Facts::default();
    let count = |g: &Graph, wanted: fn(&Op) -> bool| g.ids().filter(|&id| wanted(&g.node(id).op)).count();

    let folded = fold::run(&graph, &facts);
    assert_eq!(count(&folded, |op| matches!(op, Op::Stop)), 0);
    assert_eq!(count(&folded, |op| *op == Op::Scale(4.0)), 2);
    assert_eq!(count(&share::run(&folded, &facts), |op| *op == Op::Scale(4.0)), 1);
    let pruned = prune::run(&graph, &facts);
    assert_eq!(pruned.len(), graph.len() - 2, "{} and what it multiplies go", unused.index());
    // (4 q - r) r: the client knows r r, so that one product of a ciphertext is left.
    let hoisted = passes::run(&graph, &facts);
    insta::assert_snapshot!(hoisted.print());
}
