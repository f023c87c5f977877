//! Which states share a carried ciphertext, and after which updates each ciphertext is bootstrapped, by the loop planner.
//!
//! Where all states fit into one ciphertext nothing is better. Where they do not, those that spend little from update to update
//! (momenta, averages) are better off without those that spend much: theirs is bootstrapped at every few updates only.

use hecc_plan::Bootstrap;

use super::circuit::Circuit;
use super::cycle;
use crate::planner::{Bits, Carried, Curve, Limits, LoopBody, MaxPlus, Offer, Packing, Party, Ring, plan_loop};

/// Most kinds of states that are told apart.
pub(super) const ROLES: usize = 8;

/// The ciphertext of each kind of states.
pub(super) type Packs = [u8; ROLES];

/// What the planner decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shares {
    /// Which kinds share.
    pub packs: Packs,
    /// For each update of a period, whether each ciphertext is bootstrapped after it; after the last, all are.
    pub refreshed: Vec<Vec<bool>>,
}

/// The cheapest shares for an update with every kind of states in a ciphertext of its own, of which one ciphertext holds
/// `blocks`; `None` where an update spends more than a bootstrap gives.
pub(super) fn run(apart: &Circuit, blocks: usize, bootstrap: &Bootstrap, updates: usize) -> Option<Shares> {
    let count = apart.carried.len();
    if count > ROLES {
        return None;
    }
    let body = LoopBody {
        carried: (0..count).map(|id| Carried { name: apart.carried[id].label.clone(), slots: 1, demand: demand(apart, id) }).collect(),
        decay: MaxPlus::from_rows(&cycle::decay(apart))?,
        trips: updates as u32,
    };
    let free = || Curve::constant(0.0);
    let offer = Offer {
        name: bootstrap.name.clone(),
        party: Party::Server,
        slots: blocks as u64,
        input: Bits(bootstrap.input_k - apart.scale),
        output: Bits(bootstrap.output_k - apart.scale),
        // Beside bootstraps the rest is little, and is seen when it is lowered.
        seconds: Curve::constant(1.0),
        moment_seconds: 0.0,
        traffic: free(),
        key_bytes: 0,
        memory_bytes: 0,
    };
    let packing = Packing { enter_bits: Bits(0), leave_bits: Bits(0), enter: free(), leave: free() };
    let ring = Ring { log_n: bootstrap.log_n, update: free(), packing, offers: vec![offer] };
    let schedule = plan_loop(&body, &[ring], Limits::default()).ok()?;
    let mut packs = [0; ROLES];
    for (at, pack) in schedule.packs.iter().enumerate() {
        pack.members.iter().for_each(|&role| packs[role] = at as u8);
    }
    // Moments are the starts of updates, the last update's first.
    let after = |update: usize| match schedule.moments.get((schedule.unroll as usize).wrapping_sub(update + 2)) {
        Some(moment) => moment.refreshed.clone(),
        None => vec![true; schedule.packs.len()],
    };
    Some(Shares { packs, refreshed: (0..schedule.unroll as usize).map(after).collect() })
}

/// Bits that an update needs of a carried ciphertext for what leaves.
fn demand(body: &Circuit, from: usize) -> Bits {
    let spent = cycle::spent_since(body, from);
    let asked = body.outputs.iter().filter_map(|output| spent[output.wire.index()].map(|bits| bits + output.headroom));
    Bits(asked.max().unwrap_or(0))
}
