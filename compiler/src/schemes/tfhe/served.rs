//! `policy = server`: the plan by which the server acts while a program trains, whatever scheme it trains by.
//!
//! The largest action value of one observation, as the networks of the update compute it, on integers: weights stay secret, so
//! that the client can encrypt those of any update for it. Weights move while the plan stays. Their grids are therefore not
//! those of a sample, but reach to what a rehearsal measured and a quarter further, or else to a multiple of what fresh weights
//! of that shape are; activations have the intervals of the training. The client clips weights that leave their grid, and says so.

use std::cell::RefCell;
use std::collections::BTreeMap;

use hecc_plan::calibration::Calibration;
use hecc_plan::tfhe::Plan;
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::{State, StateInit, init};

use super::Given;
use super::seen::Seen;
use crate::acting;
use crate::approximation::Approximation;
use crate::check::hir::{ActionKind, Expr, ExprKind, Party, Pins, Program, Scheme, Serve, Task, Train};
use crate::diagnostics::Diagnostic;
use crate::passes::hoist::client_computes;
use crate::passes::prune;
use crate::schemes::ckks;
use crate::schemes::ckks::approximate::{Polynomial, approximate};
use crate::tensor::build::{self, Built};
use crate::tensor::eval::{Exact, Functions};
use crate::tensor::graph::{Elementwise, Map};
use crate::tensor::{Graph, Op, TensorError};

/// How far weights may go beyond the largest of fresh orthogonal ones, as ranges of activations do in training.
const FRESH: f64 = 2.5;

/// What lowering knows of values that do not stay as a sample shows them.
pub struct Moving<'a> {
    /// Largest magnitude of each state.
    pub bounds: BTreeMap<String, f64>,
    /// What computes activations.
    pub functions: &'a dyn Functions,
}

/// The training whose policy the server evaluates, if it is one.
pub fn asked(program: &Program) -> Option<&Train> {
    match (&program.task, program.secure.policy) {
        (Task::Train(train), Party::Server) => Some(train),
        _ => None,
    }
}

/// Whether the server can act for a program.
///
/// # Errors
/// HE0301, with the reason.
pub fn supported(program: &Program) -> Result<(), Vec<TensorError>> {
    let Some(train) = asked(program) else { return Ok(()) };
    let refuse = |what: &str, help: &str| {
        let span = program.secure.span.unwrap_or(train.span);
        Err(vec![TensorError::NotSupported { what: what.to_owned(), help: Some(help.to_owned()), span }])
    };
    match &program.env.action.kind {
        ActionKind::Discrete { .. } => Ok(()),
        ActionKind::MultiDiscrete { .. } => refuse(
            "`policy = server` with several choices at once",
            "leave `policy` out: the client decrypts the weights and acts; or declare one action for every combination",
        ),
        ActionKind::Continuous { .. } => refuse(
            "`policy = server` with continuous actions",
            "the server acts on integers of few bits, which tell a few actions apart but are no vector to act by; leave `policy` out: \
             the client decrypts the weights and acts",
        ),
    }
}

/// The plan for acting, where the program asks for one. `approximation` says which polynomials train, if polynomials do;
/// `calibration` what a rehearsal of the program measured.
///
/// # Errors
/// As [`supported`], and what has no circuit of integers.
pub fn compile(
    program: &Program,
    source: &str,
    built: &Built,
    approximation: Option<&Approximation>,
    given: &Given,
    calibration: Option<&Calibration>,
    prices: &Prices,
) -> Result<Option<Box<Plan>>, Vec<Diagnostic>> {
    let Some(train) = asked(program) else { return Ok(None) };
    let told = |errors: Vec<TensorError>| errors.iter().map(Diagnostic::from).collect::<Vec<_>>();
    supported(program).map_err(told)?;
    let Some(network) = built.first.and_then(|first| acting::expression(program, train, first)) else {
        let span = program.secure.span.unwrap_or(train.span);
        return Err(told(vec![TensorError::unsupported("`policy = server` where no network of the current state is trained", span)]));
    };
    let expr = largest(&network);
    let graph = build::evaluation(program, &expr).map_err(told)?;
    let graph = prune::run(&approximation.map_or(graph.clone(), |a| a.apply(&graph)), &crate::pipeline::facts(program));
    let states = states(&graph, built);
    let bounds = bounds(&states, train.settings.seed, calibration);
    let functions = Trained { program, polynomials: approximation.is_some(), made: RefCell::default() };
    let moving = Moving { bounds, functions: &functions };
    let given = Given { weights: init::initial_states(&fresh(&states), train.settings.seed), sample: given.sample.clone() };
    let built = Built { graph, states, public: Vec::new(), periods: Vec::new(), first: None, scaled: Vec::new() };
    let mut serving = program.clone();
    serving.secure.scheme = Scheme::Tfhe;
    serving.secure.client.clear();
    serving.task = Task::Serve(Serve { expr, batch: 1, span: train.span });
    let mut plan = super::plans(&serving, source, &built, &given, Seen { moving: Some(&moving), measured: None }, prices)?.swap_remove(0);
    plan.name = "policy".to_owned();
    plan.notes.push(match calibration {
        Some(calibration) => {
            format!("grids of weights: a quarter wider than over {} updates in the clear", calibration.updates)
        }
        None => format!("grids of weights: {FRESH} times the largest of fresh ones; `hecc calibrate` measures what they need"),
    });
    Ok(Some(Box::new(plan)))
}

/// The action of a network: its largest value, of its first head where it has several.
fn largest(network: &Expr) -> Expr {
    let of = |kind: ExprKind, ty: &crate::check::hir::Type| Expr { kind, ty: ty.clone(), secret: network.secret, span: network.span };
    let values = match &network.ty {
        crate::check::hir::Type::Tuple(types) if !types.is_empty() => of(ExprKind::Project(Box::new(network.clone()), 0), &types[0]),
        _ => network.clone(),
    };
    let ty = values.ty.clone();
    of(ExprKind::ArgMax(Box::new(values)), &ty)
}

/// The states that a graph reads.
fn states(graph: &Graph, built: &Built) -> Vec<State> {
    let read = |state: &State| graph.ids().any(|id| matches!(&graph.node(id).op, Op::State(name) if *name == state.name));
    built.states.iter().filter(|state| read(state)).cloned().collect()
}

/// Weights as training may leave them: orthogonal of gain one, whatever smaller ones they start as.
fn fresh(states: &[State]) -> Vec<State> {
    let grown = |(stream, state): (usize, &State)| {
        let init = match state.shape.len() {
            2 => StateInit::Orthogonal { gain: 1.0, stream: u64::MAX / 4 + stream as u64 },
            _ => StateInit::Constant(0.0),
        };
        State { init, ..state.clone() }
    };
    states.iter().enumerate().map(grown).collect()
}

/// The largest magnitude that each state may have.
fn bounds(states: &[State], seed: u64, calibration: Option<&Calibration>) -> BTreeMap<String, f64> {
    let fresh = init::initial_states(&fresh(states), seed);
    let largest = |name: &str| fresh.get(name).map_or(0.0, |t| t.data.iter().fold(0.0f64, |m, v| m.max(v.abs())));
    let seen = Seen { moving: None, measured: calibration };
    let bound = |state: &State| {
        // Biases start at 0, and grow with the weights of their layer.
        let weight = state.name.strip_suffix(".bias").map(|layer| format!("{layer}.weight"));
        let usual = FRESH * largest(weight.as_deref().unwrap_or(&state.name)).max(0.1);
        seen.state(&state.name).unwrap_or(usual)
    };
    states.iter().map(|state| (state.name.clone(), bound(state))).collect()
}

/// Activations as the training computes them, within their intervals.
struct Trained<'a> {
    program: &'a Program,
    /// Whether polynomials train.
    polynomials: bool,
    made: RefCell<Vec<(Map, Polynomial)>>,
}

impl Functions for Trained<'_> {
    fn map(&self, map: &Map, x: f64) -> f64 {
        let x = map.pins.range.map_or(x, |range| x.clamp(range.low, range.high));
        let known = matches!(map.function, Elementwise::Named(_)) && client_computes(&Op::Map(map.clone()), &self.program.secure.client);
        if !self.polynomials || known {
            return Exact.map(map, x);
        }
        let mut made = self.made.borrow_mut();
        let at = made.iter().position(|(other, _)| other == map).unwrap_or_else(|| {
            let cap = if map.pins.degree.is_some() { usize::MAX } else { ckks::degree_cap() };
            made.push((map.clone(), approximate(&map.function, &map.pins, ckks::tolerance(self.program), cap)));
            made.len() - 1
        });
        made[at].1.eval(x)
    }

    fn abs(&self, _pins: &Pins, x: f64) -> f64 {
        x.abs()
    }
}
