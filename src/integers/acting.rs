//! `policy = server`: what it takes that the server acts while it trains, and who learns what of it.

use std::fmt::Write;

use hecc_plan::tfhe::Plan;
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::tfhe::served::{self, Acting};
use hecc_plan::{Collect, Interface, Training};
use serde::Serialize;

use super::summary;
use crate::output::{bytes, counted, seconds, table};

/// The stable keys of acting in a summary.
#[derive(Debug, Serialize)]
pub struct Summary {
    scheme: &'static str,
    boundary: &'static str,
    predicted_seconds_per_action: f64,
    predicted_peak_bytes: u64,
    security_bits: u32,
    log2_failure: f64,
    programmable_bootstraps: u64,
    key_bytes: u64,
    weights: u64,
    bytes_to_server_per_boundary: u64,
    bytes_to_server_per_action: u64,
    bytes_to_client_per_action: u64,
}

impl Summary {
    /// Of the plan by which the server acts, where it does.
    pub fn new(training: Option<&Training>, prices: &Prices, threads: usize) -> Option<Self> {
        let plan = training?.served.as_deref()?;
        let Acting { action, weights_bytes, weights } = predicted(plan, prices, threads);
        Some(Self {
            scheme: "tfhe",
            boundary: "client re-encryption",
            predicted_seconds_per_action: action.seconds,
            predicted_peak_bytes: action.peak_bytes,
            security_bits: plan.parameters.security_bits,
            log2_failure: plan.log2_failure,
            programmable_bootstraps: action.bootstraps,
            key_bytes: action.key_bytes,
            weights,
            bytes_to_server_per_boundary: weights_bytes,
            bytes_to_server_per_action: action.bytes_to_server,
            bytes_to_client_per_action: action.bytes_to_client,
        })
    }
}

/// What acting takes on so many threads.
pub fn predicted(plan: &Plan, prices: &Prices, threads: usize) -> Acting {
    served::predict(plan, prices, threads)
}

/// What `hecc compile` says of acting; nothing where the client acts. `trains` names the scheme of the training.
pub fn rows(training: Option<&Training>, trains: &str, prices: &Prices, threads: usize) -> Vec<(&'static str, String)> {
    let Some((training, plan)) = training.and_then(|t| Some((t, t.served.as_deref()?))) else { return Vec::new() };
    let Acting { action, weights_bytes, weights } = predicted(plan, prices, threads);
    vec![
        ("training", trains.to_owned()),
        (
            "acting",
            format!("the server, tfhe: {}, {} per action", counted(action.bootstraps as usize, "bootstrap"), seconds(action.seconds)),
        ),
        ("boundary", format!("client re-encryption of {weights} weights, {} {}", bytes(weights_bytes), when(training))),
        ("per action", format!("{} to the server, {} to the client", bytes(action.bytes_to_server), bytes(action.bytes_to_client))),
        ("keys to act", bytes(action.key_bytes)),
    ]
}

/// When the client encrypts weights anew.
fn when(training: &Training) -> String {
    let run = &training.run;
    let evaluated = match run.checkpoint {
        0 => "before the last evaluation".to_owned(),
        updates => format!("before each evaluation (every {} and at the end)", counted(updates, "update")),
    };
    match run.collect {
        Collect::Random(_) => evaluated,
        Collect::Online => {
            format!("whenever it acts (after every {}) and {evaluated}", counted(run.envs.div_ceil(run.every.max(1)), "update"))
        }
    }
}

/// The part of `hecc explain` on acting.
pub fn explain(training: Option<&Training>, trains: &str, source: Option<&str>, prices: &Prices, threads: usize) -> String {
    let mut out = String::new();
    let Some(plan) = training.and_then(|t| t.served.as_deref()) else { return out };
    let _ = writeln!(out, "\nActing\n------");
    out.push_str(&table(&rows(training, trains, prices, threads)));
    let _ = writeln!(
        out,
        "The client decrypts the weights of the training, rounds them to the grids below and encrypts them for the server, which keeps \
         them. For each action it encrypts an observation and decrypts the choice; it evaluates no network to act. Weights beyond their grid \
         are clipped, with a warning."
    );
    let _ = writeln!(out, "\nThe plan by which the server acts\n---------------------------------");
    out.push_str(&summary::explain(plan, source, prices, threads));
    out
}

/// What is said before a run in which the server acts.
pub fn announcement(plan: Interface<'_>, prices: &Prices, threads: usize) -> Option<String> {
    let training = plan.training?;
    let each = predicted(training.served.as_deref()?, prices, threads).action.seconds;
    let mut text = format!("the server acts: about {} an action", seconds(each));
    if training.run.collect == Collect::Online {
        let actions = training.run.updates.saturating_mul(training.run.every);
        let _ = write!(text, ", up to {actions} between updates: {}", seconds(each * actions as f64));
    }
    Some(text)
}

/// Points of who learns what: of the server, of the client, of nobody else.
pub fn leakage(training: Option<&Training>) -> [Vec<String>; 3] {
    let Some((training, plan)) = training.and_then(|t| Some((t, t.served.as_deref()?))) else { return Default::default() };
    // Bytes, which are the same on every machine.
    let Acting { action, weights_bytes, .. } = predicted(plan, Prices::built_in(), 0);
    let server = vec![
        format!("the plan by which it acts: {}, every table and range in it", counted(plan.steps.len(), "step")),
        format!("when the client encrypts weights anew for it: {} {}, the same whatever the weights", bytes(weights_bytes), when(training)),
        format!(
            "how many actions it chooses, and when, {} in and {} out each: of a greedy episode that is its length; steps that chance \
             decides are not asked for",
            bytes(action.bytes_to_server),
            bytes(action.bytes_to_client)
        ),
    ];
    let client = vec!["the weights that act, which it decrypts at the boundary, and the actions that the server chooses".to_owned()];
    let secret = vec![
        "observations, weights and actions while the server acts".to_owned(),
        format!("the secret keys to act, at {} bits of security", plan.parameters.security_bits),
    ];
    [server, client, secret]
}
