//! Which rotation keys to make when memory does not hold one for each rotation.
//!
//! A rotation without a key of its own is a chain of rotations that have one. Chosen greedily, then exchanged one by one;
//! exact where the keys are few.

use std::collections::{BTreeMap, BTreeSet};

/// Up to this many sets of keys are compared, all of them.
const EXACT_SETS: u64 = 20_000;
/// Up to this many slots, in units, any step may get a key.
const FEW_SLOTS: u64 = 64;

/// Keys, and what the rotations cost with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RotationKeys {
    /// Steps that have a key: from 1 to slots - 1, ascending.
    pub keys: Vec<u64>,
    /// For each step wanted, the keys that it is made of, in order.
    pub chains: BTreeMap<u64, Vec<u64>>,
    /// Rotations run in all, each as often as it is wanted.
    pub rotations: u64,
    /// Whether no set of so many of the candidates does with fewer.
    pub exact: bool,
}

/// Keys for rotations of `slots` slots, at most `most` of them. `wanted` are steps with how often each runs; negative steps,
/// and those of `slots` and more, are taken modulo `slots`.
///
/// Candidates, in units of what divides all steps, are all steps if they are few, else the steps wanted, the powers of two and
/// the inverses of both. `None` if no set of `most` keys reaches every step.
pub fn run(wanted: &[(i64, u64)], slots: u64, most: usize) -> Option<RotationKeys> {
    run_with(wanted, slots, most, &[])
}

/// The same where there are keys for the steps `fixed` anyway; they count among `most`.
pub fn run_with(wanted: &[(i64, u64)], slots: u64, most: usize, fixed: &[i64]) -> Option<RotationKeys> {
    // Below `slots`, so never negative.
    let modulo = |by: i64| (i128::from(by)).rem_euclid(i128::from(slots.max(1))) as u64;
    let mut steps: BTreeMap<u64, u64> = BTreeMap::new();
    for (step, times) in wanted.iter().map(|&(by, times)| (modulo(by), times)).filter(|(step, _)| *step != 0) {
        *steps.entry(step).or_insert(0) += times;
    }
    let fixed: BTreeSet<u64> = fixed.iter().map(|&by| modulo(by)).filter(|step| *step != 0).collect();
    let own: BTreeSet<u64> = steps.keys().chain(&fixed).copied().collect();
    if own.len() <= most {
        let chains: BTreeMap<u64, Vec<u64>> = steps.keys().map(|&step| (step, vec![step])).collect();
        return Some(RotationKeys { keys: own.into_iter().collect(), rotations: steps.values().sum(), chains, exact: true });
    }
    // All steps are multiples of a unit: lanes, mostly. In units there are fewer of them.
    let unit = own.iter().fold(slots, |unit, &step| gcd(unit, step));
    let search = Search {
        steps: steps.into_iter().map(|(step, times)| (step / unit, times)).collect(),
        fixed: fixed.into_iter().map(|step| step / unit).collect(),
        slots: slots / unit,
    };
    let (candidates, most) = (search.candidates(), most.checked_sub(search.fixed.len())?);
    let sets = (0..most as u64).try_fold(1u64, |sets, at| Some(sets.checked_mul((candidates.len() as u64).checked_sub(at)?)? / (at + 1)));
    let exact = sets.is_some_and(|sets| sets <= EXACT_SETS) || candidates.len() <= most;
    let keys = if exact { search.all(&candidates, most) } else { search.greedy(&candidates, most) }?;
    let keys: BTreeSet<u64> = keys.union(&search.fixed).copied().collect();
    let (rotations, chains) = search.chains(&keys)?;
    let chains = chains.into_iter().map(|(step, chain)| (step * unit, chain.into_iter().map(|key| key * unit).collect()));
    Some(RotationKeys { keys: keys.into_iter().map(|key| key * unit).collect(), chains: chains.collect(), rotations, exact })
}

struct Search {
    steps: BTreeMap<u64, u64>,
    /// Keys that are there anyway; sets of keys below come on top.
    fixed: BTreeSet<u64>,
    slots: u64,
}

impl Search {
    /// All steps if they are few; otherwise those wanted, powers of two, and the inverses of both.
    fn candidates(&self) -> Vec<u64> {
        if self.slots <= FEW_SLOTS {
            return (1..self.slots).filter(|step| !self.fixed.contains(step)).collect();
        }
        let powers = (0..u64::BITS).map(|bit| 1u64 << bit).take_while(|&power| power < self.slots);
        let own = self.steps.keys().copied().chain(powers);
        let both = own.flat_map(|step| [step, self.slots - step]).collect::<BTreeSet<u64>>();
        both.difference(&self.fixed).copied().collect()
    }

    /// Shortest chains by breadth first search from no rotation; `None` if a step is out of reach.
    fn chains(&self, keys: &BTreeSet<u64>) -> Option<(u64, BTreeMap<u64, Vec<u64>>)> {
        // The key that first reached a step; no key is 0.
        let mut by = vec![0; self.slots as usize];
        let mut level = vec![0];
        let mut missing = self.steps.len();
        while missing > 0 && !level.is_empty() {
            let mut next = Vec::new();
            for at in level {
                for &key in keys.union(&self.fixed) {
                    let to = (at + key) % self.slots;
                    if to != 0 && by[to as usize] == 0 {
                        by[to as usize] = key;
                        next.push(to);
                        missing -= usize::from(self.steps.contains_key(&to));
                    }
                }
            }
            level = next;
        }
        let chain = |&step: &u64| {
            let (mut at, mut chain) = (step, Vec::new());
            while at != 0 {
                let key = by[at as usize];
                if key == 0 {
                    return None;
                }
                chain.push(key);
                at = (at + self.slots - key) % self.slots;
            }
            chain.sort_unstable();
            Some((step, chain))
        };
        let chains = self.steps.keys().map(chain).collect::<Option<BTreeMap<_, _>>>()?;
        Some((self.steps.iter().map(|(step, times)| times * chains[step].len() as u64).sum(), chains))
    }

    fn rotations(&self, keys: &BTreeSet<u64>) -> u64 {
        self.chains(keys).map_or(u64::MAX, |(rotations, _)| rotations)
    }

    /// Every set of `most` candidates.
    fn all(&self, candidates: &[u64], most: usize) -> Option<BTreeSet<u64>> {
        let mut best = None;
        let mut picked: Vec<usize> = (0..most.min(candidates.len())).collect();
        loop {
            let keys: BTreeSet<u64> = picked.iter().map(|&at| candidates[at]).collect();
            let rotations = self.rotations(&keys);
            if rotations < best.as_ref().map_or(u64::MAX, |(least, _)| *least) {
                best = Some((rotations, keys));
            }
            let room = candidates.len() - picked.len();
            let Some(at) = (0..picked.len()).rev().find(|&at| picked[at] < at + room) else { break };
            picked[at] += 1;
            (at + 1..picked.len()).for_each(|after| picked[after] = picked[after - 1] + 1);
        }
        best.map(|(_, keys)| keys)
    }

    /// From keys that reach everything, the key that saves most is added until memory is full; then keys are exchanged.
    fn greedy(&self, candidates: &[u64], most: usize) -> Option<BTreeSet<u64>> {
        let mut keys = self.base(most)?;
        loop {
            let rotations = self.rotations(&keys);
            let with = |&key: &u64| (self.rotations(&keys.iter().copied().chain([key]).collect()), key);
            let more = candidates.iter().filter(|key| keys.len() < most && !keys.contains(key)).map(with).min();
            let best = more.map(|(cost, key)| (cost, None, key)).or_else(|| self.exchange(candidates, &keys));
            let Some((_, out, key)) = best.filter(|(cost, ..)| *cost < rotations) else { return Some(keys) };
            out.map(|out| keys.remove(&out));
            keys.insert(key);
        }
    }

    /// The best exchange of a key: rotations afterwards, the key that goes, the key that comes.
    fn exchange(&self, candidates: &[u64], keys: &BTreeSet<u64>) -> Option<(u64, Option<u64>, u64)> {
        let swaps = keys.iter().flat_map(|&out| candidates.iter().filter(|key| !keys.contains(key)).map(move |&key| (out, key)));
        let after = |(out, key): (u64, u64)| {
            let next = keys.iter().copied().filter(|k| *k != out).chain([key]).collect();
            (self.rotations(&next), Some(out), key)
        };
        swaps.map(after).min()
    }

    /// Powers of two, or of a coarser base where `most` does not hold them all.
    fn base(&self, most: usize) -> Option<BTreeSet<u64>> {
        let bases = (1..u64::BITS).map(|digit| {
            let powers = (0..u64::BITS / digit).map(move |at| 1u64 << (at * digit));
            powers.take_while(|power| *power < self.slots).collect::<BTreeSet<u64>>()
        });
        let bases = bases.map(|keys| keys.difference(&self.fixed).copied().collect::<BTreeSet<u64>>());
        bases.into_iter().find(|keys| keys.len() <= most && self.chains(keys).is_some())
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
