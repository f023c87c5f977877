//! Extraction on the DAG, by depth.
//!
//! A shared value costs once, and what it costs depends on how much budget may be spent on the way to it. For each class
//! and each bound on the budget spent, the cheapest selection found so far is kept; a candidate takes the union of its
//! operands' selections, where the shallower choice wins. The result is the Pareto front of depth and cost.

use std::rc::Rc;

/// One way to compute a class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Classes that it needs.
    pub children: Vec<usize>,
    /// Levels of budget that it spends.
    pub spends: u32,
    /// What it costs.
    pub cost: u64,
    /// Whether its result is fresh, whatever was spent before: a bootstrap, or an exchange with the client.
    pub fresh: bool,
}

/// What to extract: classes with their choices, operands in any order.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// By class.
    pub classes: Vec<Vec<Choice>>,
    /// The class that is wanted.
    pub root: usize,
}

/// A selection of one choice per class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution {
    /// Levels spent on the way to the root.
    pub depth: u32,
    /// Sum of the costs of the chosen.
    pub cost: u64,
    /// The choice of each class that is needed.
    pub chosen: Vec<Option<usize>>,
}

/// How thorough extraction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effort {
    /// Few depths, as they are found.
    Quick,
    /// Many depths, each improved choice by choice.
    Full,
}

impl Effort {
    /// Levels above its least that a class tells apart.
    fn slack(self) -> u32 {
        match self {
            Self::Quick => 2,
            Self::Full => 15,
        }
    }
}

/// A class in a selection: its choice, the levels spent there, and its height in the derivation that chose it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    class: u32,
    choice: u32,
    depth: u32,
    rank: u32,
}

#[derive(Clone)]
struct Best {
    cost: u64,
    /// The cost where each class is paid by all that could use it: of two selections that cost the same, the one that others
    /// are likelier to share.
    shared: u64,
    depth: u32,
    rank: u32,
    entries: Rc<[Entry]>,
}

impl Best {
    fn price(&self) -> (u64, u64) {
        (self.cost, self.shared)
    }
}

/// Sweeps over all classes before a selection that still changes is taken as it is.
const SWEEPS: usize = 12;

/// Rounds of improvements, choice by choice.
const POLISH: usize = 3;

impl Problem {
    /// Costs for each depth up to `limit`: shallower first, each cheaper than the one before. `effort`
    /// decides how long this takes.
    pub fn front(&self, limit: u32, effort: Effort) -> Vec<Solution> {
        let mut search = Search::new(self, limit, effort);
        search.run();
        let mut front: Vec<Solution> = Vec::new();
        for (slack, best) in search.best[self.root].iter().enumerate() {
            let Some(best) = best else { continue };
            let mut chosen = vec![None; self.classes.len()];
            best.entries.iter().for_each(|e| chosen[e.class as usize] = Some(e.choice as usize));
            let bound = search.least[self.root].unwrap_or(0) + slack as u32;
            let found = Solution { depth: best.depth, cost: best.cost, chosen };
            let solution = if effort == Effort::Full { search.polished(found, bound) } else { found };
            if front.last().is_none_or(|last| solution.cost < last.cost) {
                front.push(solution);
            }
        }
        front
    }

    /// The least depth of each class: a lower bound for every selection. `None` where a class has no finite choice.
    pub fn least(&self) -> Vec<Option<u32>> {
        let mut least: Vec<Option<u32>> = vec![None; self.classes.len()];
        let mut changed = true;
        while changed {
            changed = false;
            for (class, choices) in self.classes.iter().enumerate() {
                let depths = choices.iter().filter_map(|choice| {
                    let below = choice.children.iter().map(|&c| least[c]).try_fold(0, |m, d| d.map(|d| m.max(d)))?;
                    Some(if choice.fresh { choice.spends } else { below + choice.spends })
                });
                let depth = depths.min();
                if depth.is_some() && (least[class].is_none() || depth < least[class]) {
                    least[class] = depth;
                    changed = true;
                }
            }
        }
        least
    }

    /// Depth and cost of a selection; `None` if it is not whole, or goes round in a circle.
    pub fn evaluate(&self, chosen: &[Option<usize>]) -> Option<(u32, u64)> {
        let mut state: Vec<Option<Option<u32>>> = vec![None; self.classes.len()];
        let mut cost = 0;
        let depth = self.visit(self.root, chosen, &mut state, &mut cost)?;
        Some((depth, cost))
    }

    fn visit(&self, class: usize, chosen: &[Option<usize>], state: &mut Vec<Option<Option<u32>>>, cost: &mut u64) -> Option<u32> {
        if let Some(seen) = state[class] {
            return seen;
        }
        state[class] = Some(None);
        let choice = &self.classes[class][chosen[class]?];
        let mut depth = 0;
        for &child in &choice.children {
            depth = depth.max(self.visit(child, chosen, state, cost)?);
        }
        let depth = choice.spends + if choice.fresh { 0 } else { depth };
        *cost += choice.cost;
        state[class] = Some(Some(depth));
        Some(depth)
    }
}

struct Search<'a> {
    problem: &'a Problem,
    /// Classes, operands mostly first.
    order: Vec<usize>,
    /// By class, and by the levels that it may spend above its least.
    best: Vec<Vec<Option<Best>>>,
    least: Vec<Option<u32>>,
    limit: u32,
    parents: Vec<Vec<usize>>,
    /// The selection under construction, valid where the stamp is current.
    slots: Vec<Entry>,
    stamps: Vec<u64>,
    reached: Vec<u64>,
    stamp: u64,
}

impl<'a> Search<'a> {
    fn new(problem: &'a Problem, limit: u32, effort: Effort) -> Self {
        let count = problem.classes.len();
        let least = problem.least();
        let mut order: Vec<usize> = (0..count).filter(|&c| least[c].is_some_and(|d| d <= limit)).collect();
        let rank = ranks(problem);
        order.sort_by_key(|&c| (rank[c], c));
        let mut parents = vec![Vec::new(); count];
        for (class, choices) in problem.classes.iter().enumerate() {
            for &child in choices.iter().flat_map(|choice| &choice.children) {
                if parents[child].last() != Some(&class) {
                    parents[child].push(class);
                }
            }
        }
        let slack = least[problem.root].map_or(0, |least| limit.saturating_sub(least).min(effort.slack()) as usize + 1);
        let none = Entry { class: 0, choice: 0, depth: 0, rank: 0 };
        Self {
            problem,
            order,
            best: vec![vec![None; slack]; count],
            least,
            limit,
            parents,
            slots: vec![none; count],
            stamps: vec![0; count],
            reached: vec![0; count],
            stamp: 0,
        }
    }

    fn run(&mut self) {
        let mut dirty = vec![true; self.problem.classes.len()];
        for _ in 0..SWEEPS {
            let mut any = false;
            for class in self.order.clone() {
                if std::mem::take(&mut dirty[class]) && self.improve(class) {
                    any = true;
                    for &parent in &self.parents[class] {
                        dirty[parent] = true;
                    }
                }
            }
            if !any {
                return;
            }
        }
    }

    /// Tries all choices of a class at all depths; whether any was better than what was there.
    fn improve(&mut self, class: usize) -> bool {
        let problem = self.problem;
        let mut improved = false;
        for slack in 0..self.best[class].len() {
            if slack > 0
                && let Some(shallower) = self.best[class][slack - 1].clone()
                && self.best[class][slack].as_ref().is_none_or(|b| shallower.price() < b.price())
            {
                self.best[class][slack] = Some(shallower);
                improved = true;
            }
            for (number, choice) in problem.classes[class].iter().enumerate() {
                if let Some(candidate) = self.candidate(class, number, choice, slack)
                    && self.best[class][slack].as_ref().is_none_or(|b| candidate.price() < b.price())
                {
                    self.best[class][slack] = Some(candidate);
                    improved = true;
                }
            }
        }
        improved
    }

    /// Changes one choice after the other while that saves something: what one path needs may serve another, which a union of
    /// the best of each does not see.
    fn polished(&self, mut solution: Solution, bound: u32) -> Solution {
        let problem = self.problem;
        for _ in 0..POLISH {
            let before = solution.cost;
            for class in (0..problem.classes.len()).filter(|&c| problem.classes[c].len() > 1) {
                for other in 0..problem.classes[class].len() {
                    let Some(current) = solution.chosen[class] else { break };
                    if other == current {
                        continue;
                    }
                    let mut chosen = solution.chosen.clone();
                    chosen[class] = Some(other);
                    for &child in &problem.classes[class][other].children {
                        self.complete(child, &mut chosen);
                    }
                    if let Some((depth, cost)) = problem.evaluate(&chosen)
                        && depth <= bound
                        && cost < solution.cost
                    {
                        solution = Solution { depth, cost, chosen };
                    }
                }
            }
            if solution.cost == before {
                break;
            }
        }
        // What no longer is needed may not count as chosen.
        let mut needed = vec![false; problem.classes.len()];
        let mut stack = vec![problem.root];
        while let Some(class) = stack.pop() {
            if !std::mem::replace(&mut needed[class], true)
                && let Some(choice) = solution.chosen[class]
            {
                stack.extend(&problem.classes[class][choice].children);
            }
        }
        solution.chosen.iter_mut().zip(needed).filter(|(_, needed)| !needed).for_each(|(chosen, _)| *chosen = None);
        solution
    }

    /// Chooses for a class that has no choice yet, and for what that needs: the shallowest, and the cheapest.
    fn complete(&self, class: usize, chosen: &mut [Option<usize>]) {
        if chosen[class].is_none()
            && let Some(best) = self.best[class].iter().flatten().next()
        {
            for entry in best.entries.iter() {
                chosen[entry.class as usize].get_or_insert(entry.choice as usize);
            }
        }
    }

    fn candidate(&mut self, class: usize, number: usize, choice: &Choice, slack: usize) -> Option<Best> {
        let left = (self.least[class]? + slack as u32).checked_sub(choice.spends)?;
        let below = if choice.fresh { self.limit } else { left };
        let part = |&c: &usize| {
            let above = below.checked_sub(self.least[c]?)? as usize;
            self.best[c][above.min(self.best[c].len() - 1)].clone()
        };
        let parts: Vec<Best> = choice.children.iter().map(part).collect::<Option<_>>()?;
        // What one operand costs, all of them cost.
        let known = self.best[class][slack].as_ref().map(|b| b.cost);
        let least = parts.iter().map(|p| p.cost).max().unwrap_or(0) + choice.cost;
        if known.is_some_and(|known| least > known) {
            return None;
        }
        self.stamp += 1;
        let deepest = parts.iter().map(|p| p.depth).max().unwrap_or(0);
        let own = Entry {
            class: class as u32,
            choice: number as u32,
            depth: choice.spends + if choice.fresh { 0 } else { deepest },
            rank: 1 + parts.iter().map(|p| p.rank).max().unwrap_or(0),
        };
        for entry in parts.iter().flat_map(|p| p.entries.iter()) {
            let c = entry.class as usize;
            if c == class {
                return None;
            }
            // Both shallower and lower in its derivation, or the selection might go round in a circle.
            if self.stamps[c] != self.stamp || (entry.depth, entry.rank) < (self.slots[c].depth, self.slots[c].rank) {
                self.stamps[c] = self.stamp;
                self.slots[c] = *entry;
            }
        }
        self.collect(own, choice)
    }

    /// What the entry reaches in the slots: its selection and the sum of the costs.
    fn collect(&mut self, own: Entry, choice: &Choice) -> Option<Best> {
        let mut entries = vec![own];
        let mut cost = choice.cost;
        let users = |class: usize| self.parents[class].len().max(1) as u64;
        let mut shared = 1000 * choice.cost / users(own.class as usize);
        self.reached[own.class as usize] = self.stamp;
        let mut at = 0;
        while at < entries.len() {
            let Entry { class, choice, .. } = entries[at];
            let chosen = &self.problem.classes[class as usize][choice as usize];
            for &child in &chosen.children {
                if self.reached[child] != self.stamp {
                    self.reached[child] = self.stamp;
                    let entry = self.slots[child];
                    let own = self.problem.classes[child][entry.choice as usize].cost;
                    cost += own;
                    shared += 1000 * own / users(child);
                    entries.push(entry);
                }
            }
            at += 1;
        }
        let best = Best { cost, shared, depth: own.depth, rank: own.rank, entries: entries.into() };
        // A fresh value may be deeper below than above, where the order of the slots proves nothing.
        let fresh = best.entries.iter().any(|e| self.problem.classes[e.class as usize][e.choice as usize].fresh);
        (!fresh || self.acyclic(&best)).then_some(best)
    }

    fn acyclic(&self, best: &Best) -> bool {
        let mut chosen = vec![None; self.problem.classes.len()];
        best.entries.iter().for_each(|e| chosen[e.class as usize] = Some(e.choice as usize));
        let mut state = vec![None; self.problem.classes.len()];
        let depth = self.problem.visit(best.entries[0].class as usize, &chosen, &mut state, &mut 0);
        depth.is_some_and(|d| d <= best.depth)
    }
}

/// Height of each class over the leaves, along its lowest choice.
fn ranks(problem: &Problem) -> Vec<u32> {
    let mut ranks = vec![u32::MAX; problem.classes.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for (class, choices) in problem.classes.iter().enumerate() {
            let rank = |choice: &Choice| choice.children.iter().map(|&c| ranks[c]).max().unwrap_or(0).saturating_add(1);
            let lowest = choices.iter().map(rank).min().unwrap_or(u32::MAX);
            if lowest < ranks[class] {
                ranks[class] = lowest;
                changed = true;
            }
        }
    }
    ranks
}
