//! `hecc fmt`: the one layout.

use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::{compile, files};

/// Lays out every program in place, or names those that are not laid out.
///
/// # Errors
/// If a program does not parse, a file cannot be read or written, or with `check` if a program would change.
pub fn run(check: bool, paths: &[PathBuf]) -> Result<(), Failure> {
    let mut errors = Vec::new();
    for path in paths {
        if let Err(failure) = one(check, path) {
            errors.push(failure);
        }
    }
    Failure::all(errors)
}

fn one(check: bool, path: &Path) -> Result<(), Failure> {
    let source = files::source(path)?;
    let laid_out = compile::format(path, &source)?;
    if laid_out == source {
        return Ok(());
    }
    if check {
        return Err(Failure::program(format!("{} is not laid out; `hecc fmt` does it", path.display())));
    }
    // Through a link to the file itself, whose permissions stay.
    let failed = |error| Failure::file("write", path, error);
    let target = path.canonicalize().map_err(failed)?;
    let permissions = std::fs::metadata(&target).map_err(failed)?.permissions();
    files::write_text(&target, &laid_out)?;
    std::fs::set_permissions(&target, permissions).map_err(failed)
}
