//! Refreshes inside an update, where its budget does not reach from end to end: bootstraps, or exchanges with the key owner.
//!
//! With as few layers of bootstraps as the longest path needs, the first layer is where the values so far fit one budget
//! and what follows fits the layers that are left; among these places a minimum vertex cut refreshes the fewest
//! ciphertexts. Values on paths that are short enough pass by. Then the same again from there. Each layer is exact; all
//! together they are the regions of ReSBM (Liu et al. 2025), with its sweep replaced by a minimum cut.

use std::collections::BTreeSet;
use std::ops::Range;

use petgraph::graph::DiGraph;

use hecc_plan::{Bootstrap, Op, WireId};

use super::budget;
use super::circuit::{Circuit, Node};
use crate::planner::flow::{FOREVER, min_cut};

/// Most layers of bootstraps.
const MOST_LAYERS: usize = 64;

/// What a refresh does, in bits of budget.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refresher {
    /// What it needs of a value, unless the value itself takes more ([`budget::taken`]).
    pub takes: u32,
    /// What the value has afterwards.
    pub gives: u32,
    /// Whether fresh inputs have no more than that either.
    pub inputs: bool,
}

/// Adds bootstraps until everything that is refreshed or carried reaches its ends; `None` if they cannot help.
pub fn run(circuit: &Circuit, bootstrap: &Bootstrap) -> Option<Circuit> {
    let gives = bootstrap.output_k.checked_sub(circuit.scale)?;
    let takes = bootstrap.input_k.checked_sub(circuit.scale)?;
    with(circuit, Refresher { takes, gives, inputs: false })
}

/// The same by any means; a refresh is a [`Op::Bootstrap`].
pub(super) fn with(circuit: &Circuit, refresher: Refresher) -> Option<Circuit> {
    let Refresher { takes, gives: reach, inputs } = refresher;
    let mut circuit = circuit.clone();
    // Values that no refresh gives room for, and operations that have none between two refreshes.
    let too_large =
        |(node, need): (&Node, &Option<u32>)| need.is_some() && node.room.max(budget::spent(&circuit, &node.op) + takes) > reach;
    if circuit.nodes.iter().zip(&budget::needs_once(&circuit, takes)).any(too_large) {
        return None;
    }
    for _ in 0..MOST_LAYERS {
        let paths = Paths::new(&circuit, takes);
        let need = &paths.need;
        let starts = |index: usize| match circuit.nodes[index].op {
            Op::Carried(_) | Op::Bootstrap(_) => true,
            Op::Input(_) => inputs,
            _ => false,
        };
        let short = (0..circuit.nodes.len()).filter(|&i| starts(i) && need[i].is_some_and(|bits| bits > reach));
        let short: Vec<usize> = short.collect();
        if short.is_empty() {
            return Some(circuit);
        }
        let spends = reach.checked_sub(takes).filter(|&bits| bits > 0)?;
        let longest = short.iter().filter_map(|&i| need[i]).max()?;
        let fewest = (longest - reach).div_ceil(spends);
        // One layer more where the fewest have no room for a cut.
        let cut_of = |short: &[usize], limit: u32| {
            (fewest..=fewest + 1).find_map(|layers| {
                let window = Window { before: spends, after: reach + (layers - 1) * spends };
                paths.layer(short, limit, &window)
            })
        };
        // A fresh value that meets only what was long on its way has no place for a cut before that. Then the paths that need all
        // of the layers go first: what meets them so late needs fewer.
        let fewer = reach + (fewest - 1) * spends;
        let beyond = |least: u32| short.iter().copied().filter(|&i| need[i].is_some_and(|bits| bits > least)).collect::<Vec<_>>();
        let most = || cut_of(&beyond(fewer), fewer);
        // Or it needs a cut itself, but a later one than the long path that it meets: as many sources at once as have a place.
        let longer = || {
            let needs: BTreeSet<u32> = short.iter().filter_map(|&i| need[i]).filter(|&bits| bits < longest).collect();
            needs.into_iter().find_map(|least| cut_of(&beyond(least), reach))
        };
        let cut = cut_of(&short, reach).or_else(most).or_else(longer)?;
        circuit = refreshed(&circuit, &paths, &cut);
    }
    None
}

/// The same without layers: a value is refreshed just before an operation would leave too little of it. That takes more refreshes than
/// layers do, but is a way wherever each operation fits between two refreshes; `None` where one does not.
pub(super) fn latest(circuit: &Circuit, refresher: Refresher) -> Option<Circuit> {
    let Refresher { takes, gives: reach, .. } = refresher;
    let paths = Paths::new(circuit, takes);
    let mut least: Vec<u32> = circuit.nodes.iter().map(|node| budget::taken(node, takes)).collect();
    circuit.outputs.iter().for_each(|output| least[output.wire.index()] = least[output.wire.index()].max(output.headroom));
    let mut left = vec![reach; circuit.nodes.len()];
    let mut cut = Cut { values: vec![false; circuit.nodes.len()], long: vec![false; paths.uses.len()] };
    for index in (0..circuit.nodes.len()).filter(|&index| paths.need[index].is_some()) {
        let wanted = paths.bits[index] + least[index];
        let mut most = reach;
        for edge in paths.of(index) {
            let value = paths.uses[edge];
            if left[value] < wanted {
                (cut.values[value], cut.long[edge]) = (true, true);
            } else {
                most = most.min(left[value]);
            }
        }
        left[index] = most.checked_sub(paths.bits[index]).filter(|&bits| bits >= least[index])?;
    }
    Some(refreshed(circuit, &paths, &cut))
}

/// Values to refresh, and which uses are on a path that is too long for now.
struct Cut {
    values: Vec<bool>,
    long: Vec<bool>,
}

/// Where a layer of bootstraps may stand: bits spent before it, and needed after. Before one that takes more of a value than usual,
/// fewer can be spent.
struct Window {
    before: u32,
    after: u32,
}

/// A circuit as its paths see it.
struct Paths {
    /// What each node uses, one node after another.
    uses: Vec<usize>,
    /// Where a node's begin among them; one more for the end.
    first: Vec<usize>,
    /// Bits that each node spends.
    bits: Vec<u32>,
    /// Bits that each node needs to the next bootstrap or the end of the circuit, if it reaches any.
    need: Vec<Option<u32>>,
    /// Which nodes bootstrap.
    ends: Vec<bool>,
    /// What a bootstrap takes of each node's value beyond the usual.
    more: Vec<u32>,
}

impl Paths {
    fn new(circuit: &Circuit, takes: u32) -> Self {
        let (mut uses, mut first) = (Vec::new(), vec![0]);
        for node in &circuit.nodes {
            uses.extend(node.op.operands().iter().map(|w| w.index()));
            first.push(uses.len());
        }
        Self {
            uses,
            first,
            bits: circuit.nodes.iter().map(|node| budget::spent(circuit, &node.op)).collect(),
            need: budget::needs_once(circuit, takes),
            ends: circuit.nodes.iter().map(|node| matches!(node.op, Op::Bootstrap(_))).collect(),
            more: circuit.nodes.iter().map(|node| budget::taken(node, takes) - takes).collect(),
        }
    }

    /// A node's uses, by their numbers.
    fn of(&self, index: usize) -> Range<usize> {
        self.first[index]..self.first[index + 1]
    }

    /// A cut of all paths of more than `limit` bits from the sources `short`.
    fn layer(&self, short: &[usize], limit: u32, window: &Window) -> Option<Cut> {
        let Self { uses, need, ends, .. } = self;
        let count = need.len();
        // Bits spent since the sources that do not reach.
        let mut spent: Vec<Option<u32>> = vec![None; count];
        let mut starts = vec![false; count];
        for &source in short {
            (spent[source], starts[source]) = (Some(0), true);
        }
        let mut long = vec![false; uses.len()];
        let mut used = vec![false; count];
        for index in 0..count {
            let mut most = None;
            for edge in self.of(index) {
                let Some(before) = spent[uses[edge]] else { continue };
                let to_end = match need[index] {
                    // What a bootstrap takes is the end of a path.
                    Some(_) if ends[index] => before + need[uses[edge]].unwrap_or(0),
                    Some(after) => before + self.bits[index] + after,
                    None => 0,
                };
                if to_end > limit {
                    (long[edge], used[uses[edge]]) = (true, true);
                    most = most.max(Some(before));
                }
            }
            if !starts[index] && !ends[index] {
                spent[index] = most.map(|before| before + self.bits[index]);
            }
        }
        let edges = || (0..count).flat_map(|user| self.of(user).filter(|&edge| long[edge]).map(move |edge| (uses[edge], user)));
        // Values that may be refreshed, and which others the sources reach through such as may not, or reach the ends.
        let fits = (0..count).map(|index| match (spent[index], need[index]) {
            (Some(before), Some(after)) => before > 0 && before + self.more[index] <= window.before && after <= window.after,
            _ => false,
        });
        let fits: Vec<bool> = fits.collect();
        let mut open: Vec<bool> = starts.iter().zip(&fits).map(|(start, fits)| *start && !fits).collect();
        edges().for_each(|(from, to)| open[to] |= open[from] && !fits[to] && !ends[to]);
        let mut closed: Vec<bool> = (0..count).map(|i| !fits[i] && spent[i].is_some() && !used[i]).collect();
        for user in (0..count).rev() {
            if ends[user] || closed[user] {
                self.of(user).filter(|&edge| long[edge] && !fits[uses[edge]]).for_each(|edge| closed[uses[edge]] = true);
            }
        }
        if open.iter().zip(&closed).any(|(open, closed)| *open && *closed) {
            return None;
        }
        // These stand for source and sink: the least cut stays the same, and the network has little more than what may be cut.
        let mut network: DiGraph<(), u64> = DiGraph::new();
        let (source, sink) = (network.add_node(()), network.add_node(()));
        let doors: Vec<_> = (0..count)
            .map(|index| match (open[index], closed[index], fits[index]) {
                (true, ..) => (source, source),
                (_, true, _) => (sink, sink),
                (.., true) => (network.add_node(()), network.add_node(())),
                (.., false) if spent[index].is_some() => {
                    let door = network.add_node(());
                    (door, door)
                }
                _ => (sink, sink),
            })
            .collect();
        for index in (0..count).filter(|&index| fits[index]) {
            let (enter, leave) = doors[index];
            network.add_edge(enter, leave, 1);
            if !used[index] {
                network.add_edge(leave, sink, FOREVER);
            }
        }
        let joins: BTreeSet<_> = edges().map(|(from, to)| (doors[from].1, if ends[to] { sink } else { doors[to].0 })).collect();
        for (from, to) in joins.into_iter().filter(|&(from, to)| from != to && from != sink && to != source) {
            network.add_edge(from, to, FOREVER);
        }
        let (cost, reached) = min_cut(&network, source, sink);
        let values = (0..count).map(|i| fits[i] && reached[doors[i].0.index()] && !reached[doors[i].1.index()]).collect();
        (cost < FOREVER).then_some(Cut { values, long })
    }
}

fn refreshed(circuit: &Circuit, paths: &Paths, cut: &Cut) -> Circuit {
    let mut new = circuit.emptied();
    let mut copies: Vec<WireId> = Vec::new();
    let mut fresh: Vec<Option<WireId>> = Vec::new();
    for (index, node) in circuit.nodes.iter().enumerate() {
        new.floor = node.round;
        let mut uses = paths.of(index);
        let operand = |w: WireId| {
            let long = uses.next().is_some_and(|edge| cut.long[edge]);
            fresh[w.index()].filter(|_| long).unwrap_or(copies[w.index()])
        };
        let copy = match &node.op {
            Op::Input(id) => {
                let draft = &circuit.inputs[id.0 as usize];
                new.input(&draft.label, draft.contents.clone(), draft.round, node.span)
            }
            op => new.push(op.map_operands(operand), node.span),
        };
        new.make_room(copy, node.room);
        copies.push(copy);
        fresh.push(cut.values[index].then(|| {
            let fresh = new.push(Op::Bootstrap(copy), node.span);
            new.make_room(fresh, node.room);
            fresh
        }));
    }
    let moved = |w: &WireId| copies[w.index()];
    new.outputs.iter_mut().for_each(|output| output.wire = moved(&output.wire));
    new.carried.iter_mut().for_each(|carried| carried.wire = moved(&carried.wire));
    new.saves.iter_mut().flatten().for_each(|wire| *wire = moved(wire));
    new
}

#[cfg(test)]
mod tests {
    use hecc_plan::{ClearId, Content, Layout, Span};

    use super::super::circuit::OutputDraft;
    use super::*;

    /// x to the eighth, times a fresh y, to the eighth.
    fn late() -> Circuit {
        let mut circuit = Circuit::new(30, 64);
        let span = Span::default();
        let mut input = |id: u32| {
            let content = Content { tensor: ClearId(id), layout: Layout::Samples { group: 0, period: 1 }, factor: 1.0 };
            circuit.input("batch", vec![content], 0, span)
        };
        let (x, y) = (input(0), input(1));
        let eighth = |circuit: &mut Circuit, mut wire: WireId| {
            for _ in 0..3 {
                wire = circuit.push(Op::Dot(vec![(wire, wire)]), span);
            }
            wire
        };
        let deep = eighth(&mut circuit, x);
        let product = circuit.push(Op::Dot(vec![(y, deep)]), span);
        let wire = eighth(&mut circuit, product);
        circuit.outputs.push(OutputDraft { label: "z".to_owned(), wire, contents: Vec::new(), headroom: 8 });
        circuit
    }

    #[test]
    fn what_is_fresh_and_meets_only_what_is_deep_is_cut_later() {
        // Four products between two refreshes: y is one short, and its product too deep to be refreshed before x is.
        let refresher = Refresher { takes: 12, gives: 122, inputs: true };
        let cut = with(&late(), refresher).expect("two refreshes do");
        let needs = budget::needs_once(&cut, 12);
        let starts = cut.nodes.iter().zip(&needs).filter(|(node, _)| matches!(node.op, Op::Input(_) | Op::Bootstrap(_)));
        assert!(starts.clone().all(|(_, need)| need.is_some_and(|bits| bits <= 122)), "{}", cut.print());
        assert_eq!(starts.filter(|(node, _)| matches!(node.op, Op::Bootstrap(_))).count(), 2);
    }

    #[test]
    fn what_is_refreshed_as_late_as_can_be_reaches_everywhere() {
        let count = |circuit: &Circuit| circuit.nodes.iter().filter(|node| matches!(node.op, Op::Bootstrap(_))).count();
        for gives in 42..=130 {
            let refresher = Refresher { takes: 12, gives, inputs: true };
            let cut = latest(&late(), refresher).expect("every product fits");
            let needs = budget::needs_once(&cut, 12);
            let mut starts = cut.nodes.iter().zip(&needs).filter(|(node, _)| matches!(node.op, Op::Input(_) | Op::Bootstrap(_)));
            assert!(starts.all(|(_, need)| need.is_some_and(|bits| bits <= gives)), "{gives}: {}", cut.print());
            assert!(with(&late(), refresher).is_none_or(|layers| count(&layers) <= count(&cut)), "{gives}");
        }
        assert!(latest(&late(), Refresher { takes: 12, gives: 41, inputs: true }).is_none());
    }

    #[test]
    fn nothing_helps_an_operation_that_spends_more_than_a_refresh_gives() {
        assert!(with(&late(), Refresher { takes: 12, gives: 41, inputs: true }).is_none());
        assert!(with(&late(), Refresher { takes: 12, gives: 42, inputs: true }).is_some());
    }
}
