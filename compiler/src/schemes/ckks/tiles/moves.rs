//! Rotations and masks that bring elements where they are needed.

use std::collections::BTreeMap;

use hecc_plan::{Layout, Op, Plain, PlainPart, PlainPattern, Span, Tiled, WireId};

use super::needs::anchors;
use super::slots::{Entry, Need, Terms, Windows, clean, serves};
use super::{Placed, Tiles};
use crate::schemes::ckks::lower::Cts;

impl Tiles<'_> {
    /// The value where it is needed.
    pub(super) fn realise(&mut self, x: &Placed, need: &Need, span: Span) -> Option<Placed> {
        if serves(&x.at, need) {
            return Some(x.clone());
        }
        let cols = self.floor.cols;
        let dim = if x.at.contains(&Entry::Scalar) { 1 } else { x.cts.dim };
        let found = |terms: &Terms| terms.windows(cols, dim, std::slice::from_ref(need)).filter(|found| found.served == 1);
        let settled = Terms::settled(&x.at);
        let from_parts = x.parts.as_ref().and_then(|(wires, terms)| Some((wires.clone(), found(terms)?)));
        if let Some((wires, windows)) = from_parts.or_else(|| Some((x.cts.wires.clone(), found(&settled)?))) {
            return self.moved(x, &wires, windows, span);
        }
        // One copy of each element, alone.
        let copies = |last: bool| {
            let mut kept: BTreeMap<u32, usize> = BTreeMap::new();
            for (slot, entry) in x.at.iter().enumerate() {
                if let Some(e) = entry.element()
                    && (last || !kept.contains_key(&e))
                {
                    kept.insert(e, slot);
                }
            }
            kept
        };
        for kept in [copies(false), copies(true)] {
            let mut at = vec![Entry::Zero; x.at.len()];
            kept.values().for_each(|&slot| at[slot] = x.at[slot]);
            if let Some(windows) = found(&Terms::settled(&at)) {
                let slots: Vec<usize> = kept.values().copied().collect();
                let wires: Vec<WireId> = x.cts.wires.iter().map(|&wire| self.masked(wire, &slots, 1.0, span)).collect();
                return self.moved(x, &wires, windows, span);
            }
        }
        // Every element to the first place that wants it, by distance.
        let kept = copies(false);
        let mut groups: BTreeMap<i64, Vec<usize>> = BTreeMap::new();
        let mut at = vec![Entry::Zero; x.at.len()];
        for (target, e) in anchors(need) {
            let slot = *kept.get(&if x.at.contains(&Entry::Scalar) { 0 } else { e })?;
            groups.entry(slot as i64 - target as i64).or_default().push(slot);
            at[target] = x.at[slot];
        }
        let windows = found(&Terms::settled(&at))?;
        let whole = groups.len() == 1
            && clean(&x.at)
            && x.at.iter().filter(|e| e.element().is_some()).count() == at.iter().filter(|e| e.element().is_some()).count();
        let wires = x.cts.wires.clone();
        let gathered = wires
            .iter()
            .map(|&wire| {
                let mut sum: Option<WireId> = None;
                for (&distance, slots) in &groups {
                    let masked = if whole { wire } else { self.masked(wire, slots, 1.0, span) };
                    let moved = self.lowering.circuit.rotate(masked, distance, span);
                    sum = Some(sum.map_or(moved, |sum| self.lowering.circuit.push(Op::Add(sum, moved), span)));
                }
                sum.unwrap_or(wire)
            })
            .collect::<Vec<_>>();
        self.moved(x, &gathered, windows, span)
    }

    /// The sums that serve `needs` best.
    pub(super) fn settle(
        &mut self,
        wires: Vec<WireId>,
        terms: Terms,
        factor: f64,
        dim: usize,
        needs: &[Need],
        span: Span,
    ) -> Option<Placed> {
        let Windows { steps, at, .. } = terms.windows(self.floor.cols, dim, needs)?;
        let sums = self.apply(&wires, &steps, span);
        Some(Placed { cts: Cts { wires: sums, factor, dim, clean: true }, at, parts: Some((wires, terms)) })
    }

    fn moved(&mut self, x: &Placed, wires: &[WireId], windows: Windows, span: Span) -> Option<Placed> {
        let wires = self.apply(wires, &windows.steps, span);
        Some(Placed { cts: Cts { wires, ..x.cts.clone() }, at: windows.at, parts: None })
    }

    pub(super) fn apply(&mut self, wires: &[WireId], steps: &[i64], span: Span) -> Vec<WireId> {
        let circuit = &mut self.lowering.circuit;
        let apply = |&wire: &WireId| {
            steps.iter().fold(wire, |sum, &by| {
                let moved = circuit.rotate(sum, by, span);
                circuit.push(Op::Add(sum, moved), span)
            })
        };
        wires.iter().map(apply).collect()
    }

    /// Some slots of every tile, times a number.
    pub(super) fn masked(&mut self, wire: WireId, slots: &[usize], value: f64, span: Span) -> WireId {
        let pairs: Need = slots.iter().map(|&slot| (slot, 0)).collect();
        let part = |run: Tiled| PlainPart { layout: Layout::Tiled(run), shape: vec![1], value };
        let pattern = PlainPattern::Parts { parts: runs(&pairs).into_iter().map(part).collect(), by: None };
        self.mask(wire, pattern, span)
    }

    pub(super) fn mask(&mut self, wire: WireId, pattern: PlainPattern, span: Span) -> WireId {
        let scale = self.lowering.packing.mask_bits;
        let plain = self.lowering.circuit.plain(Plain { pattern, scale });
        self.lowering.circuit.push(Op::MulPlain(wire, plain), span)
    }
}

/// Slots and their elements as few regular patterns.
pub(super) fn runs(pairs: &Need) -> Vec<Tiled> {
    let mut by_element: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for &(slot, e) in pairs {
        by_element.entry(e).or_default().push(slot);
    }
    by_element.values_mut().for_each(|slots| slots.sort_unstable());
    let single = |start: usize, elements: (usize, usize), stride: usize, copies| Tiled {
        group: None,
        start,
        elements,
        strides: [stride, 0],
        copies,
    };
    let mut lists = by_element.iter();
    let Some((&first, slots)) = lists.next() else { return Vec::new() };
    // All elements alike: the first one's slots, moved by a stride each.
    let stride = by_element.values().nth(1).map_or(Some(0), |next| next[0].checked_sub(slots[0]));
    let alike = |stride: usize| {
        by_element.iter().enumerate().all(|(index, (&e, list))| {
            e as usize == first as usize + index
                && list.len() == slots.len()
                && list.iter().zip(slots).all(|(a, b)| *a == b + index * stride)
        })
    };
    if let Some(stride) = stride.filter(|&stride| alike(stride))
        && let Some(copies) = progression(slots)
    {
        return vec![single(slots[0], (first as usize, by_element.len()), stride, copies)];
    }
    let mut all = Vec::new();
    for (&e, slots) in &by_element {
        match progression(slots) {
            Some(copies) => all.push(single(slots[0], (e as usize, 1), 0, copies)),
            None => all.extend(slots.iter().map(|&slot| single(slot, (e as usize, 1), 0, [(1, 0); 2]))),
        }
    }
    all
}

/// Slots as copies of copies.
fn progression(slots: &[usize]) -> Option<[(usize, usize); 2]> {
    let Some(&second) = slots.get(1) else { return Some([(1, 0); 2]) };
    let inner = second - slots[0];
    let count = slots.windows(2).take_while(|pair| pair[1] - pair[0] == inner).count() + 1;
    if count == slots.len() {
        return Some([(count, inner), (1, 0)]);
    }
    let outer = slots[count] - slots[0];
    let whole = slots.len().is_multiple_of(count);
    let fits = slots.iter().enumerate().all(|(index, &slot)| slot == slots[0] + (index / count) * outer + (index % count) * inner);
    (whole && fits).then_some([(count, inner), (slots.len() / count, outer)])
}
