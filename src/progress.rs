//! Progress on standard error: a bar on a terminal, lines elsewhere.

use std::time::{Duration, Instant};

use hecc_runtime::engine::Outgrown;
use hecc_runtime::session::{Acted, Evaluating, Event, Progress};
use indicatif::{ProgressBar, ProgressStyle};

use crate::output::{self, bytes, seconds};

/// Seconds between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// Key generation.
pub struct Keys {
    bar: ProgressBar,
    begun: Instant,
}

impl Keys {
    /// Shows nothing until there are keys to make.
    pub fn start() -> Self {
        Self { bar: bar("keys {bar:30} {pos}/{len}", 0), begun: Instant::now() }
    }

    /// So many of all keys are made.
    pub fn made(&mut self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        if done == total && total > 0 && self.bar.is_hidden() {
            output::complain(&format!("{total} keys in {}", seconds(self.begun.elapsed().as_secs_f64())));
        }
    }

    /// Clears the bar.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }
}

/// A run.
pub struct Display {
    /// What every line starts with.
    of: String,
    bar: ProgressBar,
    last_line: Option<Instant>,
    /// The program, to name its lines.
    source: Option<String>,
}

impl Display {
    /// Shows a run of so many updates.
    pub fn start(updates: usize) -> Self {
        Self { of: String::new(), bar: bar("{bar:30} {pos}/{len} {msg}", updates), last_line: None, source: None }
    }

    /// Says before everything which of several runs it is.
    pub fn of(self, name: String) -> Self {
        Self { of: format!("{name}: "), ..self }
    }

    /// Names lines of this program.
    pub fn names(self, source: Option<String>) -> Self {
        Self { source, ..self }
    }

    /// A value, and the line that asked for it.
    fn placed(&self, outgrown: &Outgrown) -> String {
        let line = self.source.as_deref().and_then(|source| output::line(source, outgrown.span));
        line.map_or_else(|| outgrown.to_string(), |line| format!("line {line}: {outgrown}"))
    }

    /// Shows what happened.
    pub fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Collected(count) => self.line(&format!("{count} transitions collected")),
            Event::OutOfRange(out) => self.line(&format!("warning: {out}; clipped")),
            Event::Reached(reach) => self.line(&format!("warning: {reach}")),
            Event::Clipped(clipped) => self.line(&format!("warning: {clipped}; clipped")),
            Event::Outgrown(outgrown) => self.line(&format!("warning: {}; clipped", self.placed(outgrown))),
            Event::Evaluating(evaluating) => self.line(&announced(evaluating)),
            Event::Acted(acted) => self.acted(acted),
            Event::Abandoned => self.line("the evaluation was stopped before its end"),
            Event::Evaluated(curve) => {
                if let Some(point) = curve.last() {
                    self.line(&format!("update {}: return {:.1}", point.update, point.mean));
                }
            }
            // On a terminal the bar says as much by going on.
            Event::Saved(path) if self.bar.is_hidden() => self.line(&format!("saved {}", path.display())),
            Event::Saved(_) => {}
            Event::Updated(progress) => {
                self.bar.set_position(progress.update as u64);
                self.bar.set_message(format!("{}{}", self.of, message(progress)));
                if self.bar.is_hidden() && self.last_line.is_none_or(|last| last.elapsed() >= PAUSE) {
                    self.last_line = Some(Instant::now());
                    self.line(&format!("update {} of {}: {}", progress.update, progress.updates, message(progress)));
                }
            }
        }
    }

    /// Clears the bar.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }

    /// Shows what acting took so far, now and then.
    fn acted(&mut self, acted: &Acted) {
        let Some(text) = acting(acted) else { return };
        if self.bar.is_hidden() && self.last_line.is_none_or(|last| last.elapsed() >= PAUSE) {
            self.last_line = Some(Instant::now());
            self.line(&text);
        } else {
            self.bar.set_message(text);
        }
    }

    /// Shows a line.
    pub fn line(&self, text: &str) {
        self.bar.suspend(|| output::complain(&format!("{}{text}", self.of)));
    }
}

/// What an evaluation will take, before it begins.
fn announced(evaluating: &Evaluating) -> String {
    let Evaluating { episodes, steps, seconds_per_action: each } = *evaluating;
    let most = each * episodes as f64 * steps as f64;
    format!(
        "evaluating by the server: {} of at most {steps} steps, {} an action: up to {}; Ctrl-C stops it",
        output::counted(episodes, "episode"),
        seconds(each),
        seconds(most)
    )
}

/// What acting through the server took, where it did.
fn acting(acted: &Acted) -> Option<String> {
    let each = acted.per_action()?;
    Some(format!("{} by the server, {} each", output::counted(acted.actions as usize, "action"), seconds(each)))
}

/// The return, what the program reveals, time and traffic of an update.
fn message(progress: &Progress<'_>) -> String {
    let totals = &progress.totals;
    let mut parts = Vec::new();
    if let Some(last) = totals.last_return {
        parts.push(format!("return {last:.1} (best {:.1})", totals.best_return.unwrap_or(last)));
    }
    parts.extend(progress.results.iter().map(|(name, value)| format!("{name} {value:.4}")));
    parts.push(format!("{} per update", seconds(totals.seconds / progress.update.max(1) as f64)));
    parts.push(format!("{} exchanged", bytes(totals.bytes_to_server + totals.bytes_to_client)));
    parts.extend(acting(&totals.acting));
    parts.push(format!("{} left", seconds(progress.seconds_left)));
    parts.join(" · ")
}

/// A bar on standard error, hidden where that is no terminal.
fn bar(template: &str, length: usize) -> ProgressBar {
    let bar = ProgressBar::new(length as u64);
    // A template that does not parse would show indicatif's own bar.
    ProgressStyle::with_template(template).map(|style| bar.set_style(style)).unwrap_or_default();
    bar
}
