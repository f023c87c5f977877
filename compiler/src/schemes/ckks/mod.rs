//! CKKS: layout, polynomials, budget, parameters and keys. [`lower()`] tries ring degrees from the smallest and takes the
//! cheapest plan.

pub mod approximate;
pub mod budget;
pub mod circuit;
mod cost;
mod dense;
mod error;
pub mod known;
mod lower;
mod measure;
mod pack;
pub mod policy;
mod polynomial;
mod rotations;

pub use error::CkksError;
pub use measure::Measure;

use hecc_plan::{Ckks, Geometry, Span, security};

use crate::check::hir::{Program, Task};
use crate::tensor::{Graph, Op, Shape};
use budget::Sized;
use circuit::Circuit;

/// Scale of 0-1 masks, in bits: what rounding a mask leaves of the other slots must stay below the noise, whatever they hold.
const MASK_BITS: u32 = 28;
/// Widest vector.
const WIDEST: usize = 4096;

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
    /// What was decided.
    pub notes: Vec<String>,
    /// Estimated seconds of the server, one thread; ranks rings.
    pub seconds: f64,
    /// The tensor graph it came from.
    pub graph: Graph,
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

/// How rings are tried.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    /// A fixed small ring without a security level, for tests.
    pub insecure_log_n: Option<u32>,
    /// Whether a larger scale is taken where it costs no limb.
    pub refine: bool,
    /// Whether rotations are moved behind sums.
    pub rotations: bool,
}

/// Lowers the graphs that `graph_for` builds (it is told whether some lanes hold no sample). `ring` may fix a small
/// ring without a security level, for tests.
///
/// # Errors
/// Everything that cannot be lowered, with spans.
pub fn lower<E>(
    program: &Program,
    public: &[(String, Vec<usize>)],
    ring: Ring,
    mut graph_for: impl FnMut(bool) -> Result<Graph, E>,
) -> Result<Lowered, LowerError<E>> {
    let Ring { insecure_log_n, refine, rotations: _ } = ring;
    let batch = match &program.task {
        Task::Train(train) => train.settings.batch,
        Task::Serve(serve) => serve.batch,
    };
    let degrees = insecure_log_n.map_or(security::LOG_N, |n| n..=n);
    let mut best: Option<Lowered> = None;
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
                let done = grid.groups() == 1;
                if best.as_ref().is_none_or(|b| lowered.seconds < b.seconds) {
                    best = Some(lowered);
                }
                if done || insecure_log_n.is_some() {
                    break;
                }
            }
            Err((needed, available, span)) => nearest = (needed, available, span),
        }
    }
    if refine
        && insecure_log_n.is_none()
        && let Some(lowered) = best.take()
    {
        return Ok(refined(program, lowered, public, ring));
    }
    let (needed, available, span) = nearest;
    best.ok_or(LowerError::Ckks(vec![CkksError::Budget { needed, available, span }]))
}

/// Lowers another graph of the same program. The ring may change, unless lanes without a sample would be new to the graph.
/// `None` where it cannot be lowered.
pub fn lower_again(program: &Program, graph: &Graph, public: &[(String, Vec<usize>)], ring: Ring, like: &Lowered) -> Option<Lowered> {
    let padding = like.geometry.groups() * like.geometry.lanes != like.geometry.batch;
    let again = lower(program, public, ring, |padded| if padded && !padding { Err(()) } else { Ok(graph.clone()) });
    let same = || {
        let bits = scale(program, graph, like.ckks.log_n);
        lower_for(program, graph, like.geometry, like.ckks.log_n, bits, public, ring).ok()?.ok()
    };
    again.ok().or_else(same)
}

/// What a graph of the same program is lowered to, in the same ring; `None` where it cannot be lowered.
pub fn measure(program: &Program, graph: &Graph, public: &[(String, Vec<usize>)], ring: Ring, like: &Lowered) -> Option<Measure> {
    let mut lowering = lower::Lowering::new(program, graph, like.geometry, like.circuit.scale, public);
    lowering.run();
    if !lowering.errors.is_empty() {
        return None;
    }
    Some(Measure::of(&if ring.rotations { rotations::run(lowering.circuit) } else { lowering.circuit }))
}

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
    let amplified = match maps.max().unwrap_or(1) {
        0..=2 => 0,
        degree => libm::ceil(2.0 * libm::log2(degree as f64)) as u32,
    };
    // A maximum's polynomial is steep where the values are close.
    let compared = |id| matches!(graph.node(id).op, Op::Max(_) | Op::Extremum { .. });
    let amplified = if graph.ids().any(compared) { amplified.max(2) } else { amplified };
    (precision + log_n - 2 + margin + amplified).clamp(20, 48)
}

/// The same plan at a larger scale where that costs no limb: precision for free.
fn refined(program: &Program, lowered: Lowered, public: &[(String, Vec<usize>)], ring: Ring) -> Lowered {
    let ckks = lowered.ckks;
    let limbs = |c: &Ckks| c.max_k.div_ceil(c.base2k);
    for extra in [6, 4, 2, 1] {
        let finer = lower_for(program, &lowered.graph, lowered.geometry, ckks.log_n, ckks.scale + extra, public, ring);
        if let Ok(Ok(finer)) = finer
            && limbs(&finer.ckks) <= limbs(&ckks)
            && finer.seconds <= 1.02 * lowered.seconds
        {
            return finer;
        }
    }
    lowered
}

type TooDeep = (u32, u32, Span);

fn lower_for(
    program: &Program,
    graph: &Graph,
    grid: Geometry,
    log_n: u32,
    scale: u32,
    public: &[(String, Vec<usize>)],
    ring: Ring,
) -> Result<Result<Lowered, TooDeep>, Vec<CkksError>> {
    let insecure = ring.insecure_log_n.is_some();
    let mut lowering = lower::Lowering::new(program, graph, grid, scale, public);
    lowering.run();
    if !lowering.errors.is_empty() {
        // A network that is applied twice shows its errors once.
        let mut seen = Vec::new();
        lowering.errors.retain(|error| {
            !seen.contains(error) && {
                seen.push(error.clone());
                true
            }
        });
        return Err(lowering.errors);
    }
    if ring.rotations {
        lowering.circuit = rotations::run(lowering.circuit);
    }
    let bits = program.secure.bits;
    let bound = if insecure { 4000 } else { security::max_log_modulus(log_n, bits).unwrap_or(0) };
    let pairs = lowering.circuit.nodes.iter().map(|n| n.op.operands().len() / 2).max().unwrap_or(1).max(1);
    let mut widest = (0, 0);
    // Smaller limbs hold longer sums of products on every backend; larger ones are faster.
    for base2k in (36..=52).rev() {
        let sized = budget::size(&lowering.circuit, base2k);
        let limbs = sized.max_k.div_ceil(base2k).max(1);
        let log2 = |n: u32| n.next_power_of_two().ilog2();
        if 2 * (base2k - 1) + log_n + log2(limbs) + log2(pairs as u32) > SUM_BITS {
            continue;
        }
        widest = (sized.max_k, security::max_k(log_n, base2k, bound));
        let Some(keys) = budget::keys(&sized, grid.lanes, &lowering.circuit.matrices, log_n, base2k, bound) else { continue };
        if sized.max_k > bound {
            continue;
        }
        let shapes = keys.relinearisation.iter().chain(keys.rotations.iter().map(|r| &r.shape));
        let log_modulus = shapes.map(hecc_plan::KeyShape::log_modulus).max().unwrap_or(0).max(sized.max_k);
        let security_bits = if insecure { 0 } else { bits };
        let ckks = Ckks { log_n, base2k, scale: lowering.circuit.scale, max_k: sized.max_k, log_modulus, security_bits };
        let seconds = cost::seconds(&ckks, &sized, &lowering.circuit.matrices, &keys);
        return Ok(Ok(Lowered {
            ckks,
            geometry: grid,
            sized,
            keys,
            client: lowering.client.program,
            notes: lowering.notes,
            seconds,
            graph: graph.clone(),
            circuit: lowering.circuit,
        }));
    }
    let deepest = lowering.circuit.nodes.iter().max_by_key(|n| n.depth).map_or(Span::default(), |n| n.span);
    Ok(Err((widest.0, widest.1, deepest)))
}

/// Bits that the transform of every supported backend holds: four 30-bit primes, signed, with a bit to spare.
const SUM_BITS: u32 = 118;
