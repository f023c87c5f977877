//! Bootstraps inside an update that runs again and again: what enters with a budget has to leave with what the next update
//! needs. For updates that spend more than a refresh gives, or where bootstrapping in the middle is cheaper than at the end.

use super::dag::{Dag, Widths};
use super::place::{self, Placement};
use crate::planner::{Bits, Offer, PlannerError};

/// Budgets tried for the carried values of a small graph, and of a large one.
const ENTRIES: [u32; 2] = [32, 4];
/// Up to this many operations a graph is small.
const SMALL: usize = 200;
/// What counts as cheaper, in seconds.
const CHEAPER: f64 = 1e-9;
/// Nodes priced by the search at the end.
const WORK: usize = 20_000_000;

/// The cheapest steady placement found for an update whose carried values enter at node `carried[i].0`, an input whose `available`
/// counts for nothing, and leave as node `carried[i].1`.
///
/// Tries placements between equal budgets at entry and exit, first the same for all carried values, then one value's changed
/// at a time; lets each have just what it needs, and improves the best by small changes. Exact if the bound says so.
///
/// # Errors
/// `Unplaceable` with a node that no bootstraps give enough.
pub fn run(dag: &Dag, carried: &[(usize, usize)], offer: &Offer) -> Result<Placement, PlannerError> {
    let between = |entry: &[Bits], exit: &[Bits]| {
        let mut dag = dag.clone();
        for (at, &(start, end)) in carried.iter().enumerate() {
            dag.nodes[start].available = entry[at];
            dag.nodes[end].required = dag.nodes[end].required.max(Some(exit[at]));
        }
        dag
    };
    // Free at the end, and entering with whatever there may be: no steady placement is cheaper.
    let most = dag.nodes.iter().map(|node| node.available).max().unwrap_or_default().max(offer.output);
    let lower_bound = place::run(&between(&vec![most; carried.len()], &vec![Bits(0); carried.len()]), offer)?.lower_bound;
    let mut best: Option<(f64, Vec<bool>)> = None;
    let mut problem = PlannerError::NoPlacement;
    let mut attempt = |entry: &[Bits], best: &mut Option<(f64, Vec<bool>)>| match place::quick(&between(entry, entry), offer) {
        Ok(placement) => {
            let marks: Vec<bool> = (0..dag.nodes.len()).map(|at| placement.bootstraps.binary_search(&at).is_ok()).collect();
            let seconds = widths(dag, carried, offer, &marks).map(|widths| widths.seconds);
            let cheaper = seconds.filter(|seconds| best.as_ref().is_none_or(|(least, _)| *seconds < least - CHEAPER));
            *best = cheaper.map(|seconds| (seconds, marks)).or(best.take());
            cheaper.is_some()
        }
        Err(error) => {
            problem = error;
            false
        }
    };
    let small = dag.nodes.len() <= SMALL;
    let steps = ENTRIES[usize::from(!small)];
    let entries = (0..=steps).map(|step| Bits((u64::from(most.0) * u64::from(step) / u64::from(steps)) as u32));
    let entries: Vec<Bits> = entries.collect();
    for &entry in &entries {
        attempt(&vec![entry; carried.len()], &mut best);
    }
    let mut again = small && carried.len() > 1;
    while again {
        again = false;
        for at in 0..carried.len() {
            for &entry in &entries {
                let steady = best.as_ref().and_then(|(_, marks)| widths(dag, carried, offer, marks));
                let Some(steady) = steady else { continue };
                let mut own: Vec<Bits> = carried.iter().map(|&(start, _)| steady.enters[start]).collect();
                own[at] = entry;
                again |= attempt(&own, &mut best);
            }
        }
    }
    let (least, marks) = best.ok_or(problem)?;
    let marks = improve(dag, carried, offer, least, marks);
    let widths = widths(dag, carried, offer, &marks).ok_or(PlannerError::NoPlacement)?;
    let exact = widths.seconds <= lower_bound * (1.0 + 1e-9);
    Ok(place::placement(&marks, widths, lower_bound, exact))
}

/// Widths where each carried value leaves with what it needs at entry; `None` if that grows without end.
pub(super) fn widths(dag: &Dag, carried: &[(usize, usize)], offer: &Offer, marks: &[bool]) -> Option<Widths> {
    let mut around = dag.clone();
    carried.iter().for_each(|&(start, _)| around.nodes[start].available = Bits(u32::MAX));
    // Each round settles at least one value more, if every cycle is cut.
    for _ in 0..=carried.len() + 1 {
        let widths = around.widths(offer, marks)?;
        let mut stable = true;
        for &(start, end) in carried {
            let needs = widths.enters[start];
            let required = around.nodes[end].required.unwrap_or_default();
            stable &= required >= needs;
            around.nodes[end].required = Some(required.max(needs));
        }
        if stable {
            return Some(widths);
        }
    }
    None
}

/// One bootstrap more or less, or moved one step, while that is cheaper.
fn improve(dag: &Dag, carried: &[(usize, usize)], offer: &Offer, mut least: f64, mut marks: Vec<bool>) -> Vec<bool> {
    let mut left = WORK / dag.nodes.len().max(1);
    loop {
        let mut improved = false;
        for at in 0..dag.nodes.len() {
            let own = std::iter::once(None);
            let users = (at + 1..dag.nodes.len()).filter(|&user| dag.nodes[user].operands.contains(&at));
            let near = own.chain(dag.nodes[at].operands.iter().copied().chain(users).map(Some));
            for other in near.collect::<Vec<_>>() {
                if left == 0 || other.is_some_and(|other| marks[other] == marks[at]) {
                    continue;
                }
                left -= 1;
                let mut next = marks.clone();
                next[at] = !next[at];
                other.into_iter().for_each(|other| next[other] = !next[other]);
                let cheaper = widths(dag, carried, offer, &next).map(|widths| widths.seconds).filter(|seconds| *seconds < least - CHEAPER);
                if let Some(seconds) = cheaper {
                    (least, marks, improved) = (seconds, next, true);
                }
            }
        }
        if !improved || left == 0 {
            return marks;
        }
    }
}
