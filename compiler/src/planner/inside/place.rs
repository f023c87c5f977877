//! Which values of an update to bootstrap.

use std::fmt;

use super::dag::Dag;
use super::{bound, cuts, labels, polish, series};
use crate::planner::{Bits, Offer, PlannerError};

/// Up to this many operations every value is a candidate, and labels are many.
const SMALL: usize = 64;
/// Labels of a small graph.
const MANY: usize = 1000;
/// Labels times operations of a large one.
const LABELS: usize = 65_536;
/// A candidate's ciphertexts alive over the fewest nearby.
const ALIVE: f64 = 1.25;

/// Where an update is bootstrapped.
#[derive(Clone, PartialEq, Debug)]
pub struct Placement {
    /// Nodes whose results are bootstrapped, ascending.
    pub bootstraps: Vec<usize>,
    /// What each of them leaves.
    pub targets: Vec<Bits>,
    /// Budget at which the operands of each node enter it.
    pub enters: Vec<Bits>,
    /// Seconds of operations and bootstraps.
    pub seconds: f64,
    /// No placement takes less.
    pub lower_bound: f64,
    /// Whether this one is proved to be a least one.
    pub exact: bool,
}

impl Placement {
    /// How far above the lower bound it may be: 0.02 is two percent.
    pub fn gap(&self) -> f64 {
        if self.lower_bound > 0.0 { self.seconds / self.lower_bound - 1.0 } else { 0.0 }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bootstraps, targets, enters: _, seconds, lower_bound: _, exact } = self;
        write!(f, "{} bootstraps, {seconds:.3} s, ", bootstraps.len())?;
        if *exact {
            write!(f, "the least")?
        } else {
            write!(f, "at most {:.1} % above the least", 100.0 * self.gap())?
        }
        bootstraps.iter().zip(targets).try_for_each(|(node, target)| write!(f, "\n  {node} to {target}"))
    }
}

/// The cheapest placement that is found: exact on series-parallel graphs and on small ones.
///
/// # Errors
/// `Unplaceable` with a node that no bootstraps give enough.
pub fn run(dag: &Dag, offer: &Offer) -> Result<Placement, PlannerError> {
    let most = dag.most(offer)?;
    if let Some(marks) = series::run(dag, offer) {
        return finish(dag, offer, &marks, None);
    }
    let least = dag.least(offer);
    let tables = bound::tables(dag, offer, most, &least);
    let mut lower_bound = bound::lower_bound(dag, offer, &tables, &least);
    let small = dag.nodes.len() <= SMALL;
    let candidates = if small { vec![true; dag.nodes.len()] } else { thin(dag, offer) };
    let width = if small { MANY } else { (LABELS / dag.nodes.len()).clamp(4, 256) };
    let mut tries = cuts::run(dag, offer);
    tries.push(vec![false; dag.nodes.len()]);
    let mut best = tries.into_iter().filter_map(|marks| polish::run(dag, offer, marks)).min_by(|a, b| a.0.total_cmp(&b.0));
    let limit = best.as_ref().map_or(f64::INFINITY, |(seconds, _)| *seconds);
    let mut found = labels::run(dag, offer, &tables, &candidates, limit, width);
    if found.marks.is_none() && best.is_none() {
        found = labels::run(dag, offer, &tables, &vec![true; dag.nodes.len()], f64::INFINITY, width);
    }
    if let Some((seconds, marks)) = found.marks.and_then(|marks| polish::run(dag, offer, marks))
        && seconds < limit
    {
        best = Some((seconds, marks));
    }
    let (seconds, marks) = best.unwrap_or((f64::INFINITY, vec![true; dag.nodes.len()]));
    if found.exact {
        lower_bound = seconds;
    }
    finish(dag, offer, &marks, Some((lower_bound, found.exact)))
}

/// Where few ciphertexts are alive, compared with what a refresh reaches.
fn thin(dag: &Dag, offer: &Offer) -> Vec<bool> {
    let (depths, alive) = cuts::alive(dag);
    let reach = Bits(offer.output.saturating_sub(offer.input).0 / 2);
    let fewest = |depth: Bits| alive.range(depth.saturating_sub(reach)..=depth + reach).map(|(_, &count)| count).min().unwrap_or(0);
    let few: std::collections::BTreeMap<Bits, bool> =
        alive.iter().map(|(&depth, &count)| (depth, count as f64 <= ALIVE * fewest(depth).max(1) as f64)).collect();
    depths.iter().map(|depth| few.get(depth).copied().unwrap_or(false)).collect()
}

fn finish(dag: &Dag, offer: &Offer, marks: &[bool], bound: Option<(f64, bool)>) -> Result<Placement, PlannerError> {
    let Some(widths) = dag.widths(offer, marks) else { return Err(PlannerError::NoPlacement) };
    let bootstraps: Vec<usize> = (0..marks.len()).filter(|&at| marks[at]).collect();
    let (lower_bound, exact) = bound.unwrap_or((widths.seconds, true));
    let targets = bootstraps.iter().map(|&at| widths.needs[at]).collect();
    Ok(Placement {
        bootstraps,
        targets,
        enters: widths.enters,
        seconds: widths.seconds,
        lower_bound: lower_bound.min(widths.seconds),
        exact,
    })
}
