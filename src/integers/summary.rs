//! What a plan of integers is and costs, as text.

use std::fmt::Write;

use hecc_plan::Span;
use hecc_plan::tfhe::cost::{self, Prediction};
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::tfhe::{Leanest, Op, Plan};
use serde::Serialize;

use super::{acting, layers};
use crate::output::{bytes, counted, seconds, table};

/// What a training on integers is, beside one who acts by it.
const TRAINS: &str = "tfhe, integers";

/// The summary's stable keys.
#[derive(Debug, Serialize)]
pub struct Summary {
    scheme: &'static str,
    predicted_seconds_per_update: f64,
    predicted_peak_bytes: u64,
    security_bits: u32,
    log2_failure: f64,
    programmable_bootstraps: u64,
    fewest_bootstraps_of_the_model: Option<u64>,
    fewest_is_proven: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    slower_way_with_the_fewest: Option<Leanest>,
    key_bytes: u64,
    bytes_to_server_per_update: u64,
    bytes_to_client_per_update: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    carried: Option<Carried>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acting: Option<acting::Summary>,
}

/// What the server carries, where it does.
#[derive(Debug, Serialize)]
struct Carried {
    /// Ciphertexts.
    ciphertexts: u64,
    bytes_to_server_once: u64,
    bytes_to_client_per_fetch: u64,
}

impl Carried {
    fn of(plan: &Plan, p: &Prediction) -> Option<Self> {
        let ciphertexts = plan.carried.iter().map(|carried| u64::from(plan.steps[carried.wire.index()].wire.len)).sum();
        let carried = Self { ciphertexts, bytes_to_server_once: p.bytes_to_carry, bytes_to_client_per_fetch: p.bytes_fetched };
        (!plan.carried.is_empty()).then_some(carried)
    }
}

impl Summary {
    /// Of a plan, for so many threads.
    pub fn new(plan: &Plan, prices: &Prices, threads: usize) -> Self {
        let p = predicted(plan, prices, threads);
        Self {
            scheme: "tfhe",
            predicted_seconds_per_update: p.seconds,
            predicted_peak_bytes: p.peak_bytes,
            security_bits: plan.parameters.security_bits,
            log2_failure: plan.log2_failure,
            programmable_bootstraps: p.bootstraps,
            fewest_bootstraps_of_the_model: plan.fewest_bootstraps,
            fewest_is_proven: plan.fewest_bootstraps == Some(p.bootstraps),
            slower_way_with_the_fewest: plan.leanest,
            key_bytes: p.key_bytes,
            bytes_to_server_per_update: p.bytes_to_server,
            bytes_to_client_per_update: p.bytes_to_client,
            carried: Carried::of(plan, &p),
            acting: acting::Summary::new(plan.training.as_ref(), prices, threads),
        }
    }
}

/// What a plan takes on so many threads.
pub fn predicted(plan: &Plan, prices: &Prices, threads: usize) -> Prediction {
    cost::predict(plan, prices, threads)
}

/// What `hecc compile` prints.
pub fn summary(plan: &Plan, prices: &Prices, threads: usize) -> String {
    let p = predicted(plan, prices, threads);
    let mut rows = vec![
        ("scheme", "tfhe: exact integers".to_owned()),
        ("security", format!("{} bits (132 by the estimates for its noise)", plan.parameters.security_bits)),
        ("bootstraps", by_kind(plan)),
        ("fewest", fewest(plan)),
        ("failure", format!("at most 2^{} each", plan.log2_failure)),
        ("keys", bytes(p.key_bytes)),
        ("to the server", format!("{} per run", bytes(p.bytes_to_server))),
        ("to the client", format!("{} per run", bytes(p.bytes_to_client))),
        ("states", states(plan, &p)),
        ("predicted time", seconds(p.seconds)),
        ("peak memory", format!("{}, both parties", bytes(p.peak_bytes))),
    ];
    rows.retain(|row| row.0 != "states" || plan.training.is_some() || !plan.carried.is_empty());
    rows.extend(acting::rows(plan.training.as_ref(), TRAINS, prices, threads));
    let mut text = table(&rows);
    for note in &plan.notes {
        let _ = writeln!(text, "note: {note}");
    }
    text
}

/// Who keeps the states.
fn states(plan: &Plan, p: &Prediction) -> String {
    match Carried::of(plan, p) {
        None => "kept by the client, which sends them with each batch".to_owned(),
        Some(Carried { ciphertexts, bytes_to_server_once, bytes_to_client_per_fetch }) => format!(
            "carried by the server, in {}: {} to it once, {} back at each fetch",
            counted(ciphertexts as usize, "ciphertext"),
            bytes(bytes_to_server_once),
            bytes(bytes_to_client_per_fetch)
        ),
    }
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
            Op::Input(_) | Op::Carried(_) | Op::Affine { .. } | Op::Rest { .. } | Op::Switch { .. } => {}
        }
    }
    format!("{}: {tables} tables, {signs} comparisons, {dropped} dropped bits", tables + signs + dropped)
}

/// How many there must be, by the model of placement.
fn fewest(plan: &Plan) -> String {
    let count = plan.bootstraps();
    let compared = match plan.fewest_bootstraps {
        Some(least) if least == count => format!("{count} bootstraps, the proven minimum of the model is {least}"),
        Some(least) => format!("{count} bootstraps, the minimum of the model is at least {least}"),
        None => format!("{count} bootstraps, not compared with the model"),
    };
    match plan.leanest {
        Some(Leanest { bootstraps, fewest, seconds: slower }) => {
            let proven = if bootstraps == fewest { ", proven,".to_owned() } else { format!(" (at least {fewest})") };
            format!(
                "{compared}; chosen for time: another way takes {bootstraps}{proven} and, by the prices it was chosen by, {}",
                seconds(slower)
            )
        }
        None => compared,
    }
}

/// The line of a span, from 1, where the source is known.
pub fn line(source: Option<&str>, span: Span) -> Option<usize> {
    let before = source?.as_bytes().get(..span.start as usize)?;
    (span != Span::default()).then(|| 1 + before.iter().filter(|&&b| b == b'\n').count())
}

/// What `hecc explain` prints.
pub fn explain(plan: &Plan, source: Option<&str>, prices: &Prices, threads: usize) -> String {
    let mut out = summary(plan, prices, threads);
    let line = |span: Span| line(source, span);
    for decision in &plan.decisions {
        let place = decision.span.and_then(line).map_or(String::new(), |line| format!(", line {line}"));
        let title = format!("{}: {}{place}", decision.kind.name(), decision.subject);
        let _ = writeln!(out, "\n{title}\n{}", "-".repeat(title.chars().count()));
        let mut rows = vec![("chosen", decision.choice.clone()), ("because", decision.why.clone())];
        rows.extend(decision.runner_up.iter().map(|other| ("otherwise", other.clone())));
        out.push_str(&table(&rows));
    }
    let _ = writeln!(out, "\nIntegers, by line\n-----------------");
    out.push_str(&layers::table(&layers::of(plan, line, prices, threads)));
    for input in &plan.inputs {
        let _ = writeln!(out, "{}: an integer of 1 stands for {:.6}", input.label, input.scale);
    }
    for carried in &plan.carried {
        let wire = plan.steps[carried.wire.index()].wire;
        let _ = writeln!(out, "{}, carried: {} to {}, an integer of 1 stands for {:.9}", carried.state, wire.low, wire.high, carried.scale);
    }
    let _ = writeln!(out, "\nWhere the time goes\n-------------------");
    let all = predicted(plan, prices, threads).seconds.max(1e-12);
    for (index, step) in plan.steps.iter().enumerate() {
        let took = cost::step_seconds(plan, step, prices, if threads == 0 { prices.threads } else { threads });
        if took / all >= 0.01 {
            let at = line(step.span).map_or_else(|| "-".to_owned(), |line| line.to_string());
            let _ = writeln!(
                out,
                "step {index:>3}  {:<6}  {:>6} integers  {took:>8.4} s  {:>5.1} %  line {at}",
                step.op.name(),
                step.wire.len,
                100.0 * took / all
            );
        }
    }
    out.push_str(&acting::explain(plan.training.as_ref(), TRAINS, source, prices, threads));
    out
}
