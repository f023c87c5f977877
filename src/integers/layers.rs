//! What a plan of integers does, line by line: how wide sums are, what tables read, and how surely.

use hecc_plan::tfhe::prices::Prices;
use hecc_plan::tfhe::{Op, Plan, check, cost};

use crate::output;

/// Steps of one kind that one line asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// The line, where the source is known.
    pub line: Option<usize>,
    /// What is done.
    pub what: &'static str,
    /// Integers that are made.
    pub integers: u64,
    /// The smallest and the largest that can occur: what is summed up to, encrypted, or read by a table.
    pub range: (i64, i64),
    /// Different tables.
    pub tables: usize,
    /// Bootstraps.
    pub bootstraps: u64,
    /// log2 of the most that a decision fails with.
    pub log2_failure: Option<f64>,
    /// Seconds.
    pub seconds: f64,
}

/// Bits of signed integers in a range.
pub fn width((low, high): (i64, i64)) -> u32 {
    (1..64).find(|bits| -(1i64 << (bits - 1)) <= low && high < 1i64 << (bits - 1)).unwrap_or(64)
}

/// All of them, in the order of their first steps.
pub fn of(plan: &Plan, line: impl Fn(hecc_plan::Span) -> Option<usize>, prices: &Prices, threads: usize) -> Vec<Layer> {
    let threads = if threads == 0 { prices.threads } else { threads };
    let failures = check::failures(plan);
    let mut layers: Vec<(Layer, Vec<u32>)> = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        let read = step.op.operands().first().map_or(step.wire, |a| plan.steps[a.index()].wire);
        let (what, wire) = match &step.op {
            Op::Input(_) => ("encrypted", step.wire),
            Op::Carried(_) => ("carried", step.wire),
            Op::Affine { .. } => ("sums", step.wire),
            Op::Table { .. } => ("tables", read),
            Op::Floor { .. } => ("dropped bits", read),
            Op::Rest { .. } => ("what was dropped", step.wire),
            Op::Sign { .. } => ("comparisons", read),
            Op::Switch { .. } => ("changes of key", step.wire),
        };
        let bootstraps = step.op.lookups().map_or(0, |(_, each)| u64::from(each) * u64::from(step.wire.len));
        let one = Layer {
            line: line(step.span),
            what,
            integers: u64::from(step.wire.len),
            range: (wire.low, wire.high),
            tables: 0,
            bootstraps,
            log2_failure: failures[index],
            seconds: cost::step_seconds(plan, step, prices, threads),
        };
        let tables = if let Op::Table { tables, .. } = &step.op { tables.iter().map(|id| id.0).collect() } else { Vec::new() };
        match layers.iter_mut().find(|(other, _)| (other.line, other.what) == (one.line, one.what)) {
            Some((layer, known)) => {
                layer.integers += one.integers;
                layer.range = (layer.range.0.min(one.range.0), layer.range.1.max(one.range.1));
                layer.bootstraps += one.bootstraps;
                layer.seconds += one.seconds;
                layer.log2_failure = [layer.log2_failure, one.log2_failure].into_iter().flatten().max_by(f64::total_cmp);
                known.extend(tables);
            }
            None => layers.push((one, tables)),
        }
    }
    let counted = |(layer, mut tables): (Layer, Vec<u32>)| {
        tables.sort_unstable();
        tables.dedup();
        Layer { tables: tables.len(), ..layer }
    };
    layers.into_iter().map(counted).collect()
}

impl Layer {
    /// How surely it decides.
    pub fn failure(&self) -> String {
        self.log2_failure.map_or_else(|| "-".to_owned(), |failure| format!("2^{failure:.1}"))
    }

    /// The line's number.
    pub fn place(&self) -> String {
        self.line.map_or_else(|| "-".to_owned(), |line| line.to_string())
    }

    /// The integers and their bits.
    pub fn integers(&self) -> String {
        let (low, high) = self.range;
        format!("{low} to {high} ({})", output::counted(width(self.range) as usize, "bit"))
    }
}

/// As text.
pub fn table(layers: &[Layer]) -> String {
    let mut rows = vec![["line", "what", "how many", "integers", "tables", "bootstraps", "fails with at most"].map(str::to_owned)];
    rows.extend(layers.iter().map(|layer| {
        let shown = |count: u64| if count == 0 { "-".to_owned() } else { count.to_string() };
        [
            layer.place(),
            layer.what.to_owned(),
            layer.integers.to_string(),
            layer.integers(),
            shown(layer.tables as u64),
            shown(layer.bootstraps),
            layer.failure(),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..7).map(width).collect();
    let text = |row: &[String; 7]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_of_signed_integers() {
        for (range, bits) in [((0, 0), 1), ((-1, 0), 1), ((0, 1), 2), ((-8, 7), 4), ((-8, 8), 5), ((-9, 0), 5)] {
            assert_eq!(width(range), bits, "{range:?}");
        }
    }
}
