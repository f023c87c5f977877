//! What is known of every integer of a plan without running it: its range, and which noises are in it.

use std::collections::{BTreeMap, BTreeSet};

use super::parameters::{LookupId, RingId, SwitchId};
use super::sending::Sending;
use super::{Machine, Op, Plan, Row, Step, drive};
use crate::CarriedId;

/// Where noise comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The client's encryption.
    Fresh(RingId),
    /// A bootstrap.
    Lookup(LookupId),
    /// A key switch of its own.
    Switch(SwitchId),
    /// Being packed and rounded on the way back to the client.
    Sent(Sending),
}

/// What decides: a bootstrap, or the client's decryption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// A bootstrap.
    Lookup(LookupId),
    /// The decryption of an output.
    Decrypt,
}

/// A decision that noise must not turn: half its box, and the noise before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Demand {
    /// What decides.
    pub decision: Decision,
    /// log2 of half the box, as a part of the torus.
    pub half_box: i32,
    /// Σ of squared coefficients of each source, as bits of an `f64`, so that demands can be told apart.
    noise: Vec<(Source, u64)>,
}

impl Demand {
    /// Σ of squared coefficients of each source.
    pub fn noise(&self) -> impl Iterator<Item = (Source, f64)> + '_ {
        self.noise.iter().map(|&(source, bits)| (source, f64::from_bits(bits)))
    }

    /// Whether another one that holds makes this one hold.
    fn follows_from(&self, other: &Demand) -> bool {
        self.decision == other.decision
            && self.half_box >= other.half_box
            && self.noise().all(|(source, sum)| other.noise().any(|(s, most)| s == source && sum <= most))
    }
}

/// What is known of an integer.
#[derive(Clone, Debug)]
pub struct Integer {
    /// Smallest.
    pub low: i64,
    /// Largest.
    pub high: i64,
    /// Coefficient of each noise, in the order of their numbers.
    noise: Vec<(u32, f64)>,
}

/// What is known of a plan.
#[derive(Clone, Debug, Default)]
pub struct Analysis {
    /// (smallest, largest) integer of each step.
    pub ranges: Vec<(i64, i64)>,
    /// Every decision, those left out that follow from others.
    pub demands: Vec<Demand>,
    /// What does not hold: (step, why).
    pub faults: Vec<(usize, String)>,
}

/// Largest magnitude of an integer on the way, so that no sum overflows.
const LARGEST: i64 = 1 << 40;

/// Most coefficients of noises together: integers that share many noises would otherwise take memory as their product.
const MOST_NOISES: usize = 1 << 25;
/// Most demands that others are held against.
const MOST_COMPARED: usize = 256;

/// Noise that a vector of the plan's carried ones may bring from the last update: of each source, the largest Σ of squared
/// coefficients of its integers.
type Brought = Vec<BTreeMap<Source, f64>>;

/// Analyses a plan whose steps are well formed.
///
/// # What the server carries
///
/// A carried integer is the client's at first, and after that what the last update, or an earlier one, made of it. It counts with
/// the noise of both together, which is more than either. That holds for every update to come if what an update keeps has none of
/// the noise that it found: each kept integer is made by bootstraps of this update, or stays as it is. Noises of a vector's integers
/// are independent if no two of them have one in common; if vectors have some in common, all may be the same, and their variances
/// count as often as there are such vectors (Cauchy and Schwarz).
pub fn run(plan: &Plan) -> Analysis {
    let machine = analysed(plan);
    let mut kept: Vec<Demand> = Vec::new();
    let mut demands: Vec<Demand> = machine.demands.into_iter().map(|(demand, _)| demand).collect();
    demands.dedup();
    for demand in demands {
        if kept.len() >= MOST_COMPARED {
            kept.push(demand);
        } else if !kept.iter().any(|other| demand.follows_from(other)) {
            kept.retain(|other| !other.follows_from(&demand));
            kept.push(demand);
        }
    }
    Analysis { demands: kept, ..machine.found }
}

/// Every different decision of each step of a checked plan; that of a decryption is of the step that is decrypted.
pub fn by_step(plan: &Plan) -> Vec<Vec<Demand>> {
    let mut steps = vec![Vec::new(); plan.steps.len()];
    analysed(plan).demands.into_iter().for_each(|(demand, step)| steps[step].push(demand));
    steps
}

fn analysed(plan: &Plan) -> Analyser<'_> {
    let new = |brought| Analyser { plan, sources: Vec::new(), brought, demands: BTreeSet::new(), found: Analysis::default(), noises: 0 };
    let mut machine = new(Brought::new());
    let Ok(mut made) = drive(&mut machine, plan);
    if !plan.carried.is_empty() {
        // What an update keeps does not depend on what it found, if it may be kept.
        let brought = machine.keeps(&made.carried);
        if !machine.found.faults.is_empty() {
            return machine;
        }
        machine = new(brought);
        let Ok(again) = drive(&mut machine, plan);
        made = again;
    }
    for ((output, integers), sending) in plan.outputs.iter().zip(&made.outputs).zip(plan.sendings()) {
        let bits = plan.steps[output.wire.index()].wire.bits;
        let index = output.wire.index();
        machine.fits(index, integers, bits + 1, "the client reads");
        let sent = sending.map(|sending| (machine.source(Source::Sent(sending)), 1.0));
        for integer in integers {
            if machine.afford(index, integer.noise.len()).is_some() {
                let noise: Vec<(u32, f64)> = integer.noise.iter().copied().chain(sent).collect();
                machine.demand(index, Decision::Decrypt, -(bits as i32) - 2, &noise, 1.0);
            }
        }
    }
    // The client can fetch what is kept.
    for (carried, integers) in plan.carried.iter().zip(&made.carried) {
        let (index, bits) = (carried.wire.index(), plan.steps[carried.wire.index()].wire.bits);
        machine.fits(index, integers, bits + 1, "the client reads");
        integers.iter().for_each(|integer| machine.demand(index, Decision::Decrypt, -(bits as i32) - 2, &integer.noise, 1.0));
    }
    machine
}

/// One noise.
#[derive(Clone, Copy)]
enum Origin {
    /// From this update.
    New(Source),
    /// Of an integer of that carried vector.
    Kept(CarriedId, RingId),
}

struct Analyser<'a> {
    plan: &'a Plan,
    sources: Vec<Origin>,
    brought: Brought,
    /// With the step that decides.
    demands: BTreeSet<(Demand, usize)>,
    found: Analysis,
    noises: usize,
}

impl Analyser<'_> {
    fn source(&mut self, source: Source) -> u32 {
        self.origin(Origin::New(source))
    }

    fn origin(&mut self, origin: Origin) -> u32 {
        self.sources.push(origin);
        self.sources.len() as u32 - 1
    }

    /// The noise in what is kept, and faults where it would pile up.
    fn keeps(&mut self, kept: &[Vec<Integer>]) -> Brought {
        let mut owners: BTreeMap<u32, usize> = BTreeMap::new();
        let mut common: BTreeSet<usize> = BTreeSet::new();
        let mut brought = Brought::new();
        for (number, (carried, integers)) in self.plan.carried.iter().zip(kept).enumerate() {
            let step = carried.wire.index();
            // What is never made anew has no noise but the client's.
            let same = matches!(self.plan.steps[step].op, Op::Carried(id) if id.0 as usize == number);
            let mut most: BTreeMap<Source, f64> = BTreeMap::new();
            for integer in integers.iter().filter(|_| !same) {
                if self.afford(step, integer.noise.len()).is_none() {
                    return brought;
                }
                let mut sums: BTreeMap<Source, f64> = BTreeMap::new();
                for &(source, c) in &integer.noise {
                    match self.sources[source as usize] {
                        Origin::New(source) => *sums.entry(source).or_default() += c * c,
                        Origin::Kept(..) => self.fault(step, "what is kept has the noise of what was: it would pile up".to_owned()),
                    }
                    match owners.insert(source, number) {
                        Some(other) if other == number => self.fault(step, "integers that are kept share a noise".to_owned()),
                        Some(other) => common.extend([other, number]),
                        None => {}
                    }
                }
                for (source, sum) in sums {
                    let most = most.entry(source).or_default();
                    *most = most.max(sum);
                }
            }
            brought.push(most);
        }
        let times = common.len() as f64;
        common.iter().for_each(|&number| brought[number].values_mut().for_each(|sum| *sum *= times));
        brought
    }

    fn demand(&mut self, step: usize, decision: Decision, half_box: i32, noise: &[(u32, f64)], factor: f64) {
        if self.afford(step, noise.len()).is_none() {
            return;
        }
        let mut sums: BTreeMap<Source, f64> = BTreeMap::new();
        for (source, c) in noise {
            let square = (c * factor) * (c * factor);
            match self.sources[*source as usize] {
                Origin::New(source) => *sums.entry(source).or_default() += square,
                Origin::Kept(id, ring) => {
                    *sums.entry(Source::Fresh(ring)).or_default() += square;
                    let brought = self.brought.get(id.0 as usize);
                    brought.into_iter().flatten().for_each(|(source, sum)| *sums.entry(*source).or_default() += square * sum);
                }
            }
        }
        let noise = sums.into_iter().map(|(source, sum)| (source, sum.to_bits())).collect();
        self.demands.insert((Demand { decision, half_box, noise }, step));
    }

    fn fault(&mut self, step: usize, why: String) {
        if self.found.faults.last().is_none_or(|(last, _)| *last != step) {
            self.found.faults.push((step, why));
        }
    }

    /// Counts coefficients before they are made or gone through; none are where there would be too many.
    fn afford(&mut self, step: usize, noises: usize) -> Option<()> {
        self.noises = self.noises.saturating_add(noises);
        if self.noises > MOST_NOISES {
            self.fault(step, "too many noises are in its integers".to_owned());
            return None;
        }
        Some(())
    }

    /// Range and noise of a row; operands stand on steps finer by `shifts` bits, or coarser where those are negative.
    fn affine(&mut self, step: usize, row: &Row, operands: &[&Vec<Integer>], shifts: &[i32]) -> Integer {
        // As many terms as there can be do not overflow these; saturated, they would hide what is too large.
        let (mut low, mut high) = (i128::from(row.constant), i128::from(row.constant));
        let mut noise: BTreeMap<u32, f64> = BTreeMap::new();
        for &(o, e, c) in &row.terms {
            let integer = &operands[o as usize][e as usize];
            let ends = [integer.low, integer.high].map(|end| i128::from(c) * i128::from(end));
            low += ends[0].min(ends[1]);
            high += ends[0].max(ends[1]);
            if self.afford(step, integer.noise.len()).is_none() {
                continue;
            }
            let factor = c as f64 * libm::exp2(f64::from(shifts[o as usize]));
            for (source, coefficient) in &integer.noise {
                *noise.entry(*source).or_default() += factor * coefficient;
            }
        }
        let most = i128::from(2 * LARGEST);
        let [low, high] = [low, high].map(|end| end.clamp(-most, most) as i64);
        Integer { low, high, noise: noise.into_iter().collect() }
    }

    /// Says so where integers do not fit `bits` bits.
    fn fits(&mut self, step: usize, integers: &[Integer], bits: u32, who: &str) {
        let half = 1i64 << (bits - 1);
        if let Some(integer) = integers.iter().find(|integer| integer.low < -half || integer.high >= half) {
            self.fault(step, format!("{who} {bits} bits, where {} to {} can occur", integer.low, integer.high));
        }
    }
}

impl Machine for Analyser<'_> {
    type Wire = Vec<Integer>;
    type Error = std::convert::Infallible;

    fn step(&mut self, index: usize, step: &Step, operands: &[&Vec<Integer>]) -> Result<Vec<Integer>, Self::Error> {
        let wire = step.wire;
        let operand_bits = step.op.operands().first().map_or(0, |a| self.plan.steps[a.index()].wire.bits);
        let fresh = |low: i64, high: i64, noise: u32| Integer { low, high, noise: vec![(noise, 1.0)] };
        let made: Vec<Integer> = match &step.op {
            Op::Input(_) => (0..wire.len).map(|_| fresh(wire.low, wire.high, self.source(Source::Fresh(wire.ring)))).collect(),
            Op::Carried(id) => (0..wire.len).map(|_| fresh(wire.low, wire.high, self.origin(Origin::Kept(*id, wire.ring)))).collect(),
            Op::Affine { operands: names, rows } => {
                let shifts: Vec<i32> = names.iter().map(|w| self.plan.steps[w.index()].wire.bits as i32 - wire.bits as i32).collect();
                rows.iter().map(|row| self.affine(index, row, operands, &shifts)).collect()
            }
            Op::Table { a: _, tables, lookup } => {
                self.fits(index, operands[0], operand_bits, "a table reads");
                let mut made = Vec::with_capacity(operands[0].len());
                for (i, integer) in operands[0].iter().enumerate() {
                    self.demand(index, Decision::Lookup(*lookup), -(operand_bits as i32) - 2, &integer.noise, 1.0);
                    let table = &self.plan.tables[tables[i % tables.len()].0 as usize];
                    let half = table.values.len() as i64 / 2;
                    let reached = (integer.low.clamp(-half, half - 1)..=integer.high.clamp(-half, half - 1)).map(|v| table.at(v));
                    let (low, high) = reached.fold((i64::MAX, i64::MIN), |(low, high), v| (low.min(v), high.max(v)));
                    made.push(fresh(low, high, self.source(Source::Lookup(*lookup))));
                }
                made
            }
            Op::Floor { a: _, drop, lookup } => {
                self.fits(index, operands[0], operand_bits + 1, "the torus has room for");
                let mut made = Vec::with_capacity(operands[0].len());
                for integer in operands[0] {
                    let mut noise = self.afford(index, integer.noise.len()).map_or_else(Vec::new, |()| integer.noise.clone());
                    for dropped in 0..*drop {
                        let factor = libm::exp2(f64::from(operand_bits - dropped));
                        self.demand(index, Decision::Lookup(*lookup), -2, &noise, factor);
                        noise.push((self.source(Source::Lookup(*lookup)), 1.0));
                    }
                    made.push(Integer { low: integer.low >> drop, high: integer.high >> drop, noise });
                }
                made
            }
            Op::Rest { operands: names } => {
                let drop = operand_bits - self.plan.steps[names[1].index()].wire.bits;
                // The noise of the value is in its floor too, and goes.
                let mut left = |(v, floor): (&Integer, &Integer)| {
                    if self.afford(index, floor.noise.len()).is_none() {
                        return Integer { low: 0, high: (1 << drop) - 1, noise: Vec::new() };
                    }
                    let gone = |source: &u32| v.noise.binary_search_by_key(source, |(s, _)| *s).is_ok();
                    let noise = floor.noise.iter().filter(|(source, _)| !gone(source)).copied().collect();
                    Integer { low: 0, high: (1 << drop) - 1, noise }
                };
                operands[0].iter().zip(operands[1]).map(&mut left).collect()
            }
            Op::Sign { a: _, no, yes, lookup } => {
                self.fits(index, operands[0], operand_bits + 1, "a sign reads");
                let mut made = Vec::with_capacity(operands[0].len());
                for integer in operands[0] {
                    self.demand(index, Decision::Lookup(*lookup), -(operand_bits as i32) - 2, &integer.noise, 1.0);
                    made.push(fresh(*no.min(yes), *no.max(yes), self.source(Source::Lookup(*lookup))));
                }
                made
            }
            Op::Switch { a: _, switch } => {
                let mut made = Vec::with_capacity(operands[0].len());
                for Integer { low, high, noise } in operands[0] {
                    let mut noise = self.afford(index, noise.len()).map_or_else(Vec::new, |()| noise.clone());
                    noise.push((self.source(Source::Switch(*switch)), 1.0));
                    made.push(Integer { low: *low, high: *high, noise });
                }
                made
            }
        };
        let range = made.iter().fold((i64::MAX, i64::MIN), |(low, high), i| (low.min(i.low), high.max(i.high)));
        if range.0 < -LARGEST || range.1 > LARGEST {
            self.fault(index, format!("integers from {} to {} are too large", range.0, range.1));
        }
        self.found.ranges.push(range);
        Ok(made)
    }
}
