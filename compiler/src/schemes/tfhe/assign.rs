//! From a circuit to the steps of a plan: torus steps, keys, tables.

use std::collections::BTreeMap;

use hecc_plan::tfhe::parameters::{LookupId, RingId, SwitchId};
use hecc_plan::tfhe::{Carried, Input, Op as Step, Output, Row, Step as PlanStep, Table, TableId, Wire, WireId};
use hecc_plan::{CarriedId, InputId, Span};

use super::circuit::{Circuit, Id, Op, width};

/// Steps without parameters; lookups and switches are numbered by what they take and give.
#[derive(Clone, Debug, Default)]
pub struct Assigned {
    /// The client's vectors.
    pub inputs: Vec<Input>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Steps.
    pub steps: Vec<PlanStep>,
    /// What leaves.
    pub outputs: Vec<Output>,
    /// What stays.
    pub carried: Vec<Carried>,
    /// How many rings there are.
    pub rings: u32,
    /// (operands' ring, results' ring) of each lookup.
    pub lookups: Vec<(RingId, RingId)>,
    /// The same of each switch.
    pub switches: Vec<(RingId, RingId)>,
}

struct Assigner<'a> {
    circuit: &'a Circuit,
    bits: Vec<u32>,
    out: Assigned,
    /// What lookups of the plan are for: the key that they share.
    classes: Vec<Class>,
    made: Vec<WireId>,
    switched: BTreeMap<(WireId, RingId), WireId>,
}

/// Finest torus step that a wire can have, -log2.
const FINEST: u32 = 30;

/// Lookups that share keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Class {
    from: RingId,
    to: RingId,
    /// Whether a bit is read, so that a small key does.
    bit: bool,
}

/// Assigns torus steps and keys. Bits are dropped under a key of their own, which can be small, where there are both tables
/// and bits to drop.
pub fn run(circuit: &Circuit) -> Assigned {
    let drops = circuit.nodes.iter().any(|node| matches!(node.op, Op::Floor { .. }));
    let looks = circuit.nodes.iter().any(|node| matches!(node.op, Op::Table { .. } | Op::Sign { .. }));
    let (bit_ring, table_ring) = if drops && looks { (RingId(0), RingId(1)) } else { (RingId(0), RingId(0)) };
    let rings = if drops && looks { 2 } else { 1 };
    let mut assigner = Assigner {
        circuit,
        bits: bits(circuit),
        out: Assigned { rings, ..Assigned::default() },
        classes: Vec::new(),
        made: Vec::new(),
        switched: BTreeMap::new(),
    };
    let homes = homes(circuit, bit_ring, table_ring);
    for (index, home) in homes.into_iter().enumerate() {
        let wire = assigner.node(Id(index), home);
        assigner.made.push(wire);
    }
    assigner.finish()
}

/// log2 of the torus step of every vector: as fine as the finest of its users reads. What an update keeps stands as what it found.
fn bits(circuit: &Circuit) -> Vec<u32> {
    let mut bits = vec![1u32; circuit.nodes.len()];
    loop {
        refine(circuit, &mut bits);
        let mut changed = false;
        for kept in &circuit.carried {
            let finest = bits[kept.old.0].max(bits[kept.new.0]);
            changed |= bits[kept.old.0] != finest || bits[kept.new.0] != finest;
            (bits[kept.old.0], bits[kept.new.0]) = (finest, finest);
        }
        // What would be finer from update to update has no parameters: they say so.
        if !changed || bits.iter().any(|bits| *bits > FINEST) {
            return bits;
        }
    }
}

/// Steps at least as fine as users read.
fn refine(circuit: &Circuit, bits: &mut [u32]) {
    for output in &circuit.outputs {
        bits[output.id.0] = bits[output.id.0].max(width(circuit.range(output.id)).saturating_sub(1));
    }
    for (index, node) in circuit.nodes.iter().enumerate().rev() {
        let own = bits[index];
        for (slot, operand) in node.op.operands().iter().enumerate() {
            let asked = match &node.op {
                Op::Input { .. } | Op::Carried(_) => 0,
                // With what the server keeps, states have parts that are far coarser than others.
                Op::Affine { rows, .. } if !circuit.carried.is_empty() => own.saturating_sub(multiple(rows, slot)),
                Op::Affine { .. } => own,
                Op::Table { a, .. } => width(circuit.range(*a)),
                Op::Floor { drop, .. } => own + drop,
                Op::Rest { operands: [a, floor] } => match &circuit.node(*floor).op {
                    Op::Floor { drop, .. } if operand != a => own.saturating_sub(*drop),
                    _ => own,
                },
                Op::Sign { a, .. } => width(circuit.range(*a)).saturating_sub(1),
            };
            bits[operand.0] = bits[operand.0].max(asked).max(width(circuit.range(*operand)).saturating_sub(1));
        }
    }
}

/// log2 of the largest power of two that all coefficients of an operand are multiples of.
fn multiple(rows: &[Row], slot: usize) -> u32 {
    let terms = rows.iter().flat_map(|row| &row.terms).filter(|term| term.0 as usize == slot);
    terms.map(|term| term.2.trailing_zeros()).min().unwrap_or(0)
}

/// The key of every vector: tables give theirs, dropped bits theirs, a sum follows the tables in it, and the client encrypts
/// under the key that its vectors are read under.
fn homes(circuit: &Circuit, bit_ring: RingId, table_ring: RingId) -> Vec<RingId> {
    let mut tabled: Vec<bool> = circuit.nodes.iter().map(|node| matches!(node.op, Op::Table { .. } | Op::Sign { .. })).collect();
    // What is kept of a table is one's result.
    for kept in &circuit.carried {
        tabled[kept.old.0] = tabled[kept.new.0];
    }
    // An input beside a table's result in one sum makes every sum that it is in one of tables.
    loop {
        let mut changed = false;
        for (index, node) in circuit.nodes.iter().enumerate() {
            if let Op::Affine { operands, .. } = &node.op {
                let any = operands.iter().any(|o| tabled[o.0]);
                if any && !tabled[index] {
                    tabled[index] = true;
                    changed = true;
                }
                if tabled[index] {
                    for o in operands {
                        if matches!(circuit.node(*o).op, Op::Input { .. }) && !tabled[o.0] {
                            tabled[o.0] = true;
                            changed = true;
                        }
                    }
                }
            }
        }
        if !changed {
            break;
        }
    }
    tabled.into_iter().map(|tabled| if tabled { table_ring } else { bit_ring }).collect()
}

impl Assigner<'_> {
    fn push(&mut self, op: Step, wire: Wire, span: Span) -> WireId {
        self.out.steps.push(PlanStep { op, wire, span });
        WireId(self.out.steps.len() as u32 - 1)
    }

    fn wire(&self, id: WireId) -> Wire {
        self.out.steps[id.index()].wire
    }

    /// The lookup of a class; classes that read bits and classes of tables have keys of their own.
    fn lookup(&mut self, from: RingId, to: RingId, bit: bool) -> LookupId {
        let class = Class { from, to, bit };
        let index = self.classes.iter().position(|c| *c == class).unwrap_or_else(|| {
            self.classes.push(class);
            self.out.lookups.push((from, to));
            self.classes.len() - 1
        });
        LookupId(index as u32)
    }

    /// A vector under another key.
    fn under(&mut self, a: WireId, ring: RingId, span: Span) -> WireId {
        let wire = self.wire(a);
        if wire.ring == ring {
            return a;
        }
        if let Some(&made) = self.switched.get(&(a, ring)) {
            return made;
        }
        let index = self.out.switches.iter().position(|s| *s == (wire.ring, ring)).unwrap_or_else(|| {
            self.out.switches.push((wire.ring, ring));
            self.out.switches.len() - 1
        });
        let made = self.push(Step::Switch { a, switch: SwitchId(index as u32) }, Wire { ring, ..wire }, span);
        self.switched.insert((a, ring), made);
        made
    }

    /// A vector on a coarser torus step, as a bootstrap reads it.
    fn on_step(&mut self, a: WireId, bits: u32, span: Span) -> WireId {
        let wire = self.wire(a);
        if wire.bits == bits {
            return a;
        }
        let rows = (0..wire.len).map(|e| Row { terms: vec![(0, e, 1)], constant: 0 }).collect();
        self.push(Step::Affine { operands: vec![a], rows }, Wire { bits, ..wire }, span)
    }

    fn table(&mut self, values: Table) -> TableId {
        let index = self.out.tables.iter().position(|table| *table == values).unwrap_or_else(|| {
            self.out.tables.push(values);
            self.out.tables.len() - 1
        });
        TableId(index as u32)
    }

    fn node(&mut self, id: Id, home: RingId) -> WireId {
        let node = self.circuit.node(id);
        let (low, high) = node.range();
        let span = node.span;
        let wire = Wire { len: node.ranges.len() as u32, ring: home, bits: self.bits[id.0], low, high };
        match &node.op {
            Op::Input { tensor, label, scale } => {
                self.out.inputs.push(Input { label: label.clone(), tensor: *tensor, scale: *scale });
                let number = InputId(self.out.inputs.len() as u32 - 1);
                self.push(Step::Input(number), wire, span)
            }
            Op::Carried(number) => self.push(Step::Carried(CarriedId(*number as u32)), wire, span),
            Op::Affine { operands, rows } => {
                let operands = operands.iter().map(|o| self.made[o.0]).collect::<Vec<_>>();
                let operands = operands.into_iter().map(|o| self.under(o, home, span)).collect();
                self.push(Step::Affine { operands, rows: rows.clone() }, wire, span)
            }
            Op::Table { a, functions } => {
                let read = width(self.circuit.range(*a)).max(1);
                let a = self.on_step(self.made[a.0], read, span);
                let half = 1i64 << (read - 1);
                let tables = functions.iter().map(|f| self.table(Table { values: (-half..half).map(|v| f.at(v)).collect() })).collect();
                let lookup = self.lookup(self.wire(a).ring, home, false);
                self.push(Step::Table { a, tables, lookup }, wire, span)
            }
            Op::Floor { a, drop } => {
                let a = self.under(self.made[a.0], home, span);
                let a = self.on_step(a, wire.bits + drop, span);
                let lookup = self.lookup(home, home, true);
                self.push(Step::Floor { a, drop: *drop, lookup }, wire, span)
            }
            Op::Rest { operands: [_, floor] } => {
                let floor = self.made[floor.0];
                // The vector as it was where the floor was taken.
                let a = self.out.steps[floor.index()].op.operands()[0];
                let wire = Wire { bits: self.wire(a).bits, ring: self.wire(a).ring, ..wire };
                self.push(Step::Rest { operands: [a, floor] }, wire, span)
            }
            Op::Sign { a, no, yes } => {
                let read = width(self.circuit.range(*a)).saturating_sub(1).max(1);
                let a = self.on_step(self.made[a.0], read, span);
                let lookup = self.lookup(self.wire(a).ring, home, false);
                self.push(Step::Sign { a, no: *no, yes: *yes, lookup }, wire, span)
            }
        }
    }

    fn finish(mut self) -> Assigned {
        let kept = self.circuit.carried.iter();
        self.out.carried = kept.map(|k| Carried { state: k.state.clone(), scale: k.scale, wire: self.made[k.new.0] }).collect();
        for (number, output) in self.circuit.outputs.iter().enumerate() {
            let wire = self.made[output.id.0];
            let label = match &output.target {
                hecc_plan::Target::State(name) => name.clone(),
                hecc_plan::Target::Result { name, .. } => name.clone(),
                hecc_plan::Target::Rated { .. } | hecc_plan::Target::Value { .. } => format!("output {number}"),
            };
            self.out.outputs.push(Output { label, wire, target: output.target.clone(), shape: output.shape.clone(), scale: output.scale });
        }
        self.out
    }
}
