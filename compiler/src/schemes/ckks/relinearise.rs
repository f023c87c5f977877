//! Sums of products with one relinearisation: which results to relinearise is an exact minimum cut
//! ([`crate::planner::relinearise`]), and a result that is relinearised takes all products that reach it through sums into
//! one [`Op::Dot`]. Without it the uneven splits of Chebyshev sums, and values that several losses add to, relinearise
//! what they add.
//!
//! What plans can say decides what three components pass through: sums, and sums with known values. A subtrahend, and what
//! is multiplied by a constant or a plaintext, has two. Within that no circuit of the same sums and products has fewer
//! relinearisations. Where a product would have to be computed
//! twice, the circuit stays as it is.

use hecc_plan::{Op, PlainId, WireId};

use super::budget::needs;
use super::circuit::Circuit;
use super::measure::Measure;
use crate::planner::relinearise::{self, Components, Relinearisable};

/// The circuit with the fewest relinearisations; `None` where it has no more, or where that would compute products twice.
pub fn run(circuit: &Circuit) -> Option<Circuit> {
    let chosen = Chosen::of(circuit);
    let before = Measure::of(circuit);
    if chosen.count() >= before.relinearisations {
        return None;
    }
    let rebuilt = circuit.rebuilt(|new, index, copy| chosen.step(circuit, new, index, copy));
    Measure::of(&rebuilt).beats(&before).then_some(rebuilt)
}

/// The fewest relinearisations of a circuit with these sums and products.
pub fn least(circuit: &Circuit) -> u64 {
    Chosen::of(circuit).count()
}

/// Which results are relinearised.
struct Chosen {
    at: Vec<bool>,
    /// Results of three components.
    three: Vec<bool>,
    needed: Vec<bool>,
}

impl Chosen {
    fn of(circuit: &Circuit) -> Self {
        let needed: Vec<bool> = needs(circuit, None).iter().map(Option::is_some).collect();
        let ends = circuit.outputs.iter().map(|output| output.wire).chain(circuit.carried.iter().map(|draft| draft.wire));
        let mut output = vec![false; circuit.nodes.len()];
        ends.chain(circuit.saves.iter().flatten().copied()).for_each(|wire| output[wire.index()] = true);
        // A node of the cut by step, and one more for each subtrahend.
        let mut operations: Vec<Relinearisable> = Vec::new();
        let mut numbers: Vec<usize> = Vec::with_capacity(circuit.nodes.len());
        for (index, node) in circuit.nodes.iter().enumerate() {
            let number = |w: &WireId| numbers[w.index()];
            let (components, operands) = match &node.op {
                _ if !needed[index] => (Components::Two, Vec::new()),
                Op::Dot(_) => (Components::Three, node.op.operands().iter().map(number).collect()),
                Op::Add(..) | Op::AddConst(..) | Op::AddPlain(..) => (Components::Most, node.op.operands().iter().map(number).collect()),
                Op::Sub(a, b) => {
                    let subtrahend = Relinearisable { operands: vec![number(b)], ..plain(Components::Two) };
                    operations.push(subtrahend);
                    (Components::Most, vec![number(a), operations.len() - 1])
                }
                Op::Input(_)
                | Op::Carried(_)
                | Op::Bootstrap(_)
                | Op::MulConst { .. }
                | Op::MulPlain(..)
                | Op::Halve { .. }
                | Op::Rotate { .. }
                | Op::Linear(..)
                | Op::Narrow(_) => (Components::Two, node.op.operands().iter().map(number).collect()),
            };
            numbers.push(operations.len());
            operations.push(Relinearisable { operands, output: output[index], ..plain(components) });
        }
        let (chosen, _) = relinearise::run(&operations);
        let at: Vec<bool> = numbers.iter().map(|number| chosen.binary_search(number).is_ok()).collect();
        let mut three: Vec<bool> = Vec::with_capacity(at.len());
        for (index, node) in circuit.nodes.iter().enumerate() {
            let before = |w: &WireId| three[w.index()];
            let own = match &node.op {
                Op::Dot(_) => true,
                Op::Add(a, b) => before(a) || before(b),
                Op::Sub(a, _) | Op::AddConst(a, _) | Op::AddPlain(a, _) => before(a),
                _ => false,
            };
            three.push(own && !at[index]);
        }
        Self { at, three, needed }
    }

    fn count(&self) -> u64 {
        self.at.iter().filter(|&&at| at).count() as u64
    }

    fn step(&self, circuit: &Circuit, new: &mut Circuit, index: usize, copy: &dyn Fn(WireId) -> WireId) -> Option<WireId> {
        if self.three[index] || !self.needed[index] {
            return None;
        }
        let node = &circuit.nodes[index];
        if !self.at[index] {
            return Some(new.push(node.op.map_operands(copy), node.span));
        }
        let mut sum = Sum::default();
        self.collect(circuit, WireId(index as u32), true, &mut sum);
        let pairs = sum.pairs.iter().map(|&(a, b)| (copy(a), copy(b))).collect();
        let mut wire = new.push(Op::Dot(pairs), node.span);
        for (term, plus) in sum.terms {
            let term = copy(term);
            wire = new.push(if plus { Op::Add(wire, term) } else { Op::Sub(wire, term) }, node.span);
        }
        for known in sum.known {
            let op = match known {
                Known::Const(c) => Op::AddConst(wire, c),
                Known::Plain(plain) => Op::AddPlain(wire, plain),
            };
            wire = new.push(op, node.span);
        }
        Some(wire)
    }

    /// What a result of three components is the sum of.
    fn collect(&self, circuit: &Circuit, wire: WireId, root: bool, sum: &mut Sum) {
        if !root && !self.three[wire.index()] {
            sum.terms.push((wire, true));
            return;
        }
        match &circuit.nodes[wire.index()].op {
            Op::Dot(pairs) => sum.pairs.extend(pairs),
            Op::Add(a, b) => [a, b].into_iter().for_each(|&w| self.collect(circuit, w, false, sum)),
            Op::Sub(a, b) => {
                self.collect(circuit, *a, false, sum);
                sum.terms.push((*b, false));
            }
            Op::AddConst(a, c) => {
                self.collect(circuit, *a, false, sum);
                sum.known.push(Known::Const(*c));
            }
            Op::AddPlain(a, plain) => {
                self.collect(circuit, *a, false, sum);
                sum.known.push(Known::Plain(*plain));
            }
            _ => sum.terms.push((wire, true)),
        }
    }
}

/// A sum: products, results of two components with their signs, and known values.
#[derive(Default)]
struct Sum {
    pairs: Vec<(WireId, WireId)>,
    terms: Vec<(WireId, bool)>,
    known: Vec<Known>,
}

enum Known {
    Const(f64),
    Plain(PlainId),
}

fn plain(components: Components) -> Relinearisable {
    Relinearisable { components, operands: Vec::new(), cost: 1, extra: 0, output: false }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schemes::ckks::circuit::OutputDraft;
    use hecc_plan::{ClearId, Content, Layout, Span, Target};

    fn circuit(outputs: impl Fn(&mut Circuit, &[WireId]) -> Vec<WireId>) -> Circuit {
        let mut circuit = Circuit::new(30, 64);
        let layout = Layout::Samples { group: 0, period: 4 };
        let content = |i| Content { tensor: ClearId(i), layout, factor: 1.0 };
        let wires: Vec<WireId> = (0..4).map(|i| circuit.input("x", vec![content(i)], 0, Span::default())).collect();
        for wire in outputs(&mut circuit, &wires) {
            let contents = vec![Content { tensor: Target::Value { id: 0, shape: vec![4] }, layout, factor: 1.0 }];
            circuit.outputs.push(OutputDraft { label: "y".into(), wire, contents, headroom: 8 });
        }
        circuit
    }

    fn counts(circuit: &Circuit) -> (u64, u64) {
        let measure = Measure::of(circuit);
        (measure.relinearisations, measure.products)
    }

    #[test]
    fn products_meet_through_sums_and_constants() {
        let span = Span::default();
        let before = circuit(|c, x| {
            let (p, q) = (c.push(Op::Dot(vec![(x[0], x[1])]), span), c.push(Op::Dot(vec![(x[2], x[3])]), span));
            let p = c.push(Op::AddConst(p, 0.5), span);
            let p = c.push(Op::Sub(p, x[1]), span);
            vec![c.push(Op::Add(q, p), span)]
        });
        assert_eq!((counts(&before), least(&before)), ((2, 2), 1));
        assert_eq!(run(&before).as_ref().map(counts), Some((1, 2)));
    }

    #[test]
    fn a_subtrahend_and_an_operand_have_two_components() {
        let span = Span::default();
        let before = circuit(|c, x| {
            let (p, q) = (c.push(Op::Dot(vec![(x[0], x[1])]), span), c.push(Op::Dot(vec![(x[2], x[3])]), span));
            let rotated = c.rotate(p, 3, span);
            vec![c.push(Op::Sub(p, q), span), c.push(Op::Add(p, rotated), span)]
        });
        assert_eq!((counts(&before), least(&before)), ((2, 2), 2));
        assert!(run(&before).is_none());
    }

    #[test]
    fn no_product_is_computed_twice() {
        let span = Span::default();
        let before = circuit(|c, x| {
            let d = |c: &mut Circuit, a, b| c.push(Op::Dot(vec![(a, b)]), span);
            let (p, q, r) = (d(c, x[0], x[1]), d(c, x[1], x[2]), d(c, x[2], x[3]));
            vec![c.push(Op::Add(p, q), span), c.push(Op::Add(p, r), span)]
        });
        assert_eq!((counts(&before), least(&before)), ((3, 3), 2));
        assert!(run(&before).is_none());
    }
}
