//! Every stage of the programs in `tests/golden` and `examples`, one snapshot per program.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, OnceLock};

use hecc_compiler::check::dump;
use hecc_compiler::planner::{Components, Relinearisable, relinearise};
use hecc_compiler::{AnyCompiled, Compiled, Options, check, compile, compile_any, diagnostics, parse, syntax};
use hecc_plan::counts::counts;
use hecc_plan::{DecisionKind, Op, Output, Round, Step};

/// Longer stages are shown by their ends.
const LINES: usize = 260;
const ENDS: usize = 30;

fn programs(folder: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let mut files: Vec<PathBuf> = fs::read_dir(&root)
        .unwrap_or_else(|e| panic!("{}: {e}", root.display()))
        .map(|entry| entry.expect("a folder can be listed").path())
        .filter(|path| path.extension().is_some_and(|x| x == "rl"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

/// A program that is compiled once, for whichever test comes first.
struct Golden {
    path: PathBuf,
    small: bool,
    compiled: OnceLock<Compiled>,
}

impl Golden {
    fn name(&self) -> String {
        self.path.file_stem().expect("a program has a name").to_string_lossy().into_owned()
    }

    fn source(&self) -> String {
        fs::read_to_string(&self.path).expect("a program is readable")
    }

    fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| {
            let source = self.source();
            // Small programs take a small ring, so that plans stay short; examples are compiled as users compile them.
            let options = Options { insecure_log_n: self.small.then_some(10), ..Options::default() };
            compile(&source, &options).unwrap_or_else(|e| panic!("{}", diagnostics::render(&e, &source, "program.rl", false)))
        })
    }

    fn stages(&self) -> String {
        let ast = parse(&self.source()).expect("the program parses");
        let program = check(&self.source()).expect("the program checks");
        let compiled = self.compiled();
        let mut out = String::new();
        section(&mut out, "syntax", &syntax::dump::run(&ast));
        section(&mut out, "checked", &dump::run(&program));
        section(&mut out, "tensor", &compiled.graph.print());
        section(&mut out, "circuit", &compiled.circuit);
        section(&mut out, "plan", &hecc_plan::print(&compiled.plan));
        section(&mut out, "counts", &format!("{:#?}", counts(&compiled.plan)));
        out
    }
}

static GOLDEN: LazyLock<Vec<Golden>> = LazyLock::new(|| {
    let folders = [("tests/golden", true), ("examples", false)];
    let of = |(folder, small)| programs(folder).into_iter().map(move |path| Golden { path, small, compiled: OnceLock::new() });
    folders.into_iter().flat_map(of).collect()
});

fn section(out: &mut String, title: &str, text: &str) {
    let lines: Vec<String> = text.lines().map(cut).collect();
    let _ = writeln!(out, "---- {title} ----");
    if lines.len() <= LINES {
        lines.iter().for_each(|line| out.extend([line, "\n"]));
    } else {
        lines[..ENDS].iter().for_each(|line| out.extend([line, "\n"]));
        let _ = writeln!(out, "... {} lines ...", lines.len() - 2 * ENDS);
        lines[lines.len() - ENDS..].iter().for_each(|line| out.extend([line, "\n"]));
    }
}

/// A line of a wide plan is cut, with its length.
fn cut(line: &str) -> String {
    match line.char_indices().nth(400) {
        Some((at, _)) => format!("{} ... {} bytes", &line[..at], line.len()),
        None => line.to_owned(),
    }
}

#[test]
fn small_programs() {
    for golden in GOLDEN.iter().filter(|golden| golden.small) {
        insta::assert_snapshot!(golden.name(), golden.stages());
    }
}

#[test]
fn examples() {
    for golden in GOLDEN.iter().filter(|golden| !golden.small) {
        insta::assert_snapshot!(format!("example_{}", golden.name()), golden.stages());
    }
}

#[test]
fn integers() {
    for path in programs("examples/integers") {
        let name = path.file_stem().expect("a program has a name").to_string_lossy().into_owned();
        let source = fs::read_to_string(&path).expect("a program is readable");
        let compiled = compile_any(&source, &Options::default(), None)
            .unwrap_or_else(|e| panic!("{}", diagnostics::render(&e, &source, "program.rl", false)));
        let mut out = String::new();
        match compiled {
            AnyCompiled::Tfhe(compiled) => {
                section(&mut out, "tensor", &compiled.graph.print());
                section(&mut out, "plan", &hecc_plan::tfhe::print(&compiled.plan));
            }
            // Slots have their snapshots with the other examples: here the integers by which the server acts.
            AnyCompiled::Ckks(compiled) => {
                let served = compiled.plan.training.and_then(|training| training.served).expect("the server acts");
                section(&mut out, "acting", &hecc_plan::tfhe::print(&served));
            }
        }
        insta::assert_snapshot!(format!("integers_{name}"), out);
    }
}

#[test]
fn relinearisations_are_the_fewest() {
    // From the back: the other tests come from the front.
    for golden in GOLDEN.iter().rev() {
        let plan = &golden.compiled().plan;
        let count = plan.steps.iter().filter(|step| matches!(step.op, Op::Dot(_))).count() as u64;
        assert_eq!(count, least_relinearisations(&plan.steps, &plan.outputs, &plan.rounds), "{}", golden.path.display());
        if count > 0 {
            let said = plan.decisions.iter().find(|d| d.kind == DecisionKind::Relinearisation).expect("it is said");
            assert_eq!(said.choice, format!("{count}, the minimum"));
        }
    }
}

/// The cut of the planner on the steps of a plan; sums and sums with known values let three components pass.
fn least_relinearisations(steps: &[Step], outputs: &[Output], rounds: &[Round]) -> u64 {
    let mut leaves: Vec<usize> = outputs.iter().map(|output| output.wire.index()).collect();
    leaves.extend(rounds.iter().flat_map(|round| &round.saves).map(|(_, wire)| wire.index()));
    let operation = |(index, step): (usize, &Step)| Relinearisable {
        components: match step.op {
            Op::Dot(_) => Components::Three,
            Op::Add(..) | Op::AddConst(..) | Op::AddPlain(..) => Components::Most,
            _ => Components::Two,
        },
        operands: step.op.operands().iter().map(|w| w.index()).collect(),
        cost: 1,
        extra: 0,
        output: leaves.contains(&index),
    };
    let operations: Vec<Relinearisable> = steps.iter().enumerate().map(operation).collect();
    relinearise::run(&operations).1
}
