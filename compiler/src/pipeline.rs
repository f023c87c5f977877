//! The pipeline on one screen: text, checked program, tensor graph, passes, circuit, plan.

use std::sync::Arc;

use hecc_plan::calibration::{Calibration, Wider};
use hecc_plan::cost::CostTable;
use hecc_plan::link::Link;
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::{AnyPlan, Plan};

use crate::approximation::{self, Approximation, Degrees};
use crate::check::hir::{Action, ActionKind, ClientOp, Program, Refresh, Scheme, Task};
use crate::denominators::{self, Raised};
use crate::diagnostics::Diagnostic;
use crate::passes::{self, Facts, Level, PassName, Selection, places, saturate, twins};
use crate::schemes::ckks::inside::{Inside, Method};
use crate::schemes::ckks::{self, LowerError, Lowered, Measure};
use crate::schemes::tfhe;
use crate::tensor::build;
use crate::tensor::{Graph, TensorError};
use crate::tracking;

/// How to compile.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// A fixed small ring without a security level. Such a plan is refused by every command and by [`hecc_plan::check::check`];
    /// tests run it.
    pub insecure_log_n: Option<u32>,
    /// Bits of the widest modulus of such a ring, so that updates are cut as in a secure one; 4000 by default.
    pub insecure_modulus: Option<u32>,
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
    /// Intervals in place of those that a run has left.
    pub wider: Vec<Wider>,
    /// Bits of room for magnitudes beyond what is foreseen, where a run had too little.
    pub room: u32,
    /// The one method to place bootstraps inside updates by, to see what each is worth; the cheapest where there is none.
    pub inside: Option<Method>,
}

impl Options {
    /// What operations on integers take.
    fn prices(&self) -> &Prices {
        self.costs.as_ref().map_or_else(|| Prices::built_in(), |table| table.prices())
    }

    /// What plans are compared over.
    fn link(&self) -> Link {
        self.costs.as_ref().map_or_else(Link::default, |table| table.link)
    }
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
    /// What may not be as meant.
    pub warnings: Vec<Diagnostic>,
    /// How ciphertexts follow the scale of gradients, where an optimiser has one.
    pub choices: Vec<tracking::Choice>,
    /// What the key owner's optimisers have in place of an ε that noise would drown.
    pub raised: Vec<Raised>,
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
    tfhe::served::supported(&program).map_err(|e| e.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    let exact = || tfhe::compile_calibrated(&program, source, &options.given, calibration, options.prices(), options.link()).map(Box::new);
    let slots = || compile_calibrated(source, options, calibration).map(Box::new);
    match program.secure.scheme {
        Scheme::Ckks => Ok(AnyCompiled::Ckks(slots()?)),
        Scheme::Tfhe => Ok(AnyCompiled::Tfhe(exact()?)),
        Scheme::Auto => match (slots(), tfhe::in_reach(&program).and_then(|()| exact())) {
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
                let table = options.costs.as_deref().unwrap_or_else(|| CostTable::built_in());
                let of_slots = hecc_plan::cost::predict(&slots.plan, table, 0);
                let of_slots = of_slots.seconds_per_update + of_slots.link_seconds;
                let of_exact = hecc_plan::tfhe::cost::predict(&exact.plan, options.prices(), 0);
                let of_exact = of_exact.seconds + of_exact.link_seconds(options.link());
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
    let mut program = crate::front::check(source)?;
    if let Some(calibration) = calibration {
        program = approximation::calibrated::run(&program, calibration);
    }
    if !options.wider.is_empty() {
        program = approximation::calibrated::wider(&program, &options.wider);
    }
    let mut compiled = compile_checked(&program, source, options, calibration)?;
    if let Some(calibration) = calibration {
        compiled.plan.notes.push(format!("ranges: measured over {} updates in the clear", calibration.updates));
    }
    Ok(compiled)
}

/// Compiles a checked program; `source` is only named in the plan.
///
/// # Errors
/// As [`compile`].
pub fn compile_program(program: &Program, source: &str, options: &Options) -> Result<Compiled, Vec<Diagnostic>> {
    compile_checked(program, source, options, None)
}

fn compile_checked(
    program: &Program,
    source: &str,
    options: &Options,
    calibration: Option<&Calibration>,
) -> Result<Compiled, Vec<Diagnostic>> {
    placement(program).map_err(|e| e.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    if program.secure.refresh == Refresh::Auto {
        return by_cost(program, source, options, calibration);
    }
    let tracking::Resolved { program, choices, mut warnings } = tracking::resolve(program, calibration, options.insecure_log_n)?;
    let program = &program;
    let facts = facts(program);
    let selection = Selection::new(options.level, &options.without);
    let built = build::build(program, false).map_err(|e| e.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    let optimised = passes::run_some(&built.graph, &facts, &selection);
    let undefined = approximation::undefined(program, &optimised);
    if !undefined.is_empty() {
        return Err(undefined.iter().map(Diagnostic::from).collect());
    }
    let search = approximation::Search::new(program, &optimised, &built.states);
    let ring = ckks::Ring {
        insecure_log_n: options.insecure_log_n,
        insecure_modulus: options.insecure_modulus.unwrap_or(4000),
        refine: selection.contains(PassName::Refine),
        periods: &built.periods,
        known: ckks::magnitude::Known {
            states: &built.states,
            measured: calibration.map_or(&[], |calibration| calibration.states.as_slice()),
            room: options.room,
        },
        costs: options.costs.as_deref().unwrap_or_else(|| CostTable::built_in()),
        rotations: selection.contains(PassName::Rotations),
        tiles: selection.contains(PassName::Tiles),
        lanes: selection.contains(PassName::Lanes),
        offer: None,
        inside: options.inside,
        reaches: ckks::COARSE,
    };
    let stages =
        Stages { program, public: &built.public, ring, facts: &facts, selection: &selection, trade: options.trade, search: &search };
    let mut lowered = stages.cheapest(&optimised)?;
    let approximation = lowered.approximation.clone();
    warnings.extend(approximation::maxima::coarse(program, &approximation.apply(&optimised), &approximation));
    if let Some(limit) = &options.memory {
        let table = limit.costs.as_deref().unwrap_or_else(|| CostTable::built_in());
        let peak = |lowered: &Lowered| {
            let plan = crate::emit::emit(program, source, &built, lowered.clone(), ring.costs.link);
            hecc_plan::cost::predict(&plan, table, limit.threads).memory.peak()
        };
        lowered = within(program, ring, limit.bytes, &peak, lowered);
    }
    let (graph, circuit, measure) = (lowered.graph.clone(), lowered.circuit.print(), Measure::of(&lowered.circuit));
    let quotients = lowered.quotients.clone();
    let mut plan = crate::emit::emit(program, source, &built, lowered, ring.costs.link);
    let raised = denominators::run(&mut plan, &quotients, program.secure.precision);
    plan.decisions.extend(raised.iter().map(Raised::decision));
    plan.notes.extend(raised.iter().map(Raised::note));
    let graph = denominators::applied(&graph, &raised);
    plan.decisions.extend(choices.iter().map(tracking::Choice::decision));
    if let Some(training) = &mut plan.training {
        tracking::watch(&built.scaled, &mut training.watch);
        training.served =
            tfhe::served::compile(program, source, &built, Some(&approximation), &options.given, calibration, options.prices())?;
    }
    if let Err(faults) =
        if options.insecure_log_n.is_some() { hecc_plan::check::check_insecure(&plan) } else { hecc_plan::check::check(&plan) }
    {
        panic!("the compiler made a plan that does not check, which is a bug of hecc: {faults:?}");
    }
    Ok(Compiled { plan, graph, circuit, measure, approximation, warnings, choices, raised })
}

/// What the stages from the degrees of polynomials to the circuit have in common.
struct Stages<'a> {
    program: &'a Program,
    public: &'a [(String, Vec<usize>)],
    ring: ckks::Ring<'a>,
    facts: &'a Facts,
    selection: &'a Selection,
    trade: bool,
    search: &'a approximation::Search<'a>,
}

impl Stages<'_> {
    /// The circuit that costs the least, whichever the degrees. What is not far from the cheapest as lowered may be cheaper once larger
    /// searches have made it better.
    fn cheapest(&self, optimised: &Graph) -> Result<Lowered, Vec<Diagnostic>> {
        let free = self.selection.contains(PassName::Degrees);
        let mut choices = self.search.choices();
        if !free {
            choices.truncate(1);
        }
        let (found, refused): (Vec<_>, Vec<_>) = choices.iter().map(|choice| self.lowered(optimised, choice)).partition(Result::is_ok);
        let mut found = self.ranked(found.into_iter().flatten());
        // What the shallowest lacks tells the user the most.
        if found.is_empty() {
            return refused.into_iter().next().expect("there is at least one choice of degrees");
        }
        if free && self.ring.insecure_log_n.is_none() {
            found = self.beside(optimised, found, choices);
        }
        let least = found[0].0;
        let other = found.get(1).map(|(cost, other)| (other.approximation.degrees(), *cost));
        let near: Vec<Lowered> = found.into_iter().take(2).filter(|(cost, _)| *cost <= NEAR * least).map(|(_, lowered)| lowered).collect();
        let open: Vec<Approximation> = near.iter().map(|lowered| lowered.approximation.clone()).collect();
        let mut found = self.ranked(near.into_iter().map(|lowered| self.improved(lowered, &open))).into_iter();
        let (_, best) = found.next().expect("the cheapest is near itself");
        let second = found.map(|(cost, second)| (second.approximation.degrees(), cost)).chain(other);
        let degrees = second.into_iter().find(|(degrees, _)| *degrees != best.approximation.degrees());
        Ok(Lowered { degrees, ..best })
    }

    /// With the choices of degrees a step beside the cheapest of those `found`, for as long as one of them is cheaper still: what depth
    /// and products do not show, such as a smaller ring within reach. `choices` have been lowered, or refused.
    fn beside(&self, optimised: &Graph, mut found: Vec<(f64, Lowered)>, mut choices: Vec<Approximation>) -> Vec<(f64, Lowered)> {
        let mut left = BESIDE;
        loop {
            let best = &found[0].1;
            let (from, size) = (best.approximation.clone(), best.sized.steps.len().max(1));
            let beside = self.search.beside(&from).filter(|choice| !choices.contains(choice));
            let beside: Vec<Approximation> = beside.take(left / size).collect();
            left -= beside.len() * size;
            let lowered = beside.iter().filter_map(|choice| self.lowered(optimised, choice).ok());
            found = self.ranked(found.into_iter().map(|(_, lowered)| lowered).chain(lowered));
            choices.extend(beside);
            if found[0].1.approximation == from {
                return found;
            }
        }
    }

    /// With what each costs, the cheapest first.
    fn ranked(&self, found: impl Iterator<Item = Lowered>) -> Vec<(f64, Lowered)> {
        let mut found: Vec<(f64, Lowered)> = found.map(|lowered| (self.cost(&lowered), lowered)).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        found
    }

    fn cost(&self, lowered: &Lowered) -> f64 {
        if lowered.bootstrap.is_some() { lowered.seconds } else { lowered.cost(self.ring.costs) }
    }

    /// The circuit with the degrees of `approximation`.
    fn lowered(&self, optimised: &Graph, approximation: &Approximation) -> Result<Lowered, Vec<Diagnostic>> {
        let Self { program, public, ring, facts, selection, .. } = *self;
        let lower = |patches: bool| {
            ckks::lower(program, public, ring, |padded| {
                let built = build::build(program, padded)?;
                let graph = approximation.apply(&passes::run_some(&built.graph, facts, selection));
                let patched = if patches { places::run(&graph, facts, ckks::WIDEST) } else { None };
                Ok::<_, Vec<TensorError>>(patched.unwrap_or(graph))
            })
        };
        let patches = public.is_empty() && places::run(optimised, facts, ckks::WIDEST).is_some();
        let lowered = match (patches, self.by_client()) {
            (false, _) => lower(false),
            // A server that carries kernels multiplies patches by them, and has no other way.
            (true, false) => lower(true),
            // Patches of pictures make vectors longer and matrices smaller: which is better, the cost says.
            (true, true) => match (lower(false), lower(true)) {
                (Ok(whole), Ok(patched)) => {
                    let (by_matrix, by_patches) = (whole.cost(ring.costs), patched.cost(ring.costs));
                    Ok(match by_patches < by_matrix {
                        true => Lowered { convolved: Some(by_matrix), ..patched },
                        false => Lowered { convolved: Some(by_patches), ..whole },
                    })
                }
                (Err(_), Ok(patched)) => Ok(patched),
                (whole, _) => whole,
            },
        };
        let lowered = lowered.map_err(|error| match error {
            LowerError::Graph(errors) => errors.iter().map(Diagnostic::from).collect::<Vec<_>>(),
            LowerError::Ckks(errors) => errors.iter().map(Diagnostic::from).collect(),
        })?;
        Ok(Lowered { approximation: approximation.clone(), ..lowered })
    }

    /// Whether the key owner refreshes, and no network is public.
    fn by_client(&self) -> bool {
        let refreshes = matches!(self.program.task, Task::Serve(_)) || self.program.secure.refresh == Refresh::Client;
        refreshes && self.public.is_empty()
    }

    /// The same circuit with what is found by larger searches, among them one for the degrees that are still `open`.
    fn improved(&self, lowered: Lowered, open: &[Approximation]) -> Lowered {
        let saturated = self.selection.contains(PassName::Saturate).then(|| self.saturated(&lowered, open)).flatten();
        let Some(saturated) = saturated.map(|saturated| self.finished(saturated)) else { return self.finished(lowered) };
        if saturated.bootstrap.is_some() {
            return saturated;
        }
        // What was cheaper as lowered need not be once twins are merged and updates are cut better.
        let plain = self.finished(lowered);
        if self.cost(&plain) < self.cost(&saturated) { plain } else { saturated }
    }

    /// The same circuit with twins merged and updates cut better.
    fn finished(&self, lowered: Lowered) -> Lowered {
        let Self { program, public, ring, facts, selection, .. } = *self;
        let (convolved, approximation) = (lowered.convolved, lowered.approximation.clone());
        let merge = selection.contains(PassName::Twins) && self.by_client();
        let merged = if merge { merged(program, ring, facts, lowered) } else { lowered };
        let mut finished = ckks::finished(program, public, ring, merged);
        finished.notes.extend(approximation.note());
        Lowered { convolved, approximation, ..finished }
    }

    /// The plan of the best graph that equality saturation finds by one of the choices of degrees, where one is better: no deeper, and
    /// with no more rotations and products, each as lowered, unless depth may be traded for them.
    fn saturated(&self, lowered: &Lowered, open: &[Approximation]) -> Option<Lowered> {
        let Self { program, public, ring, facts, .. } = *self;
        let selection = Selection::new(Level::new(1), &[]);
        let before = ckks::measure(program, &lowered.graph, public, ring, lowered)?;
        let bootstrapped = lowered.bootstrap.is_some();
        // Where depth is bought with bootstraps, their price decides, below; counts only say what is worth a look.
        let shorter =
            |measure: &Measure| if bootstrapped { measure.depth_bits < before.depth_bits } else { self.trade && measure.shortens(&before) };
        let better = |measure: &Measure| measure.beats(&before) || shorter(measure);
        let open = Open::new(lowered, open);
        let candidates = saturate::front(&open.graph, facts, &open.degrees()).into_iter().filter_map(|(choice, graph)| {
            let graph = passes::run_some(&graph, facts, &selection);
            let measure = ckks::measure(program, &graph, public, ring, lowered)?;
            better(&measure).then_some((measure, open.choices[choice], graph))
        });
        if bootstrapped {
            // Several updates stand in the circuit: what counts is what one of them takes.
            let again = candidates.filter_map(|(_, choice, graph)| self.again(&graph, choice, ring, lowered));
            let cheapest = again.min_by(|a, b| a.seconds.total_cmp(&b.seconds));
            let cheaper = cheapest.filter(|again| again.seconds < lowered.seconds);
            return Some(self.refreshed(cheaper.unwrap_or_else(|| lowered.clone()), open.choices));
        }
        let mut candidates: Vec<_> = candidates.collect();
        candidates.sort_by_key(|(measure, ..)| *measure);
        // The best by counts, of each choice of degrees.
        let mut seen: Vec<&Approximation> = Vec::new();
        candidates.retain(|(_, choice, _)| {
            !seen.contains(choice) && {
                seen.push(choice);
                true
            }
        });
        let again = candidates.iter().filter_map(|(_, choice, graph)| self.again(graph, choice, ring, lowered));
        let again = again.filter(|again| better(&Measure::of(&again.circuit))).map(|again| (again.cost(ring.costs), again));
        let cheapest = again.min_by(|a, b| a.0.total_cmp(&b.0)).filter(|(cost, _)| *cost <= lowered.cost(ring.costs));
        cheapest.map(|(_, again)| again)
    }

    /// Another graph of the program, by a choice of degrees, lowered; `None` where it cannot be, or exceeds the error budget.
    fn again(&self, graph: &Graph, choice: &Approximation, ring: ckks::Ring, like: &Lowered) -> Option<Lowered> {
        let approximation = choice.in_graph(&like.graph, graph, self.search.kept(graph, choice)?)?;
        let again = ckks::lower_again(self.program, graph, self.public, ring, like)?;
        Some(Lowered { approximation, ..again })
    }

    /// The plan with the bootstraps that extraction from the e-graph chooses, or `lowered` where that is no cheaper; either way
    /// what each method brought.
    fn refreshed(&self, lowered: Lowered, choices: Vec<&Approximation>) -> Lowered {
        let Self { ring, facts, .. } = *self;
        let Some(budget) = ckks::refreshing(&lowered, ring) else { return lowered };
        let offer = lowered.bootstrap.as_ref().map(|bootstrap| bootstrap.name.clone());
        let ring = ckks::Ring { offer: offer.as_deref(), ..ring };
        let open = Open { graph: lowered.approximation.undo(&lowered.graph), choices };
        let graphs = saturate::refresh::run(&open.graph, facts, &budget, &open.degrees()).into_iter();
        let again: Vec<Lowered> = graphs.filter_map(|(choice, graph)| self.again(&graph, open.choices[choice], ring, &lowered)).collect();
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
}

/// A graph whose functions have no degrees yet, and the choices that there are.
struct Open<'a> {
    graph: Graph,
    choices: Vec<&'a Approximation>,
}

impl<'a> Open<'a> {
    /// The graph that was lowered: its own degrees first.
    fn new(lowered: &Lowered, choices: &'a [Approximation]) -> Self {
        let own = lowered.approximation.degrees();
        let mut choices: Vec<&Approximation> = choices.iter().collect();
        choices.sort_by_key(|choice| choice.degrees() != own);
        Self { graph: lowered.approximation.undo(&lowered.graph), choices }
    }

    fn degrees(&self) -> Vec<Degrees> {
        self.choices.iter().map(|choice| choice.degrees_by_layer()).collect()
    }
}

/// Steps of circuits that are lowered to look beside the best choice of degrees: of larger programs fewer. A ring that a test fixes has
/// no edge to fall below.
const BESIDE: usize = 10_000;

/// Times the cheapest that another choice of degrees may cost to be looked at as hard.
const NEAR: f64 = 1.1;

/// The one plan that there is under `refresh = auto`, and why.
fn alone(mut compiled: Compiled, who: &str, errors: &[Diagnostic]) -> Compiled {
    let why = errors.first().map_or("", |error| &error.message);
    compiled.plan.notes.push(format!("refresh = auto: {who}; the other way has no plan: {why}"));
    compiled
}

/// Compiles with the client refreshing, and with the server alone, and takes what is predicted to take less time per update,
/// what crosses included.
fn by_cost(program: &Program, source: &str, options: &Options, calibration: Option<&Calibration>) -> Result<Compiled, Vec<Diagnostic>> {
    let with = |refresh: Refresh| {
        let mut program = program.clone();
        program.secure.refresh = refresh;
        compile_checked(&program, source, options, calibration)
    };
    let client = with(Refresh::Client);
    // An evaluation has nothing to refresh.
    if matches!(program.task, Task::Serve(_)) {
        return client;
    }
    let (client, server) = match (client, with(Refresh::Bootstrap)) {
        (Ok(client), Ok(server)) => (client, server),
        (Ok(client), Err(errors)) => return Ok(alone(client, "the client", &errors)),
        (Err(errors), Ok(server)) => return Ok(alone(server, "the server alone", &errors)),
        (Err(errors), Err(_)) => return Err(errors),
    };
    let table = options.costs.as_deref().unwrap_or_else(|| CostTable::built_in());
    let price = |compiled: &Compiled| {
        let predicted = hecc_plan::cost::predict(&compiled.plan, table, 0);
        (predicted.seconds_per_update + predicted.link_seconds, predicted.bytes_up + predicted.bytes_down)
    };
    let ((by_client, up), (by_server, _)) = (price(&client), price(&server));
    let (mut best, who) = if by_client <= by_server { (client, "the client") } else { (server, "the server alone") };
    best.plan.notes.push(format!(
        "refresh = auto: {who}; an update takes {by_client:.2} s with the client, {:.1} MiB of it crossing, and {by_server:.2} s without, \
         over {}",
        up as f64 / f64::from(1u32 << 20),
        table.link
    ));
    Ok(best)
}

/// The plan with twin networks in one, where there are any and it costs less.
fn merged(program: &Program, ring: ckks::Ring, facts: &Facts, lowered: Lowered) -> Lowered {
    let Some(graph) = twins::run(&lowered.graph, facts, ckks::WIDEST) else { return lowered };
    let Some(other) = ckks::lower_again(program, &graph, &[], ring, &lowered) else { return lowered };
    let (apart, merged) = (lowered.cost(ring.costs), other.cost(ring.costs));
    if merged < apart { Lowered { twins: Some(apart), ..other } } else { Lowered { twins: Some(merged), ..lowered } }
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

/// Settings of `secure` that this version has no plan for.
fn placement(program: &Program) -> Result<(), Vec<TensorError>> {
    tfhe::served::supported(program)?;
    let span = program.secure.span.unwrap_or(match &program.task {
        Task::Train(train) => train.span,
        Task::Serve(serve) => serve.span,
    });
    let refuse = |what: &str, help: &str| Err(vec![TensorError::NotSupported { what: what.to_owned(), help: Some(help.to_owned()), span }]);
    if program.secure.refresh == Refresh::Bootstrap && program.secure.client.contains(&ClientOp::Optimizer) {
        return refuse("steps of optimisers by the client where the server carries the weights", "use `refresh = client`");
    }
    if program.secure.scheme == Scheme::Tfhe {
        return refuse("the scheme `tfhe`", "use `secure ckks { ... }`");
    }
    if let (Task::Train(_), Refresh::Bootstrap, bits @ 129..) = (&program.task, program.secure.refresh, program.secure.bits) {
        let what = format!("`refresh = bootstrap` at {bits} bits of security");
        return refuse(&what, "write `bits = 128`, or `refresh = client`: the key owner refreshes the weights once per update");
    }
    Ok(())
}
