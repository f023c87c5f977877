//! Bootstraps inside an update by the planner's placement ([`crate::planner::place`]), exact on small graphs, beside the
//! layers of cuts of `refresh`: the cheaper is kept, and the planner's bound says how far it may be from the least.
//! Each layer of cuts is a least one, but not all together: where paths of different lengths meet, layers refresh what a
//! bootstrap a little earlier, outside the layer, would have served.

use hecc_plan::{Bootstrap, Geometry, Op, WireId};

use super::budget::{self, FETCH_BITS};
use super::circuit::Circuit;
use super::{pool, refresh};
use crate::planner::offer::{Offer, Party};
use crate::planner::{Bits, Curve, Dag, Node, improve, place_from};

/// Most operations, what passes budgets on unchanged not counted, for which placements are searched.
const MOST: usize = 1000;

/// Who says where to bootstrap inside an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// Layers of cuts.
    Cuts,
    /// The planner's placement.
    Planner,
    /// Extraction from the e-graph, with the arithmetic.
    Graph,
    /// Layers of cuts, where values of few samples share a bootstrap.
    Shared,
}

impl Method {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cuts => "layers of cuts",
            Self::Planner => "the planner's placement",
            Self::Graph => "the e-graph",
            Self::Shared => "layers of cuts that values of few samples share",
        }
    }
}

/// What one of them brought.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Way {
    /// Which.
    pub method: Method,
    /// Updates of a period.
    pub updates: usize,
    /// Bootstraps inside them.
    pub count: usize,
    /// Predicted seconds of an update.
    pub seconds: f64,
}

/// Bootstraps inside the updates of a period, those of what is carried not counted.
#[derive(Clone, Debug, PartialEq)]
pub struct Inside {
    /// How many there are.
    pub count: usize,
    /// No placement on this circuit has fewer, one for each value; `None` for circuits too large to say.
    pub bound: Option<usize>,
    /// What each method brought, the one taken first.
    pub ways: Vec<Way>,
}

impl Inside {
    /// `ways` in order, each method once.
    pub fn new(mut ways: Vec<Way>, bound: Option<usize>) -> Self {
        ways.sort_by(|a, b| a.seconds.total_cmp(&b.seconds).then(a.method.cmp(&b.method)));
        let mut kept: Vec<Way> = Vec::new();
        for way in ways {
            if kept.iter().all(|other| other.method != way.method) {
                kept.push(way);
            }
        }
        let count = kept.first().map_or(0, |way| way.count);
        Self { count, bound, ways: kept }
    }

    /// How far above the bound it is: 0.5 is half as many again. Below it, if values share bootstraps.
    pub fn gap(&self) -> Option<f64> {
        self.bound.filter(|&bound| bound > 0).map(|bound| self.count as f64 / bound as f64 - 1.0)
    }
}

/// Bootstraps inside the updates of a circuit.
pub(super) fn count(circuit: &Circuit) -> usize {
    inner(circuit).into_iter().filter(|inner| *inner).count()
}

/// Which steps are bootstraps, but not of what a period leaves of a carried ciphertext.
pub(super) fn inner(circuit: &Circuit) -> Vec<bool> {
    let mut inner: Vec<bool> = circuit.nodes.iter().map(|node| matches!(node.op, Op::Bootstrap(_))).collect();
    circuit.carried.iter().for_each(|draft| inner[draft.wire.index()] = false);
    inner
}

/// A circuit with bootstraps where it needs them, by each method, and the least that there can be inside. Bootstraps that are
/// inside already are the e-graph's: the other methods do without them. Where it has something to say, `only` one method is asked.
pub(super) fn ways(
    circuit: &Circuit,
    grid: &Geometry,
    bootstrap: &Bootstrap,
    mask_bits: u32,
    only: Option<Method>,
) -> (Vec<(Method, Circuit)>, Option<usize>) {
    let (bare, proposed) = parted(circuit);
    let cuts = refresh::run(&bare, bootstrap);
    if cuts.as_ref().is_some_and(|cuts| count(cuts) == 0) {
        return (cuts.into_iter().map(|cuts| (Method::Cuts, thinned(&cuts, bootstrap))).collect(), None);
    }
    let mut bound = None;
    let (mut placed, mut graph) = (None, None);
    // What the e-graph counts in levels is completed in bits.
    let whole = proposed.contains(&true).then(|| refresh::run(circuit, bootstrap)).flatten();
    if let Some(search) = Search::new(&bare, bootstrap) {
        let start = cuts.as_ref().map(|cuts| parted(cuts).1);
        let found = search.place(start.as_deref());
        bound = found.as_ref().map(|(_, bound)| *bound);
        // Cuts that meet the bound need no second plan.
        placed = found.filter(|(_, bound)| cuts.as_ref().is_none_or(|cuts| count(cuts) > *bound)).map(|(placed, _)| placed);
        graph = whole.as_ref().and_then(|whole| search.improve(&parted(whole).1));
    }
    let shared = pool::run(&bare, grid, bootstrap, mask_bits);
    let all = [(Method::Cuts, cuts), (Method::Planner, placed), (Method::Graph, graph.or(whole)), (Method::Shared, shared)];
    let wanted = only.filter(|only| all.iter().any(|(method, circuit)| method == only && circuit.is_some()));
    let all = all.into_iter().filter(|(method, _)| wanted.is_none_or(|only| only == *method));
    (all.filter_map(|(method, circuit)| Some((method, thinned(&circuit?, bootstrap)))).collect(), bound)
}

/// A circuit whose bootstraps are those of a schedule, with others where it still needs them and without those that it does
/// without.
pub(super) fn as_scheduled(circuit: &Circuit, bootstrap: &Bootstrap) -> Option<Circuit> {
    refresh::run(circuit, bootstrap).map(|whole| thinned(&whole, bootstrap))
}

/// The circuit without the bootstraps inside, and which of its values they were of.
fn parted(circuit: &Circuit) -> (Circuit, Vec<bool>) {
    let inner = inner(circuit);
    if !inner.contains(&true) {
        return (circuit.clone(), vec![false; circuit.nodes.len()]);
    }
    let mut marked = vec![false; circuit.nodes.len()];
    let bare = circuit.rebuilt(|new, index, copy| {
        let node = &circuit.nodes[index];
        Some(match node.op {
            Op::Bootstrap(wire) if inner[index] => {
                marked[copy(wire).index()] = true;
                copy(wire)
            }
            _ => new.push(node.op.map_operands(copy), node.span),
        })
    });
    marked.truncate(bare.nodes.len());
    (bare, marked)
}

/// The circuit without those bootstraps that it does without, the latest first: those of carried ciphertexts too, where an
/// update leaves them as they are, or where what is left of them is enough for the next period.
pub(super) fn thinned(circuit: &Circuit, bootstrap: &Bootstrap) -> Circuit {
    let reach = bootstrap.output_k - circuit.scale;
    let mut left_out = vec![false; circuit.nodes.len()];
    for at in (0..circuit.nodes.len()).rev().filter(|&at| matches!(circuit.nodes[at].op, Op::Bootstrap(_))) {
        left_out[at] = true;
        let (needs, repeats) = budget::needs_without(circuit, Some(bootstrap), &left_out);
        let starts = |index: &usize| match circuit.nodes[*index].op {
            Op::Carried(_) => true,
            Op::Bootstrap(_) => !left_out[*index],
            _ => false,
        };
        left_out[at] = repeats && (0..circuit.nodes.len()).filter(starts).all(|index| needs[index].is_none_or(|need| need <= reach));
    }
    if !left_out.contains(&true) {
        return circuit.clone();
    }
    circuit.rebuilt(|new, index, copy| {
        let node = &circuit.nodes[index];
        Some(match node.op {
            Op::Bootstrap(wire) if left_out[index] => copy(wire),
            _ => new.push(node.op.map_operands(copy), node.span),
        })
    })
}

/// The planner's view of a circuit whose carried values alone are bootstrapped.
struct Search<'a> {
    circuit: &'a Circuit,
    offer: Offer,
    reduced: Reduced,
}

impl<'a> Search<'a> {
    /// `None` for large circuits.
    fn new(circuit: &'a Circuit, bootstrap: &Bootstrap) -> Option<Self> {
        let reduced = Reduced::of(circuit, bootstrap);
        let offer = Offer {
            name: bootstrap.name.clone(),
            party: Party::Server,
            slots: 1 << bootstrap.log_slots,
            input: Bits(bootstrap.input_k - circuit.scale),
            output: Bits(bootstrap.output_k - circuit.scale),
            // What other operations take is little beside it: bootstraps are counted.
            seconds: Curve::constant(1.0),
            moment_seconds: 0.0,
            traffic: Curve::constant(0.0),
            key_bytes: 0,
            memory_bytes: 0,
        };
        (reduced.dag.nodes.len() <= MOST).then_some(Self { circuit, offer, reduced })
    }

    /// The circuit with the placement's bootstraps, whose search also starts from `start`, and the least that there can be
    /// inside. `None` where nothing helps.
    fn place(&self, start: Option<&[bool]>) -> Option<(Circuit, usize)> {
        let starts = start.map(|start| self.marks(start)).into_iter().collect();
        let placement = place_from(&self.reduced.dag, &self.offer, starts).ok()?;
        // Sums of seconds of one each.
        let bound = (placement.lower_bound - 1e-6).ceil().max(0.0) as usize;
        let mut marks = vec![false; self.reduced.dag.nodes.len()];
        placement.bootstraps.iter().for_each(|&node| marks[node] = true);
        Some((self.bootstrapped(&marks), bound))
    }

    /// The circuit with bootstraps of those values, after small improvements.
    fn improve(&self, start: &[bool]) -> Option<Circuit> {
        improve(&self.reduced.dag, &self.offer, self.marks(start)).map(|marks| self.bootstrapped(&marks))
    }

    /// Values as nodes.
    fn marks(&self, values: &[bool]) -> Vec<bool> {
        let mut marks = vec![false; self.reduced.dag.nodes.len()];
        values.iter().zip(&self.reduced.numbers).filter(|(value, _)| **value).for_each(|(_, number)| {
            number.iter().for_each(|&number| marks[number] = true);
        });
        marks
    }

    fn bootstrapped(&self, marks: &[bool]) -> Circuit {
        let Self { circuit, reduced, .. } = self;
        let mut marked = vec![false; circuit.nodes.len()];
        (0..marks.len()).filter(|&node| marks[node]).for_each(|node| marked[reduced.values[node]] = true);
        circuit.rebuilt(|new, index, copy| {
            reduced.numbers[index]?;
            let node = &circuit.nodes[index];
            let wire = new.push(node.op.map_operands(copy), node.span);
            Some(if marked[index] { new.push(Op::Bootstrap(wire), node.span) } else { wire })
        })
    }
}

/// A circuit as the placement sees it. What passes budgets on unchanged from one operand is that operand: to bootstrap the
/// operand serves at least as many.
struct Reduced {
    dag: Dag,
    /// The step that a node stands for.
    values: Vec<usize>,
    /// The node of each step that is needed.
    numbers: Vec<Option<usize>>,
}

impl Reduced {
    fn of(circuit: &Circuit, bootstrap: &Bootstrap) -> Self {
        let needs = budget::needs_once(circuit, bootstrap.input_k - circuit.scale);
        // Inputs come as wide as they are needed.
        let widest = budget::needs(circuit, None).into_iter().flatten().max().unwrap_or(0);
        let mut reduced = Self { dag: Dag::default(), values: Vec::new(), numbers: Vec::with_capacity(circuit.nodes.len()) };
        for (index, node) in circuit.nodes.iter().enumerate() {
            let number = needs[index].map(|_| reduced.node(circuit, bootstrap, index, &node.op, widest));
            reduced.numbers.push(number);
        }
        let require = |dag: &mut Dag, numbers: &[Option<usize>], wire: WireId, bits: u32| {
            if let Some(number) = numbers[wire.index()] {
                let required = &mut dag.nodes[number].required;
                *required = (*required).max(Some(Bits(bits)));
            }
        };
        for output in &circuit.outputs {
            require(&mut reduced.dag, &reduced.numbers, output.wire, output.headroom);
        }
        for &wire in circuit.saves.iter().flatten() {
            require(&mut reduced.dag, &reduced.numbers, wire, FETCH_BITS);
        }
        for node in &circuit.nodes {
            if let Op::Bootstrap(wire) = node.op {
                require(&mut reduced.dag, &reduced.numbers, wire, bootstrap.input_k - circuit.scale);
            }
        }
        reduced
    }

    fn node(&mut self, circuit: &Circuit, bootstrap: &Bootstrap, index: usize, op: &Op, widest: u32) -> usize {
        let spent = budget::spent(circuit, op);
        // What a bootstrap of the carried gives is nobody's operand any more.
        let fresh = matches!(op, Op::Input(_) | Op::Carried(_) | Op::Bootstrap(_));
        let mut operands: Vec<usize> =
            if fresh { Vec::new() } else { op.operands().iter().filter_map(|w| self.numbers[w.index()]).collect() };
        operands.sort_unstable();
        operands.dedup();
        if let ([operand], 0) = (operands.as_slice(), spent) {
            return *operand;
        }
        let available = if matches!(op, Op::Input(_)) { widest } else { bootstrap.output_k - circuit.scale };
        self.values.push(index);
        self.dag.nodes.push(Node {
            spent: Bits(spent),
            seconds: Curve::constant(0.0),
            ciphertexts: 1,
            operands,
            available: Bits(if fresh { available } else { 0 }),
            required: None,
        });
        self.dag.nodes.len() - 1
    }
}
