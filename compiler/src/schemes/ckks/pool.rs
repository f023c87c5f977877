//! Values of few samples share a bootstrap.
//!
//! A bootstrap takes as long for one slot as for all. Where the batch leaves most lanes of a ciphertext empty, values that are
//! refreshed at the same point of an update are masked to the lanes that anything reads, shifted side by side and added; one
//! bootstrap refreshes them all, and the shifts are taken back. Lanes that nothing reads hold zero afterwards, as they do where no
//! sample is, whatever they held before.
//!
//! Which lanes anything reads is followed backwards from what leaves the update, and which are zero forwards from what enters it: a
//! mask or a factor that is zero in a lane asks for nothing there. Bootstraps are at the same point if as many are in a row before
//! them: none of these depends on another.

use std::collections::BTreeMap;

use hecc_plan::{Bootstrap, Content, Geometry, Lanes, Layout, Op, Plain, PlainPattern, Span, WireId};

use super::circuit::Circuit;
use super::{inside, refresh};

/// A circuit whose bootstraps inside updates are shared where they can be; `None` where none can. `mask_bits` is the scale of masks.
pub(super) fn run(bare: &Circuit, grid: &Geometry, bootstrap: &Bootstrap, mask_bits: u32) -> Option<Circuit> {
    if grid.batch.next_power_of_two() * 2 > grid.lanes {
        return None;
    }
    // A mask before and a mask after.
    let masked =
        Bootstrap { input_k: bootstrap.input_k + mask_bits, output_k: bootstrap.output_k.checked_sub(mask_bits)?, ..bootstrap.clone() };
    let cut = inside::thinned(&refresh::run(bare, &masked)?, &masked);
    let pools = pools(&cut, grid);
    pools.iter().any(|pool| pool.members.len() > 1).then(|| pooled(&cut, grid, &pools, mask_bits))
}

/// Bootstraps that become one.
struct Pool {
    /// The bootstraps.
    members: Vec<usize>,
    /// Lanes of each, a power of two.
    block: usize,
    /// Whether other lanes hold zero before the bootstrap already.
    clean: Vec<bool>,
}

/// Lanes, as a set.
type Set = Vec<bool>;

fn pools(circuit: &Circuit, grid: &Geometry) -> Vec<Pool> {
    let inner = inside::inner(circuit);
    let zero = zero(circuit, grid);
    let read = read(circuit, grid, &zero);
    let stages = stages(circuit, &inner);
    let mut open: BTreeMap<(usize, u32, usize), Pool> = BTreeMap::new();
    let mut pools = Vec::new();
    for index in (0..circuit.nodes.len()).filter(|&index| inner[index]) {
        let Op::Bootstrap(of) = circuit.nodes[index].op else { continue };
        let needed = |lane: &usize| read[index][*lane] && !zero[of.index()][*lane];
        let block = (0..grid.lanes).rev().find(needed).map_or(1, |last| (last + 1).next_power_of_two());
        if 2 * block > grid.lanes {
            continue;
        }
        let key = (stages[index], circuit.nodes[index].round, block);
        let pool = open.entry(key).or_insert_with(|| Pool { members: Vec::new(), block, clean: Vec::new() });
        pool.members.push(index);
        pool.clean.push(zero[of.index()][block..].iter().all(|zero| *zero));
        if pool.members.len() == grid.lanes / block {
            pools.extend(open.remove(&key));
        }
    }
    pools.extend(open.into_values());
    pools
}

/// How many bootstraps inside the update are in a row before each step, itself included.
fn stages(circuit: &Circuit, inner: &[bool]) -> Vec<usize> {
    let mut stages: Vec<usize> = Vec::with_capacity(circuit.nodes.len());
    for (index, node) in circuit.nodes.iter().enumerate() {
        let before = node.op.operands().iter().map(|w| stages[w.index()]).max().unwrap_or(0);
        stages.push(before + usize::from(inner[index]));
    }
    stages
}

/// Lanes that hold zero in every neuron.
fn zero(circuit: &Circuit, grid: &Geometry) -> Vec<Set> {
    let plains: Vec<Set> = circuit.plains.iter().map(|plain| not(&of_pattern(&plain.pattern, grid))).collect();
    let mut zero: Vec<Set> = Vec::with_capacity(circuit.nodes.len());
    for node in &circuit.nodes {
        let set = |w: &WireId| &zero[w.index()];
        let lanes = match &node.op {
            Op::Input(id) => not(&of_contents(&circuit.inputs[id.0 as usize].contents, grid)),
            Op::Carried(id) => not(&of_contents(&circuit.carried[id.0 as usize].contents, grid)),
            Op::Add(a, b) | Op::Sub(a, b) => both(set(a), set(b)),
            Op::AddConst(..) => vec![false; grid.lanes],
            Op::AddPlain(a, plain) => both(set(a), &plains[plain.0 as usize]),
            Op::MulPlain(a, plain) => either(set(a), &plains[plain.0 as usize]),
            Op::Dot(pairs) => {
                let products = pairs.iter().map(|(a, b)| either(set(a), set(b)));
                products.reduce(|a, b| both(&a, &b)).unwrap_or_else(|| vec![true; grid.lanes])
            }
            Op::Rotate { a, by } => shifted(set(a), *by),
            Op::MulConst { a, .. } | Op::Halve { a, .. } | Op::Linear(a, _) | Op::Narrow(a) | Op::Bootstrap(a) => set(a).clone(),
        };
        zero.push(lanes);
    }
    zero
}

/// Lanes that something reads.
fn read(circuit: &Circuit, grid: &Geometry, zero: &[Set]) -> Vec<Set> {
    let plains: Vec<Set> = circuit.plains.iter().map(|plain| of_pattern(&plain.pattern, grid)).collect();
    let mut read: Vec<Set> = vec![vec![false; grid.lanes]; circuit.nodes.len()];
    let add = |read: &mut Vec<Set>, wire: WireId, lanes: &[bool]| {
        read[wire.index()].iter_mut().zip(lanes).for_each(|(read, lane)| *read |= lane);
    };
    circuit.outputs.iter().for_each(|output| add(&mut read, output.wire, &of_contents(&output.contents, grid)));
    for (id, draft) in circuit.carried.iter().enumerate() {
        let lanes = of_contents(&draft.contents, grid);
        add(&mut read, draft.wire, &lanes);
        circuit.saves.iter().for_each(|saves| add(&mut read, saves[id], &lanes));
    }
    for index in (0..circuit.nodes.len()).rev() {
        let lanes = std::mem::take(&mut read[index]);
        match &circuit.nodes[index].op {
            Op::Rotate { a, by } => add(&mut read, *a, &shifted(&lanes, -by)),
            Op::MulPlain(a, plain) => add(&mut read, *a, &both(&lanes, &plains[plain.0 as usize])),
            Op::Dot(pairs) => {
                for &(a, b) in pairs {
                    add(&mut read, a, &both(&lanes, &not(&zero[b.index()])));
                    add(&mut read, b, &both(&lanes, &not(&zero[a.index()])));
                }
            }
            op => op.operands().into_iter().for_each(|wire| add(&mut read, wire, &lanes)),
        }
        read[index] = lanes;
    }
    read
}

fn not(set: &[bool]) -> Set {
    set.iter().map(|lane| !lane).collect()
}

fn both(a: &[bool], b: &[bool]) -> Set {
    a.iter().zip(b).map(|(a, b)| *a && *b).collect()
}

fn either(a: &[bool], b: &[bool]) -> Set {
    a.iter().zip(b).map(|(a, b)| *a || *b).collect()
}

/// Of what a rotation by so many slots leaves: lanes are innermost, and what leaves a neuron's lanes comes into the next one's.
fn shifted(set: &[bool], by: i64) -> Set {
    let mut set = set.to_vec();
    let lanes = set.len();
    set.rotate_left(by.rem_euclid(lanes as i64) as usize);
    set
}

/// Lanes in which a layout has something.
fn of_layout(layout: &Layout, grid: &Geometry, set: &mut [bool]) {
    match layout {
        Layout::Samples { group, .. } => {
            let samples = grid.batch.saturating_sub(group * grid.lanes);
            set.iter_mut().take(samples).for_each(|lane| *lane = true);
        }
        Layout::Diagonal { lanes: Lanes::One(lane), .. } | Layout::Vector { lanes: Lanes::One(lane), .. } => set[*lane] = true,
        Layout::Diagonal { .. } | Layout::Vector { .. } | Layout::Tiled(_) => set.fill(true),
    }
}

fn of_contents<T>(contents: &[Content<T>], grid: &Geometry) -> Set {
    let mut set = vec![false; grid.lanes];
    contents.iter().for_each(|content| of_layout(&content.layout, grid, &mut set));
    set
}

/// Lanes in which a plaintext is not zero.
fn of_pattern(pattern: &PlainPattern, grid: &Geometry) -> Set {
    let mut set = vec![false; grid.lanes];
    match pattern {
        PlainPattern::Lane { lane, .. } => set[*lane] = true,
        PlainPattern::Neurons { .. } => set.fill(true),
        PlainPattern::Lanes { values } => set.iter_mut().zip(values.iter().cycle()).for_each(|(lane, value)| *lane = *value != 0.0),
        PlainPattern::Parts { parts, .. } => parts.iter().for_each(|part| of_layout(&part.layout, grid, &mut set)),
        PlainPattern::Public { layout, .. } => of_layout(layout, grid, &mut set),
    }
    set
}

/// The circuit with one bootstrap for each pool, stage by stage.
fn pooled(circuit: &Circuit, grid: &Geometry, pools: &[Pool], mask_bits: u32) -> Circuit {
    let inner = inside::inner(circuit);
    let stages = stages(circuit, &inner);
    let mut pool_of: BTreeMap<usize, &Pool> = BTreeMap::new();
    for pool in pools.iter().filter(|pool| pool.members.len() > 1) {
        pool_of.extend(pool.members.iter().map(|&member| (member, pool)));
    }
    let mut order: Vec<usize> = (0..circuit.nodes.len()).collect();
    order.sort_by_key(|&index| (stages[index], !inner[index], index));
    let mut new = circuit.emptied();
    let mut copies: Vec<Option<WireId>> = vec![None; circuit.nodes.len()];
    let of = |copies: &[Option<WireId>], wire: WireId| copies[wire.index()].expect("operands come first");
    for index in order {
        if copies[index].is_some() {
            continue;
        }
        let node = &circuit.nodes[index];
        new.floor = node.round;
        if let Some(pool) = pool_of.get(&index) {
            let operand = |&member: &usize| of(&copies, circuit.nodes[member].op.operands()[0]);
            let values: Vec<(WireId, bool)> = pool.members.iter().map(operand).zip(pool.clean.iter().copied()).collect();
            let refreshed = together(&mut new, grid, &values, pool.block, mask_bits, node.span);
            pool.members.iter().zip(refreshed).for_each(|(&member, wire)| copies[member] = Some(wire));
            continue;
        }
        copies[index] = Some(match &node.op {
            Op::Input(id) => {
                let draft = &circuit.inputs[id.0 as usize];
                new.input(&draft.label, draft.contents.clone(), draft.round, node.span)
            }
            op => new.push(op.map_operands(|w| of(&copies, w)), node.span),
        });
    }
    new.floor = circuit.floor;
    new.outputs.iter_mut().for_each(|output| output.wire = of(&copies, output.wire));
    new.carried.iter_mut().for_each(|carried| carried.wire = of(&copies, carried.wire));
    new.saves.iter_mut().flatten().for_each(|wire| *wire = of(&copies, *wire));
    new
}

/// One bootstrap of all `values`, each with whether it is zero beyond its first `block` lanes.
fn together(circuit: &mut Circuit, grid: &Geometry, values: &[(WireId, bool)], block: usize, mask_bits: u32, span: Span) -> Vec<WireId> {
    let mask = circuit.plain(Plain {
        pattern: PlainPattern::Lanes { values: (0..grid.lanes).map(|lane| f64::from(u8::from(lane < block))).collect() },
        scale: mask_bits,
    });
    let masked = |circuit: &mut Circuit, wire: WireId| circuit.push(Op::MulPlain(wire, mask), span);
    let mut side: Vec<WireId> = values.iter().map(|&(wire, clean)| if clean { wire } else { masked(circuit, wire) }).collect();
    // Pairs of neighbours, pairs of pairs, and so on: few different rotations, each of which has a key.
    let mut width = block;
    while side.len() > 1 {
        let pairs = side.chunks(2).map(|pair| match *pair {
            [left, right] => {
                let right = circuit.rotate(right, -(width as i64), span);
                circuit.push(Op::Add(left, right), span)
            }
            _ => pair[0],
        });
        side = pairs.collect();
        width *= 2;
    }
    let mut apart = vec![circuit.push(Op::Bootstrap(side[0]), span)];
    while width > block {
        width /= 2;
        let halves = apart.iter().flat_map(|&wire| [wire, circuit.rotate(wire, width as i64, span)]);
        apart = halves.collect();
        apart.truncate(values.len().div_ceil(width / block));
    }
    apart.into_iter().map(|wire| masked(circuit, wire)).collect()
}
