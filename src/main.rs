//! The `hecc` command.

mod calibrate_program;
mod cli;
mod commands;
mod compile;
mod costs;
mod failure;
mod files;
mod integers;
mod link;
mod output;
mod predicted;
mod progress;
mod report;
mod step_size;
mod study;
mod trainee;

// Ciphertexts are megabytes large and short-lived: the system's allocator would map and unmap each of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    cli::main()
}
