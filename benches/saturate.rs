//! Seconds of compiling programs of many products with and without equality saturation: `cargo bench --bench saturate`.

use std::time::Instant;

use hecc_compiler::approximation::Degrees;
use hecc_compiler::passes::{Facts, PassName, saturate};
use hecc_compiler::tensor::{Data, Graph, Op, Output, Shape};
use hecc_compiler::{Options, compile};
use hecc_plan::Span;

/// A served sum of products of eight factors each, with about `products` products, as a balanced tree.
fn program(products: usize) -> String {
    let mut terms: Vec<String> = (0..products / 8)
        .map(|term| (0..7).fold(String::from("actor(s)"), |text, factor| format!("{text} * (actor(s) + {factor}.{term:04})")))
        .collect();
    // The parser bounds how deep expressions nest.
    while terms.len() > 1 {
        terms = terms.chunks(2).map(|pair| format!("({})", pair.join(" + "))).collect();
    }
    let sum = terms.concat();
    format!(
        r#"env "Other-v0" {{ observe s: [4] in [-1, 1]  act a: [1] in [-1, 1]  reward r in [-1, 1] }}
net actor(s) -> [4] {{ dense 4 }}
serve {sum} {{ batch = 4 }}
secure ckks {{ secret = [s, actor] }}"#
    )
}

/// A graph of one chain: each product takes the one before and an older value, with sums in between.
fn chain(products: usize) -> Graph {
    let mut graph = Graph::default();
    let shape = Shape::Sample(1);
    let mut push = |op: Op, operands: &[_]| graph.push(op, operands, shape, Span::default());
    let mut values = vec![push(Op::State("x".into()), &[]), push(Op::State("y".into()), &[]), push(Op::Data(Data::Reward), &[])];
    for number in 0..products {
        let last = values[values.len() - 1];
        let older = values[number * 7 % values.len()];
        let product = push(Op::Mul, &[last, older]);
        values.push(if number % 3 == 0 { push(Op::Add, &[product, older]) } else { product });
    }
    let last = values[values.len() - 1];
    graph.outputs.push((Output::Result("r".into()), last));
    graph
}

/// Sizes, or the one that is asked for.
fn sizes() -> Vec<usize> {
    let asked = std::env::args().find_map(|arg| arg.parse().ok());
    asked.map_or(vec![1000, 2000, 4000, 8000], |size| vec![size])
}

fn main() {
    for products in sizes() {
        let graph = chain(products);
        let start = Instant::now();
        let front = saturate::front(&graph, &Facts::default(), &[Degrees::default()]);
        println!("{products} products in a chain: front of {} in {:.2} s", front.len(), start.elapsed().as_secs_f64());
    }
    for products in sizes() {
        let source = program(products);
        for without in [vec![PassName::Saturate], vec![]] {
            let start = Instant::now();
            let options = Options { without: without.clone(), ..Options::default() };
            let what = match compile(&source, &options) {
                Ok(compiled) => format!("{} bits, {} products", compiled.measure.depth_bits, compiled.measure.products),
                Err(errors) => errors[0].message.clone(),
            };
            println!("{products} products, without {without:?}: {:.2} s, {what}", start.elapsed().as_secs_f64());
        }
    }
}
