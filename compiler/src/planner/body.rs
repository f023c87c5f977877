//! One update as the loop planner sees it.

use super::{Bits, MaxPlus};

/// A value carried from one update to the next: weights, a momentum, a target network.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Carried {
    /// Its name in the program.
    pub name: String,
    /// Slots it needs.
    pub slots: u64,
    /// Bits that the update needs of it for what is not carried: a policy to release, an inner value.
    pub demand: Bits,
}

/// One update, run `trips` times.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoopBody {
    /// Carried values.
    pub carried: Vec<Carried>,
    /// Bits spent from each carried value at the start (column) to each at the end (row).
    pub decay: MaxPlus,
    /// How many times it runs.
    pub trips: u32,
}

impl LoopBody {
    /// What the values must have before an update whose results must have `after`.
    pub(super) fn before(&self, after: &[Bits]) -> Vec<Bits> {
        let asked = self.decay.before(after);
        asked.into_iter().zip(&self.carried).map(|(bits, value)| bits.unwrap_or(Bits(0)).max(value.demand)).collect()
    }
}
