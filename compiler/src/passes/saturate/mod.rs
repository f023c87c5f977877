//! Equality saturation over the arithmetic of the graph.
//!
//! The rules (`rules.rs`) find all the ways to compute each value at once; [`extract`] takes, for each depth, the cheapest way
//! to compute them all. Graphs that are too large for one e-graph are rewritten window by window, in order of creation, so
//! that the time grows with their length. Willsey et al., "egg: Fast and extensible equality saturation" (POPL 2021).

mod balance;
mod cost;
pub mod extract;
pub mod refresh;
mod region;
mod rules;
mod term;

use std::collections::BTreeMap;

use super::Facts;
use super::hoist::client_knows;
use crate::approximation::{Degrees, apply};
use crate::tensor::{Graph, Id};
use extract::{Effort, Solution};
use region::{Extraction, Region};

/// Nodes of a graph that is rewritten as a whole, and of a window of a larger one.
const WHOLE: usize = 400;
const WINDOW: usize = 96;
/// Nodes of an e-graph of a whole graph, and of a window.
const NODES: usize = 6000;
const WINDOW_NODES: usize = 600;
/// Levels that a window tells apart.
const LEVELS: u32 = 24;

/// Graphs of equal outputs, each by one of `choices` of the degrees that `graph` leaves open (the number says which); of each choice the
/// shallowest first, each cheaper than the one before, and none deeper than `graph` by the prices of `cost.rs`.
///
/// One e-graph holds them all: functions are exact values there, so that no two polynomials are ever equal, and an extraction makes all
/// its choices by one of those that keep the error budget together. What is exact of a function, as σ' = σ (1 − σ), may not be of its
/// polynomial: who keeps a graph measures its error.
pub fn front(graph: &Graph, facts: &Facts, choices: &[Degrees]) -> Vec<(usize, Graph)> {
    let Some(first) = choices.first() else { return Vec::new() };
    let levels = Levels::new(&apply(graph, first), facts);
    let graph = &super::share::run(&balance::run(graph, &levels.known, &levels.depths), facts);
    let graph = &super::prune::run(graph, facts);
    let levels: Vec<Levels> = choices.iter().map(|degrees| Levels::new(&apply(graph, degrees), facts)).collect();
    let ids: Vec<Id> = graph.ids().collect();
    let (size, nodes) = if ids.len() <= WHOLE { (WHOLE, NODES) } else { (WINDOW, WINDOW_NODES) };
    let mut windows = Vec::new();
    for (number, window) in ids.chunks(size).enumerate() {
        let used = used(graph, number * size..number * size + window.len());
        let mut region = Region::new(graph, window, &used, &levels[0].known, facts);
        region.saturate(nodes);
        windows.push((window, region));
    }
    let by_choice = choices.iter().zip(&levels).enumerate();
    let front = by_choice.flat_map(|(choice, (degrees, levels))| {
        let graphs = if let [(window, region)] = windows.as_slice() {
            let (extraction, solutions) = solve(region, window, degrees, levels, &levels.depths, Effort::Full);
            let emitted = solutions.iter().map(|solution| {
                let (mut new, mut map) = (Graph::default(), BTreeMap::new());
                region.emit(&extraction, solution, &mut new, &mut map);
                new.outputs = graph.outputs.iter().map(|(output, id)| (output.clone(), map[id])).collect();
                new
            });
            emitted.collect()
        } else {
            type Pick = fn(&[Solution]) -> Option<&Solution>;
            let picks: [Pick; 2] = [<[Solution]>::first, <[Solution]>::last];
            let stitched = picks.iter().filter_map(|pick| stitched(graph, &windows, degrees, levels, facts, *pick));
            stitched.collect::<Vec<_>>()
        };
        graphs.into_iter().map(move |graph| (choice, graph))
    });
    front.collect()
}

/// The graph with one solution per window.
fn stitched(
    graph: &Graph,
    windows: &[(&[Id], Region)],
    degrees: &Degrees,
    levels: &Levels,
    facts: &Facts,
    pick: fn(&[Solution]) -> Option<&Solution>,
) -> Option<Graph> {
    let (mut new, mut map) = (Graph::default(), BTreeMap::new());
    let mut depths = levels.depths.clone();
    let mut reached = Levels::default();
    for (window, region) in windows {
        let (extraction, solutions) = solve(region, window, degrees, levels, &depths, Effort::Quick);
        region.emit(&extraction, pick(&solutions)?, &mut new, &mut map);
        reached.extend(&new, facts);
        for id in *window {
            if let Some(to) = map.get(id) {
                depths[id.index()] = reached.depths[to.index()];
            }
        }
    }
    new.outputs = graph.outputs.iter().map(|(output, id)| (output.clone(), map[id])).collect();
    Some(new)
}

/// A window's front, where `depths` are spent before it.
fn solve(
    region: &Region,
    window: &[Id],
    degrees: &Degrees,
    levels: &Levels,
    depths: &[u32],
    effort: Effort,
) -> (Extraction, Vec<Solution>) {
    // Differences of more levels than this are as good as infinite, and each level that is told apart costs time.
    let deepest = (0..window[0].index()).map(|i| depths[i]).max().unwrap_or(0);
    let entry = |id: Id| (depths[id.index()] + LEVELS).saturating_sub(deepest.max(LEVELS));
    let least = window.iter().map(|id| levels.heights[id.index()]).min().unwrap_or(0);
    let height = |id: Id| (levels.heights[id.index()] - least).min(LEVELS);
    let mut local: BTreeMap<Id, u32> = BTreeMap::new();
    let mut limit = 0;
    for &id in window {
        let operands = &levels.operands[id.index()];
        let before = |o: &Id| local.get(o).copied().unwrap_or_else(|| entry(*o));
        let below = operands.iter().map(before).max().unwrap_or(0);
        let depth = if levels.fresh[id.index()] { 0 } else { below + levels.spends[id.index()] };
        local.insert(id, depth);
        limit = limit.max(depth + height(id));
    }
    let extraction = region.extraction(degrees, &entry, &height, None);
    let solutions = extraction.problem.front(limit, effort);
    (extraction, solutions)
}

/// Which nodes of a range something outside of it uses.
fn used(graph: &Graph, range: std::ops::Range<usize>) -> Vec<bool> {
    let mut used = vec![false; graph.len()];
    for id in graph.ids().filter(|id| !range.contains(&id.index())) {
        graph.operands(id).iter().for_each(|o| used[o.index()] = true);
    }
    graph.outputs.iter().for_each(|(_, id)| used[id.index()] = true);
    used
}

/// Levels of a graph by the prices.
#[derive(Clone, Debug, Default)]
struct Levels {
    known: Vec<bool>,
    /// Spent on the way to each node.
    depths: Vec<u32>,
    /// Spent after it.
    heights: Vec<u32>,
    spends: Vec<u32>,
    fresh: Vec<bool>,
    operands: Vec<Vec<Id>>,
}

impl Levels {
    fn new(graph: &Graph, facts: &Facts) -> Self {
        let mut levels = Self::default();
        levels.extend(graph, facts);
        levels.heights = vec![0; graph.len()];
        for index in (0..graph.len()).rev() {
            let above = if levels.fresh[index] { 0 } else { levels.heights[index] + levels.spends[index] };
            for operand in &levels.operands[index] {
                levels.heights[operand.index()] = levels.heights[operand.index()].max(above);
            }
        }
        levels
    }

    /// Goes on with the nodes that are new.
    fn extend(&mut self, graph: &Graph, facts: &Facts) {
        for id in graph.ids().skip(self.depths.len()) {
            let node = graph.node(id);
            let operands = graph.operands(id);
            let known: Vec<bool> = operands.iter().map(|o| self.known[o.index()]).collect();
            let shapes: Vec<_> = operands.iter().zip(&known).map(|(o, k)| (graph.shape(*o), *k)).collect();
            let price = cost::price(&node.op, node.shape, &shapes, facts);
            let below = operands.iter().map(|o| self.depths[o.index()]).max().unwrap_or(0);
            self.known.push(client_knows(&node.op, &known, &facts.client));
            self.depths.push(if price.fresh { 0 } else { below + price.spends });
            self.spends.push(price.spends);
            self.fresh.push(price.fresh);
            self.operands.push(operands);
        }
    }
}
