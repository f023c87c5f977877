//! The `hecc` command.

mod calibrate_program;
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
