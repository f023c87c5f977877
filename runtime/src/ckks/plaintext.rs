//! Encoding: real numbers to plaintext polynomials and back.

use poulpy_ckks::prelude::*;
use poulpy_core::layouts::Degree;
use poulpy_hal::layouts::{Backend as _, ScratchArena};

use hecc_plan::Ckks;

use crate::ckks::backend::{Backend, Module, Plaintext};
use crate::engine::EngineError;

/// What the library knows of a value at `2^scale`: its slots are real.
pub(crate) fn meta(scale: u32) -> GLWEPlaintextMeta {
    GLWEPlaintextMeta { scale: Scale::Log(scale as usize), slots: SlotsKind::Real, log_sparsity: 0 }
}

/// Turns a failure of the library into an error.
pub(crate) fn library(place: impl Into<String>) -> impl FnOnce(CKKSError) -> EngineError {
    let place = place.into();
    move |error| EngineError::Library { place, reason: error.to_string() }
}

/// Encodes one number, as coefficient 0 of a short polynomial, for a place with `budget` bits over the scale.
pub(crate) fn encode_constant(
    module: &Module,
    ckks: &Ckks,
    what: &str,
    c: f64,
    scale: u32,
    budget: u32,
    scratch: &mut ScratchArena<'_, Backend>,
) -> Result<Plaintext, EngineError> {
    let head = headroom(what, c.abs(), budget)?;
    let n = Backend::MIN_DEGREE;
    let mut pt = module.ckks_plaintext_alloc(Degree(n as u32), ckks.base2k.into(), (scale + head).into());
    pt.set_meta(meta(scale));
    let mut coefficients = vec![0.0; n];
    coefficients[0] = c;
    module.ckks_encode_coeffs_host_into(&mut pt, &coefficients, scratch).map_err(library(what))?;
    Ok(pt)
}

/// Encodes slots, in as few coefficients as their period allows where `short` says so.
pub(crate) fn encode_slots(
    module: &Module,
    ckks: &Ckks,
    what: &str,
    slots: &[f64],
    (scale, budget): (u32, u32),
    short: bool,
    scratch: &mut ScratchArena<'_, Backend>,
) -> Result<Plaintext, EngineError> {
    let largest = slots.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let head = headroom(what, largest, budget)?;
    let slots = if short { one_period(slots, Backend::MIN_DEGREE) } else { slots };
    let mut pt = module.ckks_plaintext_alloc_from_slots(slots.len(), ckks.base2k.into(), (scale + head).into());
    pt.set_meta(meta(scale));
    module.ckks_encode_slots_host_into(&mut pt, slots, &vec![0.0; slots.len()], scratch).map_err(library(what))?;
    Ok(pt)
}

/// Scratch bytes of the encodings.
pub(crate) fn encode_bytes(module: &Module) -> usize {
    let bytes = |slots| <Module as CKKSEncodingHostOps<Backend, f64>>::ckks_encoding_host_tmp_bytes(module, slots);
    bytes(module.ckks_max_slots()).max(bytes(Backend::MIN_DEGREE))
}

/// Bits over the scale for values up to `largest`: their integer part, a sign, and one for the rounding; at most `budget`.
fn headroom(what: &str, largest: f64, budget: u32) -> Result<u32, EngineError> {
    let bits = largest.max(1e-300).log2().ceil();
    if bits > f64::from(budget) - 1.0 {
        return Err(EngineError::TooLarge { what: what.to_owned(), value: largest, budget });
    }
    Ok((bits.max(0.0) as u32 + 2).min(budget))
}

fn one_period(mut slots: &[f64], least: usize) -> &[f64] {
    loop {
        let half = slots.len() / 2;
        if half < least || slots[..half] != slots[half..] {
            return slots;
        }
        slots = &slots[..half];
    }
}
