//! Measures what each operation of a plan takes on this machine, through the executor that runs plans.
//!
//! Seconds are those that the processor spends on the thread, the least of a few runs: what else the machine does at the
//! time counts as little as possible.

mod lookups;
mod micro;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::ClockId;

use hecc_plan::cost::{CostTable, Kind, Machine as Host, RingCosts, Sample};
use hecc_plan::link::Link;
use hecc_plan::{Bootstrap, Geometry, InputId, Layout, Machine, Plan, Step, Tensor, Wires, drive};

use crate::ckks::{self, CkksClient, CkksServer, Ct, Executor};
use crate::engine::EngineError;
use crate::engine::party::{ClientCipher, ServerCipher};
pub use lookups::lookups;
use micro::{MATRICES, Place, Probe};

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The bootstraps too: keys of a gibibyte and seconds each.
    pub bootstraps: bool,
    /// What integers take too.
    pub lookups: bool,
    /// log2 of the smallest and of the largest ring degree.
    pub log_n: (u32, u32),
    /// Fewer widths and repeats: a minute instead of ten.
    pub quick: bool,
    /// Threads of the machine; 0 for all cores.
    pub threads: usize,
}

/// Measures a table. `progress` is told what comes next.
///
/// # Errors
/// If the library fails or there is no entropy.
pub fn machine(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<CostTable, EngineError> {
    let threads = options.threads();
    // First, while all that is taken is new to the process, and kept until all are measured.
    let (held, tables): (Vec<u64>, Vec<_>) = (options.log_n.0..=options.log_n.1).map(library_bytes).unzip();
    drop(tables);
    let mut rings = Vec::new();
    for (log_n, held) in (options.log_n.0..=options.log_n.1).zip(held) {
        rings.push(RingCosts { library_bytes: held, ..ring(log_n, threads, options.quick, progress)? });
    }
    let machine = Host { cpu: processor(), threads, kernels: ckks::KERNELS.to_owned() };
    let bootstraps = if options.bootstraps { bootstraps(options, progress)? } else { BTreeMap::new() };
    let lookups = options.lookups.then(|| lookups(options, progress)).transpose()?;
    Ok(CostTable { machine, rings, bootstraps, lookups, link: Link::default() })
}

/// The scale that bootstraps are measured at.
const BOOTSTRAP_SCALE: u32 = 30;

/// Seconds of every bootstrap that is offered in the rings of `options`, by name: those that the processor spends on the
/// process, shared among its threads, which all work; the least of three. `progress` is told what comes next.
///
/// # Errors
/// If the library fails or there is no entropy.
pub fn bootstraps(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<BTreeMap<String, f64>, EngineError> {
    let rings = options.log_n.0..=options.log_n.1;
    let mut offers = hecc_plan::bootstrap::offers(BOOTSTRAP_SCALE);
    offers.retain(|offer| !offer.is_insecure() && rings.contains(&offer.log_n));
    offers.sort_by_key(|offer| offer.log_n);
    let mut seconds = BTreeMap::new();
    for (index, offer) in offers.iter().enumerate() {
        progress(&format!("bootstrap {} of {}: {}", index + 1, offers.len(), offer.name));
        seconds.insert(offer.name.clone(), bootstrap(offer, options.threads())?);
    }
    Ok(seconds)
}

fn bootstrap(offer: &Bootstrap, threads: usize) -> Result<f64, EngineError> {
    let plan = Arc::new(micro::bootstrap(offer));
    let client = CkksClient::new(Arc::clone(&plan))?;
    let mut server = CkksServer::new(Arc::clone(&plan), micro::public(&plan), threads)?;
    for index in 0..client.keys() {
        server.accept_key(index, &client.key(index)?)?;
    }
    server.ready()?;
    let sealed = client.seal("x", plan.inputs[0].wire, &vec![0.25; plan.geometry.slots()])?;
    let executor = server.executor_with(vec![(InputId(0), &sealed)])?;
    let wires = Wires::new(&plan);
    drive(executor, &plan, (0, 1), &wires, threads)?;
    let mut least = f64::INFINITY;
    for step in 1..plan.steps.len() as u32 {
        let (seconds, outcome) = timed_by(ClockId::ProcessCPUTime, || drive(executor, &plan, (step, step + 1), &wires, threads));
        outcome?;
        least = least.min(seconds / threads as f64);
    }
    Ok(least)
}

impl Options {
    fn threads(&self) -> usize {
        if self.threads == 0 { std::thread::available_parallelism().map_or(1, usize::from) } else { self.threads }
    }
}

/// Limbs at which operations are measured: close together where they are few.
fn widths(widest: u32, quick: bool) -> Vec<u32> {
    let all: &[u32] = if quick { &[1, 3, 8, 24] } else { &[1, 2, 3, 4, 6, 8, 12, 16, 24, 32] };
    let mut widths: Vec<u32> = all.iter().copied().filter(|&limbs| limbs < widest).collect();
    widths.push(widest);
    widths
}

fn ring(log_n: u32, threads: usize, quick: bool, progress: &mut dyn FnMut(&str)) -> Result<RingCosts, EngineError> {
    let widest = Place::widest(log_n);
    let mut costs = RingCosts { log_n, crowded: 1.0, limb_bytes: ckks::limb_bytes(log_n), ..RingCosts::default() };
    costs.operations.insert(Kind::Pack, vec![Sample { limbs: 1, key_limbs: 0, value: packing(log_n) }]);
    for limbs in widths(widest, quick) {
        let mut keys: Vec<u32> = if quick { vec![limbs, widest] } else { vec![limbs, limbs.midpoint(widest), widest] };
        keys.dedup();
        let mut places: Vec<Place> = keys.into_iter().filter_map(|key| Place::new(log_n, limbs, key)).collect();
        places.dedup_by_key(|place| place.key_limbs());
        for place in &places {
            progress(&format!("ring degree 2^{log_n}, {limbs} of {widest} limbs, keys of {}", place.key_limbs()));
            measure(place, threads, quick, &mut costs)?;
        }
    }
    for samples in costs.operations.values_mut().chain(costs.scratch.values_mut()) {
        *samples = least(samples);
    }
    Ok(costs)
}

/// One value per place: the least that was measured there. Operations without a key are measured beside each key.
fn least(samples: &[Sample]) -> Vec<Sample> {
    let mut by_place: BTreeMap<(u32, u32), f64> = BTreeMap::new();
    for sample in samples {
        let value = by_place.entry((sample.limbs, sample.key_limbs)).or_insert(sample.value);
        *value = value.min(sample.value);
    }
    by_place.into_iter().map(|((limbs, key_limbs), value)| Sample { limbs, key_limbs, value }).collect()
}

/// Measures every operation at `place`.
fn measure(place: &Place, threads: usize, quick: bool, costs: &mut RingCosts) -> Result<(), EngineError> {
    let repeats = if quick { 3 } else { 5 };
    // Matrices are seldom and their keys many: at keys of their own width only.
    let linear = place.key.k / micro::BASE2K == place.limbs;
    let (plan, probes) = micro::plan(place, repeats, linear);
    let plan = Arc::new(plan);
    let client = CkksClient::new(Arc::clone(&plan))?;
    let mut server = CkksServer::new(Arc::clone(&plan), micro::public(&plan), 1)?;
    let mut making = f64::INFINITY;
    for index in 0..client.keys() {
        let (seconds, outcome) = timed(|| client.key(index).and_then(|message| server.accept_key(index, &message)));
        outcome?;
        making = making.min(seconds);
    }
    server.ready()?;
    let key_limbs = place.key_limbs();
    let note = |into: &mut BTreeMap<Kind, Vec<Sample>>, kind: Kind, limbs: u32, key_limbs: u32, value: f64| {
        into.entry(kind).or_default().push(Sample { limbs, key_limbs, value: value.max(0.0) });
    };
    note(&mut costs.operations, Kind::Key, place.key.dnum * key_limbs, 0, making);
    let slots = vec![0.25; plan.geometry.slots()];
    let wire = plan.inputs[0].wire;
    let mut sealed = Vec::new();
    for _ in 0..plan.inputs.len() {
        let (seconds, bytes) = timed(|| client.seal("x", wire, &slots));
        note(&mut costs.operations, Kind::Encrypt, place.limbs, 0, seconds);
        sealed.push(bytes?);
    }
    let given = |sealed: &[Vec<u8>]| -> Vec<(InputId, Vec<u8>)> {
        sealed.iter().enumerate().map(|(i, bytes)| (InputId(i as u32), bytes.clone())).collect()
    };
    let messages = given(&sealed);
    let executor = server.executor_with(messages.iter().map(|(id, bytes)| (*id, bytes.as_slice())).collect())?;
    let wires = Wires::new(&plan);
    let timer = Timer { executor, seconds: Mutex::new(vec![f64::INFINITY; plan.steps.len()]) };
    drive(&timer, &plan, (0, plan.steps.len() as u32), &wires, 1)?;
    let alone = timer.take();
    let of = |probe: Probe| probes.iter().zip(&alone).filter(|(p, _)| **p == probe).map(|(_, s)| *s).fold(f64::INFINITY, f64::min);
    for kind in [Kind::Input, Kind::Add, Kind::AddConst, Kind::AddPlain, Kind::MulConst, Kind::MulPlain, Kind::Halve, Kind::Narrow] {
        note(&mut costs.operations, kind, place.limbs, 0, of(Probe::Of(kind)));
    }
    for kind in [Kind::Square, Kind::Product, Kind::Dot2, Kind::Rotate] {
        note(&mut costs.operations, kind, place.limbs, key_limbs, of(Probe::Of(kind)));
    }
    let (sum, dot) = (of(Probe::Of(Kind::Add)), of(Probe::Of(Kind::Dot2)));
    note(&mut costs.operations, Kind::Normalise, place.limbs, 0, of(Probe::AddNormalised) - sum);
    note(&mut costs.operations, Kind::Pair, place.limbs, 0, (of(Probe::Dot8) - dot) / 6.0);
    if linear {
        let [one, babies, giants, both] = [0, 1, 2, 3].map(|i| of(Probe::Linear(i)));
        // base + d; base + 3 b + 4 d; base + 3 g + 4 d; base + 3 b + 3 g + 16 d.
        let diagonal = ((one - (babies + giants - both)) / 9.0).clamp(0.0, one);
        let base = one - diagonal;
        note(&mut costs.operations, Kind::LinearDiagonal, place.limbs, 0, diagonal);
        note(&mut costs.operations, Kind::LinearBase, place.limbs, 0, base);
        note(&mut costs.operations, Kind::LinearBaby, place.limbs, key_limbs, (babies - base - 4.0 * diagonal) / 3.0);
        note(&mut costs.operations, Kind::LinearGiant, place.limbs, key_limbs, (giants - base - 4.0 * diagonal) / 3.0);
    }
    let result = wires.get(plan.outputs[0].wire.index()).ok_or(EngineError::Turn("a result is not there"))?;
    for _ in 0..3 {
        let (seconds, bytes) = timed(|| timer.executor.write(&result));
        note(&mut costs.operations, Kind::Output, place.limbs, 0, seconds);
        let (seconds, opened) = timed(|| client.open(wire, &bytes));
        opened?;
        note(&mut costs.operations, Kind::Decrypt, place.limbs, 0, seconds);
    }
    scratch(place, &plan, &probes, timer.executor, linear, costs);
    note(&mut costs.scratch, Kind::Encrypt, place.limbs, 0, client.scratch_bytes(wire) as f64);
    // Once more with all threads: what they take from each other.
    if threads > 1 && place.key.k / micro::BASE2K == place.limbs {
        let executor = server.executor_with(messages.iter().map(|(id, bytes)| (*id, bytes.as_slice())).collect())?;
        let timer = Timer { executor, seconds: Mutex::new(vec![f64::INFINITY; plan.steps.len()]) };
        drive(&timer, &plan, (0, plan.steps.len() as u32), &Wires::new(&plan), threads)?;
        let together = timer.take();
        let heavy = |seconds: &[f64]| -> f64 { probes.iter().zip(seconds).filter(|(p, _)| **p == Probe::Dot8).map(|(_, s)| s).sum() };
        costs.crowded = costs.crowded.max((heavy(&together) / heavy(&alone)).clamp(1.0, threads as f64));
    }
    Ok(())
}

/// What the library asks for, operation by operation.
fn scratch(place: &Place, plan: &Plan, probes: &[Probe], executor: &Executor, linear: bool, costs: &mut RingCosts) {
    // The copies that the executor provides for are counted by the width of the whole plan.
    let copies = 8.0 * hecc_plan::counts::half_bytes(plan, plan.ckks.max_k) as f64;
    let bytes = |probe: Probe| executor.scratch_bytes(&micro::only(plan, probes, probe)) as f64 - copies;
    let mut note = |kind: Kind, key_limbs: u32, value: f64| {
        costs.scratch.entry(kind).or_default().push(Sample { limbs: place.limbs, key_limbs, value: value.max(0.0) });
    };
    for kind in [Kind::MulConst, Kind::MulPlain] {
        note(kind, 0, bytes(Probe::Of(kind)));
    }
    for kind in [Kind::Product, Kind::Dot2, Kind::Rotate] {
        note(kind, place.key_limbs(), bytes(Probe::Of(kind)));
    }
    note(Kind::Pair, 0, (bytes(Probe::Dot8) - bytes(Probe::Of(Kind::Dot2))) / 6.0);
    if linear {
        let (one, many) = (bytes(Probe::Linear(0)), bytes(Probe::Linear(3)));
        let rotations = (MATRICES[3].1 - 1 + MATRICES[3].0 / MATRICES[3].1 - 1) as f64;
        note(Kind::LinearBase, place.key_limbs(), one);
        note(Kind::LinearBaby, 0, (many - one) / rotations);
    }
}

/// Times the steps of an executor.
struct Timer<'a> {
    executor: &'a Executor,
    seconds: Mutex<Vec<f64>>,
}

impl Timer<'_> {
    fn take(&self) -> Vec<f64> {
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Machine for Timer<'_> {
    type Wire = Ct;
    type Error = EngineError;

    fn step(&self, index: usize, step: &Step, operands: &[&Ct]) -> Result<Ct, EngineError> {
        let (seconds, result) = timed(|| self.executor.step(index, step, operands));
        self.seconds.lock().unwrap_or_else(PoisonError::into_inner)[index] = seconds;
        result
    }
}

/// Seconds that the processor spends on this thread.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    timed_by(ClockId::ThreadCPUTime, work)
}

fn timed_by<T>(clock: ClockId, work: impl FnOnce() -> T) -> (f64, T) {
    let now = || {
        let time = rustix::time::clock_gettime(clock);
        Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
    };
    let start = now();
    let result = work();
    ((now() - start).as_secs_f64(), result)
}

/// Seconds to pack or unpack one per-sample tensor that fills a ciphertext.
fn packing(log_n: u32) -> f64 {
    let lanes = 1usize << (log_n - 4);
    let grid = Geometry { width: 8, lanes, batch: lanes };
    let value = Tensor::new(vec![lanes, 8], vec![0.5; 8 * lanes]);
    let mut slots = vec![0.0; grid.slots()];
    let mut pack = || timed(|| Layout::Samples { group: 0, period: 8 }.pack(&grid, &value, 1.0, &mut slots)).0;
    (0..5).map(|_| pack()).fold(f64::INFINITY, f64::min)
}

/// What the two parties' tables of transforms hold (0 where the system does not tell), and one of the tables.
fn library_bytes(log_n: u32) -> (u64, impl Sized) {
    let held = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
    };
    let before = held();
    let tables = ckks::tables(log_n);
    let after = held();
    (2 * after.saturating_sub(before), tables)
}

fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':')).map(|(_, name)| name.trim().to_owned());
    name.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bootstrap_is_measured_by_a_plan_that_checks() {
        for name in ["insecure-dense-10", "insecure-sparse-10-16"] {
            let offer = hecc_plan::bootstrap::offer(name, BOOTSTRAP_SCALE).expect("an offer");
            hecc_plan::check::check_insecure(&micro::bootstrap(&offer)).expect("a plan");
            assert!(bootstrap(&offer, 2).expect("it runs") > 0.0);
        }
    }
}
