//! An update's operations, summed up for the loop planner.

use super::dag::Dag;
use crate::planner::{Bits, Curve, MaxPlus, PlannerError};

/// What the loop planner asks about an update without bootstraps inside.
#[derive(Clone, PartialEq, Debug)]
pub struct Summary {
    /// Bits spent from each carried value at the start (column) to each at the end (row).
    pub decay: MaxPlus,
    /// Bits that the update needs of each carried value for outputs that are not carried.
    pub demands: Vec<Bits>,
    /// Seconds of the update, by the widest budget at which a carried value enters it.
    pub update: Curve,
}

/// Sums up an update whose carried values enter at node `carried[i].0` and leave as node `carried[i].1`, for budgets up to
/// `most`. Exact in bits; the seconds are those of carried values that all leave with equally much, the most they can.
///
/// # Errors
/// None on a graph whose operands stand before their users.
pub fn run(dag: &Dag, carried: &[(usize, usize)], most: Bits) -> Result<Summary, PlannerError> {
    let longest = |ends: &dyn Fn(usize) -> Option<Bits>| {
        let mut needs: Vec<Option<Bits>> = (0..dag.nodes.len()).map(ends).collect();
        for (at, node) in dag.nodes.iter().enumerate().rev() {
            let Some(enters) = needs[at].map(|bits| bits + node.spent) else { continue };
            node.operands.iter().for_each(|&operand| needs[operand] = needs[operand].max(Some(enters)));
        }
        needs
    };
    let row = |&(_, end): &(usize, usize)| {
        let needs = longest(&|at| (at == end).then_some(Bits(0)));
        carried.iter().map(|&(start, _)| needs[start]).collect::<Vec<_>>()
    };
    let rows: Vec<Vec<Option<Bits>>> = carried.iter().map(row).collect();
    let required = longest(&|at| dag.nodes[at].required);
    let demands = carried.iter().map(|&(start, _)| required[start].unwrap_or_default()).collect();
    let mut points: Vec<(Bits, f64)> = Vec::new();
    for left in (0..=most.0).step_by(STEP) {
        let needs = longest(&|at| dag.nodes[at].required.max(carried.iter().any(|&(_, end)| end == at).then_some(Bits(left))));
        let enters = carried.iter().filter_map(|&(start, _)| needs[start]).max().unwrap_or_default();
        let seconds = dag.nodes.iter().zip(&needs).filter_map(|(node, needs)| Some(node.seconds.at((*needs)? + node.spent)));
        // Up to where demands decide the width is the same: what leaves most there costs most.
        if points.last().is_some_and(|(width, _)| *width == enters) {
            points.pop();
        }
        points.push((enters, seconds.sum()));
    }
    let decay = MaxPlus::from_rows(&rows).ok_or(PlannerError::NotSquare)?;
    Ok(Summary { decay, demands, update: Curve::new(points)? })
}

/// Bits between two points of the table of seconds.
const STEP: usize = 16;
