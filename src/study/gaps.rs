//! How much of what training by exact functions gains over acting at random a backend loses.

use std::path::Path;

use hecc_plan::Training;
use serde::Serialize;

use super::Finished;
use crate::cli::Backend;
use crate::output;

/// The result of a study.
#[derive(Debug, Serialize)]
pub struct Summary {
    program: String,
    environment: String,
    updates: usize,
    /// Episodes of a final evaluation.
    episodes: usize,
    /// What the random policy gets.
    pub random: Random,
    backends: Vec<Row>,
    gaps: Vec<Gap>,
}

/// Returns of the random policy, over as many episodes.
#[derive(Debug, Serialize)]
pub struct Random {
    /// Their mean.
    pub mean: f64,
    min: f64,
    max: f64,
}

/// One backend.
#[derive(Debug, Serialize)]
struct Row {
    backend: String,
    /// Mean over the seeds of the final mean returns; none if a seed failed.
    mean: Option<f64>,
    seeds: Vec<Seed>,
}

/// One run.
#[derive(Debug, Serialize)]
struct Seed {
    seed: u64,
    /// Mean return of the final evaluation.
    mean_return: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    seconds: f64,
}

/// One backend against exact functions.
#[derive(Debug, Serialize)]
struct Gap {
    backend: String,
    /// (exact - backend) / (exact - random), of means over the seeds.
    gap: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The result of these runs; `random`: returns of the random policy.
pub fn summary(program: &Path, training: &Training, runs: &[Finished], random: &[f64]) -> Summary {
    let mut backends: Vec<Row> = Vec::new();
    for run in runs {
        let seed = Seed { seed: run.seed, mean_return: run.last.map(|last| last.mean), failure: run.failure.clone(), seconds: run.seconds };
        match backends.iter_mut().find(|row| row.backend == run.backend) {
            Some(row) => row.seeds.push(seed),
            None => backends.push(Row { backend: run.backend.clone(), mean: None, seeds: vec![seed] }),
        }
    }
    for row in &mut backends {
        let returns: Option<Vec<f64>> = row.seeds.iter().map(|seed| seed.mean_return).collect();
        row.mean = returns.filter(|r| !r.is_empty()).map(|r| r.iter().sum::<f64>() / r.len() as f64);
    }
    let mean = random.iter().sum::<f64>() / random.len().max(1) as f64;
    let exact = backends.iter().find(|row| row.backend == Backend::Exact.name());
    let gaps = exact.map_or_else(Vec::new, |exact| {
        let others = backends.iter().filter(|row| row.backend != exact.backend);
        others.map(|row| gap(exact, row, mean)).collect()
    });
    Summary {
        program: program.display().to_string(),
        environment: training.env.id.clone(),
        updates: training.run.updates,
        episodes: random.len(),
        random: Random {
            mean,
            min: random.iter().copied().fold(f64::INFINITY, f64::min),
            max: random.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        },
        gaps,
        backends,
    }
}

fn gap(exact: &Row, row: &Row, random: f64) -> Gap {
    let found = |gap, reason: Option<&str>| Gap { backend: row.backend.clone(), gap, reason: reason.map(str::to_owned) };
    match (exact.mean, row.mean) {
        (Some(best), Some(_)) if best <= random => found(None, Some("training by exact functions gains nothing over acting at random")),
        (Some(best), Some(mean)) => found(Some((best - mean) / (best - random)), None),
        _ => found(None, Some("a seed failed")),
    }
}

impl Summary {
    /// As one line of JSON.
    pub fn json(&self) -> String {
        format!("{}\n", serde_json::json!(self))
    }

    /// For people.
    pub fn table(&self, folder: &Path) -> String {
        let returns = |row: &Row| {
            let each = row.seeds.iter().map(|seed| match seed.mean_return {
                Some(mean) => format!("{}: {mean:.1}", seed.seed),
                None => format!("{}: failed", seed.seed),
            });
            let mean = row.mean.map_or("-".to_owned(), |mean| format!("{mean:.1}"));
            format!("{mean} ({})", each.collect::<Vec<_>>().join(", "))
        };
        let mut rows: Vec<(String, String)> = self.backends.iter().map(|row| (row.backend.clone(), returns(row))).collect();
        rows.push(("random".to_owned(), format!("{:.1}", self.random.mean)));
        rows.extend(self.gaps.iter().map(|gap| {
            let value = gap.gap.map_or_else(|| gap.reason.clone().unwrap_or_default(), |g| format!("{:.1} %", 100.0 * g));
            (format!("gap of {}", gap.backend), value)
        }));
        rows.push(("curves".to_owned(), folder.join("curves.svg").display().to_string()));
        let rows: Vec<(&str, String)> = rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let seeds = self.backends.first().map_or(0, |row| row.seeds.len());
        let head = format!(
            "mean return over {} after {}, by seed, {} each\n",
            output::counted(seeds, "seed"),
            output::counted(self.updates, "update"),
            output::counted(self.episodes, "episode")
        );
        head + &output::table(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(backend: &str, means: &[Option<f64>]) -> Row {
        let seeds = (0..).zip(means).map(|(seed, &mean_return)| Seed { seed, mean_return, failure: None, seconds: 0.0 });
        let all: Option<Vec<f64>> = means.iter().copied().collect();
        Row { backend: backend.to_owned(), mean: all.map(|a| a.iter().sum::<f64>() / a.len() as f64), seeds: seeds.collect() }
    }

    #[test]
    fn a_gap_is_a_part_of_what_is_gained() {
        let exact = row("exact", &[Some(500.0), Some(300.0)]);
        assert_eq!(gap(&exact, &row("clear", &[Some(400.0), Some(324.0)]), 20.0).gap, Some(0.1));
        assert_eq!(gap(&exact, &row("clear", &[Some(440.0), Some(360.0)]), 20.0).gap, Some(0.0), "means count, not seeds");
        assert_eq!(gap(&exact, &row("clear", &[Some(440.0), None]), 20.0).reason.as_deref(), Some("a seed failed"));
        assert!(gap(&exact, &exact, 400.0).reason.is_some_and(|reason| reason.contains("gains nothing")));
    }
}
