//! Which values of an update to bootstrap.

use std::fmt;

use super::dag::{Dag, Widths};
use super::{bound, cuts, labels, polish, series};
use crate::planner::{Bits, Offer, PlannerError};

/// Up to this many operations a graph is small.
const SMALL: usize = 128;
/// Labels of a small graph.
const MANY: usize = 1000;
/// Labels of a large graph, times its operations.
const LABELS: usize = 65_536;
/// Labels where many placements are compared.
const FEW: usize = 64;
/// Labels of the searches that only start others.
const GREEDY: [usize; 2] = [1, 4];

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
    run_from(dag, offer, Vec::new())
}

/// The same, where the search also starts from marks that others found; they need not work.
///
/// # Errors
/// As [`run`].
pub fn run_from(dag: &Dag, offer: &Offer, starts: Vec<Vec<bool>>) -> Result<Placement, PlannerError> {
    let most = dag.most(offer)?;
    match series::run(dag, offer) {
        Some(marks) => finish(dag, offer, &marks, None),
        None if dag.nodes.len() <= SMALL => search(dag, offer, most, MANY, starts),
        None => search(dag, offer, most, (LABELS / dag.nodes.len()).clamp(4, 256), starts),
    }
}

/// Where small changes of marks lead; `None` if that does not work.
pub fn improve(dag: &Dag, offer: &Offer, marks: Vec<bool>) -> Option<Vec<bool>> {
    dag.most(offer).ok()?;
    polish::run(dag, offer, marks).map(|(_, marks)| marks)
}

/// The same with few labels, for those who ask often.
pub(super) fn quick(dag: &Dag, offer: &Offer) -> Result<Placement, PlannerError> {
    let most = dag.most(offer)?;
    match series::run(dag, offer) {
        Some(marks) => finish(dag, offer, &marks, None),
        None => search(dag, offer, most, (LABELS / dag.nodes.len().max(1)).clamp(4, FEW), Vec::new()),
    }
}

/// The same without the short way for series-parallel graphs, and with `labels` partial placements at a time: what large graphs
/// get. Exact if no more were needed.
///
/// # Errors
/// As [`run`].
pub fn run_within(dag: &Dag, offer: &Offer, labels: usize) -> Result<Placement, PlannerError> {
    search(dag, offer, dag.most(offer)?, labels, Vec::new())
}

fn search(dag: &Dag, offer: &Offer, most: Vec<Bits>, width: usize, mut starts: Vec<Vec<bool>>) -> Result<Placement, PlannerError> {
    let tables = bound::tables(dag, offer, most, dag.least(offer));
    // Where a local search ends depends on where it starts: several starts, cheap ones.
    starts.push(cuts::run(dag, offer));
    starts.extend(GREEDY.iter().filter_map(|&few| labels::run(dag, offer, &tables, f64::INFINITY, few.min(width)).marks));
    let polished = starts.into_iter().filter_map(|marks| polish::run(dag, offer, marks));
    let (mut seconds, mut marks) = polished.min_by(|a, b| a.0.total_cmp(&b.0)).ok_or(PlannerError::NoPlacement)?;
    let found = labels::run(dag, offer, &tables, seconds, width);
    if let Some(better) = found.marks.and_then(|marks| polish::run(dag, offer, marks)).filter(|(other, _)| *other < seconds) {
        (seconds, marks) = better;
    }
    let lower_bound = if found.exact { seconds } else { bound::lower_bound(dag, offer, &tables) };
    finish(dag, offer, &marks, Some((lower_bound, found.exact)))
}

fn finish(dag: &Dag, offer: &Offer, marks: &[bool], bound: Option<(f64, bool)>) -> Result<Placement, PlannerError> {
    let widths = dag.widths(offer, marks).ok_or(PlannerError::NoPlacement)?;
    let (lower_bound, exact) = bound.unwrap_or((widths.seconds, true));
    Ok(placement(marks, widths, lower_bound, exact))
}

/// Marks with their widths.
pub(super) fn placement(marks: &[bool], widths: Widths, lower_bound: f64, exact: bool) -> Placement {
    let Widths { needs, enters, seconds } = widths;
    let bootstraps: Vec<usize> = (0..marks.len()).filter(|&at| marks[at]).collect();
    let targets = bootstraps.iter().map(|&at| needs[at]).collect();
    Placement { bootstraps, targets, enters, seconds, lower_bound: lower_bound.min(seconds), exact }
}
