//! States that the server carries from update to update.
//!
//! A state stands on a *master* grid, finer than that of `quantize`: v = 2^m h + l. What is read of it is h, of as many bits as
//! weights have, to which v is rounded by the way it is cut in parts: l goes from −2^(m−1) to 2^(m−1) − 1. A new state is the old
//! one plus a linear combination of what the update made, which costs no bootstrap and loses nothing, since the master grid is the
//! combination's own. It is then cut anew by a floor: what the floor drops is the new l, made by bootstraps of this update alone, and
//! a table clips the rest to the new h; so noise does not add up from update to update. Beyond the ends of h, l goes on as it was.
//!
//! Where an update shrinks a state (v' = (1 − τ) v + ...), a part of a number on a grid has no multiple on the same grid. What shrinks
//! is therefore only what can be read. A target network or an average moves by a table of the difference of what is read, τ (u − v)
//! on the master grid: it follows the weights as products read them, and stands still where it reads the same. Of momentum also the
//! next `MID` bits can be read, which a table refreshes. l below is carried as it is. Other states give what can be read of them.
//!
//! Where the combination's grid is so fine that noise leaves no room, changes are rounded to a coarser one by themselves first.

use hecc_plan::tfhe::Row;
use hecc_plan::{Span, State, StateInit};

use super::Lowering;
use crate::schemes::tfhe::circuit::{Function, Id, Op, width};
use crate::schemes::tfhe::error::TfheError;
use crate::schemes::tfhe::linear::{Combination, Leaf, Linear};
use crate::tensor::graph::{self, Output};

/// Bits beside those of weights that can be read of states that shrink.
const MID: u32 = 3;
/// Finest master grid, in bits beside those of weights.
pub const FINEST: u32 = 22;
/// How far a coefficient may be rounded, as a part of it, so that it is one of integers.
const ROUNDED: f64 = 1.0 / 32.0;
/// Bits by which the grid of a state that is mixed is finer than its least change.
const CHANGES: f64 = 2.0;
/// How much larger than on the sample states of which no initial value tells the size may get.
const GROWN: f64 = 8.0;

/// The part of a state that can be read before it is made anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    /// Which of the circuit's carried vectors.
    number: usize,
    high: Id,
    /// The same after this update.
    new: Option<Id>,
    /// What an integer of 1 stands for.
    scale: f64,
}

/// How a state is carried, for people.
#[derive(Clone, Debug)]
pub struct Master {
    /// Its name.
    pub state: String,
    /// Its span.
    pub span: Span,
    /// Bits that are read, and bits below them.
    pub bits: (u32, u32),
    /// What an integer of 1 of the finest part stands for.
    pub scale: f64,
    /// The largest magnitude.
    pub most: f64,
    /// How far the coefficients of its new value are rounded, as a part of them.
    pub rounded: f64,
    /// Bits of its changes below that.
    pub lost: u32,
}

impl Lowering<'_> {
    /// A state that the server carries, as an update reads it.
    pub(super) fn carried(&mut self, name: &str, len: usize, span: Span) -> Linear {
        let Kept { high, scale, .. } = self.kept(name, len, span);
        Linear::of(Leaf::Integers(high), len, scale)
    }

    fn kept(&mut self, name: &str, len: usize, span: Span) -> Kept {
        if let Some(kept) = self.kept.get(name) {
            return *kept;
        }
        let scale = self.read_grid(name);
        let most = (1i64 << (self.bits.0.max(2) - 1)) - 1;
        let number = self.circuit.carried.len();
        let high = self.circuit.carried(name, scale, (-most, most), len, span);
        let kept = Kept { number, high, new: None, scale };
        self.kept.insert(name.to_owned(), kept);
        kept
    }

    /// The states that nothing changes, and those that nothing reads.
    pub(super) fn carry_others(&mut self, states: &[State]) {
        for state in states {
            self.kept(&state.name, state.shape.iter().product(), state.span);
        }
    }

    /// The grid on which a state is read. A copy has that of what it is a copy of, so that the two can be compared.
    fn read_grid(&self, name: &str) -> f64 {
        let copied = self.states.iter().find(|state| state.name == name).and_then(|state| match &state.init {
            StateInit::Copy(other) => Some(other.as_str()),
            _ => None,
        });
        if let Some(other) = copied.filter(|other| *other != name) {
            return self.read_grid(other);
        }
        let own = self.scale(self.bound(name), self.bits.0);
        match weight_of(name).filter(|weight| self.states.iter().any(|state| state.name == *weight)) {
            // No finer than the products that a bias is added to.
            Some(weight) => own.max(self.scale(self.bound(&weight), self.bits.0) * libm::exp2(1.0 - f64::from(self.bits.1))),
            None => own,
        }
    }

    /// The largest magnitude of a state, as far as is known.
    fn bound(&self, name: &str) -> f64 {
        if let Some(bound) = self.seen.state(name) {
            return bound;
        }
        let largest = |id: crate::tensor::Id| self.sample[id.index()].iter().fold(0.0f64, |m, v| m.max(v.abs()));
        let initial = |name: &str| {
            let node = self.graph.ids().find(|id| matches!(&self.graph.node(*id).op, graph::Op::State(other) if other == name));
            node.map_or(0.0, largest)
        };
        // Biases start at 0, and grow with the weights of their layer.
        let known = initial(name).max(weight_of(name).map_or(0.0, |weight| initial(&weight)));
        if known > 1e-6 {
            return if weight_of(name).is_some() { known } else { 2.0 * known };
        }
        let output = self.graph.outputs.iter().find(|(output, _)| matches!(output, Output::State(other) if other == name));
        output.map_or(1.0, |(_, id)| GROWN * largest(*id)).max(1e-6)
    }

    /// The integers that are read of a state, if elements are those in any order, picked; and what 1 of them stands for.
    pub(super) fn read_alone(&mut self, x: &Linear) -> Option<(Id, f64)> {
        let only = |e: &Combination| match e.terms.iter().collect::<Vec<_>>()[..] {
            [(&(Leaf::Integers(id), element), &c)] if e.constant == 0.0 => Some((id, element, c)),
            _ => None,
        };
        let (id, _, scale) = only(x.elements.first()?)?;
        let elements: Option<Vec<usize>> = x.elements.iter().map(|e| only(e).filter(|o| (o.0, o.2) == (id, scale)).map(|o| o.1)).collect();
        let span = self.circuit.node(id).span;
        let state = self.kept.values().any(|kept| kept.high == id || kept.new == Some(id));
        elements.filter(|_| state).map(|elements| (self.circuit.pick(id, &elements, span), scale))
    }

    /// The states that a node is the new value of, made anew, and that value as what follows reads it.
    pub(super) fn kept_anew(&mut self, id: crate::tensor::Id, value: Linear) -> Result<Linear, TfheError> {
        let states = |output: &Output| match output {
            Output::State(name) => Some(name.clone()),
            Output::Result(_) => None,
        };
        let named = self.graph.outputs.iter().filter(|(_, other)| *other == id);
        let mut names: Vec<String> = named.filter_map(|(output, _)| states(output)).collect();
        let span = self.graph.node(id).span;
        // What it is the next value of comes before what only becomes a copy of that.
        names.sort_by_key(|name| !self.kept.get(name).is_some_and(|kept| reads(&value, kept.high)));
        let mut value = value;
        for name in names {
            value = self.anew(&name, &value, span)?;
        }
        Ok(value)
    }

    /// A state made anew, and what can be read of it.
    fn anew(&mut self, name: &str, value: &Linear, span: Span) -> Result<Linear, TfheError> {
        let len = value.elements.len();
        let Kept { number, high, scale, .. } = self.kept(name, len, span);
        let bits = self.bits.0.max(2);
        let most = (1i64 << (bits - 1)) - 1;
        // A copy of what this update made stays that.
        if let Some((Leaf::Integers(made), factor)) = value.whole()
            && (factor, self.circuit.len(made)) == (scale, len)
            && matches!(self.circuit.node(made).op, Op::Table { .. })
            && within(self.circuit.range(made), most)
        {
            self.becomes(name, number, made);
            return Ok(value.clone());
        }
        // What is left of the old state in each element.
        let own = |e: usize| value.elements[e].terms.get(&(Leaf::Integers(high), e)).map_or(0.0, |c| c / scale);
        let shares: Vec<f64> = (0..len).map(own).collect();
        let carries = shares.iter().any(|share| *share != 0.0);
        let shrinks = shares.iter().any(|share| ![0.0, 1.0].contains(share));
        let mixed = if shrinks { self.mixed(value, (high, scale), &shares, span) } else { None };
        let mid = if shrinks && mixed.is_none() { MID } else { 0 };
        let mut sums = mixed.unwrap_or_else(|| value.elements.clone());
        if mid > 0 {
            let (step, half) = (scale / f64::from(1u32 << mid), 1i64 << (mid - 1));
            let id = self.circuit.carried(name, step, (-half, half - 1), len, span);
            for (e, sum) in sums.iter_mut().enumerate() {
                sum.add(&Combination::term(Leaf::Integers(id), e, step), shares[e]);
            }
        }
        let (mut below, rounded) = self.below(name, &sums, (high, scale), mid, span)?;
        let mut lost = 0;
        if below > self.choices.below.max(mid) {
            lost = below - self.choices.below.max(mid);
            below -= lost;
            sums = self.rounded_changes(sums, (scale, below, lost), span)?;
        }
        let step = scale * libm::exp2(-f64::from(below));
        // Bits that no table reads.
        let low = if carries { below - mid } else { 0 };
        if low > 0 {
            let half = 1i64 << (low - 1);
            let id = self.circuit.carried(name, step, (-half, half - 1), len, span);
            for (e, sum) in sums.iter_mut().enumerate().filter(|(e, _)| shares[*e] != 0.0) {
                sum.add(&Combination::term(Leaf::Integers(id), e, step), 1.0);
            }
        }
        self.masters.push(Master {
            state: name.to_owned(),
            span,
            bits: (bits, below),
            scale: step,
            most: most as f64 * scale,
            rounded,
            lost,
        });
        let sum = self.on_grid(&sums, step, span);
        let mut parts = self.cut(sum, (below, mid, low), most, span)?.into_iter();
        let first = parts.next().unwrap_or(sum);
        self.becomes(name, number, first);
        let mut read = Linear::of(Leaf::Integers(first), len, scale);
        // The finer parts of this state were the last vectors to be added.
        let finer: Vec<Id> = parts.collect();
        let from = self.circuit.carried.len() - finer.len();
        for (kept, &part) in self.circuit.carried[from..].iter_mut().zip(&finer) {
            kept.new = part;
        }
        if mid > 0 {
            read = read.plus(&Linear::of(Leaf::Integers(finer[0]), len, scale / f64::from(1u32 << mid)), 1.0);
        }
        Ok(read)
    }

    /// The sums of a state that shrinks towards others of few bits: v + τ (u − v), whose change is a table of what is read of u and
    /// v, with whatever τ in it. `None` where it is no such table.
    fn mixed(&mut self, value: &Linear, (high, scale): (Id, f64), shares: &[f64], span: Span) -> Option<Vec<Combination>> {
        let changes: Vec<Combination> =
            value.elements.iter().enumerate().map(|(e, sum)| sum.plus(&Combination::term(Leaf::Integers(high), e, scale), -1.0)).collect();
        let all = || changes.iter().flat_map(|change| change.terms.iter());
        if shares.contains(&0.0) || all().any(|((leaf, _), _)| matches!(leaf, Leaf::Client(_))) || changes.iter().any(|c| c.constant != 0.0)
        {
            return None;
        }
        let least = all().fold(f64::INFINITY, |m, (_, c)| m.min(c.abs()));
        if !least.is_finite() || all().any(|(_, c)| (c / least - libm::round(c / least)).abs() > 1e-6) {
            return None;
        }
        let read = self.on_grid(&changes, least, span);
        let over = self.circuit.range(read);
        if width(over) > self.bits.0.max(self.bits.1) + 1 {
            return None;
        }
        // So fine that the least change is some steps.
        let step = scale * libm::exp2(libm::floor(libm::log2(least / scale)) - CHANGES);
        let table = self.circuit.table(read, vec![Function::over(over, |v| libm::round(v as f64 * least / step) as i64)], span);
        let own = |e: usize| Combination::term(Leaf::Integers(high), e, scale);
        Some((0..shares.len()).map(|e| own(e).plus(&Combination::term(Leaf::Integers(table), e, step), 1.0)).collect())
    }

    /// Sums whose terms on finer grids than that of `below` bits are rounded to it: by floors of their own sum, which is narrow, and
    /// in two parts of few bits, by tables, so that no noise of theirs is beside the state's bits. Changes that are larger are clipped.
    fn rounded_changes(
        &mut self,
        sums: Vec<Combination>,
        (scale, below, lost): (f64, u32, u32),
        span: Span,
    ) -> Result<Vec<Combination>, TfheError> {
        let step = scale * libm::exp2(-f64::from(below));
        let finer = |c: f64| (libm::round(c / step) * step - c).abs() > ROUNDED * c.abs();
        let (mut fine, mut others) = (Vec::with_capacity(sums.len()), Vec::with_capacity(sums.len()));
        for sum in sums {
            let (mut small, mut rest) = (Combination::default(), Combination::constant(sum.constant));
            for ((leaf, element), c) in sum.terms {
                let kept = if matches!(leaf, Leaf::Integers(_)) && finer(c) { &mut small } else { &mut rest };
                kept.add(&Combination::term(leaf, element, c), 1.0);
            }
            fine.push(small);
            others.push(rest);
        }
        let bits = self.bits.1;
        let changes = self.on_grid(&fine, step * libm::exp2(-f64::from(lost)), span);
        let changes = self.circuit.rounded(changes, lost, span);
        let (half, most) = (1i64 << (bits - 1), (1i64 << (bits - 1)) - 1);
        let shifted = |constant: i64| (0..others.len()).map(|e| Row { terms: vec![(0, e as u32, 1)], constant }).collect();
        let parts = if width(self.circuit.range(changes)) <= bits + 1 {
            let over = self.circuit.range(changes);
            vec![(self.circuit.table(changes, vec![Function::over(over, |v| v)], span), step)]
        } else {
            let raised = self.circuit.affine(&[changes], shifted(half), span);
            let above = self.circuit.floor(raised, bits, span);
            let rest = self.circuit.rest(raised, above, bits, span);
            let low = self.circuit.table(rest, vec![Function::over(self.circuit.range(rest), |v| v - half)], span);
            vec![(low, step), (self.clipped(above, (-most, most), span)?, step * libm::exp2(f64::from(bits)))]
        };
        for (part, step) in parts {
            others.iter_mut().enumerate().for_each(|(e, sum)| sum.add(&Combination::term(Leaf::Integers(part), e, step), 1.0));
        }
        Ok(others)
    }

    fn becomes(&mut self, name: &str, number: usize, new: Id) {
        self.circuit.carried[number].new = new;
        if let Some(kept) = self.kept.get_mut(name) {
            kept.new = Some(new);
        }
    }

    /// Bits below those that are read, by which all coefficients are integers, and how far they are rounded for it.
    fn below(&self, name: &str, sums: &[Combination], (high, scale): (Id, f64), mid: u32, span: Span) -> Result<(u32, f64), TfheError> {
        let mut coefficients: Vec<(f64, f64)> = Vec::new();
        let mut finest = 0.0f64;
        for (e, sum) in sums.iter().enumerate() {
            for (&(leaf, element), &c) in &sum.terms {
                match leaf {
                    // Of what shrinks, it counts how much.
                    Leaf::Integers(id) if (id, element) == (high, e) && c != scale => {
                        coefficients.push((c, c.abs().min((scale - c).abs())));
                    }
                    Leaf::Integers(_) => coefficients.push((c, c.abs())),
                    // The client's own is rounded as finely as activations are.
                    Leaf::Client(_) => {
                        let reach = self.reach(&Combination::term(leaf, element, c));
                        finest = finest.max(libm::ceil(libm::log2(scale / reach)) + f64::from(self.bits.1));
                    }
                }
            }
        }
        let off = |below: u32| {
            let step = scale * libm::exp2(-f64::from(below));
            let off = |&(c, size): &(f64, f64)| if size == 0.0 { 0.0 } else { (libm::round(c / step) * step - c).abs() / size };
            coefficients.iter().map(off).fold(0.0f64, f64::max)
        };
        let least = mid.max(finest.clamp(0.0, f64::from(FINEST)) as u32);
        let exact = |below: &u32| off(*below) < 1e-9;
        let near = |below: &u32| off(*below) <= ROUNDED;
        // Exactly, unless that takes many more bits than nearly so.
        let nearly = (least..=FINEST).find(near);
        let chosen = nearly.map(|nearly| (nearly..=(nearly + 2).min(FINEST)).find(exact).unwrap_or(nearly));
        let below = chosen.ok_or_else(|| {
            let what = format!("`{name}`, carried by the server: a step of its changes is less than 2^-{FINEST} of one of its own");
            TfheError::unsupported(what, span)
        })?;
        Ok((below, off(below)))
    }

    /// A sum cut in a part that is read, a part of `mid` bits below it and one of `low` bits; what is left is rounded off.
    fn cut(&mut self, sum: Id, (below, mid, low): (u32, u32, u32), most: i64, span: Span) -> Result<Vec<Id>, TfheError> {
        let half = |bits: u32, step: u32| if bits > 0 { 1i64 << (step + bits - 1) } else { 0 };
        // Each part is taken from its middle up.
        let raise = if low + mid > 0 { half(low, 0) + half(mid, low) } else { half(below, 0) };
        let len = self.circuit.len(sum);
        let shifted = |constant: i64| (0..len).map(|e| Row { terms: vec![(0, e as u32, 1)], constant }).collect::<Vec<_>>();
        let raised = self.circuit.affine(&[sum], shifted(raise), span);
        if low + mid == 0 {
            let high = self.circuit.floor(raised, below, span);
            return Ok(vec![self.clipped(high, (-most, most), span)?]);
        }
        let above = self.circuit.floor(raised, low, span);
        let high = self.circuit.floor(above, mid, span);
        let mut parts = vec![self.clipped(high, (-most, most), span)?];
        if mid > 0 {
            let rest = self.circuit.rest(above, high, mid, span);
            parts.push(self.circuit.table(rest, vec![Function::over(self.circuit.range(rest), |v| v - half(mid, 0))], span));
        }
        if low > 0 {
            let rest = self.circuit.rest(raised, above, low, span);
            parts.push(self.circuit.affine(&[rest], shifted(-half(low, 0)), span));
        }
        Ok(parts)
    }

    /// Integers clipped to a range that −2^(k−1) to 2^(k−1) − 1 holds, by tables: with v = 2^(k−1) h + l, all that matters of h is
    /// whether it is −1 or 0, or beyond.
    pub(super) fn clipped(&mut self, id: Id, (low, high): (i64, i64), span: Span) -> Result<Id, TfheError> {
        let bits = width((low, high));
        let mut near = id;
        // No wider than those of activations: one bit more takes a ring twice as large.
        if width(self.circuit.range(id)) > bits.max(self.bits.1) + 1 {
            let part = bits - 1;
            let far = self.circuit.floor(id, part, span);
            let far_clipped = self.clipped(far, (-2, 1), span)?;
            let rest = self.circuit.rest(id, far, part, span);
            let row = |e: usize| Row { terms: vec![(0, e as u32, 1), (1, e as u32, 1 << part)], constant: 0 };
            let rows = (0..self.circuit.len(id)).map(row).collect();
            near = self.circuit.affine(&[rest, far_clipped], rows, span);
        }
        let over = self.circuit.range(near);
        self.readable(over, span)?;
        Ok(self.circuit.table(near, vec![Function::over(over, |v| v.clamp(low, high))], span))
    }
}

/// The weights of the layer that a bias belongs to.
fn weight_of(name: &str) -> Option<String> {
    name.strip_suffix(".bias").map(|layer| format!("{layer}.weight"))
}

/// Whether any element reads a vector.
fn reads(value: &Linear, id: Id) -> bool {
    value.elements.iter().any(|e| e.terms.keys().any(|(leaf, _)| *leaf == Leaf::Integers(id)))
}

fn within((low, high): (i64, i64), most: i64) -> bool {
    -most <= low && high <= most
}
