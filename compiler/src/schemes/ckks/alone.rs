//! A server that trains without the client: every bootstrap that the runtime knows, every way to pack the states, and as
//! many updates between two bootstraps as the budget holds; the plan that takes the least time is taken.

use std::collections::BTreeMap;

use hecc_plan::{Bootstrap, Geometry, bootstrap};

use super::circuit::Circuit;
use super::inside::{Inside, Method, Way};
use super::share::Shares;
use super::{
    CkksError, LowerError, Lowered, MASK_BITS, Parts, Ring, TooDeep, circuit_for, cycle, decide, inside, known, lower, refresh, scale,
    share, tiles, unroll, width, widths_for,
};
use crate::check::hir::{Program, Task};
use crate::passes::saturate;
use crate::tensor::Graph;

/// Most updates between two bootstraps.
const MOST_UPDATES: usize = 8;
/// The same where the e-graph chose bootstraps: its budget is that of one update.
const PROPOSED_UPDATES: usize = 2;
/// Levels of masks with which lanes are unpacked and packed.
const LANE_PACKINGS: [(usize, usize); 5] = [(0, 1), (1, 1), (0, 2), (1, 2), (2, 2)];

/// An update of one program, in one ring and packed one way.
struct Body<'a> {
    grid: Geometry,
    in_tiles: bool,
    log_n: u32,
    scale: u32,
    graph: Graph,
    parts: Parts,
    program: &'a Program,
    /// When each carried ciphertext is bootstrapped, where the planner says so.
    shares: Option<Shares>,
    /// The update where states that change rarely are known to change or not to, by their periods.
    settled: BTreeMap<Settled, Circuit>,
    periods: &'a [(String, u32)],
}

/// Which of the periods are over with an update.
type Settled = Vec<(u32, bool)>;

/// What was tried, and the best of it.
struct Search<'a> {
    ring: Ring<'a>,
    most_updates: usize,
    best: Option<Lowered>,
    tried: Vec<(String, f64)>,
    /// Least seconds in each ring.
    rings: BTreeMap<u32, f64>,
    nearest: TooDeep,
}

/// Lowers the graphs that `graph_for` builds, as [`super::lower()`].
pub(super) fn run<E>(
    program: &Program,
    public: &[(String, Vec<usize>)],
    ring: Ring<'_>,
    mut graph_for: impl FnMut(bool) -> Result<Graph, E>,
) -> Result<Lowered, LowerError<E>> {
    let Ring { insecure_log_n, periods, .. } = ring;
    let Task::Train(train) = &program.task else { unreachable!("only training has a state to refresh") };
    let first = graph_for(false).map_err(LowerError::Graph)?;
    let most_updates = train.settings.updates.min(MOST_UPDATES);
    let mut search =
        Search { ring, most_updates, best: None, tried: Vec::new(), rings: BTreeMap::new(), nearest: (u32::MAX, 0, width(&first).1) };
    let fits = |offer: &Bootstrap| {
        ring.offer.is_none_or(|only| only == offer.name)
            && match insecure_log_n {
                None => !offer.is_insecure(),
                Some(log_n) => offer.is_insecure() && offer.log_n == log_n,
            }
    };
    let offers: Vec<Bootstrap> = bootstrap::offers(*bootstrap::SCALES.start()).into_iter().filter(fits).collect();
    let mut refused = None;
    let mut rings: Vec<u32> = offers.iter().map(|offer| offer.log_n).collect();
    rings.sort_unstable();
    rings.dedup();
    for log_n in rings {
        let own: Vec<&Bootstrap> = offers.iter().filter(|offer| offer.log_n == log_n).collect();
        match bodies(program, public, ring, (&first, &mut graph_for), (&own, train.settings.batch), most_updates) {
            Ok(bodies) => bodies.iter().for_each(|body| own.iter().for_each(|offer| search.refresh(body, &offer.name))),
            // A larger ring may have room for what this one has not.
            Err(error) => refused = refused.or(Some(error)),
        }
    }
    let (needed, available, span) = search.nearest;
    let deep = || LowerError::Ckks(vec![CkksError::Budget { needed, available, span }]);
    let mut best = search.best.ok_or_else(|| refused.unwrap_or_else(deep))?;
    best.tried = search.rings.into_iter().map(|(log_n, seconds)| (log_n, Ok(seconds))).collect();
    let others = search.tried.into_iter().filter(|(way, _)| *way != best.refreshing);
    best.second = others.min_by(|a, b| a.1.total_cmp(&b.1));
    let apart = lower::Packing { apart: true, ..lower::Packing::simple(best.ckks.scale) };
    best.cycle = body(program, &best.graph, &best, public, apart, periods).and_then(|body| cycle::run(&body));
    Ok(best)
}

/// The update packed in every way, in the ring of `offers`.
fn bodies<'a, E>(
    program: &'a Program,
    public: &[(String, Vec<usize>)],
    ring: Ring<'a>,
    (first, graph_for): (&Graph, &mut impl FnMut(bool) -> Result<Graph, E>),
    (offers, batch): (&[&Bootstrap], usize),
    most_updates: usize,
) -> Result<Vec<Body<'a>>, LowerError<E>> {
    let Some(log_n) = offers.first().map(|offer| offer.log_n) else { return Ok(Vec::new()) };
    let periods = ring.periods;
    let slots = 1usize << (log_n - 1);
    let (width, _) = width(first);
    let tiled = tiles::grid(first, public, slots, batch).filter(|_| ring.tiles).map(|grid| (grid, true));
    let lanes = (width <= slots).then(|| (Geometry { width, lanes: slots / width, batch }, false));
    let mut bodies = Vec::new();
    for (grid, in_tiles) in [tiled, lanes].into_iter().flatten() {
        // Without lanes there are still those programs that have no other form.
        if !in_tiles && !ring.lanes && !bodies.is_empty() {
            continue;
        }
        let padded = grid.groups() * grid.lanes != batch;
        // A graph that is lowered again may have none for samples that are missing; other grids have none missing.
        let Some(graph) = (if padded { graph_for(true).ok() } else { Some(first.clone()) }) else { continue };
        let scale = scale(program, &graph, log_n).clamp(*bootstrap::SCALES.start(), *bootstrap::SCALES.end());
        let mut push = |lowering: lower::Lowering<'_>, shares: Option<&Shares>| {
            let (settled, client) = settled(program, public, &lowering, most_updates);
            let lower::Lowering { circuit, settles, notes, fits, .. } = lowering;
            let parts = Parts { circuit, client: client.program, settles, quotients: Vec::new(), notes, fits };
            bodies.push(Body {
                grid,
                in_tiles,
                log_n,
                scale,
                graph: graph.clone(),
                parts,
                program,
                shares: shares.cloned(),
                settled,
                periods,
            });
        };
        if in_tiles {
            tiles::lower(program, &graph, grid, scale, public, periods).into_iter().for_each(|lowering| push(lowering, None));
            continue;
        }
        for (unpack, pack) in LANE_PACKINGS {
            let packing = lower::Packing { unpack, pack, ..lower::Packing::simple(scale) };
            let lowering = circuit_for(program, &graph, grid, scale, public, Some((packing, periods))).map_err(LowerError::Ckks)?;
            // Several ciphertexts may share in another way.
            let blocks = lowering.blocks().filter(|_| lowering.circuit.carried.len() > 1);
            push(lowering, None);
            let Some(blocks) = blocks else { continue };
            let apart = lower::Packing { apart: true, ..packing };
            let Ok(apart) = circuit_for(program, &graph, grid, scale, public, Some((apart, periods))) else { continue };
            let mut known: Vec<Shares> = Vec::new();
            for offer in offers.iter().filter_map(|offer| bootstrap::offer(&offer.name, scale)) {
                let Some(shares) = share::run(&apart.circuit, blocks, &offer, most_updates).filter(|shares| !known.contains(shares)) else {
                    continue;
                };
                let packing = lower::Packing { packs: Some(shares.packs), ..packing };
                let lowering = circuit_for(program, &graph, grid, scale, public, Some((packing, periods))).map_err(LowerError::Ckks)?;
                push(lowering, Some(&shares));
                known.push(shares);
            }
        }
    }
    Ok(bodies)
}

/// The periods that end with an update of a plan of so many, where that is the same in every round of the plan.
fn ends(periods: &[(String, u32)], update: u32, updates: u32) -> Settled {
    let mut periods: Vec<u32> = periods.iter().map(|(_, period)| *period).filter(|&period| period > 1).collect();
    periods.sort_unstable();
    periods.dedup();
    periods
        .into_iter()
        .filter(|&period| updates.is_multiple_of(period))
        .map(|period| (period, (update + 1).is_multiple_of(period)))
        .collect()
}

/// The same update where it is known which states change: those that do not are left as they are, without a mask, and need no
/// bootstrap. Also the client's program for all of them.
fn settled(
    program: &Program,
    public: &[(String, Vec<usize>)],
    like: &lower::Lowering<'_>,
    most_updates: usize,
) -> (BTreeMap<Settled, Circuit>, known::Client) {
    let (mut found, mut client) = (BTreeMap::new(), like.client.clone());
    if !like.carries() {
        return (found, client);
    }
    for updates in 1..=most_updates as u32 {
        for key in (0..updates).map(|update| ends(&like.periods, update, updates)) {
            if key.is_empty() || found.contains_key(&key) {
                continue;
            }
            let mut lowering = lower::Lowering::new(program, like.graph, like.grid, like.circuit.scale, public);
            lowering.client = client.clone();
            lowering.carry_states(like.packing, &like.periods);
            lowering.settled.clone_from(&key);
            lowering.run();
            if lowering.errors.is_empty() {
                client = lowering.client;
                found.insert(key, lowering.circuit);
            }
        }
    }
    (found, client)
}

impl Body<'_> {
    /// The updates of a period, where states that change rarely are known to change or not to.
    fn updates(&self, updates: u32) -> Vec<&Circuit> {
        let body = |update: u32| self.settled.get(&ends(self.periods, update, updates)).unwrap_or(&self.parts.circuit);
        (0..updates).map(body).collect()
    }
}

impl Search<'_> {
    /// Tries one update per bootstrap, two, and so on.
    fn refresh(&mut self, body: &Body<'_>, offer: &str) {
        let Some(offer) = bootstrap::offer(offer, body.scale) else { return };
        let refreshed = 1usize << offer.log_slots;
        let dense = offer.log_slots + 1 == offer.log_n;
        // What the tiles hold repeats; lanes need every slot.
        let enough = if body.in_tiles { body.grid.width <= refreshed } else { dense };
        if !enough {
            return;
        }
        let proposed = saturate::refresh::refreshes(&body.graph) > 0;
        let most = if proposed { self.most_updates.min(PROPOSED_UPDATES) } else { self.most_updates };
        for updates in 1..=most {
            let bodies = body.updates(updates as u32);
            let unrolled = if proposed { unroll::scheduled(&bodies, |_, _| true) } else { unroll::run(&bodies) };
            let (ways, bound) = if body.in_tiles {
                // Only what all tiles hold alike repeats, and is small in every slot: nothing inside an update.
                let as_it_is = refresh::run(&unrolled, &offer).filter(|circuit| circuit.nodes.len() == unrolled.nodes.len());
                (as_it_is.into_iter().map(|circuit| (Method::Cuts, circuit)).collect(), None)
            } else {
                inside::ways(&unrolled, &body.grid, &offer, body.scale.min(MASK_BITS), self.ring.inside)
            };
            let shares = body.shares.as_ref().filter(|shares| shares.refreshed.len() == updates);
            let scheduled = shares.and_then(|shares| {
                let scheduled = unroll::scheduled(&bodies, |update, id| shares.refreshed[update as usize][id]);
                inside::as_scheduled(&scheduled, &offer)
            });
            let mut brought: Vec<Way> = Vec::new();
            let lower = |(method, circuit)| {
                let count = inside::count(&circuit);
                let parts = Parts { circuit, ..body.parts.clone() };
                let mut lowered = widths_for(body.program, &body.graph, body.grid, body.log_n, parts, Some(&offer), self.ring)?;
                brought.push(Way { method, updates, count, seconds: lowered.seconds });
                if method != Method::Graph {
                    lowered.graph = saturate::refresh::without(&lowered.graph);
                }
                Ok(lowered)
            };
            let cheapest = |a: Result<Lowered, TooDeep>, b: Result<Lowered, TooDeep>| match (a, b) {
                (Ok(a), Ok(b)) => Ok(if b.seconds < a.seconds { b } else { a }),
                (a, b) => a.or(b),
            };
            match ways.into_iter().chain(scheduled.map(|circuit| (Method::Planner, circuit))).map(lower).reduce(cheapest) {
                None => return,
                Some(Err(deep)) => {
                    if deep.0 < self.nearest.0 {
                        self.nearest = deep;
                    }
                    return;
                }
                Some(Ok(mut lowered)) => {
                    let how = if body.in_tiles { ", in tiles" } else { "" };
                    lowered.refreshing = format!("`{}` {}{how}", offer.name, decide::every(updates));
                    lowered.in_tiles = body.in_tiles;
                    lowered.inside = brought.iter().any(|way| way.count > 0).then(|| Inside::new(brought, bound));
                    self.tried.push((lowered.refreshing.clone(), lowered.seconds));
                    let least = self.rings.entry(body.log_n).or_insert(f64::INFINITY);
                    *least = least.min(lowered.seconds);
                    if self.best.as_ref().is_none_or(|best| lowered.seconds < best.seconds) {
                        self.best = Some(lowered);
                    }
                }
            }
        }
    }
}

/// One update of a plan whose server carries the states.
pub(super) fn body(
    program: &Program,
    graph: &Graph,
    like: &Lowered,
    public: &[(String, Vec<usize>)],
    packing: lower::Packing,
    periods: &[(String, u32)],
) -> Option<Circuit> {
    let (grid, scale) = (like.geometry, like.ckks.scale);
    if like.in_tiles {
        return tiles::lower(program, graph, grid, scale, public, periods).map(|lowering| lowering.circuit);
    }
    circuit_for(program, graph, grid, scale, public, Some((packing, periods))).ok().map(|lowering| lowering.circuit)
}
