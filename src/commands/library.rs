//! `hecc std`: the standard library's sources.

use crate::failure::Failure;
use crate::{compile, output};

/// Prints one source, or the names of all.
///
/// # Errors
/// If there is none of that name.
pub fn run(name: Option<&str>) -> Result<(), Failure> {
    let Some(name) = name else { return output::say(&compile::LIBRARY.join("\n")) };
    let name = name.strip_prefix("std.").unwrap_or(name);
    match compile::library(name) {
        Some(source) => output::say(source),
        None => Err(Failure::wrong_use(format!("no `std.{name}`; there are {}", compile::LIBRARY.join(", ")))),
    }
}
