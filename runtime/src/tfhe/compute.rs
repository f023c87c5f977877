//! What the server does with keys: lookups, signs, low bits, switches.

use std::sync::{Mutex, PoisonError};

use tfhe::core_crypto::prelude::*;

use hecc_plan::tfhe::parameters::{LookupId, PackingId, Parameters, Ring, SwitchId};

use crate::engine::EngineError;
use crate::tfhe::backend::{PackingKey, bits, degree, native};
use crate::tfhe::ciphertext::{Ct, place};
use crate::tfhe::keys::{EvaluationKeys, LookupKeys};

/// What a blind rotation turns: a polynomial that has the result for each place on the upper half of the torus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accumulator(Vec<u64>);

impl Accumulator {
    /// A table for values of as many bits as it has, with padding: `outputs` are those of `-2^(p-1)` and up. On the half of the
    /// torus below zero a rotation gives the negative of what is half a turn away.
    pub(crate) fn table(ring: Ring, outputs: &[i64], log_step: u32) -> Result<Self, EngineError> {
        let (degree, count) = (ring.degree() as usize, outputs.len());
        if count < 2 || !count.is_power_of_two() || 2 * count > degree {
            return Err(EngineError::Library {
                place: "a table".to_owned(),
                reason: format!("{count} values in a ring of degree {degree}"),
            });
        }
        let of = |j: usize| {
            // The nearest multiple of a box, counted from zero: in the second half of the polynomial stand those below zero.
            let index = (j * count + degree / 2) / degree;
            if index < count / 2 {
                place(outputs[count / 2 + index], log_step)
            } else {
                place(outputs[index - count / 2], log_step).wrapping_neg()
            }
        };
        Ok(Self((0..degree).map(of).collect()))
    }

    /// The same result everywhere: its negative below zero.
    pub(crate) fn constant(ring: Ring, torus: u64) -> Self {
        Self(vec![torus; ring.degree() as usize])
    }
}

/// Memory that threads take turns with.
#[derive(Default)]
struct Scratch(Mutex<Vec<ComputationBuffers>>);

impl Scratch {
    fn with<T>(&self, bytes: usize, work: impl FnOnce(&mut ComputationBuffers) -> T) -> T {
        let mut buffers = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        buffers.resize(bytes);
        let result = work(&mut buffers);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffers);
        result
    }
}

/// Keys and what computing with them takes.
pub(crate) struct Evaluator {
    parameters: Parameters,
    keys: EvaluationKeys,
    scratch: Scratch,
}

impl Evaluator {
    /// With all keys.
    pub(crate) fn new(parameters: Parameters, keys: EvaluationKeys) -> Self {
        Self { parameters, keys, scratch: Scratch::default() }
    }

    fn keys(&self, id: LookupId) -> Result<&LookupKeys, EngineError> {
        self.keys.lookups.get(id.0 as usize).ok_or(EngineError::Turn("there is no such lookup"))
    }

    /// A packing key.
    pub(crate) fn packing(&self, id: PackingId) -> Result<&PackingKey, EngineError> {
        self.keys.packings.get(id.0 as usize).ok_or(EngineError::Turn("there is no such packing key"))
    }

    /// The ring that a packing key leads to.
    pub(crate) fn packing_ring(&self, id: PackingId) -> Result<Ring, EngineError> {
        let packing = self.parameters.packings.get(id.0 as usize);
        packing.map(|packing| packing.to).ok_or(EngineError::Turn("there is no such packing key"))
    }

    /// The ring of a lookup's results.
    pub(crate) fn ring_of(&self, id: LookupId) -> Result<Ring, EngineError> {
        Ok(self.parameters.ring(self.keys(id)?.to))
    }

    /// Looks a value up.
    pub(crate) fn lookup(&self, id: LookupId, operand: &Ct, table: &Accumulator) -> Result<Ct, EngineError> {
        self.turn(id, &self.shrink(id, operand)?, table)
    }

    /// The first half of a lookup: a ciphertext under the small secret.
    pub(crate) fn shrink(&self, id: LookupId, operand: &Ct) -> Result<LweCiphertextOwned<u32>, EngineError> {
        small(self.keys(id)?, operand)
    }

    /// The second: its rotation.
    pub(crate) fn turn(&self, id: LookupId, small: &LweCiphertextOwned<u32>, table: &Accumulator) -> Result<Ct, EngineError> {
        self.rotate(self.keys(id)?, small, table)
    }

    /// `high` for values from zero up, `low` for those below; without padding, so that a value of `p` bits has `log_step` = `p`.
    /// They are given at `out`.
    pub(crate) fn sign(&self, id: LookupId, operand: &Ct, log_step: u32, (low, high): (i64, i64), out: u32) -> Result<Ct, EngineError> {
        // Decisions lie between values.
        let mut shifted = operand.clone();
        shifted.add_constant(place(1, log_step + 1));
        // Half the difference either way from the middle.
        let half = place(high.wrapping_sub(low), out + 1);
        let mut result = self.lookup(id, &shifted, &Accumulator::constant(self.ring_of(id)?, half))?;
        result.add_constant(place(low, out).wrapping_add(half));
        Ok(result)
    }

    /// The lowest bit of a value at `log_step`, at that step.
    pub(crate) fn low_bit(&self, id: LookupId, operand: &Ct, log_step: u32) -> Result<Ct, EngineError> {
        // The lowest bit goes to one half; a quarter more, and it is a sign.
        let raise = log_step.checked_sub(1).and_then(|by| 1i64.checked_shl(by)).ok_or(EngineError::Turn("the step is no step"))?;
        let mut raised = operand.clone();
        raised.scale(raise);
        raised.add_constant(1 << 62);
        let half = place(1, log_step + 1);
        let mut result = self.lookup(id, &raised, &Accumulator::constant(self.ring_of(id)?, half.wrapping_neg()))?;
        result.add_constant(half);
        Ok(result)
    }

    /// Drops the `count` lowest bits: the largest whole number below a value over `2^count`, at `log_step - count`.
    pub(crate) fn drop_bits(&self, id: LookupId, operand: &Ct, log_step: u32, count: u32) -> Result<Ct, EngineError> {
        let keys = self.keys(id)?;
        if keys.from != keys.to || count >= log_step {
            return Err(EngineError::Turn("bits are dropped by a lookup within a ring, and some stay"));
        }
        let mut rest = operand.clone();
        for dropped in 0..count {
            let bit = self.low_bit(id, &rest, log_step - dropped)?;
            rest.add_scaled(&bit, -1);
        }
        Ok(rest)
    }

    /// Takes a ciphertext to another ring.
    pub(crate) fn switch(&self, id: SwitchId, operand: &Ct) -> Result<Ct, EngineError> {
        let key = self.keys.switches.get(id.0 as usize).ok_or(EngineError::Turn("there is no such switch"))?;
        of_length(operand, key.input_key_lwe_dimension())?;
        let mut result = LweCiphertextOwned::new(0u64, key.output_lwe_size(), native());
        keyswitch_lwe_ciphertext(key, &operand.view(), &mut result);
        Ok(Ct(result.into_container()))
    }

    fn rotate(&self, keys: &LookupKeys, small: &LweCiphertextOwned<u32>, table: &Accumulator) -> Result<Ct, EngineError> {
        let ring = self.parameters.ring(keys.to);
        let (key, degree) = (&keys.rotation, degree(ring));
        if table.0.len() != degree.0 {
            return Err(EngineError::Library { place: "a lookup".to_owned(), reason: "the table is for another ring".to_owned() });
        }
        let rounded =
            lwe_ciphertext_centered_binary_modulus_switch::<u32, usize, _>(small.as_view(), degree.to_blind_rotation_input_modulus_log());
        let mut turned = GlweCiphertextOwned::new(0u64, key.glwe_size(), degree, native());
        turned.get_mut_body().as_mut().copy_from_slice(&table.0);
        let fft = keys.fft.as_view();
        let bytes = blind_rotate_assign_mem_optimized_requirement::<u64>(key.glwe_size(), degree, fft).unaligned_bytes_required();
        self.scratch.with(bytes, |buffers| blind_rotate_assign_mem_optimized(&rounded, &mut turned, key, fft, buffers.stack()));
        let mut result = LweCiphertextOwned::new(0u64, bits(ring).to_lwe_size(), native());
        extract_lwe_sample_from_glwe_ciphertext(&turned, &mut result, MonomialDegree(0));
        Ok(Ct(result.into_container()))
    }
}

/// A ciphertext under the small secret.
pub(crate) fn small(keys: &LookupKeys, operand: &Ct) -> Result<LweCiphertextOwned<u32>, EngineError> {
    let key = &keys.switch;
    of_length(operand, key.input_key_lwe_dimension())?;
    let mut small = LweCiphertextOwned::new(0u32, key.output_lwe_size(), native());
    keyswitch_lwe_ciphertext_with_scalar_change(key, &operand.view(), &mut small);
    Ok(small)
}

fn of_length(operand: &Ct, dimension: LweDimension) -> Result<(), EngineError> {
    if operand.0.len() == dimension.0 + 1 { Ok(()) } else { Err(EngineError::Turn("the ciphertext is of another ring")) }
}
