//! The CKKS backend. Nothing outside this folder names the cryptographic library.

mod backend;
mod bootstrap;
mod ciphertext;
mod executor;
mod keys;
mod matrix;
mod plaintext;
mod scratch;
mod secret;

use std::sync::{Arc, Mutex, PoisonError};

use hecc_plan::oracle::Slots;
use hecc_plan::{InputId, Plan, Tensors, Wire, WireId, Wires, drive};

use crate::ckks::backend::{Arenas, Module, ParallelModule};
use crate::ckks::bootstrap::Bootstrapper;
pub(crate) use crate::ckks::executor::{Ct, Executor};
use crate::ckks::keys::{EvaluationKey, Intake};
use crate::ckks::secret::Secret;
use crate::engine::EngineError;
use crate::engine::party::{ClientCipher, ServerCipher, parallel};

pub(crate) use crate::ckks::backend::KERNELS;

/// Bytes of a transformed limb, per coefficient.
pub(crate) fn limb_bytes(log_n: u32) -> f64 {
    let n = 1usize << log_n;
    <backend::Backend as poulpy_hal::layouts::Backend>::vmp_pmat_bytes_of(n, 1, 1, 1, 1, poulpy_hal::layouts::PrepareHint::Reuse) as f64
        / n as f64
}

/// The library's tables for a ring.
pub(crate) fn tables(log_n: u32) -> impl Sized {
    Module::new(1 << log_n)
}

/// Bytes of a fresh ciphertext.
pub(crate) fn sealed_len(plan: &Plan, wire: Wire) -> usize {
    ciphertext::seeded_bytes(&plan.ckks, wire)
}

/// Encrypts and decrypts.
pub(crate) struct CkksClient {
    plan: Arc<Plan>,
    fingerprint: u64,
    module: Arc<Module>,
    secret: Secret,
    arenas: Arenas,
    making: Arenas,
}

impl CkksClient {
    /// A client with a fresh secret.
    pub(crate) fn new(plan: Arc<Plan>) -> Result<Self, EngineError> {
        let module = Arc::new(Module::new(1 << plan.ckks.log_n));
        let secret = Secret::generate(Arc::clone(&module), plan.bootstrap.as_ref())?;
        let inputs = plan.inputs.iter().map(|input| input.wire);
        let wires = inputs.chain(plan.outputs.iter().map(|output| plan.steps[output.wire.index()].wire));
        let carried = plan.carried.iter().flat_map(|carried| [carried.wire, carried.fetch]);
        let bytes = wires.chain(carried).map(|wire| ciphertext::client_bytes(&module, &plan.ckks, wire)).max().unwrap_or(0);
        let making = Arenas::new(keys::making_bytes(&module, &plan));
        Ok(Self { fingerprint: hecc_plan::fingerprint(&plan), plan, module, secret, arenas: Arenas::new(bytes), making })
    }

    /// Scratch bytes of a thread that encrypts and decrypts.
    pub(crate) fn scratch_bytes(&self, wire: Wire) -> usize {
        ciphertext::client_bytes(&self.module, &self.plan.ckks, wire)
    }
}

impl Drop for CkksClient {
    fn drop(&mut self) {
        self.arenas.wipe();
        self.making.wipe();
    }
}

impl ClientCipher for CkksClient {
    fn keys(&self) -> usize {
        keys::list(&self.plan).len()
    }

    fn key(&self, index: usize) -> Result<Vec<u8>, EngineError> {
        keys::make(&self.module, &self.plan, index, self.fingerprint, &self.secret, &self.making)
    }

    fn seal(&self, label: &str, wire: Wire, slots: &[f64]) -> Result<Vec<u8>, EngineError> {
        self.arenas.with(|scratch| ciphertext::encrypt(&self.module, &self.plan.ckks, label, wire, slots, &self.secret, scratch))
    }

    fn opened_len(&self, wire: Wire) -> usize {
        ciphertext::full_bytes(&self.plan.ckks, wire)
    }

    fn open(&self, wire: Wire, bytes: &[u8]) -> Result<Slots, EngineError> {
        self.arenas.with(|scratch| ciphertext::decrypt(&self.module, &self.plan.ckks, wire, bytes, &self.secret, scratch))
    }

    fn sealed_len(&self, wire: Wire) -> usize {
        sealed_len(&self.plan, wire)
    }

    fn reopen(&self, wire: Wire, bytes: &[u8]) -> Result<Slots, EngineError> {
        let fresh = ciphertext::expand(&self.module, &self.plan.ckks, wire, bytes)?;
        let full = self.arenas.with(|scratch| ciphertext::write(&self.module, &fresh, scratch));
        self.open(wire, &full)
    }
}

/// Computes on ciphertexts.
pub(crate) struct CkksServer {
    plan: Arc<Plan>,
    fingerprint: u64,
    module: Arc<Module>,
    public: Tensors,
    threads: usize,
    arriving: Mutex<Vec<Option<EvaluationKey>>>,
    intake: Option<Intake>,
    /// Where the plan bootstraps.
    parallel: Option<(Arc<ParallelModule>, Arc<rayon::ThreadPool>)>,
    executor: Option<Executor>,
    wires: Wires<Ct>,
}

impl CkksServer {
    /// A server without keys yet.
    pub(crate) fn new(plan: Arc<Plan>, public: Tensors, threads: usize) -> Result<Self, EngineError> {
        let module = Arc::new(Module::new(1 << plan.ckks.log_n));
        let arriving = keys::list(&plan).iter().map(|_| None).collect();
        let parallel = plan.bootstrap.as_ref().map(|_| bootstrap::threads(plan.ckks.log_n, threads)).transpose()?;
        let intake = Some(match &parallel {
            Some((parallel, pool)) => pool.install(|| Intake::new(&module, &plan, Some(parallel))),
            None => Intake::new(&module, &plan, None),
        });
        Ok(Self {
            fingerprint: hecc_plan::fingerprint(&plan),
            wires: Wires::new(&plan),
            plan,
            module,
            public,
            threads,
            arriving: Mutex::new(arriving),
            intake,
            parallel,
            executor: None,
        })
    }
}

impl CkksServer {
    /// The executor, with the inputs of an update.
    pub(crate) fn executor_with(&mut self, inputs: Vec<(InputId, &[u8])>) -> Result<&Executor, EngineError> {
        let executor = self.executor.as_mut().ok_or(EngineError::Turn("the keys are not there yet"))?;
        executor.take_inputs(true, inputs);
        Ok(executor)
    }
}

impl ServerCipher for CkksServer {
    fn accept_key(&self, index: usize, message: &[u8]) -> Result<(), EngineError> {
        let intake = self.intake.as_ref().ok_or(EngineError::Turn("the keys are complete"))?;
        let accept = || intake.accept(&self.module, &self.plan, index, self.fingerprint, message);
        let key = match &self.parallel {
            Some((_, pool)) => pool.install(accept)?,
            None => accept()?,
        };
        if let Some(slot) = self.arriving.lock().unwrap_or_else(PoisonError::into_inner).get_mut(index) {
            *slot = Some(key);
        }
        Ok(())
    }

    fn ready(&mut self) -> Result<(), EngineError> {
        let arrived = std::mem::take(self.arriving.get_mut().unwrap_or_else(PoisonError::into_inner));
        if let Some(index) = arrived.iter().position(Option::is_none) {
            return Err(EngineError::Key(keys::list(&self.plan)[index].to_string()));
        }
        self.intake = None;
        let (keys, for_bootstrap) = keys::sort(arrived.into_iter().flatten().collect());
        let bootstrapper = match (&self.plan.bootstrap, &self.parallel, for_bootstrap) {
            (Some(bootstrap), Some((module, pool)), Some(keys)) => {
                Some(Bootstrapper::new(Arc::clone(module), Arc::clone(pool), &self.plan.ckks, bootstrap, keys)?)
            }
            _ => None,
        };
        self.executor = Some(Executor::new(Arc::clone(&self.plan), Arc::clone(&self.module), keys, bootstrapper, &self.public)?);
        Ok(())
    }

    fn plant(&mut self, carried: &[&[u8]]) -> Result<(), EngineError> {
        self.executor.as_mut().ok_or(EngineError::Turn("the keys are not there yet"))?.plant(carried)
    }

    fn begin(&mut self) {
        self.executor.iter_mut().for_each(Executor::begin);
    }

    fn go_back(&mut self) {
        self.executor.iter_mut().for_each(Executor::go_back);
    }

    fn fetch(&self, before: bool) -> Result<Vec<Vec<u8>>, EngineError> {
        self.executor.as_ref().ok_or(EngineError::Turn("the keys are not there yet"))?.fetch(before)
    }

    fn run(&mut self, number: usize, update: u64, inputs: Vec<(InputId, &[u8])>) -> Result<Vec<Vec<u8>>, EngineError> {
        let executor = self.executor.as_mut().ok_or(EngineError::Turn("the keys are not there yet"))?;
        if number == 0 {
            self.wires = Wires::new(&self.plan);
        }
        executor.take_inputs(number == 0, inputs);
        let round = &self.plan.rounds[number];
        executor.at_update(round.steps, update)?;
        let (executor, wires) = (&*executor, &self.wires);
        let outcome = drive(executor, &self.plan, round.steps, wires, self.threads).and_then(|()| {
            parallel(self.threads, round.outputs.len(), |i| {
                let index = self.plan.outputs[round.outputs[i].0 as usize].wire.index();
                let wire = wires.get(index).ok_or(EngineError::Turn("a result is not there"))?;
                Ok(executor.write(&wire))
            })
        });
        match outcome {
            Ok(outputs) => {
                round.outputs.iter().for_each(|id| wires.release(self.plan.outputs[id.0 as usize].wire.index()));
                let held = |(id, wire): &(_, WireId)| Ok((*id, wires.get(wire.index()).ok_or(EngineError::Turn("a wire is not there"))?));
                let saves = round.saves.iter().map(held).collect::<Result<Vec<_>, EngineError>>()?;
                round.saves.iter().for_each(|(_, wire)| wires.release(wire.index()));
                if let Some(executor) = &mut self.executor {
                    executor.save(saves);
                }
                Ok(outputs)
            }
            Err(error) => {
                self.wires = Wires::new(&self.plan);
                Err(error)
            }
        }
    }
}
