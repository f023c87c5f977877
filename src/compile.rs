//! The compiler, as the commands use it: a path for messages, errors rendered.

use std::fmt::Write;
use std::io::IsTerminal;
use std::path::Path;

use hecc_compiler::diagnostics::{self, Diagnostic};
use hecc_compiler::rehearsal::Rehearsal;
pub use hecc_compiler::{AnyCompiled, MemoryLimit, Options};
use hecc_plan::calibration::Calibration;

use crate::calibrate_program::ranges_path;
use crate::failure::Failure;
use crate::output;

/// Names of the standard library's sources.
pub const LIBRARY: &[&str] = &hecc_compiler::library::NAMES;

/// Compiles a program, as asked for, with the ranges beside it if there are any.
///
/// # Errors
/// Its errors, rendered.
pub fn compile(path: &Path, source: &str, options: &Options) -> Result<AnyCompiled, Failure> {
    let calibration = calibration(path, source);
    let compiled = rendered(path, source, hecc_compiler::compile_any(source, options, calibration.as_ref()))?;
    if let AnyCompiled::Ckks(compiled) = &compiled
        && !compiled.warnings.is_empty()
    {
        output::complain(&diagnostics::render(&compiled.warnings, source, &path.display().to_string(), color()));
    }
    Ok(compiled)
}

/// Compiles a program for who wants to know why it does not, not to be told.
///
/// # Errors
/// Its errors.
pub fn quietly(path: &Path, source: &str) -> Result<AnyCompiled, Vec<Diagnostic>> {
    hecc_compiler::compile_any(source, &Options::default(), calibration(path, source).as_ref())
}

/// Errors that are shown at a time: more than these are mostly of a file that is no program.
const SHOWN: usize = 20;

/// The errors of a program as a failure.
pub fn told(path: &Path, source: &str, errors: &[Diagnostic]) -> Failure {
    let shown = &errors[..errors.len().min(SHOWN)];
    let mut text = diagnostics::render(shown, source, &path.display().to_string(), color());
    if errors.len() > SHOWN {
        let _ = write!(text, "... and {} more", errors.len() - SHOWN);
    }
    Failure::program(text)
}

/// The ranges beside a program. Ones that are not its own any more are left alone, with a warning.
fn calibration(path: &Path, source: &str) -> Option<Calibration> {
    let ranges = ranges_path(path);
    let bytes = std::fs::read(&ranges).ok()?;
    match Calibration::read(&bytes, &hecc_compiler::fingerprint(source)) {
        Ok(calibration) => Some(calibration),
        Err(error) => {
            output::complain(&format!("warning: {} is not used: {error}", ranges.display()));
            None
        }
    }
}

/// Prepares a program's run in the clear.
///
/// # Errors
/// Its errors, rendered.
pub fn rehearsal(path: &Path, source: &str) -> Result<Rehearsal, Failure> {
    rendered(path, source, hecc_compiler::rehearsal::run(source))
}

/// Checks a program.
///
/// # Errors
/// Its errors, rendered.
pub fn check(path: &Path, source: &str) -> Result<(), Failure> {
    rendered(path, source, hecc_compiler::check(source)).map(drop)
}

/// The program in the one layout.
///
/// # Errors
/// Its syntax errors, rendered.
pub fn format(path: &Path, source: &str) -> Result<String, Failure> {
    rendered(path, source, hecc_compiler::format(source))
}

/// The program as parsed, printed.
///
/// # Errors
/// Its syntax errors, rendered.
pub fn ast(path: &Path, source: &str) -> Result<String, Failure> {
    rendered(path, source, hecc_compiler::parse(source)).map(|program| hecc_compiler::syntax::dump::run(&program))
}

/// The program as checked, printed.
///
/// # Errors
/// Its errors, rendered.
pub fn hir(path: &Path, source: &str) -> Result<String, Failure> {
    rendered(path, source, hecc_compiler::check(source)).map(|program| hecc_compiler::check::dump::run(&program))
}

/// A source of the standard library.
pub fn library(name: &str) -> Option<&'static str> {
    hecc_compiler::std_source(name)
}

/// The page of an error code.
pub fn page(code: &str) -> Option<&'static str> {
    diagnostics::page(code)
}

fn rendered<T>(path: &Path, source: &str, result: Result<T, Vec<Diagnostic>>) -> Result<T, Failure> {
    result.map_err(|errors| told(path, source, &errors))
}

fn color() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}
