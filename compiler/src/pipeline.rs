//! The pipeline on one screen: text, checked program, tensor graph, passes, circuit, plan.

use std::sync::Arc;

use hecc_plan::calibration::Calibration;
use hecc_plan::cost::CostTable;
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::{AnyPlan, Plan};

use crate::approximation::{self, Approximation};
use crate::check::hir::{Action, ActionKind, Party, Program, Refresh, Scheme, Task};
use crate::diagnostics::Diagnostic;
use crate::passes::{self, Facts, Level, PassName, Selection, saturate};
use crate::schemes::ckks::inside::{Inside, Method};
use crate::schemes::ckks::{self, LowerError, Lowered, Measure};
use crate::schemes::tfhe;
use crate::tensor::build::{self, Built};
use crate::tensor::{Graph, TensorError};

/// How to compile.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A fixed small ring without a security level. Such a plan is refused by every command and by [`hecc_plan::check::check`];
    /// tests run it.
    pub insecure_log_n: Option<u32>,
    /// What operations take, to choose between rings; the built-in table where there is none.
    pub costs: Option<Arc<CostTable>>,
    /// How hard to try; the most by default.
    pub level: Level,
    /// Passes to leave out, to see what each is worth.
    pub without: Vec<PassName>,
    /// Whether depth may cost a few rotations and products more ([`Measure::shortens`]). Without it no count ever grows.
    pub trade: bool,
    /// Memory that a plan should not exceed; the plan may all the same, if nothing helps.
    pub memory: Option<MemoryLimit>,
    /// Weights and observations that integers are scaled by, and that public networks stand in a TFHE plan with.
    pub given: tfhe::Given,
    /// The one method to place bootstraps inside updates by, to see what each is worth; the cheapest where there is none.
    pub inside: Option<Method>,
}

/// Memory that a plan should not exceed.
#[derive(Clone, Debug)]
pub struct MemoryLimit {
    /// Bytes at the peak, both parties.
    pub bytes: u64,
    /// What to predict the peak with; the built-in table where there is none.
    pub costs: Option<Arc<CostTable>>,
    /// Threads to predict for; 0 for all of the table's machine.
    pub threads: usize,
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
    /// What the circuit spends.
    pub measure: Measure,
    /// Which polynomials compute the activations.
    pub approximation: Approximation,
}

/// A compiled program of either scheme.
#[derive(Clone, Debug)]
pub enum AnyCompiled {
    /// Approximate arithmetic on slots.
    Ckks(Box<Compiled>),
    /// Exact integers.
    Tfhe(Box<tfhe::Compiled>),
}

impl AnyCompiled {
    /// The plan.
    pub fn into_plan(self) -> AnyPlan {
        match self {
            AnyCompiled::Ckks(compiled) => AnyPlan::Ckks(Box::new(compiled.plan)),
            AnyCompiled::Tfhe(compiled) => AnyPlan::Tfhe(Box::new(compiled.plan)),
        }
    }
}

/// Compiles a program for the scheme that it names; under `secure auto` for the one that is predicted to take less time.
///
/// # Errors
/// As [`compile`].
pub fn compile_any(source: &str, options: &Options, calibration: Option<&Calibration>) -> Result<AnyCompiled, Vec<Diagnostic>> {
    let program = crate::front::check(source)?;
    acting(&program).map_err(|e| e.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    let exact = || tfhe::compile(&program, source, &options.given).map(Box::new);
    let slots = || compile_calibrated(source, options, calibration).map(Box::new);
    match program.secure.scheme {
        Scheme::Ckks => Ok(AnyCompiled::Ckks(slots()?)),
        Scheme::Tfhe => Ok(AnyCompiled::Tfhe(exact()?)),
        Scheme::Auto => match (slots(), exact()) {
            (Ok(mut slots), Err(errors)) => {
                slots.plan.notes.push(only("ckks", "tables (TFHE)", &errors));
                Ok(AnyCompiled::Ckks(slots))
            }
            (Err(errors), Ok(mut exact)) => {
                exact.plan.notes.push(only("tfhe", "slots (CKKS)", &errors));
                Ok(AnyCompiled::Tfhe(exact))
            }
            (Err(errors), Err(_)) => Err(errors),
            (Ok(mut slots), Ok(mut exact)) => {
                let table = CostTable::built_in();
                let of_slots = hecc_plan::cost::predict(&slots.plan, table, 0).seconds_per_update;
                let of_exact = hecc_plan::tfhe::cost::predict(&exact.plan, &Prices::BUILT_IN, 0).seconds;
                let note = |chosen: &str| {
                    format!("scheme: {chosen}; predicted {of_slots:.2} s with slots (CKKS), {of_exact:.2} s with tables (TFHE)")
                };
                if of_exact < of_slots {
                    exact.plan.notes.push(note("tfhe"));
                    Ok(AnyCompiled::Tfhe(exact))
                } else {
                    slots.plan.notes.push(note("ckks"));
                    Ok(AnyCompiled::Ckks(slots))
                }
            }
        },
    }
}

/// Why there was no choice between schemes.
fn only(chosen: &str, other: &str, errors: &[Diagnostic]) -> String {
    let why = errors.first().map_or("", |error| &error.message);
    format!("scheme: {chosen}; {other} cannot do it: {why}")
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
    let selection = Selection::new(options.level, &options.without);
    let mut last: Option<Built> = None;
    let first = build::build(program, false).map_err(|e| e.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    let approximation = approximation::run(program, &passes::run_some(&first.graph, &facts, &selection));
    let Built { public, periods, .. } = first;
    let ring = ckks::Ring {
        insecure_log_n: options.insecure_log_n,
        refine: selection.contains(PassName::Refine),
        periods: &periods,
        costs: options.costs.as_deref().unwrap_or_else(|| CostTable::built_in()),
        rotations: selection.contains(PassName::Rotations),
        tiles: selection.contains(PassName::Tiles),
        lanes: selection.contains(PassName::Lanes),
        offer: None,
        inside: options.inside,
    };
    let lowered = ckks::lower(program, &public, ring, |padded| {
        let built = build::build(program, padded)?;
        let graph = approximation.apply(&passes::run_some(&built.graph, &facts, &selection));
        last = Some(built);
        Ok::<_, Vec<TensorError>>(graph)
    });
    let mut lowered = lowered.map_err(|error| match error {
        LowerError::Graph(errors) => errors.iter().map(Diagnostic::from).collect::<Vec<_>>(),
        LowerError::Ckks(errors) => errors.iter().map(Diagnostic::from).collect(),
    })?;
    if selection.contains(PassName::Saturate) {
        lowered = saturated(program, &public, ring, &facts, options.trade, lowered);
    }
    lowered.notes.extend(approximation.note());
    lowered.approximation = approximation.clone();
    let built = last.expect("lowering builds at least one graph");
    if let Some(limit) = &options.memory {
        let table = limit.costs.as_deref().unwrap_or_else(|| CostTable::built_in());
        let peak = |lowered: &Lowered| {
            let plan = crate::emit::emit(program, source, &built, lowered.clone());
            hecc_plan::cost::predict(&plan, table, limit.threads).memory.peak()
        };
        lowered = within(program, ring, limit.bytes, &peak, lowered);
    }
    let (graph, circuit, measure) = (lowered.graph.clone(), lowered.circuit.print(), Measure::of(&lowered.circuit));
    let plan = crate::emit::emit(program, source, &built, lowered);
    if let Err(faults) =
        if options.insecure_log_n.is_some() { hecc_plan::check::check_insecure(&plan) } else { hecc_plan::check::check(&plan) }
    {
        panic!("the compiler made a plan that does not check, which is a bug of hecc: {faults:?}");
    }
    Ok(Compiled { plan, graph, circuit, measure, approximation })
}

/// The plan of the best graph that equality saturation finds, or `lowered` where none is better: no deeper, and with no more
/// rotations and products, each as lowered, unless `trade` allows it.
fn saturated(
    program: &Program,
    public: &[(String, Vec<usize>)],
    ring: ckks::Ring,
    facts: &Facts,
    trade: bool,
    lowered: Lowered,
) -> Lowered {
    let selection = Selection::new(Level::new(1), &[]);
    let Some(before) = ckks::measure(program, &lowered.graph, public, ring, &lowered) else { return lowered };
    let bootstrapped = lowered.bootstrap.is_some();
    // Where depth is bought with bootstraps, their price decides, below; counts only say what is worth a look.
    let shorter =
        |measure: &Measure| if bootstrapped { measure.depth_bits < before.depth_bits } else { trade && measure.shortens(&before) };
    let better = |measure: &Measure| measure.beats(&before) || shorter(measure);
    let candidates = saturate::front(&lowered.graph, facts).into_iter().filter_map(|graph| {
        let graph = passes::run_some(&graph, facts, &selection);
        let measure = ckks::measure(program, &graph, public, ring, &lowered)?;
        better(&measure).then_some((measure, graph))
    });
    if bootstrapped {
        // Several updates stand in the circuit: what counts is what one of them takes.
        let again = candidates.filter_map(|(_, graph)| ckks::lower_again(program, &graph, public, ring, &lowered));
        let cheapest = again.min_by(|a, b| a.seconds.total_cmp(&b.seconds));
        let lowered = cheapest.filter(|again| again.seconds < lowered.seconds).unwrap_or(lowered);
        return refreshed(program, public, ring, facts, lowered);
    }
    let Some((_, graph)) = candidates.min_by_key(|(measure, _)| *measure) else { return lowered };
    match ckks::lower_again(program, &graph, public, ring, &lowered) {
        Some(again) if better(&Measure::of(&again.circuit)) => again,
        _ => lowered,
    }
}

/// The plan with the bootstraps that extraction from the e-graph chooses, or `lowered` where that is no cheaper; either way
/// what each method brought.
fn refreshed(program: &Program, public: &[(String, Vec<usize>)], ring: ckks::Ring, facts: &Facts, lowered: Lowered) -> Lowered {
    let Some(budget) = ckks::refreshing(&lowered, ring) else { return lowered };
    let offer = lowered.bootstrap.as_ref().map(|bootstrap| bootstrap.name.clone());
    let ring = ckks::Ring { offer: offer.as_deref(), ..ring };
    let graphs = saturate::refresh::run(&lowered.graph, facts, &budget);
    let again: Vec<Lowered> = graphs.iter().filter_map(|graph| ckks::lower_again(program, graph, public, ring, &lowered)).collect();
    let brought = |lowered: &Lowered| lowered.inside.iter().flat_map(|inside| inside.ways.clone()).collect::<Vec<_>>();
    let ways = brought(&lowered).into_iter().chain(again.iter().flat_map(brought)).collect();
    let cheapest = again.into_iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let mut best = match cheapest {
        // The search was for this bootstrap alone.
        Some(again) if again.seconds < lowered.seconds || ring.inside == Some(Method::Graph) => {
            Lowered { tried: lowered.tried, second: lowered.second, ..again }
        }
        _ => lowered,
    };
    best.inside = best.inside.map(|inside| Inside::new(ways, inside.bound));
    best
}

/// The plan with as many rotation keys as memory holds; with the fewest that are tried where it holds not even those.
fn within(program: &Program, ring: ckks::Ring, limit: u64, peak: &dyn Fn(&Lowered) -> u64, lowered: Lowered) -> Lowered {
    let full = peak(&lowered);
    if full <= limit {
        return lowered;
    }
    let (mut best, mut smallest) = (None, (full, None));
    // The peak grows with the number of keys.
    let mut range = ckks::keys::least(&lowered.circuit, lowered.geometry.lanes)..lowered.keys.rotations.len();
    while !range.is_empty() {
        let most = usize::midpoint(range.start, range.end);
        let found = ckks::with_keys(program, ring, &lowered, most).map(|found| (peak(&found), found));
        range = if found.as_ref().is_some_and(|(bytes, _)| *bytes > limit) { range.start..most } else { most + 1..range.end };
        match found {
            Some((bytes, found)) if bytes <= limit => best = Some(found),
            Some((bytes, found)) if bytes < smallest.0 => smallest = (bytes, Some(found)),
            Some(_) | None => {}
        }
    }
    let Some(chosen) = best.or(smallest.1) else { return lowered };
    let rotations = Measure::of(&lowered.circuit).rotations;
    let keys = lowered.keys.rotations.len();
    Lowered { fewer: Some(ckks::keys::Fewer { keys, peak: full, limit, rotations, seconds: lowered.seconds }), ..chosen }
}

/// What the passes may assume of a program.
pub fn facts(program: &Program) -> Facts {
    Facts {
        client: program.secure.client.clone(),
        one_hot: matches!(program.env.action, Action { kind: ActionKind::Discrete { .. }, .. }),
        tolerance: ckks::tolerance(program),
        degree_cap: ckks::degree_cap(),
    }
}

/// Who acts while a program trains: nobody but the client, in this version.
fn acting(program: &Program) -> Result<(), Vec<TensorError>> {
    let (Task::Train(train), Party::Server) = (&program.task, program.secure.policy) else { return Ok(()) };
    let span = program.secure.span.unwrap_or(train.span);
    let help = "leave `policy` out: the client decrypts the weights and acts; a trained policy is served by `serve argmax(q(s))`";
    Err(vec![TensorError::NotSupported { what: "`policy = server` while training".to_owned(), help: Some(help.to_owned()), span }])
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
    if let (Task::Train(_), Refresh::Bootstrap, bits @ 129..) = (&program.task, program.secure.refresh, program.secure.bits) {
        let what = format!("`refresh = bootstrap` at {bits} bits of security");
        return refuse(&what, "write `bits = 128`, or `refresh = client`: the key owner refreshes the weights once per update");
    }
    Ok(())
}
