//! What a plan of integers is and costs, as text.

use std::fmt::Write;

use hecc_plan::tfhe::cost::{self, Prediction};
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::tfhe::{Op, Plan};
use serde::Serialize;

use crate::output::{bytes, seconds, table};

/// The summary's stable keys.
#[derive(Debug, Serialize)]
pub struct Summary {
    scheme: &'static str,
    predicted_seconds_per_update: f64,
    predicted_peak_bytes: u64,
    security_bits: u32,
    log2_failure: f64,
    programmable_bootstraps: u64,
    key_bytes: u64,
    bytes_to_server_per_update: u64,
    bytes_to_client_per_update: u64,
}

impl Summary {
    /// Of a plan, for so many threads.
    pub fn new(plan: &Plan, threads: usize) -> Self {
        let p = predicted(plan, threads);
        Self {
            scheme: "tfhe",
            predicted_seconds_per_update: p.seconds,
            predicted_peak_bytes: p.peak_bytes,
            security_bits: plan.parameters.security_bits,
            log2_failure: plan.log2_failure,
            programmable_bootstraps: p.bootstraps,
            key_bytes: p.key_bytes,
            bytes_to_server_per_update: p.bytes_to_server,
            bytes_to_client_per_update: p.bytes_to_client,
        }
    }
}

/// What a plan takes on so many threads.
pub fn predicted(plan: &Plan, threads: usize) -> Prediction {
    cost::predict(plan, &Prices::BUILT_IN, threads)
}

/// What `hecc compile` prints.
pub fn summary(plan: &Plan, threads: usize) -> String {
    let p = predicted(plan, threads);
    let mut text = table(&[
        ("scheme", "tfhe: exact integers".to_owned()),
        ("security", format!("{} bits (132 by the estimates for its noise)", plan.parameters.security_bits)),
        ("bootstraps", by_kind(plan)),
        ("failure", format!("at most 2^{} each", plan.log2_failure)),
        ("keys", bytes(p.key_bytes)),
        ("to the server", format!("{} per run", bytes(p.bytes_to_server))),
        ("to the client", format!("{} per run", bytes(p.bytes_to_client))),
        ("predicted time", seconds(p.seconds)),
        ("peak memory", format!("{}, both parties", bytes(p.peak_bytes))),
    ]);
    for note in &plan.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// How many bootstraps of each kind.
fn by_kind(plan: &Plan) -> String {
    let (mut tables, mut signs, mut dropped) = (0, 0, 0);
    for step in &plan.steps {
        let len = u64::from(step.wire.len);
        match &step.op {
            Op::Table { .. } => tables += len,
            Op::Sign { .. } => signs += len,
            Op::Floor { drop, .. } => dropped += len * u64::from(*drop),
            Op::Input(_) | Op::Affine { .. } | Op::Rest { .. } | Op::Switch { .. } => {}
        }
    }
    format!("{}: {tables} tables, {signs} comparisons, {dropped} dropped bits", tables + signs + dropped)
}

/// What `hecc explain` prints.
pub fn explain(plan: &Plan, source: Option<&str>, threads: usize) -> String {
    let mut out = summary(plan, threads);
    let line = |start: u32| {
        let before = source?.as_bytes().get(..start as usize)?;
        Some(1 + before.iter().filter(|&&b| b == b'\n').count())
    };
    for decision in &plan.decisions {
        let place = decision.span.and_then(|span| line(span.start)).map_or(String::new(), |line| format!(", line {line}"));
        let title = format!("{}: {}{place}", decision.kind.name(), decision.subject);
        let _ = writeln!(out, "\n{title}\n{}", "-".repeat(title.chars().count()));
        let mut rows = vec![("chosen", decision.choice.clone()), ("because", decision.why.clone())];
        rows.extend(decision.runner_up.iter().map(|other| ("otherwise", other.clone())));
        out.push_str(&table(&rows));
    }
    let _ = writeln!(out, "\nWhere the time goes\n-------------------");
    let all = predicted(plan, threads).seconds.max(1e-12);
    for (index, step) in plan.steps.iter().enumerate() {
        let took = cost::step_seconds(plan, step, &Prices::BUILT_IN, if threads == 0 { 2 } else { threads });
        if took / all >= 0.01 {
            let at = line(step.span.start).map_or_else(|| "-".to_owned(), |line| line.to_string());
            let _ = writeln!(
                out,
                "step {index:>3}  {:<6}  {:>6} integers  {took:>8.4} s  {:>5.1} %  line {at}",
                step.op.name(),
                step.wire.len,
                100.0 * took / all
            );
        }
    }
    out
}
