//! Writes a page of made-up figures, to look at: `cargo run -p hecc-audit --example report -- DIR`.

use std::error::Error;
use std::path::PathBuf;

use hecc_audit::report::{html, text};

#[path = "../tests/report_support/mod.rs"]
#[allow(dead_code)]
mod report_support;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("give a folder")?);
    std::fs::create_dir_all(&folder)?;
    let sealed = report_support::report(vec![report_support::rooms(48), report_support::vectors()]).judged();
    let mut leaves = report_support::vectors();
    leaves.targets.push(report_support::leaving());
    let mut open = report_support::report(vec![leaves]);
    open.warnings.push("decrypted weights leave the client after each update: encryption does not help.".to_owned());
    let open = open.judged();
    for (name, report) in [("sealed", sealed), ("open", open)] {
        std::fs::write(folder.join(format!("{name}.html")), html::page(&report)?)?;
        std::fs::write(folder.join(format!("{name}.json")), report.json()?)?;
        println!("{}", text::text(&report));
    }
    Ok(())
}
