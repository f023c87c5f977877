//! The plan as a layered graph: steps of one kind, line and level are one node; nodes stand by depth, in an order with few
//! crossings (barycentres; Sugiyama et al., 1981).

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
    /// Column.
    pub level: usize,
    /// Place in the column.
    pub place: usize,
    /// Steps.
    pub count: usize,
    /// First step.
    pub first: usize,
    /// Seconds, one thread.
    pub seconds: f64,
    /// Least bits left for products.
    pub budget: u32,
    /// Widest ciphertext, in bits.
    pub k: u32,
    /// Bits spent so far.
    pub depth: u32,
    /// Exchange.
    pub round: usize,
    /// Who can read what it makes.
    pub secrecy: &'static str,
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

/// Sweeps of the ordering.
const SWEEPS: usize = 6;

/// Groups and lays out the steps.
pub fn of(report: &Report<'_>) -> Graph {
    let plan = report.plan;
    let mut level: Vec<usize> = Vec::with_capacity(plan.steps.len());
    let mut groups: BTreeMap<(usize, &str, Option<usize>, Span), usize> = BTreeMap::new();
    let mut nodes: Vec<Node> = Vec::new();
    let mut of_step: Vec<usize> = Vec::with_capacity(plan.steps.len());
    let mut edges: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let operands = step.op.operands();
        let at = operands.iter().map(|w| level[w.index()] + 1).max().unwrap_or(0);
        level.push(at);
        let line = report.line(step.span);
        // Without a source, spans tell lines apart as well.
        let span = if line.is_some() { Span::default() } else { step.span };
        let round = plan.rounds.iter().position(|r| (r.steps.0..r.steps.1).contains(&(index as u32))).unwrap_or(0);
        let node = *groups.entry((at, step.op.name(), line, span)).or_insert_with(|| {
            nodes.push(Node {
                op: step.op.name(),
                label: label(report, &step.op),
                line,
                level: at,
                place: 0,
                count: 0,
                first: index,
                seconds: 0.0,
                budget: u32::MAX,
                k: 0,
                depth: 0,
                round,
                secrecy: secrecy(&step.op),
            });
            nodes.len() - 1
        });
        of_step.push(node);
        let entry = &mut nodes[node];
        entry.count += 1;
        entry.seconds += report.seconds[index];
        entry.budget = entry.budget.min(step.wire.budget());
        entry.k = entry.k.max(step.wire.k);
        entry.depth = entry.depth.max(report.depth[index]);
        for operand in operands.into_iter().map(|w| of_step[w.index()]).collect::<BTreeSet<_>>() {
            *edges.entry((operand, node)).or_insert(0) += 1;
        }
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
    let mut levels: Vec<Vec<usize>> = vec![Vec::new(); nodes.iter().map(|n| n.level + 1).max().unwrap_or(0)];
    nodes.iter().enumerate().for_each(|(index, node)| levels[node.level].push(index));
    order(&mut nodes, &edges, &mut levels);
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

fn order(nodes: &mut [Node], edges: &BTreeMap<(usize, usize), usize>, levels: &mut [Vec<usize>]) {
    let (mut before, mut after) = (vec![Vec::new(); nodes.len()], vec![Vec::new(); nodes.len()]);
    for &(from, to) in edges.keys() {
        before[to].push(from);
        after[from].push(to);
    }
    let number = |nodes: &mut [Node], level: &[usize]| level.iter().enumerate().for_each(|(place, &index)| nodes[index].place = place);
    levels.iter().for_each(|level| number(nodes, level));
    for sweep in 0..SWEEPS {
        let neighbours = if sweep % 2 == 0 { &before } else { &after };
        for at in 0..levels.len() {
            let at = if sweep % 2 == 0 { at } else { levels.len() - 1 - at };
            let centre = |index: usize| match neighbours[index].as_slice() {
                [] => nodes[index].place as f64,
                near => near.iter().map(|&n| nodes[n].place as f64).sum::<f64>() / near.len() as f64,
            };
            let mut keyed: Vec<(f64, usize)> = levels[at].iter().map(|&index| (centre(index), index)).collect();
            keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            levels[at] = keyed.into_iter().map(|(_, index)| index).collect();
            number(nodes, &levels[at]);
        }
    }
}
