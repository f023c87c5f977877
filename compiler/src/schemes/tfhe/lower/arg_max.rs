//! The arg-max: who wins each comparison, and what that says of each action.

use hecc_plan::Span;

use super::Lowering;
use crate::schemes::tfhe::circuit::{Function, Id, width};
use crate::schemes::tfhe::error::TfheError;
use crate::schemes::tfhe::linear::{Combination, Leaf, Linear};

/// A round of a tournament.
struct Round {
    /// 1 where the left one won: `matches` times rows.
    left_won: Vec<Combination>,
    /// How many matches; one more may have had no opponent.
    matches: usize,
}

impl Lowering<'_> {
    /// One-hot of the largest element of each row, the first of equals.
    ///
    /// Of K actions, all pairs take K(K-1)/2 comparisons and K-1 tables that find who won all of theirs. A tournament takes K-1
    /// comparisons, K-2 winners carried on, each by a table and one more for each few bits that its comparison dropped, and K-2
    /// tables that follow the winner back. Every comparison drops bits first, which is what makes the tournament cheaper.
    pub(super) fn arg_max(&mut self, x: &Linear, rows: usize, cols: usize, span: Span) -> Result<Linear, TfheError> {
        if cols == 1 {
            return Ok(Linear::constants(vec![1.0; rows]));
        }
        let x = self.spread_out(x);
        if cols == 2 {
            let difference = |row: usize| x.elements[2 * row].plus(&x.elements[2 * row + 1], -1.0);
            let first = self.compared(&(0..rows).map(difference).collect::<Vec<_>>(), true, span)?;
            return Ok(Linear { elements: first.iter().flat_map(|bit| [bit.clone(), bit.complement()]).collect() });
        }
        // Differences that were rounded one by one could go round in a circle, with no largest element.
        let (id, _) = self.integers(&x.elements, None, span);
        let x = Linear::of(Leaf::Integers(id), rows * cols, 1.0);
        if self.choices.tournament { self.tournament(&x, rows, cols, span) } else { self.all_pairs(&x, rows, cols, span) }
    }

    /// Every action against every other: one that won all is the largest.
    fn all_pairs(&mut self, x: &Linear, rows: usize, cols: usize, span: Span) -> Result<Linear, TfheError> {
        let matches: Vec<(usize, usize)> = (0..cols).flat_map(|i| (i + 1..cols).map(move |j| (i, j))).collect();
        let difference = |row: usize, (i, j): (usize, usize)| x.elements[row * cols + i].plus(&x.elements[row * cols + j], -1.0);
        let differences: Vec<Combination> = (0..rows).flat_map(|row| matches.iter().map(move |&m| difference(row, m))).collect();
        let first_won = self.compared(&differences, false, span)?;
        // Below 0 for all but who won all.
        let lost = |row: usize, e: usize| {
            let mut count = Combination::constant(1.0 - cols as f64);
            for (bit, &(i, j)) in first_won[row * matches.len()..].iter().zip(&matches) {
                match () {
                    () if i == e => count.add(bit, 1.0),
                    () if j == e => count.add(&bit.complement(), 1.0),
                    () => {}
                }
            }
            count
        };
        // One wins: the last, where no other does.
        let others: Vec<Combination> = (0..rows).flat_map(|row| (0..cols - 1).map(move |e| lost(row, e))).collect();
        let won = self.reached(&others, span)?;
        let with_last = |won: &[Combination]| {
            let last = won.iter().fold(Combination::constant(1.0), |rest, one| rest.plus(one, -1.0));
            won.iter().cloned().chain([last]).collect::<Vec<_>>()
        };
        Ok(Linear { elements: won.chunks(cols - 1).flat_map(with_last).collect() })
    }

    /// Neighbours against each other, winners carried on, and back from the last match to who won it.
    fn tournament(&mut self, x: &Linear, rows: usize, cols: usize, span: Span) -> Result<Linear, TfheError> {
        // Of each player, its value in every row.
        let mut players: Vec<Vec<Combination>> =
            (0..cols).map(|e| (0..rows).map(|row| x.elements[row * cols + e].clone()).collect()).collect();
        let mut rounds: Vec<Round> = Vec::new();
        loop {
            let matches = players.len() / 2;
            let difference = |k: usize, row: usize| players[2 * k][row].plus(&players[2 * k + 1][row], -1.0);
            let differences: Vec<Combination> = (0..matches).flat_map(|k| (0..rows).map(move |row| difference(k, row))).collect();
            let last = players.len() == 2;
            let (left_won, ahead) = self.matched(&differences, !last, span)?;
            rounds.push(Round { left_won, matches });
            if last {
                break;
            }
            let winner = |k: usize| {
                let carried = ahead[k * rows..][..rows].iter();
                players[2 * k + 1].iter().zip(carried).map(|(right, ahead)| right.plus(ahead, 1.0)).collect()
            };
            let winners: Vec<Vec<Combination>> = (0..matches).map(winner).collect();
            let unmatched = players.split_off(2 * matches);
            players = winners.into_iter().chain(unmatched).collect();
        }
        // 1 where the winner of all came through this match.
        let mut through: Vec<Vec<Combination>> = vec![vec![Combination::constant(1.0); rows]];
        for (depth, round) in rounds.iter().rev().enumerate() {
            let unmatched = through.split_off(round.matches);
            let left = if depth == 0 {
                round.left_won.clone()
            } else {
                let both = |(through, won): (&Combination, &Combination)| through.plus(won, 1.0).plus(&Combination::constant(2.0), -1.0);
                let both: Vec<Combination> = through.iter().flatten().zip(&round.left_won).map(both).collect();
                self.reached(&both, span)?
            };
            let sides = through.iter().zip(left.chunks(rows)).flat_map(|(through, left)| {
                let right = through.iter().zip(left).map(|(all, left)| all.plus(left, -1.0)).collect();
                [left.to_vec(), right]
            });
            through = sides.chain(unmatched).collect();
        }
        Ok(Linear { elements: (0..rows).flat_map(|row| through.iter().map(move |won| won[row].clone())).collect() })
    }

    /// 1 where integers are at least 0, and, where `carry` asks for it, how far they are above 0.
    ///
    /// With v = 2^k h + l the sign of v is that of h, and max(v, 0) = 2^k max(h, 0) + (l where h >= 0): l is what dropping bits
    /// has left over, a few bits at a time, and a bit beside them selects.
    fn matched(&mut self, x: &[Combination], carry: bool, span: Span) -> Result<(Vec<Combination>, Vec<Combination>), TfheError> {
        if !carry {
            return Ok((self.compared(x, false, span)?, Vec::new()));
        }
        let all = self.on_grid(x, 1.0, span);
        let (mut won, mut ahead) = (vec![Combination::default(); x.len()], vec![Combination::default(); x.len()]);
        for elements in self.alike(all, &vec![(1, 0); x.len()]) {
            let picked = self.circuit.pick(all, &elements, span);
            let (bits, above) = self.above(picked, span)?;
            for ((element, bit), above) in elements.into_iter().zip(bits.elements).zip(above.elements) {
                (won[element], ahead[element]) = (bit, above);
            }
        }
        Ok((won, ahead))
    }

    /// Of integers of one width.
    pub(super) fn above(&mut self, x: Id, span: Span) -> Result<(Linear, Linear), TfheError> {
        let len = self.circuit.len(x);
        let mut high = x;
        let mut lows: Vec<(Id, u32, f64)> = Vec::new();
        let (mut left, mut weight) = (self.excess(high), 1.0);
        while left > 0 {
            let drop = left.min(self.bits.1);
            let floor = self.circuit.floor(high, drop, span);
            lows.push((self.circuit.rest(high, floor, drop, span), drop, weight));
            (high, left) = (floor, left - drop);
            weight *= f64::from(1u32 << drop);
        }
        let won = self.circuit.sign(high, 0, 1, span);
        let bits = Linear::of(Leaf::Integers(won), len, 1.0);
        let over = self.circuit.range(high);
        self.readable(over, span)?;
        let positive = self.circuit.table(high, vec![Function::over(over, |v| v.max(0))], span);
        let mut ahead = Linear::of(Leaf::Integers(positive), len, weight);
        for (rest, drop, weight) in lows {
            // Below 0 where the bit is 0.
            let room = f64::from(1u32 << drop);
            let both = Linear::of(Leaf::Integers(rest), len, 1.0).plus(&bits.affine(room, -room), 1.0);
            let both = self.on_grid(&both.elements, 1.0, span);
            let over = self.circuit.range(both);
            self.readable(over, span)?;
            let kept = self.circuit.table(both, vec![Function::over(over, |v| v.max(0))], span);
            ahead = ahead.plus(&Linear::of(Leaf::Integers(kept), len, 1.0), weight);
        }
        Ok((bits, ahead))
    }

    /// 1 where a small integer is at least 0, by a table.
    fn reached(&mut self, x: &[Combination], span: Span) -> Result<Vec<Combination>, TfheError> {
        let id = self.on_grid(x, 1.0, span);
        let over = self.circuit.range(id);
        self.readable(over, span)?;
        let table = self.circuit.table(id, vec![Function::over(over, |v| i64::from(v >= 0))], span);
        Ok(Linear::of(Leaf::Integers(table), x.len(), 1.0).elements)
    }

    /// Bits by which integers are wider than a comparison reads.
    pub(super) fn excess(&self, id: Id) -> u32 {
        width(self.circuit.range(id)).saturating_sub(self.bits.1 + 1)
    }
}
