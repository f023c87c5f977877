//! `hecc run`: one update, or one evaluation, on given arrays.

use std::path::PathBuf;
use std::sync::Arc;

use hecc_plan::AnyPlan;
use hecc_runtime::engine::Engine;
use hecc_runtime::session::{intake, policy, ranges};

use crate::cli::Backend;
use crate::failure::Failure;
use crate::predicted::Expected;
use crate::progress::Keys;
use crate::{costs, files, integers, output};

/// What `hecc run` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A plan or a program
    file: PathBuf,
    /// The batch and the weights, by name, in the environment's units
    #[arg(long, value_name = "FILE.safetensors")]
    inputs: PathBuf,
    /// Where new weights and results go
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
    /// What carries the values [default: ciphertexts of the plan's scheme]
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// Threads; 0 for all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Runs the plan once and writes its new states and results.
///
/// # Errors
/// If the plan or the arrays are refused, or the run fails; the output file is then as it was.
pub fn run(args: &Args) -> Result<(), Failure> {
    let plan = match files::plan(&args.file)? {
        AnyPlan::Ckks(plan) => *plan,
        AnyPlan::Tfhe(plan) => {
            let backend = args.backend.unwrap_or(Backend::Tfhe).integers()?;
            return integers::run(*plan, backend, &args.inputs, &args.out, costs::table(None)?.prices(), args.threads);
        }
    };
    let backend = args.backend.unwrap_or(Backend::Ckks);
    let carrier = backend.slots()?;
    let mut given = intake::sort(&plan, files::arrays(&args.inputs)?)?;
    if !given.unused.is_empty() {
        output::complain(&format!("note: the plan has no use for {}", given.unused.join(", ")));
    }
    for out in ranges::clipped(&plan.client, &given.batch) {
        output::complain(&format!("warning: {out}; clipped"));
    }
    let expected = Expected::of(&plan, args.threads)?;
    let mut keys = Keys::start();
    let mut engine = Engine::new(Arc::new(plan), carrier, given.public, args.threads, &mut |done, total| keys.made(done, total))?;
    keys.finish();
    let update = engine.update(&given.batch, &mut given.states)?;
    for outgrown in &update.outgrown {
        output::complain(&format!("warning: {outgrown}; clipped"));
    }
    engine.fetch(&mut given.states)?;
    let mut arrays = given.states;
    arrays.extend(update.results);
    if backend == Backend::Ckks {
        arrays.values_mut().for_each(|array| *array = policy::rounded(array));
    }
    files::write_arrays(&args.out, &arrays)?;
    output::complain(&format!(
        "{} in {} (server {}): {} to the server, {} to the client",
        backend.name(),
        output::seconds(update.seconds),
        output::seconds(update.server_seconds),
        output::bytes(update.bytes_to_server),
        output::bytes(update.bytes_to_client),
    ));
    if backend == Backend::Ckks {
        output::complain(&output::table(&expected.beside(update.seconds, update.server_seconds)));
    }
    Ok(())
}
