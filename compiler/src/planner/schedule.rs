//! What the loop planner decided, for the lowering and for people.

use std::fmt;

use super::{Bits, Moment, Party};

/// Values refreshed together.
#[derive(Clone, PartialEq, Debug)]
pub struct Pack {
    /// Their names.
    pub names: Vec<String>,
    /// Their indices in the body.
    pub members: Vec<usize>,
    /// Slots they fill.
    pub slots: u64,
    /// Ciphertexts they take: one if there are several values.
    pub ciphertexts: u64,
    /// Refreshed every so many updates, counted from the end of a segment; `None`: only where a segment starts.
    pub period: Option<u32>,
    /// What the refresh leaves at the start of the longest segment.
    pub target: Bits,
}

/// Segments of one length.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    /// Updates in each.
    pub updates: u32,
    /// How many.
    pub times: u32,
}

/// Another way to do it, not chosen.
#[derive(Clone, PartialEq, Debug)]
pub struct RunnerUp {
    /// What it would decide.
    pub description: String,
    /// Seconds per update.
    pub cost_per_update: f64,
}

/// Which carried values limit every schedule.
#[derive(Clone, PartialEq, Debug)]
pub struct CriticalCycle {
    /// Names, each feeding the next, the last the first.
    pub cycle: Vec<String>,
    /// Bits it spends per update in the long run.
    pub bits_per_update: f64,
}

/// How a loop is refreshed.
///
/// The updates are cut into segments. Every segment starts with a refresh of every pack; a pack with a period is refreshed
/// inside as well. Budgets are those of [`Moment`]s, counted from a segment's end, so that a short segment is the end of a long one
/// with lower targets at its start.
#[derive(Clone, PartialEq, Debug)]
pub struct Schedule {
    /// Name of the offer taken.
    pub offer: String,
    /// Who refreshes.
    pub party: Party,
    /// Base-2 logarithm of the ring degree.
    pub log_n: u32,
    /// Indices of the ring and of its offer.
    pub chosen: (usize, usize),
    /// Packs.
    pub packs: Vec<Pack>,
    /// Updates of the longest segment.
    pub unroll: u32,
    /// Segments, longest first: together they are all updates.
    pub segments: Vec<Segments>,
    /// Budgets in the longest segment, its last update first.
    pub moments: Vec<Moment>,
    /// Seconds per update.
    pub cost_per_update: f64,
    /// Of these, seconds of refreshes.
    pub refresh_per_update: f64,
    /// Bytes exchanged per update.
    pub bytes_per_update: f64,
    /// Bytes of keys and working memory of the refresh.
    pub memory_bytes: u64,
    /// No schedule costs less per update.
    pub lower_bound: f64,
    /// Whether every partition and every combination of periods was compared.
    pub exhaustive: bool,
    /// The best with another offer or other packs.
    pub runner_up: Option<RunnerUp>,
    /// What limits all schedules; `None` if no value depends on itself.
    pub critical_cycle: Option<CriticalCycle>,
}

impl Schedule {
    /// How far above the lower bound it may be: 0.02 is two percent.
    pub fn gap(&self) -> f64 {
        if self.lower_bound > 0.0 { self.cost_per_update / self.lower_bound - 1.0 } else { 0.0 }
    }

    /// Refreshes of ciphertexts over all updates.
    pub fn refreshes(&self) -> u64 {
        let marked = |moment: &Moment| {
            let packs = self.packs.iter().zip(&moment.refreshed);
            packs.map(|(pack, &yes)| if yes { pack.ciphertexts } else { 0 }).sum::<u64>()
        };
        let all: u64 = self.packs.iter().map(|pack| pack.ciphertexts).sum();
        let of = |length: u32| all + self.moments[..length as usize - 1].iter().map(marked).sum::<u64>();
        self.segments.iter().map(|segments| u64::from(segments.times) * of(segments.updates)).sum()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "refresh    {} by the {}, ring 2^{}", self.offer, self.party, self.log_n)?;
        for pack in &self.packs {
            write!(f, "pack       {}, {} slots", pack.names.join(" + "), pack.slots)?;
            if pack.ciphertexts > 1 {
                write!(f, " in {} ciphertexts", pack.ciphertexts)?;
            }
            write!(f, ", to {}", pack.target)?;
            match pack.period {
                Some(1) => writeln!(f, ", every update")?,
                Some(period) => writeln!(f, ", every {period} updates")?,
                None => writeln!(f)?,
            }
        }
        let segments = self.segments.iter().map(|segments| match segments {
            Segments { updates: 1, times } => format!("{times} of 1 update"),
            Segments { updates, times } => format!("{times} of {updates} updates"),
        });
        writeln!(f, "segments   {}", segments.collect::<Vec<_>>().join(", "))?;
        let refresh = self.refresh_per_update;
        writeln!(f, "cost       {:.3} s per update, of which refreshes {refresh:.3} s", self.cost_per_update)?;
        if self.bytes_per_update > 0.0 {
            writeln!(f, "exchanged  {:.1} MB per update", self.bytes_per_update / 1e6)?;
        }
        writeln!(f, "bound      {:.3} s, at most {:.1} % below", self.lower_bound, 100.0 * self.gap())?;
        if let Some(CriticalCycle { cycle, bits_per_update }) = &self.critical_cycle {
            let from = cycle.first().map_or("", String::as_str);
            writeln!(f, "limit      {bits_per_update:.1} bits per update, by {} -> {from}", cycle.join(" -> "))?;
        }
        if let Some(RunnerUp { description, cost_per_update }) = &self.runner_up {
            let more = 100.0 * (cost_per_update / self.cost_per_update - 1.0);
            writeln!(f, "next best  {description}: {cost_per_update:.3} s per update, {more:.1} % more")?;
        }
        Ok(())
    }
}
