//! A rough cost of a plan, to choose between rings: milliseconds per limb at ring degree 2^14, one thread, on a machine
//! with AVX-512. Only ratios matter.

use hecc_plan::{Ckks, KeyManifest, Matrix, Op};

use super::budget::Sized;

/// Ring degrees 2^12 to 2^17 against 2^14: more than N log N where ciphertexts outgrow the caches.
const RING: [f64; 6] = [0.18, 0.42, 1.0, 3.0, 6.8, 15.0];
const PRODUCT: f64 = 0.55;
const KEY_SWITCH: f64 = 0.6;
const PLAIN: f64 = 0.55;
const LINEAR: f64 = 0.03;

/// Estimated seconds of one run of the server.
pub fn seconds(ckks: &Ckks, sized: &Sized, matrices: &[Matrix], keys: &KeyManifest) -> f64 {
    let ring = RING[(ckks.log_n.clamp(12, 17) - 12) as usize];
    let limbs = |k: u32| f64::from(k.div_ceil(ckks.base2k));
    let mut total = 0.0;
    for step in &sized.steps {
        let k = step.op.operands().iter().map(|w| sized.steps[w.index()].wire.k).max().unwrap_or(step.wire.k);
        let switch = |dnum: u32| limbs(k) * KEY_SWITCH * (0.6 + 0.06 * f64::from(dnum));
        total += match &step.op {
            Op::Input(_) | Op::Add(..) | Op::Sub(..) | Op::AddConst(..) | Op::AddPlain(..) | Op::Halve { .. } | Op::Narrow(_) => {
                limbs(k) * LINEAR
            }
            Op::Carried(_) | Op::Bootstrap(_) => 0.0,
            Op::MulConst { .. } => 2.0 * limbs(k) * LINEAR,
            Op::MulPlain(..) => limbs(k) * PLAIN,
            Op::Dot(pairs) => {
                let key = keys.relinearisation.iter().find(|key| key.k >= k);
                limbs(k) * PRODUCT * pairs.len() as f64 + switch(key.map_or(1, |key| key.dnum))
            }
            Op::Rotate { by, .. } => switch(keys.rotations.iter().find(|r| r.by == *by).map_or(1, |r| r.shape.dnum)),
            Op::Linear(_, m) => {
                let matrix = &matrices[m.0 as usize];
                let (babies, giants) = matrix.rotations();
                switch(2) * (babies.len() + giants.len()) as f64 + limbs(k) * 0.2 * matrix.diagonals() as f64
            }
        };
    }
    total * ring / 1000.0
}
