//! The loop planner: packs, refresh, ring, segments and periods decided together.
//!
//! Searches what HALO (Cheon et al., ASPLOS 2025) decides one after the other: packing, unrolling, targets. Partitions are
//! enumerated up to [`EXACT_VALUES`] values; each is bounded from below, and those that could still win try every
//! combination of periods. With more values, first fit and a local search take the place of the enumeration.

use super::partition::{self, Packs};
use super::price::{self, Decisions, LONGEST, SEGMENT};
use super::schedule::{CriticalCycle, Pack, RunnerUp, Schedule, Segments};
use super::{Bits, LoopBody, MaxPlus, Offer, PlannerError, Ring};

/// Up to this many carried values all partitions are compared.
pub const EXACT_VALUES: usize = 6;
/// Combinations of periods compared for one partition at most.
const PERIOD_COMBINATIONS: usize = 4096;
/// The same, times the square of the updates that a segment may have.
const PERIOD_WORK: usize = 10_000_000;
/// Up to this period all are tried one by one; beyond, each is a quarter longer than the one before.
const SMALL_PERIOD: u32 = 16;
/// Rounds of the local searches.
const ROUNDS: usize = 64;
/// What counts as cheaper: sums of seconds differ in their last bits by the order of summation.
const CHEAPER: f64 = 1.0 - 1e-9;

/// What a machine bears.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Limits {
    /// Bytes of keys and working memory that a refresh may take; `None`: any.
    pub memory_bytes: Option<u64>,
}

/// An offer with packs, at its best known periods.
struct Candidate<'a> {
    decisions: Decisions<'a>,
    chosen: (usize, usize),
    bound: f64,
    cost: f64,
}

/// The cheapest schedule of `body` with one of the offers of `rings`.
///
/// # Errors
/// `NotSquare` if the decay matrix does not fit the carried values, `NoOffer` if memory rules out every offer, `TooDeep` if one
/// update spends more than any offer gives: then it must be refreshed inside, see [`super::place`].
pub fn run(body: &LoopBody, rings: &[Ring], limits: Limits) -> Result<Schedule, PlannerError> {
    if body.decay.size() != body.carried.len() {
        return Err(PlannerError::NotSquare);
    }
    let affordable = |offer: &Offer| limits.memory_bytes.is_none_or(|most| offer.key_bytes.saturating_add(offer.memory_bytes) <= most);
    let offers = rings.iter().enumerate().flat_map(|(r, ring)| ring.offers.iter().enumerate().map(move |(o, offer)| ((r, o), ring, offer)));
    let offers: Vec<_> = offers.filter(|(_, _, offer)| affordable(offer)).collect();
    if offers.is_empty() {
        return Err(PlannerError::NoOffer);
    }
    let few = body.carried.len() <= EXACT_VALUES;
    let mut lower_bound = f64::INFINITY;
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    for &(chosen, ring, offer) in &offers {
        if !few {
            lower_bound = lower_bound.min(bound_of_any_packs(body, ring, offer));
        }
        for packs in if few { every_partition(body, offer) } else { good_partitions(body, ring, offer) } {
            let decisions = single_rate(body, ring, offer, packs);
            if let (Some(bound), Some(cost)) = (decisions.bound(), cost(&decisions)) {
                candidates.push(Candidate { decisions, chosen, bound, cost });
            }
        }
    }
    if few {
        lower_bound = candidates.iter().map(|c| c.bound).fold(f64::INFINITY, f64::min);
    }
    let exhaustive = refine(&mut candidates) && few && body.trips <= LONGEST;
    candidates.sort_by(|a, b| a.cost.total_cmp(&b.cost));
    // Sums that differ in their last bits are ties: fewer packs win, then periods that are never used.
    let Some(cheapest) = candidates.first().map(|c| c.cost) else { return Err(too_deep(body, &offers)) };
    let simple = |c: &Candidate<'_>| (c.decisions.packs.len(), c.decisions.periods.iter().filter(|p| **p != SEGMENT).count());
    let tied = candidates.iter().enumerate().take_while(|(_, c)| c.cost * CHEAPER <= cheapest);
    let at = tied.min_by_key(|(_, c)| simple(c)).map_or(0, |(at, _)| at);
    let best = candidates.remove(at);
    Ok(schedule(&best, candidates.first(), lower_bound, exhaustive))
}

fn single_rate<'a>(body: &'a LoopBody, ring: &'a Ring, offer: &'a Offer, packs: Packs) -> Decisions<'a> {
    Decisions { body, ring, offer, periods: vec![SEGMENT; packs.len()], packs }
}

fn cost(decisions: &Decisions<'_>) -> Option<f64> {
    let prices = price::segment_prices(&decisions.moments());
    Some(price::best_cut(&prices, decisions.body.trips)?.0)
}

fn fits<'a>(body: &'a LoopBody, offer: &'a Offer) -> impl Fn(&[usize]) -> bool + 'a {
    move |pack| pack.len() == 1 || pack.iter().map(|&value| body.carried[value].slots).sum::<u64>() <= offer.slots
}

fn every_partition(body: &LoopBody, offer: &Offer) -> Vec<Packs> {
    partition::all(body.carried.len(), &fits(body, offer))
}

/// For many values: local optima from first fit decreasing (by slots, by decay, by both), and from no packs at all.
fn good_partitions(body: &LoopBody, ring: &Ring, offer: &Offer) -> Vec<Packs> {
    let count = body.carried.len();
    let fits = fits(body, offer);
    let slots = |value: usize| body.carried[value].slots;
    let decay = |value: usize| (0..count).filter_map(|to| body.decay.get(to, value)).max().unwrap_or_default().0;
    let keys: [&dyn Fn(usize) -> u64; 3] = [&slots, &|v| u64::from(decay(v)), &|v| slots(v) * u64::from(decay(v))];
    let mut found: Vec<Packs> = vec![(0..count).map(|value| vec![value]).collect()];
    for key in keys {
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&value| std::cmp::Reverse(key(value)));
        found.push(partition::first_fit(&order, &fits));
    }
    let price = |packs: &Packs| cost(&single_rate(body, ring, offer, packs.clone())).unwrap_or(f64::INFINITY);
    for start in found.clone() {
        let (mut at, mut least) = (start.clone(), price(&start));
        for _ in 0..ROUNDS {
            let next = partition::neighbours(&at, &fits).into_iter().map(|packs| (price(&packs), packs));
            match next.min_by(|a, b| a.0.total_cmp(&b.0)) {
                Some((cost, packs)) if cost < least * CHEAPER => (least, at) = (cost, packs),
                _ => break,
            }
        }
        found.push(at);
    }
    found.sort();
    found.dedup();
    found
}

/// Every value needs its refreshes, with at most a whole ciphertext for its share of one, and some value pays for the updates.
fn bound_of_any_packs(body: &LoopBody, ring: &Ring, offer: &Offer) -> f64 {
    let alone = |value: usize| {
        let mut own = body.clone();
        own.carried = vec![body.carried[value].clone()];
        own.decay = body.decay.only(&[value]);
        own
    };
    let share = |value: usize| (body.carried[value].slots as f64 / offer.slots as f64).min(1.0);
    let idle = Ring { update: super::Curve::constant(0.0), ..ring.clone() };
    let quiet = Offer { moment_seconds: 0.0, ..offer.clone() };
    let least = body.before(&vec![offer.input; body.carried.len()]).into_iter().max().unwrap_or_default();
    let bound = |body: &LoopBody, ring: &Ring, offer: &Offer| single_rate(body, ring, offer, vec![vec![0]]).bound();
    let (mut one, mut volume) = (0.0f64, f64::from(body.trips) * ring.update.at(least));
    for value in 0..body.carried.len() {
        let own = alone(value);
        one = one.max(bound(&own, ring, offer).unwrap_or(f64::INFINITY));
        volume += share(value) * bound(&own, &idle, &quiet).unwrap_or(f64::INFINITY);
    }
    one.max(volume)
}

/// Tries periods for the candidates that could win with them; whether all combinations were compared.
fn refine(candidates: &mut [Candidate<'_>]) -> bool {
    let mut complete = true;
    let mut best = candidates.iter().map(|c| c.cost).fold(f64::INFINITY, f64::min);
    candidates.sort_by(|a, b| a.bound.total_cmp(&b.bound));
    for candidate in candidates {
        if candidate.bound >= best * CHEAPER || candidate.decisions.packs.len() == 1 {
            continue;
        }
        complete &= periods(candidate);
        best = best.min(candidate.cost);
    }
    complete
}

/// The best periods: all combinations if they are few, one pack at a time otherwise.
fn periods(candidate: &mut Candidate<'_>) -> bool {
    let base = candidate.decisions.clone();
    let longest = base.body.trips.min(LONGEST) as usize;
    let all = |pack: usize| std::iter::once(SEGMENT).chain(1..longest_gap(&base, pack)).collect::<Vec<u32>>();
    let mut choices: Vec<Vec<u32>> = (0..base.packs.len()).map(all).collect();
    let combinations = choices.iter().try_fold(1usize, |product, c| product.checked_mul(c.len()));
    let combinations = combinations.filter(|n| *n <= PERIOD_COMBINATIONS.min(PERIOD_WORK / (longest * longest).max(1)));
    let mut attempt = |periods: Vec<u32>| {
        let decisions = Decisions { periods, ..base.clone() };
        let cheaper = cost(&decisions).filter(|cost| *cost < candidate.cost * CHEAPER);
        if let Some(cost) = cheaper {
            (candidate.cost, candidate.decisions) = (cost, decisions);
        }
        cheaper.is_some()
    };
    if let Some(combinations) = combinations {
        for mut number in 1..combinations {
            let digit = |choice: &Vec<u32>| {
                let period = choice[number % choice.len()];
                number /= choice.len();
                period
            };
            attempt(choices.iter().map(digit).collect());
        }
        return true;
    }
    for choice in &mut choices {
        let mut next = SMALL_PERIOD;
        choice.retain(|&period| {
            let keep = period <= SMALL_PERIOD || period == SEGMENT || period >= next;
            if keep && period >= next && period != SEGMENT {
                next = period + period / 4;
            }
            keep
        });
    }
    let mut at = base.periods.clone();
    for _ in 0..ROUNDS {
        let mut improved = false;
        for pack in 0..choices.len() {
            for &period in &choices[pack] {
                let mut next = at.clone();
                next[pack] = period;
                if attempt(next.clone()) {
                    (at, improved) = (next, true);
                }
            }
        }
        if !improved {
            break;
        }
    }
    false
}

/// Updates that a pack bears between refreshes at most, its own paths counted only; plus one.
fn longest_gap(decisions: &Decisions<'_>, pack: usize) -> u32 {
    let members = &decisions.packs[pack];
    let body = LoopBody {
        carried: members.iter().map(|&value| decisions.body.carried[value].clone()).collect(),
        decay: decisions.body.decay.only(members),
        trips: decisions.body.trips,
    };
    let alone = single_rate(&body, decisions.ring, decisions.offer, vec![(0..members.len()).collect()]);
    (alone.moments().len() as u32 + 1).min(body.trips)
}

fn too_deep(body: &LoopBody, offers: &[((usize, usize), &Ring, &Offer)]) -> PlannerError {
    // The offer that comes nearest, each value refreshed alone.
    let missing = offers.iter().map(|(_, _, offer)| {
        let needs = body.before(&vec![offer.input; body.carried.len()]);
        let widest = needs.iter().copied().enumerate().max_by_key(|&(value, bits)| (bits, usize::MAX - value)).unwrap_or_default();
        (widest.1.saturating_sub(offer.output), widest.0, widest.1, offer.output)
    });
    let (_, value, needs, output) = missing.min().unwrap_or_default();
    let value = body.carried.get(value).map_or_else(String::new, |carried| carried.name.clone());
    PlannerError::TooDeep { value, needs, output }
}

fn schedule(best: &Candidate<'_>, next: Option<&Candidate<'_>>, lower_bound: f64, exhaustive: bool) -> Schedule {
    let Decisions { body, ring, offer, packs, periods } = &best.decisions;
    let trips = f64::from(body.trips.max(1));
    let mut moments = best.decisions.moments();
    let (_, lengths) = price::best_cut(&price::segment_prices(&moments), body.trips).unwrap_or_default();
    let unroll = lengths.first().map_or(0, |&(updates, _)| updates);
    moments.truncate(unroll as usize);
    let name = |value: usize| body.carried[value].name.clone();
    let pack = |at: usize| Pack {
        names: packs[at].iter().map(|&value| name(value)).collect(),
        members: packs[at].clone(),
        slots: packs[at].iter().map(|&value| body.carried[value].slots).sum(),
        ciphertexts: best.decisions.ciphertexts(at),
        period: Some(periods[at]).filter(|period| *period < unroll),
        target: moments.last().map_or(Bits(0), |moment| moment.targets[at]),
    };
    let packs: Vec<Pack> = (0..packs.len()).map(pack).collect();
    let over_segments = |start: &dyn Fn(&price::Moment) -> f64, inner: &dyn Fn(&price::Moment) -> f64| {
        let of = |updates: u32| start(&moments[updates as usize - 1]) + moments[..updates as usize - 1].iter().map(inner).sum::<f64>();
        lengths.iter().map(|&(updates, times)| f64::from(times) * of(updates)).sum::<f64>() / trips
    };
    let bytes = |moment: &price::Moment, all: bool| {
        let marked = packs.iter().enumerate().filter(|&(at, _)| all || moment.refreshed[at]);
        marked.map(|(at, pack)| pack.ciphertexts as f64 * offer.traffic.at(moment.targets[at])).sum::<f64>()
    };
    Schedule {
        offer: offer.name.clone(),
        party: offer.party,
        log_n: ring.log_n,
        chosen: best.chosen,
        unroll,
        segments: lengths.iter().map(|&(updates, times)| Segments { updates, times }).collect(),
        cost_per_update: best.cost / trips,
        refresh_per_update: over_segments(&|m| m.start_seconds, &|m| m.inner_seconds),
        bytes_per_update: over_segments(&|m| bytes(m, true), &|m| bytes(m, false)),
        memory_bytes: offer.key_bytes.saturating_add(offer.memory_bytes),
        lower_bound: lower_bound / trips,
        exhaustive,
        runner_up: next.map(|next| RunnerUp { description: describe(&next.decisions), cost_per_update: next.cost / trips }),
        critical_cycle: critical_cycle(&body.decay, name),
        packs,
        moments,
    }
}

fn describe(decisions: &Decisions<'_>) -> String {
    let pack = |pack: &Vec<usize>| pack.iter().map(|&value| decisions.body.carried[value].name.as_str()).collect::<Vec<_>>().join(" + ");
    let packs: Vec<String> = decisions.packs.iter().map(pack).collect();
    format!("{} with {}", decisions.offer.name, packs.join(" | "))
}

fn critical_cycle(decay: &MaxPlus, name: impl Fn(usize) -> String) -> Option<CriticalCycle> {
    let cycle = decay.critical_cycle()?;
    Some(CriticalCycle { bits_per_update: cycle.mean(), cycle: cycle.values.iter().map(|&value| name(value)).collect() })
}
