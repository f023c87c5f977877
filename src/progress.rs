//! Progress on standard error: a bar on a terminal, lines elsewhere.

use std::time::{Duration, Instant};

use hecc_runtime::session::{Event, Progress};
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
    bar: ProgressBar,
    last_line: Option<Instant>,
}

impl Display {
    /// Shows a run of so many updates.
    pub fn start(updates: usize) -> Self {
        Self { bar: bar("{bar:30} {pos}/{len} {msg}", updates), last_line: None }
    }

    /// Shows what happened.
    pub fn show(&mut self, event: &Event<'_>) {
        match event {
            Event::Collected(count) => self.line(&format!("{count} transitions collected")),
            Event::OutOfRange(out) => self.line(&format!("warning: {out}; clipped")),
            Event::Reached(reach) => self.line(&format!("warning: {reach}")),
            Event::Evaluated(updates, mean) => self.line(&format!("update {updates}: return {mean:.1}")),
            // On a terminal the bar says as much by going on.
            Event::Saved(path) if self.bar.is_hidden() => self.line(&format!("saved {}", path.display())),
            Event::Saved(_) => {}
            Event::Updated(progress) => {
                self.bar.set_position(progress.update as u64);
                self.bar.set_message(message(progress));
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

    fn line(&self, text: &str) {
        self.bar.suspend(|| output::complain(text));
    }
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
