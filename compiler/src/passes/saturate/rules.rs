//! The rules, grouped by what they are for. Both sides are exactly equal for all values that their condition admits.
//!
//! Viaduct-HE (Acay et al., PLDI 2024) and CHEHAB have e-graphs over slots; here a rule is about whole tensors, and the
//! lowering finds the slots.

use egg::{ConditionalApplier, Id, Pattern, Rewrite, Subst, Var};
use hecc_plan::Function;

use super::term::{Meaning, OpId, Real, Term, Values, free, length};
use crate::tensor::graph::{Elementwise, Map};
use crate::tensor::{Op, Shape};

/// When a rule may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// `?e` has one element per sample.
    One,
    /// `?e` has one element per sample, and the client does not know it.
    OneUnknown,
    /// `?x` is zero outside the one-hot action.
    Masked,
    /// The same, and the client does not know it.
    MaskedUnknown,
    /// The client knows `?a`, and one of `?b` and `?c`.
    Known,
    /// The client knows `?e`, which has one element per sample.
    KnownScalar,
    /// `?n` is the width of `?x`.
    Whole,
    /// `?x` and `?y` have one shape.
    Alike,
}

/// A rule: its purpose, name, left and right side, condition.
pub type Row = (&'static str, &'static str, &'static str, &'static str, When);

use When::{Alike, Always, Known, KnownScalar, Masked, MaskedUnknown, One, OneUnknown, Whole};

/// All rules.
#[rustfmt::skip]
pub const RULES: &[Row] = &[
    // order
    ("order",     "add-either",       "(add ?a ?b)",                               "(add ?b ?a)",                                              Always),
    ("order",     "mul-either",       "(mul ?a ?b)",                               "(mul ?b ?a)",                                              Always),
    ("order",     "add-regroup",      "(add ?a (add ?b ?c))",                      "(add (add ?a ?b) ?c)",                                     Always),
    // depth
    ("depth",     "mul-regroup",      "(mul ?a (mul ?b ?c))",                      "(mul (mul ?a ?b) ?c)",                                     Always),
    ("depth",     "factor",           "(add (mul ?a ?b) (mul ?a ?c))",             "(mul ?a (add ?b ?c))",                                     Always),
    ("depth",     "factor-one",       "(add (mul ?a ?x) ?x)",                      "(mul (offset 1 ?a) ?x)",                                   Always),
    ("depth",     "distribute",       "(mul ?a (add ?b ?c))",                      "(add (mul ?a ?b) (mul ?a ?c))",                            Known),
    ("depth",     "dense-wide",       "(dense (mul (wide ?n ?e) ?x) ?w)",          "(mul (wide (width (dense ?x ?w)) ?e) (dense ?x ?w))",      Always),
    ("depth",     "transpose-wide",   "(transpose (mul (wide ?n ?e) ?x) ?w)",      "(mul (wide (width (transpose ?x ?w)) ?e) (transpose ?x ?w))", Always),
    ("depth",     "transpose-scalar", "(transpose (mul ?e ?x) ?w)",                "(mul (wide (width (transpose ?x ?w)) ?e) (transpose ?x ?w))", OneUnknown),
    ("depth",     "transpose-one",    "(transpose ?e ?w)",                         "(mul (wide (width (transpose (ones 1) ?w)) ?e) (transpose (ones 1) ?w))", OneUnknown),
    ("depth",     "transpose-action", "(transpose ?x ?w)",                         "(mul (wide (width (transpose action ?w)) (sum ?x)) (transpose action ?w))", MaskedUnknown),
    ("depth",     "action-masked",    "(mul action ?x)",                           "?x",                                                       Masked),
    ("depth",     "gradient-action",  "(gradient ?x ?y)",                          "(gradient (mul action (wide (width action) (sum ?x))) ?y)", MaskedUnknown),
    ("depth",     "batch-action",     "(sum_batch ?x)",                            "(sum_batch (mul action (wide (width action) (sum ?x))))",  MaskedUnknown),
    ("depth",     "known-transpose",  "(mul (wide ?n ?e) (transpose ?x ?w))",      "(transpose (mul (wide (width ?x) ?e) ?x) ?w)",             KnownScalar),
    ("depth",     "known-dense",      "(mul (wide ?n ?e) (dense ?x ?w))",          "(dense (mul (wide (width ?x) ?e) ?x) ?w)",                 KnownScalar),
    ("depth",     "known-sum",        "(mul ?e (sum ?x))",                         "(sum (mul (wide (width ?x) ?e) ?x))",                      KnownScalar),
    ("depth",     "gradient-wide",    "(gradient (mul (wide ?n ?e) ?x) ?y)",       "(gradient ?x (mul (wide (width ?y) ?e) ?y))",              Always),
    ("depth",     "gradient-wide'",   "(gradient ?x (mul (wide ?n ?e) ?y))",       "(gradient (mul (wide (width ?x) ?e) ?x) ?y)",              Always),
    ("depth",     "gradient-scalar",  "(gradient (mul ?e ?x) ?y)",                 "(gradient ?x (mul (wide (width ?y) ?e) ?y))",              One),
    ("depth",     "sum-wide",         "(sum (mul (wide ?n ?e) ?x))",               "(mul ?e (sum ?x))",                                        Always),
    ("depth",     "sum-adjoint",      "(sum (mul ?a (dense ?x ?w)))",              "(sum (mul ?x (transpose ?a ?w)))",                         Always),
    ("depth",     "sum-adjoint'",     "(sum (mul ?a (transpose ?x ?w)))",          "(sum (mul ?x (dense ?a ?w)))",                             Always),
    ("depth",     "sum-split",        "(sum (add ?x ?y))",                         "(add (sum ?x) (sum ?y))",                                  Always),
    ("depth",     "wide-mul",         "(wide ?n (mul ?a ?b))",                     "(mul (wide ?n ?a) (wide ?n ?b))",                          Always),
    ("depth",     "mul-wide",         "(mul (wide ?n ?a) (wide ?n ?b))",           "(wide ?n (mul ?a ?b))",                                    Always),
    // constants
    ("constants", "scale-scale",      "(scale ?a (scale ?b ?x))",                  "(scale (times ?a ?b) ?x)",                                 Always),
    ("constants", "scale-one",        "(scale 1 ?x)",                              "?x",                                                       Always),
    ("constants", "scale-mul",        "(mul (scale ?c ?x) ?y)",                    "(scale ?c (mul ?x ?y))",                                   Always),
    ("constants", "mul-scale",        "(scale ?c (mul ?x ?y))",                    "(mul (scale ?c ?x) ?y)",                                   Always),
    ("constants", "scale-add",        "(add (scale ?c ?x) (scale ?c ?y))",         "(scale ?c (add ?x ?y))",                                   Always),
    ("constants", "add-scale",        "(scale ?c (add ?x ?y))",                    "(add (scale ?c ?x) (scale ?c ?y))",                        Always),
    ("constants", "twice",            "(add ?x ?x)",                               "(scale 2 ?x)",                                             Always),
    ("constants", "sum-scales",       "(add (scale ?a ?x) (scale ?b ?x))",         "(scale (plus ?a ?b) ?x)",                                  Always),
    ("constants", "sum-scale",        "(add (scale ?a ?x) ?x)",                    "(scale (plus ?a 1) ?x)",                                   Always),
    ("constants", "offset-offset",    "(offset ?a (offset ?b ?x))",                "(offset (plus ?a ?b) ?x)",                                 Always),
    ("constants", "offset-none",      "(offset 0 ?x)",                             "?x",                                                       Always),
    ("constants", "scale-offset",     "(scale ?c (offset ?a ?x))",                 "(offset (times ?c ?a) (scale ?c ?x))",                     Always),
    ("constants", "add-offset",       "(add (offset ?a ?x) ?y)",                   "(offset ?a (add ?x ?y))",                                  Always),
    ("constants", "wide-scale",       "(wide ?n (scale ?c ?x))",                   "(scale ?c (wide ?n ?x))",                                  Always),
    ("constants", "wide-offset",      "(wide ?n (offset ?c ?x))",                  "(offset ?c (wide ?n ?x))",                                 Always),
    ("constants", "sum-scaled",       "(sum (scale ?c ?x))",                       "(scale ?c (sum ?x))",                                      Always),
    ("constants", "dense-scale",      "(dense (scale ?c ?x) ?w)",                  "(scale ?c (dense ?x ?w))",                                 Always),
    ("constants", "transpose-scale",  "(transpose (scale ?c ?x) ?w)",              "(scale ?c (transpose ?x ?w))",                             Always),
    ("constants", "gradient-scale",   "(gradient (scale ?c ?x) ?y)",               "(gradient ?x (scale ?c ?y))",                              Always),
    ("constants", "gradient-scale'",  "(gradient ?x (scale ?c ?y))",               "(gradient (scale ?c ?x) ?y)",                              Always),
    ("constants", "slice-scale",      "(slice ?s ?n (scale ?c ?x))",               "(scale ?c (slice ?s ?n ?x))",                              Always),
    ("constants", "place-scale",      "(place ?s ?n (scale ?c ?x))",               "(scale ?c (place ?s ?n ?x))",                              Always),
    // rotations
    ("rotations", "sum-add",          "(add (sum ?x) (sum ?y))",                   "(sum (add ?x ?y))",                                        Alike),
    ("rotations", "sum-one",          "(sum ?e)",                                  "?e",                                                       One),
    ("rotations", "sum-of-wide",      "(sum (wide ?n ?x))",                        "(scale ?n ?x)",                                            Always),
    ("rotations", "sum-of-place",     "(sum (place ?s ?n ?x))",                    "(sum ?x)",                                                 Always),
    ("rotations", "dense-add",        "(add (dense ?x ?w) (dense ?y ?w))",         "(dense (add ?x ?y) ?w)",                                   Always),
    ("rotations", "transpose-add",    "(add (transpose ?x ?w) (transpose ?y ?w))", "(transpose (add ?x ?y) ?w)",                               Always),
    ("rotations", "gradient-add",     "(add (gradient ?x ?z) (gradient ?y ?z))",   "(gradient (add ?x ?y) ?z)",                                Always),
    ("rotations", "add-gradient",     "(add (gradient ?x ?y) (gradient ?x ?z))",   "(gradient ?x (add ?y ?z))",                                Always),
    ("rotations", "batch-add",        "(add (sum_batch ?x) (sum_batch ?y))",       "(sum_batch (add ?x ?y))",                                  Always),
    ("rotations", "slice-slice",      "(slice ?s ?n (slice ?t ?m ?x))",            "(slice (plus ?s ?t) ?n ?x)",                               Always),
    ("rotations", "wide-whole",       "(wide ?n ?x)",                              "?x",                                                       Whole),
    ("rotations", "slice-whole",      "(slice 0 ?n ?x)",                           "?x",                                                       Whole),
    ("rotations", "place-whole",      "(place 0 ?n ?x)",                           "?x",                                                       Whole),
    ("rotations", "slice-wide",       "(slice ?s ?n (wide ?m ?x))",                "(wide ?n ?x)",                                             Always),
    ("rotations", "place-place",      "(place ?s ?n (place ?t ?m ?x))",            "(place (plus ?s ?t) ?n ?x)",                               Always),
    ("rotations", "slice-of-place",   "(slice ?s (width ?x) (place ?s ?m ?x))",    "?x",                                                       Always),
    ("rotations", "place-add",        "(add (place ?s ?n ?x) (place ?s ?n ?y))",   "(place ?s ?n (add ?x ?y))",                                Alike),
    ("rotations", "slice-add",        "(add (slice ?s ?n ?x) (slice ?s ?n ?y))",   "(slice ?s ?n (add ?x ?y))",                                Alike),
    ("rotations", "slice-mul",        "(mul (slice ?s ?n ?x) (slice ?s ?n ?y))",   "(slice ?s ?n (mul ?x ?y))",                                Alike),
    ("rotations", "place-mul",        "(mul (place ?s ?n ?x) (place ?s ?n ?y))",   "(place ?s ?n (mul ?x ?y))",                                Alike),
];

/// The table as rewrites.
///
/// # Panics
/// Where a rule of the table does not parse: a bug.
pub fn rewrites() -> Vec<Rewrite<Term, Meaning>> {
    RULES.iter().map(rewrite).collect()
}

fn rewrite(&(_, name, left, right, when): &Row) -> Rewrite<Term, Meaning> {
    let pattern = |text: &str| text.parse::<Pattern<Term>>().expect("a rule of the table parses");
    let (searcher, applier) = (pattern(left), pattern(right));
    let condition = move |values: &mut Values, _: Id, subst: &Subst| holds(when, values, subst);
    Rewrite::new(name, searcher, ConditionalApplier { condition, applier }).expect("a right side has no variables of its own")
}

fn holds(when: When, values: &Values, subst: &Subst) -> bool {
    let fact = |name: &str| {
        let var: Var = name.parse().expect("a variable");
        &values[subst[var]].data
    };
    match when {
        Always => true,
        One => fact("?e").shape == Shape::Sample(1),
        OneUnknown => fact("?e").shape == Shape::Sample(1) && !fact("?e").known,
        Masked => fact("?x").masked,
        MaskedUnknown => fact("?x").masked && !fact("?x").known,
        Known => fact("?a").known && (fact("?b").known || fact("?c").known),
        KnownScalar => fact("?e").known && fact("?e").shape == Shape::Sample(1),
        Alike => fact("?x").shape == fact("?y").shape,
        Whole => fact("?n").number == Some(length(fact("?x").shape) as f64),
    }
}

/// Derivatives from values that the forward pass has, for functions whose polynomial is free. σ' = σ (1 − σ),
/// tanh' = 1 − tanh², softplus' = σ.
pub fn derivatives(values: &mut Values) {
    let mut found: Vec<(Id, OpId, Id)> = Vec::new();
    for class in values.classes() {
        for term in class.iter() {
            if let (Term::Opaque(op, children), Some(map)) = (term, values.analysis.map(term))
                && map.order == 1
                && free(map)
                && !class.data.known
            {
                found.push((class.id, *op, children[0]));
            }
        }
    }
    for (class, op, x) in found {
        let (Some(Op::Map(map)), shape) = values.analysis.ops[op.0].clone() else { continue };
        let Elementwise::Named(function) = map.function else { continue };
        let source = match function {
            Function::Softplus => Function::Sigmoid,
            Function::Sigmoid | Function::Tanh => function,
            _ => continue,
        };
        let forward = Map { function: Elementwise::Named(source), order: 0, pins: map.pins };
        let forward = values.analysis.intern(&Op::Map(forward), shape);
        let value = Term::Opaque(forward, vec![x]);
        // A value that the forward pass has not is no saving, except where it is the derivative itself.
        if values.lookup(value.clone()).is_none() && function != Function::Softplus {
            continue;
        }
        let s = values.add(value);
        let derivative = match function {
            Function::Softplus => s,
            Function::Tanh => {
                let square = values.add(Term::Mul([s, s]));
                one_minus(values, square)
            }
            _ => {
                let rest = one_minus(values, s);
                values.add(Term::Mul([s, rest]))
            }
        };
        values.union(class, derivative);
    }
}

fn one_minus(values: &mut Values, x: Id) -> Id {
    let (one, minus) = (values.add(Term::Number(Real(1.0))), values.add(Term::Number(Real(-1.0))));
    let negative = values.add(Term::Scale([minus, x]));
    values.add(Term::Offset([one, negative]))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use egg::{ENodeOrVar, Language, RecExpr};
    use hecc_plan::Span;
    use rand_chacha::ChaCha20Rng;
    use rand_chacha::rand_core::{RngCore, SeedableRng};

    use super::*;
    use crate::check::hir::{Pins, Range};
    use crate::passes::Facts;
    use crate::tensor::eval::{Exact, eval};
    use crate::tensor::{Data, Graph, Id as Node, Output};

    const BATCH: usize = 3;
    const ACTION: usize = 2;
    const SHAPES: [Shape; 6] = [
        Shape::Sample(1),
        Shape::Sample(ACTION),
        Shape::Sample(3),
        Shape::Matrix(ACTION, 3),
        Shape::Matrix(3, ACTION),
        Shape::Matrix(1, 3),
    ];
    const NUMBERS: [f64; 5] = [0.0, 1.0, 2.0, 3.0, -0.5];

    type Side = RecExpr<ENodeOrVar<Term>>;

    /// What a variable stands for.
    #[derive(Clone, Copy, Debug)]
    enum Meant {
        Value(Shape),
        Number(f64),
    }

    fn side(text: &str) -> Side {
        text.parse::<Pattern<Term>>().expect("a side parses").ast
    }

    /// Variables of a side in the places of numbers, and all others.
    fn variables(side: &Side) -> (BTreeSet<Var>, BTreeSet<Var>) {
        let (mut numbers, mut all) = (BTreeSet::new(), BTreeSet::new());
        for node in side.as_ref() {
            match node {
                ENodeOrVar::Var(v) => {
                    all.insert(*v);
                }
                ENodeOrVar::ENode(term) => {
                    let count = match term {
                        Term::Scale(_) | Term::Offset(_) | Term::Broadcast(_) => 1,
                        Term::Slice(_) | Term::Place(_) | Term::Times(_) | Term::Plus(_) => 2,
                        _ => 0,
                    };
                    for child in &term.children()[..count] {
                        if let ENodeOrVar::Var(v) = side[*child] {
                            numbers.insert(v);
                        }
                    }
                }
            }
        }
        let values = all.difference(&numbers).copied().collect();
        (numbers, values)
    }

    enum Made {
        Value(Node),
        Number(f64),
    }

    /// A side as a graph; `None` where shapes or numbers do not fit.
    fn graph(side: &Side, meant: &BTreeMap<Var, Meant>, masked: bool) -> Option<Graph> {
        let mut graph = Graph::default();
        let mut made: Vec<Made> = Vec::new();
        for node in side.as_ref() {
            let mut push = |op: Op, operands: &[Node], shape: Shape| {
                let id = graph.push(op, operands, shape, Span::default());
                graph.verify().is_empty().then_some(Made::Value(id))
            };
            let next = match node {
                ENodeOrVar::Var(v) => match meant[v] {
                    Meant::Number(c) => Made::Number(c),
                    Meant::Value(shape) => {
                        let Made::Value(x) = push(Op::State(v.to_string()), &[], shape)? else { return None };
                        if masked && v.to_string() == "?x" {
                            let Made::Value(a) = push(Op::Data(Data::Action), &[], Shape::Sample(ACTION))? else { return None };
                            push(Op::Mul, &[a, x], shape)?
                        } else {
                            Made::Value(x)
                        }
                    }
                },
                ENodeOrVar::ENode(term) => {
                    let child = |slot: usize| &made[usize::from(term.children()[slot])];
                    let number = |slot: usize| match child(slot) {
                        Made::Number(c) => Some(*c),
                        Made::Value(_) => None,
                    };
                    let count = |slot: usize| number(slot).filter(|c| *c >= 0.0 && c.fract() == 0.0).map(|c| c as usize);
                    let value = |slot: usize| match child(slot) {
                        Made::Value(id) => Some(*id),
                        Made::Number(_) => None,
                    };
                    let shapes: Vec<Option<Shape>> = made
                        .iter()
                        .map(|m| match m {
                            Made::Value(id) => Some(graph.shape(*id)),
                            Made::Number(_) => None,
                        })
                        .collect();
                    let shape = |slot: usize| shapes[usize::from(term.children()[slot])];
                    let mut push = |op: Op, operands: &[Node], shape: Shape| {
                        let id = graph.push(op, operands, shape, Span::default());
                        graph.verify().is_empty().then_some(Made::Value(id))
                    };
                    match term {
                        Term::Number(Real(c)) => Made::Number(*c),
                        Term::Times(_) => Made::Number(number(0)? * number(1)?),
                        Term::Plus(_) => Made::Number(number(0)? + number(1)?),
                        Term::Width(_) => Made::Number(length(shape(0)?) as f64),
                        Term::Add(_) => push(Op::Add, &[value(0)?, value(1)?], shape(0)?)?,
                        Term::Mul(_) => push(Op::Mul, &[value(0)?, value(1)?], shape(0)?)?,
                        Term::Scale(_) => push(Op::Scale(number(0)?), &[value(1)?], shape(1)?)?,
                        Term::Offset(_) => push(Op::Offset(number(0)?), &[value(1)?], shape(1)?)?,
                        Term::Dense(_) => match shape(1)? {
                            Shape::Matrix(o, _) => push(Op::Dense, &[value(0)?, value(1)?], Shape::Sample(o))?,
                            _ => return None,
                        },
                        Term::DenseTranspose(_) => match shape(1)? {
                            Shape::Matrix(_, i) => push(Op::DenseTranspose, &[value(0)?, value(1)?], Shape::Sample(i))?,
                            _ => return None,
                        },
                        Term::DenseGradient(_) => match (shape(0)?, shape(1)?) {
                            (Shape::Sample(o), Shape::Sample(i)) => push(Op::DenseGradient, &[value(0)?, value(1)?], Shape::Matrix(o, i))?,
                            _ => return None,
                        },
                        Term::SumBatch(_) => push(Op::SumBatch, &[value(0)?], Shape::Vector(length(shape(0)?)))?,
                        Term::SumElements(_) => push(Op::SumElements, &[value(0)?], Shape::Sample(1))?,
                        Term::Broadcast(_) if shape(1)? != Shape::Sample(1) => return None,
                        Term::Broadcast(_) => push(Op::Broadcast, &[value(1)?], Shape::Sample(count(0).filter(|&n| n > 0)?))?,
                        Term::Slice(_) => {
                            push(Op::Slice { start: count(0)?, step: 1 }, &[value(2)?], Shape::Sample(count(1).filter(|&n| n > 0)?))?
                        }
                        Term::Place(_) => push(Op::Place { start: count(0)?, step: 1 }, &[value(2)?], Shape::Sample(count(1)?))?,
                        Term::Action => push(Op::Data(Data::Action), &[], Shape::Sample(ACTION))?,
                        Term::Ones(_) => push(Op::Constant(1.0), &[], Shape::Sample(count(0)?))?,
                        Term::Opaque(..) => return None,
                    }
                }
            };
            made.push(next);
        }
        let Some(Made::Value(root)) = made.pop() else { return None };
        graph.outputs.push((Output::Result("r".into()), root));
        Some(graph)
    }

    fn values(graph: &Graph) -> Vec<f64> {
        let random = |seed: u64, count: usize| -> Vec<f64> {
            let mut stream = ChaCha20Rng::seed_from_u64(seed);
            (0..count).map(|_| f64::from(stream.next_u32()) / f64::from(u32::MAX) - 0.5).collect()
        };
        let mut states = BTreeMap::new();
        for id in graph.ids() {
            if let Op::State(name) = &graph.node(id).op {
                let seed = name.bytes().fold(7, |h: u64, b| h * 31 + u64::from(b));
                let shape = graph.shape(id);
                let count = length(shape) * if matches!(shape, Shape::Sample(_)) { BATCH } else { 1 };
                states.insert(name.clone(), random(seed, count));
            }
        }
        let action = |_: &Data| (0..BATCH * ACTION).map(|i| f64::from(u8::from(i % ACTION == (i / ACTION) % 2))).collect();
        let all = eval(graph, BATCH, &Exact, &action, &states);
        all[graph.outputs[0].1.index()].clone()
    }

    fn admits(when: When, meant: &BTreeMap<Var, Meant>) -> bool {
        let of = |name: &str| meant[&name.parse::<Var>().expect("a variable")];
        match when {
            Always | Known => true,
            One | OneUnknown | KnownScalar => matches!(of("?e"), Meant::Value(Shape::Sample(1))),
            Masked | MaskedUnknown => matches!(of("?x"), Meant::Value(Shape::Sample(ACTION))),
            Alike => matches!((of("?x"), of("?y")), (Meant::Value(x), Meant::Value(y)) if x == y),
            Whole => matches!((of("?n"), of("?x")), (Meant::Number(n), Meant::Value(s)) if n == length(s) as f64),
        }
    }

    /// Every rule on its own, for all shapes and numbers of a small set that fit its left side.
    #[test]
    fn both_sides_are_equal() {
        for &(_, name, left, right, when) in RULES {
            let (left, right) = (side(left), side(right));
            let (mut numbers, mut others) = variables(&left);
            let (more, _) = variables(&right);
            numbers.extend(more.iter().filter(|v| others.contains(v)));
            others.retain(|v| !numbers.contains(v));
            let domains: Vec<(Var, Vec<Meant>)> = numbers
                .iter()
                .map(|v| (*v, NUMBERS.map(Meant::Number).to_vec()))
                .chain(others.iter().map(|v| (*v, SHAPES.map(Meant::Value).to_vec())))
                .collect();
            let total: usize = domains.iter().map(|(_, d)| d.len()).product();
            let mut tried = 0;
            for number in 0..total {
                let mut rest = number;
                let meant: BTreeMap<Var, Meant> = domains
                    .iter()
                    .map(|(v, domain)| {
                        let choice = domain[rest % domain.len()];
                        rest /= domain.len();
                        (*v, choice)
                    })
                    .collect();
                let masked = matches!(when, Masked | MaskedUnknown);
                if !admits(when, &meant) {
                    continue;
                }
                let Some(before) = graph(&left, &meant, masked) else { continue };
                let after = graph(&right, &meant, masked).unwrap_or_else(|| panic!("{name}: the right side does not fit {meant:?}"));
                assert_eq!(before.shape(before.outputs[0].1), after.shape(after.outputs[0].1), "{name} {meant:?}");
                for (a, b) in values(&before).iter().zip(values(&after)) {
                    assert!((a - b).abs() < 1e-12 * (1.0 + a.abs()), "{name} {meant:?}: {a} became {b}");
                }
                tried += 1;
            }
            assert!(tried > 0, "nothing fits {name}");
        }
    }

    fn activation(degree: Option<usize>, function: Function, order: u8) -> Op {
        let pins = Pins { degree, range: Some(Range { low: -2.0, high: 2.0 }), within: None };
        Op::Map(Map { function: Elementwise::Named(function), order, pins })
    }

    /// If two polynomials for one function were one value, every function would be every other.
    #[test]
    fn approximations_are_never_one_value() {
        let mut values = Values::new(Meaning::new(&Facts::default()));
        let input = values.analysis.input(Shape::Sample(1), false);
        let x = values.add(Term::Opaque(input, vec![]));
        let functions = [(Some(3), Function::Tanh), (Some(7), Function::Tanh), (None, Function::Tanh), (None, Function::Sigmoid)];
        let mut classes = Vec::new();
        for (degree, function) in functions {
            for order in [0, 1] {
                let op = values.analysis.intern(&activation(degree, function, order), Shape::Sample(1));
                classes.push(values.add(Term::Opaque(op, vec![x])));
            }
        }
        let rules = rewrites();
        for _ in 0..6 {
            let found: Vec<_> = rules.iter().map(|rule| rule.search(&values)).collect();
            rules.iter().zip(&found).for_each(|(rule, found)| {
                rule.apply(&mut values, found);
            });
            values.rebuild();
            derivatives(&mut values);
            values.rebuild();
        }
        let roots: BTreeSet<Id> = classes.iter().map(|&c| values.find(c)).collect();
        assert_eq!(roots.len(), classes.len());
    }

    /// σ' = σ (1 − σ), tanh' = 1 − tanh², softplus' = σ, on values; and only where no program pins the polynomial.
    #[test]
    fn derivatives_come_from_forward_values() {
        for (function, pinned) in [Function::Sigmoid, Function::Tanh, Function::Softplus].into_iter().flat_map(|f| [(f, false), (f, true)])
        {
            let mut values = Values::new(Meaning::new(&Facts::default()));
            let input = values.analysis.input(Shape::Sample(1), false);
            let x = values.add(Term::Opaque(input, vec![]));
            let degree = pinned.then_some(3);
            let [_, slope] = [0, 1].map(|order| {
                let op = values.analysis.intern(&activation(degree, function, order), Shape::Sample(1));
                values.add(Term::Opaque(op, vec![x]))
            });
            derivatives(&mut values);
            values.rebuild();
            assert_eq!(values[values.find(slope)].len(), if pinned { 1 } else { 2 }, "{function:?}");
            for x in [-1.5, 0.0, 0.7] {
                let s = function.eval(x);
                let from_forward = match function {
                    Function::Sigmoid => s * (1.0 - s),
                    Function::Tanh => 1.0 - s * s,
                    _ => Function::Sigmoid.eval(x),
                };
                assert!((function.derivative(x) - from_forward).abs() < 1e-12);
            }
        }
    }
}
