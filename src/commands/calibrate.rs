//! `hecc calibrate`: what operations take on this machine, or the ranges that a program's values have.

use std::path::PathBuf;

use hecc_runtime::calibrate::{self, Options};

use crate::calibrate_program::calibrate_program;
use crate::failure::Failure;
use crate::{costs, files, output};

/// What `hecc calibrate` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The program whose ranges are measured in the clear, for its next compilation
    #[arg(value_name = "FILE", conflicts_with = "machine")]
    file: Option<PathBuf>,
    /// Arrays to run the program on, instead of its environment
    #[arg(long, value_name = "FILE.safetensors", requires = "file")]
    data: Option<PathBuf>,
    /// Updates of the program, instead of its own number
    #[arg(long, requires = "file")]
    updates: Option<usize>,
    /// Measure this machine: every operation of a plan, by ring degree and width
    #[arg(long)]
    machine: bool,
    /// A minute instead of ten: fewer widths, fewer repeats
    #[arg(long)]
    quick: bool,
    /// Leave the bootstraps out, or measure only them and keep the rest of the table
    #[arg(long, value_enum, default_value_t = Part::With, requires = "machine")]
    bootstraps: Part,
    /// Leave lookups of integers out, or measure only them and keep the rest of the table
    #[arg(long, value_enum, default_value_t = Part::With, requires = "machine")]
    lookups: Part,
    /// Where the table goes [default: the user's data folder, where later commands find it]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Smallest and largest log2 of the ring degree
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"], default_values_t = [12, 16], value_parser = clap::value_parser!(u32).range(12..=16))]
    rings: Vec<u32>,
    /// Threads of the machine; 0 for all cores
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// What `--machine` does about a part of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Measure it too: bootstraps take half a minute each, the keys included, lookups a second
    With,
    /// Leave it out
    Without,
    /// Measure nothing else, and add it to the table
    Only,
}

/// Measures, and writes the table or the ranges.
///
/// # Errors
/// If the library fails, or the table cannot be written.
pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(file) = &args.file {
        return calibrate_program(file, args.data.as_deref(), args.updates);
    }
    if !args.machine {
        return Err(Failure::wrong_use("name a program whose ranges are to be measured, or say `--machine`"));
    }
    let [from, to] = args.rings[..] else { return Err(Failure::wrong_use("`--rings` takes two numbers")) };
    if from > to {
        return Err(Failure::wrong_use(format!("there is no ring between 2^{from} and 2^{to}")));
    }
    let path = match &args.out {
        Some(path) => path.clone(),
        None => costs::user_file().ok_or_else(|| Failure::machine("this user has no data folder; name a file with `--out`"))?,
    };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Failure::file("make the folder of", &path, error))?;
    }
    let (bootstraps, lookups) = (args.bootstraps == Part::With, args.lookups == Part::With);
    let options = Options { log_n: (from, to), quick: args.quick, threads: args.threads, bootstraps, lookups };
    let mut progress = |what: &str| output::complain(what);
    let table = if args.bootstraps == Part::Only || args.lookups == Part::Only {
        let mut table = costs::table(args.out.as_deref().filter(|path| path.exists()))?.into_owned();
        if args.bootstraps == Part::Only {
            table.bootstraps.extend(calibrate::bootstraps(&options, &mut progress)?);
        }
        if args.lookups == Part::Only {
            table.lookups = Some(calibrate::lookups(&options, &mut progress)?);
        }
        table
    } else {
        calibrate::machine(&options, &mut progress)?
    };
    files::write_text(&path, &table.write())?;
    output::complain(&format!("{} ({}, {} threads): {}", table.machine.cpu, table.machine.kernels, table.machine.threads, path.display()));
    Ok(())
}
