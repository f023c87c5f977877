//! The plan as one page for a browser: no other file, no network. All of the program's text is escaped.

use std::fmt::Write;

use hecc_plan::{Decision, Span};

use super::graph::{self, Graph, Node};
use super::{Report, dot, leakage, text};
use crate::output::{bytes, counted, mean};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Width of a column, in pixels.
const COLUMN: usize = 196;
/// Height of a place in a column.
const ROW: usize = 46;
/// Width of a node.
const WIDE: usize = 136;
/// Height of a node.
const HIGH: usize = 34;
/// Height of the bar of budgets over the graph.
const BAR: usize = 84;

/// Draws the page.
pub fn draw(report: &Report<'_>) -> String {
    let plan = report.plan;
    let title = match &plan.training {
        Some(training) => format!("{} on {}", plan.name, training.env.id),
        None => plan.name.clone(),
    };
    let mut out = head(&title);
    figures(&numbers(report), &mut out);
    let graph = graph::of(report);
    picture(&graph, &budget(report, &graph), |line| report.text(line), &mut out);
    out.push_str("<main>\n");
    if let Some(source) = report.source {
        let shares = report.by_line();
        let most = shares.first().map_or(1e-12, |(_, share)| share.seconds.max(1e-12));
        program(source, &mut out, |line| {
            let share = shares.iter().find(|(at, _)| *at == Some(line)).map(|(_, share)| *share).unwrap_or_default();
            let note = match share.count {
                0 => String::new(),
                _ => format!("{}, {:.1} ms, {} bits of the deepest path", counted(share.count, "step"), 1e3 * share.seconds, share.bits),
            };
            (share.seconds / most, note)
        });
    }
    tables(report, &mut out);
    decisions(&plan.decisions, |span| report.line(span), &mut out);
    leakage::of(plan).iter().for_each(|section| points(section.title, &section.points, &mut out));
    foot(&report.machine, &mut out);
    out
}

/// The page up to its title.
pub fn head(title: &str) -> String {
    let title = escape(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<header><h1>{title}</h1>\
         <input id=\"search\" type=\"search\" placeholder=\"search operations, names, lines\" aria-label=\"search\">\
         <span id=\"found\"></span></header>\n"
    )
}

/// The end of the page, whose predictions are those of a machine.
pub fn foot(machine: &str, out: &mut String) {
    let _ = write!(out, "</main>\n<footer>Predicted with the table of costs of {}.</footer>\n", escape(machine));
    let _ = writeln!(out, "<script>\n{SCRIPT}</script>\n</body>\n</html>");
}

/// A section of points.
pub fn points(title: &str, points: &[String], out: &mut String) {
    let points: String = points.iter().map(|point| format!("<li>{}</li>", escape(point))).collect();
    let _ = writeln!(out, "<section class=\"text\"><h2>{}</h2><ul>{points}</ul></section>", escape(title));
}

/// The few numbers that people ask for first.
fn numbers(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let counts = hecc_plan::counts::counts(report.plan);
    let mut rows = vec![
        ("ring", format!("2^{}", counts.log_n)),
        ("security", format!("{} bits", counts.security_bits)),
        ("depth", format!("{} bits", counts.depth_bits)),
        ("products", mean(counts.multiplications)),
        ("rotations", mean(counts.rotations)),
    ];
    if counts.bootstraps_per_update > 0.0 {
        rows.push(("bootstraps", mean(counts.bootstraps_per_update)));
    }
    rows.extend(text::predicted(report));
    rows.push(("to the server", bytes(counts.bytes_to_server_per_update)));
    rows.push(("to the client", bytes(counts.bytes_to_client_per_update)));
    rows
}

/// Names and values, side by side.
pub fn figures(rows: &[(&'static str, String)], out: &mut String) {
    out.push_str("<dl class=\"figures\">");
    for (name, value) in rows {
        let _ = write!(out, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    }
    out.push_str("</dl>\n");
}

/// A value for every column of the graph, as bars over it.
pub struct Bars {
    /// What they are.
    pub title: String,
    /// Height of each, as a part of the highest there can be, and what it says.
    pub columns: Vec<(f64, String)>,
}

/// The graph; `text` gives lines of the source.
pub fn picture<'a>(graph: &Graph, bars: &Bars, text: impl Fn(usize) -> &'a str, out: &mut String) {
    let tallest = graph.levels.iter().map(Vec::len).max().unwrap_or(1);
    let (width, height) = (graph.levels.len() * COLUMN + 20, tallest * ROW + BAR + 30);
    let x = |node: &Node| 20 + node.level * COLUMN;
    let y = |node: &Node| BAR + 15 + node.place * ROW;
    let slowest = graph.nodes.iter().map(|node| node.seconds).fold(1e-9, f64::max);
    let _ = writeln!(
        out,
        "<div id=\"view\"><svg id=\"plan\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"the plan by depth\">"
    );
    over(bars, width, out);
    out.push_str("<g id=\"edges\">\n");
    for (&(from, to), wires) in &graph.edges {
        let (a, b) = (&graph.nodes[from], &graph.nodes[to]);
        let (x0, y0, x1, y1) = (x(a) + WIDE, y(a) + HIGH / 2, x(b), y(b) + HIGH / 2);
        // Within a column around the right side, to others from side to side.
        let curve = if a.level == b.level {
            let (end, out) = (x1 + WIDE, x0 + 12 + 4 * b.place.abs_diff(a.place));
            format!("M{x0} {y0}C{out} {y0} {out} {y1} {end} {y1}")
        } else {
            let middle = usize::midpoint(x0, x1);
            format!("M{x0} {y0}C{middle} {y0} {middle} {y1} {x1} {y1}")
        };
        let _ = writeln!(
            out,
            "<path data-from=\"{from}\" data-to=\"{to}\" d=\"{curve}\" stroke-width=\"{:.1}\"/>",
            1.0 + (*wires as f64).ln() / 2.0
        );
    }
    out.push_str("</g>\n");
    for (index, node) in graph.nodes.iter().enumerate() {
        let line = node.line.map_or(String::new(), |line| line.to_string());
        let words = node.line.map_or("", &text).trim();
        let times = if node.count > 1 { format!(" ×{}", node.count) } else { String::new() };
        let hover = format!(
            "{}{times} (first: step {}, exchange {})\n{}\n{}{}",
            node.op,
            node.first,
            node.round,
            node.secrecy,
            node.detail,
            if words.is_empty() { String::new() } else { format!("\nline {line}: {words}") }
        );
        let shown: String = node.label.chars().take(17).collect();
        let _ = writeln!(
            out,
            "<g class=\"node\" data-id=\"{index}\" data-line=\"{line}\" data-text=\"{}\" tabindex=\"0\" transform=\"translate({} {})\">\
             <title>{}</title><rect width=\"{WIDE}\" height=\"{HIGH}\" rx=\"6\" fill=\"{}\"/><text x=\"8\" y=\"14\">{}{times}</text>\
             <text class=\"small\" x=\"8\" y=\"27\">{}</text><rect class=\"cost\" y=\"{}\" height=\"3\" width=\"{:.0}\"/></g>",
            escape(&format!("{} {} line {line} {words}", node.op, node.label).to_lowercase()),
            x(node),
            y(node),
            escape(&hover),
            dot::colour(node.op),
            escape(&shown),
            escape(&node.note),
            HIGH - 3,
            WIDE as f64 * node.seconds / slowest
        );
    }
    out.push_str("</svg></div>\n<p class=\"legend\">");
    let kinds = [
        ("input", "from the client"),
        ("carried", "kept by the server"),
        ("dot", "product"),
        ("rotate", "rotation"),
        ("linear", "public matrix"),
        ("mul_const", "by a constant"),
        ("add", "sum, narrowing"),
        ("bootstrap", "bootstrap"),
        ("table", "table"),
        ("sign", "comparison"),
        ("floor", "bits dropped"),
        ("output", "to the client"),
    ];
    for (op, name) in kinds.into_iter().filter(|(op, _)| graph.nodes.iter().any(|node| dot::colour(node.op) == dot::colour(op))) {
        let _ = write!(out, "<span><i style=\"background:{}\"></i>{name}</span>", dot::colour(op));
    }
    out.push_str("<span>dark foot of a box: its share of the time</span></p>\n");
}

/// The budget that is left, level by level.
fn budget(report: &Report<'_>, graph: &Graph) -> Bars {
    let full = report.plan.ckks.max_k.max(1);
    let least = |nodes: &Vec<usize>| nodes.iter().map(|&index| graph.nodes[index].budget).min().unwrap_or(0);
    let column = |nodes| (f64::from(least(nodes)) / f64::from(full), format!("{} bits", least(nodes)));
    Bars { title: format!("least budget left at each depth, of {full} bits"), columns: graph.levels.iter().map(column).collect() }
}

/// The bars over the graph.
fn over(bars: &Bars, width: usize, out: &mut String) {
    let high = (BAR - 34) as f64;
    let _ = writeln!(out, "<text class=\"small\" x=\"20\" y=\"14\">{}</text>", escape(&bars.title));
    let _ = writeln!(out, "<line class=\"axis\" x1=\"20\" x2=\"{width}\" y1=\"{0}\" y2=\"{0}\"/>", BAR - 10);
    for (level, (part, says)) in bars.columns.iter().enumerate() {
        let tall = high * part;
        let _ = writeln!(
            out,
            "<g class=\"budget\"><title>{}</title><rect x=\"{}\" y=\"{:.1}\" width=\"{WIDE}\" height=\"{tall:.1}\"/></g>",
            escape(says),
            20 + level * COLUMN,
            (BAR - 10) as f64 - tall
        );
    }
}

/// The program; `share` gives a line's part of the time beside the line with the largest, and what to say of it.
pub fn program(source: &str, out: &mut String, share: impl Fn(usize) -> (f64, String)) {
    out.push_str("<section class=\"wide\"><h2>The program</h2><p class=\"other\">Shaded: a line's share of the time, beside the line with the largest. Choose a line, or a box above, to see what belongs to it.</p><ol id=\"source\">");
    for (index, line) in source.lines().enumerate() {
        let (part, note) = share(index + 1);
        let _ = write!(
            out,
            "<li data-line=\"{}\" title=\"{}\" style=\"--heat:{:.0}%\"><code>{}</code></li>",
            index + 1,
            escape(&note),
            100.0 * part,
            escape(line)
        );
    }
    out.push_str("</ol></section>\n");
}

fn tables(report: &Report<'_>, out: &mut String) {
    let total: f64 = report.seconds.iter().sum::<f64>().max(1e-12);
    out.push_str("<section><h2>Time by operation</h2><table><tr><th>operation<th>steps<th>ms<th>%</tr>");
    for (name, share) in report.by_operation() {
        let (ms, part) = (1e3 * share.seconds, 100.0 * share.seconds / total);
        let _ = write!(out, "<tr><td>{}<td>{}<td>{ms:.2}<td>{part:.1}</tr>", escape(name), share.count);
    }
    out.push_str("</table><p>Time of one thread; the steps run on several.</p></section>\n<section><h2>Memory</h2><table>");
    for (name, held) in report.prediction.memory.parts() {
        let _ = write!(out, "<tr><td>{}<td>{}</tr>", escape(name), bytes(held));
    }
    out.push_str("</table></section>\n<section><h2>Precision</h2><table><tr><th>array<th>bits</tr>");
    for precision in &report.precision {
        let _ = write!(out, "<tr><td>{}<td>{:.1}</tr>", escape(&precision.name), precision.bits());
    }
    out.push_str("</table><p>Largest error of one update, relative to the range of the array.</p></section>\n");
}

/// What was decided, each in a section.
pub fn decisions(decisions: &[Decision], line: impl Fn(Span) -> Option<usize>, out: &mut String) {
    for decision in decisions {
        let line = decision.span.and_then(&line);
        let place = line.map_or(String::new(), |line| format!(", line {line}"));
        let _ = write!(
            out,
            "<section class=\"text\" data-line=\"{}\"><h2>{} of {}{place}</h2><p><b>{}</b></p><p>{}</p>",
            line.unwrap_or(0),
            escape(decision.kind.name()),
            escape(&decision.subject),
            escape(&decision.choice),
            escape(&decision.why)
        );
        if let Some(other) = &decision.runner_up {
            let _ = write!(out, "<p class=\"other\">Otherwise: {}</p>", escape(other));
        }
        out.push_str("</section>\n");
    }
}

/// Text as HTML shows it, in elements and in quoted attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_escaped_can_end_an_element_or_attribute() {
        assert_eq!(escape("</svg><script>\"'&"), "&lt;/svg&gt;&lt;script&gt;&quot;&#39;&amp;");
    }
}
