//! The `hecc` command.

mod calibrate_program;
mod cli;
mod commands;
mod compile;
mod costs;
mod failure;
mod files;
mod output;
mod predicted;
mod progress;
mod report;

fn main() -> std::process::ExitCode {
    cli::main()
}
