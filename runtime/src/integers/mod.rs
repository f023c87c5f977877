//! Runs updates of plans of exact integers: a client and a server, each its own type, that share nothing but messages.

mod clear;
mod client;
pub(crate) mod party;
mod server;

use std::sync::Arc;
use std::time::Instant;

use hecc_plan::Tensors;
use hecc_plan::tfhe::{Plan, check};

use crate::engine::{EngineError, Update};
use crate::session::Updater;

pub use client::{Client, Clipped};
pub use server::Server;

/// What carries the integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// TFHE ciphertexts.
    Tfhe,
    /// Plain integers: the same steps and messages, no secrecy.
    Clear,
}

/// A client and a server in one process.
pub struct Engine {
    client: Client,
    server: Server,
    key_bytes: u64,
    plan: Arc<Plan>,
    /// Updates since the client last planted what the server carries.
    done: u32,
    newest: Newest,
    /// Bytes of what was planted and fetched since the last update: to the server, and to the client.
    beside: (u64, u64),
}

/// Who has the newest values of carried states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newest {
    /// The client: its values are planted before the next update.
    Client,
    /// The server.
    Server,
    /// The server, but an update failed: what it had before is fetched, and planted anew.
    Stranded,
}

impl Engine {
    /// Generates keys (TFHE) and brings them to the server. `threads`: 0 for all cores. `progress(done, total)` is called while
    /// keys are made.
    ///
    /// # Errors
    /// HE05xx for a plan that does not check, HE06xx for the rest.
    pub fn new(plan: Arc<Plan>, backend: Backend, threads: usize, progress: &mut dyn FnMut(usize, usize)) -> Result<Self, EngineError> {
        check::check(&plan).map_err(EngineError::Plan)?;
        Self::of_checked(plan, backend, threads, progress)
    }

    /// [`Engine::new`], for plans that declare no security.
    ///
    /// # Errors
    /// As [`Engine::new`].
    #[cfg(any(test, feature = "insecure-test-parameters"))]
    pub fn insecure_for_tests(
        plan: Arc<Plan>,
        backend: Backend,
        threads: usize,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Self, EngineError> {
        check::check_insecure(&plan).map_err(EngineError::Plan)?;
        Self::of_checked(plan, backend, threads, progress)
    }

    fn of_checked(plan: Arc<Plan>, backend: Backend, threads: usize, progress: &mut dyn FnMut(usize, usize)) -> Result<Self, EngineError> {
        let (client, mut server) = parties_of_checked(Arc::clone(&plan), backend, threads)?;
        let (total, mut key_bytes) = (client.keys(), 0);
        progress(0, total);
        for index in 0..total {
            let message = client.key(index)?;
            key_bytes += message.len() as u64;
            server.accept_key(index, &message)?;
            progress(index + 1, total);
        }
        server.ready()?;
        Ok(Self { client, server, key_bytes, plan, done: 0, newest: Newest::Client, beside: (0, 0) })
    }

    /// Bytes of the evaluation keys as they crossed.
    pub fn key_bytes(&self) -> u64 {
        self.key_bytes
    }

    /// One update (or one evaluation); `states` are replaced by their new values, or untouched on an error.
    ///
    /// States that the server carries are sent to it at first and after [`Self::forget`]; their values here stay as they are
    /// until [`Self::fetch`]. After an error they are those of the update before, even where the server made the update: a second
    /// try does not apply it twice.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn update(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Update, EngineError> {
        let begun = Instant::now();
        let upload = if self.plan.carried.is_empty() { self.client.upload(batch, states)? } else { self.carried(batch, states)? };
        let sent = Instant::now();
        let download = self.server.run(&upload)?;
        let server_seconds = sent.elapsed().as_secs_f64();
        let (new, results) = self.client.receive(&download, batch)?;
        states.extend(new);
        if !self.plan.carried.is_empty() {
            self.newest = Newest::Server;
            self.done += 1;
        }
        let (planted, fetched) = std::mem::take(&mut self.beside);
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Update {
            outgrown: Vec::new(),
            results,
            bytes_to_server: upload.len() as u64 + planted,
            bytes_to_client: download.len() as u64 + fetched,
            seconds,
            client_seconds: seconds - server_seconds,
            server_seconds,
        })
    }

    /// The message of an update of what the server carries, once it has that.
    fn carried(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Vec<u8>, EngineError> {
        if self.newest == Newest::Stranded {
            self.fetch(states)?;
            self.forget();
        }
        let planted = match self.newest {
            Newest::Client => Some(self.client.plant(states)?),
            Newest::Server | Newest::Stranded => None,
        };
        let upload = self.client.batch(self.done, batch, states)?;
        if let Some(message) = planted {
            self.beside.0 += message.len() as u64;
            self.server.plant(&message)?;
        }
        // Until its answer is understood.
        self.newest = Newest::Stranded;
        Ok(upload)
    }

    /// Brings the states that the server carries up to date; nothing where it carries none or has none yet.
    ///
    /// # Errors
    /// [`EngineError`]; the states are then as before.
    pub fn fetch(&mut self, states: &mut Tensors) -> Result<(), EngineError> {
        if self.plan.carried.is_empty() || self.newest == Newest::Client {
            return Ok(());
        }
        let wish = self.client.ask(self.done);
        let answer = self.server.fetch(&wish)?;
        self.beside.0 += wish.len() as u64;
        self.beside.1 += answer.len() as u64;
        self.client.gather(&answer, states)
    }

    /// Says that the client changed the states: they are planted anew before the next update.
    pub fn forget(&mut self) {
        self.newest = Newest::Client;
        self.done = 0;
    }
}

/// Weights that the server keeps from then on.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// Bytes to the server.
    pub bytes: u64,
    /// Seconds of the client.
    pub seconds: f64,
    /// Those that leave their grid.
    pub clipped: Vec<Clipped>,
}

impl Engine {
    /// Has the server keep what depends on `states` alone.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn keep(&mut self, states: &Tensors) -> Result<Kept, EngineError> {
        let begun = Instant::now();
        let (message, clipped) = self.client.weights(states)?;
        self.server.keep(&message)?;
        Ok(Kept { bytes: message.len() as u64, seconds: begun.elapsed().as_secs_f64(), clipped })
    }

    /// One evaluation with what the server keeps.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn ask(&mut self, batch: &Tensors, states: &Tensors) -> Result<Update, EngineError> {
        let begun = Instant::now();
        let question = self.client.question(batch, states)?;
        let sent = Instant::now();
        let answer = self.server.answer(&question)?;
        let server_seconds = sent.elapsed().as_secs_f64();
        let (_, results) = self.client.receive(&answer, batch)?;
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Update {
            outgrown: Vec::new(),
            results,
            bytes_to_server: question.len() as u64,
            bytes_to_client: answer.len() as u64,
            seconds,
            client_seconds: seconds - server_seconds,
            server_seconds,
        })
    }
}

impl Updater for Engine {
    fn update(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Update, EngineError> {
        Engine::update(self, batch, states)
    }

    fn fetch(&mut self, states: &mut Tensors) -> Result<(), EngineError> {
        Engine::fetch(self, states)
    }

    fn forget(&mut self) {
        Engine::forget(self);
    }
}

/// The two parties of `plan`, without keys at the server yet.
///
/// # Errors
/// HE05xx for a plan that does not check, HE0612 without entropy.
pub fn parties(plan: Arc<Plan>, backend: Backend, threads: usize) -> Result<(Client, Server), EngineError> {
    check::check(&plan).map_err(EngineError::Plan)?;
    parties_of_checked(plan, backend, threads)
}

fn parties_of_checked(plan: Arc<Plan>, backend: Backend, threads: usize) -> Result<(Client, Server), EngineError> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    Ok(match backend {
        Backend::Clear => {
            let server = clear::ClearServer::new(Arc::clone(&plan));
            (Client::new(Arc::clone(&plan), Box::new(clear::ClearClient)), Server::new(plan, Box::new(server)))
        }
        Backend::Tfhe => {
            let fingerprint = hecc_plan::fingerprint_tfhe(&plan);
            let client = crate::tfhe::TfheClient::new(&plan, fingerprint, threads)?;
            let server = crate::tfhe::TfheServer::new(Arc::clone(&plan), fingerprint, threads);
            (Client::new(Arc::clone(&plan), Box::new(client)), Server::new(plan, Box::new(server)))
        }
    })
}
