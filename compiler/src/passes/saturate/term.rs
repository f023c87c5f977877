//! The language of the e-graph, and what is known of each of its classes.
//!
//! A class is an *exact* value. A function that will be approximated is a node like any other here; which polynomial
//! computes it is chosen at extraction ([`super::cost`]), so that no two approximations are ever equal.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use egg::{Analysis, DidMerge, EGraph, Id, define_language};
use hecc_plan::Function;

use crate::approximation::applied;
use crate::passes::Facts;
use crate::passes::hoist::client_knows;
use crate::tensor::graph::{Elementwise, Map};
use crate::tensor::{Op, Shape};

/// A number, with the total order of IEEE 754.
#[derive(Clone, Copy, Debug)]
pub struct Real(pub f64);

impl PartialEq for Real {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Real {}

impl PartialOrd for Real {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Real {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl std::hash::Hash for Real {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl fmt::Display for Real {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Real {
    type Err = std::num::ParseFloatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// An operation that no rule looks into, by its place in [`Meaning::ops`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(pub usize);

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}

impl FromStr for OpId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix('@').unwrap_or("").parse().map(Self)
    }
}

define_language! {
    /// A node. Numbers (constants, widths, offsets of slices) are nodes too, so that rules are patterns.
    #[allow(missing_docs, reason = "the operations are those of the tensor graph")]
    pub enum Term {
        Number(Real),
        "add" = Add([Id; 2]),
        "mul" = Mul([Id; 2]),
        "scale" = Scale([Id; 2]),
        "offset" = Offset([Id; 2]),
        "dense" = Dense([Id; 2]),
        "transpose" = DenseTranspose([Id; 2]),
        "gradient" = DenseGradient([Id; 2]),
        "sum_batch" = SumBatch([Id; 1]),
        "sum" = SumElements([Id; 1]),
        "wide" = Broadcast([Id; 2]),
        "slice" = Slice([Id; 3]),
        "place" = Place([Id; 3]),
        "action" = Action,
        "ones" = Ones([Id; 1]),
        "times" = Times([Id; 2]),
        "plus" = Plus([Id; 2]),
        "width" = Width([Id; 1]),
        Opaque(OpId, Vec<Id>),
    }
}

/// An e-graph of values.
pub type Values = EGraph<Term, Meaning>;

/// What is known of a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// Its shape; numbers have the shape of one.
    pub shape: Shape,
    /// Its value, if it is a number.
    pub number: Option<f64>,
    /// Whether the client can compute it.
    pub known: bool,
    /// Whether it is zero wherever the one-hot action is.
    pub masked: bool,
}

/// The operations that terms refer to, and what the program tells.
#[derive(Clone, Debug, Default)]
pub struct Meaning {
    /// Operations with their shapes. An input of the region has the shape only: `None`.
    pub ops: Vec<(Option<Op>, Shape)>,
    /// Whether the client knows inputs of the region, by operation.
    pub inputs_known: BTreeMap<OpId, bool>,
    /// What the program tells.
    pub facts: Facts,
    /// Elements of the action, where there is one in the region.
    pub action: Option<usize>,
    names: BTreeMap<String, OpId>,
}

impl Meaning {
    /// An empty table.
    pub fn new(facts: &Facts) -> Self {
        Self { facts: facts.clone(), ..Self::default() }
    }

    /// The id of an operation; equal ones have one.
    pub fn intern(&mut self, op: &Op, shape: Shape) -> OpId {
        let next = OpId(self.ops.len());
        let id = *self.names.entry(format!("{op:?} {shape:?}")).or_insert(next);
        if id == next {
            self.ops.push((Some(op.clone()), shape));
        }
        id
    }

    /// A new input of the region.
    pub fn input(&mut self, shape: Shape, known: bool) -> OpId {
        let id = OpId(self.ops.len());
        self.ops.push((None, shape));
        self.inputs_known.insert(id, known);
        id
    }

    /// The function that a polynomial computes in a term, where no program pins the polynomial.
    pub fn open(&self, term: &Term) -> Option<Function> {
        let Term::Opaque(op, _) = term else { return None };
        let (function, _, pins) = applied(self.ops[op.0].0.as_ref()?)?;
        pins.degree.is_none().then_some(function)
    }

    /// The map that a term applies, if it applies one.
    pub fn map(&self, term: &Term) -> Option<&Map> {
        match term {
            Term::Opaque(op, _) => match &self.ops[op.0].0 {
                Some(Op::Map(map)) => Some(map),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Elements of a vector.
pub fn length(shape: Shape) -> usize {
    match shape {
        Shape::Sample(d) | Shape::Vector(d) => d,
        Shape::Matrix(o, i) => o * i,
    }
}

/// Whether a map is a function that no program pins to one polynomial.
pub fn free(map: &Map) -> bool {
    map.pins.degree.is_none() && matches!(map.function, Elementwise::Named(_))
}

impl Analysis<Term> for Meaning {
    type Data = Fact;

    fn make(values: &mut Values, term: &Term) -> Fact {
        let data = |id: &Id| &values[*id].data;
        let number = |id: &Id| values[*id].data.number;
        let count = |id: &Id| number(id).unwrap_or(1.0) as usize;
        let value = |v: Option<f64>| Fact { shape: Shape::Sample(1), number: v, known: true, masked: false };
        let of = |shape: Shape, known: bool, masked: bool| Fact { shape, number: None, known, masked };
        match term {
            Term::Number(Real(c)) => value(Some(*c)),
            Term::Times([a, b]) => value(number(a).zip(number(b)).map(|(a, b)| a * b)),
            Term::Plus([a, b]) => value(number(a).zip(number(b)).map(|(a, b)| a + b)),
            Term::Width([x]) => value(Some(length(data(x).shape) as f64)),
            Term::Add([a, b]) => {
                let (a, b) = (data(a), data(b));
                of(a.shape, a.known && b.known, a.masked && b.masked)
            }
            Term::Mul([a, b]) => {
                let (a, b) = (data(a), data(b));
                of(a.shape, a.known && b.known, a.masked || b.masked)
            }
            Term::Scale([_, x]) => of(data(x).shape, data(x).known, data(x).masked),
            Term::Offset([_, x]) => of(data(x).shape, data(x).known, false),
            Term::Dense([x, w]) => match data(w).shape {
                Shape::Matrix(out, _) => of(Shape::Sample(out), data(x).known && data(w).known, false),
                Shape::Sample(_) | Shape::Vector(_) => unreachable!("a weight is a matrix"),
            },
            Term::DenseTranspose([x, w]) => match data(w).shape {
                Shape::Matrix(_, inputs) => of(Shape::Sample(inputs), data(x).known && data(w).known, false),
                Shape::Sample(_) | Shape::Vector(_) => unreachable!("a weight is a matrix"),
            },
            Term::DenseGradient([d, x]) => {
                let known = data(d).known && data(x).known;
                of(Shape::Matrix(length(data(d).shape), length(data(x).shape)), known, false)
            }
            Term::SumBatch([x]) => of(Shape::Vector(length(data(x).shape)), data(x).known, false),
            Term::SumElements([x]) => of(Shape::Sample(1), data(x).known, false),
            Term::Broadcast([n, x]) => of(Shape::Sample(count(n)), data(x).known, false),
            Term::Slice([_, n, x]) | Term::Place([_, n, x]) => of(Shape::Sample(count(n)), data(x).known, false),
            Term::Action => {
                let one_hot = values.analysis.facts.one_hot;
                of(Shape::Sample(values.analysis.action.unwrap_or(1)), true, one_hot)
            }
            Term::Ones([n]) => of(Shape::Sample(count(n)), true, false),
            Term::Opaque(op, children) => {
                let known: Vec<bool> = children.iter().map(|c| data(c).known).collect();
                let meaning = &values.analysis;
                match &meaning.ops[op.0] {
                    (None, shape) => of(*shape, meaning.inputs_known[op], false),
                    (Some(op), shape) => of(*shape, client_knows(op, &known, &meaning.facts.client), false),
                }
            }
        }
    }

    fn merge(&mut self, a: &mut Fact, b: Fact) -> DidMerge {
        debug_assert_eq!(a.shape, b.shape, "equal values have one shape");
        let merged = Fact { shape: a.shape, number: a.number.or(b.number), known: a.known || b.known, masked: a.masked || b.masked };
        let changed = DidMerge(merged != *a, merged != b);
        *a = merged;
        changed
    }

    fn modify(values: &mut Values, id: Id) {
        if let Some(c) = values[id].data.number {
            let number = values.add(Term::Number(Real(c)));
            values.union(id, number);
        }
    }
}
