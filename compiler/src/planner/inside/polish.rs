//! Small improvements of a placement: bootstraps that nothing needs, or that do better one step earlier or later.

use super::dag::Dag;
use crate::planner::Offer;

/// Rounds over all bootstraps at most.
const ROUNDS: usize = 4;
/// Prices asked for at most, times the nodes of the graph.
const WORK: usize = 40_000_000;

/// The best that removals and moves lead to, and its price. `None` if the marks do not work.
pub(super) fn run(dag: &Dag, offer: &Offer, mut marks: Vec<bool>) -> Option<(f64, Vec<bool>)> {
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); dag.nodes.len()];
    for (at, node) in dag.nodes.iter().enumerate() {
        node.operands.iter().for_each(|&operand| users[operand].push(at));
    }
    let mut best = dag.widths(offer, &marks)?.seconds;
    let mut left = WORK / dag.nodes.len().max(1);
    for _ in 0..ROUNDS {
        let mut improved = false;
        for at in (0..dag.nodes.len()).filter(|&at| marks[at]).collect::<Vec<_>>() {
            // Removed; before its operands; after its users; onto one of either.
            let (operands, users) = (&dag.nodes[at].operands, &users[at]);
            let single = operands.iter().chain(users).map(|&other| vec![other]);
            let moves = [Vec::new(), operands.clone(), users.clone()].into_iter().chain(single);
            for to in moves {
                if left == 0 || !marks[at] {
                    break;
                }
                left -= 1;
                let mut next = marks.clone();
                next[at] = false;
                to.iter().for_each(|&other| next[other] = true);
                if let Some(seconds) = dag.widths(offer, &next).map(|widths| widths.seconds).filter(|seconds| *seconds < best) {
                    (best, marks, improved) = (seconds, next, true);
                }
            }
        }
        if !improved || left == 0 {
            break;
        }
    }
    Some((best, marks))
}
