//! `hecc compile`: a program to its plan, and what that costs.

use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use hecc_compiler::passes::{Level, PassName};
use hecc_compiler::schemes::tfhe::{self, Given};
use hecc_plan::cost::{self, CostTable, Prediction};
use hecc_plan::counts::{Counts, counts};
use hecc_plan::{Op, Plan};
use serde::Serialize;

use crate::compile::{AnyCompiled, MemoryLimit, Options};
use crate::failure::Failure;
use crate::integers::Drawing;
use crate::link::LinkArgs;
use crate::output::{bytes, mean, table};
use crate::report::{Report, dot, html, text};
use crate::{compile, costs, files, integers, output};

/// What `hecc compile` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The program
    file: PathBuf,
    /// Write the plan to this file
    #[arg(short, long, value_name = "PLAN")]
    output: Option<PathBuf>,
    /// Print a stage of the compilation instead of the summary
    #[arg(long, value_enum, conflicts_with = "json")]
    emit: Option<Stage>,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
    /// Table of costs to predict with and to choose the ring by [default: this user's for predictions, the built-in one to choose]
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
    #[command(flatten)]
    link: LinkArgs,
    /// Threads to predict for; 0 for all of the table's machine
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// How hard to try, from 0 to 3
    #[arg(short = 'O', value_name = "LEVEL", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=3))]
    level: u8,
    /// Leave a pass out, to see what it is worth; may be given more than once
    #[arg(long, value_name = "PASS")]
    without: Vec<PassName>,
    /// Most memory at the peak, both parties, as predicted: rotation keys are left out for it, at the price of time; a plan
    /// that takes more all the same is refused
    #[arg(long, value_name = "GIB")]
    memory: Option<f64>,
    /// Weights that public networks have in a TFHE plan, and that scales are chosen by
    #[arg(long, value_name = "FILE.safetensors")]
    weights: Option<PathBuf>,
    /// Recorded observations that the scales of a TFHE plan are chosen by, in the environment's units
    #[arg(long, value_name = "FILE.safetensors")]
    sample: Option<PathBuf>,
}

/// A stage of the compilation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Stage {
    /// The program as parsed
    Ast,
    /// The program as checked
    Hir,
    /// The tensor graph
    Tensor,
    /// The homomorphic circuit
    Ckks,
    /// The plan, readable
    Plan,
    /// The tensor graph for Graphviz
    TensorDot,
    /// The plan for Graphviz: budget, cost and secrecy
    Dot,
    /// The plan as one page for a browser: graph, costs, decisions, and what the parties learn
    Html,
}

/// The summary's stable keys.
#[derive(Debug, Serialize)]
struct Summary {
    predicted_seconds_per_update: f64,
    predicted_client_seconds: f64,
    predicted_link_seconds: f64,
    predicted_peak_bytes: u64,
    predicted_precision_bits: Option<f64>,
    log_n: u32,
    security_bits: u32,
    depth_bits: u32,
    multiplications: f64,
    plaintext_multiplications: f64,
    rotations: f64,
    bootstraps_per_update: f64,
    refreshes_per_update: f64,
    rotation_keys: u64,
    key_bytes: u64,
    bytes_to_server_per_update: u64,
    bytes_to_client_per_update: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    acting: Option<integers::acting::Summary>,
}

impl Summary {
    fn new(counts: Counts, prediction: &Prediction, precision_bits: Option<f64>, acting: Option<integers::acting::Summary>) -> Self {
        let Counts {
            log_n,
            security_bits,
            depth_bits,
            multiplications,
            plaintext_multiplications,
            rotations,
            relinearisations: _,
            bootstraps_per_update,
            refreshes_per_update,
            rotation_keys,
            key_bytes,
            bytes_to_server_per_update,
            bytes_to_client_per_update,
        } = counts;
        Self {
            predicted_seconds_per_update: prediction.seconds_per_update,
            predicted_client_seconds: prediction.client_seconds,
            predicted_link_seconds: prediction.link_seconds,
            predicted_peak_bytes: prediction.peak_bytes,
            predicted_precision_bits: precision_bits,
            log_n,
            security_bits,
            depth_bits,
            multiplications,
            plaintext_multiplications,
            rotations,
            bootstraps_per_update,
            refreshes_per_update,
            rotation_keys,
            key_bytes,
            bytes_to_server_per_update,
            bytes_to_client_per_update,
            acting,
        }
    }
}

/// Compiles, writes the plan where asked, and prints a stage or the summary.
///
/// # Errors
/// If the program has errors or a file cannot be read or written.
pub fn run(args: &Args) -> Result<(), Failure> {
    let source = files::source(&args.file)?;
    // The early stages show programs that do not compile to the end.
    let early = match args.emit {
        Some(Stage::Ast) => Some(compile::ast(&args.file, &source)?),
        Some(Stage::Hir) => Some(compile::hir(&args.file, &source)?),
        Some(Stage::Tensor | Stage::Ckks | Stage::Plan | Stage::TensorDot | Stage::Dot | Stage::Html) | None => None,
    };
    if let (Some(text), None) = (&early, &args.output) {
        return output::say(text);
    }
    let mut table = costs::table(args.costs.as_deref())?;
    // A plan is the same on every machine, unless it is asked for by name that it suit one, or a link.
    let own = args.costs.is_some().then(|| table.clone().into_owned());
    let own = args.link.apply(&mut table, own);
    let limit = args.memory.map(|gib| (gib * f64::from(1 << 30)).max(0.0) as u64);
    let predicting = || Some(Arc::new(table.clone().into_owned()));
    let memory = limit.map(|bytes| MemoryLimit { bytes, costs: predicting(), threads: args.threads });
    let arrays = |path: &Option<PathBuf>| path.as_deref().map(files::arrays).transpose().map(Option::unwrap_or_default);
    let given = Given { weights: arrays(&args.weights)?, sample: arrays(&args.sample)? };
    let options = Options { costs: own, given, level: Level::new(args.level), without: args.without.clone(), memory, ..Options::default() };
    let compiled = match compile::compile(&args.file, &source, &options)? {
        AnyCompiled::Ckks(compiled) => compiled,
        AnyCompiled::Tfhe(compiled) => return integer_plan(args, &compiled, &source, &table, early),
    };
    if let Some(limit) = limit {
        cost::predict(&compiled.plan, &table, args.threads).memory.within(limit)?;
    }
    if let Some(path) = &args.output {
        files::write_text(path, &hecc_plan::write(&compiled.plan))?;
    }
    match args.emit {
        Some(Stage::Ast | Stage::Hir) => output::say(&early.unwrap_or_default()),
        Some(Stage::Tensor) => output::say(&compiled.graph.print()),
        Some(Stage::Ckks) => output::say(&compiled.circuit),
        Some(Stage::TensorDot) => output::say(&compiled.graph.dot()),
        Some(Stage::Plan) => output::say(&hecc_plan::print(&compiled.plan)),
        Some(Stage::Dot | Stage::Html) | None => {
            let report = Report::new(&compiled.plan, Some(&source), &table, args.threads)?;
            output::say(&match args.emit {
                Some(Stage::Dot) => dot::draw(&report),
                Some(Stage::Html) => html::draw(&report),
                _ if args.json => json(&report)?,
                _ => summary(&report),
            })
        }
    }
}

/// Writes a plan of integers where asked, and prints a stage or the summary.
fn integer_plan(args: &Args, compiled: &tfhe::Compiled, source: &str, table: &CostTable, early: Option<String>) -> Result<(), Failure> {
    let (plan, prices) = (&compiled.plan, table.prices());
    if let Some(path) = &args.output {
        files::write_text(path, &hecc_plan::write_tfhe(plan))?;
    }
    let drawing = Drawing { plan, source: Some(source), prices, machine: &table.machine.cpu, threads: args.threads };
    match args.emit {
        Some(Stage::Ast | Stage::Hir) => output::say(&early.unwrap_or_default()),
        Some(Stage::Tensor) => output::say(&compiled.graph.print()),
        Some(Stage::TensorDot) => output::say(&compiled.graph.dot()),
        Some(Stage::Plan) => output::say(&hecc_plan::tfhe::print(plan)),
        Some(Stage::Ckks) => Err(Failure::wrong_use("a plan of TFHE has no stage `ckks`; `--emit plan` shows what it has")),
        Some(Stage::Dot) => output::say(&drawing.dot()),
        Some(Stage::Html) => output::say(&drawing.html()),
        None if args.json => {
            output::say(&serde_json::to_string(&integers::Summary::new(plan, prices, args.threads)).map_err(Failure::machine)?)
        }
        None => output::say(&integers::summary(plan, prices, args.threads)),
    }
}

fn json(report: &Report<'_>) -> Result<String, Failure> {
    let acting = integers::acting::Summary::new(report.plan.training.as_ref(), &report.prices, report.threads);
    let summary = Summary::new(counts(report.plan), &report.prediction, report.precision_bits(), acting);
    serde_json::to_string(&summary).map_err(Failure::machine)
}

fn summary(report: &Report<'_>) -> String {
    let plan = report.plan;
    let c = counts(plan);
    let mut rows = vec![
        ("ring", format!("2^{} ({} slots)", c.log_n, plan.geometry.slots())),
        ("security", format!("{} bits (modulus of {} bits)", c.security_bits, plan.ckks.log_modulus)),
        ("depth", format!("{} bits", c.depth_bits)),
        ("multiplications", format!("{} ({} relinearisations)", mean(c.multiplications), mean(c.relinearisations))),
        ("by plaintexts", mean(c.plaintext_multiplications)),
        ("rotations", mean(c.rotations)),
        ("bootstraps", bootstraps(plan)),
        ("refreshes", format!("{} per update", mean(c.refreshes_per_update))),
        ("keys", format!("{} for rotations, {} in all", c.rotation_keys, bytes(c.key_bytes))),
        ("to the server", format!("{} per update", bytes(c.bytes_to_server_per_update))),
        ("to the client", format!("{} per update", bytes(c.bytes_to_client_per_update))),
    ];
    rows.extend(plan.decisions.iter().find(|d| d.subject == "what crosses").map(|d| ("crosses", d.choice.clone())));
    let named = |name| match name {
        "per update" => "predicted time",
        "keys" => "making keys",
        other => other,
    };
    rows.extend(text::predicted(report).into_iter().map(|(name, value)| (named(name), value)));
    rows.extend(integers::acting::rows(plan.training.as_ref(), text::TRAINS, &report.prices, report.threads));
    let mut text = table(&rows);
    for note in &plan.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// How many bootstraps the updates of a period take together.
fn bootstraps(plan: &Plan) -> String {
    let count = plan.steps.iter().filter(|step| matches!(step.op, Op::Bootstrap(_))).count();
    match plan.updates() {
        1 => format!("{count} per update"),
        updates => format!("{count} per {updates} updates"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summarys_keys_are_stable() {
        let text = serde_json::to_value(Summary::new(Counts::default(), &Prediction::default(), None, None)).expect("serialises");
        let keys: Vec<&str> = text.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut wanted = [
            "predicted_seconds_per_update",
            "predicted_client_seconds",
            "predicted_link_seconds",
            "predicted_peak_bytes",
            "predicted_precision_bits",
            "log_n",
            "security_bits",
            "depth_bits",
            "multiplications",
            "plaintext_multiplications",
            "rotations",
            "bootstraps_per_update",
            "refreshes_per_update",
            "rotation_keys",
            "key_bytes",
            "bytes_to_server_per_update",
            "bytes_to_client_per_update",
        ];
        wanted.sort_unstable();
        assert_eq!(keys, wanted);
    }
}
