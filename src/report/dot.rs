//! The plan for Graphviz.

use std::fmt::Write;

use super::Report;
use super::graph::{self, Graph};

/// Fill of an operation's nodes, the same in the page.
pub fn colour(op: &str) -> &'static str {
    match op {
        "input" => "#8ecae6",
        "carried" => "#7fc8b2",
        "output" => "#ffb703",
        "dot" => "#e76f51",
        "rotate" => "#9b8cd9",
        "linear" => "#d98cb3",
        "bootstrap" => "#d62828",
        "table" => "#e76f51",
        "sign" => "#d98cb3",
        "floor" => "#9b8cd9",
        "mul_const" | "mul_plain" | "halve" | "switch" => "#e9c46a",
        _ => "#b7c9b0",
    }
}

/// Draws the plan: like steps of a line are one node.
pub fn draw(report: &Report<'_>) -> String {
    of(&graph::of(report))
}

/// A graph as text.
pub fn of(graph: &Graph) -> String {
    let mut out = String::from(
        "digraph plan {\n  rankdir=LR;\n  node [shape=box, style=\"filled,rounded\", fontname=\"sans-serif\", fontsize=10];\n",
    );
    for (index, node) in graph.nodes.iter().enumerate() {
        let times = if node.count > 1 { format!(" x{}", node.count) } else { String::new() };
        let line = node.line.map_or(String::new(), |line| format!("\\nline {line}"));
        let cost = if node.seconds > 0.0 { format!("\\n{:.1} ms", 1e3 * node.seconds) } else { String::new() };
        let tooltip = escape(&format!("{}; {}", node.op, node.secrecy));
        let _ = writeln!(
            out,
            "  n{index} [label=\"{}{times}{line}\\n{}{cost}\", fillcolor=\"{}\", tooltip=\"{tooltip}\"];",
            escape(&node.label),
            escape(&node.note),
            colour(node.op)
        );
    }
    for ((from, to), wires) in &graph.edges {
        let _ = writeln!(out, "  n{from} -> n{to} [penwidth={:.1}];", 1.0 + (*wires as f64).ln());
    }
    out.push_str("}\n");
    out
}

fn escape(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c == '"' || c == '\\' {
                format!("\\{c}")
            } else if c.is_control() {
                " ".to_owned()
            } else {
                c.to_string()
            }
        })
        .collect()
}
