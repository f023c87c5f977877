//! What trains: a plan, by one of the backends that carry its values, or a program by its own functions.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use hecc_compiler::rehearsal::Rehearsal;
use hecc_plan::{AnyPlan, Interface, Plan, Tensors, Training, tfhe};
use hecc_runtime::engine::{self, Engine, EngineError, Update};
use hecc_runtime::integers::Backend as Integers;
use hecc_runtime::session::{Served, Session, Updater, replay};

use crate::cli::Backend;
use crate::failure::Failure;
use crate::predicted::Expected;
use crate::progress::Keys;
use crate::{compile, costs, files, integers};

/// What the clear backend is called where it has the noise of CKKS.
const NOISY: &str = "clear-noise";

/// A program to train, and what by.
pub struct Trainee {
    what: What,
    backend: Backend,
    noise: bool,
}

enum What {
    Ckks(Arc<Plan>),
    Tfhe(Arc<tfhe::Plan>),
    /// A program without approximations; the plan is what a session needs of it.
    Exact(Box<(Plan, Rehearsal)>),
}

impl Trainee {
    /// What trains `file` by each of `backends`, or by ciphertexts of its scheme if none is named. `noise`: the clear one
    /// gets the noise of CKKS. `again`: how to compile the program, where a run has left what it was compiled for.
    ///
    /// # Errors
    /// If the file holds no program or plan, or not one that a backend takes.
    pub fn load(file: &Path, backends: &[Backend], noise: bool, again: Option<&compile::Options>) -> Result<Vec<Self>, Failure> {
        if let Some(twice) = backends.iter().enumerate().find(|(i, backend)| backends[..*i].contains(backend)) {
            return Err(Failure::wrong_use(format!("`--backend` names {} twice", twice.1.name())));
        }
        let exact = || {
            let source = files::program(file)?;
            let rehearsal = compile::rehearsal(file, &source)?;
            let mut plan = rehearsal.plan.clone();
            // It has no steps by which runs of one program could be told from those of another.
            plan.name = format!("exact functions of {}", plan.source);
            Ok::<_, Failure>(Self { what: What::Exact(Box::new((plan, rehearsal))), backend: Backend::Exact, noise: false })
        };
        if noise && !backends.contains(&Backend::Clear) {
            return Err(Failure::wrong_use(
                "`--noise` is what the scheme would add to clear values: use it with `--backend clear`; ciphertexts have their own",
            ));
        }
        let compiled = match backends.iter().all(|&b| b == Backend::Exact) && !backends.is_empty() {
            true => None,
            false => Some(match files::plan_for(file, again)? {
                AnyPlan::Ckks(plan) => (Backend::Ckks, What::Ckks(Arc::new(*plan))),
                AnyPlan::Tfhe(plan) => (Backend::Tfhe, What::Tfhe(Arc::new(*plan))),
            }),
        };
        let default = compiled.as_ref().map(|(own, _)| [*own]);
        let chosen = match &default {
            Some(own) if backends.is_empty() => own,
            _ => backends,
        };
        let load = |&backend: &Backend| match &compiled {
            Some((_, what)) if backend != Backend::Exact => {
                let noise = noise && backend == Backend::Clear;
                let what = match what {
                    What::Ckks(plan) => {
                        backend.slots()?;
                        What::Ckks(Arc::clone(plan))
                    }
                    What::Tfhe(_) if noise => {
                        return Err(Failure::wrong_use("a plan of integers is exact: it has no noise to add; leave `--noise` out"));
                    }
                    What::Tfhe(plan) => {
                        backend.integers()?;
                        What::Tfhe(Arc::clone(plan))
                    }
                    What::Exact(_) => return exact(),
                };
                Ok(Self { what, backend, noise })
            }
            _ => exact(),
        };
        chosen.iter().map(load).collect()
    }

    /// The backend, and whether it has noise, that a [`Self::label`] names; `None` if it is that of ciphertexts.
    pub fn of_label(label: &str) -> Option<(Backend, bool)> {
        match label {
            NOISY => Some((Backend::Clear, true)),
            _ => [Backend::Clear, Backend::Exact].into_iter().find(|b| b.name() == label).map(|b| (b, false)),
        }
    }

    /// The backend's name, and whether it has noise, in one word.
    pub fn label(&self) -> &'static str {
        if self.noise { NOISY } else { self.backend.name() }
    }

    /// Whether values cross as ciphertexts.
    pub fn encrypts(&self) -> bool {
        matches!(self.backend, Backend::Ckks | Backend::Tfhe)
    }

    /// What a session needs of it.
    pub fn interface(&self) -> Interface<'_> {
        match &self.what {
            What::Ckks(plan) => Interface::from(&**plan),
            What::Tfhe(plan) => Interface::from(&**plan),
            What::Exact(exact) => Interface::from(&exact.0),
        }
    }

    /// The run, unless the program serves a network.
    pub fn training(&self) -> Option<&Training> {
        match &self.what {
            What::Ckks(plan) => plan.training.as_ref(),
            What::Tfhe(plan) => plan.training.as_ref(),
            What::Exact(exact) => exact.0.training.as_ref(),
        }
    }

    /// The same, to be changed.
    pub fn training_mut(&mut self) -> Option<&mut Training> {
        match &mut self.what {
            What::Ckks(plan) => Arc::make_mut(plan).training.as_mut(),
            What::Tfhe(plan) => Arc::make_mut(plan).training.as_mut(),
            What::Exact(exact) => exact.0.training.as_mut(),
        }
    }

    /// The plan by which the server acts, where it does. A program's own functions act in the clear.
    pub fn served(&self) -> Option<&tfhe::Plan> {
        let training = match &self.what {
            What::Ckks(plan) => plan.training.as_ref(),
            What::Tfhe(plan) => plan.training.as_ref(),
            What::Exact(_) => None,
        };
        training?.served.as_deref()
    }

    /// The run with the server to act, where the plan says so.
    ///
    /// # Errors
    /// If keys cannot be made.
    pub fn acting<'a>(&'a self, session: Session<'a>, threads: usize) -> Result<Session<'a>, Failure> {
        let (Some(plan), Some(training)) = (self.served(), self.training()) else { return Ok(session) };
        let (carrier, each) = match self.encrypts() {
            false => (Integers::Clear, None),
            true => (Integers::Tfhe, Some(integers::acting::predicted(plan, costs::table(None)?.prices(), threads).action.seconds)),
        };
        let engine = integers::engine(&Arc::new(plan.clone()), carrier, threads)?;
        Ok(session.acted_by(Served::new(training, engine, each)))
    }

    /// What an update is predicted to take; `None` where nothing is encrypted in the end.
    ///
    /// # Errors
    /// If the user's table of costs cannot be read.
    pub fn expected(&self, threads: usize) -> Result<Option<Expected>, Failure> {
        let mut expected = match &self.what {
            What::Ckks(plan) => Some(Expected::of(plan, threads)?),
            What::Tfhe(plan) => Some(Expected::of_integers(plan, threads)?),
            What::Exact(_) => None,
        };
        if let (Some(expected), Some(training)) = (&mut expected, self.training()) {
            expected.add(replay::most_bytes(training));
        }
        if let (Some(expected), Some(served)) = (&mut expected, self.served()) {
            expected.add(integers::acting::predicted(served, costs::table(None)?.prices(), threads).action.peak_bytes);
        }
        Ok(expected)
    }

    /// What runs the updates: the two parties with keys, or the program itself.
    ///
    /// # Errors
    /// If keys cannot be made.
    pub fn updater(&self, threads: usize) -> Result<Box<dyn Updater>, Failure> {
        Ok(match &self.what {
            What::Ckks(plan) => {
                let carrier = match self.noise {
                    true => engine::Backend::Noisy(plan.training.as_ref().map_or(0, |t| t.run.seed)),
                    false => self.backend.slots()?,
                };
                let mut keys = Keys::start();
                let made = &mut |done, total| keys.made(done, total);
                let engine = Engine::new(Arc::clone(plan), carrier, Default::default(), threads, made)?;
                keys.finish();
                Box::new(engine)
            }
            What::Tfhe(plan) => Box::new(integers::engine(plan, self.backend.integers()?, threads)?),
            What::Exact(exact) => Box::new(Exact(exact.1.clone())),
        })
    }
}

/// A program's own functions in place of the encrypted engine: no plan, no polynomial, no noise.
pub struct Exact(pub Rehearsal);

impl Updater for Exact {
    fn update(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Update, EngineError> {
        let begun = Instant::now();
        let mut new = states.clone();
        let results = self.0.update(batch, &mut new)?;
        for (name, state) in &new {
            if let Some(&value) = state.data.iter().find(|v| !v.is_finite()) {
                return Err(EngineError::Diverged { name: name.clone(), value });
            }
        }
        *states = new;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Update { results, seconds, ..Update::default() })
    }
}
