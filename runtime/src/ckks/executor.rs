//! The steps of a plan on ciphertexts.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use poulpy_ckks::api::{CKKSDotProductOps, CKKSLinearTransformationOps};
use poulpy_ckks::prelude::*;
use poulpy_core::api::GLWENormalize;
use poulpy_core::layouts::LWEInfos;
use poulpy_hal::layouts::ScratchArena;

use hecc_plan::{Carried, CarriedId, InputId, Machine, Op, Plan, Step, Tensors, Wire, WireId, oracle};

use crate::ckks::backend::{Arenas, Backend, Ciphertext, Module, Plaintext};
use crate::ckks::bootstrap::Bootstrapper;
use crate::ckks::ciphertext;
use crate::ckks::keys::EvaluationKeys;
use crate::ckks::matrix::{self, PreparedMatrix};
use crate::ckks::plaintext::{encode_bytes, encode_constant, encode_slots, library};
use crate::ckks::scratch;
use crate::engine::EngineError;

/// Bits over the scale that a plaintext factor may have.
const FACTOR_BUDGET: u32 = 40;
/// Chance, in bits, that a sum of products leaves the range of the arithmetic.
const FAILURE_BITS: usize = 64;

/// A wire.
pub(crate) struct Ct {
    body: Ciphertext,
    wire: Wire,
}

/// Runs steps.
pub(crate) struct Executor {
    plan: Arc<Plan>,
    module: Arc<Module>,
    keys: EvaluationKeys,
    bootstrapper: Option<Bootstrapper>,
    carried: Vec<Option<Arc<Ct>>>,
    before: Vec<Option<Arc<Ct>>>,
    plaintexts: Vec<Option<Arc<Plaintext>>>,
    matrices: Vec<PreparedMatrix>,
    normalise: Vec<bool>,
    inputs: Vec<Mutex<Pending>>,
    arenas: Arenas,
    most_pairs: usize,
}

/// A ciphertext of the client's, until its last step has read it.
#[derive(Clone, Default)]
struct Pending {
    uses: usize,
    bytes: Vec<u8>,
}

impl Executor {
    /// Encodes what the plan needs in the clear.
    pub(crate) fn new(
        plan: Arc<Plan>,
        module: Arc<Module>,
        keys: EvaluationKeys,
        bootstrapper: Option<Bootstrapper>,
        public: &Tensors,
    ) -> Result<Self, EngineError> {
        let matrices = plan
            .matrices
            .iter()
            .map(|m| matrix::prepare(&module, &plan, m, &*oracle::public_tied(&plan, &m.name, m.ties, public)?))
            .collect::<Result<Vec<_>, EngineError>>()?;
        let bytes = scratch::step_bytes(&module, &plan, &matrices);
        let plaintexts = plaintexts(&module, &plan, public)?;
        let normalise = where_to_normalise(&plan);
        let inputs = plan.inputs.iter().map(|_| Mutex::default()).collect();
        let most_pairs = most_pairs(&plan);
        let carried: Vec<_> = plan.carried.iter().map(|_| None).collect();
        let before = carried.clone();
        let arenas = Arenas::new(bytes);
        Ok(Self { plan, module, keys, bootstrapper, carried, before, plaintexts, matrices, normalise, inputs, arenas, most_pairs })
    }

    /// Keeps the client's ciphertexts until their steps read them.
    pub(crate) fn take_inputs(&mut self, fresh: bool, inputs: Vec<(InputId, &[u8])>) {
        if fresh {
            self.inputs.iter_mut().for_each(|slot| *slot = Mutex::default());
        }
        for (id, bytes) in inputs {
            let uses = self.plan.steps.iter().filter(|step| step.op == Op::Input(id)).count();
            self.inputs[id.0 as usize] = Mutex::new(Pending { uses, bytes: bytes.to_vec() });
        }
    }

    /// Encodes the plaintexts of `steps` that change from update to update.
    pub(crate) fn at_update(&mut self, steps: (u32, u32), update: u64) -> Result<(), EngineError> {
        let arena = Arenas::new(encode_bytes(&self.module));
        for index in steps.0 as usize..steps.1 as usize {
            let Op::MulPlain(_, id) = self.plan.steps[index].op else { continue };
            let plain = &self.plan.plains[id.0 as usize];
            if plain.changes() {
                let slots = oracle::plain_slots(&self.plan, plain, &Tensors::new(), update)?;
                let (what, size) = (format!("plaintext {}", id.0), (plain.scale, FACTOR_BUDGET));
                let encoded = arena.with(|scratch| encode_slots(&self.module, &self.plan.ckks, &what, &slots, size, true, scratch))?;
                self.plaintexts[index] = Some(Arc::new(encoded));
            }
        }
        Ok(())
    }

    /// Keeps the client's carried ciphertexts.
    pub(crate) fn plant(&mut self, carried: &[&[u8]]) -> Result<(), EngineError> {
        let expand = |(carried, bytes): (&Carried, &&[u8])| {
            let body = ciphertext::expand(&self.module, &self.plan.ckks, carried.wire, bytes)?;
            Ok(Some(Arc::new(Ct { body, wire: carried.wire })))
        };
        self.carried = self.plan.carried.iter().zip(carried).map(expand).collect::<Result<_, EngineError>>()?;
        Ok(())
    }

    /// Keeps wires as carried ciphertexts.
    pub(crate) fn save(&mut self, saves: Vec<(CarriedId, Arc<Ct>)>) {
        saves.into_iter().for_each(|(id, ct)| self.carried[id.0 as usize] = Some(ct));
    }

    /// Keeps the carried ciphertexts as they are beside those that an update makes.
    pub(crate) fn begin(&mut self) {
        self.before.clone_from(&self.carried);
    }

    /// Goes back to the carried ciphertexts of [`Self::begin`].
    pub(crate) fn go_back(&mut self) {
        self.carried.clone_from(&self.before);
    }

    /// The carried ciphertexts, narrowed for the client; those of [`Self::begin`] if `before`.
    pub(crate) fn fetch(&self, before: bool) -> Result<Vec<Vec<u8>>, EngineError> {
        let narrowed = |(carried, held): (&Carried, &Option<Arc<Ct>>)| {
            let held = held.as_ref().ok_or(EngineError::Turn("there are no carried ciphertexts"))?;
            self.arenas.with(|scratch| {
                let mut narrow = self.alloc(carried.fetch);
                self.module.ckks_copy(&mut narrow, &held.body, scratch).map_err(library(carried.label.clone()))?;
                Ok(ciphertext::write(&self.module, &narrow, scratch))
            })
        };
        self.plan.carried.iter().zip(if before { &self.before } else { &self.carried }).map(narrowed).collect()
    }

    /// A result, for the client.
    pub(crate) fn write(&self, ct: &Ct) -> Vec<u8> {
        self.arenas.with(|scratch| ciphertext::write(&self.module, &ct.body, scratch))
    }

    /// Scratch bytes that the steps of another plan with the same parameters and matrices would need.
    pub(crate) fn scratch_bytes(&self, plan: &Plan) -> usize {
        scratch::step_bytes(&self.module, plan, &self.matrices)
    }

    fn alloc(&self, wire: Wire) -> Ciphertext {
        self.module.ckks_ciphertext_alloc(self.plan.ckks.base2k.into(), wire.k.into())
    }

    fn limbs(&self, k: u32) -> u32 {
        k.div_ceil(self.plan.ckks.base2k)
    }

    fn input(&self, id: InputId, wire: Wire) -> Result<Ciphertext, EngineError> {
        let mut slot = self.inputs[id.0 as usize].lock().unwrap_or_else(PoisonError::into_inner);
        slot.uses = slot.uses.checked_sub(1).ok_or(EngineError::Turn("an input was not sent"))?;
        let bytes = if slot.uses == 0 { std::mem::take(&mut slot.bytes) } else { slot.bytes.clone() };
        drop(slot);
        Ok(ciphertext::expand(&self.module, &self.plan.ckks, wire, &bytes)?)
    }

    fn compute(
        &self,
        index: usize,
        step: &Step,
        operands: &[&Ct],
        scratch: &mut ScratchArena<'_, Backend>,
    ) -> Result<Ciphertext, EngineError> {
        let module = &*self.module;
        let failed = || library(place(index, step));
        let plaintext = || self.plaintexts[index].as_deref().ok_or(EngineError::Turn("a plaintext was not encoded"));
        let mut dst = match step.op {
            Op::Input(id) => return self.input(id, step.wire),
            Op::Carried(id) => {
                let held = self.carried[id.0 as usize].as_ref().ok_or(EngineError::Turn("there are no carried ciphertexts"))?;
                return Ok(held.body.clone());
            }
            Op::Bootstrap(_) => {
                let bootstrapper = self.bootstrapper.as_ref().ok_or(EngineError::Turn("there is no bootstrap"))?;
                return bootstrapper.run(&operands[0].body).map_err(failed());
            }
            Op::Dot(_) => return self.dot(index, step, operands, scratch),
            _ => self.alloc(step.wire),
        };
        let a = &operands[0].body;
        match &step.op {
            Op::Input(_) | Op::Carried(_) | Op::Bootstrap(_) | Op::Dot(_) => {}
            Op::Add(..) => module.ckks_add_into(&mut dst, a, &operands[1].body, scratch).map_err(failed())?,
            Op::Sub(..) => module.ckks_sub_into(&mut dst, a, &operands[1].body, scratch).map_err(failed())?,
            Op::AddConst(..) => module.ckks_add_pt_const_into(&mut dst, 0, a, plaintext()?, 0, scratch).map_err(failed())?,
            Op::AddPlain(..) => module.ckks_add_pt_vec_into(&mut dst, a, plaintext()?, scratch).map_err(failed())?,
            Op::MulConst { .. } => module.ckks_mul_pt_const_into(&mut dst, a, plaintext()?, 0, scratch).map_err(failed())?,
            Op::MulPlain(..) => module.ckks_mul_pt_vec_into(&mut dst, a, plaintext()?, scratch).map_err(failed())?,
            Op::Halve { bits, .. } => module.ckks_div_pow2_into(*bits as usize, &mut dst, a, scratch).map_err(failed())?,
            Op::Rotate { by, .. } => module.ckks_rotate_into(*by, &mut dst, a, &self.keys, scratch).map_err(failed())?,
            Op::Linear(_, matrix) => {
                let transform = &self.matrices[matrix.0 as usize].transform;
                module.ckks_linear_transformation_eval_self_into(&mut dst, a, transform, &self.keys, scratch).map_err(failed())?;
            }
            Op::Narrow(_) => module.ckks_copy(&mut dst, a, scratch).map_err(failed())?,
        }
        Ok(dst)
    }

    /// Σ a b. Pairs of like scales are multiplied together and share a relinearisation; operands are narrowed, which is
    /// exact, to the width that the result needs where that saves a limb, and to a common width for the sum.
    fn dot(&self, index: usize, step: &Step, operands: &[&Ct], scratch: &mut ScratchArena<'_, Backend>) -> Result<Ciphertext, EngineError> {
        let mut groups: BTreeMap<(u32, u32), Vec<(&Ct, &Ct)>> = BTreeMap::new();
        for pair in operands.chunks_exact(2) {
            let (small, large) = if pair[0].wire.scale <= pair[1].wire.scale { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
            groups.entry((small.wire.scale, large.wire.scale)).or_default().push((small, large));
        }
        // The first group has the smallest scale, which is the result's.
        let mut sum: Option<Ciphertext> = None;
        for ((small, large), pairs) in groups {
            let wire = Wire { scale: small, k: small + step.wire.budget() };
            let budget = wire.budget() + large;
            for chunk in pairs.chunks(self.most_pairs) {
                let mut dst = self.alloc(wire);
                self.products(index, step, &mut dst, chunk, (small + budget, large + budget), scratch)?;
                match &mut sum {
                    None => sum = Some(dst),
                    Some(sum) => self.module.ckks_add_assign(sum, &dst, scratch).map_err(library(place(index, step)))?,
                }
            }
        }
        sum.ok_or(EngineError::Turn("a sum without products"))
    }

    fn products(
        &self,
        index: usize,
        step: &Step,
        dst: &mut Ciphertext,
        pairs: &[(&Ct, &Ct)],
        needed: (u32, u32),
        scratch: &mut ScratchArena<'_, Backend>,
    ) -> Result<(), EngineError> {
        let failed = || library(place(index, step));
        let (left, right): (Vec<&Ct>, Vec<&Ct>) = pairs.iter().copied().unzip();
        let square = pairs.len() == 1 && std::ptr::eq(left[0], right[0]);
        let left = self.align(&left, needed.0, scratch).map_err(failed())?;
        if square {
            return self.module.ckks_square_into(dst, &*left[0], &self.keys, scratch).map_err(failed());
        }
        let right = self.align(&right, needed.1, scratch).map_err(failed())?;
        let (left, right): (Vec<&Ciphertext>, Vec<&Ciphertext>) =
            (left.iter().map(|c| &**c).collect(), right.iter().map(|c| &**c).collect());
        match (left.as_slice(), right.as_slice()) {
            ([a], [b]) => self.module.ckks_mul_into(dst, *a, *b, &self.keys, scratch),
            (a, b) => self.module.ckks_dot_product_ct(dst, a, b, &self.keys, scratch),
        }
        .map_err(failed())
    }

    fn align<'a>(
        &self,
        side: &[&'a Ct],
        needed: u32,
        scratch: &mut ScratchArena<'_, Backend>,
    ) -> Result<Vec<Cow<'a, Ciphertext>>, CKKSError> {
        let narrowest = side.iter().map(|ct| ct.wire.k).min().unwrap_or(0);
        let k = if self.limbs(needed) < self.limbs(narrowest) { needed } else { narrowest };
        let mut aligned: Vec<Cow<'a, Ciphertext>> = Vec::with_capacity(side.len());
        for (i, ct) in side.iter().enumerate() {
            aligned.push(match side[..i].iter().position(|earlier| std::ptr::eq(*earlier, *ct)) {
                _ if ct.wire.k == k => Cow::Borrowed(&ct.body),
                Some(earlier) => aligned[earlier].clone(),
                None => {
                    let mut copy = self.alloc(Wire { scale: ct.wire.scale, k });
                    self.module.ckks_copy(&mut copy, &ct.body, scratch)?;
                    Cow::Owned(copy)
                }
            });
        }
        Ok(aligned)
    }
}

impl Machine for Executor {
    type Wire = Ct;
    type Error = EngineError;

    fn step(&self, index: usize, step: &Step, operands: &[&Ct]) -> Result<Ct, EngineError> {
        // The library panics where it was misused. A checked plan does not get there; if one does, it is an error of this
        // update and not the end of the process.
        let work = || {
            self.arenas.with(|scratch| {
                let mut body = self.compute(index, step, operands, scratch)?;
                if self.normalise[index] && !body.is_canonical() {
                    self.module.glwe_normalize_assign(&mut *body, scratch);
                }
                Ok(body)
            })
        };
        let body = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|panic| {
            let reason = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            Err(EngineError::Library { place: place(index, step), reason: reason.unwrap_or("a panic").to_owned() })
        })?;
        let (scale, k) = (body.log_delta(), body.k().as_usize());
        if (scale, k) != (step.wire.scale as usize, step.wire.k as usize) {
            return Err(EngineError::Library {
                place: place(index, step),
                reason: format!("the result has scale {scale} and {k} bits, where the plan has {} and {}", step.wire.scale, step.wire.k),
            });
        }
        Ok(Ct { body, wire: step.wire })
    }
}

fn place(index: usize, step: &Step) -> String {
    format!("step {index} ({})", step.op.name())
}

/// Which results are normalised at once: those that several transforms read, and sums of so many terms that their digits
/// would outgrow a word. The others wait for the operation that reads them.
fn where_to_normalise(plan: &Plan) -> Vec<bool> {
    let mut reads = vec![0usize; plan.steps.len()];
    let mut read = |id: &WireId, times| reads[id.index()] += times;
    for step in &plan.steps {
        match &step.op {
            Op::Input(_)
            | Op::Carried(_)
            | Op::Add(..)
            | Op::Sub(..)
            | Op::AddConst(..)
            | Op::AddPlain(..)
            | Op::Halve { .. }
            | Op::Narrow(_) => {}
            Op::MulConst { a, .. } | Op::MulPlain(a, _) | Op::Rotate { a, .. } => read(a, 1),
            Op::Linear(a, _) | Op::Bootstrap(a) => read(a, 2),
            Op::Dot(pairs) => pairs.iter().for_each(|(a, b)| [a, b].into_iter().for_each(|id| read(id, 1))),
        }
    }
    let most = 1u64 << (62 - plan.ckks.base2k);
    let mut terms = vec![1u64; plan.steps.len()];
    (0..plan.steps.len())
        .map(|index| {
            let step = &plan.steps[index];
            terms[index] = match &step.op {
                Op::Add(a, b) | Op::Sub(a, b) => terms[a.index()] + terms[b.index()],
                Op::AddConst(a, _) | Op::AddPlain(a, _) => terms[a.index()] + 1,
                Op::Narrow(a) | Op::Halve { a, .. } => terms[a.index()],
                Op::Dot(pairs) => pairs.len() as u64,
                Op::Input(_)
                | Op::Carried(_)
                | Op::Bootstrap(_)
                | Op::MulConst { .. }
                | Op::MulPlain(..)
                | Op::Rotate { .. }
                | Op::Linear(..) => 1,
            };
            let now = reads[index] > 1 || terms[index] > most / 2;
            if now {
                terms[index] = 1;
            }
            now
        })
        .collect()
}

/// How many products may be summed before they are transformed back.
fn most_pairs(plan: &Plan) -> usize {
    let limbs = plan.ckks.max_k.div_ceil(plan.ckks.base2k) as usize;
    let holds = |pairs: usize| Module::max_base2k(1 << plan.ckks.log_n, 2 * limbs * pairs, FAILURE_BITS, true) >= plan.ckks.base2k as usize;
    (0..=12).map(|log| 1 << log).take_while(|&pairs| holds(pairs)).last().unwrap_or(1)
}

fn plaintexts(module: &Module, plan: &Plan, public: &Tensors) -> Result<Vec<Option<Arc<Plaintext>>>, EngineError> {
    let arena = Arenas::new(encode_bytes(module));
    let mut vectors: HashMap<(u32, u32, u32), Arc<Plaintext>> = HashMap::new();
    let mut vector = |id: hecc_plan::PlainId, scale: u32, budget: u32| -> Result<Arc<Plaintext>, EngineError> {
        if let Some(known) = vectors.get(&(id.0, scale, budget)) {
            return Ok(Arc::clone(known));
        }
        let slots = oracle::plain_slots(plan, &plan.plains[id.0 as usize], public, 0)?;
        let what = format!("plaintext {}", id.0);
        let encoded = arena.with(|scratch| encode_slots(module, &plan.ckks, &what, &slots, (scale, budget), true, scratch))?;
        let encoded = Arc::new(encoded);
        vectors.insert((id.0, scale, budget), Arc::clone(&encoded));
        Ok(encoded)
    };
    let constant = |index: usize, c: f64, scale: u32, budget: u32| {
        let what = format!("the constant of step {index}");
        arena.with(|scratch| encode_constant(module, &plan.ckks, &what, c, scale, budget, scratch)).map(Arc::new)
    };
    let of_step = |(index, step): (usize, &Step)| {
        Ok(match &step.op {
            Op::AddConst(a, c) => {
                let wire = plan.steps[a.index()].wire;
                Some(constant(index, *c, wire.scale, wire.budget().min(step.wire.budget()))?)
            }
            Op::MulConst { c, bits, .. } => Some(constant(index, *c, *bits, FACTOR_BUDGET)?),
            Op::AddPlain(a, id) => {
                let wire = plan.steps[a.index()].wire;
                Some(vector(*id, wire.scale, wire.budget().min(step.wire.budget()).min(FACTOR_BUDGET))?)
            }
            Op::MulPlain(_, id) => Some(vector(*id, plan.plains[id.0 as usize].scale, FACTOR_BUDGET)?),
            Op::Input(_)
            | Op::Carried(_)
            | Op::Bootstrap(_)
            | Op::Add(..)
            | Op::Sub(..)
            | Op::Halve { .. }
            | Op::Dot(_)
            | Op::Rotate { .. }
            | Op::Linear(..)
            | Op::Narrow(_) => None,
        })
    };
    plan.steps.iter().enumerate().map(of_step).collect()
}
