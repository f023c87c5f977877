//! Operations on these ciphertexts by themselves, with keys of any words: what they take does not depend on what keys hold.

use tfhe::core_crypto::prelude::*;

use hecc_plan::tfhe::parameters::{Decomposition, Lookup, LookupId, Parameters, Ring, RingId, Switch, SwitchId};

use crate::engine::EngineError;
use crate::engine::party::parallel;
use crate::tfhe::backend::{bits, degree, digits, native, rank};
use crate::tfhe::ciphertext::Ct;
use crate::tfhe::compute::{Accumulator, Evaluator};
use crate::tfhe::keys::{EvaluationKeys, LookupKeys};

const FROM: RingId = RingId(0);
const TO: RingId = RingId(1);
/// What switches from a ring cut into digits: as lookups of few bits do.
const SHRINKING: Decomposition = Decomposition { base_log: 4, levels: 4 };
const MOVING: Decomposition = Decomposition { base_log: 12, levels: 3 };

/// A lookup into a ring, with its keys.
pub(crate) struct Probe {
    parameters: Parameters,
    evaluator: Evaluator,
    operand: Ct,
    threads: usize,
}

/// Words without a pattern that arithmetic could be fast on.
fn words(count: usize) -> impl Iterator<Item = u64> {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    (0..count).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    })
}

impl Probe {
    /// With a small secret of so many bits and digits of so many levels; what is switched comes from a secret of 2048 bits.
    pub(crate) fn new(small: u32, ring: Ring, levels: u32, threads: usize) -> Self {
        let rotation = Decomposition { base_log: 45 / levels.max(1), levels };
        let lookup = Lookup { from: FROM, small, switch: SHRINKING, to: TO, rotation };
        let switch = Switch { from: FROM, to: TO, decomposition: MOVING };
        let rings = vec![Ring { dimension: 1, log_n: 11 }, ring];
        let parameters = Parameters { security_bits: 0, rings, lookups: vec![lookup], switches: vec![switch], packings: Vec::new() };
        let from = bits(parameters.ring(FROM));
        let (base, count) = digits(SHRINKING);
        let mut shrink = LweKeyswitchKeyOwned::new(0u32, base, count, from, LweDimension(small as usize), native());
        let length = shrink.as_ref().len();
        shrink.as_mut().iter_mut().zip(words(length)).for_each(|(word, random)| *word = random as u32);
        let (base, count) = digits(rotation);
        let mut turn = FourierLweBootstrapKeyOwned::new(LweDimension(small as usize), rank(ring).to_glwe_size(), degree(ring), base, count);
        let data = turn.as_mut_view().data();
        let length = data.len();
        // As large as transforms of words are.
        let real = |word: u64| word as i64 as f64 / libm::exp2(64.0);
        data.iter_mut().zip(words(length)).for_each(|(value, word)| (value.re, value.im) = (real(word), real(word.rotate_left(32))));
        let (base, count) = digits(MOVING);
        let mut between = LweKeyswitchKeyOwned::new(0u64, base, count, from, bits(ring), native());
        let length = between.as_ref().len();
        between.as_mut().iter_mut().zip(words(length)).for_each(|(word, random)| *word = random);
        let keys = LookupKeys { from: FROM, to: TO, switch: shrink, rotation: turn, fft: Fft::new(degree(ring)) };
        let evaluator =
            Evaluator::new(parameters.clone(), EvaluationKeys { lookups: vec![keys], switches: vec![between], packings: Vec::new() });
        Self { parameters, evaluator, operand: Ct(words(from.0 + 1).collect()), threads }
    }

    /// Rotations, `each` on every thread.
    pub(crate) fn rotations(&self, each: usize) -> Result<(), EngineError> {
        let table = Accumulator::constant(self.parameters.ring(TO), 1 << 60);
        let small = self.evaluator.shrink(LookupId(0), &self.operand)?;
        parallel(self.threads, each * self.threads, |_| self.evaluator.turn(LookupId(0), &small, &table)).map(drop)
    }

    /// Switches to the small secret, `each` on every thread.
    pub(crate) fn shrinks(&self, each: usize) -> Result<(), EngineError> {
        parallel(self.threads, each * self.threads, |_| self.evaluator.shrink(LookupId(0), &self.operand)).map(drop)
    }

    /// Switches to the other ring, `each` on every thread.
    pub(crate) fn moves(&self, each: usize) -> Result<(), EngineError> {
        parallel(self.threads, each * self.threads, |_| self.evaluator.switch(SwitchId(0), &self.operand)).map(drop)
    }

    /// Terms of linear combinations, `each` on every thread.
    pub(crate) fn terms(&self, each: usize) -> Result<(), EngineError> {
        let sum = |i: usize| {
            let mut sum = Ct::trivial(&self.parameters, FROM, i as u64);
            (0..each).for_each(|term| sum.add_scaled(&self.operand, term as i64 - 3));
            Ok(sum)
        };
        parallel(self.threads, self.threads, sum).map(drop)
    }

    /// Words of the key to the small secret, of the key between the rings, and of an operand.
    pub(crate) fn lengths(&self) -> (f64, f64, f64) {
        let (from, to) = (f64::from(self.parameters.ring(FROM).bits()), f64::from(self.parameters.ring(TO).bits()));
        let small = f64::from(self.parameters.lookups[0].small);
        (from * f64::from(SHRINKING.levels) * (small + 1.0), from * f64::from(MOVING.levels) * (to + 1.0), from + 1.0)
    }
}
