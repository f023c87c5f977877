//! Series-parallel graphs, exactly: Orion's shortest path through levels (Ebel et al., ASPLOS 2025), with targets free and
//! budgets in bits.
//!
//! Orion finds its regions by enumerating simple paths. Here series and parallel reductions build a tree in linear time
//! (Valdes, Tarjan, Lawler, 1982). A region is a function: from the bits that its end asks to the Pareto front of bits
//! asked of its start against seconds.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::dag::Dag;
use super::trail::{Trail, Trails};
use crate::planner::{Bits, Offer};

/// Deepest nesting of regions.
const DEEPEST: u32 = 500;

/// What lies between two values.
enum Region {
    /// Nothing: one uses the other.
    Edge,
    /// Regions with a node between each two.
    Series(Vec<usize>, Vec<usize>),
    /// Regions side by side.
    Parallel(Vec<usize>),
}

/// A way through a region.
#[derive(Clone, Copy)]
struct Point {
    needs: Bits,
    seconds: f64,
    trail: Trail,
}

/// The cheapest marks, if the graph is series-parallel between all its inputs and all its ends; `None` if it is not, or if its
/// regions nest too deep.
pub(super) fn run(dag: &Dag, offer: &Offer) -> Option<Vec<bool>> {
    let (regions, root) = Reduction::run(dag)?;
    let mut search = Search { dag, offer, regions, trails: Trails::default(), solved: BTreeMap::new() };
    let front = search.solve(root, Bits(0), 0)?;
    let best = front.iter().copied().min_by(|a, b| a.seconds.total_cmp(&b.seconds))?;
    Some(search.trails.marks(best.trail, dag.nodes.len()))
}

/// A graph whose edges are regions.
struct Reduction {
    regions: Vec<Region>,
    /// Regions that end in a node, by where they start.
    into: Vec<BTreeMap<usize, usize>>,
    /// Regions that start in a node, by where they end.
    out: Vec<BTreeMap<usize, usize>>,
}

impl Reduction {
    /// The tree of regions and its root.
    fn run(dag: &Dag) -> Option<(Vec<Region>, usize)> {
        let count = dag.nodes.len();
        let (source, sink) = (count, count + 1);
        let ends = vec![BTreeMap::new(); count + 2];
        let mut graph = Self { regions: Vec::new(), into: ends.clone(), out: ends };
        for (at, node) in dag.nodes.iter().enumerate() {
            node.operands.iter().for_each(|&operand| graph.connect(operand, at, Region::Edge));
            if node.operands.is_empty() {
                graph.connect(source, at, Region::Edge);
            }
        }
        let ends: Vec<usize> = (0..count).filter(|&at| graph.out[at].is_empty()).collect();
        ends.into_iter().for_each(|at| graph.connect(at, sink, Region::Edge));
        let mut left = count;
        let mut open: Vec<usize> = (0..count).rev().collect();
        while let Some(at) = open.pop() {
            if let Some(neighbours) = graph.absorb(at) {
                left -= 1;
                open.extend(neighbours.into_iter().filter(|&end| end < count));
            }
        }
        let root = *graph.out[source].get(&sink)?;
        (left == 0).then_some((graph.regions, root))
    }

    /// A region between two nodes, beside those that are there.
    fn connect(&mut self, from: usize, to: usize, region: Region) {
        let new = self.regions.len();
        match self.out[from].get(&to) {
            // Two plain uses are one.
            Some(&old) if matches!((&self.regions[old], &region), (Region::Edge, Region::Edge)) => return,
            Some(&old) => {
                self.regions.push(region);
                if let Region::Parallel(sides) = &mut self.regions[old] {
                    sides.push(new);
                    return;
                }
                self.regions.push(Region::Parallel(vec![old, new]));
            }
            None => self.regions.push(region),
        }
        self.into[to].insert(from, self.regions.len() - 1);
        self.out[from].insert(to, self.regions.len() - 1);
    }

    /// Joins the regions before and after a node that has one of each; its neighbours.
    fn absorb(&mut self, at: usize) -> Option<[usize; 2]> {
        if self.into[at].len() != 1 || self.out[at].len() != 1 {
            return None;
        }
        let ((from, before), (to, after)) = (self.into[at].pop_first()?, self.out[at].pop_first()?);
        self.out[from].remove(&at);
        self.into[to].remove(&at);
        let (mut inner, mut between) = (Vec::new(), Vec::new());
        for (region, node) in [(before, Some(at)), (after, None)] {
            match &mut self.regions[region] {
                Region::Series(regions, nodes) if inner.is_empty() => {
                    inner = std::mem::take(regions);
                    between = std::mem::take(nodes);
                }
                Region::Series(regions, nodes) => {
                    inner.append(regions);
                    between.append(nodes);
                }
                Region::Edge | Region::Parallel(_) => inner.push(region),
            }
            between.extend(node);
        }
        self.connect(from, to, Region::Series(inner, between));
        Some([from, to])
    }
}

struct Search<'a> {
    dag: &'a Dag,
    offer: &'a Offer,
    regions: Vec<Region>,
    trails: Trails,
    solved: BTreeMap<(usize, Bits), Rc<Vec<Point>>>,
}

impl Search<'_> {
    /// The front of a region whose end asks for `asked`; empty if nothing gives so much.
    fn solve(&mut self, region: usize, asked: Bits, depth: u32) -> Option<Rc<Vec<Point>>> {
        if depth > DEEPEST {
            return None;
        }
        if let Some(front) = self.solved.get(&(region, asked)) {
            return Some(front.clone());
        }
        let start = vec![Point { needs: asked, seconds: 0.0, trail: None }];
        let front = match std::mem::replace(&mut self.regions[region], Region::Edge) {
            Region::Edge => return Some(Rc::new(start)),
            Region::Series(inner, between) => {
                let mut front = start;
                for at in (0..inner.len()).rev() {
                    if !matches!(self.regions[inner[at]], Region::Edge) {
                        let mut through = Vec::new();
                        for point in front {
                            let before = self.solve(inner[at], point.needs, depth + 1)?;
                            for earlier in before.iter() {
                                let trail = self.trails.both(point.trail, earlier.trail);
                                through.push(Point { needs: earlier.needs, seconds: point.seconds + earlier.seconds, trail });
                            }
                        }
                        front = pareto(through);
                    }
                    if at > 0 {
                        front = self.node(between[at - 1], front);
                    }
                }
                self.regions[region] = Region::Series(inner, between);
                front
            }
            Region::Parallel(sides) => {
                let mut front: Option<Vec<Point>> = None;
                for &side in &sides {
                    let other = self.solve(side, asked, depth + 1)?;
                    front = Some(match front {
                        None => other.to_vec(),
                        Some(front) => self.beside(&front, &other),
                    });
                }
                self.regions[region] = Region::Parallel(sides);
                front.unwrap_or_default()
            }
        };
        let front = Rc::new(front);
        self.solved.insert((region, asked), front.clone());
        Some(front)
    }

    /// Through a node, bootstrapped or not.
    fn node(&mut self, at: usize, front: Vec<Point>) -> Vec<Point> {
        let node = &self.dag.nodes[at];
        let mut through = Vec::new();
        for point in front {
            let needs = node.required.map_or(point.needs, |required| required.max(point.needs));
            for boot in [false, true] {
                let enters = if boot { self.offer.input } else { needs } + node.spent;
                let late = node.operands.is_empty() && enters > node.available;
                if late || boot && (needs > self.offer.output || needs <= self.offer.input) {
                    continue;
                }
                let refresh = if boot { node.refresh_seconds(self.offer, needs) } else { 0.0 };
                let trail = if boot { self.trails.with(at, point.trail) } else { point.trail };
                // What an input enters with is nobody's need.
                let asked = if node.operands.is_empty() { Bits(0) } else { enters };
                through.push(Point { needs: asked, seconds: point.seconds + refresh + node.seconds.at(enters), trail });
            }
        }
        pareto(through)
    }

    /// Both fronts at once: the larger need, both costs.
    fn beside(&mut self, a: &[Point], b: &[Point]) -> Vec<Point> {
        let mut both = Vec::new();
        for limit in a.iter().chain(b).map(|point| point.needs) {
            // Fronts fall in cost as they grow in needs: the last within the limit is the cheapest.
            let within = |front: &[Point]| front.iter().rev().find(|point| point.needs <= limit).copied();
            if let (Some(a), Some(b)) = (within(a), within(b)) {
                both.push(Point { needs: limit, seconds: a.seconds + b.seconds, trail: self.trails.both(a.trail, b.trail) });
            }
        }
        pareto(both)
    }
}

/// Those that no other beats in both; needs ascending, seconds descending.
fn pareto(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|a, b| a.needs.cmp(&b.needs).then(a.seconds.total_cmp(&b.seconds)));
    let mut least = f64::INFINITY;
    points.retain(|point| {
        let keep = point.seconds < least;
        least = least.min(point.seconds);
        keep
    });
    points
}
