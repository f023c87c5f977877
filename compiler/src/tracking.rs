//! Which recurrence follows the scale of gradients where ciphertexts do ([`crate::tensor::build::tracking`]): the one with
//! the fewest levels and products whose step sizes are near enough to the exact ones, and that noise and large gradients cannot
//! throw off.
//!
//! A mean square v to which every update adds noise of deviation σ has σ / √(2 (1 - β2)) of it, and v + τ must not come near 0:
//! τ ≥ 6.7 σ / √(2 (1 - β2)), gradients being at most 1. A step of Newton's diverges from u = (v + τ) w² ≥ 3 on, and the
//! polynomial from B = 20 on; u is at most 1 + (1 - β2) G² / τ, which gives the other bound on τ.

use std::collections::BTreeMap;

use hecc_plan::calibration::Calibration;
use hecc_plan::{ClearOp, Decision, DecisionKind, Span, State, StateInit, Watch, Watched, init};

use crate::approximation::maxima::Maxima;
use crate::check::hir::{By, Optimizer, OptimizerKind, Program, Refresh, Stmt, Task};
use crate::diagnostics::Diagnostic;
use crate::schemes::ckks;
use crate::tensor::build::tracking::{self, Constants, INTERVAL, States};
use crate::tensor::build::{self, Built, Scaled};
use crate::tensor::eval::{self, Exact, Functions};
use crate::tensor::{Graph, Op, Shape, TensorError, ranges};

/// Deviations of noise that a mean square has to stay away from zero.
const DEVIATIONS: f64 = 6.7;
/// Median error of step sizes that is near enough.
pub const NEAR: f64 = 0.02;
/// Median error of step sizes that one is warned of.
const FAR: f64 = 0.1;
/// A step size that is so far off is lost.
const LOST: f64 = 0.9;
/// Gradients of a rehearsal, and of a shadow of the first update, are exceeded by so much.
const REHEARSED: f64 = 1.25;
const SHADOWED: f64 = 4.0;

/// A way to follow the scale of gradients, and what it costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Variant {
    /// The recurrence.
    pub by: By,
    /// Whether a step takes the scale that earlier updates left.
    pub lagged: bool,
    /// Whether the mean is of gradients over their scale.
    pub normalised: bool,
    /// Products one after another, from the gradient to the weights.
    pub levels_to_weights: usize,
    /// The same from the gradient to the new scale.
    pub levels: usize,
    /// Products of an update.
    pub products: usize,
    /// Error of the scales, relative to the exact ones of the same update, by a run on random gradients with the scheme's noise.
    pub error: Error,
    /// The least ε with which noise and large gradients leave it alone.
    pub least_eps: f64,
    /// Whether ε is that large.
    pub holds: bool,
}

/// How far step sizes are from the exact ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Error {
    /// The median.
    pub median: f64,
    /// The largest; from `LOST` on, a scale was lost.
    pub largest: f64,
}

/// What was chosen for one `minimize`.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The networks that it trains.
    pub nets: Vec<String>,
    /// Its optimiser.
    pub span: Span,
    /// The constants of the recurrence.
    pub constants: Constants,
    /// Noise that an update adds to a state, relative to its largest value.
    pub noise: f64,
    /// What was chosen, and then all others.
    pub variants: Vec<Variant>,
}

/// A program whose optimisers are settled.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The program.
    pub program: Program,
    /// What was chosen.
    pub choices: Vec<Choice>,
    /// What may go wrong with what the program pins.
    pub warnings: Vec<Diagnostic>,
}

/// Chooses a recurrence for every optimiser of `program` that needs one. `insecure`: the ring of a test.
///
/// # Errors
/// What cannot be built, and a pinned recurrence that no ε would hold together.
pub fn resolve(program: &Program, calibration: Option<&Calibration>, insecure: Option<u32>) -> Result<Resolved, Vec<Diagnostic>> {
    let mut resolved = Resolved { program: program.clone(), choices: Vec::new(), warnings: Vec::new() };
    if program.secure.refresh == Refresh::Client || !matches!(program.task, Task::Train(_)) {
        return Ok(resolved);
    }
    let built = build::build(program, false).map_err(|e| e.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    if built.scaled.is_empty() {
        return Ok(resolved);
    }
    let largest = largest(program, &built, calibration);
    let noise = ckks::carried_noise(program, &built.graph, insecure);
    let mut errors = Vec::new();
    for (minimize, optimizer) in optimizers(&mut resolved.program).into_iter().enumerate() {
        let Some(&largest) = largest.get(&minimize) else { continue };
        optimizer.tracking.largest = Some(largest);
        let members = built.scaled.iter().filter(|scaled| scaled.minimize == minimize);
        let mut nets: Vec<String> = members.clone().map(|scaled| scaled.name.split('.').next().unwrap_or_default().to_owned()).collect();
        nets.dedup();
        let Some(first) = members.clone().next() else { continue };
        let constants = Constants { largest, ..first.constants };
        let choice = Choice { nets, span: optimizer.span, constants, noise, variants: variants(optimizer, constants, noise) };
        let best = choice.variants[0];
        optimizer.tracking.by = Some(best.by);
        optimizer.tracking.lagged = Some(best.lagged);
        optimizer.tracking.normalised = Some(best.normalised);
        if !best.holds {
            let hopeless = best.least_eps >= largest;
            let found = choice.diagnostic(best, hopeless);
            if hopeless { errors.push(found) } else { resolved.warnings.push(found) }
        } else if best.error.median > FAR || best.error.largest >= LOST {
            resolved.warnings.push(choice.far(best));
        }
        resolved.choices.push(choice);
    }
    if errors.is_empty() { Ok(resolved) } else { Err(errors) }
}

/// The largest gradient of each `minimize` that has a scale, rounded up to two digits.
fn largest(program: &Program, built: &Built, calibration: Option<&Calibration>) -> BTreeMap<usize, f64> {
    let seed = match &program.task {
        Task::Train(train) => train.settings.seed,
        Task::Serve(_) => 0,
    };
    let nodes: Vec<_> = built.scaled.iter().map(|scaled| scaled.gradient).collect();
    let shadowed = |functions: &dyn Functions| ranges::largest(program, &built.graph, &built.states, seed, &nodes, functions);
    let shadowed = shadowed(&Exact).into_iter().zip(shadowed(&Maxima::new(program))).map(|(a, b)| a.max(b));
    let mut found: BTreeMap<usize, f64> = BTreeMap::new();
    for (scaled, shadowed) in built.scaled.iter().zip(shadowed) {
        let measured = calibration.and_then(|c| c.gradients.iter().find(|g| g.name == scaled.name));
        let size = measured.map_or(SHADOWED * shadowed, |g| REHEARSED * g.spread.low.abs().max(g.spread.high.abs()));
        let largest = found.entry(scaled.minimize).or_insert(f64::MIN_POSITIVE);
        *largest = largest.max(size);
    }
    for size in found.values_mut() {
        let digits = libm::exp10(1.0 - libm::floor(libm::log10(*size)));
        *size = libm::ceil(*size * digits) / digits;
    }
    found
}

/// The optimisers of all `minimize`, in the order in which they are built.
fn optimizers(program: &mut Program) -> Vec<&mut Optimizer> {
    fn collect<'a>(statements: &'a mut [Stmt], found: &mut Vec<&'a mut Optimizer>) {
        for statement in statements {
            match statement {
                Stmt::Minimize { optimizer, .. } => found.push(optimizer),
                Stmt::Every { body, .. } => collect(body, found),
                Stmt::Let(_) | Stmt::Assign { .. } | Stmt::Reveal { .. } => {}
            }
        }
    }
    let mut found = Vec::new();
    if let Task::Train(train) = &mut program.task {
        collect(&mut train.body.statements, &mut found);
    }
    found
}

/// Where (v + τ) w² stays as long as w follows v: beyond it something was lost.
const FOLLOWS: [f64; 2] = [0.5, 1.5];

/// Has the client watch, where it sees states, that scales are those of their mean squares.
pub fn watch(scaled: &[Scaled], watch: &mut Watch) {
    for Scaled { name, by, constants, span, .. } in scaled.iter().filter(|scaled| scaled.by != By::LogAverage) {
        let mut push = |op: ClearOp| watch.program.push(op);
        let scale = push(ClearOp::State(format!("{name}.{}", build::SCALE)));
        let square = push(ClearOp::State(format!("{name}.{}", build::SQUARE)));
        let sum = push(ClearOp::Affine { x: square, factor: 1.0 / constants.floor(), offset: 1.0 });
        let product = push(ClearOp::Mul(sum, scale));
        let node = push(ClearOp::Mul(product, scale));
        let name = format!("the scale of {name} by {}", by.name());
        watch.arguments.push(Watched { name, node, range: FOLLOWS, span: *span, widens: false });
    }
}

/// All ways that the program leaves open, the best first.
fn variants(optimizer: &Optimizer, constants: Constants, noise: f64) -> Vec<Variant> {
    let pinned = optimizer.tracking;
    let means: &[bool] = match (optimizer.kind, &pinned.normalised) {
        (_, Some(one)) => std::slice::from_ref(one),
        (OptimizerKind::Adam { .. }, None) => &[true, false],
        _ => &[true],
    };
    let mut found = Vec::new();
    for by in By::ALL.into_iter().filter(|by| pinned.by.is_none_or(|one| one == *by)) {
        let error = simulated(by, constants, noise);
        for lagged in [true, false].into_iter().filter(|lagged| pinned.lagged.is_none_or(|one| one == *lagged)) {
            found.extend(means.iter().map(|&normalised| variant(by, lagged, normalised, error, constants, noise)));
        }
    }
    let rank = |v: &Variant| {
        let near = v.error.median <= NEAR && v.error.largest < LOST;
        // What is not near enough is ranked by how far it is.
        let far = if near { 0 } else { (v.error.median.min(1e3) * 1e6) as u64 };
        (!v.holds, !near, far, v.levels_to_weights, v.products, v.levels, !v.normalised)
    };
    found.sort_by_key(rank);
    found
}

fn variant(by: By, lagged: bool, normalised: bool, error: Error, constants: Constants, noise: f64) -> Variant {
    let levels = tracking::levels(by);
    let (own, shares) = tracking::products(by);
    let rest = 1.0 - constants.beta2;
    let (drift, jump) = match by {
        By::LogAverage => (0.0, 0.0),
        By::Newton => (noise, rest / 2.0),
        By::Polynomial => (noise, rest / (INTERVAL[1] - 1.0)),
    };
    let floor = f64::max(DEVIATIONS * drift / libm::sqrt(2.0 * rest), jump);
    Variant {
        by,
        lagged,
        normalised,
        levels_to_weights: if lagged { 1 } else { levels + 1 },
        levels,
        products: own + usize::from(!(shares && lagged && normalised)),
        error,
        least_eps: constants.largest * libm::sqrt(floor),
        holds: constants.floor() >= floor,
    }
}

/// Coordinates and updates of a run that measures errors, and updates that it takes to forget how it started.
const COORDINATES: usize = 40;
const UPDATES: usize = 400;
const FORGOTTEN: usize = 100;
/// The largest coordinate's deviation, in parts of the largest gradient.
const LARGE: f64 = 0.32;

/// The error of a recurrence on gradients of all sizes that drift, with noise on its states at every update. Those below ε need
/// no scale, and do not count.
pub fn simulated(by: By, constants: Constants, noise: f64) -> Error {
    let draws = draws();
    let (low, high) = ((constants.eps / constants.largest).clamp(1e-3, 0.3), LARGE);
    let size = |i: usize| constants.largest * low * libm::pow(high / low, i as f64 / (COORDINATES - 1) as f64);
    let gradients: Vec<Vec<f64>> = (0..UPDATES)
        .map(|t| {
            let drift = libm::exp(0.5 * libm::sin(t as f64 / 200.0));
            let at = |i: usize| size(i) * drift * draws[3 * (t * COORDINATES + i)];
            (0..COORDINATES).map(|i| at(i).clamp(-constants.largest, constants.largest)).collect()
        })
        .collect();
    let start: Vec<f64> = (0..COORDINATES).map(|i| size(i) * size(i)).collect();
    let noises = |t: usize, i: usize| {
        let at = 3 * (t * COORDINATES + i);
        [noise * draws[at + 1], noise * draws[at + 2]]
    };
    errors(&Run { by, constants, gradients: &gradients, start: &start, forgotten: FORGOTTEN }, noises)
}

/// Gradients to follow.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    /// By which recurrence.
    pub by: By,
    /// Its constants.
    pub constants: Constants,
    /// By update, then by coordinate.
    pub gradients: &'a [Vec<f64>],
    /// Mean squares to start from.
    pub start: &'a [f64],
    /// Updates that do not count yet.
    pub forgotten: usize,
}

/// Scales of a recurrence in doubles against those of exact mean squares. `noise` is added to the scale and to the mean
/// square of a coordinate after an update.
pub fn errors(run: &Run<'_>, noise: impl Fn(usize, usize) -> [f64; 2]) -> Error {
    let Run { by, constants, gradients, start, forgotten } = *run;
    let Constants { beta2, eps, largest } = constants;
    let (count, span) = (start.len(), Span::default());
    let mut graph = Graph::default();
    let mut state = |name: &str| graph.push(Op::State(name.to_owned()), &[], Shape::Vector(count), span);
    let (gradient, scale, square) = (state(GRADIENT), state(build::SCALE), state(build::SQUARE));
    let new = tracking::track(&mut graph, by, gradient, States { scale, square: Some(square) }, constants, span);
    let mut exact = start.to_vec();
    let step = |v: f64| 1.0 / libm::sqrt(v + eps * eps);
    let mut scales: Vec<f64> = start.iter().map(|&v| eps * step(v)).collect();
    let mut squares: Vec<f64> = start.iter().map(|v| v / (largest * largest)).collect();
    let mut errors = Vec::new();
    for (t, gradients) in gradients.iter().enumerate() {
        let named = |name: &str, values: &[f64]| (name.to_owned(), values.to_vec());
        let states = [named(GRADIENT, gradients), named(build::SCALE, &scales), named(build::SQUARE, &squares)].into();
        let values = eval::eval(&graph, 1, &Exact, &|_| Vec::new(), &states);
        scales.clone_from(&values[new.scale.index()]);
        if let Some(square) = new.square {
            squares.clone_from(&values[square.index()]);
        }
        for i in 0..count {
            let [of_scale, of_square] = noise(t, i);
            scales[i] += of_scale;
            squares[i] += of_square;
            exact[i] = beta2 * exact[i] + (1.0 - beta2) * gradients[i] * gradients[i];
            if t >= forgotten {
                let error = (scales[i] / (eps * step(exact[i])) - 1.0).abs();
                errors.push(if error.is_nan() { f64::INFINITY } else { error });
            }
        }
    }
    errors.sort_by(f64::total_cmp);
    let at = |part: usize| errors.get(part).copied().unwrap_or(0.0);
    Error { median: at(errors.len() / 2), largest: at(errors.len().saturating_sub(1)) }
}

const GRADIENT: &str = "gradient";

/// Standard normal numbers, always the same.
fn draws() -> Vec<f64> {
    let shape = vec![3 * COORDINATES * UPDATES, 2];
    let state = [State { name: GRADIENT.to_owned(), shape, init: StateInit::He { stream: 0 }, span: Span::default() }];
    let drawn = init::initial_states(&state, 0).remove(GRADIENT).unwrap_or_default();
    drawn.data.into_iter().step_by(2).collect()
}

impl Choice {
    fn diagnostic(&self, best: Variant, hopeless: bool) -> Diagnostic {
        let Constants { beta2, eps, largest } = self.constants;
        let what = format!("eps {eps:e} is too small to follow the scale of gradients by `{}` among ciphertexts", best.by.name());
        let here = format!("the largest gradient is about {largest}, β2 is {beta2}, and noise of a state about {:.1e} of that", self.noise);
        let help = if hopeless {
            "no eps below the gradients themselves would do: leave `by` out, or ask for more `precision`".to_owned()
        } else {
            format!("from {:.2e} on it holds; or leave `by` out", best.least_eps)
        };
        let error = TensorError::Scale { what, span: self.span };
        let diagnostic = Diagnostic::from(&error).here(here).help(help);
        if hopeless { diagnostic } else { diagnostic.warning() }
    }

    /// A recurrence that holds, but does not follow.
    fn far(&self, best: Variant) -> Diagnostic {
        let Constants { eps, largest, .. } = self.constants;
        let what = format!(
            "eps {eps:e} is so small against the gradients that noise moves their scale: step sizes are off by {:.0} % in the median",
            100.0 * best.error.median.min(10.0)
        );
        let here = format!("the largest gradient is about {largest}, and noise of a state about {:.1e} of that", self.noise);
        let follows = |eps: &f64| {
            let error = simulated(best.by, Constants { eps: *eps, ..self.constants }, self.noise);
            error.median <= NEAR && error.largest < LOST
        };
        let larger = (1..).map(|k| eps * libm::exp10(f64::from(k) / 2.0)).take_while(|eps| *eps < largest).find(follows);
        let help = match larger {
            Some(eps) => format!("from about {eps:.1e} on it follows within {} %; `momentum` needs no scale", 100.0 * NEAR),
            None => "`momentum` needs no scale; or ask for more `precision`".to_owned(),
        };
        Diagnostic::from(&TensorError::Scale { what, span: self.span }).here(here).help(help).warning()
    }

    /// The choice as the plan keeps it.
    pub fn decision(&self) -> Decision {
        let best = self.variants[0];
        let near = if best.error.median <= NEAR { String::new() } else { format!(", though not within {} %", 100.0 * NEAR) };
        let why = format!(
            "the fewest levels and products of those that noise ({:.1e} of the largest gradient, {}) and large gradients leave alone{near}",
            self.noise, self.constants.largest
        );
        // Each recurrence, and each other way to take the one that was chosen.
        let alike = |v: &&Variant| v.by == best.by || (v.lagged, v.normalised) == (best.lagged, best.normalised);
        let others: Vec<String> = self.variants[1..].iter().filter(alike).map(Variant::to_string).collect();
        Decision {
            kind: DecisionKind::Optimiser,
            subject: self.nets.join(", "),
            choice: best.to_string(),
            why,
            runner_up: (!others.is_empty()).then(|| others.join("; ")),
            span: Some(self.span),
        }
    }
}

impl std::fmt::Display for Variant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Error { median, largest } = self.error;
        write!(
            f,
            "{} ({}, mean of {}): {} levels to the weights, {} of its own, {} products, errors of the scale {:.2} % (median) and ",
            self.by.name(),
            if self.lagged { "lagged" } else { "fresh" },
            if self.normalised { "normalised gradients" } else { "gradients" },
            self.levels_to_weights,
            self.levels,
            self.products,
            100.0 * median,
        )?;
        if largest < LOST {
            write!(f, "{:.1} % (largest)", 100.0 * largest)?
        } else {
            write!(f, "beyond repair (largest)")?
        };
        if self.holds { Ok(()) } else { write!(f, ", needs eps {:.2e}", self.least_eps) }
    }
}
