//! Programs, plans and arrays on disk.

use std::path::Path;

use hecc_plan::{AnyPlan, Tensors};
use hecc_runtime::arrays;
use hecc_runtime::session::store::{self, Access};

use crate::compile;
use crate::failure::Failure;

/// The text of a program.
///
/// # Errors
/// If the file cannot be read or is no text.
pub fn source(path: &Path) -> Result<String, Failure> {
    text(path, bytes(path)?)
}

/// The text of a program, for what a plan does not hold.
///
/// # Errors
/// If the file cannot be read, is no text or is a plan.
pub fn program(path: &Path) -> Result<String, Failure> {
    let bytes = bytes(path)?;
    if is_plan(path, &bytes) {
        return Err(Failure::wrong_use(format!(
            "{} is a plan, which holds polynomials and no exact functions; `--backend exact` takes the program it was compiled from",
            path.display()
        )));
    }
    text(path, bytes)
}

/// The plan in a file: a plan itself, or what its program compiles to.
///
/// # Errors
/// If the file cannot be read, or holds neither.
pub fn plan(path: &Path) -> Result<AnyPlan, Failure> {
    Ok(plan_and_source(path, &compile::Options::default())?.0)
}

/// [`plan`] of a program that is to be compiled again, if it is.
///
/// # Errors
/// As [`plan`], and if a plan is to be compiled again.
pub fn plan_for(path: &Path, again: Option<&compile::Options>) -> Result<AnyPlan, Failure> {
    match again {
        None => plan(path),
        Some(options) => Ok(compile::compile(path, &program(path)?, options)?.into_plan()),
    }
}

/// [`plan`], and the program's text where the file holds one, compiled as asked for.
///
/// # Errors
/// As [`plan`].
pub fn plan_and_source(path: &Path, options: &compile::Options) -> Result<(AnyPlan, Option<String>), Failure> {
    let bytes = bytes(path)?;
    if is_plan(path, &bytes) {
        return Ok((hecc_plan::read_any(&bytes)?, None));
    }
    let source = text(path, bytes)?;
    Ok((compile::compile(path, &source, options)?.into_plan(), Some(source)))
}

/// A program never starts with a brace, and a plan always does.
fn is_plan(path: &Path, bytes: &[u8]) -> bool {
    path.extension().is_none_or(|e| e != "rl") && bytes.trim_ascii_start().first() == Some(&b'{')
}

/// The arrays in a safetensors file.
///
/// # Errors
/// If the file cannot be read or is damaged.
pub fn arrays(path: &Path) -> Result<Tensors, Failure> {
    arrays::read(&bytes(path)?).map_err(|error| Failure::arrays(path, &error))
}

/// Writes arrays that may be secret: only their owner may read the file.
///
/// # Errors
/// If the file cannot be written; it is then as it was.
pub fn write_arrays(path: &Path, tensors: &Tensors) -> Result<(), Failure> {
    let bytes = arrays::write(tensors, None).map_err(|error| Failure::file("write", path, error))?;
    store::write(path, &bytes, Access::Owner).map_err(|error| Failure::file("write", path, error))
}

/// Writes a text that is no secret.
///
/// # Errors
/// If the file cannot be written; it is then as it was.
pub fn write_text(path: &Path, text: &str) -> Result<(), Failure> {
    write_bytes(path, text.as_bytes())
}

/// Writes bytes that are no secret.
///
/// # Errors
/// If the file cannot be written; it is then as it was.
pub fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    store::write(path, bytes, Access::Usual).map_err(|error| Failure::file("write", path, error))
}

fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::file("read", path, error))
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Failure> {
    let text = String::from_utf8(bytes).map_err(|_| Failure::program(format!("error: {} is not a text in UTF-8", path.display())))?;
    // No program starts with this word, and what `--emit plan` prints does.
    if text.starts_with("plan ") {
        return Err(Failure::wrong_use(format!(
            "{} is a plan as `--emit plan` prints it, to be read by people; `hecc compile PROGRAM -o PLAN` writes one that runs",
            path.display()
        )));
    }
    Ok(text)
}
