//! The report in a terminal.

use std::fmt::Write;

use comfy_table::{Cell, CellAlignment, Table, presets};

use super::{Attack, CAVEAT, Flow, Form, Report, table};

/// The whole report. Figures that guessing does not reach have a `*`.
pub fn text(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "{} ({})\n\n{}", report.program.name, report.program.about, report.summary);
    for warning in &report.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    for note in &report.notes {
        let _ = writeln!(out, "note: {note}");
    }
    for attack in &report.attacks {
        one(attack, &mut out);
    }
    flow(&report.flow, &mut out);
    let _ = writeln!(out, "\nseed {}, {:.1} s. {CAVEAT}", report.seed, report.seconds);
    out
}

fn heading(title: &str, out: &mut String) {
    let _ = writeln!(out, "\n{title}\n{}", "-".repeat(title.chars().count()));
}

fn one(attack: &Attack, out: &mut String) {
    let batch = if attack.batch == 1 { String::new() } else { format!(", {} in a batch", attack.batch) };
    let gradients = if attack.samples == 1 { "gradient" } else { "gradients" };
    heading(&format!("{} on {} ({} {gradients}{batch})", attack.method.name(), attack.variant, attack.samples), out);
    let _ = writeln!(out, "{}", attack.verdict);
    let mut grid = grid();
    let names = attack.targets.iter().map(|attempt| attempt.target.name());
    grid.set_header(std::iter::once(String::new()).chain(names).chain(["guessing".to_owned()]));
    for row in table::rows(attack) {
        let cells = row.cells.into_iter().map(|cell| if cell.beats == Some(true) { format!("{} *", cell.text) } else { cell.text });
        let figures = cells.chain([row.guess]).map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
        grid.add_row(std::iter::once(Cell::new(row.name)).chain(figures));
    }
    let took = attack.targets.iter().map(|attempt| format!("{:.2} s", attempt.seconds));
    let took = took.chain([String::new()]).map(|text| Cell::new(text).set_alignment(CellAlignment::Right));
    grid.add_row(std::iter::once(Cell::new("time")).chain(took));
    let _ = writeln!(out, "{}\n* more than guessing reaches; guessing: {}", trimmed(&grid), attack.guessing.how);
    let _ = writeln!(out, "published: {}", attack.method.source());
}

fn flow(flow: &Flow, out: &mut String) {
    heading("What the server sees, by the plan", out);
    let mut grid = grid();
    for seen in &flow.sees {
        let size = seen.bytes.map_or_else(String::new, super::bytes);
        grid.add_row([
            Cell::new(&seen.what),
            Cell::new(form(seen.form)),
            Cell::new(size).set_alignment(CellAlignment::Right),
            Cell::new(&seen.often),
        ]);
    }
    let _ = writeln!(out, "{}", trimmed(&grid));
    if !flow.secret.is_empty() {
        let _ = writeln!(out, "Without the key for: {}", flow.secret.join(", "));
    }
    if let Some(agreement) = &flow.agreement {
        let _ = writeln!(
            out,
            "{}: {}",
            if agreement.agrees { "Measured and plan agree" } else { "MEASURED AND PLAN DO NOT AGREE" },
            agreement.why
        );
    }
}

/// How a thing is seen, in words.
pub(super) fn form(form: Form) -> &'static str {
    match form {
        Form::Ciphertext => "encrypted",
        Form::Public => "clear, the same whatever the data",
        Form::Data => "CLEAR, computed from the data",
    }
}

fn grid() -> Table {
    let mut grid = Table::new();
    grid.load_style(presets::NOTHING);
    grid
}

fn trimmed(grid: &Table) -> String {
    grid.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
