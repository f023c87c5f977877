//! Bootstraps inside an update, where its budget does not reach from end to end.
//!
//! With as few layers of bootstraps as the longest path needs, the first layer is where the values so far fit one budget
//! and what follows fits the layers that are left; among these places a minimum vertex cut refreshes the fewest
//! ciphertexts. Values on paths that are short enough pass by. Then the same again from there. Each layer is exact; all
//! together they are the regions of ReSBM (Liu et al. 2025), with its sweep replaced by a minimum cut.

use petgraph::graph::DiGraph;

use hecc_plan::{Bootstrap, Op, WireId};

use super::budget;
use super::circuit::Circuit;
use crate::planner::flow::{FOREVER, min_cut};

/// Most layers of bootstraps.
const MOST_LAYERS: usize = 64;

/// Adds bootstraps until everything that is refreshed or carried reaches its ends; `None` if they cannot help.
pub fn run(circuit: &Circuit, bootstrap: &Bootstrap) -> Option<Circuit> {
    let reach = bootstrap.output_k.checked_sub(circuit.scale)?;
    let mut circuit = circuit.clone();
    for _ in 0..MOST_LAYERS {
        let need = budget::needs_once(&circuit, bootstrap);
        let starts = |index: usize| matches!(circuit.nodes[index].op, Op::Carried(_) | Op::Bootstrap(_));
        let short = (0..circuit.nodes.len()).filter(|&i| starts(i) && need[i].is_some_and(|bits| bits > reach));
        let short: Vec<usize> = short.collect();
        if short.is_empty() {
            return Some(circuit);
        }
        let spends = reach.checked_sub(bootstrap.input_k - circuit.scale).filter(|&bits| bits > 0)?;
        let longest = short.iter().filter_map(|&i| need[i]).max()?;
        let fewest = (longest - reach).div_ceil(spends);
        // One layer more where the fewest have no room for a cut.
        let cut = (fewest..=fewest + 1).find_map(|layers| {
            let window = Window { before: spends, after: reach + (layers - 1) * spends };
            layer(&circuit, &need, &short, reach, &window)
        })?;
        circuit = refreshed(&circuit, &cut);
    }
    None
}

/// Values to refresh, and what each operand of the circuit sees: whether a use is on a path that is too long.
struct Cut {
    values: Vec<bool>,
    long: Vec<Vec<bool>>,
}

/// Where a layer of bootstraps may stand: bits spent before it, and needed after.
struct Window {
    before: u32,
    after: u32,
}

fn layer(circuit: &Circuit, need: &[Option<u32>], short: &[usize], reach: u32, window: &Window) -> Option<Cut> {
    let count = circuit.nodes.len();
    // Bits spent since the sources that do not reach.
    let mut spent: Vec<Option<u32>> = vec![None; count];
    for &source in short {
        spent[source] = Some(0);
    }
    let mut long: Vec<Vec<bool>> = Vec::with_capacity(count);
    for index in 0..count {
        let op = &circuit.nodes[index].op;
        let bits = budget::spent(circuit, op);
        let ends = matches!(op, Op::Bootstrap(_));
        let to_end = |before: u32| match need[index] {
            // What a bootstrap takes is the end of a path.
            Some(_) if ends => before + need[op.operands()[0].index()].unwrap_or(0) > reach,
            Some(after) => before + bits + after > reach,
            None => false,
        };
        let uses: Vec<bool> = op.operands().iter().map(|w| spent[w.index()].is_some_and(to_end)).collect();
        if !short.contains(&index) && !ends {
            let before = op.operands().iter().zip(&uses).filter(|(_, long)| **long).filter_map(|(w, _)| spent[w.index()]).max();
            spent[index] = before.map(|before| before + bits);
        }
        long.push(uses);
    }
    let mut network: DiGraph<(), u64> = DiGraph::new();
    let (source, sink) = (network.add_node(()), network.add_node(()));
    let doors: Vec<_> = (0..count).map(|_| (network.add_node(()), network.add_node(()))).collect();
    for &index in short {
        network.add_edge(source, doors[index].0, FOREVER);
    }
    let mut used = vec![false; count];
    for (index, uses) in long.iter().enumerate() {
        for (operand, _) in circuit.nodes[index].op.operands().iter().zip(uses).filter(|(_, long)| **long) {
            used[operand.index()] = true;
            let end = if matches!(circuit.nodes[index].op, Op::Bootstrap(_)) { sink } else { doors[index].0 };
            network.add_edge(doors[operand.index()].1, end, FOREVER);
        }
    }
    for index in (0..count).filter(|&i| spent[i].is_some()) {
        let inside = |before: u32, after: u32| before > 0 && before <= window.before && after <= window.after;
        let fits = spent[index].zip(need[index]).is_some_and(|(before, after)| inside(before, after));
        network.add_edge(doors[index].0, doors[index].1, if fits { 1 } else { FOREVER });
        if !used[index] {
            network.add_edge(doors[index].1, sink, FOREVER);
        }
    }
    let (cost, reached) = min_cut(&network, source, sink);
    let values = doors.iter().map(|(enter, leave)| reached[enter.index()] && !reached[leave.index()]).collect();
    (cost < FOREVER).then_some(Cut { values, long })
}

fn refreshed(circuit: &Circuit, cut: &Cut) -> Circuit {
    let mut new = circuit.emptied();
    let mut copies: Vec<WireId> = Vec::new();
    let mut fresh: Vec<Option<WireId>> = Vec::new();
    for (index, node) in circuit.nodes.iter().enumerate() {
        new.floor = node.round;
        let mut slot = 0;
        let operand = |w: WireId| {
            slot += 1;
            let long = cut.long[index][slot - 1];
            fresh[w.index()].filter(|_| long).unwrap_or(copies[w.index()])
        };
        let copy = match &node.op {
            Op::Input(id) => {
                let draft = &circuit.inputs[id.0 as usize];
                new.input(&draft.label, draft.contents.clone(), draft.round, node.span)
            }
            op => new.push(op.map_operands(operand), node.span),
        };
        copies.push(copy);
        fresh.push(cut.values[index].then(|| new.push(Op::Bootstrap(copy), node.span)));
    }
    let moved = |w: &WireId| copies[w.index()];
    new.outputs.iter_mut().for_each(|output| output.wire = moved(&output.wire));
    new.carried.iter_mut().for_each(|carried| carried.wire = moved(&carried.wire));
    new.saves.iter_mut().flatten().for_each(|wire| *wire = moved(wire));
    new
}
