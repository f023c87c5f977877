//! Runs updates of a plan: a client and a server, each its own type, that share nothing but messages.

mod client;
mod error;
pub(crate) mod party;
mod server;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hecc_plan::{Plan, Tensor, Tensors, UPDATE, check};

pub use client::{Client, Progress};
pub use error::{EngineError, Outgrown};
pub use server::Server;

/// What carries the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// CKKS ciphertexts.
    Ckks,
    /// Plain slots: the same steps and messages, no secrecy.
    Clear,
    /// Plain slots with the noise that CKKS would add to them ([`hecc_plan::noise`]), drawn from this seed and the number
    /// of the update.
    Noisy(u64),
}

/// A client and a server in one process.
pub struct Engine {
    plan: Arc<Plan>,
    client: Client,
    server: Server,
    channel: Channel,
    key_bytes: u64,
    /// Updates since the client last planted what the server carries.
    done: u32,
    newest: Newest,
}

/// Who has the newest values of carried states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Newest {
    /// The client: a period begins with its values.
    Client,
    /// The server, in the middle of its work.
    Server,
    /// The server, but an update failed: a period has to begin anew with what it has.
    Stranded,
}

/// What an update brought, and what it took.
#[derive(Clone, Debug, Default)]
pub struct Update {
    /// Results by name.
    pub results: BTreeMap<String, Tensor>,
    /// Values that came back in the middle of the update, larger than foreseen, and were clipped.
    pub outgrown: Vec<Outgrown>,
    /// Bytes, client to server; what was fetched before the update counts to it.
    pub bytes_to_server: u64,
    /// Bytes, server to client.
    pub bytes_to_client: u64,
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Of those, the client's.
    pub client_seconds: f64,
    /// Of those, the server's.
    pub server_seconds: f64,
}

/// Passes messages on, and counts their bytes.
#[derive(Debug, Default)]
struct Channel {
    to_server: AtomicU64,
    to_client: AtomicU64,
}

impl Channel {
    fn up(&self, message: Vec<u8>) -> Vec<u8> {
        self.to_server.fetch_add(message.len() as u64, Ordering::Relaxed);
        message
    }

    fn down(&self, message: Vec<u8>) -> Vec<u8> {
        self.to_client.fetch_add(message.len() as u64, Ordering::Relaxed);
        message
    }

    fn reset(&self) -> (u64, u64) {
        (self.to_server.swap(0, Ordering::Relaxed), self.to_client.swap(0, Ordering::Relaxed))
    }
}

/// The two parties of `plan`, without keys at the server yet. `public`: the server's clear arrays by name.
///
/// # Errors
/// HE05xx for a plan that does not check, HE0601 for a missing public array, HE0612 without entropy.
pub fn parties(plan: Arc<Plan>, backend: Backend, public: Tensors, threads: usize) -> Result<(Client, Server), EngineError> {
    check::check(&plan).map_err(EngineError::Plan)?;
    parties_of_checked(plan, backend, public, threads)
}

/// [`parties`], for plans that declare no security.
///
/// # Errors
/// As [`parties`].
#[cfg(any(test, feature = "insecure-test-parameters"))]
pub fn insecure_parties_for_tests(
    plan: Arc<Plan>,
    backend: Backend,
    public: Tensors,
    threads: usize,
) -> Result<(Client, Server), EngineError> {
    check::check_insecure(&plan).map_err(EngineError::Plan)?;
    parties_of_checked(plan, backend, public, threads)
}

fn parties_of_checked(plan: Arc<Plan>, backend: Backend, public: Tensors, threads: usize) -> Result<(Client, Server), EngineError> {
    let threads = match threads {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads,
    };
    let client = match backend {
        Backend::Ckks => Client::new(Arc::clone(&plan), Box::new(crate::ckks::CkksClient::new(Arc::clone(&plan))?), threads),
        Backend::Clear | Backend::Noisy(_) => Client::new(Arc::clone(&plan), Box::new(crate::clear::ClearClient::new(&plan)), threads),
    };
    let server = match backend {
        Backend::Ckks => {
            let cipher = crate::ckks::CkksServer::new(Arc::clone(&plan), public, threads)?;
            Server::new(plan, Box::new(cipher), crate::ckks::sealed_len)
        }
        Backend::Clear | Backend::Noisy(_) => {
            let noise = if let Backend::Noisy(seed) = backend { Some(seed) } else { None };
            let cipher = crate::clear::ClearServer::new(Arc::clone(&plan), public, threads, noise);
            Server::new(plan, Box::new(cipher), crate::clear::sealed_len)
        }
    };
    Ok((client, server))
}

impl Engine {
    /// Generates keys (CKKS) and brings them to the server. `public`: the server's clear arrays by name. `threads`: 0
    /// for all cores. `progress(done, total)` is called while keys are made.
    ///
    /// # Errors
    /// HE05xx for a plan that does not check, HE06xx for the rest.
    pub fn new(
        plan: Arc<Plan>,
        backend: Backend,
        public: Tensors,
        threads: usize,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Engine, EngineError> {
        let (client, server) = parties(Arc::clone(&plan), backend, public, threads)?;
        Self::join(plan, client, server, threads, progress)
    }

    /// [`Engine::new`] for plans that declare no security.
    ///
    /// # Errors
    /// As [`Engine::new`].
    #[cfg(any(test, feature = "insecure-test-parameters"))]
    pub fn insecure_for_tests(
        plan: Arc<Plan>,
        backend: Backend,
        public: Tensors,
        threads: usize,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Engine, EngineError> {
        let (client, server) = insecure_parties_for_tests(Arc::clone(&plan), backend, public, threads)?;
        Self::join(plan, client, server, threads, progress)
    }

    fn join(
        plan: Arc<Plan>,
        client: Client,
        mut server: Server,
        threads: usize,
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Engine, EngineError> {
        let channel = Channel::default();
        let total = client.keys();
        let threads = match threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let next = AtomicUsize::new(0);
        let (send, done) = std::sync::mpsc::channel();
        progress(0, total);
        std::thread::scope(|scope| {
            for _ in 0..threads.min(total) {
                let (send, client, server, channel, next) = (send.clone(), &client, &server, &channel, &next);
                scope.spawn(move || {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        if index >= total {
                            return;
                        }
                        let outcome = client.key(index).and_then(|message| server.accept_key(index, &channel.up(message)));
                        let failed = outcome.is_err();
                        if send.send(outcome).is_err() || failed {
                            // The others stop before their next key.
                            next.store(total, Ordering::Relaxed);
                            return;
                        }
                    }
                });
            }
            drop(send);
            let mut count = 0;
            for outcome in done {
                outcome?;
                count += 1;
                progress(count, total);
            }
            Ok::<_, EngineError>(())
        })?;
        server.ready()?;
        let (key_bytes, _) = channel.reset();
        Ok(Engine { plan, client, server, channel, key_bytes, done: 0, newest: Newest::Client })
    }

    /// Bytes of the evaluation keys as they crossed.
    pub fn key_bytes(&self) -> u64 {
        self.key_bytes
    }

    /// One update (or one evaluation): runs its rounds; `states` are replaced by their new values, or untouched on an error.
    ///
    /// States that the server carries are sent to it at first and after [`Self::forget`]; their values here stay as they are
    /// until [`Self::fetch`]. After an error they are those of the update before, even where the server finished its rounds:
    /// a second try does not apply the update twice.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn update(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Update, EngineError> {
        let start = Instant::now();
        let (mut client_time, mut server_time) = (Duration::ZERO, Duration::ZERO);
        let mut progress = Progress::default();
        timed(&mut client_time, || self.client.check(batch, states))?;
        if self.newest == Newest::Stranded {
            self.fetch(states)?;
            self.forget();
        }
        if !self.plan.carried.is_empty() {
            if self.newest == Newest::Client {
                let message = timed(&mut client_time, || self.client.plant(states))?;
                let message = self.channel.up(message);
                timed(&mut server_time, || self.server.plant(&message))?;
            }
            // Until all of its rounds are through.
            self.newest = Newest::Stranded;
            progress = Progress::after(self.done);
        }
        for number in self.plan.rounds_of(self.done % self.plan.updates()) {
            let message = timed(&mut client_time, || self.client.upload(number, batch, states, &mut progress))?;
            let message = self.channel.up(message);
            let answer = timed(&mut server_time, || self.server.round(number, &message))?;
            drop(message);
            let answer = self.channel.down(answer);
            timed(&mut client_time, || self.client.receive(number, &answer, &mut progress))?;
        }
        let settled = self.client.settle(batch, states, &mut progress)?;
        let outgrown = progress.outgrown();
        let (mut new, results) = self.client.finish(progress)?;
        new.extend(settled);
        if !self.plan.carried.is_empty() {
            self.newest = Newest::Server;
            self.done += 1;
        }
        let number = batch.get(UPDATE).and_then(|update| update.data.first()).map_or(0, |&update| update as u64);
        new.retain(|name, _| self.plan.is_due(name, number));
        states.extend(new);
        let (bytes_to_server, bytes_to_client) = self.channel.reset();
        Ok(Update {
            results,
            outgrown,
            bytes_to_server,
            bytes_to_client,
            seconds: start.elapsed().as_secs_f64(),
            client_seconds: client_time.as_secs_f64(),
            server_seconds: server_time.as_secs_f64(),
        })
    }
}

impl Engine {
    /// Brings the states that the server carries up to date; nothing where it carries none or has none yet.
    ///
    /// # Errors
    /// [`EngineError`]; the states are then as before.
    pub fn fetch(&mut self, states: &mut Tensors) -> Result<(), EngineError> {
        if self.plan.carried.is_empty() || self.newest == Newest::Client {
            return Ok(());
        }
        let wish = self.channel.up(self.client.ask(self.done));
        let answer = self.channel.down(self.server.fetch(&wish)?);
        self.client.gather(&answer, states)
    }

    /// Says that the client changed the states: the next update begins a period with its values.
    pub fn forget(&mut self) {
        self.newest = Newest::Client;
        self.done = 0;
    }
}

fn timed<T>(total: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *total += start.elapsed();
    result
}
