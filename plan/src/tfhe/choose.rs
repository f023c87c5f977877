//! Chooses parameters: the cheapest rings, small secrets and digits with which every lookup decides rightly.
//!
//! Noise is linear: what reaches a lookup is a sum over its sources, each with the sum of the squares of its coefficients; and a
//! lookup's result does not remember its operand's noise. For given rings the choice is therefore one option of each class of
//! lookups (and of each switch) under linear constraints on what the options put out and add. It is found by branch and bound:
//! an option that cannot hold even with the quietest sources is dropped; where the cheapest options of all do not hold
//! together, the loudest source is split into its quieter and its louder options. Rings are tried by a bound on their cost.

use std::collections::BTreeMap;

use crate::tfhe::noise::{self, Modulus};
use crate::tfhe::parameters::{
    BIG, Decomposition, LARGEST_GADGET, LARGEST_SMALL_GADGET, LOG_N, Lookup, Parameters, Ring, RingId, SMALL, Switch, variance,
};
use crate::tfhe::prices::Prices;

/// What a program asks of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Demand {
    /// 128, or 0 for tests.
    pub security_bits: u32,
    /// Rings.
    pub rings: u32,
    /// Lookups by the keys they share.
    pub classes: Vec<Class>,
    /// Switches between rings.
    pub switches: Vec<Between>,
    /// What is decrypted: its `count` is of no account.
    pub readings: Vec<Use>,
    /// log2 of the largest probability that a lookup or a reading goes wrong.
    pub log2_failure: f64,
}

/// Lookups that share keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Class {
    /// Where operands are.
    pub from: RingId,
    /// Where results are.
    pub to: RingId,
    /// What they are used for.
    pub uses: Vec<Use>,
}

/// Lookups or readings with the same box and the same noise.
#[derive(Clone, Debug, PartialEq)]
pub struct Use {
    /// log2 of how far the nearest wrong decision is.
    pub half_box_log2: f64,
    /// Where the operand's noise comes from: with what sum of squared coefficients, amplification included.
    pub sources: Vec<(Source, f64)>,
    /// How many there are.
    pub count: f64,
}

/// Where noise comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A fresh ciphertext of the ring.
    Fresh(RingId),
    /// A result of the class of that index, which may be the user's own.
    Lookup(usize),
    /// What the switch of that index adds; what its operand brought is listed beside it.
    Switch(usize),
}

/// Switches of ciphertexts from ring to ring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Between {
    /// Where operands are.
    pub from: RingId,
    /// Where results are.
    pub to: RingId,
    /// How many there are.
    pub count: f64,
}

/// Parameters that meet a demand: lookups and switches are those of its classes and switches, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The parameters.
    pub parameters: Parameters,
    /// Predicted seconds of all lookups and switches on one thread.
    pub seconds: f64,
    /// log2 of the probability of a wrong decision, by class and use.
    pub log2_failure: Vec<Vec<f64>>,
    /// The same, by reading.
    pub readings: Vec<f64>,
}

/// What may be chosen.
struct Grid {
    rings: Vec<Ring>,
    small: Vec<u32>,
    rotation_levels: u32,
    switch_levels: u32,
}

impl Grid {
    fn standard(security_bits: u32) -> Self {
        let shrink = if security_bits == 0 { 8 } else { 1 };
        let sizes = BIG.start() / shrink..=*BIG.end();
        let ranks = |log_n: u32| (1..=4).map(move |dimension| Ring { dimension, log_n });
        let rings = LOG_N.flat_map(ranks).filter(|ring| sizes.contains(&ring.bits()) && (ring.dimension == 1 || ring.bits() <= 8192));
        let small = (SMALL.start() / shrink..=1100 / shrink).step_by((8 / shrink) as usize);
        Grid { rings: rings.collect(), small: small.collect(), rotation_levels: 3, switch_levels: 10 }
    }
}

/// Every ring and number of levels that a rotation may be chosen with.
pub(super) fn rotations() -> Vec<(Ring, u32)> {
    let Grid { rings, rotation_levels, .. } = Grid::standard(128);
    rings.into_iter().flat_map(|ring| (1..=rotation_levels).map(move |levels| (ring, levels))).collect()
}

/// The cheapest parameters that meet a demand, or `None` if none does. Takes every combination of rings: a demand has one or
/// two of them, three at most.
pub fn choose(demand: &Demand, prices: &Prices) -> Option<Choice> {
    choose_in(demand, prices, &Grid::standard(demand.security_bits))
}

/// One way to make the keys of a class or a switch.
#[derive(Clone, Copy)]
struct Candidate {
    seconds: f64,
    /// The variance that it puts out.
    out: f64,
    /// The variance that it adds before it decides.
    added: f64,
    small: u32,
    switch: Decomposition,
    rotation: Decomposition,
}

/// A bound on noise: `coefficients · out` of items, and `added` of the owner, stay below `room`.
struct Constraint {
    owner: Option<usize>,
    coefficients: Vec<(usize, f64)>,
    room: f64,
}

/// Rings by index into the grid, one for each of the demand's.
type Shapes = Vec<usize>;

/// What a class's or a switch's candidates depend on: the rings' indices, and whether there is a rotation.
type Key = (usize, usize, bool);

/// The quietest digits by number of levels, from one, each with its noise.
type ByLevels = Vec<(Decomposition, f64)>;

struct Search<'a> {
    demand: &'a Demand,
    prices: &'a Prices,
    grid: &'a Grid,
    /// Switches to small secrets, by bits of the ring's secret and index of the small one.
    switches: BTreeMap<u32, Vec<ByLevels>>,
    /// Rotations, by ring: the noise for each bit of the small secret.
    rotations: Vec<ByLevels>,
    /// Largest variances, by class and use.
    rooms: Vec<Vec<f64>>,
}

fn choose_in(demand: &Demand, prices: &Prices, grid: &Grid) -> Option<Choice> {
    let search = Search::new(demand, prices, grid);
    let mut order: Vec<(f64, Shapes)> = Vec::new();
    let mut least: BTreeMap<(usize, Key), f64> = BTreeMap::new();
    let mut shapes = vec![0; demand.rings as usize];
    loop {
        let mut bound = 0.0;
        for (item, (key, count)) in search.keys(&shapes).into_iter().enumerate() {
            bound += *least.entry((item, key)).or_insert_with(|| search.least(item, key) * count);
        }
        if bound.is_finite() {
            order.push((bound, shapes.clone()));
        }
        // The next combination, the last ring fastest.
        let Some(position) = shapes.iter().rposition(|&shape| shape + 1 < grid.rings.len()) else { break };
        shapes[position] += 1;
        shapes[position + 1..].fill(0);
    }
    order.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let mut best: Option<(f64, Shapes, Vec<Candidate>)> = None;
    for (bound, shapes) in order {
        let limit = best.as_ref().map_or(f64::INFINITY, |(seconds, ..)| *seconds);
        if bound >= limit {
            break;
        }
        if let Some((seconds, chosen)) = search.best(&shapes, limit) {
            best = Some((seconds, shapes, chosen));
        }
    }
    let (seconds, shapes, chosen) = best?;
    Some(search.finish(seconds, &shapes, &chosen))
}

impl<'a> Search<'a> {
    fn new(demand: &'a Demand, prices: &'a Prices, grid: &'a Grid) -> Self {
        let bits = demand.security_bits;
        let mut switches = BTreeMap::new();
        for ring in &grid.rings {
            let to_small =
                |&small: &u32| keyswitches(grid.switch_levels, ring.bits(), variance(bits, small, Modulus::Small), Modulus::Small);
            switches.entry(ring.bits()).or_insert_with(|| grid.small.iter().map(to_small).collect());
        }
        let rotations = |ring: &Ring| {
            let key = variance(bits, ring.bits(), Modulus::Big);
            let step = |decomposition| noise::bootstrap_step(ring.dimension, ring.log_n, key, decomposition);
            (1..=grid.rotation_levels).map(|levels| quietest(levels, LARGEST_GADGET, step)).collect()
        };
        let rooms = demand.classes.iter().map(|class| class.uses.iter().map(|usage| demand.room(usage)).collect());
        Self { demand, prices, grid, switches, rotations: grid.rings.iter().map(rotations).collect(), rooms: rooms.collect() }
    }
}

impl Demand {
    /// The largest variance that a use can stand.
    fn room(&self, usage: &Use) -> f64 {
        noise::largest_variance(libm::exp2(usage.half_box_log2), self.log2_failure)
    }
}

impl Search<'_> {
    /// What the candidates of each item depend on, and how often it is done: classes, then switches.
    fn keys(&self, shapes: &Shapes) -> Vec<(Key, f64)> {
        let shape = |id: RingId| shapes[id.0 as usize];
        let classes = self.demand.classes.iter().map(|class| {
            let count = class.uses.iter().map(|usage| usage.count).sum();
            ((shape(class.from), shape(class.to), true), count)
        });
        classes.chain(self.demand.switches.iter().map(|switch| ((shape(switch.from), shape(switch.to), false), switch.count))).collect()
    }

    /// The least seconds of one of an item's operations, in the best of cases.
    fn least(&self, item: usize, key: Key) -> f64 {
        let tightest = self.rooms.get(item).map_or(f64::INFINITY, |rooms| rooms.iter().copied().fold(f64::INFINITY, f64::min));
        let mut least = f64::INFINITY;
        self.candidates(key, |candidate| {
            if candidate.added <= tightest {
                least = least.min(candidate.seconds);
            }
        });
        least
    }

    /// All ways to make the keys of one item.
    fn candidates(&self, (from, to, rotates): Key, mut take: impl FnMut(Candidate)) {
        let (grid, prices, demand) = (self.grid, self.prices, self.demand);
        let (from, ring) = (grid.rings[from], grid.rings[to]);
        if !rotates {
            let rotation = Decomposition { base_log: 0, levels: 0 };
            let key = variance(demand.security_bits, ring.bits(), Modulus::Big);
            for (switch, out) in keyswitches(grid.switch_levels, from.bits(), key, Modulus::Big) {
                let seconds = prices.moving(from.bits(), ring.bits(), switch.levels);
                take(Candidate { seconds, out, added: 0.0, small: 0, switch, rotation });
            }
            return;
        }
        for (&small, switches) in grid.small.iter().zip(&self.switches[&from.bits()]) {
            let rounding = noise::centred_switch(f64::from(small), ring.log_n);
            for &(rotation, step) in &self.rotations[to] {
                let (turning, out) = (prices.rotation(small, ring, rotation.levels), f64::from(small) * step);
                let mut least = f64::INFINITY;
                for &(switch, noise) in switches {
                    // More digits only help as long as there is less noise.
                    if noise < least {
                        least = noise;
                        let seconds = turning + prices.switching(from.bits(), small, switch.levels);
                        take(Candidate { seconds, out, added: rounding + noise, small, switch, rotation });
                    }
                }
            }
        }
    }

    /// The cheapest candidates that hold together in these rings, if cheaper than `limit`.
    fn best(&self, shapes: &Shapes, limit: f64) -> Option<(f64, Vec<Candidate>)> {
        let item = |(key, count): (Key, f64)| {
            let mut candidates = Vec::new();
            self.candidates(key, |candidate| candidates.push(candidate));
            Item { candidates, count }
        };
        let constraints = self.constraints(shapes);
        // What depends on the rings alone.
        if constraints.iter().any(|constraint| constraint.owner.is_none() && constraint.coefficients.is_empty() && constraint.room < 0.0) {
            return None;
        }
        let mut bound = Bound { constraints: &constraints, seconds: limit, chosen: None, nodes: 0 };
        bound.explore(self.keys(shapes).into_iter().map(item).collect());
        bound.chosen.map(|chosen| (bound.seconds, chosen))
    }

    fn constraints(&self, shapes: &Shapes) -> Vec<Constraint> {
        let demand = self.demand;
        let constraint = |owner: Option<usize>, usage: &Use, room: f64| {
            let (mut room, mut by_item) = (room, BTreeMap::new());
            for (source, coefficient) in &usage.sources {
                match source {
                    Source::Fresh(ring) => {
                        let ring = self.grid.rings[shapes[ring.0 as usize]];
                        room -= coefficient * variance(demand.security_bits, ring.bits(), Modulus::Big);
                    }
                    Source::Lookup(class) => *by_item.entry(*class).or_insert(0.0) += coefficient,
                    Source::Switch(switch) => *by_item.entry(demand.classes.len() + switch).or_insert(0.0) += coefficient,
                }
            }
            Constraint { owner, coefficients: by_item.into_iter().collect(), room }
        };
        let classes = demand.classes.iter().zip(&self.rooms).enumerate();
        let uses = classes.flat_map(|(index, (class, rooms))| class.uses.iter().zip(rooms).map(move |(usage, room)| (index, usage, *room)));
        let of_uses = uses.map(|(index, usage, room)| constraint(Some(index), usage, room));
        of_uses.chain(demand.readings.iter().map(|usage| constraint(None, usage, demand.room(usage)))).collect()
    }

    fn finish(&self, seconds: f64, shapes: &Shapes, chosen: &[Candidate]) -> Choice {
        let demand = self.demand;
        let rings = shapes.iter().map(|&shape| self.grid.rings[shape]).collect();
        let (classes, switches) = chosen.split_at(demand.classes.len());
        let lookup = |(class, candidate): (&Class, &Candidate)| {
            let Candidate { small, switch, rotation, .. } = *candidate;
            Lookup { from: class.from, small, switch, to: class.to, rotation }
        };
        let between =
            |(switch, candidate): (&Between, &Candidate)| Switch { from: switch.from, to: switch.to, decomposition: candidate.switch };
        let parameters = Parameters {
            security_bits: demand.security_bits,
            rings,
            lookups: demand.classes.iter().zip(classes).map(lookup).collect(),
            switches: demand.switches.iter().zip(switches).map(between).collect(),
            packings: Vec::new(),
        };
        let incoming = |usage: &Use| -> f64 { usage.sources.iter().map(|(source, by)| by * source.variance(&parameters)).sum() };
        let half_box = |usage: &Use| libm::exp2(usage.half_box_log2);
        let of_class = |(class, lookup): (&Class, &Lookup)| {
            class.uses.iter().map(|usage| parameters.log2_failure(lookup, incoming(usage), half_box(usage))).collect()
        };
        let log2_failure = demand.classes.iter().zip(&parameters.lookups).map(of_class).collect();
        let readings = demand.readings.iter().map(|usage| noise::log2_failure(half_box(usage), incoming(usage))).collect();
        Choice { seconds, log2_failure, readings, parameters }
    }
}

impl Source {
    /// The variance that it brings, or adds.
    pub fn variance(&self, parameters: &Parameters) -> f64 {
        match *self {
            Source::Fresh(ring) => parameters.fresh(ring),
            Source::Lookup(class) => parameters.refreshed(&parameters.lookups[class]),
            Source::Switch(switch) => parameters.switched(&parameters.switches[switch]),
        }
    }
}

/// Key switches from a secret of that many bits under a key of that variance.
fn keyswitches(most: u32, from: u32, key: f64, to: Modulus) -> ByLevels {
    let noise = |decomposition| noise::keyswitch(f64::from(from), key, decomposition, to);
    let gadget = if to == Modulus::Small { LARGEST_SMALL_GADGET } else { LARGEST_GADGET };
    (1..=most).map(|levels| quietest(levels, gadget, noise)).collect()
}

/// The digits with the least noise, for so many of them and at most `gadget` bits in all.
fn quietest(levels: u32, gadget: u32, noise: impl Fn(Decomposition) -> f64) -> (Decomposition, f64) {
    let mut best = (Decomposition { base_log: 1, levels }, f64::INFINITY);
    for base_log in 1..=gadget / levels {
        let decomposition = Decomposition { base_log, levels };
        let noise = noise(decomposition);
        if noise < best.1 {
            best = (decomposition, noise);
        }
    }
    best
}

/// What is left of an item's candidates.
#[derive(Clone)]
struct Item {
    candidates: Vec<Candidate>,
    count: f64,
}

impl Item {
    fn least(&self, value: impl Fn(&Candidate) -> f64) -> f64 {
        self.candidates.iter().map(value).fold(f64::INFINITY, f64::min)
    }

    fn cheapest(&self) -> Option<&Candidate> {
        self.candidates.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds).then(a.out.total_cmp(&b.out)))
    }
}

/// Branch and bound.
struct Bound<'a> {
    constraints: &'a [Constraint],
    seconds: f64,
    chosen: Option<Vec<Candidate>>,
    nodes: usize,
}

/// Most nodes for one choice of rings: a bound on time, far above what is needed.
const MOST_NODES: usize = 4096;

impl Bound<'_> {
    fn explore(&mut self, mut items: Vec<Item>) {
        self.nodes += 1;
        if self.nodes > MOST_NODES || !self.narrow(&mut items) {
            return;
        }
        let Some(cheapest) = items.iter().map(|item| item.cheapest().copied()).collect::<Option<Vec<_>>>() else { return };
        let Some((item, threshold)) = self.loudest(&items, &cheapest) else {
            self.seconds = cheapest.iter().zip(&items).map(|(candidate, item)| candidate.seconds * item.count).sum();
            self.chosen = Some(cheapest);
            return;
        };
        let (mut quiet, mut loud) = (items.clone(), items);
        quiet[item].candidates.retain(|candidate| candidate.out <= threshold);
        loud[item].candidates.retain(|candidate| candidate.out > threshold);
        self.explore(quiet);
        self.explore(loud);
    }

    /// Drops what cannot hold or costs too much, until nothing changes; false if nothing is left, or all of it costs too much.
    fn narrow(&self, items: &mut [Item]) -> bool {
        loop {
            let before: usize = items.iter().map(|item| item.candidates.len()).sum();
            let quietest: Vec<f64> = items.iter().map(|item| item.least(|candidate| candidate.out)).collect();
            let added: Vec<f64> = items.iter().map(|item| item.least(|candidate| candidate.added)).collect();
            let least: Vec<f64> = items.iter().map(|item| item.least(|candidate| candidate.seconds) * item.count).collect();
            let total: f64 = least.iter().sum();
            if total.is_nan() || total >= self.seconds {
                return false;
            }
            for (index, item) in items.iter_mut().enumerate() {
                // What each constraint leaves for this item, and with which coefficients.
                let bounds: Vec<(f64, f64, f64)> = self
                    .constraints
                    .iter()
                    .map(|constraint| {
                        let others = constraint.coefficients.iter().filter(|(source, _)| *source != index);
                        let mut room = constraint.room - others.map(|(source, by)| by * quietest[*source]).sum::<f64>();
                        if let Some(owner) = constraint.owner.filter(|owner| *owner != index) {
                            room -= added[owner];
                        }
                        let own = constraint.coefficients.iter().find(|(source, _)| *source == index).map_or(0.0, |(_, by)| *by);
                        (own, if constraint.owner == Some(index) { 1.0 } else { 0.0 }, room)
                    })
                    .collect();
                let spare = self.seconds - (total - least[index]);
                let count = item.count;
                item.candidates.retain(|candidate| {
                    candidate.seconds * count < spare
                        && bounds.iter().all(|(out, added, room)| out * candidate.out + added * candidate.added <= *room)
                });
                if item.candidates.is_empty() {
                    return false;
                }
            }
            if items.iter().map(|item| item.candidates.len()).sum::<usize>() == before {
                return true;
            }
        }
    }

    /// Where the cheapest candidates do not hold together: the source that exceeds its quietest by most, and a variance
    /// between the two.
    fn loudest(&self, items: &[Item], cheapest: &[Candidate]) -> Option<(usize, f64)> {
        let mut worst: Option<(f64, usize, f64)> = None;
        for constraint in self.constraints {
            let sources: f64 = constraint.coefficients.iter().map(|(source, by)| by * cheapest[*source].out).sum();
            let added = constraint.owner.map_or(0.0, |owner| cheapest[owner].added);
            if sources + added <= constraint.room {
                continue;
            }
            for &(source, by) in &constraint.coefficients {
                let (low, high) = (items[source].least(|candidate| candidate.out), cheapest[source].out);
                let gap = by * (high - low) / constraint.room.abs();
                if high > low && worst.is_none_or(|(largest, ..)| gap > largest) {
                    let middle = (low * high).sqrt();
                    worst = Some((gap, source, if middle < high { middle.max(low) } else { low }));
                }
            }
        }
        worst.map(|(_, source, threshold)| (source, threshold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: RingId = RingId(0);

    fn usage(half_box_log2: f64, sources: &[(Source, f64)], count: f64) -> Use {
        Use { half_box_log2, sources: sources.to_vec(), count }
    }

    /// Tables of `p` bits on fresh ciphertexts.
    fn table(p: f64) -> Demand {
        let class = Class { from: ONE, to: ONE, uses: vec![usage(-(p + 2.0), &[(Source::Fresh(ONE), 1.0)], 100.0)] };
        Demand { security_bits: 128, rings: 1, classes: vec![class], switches: vec![], readings: vec![], log2_failure: -64.0 }
    }

    /// Tables of four bits on fresh ciphertexts, sums of 64 of their results of which `drop` low bits go, and tables of four
    /// bits on the rest: in a ring for the bits, and one for the tables.
    fn network(drop: u32) -> Demand {
        let (bits, tables) = (RingId(0), RingId(1));
        let square = |bits: u32| libm::exp2(2.0 * f64::from(bits));
        let extract = |i: u32| {
            // The lowest of the bits that are left goes to the top; what was taken off before added its noise.
            let amplify = square(3 + drop - i);
            usage(-2.0, &[(Source::Lookup(0), 64.0 * amplify), (Source::Lookup(1), f64::from(i) * amplify)], 100.0)
        };
        let first = usage(-6.0, &[(Source::Fresh(bits), 1.0)], 64.0);
        let second = usage(-6.0, &[(Source::Lookup(0), 64.0), (Source::Lookup(1), f64::from(drop))], 100.0);
        let classes = vec![
            Class { from: bits, to: bits, uses: vec![first, second] },
            Class { from: bits, to: bits, uses: (0..drop).map(extract).collect() },
            Class { from: bits, to: tables, uses: vec![usage(-6.0, &[(Source::Lookup(0), 1.0)], 10.0)] },
        ];
        let readings = vec![usage(-8.0, &[(Source::Lookup(2), 100.0)], 1.0)];
        Demand { security_bits: 128, rings: 2, classes, switches: vec![], readings, log2_failure: -64.0 }
    }

    fn holds(demand: &Demand, choice: &Choice) {
        assert_eq!(crate::tfhe::parameters::verify(&choice.parameters), []);
        for failure in choice.log2_failure.iter().flatten().chain(&choice.readings) {
            assert!(*failure <= demand.log2_failure, "{choice:?}");
        }
        let lookups = choice.parameters.lookups.iter().zip(&demand.classes).map(|(lookup, class)| {
            Prices::built_in().lookup(&choice.parameters, lookup) * class.uses.iter().map(|usage| usage.count).sum::<f64>()
        });
        let switches = choice.parameters.switches.iter().zip(&demand.switches);
        let between = switches.map(|(switch, between)| Prices::built_in().between(&choice.parameters, switch) * between.count);
        let seconds: f64 = lookups.chain(between).sum();
        assert!((seconds / choice.seconds - 1.0).abs() < 1e-9);
    }

    #[test]
    fn wider_tables_and_smaller_failures_cost_more() {
        let mut before = 0.0;
        for p in 1..=8 {
            let demand = table(f64::from(p));
            let choice = choose(&demand, Prices::built_in()).expect("parameters");
            holds(&demand, &choice);
            assert!(choice.seconds >= before, "{p} bits");
            before = choice.seconds;
            let surer = choose(&Demand { log2_failure: -96.0, ..demand }, Prices::built_in()).expect("parameters");
            assert!(surer.seconds >= choice.seconds);
        }
        assert_eq!(choose(&table(14.0), Prices::built_in()), None);
    }

    #[test]
    fn bits_of_sums_ask_for_quiet_sources() {
        let mut before = 0.0;
        for drop in 1..=5 {
            let demand = network(drop);
            let choice = choose(&demand, Prices::built_in()).expect("parameters");
            holds(&demand, &choice);
            assert!(choice.seconds > before, "{drop} bits");
            before = choice.seconds;
        }
    }

    #[test]
    fn a_switch_brings_its_noise() {
        let mut demand = table(3.0);
        demand.rings = 2;
        let other = RingId(1);
        demand.classes[0].to = other;
        let sources = [(Source::Lookup(0), 4.0), (Source::Switch(0), 1.0)];
        demand.classes.push(Class { from: ONE, to: ONE, uses: vec![usage(-2.0 - 4.0, &sources, 10.0)] });
        demand.switches.push(Between { from: other, to: ONE, count: 10.0 });
        let choice = choose(&demand, Prices::built_in()).expect("parameters");
        holds(&demand, &choice);
        assert_eq!(choice.parameters.switches.len(), 1);
    }

    #[test]
    fn tests_get_short_secrets() {
        let demand = Demand { security_bits: 0, ..network(2) };
        let choice = choose(&demand, Prices::built_in()).expect("parameters");
        holds(&demand, &choice);
        assert!(choice.parameters.lookups.iter().all(|lookup| lookup.small < 200), "{choice:?}");
    }

    /// Every combination of every candidate.
    fn by_force(demand: &Demand, grid: &Grid) -> Option<f64> {
        let search = Search::new(demand, Prices::built_in(), grid);
        let mut best: Option<f64> = None;
        for first in 0..grid.rings.len() {
            for second in 0..grid.rings.len() {
                let shapes = vec![first, second];
                let constraints = search.constraints(&shapes);
                let items: Vec<(Vec<Candidate>, f64)> = search
                    .keys(&shapes)
                    .into_iter()
                    .map(|(key, count)| {
                        let mut all = Vec::new();
                        search.candidates(key, |candidate| all.push(candidate));
                        (all, count)
                    })
                    .collect();
                let mut at = vec![0; items.len()];
                'all: loop {
                    let chosen: Vec<Candidate> = at.iter().zip(&items).map(|(&i, (all, _))| all[i]).collect();
                    let fits = constraints.iter().all(|constraint| {
                        let sources: f64 = constraint.coefficients.iter().map(|(source, by)| by * chosen[*source].out).sum();
                        sources + constraint.owner.map_or(0.0, |owner| chosen[owner].added) <= constraint.room
                    });
                    let seconds: f64 = chosen.iter().zip(&items).map(|(candidate, (_, count))| candidate.seconds * count).sum();
                    if fits && best.is_none_or(|best| seconds < best) {
                        best = Some(seconds);
                    }
                    for (position, (all, _)) in at.iter_mut().zip(&items) {
                        *position += 1;
                        if *position < all.len() {
                            continue 'all;
                        }
                        *position = 0;
                    }
                    break;
                }
            }
        }
        best
    }

    #[test]
    fn nothing_is_cheaper_than_the_choice() {
        let rings = [(4, 9), (2, 10), (1, 11), (1, 12)].map(|(dimension, log_n)| Ring { dimension, log_n });
        let grid = Grid { rings: rings.to_vec(), small: vec![600, 700, 800, 900], rotation_levels: 2, switch_levels: 3 };
        let mut found = 0;
        for drop in 1..=6 {
            for log2_failure in [-20.0, -64.0] {
                let demand = Demand { log2_failure, ..network(drop) };
                let seconds = choose_in(&demand, Prices::built_in(), &grid).map(|choice| choice.seconds);
                let force = by_force(&demand, &grid);
                found += usize::from(force.is_some());
                match (seconds, force) {
                    (Some(a), Some(b)) => assert!((a / b - 1.0).abs() < 1e-12, "{drop} {log2_failure}: {a} {b}"),
                    (a, b) => assert_eq!(a, b, "{drop} {log2_failure}"),
                }
            }
        }
        assert!(found >= 4, "{found}");
    }
}
