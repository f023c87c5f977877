//! The front of the compiler: valid programs, invalid programs, formatting.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hecc_compiler::check::dump;
use hecc_compiler::{Options, check, compile_any, diagnostics, format, library, parse, syntax};

fn files(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&root)
        .unwrap_or_else(|e| panic!("{}: {e}", root.display()))
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|x| x == "rl"))
        .collect();
    files.sort();
    files
}

fn name(path: &Path) -> String {
    path.file_stem().expect("a fixture has a name").to_string_lossy().into_owned()
}

#[test]
fn valid_programs_check() {
    for path in files("tests/programs") {
        let source = fs::read_to_string(&path).expect("a fixture is readable");
        let text = match check(&source) {
            Ok(program) => dump::run(&program),
            Err(list) => panic!("{}", diagnostics::render(&list, &source, &path.to_string_lossy(), false)),
        };
        insta::assert_snapshot!(format!("hir_{}", name(&path)), text);
        let ast = parse(&source).expect("what checks also parses");
        insta::assert_snapshot!(format!("ast_{}", name(&path)), syntax::dump::run(&ast));
    }
}

/// Folders of failing programs, by the stage that refuses them.
const FAILING: [(&str, &str); 5] = [
    ("syntax", "../tests/fail/syntax"),
    ("check", "../tests/fail/check"),
    ("lowering", "../tests/fail/lowering"),
    ("ckks", "../tests/fail/ckks"),
    ("tfhe", "../tests/fail/tfhe"),
];

fn errors(stage: &str, source: &str) -> Vec<diagnostics::Diagnostic> {
    match stage {
        "syntax" | "check" => check(source).map(drop),
        _ => compile_any(source, &Options::default(), None).map(drop),
    }
    .expect_err("a failing fixture fails")
}

#[test]
fn invalid_programs_say_why() {
    for (stage, folder) in FAILING {
        for path in files(folder) {
            let source = fs::read_to_string(&path).expect("a fixture is readable");
            let errors = errors(stage, &source);
            let text = diagnostics::render(&errors, &source, &format!("{}.rl", name(&path)), false);
            for error in errors.iter().filter(|e| e.code == "HE0301") {
                assert!(error.message.starts_with("not supported yet: "), "{}", error.message);
                assert!(error.labels.iter().all(|l| l.span.end > l.span.start), "{}: {}", path.display(), error.message);
            }
            insta::assert_snapshot!(format!("{stage}_{}", name(&path)), text);
        }
    }
}

#[test]
fn every_code_has_a_page_and_a_fixture() {
    let mut found = BTreeSet::new();
    for (stage, folder) in FAILING {
        for path in files(folder) {
            let source = fs::read_to_string(&path).expect("a fixture is readable");
            let errors = errors(stage, &source);
            let codes: BTreeSet<&str> = errors.iter().map(|error| error.code).collect();
            let own = name(&path)[..6].to_string();
            assert!(codes.contains(own.as_str()), "{} shows {codes:?}", path.display());
            found.insert(own);
        }
    }
    let large = " ".repeat(2 << 20);
    found.extend(check(&large).expect_err("too large").iter().map(|error| error.code.to_string()));
    // Only ever a warning, of programs that compile: `optimisers.rs` shows it.
    found.insert("HE0304".to_owned());
    // The plan's and the runtime's codes have tests of their own.
    let own: BTreeSet<String> = diagnostics::CODES.iter().filter(|code| **code < "HE05").map(|code| (*code).to_string()).collect();
    assert_eq!(found, own);
    for code in diagnostics::CODES {
        let page = diagnostics::page(code).expect("a code has a page");
        assert!(page.starts_with(&format!("# {code}: ")), "{code}");
    }
}

#[test]
fn formatting_is_idempotent_and_keeps_everything() {
    let mut sources: Vec<(String, String)> =
        files("tests/programs").iter().map(|p| (name(p), fs::read_to_string(p).expect("a fixture is readable"))).collect();
    sources.extend(library::NAMES.iter().map(|n| (format!("std_{n}"), library::source(n).expect("listed").to_string())));
    for (name, source) in sources {
        let once = format(&source).expect("it parses");
        let twice = format(&once).expect("what fmt writes parses");
        assert_eq!(once, twice, "{name}");
        let before = parse(&source).expect("it parses");
        let after = parse(&once).expect("it parses");
        let texts = |p: &syntax::ast::Program| p.comments.iter().map(|c| c.text.clone()).collect::<Vec<_>>();
        assert_eq!(texts(&before), texts(&after), "{name}");
        let strip = |p| syntax::dump::run(p).lines().map(|l| l.split(" @").next().unwrap_or("").to_string()).collect::<Vec<_>>();
        assert_eq!(strip(&before), strip(&after), "{name}");
        insta::assert_snapshot!(format!("fmt_{name}"), once);
    }
}

#[test]
fn comments_stay_wherever_they_stand() {
    let source = "// top\n\n\nuse std.dqn // behind\n// alone\nenv \"X\" { // brace\n  observe s: [2] in [-1, 1], // comma\n    [-2, 2] // second\n  // inside\n\n\n  act a: one of 2\n  reward r in [0, 1]\n  client { // c\n r <- r // d\n }\n // last\n}\nserve (s + // deep\n 1) // end\n// bottom";
    let once = format(source).expect("it parses");
    assert_eq!(format(&once).expect("it parses"), once);
    for comment in [
        "// top",
        "// behind",
        "// alone",
        "// brace",
        "// comma",
        "// second",
        "// inside",
        "// c\n",
        "// d",
        "// last",
        "// deep",
        "// end",
        "// bottom",
    ] {
        assert!(once.contains(comment), "{comment} in\n{once}");
    }
    insta::assert_snapshot!("fmt_comments", once);
}

#[test]
fn the_reference_parses() {
    let text = include_str!("../../grammar/README.md");
    let mut blocks = 0;
    for block in text.split("```rl\n").skip(1) {
        let code = block.split("```").next().expect("a block ends");
        if let Err(list) = parse(code) {
            panic!("{}", diagnostics::render(&list, code, "README.md", false));
        }
        let whole = code.lines().any(|line| line.starts_with("serve ") || line.starts_with("train "));
        if let (true, Err(list)) = (whole, check(code)) {
            panic!("{}", diagnostics::render(&list, code, "README.md", false));
        }
        blocks += 1;
    }
    assert!(blocks > 4);
}

#[test]
fn hostile_texts_are_errors() {
    let long = format!("serve {}", "1 + ".repeat(100_000));
    let deep = format!("serve {}", "(".repeat(100_000));
    let minus = format!("serve {}1", "-".repeat(100_000));
    let calls = format!("serve q{}", "(1)".repeat(100_000));
    let power = format!("serve 1{}", "^1".repeat(100_000));
    let huge = "x".repeat(10 << 20);
    let line = format!("train dqn(q) {{ {} }}", "a = 1 ".repeat(50_000));
    let junk = "$\n".repeat(200_000);
    let words = "bad bad\n".repeat(50_000);
    for source in [long, deep, minus, calls, power, huge, line, junk, words] {
        let started = std::time::Instant::now();
        let errors = check(&source).expect_err("it is no program");
        let text = diagnostics::render(&errors[..errors.len().min(3)], &source, "hostile.rl", false);
        assert!(text.lines().all(|line| line.chars().count() < 400));
        assert!(errors.len() <= 100);
        assert!(started.elapsed().as_secs() < 60, "{:?}", &source[..30]);
    }
}

#[test]
fn the_deepest_expressions_do_not_overflow_the_stack() {
    let env = "env \"X\" { observe s: [1] in [-1, 1]  act a: one of 2  reward r in [0, 1] }\nnet q(s) -> [1] { dense 1 }\n";
    let calls = format!("{env}serve {}s{}", "tanh(".repeat(60), ")".repeat(60));
    let sums = format!("{env}serve {}s", "s + ".repeat(180));
    let signs = format!("{env}serve {}s", "-".repeat(180));
    let mixed = format!("{env}serve {}s{}", "(s + s + s * exp(".repeat(30), "))".repeat(30));
    for source in [calls, sums, signs, mixed] {
        if let Err(list) = check(&source) {
            panic!("{}", diagnostics::render(&list, &source, "deep.rl", false));
        }
        let once = format(&source).expect("it parses");
        assert_eq!(format(&once).expect("it parses"), once);
    }
}
