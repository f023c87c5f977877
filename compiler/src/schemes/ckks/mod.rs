//! CKKS: layout, polynomials, budget, parameters and keys. [`lower()`] tries ring degrees from the smallest and takes the
//! cheapest plan.

mod alone;
pub mod approximate;
mod arith;
pub mod budget;
mod carried;
pub mod circuit;
mod cost;
pub mod cycle;
pub mod decide;
mod dense;
mod error;
mod exchange;
mod extremum;
pub mod inside;
pub mod keys;
pub mod known;
mod lower;
pub mod magnitude;
mod measure;
mod pack;
pub mod policy;
mod polynomial;
mod pool;
mod products;
mod refresh;
pub mod relinearise;
mod rotations;
mod share;
mod tiles;
mod unroll;

pub use error::CkksError;
pub(crate) use lower::magnitude;
pub use measure::Measure;
pub(crate) use polynomial::cost as polynomial_cost;

use hecc_plan::cost::{CostTable, Exchanges, StepCosts};
use hecc_plan::link::round_trips;
use hecc_plan::{Bootstrap, Ckks, Geometry, Span, bootstrap, security};

use crate::approximation::{Approximation, Form};
use crate::check::hir::{Program, Refresh, Task};
use crate::passes::saturate;
use crate::tensor::{Graph, Op, Shape};
use budget::Sized;
use circuit::Circuit;

/// Scale of 0-1 masks, in bits: what rounding a mask leaves of the other slots must stay below the noise, whatever they hold.
pub(crate) const MASK_BITS: u32 = 28;
/// Widest vector.
pub const WIDEST: usize = 4096;

/// A program lowered for one ring.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// Parameters.
    pub ckks: Ckks,
    /// The slot grid.
    pub geometry: Geometry,
    /// The circuit before widths.
    pub circuit: Circuit,
    /// With widths.
    pub sized: Sized,
    /// Keys.
    pub keys: hecc_plan::KeyManifest,
    /// The client's program.
    pub client: hecc_plan::ClearProgram,
    /// States that the key owner computes itself.
    pub settles: Vec<(String, hecc_plan::ClearId)>,
    /// Where it divides gradients by their scale for that.
    pub quotients: Vec<known::Quotient>,
    /// What was decided.
    pub notes: Vec<String>,
    /// Polynomials of activations.
    pub fits: Vec<decide::Fit>,
    /// What each ring brought.
    pub tried: Vec<decide::Tried>,
    /// Seconds of an update's steps: of one thread, unless the plan bootstraps. What passes to and from the client is not in it.
    pub seconds: f64,
    /// The tensor graph it came from.
    pub graph: Graph,
    /// How the server refreshes what it carries, if it does.
    pub bootstrap: Option<Bootstrap>,
    /// The same in words.
    pub refreshing: String,
    /// Where the client refreshes ciphertexts inside an update, what it would take without that: seconds, what crosses counted, or the
    /// bits that it needs and has.
    pub without_exchanges: Option<Result<f64, (u32, u32)>>,
    /// Whether samples have tiles, not lanes.
    pub in_tiles: bool,
    /// The cheapest other way to refresh, in words, and its seconds per update.
    pub second: Option<(String, f64)>,
    /// The cycle of carried states that forces the refresh.
    pub cycle: Option<cycle::Cycle>,
    /// Which polynomials compute its activations.
    pub approximation: Approximation,
    /// Bootstraps inside the updates of a period, where there are any and they were compared with the planner's.
    pub inside: Option<inside::Inside>,
    /// Seconds of an update that convolves pictures the other way, by patches or by a matrix, where there are two; what crosses counted.
    pub convolved: Option<f64>,
    /// The same with twin networks the other way, merged or apart, where there are two.
    pub twins: Option<f64>,
    /// The best other degrees, and the same with them.
    pub degrees: Option<(Vec<Form>, f64)>,
    /// What it saves to have fewer rotation keys than rotations, where it has.
    pub fewer: Option<keys::Fewer>,
}

/// Tolerance of approximations and cap on unpinned degrees, for a program.
pub fn tolerance(program: &Program) -> f64 {
    match program.task {
        // Errors of the layers add up.
        Task::Serve(_) => program.secure.precision / 8.0,
        Task::Train(_) => program.secure.precision.max(1e-3) * 4.0,
    }
}

/// Cap on degrees that no program pins.
pub fn degree_cap() -> usize {
    lower::DEGREE_CAP
}

/// The noise that an update leaves in what the server carries, relative to the largest value there, at the scale that the
/// program's precision takes: that of the least precise bootstrap of all slots.
pub fn carried_noise(program: &Program, graph: &Graph, insecure: Option<u32>) -> f64 {
    let dense = |offer: &Bootstrap| offer.log_slots + 1 == offer.log_n && (insecure.is_none() != offer.is_insecure());
    let offers = bootstrap::offers(*bootstrap::SCALES.start()).into_iter().filter(dense);
    let offers = offers.filter(|offer| insecure.is_none_or(|log_n| offer.log_n == log_n)).filter_map(|offer| {
        let scale = scale(program, graph, offer.log_n).clamp(*bootstrap::SCALES.start(), *bootstrap::SCALES.end());
        bootstrap::offer(&offer.name, scale)
    });
    carried::STATE_RANGE * offers.map(|offer| hecc_plan::noise::bootstrapped(&offer)).fold(0.0, f64::max)
}

/// How rings are tried.
#[derive(Clone, Copy, Debug)]
pub struct Ring<'a> {
    /// A fixed small ring without a security level, for tests.
    pub insecure_log_n: Option<u32>,
    /// Bits of the widest modulus of such a ring, keys included.
    pub insecure_modulus: u32,
    /// Whether more cuts are tried in the end, and a larger scale is taken that costs nothing.
    pub refine: bool,
    /// States that take a new value at every so many updates only.
    pub periods: &'a [(String, u32)],
    /// What is known of the magnitudes of states.
    pub known: magnitude::Known<'a>,
    /// What operations take.
    pub costs: &'a CostTable,
    /// Whether rotations are moved behind sums.
    pub rotations: bool,
    /// Whether a server that trains alone may pack in tiles.
    pub tiles: bool,
    /// Whether it may pack in lanes.
    pub lanes: bool,
    /// The one bootstrap to try, where not all are to be.
    pub offer: Option<&'a str>,
    /// The one method to place bootstraps inside updates by, where it is not to be the best.
    pub inside: Option<inside::Method>,
    /// Where the key owner refreshes inside an update: what may be spent between two refreshes, in 48ths of what a ciphertext of the
    /// ring can spend.
    pub reaches: &'a [u32],
}

/// What [`Ring::reaches`] counts in.
const WHOLE: u32 = 48;
/// Reaches that every ring, graph and scale is tried with.
pub const COARSE: &[u32] = &[48, 32, 24, 20, 16];
/// Those that [`finished`] tries.
const FINE: &[u32] = &[48, 46, 44, 42, 40, 38, 36, 34, 32, 30, 28, 26, 24, 22, 20, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8];

/// Lowers the graphs that `graph_for` builds (it is told whether some lanes hold no sample). `ring` may fix a small
/// ring without a security level, for tests.
///
/// # Errors
/// Everything that cannot be lowered, with spans.
pub fn lower<E>(
    program: &Program,
    public: &[(String, Vec<usize>)],
    ring: Ring<'_>,
    graph_for: impl FnMut(bool) -> Result<Graph, E>,
) -> Result<Lowered, LowerError<E>> {
    match (&program.task, program.secure.refresh) {
        (Task::Serve(_), _) | (Task::Train(_), Refresh::Client) => with_client(program, public, ring, graph_for),
        (Task::Train(_), Refresh::Bootstrap) => alone::run(program, public, ring, graph_for),
        // The pipeline compiles one of each.
        (Task::Train(_), Refresh::Auto) => with_client(program, public, ring, graph_for),
    }
}

/// Lowers an evaluation, or an update whose states the key owner refreshes: tries ring degrees from the smallest.
fn with_client<E>(
    program: &Program,
    public: &[(String, Vec<usize>)],
    ring: Ring<'_>,
    mut graph_for: impl FnMut(bool) -> Result<Graph, E>,
) -> Result<Lowered, LowerError<E>> {
    let Ring { insecure_log_n, .. } = ring;
    let batch = match &program.task {
        Task::Train(train) => train.settings.batch,
        Task::Serve(serve) => serve.batch,
    };
    let degrees = insecure_log_n.map_or(security::LOG_N, |n| n..=n);
    let mut best: Option<Lowered> = None;
    let mut tried = Vec::new();
    let mut nearest = (u32::MAX, 0, Span::default());
    for log_n in degrees {
        let slots = 1usize << (log_n - 1);
        let first = graph_for(false).map_err(LowerError::Graph)?;
        let (width, span) = width(&first);
        if width > WIDEST {
            return Err(LowerError::Ckks(vec![CkksError::TooWide { width, limit: WIDEST, span }]));
        }
        if width > slots {
            continue;
        }
        let grid = Geometry { width, lanes: slots / width, batch };
        // Too many groups of samples would take longer to compile than a larger ring takes to run.
        if grid.groups() > 64 && log_n < *security::LOG_N.end() && insecure_log_n.is_none() {
            continue;
        }
        let padded = grid.groups() * grid.lanes != batch;
        let graph = if padded { graph_for(true).map_err(LowerError::Graph)? } else { first };
        let bits = scale(program, &graph, log_n);
        match lower_for(program, &graph, grid, log_n, bits, public, ring).map_err(LowerError::Ckks)? {
            Ok(lowered) => {
                let cost = lowered.cost(ring.costs);
                tried.push((log_n, Ok(cost)));
                let done = grid.groups() == 1;
                if best.as_ref().is_none_or(|best| cost < best.cost(ring.costs)) {
                    best = Some(lowered);
                }
                if done || insecure_log_n.is_some() {
                    break;
                }
            }
            Err((needed, available, span)) => {
                tried.push((log_n, Err((needed, available))));
                nearest = (needed, available, span);
            }
        }
    }
    if let Some(best) = &mut best {
        best.tried = tried;
    }
    let (needed, available, span) = nearest;
    best.ok_or(LowerError::Ckks(vec![CkksError::Budget { needed, available, span }]))
}

/// Lowers another graph of the same program. The ring may change, unless lanes without a sample would be new to the graph.
/// `None` where it cannot be lowered.
pub fn lower_again(program: &Program, graph: &Graph, public: &[(String, Vec<usize>)], ring: Ring<'_>, like: &Lowered) -> Option<Lowered> {
    let padding = like.geometry.groups() * like.geometry.lanes != like.geometry.batch;
    let again = lower(program, public, ring, |padded| if padded && !padding { Err(()) } else { Ok(graph.clone()) });
    let same = || {
        let bits = scale(program, graph, like.ckks.log_n);
        lower_for(program, graph, like.geometry, like.ckks.log_n, bits, public, ring).ok()?.ok()
    };
    again.ok().or_else(|| like.bootstrap.is_none().then(same).flatten())
}

/// What a graph of the same program is lowered to, in the same ring; `None` where it cannot be lowered.
pub fn measure(program: &Program, graph: &Graph, public: &[(String, Vec<usize>)], ring: Ring<'_>, like: &Lowered) -> Option<Measure> {
    let measure = |circuit: &Circuit| Measure::of(relinearise::run(circuit).as_ref().unwrap_or(circuit));
    if like.bootstrap.is_some() {
        let packing = lower::Packing::simple(like.ckks.scale);
        return alone::body(program, graph, like, public, packing, ring.periods).map(|circuit| measure(&circuit));
    }
    let circuit = circuit_for(program, graph, like.geometry, like.circuit.scale, public, None).ok()?.circuit;
    Some(measure(&if ring.rotations { rotations::run(circuit) } else { circuit }))
}

/// A plan that is kept, with more tried than every ring and graph could be: the key owner's refreshes that are best of many more cuts,
/// and the largest scale that costs next to nothing, which is precision for free.
pub fn finished(program: &Program, public: &[(String, Vec<usize>)], ring: Ring<'_>, lowered: Lowered) -> Lowered {
    if !ring.refine || ring.insecure_log_n.is_some() || lowered.bootstrap.is_some() {
        return lowered;
    }
    let ring = Ring { reaches: FINE, ..ring };
    let Ckks { log_n, scale, .. } = lowered.ckks;
    let at = |scale| lower_for(program, &lowered.graph, lowered.geometry, log_n, scale, public, ring).ok()?.ok();
    let Some(cut) = at(scale) else { return lowered };
    let most = 1.02 * cut.cost(ring.costs);
    let scales = [6, 4, 2, 1].into_iter().map(|extra| scale + extra).filter(|scale| hecc_plan::check::SCALES.contains(scale));
    let finer = scales.filter_map(at).find(|finer| finer.cost(ring.costs) <= most);
    let Lowered { ckks, sized, circuit, keys, client, settles, quotients, fits, seconds, without_exchanges, .. } = finer.unwrap_or(cut);
    Lowered { ckks, sized, circuit, keys, client, settles, quotients, fits, seconds, without_exchanges, ..lowered }
}

/// The same with at most `most` rotation keys; `None` where that cannot be.
pub fn with_keys(program: &Program, ring: Ring<'_>, like: &Lowered, most: usize) -> Option<Lowered> {
    let circuit = keys::run(&like.circuit, like.geometry.lanes, most)?;
    let Lowered { client, settles, quotients, notes, fits, .. } = like.clone();
    let parts = Parts { circuit, client, settles, quotients, notes, fits };
    let found = widths_as_is(program, &like.graph, like.geometry, like.ckks.log_n, parts, like.bootstrap.as_ref(), ring).ok()?;
    let Lowered { ckks, sized, circuit, keys, seconds, .. } = found;
    Some(Lowered { ckks, sized, circuit, keys, seconds, ..like.clone() })
}

/// Where the server bootstraps inside an update, what a bootstrap is in the units of the e-graph.
pub fn refreshing(lowered: &Lowered, ring: Ring<'_>) -> Option<saturate::refresh::Budget> {
    let bootstrap =
        lowered.bootstrap.as_ref().filter(|_| lowered.inside.as_ref().is_some_and(|inside| inside.count > 0 && inside.bound.is_some()))?;
    let Lowered { ckks, keys, circuit, sized, geometry, .. } = lowered;
    let costs = StepCosts::new(ring.costs, ckks, keys, &circuit.matrices, &sized.steps, Some(bootstrap));
    let mean = |of: fn(&hecc_plan::Op) -> bool| {
        let seconds = (0..sized.steps.len()).filter(|&step| of(&sized.steps[step].op));
        let seconds: Vec<f64> = seconds.map(|step| costs.step(&sized.steps, step, geometry.lanes)).collect();
        seconds.iter().sum::<f64>() / seconds.len().max(1) as f64
    };
    // Other steps run side by side, as `cost.rs` has it.
    let rotation = mean(|op| matches!(op, hecc_plan::Op::Rotate { .. })) / ring.costs.machine.threads.max(1) as f64;
    let price = saturate::refresh::priced(mean(|op| matches!(op, hecc_plan::Op::Bootstrap(_))) / rotation.max(1e-9));
    let levels = bootstrap.gain() / circuit.scale;
    Some(saturate::refresh::Budget { levels, unpack: 1, pack: PACK, price: price.saturating_mul(geometry.groups() as u64) })
}

/// Levels that it takes to pack a gradient and to move it to its state: two masks, and the sum over the samples made smaller.
const PACK: u32 = 3;

/// Why [`lower()`] failed.
#[derive(Clone, Debug)]
pub enum LowerError<E> {
    /// The graph could not be built.
    Graph(E),
    /// The graph could not be lowered.
    Ckks(Vec<CkksError>),
}

/// The largest period of a vector that ciphertexts hold.
fn width(graph: &Graph) -> (usize, Span) {
    let mut widest = (1, Span::default());
    for id in graph.ids() {
        let length = match graph.shape(id) {
            Shape::Sample(d) | Shape::Vector(d) => d,
            Shape::Matrix(o, i) => o.max(i),
        };
        if length > widest.0 {
            widest = (length, graph.node(id).span);
        }
    }
    (widest.0.next_power_of_two(), widest.1)
}

/// Bits of ciphertext scale: the precision asked for, what rounding costs at this ring degree, a margin for the operations
/// in between, and what Chebyshev's doublings amplify (an error in T_k returns as k² times itself).
fn scale(program: &Program, graph: &Graph, log_n: u32) -> u32 {
    let precision = libm::ceil(-libm::log2(program.secure.precision)).clamp(4.0, 24.0) as u32;
    let margin = match program.task {
        Task::Train(_) => 7,
        Task::Serve(_) => 8,
    };
    let maps = graph.ids().filter_map(|id| match &graph.node(id).op {
        Op::Map(map) => Some(lower::approximation(program, map).degree()),
        _ => None,
    });
    let doublings = |degree: usize| libm::ceil(2.0 * libm::log2(degree as f64)) as u32;
    let amplified = match maps.max().unwrap_or(1) {
        0..=2 => 0,
        degree => doublings(degree),
    };
    // A maximum's polynomial is steep where the values are close.
    let known = crate::approximation::known(program, graph);
    let compared = graph.ids().filter_map(|id| match graph.node(id).op {
        Op::Max(_) | Op::Extremum { .. } if known[id.index()] => Some(0),
        Op::Max(pins) | Op::Extremum { pins, .. } => Some(magnitude(program, pins).degree()),
        _ => None,
    });
    let amplified = compared.max().map_or(amplified, |degree| amplified.max(if degree <= 4 { 2 } else { doublings(degree) }));
    // What the server carries once for many places is read with the noise of all of them.
    let places = graph.ids().filter_map(|id| match graph.node(id).op {
        Op::Places(window) if program.secure.refresh == Refresh::Bootstrap => Some(window.pitch().ilog2().div_ceil(2)),
        _ => None,
    });
    (precision + log_n - 2 + margin + amplified + places.max().unwrap_or(0)).clamp(20, 48)
}

type TooDeep = (u32, u32, Span);

/// What widths are given to.
#[derive(Clone)]
struct Parts {
    circuit: Circuit,
    client: hecc_plan::ClearProgram,
    settles: Vec<(String, hecc_plan::ClearId)>,
    quotients: Vec<known::Quotient>,
    notes: Vec<String>,
    fits: Vec<decide::Fit>,
}

fn lower_for(
    program: &Program,
    graph: &Graph,
    grid: Geometry,
    log_n: u32,
    scale: u32,
    public: &[(String, Vec<usize>)],
    ring: Ring<'_>,
) -> Result<Result<Lowered, TooDeep>, Vec<CkksError>> {
    let mut lowering = circuit_for(program, graph, grid, scale, public, None)?;
    if ring.rotations {
        lowering.circuit = rotations::run(lowering.circuit);
    }
    let lower::Lowering { circuit, client, settles, notes, fits, .. } = lowering;
    let mut parts = Parts { circuit, client: client.program, settles, quotients: client.quotients, notes, fits };
    if program.secure.refresh == Refresh::Client {
        magnitude::run(program, graph, grid, (&mut parts.circuit, &parts.client), public, ring.known);
    }
    let whole = widths_for(program, graph, grid, log_n, parts.clone(), None, ring);
    if program.secure.refresh != Refresh::Client {
        return Ok(whole);
    }
    // Exchanges inside the update: of what one ciphertext of this ring can spend, or of a part of it.
    let bound = if ring.insecure_log_n.is_some() {
        ring.insecure_modulus
    } else {
        security::max_log_modulus(log_n, program.secure.bits).unwrap_or(0)
    };
    let most = security::max_k(log_n, 50, bound).saturating_sub(scale);
    let cuts = |&parts_of: &u32| {
        let (circuit, client) = exchange::run(&parts.circuit, &parts.client, &grid, most * parts_of / WHOLE)?;
        widths_for(program, graph, grid, log_n, Parts { circuit, client, ..parts.clone() }, None, ring).ok()
    };
    let without = match &whole {
        Ok(whole) => Ok(whole.cost(ring.costs)),
        Err((needed, available, _)) => Err((*needed, *available)),
    };
    let exchanged = ring.reaches.iter().filter_map(cuts).map(|lowered| Lowered { without_exchanges: Some(without), ..lowered });
    let (whole, refused) = match whole {
        Ok(whole) => (Some(whole), None),
        Err(refused) => (None, Some(refused)),
    };
    let all = whole.into_iter().chain(exchanged).map(|lowered| (lowered.cost(ring.costs), lowered));
    let best = all.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, lowered)| lowered);
    Ok(best.ok_or_else(|| refused.expect("what is not lowered whole was refused")))
}

impl Lowered {
    /// Predicted seconds of an update at the server and at the client, on all threads of the table's machine.
    pub(crate) fn with_client(&self, table: &CostTable) -> f64 {
        let Sized { steps, inputs, outputs, rounds, .. } = &self.sized;
        let costs = StepCosts::new(table, &self.ckks, &self.keys, &self.circuit.matrices, steps, self.bootstrap.as_ref());
        let work: Vec<f64> = (0..steps.len()).map(|index| costs.step(steps, index, self.geometry.lanes)).collect();
        let exchanges = Exchanges { steps, work: &work, inputs, outputs, rounds };
        let (server, client) = exchanges.seconds(&costs, table.machine.threads, |_, _| ());
        server + client
    }

    /// What plans are compared by: [`Lowered::with_client`], and what crosses over the table's link.
    pub(crate) fn cost(&self, table: &CostTable) -> f64 {
        self.with_client(table) + table.link.seconds(self.crossing(), round_trips(&self.sized.rounds))
    }

    /// Bytes of an update that cross: fresh ciphertexts as halves, what comes back whole.
    pub(crate) fn crossing(&self) -> u64 {
        let half = |k: u32| (u64::from(k.div_ceil(self.ckks.base2k)) * 8) << self.ckks.log_n;
        let sent: u64 = self.sized.inputs.iter().map(|input| half(input.wire.k)).sum();
        sent + self.sized.outputs.iter().map(|output| 2 * half(self.sized.steps[output.wire.index()].wire.k)).sum::<u64>()
    }
}

/// The circuit of one update.
fn circuit_for<'a>(
    program: &'a Program,
    graph: &'a Graph,
    grid: Geometry,
    scale: u32,
    public: &[(String, Vec<usize>)],
    carried: Option<(lower::Packing, &[(String, u32)])>,
) -> Result<lower::Lowering<'a>, Vec<CkksError>> {
    let mut lowering = lower::Lowering::new(program, graph, grid, scale, public);
    if let Some((packing, periods)) = carried {
        lowering.carry_states(packing, periods);
    }
    if lowering.errors.is_empty() {
        lowering.run();
    }
    if lowering.errors.is_empty() {
        return Ok(lowering);
    }
    // A network that is applied twice shows its errors once.
    let mut seen = Vec::new();
    lowering.errors.retain(|error| {
        !seen.contains(error) && {
            seen.push(error.clone());
            true
        }
    });
    Err(lowering.errors)
}

/// Widths, keys and parameters, with the fewest relinearisations unless their longer sums of products cost more in limbs.
fn widths_for(
    program: &Program,
    graph: &Graph,
    grid: Geometry,
    log_n: u32,
    parts: Parts,
    bootstrap: Option<&Bootstrap>,
    ring: Ring<'_>,
) -> Result<Lowered, TooDeep> {
    let Some(circuit) = relinearise::run(&parts.circuit) else { return widths_as_is(program, graph, grid, log_n, parts, bootstrap, ring) };
    let merged = widths_as_is(program, graph, grid, log_n, Parts { circuit, ..parts.clone() }, bootstrap, ring);
    let other = widths_as_is(program, graph, grid, log_n, parts, bootstrap, ring);
    match (merged, other) {
        (Ok(merged), Ok(other)) => Ok(if other.seconds < merged.seconds { other } else { merged }),
        (merged, other) => merged.or(other),
    }
}

/// The same of the circuit as it is.
fn widths_as_is(
    program: &Program,
    graph: &Graph,
    grid: Geometry,
    log_n: u32,
    parts: Parts,
    bootstrap: Option<&Bootstrap>,
    ring: Ring<'_>,
) -> Result<Lowered, TooDeep> {
    let Parts { circuit, client, settles, quotients, notes, fits } = parts;
    let insecure = ring.insecure_log_n.is_some();
    let bits = program.secure.bits;
    let bound = match bootstrap {
        _ if insecure => ring.insecure_modulus,
        Some(bootstrap) => bootstrap.log_modulus,
        None => security::max_log_modulus(log_n, bits).unwrap_or(0),
    };
    let pairs = circuit.nodes.iter().map(|n| n.op.operands().len() / 2).max().unwrap_or(1).max(1);
    let mut widest = (0, 0);
    // Smaller limbs hold longer sums of products on every backend; larger ones are faster. A bootstrap has limbs of its own.
    let limbs = bootstrap.map_or(36..=52, |b| b.base2k..=b.base2k);
    for base2k in limbs.rev() {
        let sized = budget::size(&circuit, base2k, bootstrap);
        let limbs = sized.max_k.div_ceil(base2k).max(1);
        let log2 = |n: u32| n.next_power_of_two().ilog2();
        if bootstrap.is_none() && 2 * (base2k - 1) + log_n + log2(limbs) + log2(pairs as u32) > SUM_BITS {
            continue;
        }
        let carried = sized.carried.iter().map(|c| c.wire.k).max().unwrap_or(0);
        if let Some(bootstrap) = bootstrap
            && carried > bootstrap.output_k
        {
            widest = (carried, bootstrap.output_k);
            continue;
        }
        widest = (sized.max_k, security::max_k(log_n, base2k, bound));
        let Some(keys) = budget::keys(&sized, grid.lanes, &circuit.matrices, log_n, base2k, bound) else { continue };
        if sized.max_k > bound {
            continue;
        }
        let shapes = keys.relinearisation.iter().chain(keys.rotations.iter().map(|r| &r.shape));
        let bootstrapped = bootstrap.map_or(0, |b| b.log_modulus);
        let log_modulus = shapes.map(hecc_plan::KeyShape::log_modulus).max().unwrap_or(0).max(sized.max_k).max(bootstrapped);
        let security_bits = if insecure { 0 } else { bits };
        let ckks = Ckks { log_n, base2k, scale: circuit.scale, max_k: sized.max_k, log_modulus, security_bits };
        let seconds = cost::seconds(ring.costs, &ckks, &sized, &circuit.matrices, &keys, grid.lanes, bootstrap);
        return Ok(Lowered {
            ckks,
            geometry: grid,
            sized,
            keys,
            client,
            settles,
            quotients,
            notes,
            fits,
            tried: Vec::new(),
            seconds,
            graph: graph.clone(),
            approximation: Approximation::default(),
            circuit,
            bootstrap: bootstrap.cloned(),
            refreshing: String::new(),
            without_exchanges: None,
            in_tiles: false,
            second: None,
            cycle: None,
            inside: None,
            convolved: None,
            twins: None,
            degrees: None,
            fewer: None,
        });
    }
    let deepest = circuit.nodes.iter().max_by_key(|n| n.depth).map_or(Span::default(), |n| n.span);
    Err((widest.0, widest.1, deepest))
}

/// Bits that the transform of every supported backend holds: four 30-bit primes, signed, with a bit to spare.
const SUM_BITS: u32 = 118;
