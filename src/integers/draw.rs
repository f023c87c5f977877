//! A plan of integers as a graph: for Graphviz, and as one page for a browser.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use hecc_plan::Span;
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::tfhe::{Op, Plan, check, cost};

use super::layers::{self, width};
use super::{leakage, summary};
use crate::output::{bytes, counted, seconds};
use crate::report::dot;
use crate::report::graph::{Graph, Node, laid_out};
use crate::report::html::{self, Bars, escape};

/// What is drawn.
pub struct Drawing<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its source, where it is known.
    pub source: Option<&'a str>,
    /// What operations take.
    pub prices: &'a Prices,
    /// The machine that they are of.
    pub machine: &'a str,
    /// Threads to predict for; 0 for those of that machine.
    pub threads: usize,
}

impl<'a> Drawing<'a> {
    fn line(&self, span: Span) -> Option<usize> {
        summary::line(self.source, span)
    }

    fn text(&self, line: usize) -> &'a str {
        self.source.and_then(|source| source.lines().nth(line.wrapping_sub(1))).unwrap_or_default()
    }

    fn threads(&self) -> usize {
        if self.threads == 0 { self.prices.threads } else { self.threads }
    }

    /// A column for every bootstrap on the way, in it the steps of one kind and line as one node.
    fn graph(&self) -> Graph {
        let plan = self.plan;
        let failures = check::failures(plan);
        let mut levels: Vec<usize> = Vec::with_capacity(plan.steps.len());
        let mut groups: BTreeMap<(usize, String, Option<usize>, Span), usize> = BTreeMap::new();
        let (mut nodes, mut of_step): (Vec<Node>, Vec<usize>) = (Vec::new(), Vec::new());
        let mut worst: Vec<Option<f64>> = Vec::new();
        let mut edges: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (index, step) in plan.steps.iter().enumerate() {
            let before = step.op.operands().iter().map(|w| levels[w.index()]).max();
            // What a floor dropped and changes of key stand beside what they are made of, all others one further.
            let level = before.map_or(0, |before| before + usize::from(!matches!(step.op, Op::Rest { .. } | Op::Switch { .. })));
            levels.push(level);
            let line = self.line(step.span);
            let span = if line.is_some() { Span::default() } else { step.span };
            let label = match &step.op {
                Op::Input(id) => plan.inputs[id.0 as usize].label.clone(),
                Op::Carried(id) => plan.carried[id.0 as usize].state.clone(),
                other => other.name().to_owned(),
            };
            let read = step.op.operands().first().map_or(step.wire, |a| plan.steps[a.index()].wire);
            let bits = if step.op.lookups().is_some() { width((read.low, read.high)) } else { width((step.wire.low, step.wire.high)) };
            let node = *groups.entry((level, label.clone(), line, span)).or_insert_with(|| {
                nodes.push(Node {
                    op: step.op.name(),
                    label,
                    line,
                    level,
                    place: 0,
                    count: 0,
                    first: index,
                    seconds: 0.0,
                    budget: 0,
                    k: 0,
                    depth: level as u32,
                    round: 0,
                    secrecy: secrecy(&step.op),
                    note: String::new(),
                    detail: String::new(),
                });
                worst.push(None);
                nodes.len() - 1
            });
            of_step.push(node);
            let entry = &mut nodes[node];
            entry.count += step.wire.len as usize;
            entry.seconds += cost::step_seconds(plan, step, self.prices, self.threads());
            entry.budget = entry.budget.max(bits);
            entry.k = entry.k.max(step.wire.bits);
            worst[node] = [worst[node], failures[index]].into_iter().flatten().max_by(f64::total_cmp);
            let operands: BTreeSet<usize> = step.op.operands().iter().map(|w| of_step[w.index()]).collect();
            operands.into_iter().filter(|&operand| operand != node).for_each(|operand| *edges.entry((operand, node)).or_insert(0) += 1);
        }
        for (node, failure) in nodes.iter_mut().zip(&worst) {
            let bits = counted(node.budget as usize, "bit");
            node.note = match node.op {
                "table" => format!("{bits} read"),
                "sign" => format!("sign of {bits}"),
                "floor" => format!("{bits} dropped from"),
                _ => bits,
            };
            let sure = failure.map_or(String::new(), |failure| format!("; fails with at most 2^{failure:.1}"));
            node.detail = format!("{}{sure}\n{:.2} ms", node.note, 1e3 * node.seconds);
        }
        for output in &plan.outputs {
            let from = of_step[output.wire.index()];
            edges.insert((from, nodes.len()), 1);
            nodes.push(Node {
                op: "output",
                label: output.label.clone(),
                level: nodes[from].level + 1,
                count: output.shape.iter().product(),
                first: output.wire.index(),
                seconds: 0.0,
                secrecy: "ciphertexts that the client decrypts",
                note: "to the client".to_owned(),
                detail: format!("an integer of 1 stands for {}", output.scale),
                ..nodes[from].clone()
            });
        }
        for carried in &plan.carried {
            let from = of_step[carried.wire.index()];
            edges.insert((from, nodes.len()), 1);
            nodes.push(Node {
                op: "carried",
                label: carried.state.clone(),
                level: nodes[from].level + 1,
                count: plan.steps[carried.wire.index()].wire.len as usize,
                first: carried.wire.index(),
                seconds: 0.0,
                secrecy: "ciphertexts that the server keeps for the next update",
                note: "for the next update".to_owned(),
                detail: format!("an integer of 1 stands for {}", carried.scale),
                ..nodes[from].clone()
            });
        }
        laid_out(nodes, edges)
    }

    /// For Graphviz.
    pub fn dot(&self) -> String {
        dot::of(&self.graph())
    }

    /// The page.
    pub fn html(&self) -> String {
        let plan = self.plan;
        let title = match &plan.training {
            Some(training) => format!("{} on {}", plan.name, training.env.id),
            None => plan.name.clone(),
        };
        let mut out = html::head(&title);
        html::figures(&self.figures(), &mut out);
        let graph = self.graph();
        html::picture(&graph, &self.bars(&graph), |line| self.text(line), &mut out);
        out.push_str("<main>\n");
        let layers = layers::of(plan, |span| self.line(span), self.prices, self.threads);
        if let Some(source) = self.source {
            let of_line = |line: usize| layers.iter().filter(move |layer| layer.line == Some(line));
            let took = |line: usize| of_line(line).map(|layer| layer.seconds).sum::<f64>();
            let most = (1..=source.lines().count()).map(took).fold(1e-12, f64::max);
            html::program(source, &mut out, |line| {
                let bootstraps: u64 = of_line(line).map(|layer| layer.bootstraps).sum();
                let note = match of_line(line).count() {
                    0 => String::new(),
                    _ => format!("{}, {}", counted(bootstraps as usize, "bootstrap"), seconds(took(line))),
                };
                (took(line) / most, note)
            });
        }
        out.push_str("<section class=\"wide\"><h2>Integers, by line</h2><table>");
        out.push_str("<tr><th>line<th>what<th>how many<th>integers<th>tables<th>bootstraps<th>fails with at most</tr>");
        for layer in &layers {
            let _ = write!(
                out,
                "<tr><td>{}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>",
                layer.place(),
                layer.what,
                layer.integers,
                escape(&layer.integers()),
                layer.tables,
                layer.bootstraps,
                layer.failure()
            );
        }
        out.push_str("</table></section>\n");
        html::points("Notes", &plan.notes, &mut out);
        html::decisions(&plan.decisions, |span| self.line(span), &mut out);
        leakage::sections(plan).iter().for_each(|(title, points)| html::points(title, points, &mut out));
        html::foot(self.machine, &mut out);
        out
    }

    fn figures(&self) -> Vec<(&'static str, String)> {
        let p = summary::predicted(self.plan, self.prices, self.threads);
        vec![
            ("scheme", "tfhe: exact integers".to_owned()),
            ("security", format!("{} bits", self.plan.parameters.security_bits)),
            ("a bootstrap fails with at most", format!("2^{}", self.plan.log2_failure)),
            ("bootstraps", p.bootstraps.to_string()),
            ("the fewest there can be", self.plan.fewest_bootstraps.map_or_else(|| "-".to_owned(), |least| least.to_string())),
            ("per run", seconds(p.seconds)),
            ("keys", bytes(p.key_bytes)),
            ("peak memory", bytes(p.peak_bytes)),
            ("to the server", bytes(p.bytes_to_server)),
            ("to the client", bytes(p.bytes_to_client)),
        ]
    }

    /// The time of each column.
    fn bars(&self, graph: &Graph) -> Bars {
        let took = |nodes: &Vec<usize>| nodes.iter().map(|&index| graph.nodes[index].seconds).sum::<f64>();
        let most = graph.levels.iter().map(took).fold(1e-12, f64::max);
        let column = |nodes| (took(nodes) / most, seconds(took(nodes)));
        Bars { title: "predicted time of each column".to_owned(), columns: graph.levels.iter().map(column).collect() }
    }
}

fn secrecy(op: &Op) -> &'static str {
    match op {
        Op::Input(_) => "ciphertexts of the client's",
        Op::Carried(_) => "ciphertexts that the server keeps from update to update",
        Op::Affine { .. } => "ciphertexts, combined with coefficients of the plan",
        Op::Table { .. } => "ciphertexts, looked up in tables of the plan",
        Op::Floor { .. } | Op::Rest { .. } | Op::Sign { .. } | Op::Switch { .. } => "ciphertexts",
    }
}
