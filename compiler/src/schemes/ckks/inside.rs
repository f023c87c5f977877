//! Bootstraps inside an update by the planner's placement ([`crate::planner::place`]), exact on small graphs, beside the
//! layers of cuts of `refresh`: the cheaper is kept, and the planner's bound says how far it may be from the least.
//! Each layer of cuts is a least one, but not all together: where paths of different lengths meet, layers refresh what a
//! bootstrap a little earlier, outside the layer, would have served.

use hecc_plan::{Bootstrap, Op, WireId};

use super::budget::{self, FETCH_BITS};
use super::circuit::Circuit;
use super::refresh;
use crate::planner::offer::{Offer, Party};
use crate::planner::{Bits, Curve, Dag, Node, place};

/// Most operations, what passes budgets on unchanged not counted, for which placements are searched.
const MOST: usize = 1000;

/// Bootstraps inside the updates of a period, those of what is carried not counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inside {
    /// How many there are.
    pub count: usize,
    /// No placement has fewer.
    pub bound: usize,
}

impl Inside {
    /// Counts the bootstraps of a circuit.
    pub fn new(circuit: &Circuit, bound: usize) -> Self {
        let count = circuit.nodes.iter().filter(|node| matches!(node.op, Op::Bootstrap(_))).count();
        let count = count.saturating_sub(circuit.carried.len());
        Self { count, bound: bound.min(count) }
    }

    /// How far above the bound it is: 0.5 is half as many again.
    pub fn gap(&self) -> f64 {
        if self.bound == 0 { 0.0 } else { self.count as f64 / self.bound as f64 - 1.0 }
    }
}

/// A circuit whose carried values alone are bootstrapped, with bootstraps inside where it needs them: by cuts, and by the
/// planner's placement with the least that there can be.
pub(super) fn both(circuit: &Circuit, bootstrap: &Bootstrap) -> (Vec<Circuit>, Option<usize>) {
    let cuts = refresh::run(circuit, bootstrap);
    if cuts.as_ref().is_some_and(|cuts| Inside::new(cuts, 0).count == 0) {
        return (cuts.into_iter().collect(), None);
    }
    let (placed, bound) = run(circuit, bootstrap).unzip();
    match (cuts, placed, bound) {
        (Some(cuts), _, Some(bound)) if Inside::new(&cuts, bound).count == bound => (vec![cuts], Some(bound)),
        (cuts, placed, bound) => (cuts.into_iter().chain(placed).collect(), bound),
    }
}

/// A circuit whose carried values alone are bootstrapped, with the placement's bootstraps, and the least that there can be
/// inside. `None` for large circuits, and where nothing helps.
fn run(circuit: &Circuit, bootstrap: &Bootstrap) -> Option<(Circuit, usize)> {
    let Reduced { dag, values, numbers } = Reduced::of(circuit, bootstrap);
    if dag.nodes.len() > MOST {
        return None;
    }
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
    let placement = place(&dag, &offer).ok()?;
    let mut marked = vec![false; circuit.nodes.len()];
    placement.bootstraps.iter().for_each(|&node| marked[values[node]] = true);
    let placed = circuit.rebuilt(|new, index, copy| {
        numbers[index]?;
        let node = &circuit.nodes[index];
        let wire = new.push(node.op.map_operands(copy), node.span);
        Some(if marked[index] { new.push(Op::Bootstrap(wire), node.span) } else { wire })
    });
    // Sums of seconds of one each.
    let bound = (placement.lower_bound - 1e-6).ceil().max(0.0) as usize;
    Some((placed, bound))
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
        let needs = budget::needs(circuit, Some(bootstrap));
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
