//! The `hecc` command.

mod cli;
mod commands;
mod compile;
mod failure;
mod files;
mod output;
mod progress;

fn main() -> std::process::ExitCode {
    cli::main()
}
