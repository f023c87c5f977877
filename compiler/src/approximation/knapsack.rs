//! The multiple-choice knapsack: one candidate for each activation, contributions within the budget, the least depth along
//! the critical path first and then the fewest products, or the other way round.

use super::options::Candidate;
use super::{Aim, Group, known};
use crate::check::hir::Program;
use crate::schemes::ckks::MASK_BITS;
use crate::tensor::{Graph, Op};

/// Combinations up to which all are looked at.
const COMBINATIONS: usize = 4096;
/// Steps into which the dynamic programme cuts the budget.
const STEPS: usize = 512;
/// Bits of a product, for depths: only their ratio to those of constants matters.
const PRODUCT: u32 = 30;

/// A node: operands, bits of its own, and the activation that it is (its index, and whether the derivative).
type Step = (Vec<usize>, u32, Option<(usize, usize)>);
/// A partial choice and what it costs.
type Partial = (Cost, Vec<usize>);

/// What a choice costs: bits of depth, and products.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Cost {
    depth: u32,
    products: usize,
}

impl Aim {
    fn rank(self, Cost { depth, products }: Cost) -> (usize, usize) {
        match self {
            Aim::Depth => (depth as usize, products),
            Aim::Products => (products, depth as usize),
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
            let map = groups.iter().enumerate().find_map(|(g, group)| {
                let order = match &graph.node(id).op {
                    Op::Map(map) => usize::from(map.order.min(1)),
                    _ => return None,
                };
                group.nodes.contains(&id).then_some((g, order))
            });
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
            let own = map.map_or(*own, |(group, order)| depth(group, order));
            ends.push((before.map_or(0, |b| ends[b].0) + own, before));
        }
        let mut counts = vec![0; groups];
        let mut at = (0..ends.len()).max_by_key(|&i| (ends[i].0, std::cmp::Reverse(i)));
        let longest = at.map_or(0, |i| ends[i].0);
        while let Some(i) = at {
            if let Some((group, _)) = self.nodes[i].2 {
                counts[group] += 1;
            }
            at = ends[i].1;
        }
        (longest, counts)
    }
}

/// The candidate of each activation. Where even the most exact ones exceed the budget, those.
pub(super) fn run(candidates: &[Vec<Candidate>], path: &Path, budget: f64, aim: Aim) -> Vec<usize> {
    let combinations = candidates.iter().try_fold(1usize, |product, c| product.checked_mul(c.len()));
    let chosen = match combinations {
        Some(count) if count <= COMBINATIONS => all(candidates, path, budget, aim, count),
        _ => programme(candidates, path, budget, aim),
    };
    chosen.unwrap_or_else(|| candidates.iter().map(|c| best(c)).collect())
}

fn best(candidates: &[Candidate]) -> usize {
    (0..candidates.len()).min_by(|&a, &b| candidates[a].contribution.total_cmp(&candidates[b].contribution)).unwrap_or(0)
}

/// Looks at every combination within the budget.
fn all(candidates: &[Vec<Candidate>], path: &Path, budget: f64, aim: Aim, count: usize) -> Option<Vec<usize>> {
    let mut best: Option<((usize, usize), f64, Vec<usize>)> = None;
    for number in 0..count {
        let mut rest = number;
        let choice: Vec<usize> = candidates
            .iter()
            .map(|c| {
                let j = rest % c.len();
                rest /= c.len();
                j
            })
            .collect();
        let error: f64 = choice.iter().zip(candidates).map(|(&j, c)| c[j].contribution).sum();
        if error > budget {
            continue;
        }
        let (depth, _) = path.longest(&|g, order| candidates[g][choice[g]].depth[order], candidates.len());
        let products = choice.iter().zip(candidates).map(|(&j, c)| c[j].products).sum();
        let rank = aim.rank(Cost { depth, products });
        if best.as_ref().is_none_or(|(least, off, _)| rank.cmp(least).then(error.total_cmp(off)).is_lt()) {
            best = Some((rank, error, choice));
        }
    }
    best.map(|(.., choice)| choice)
}

/// Dynamic programme over the budget in steps, each activation's depth counted as often as it stands on the critical path
/// of the most exact choice (on a chain that is the depth itself).
fn programme(candidates: &[Vec<Candidate>], path: &Path, budget: f64, aim: Aim) -> Option<Vec<usize>> {
    let exact: Vec<usize> = candidates.iter().map(|c| best(c)).collect();
    let (_, counts) = path.longest(&|g, order| candidates[g][exact[g]].depth[order], candidates.len());
    // After some activations, for each number of steps spent: the least cost and the choices.
    let mut table: Vec<Option<Partial>> = vec![None; STEPS + 1];
    table[0] = Some((Cost::default(), Vec::new()));
    for (c, &count) in candidates.iter().zip(&counts) {
        let mut next: Vec<Option<Partial>> = vec![None; STEPS + 1];
        for (spent, entry) in table.iter().enumerate() {
            let Some((Cost { depth, products }, choice)) = entry else { continue };
            for (j, candidate) in c.iter().enumerate() {
                let steps = libm::ceil(candidate.contribution / budget * STEPS as f64);
                if steps > (STEPS - spent) as f64 {
                    continue;
                }
                let at = spent + steps as usize;
                let depth = depth + count * candidate.depth[0].max(candidate.depth[1]);
                let cost = Cost { depth, products: products + candidate.products };
                if next[at].as_ref().is_none_or(|(least, _)| aim.rank(cost) < aim.rank(*least)) {
                    next[at] = Some((cost, choice.iter().copied().chain([j]).collect()));
                }
            }
        }
        table = next;
    }
    table.into_iter().flatten().min_by_key(|(cost, _)| aim.rank(*cost)).map(|(_, choice)| choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A chain of activations with a product between each.
    fn chain(n: usize) -> Path {
        let mut nodes = vec![(Vec::new(), 0, None)];
        for group in 0..n {
            nodes.push((vec![nodes.len() - 1], PRODUCT, None));
            nodes.push((vec![nodes.len() - 1], 0, Some((group, 0))));
        }
        Path { nodes }
    }

    fn candidate(depth: u32, products: usize, contribution: f64) -> Candidate {
        let (degree, error, derivative_error) = (Some(depth as usize), contribution, None);
        Candidate {
            degree,
            steepest: depth as usize,
            error,
            derivative_error,
            depth: [30 * depth, 0],
            products,
            moved: contribution,
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
                let score = |choice: Option<Vec<usize>>| {
                    choice.map(|choice| {
                        let error: f64 = choice.iter().zip(&candidates).map(|(&j, c)| c[j].contribution).sum();
                        assert!(error <= budget);
                        let products: usize = choice.iter().zip(&candidates).map(|(&j, c)| c[j].products).sum();
                        (path.longest(&|g, order| candidates[g][choice[g]].depth[order], 4).0, products)
                    })
                };
                let whole = score(all(&candidates, &path, budget, Aim::Depth, 625));
                let steps = score(programme(&candidates, &path, budget, Aim::Depth));
                // The programme rounds contributions up, by a step each.
                assert!(steps >= whole, "{steps:?} is better than the best, {whole:?}");
                let looser = score(all(&candidates, &path, budget * (1.0 - 4.0 / STEPS as f64), Aim::Depth, 625));
                assert!(looser.is_none() || steps <= looser, "{steps:?} against {looser:?}");
            }
        }
    }

    #[test]
    fn what_counts_first_is_least() {
        let candidates = vec![vec![candidate(2, 9, 0.1), candidate(3, 4, 0.1)]];
        let path = chain(1);
        assert_eq!(run(&candidates, &path, 1.0, Aim::Depth), [0]);
        assert_eq!(run(&candidates, &path, 1.0, Aim::Products), [1]);
        // The same by the programme.
        assert_eq!(programme(&candidates, &path, 1.0, Aim::Depth), Some(vec![0]));
        assert_eq!(programme(&candidates, &path, 1.0, Aim::Products), Some(vec![1]));
    }

    #[test]
    fn depth_counts_where_the_path_is_long() {
        // Two branches: a long one with the first activation, a short one with the second.
        let nodes = vec![
            (Vec::new(), 0, None),
            (vec![0], 10 * PRODUCT, None),
            (vec![1], 0, Some((0, 0))),
            (vec![0], 0, Some((1, 0))),
            (vec![2, 3], 0, None),
        ];
        let path = Path { nodes };
        let candidates =
            vec![vec![candidate(1, 1, 0.9), candidate(2, 2, 0.5), candidate(3, 3, 0.0)], vec![candidate(1, 1, 0.6), candidate(9, 30, 0.0)]];
        assert_eq!(run(&candidates, &path, 1.0, Aim::Depth), [0, 1], "what is off the path may be deep");
        assert_eq!(run(&candidates, &path, 2.0, Aim::Depth), [0, 0]);
        assert_eq!(run(&candidates, &path, 0.0, Aim::Depth), [2, 1]);
        assert_eq!(run(&candidates, &path, -1.0, Aim::Depth), [2, 1], "beyond reach: the most exact ones");
    }
}
