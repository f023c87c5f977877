//! The multiple-choice knapsack: one candidate for each activation, contributions within the budget, and of depth along the
//! critical path and products everything that is best in some proportion.

use super::options::Candidate;
use super::{Group, applied, known};
use crate::check::hir::Program;
use crate::schemes::ckks::MASK_BITS;
use crate::tensor::{Graph, Op, Shape};

/// Combinations up to which all are looked at.
const COMBINATIONS: usize = 4096;
/// Steps into which the dynamic programme cuts the budget.
const STEPS: usize = 512;
/// Bits of a product, for depths: only their ratio to those of constants matters.
const PRODUCT: u32 = 30;

/// A node: operands, bits of its own, and the activation that it is.
type Step = (Vec<usize>, u32, Option<Use>);

/// An activation on a path.
#[derive(Clone, Copy)]
struct Use {
    group: usize,
    order: usize,
    /// How often, one after the other: more than once in the tournament of a maximum.
    times: u32,
}
/// A choice of the activations looked at so far, its error, and what it costs.
type Partial = (Cost, f64, Vec<usize>);

/// What a choice costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cost {
    /// Bits along the critical path.
    pub depth: u32,
    /// Products of ciphertexts.
    pub products: usize,
}

impl Cost {
    /// What one candidate of each activation costs.
    pub fn of(choice: &[usize], candidates: &[Vec<Candidate>], path: &Path) -> Self {
        let (depth, _) = path.longest(&|g, order| candidates[g][choice[g]].depth[order], candidates.len());
        Self { depth, products: choice.iter().zip(candidates).map(|(&j, c)| c[j].products).sum() }
    }
}

/// Choices of which none is both deeper and of more products than another, shallowest first; of equals, the most exact.
#[derive(Clone, Debug, Default)]
struct Front(Vec<Partial>);

impl Front {
    /// Whether it has something that is no worse in either.
    fn beats(&self, (cost, error, _): &Partial) -> bool {
        let no_worse = |(c, e, _): &Partial| c.depth <= cost.depth && c.products <= cost.products && (c != cost || e <= error);
        self.0.iter().any(no_worse)
    }

    fn add(&mut self, partial: Partial) {
        if !self.beats(&partial) {
            let one = Front(vec![partial]);
            self.0.retain(|kept| !one.beats(kept));
            let at = self.0.partition_point(|kept| kept.0 < one.0[0].0);
            self.0.splice(at..at, one.0);
        }
    }
}

/// The graph as far as its depth goes.
pub(super) struct Path {
    nodes: Vec<Step>,
}

impl Path {
    pub fn new(program: &Program, graph: &Graph, groups: &[Group]) -> Self {
        let known = known(program, graph);
        let node = |id: crate::tensor::Id| {
            let order = applied(&graph.node(id).op).map_or(0, |(_, order, _)| usize::from(order.min(1)));
            let times = match (&graph.node(id).op, graph.operands(id).as_slice()) {
                (Op::Max(_), [x]) if let Shape::Sample(d) | Shape::Vector(d) = graph.shape(*x) => d.next_power_of_two().ilog2(),
                _ => 1,
            };
            let group = groups.iter().position(|group| group.nodes.contains(&id));
            let map = group.map(|group| Use { group, order, times });
            // What the client knows is fresh, whatever it came from.
            let operands = if known[id.index()] { Vec::new() } else { graph.operands(id).iter().map(|o| o.index()).collect() };
            let own = match &graph.node(id).op {
                Op::Mul
                | Op::Dense
                | Op::DenseTranspose
                | Op::DenseGradient
                | Op::Conv(_)
                | Op::ConvTranspose(_)
                | Op::ConvGradient(_)
                | Op::Places(_)
                | Op::PlacesGradient(_)
                | Op::Max(_)
                | Op::Extremum { .. } => PRODUCT,
                Op::Slice { .. } | Op::Place { .. } => MASK_BITS,
                Op::Data(_)
                | Op::State(_)
                | Op::Constant(_)
                | Op::Add
                | Op::Sub
                | Op::Scale(_)
                | Op::Rate(_)
                | Op::Offset(_)
                | Op::AdamStep(_)
                | Op::Spread
                | Op::Patches(_)
                | Op::Expand(_)
                | Op::Collect(_)
                | Op::Repeat
                | Op::SumRuns
                | Op::SumBatch
                | Op::SumElements
                | Op::Broadcast
                | Op::Map(_)
                | Op::ArgMax
                | Op::Stop
                | Op::Return
                | Op::Refresh => 0,
            };
            (operands, if known[id.index()] { 0 } else { own }, map)
        };
        Self { nodes: graph.ids().map(node).collect() }
    }

    /// Bits along the longest path, and how often each activation stands on it.
    fn longest(&self, depth: &dyn Fn(usize, usize) -> u32, groups: usize) -> (u32, Vec<u32>) {
        let mut ends: Vec<(u32, Option<usize>)> = Vec::with_capacity(self.nodes.len());
        for (operands, own, map) in &self.nodes {
            let before = operands.iter().copied().max_by_key(|&o| (ends[o].0, std::cmp::Reverse(o)));
            let own = map.map_or(*own, |of| of.times * depth(of.group, of.order));
            ends.push((before.map_or(0, |b| ends[b].0) + own, before));
        }
        let mut counts = vec![0; groups];
        let mut at = (0..ends.len()).max_by_key(|&i| (ends[i].0, std::cmp::Reverse(i)));
        let longest = at.map_or(0, |i| ends[i].0);
        while let Some(i) = at {
            if let Some(of) = self.nodes[i].2 {
                counts[of.group] += of.times;
            }
            at = ends[i].1;
        }
        (longest, counts)
    }
}

/// Choices of a candidate for each activation, shallowest first: for each budget those of which none is both deeper and of more products
/// than another. Where even the most exact candidates exceed a budget, those.
pub(super) fn run(candidates: &[Vec<Candidate>], path: &Path, budgets: &[f64]) -> Vec<Vec<usize>> {
    let combinations = candidates.iter().try_fold(1usize, |product, c| product.checked_mul(c.len()));
    let all = combinations.filter(|count| *count <= COMBINATIONS).map(|count| all(candidates, path, count));
    let front = |&most: &f64| {
        let Front(found) = all.as_ref().map_or_else(|| programme(candidates, path, most), |all| within(all, most));
        found.into_iter().map(|(cost, _, choice)| (cost, choice))
    };
    let mut found: Vec<(Cost, Vec<usize>)> = budgets.iter().flat_map(front).collect();
    if found.is_empty() {
        return vec![candidates.iter().map(|c| best(c)).collect()];
    }
    found.sort();
    found.dedup();
    found.into_iter().map(|(_, choice)| choice).collect()
}

fn best(candidates: &[Candidate]) -> usize {
    (0..candidates.len()).min_by(|&a, &b| candidates[a].contribution.total_cmp(&candidates[b].contribution)).unwrap_or(0)
}

/// Every combination.
fn all(candidates: &[Vec<Candidate>], path: &Path, count: usize) -> Vec<Partial> {
    let combination = |mut rest: usize| {
        let mut choice = Vec::with_capacity(candidates.len());
        for c in candidates {
            choice.push(rest % c.len());
            rest /= c.len();
        }
        let error = choice.iter().zip(candidates).map(|(&j, c)| c[j].contribution).sum();
        (Cost::of(&choice, candidates, path), error, choice)
    };
    (0..count).map(combination).collect()
}

/// The best of all with an error of at most `most`.
fn within(all: &[Partial], most: f64) -> Front {
    let mut front = Front::default();
    all.iter().filter(|(_, error, _)| *error <= most).for_each(|partial| front.add(partial.clone()));
    front
}

/// Dynamic programme over the budget in steps, each activation's depth counted as often as it stands on the critical path
/// of the most exact choice (on a chain that is the depth itself).
fn programme(candidates: &[Vec<Candidate>], path: &Path, budget: f64) -> Front {
    let exact: Vec<usize> = candidates.iter().map(|c| best(c)).collect();
    let (_, counts) = path.longest(&|g, order| candidates[g][exact[g]].depth[order], candidates.len());
    // After some activations, for each number of steps spent, what it can cost.
    let mut table = vec![Front::default(); STEPS + 1];
    table[0].add((Cost::default(), 0.0, Vec::new()));
    for (c, &count) in candidates.iter().zip(&counts) {
        let mut next = vec![Front::default(); STEPS + 1];
        for (spent, Front(partials)) in table.iter().enumerate() {
            for (j, candidate) in c.iter().enumerate() {
                let steps = libm::ceil(candidate.contribution / budget * STEPS as f64);
                if steps > (STEPS - spent) as f64 {
                    continue;
                }
                for (cost, error, choice) in partials {
                    let depth = cost.depth + count * candidate.depth[0].max(candidate.depth[1]);
                    let cost = Cost { depth, products: cost.products + candidate.products };
                    let choice = choice.iter().copied().chain([j]).collect();
                    next[spent + steps as usize].add((cost, error + candidate.contribution, choice));
                }
            }
        }
        table = next;
    }
    let mut front = Front::default();
    table.into_iter().flat_map(|Front(partials)| partials).for_each(|partial| front.add(partial));
    front
}

#[cfg(test)]
mod tests {
    use super::super::Form;
    use super::*;

    fn once(group: usize) -> Option<Use> {
        Some(Use { group, order: 0, times: 1 })
    }

    /// A chain of activations with a product between each.
    fn chain(n: usize) -> Path {
        let mut nodes = vec![(Vec::new(), 0, None)];
        for group in 0..n {
            nodes.push((vec![nodes.len() - 1], PRODUCT, None));
            nodes.push((vec![nodes.len() - 1], 0, once(group)));
        }
        Path { nodes }
    }

    fn candidate(depth: u32, products: usize, contribution: f64) -> Candidate {
        let (form, error, derivative_error) = (Form::Degree(depth as usize), contribution, None);
        Candidate {
            form,
            steepest: depth as usize,
            fits: Vec::new(),
            error,
            derivative_error,
            depth: [30 * depth, 0],
            products,
            moved: contribution,
            bound: 0.0,
            contribution,
        }
    }

    fn ladder(sensitivity: f64) -> Vec<Candidate> {
        (1..=5).map(|d| candidate(d, 2 * d as usize, sensitivity * libm::exp2(-4.0 * f64::from(d)))).collect()
    }

    #[test]
    fn the_programme_finds_what_the_whole_search_finds() {
        for sensitivities in [[1.0, 1.0, 1.0, 1.0], [100.0, 1.0, 0.01, 10.0], [1e-3, 5.0, 40.0, 1.0]] {
            for budget in [0.5, 0.05, 2e-3, 1e-5] {
                let candidates: Vec<Vec<Candidate>> = sensitivities.iter().map(|&s| ladder(s)).collect();
                let path = chain(4);
                let every = all(&candidates, &path, 625);
                let costs = |Front(found): Front| {
                    let each = found.into_iter().map(|(cost, error, choice)| {
                        let sum: f64 = choice.iter().zip(&candidates).map(|(&j, c)| c[j].contribution).sum();
                        assert!(error <= budget && (sum - error).abs() <= 1e-12 * budget);
                        let depth = path.longest(&|g, order| candidates[g][choice[g]].depth[order], 4).0;
                        let products = choice.iter().zip(&candidates).map(|(&j, c)| c[j].products).sum();
                        assert_eq!(cost.products, products);
                        (depth, products)
                    });
                    each.collect::<Vec<_>>()
                };
                let covered = |by: &[(u32, usize)], all: &[(u32, usize)]| all.iter().all(|a| by.iter().any(|b| b.0 <= a.0 && b.1 <= a.1));
                let (whole, steps) = (costs(within(&every, budget)), costs(programme(&candidates, &path, budget)));
                // The programme rounds contributions up, by a step each.
                assert!(covered(&whole, &steps), "{steps:?} has better than the best, {whole:?}");
                let looser = costs(within(&every, budget * (1.0 - 4.0 / STEPS as f64)));
                assert!(covered(&steps, &looser), "{steps:?} against {looser:?}");
            }
        }
    }

    #[test]
    fn what_is_best_in_some_proportion_is_found() {
        let deep = [candidate(2, 9, 0.1), candidate(3, 6, 0.2), candidate(3, 6, 0.1), candidate(3, 8, 0.1), candidate(5, 4, 0.1)];
        let candidates = vec![deep.to_vec()];
        assert_eq!(run(&candidates, &chain(1), &[1.0]), [[0], [2], [4]]);
        assert_eq!(run(&candidates, &chain(1), &[0.15, 1.0]), [[0], [2], [4]], "the same once");
        // The same by the programme.
        let Front(found) = programme(&candidates, &chain(1), 1.0);
        assert_eq!(found.into_iter().map(|(.., choice)| choice).collect::<Vec<_>>(), [[0], [2], [4]]);
    }

    #[test]
    fn depth_counts_where_the_path_is_long() {
        // Two branches: a long one with the first activation, a short one with the second.
        let nodes =
            vec![(Vec::new(), 0, None), (vec![0], 10 * PRODUCT, None), (vec![1], 0, once(0)), (vec![0], 0, once(1)), (vec![2, 3], 0, None)];
        let path = Path { nodes };
        let candidates =
            vec![vec![candidate(1, 1, 0.9), candidate(2, 2, 0.5), candidate(3, 3, 0.0)], vec![candidate(1, 1, 0.6), candidate(9, 30, 0.0)]];
        let shallowest = |budget: f64| run(&candidates, &path, &[budget]).swap_remove(0);
        assert_eq!(shallowest(1.0), [0, 1], "what is off the path may be deep");
        assert_eq!(shallowest(2.0), [0, 0]);
        assert_eq!(shallowest(0.0), [2, 1]);
        assert_eq!(shallowest(-1.0), [2, 1], "beyond reach: the most exact ones");
    }
}
