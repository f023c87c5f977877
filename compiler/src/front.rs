//! The front of the compiler: text in, a checked program out.

use crate::check::{self, hir};
use crate::diagnostics::Diagnostic;
use crate::syntax::{self, ast};

/// Parses a program. Every syntax error of the text is reported.
pub fn parse(source: &str) -> Result<ast::Program, Vec<Diagnostic>> {
    syntax::parse(source).map_err(|errors| errors.iter().map(Diagnostic::from).collect())
}

/// Parses and checks a program. Every error of the first stage that finds one is reported.
pub fn check(source: &str) -> Result<hir::Program, Vec<Diagnostic>> {
    let program = parse(source)?;
    check::check(&program).map_err(|errors| errors.iter().map(Diagnostic::from).collect())
}

/// Formats a program: `hecc fmt`.
pub fn format(source: &str) -> Result<String, Vec<Diagnostic>> {
    parse(source).map(|program| syntax::print::run(&program, source))
}

/// The text of a module of the standard library: `hecc std dqn`.
pub fn std_source(name: &str) -> Option<&'static str> {
    crate::library::source(name)
}
