//! What the command takes, and which file answers it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use hecc_runtime::engine;

use crate::calibrate_program::calibrate_program;
use crate::commands::{check, compile, explain, fmt, init, library, run, train};
use crate::output;

const EXIT_CODES: &str = "\
Exit status: 0 success · 1 an error in the program · 2 wrong use of the command or data that do not fit the plan · \
3 a failure of the machine or of a peer (files, damaged plans and checkpoints, keys, messages) · 130 interrupted by Ctrl-C";

/// Trains reinforcement-learning policies on encrypted data.
#[derive(Debug, Parser)]
#[command(name = "hecc", version, about, after_help = EXIT_CODES, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check programs and report all their errors
    Check {
        /// Programs
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Lay programs out in the one style, in place
    Fmt {
        /// Change nothing; name the programs that would change and exit with 1
        #[arg(long)]
        check: bool,
        /// Programs
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Compile a program and say what its plan costs
    Compile(compile::Args),
    /// Train on encrypted transitions
    Train(train::Args),
    /// Run one update, or one evaluation, on given arrays
    Run(run::Args),
    /// Write a program's initial weights
    Init(init::Args),
    /// Print a source of the standard library, or list them
    Std {
        /// Which, such as `dqn`
        name: Option<String>,
    },
    /// Measure the ranges of a program in the clear, for its next compilation
    Calibrate {
        /// The program
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Arrays to run on, instead of the program's environment
        #[arg(long, value_name = "FILE.safetensors")]
        data: Option<PathBuf>,
        /// Updates, instead of the program's number
        #[arg(long)]
        updates: Option<usize>,
    },
    /// Explain an error code
    Explain {
        /// The code, such as `HE0203`
        code: String,
    },
}

/// What carries the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// CKKS ciphertexts
    Ckks,
    /// Plain numbers through the same steps: no secrecy, for tests and development
    Clear,
}

impl Backend {
    /// The engine's name for it.
    pub fn engine(self) -> engine::Backend {
        match self {
            Backend::Ckks => engine::Backend::Ckks,
            Backend::Clear => engine::Backend::Clear,
        }
    }

    /// As the user writes it.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Ckks => "ckks",
            Backend::Clear => "clear",
        }
    }
}

/// Runs the command.
pub fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check { files } => check::run(&files),
        Command::Fmt { check, files } => fmt::run(check, &files),
        Command::Compile(args) => compile::run(&args),
        Command::Train(args) => train::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Std { name } => library::run(name.as_deref()),
        Command::Calibrate { file, data, updates } => calibrate_program(&file, data.as_deref(), updates),
        Command::Explain { code } => explain::run(&code),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(failure.message());
            ExitCode::from(failure.status())
        }
    }
}
