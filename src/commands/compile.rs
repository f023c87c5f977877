//! `hecc compile`: a program to its plan, and what that costs.

use std::path::PathBuf;

use clap::ValueEnum;
use hecc_plan::Plan;
use hecc_plan::counts::{Counts, counts};
use serde::Serialize;

use crate::failure::Failure;
use crate::output::{bytes, table};
use crate::{compile, files, output};

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
    Dot,
}

/// The summary's stable keys.
#[derive(Debug, Serialize)]
struct Summary {
    log_n: u32,
    security_bits: u32,
    depth_bits: u32,
    multiplications: u64,
    plaintext_multiplications: u64,
    rotations: u64,
    bootstraps_per_update: u64,
    refreshes_per_update: u64,
    rotation_keys: u64,
    key_bytes: u64,
    bytes_to_server_per_update: u64,
    bytes_to_client_per_update: u64,
}

impl From<Counts> for Summary {
    fn from(counts: Counts) -> Self {
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
        Some(Stage::Tensor | Stage::Ckks | Stage::Plan | Stage::Dot) | None => None,
    };
    if let (Some(text), None) = (&early, &args.output) {
        return output::say(text);
    }
    let compiled = compile::compile(&args.file, &source)?;
    if let Some(path) = &args.output {
        files::write_text(path, &hecc_plan::write(&compiled.plan))?;
    }
    match args.emit {
        Some(Stage::Ast | Stage::Hir) => output::say(&early.unwrap_or_default()),
        Some(Stage::Tensor) => output::say(&compiled.graph.print()),
        Some(Stage::Ckks) => output::say(&compiled.circuit),
        Some(Stage::Dot) => output::say(&compiled.graph.dot()),
        Some(Stage::Plan) => output::say(&hecc_plan::print(&compiled.plan)),
        None if args.json => output::say(&json(&compiled.plan)?),
        None => output::say(&summary(&compiled.plan)),
    }
}

fn json(plan: &Plan) -> Result<String, Failure> {
    serde_json::to_string(&Summary::from(counts(plan))).map_err(Failure::machine)
}

fn summary(plan: &Plan) -> String {
    let c = counts(plan);
    let mut text = table(&[
        ("ring", format!("2^{} ({} slots)", c.log_n, plan.geometry.slots())),
        ("security", format!("{} bits (modulus of {} bits)", c.security_bits, plan.ckks.log_modulus)),
        ("depth", format!("{} bits", c.depth_bits)),
        ("multiplications", format!("{} ({} relinearisations)", c.multiplications, c.relinearisations)),
        ("by plaintexts", c.plaintext_multiplications.to_string()),
        ("rotations", c.rotations.to_string()),
        ("bootstraps", format!("{} per update", c.bootstraps_per_update)),
        ("refreshes", format!("{} per update", c.refreshes_per_update)),
        ("keys", format!("{} for rotations, {} in all", c.rotation_keys, bytes(c.key_bytes))),
        ("to the server", format!("{} per update", bytes(c.bytes_to_server_per_update))),
        ("to the client", format!("{} per update", bytes(c.bytes_to_client_per_update))),
    ]);
    for note in &plan.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summarys_keys_are_stable() {
        let text = serde_json::to_value(Summary::from(Counts::default())).expect("serialises");
        let keys: Vec<&str> = text.as_object().expect("an object").keys().map(String::as_str).collect();
        let mut wanted = [
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
