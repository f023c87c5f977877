//! Every code that any part of hecc can show has a page, and every page a code.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hecc_compiler::diagnostics::{CODES, page};

/// Codes in the texts of a folder, but for the list of pages itself.
fn codes(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            codes(&path, found);
        } else if path.extension().is_some_and(|x| x == "rs") && !path.ends_with("diagnostics/codes.rs") {
            let text = fs::read_to_string(&path).expect("a source is readable");
            found.extend(text.match_indices("HE").filter_map(|(at, _)| {
                let code = text.get(at..at + 6)?;
                code[2..].bytes().all(|b| b.is_ascii_digit()).then(|| code.to_owned())
            }));
        }
    }
}

#[test]
fn every_code_in_the_sources_has_a_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeSet::new();
    for folder in ["src", "compiler/src", "plan/src", "runtime/src", "audit/src"] {
        codes(&root.join(folder), &mut found);
    }
    let listed: BTreeSet<String> = CODES.iter().map(|code| (*code).to_owned()).collect();
    assert_eq!(found, listed, "left: codes in the sources, right: codes with a page");
    for code in CODES {
        let text = page(code).expect("a listed code has a page");
        assert!(text.starts_with(&format!("# {code}: ")), "{code}");
        assert!(text.lines().all(|line| line.chars().count() <= 140), "{code} has a long line");
    }
}
