//! An update's operations as the placement sees them, and what a set of bootstraps costs.

use crate::planner::{Bits, Curve, Offer, PlannerError};

/// An operation and its result.
#[derive(Clone, PartialEq, Debug)]
pub struct Node {
    /// Bits it spends.
    pub spent: Bits,
    /// Seconds, by the budget at which its operands enter it.
    pub seconds: Curve,
    /// Ciphertexts of its result.
    pub ciphertexts: u32,
    /// Operands, by index; all before it. An input has none.
    pub operands: Vec<usize>,
    /// Bits that an input comes with.
    pub available: Bits,
    /// Bits that must be left of an output.
    pub required: Option<Bits>,
}

/// Operations, each after its operands.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Dag {
    /// The operations.
    pub nodes: Vec<Node>,
}

/// What a set of bootstraps makes of the widths.
#[derive(Clone, PartialEq, Debug)]
pub struct Widths {
    /// Bits that the users of each node need of it; of a bootstrapped one, what the bootstrap leaves.
    pub needs: Vec<Bits>,
    /// Budget at which the operands of each node enter it.
    pub enters: Vec<Bits>,
    /// Seconds of all operations and bootstraps.
    pub seconds: f64,
}

impl Dag {
    /// Widths and cost if the marked nodes are bootstrapped; `None` if some input or bootstrap does not give enough.
    pub fn widths(&self, offer: &Offer, marked: &[bool]) -> Option<Widths> {
        let mut needs: Vec<Bits> = self.nodes.iter().map(|node| node.required.unwrap_or_default()).collect();
        let mut enters = vec![Bits(0); self.nodes.len()];
        let mut seconds = 0.0;
        for (at, node) in self.nodes.iter().enumerate().rev() {
            if marked[at] && needs[at] > offer.output {
                return None;
            }
            let after = if marked[at] { offer.input } else { needs[at] };
            enters[at] = after + node.spent;
            if node.operands.is_empty() && enters[at] > node.available {
                return None;
            }
            seconds += node.seconds.at(enters[at]) + if marked[at] { node.refresh_seconds(offer, needs[at]) } else { 0.0 };
            node.operands.iter().for_each(|&operand| needs[operand] = needs[operand].max(enters[at]));
        }
        Some(Widths { needs, enters, seconds })
    }

    /// The most that each node can have: as it comes, or after a bootstrap of it.
    ///
    /// # Errors
    /// `Unplaceable` with the first node that no placement gives enough.
    pub(super) fn most(&self, offer: &Offer) -> Result<Vec<Bits>, PlannerError> {
        let mut most: Vec<Bits> = Vec::new();
        for (at, node) in self.nodes.iter().enumerate() {
            let enters = node.operands.iter().map(|&operand| most[operand]).min().unwrap_or(node.available);
            if enters < node.spent {
                return Err(PlannerError::Unplaceable { node: at, needs: node.spent, most: enters });
            }
            let own = enters - node.spent;
            let best = if own >= offer.input { own.max(offer.output) } else { own };
            if let Some(needs) = node.required.filter(|required| *required > best) {
                return Err(PlannerError::Unplaceable { node: at, needs, most: best });
            }
            most.push(best);
        }
        Ok(most)
    }

    /// The least that each node must leave: what its users spend and must leave themselves, bootstrapped or not.
    pub(super) fn least(&self, offer: &Offer) -> Vec<Bits> {
        let mut least: Vec<Bits> = self.nodes.iter().map(|node| node.required.unwrap_or_default()).collect();
        for (at, node) in self.nodes.iter().enumerate().rev() {
            let enters = node.spent + least[at].min(offer.input);
            node.operands.iter().for_each(|&operand| least[operand] = least[operand].max(enters));
        }
        least
    }
}

impl Node {
    /// Seconds to bootstrap its result.
    pub(super) fn refresh_seconds(&self, offer: &Offer, target: Bits) -> f64 {
        offer.moment_seconds + f64::from(self.ciphertexts) * offer.seconds.at(target)
    }
}
