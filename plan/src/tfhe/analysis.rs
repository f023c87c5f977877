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

/// Analyses a plan whose steps are well formed.
pub fn run(plan: &Plan) -> Analysis {
    let mut machine = Analyser { plan, sources: Vec::new(), demands: BTreeSet::new(), found: Analysis::default(), noises: 0 };
    let Ok(outputs) = drive(&mut machine, plan);
    for (output, integers) in plan.outputs.iter().zip(&outputs) {
        let bits = plan.steps[output.wire.index()].wire.bits;
        let index = output.wire.index();
        machine.fits(index, integers, bits + 1, "the client reads");
        integers.iter().for_each(|integer| machine.demand(index, Decision::Decrypt, -(bits as i32) - 2, &integer.noise, 1.0));
    }
    let mut kept: Vec<Demand> = Vec::new();
    for demand in machine.demands {
        if kept.len() >= MOST_COMPARED {
            kept.push(demand);
        } else if !kept.iter().any(|other| demand.follows_from(other)) {
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
    noises: usize,
}

impl Analyser<'_> {
    fn source(&mut self, source: Source) -> u32 {
        self.sources.push(source);
        self.sources.len() as u32 - 1
    }

    fn demand(&mut self, step: usize, decision: Decision, half_box: i32, noise: &[(u32, f64)], factor: f64) {
        if self.afford(step, noise.len()).is_none() {
            return;
        }
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

    /// Counts coefficients before they are made or gone through; none are where there would be too many.
    fn afford(&mut self, step: usize, noises: usize) -> Option<()> {
        self.noises = self.noises.saturating_add(noises);
        if self.noises > MOST_NOISES {
            self.fault(step, "too many noises are in its integers".to_owned());
            return None;
        }
        Some(())
    }

    /// Range and noise of a row; operands stand on steps finer by `shifts` bits.
    fn affine(&mut self, step: usize, row: &Row, operands: &[&Vec<Integer>], shifts: &[u32]) -> Integer {
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
            Op::Affine { operands: names, rows } => {
                let shifts: Vec<u32> = names.iter().map(|w| self.plan.steps[w.index()].wire.bits - wire.bits).collect();
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
