//! `hecc run` of a plan of integers.

use std::path::Path;
use std::sync::Arc;

use hecc_plan::tfhe::Plan;
use hecc_plan::tfhe::prices::Prices;
use hecc_runtime::integers::{Backend, Engine};
use hecc_runtime::session::{intake, ranges};

use super::summary::predicted;
use crate::failure::Failure;
use crate::progress::Keys;
use crate::{files, output};

/// The two parties of a plan, with keys.
///
/// # Errors
/// If keys cannot be made.
pub fn engine(plan: &Arc<Plan>, backend: Backend, threads: usize) -> Result<Engine, Failure> {
    let mut keys = Keys::start();
    let engine = Engine::new(Arc::clone(plan), backend, threads, &mut |done, total| keys.made(done, total))?;
    keys.finish();
    Ok(engine)
}

/// Runs a plan once and writes its new states and results: exact integers times their scales, which need no rounding.
///
/// # Errors
/// If the plan or the arrays are refused, or the run fails; the output file is then as it was.
pub fn run(plan: Plan, backend: Backend, inputs: &Path, out: &Path, prices: &Prices, threads: usize) -> Result<(), Failure> {
    let mut given = intake::sort(&plan, files::arrays(inputs)?)?;
    if !given.unused.is_empty() {
        output::complain(&format!("note: the plan has no use for {}", given.unused.join(", ")));
    }
    for out in ranges::clipped(&plan.client, &given.batch) {
        output::complain(&format!("warning: {out}; clipped"));
    }
    let plan = Arc::new(plan);
    let mut engine = engine(&plan, backend, threads)?;
    let update = engine.update(&given.batch, &mut given.states)?;
    engine.fetch(&mut given.states)?;
    let mut arrays = given.states;
    arrays.extend(update.results);
    files::write_arrays(out, &arrays)?;
    let name = match backend {
        Backend::Tfhe => "tfhe",
        Backend::Clear => "clear",
    };
    output::complain(&format!(
        "{name} in {} (server {}): {} to the server, {} to the client",
        output::seconds(update.seconds),
        output::seconds(update.server_seconds),
        output::bytes(update.bytes_to_server),
        output::bytes(update.bytes_to_client),
    ));
    if backend == Backend::Tfhe {
        let expected = predicted(&plan, prices, threads).seconds;
        let off = 100.0 * (expected / update.server_seconds - 1.0);
        let row = format!("{} predicted, {} measured ({off:+.0} %)", output::seconds(expected), output::seconds(update.server_seconds));
        output::complain(&output::table(&[("server", row)]));
    }
    Ok(())
}
