//! The plan as a layered graph: a column for each depth (the bits spent so far), in it the steps of one kind and line as one
//! node, in the order in which they run.

use std::collections::{BTreeMap, BTreeSet};

use hecc_plan::{Op, Span};

use super::Report;

/// A node: like steps.
#[derive(Clone, Debug)]
pub struct Node {
    /// Name of the operation.
    pub op: &'static str,
    /// What people see first.
    pub label: String,
    /// Source line.
    pub line: Option<usize>,
    /// Column, by exchange and depth.
    pub level: usize,
    /// Place in the column.
    pub place: usize,
    /// Steps.
    pub count: usize,
    /// First step.
    pub first: usize,
    /// Seconds, one thread.
    pub seconds: f64,
    /// Least bits left for products; of integers, the widest in bits.
    pub budget: u32,
    /// Widest ciphertext, in bits.
    pub k: u32,
    /// Bits spent so far.
    pub depth: u32,
    /// Exchange.
    pub round: usize,
    /// Who can read what it makes.
    pub secrecy: &'static str,
    /// What the bits are, below the label.
    pub note: String,
    /// Bits and time, for who points at it.
    pub detail: String,
}

impl Node {
    /// The bits that ciphertexts of slots have left.
    fn told(&mut self) {
        self.note = if self.op == "output" { "to the client".to_owned() } else { format!("{} bits left", self.budget) };
        self.detail = format!("{} bits left of {}, {} spent\n{:.2} ms", self.budget, self.k, self.depth, 1e3 * self.seconds);
    }
}

/// The graph.
pub struct Graph {
    /// Nodes, by level and place.
    pub nodes: Vec<Node>,
    /// From, to, and how many wires.
    pub edges: BTreeMap<(usize, usize), usize>,
    /// Nodes of each level, in order.
    pub levels: Vec<Vec<usize>>,
}

/// Groups and lays out the steps.
pub fn of(report: &Report<'_>) -> Graph {
    let plan = report.plan;
    let round_of = |index: usize| plan.rounds.iter().position(|r| (r.steps.0..r.steps.1).contains(&(index as u32))).unwrap_or(0);
    let places: Vec<(usize, u32)> = (0..plan.steps.len()).map(|index| (round_of(index), report.depth[index])).collect();
    let columns: BTreeSet<(usize, u32)> = places.iter().copied().collect();
    let column: BTreeMap<(usize, u32), usize> = columns.into_iter().enumerate().map(|(at, place)| (place, at)).collect();
    let mut groups: BTreeMap<(usize, String, Option<usize>, Span), usize> = BTreeMap::new();
    let mut nodes: Vec<Node> = Vec::new();
    let mut of_step: Vec<usize> = Vec::with_capacity(plan.steps.len());
    let mut edges: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let line = report.line(step.span);
        // Without a source, spans tell lines apart as well.
        let span = if line.is_some() { Span::default() } else { step.span };
        let level = column[&places[index]];
        let label = label(report, &step.op);
        let node = *groups.entry((level, format!("{} {label}", step.op.name()), line, span)).or_insert_with(|| {
            nodes.push(Node {
                op: step.op.name(),
                label,
                line,
                level,
                place: 0,
                count: 0,
                first: index,
                seconds: 0.0,
                budget: u32::MAX,
                k: 0,
                depth: report.depth[index],
                round: places[index].0,
                secrecy: secrecy(&step.op),
                note: String::new(),
                detail: String::new(),
            });
            nodes.len() - 1
        });
        of_step.push(node);
        let entry = &mut nodes[node];
        entry.count += 1;
        entry.seconds += report.seconds[index];
        entry.budget = entry.budget.min(step.wire.budget());
        entry.k = entry.k.max(step.wire.k);
        let operands: BTreeSet<usize> = step.op.operands().iter().map(|w| of_step[w.index()]).collect();
        // Like steps in a row (rotate and add) point forwards once.
        operands.into_iter().filter(|&operand| operand < node).for_each(|operand| *edges.entry((operand, node)).or_insert(0) += 1);
    }
    for output in &plan.outputs {
        let from = of_step[output.wire.index()];
        let index = nodes.len();
        nodes.push(Node {
            op: "output",
            label: output.label.clone(),
            level: nodes[from].level + 1,
            place: 0,
            count: 1,
            first: output.wire.index(),
            seconds: 0.0,
            secrecy: "ciphertext that the client decrypts",
            ..nodes[from].clone()
        });
        edges.insert((from, index), 1);
    }
    nodes.iter_mut().for_each(Node::told);
    laid_out(nodes, edges)
}

/// Gives every node its place in its column, in order.
pub fn laid_out(mut nodes: Vec<Node>, edges: BTreeMap<(usize, usize), usize>) -> Graph {
    let mut levels: Vec<Vec<usize>> = vec![Vec::new(); nodes.iter().map(|n| n.level + 1).max().unwrap_or(0)];
    for (index, node) in nodes.iter_mut().enumerate() {
        node.place = levels[node.level].len();
        levels[node.level].push(index);
    }
    Graph { nodes, edges, levels }
}

fn label(report: &Report<'_>, op: &Op) -> String {
    match op {
        Op::Input(id) => report.plan.inputs[id.0 as usize].label.clone(),
        Op::Linear(_, matrix) => report.plan.matrices[matrix.0 as usize].name.clone(),
        other => other.name().to_owned(),
    }
}

fn secrecy(op: &Op) -> &'static str {
    match op {
        Op::AddPlain(..) | Op::MulPlain(..) | Op::Linear(..) => "ciphertext, combined with numbers that the server knows",
        Op::AddConst(..) | Op::MulConst { .. } | Op::Halve { .. } => "ciphertext, combined with a constant of the plan",
        Op::Input(_) => "ciphertext of the client's",
        _ => "ciphertext",
    }
}
