//! Any graph: partial placements from the end backwards, a label each, with what they ask of nodes not yet reached.
//!
//! A label that asks no less anywhere and costs no less than another is dropped, and one that cannot beat the best known. While
//! no more labels than `width` are left this is exact, the branch and bound of 4.4's integer program without the program;
//! then the most promising are kept.

use super::bound::Tables;
use super::dag::Dag;
use super::trail::{Trail, Trails};
use crate::planner::{Bits, Offer};

/// A partial placement.
struct Label {
    /// What it asks of each open node.
    needs: Vec<Bits>,
    seconds: f64,
    /// What any placement that it is a part of costs at least.
    promise: f64,
    trail: Trail,
}

/// What a search found.
pub(super) struct Found {
    /// The best marks, if they beat the limit.
    pub marks: Option<Vec<bool>>,
    /// Whether no placement of less than the limit was dropped.
    pub exact: bool,
}

/// The cheapest marks below `limit` seconds.
pub(super) fn run(dag: &Dag, offer: &Offer, tables: &Tables, limit: f64, width: usize) -> Found {
    let mut trails = Trails::default();
    // Unreached nodes that something reached uses; all labels have needs for the same.
    let mut open: Vec<usize> = Vec::new();
    let mut labels = vec![Label { needs: Vec::new(), seconds: 0.0, promise: 0.0, trail: None }];
    let mut exact = true;
    for at in (0..dag.nodes.len()).rev() {
        let node = &dag.nodes[at];
        let place = open.iter().position(|&other| other == at);
        if let Some(place) = place {
            open.swap_remove(place);
        }
        let mut operands: Vec<usize> = node.operands.clone();
        operands.sort_unstable();
        operands.dedup();
        operands.iter().for_each(|&operand| {
            if !open.contains(&operand) {
                open.push(operand);
            }
        });
        // Asked sooner or later anyway: labels that differ only below it are the same.
        let floors: Vec<Bits> = open.iter().map(|&node| tables.least[node]).collect();
        let places: Vec<usize> = operands.iter().filter_map(|&operand| open.iter().position(|&other| other == operand)).collect();
        let mut next: Vec<Label> = Vec::new();
        for mut label in labels {
            let own = place.map_or(tables.least[at], |place| label.needs.swap_remove(place));
            for boot in [false, true] {
                if boot && (own > offer.output || own <= offer.input) {
                    continue;
                }
                let enters = if boot { offer.input } else { own } + node.spent;
                let fits =
                    if node.operands.is_empty() { enters <= node.available } else { operands.iter().all(|&o| enters <= tables.most[o]) };
                if !fits {
                    continue;
                }
                let mut needs = label.needs.clone();
                needs.extend_from_slice(&floors[needs.len()..]);
                places.iter().for_each(|&place| needs[place] = needs[place].max(enters));
                let refresh = if boot { node.refresh_seconds(offer, own) } else { 0.0 };
                let seconds = label.seconds + refresh + node.seconds.at(enters);
                let ahead = places.iter().map(|&place| tables.ahead(open[place], needs[place])).fold(0.0, f64::max);
                let promise = label.promise.max(seconds + tables.before[at] + ahead);
                if promise < limit {
                    let trail = if boot { trails.with(at, label.trail) } else { label.trail };
                    next.push(Label { needs, seconds, promise, trail });
                }
            }
        }
        labels = prune(next, width, &mut exact);
    }
    let best = labels.into_iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Found { marks: best.map(|label| trails.marks(label.trail, dag.nodes.len())), exact }
}

/// Drops labels that another beats, then the least promising beyond `width`.
fn prune(mut labels: Vec<Label>, width: usize, exact: &mut bool) -> Vec<Label> {
    labels.sort_by(|a, b| a.promise.total_cmp(&b.promise).then(a.seconds.total_cmp(&b.seconds)).then_with(|| a.needs.cmp(&b.needs)));
    let mut kept: Vec<Label> = Vec::new();
    for label in labels {
        let beats = |other: &Label| other.seconds <= label.seconds && other.needs.iter().zip(&label.needs).all(|(a, b)| a <= b);
        if kept.iter().any(beats) {
            continue;
        }
        if kept.len() == width {
            *exact = false;
            break;
        }
        kept.push(label);
    }
    kept
}
