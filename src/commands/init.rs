//! `hecc init`: the weights that a run starts from.

use std::path::PathBuf;

use hecc_plan::tfhe::Public;
use hecc_plan::{AnyPlan, Arrays, Interface, Span, State, StateInit, Tensor};

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
    let interface = match &plan {
        AnyPlan::Ckks(plan) => Interface::from(&**plan),
        AnyPlan::Tfhe(plan) => Interface::from(&**plan),
    };
    let (public, fixed) = match interface.public {
        Arrays::Given(arrays) => (arrays, [].as_slice()),
        Arrays::Fixed(arrays) => ([].as_slice(), arrays),
    };
    let seed = args.seed.unwrap_or_else(|| interface.training.map_or(0, |t| t.run.seed));
    let public = public.iter().enumerate().map(|(index, (name, shape))| State {
        name: name.clone(),
        shape: shape.clone(),
        init: if shape.len() > 1 { StateInit::Orthogonal { gain: 1.0, stream: index as u64 } } else { StateInit::Constant(0.0) },
        span: Span::default(),
    });
    let states: Vec<State> = interface.states.iter().cloned().chain(public).collect();
    let mut tensors = hecc_plan::init::initial_states(&states, seed);
    let values = |public: &Public| Tensor::new(public.shape.clone(), public.values.iter().map(|v| f64::from(*v)).collect());
    tensors.extend(fixed.iter().map(|public| (public.name.clone(), values(public))));
    files::write_arrays(&args.output, &tensors)?;
    let numbers: usize = tensors.values().map(|t| t.data.len()).sum();
    output::complain(&format!("{} arrays, {numbers} numbers, seed {seed}: {}", tensors.len(), args.output.display()));
    Ok(())
}
