//! The report as text: `hecc explain FILE`.

use std::fmt::Write;

use hecc_plan::DecisionKind;

use super::{Report, Share, leakage};
use crate::integers::acting;
use crate::output::{bytes, counted, seconds, table};

/// Kinds of decisions, in the order in which they are told.
const KINDS: [DecisionKind; 9] = [
    DecisionKind::Ring,
    DecisionKind::Scale,
    DecisionKind::Layout,
    DecisionKind::Activation,
    DecisionKind::Optimiser,
    DecisionKind::Bootstrap,
    DecisionKind::Exchange,
    DecisionKind::Relinearisation,
    DecisionKind::Keys,
];
/// What a training in slots is, beside one who acts by it.
pub const TRAINS: &str = "ckks, slots";
/// Lines of the source that are listed.
const LINES: usize = 20;

/// Everything but the leakage.
pub fn explain(report: &Report<'_>) -> String {
    let mut out = String::new();
    heading(&mut out, "Predicted");
    out.push_str(&table(&predicted(report)));
    let _ = writeln!(out, "(by the table of costs of {})", report.machine);
    // Decisions say what other notes do.
    let told = |note: &&String| report.plan.decisions.is_empty() || note.starts_with("scheme:");
    let notes: Vec<&String> = report.plan.notes.iter().filter(told).collect();
    if !notes.is_empty() {
        heading(&mut out, "Notes");
        notes.iter().for_each(|note| out.push_str(&format!("{note}\n")));
    }
    for kind in KINDS {
        for decision in report.plan.decisions.iter().filter(|d| d.kind == kind) {
            let place = decision.span.and_then(|span| report.line(span)).map_or(String::new(), |line| format!(", line {line}"));
            heading(&mut out, &format!("{} of {}{place}", capital(kind.name()), decision.subject));
            let mut rows = vec![("chosen", decision.choice.clone()), ("because", decision.why.clone())];
            rows.extend(decision.runner_up.iter().map(|other| ("otherwise", other.clone())));
            out.push_str(&table(&rows));
        }
    }
    heading(&mut out, "Where the memory goes");
    let parts = report.prediction.memory.parts();
    out.push_str(&table(&parts.iter().map(|(name, held)| (*name, bytes(*held))).collect::<Vec<_>>()));
    heading(&mut out, "Where the time goes, by operation");
    let rows = report.by_operation();
    out.push_str(&columns(rows.iter().map(|(name, share)| ((*name).to_owned(), *share, String::new()))));
    heading(&mut out, "Where time and depth go, by source line");
    let rows = report.by_line();
    let line = |line: &Option<usize>| line.map_or_else(|| "-".to_owned(), |line| line.to_string());
    let text = |line: &Option<usize>| line.map_or("", |line| report.text(line)).trim().to_owned();
    out.push_str(&columns(rows.iter().take(LINES).map(|(at, share)| (line(at), *share, text(at)))));
    if rows.len() > LINES {
        let _ = writeln!(out, "... and {} more", counted(rows.len() - LINES, "line"));
    }
    out.push_str(&acting::explain(report.plan.training.as_ref(), TRAINS, report.source, &report.prices, report.threads));
    out
}

/// Who learns what.
pub fn leakage(report: &Report<'_>) -> String {
    let mut out = String::new();
    for section in leakage::of(report.plan) {
        heading(&mut out, section.title);
        section.points.iter().for_each(|point| out.push_str(&format!("- {point}\n")));
    }
    if report.plan.training.is_some() {
        out.push_str(leakage::MEASURED);
    }
    out
}

/// The predictions, named.
pub fn predicted(report: &Report<'_>) -> Vec<(&'static str, String)> {
    let p = &report.prediction;
    let precision = report.precision_in_words().unwrap_or_else(|| "-".to_owned());
    vec![
        (
            "per update",
            format!("{} (client {}, server {})", seconds(p.seconds_per_update), seconds(p.client_seconds), seconds(p.server_seconds)),
        ),
        ("on the link", format!("{} more, over {}", seconds(p.link_seconds), report.link)),
        ("keys", format!("{} in {}", bytes(p.key_bytes), seconds(p.key_seconds))),
        ("peak memory", format!("{}, both parties", bytes(p.peak_bytes))),
        ("precision", precision),
    ]
}

fn heading(out: &mut String, title: &str) {
    let gap = if out.is_empty() { "" } else { "\n" };
    let _ = writeln!(out, "{gap}{title}\n{}", "-".repeat(title.chars().count()));
}

fn capital(word: &str) -> String {
    word[..1].to_uppercase() + &word[1..]
}

/// The number of steps, in a column.
fn steps(count: usize) -> String {
    format!("{count} {:<5}", if count == 1 { "step" } else { "steps" })
}

fn columns(rows: impl Iterator<Item = (String, Share, String)>) -> String {
    let rows: Vec<_> = rows.collect();
    let total: f64 = rows.iter().map(|(_, share, _)| share.seconds).sum();
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, share, text)| {
            let part = 100.0 * share.seconds / total.max(1e-12);
            let bits = if share.bits > 0 { format!("{} bits", share.bits) } else { String::new() };
            let line = format!("{name:>width$}  {:>11}  {:>9.4} s  {part:>5.1} %  {bits:>8}  {text}", steps(share.count), share.seconds);
            format!("{}\n", line.trim_end())
        })
        .collect()
}
