//! `hecc run`: one update, or one evaluation, on given arrays.

use std::path::PathBuf;
use std::sync::Arc;

use hecc_runtime::engine::Engine;
use hecc_runtime::session::{intake, policy, ranges};

use crate::cli::Backend;
use crate::failure::Failure;
use crate::predicted::Expected;
use crate::progress::Keys;
use crate::{files, output};

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
    /// What carries the values
    #[arg(long, value_enum, default_value = "ckks")]
    backend: Backend,
    /// Threads; 0 for all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Runs the plan once and writes its new states and results.
///
/// # Errors
/// If the plan or the arrays are refused, or the run fails; the output file is then as it was.
pub fn run(args: &Args) -> Result<(), Failure> {
    let plan = files::plan(&args.file)?;
    let mut given = intake::sort(&plan, files::arrays(&args.inputs)?)?;
    if !given.unused.is_empty() {
        output::complain(&format!("note: the plan has no use for {}", given.unused.join(", ")));
    }
    for out in ranges::clipped(&plan.client, &given.batch) {
        output::complain(&format!("warning: {out}; clipped"));
    }
    let expected = Expected::of(&plan, args.threads)?;
    let mut keys = Keys::start();
    let mut engine =
        Engine::new(Arc::new(plan), args.backend.engine(), given.public, args.threads, &mut |done, total| keys.made(done, total))?;
    keys.finish();
    let update = engine.update(&given.batch, &mut given.states)?;
    let mut arrays = given.states;
    arrays.extend(update.results);
    if args.backend == Backend::Ckks {
        arrays.values_mut().for_each(|array| *array = policy::rounded(array));
    }
    files::write_arrays(&args.out, &arrays)?;
    output::complain(&format!(
        "{} in {} (server {}): {} to the server, {} to the client",
        args.backend.name(),
        output::seconds(update.seconds),
        output::seconds(update.server_seconds),
        output::bytes(update.bytes_to_server),
        output::bytes(update.bytes_to_client),
    ));
    if args.backend == Backend::Ckks {
        output::complain(&output::table(&expected.beside(update.seconds, update.server_seconds)));
    }
    Ok(())
}
