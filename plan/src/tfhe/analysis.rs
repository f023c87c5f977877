//! What is known of every integer of a plan without running it: its range, and which noises are in it.

use std::collections::{BTreeMap, BTreeSet};

use super::parameters::{LookupId, RingId, SwitchId};
use super::{Machine, Op, Plan, Row, Step, drive};

/// Where noise comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The client's encryption.
    Fresh(RingId),
    /// A bootstrap.
    Lookup(LookupId),
    /// A key switch of its own.
    Switch(SwitchId),
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
    /// Coefficient of each noise, by its number.
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

/// Analyses a plan whose steps are well formed.
pub fn run(plan: &Plan) -> Analysis {
    let mut machine = Analyser { plan, sources: Vec::new(), demands: BTreeSet::new(), found: Analysis::default() };
    let Ok(outputs) = drive(&mut machine, plan);
    for (output, integers) in plan.outputs.iter().zip(&outputs) {
        let bits = plan.steps[output.wire.index()].wire.bits;
        machine.fits(output.wire.index(), integers, bits + 1, "the client reads");
        integers.iter().for_each(|integer| machine.demand(Decision::Decrypt, -(bits as i32) - 2, &integer.noise, 1.0));
    }
    let mut kept: Vec<Demand> = Vec::new();
    for demand in machine.demands {
        if !kept.iter().any(|other| demand.follows_from(other)) {
            kept.retain(|other| !other.follows_from(&demand));
            kept.push(demand);
        }
    }
    Analysis { demands: kept, ..machine.found }
}

struct Analyser<'a> {
    plan: &'a Plan,
    sources: Vec<Source>,
    demands: BTreeSet<Demand>,
    found: Analysis,
}

impl Analyser<'_> {
    fn source(&mut self, source: Source) -> u32 {
        self.sources.push(source);
        self.sources.len() as u32 - 1
    }

    fn demand(&mut self, decision: Decision, half_box: i32, noise: &[(u32, f64)], factor: f64) {
        let mut sums: BTreeMap<Source, f64> = BTreeMap::new();
        for (source, c) in noise {
            *sums.entry(self.sources[*source as usize]).or_default() += (c * factor) * (c * factor);
        }
        self.demands.insert(Demand { decision, half_box, noise: sums.into_iter().map(|(source, sum)| (source, sum.to_bits())).collect() });
    }

    fn fault(&mut self, step: usize, why: String) {
        if self.found.faults.last().is_none_or(|(last, _)| *last != step) {
            self.found.faults.push((step, why));
        }
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
            Op::Affine { operands: names, rows } => {
                let shifts: Vec<u32> = names.iter().map(|w| self.plan.steps[w.index()].wire.bits - wire.bits).collect();
                rows.iter().map(|row| affine(row, operands, &shifts)).collect()
            }
            Op::Table { a: _, tables, lookup } => {
                self.fits(index, operands[0], operand_bits, "a table reads");
                let mut made = Vec::with_capacity(operands[0].len());
                for (i, integer) in operands[0].iter().enumerate() {
                    self.demand(Decision::Lookup(*lookup), -(operand_bits as i32) - 2, &integer.noise, 1.0);
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
                    let mut noise = integer.noise.clone();
                    for dropped in 0..*drop {
                        let factor = libm::exp2(f64::from(operand_bits - dropped));
                        self.demand(Decision::Lookup(*lookup), -2, &noise, factor);
                        noise.push((self.source(Source::Lookup(*lookup)), 1.0));
                    }
                    made.push(Integer { low: integer.low >> drop, high: integer.high >> drop, noise });
                }
                made
            }
            Op::Rest { operands: names } => {
                let drop = operand_bits - self.plan.steps[names[1].index()].wire.bits;
                // The noise of the value is in its floor too, and goes.
                let left = |(v, floor): (&Integer, &Integer)| Integer {
                    low: 0,
                    high: (1 << drop) - 1,
                    noise: floor.noise.iter().filter(|(source, _)| !v.noise.iter().any(|(s, _)| s == source)).copied().collect(),
                };
                operands[0].iter().zip(operands[1]).map(left).collect()
            }
            Op::Sign { a: _, no, yes, lookup } => {
                self.fits(index, operands[0], operand_bits + 1, "a sign reads");
                let mut made = Vec::with_capacity(operands[0].len());
                for integer in operands[0] {
                    self.demand(Decision::Lookup(*lookup), -(operand_bits as i32) - 2, &integer.noise, 1.0);
                    made.push(fresh(*no.min(yes), *no.max(yes), self.source(Source::Lookup(*lookup))));
                }
                made
            }
            Op::Switch { a: _, switch } => {
                let mut made = operands[0].clone();
                made.iter_mut().for_each(|integer| integer.noise.push((self.source(Source::Switch(*switch)), 1.0)));
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

/// Range and noise of a row; operands stand on steps finer by `shifts` bits.
fn affine(row: &Row, operands: &[&Vec<Integer>], shifts: &[u32]) -> Integer {
    let (mut low, mut high) = (row.constant, row.constant);
    let mut noise: BTreeMap<u32, f64> = BTreeMap::new();
    for &(o, e, c) in &row.terms {
        let integer = &operands[o as usize][e as usize];
        let ends = [c.saturating_mul(integer.low), c.saturating_mul(integer.high)];
        low = low.saturating_add(ends[0].min(ends[1]));
        high = high.saturating_add(ends[0].max(ends[1]));
        let factor = c as f64 * libm::exp2(f64::from(shifts[o as usize]));
        for (source, coefficient) in &integer.noise {
            *noise.entry(*source).or_default() += factor * coefficient;
        }
    }
    Integer { low: low.clamp(-2 * LARGEST, 2 * LARGEST), high: high.clamp(-2 * LARGEST, 2 * LARGEST), noise: noise.into_iter().collect() }
}
