//! What the slots of a tile hold, and which sums over rotations bring elements to where they are needed.

/// What a slot holds of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Zero.
    Zero,
    /// That element.
    Element(u32),
    /// A number that counts for every element: a scalar.
    Scalar,
    /// Finite, and of no use.
    Junk,
}

impl Entry {
    /// The element that it is, a scalar as element 0.
    pub(super) fn element(self) -> Option<u32> {
        match self {
            Entry::Element(e) => Some(e),
            Entry::Scalar => Some(0),
            Entry::Zero | Entry::Junk => None,
        }
    }

    /// Whether it can stand for element `e`.
    pub(super) fn serves(self, e: u32) -> bool {
        matches!(self, Entry::Scalar) || self == Entry::Element(e)
    }
}

/// Elements wanted at slots.
pub(super) type Need = Vec<(usize, u32)>;

/// Whether a value has everything that is needed.
pub(super) fn serves(at: &[Entry], need: &Need) -> bool {
    need.iter().all(|&(slot, e)| at[slot].serves(e))
}

/// Whether every element of `dim` stands somewhere.
pub(super) fn covers(at: &[Entry], dim: usize) -> bool {
    let mut seen = vec![false; dim];
    let mut mark = |e: u32| seen.get_mut(e as usize).map_or((), |seen| *seen = true);
    at.iter().for_each(|entry| match entry {
        Entry::Scalar => (0..dim as u32).for_each(&mut mark),
        Entry::Element(e) => mark(*e),
        Entry::Zero | Entry::Junk => {}
    });
    seen.into_iter().all(|seen| seen)
}

/// Nothing but elements and zeros: it can be moved and added without a mask.
pub(super) fn clean(at: &[Entry]) -> bool {
    !at.contains(&Entry::Junk)
}

/// Part of the sum that an element is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// Zero.
    Zero,
    /// Terms of that element: how many, and which, as a sum of marks.
    Of(u32, u32, u64),
    /// Something else is in it.
    Junk,
}

impl Term {
    /// Term number `index` of an element.
    pub(super) fn new(element: u32, index: u32) -> Self {
        Term::Of(element, 1, mark(index))
    }

    fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Term::Zero, term) | (term, Term::Zero) => term,
            (Term::Of(a, n, x), Term::Of(b, m, y)) if a == b => Term::Of(a, n + m, x.wrapping_add(y)),
            _ => Term::Junk,
        }
    }
}

/// A number per term, so that a sum of marks tells which terms are in a sum (splitmix64, Steele et al. 2014).
fn mark(index: u32) -> u64 {
    let z = u64::from(index).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Terms in the slots of a tile.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub at: Vec<Term>,
    /// Terms that make an element.
    pub count: u32,
    /// Their sum is a scalar.
    pub scalar: bool,
    /// Every tile holds the same, so that the neighbour's slots are as good as its own.
    pub alike: bool,
}

/// Rotations one after another, each added to what was there before, and what they make of the terms.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    pub steps: Vec<i64>,
    pub at: Vec<Entry>,
    /// Needs that are served.
    pub served: usize,
}

impl Terms {
    /// The terms of a value that needs no more sums.
    pub(super) fn settled(at: &[Entry]) -> Self {
        let term = |entry: &Entry| match entry {
            Entry::Zero => Term::Zero,
            Entry::Junk => Term::Junk,
            Entry::Element(e) => Term::new(*e, 0),
            Entry::Scalar => Term::new(0, 0),
        };
        let scalar = at.contains(&Entry::Scalar);
        Self { at: at.iter().map(term).collect(), count: 1, scalar, alike: false }
    }

    fn entries(&self, at: &[Term]) -> Vec<Entry> {
        let all = (0..self.count).fold(0u64, |sum, index| sum.wrapping_add(mark(index)));
        let entry = |term: &Term| match *term {
            Term::Zero => Entry::Zero,
            Term::Of(_, n, x) if n == self.count && x == all && self.scalar => Entry::Scalar,
            Term::Of(e, n, x) if n == self.count && x == all => Entry::Element(e),
            _ => Entry::Junk,
        };
        at.iter().map(entry).collect()
    }

    fn step(&self, at: &[Term], by: i64) -> Vec<Term> {
        let length = at.len() as i64;
        let moved = |slot: usize| {
            let from = slot as i64 + by;
            match at[from.rem_euclid(length) as usize] {
                Term::Of(..) if !(0..length).contains(&from) && !self.alike => Term::Junk,
                term => term,
            }
        };
        (0..at.len()).map(|slot| at[slot].plus(moved(slot))).collect()
    }

    /// The fewest steps, along the rows of a tile (whose slots are `cols` apart) and then along its columns, that bring all
    /// of `dim` elements somewhere and serve all needs, or else the most of them.
    pub(super) fn windows(&self, cols: usize, dim: usize, needs: &[Need]) -> Option<Windows> {
        let (across, along) = ((self.at.len() / cols).ilog2(), cols.ilog2());
        let mut best: Option<Windows> = None;
        for total in 0..=across + along {
            for row_steps in 0..=total.min(across) {
                let column_steps = total - row_steps;
                if column_steps > along {
                    continue;
                }
                for forward in [true, false] {
                    if row_steps == 0 && !forward {
                        continue;
                    }
                    let sign = if forward { 1 } else { -1 };
                    let rows: Vec<i64> = (0..row_steps).map(|t| sign * ((cols as i64) << t)).collect();
                    let at = rows.iter().fold(self.at.clone(), |at, &by| self.step(&at, by));
                    self.columns(at, rows, column_steps, 0, dim, needs, &mut best);
                }
                if best.as_ref().is_some_and(|best| best.served == needs.len()) {
                    return best;
                }
            }
        }
        best
    }

    #[allow(clippy::too_many_arguments, reason = "the state of a search")]
    fn columns(&self, at: Vec<Term>, steps: Vec<i64>, count: u32, t: u32, dim: usize, needs: &[Need], best: &mut Option<Windows>) {
        if t == count {
            let entries = self.entries(&at);
            let served = needs.iter().filter(|need| serves(&entries, need)).count();
            let better = best.as_ref().is_none_or(|best| served > best.served);
            if better && covers(&entries, dim) {
                *best = Some(Windows { steps, at: entries, served });
            }
            return;
        }
        for by in [1i64 << t, -(1i64 << t)] {
            let next = [steps.as_slice(), &[by]].concat();
            self.columns(self.step(&at, by), next, count, t + 1, dim, needs, best);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows of four: terms of element 0 in columns 1 and 2 of both rows.
    #[test]
    fn a_window_takes_in_its_own_terms_and_no_others() {
        let at = vec![Term::Zero, Term::new(0, 0), Term::new(0, 1), Term::Zero, Term::Zero, Term::new(1, 0), Term::new(1, 1), Term::Zero];
        let terms = Terms { at, count: 2, scalar: false, alike: false };
        let need: Need = vec![(1, 0), (5, 1)];
        let found = terms.windows(4, 2, &[need]).expect("a window");
        assert_eq!(found.steps, [1]);
        assert_eq!(found.at[1], Entry::Element(0));
        assert_eq!(found.at[0], Entry::Junk, "one of two terms");
        let both: Need = vec![(0, 0), (3, 0)];
        assert_eq!(terms.windows(4, 2, &[both]).expect("a window").served, 0, "four columns do not hold both ends apart");
    }

    #[test]
    fn a_zero_neighbourhood_lets_an_element_spread() {
        let mut at = vec![Entry::Zero; 8];
        at[1] = Entry::Element(0);
        let need: Need = [1, 3, 5, 7].map(|slot| (slot, 0)).to_vec();
        let found = Terms::settled(&at).windows(2, 1, std::slice::from_ref(&need)).expect("windows");
        assert_eq!(found.steps, [-2, -4]);
        assert!(serves(&found.at, &need) && clean(&found.at));
        at[0] = Entry::Junk;
        let junk = Terms::settled(&at).windows(2, 1, &[need]).expect("still somewhere");
        assert_eq!(junk.at[0], Entry::Junk);
    }

    #[test]
    fn repeated_terms_do_not_count_as_others() {
        let terms = Terms { at: vec![Term::new(0, 0), Term::new(0, 0)], count: 2, scalar: false, alike: false };
        assert!(terms.windows(2, 1, &[vec![(0, 0)]]).is_none());
    }
}
