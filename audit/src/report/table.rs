//! An attack's metrics as rows, for the terminal and for the page.

use super::judge::{actions_beat, beats};
use super::{Attack, Metric, Spread, number};

/// What one target gave.
pub struct Cell {
    /// The figure.
    pub text: String,
    /// Whether guessing does not reach it; none if that cannot be said.
    pub beats: Option<bool>,
}

/// One metric over all targets.
pub struct Row {
    /// Its name.
    pub name: &'static str,
    /// What it says.
    pub explains: &'static str,
    /// In the order of the targets.
    pub cells: Vec<Cell>,
    /// What guessing reaches.
    pub guess: String,
}

/// The metrics of an attack that any of its targets or guessing has.
pub fn rows(attack: &Attack) -> Vec<Row> {
    let mut rows = Vec::new();
    if attack.targets.iter().any(|attempt| attempt.metrics.actions.is_some()) {
        let cells = attack.targets.iter().map(|attempt| match attempt.metrics.actions {
            Some(actions) => {
                Cell { text: format!("{} of {}", actions.right, actions.of), beats: actions_beat(&attempt.metrics, &attack.guessing) }
            }
            None => empty(),
        });
        let guess = attack.guessing.actions.map_or_else(dash, |chance| format!("{} to {}", chance.fewest, chance.most));
        rows.push(Row {
            name: "actions right",
            explains: "how often the reconstructed action is the true one",
            cells: cells.collect(),
            guess,
        });
    }
    for metric in Metric::ALL {
        if !attack.targets.iter().any(|attempt| attempt.metrics.values.contains_key(&metric)) {
            continue;
        }
        let cells = attack.targets.iter().map(|attempt| match attempt.metrics.values.get(&metric) {
            Some(spread) => Cell { text: cell(metric, spread), beats: beats(&attempt.metrics, &attack.guessing, metric) },
            None => empty(),
        });
        let guess = attack.guessing.values.get(&metric).map_or_else(dash, |spread| typical(metric, spread));
        rows.push(Row { name: metric.name(), explains: metric.explains(), cells: cells.collect(), guess });
    }
    rows
}

/// The one figure that stands for a spread: the mean of likenesses, the median of errors (a few failures would hide in their mean).
pub fn typical(metric: Metric, spread: &Spread) -> String {
    match metric {
        Metric::Found => format!("{:.0} %", 100.0 * spread.mean),
        _ if metric.larger_is_nearer() => number(spread.mean),
        _ => number(spread.median),
    }
}

fn cell(metric: Metric, spread: &Spread) -> String {
    let mut text = typical(metric, spread);
    if metric != Metric::Found && spread.deviation > 0.0 {
        text += &if metric.larger_is_nearer() {
            format!(" ± {}", deviation(spread.deviation))
        } else {
            format!(", worst {}", number(spread.most))
        };
    }
    if spread.diverged > 0 {
        text += &format!(", {} diverged", spread.diverged);
    }
    text
}

/// A deviation, with a digit less than what it belongs to.
fn deviation(value: f64) -> String {
    match value {
        10.0.. => format!("{value:.0}"),
        1.0..10.0 => format!("{value:.1}"),
        0.01..1.0 => format!("{value:.2}"),
        _ => number(value),
    }
}

fn empty() -> Cell {
    Cell { text: dash(), beats: None }
}

fn dash() -> String {
    "-".to_owned()
}
