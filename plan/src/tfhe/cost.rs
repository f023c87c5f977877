//! What a TFHE plan takes, as predicted.

use super::parameters::Parameters;
use super::prices::Prices;
use super::sending::Parcel;
use super::{Op, Plan, Step, Wire};
use crate::link::Link;

/// Predictions for one run of the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Wall-clock seconds of the server.
    pub seconds: f64,
    /// Programmable bootstraps.
    pub bootstraps: u64,
    /// Bytes of the keys as they are sent.
    pub key_bytes: u64,
    /// Bytes of memory of both parties: keys as they are sent, and as the server uses them.
    pub peak_bytes: u64,
    /// Bytes to the server per run.
    pub bytes_to_server: u64,
    /// Bytes to the client per run.
    pub bytes_to_client: u64,
    /// Bytes to the server of what it then carries, once.
    pub bytes_to_carry: u64,
    /// Bytes to the client whenever it fetches what the server carries.
    pub bytes_fetched: u64,
}

impl Prediction {
    /// Seconds that what crosses in a run takes over `link`.
    pub fn link_seconds(&self, link: Link) -> f64 {
        let round_trips = if self.bytes_to_client > 0 { 1.0 } else { 0.0 };
        link.seconds(self.bytes_to_server + self.bytes_to_client, round_trips)
    }
}

/// Seconds of a step. The integers of a step are shared out among the threads; one takes one thread.
pub fn step_seconds(plan: &Plan, step: &Step, prices: &Prices, threads: usize) -> f64 {
    let turns = (step.wire.len as usize).div_ceil(threads.max(1)) as f64;
    match &step.op {
        Op::Input(_) | Op::Carried(_) | Op::Rest { .. } => 0.0,
        Op::Affine { operands: _, rows } => {
            let words: usize = rows.iter().map(|row| row.terms.len()).sum::<usize>() * plan.parameters.ring(step.wire.ring).bits() as usize;
            words as f64 * prices.term / threads.max(1) as f64
        }
        Op::Table { lookup, .. } | Op::Sign { lookup, .. } => {
            turns * prices.lookup(&plan.parameters, &plan.parameters.lookups[lookup.0 as usize])
        }
        Op::Floor { lookup, drop, .. } => {
            turns * f64::from(*drop) * prices.lookup(&plan.parameters, &plan.parameters.lookups[lookup.0 as usize])
        }
        Op::Switch { switch, .. } => turns * prices.between(&plan.parameters, &plan.parameters.switches[switch.0 as usize]),
    }
}

/// Seconds of packing what goes back.
fn sending_seconds(plan: &Plan, prices: &Prices, threads: usize) -> f64 {
    let packed = |parcel: &Parcel| {
        let packing = plan.parameters.packings.get(parcel.packing?.0 as usize)?;
        let from = plan.parameters.ring(packing.from).bits();
        let each = prices.moving(from, packing.to.bits() + packing.to.degree(), packing.decomposition.levels);
        let count: f64 = plan.parcel_wires(parcel).iter().map(|wire| f64::from(wire.len)).sum();
        Some(count * each / threads.max(1) as f64)
    };
    plan.parcels.iter().filter_map(packed).sum()
}

/// Predicts a run of a checked plan on `threads` threads (0 for those of the machine that the prices are from).
pub fn predict(plan: &Plan, prices: &Prices, threads: usize) -> Prediction {
    let threads = if threads == 0 { prices.threads } else { threads };
    let keys = plan.parameters.key_bytes();
    let sent =
        plan.steps.iter().filter(|step| matches!(step.op, Op::Input(_))).map(|step| Parameters::fresh_bytes(u64::from(step.wire.len)));
    let steps = plan.steps.iter().map(|step| step_seconds(plan, step, prices, threads));
    let kept = || plan.carried.iter().map(|carried| plan.steps[carried.wire.index()].wire);
    let full = |wire: Wire| u64::from(wire.len) * plan.parameters.full_bytes(wire.ring);
    Prediction {
        seconds: steps.sum::<f64>() + sending_seconds(plan, prices, threads),
        bootstraps: plan.bootstraps(),
        key_bytes: keys.seeded,
        peak_bytes: keys.seeded + keys.expanded + plan.steps.iter().map(|step| full(step.wire)).sum::<u64>(),
        bytes_to_server: sent.sum(),
        bytes_to_client: plan.parcels.iter().map(|parcel| plan.parcel_bytes(parcel)).sum(),
        bytes_to_carry: kept().map(|wire| Parameters::fresh_bytes(u64::from(wire.len))).sum(),
        bytes_fetched: kept().map(full).sum(),
    }
}
