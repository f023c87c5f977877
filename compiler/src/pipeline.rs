//! The pipeline on one screen: text, checked program, tensor graph, passes, circuit, plan.

use hecc_plan::Plan;
use hecc_plan::calibration::Calibration;

use crate::approximation::{self, Approximation};
use crate::check::hir::{Action, ActionKind, Program, Refresh, Scheme, Task};
use crate::diagnostics::Diagnostic;
use crate::passes::{self, Facts};
use crate::schemes::ckks::{self, LowerError};
use crate::tensor::build::{self, Built};
use crate::tensor::{Graph, TensorError};

/// How to compile.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// A fixed small ring without a security level. Such a plan is refused by every command and by [`hecc_plan::check::check`];
    /// tests run it.
    pub insecure_log_n: Option<u32>,
}

/// A compiled program and its stages as text.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// The plan.
    pub plan: Plan,
    /// The tensor graph after the passes.
    pub graph: Graph,
    /// The circuit before widths, as text.
    pub circuit: String,
    /// Which polynomials compute the activations.
    pub approximation: Approximation,
}

/// Compiles a program.
///
/// # Errors
/// All errors of the first stage that has any.
pub fn compile(source: &str, options: &Options) -> Result<Compiled, Vec<Diagnostic>> {
    compile_calibrated(source, options, None)
}

/// [`compile`] with ranges that a clear-text run of this source measured; those that the program pins stay.
///
/// # Errors
/// As [`compile`].
pub fn compile_calibrated(source: &str, options: &Options, calibration: Option<&Calibration>) -> Result<Compiled, Vec<Diagnostic>> {
    let program = crate::front::check(source)?;
    let Some(calibration) = calibration else { return compile_program(&program, source, options) };
    let mut compiled = compile_program(&approximation::calibrated::run(&program, calibration), source, options)?;
    compiled.plan.notes.push(format!("ranges: measured over {} updates in the clear", calibration.updates));
    Ok(compiled)
}

/// Compiles a checked program; `source` is only named in the plan.
///
/// # Errors
/// As [`compile`].
pub fn compile_program(program: &Program, source: &str, options: &Options) -> Result<Compiled, Vec<Diagnostic>> {
    placement(program).map_err(|e| e.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    let facts = facts(program);
    let mut last: Option<Built> = None;
    let first = build::build(program, false).map_err(|e| e.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    let approximation = approximation::run(program, &passes::run(&first.graph, &facts));
    let public = first.public;
    let lowered = ckks::lower(program, &public, options.insecure_log_n, |padded| {
        let built = build::build(program, padded)?;
        let graph = approximation.apply(&passes::run(&built.graph, &facts));
        last = Some(built);
        Ok::<_, Vec<TensorError>>(graph)
    });
    let mut lowered = lowered.map_err(|error| match error {
        LowerError::Graph(errors) => errors.iter().map(Diagnostic::from).collect::<Vec<_>>(),
        LowerError::Ckks(errors) => errors.iter().map(Diagnostic::from).collect(),
    })?;
    lowered.notes.extend(approximation.note());
    lowered.approximation = approximation.clone();
    let built = last.expect("lowering builds at least one graph");
    let (graph, circuit) = (lowered.graph.clone(), lowered.circuit.print());
    let plan = crate::emit::emit(program, source, &built, lowered);
    if let Err(faults) =
        if options.insecure_log_n.is_some() { hecc_plan::check::check_insecure(&plan) } else { hecc_plan::check::check(&plan) }
    {
        panic!("the compiler made a plan that does not check, which is a bug of hecc: {faults:?}");
    }
    Ok(Compiled { plan, graph, circuit, approximation })
}

/// What the passes may assume of a program.
pub fn facts(program: &Program) -> Facts {
    Facts { client: program.secure.client.clone(), one_hot: matches!(program.env.action, Action { kind: ActionKind::Discrete { .. }, .. }) }
}

/// Settings of `secure` that this version has no plan for.
fn placement(program: &Program) -> Result<(), Vec<TensorError>> {
    let span = program.secure.span.unwrap_or(match &program.task {
        Task::Train(train) => train.span,
        Task::Serve(serve) => serve.span,
    });
    let refuse = |what: &str, help: &str| Err(vec![TensorError::NotSupported { what: what.to_owned(), help: Some(help.to_owned()), span }]);
    if program.secure.scheme == Scheme::Tfhe {
        return refuse("the scheme `tfhe`", "use `secure ckks { ... }`");
    }
    match (&program.task, program.secure.refresh) {
        (Task::Train(_), Refresh::Bootstrap) => refuse(
            "`refresh = bootstrap` (the default): training without the client",
            "write `refresh = client` in `secure ckks { ... }`: the key owner refreshes the weights once per update",
        ),
        _ => Ok(()),
    }
}
