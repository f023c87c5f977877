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

pub use client::Client;
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
        let (client, mut server) = parties_of_checked(plan, backend, threads)?;
        let (total, mut key_bytes) = (client.keys(), 0);
        progress(0, total);
        for index in 0..total {
            let message = client.key(index)?;
            key_bytes += message.len() as u64;
            server.accept_key(index, &message)?;
            progress(index + 1, total);
        }
        server.ready()?;
        Ok(Self { client, server, key_bytes })
    }

    /// Bytes of the evaluation keys as they crossed.
    pub fn key_bytes(&self) -> u64 {
        self.key_bytes
    }

    /// One update (or one evaluation); `states` are replaced by their new values, or untouched on an error.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn update(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Update, EngineError> {
        let begun = Instant::now();
        let upload = self.client.upload(batch, states)?;
        let sent = Instant::now();
        let download = self.server.run(&upload)?;
        let server_seconds = sent.elapsed().as_secs_f64();
        let (new, results) = self.client.receive(&download, batch)?;
        states.extend(new);
        let seconds = begun.elapsed().as_secs_f64();
        Ok(Update {
            results,
            bytes_to_server: upload.len() as u64,
            bytes_to_client: download.len() as u64,
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
