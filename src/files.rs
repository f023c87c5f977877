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

/// The plan in a file: a plan itself, or what its program compiles to.
///
/// # Errors
/// If the file cannot be read, or holds neither.
pub fn plan(path: &Path) -> Result<AnyPlan, Failure> {
    Ok(plan_and_source(path)?.0)
}

/// [`plan`], and the program's text where the file holds one.
///
/// # Errors
/// As [`plan`].
pub fn plan_and_source(path: &Path) -> Result<(AnyPlan, Option<String>), Failure> {
    let bytes = bytes(path)?;
    let named_program = path.extension().is_some_and(|e| e == "rl");
    // A program never starts with a brace, and a plan always does.
    if !named_program && bytes.trim_ascii_start().first() == Some(&b'{') {
        return Ok((hecc_plan::read_any(&bytes)?, None));
    }
    let source = text(path, bytes)?;
    Ok((compile::compile(path, &source)?.into_plan(), Some(source)))
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
    store::write(path, text.as_bytes(), Access::Usual).map_err(|error| Failure::file("write", path, error))
}

fn bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| Failure::file("read", path, error))
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes).map_err(|_| Failure::program(format!("error: {} is not a text in UTF-8", path.display())))
}
