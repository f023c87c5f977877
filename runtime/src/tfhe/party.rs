//! The two parties: vectors of integers in and out, and the steps in between.

use std::sync::Arc;

use hecc_plan::tfhe::parameters::Parameters;
use hecc_plan::tfhe::sending::Parcel;
use hecc_plan::tfhe::{Machine, Made, Op, Plan, Row, Step, Wire, drive};

use crate::engine::EngineError;
use crate::engine::party::parallel;
use crate::integers::party::{ClientCipher, ServerCipher};
use crate::tfhe::ciphertext::{Ct, encrypt, expand, nearest, phase, place, sealed_bytes};
use crate::tfhe::compute::{Accumulator, Evaluator};
use crate::tfhe::keys::{self, Key};
use crate::tfhe::secret::Secret;
use crate::tfhe::sending;
use crate::wire::WireError;

/// The owner of the secrets.
pub(crate) struct TfheClient {
    secret: Secret,
    fingerprint: u64,
    threads: usize,
}

/// The owner of evaluation keys.
pub(crate) struct TfheServer {
    plan: Arc<Plan>,
    fingerprint: u64,
    threads: usize,
    keys: Vec<Option<Key>>,
    evaluator: Option<Evaluator>,
}

impl TfheClient {
    /// With fresh secrets.
    pub(crate) fn new(plan: &Plan, fingerprint: u64, threads: usize) -> Result<Self, EngineError> {
        Ok(Self { secret: Secret::generate(Arc::new(plan.parameters.clone()))?, fingerprint, threads })
    }
}

impl ClientCipher for TfheClient {
    fn keys(&self) -> usize {
        keys::list(self.secret.parameters()).len()
    }

    fn key(&self, index: usize) -> Result<Vec<u8>, EngineError> {
        keys::make(&self.secret, index, self.fingerprint)
    }

    fn seal(&self, wire: Wire, integers: &[i64]) -> Result<Vec<u8>, EngineError> {
        encrypt(&self.secret, wire.ring, integers.iter().map(|&v| place(v, wire.bits + 1)).collect())
    }

    fn reopen(&self, wire: Wire, bytes: &[u8]) -> Result<Vec<i64>, EngineError> {
        let want = sealed_bytes(wire.len as usize);
        if bytes.len() != want {
            return Err(WireError::Truncated { got: bytes.len() as u64, want: want as u64 }.into());
        }
        let ciphertexts = expand(self.secret.parameters(), wire.ring, wire.len as usize, bytes)?;
        parallel(self.threads, ciphertexts.len(), |i| Ok(nearest(phase(&self.secret, wire.ring, &ciphertexts[i])?, wire.bits + 1)))
    }

    fn open(&self, parcel: &Parcel, wires: &[Wire], bytes: &[u8]) -> Result<Vec<Vec<i64>>, EngineError> {
        sending::open(&self.secret, parcel, wires, bytes, self.threads)
    }

    fn open_carried(&self, wire: Wire, bytes: &[u8]) -> Result<Vec<i64>, EngineError> {
        let vector = kept(self.secret.parameters(), wire, bytes)?;
        parallel(self.threads, vector.len(), |i| Ok(nearest(phase(&self.secret, wire.ring, &vector[i])?, wire.bits + 1)))
    }
}

impl TfheServer {
    /// Without keys yet.
    pub(crate) fn new(plan: Arc<Plan>, fingerprint: u64, threads: usize) -> Self {
        let count = keys::list(&plan.parameters).len();
        Self { plan, fingerprint, threads, keys: (0..count).map(|_| None).collect(), evaluator: None }
    }
}

impl ServerCipher for TfheServer {
    fn accept_key(&mut self, index: usize, message: &[u8]) -> Result<(), EngineError> {
        let key = keys::accept(&self.plan.parameters, index, self.fingerprint, message)?;
        let place = self.keys.get_mut(index).ok_or(EngineError::Turn("there is no such key"))?;
        *place = Some(key);
        Ok(())
    }

    fn ready(&mut self) -> Result<(), EngineError> {
        // What has arrived stays where a key is missing: it may still come.
        if let Some((which, _)) = keys::list(&self.plan.parameters).iter().zip(&self.keys).find(|(_, key)| key.is_none()) {
            return Err(EngineError::Key(which.to_string()));
        }
        let sorted = keys::sort(&self.plan.parameters, std::mem::take(&mut self.keys))?;
        self.evaluator = Some(Evaluator::new(self.plan.parameters.clone(), sorted));
        Ok(())
    }

    fn take(&self, wire: Wire, bytes: &[u8]) -> Result<Vec<u8>, EngineError> {
        Ok(fresh(&self.plan.parameters, wire, bytes)?.iter().flat_map(Ct::to_bytes).collect())
    }

    fn run(&mut self, inputs: &[&[u8]], carried: &[Vec<u8>]) -> Result<Made<Vec<u8>>, EngineError> {
        let evaluator = self.evaluator.as_ref().ok_or_else(|| EngineError::Key("evaluation keys".to_owned()))?;
        let mut executor = Executor { plan: &self.plan, evaluator, threads: self.threads, inputs, carried };
        let made = drive(&mut executor, &self.plan)?;
        let sent = |parcel: &Parcel| {
            let values: Vec<&Ct> = parcel.outputs.iter().flat_map(|&output| made.outputs[output as usize].iter()).collect();
            sending::send(evaluator, parcel, &values, self.threads)
        };
        let outputs = self.plan.parcels.iter().map(sent).collect::<Result<_, _>>()?;
        Ok(Made { outputs, carried: made.carried.iter().map(|vector| vector.iter().flat_map(Ct::to_bytes).collect()).collect() })
    }
}

/// A vector as the client encrypted it.
fn fresh(parameters: &Parameters, wire: Wire, bytes: &[u8]) -> Result<Vec<Ct>, WireError> {
    let (len, want) = (wire.len as usize, sealed_bytes(wire.len as usize));
    if bytes.len() != want {
        return Err(WireError::Truncated { got: bytes.len() as u64, want: want as u64 });
    }
    expand(parameters, wire.ring, len, bytes)
}

/// A vector as the server keeps it.
fn kept(parameters: &Parameters, wire: Wire, bytes: &[u8]) -> Result<Vec<Ct>, WireError> {
    let size = parameters.full_bytes(wire.ring) as usize;
    let want = size * wire.len as usize;
    if bytes.len() != want {
        return Err(WireError::Truncated { got: bytes.len() as u64, want: want as u64 });
    }
    bytes.chunks_exact(size).map(|bytes| Ct::from_bytes(parameters, wire.ring, bytes)).collect()
}

/// Executes steps on ciphertexts.
struct Executor<'a> {
    plan: &'a Plan,
    evaluator: &'a Evaluator,
    threads: usize,
    inputs: &'a [&'a [u8]],
    carried: &'a [Vec<u8>],
}

impl Machine for Executor<'_> {
    type Wire = Arc<Vec<Ct>>;
    type Error = EngineError;

    fn step(&mut self, index: usize, step: &Step, operands: &[&Self::Wire]) -> Result<Self::Wire, EngineError> {
        let wire = step.wire;
        let parameters = &self.plan.parameters;
        let len = wire.len as usize;
        let log_step = |slot: usize| self.plan.steps[step.op.operands()[slot].index()].wire.bits + 1;
        let named = |error: EngineError| match error {
            EngineError::Library { place: _, reason } => {
                EngineError::Library { place: format!("step {index} ({})", step.op.name()), reason }
            }
            other => other,
        };
        let made = match &step.op {
            Op::Input(id) => {
                let bytes = *self.inputs.get(id.0 as usize).ok_or(WireError::Damaged("a vector is missing"))?;
                Ok(fresh(parameters, wire, bytes)?)
            }
            Op::Carried(id) => {
                let bytes = self.carried.get(id.0 as usize).ok_or(WireError::Damaged("a vector is missing"))?;
                Ok(kept(parameters, wire, bytes)?)
            }
            Op::Affine { operands: names, rows } => {
                let shifts: Vec<i32> = (0..names.len()).map(|slot| log_step(slot) as i32 - wire.bits as i32 - 1).collect();
                parallel(self.threads, len, |i| Ok(self.affine(wire, &rows[i], operands, &shifts)))
            }
            Op::Table { a: _, tables, lookup } => {
                let ring = self.evaluator.ring_of(*lookup)?;
                let log_step = wire.bits + 1;
                let turned = |i: usize| Accumulator::table(ring, &self.plan.tables[tables[i % tables.len()].0 as usize].values, log_step);
                let common = if tables.len() == 1 { Some(turned(0)?) } else { None };
                parallel(self.threads, len, |i| {
                    let own;
                    let table = match &common {
                        Some(common) => common,
                        None => {
                            own = turned(i)?;
                            &own
                        }
                    };
                    self.evaluator.lookup(*lookup, &operands[0][i], table)
                })
            }
            Op::Floor { a: _, drop, lookup } => {
                parallel(self.threads, len, |i| self.evaluator.drop_bits(*lookup, &operands[0][i], log_step(0), *drop))
            }
            Op::Rest { operands: _ } => {
                let rest = |i: usize| {
                    // A floor stands where the value does: what is between them is what was dropped.
                    let mut rest = operands[0][i].clone();
                    rest.add_scaled(&operands[1][i], -1);
                    Ok(rest)
                };
                parallel(self.threads, len, rest)
            }
            Op::Sign { a: _, no, yes, lookup } => {
                parallel(self.threads, len, |i| self.evaluator.sign(*lookup, &operands[0][i], log_step(0), (*no, *yes), wire.bits + 1))
            }
            Op::Switch { a: _, switch } => parallel(self.threads, len, |i| self.evaluator.switch(*switch, &operands[0][i])),
        };
        Ok(Arc::new(made.map_err(named)?))
    }
}

impl Executor<'_> {
    /// A row, whose operands stand on steps finer by `shifts` bits, or coarser where those are negative: coefficients are then
    /// multiples of as much.
    fn affine(&self, wire: Wire, row: &Row, operands: &[&Arc<Vec<Ct>>], shifts: &[i32]) -> Ct {
        let mut sum = Ct::trivial(&self.plan.parameters, wire.ring, place(row.constant, wire.bits + 1));
        for &(o, e, c) in &row.terms {
            let shift = shifts[o as usize];
            let by = if shift >= 0 { c.wrapping_shl(shift.unsigned_abs()) } else { c.wrapping_shr(shift.unsigned_abs()) };
            sum.add_scaled(&operands[o as usize][e as usize], by);
        }
        sum
    }
}
