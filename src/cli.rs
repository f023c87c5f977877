//! What the command takes, and which file answers it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use hecc_runtime::{engine, integers};

use crate::commands::{audit, calibrate, check, compile, explain, fmt, init, library, run, train};
use crate::failure::Failure;
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
    /// Measure what operations take on this machine, for predictions
    Calibrate(calibrate::Args),
    /// Attack a program's own gradients, and what the server of its encrypted plan sees: what would leak, measured
    Audit(audit::Args),
    /// Explain a plan (what was decided, where time goes, who learns what) or an error code
    Explain(explain::Args),
}

/// What carries the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    /// CKKS ciphertexts
    Ckks,
    /// TFHE ciphertexts
    Tfhe,
    /// Plain numbers through the same steps: no secrecy, for tests and development
    Clear,
    /// The program's own functions in plain numbers, without a plan: what training would be without encryption
    Exact,
}

impl Backend {
    /// What carries slots.
    ///
    /// # Errors
    /// If it carries integers.
    pub fn slots(self) -> Result<engine::Backend, Failure> {
        match self {
            Backend::Ckks => Ok(engine::Backend::Ckks),
            Backend::Clear => Ok(engine::Backend::Clear),
            Backend::Tfhe => Err(Failure::wrong_use("this is a plan of CKKS; run it with `--backend ckks` or `--backend clear`")),
            Backend::Exact => Err(no_plan()),
        }
    }

    /// What carries integers.
    ///
    /// # Errors
    /// If it carries slots.
    pub fn integers(self) -> Result<integers::Backend, Failure> {
        match self {
            Backend::Tfhe => Ok(integers::Backend::Tfhe),
            Backend::Clear => Ok(integers::Backend::Clear),
            Backend::Ckks => Err(Failure::wrong_use("this is a plan of TFHE; run it with `--backend tfhe` or `--backend clear`")),
            Backend::Exact => Err(no_plan()),
        }
    }

    /// As the user writes it.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Ckks => "ckks",
            Backend::Tfhe => "tfhe",
            Backend::Clear => "clear",
            Backend::Exact => "exact",
        }
    }
}

fn no_plan() -> Failure {
    Failure::wrong_use("exact functions run no plan; `hecc train --backend exact` takes a program")
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
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Audit(args) => audit::run(&args),
        Command::Std { name } => library::run(name.as_deref()),
        Command::Explain(args) => explain::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output::complain(failure.message());
            ExitCode::from(failure.status())
        }
    }
}
