//! Text to [`Program`]: the scan, then the grammar, then the tree.

use pest::Parser;

use super::ast::Program;
use super::build::Builder;
use super::error::SyntaxError;
use super::scan;

/// The parser that pest makes of the grammar.
#[allow(missing_docs)]
pub(super) mod grammar {
    /// Parser of `grammar/rl.pest`.
    #[derive(pest_derive::Parser)]
    #[grammar = "../../grammar/rl.pest"]
    pub struct Grammar;
}

use grammar::{Grammar, Rule};

/// Parses a source text. Never panics; every error of the text is in the list, in source order.
pub fn run(source: &str) -> Result<Program, Vec<SyntaxError>> {
    let scan = scan::run(source);
    let mut errors = scan.errors;
    let mut program = Program { items: Vec::new(), comments: scan.comments };
    if scan.usable {
        let mut builder = Builder::new(&scan.text, &errors);
        match Grammar::parse(Rule::file, &scan.text) {
            Ok(pairs) => program.items = builder.file(pairs),
            // `file` takes any text: what no item matches is junk.
            Err(error) => builder.refused(error),
        }
        errors.extend(builder.errors);
    }
    if errors.is_empty() {
        return Ok(program);
    }
    errors.sort_by_key(|error| (error.span(), error.code()));
    errors.dedup();
    errors.truncate(scan::MAX_ERRORS);
    Err(errors)
}
