//! Which polynomial computes which activation: the degrees that meet `secure { precision = ... }` together, at the least predicted
//! cost. Activations are those of the tensor graph; the uses of one (online and target network, function and derivative) share a
//! polynomial.
//!
//! A polynomial of one activation moves the outputs by a contribution that `shadow.rs` measures; to first order contributions add up,
//! at worst. `knapsack.rs` looks for choices by that sum; each is run as a whole, on the same data and on others, and the worst
//! contributor bumped while that run is further off than the budget. Which choice is cheapest, and which of those beside it, is seen
//! when they are lowered. A pinned degree is the program's own: its polynomial counts as the function. Maxima and minima are among the
//! activations, by the magnitude of a difference that they are computed by.

pub mod calibrated;
pub mod composite;
#[cfg(test)]
mod exhaustive;
mod knapsack;
pub(crate) mod maxima;
pub mod minimax;
mod options;
pub(crate) mod shadow;

use std::collections::BTreeMap;
use std::fmt;

use hecc_plan::{Function, Span, State};

use crate::check::hir::{Pins, Program, Range, Task};
use crate::passes::hoist::client_knows;
use crate::schemes::ckks::approximate::{Polynomial, approximate};
use crate::tensor::graph::{Elementwise, Map};
use crate::tensor::{Graph, Id, Op, TensorError};
use knapsack::Cost;
use options::Candidate;
use shadow::Shadow;

/// How one activation is computed.
#[derive(Clone, Debug, PartialEq)]
pub struct ActivationChoice {
    /// The function and the layer it follows, such as `silu after q.0`; the function alone in an expression.
    pub name: String,
    /// The function.
    pub function: Function,
    /// The layer or expression.
    pub span: Span,
    /// Degree of the polynomial; of a composition, that of its steepest stage.
    pub degree: usize,
    /// The polynomial, or the composition.
    pub form: Form,
    /// Whether the program pins the degree.
    pub pinned: bool,
    /// The interval it holds on.
    pub range: Range,
    /// Largest error of the polynomial on the interval.
    pub error: f64,
    /// The same of its derivative, where the update uses it.
    pub derivative_error: Option<f64>,
    /// Whether the derivative is computed from the value, not by a polynomial of its own.
    pub from_value: bool,
    /// How far an error of one in this activation moves the outputs, to first order.
    pub sensitivity: f64,
    /// How far its polynomial does.
    pub moved: f64,
    /// Its part of the budget: of what all of them do together as much as `sensitivity` times `error` is of the sum of those; 0 for
    /// a pinned degree, which costs none.
    pub share: f64,
}

/// What computes a function that a program leaves open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    /// One polynomial, of that degree.
    Degree(usize),
    /// The argument times a composition of polynomials for its sign, with at most that error: a magnitude.
    Composition(f64),
}

impl Form {
    /// The pins of a function that is to be computed so.
    pub fn pin(self, pins: Pins) -> Pins {
        match self {
            Form::Degree(degree) => Pins { degree: Some(degree), within: None, ..pins },
            Form::Composition(error) => Pins { degree: None, within: Some(error), ..pins },
        }
    }
}

impl fmt::Display for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Form::Degree(degree) => write!(f, "{degree}"),
            Form::Composition(error) => write!(f, "a composition to {error:.1e}"),
        }
    }
}

/// Forms of the functions that a program leaves open, by function and layer.
pub type Degrees = BTreeMap<(&'static str, Span), Form>;

/// The choice for a whole program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Approximation {
    /// Every activation that a polynomial computes, in the order of the graph.
    pub activations: Vec<ActivationChoice>,
    /// What polynomials may move the outputs by: new weights relative to their network's largest, served values relative
    /// to the largest or to one.
    pub budget: f64,
    /// What they do to first order, as a sum over the activations.
    pub predicted: f64,
    /// What they did in the shadow run of all of them.
    pub measured: f64,
    /// The candidate of each activation.
    chosen: Vec<usize>,
}

impl Approximation {
    /// What the program does not pin.
    pub fn degrees(&self) -> Vec<Form> {
        self.activations.iter().filter(|a| !a.pinned).map(|a| a.form).collect()
    }

    /// Whether the activations stay within the budget.
    pub fn met(&self) -> bool {
        self.measured <= self.budget
    }

    /// The activations of a graph, application by application: its name there, the node and its interval.
    pub fn uses(&self, program: &Program, graph: &Graph) -> Vec<(String, Id, Range)> {
        let of = |group: &Group| self.activations.iter().any(|a| a.function == group.function && a.span == group.span);
        let mut uses = Vec::new();
        for group in groups(program, graph).into_iter().filter(of) {
            for id in group.nodes {
                if let Some((_, 0, Pins { range: Some(range), .. })) = applied(&graph.node(id).op) {
                    uses.push((name(graph, id, group.function), id, range));
                }
            }
        }
        uses
    }

    /// What to tell of the budget, if any of it was spent.
    pub fn note(&self) -> Option<String> {
        let Self { activations, budget, predicted, measured, chosen: _ } = self;
        let pinned: f64 = activations.iter().filter(|a| a.pinned).map(|a| a.moved).sum();
        let apart = (pinned > *budget).then(|| format!("pinned degrees move the outputs by {pinned:.1e}, which does not count"));
        if activations.iter().all(|a| a.pinned) {
            return apart.map(|apart| format!("polynomials: {apart}"));
        }
        let end = if self.met() { "" } else { ": more than is allowed; a wider degree or a narrower range has to be pinned" };
        let apart = apart.map_or(String::new(), |apart| format!("; {apart}"));
        Some(format!("polynomials: {measured:.1e} of an error of {budget:.1e} (to first order {predicted:.1e}){end}{apart}"))
    }

    /// What computes every activation that the program leaves open.
    pub fn degrees_by_layer(&self) -> Degrees {
        let open = self.activations.iter().filter(|a| !a.pinned);
        open.map(|a| ((a.function.name(), a.span), a.form)).collect()
    }

    /// The graph with a polynomial or a composition for every activation.
    pub fn apply(&self, graph: &Graph) -> Graph {
        apply(graph, &self.degrees_by_layer())
    }

    /// The graph that [`Self::apply`] made `graph` of.
    pub fn undo(&self, graph: &Graph) -> Graph {
        let degrees = self.degrees_by_layer();
        repinned(graph, |_, span, function, pins| match function {
            Some(function) if degrees.contains_key(&(function.name(), span)) => Pins { degree: None, within: None, ..pins },
            _ => pins,
        })
    }

    /// The same choice in a graph that was made of `before` and moves the outputs by `moved`. `None` where a derivative is computed from
    /// the value in one place and by a polynomial in another: an activation has one derivative.
    pub fn in_graph(&self, before: &Graph, graph: &Graph, moved: f64) -> Option<Self> {
        let slopes = |graph: &Graph, of: &ActivationChoice| {
            let slope = |id: &Id| match &graph.node(*id).op {
                Op::Map(Map { function: Elementwise::Named(f), order: 1, .. }) => *f == of.function && graph.node(*id).span == of.span,
                _ => false,
            };
            graph.ids().filter(slope).count()
        };
        let ratio = if self.measured > 0.0 { moved / self.measured } else { 1.0 };
        let choice = |a: &ActivationChoice| {
            let (old, new) = (slopes(before, a), slopes(graph, a));
            let from_value = a.derivative_error.is_some() && new == 0;
            (from_value || new == old).then(|| ActivationChoice { from_value, share: a.share * ratio, ..a.clone() })
        };
        let activations = self.activations.iter().map(choice).collect::<Option<_>>()?;
        Some(Self { activations, measured: moved, ..self.clone() })
    }
}

/// The part of `precision` that polynomials may take; the rest is for the noise of ciphertexts and for weights and data
/// that the shadow run has not seen.
const PART: f64 = 0.5;

/// Sums of contributions, over the budget, that choices are looked for with: errors seldom all come together.
const SUMS: [f64; 3] = [1.0, 2.0, 4.0];

/// The same sums in another order may be larger by this.
const ROUNDED: f64 = 1.0 + 1e-9;

/// How many coarser polynomials of each activation stand beside a choice.
const BESIDE: usize = 2;

/// The degrees that a program leaves open, and what they do to its outputs.
pub struct Search<'a> {
    program: &'a Program,
    groups: Vec<Group>,
    /// By group.
    candidates: Vec<Vec<Candidate>>,
    /// The runs that tell how far outputs move; none where there is nothing to choose.
    shadows: Vec<Shadow>,
    path: knapsack::Path,
    budget: f64,
    /// The budget, or what can be met of it.
    allowed: f64,
}

impl<'a> Search<'a> {
    /// For a graph whose states start as `states` says. Ranges are those of the graph.
    pub fn new(program: &'a Program, graph: &Graph, states: &[State]) -> Self {
        let (graph, batch) = &shadow::resized(program, graph);
        let groups = groups(program, graph);
        let draws = if groups.is_empty() { 0..0 } else { 0..2 };
        let shadows: Vec<Shadow> = draws.map(|draw| Shadow::new(program, (graph, states), *batch, draw)).collect();
        let budget = PART * program.secure.precision;
        let candidates = groups.iter().map(|group| options::run(program, graph, group, &shadows, budget));
        let candidates: Vec<Vec<Candidate>> = candidates.collect();
        let path = knapsack::Path::new(program, graph, &groups);
        // What no degree can meet (a kink) is met as well as can be.
        let least: f64 = candidates.iter().map(|c| c.iter().map(|c| c.contribution).fold(f64::INFINITY, f64::min)).sum();
        Self { program, groups, candidates, shadows, path, budget, allowed: budget.max(1.25 * least) }
    }

    /// The choices that are worth lowering, the shallowest first.
    pub fn choices(&self) -> Vec<Approximation> {
        let found = knapsack::run(&self.candidates, &self.path, &SUMS.map(|sum| sum * self.allowed));
        let mut choices: Vec<Vec<usize>> = Vec::new();
        for chosen in found.into_iter().map(|chosen| self.settled(chosen, None).0) {
            if !choices.contains(&chosen) {
                choices.push(chosen);
            }
        }
        choices.into_iter().map(|chosen| self.approximation(chosen)).collect()
    }

    /// Choices next to one, those first that may be the shallowest: an activation coarser, and others as much finer as the budget then
    /// asks for, where the whole is still shallower or of fewer products.
    pub fn beside<'b>(&'b self, of: &'b Approximation) -> impl Iterator<Item = Approximation> + 'b {
        let cost = |chosen: &[usize]| Cost::of(chosen, &self.candidates, &self.path);
        let here = cost(&of.chosen);
        let cheaper = move |cost: &Cost| cost.depth < here.depth || cost.products < here.products;
        let mut coarser: Vec<(Cost, Vec<usize>, usize)> = Vec::new();
        for (i, candidates) in self.candidates.iter().enumerate() {
            let now = candidates[of.chosen[i]].contribution;
            let mut steps: Vec<usize> = (0..candidates.len()).filter(|&j| candidates[j].contribution > now).collect();
            steps.sort_by(|&a, &b| candidates[a].contribution.total_cmp(&candidates[b].contribution));
            coarser.extend(steps.into_iter().take(BESIDE).map(|j| {
                let mut chosen = of.chosen.clone();
                chosen[i] = j;
                (cost(&chosen), chosen, i)
            }));
        }
        coarser.retain(|(cost, ..)| cheaper(cost));
        coarser.sort();
        let settled = coarser.into_iter().filter_map(move |(_, chosen, held)| {
            let (chosen, kept) = self.settled(chosen, Some(held));
            (kept && cheaper(&cost(&chosen))).then_some(chosen)
        });
        settled.map(|chosen| self.approximation(chosen))
    }

    /// How far a graph of the program, with the polynomials of `choice` but for what it computes otherwise, moves the outputs; `None`
    /// where that is more than is allowed, and more than `choice` does.
    pub fn kept(&self, graph: &Graph, choice: &Approximation) -> Option<f64> {
        let moved = self.shadows.iter().map(|shadow| shadow.moved_by_graph(self.program, graph));
        let moved = moved.fold(self.bound(&choice.chosen), f64::max);
        (moved <= self.allowed.max(choice.measured * ROUNDED)).then_some(moved)
    }

    /// How far the outputs move: those of the draw that moves them most, or what largest errors would do.
    fn moved(&self, chosen: &[usize]) -> f64 {
        let fits = || chosen.iter().zip(&self.candidates).map(|(&j, c)| &c[j].fits);
        self.shadows.iter().map(|shadow| shadow.moved(fits())).fold(self.bound(chosen), f64::max)
    }

    fn bound(&self, chosen: &[usize]) -> f64 {
        chosen.iter().zip(&self.candidates).map(|(&j, c)| c[j].bound).sum()
    }

    /// A better candidate of whichever contributes most, but for the one that is `held`, while they move the outputs too far together;
    /// and whether they no longer do.
    fn settled(&self, mut chosen: Vec<usize>, held: Option<usize>) -> (Vec<usize>, bool) {
        while self.moved(&chosen) > self.allowed {
            let finer = |i: usize| {
                let now = &self.candidates[i][chosen[i]];
                let better = self.candidates[i].iter().enumerate().filter(|(_, c)| c.contribution < now.contribution);
                let next = better.max_by(|a, b| a.1.contribution.total_cmp(&b.1.contribution));
                next.map(|(j, _)| (now.contribution, i, j))
            };
            let others = (0..self.groups.len()).filter(|&i| Some(i) != held);
            let Some((_, i, j)) = others.filter_map(finer).max_by(|a, b| a.0.total_cmp(&b.0)) else { return (chosen, false) };
            chosen[i] = j;
        }
        (chosen, true)
    }

    fn approximation(&self, chosen: Vec<usize>) -> Approximation {
        let picked: Vec<&Candidate> = chosen.iter().zip(&self.candidates).map(|(&j, c)| &c[j]).collect();
        let predicted: f64 = picked.iter().map(|c| c.contribution).sum();
        let measured = self.moved(&chosen);
        let record = |(group, c): (&Group, &Candidate)| ActivationChoice {
            name: group.name.clone(),
            function: group.function,
            span: group.span,
            degree: c.steepest,
            form: c.form,
            pinned: group.pinned,
            range: group.range,
            error: c.error,
            derivative_error: c.derivative_error,
            from_value: false,
            sensitivity: if c.error > 0.0 { c.moved / c.error } else { 0.0 },
            moved: c.moved,
            share: if predicted > 0.0 { c.contribution / predicted * measured / self.budget } else { 0.0 },
        };
        let activations = self.groups.iter().zip(picked).map(record).collect();
        Approximation { activations, budget: self.budget, predicted, measured, chosen }
    }
}

/// The uses of one activation.
#[derive(Clone, Debug)]
struct Group {
    name: String,
    function: Function,
    span: Span,
    pinned: bool,
    /// What holds the ranges of all uses.
    range: Range,
    /// The degree, where the program pins it.
    degree: Option<usize>,
    /// Whether it is in a maximum or minimum.
    extremum: bool,
    /// The maps, maxima and minima, and their derivatives.
    nodes: Vec<Id>,
}

/// The function that a polynomial computes in an operation, of which order, and its pins: of maxima and minima, the magnitude of a
/// difference.
pub(crate) fn applied(op: &Op) -> Option<(Function, u8, Pins)> {
    match op {
        Op::Map(Map { function: Elementwise::Named(function), order, pins }) => Some((*function, *order, *pins)),
        Op::Max(pins) | Op::Extremum { pins, .. } => Some((Function::Abs, 0, *pins)),
        _ => None,
    }
}

/// Every activation that is computed by a polynomial of some degree.
fn groups(program: &Program, graph: &Graph) -> Vec<Group> {
    let known = known(program, graph);
    let mut groups: Vec<Group> = Vec::new();
    for id in graph.ids().filter(|id| !known[id.index()]) {
        let node = graph.node(id);
        let Some((function, _, pins)) = applied(&node.op) else { continue };
        let range = pins.range.unwrap_or(Range { low: -1.0, high: 1.0 });
        let extremum = !matches!(node.op, Op::Map(_));
        match groups.iter_mut().find(|g| g.function == function && g.span == node.span) {
            Some(group) => {
                group.range = Range { low: group.range.low.min(range.low), high: group.range.high.max(range.high) };
                group.nodes.push(id);
                group.extremum |= extremum;
                // A network rather than a copy of it.
                let own = name(graph, id, function);
                let trained = |name: &str| program.nets.iter().any(|net| name.contains(&format!(" after {}.", net.name)));
                if trained(&own) && !trained(&group.name) {
                    group.name = own;
                }
            }
            None => groups.push(Group {
                name: name(graph, id, function),
                function,
                span: node.span,
                pinned: pins.degree.is_some(),
                range,
                degree: pins.degree,
                extremum,
                nodes: vec![id],
            }),
        }
    }
    groups
}

/// Functions that a polynomial is to compute on an interval where they do not have a value everywhere.
pub fn undefined(program: &Program, graph: &Graph) -> Vec<TensorError> {
    let outside = |group: Group| {
        let Range { low, high } = group.range;
        let (lacks, where_to) = match group.function {
            Function::Log => (low <= 0.0, "at 0 and below"),
            Function::Sqrt => (low < 0.0, "below 0"),
            Function::Reciprocal => (low <= 0.0 && high >= 0.0, "at 0"),
            _ => (false, ""),
        };
        let name = group.function.name();
        let what = format!("`{name}` has no value {where_to}, and its argument comes to between {low:.3} and {high:.3}");
        lacks.then_some(TensorError::Undefined { what, span: group.span })
    };
    groups(program, graph).into_iter().filter_map(outside).collect()
}

/// Which nodes the client knows, and so computes exactly.
pub(crate) fn known(program: &Program, graph: &Graph) -> Vec<bool> {
    let mut known: Vec<bool> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let operands: Vec<bool> = graph.operands(id).iter().map(|o| known[o.index()]).collect();
        known.push(client_knows(&graph.node(id).op, &operands, &program.secure.client));
    }
    known
}

/// The function, whether it is in a maximum or minimum, and the layer whose result it takes.
pub(crate) fn name(graph: &Graph, id: Id, function: Function) -> String {
    let inside = match graph.node(id).op {
        Op::Max(_) | Op::Extremum { larger: true, .. } => " in max",
        Op::Extremum { larger: false, .. } => " in min",
        _ => "",
    };
    let after = graph.operands(id).first().and_then(|&x| layer(graph, x)).map_or(String::new(), |layer| format!(" after {layer}"));
    format!("{}{inside}{after}", function.name())
}

/// The layer that a value comes from, if sums and constants are all that is in between.
fn layer(graph: &Graph, x: Id) -> Option<String> {
    let operands = graph.operands(x);
    match &graph.node(x).op {
        Op::State(name) => Some(name.rsplit_once('.').map_or(name.as_str(), |(layer, _)| layer).to_owned()),
        Op::Dense => layer(graph, operands[1]),
        Op::Add | Op::Sub => operands.iter().find_map(|&o| layer(graph, o)),
        Op::Scale(_) | Op::Rate(_) | Op::Offset(_) | Op::Spread | Op::Broadcast | Op::Stop | Op::Return | Op::Refresh => {
            layer(graph, operands[0])
        }
        _ => None,
    }
}

/// The graph with those forms of the functions that it leaves open; its nodes are the same.
pub fn apply(graph: &Graph, degrees: &Degrees) -> Graph {
    repinned(graph, |_, span, function, pins| {
        let form = function.filter(|_| pins.degree.is_none()).and_then(|function| degrees.get(&(function.name(), span)));
        form.map_or(pins, |form| form.pin(pins))
    })
}

/// The graph with other pins, which may depend on the function; a polynomial of the program's own has none.
fn repinned(graph: &Graph, change: impl Fn(Id, Span, Option<Function>, Pins) -> Pins) -> Graph {
    let mut new = Graph::default();
    let mut ids: Vec<Id> = Vec::with_capacity(graph.len());
    for id in graph.ids() {
        let node = graph.node(id);
        let operands: Vec<Id> = graph.operands(id).iter().map(|o| ids[o.index()]).collect();
        let mut op = node.op.clone();
        let function = applied(&op).map(|(function, ..)| function);
        if let Op::Map(Map { pins, .. }) | Op::Max(pins) | Op::Extremum { pins, .. } = &mut op {
            *pins = change(id, node.span, function, *pins);
        }
        ids.push(new.push(op, &operands, node.shape, node.span));
    }
    new.outputs = graph.outputs.iter().map(|(output, id)| (output.clone(), ids[id.index()])).collect();
    new
}

/// The polynomial of an operation that [`applied`] knows, by its pins; where they leave it open, what the lowering takes to be within
/// `tolerance`.
fn polynomial(function: &Elementwise, order: u8, pins: &Pins, tolerance: f64) -> Polynomial {
    let cap = if pins.degree.is_some() { usize::MAX } else { crate::schemes::ckks::degree_cap() };
    let p = approximate(function, pins, tolerance, cap);
    if order == 0 { p } else { p.derivative() }
}

/// Whether the task is a training run.
fn trains(program: &Program) -> bool {
    matches!(program.task, Task::Train(_))
}
