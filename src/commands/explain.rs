//! `hecc explain`: the page of an error code.

use crate::failure::Failure;
use crate::{compile, output};

/// Prints the page.
///
/// # Errors
/// If there is no such code.
pub fn run(code: &str) -> Result<(), Failure> {
    match compile::page(&code.to_uppercase()) {
        Some(page) => output::say(page),
        None => Err(Failure::wrong_use(format!("no error has the code `{code}`; codes look like HE0203"))),
    }
}
