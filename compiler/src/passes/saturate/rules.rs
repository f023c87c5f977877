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
    /// `?n` is the width of `?x`.
    Whole,
}

/// A rule: its purpose, name, left and right side, condition.
pub type Row = (&'static str, &'static str, &'static str, &'static str, When);

use When::{Always, Known, Masked, MaskedUnknown, One, OneUnknown, Whole};

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
    ("depth",     "gradient-wide",    "(gradient (mul (wide ?n ?e) ?x) ?y)",       "(gradient ?x (mul (wide (width ?y) ?e) ?y))",              Always),
    ("depth",     "gradient-wide'",   "(gradient ?x (mul (wide ?n ?e) ?y))",       "(gradient (mul (wide (width ?x) ?e) ?x) ?y)",              Always),
    ("depth",     "gradient-scalar",  "(gradient (mul ?e ?x) ?y)",                 "(gradient ?x (mul (wide (width ?y) ?e) ?y))",              One),
    ("depth",     "sum-wide",         "(sum (mul (wide ?n ?e) ?x))",               "(mul ?e (sum ?x))",                                        Always),
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
    ("rotations", "sum-add",          "(add (sum ?x) (sum ?y))",                   "(sum (add ?x ?y))",                                        Always),
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
    ("rotations", "place-add",        "(add (place ?s ?n ?x) (place ?s ?n ?y))",   "(place ?s ?n (add ?x ?y))",                                Always),
    ("rotations", "slice-add",        "(add (slice ?s ?n ?x) (slice ?s ?n ?y))",   "(slice ?s ?n (add ?x ?y))",                                Always),
    ("rotations", "slice-mul",        "(mul (slice ?s ?n ?x) (slice ?s ?n ?y))",   "(slice ?s ?n (mul ?x ?y))",                                Always),
    ("rotations", "place-mul",        "(mul (place ?s ?n ?x) (place ?s ?n ?y))",   "(place ?s ?n (mul ?x ?y))",                                Always),
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
        When::Always => true,
        When::One => fact("?e").shape == Shape::Sample(1),
        When::OneUnknown => fact("?e").shape == Shape::Sample(1) && !fact("?e").known,
        When::Masked => fact("?x").masked,
        When::MaskedUnknown => fact("?x").masked && !fact("?x").known,
        When::Known => fact("?a").known && (fact("?b").known || fact("?c").known),
        When::Whole => fact("?n").number == Some(length(fact("?x").shape) as f64),
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
