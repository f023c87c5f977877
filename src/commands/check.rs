//! `hecc check`: all errors of all programs.

use std::path::PathBuf;

use crate::failure::Failure;
use crate::{compile, files};

/// Checks every program; the errors of all of them are reported together.
///
/// # Errors
/// If a program has errors or a file cannot be read.
pub fn run(paths: &[PathBuf]) -> Result<(), Failure> {
    let mut errors = Vec::new();
    for path in paths {
        if let Err(failure) = files::source(path).and_then(|source| compile::check(path, &source)) {
            errors.push(failure);
        }
    }
    Failure::all(errors)
}
