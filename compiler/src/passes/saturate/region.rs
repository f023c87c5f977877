//! From a stretch of the tensor graph to an e-graph, and from a selection back.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use egg::{Id as Class, Language};
use hecc_plan::Span;

use super::cost::{self, Price};
use super::extract::{Choice, Problem, Solution};
use super::refresh::Budget;
use super::rules;
use super::term::{Meaning, OpId, Real, Term, Values};
use crate::approximation::{Degrees, Form};
use crate::passes::Facts;
use crate::tensor::graph::Map;
use crate::tensor::{Data, Graph, Id, Op, Shape};

/// Rounds of rewriting.
const ITERATIONS: usize = 8;
/// The part of an e-graph that one rule may add in one round, so that no rule leaves the others no room.
const SHARE: usize = 6;

/// A stretch of the graph as an e-graph.
pub struct Region {
    values: Values,
    /// Nodes that are used outside, with their classes.
    outputs: Vec<(Id, Class)>,
    /// Nodes from outside, with their operations.
    inputs: Vec<(Id, OpId)>,
    spans: BTreeMap<Class, Span>,
}

/// One way to compute a class of a region.
struct Way {
    term: Term,
    /// Of a function that the program leaves open, as the choice of degrees has it.
    form: Option<Form>,
}

/// A region as an extraction problem.
pub struct Extraction {
    /// The problem; depths of inputs and heights of outputs count.
    pub problem: Problem,
    ways: Vec<Vec<Way>>,
    /// Class of the problem, by class of the e-graph.
    index: BTreeMap<Class, usize>,
    /// Of classes that may be refreshed, the class of the problem that their users see: as it is, or refreshed.
    seen: BTreeMap<usize, usize>,
}

impl Region {
    /// The nodes `from..to` (in order of creation) of `graph`; `used` are those that something after them or an output uses.
    pub fn new(graph: &Graph, nodes: &[Id], used: &[bool], known: &[bool], facts: &Facts) -> Self {
        let mut meaning = Meaning::new(facts);
        for &id in nodes {
            if matches!(graph.node(id).op, Op::Data(Data::Action))
                && let Shape::Sample(d) = graph.shape(id)
            {
                meaning.action = Some(d);
            }
        }
        let mut region = Self { values: Values::new(meaning), outputs: Vec::new(), inputs: Vec::new(), spans: BTreeMap::new() };
        let mut classes: BTreeMap<Id, Class> = BTreeMap::new();
        for &id in nodes {
            let mut operands = Vec::new();
            for operand in graph.operands(id) {
                operands.push(*classes.entry(operand).or_insert_with(|| region.input(graph, operand, known[operand.index()])));
            }
            let class = region.node(graph, id, &operands);
            region.spans.entry(class).or_insert(graph.node(id).span);
            classes.insert(id, class);
            if used[id.index()] {
                region.outputs.push((id, class));
            }
        }
        region.values.rebuild();
        region
    }

    /// Where the program has each class: what came first of what is now one.
    fn places(&self) -> BTreeMap<Class, Span> {
        self.spans.iter().rev().map(|(&class, &span)| (self.values.find(class), span)).collect()
    }

    fn input(&mut self, graph: &Graph, id: Id, known: bool) -> Class {
        let op = self.values.analysis.input(graph.shape(id), known);
        self.inputs.push((id, op));
        self.values.add(Term::Opaque(op, Vec::new()))
    }

    fn number(&mut self, c: f64) -> Class {
        self.values.add(Term::Number(Real(c)))
    }

    fn node(&mut self, graph: &Graph, id: Id, operands: &[Class]) -> Class {
        let node = graph.node(id);
        let sample = matches!(node.shape, Shape::Sample(_));
        let term = match (&node.op, operands) {
            (Op::Data(Data::Action), _) if self.values.analysis.action == Some(super::term::length(node.shape)) => Term::Action,
            (Op::Constant(c), []) if sample => {
                let (n, c) = (self.number(super::term::length(node.shape) as f64), self.number(*c));
                let ones = self.values.add(Term::Ones([n]));
                if self.values[c].data.number == Some(1.0) { Term::Ones([n]) } else { Term::Scale([c, ones]) }
            }
            (Op::Add, &[a, b]) if sample || of_gradients(graph, id) => Term::Add([a, b]),
            (Op::Sub, &[a, b]) if sample => {
                let minus = self.number(-1.0);
                let b = self.values.add(Term::Scale([minus, b]));
                Term::Add([a, b])
            }
            (Op::Mul, &[a, b]) if sample => Term::Mul([a, b]),
            (Op::Scale(c), &[x]) if sample => Term::Scale([self.number(*c), x]),
            (Op::Offset(c), &[x]) if sample => Term::Offset([self.number(*c), x]),
            (Op::Dense, &[x, w]) => Term::Dense([x, w]),
            (Op::DenseTranspose, &[x, w]) => Term::DenseTranspose([x, w]),
            (Op::DenseGradient, &[d, x]) => Term::DenseGradient([d, x]),
            (Op::SumBatch, &[x]) => Term::SumBatch([x]),
            (Op::SumElements, &[x]) if node.shape == Shape::Sample(1) => Term::SumElements([x]),
            (Op::Broadcast, &[x]) if graph.operands(id).first().is_some_and(|&x| graph.shape(x) == Shape::Sample(1)) => {
                Term::Broadcast([self.number(super::term::length(node.shape) as f64), x])
            }
            (Op::Slice { start, step: 1 }, &[x]) => {
                Term::Slice([self.number(*start as f64), self.number(super::term::length(node.shape) as f64), x])
            }
            (Op::Place { start, step: 1 }, &[x]) => {
                Term::Place([self.number(*start as f64), self.number(super::term::length(node.shape) as f64), x])
            }
            _ => {
                let op = self.values.analysis.intern(&node.op, node.shape);
                Term::Opaque(op, operands.to_vec())
            }
        };
        self.values.add(term)
    }

    /// Applies the rules until nothing changes, or the e-graph has `nodes` nodes, or the rounds are over: no clock decides.
    pub fn saturate(&mut self, nodes: usize) {
        let rules = rules::rewrites();
        for _ in 0..ITERATIONS {
            let before = (self.values.total_number_of_nodes(), self.values.number_of_classes());
            let found: Vec<_> = rules.iter().map(|rule| rule.search_with_limit(&self.values, nodes / SHARE)).collect();
            for (rule, matches) in rules.iter().zip(&found) {
                if self.values.total_number_of_nodes() < nodes {
                    rule.apply(&mut self.values, matches);
                }
            }
            self.values.rebuild();
            rules::derivatives(&mut self.values);
            self.values.rebuild();
            let after = (self.values.total_number_of_nodes(), self.values.number_of_classes());
            if after == before || after.0 >= nodes {
                break;
            }
        }
    }

    /// The extraction problem with functions of those degrees, where `depths` are spent before each input and `heights` will be after
    /// each output. With a budget, values may be refreshed, and states cost what it takes to unpack them.
    pub fn extraction(
        &self,
        degrees: &Degrees,
        depths: &dyn Fn(Id) -> u32,
        heights: &dyn Fn(Id) -> u32,
        budget: Option<&Budget>,
    ) -> Extraction {
        let places = self.places();
        let mut index: BTreeMap<Class, usize> = BTreeMap::new();
        let mut order: Vec<Class> = Vec::new();
        let mut stack: Vec<Class> = self.outputs.iter().rev().map(|(_, class)| self.values.find(*class)).collect();
        while let Some(class) = stack.pop() {
            if let Entry::Vacant(place) = index.entry(class) {
                place.insert(order.len());
                order.push(class);
                for term in self.values[class].iter() {
                    stack.extend(self.operands(term));
                }
            }
        }
        let entry: BTreeMap<OpId, u32> = self.inputs.iter().map(|&(id, op)| (op, depths(id))).collect();
        let mut classes = Vec::new();
        let mut ways = Vec::new();
        for &class in &order {
            let mut choices: Vec<Choice> = Vec::new();
            let mut own: Vec<Way> = Vec::new();
            for term in self.values[class].iter() {
                let children: Vec<usize> = self.operands(term).iter().map(|c| index[c]).collect();
                let form = places.get(&class).and_then(|&span| self.form(term, span, degrees));
                let Some(mut price) = self.price(term, form, &entry) else { continue };
                if let (Some(budget), Some(Op::State(_))) = (budget, self.op(term)) {
                    price.spends += budget.unpack;
                }
                let choice = Choice { children, spends: price.spends, cost: price.cost, fresh: price.fresh };
                if !choices.contains(&choice) {
                    choices.push(choice);
                    own.push(Way { term: term.clone(), form });
                }
            }
            classes.push(choices);
            ways.push(own);
        }
        let seen = budget.map(|budget| self.refreshable(&order, &mut classes, budget)).unwrap_or_default();
        // What follows an output is part of its path.
        let mut roots = Vec::new();
        for &(id, class) in &self.outputs {
            let own = index[&self.values.find(class)];
            let children = vec![seen.get(&own).copied().unwrap_or(own)];
            roots.push(classes.len());
            classes.push(vec![Choice { children, spends: heights(id), ..Choice::default() }]);
        }
        classes.push(vec![Choice { children: roots, ..Choice::default() }]);
        Extraction { problem: Problem { root: classes.len() - 1, classes }, ways, index, seen }
    }

    /// The rule `v => refresh(v)`, once for each value: two nodes of one class would be each other's operands, so what users
    /// see of a value is a class of its own. Offered where one ciphertext per group of samples lives, and where the program
    /// has a value: what only the rules found is refreshed before or after.
    fn refreshable(&self, order: &[Class], classes: &mut Vec<Vec<Choice>>, budget: &Budget) -> BTreeMap<usize, usize> {
        let named: BTreeSet<Class> = self.spans.keys().map(|&class| self.values.find(class)).collect();
        let mut seen = BTreeMap::new();
        for (at, class) in order.iter().enumerate() {
            let fact = &self.values[*class].data;
            let leaf = classes[at].iter().any(|choice| choice.children.is_empty());
            if named.contains(class) && !fact.known && !leaf && matches!(fact.shape, Shape::Sample(_)) {
                seen.insert(at, order.len() + seen.len());
            }
        }
        for choice in classes.iter_mut().flatten() {
            choice.children.iter_mut().for_each(|child| *child = seen.get(child).copied().unwrap_or(*child));
        }
        for &at in seen.keys() {
            let refresh = Choice { children: vec![at], spends: 0, cost: budget.price, fresh: true };
            classes.push(vec![Choice { children: vec![at], ..Choice::default() }, refresh]);
        }
        seen
    }

    /// Operands that are values, not numbers.
    fn operands(&self, term: &Term) -> Vec<Class> {
        let children: &[Class] = match term {
            Term::Scale([_, x]) | Term::Offset([_, x]) | Term::Broadcast([_, x]) => std::slice::from_ref(x),
            Term::Slice([_, _, x]) | Term::Place([_, _, x]) => std::slice::from_ref(x),
            Term::Number(_) | Term::Times(_) | Term::Plus(_) | Term::Width(_) | Term::Ones(_) | Term::Action => &[],
            Term::Add(_)
            | Term::Mul(_)
            | Term::Dense(_)
            | Term::DenseTranspose(_)
            | Term::DenseGradient(_)
            | Term::SumBatch(_)
            | Term::SumElements(_)
            | Term::Opaque(..) => term.children(),
        };
        children.iter().map(|&c| self.values.find(c)).collect()
    }

    /// The operation of a term; inputs and numbers have none.
    fn op(&self, term: &Term) -> Option<Op> {
        let number = |class: &Class| self.values[*class].data.number.unwrap_or(0.0);
        Some(match term {
            Term::Add(_) => Op::Add,
            Term::Mul(_) => Op::Mul,
            Term::Scale([c, _]) => Op::Scale(number(c)),
            Term::Offset([c, _]) => Op::Offset(number(c)),
            Term::Dense(_) => Op::Dense,
            Term::DenseTranspose(_) => Op::DenseTranspose,
            Term::DenseGradient(_) => Op::DenseGradient,
            Term::SumBatch(_) => Op::SumBatch,
            Term::SumElements(_) => Op::SumElements,
            Term::Broadcast(_) => Op::Broadcast,
            Term::Slice([start, ..]) => Op::Slice { start: number(start) as usize, step: 1 },
            Term::Place([start, ..]) => Op::Place { start: number(start) as usize, step: 1 },
            Term::Action => Op::Data(Data::Action),
            Term::Ones(_) => Op::Constant(1.0),
            Term::Opaque(op, _) => self.values.analysis.ops[op.0].0.clone()?,
            Term::Number(_) | Term::Times(_) | Term::Plus(_) | Term::Width(_) => return None,
        })
    }

    /// What computes a function that the program leaves open, in the layer at `span`.
    fn form(&self, term: &Term, span: Span, degrees: &Degrees) -> Option<Form> {
        let function = self.values.analysis.open(term)?;
        let known = self.operands(term).iter().all(|&x| self.values[x].data.known);
        degrees.get(&(function.name(), span)).copied().filter(|_| !known)
    }

    /// What a term costs; nothing that a selection may choose has none.
    fn price(&self, term: &Term, form: Option<Form>, entry: &BTreeMap<OpId, u32>) -> Option<Price> {
        let Some(op) = self.op(term) else {
            let Term::Opaque(op, _) = term else { return None };
            return Some(Price { spends: entry[op], cost: 0, fresh: false });
        };
        let shape = self.values[self.values.lookup(term.clone()).expect("a term of the e-graph")].data.shape;
        let operands: Vec<(Shape, bool)> =
            self.operands(term).iter().map(|c| (self.values[*c].data.shape, self.values[*c].data.known)).collect();
        Some(cost::price(&of_form(op, form), shape, &operands, &self.values.analysis.facts))
    }

    /// Appends what a solution chose to `graph`, whose counterparts of the inputs are in `map`; adds those of the outputs.
    pub fn emit(&self, extraction: &Extraction, solution: &Solution, graph: &mut Graph, map: &mut BTreeMap<Id, Id>) {
        let inputs: BTreeMap<OpId, Id> = self.inputs.iter().map(|&(id, op)| (op, map[&id])).collect();
        let mut emitter = Emitter { region: self, extraction, solution, inputs, spans: self.places(), graph, done: BTreeMap::new() };
        for &(id, class) in &self.outputs {
            let new = emitter.class(self.values.find(class), Span::default());
            map.insert(id, new);
        }
    }
}

/// The operation with what is chosen to compute its function.
fn of_form(mut op: Op, form: Option<Form>) -> Op {
    if let (Op::Map(Map { pins, .. }) | Op::Max(pins) | Op::Extremum { pins, .. }, Some(form)) = (&mut op, form) {
        *pins = form.pin(*pins);
    }
    op
}

/// Whether a parameter-shaped value is a sum of gradients. Other arithmetic of parameters is the key owner's, and free.
fn of_gradients(graph: &Graph, id: Id) -> bool {
    match graph.node(id).op {
        Op::DenseGradient | Op::ConvGradient(_) | Op::PlacesGradient(_) | Op::Collect(_) | Op::SumBatch => true,
        Op::Add => graph.operands(id).iter().all(|&o| of_gradients(graph, o)),
        _ => false,
    }
}

struct Emitter<'a> {
    region: &'a Region,
    extraction: &'a Extraction,
    solution: &'a Solution,
    inputs: BTreeMap<OpId, Id>,
    spans: BTreeMap<Class, Span>,
    graph: &'a mut Graph,
    done: BTreeMap<Class, Id>,
}

impl Emitter<'_> {
    fn way(&self, class: Class) -> &Way {
        let index = self.extraction.index[&class];
        let choice = self.solution.chosen[index].expect("a solution chooses all that it needs");
        &self.extraction.ways[index][choice]
    }

    fn class(&mut self, class: Class, above: Span) -> Id {
        if let Some(&id) = self.done.get(&class) {
            return id;
        }
        let values = &self.region.values;
        let span = self.spans.get(&class).copied().unwrap_or(above);
        let shape = values[class].data.shape;
        let way = self.way(class);
        let (term, form) = (way.term.clone(), way.form);
        let operands = self.region.operands(&term);
        let id = match self.region.op(&term) {
            None => match &term {
                Term::Opaque(op, _) => self.inputs[op],
                _ => unreachable!("numbers are no values"),
            },
            // a + (−1) b is a difference.
            Some(Op::Add) if let Some((a, b)) = self.difference(&operands) => {
                let operands = [self.class(a, span), self.class(b, span)];
                self.graph.push(Op::Sub, &operands, shape, span)
            }
            Some(op) => {
                let operands: Vec<Id> = operands.iter().map(|&c| self.class(c, span)).collect();
                self.graph.push(of_form(op, form), &operands, shape, span)
            }
        };
        let id = if self.refreshed(class) { self.graph.push(Op::Refresh, &[id], shape, span) } else { id };
        self.done.insert(class, id);
        id
    }

    fn refreshed(&self, class: Class) -> bool {
        let seen = self.extraction.seen.get(&self.extraction.index[&class]);
        seen.is_some_and(|&seen| self.solution.chosen[seen] == Some(1))
    }

    fn difference(&self, operands: &[Class]) -> Option<(Class, Class)> {
        let &[a, b] = operands else { return None };
        let negated = |class: Class| match &self.way(class).term {
            Term::Scale([c, x]) if self.region.values[*c].data.number == Some(-1.0) && !self.refreshed(class) => {
                Some(self.region.values.find(*x))
            }
            _ => None,
        };
        match (negated(a), negated(b)) {
            (None, Some(b)) => Some((a, b)),
            (Some(a), None) => Some((b, a)),
            _ => None,
        }
    }
}
