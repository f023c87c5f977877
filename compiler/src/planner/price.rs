//! The price of decisions: budgets backwards from the end of a segment, and the best way to cut the updates into segments.

use super::{Bits, LoopBody, Offer, Ring};

/// A refresh only where a segment starts.
pub const SEGMENT: u32 = u32::MAX;
/// Updates of the longest segment considered.
pub const LONGEST: u32 = 512;
/// Up to this many updates are cut into segments exactly.
const EXACT_UPDATES: u32 = 1024;

/// What is decided about a loop, apart from the lengths of its segments.
#[derive(Clone, Debug)]
pub struct Decisions<'a> {
    /// One update.
    pub body: &'a LoopBody,
    /// The ring.
    pub ring: &'a Ring,
    /// The refresh.
    pub offer: &'a Offer,
    /// Which values share ciphertexts.
    pub packs: Vec<Vec<usize>>,
    /// For each pack, every how many updates it is refreshed, counted from the end of a segment; [`SEGMENT`]: only where one starts.
    pub periods: Vec<u32>,
}

/// The start of an update, seen from the end of its segment: a segment is the last of these moments, as many as it has updates.
#[derive(Clone, PartialEq, Debug)]
pub struct Moment {
    /// Updates left in the segment, this one included.
    pub remaining: u32,
    /// Bits that each carried value must have here.
    pub needs: Vec<Bits>,
    /// The widest of them.
    pub width: Bits,
    /// What a refresh of each pack must leave here.
    pub targets: Vec<Bits>,
    /// Which packs are refreshed here when the segment began earlier. Where a segment begins, all are.
    pub refreshed: Vec<bool>,
    /// Seconds of the update.
    pub update_seconds: f64,
    /// Seconds to refresh all packs here.
    pub start_seconds: f64,
    /// Seconds to refresh those of `refreshed`.
    pub inner_seconds: f64,
}

impl Decisions<'_> {
    fn shared(&self, pack: usize) -> bool {
        self.packs[pack].len() > 1
    }

    /// What value must be left of the members of a pack when it is refreshed.
    fn left(&self, pack: usize) -> Bits {
        self.offer.input + if self.shared(pack) { self.ring.packing.enter_bits } else { Bits(0) }
    }

    /// Ciphertexts of a pack: one if it is shared.
    pub fn ciphertexts(&self, pack: usize) -> u64 {
        let slots: u64 = self.packs[pack].iter().map(|&value| self.body.carried[value].slots).sum();
        slots.div_ceil(self.offer.slots).max(1)
    }

    /// What a refresh of a pack must leave so that its members have `needs`.
    fn target(&self, pack: usize, needs: impl Iterator<Item = Bits>) -> Bits {
        let leave = if self.shared(pack) { self.ring.packing.leave_bits } else { Bits(0) };
        needs.max().unwrap_or_default() + leave
    }

    fn refresh_seconds(&self, pack: usize, target: Bits) -> f64 {
        let packing = &self.ring.packing;
        let members = if self.shared(pack) { self.packs[pack].len() as f64 } else { 0.0 };
        self.ciphertexts(pack) as f64 * self.offer.seconds.at(target)
            + members * (packing.enter.at(self.left(pack)) + packing.leave.at(target))
    }

    /// Seconds to refresh those packs that are marked.
    fn seconds(&self, targets: &[Bits], marked: &[bool]) -> f64 {
        let packs = (0..targets.len()).filter(|&pack| marked[pack]);
        let refresh: f64 = packs.map(|pack| self.refresh_seconds(pack, targets[pack])).sum();
        if marked.contains(&true) { self.offer.moment_seconds + refresh } else { 0.0 }
    }

    /// The moments of the longest segment that the offer's output allows, at most all updates and [`LONGEST`]; the last moment
    /// first.
    pub fn moments(&self) -> Vec<Moment> {
        let mut needs = vec![Bits(0); self.body.carried.len()];
        for (pack, members) in self.packs.iter().enumerate() {
            members.iter().for_each(|&value| needs[value] = self.left(pack));
        }
        let mut moments = Vec::new();
        for remaining in 1..=self.body.trips.min(LONGEST) {
            needs = self.body.before(&needs);
            let width = needs.iter().copied().max().unwrap_or_default();
            let members = |pack: usize| self.packs[pack].iter().map(|&value| needs[value]);
            let targets: Vec<Bits> = (0..self.packs.len()).map(|pack| self.target(pack, members(pack))).collect();
            // Before an earlier refresh a value has no less than after it, so a longer segment would not fit either.
            if targets.iter().any(|&target| target > self.offer.output) {
                break;
            }
            let refreshed: Vec<bool> = self.periods.iter().map(|&period| remaining % period == 0).collect();
            let moment = Moment {
                remaining,
                needs: needs.clone(),
                width,
                update_seconds: self.ring.update.at(width),
                start_seconds: self.seconds(&targets, &vec![true; targets.len()]),
                inner_seconds: self.seconds(&targets, &refreshed),
                targets,
                refreshed,
            };
            for (pack, members) in self.packs.iter().enumerate().filter(|&(pack, _)| moment.refreshed[pack]) {
                members.iter().for_each(|&value| needs[value] = self.left(pack));
            }
            moments.push(moment);
        }
        moments
    }

    /// A lower bound of the seconds of all updates with these packs, whatever the periods and segments: every pack pays for its
    /// own refreshes, the gaps between them anywhere and other values asking as little as they can; one pack pays for the
    /// updates as well. `None` if some pack fits no update.
    pub fn bound(&self) -> Option<f64> {
        let floor = self.floor();
        let least = self.body.before(&floor).into_iter().max().unwrap_or_default();
        let alone = |pack: usize| {
            let mut after = floor.clone();
            self.packs[pack].iter().for_each(|&value| after[value] = self.left(pack));
            let (mut updates, mut refreshes, mut all) = (0.0, vec![0.0], vec![0.0]);
            for gap in 1..=self.body.trips {
                if gap > LONGEST {
                    // It may never need a refresh.
                    return Some((0.0, f64::from(self.body.trips) * self.ring.update.at(least)));
                }
                let needs = self.body.before(&after);
                self.packs[pack].iter().for_each(|&value| after[value] = needs[value]);
                let target = self.target(pack, self.packs[pack].iter().map(|&value| needs[value]));
                if target > self.offer.output {
                    break;
                }
                updates += self.ring.update.at(needs.into_iter().max().unwrap_or_default().max(least));
                refreshes.push(self.refresh_seconds(pack, target));
                all.push(updates + refreshes[refreshes.len() - 1] + self.offer.moment_seconds);
            }
            Some((cut_bound(&refreshes, self.body.trips)?, cut_bound(&all, self.body.trips)?))
        };
        let costs = (0..self.packs.len()).map(alone).collect::<Option<Vec<_>>>()?;
        let refreshes: f64 = costs.iter().map(|(refresh, _)| refresh).sum();
        costs.iter().map(|(refresh, all)| refreshes - refresh + all).reduce(f64::max)
    }

    /// What every value has at least after every update: what a refresh must find, or what the next update needs.
    fn floor(&self) -> Vec<Bits> {
        let mut floor = vec![Bits(0); self.body.carried.len()];
        // A value's floor only grows, and to what a refresh must find at most; stopping early leaves it lower.
        for _ in 0..=self.body.carried.len() {
            let needs = self.body.before(&floor);
            for (pack, members) in self.packs.iter().enumerate() {
                members.iter().for_each(|&value| floor[value] = needs[value].min(self.left(pack)));
            }
        }
        floor
    }
}

/// `segments[u]` is the price of a segment of `u` updates, zero for none.
pub fn segment_prices(moments: &[Moment]) -> Vec<f64> {
    let (mut inner, mut prices) = (0.0, vec![0.0]);
    for moment in moments {
        inner += moment.update_seconds;
        prices.push(inner + moment.start_seconds);
        inner += moment.inner_seconds;
    }
    prices
}

/// No cut of `updates` into segments costs less. `None` if no segment is possible.
fn cut_bound(prices: &[f64], updates: u32) -> Option<f64> {
    if updates <= EXACT_UPDATES {
        return Some(best_cut(prices, updates)?.0);
    }
    let rates = (1..prices.len()).map(|length| prices[length] / length as f64);
    Some(f64::from(updates) * rates.reduce(f64::min)?)
}

/// The cheapest way to cut `updates` into segments of at most `prices.len() - 1`: its price and lengths, longest first.
/// `None` if no segment is possible.
///
/// Exact up to 1024 updates, and beyond where segments are short: of the segments other than those with the best price per
/// update, `u` long, fewer than `u` are needed, since among `u` of them some add up to a multiple of `u`. Otherwise the
/// last 1024 updates are cut exactly, the others into the best segments.
pub fn best_cut(prices: &[f64], updates: u32) -> Option<(f64, Vec<(u32, u32)>)> {
    let longest = prices.len() as u32 - 1;
    if updates == 0 {
        return Some((0.0, Vec::new()));
    }
    let rate = |u: u32| prices[u as usize] / f64::from(u);
    let steady = (1..=longest.min(updates)).rev().min_by(|&a, &b| rate(a).total_cmp(&rate(b)))?;
    let times = updates.saturating_sub(steady.saturating_mul(longest).min(EXACT_UPDATES)) / steady;
    let rest = (updates - times * steady) as usize;
    let mut best = vec![(0.0, 0u32); rest + 1];
    for n in 1..=rest {
        let price = |u: u32| prices[u as usize] + best[n - u as usize].0;
        let lengths = (1..=longest.min(n as u32)).rev();
        best[n] = lengths.map(|u| (price(u), u)).min_by(|a, b| a.0.total_cmp(&b.0))?;
    }
    let mut counts = vec![0u32; longest as usize + 1];
    counts[steady as usize] = times;
    let mut n = rest;
    while n > 0 {
        counts[best[n].1 as usize] += 1;
        n -= best[n].1 as usize;
    }
    let lengths = (1..=longest).rev().map(|u| (u, counts[u as usize])).filter(|&(_, times)| times > 0).collect();
    Some((best[rest].0 + f64::from(times) * prices[steady as usize], lengths))
}
