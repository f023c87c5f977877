//! Small improvements of a placement: bootstraps added, left out, and moved one step earlier or later.
//!
//! A change reaches no further than the next bootstraps before it, so a try costs a few nodes, however large the graph.

use std::collections::BinaryHeap;

use super::dag::Dag;
use crate::planner::{Bits, Offer};

/// Nodes priced at most.
const WORK: usize = 30_000_000;
/// What counts as cheaper, in seconds.
const CHEAPER: f64 = 1e-9;

/// Where small changes of `marks` lead, and the price; the marks need not work. `None` if those at the end do not.
pub(super) fn run(dag: &Dag, offer: &Offer, marks: Vec<bool>) -> Option<(f64, Vec<bool>)> {
    let mut state = State::new(dag, offer, marks);
    loop {
        let mut improved = false;
        for at in (0..dag.nodes.len()).rev() {
            let marked = state.marks[at];
            improved |= state.attempt(&[(at, !marked)]);
            if !state.marks[at] {
                continue;
            }
            let (operands, users) = (dag.nodes[at].operands.clone(), state.users[at].clone());
            let single = operands.iter().chain(&users).map(|&other| vec![other]).collect::<Vec<_>>();
            for to in single.into_iter().chain([operands, users]) {
                let moved: Vec<(usize, bool)> = to.into_iter().map(|other| (other, true)).chain([(at, false)]).collect();
                if state.attempt(&moved) {
                    improved = true;
                    break;
                }
            }
        }
        if !improved || state.work >= WORK {
            break;
        }
    }
    let widths = dag.widths(offer, &state.marks)?;
    Some((widths.seconds, state.marks))
}

/// A placement with its widths, kept up to date.
struct State<'a> {
    dag: &'a Dag,
    offer: &'a Offer,
    users: Vec<Vec<usize>>,
    marks: Vec<bool>,
    needs: Vec<Bits>,
    enters: Vec<Bits>,
    /// Nodes priced so far.
    work: usize,
}

/// What a change changes: constraints that do not hold, and seconds.
#[derive(Clone, Copy, Default)]
struct Price {
    broken: i64,
    seconds: f64,
}

impl<'a> State<'a> {
    fn new(dag: &'a Dag, offer: &'a Offer, marks: Vec<bool>) -> Self {
        let count = dag.nodes.len();
        let mut users: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (at, node) in dag.nodes.iter().enumerate() {
            for &operand in &node.operands {
                if users[operand].last() != Some(&at) {
                    users[operand].push(at);
                }
            }
        }
        let mut state = Self { dag, offer, users, marks, needs: vec![Bits(0); count], enters: vec![Bits(0); count], work: 0 };
        (0..count).rev().for_each(|at| (state.needs[at], state.enters[at]) = state.width(at));
        state
    }

    /// What users ask of a node, and what it asks of its operands.
    fn width(&self, at: usize) -> (Bits, Bits) {
        let node = &self.dag.nodes[at];
        let asked = self.users[at].iter().map(|&user| self.enters[user]).max().unwrap_or_default();
        let needs = asked.max(node.required.unwrap_or_default());
        (needs, node.spent + if self.marks[at] { self.offer.input } else { needs })
    }

    fn price(&self, at: usize) -> Price {
        let (node, needs, enters) = (&self.dag.nodes[at], self.needs[at], self.enters[at]);
        let late = node.operands.is_empty() && enters > node.available;
        let high = self.marks[at] && needs > self.offer.output;
        let refresh = if self.marks[at] { node.refresh_seconds(self.offer, needs) } else { 0.0 };
        Price { broken: i64::from(late) + i64::from(high), seconds: node.seconds.at(enters) + refresh }
    }

    /// Makes changes if they break less, or break nothing more and cost less; whether they were made.
    fn attempt(&mut self, changes: &[(usize, bool)]) -> bool {
        if self.work >= WORK {
            return false;
        }
        let mut before: Vec<(usize, bool, Bits, Bits)> = Vec::new();
        let mut open: BinaryHeap<usize> = changes.iter().map(|&(at, _)| at).collect();
        let mut total = Price::default();
        while let Some(at) = open.pop() {
            // Later nodes come first, so each is settled once.
            while open.peek() == Some(&at) {
                open.pop();
            }
            self.work += 1;
            let old = self.price(at);
            let saved = (at, self.marks[at], self.needs[at], self.enters[at]);
            if let Some(&(_, mark)) = changes.iter().find(|(changed, _)| *changed == at) {
                self.marks[at] = mark;
            }
            (self.needs[at], self.enters[at]) = self.width(at);
            if saved.3 != self.enters[at] {
                open.extend(&self.dag.nodes[at].operands);
            }
            let new = self.price(at);
            total.broken += new.broken - old.broken;
            total.seconds += new.seconds - old.seconds;
            before.push(saved);
        }
        let better = total.broken < 0 || total.broken == 0 && total.seconds < -CHEAPER;
        if !better {
            for (at, mark, needs, enters) in before {
                (self.marks[at], self.needs[at], self.enters[at]) = (mark, needs, enters);
            }
        }
        better
    }
}
