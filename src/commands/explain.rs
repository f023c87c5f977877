//! `hecc explain`: a plan (what was decided and why, where time goes, who learns what), or the page of an error code.

use std::path::{Path, PathBuf};

use hecc_plan::AnyPlan;

use crate::compile::Options;
use crate::failure::Failure;
use crate::link::LinkArgs;
use crate::report::{Report, text};
use crate::{compile, costs, files, integers, output};

/// What `hecc explain` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A program, a plan, or a code such as `HE0203`
    #[arg(value_name = "FILE|CODE")]
    subject: String,
    /// Say what the server and the client learn
    #[arg(long)]
    leakage: bool,
    /// Table of costs to predict with [default: this user's, or the built-in one]
    #[arg(long, value_name = "FILE")]
    costs: Option<PathBuf>,
    #[command(flatten)]
    link: LinkArgs,
    /// Threads to predict for; 0 for all of the table's machine
    #[arg(long, default_value_t = 0)]
    threads: usize,
}

/// Prints the page or the report.
///
/// # Errors
/// If there is no such code or file, or the program has errors.
pub fn run(args: &Args) -> Result<(), Failure> {
    if let Some(page) = compile::page(&args.subject.to_uppercase()).filter(|_| !args.leakage) {
        return output::say(page);
    }
    let path = Path::new(&args.subject);
    if path.extension().is_none() && !path.exists() {
        return Err(Failure::wrong_use(format!(
            "no error has the code `{}`, and there is no such file; codes look like HE0203",
            args.subject
        )));
    }
    let mut table = costs::table(args.costs.as_deref())?;
    let options = Options { costs: args.link.apply(&mut table, None), ..Options::default() };
    let (plan, source) = files::plan_and_source(path, &options)?;
    let plan = match plan {
        AnyPlan::Ckks(plan) => plan,
        AnyPlan::Tfhe(plan) if args.leakage => return output::say(&integers::leakage(&plan)),
        AnyPlan::Tfhe(plan) => return output::say(&integers::explain(&plan, source.as_deref(), table.prices(), args.threads)),
    };
    let report = Report::new(&plan, source.as_deref(), &table, args.threads)?;
    output::say(&if args.leakage { text::leakage(&report) } else { text::explain(&report) })
}
