//! `hecc init`: the weights that a run starts from.

use std::path::PathBuf;

use hecc_plan::{Span, State, StateInit};

use crate::failure::Failure;
use crate::{files, output};

/// What `hecc init` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A program or a plan
    file: PathBuf,
    /// Where the weights go
    #[arg(short, long, value_name = "WEIGHTS.safetensors")]
    output: PathBuf,
    /// Seed, instead of the program's own
    #[arg(long)]
    seed: Option<u64>,
}

/// Writes the initial weights. Public arrays of a served policy have no declared start: matrices are orthogonal,
/// vectors zero.
///
/// # Errors
/// If the program does not compile or the file cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    let plan = files::plan(&args.file)?;
    let seed = args.seed.unwrap_or_else(|| plan.training.as_ref().map_or(0, |t| t.run.seed));
    let public = plan.public.iter().enumerate().map(|(index, (name, shape))| State {
        name: name.clone(),
        shape: shape.clone(),
        init: if shape.len() > 1 { StateInit::Orthogonal { gain: 1.0, stream: index as u64 } } else { StateInit::Constant(0.0) },
        span: Span::default(),
    });
    let states: Vec<State> = plan.states.iter().cloned().chain(public).collect();
    let tensors = hecc_plan::init::initial_states(&states, seed);
    files::write_arrays(&args.output, &tensors)?;
    let numbers: usize = tensors.values().map(|t| t.data.len()).sum();
    output::complain(&format!("{} arrays, {numbers} numbers, seed {seed}: {}", tensors.len(), args.output.display()));
    Ok(())
}
