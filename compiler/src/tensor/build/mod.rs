//! From the checked program to a tensor graph: one update (gradients and optimiser included), or one evaluation.
//!
//! Statements are here; `expression.rs` has what stands in them, `function.rs` the functions, `network.rs` networks applied,
//! `optimiser.rs` the steps of `minimize`.

mod choice;
mod expression;
mod function;
mod network;
mod optimiser;
pub mod tracking;

use std::collections::{BTreeMap, BTreeSet};

use hecc_plan::{Span, State, StateInit};

use super::eval::{Exact, Functions};
use super::graph::{Graph, Id, Op, Output, Shape};
use super::{TensorError, ranges};
use crate::approximation::maxima::Maxima;
use crate::check::hir::{
    Body, By, Expr, Init, Layer, LayerKind, NetId, NetRef, Pins, Program, Range, StateExpr, StateId, StateKind, Stmt, Task, Train, Trained,
};
pub use function::named;

/// A program as a graph with its carried states.
#[derive(Clone, Debug)]
pub struct Built {
    /// The graph.
    pub graph: Graph,
    /// Carried states, in order of declaration.
    pub states: Vec<State>,
    /// Nets whose parameters are the server's own, in the clear: (array name, shape).
    pub public: Vec<(String, Vec<usize>)>,
    /// States whose new value counts only at each K-th update.
    pub periods: Vec<(String, u32)>,
    /// The first net that is trained, for training programs.
    pub first: Option<NetId>,
    /// Gradients whose scale is tracked, in order.
    pub scaled: Vec<Scaled>,
}

/// A gradient whose scale an optimiser tracks.
#[derive(Clone, Debug)]
pub struct Scaled {
    /// The parameter.
    pub name: String,
    /// Which `minimize` of the body, from 0, blocks in place.
    pub minimize: usize,
    /// Its gradient.
    pub gradient: Id,
    /// The recurrence.
    pub by: By,
    /// Its constants.
    pub constants: tracking::Constants,
    /// The optimiser.
    pub span: Span,
}

/// What one `minimize` of a program computes.
#[derive(Clone, Debug, PartialEq)]
pub struct Minimized {
    /// The loss, a number for the batch; with the range penalty if the program has one.
    pub loss: Id,
    /// The trained parameters, by their full names (`q.0.weight`): as they stand before the step, and their gradients.
    pub parameters: Vec<Trainable>,
    /// The statement.
    pub span: Span,
}

/// A trained parameter and its gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Trainable {
    /// Its full name, such as `q.0.weight`.
    pub name: String,
    /// Its value before the step.
    pub value: Id,
    /// Its gradient.
    pub gradient: Id,
}

/// A program as it is computed in the clear: nothing is refused that only ciphertexts cannot do, and functions are exact.
#[derive(Clone, Debug)]
pub struct InTheClear {
    /// The graph with all carried states.
    pub built: Built,
    /// What each `minimize` computes, in the order of the program.
    pub minimized: Vec<Minimized>,
}

/// One number for the batch as a graph of its own.
#[derive(Clone, Debug)]
pub struct Scalar {
    /// The graph.
    pub graph: Graph,
    /// The number, `Vector(1)`.
    pub value: Id,
    /// The parameters of all nets, by their full names.
    pub parameters: BTreeMap<String, Id>,
}

/// Margins on the ranges that the seeded initial network shows: weights move in training, a served policy's are given.
const TRAIN_MARGIN: f64 = 2.5;
const SERVE_MARGIN: f64 = 1.5;
/// Real gradients are larger than those of a shadow on random data, whose samples are independent: in the square.
const SHADOW_MARGIN: f64 = 4.0;
/// Suffixes of what optimisers keep of squares: ε times the inverse root that ciphertexts track, and the mean square.
pub(crate) const SCALE: &str = "scale";
pub(crate) const SQUARE: &str = "square";
/// Streams of a seed that the parameters of one net may use.
const STREAMS: u64 = 1024;

/// Builds the graph of `program`; `padded` says that some lanes hold no sample.
///
/// # Errors
/// Every construct that is valid but not lowered yet, each with its span.
pub fn build(program: &Program, padded: bool) -> Result<Built, Vec<TensorError>> {
    whole(Builder::new(program, padded)).map(|(built, _)| built)
}

/// The whole update in the clear; for the owner of the data, and for attacks on gradients.
///
/// # Errors
/// As [`build`], without what only ciphertexts cannot do.
pub fn in_the_clear(program: &Program) -> Result<InTheClear, Vec<TensorError>> {
    let (built, minimized) = whole(Builder { clear: true, ..Builder::new(program, false) })?;
    Ok(InTheClear { built, minimized })
}

/// One expression of a training body, a number for the batch, in the clear. Its nets are as they stand at the start of an update.
///
/// # Errors
/// As [`in_the_clear`].
pub fn scalar(program: &Program, expr: &Expr) -> Result<Scalar, Vec<TensorError>> {
    let mut builder = Builder { clear: true, in_order: false, ..Builder::new(program, false) };
    let train = match &program.task {
        Task::Train(train) => Some(train),
        Task::Serve(_) => None,
    };
    builder.declare_nets(train.map(|train| &train.body));
    let value = builder.one(expr, train).and_then(|id| builder.as_vector(id, expr.span));
    let mut parameters = BTreeMap::new();
    for (key, locals) in &builder.start {
        if let NetKey::Net(net) = key {
            let name = &program.nets[*net].name;
            parameters.extend(locals.iter().map(|(local, id)| (format!("{name}.{local}"), *id)));
        }
    }
    match value {
        Ok(value) if builder.errors.is_empty() => Ok(Scalar { graph: builder.graph, value, parameters }),
        Ok(_) | Err(Failed) => Err(builder.errors),
    }
}

fn whole(mut builder: Builder<'_>) -> Result<(Built, Vec<Minimized>), Vec<TensorError>> {
    let program = builder.program;
    let first = match &program.task {
        Task::Serve(serve) => {
            builder.declare_nets(None);
            if let Ok(values) = builder.expr(&serve.expr, None) {
                for (index, id) in values.into_iter().enumerate() {
                    let name = if index == 0 { "output".to_owned() } else { format!("output.{index}") };
                    builder.graph.outputs.push((Output::Result(name), id));
                }
            }
            None
        }
        Task::Train(train) => {
            builder.declare_nets(Some(&train.body));
            builder.statements(train, &train.body.statements);
            builder.finish(train)
        }
    };
    if builder.errors.is_empty() {
        targets(&mut builder.graph);
        builder.choices();
        builder.start_scales();
        let Builder { graph, states, public, periods, minimized, scales, .. } = builder;
        // Exact functions have no ranges.
        let graph = if builder.clear { graph } else { ranges::fill(program, &graph, &states, builder.seed, builder.margin) };
        let built = Built { graph, states, public, periods: periods.into_iter().collect(), first, scaled: scales };
        Ok((built, minimized))
    } else {
        // A network that is applied twice shows its errors once.
        let mut seen = Vec::new();
        builder.errors.retain(|error| {
            !seen.contains(error) && {
                seen.push(error.clone());
                true
            }
        });
        Err(builder.errors)
    }
}

/// What networks give goes back to the key owner where it enters nothing but targets.
fn targets(graph: &mut Graph) {
    let mut inside: Vec<Option<bool>> = vec![None; graph.len()];
    for (_, id) in &graph.outputs {
        inside[id.index()] = Some(false);
    }
    let ids: Vec<Id> = graph.ids().collect();
    for &id in ids.iter().rev() {
        let Some(own) = inside[id.index()] else { continue };
        let enters = own || matches!(graph.node(id).op, Op::Stop);
        if matches!(graph.node(id).op, Op::Return) && !own {
            graph.replace(id, Op::Stop);
        }
        for operand in graph.operands(id) {
            let so_far = inside[operand.index()].unwrap_or(true);
            inside[operand.index()] = Some(so_far && enters);
        }
    }
}

/// The graph of one expression over current observations, such as the policy's network, with the ranges that training uses.
///
/// # Errors
/// As [`build`].
pub fn evaluation(program: &Program, expr: &Expr) -> Result<Graph, Vec<TensorError>> {
    let mut builder = Builder { in_order: false, ..Builder::new(program, false) };
    builder.declare_nets(None);
    let train = match &program.task {
        Task::Train(train) => Some(train),
        Task::Serve(_) => None,
    };
    if let Ok(values) = builder.expr(expr, train) {
        for id in values {
            builder.graph.outputs.push((Output::Result("output".to_owned()), id));
        }
    }
    if builder.errors.is_empty() {
        Ok(ranges::fill(program, &builder.graph, &builder.states, builder.seed, builder.margin))
    } else {
        Err(builder.errors)
    }
}

/// Parameters of one network: (weight, bias) per dense layer, by layer number.
type Parameters = BTreeMap<String, Id>;

/// An error was recorded; the value is not there.
struct Failed;
type Built1 = Result<Vec<Id>, Failed>;

struct Builder<'a> {
    program: &'a Program,
    graph: Graph,
    states: Vec<State>,
    public: Vec<(String, Vec<usize>)>,
    /// Parameters as they stand at this point of the body: name (`0.weight`) to node.
    current: BTreeMap<NetKey, Parameters>,
    /// The same as the update started.
    start: BTreeMap<NetKey, Parameters>,
    scalars: BTreeMap<usize, Id>,
    /// Momenta as they stand, by name.
    momenta: BTreeMap<String, Id>,
    /// Gradients whose scale an optimiser tracks.
    scales: Vec<Scaled>,
    /// States that change only at each K-th update, and their networks.
    periods: BTreeMap<String, u32>,
    periodic: BTreeSet<NetKey>,
    lets: BTreeMap<usize, Vec<Id>>,
    /// Probabilities of a `softmax`, to its argument and its pins: their logarithm has a form of its own.
    softmaxes: BTreeMap<Id, (Id, Pins)>,
    ranges: BTreeMap<usize, Vec<Range>>,
    errors: Vec<TensorError>,
    /// Statements are built in order; else lets are when they are used.
    in_order: bool,
    margin: f64,
    seed: u64,
    padded: bool,
    /// In the clear nothing is approximated.
    clear: bool,
    /// The `minimize` statements so far.
    minimized: Vec<Minimized>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum NetKey {
    Net(usize),
    State(usize),
}

/// How weights start, on stream `stream` of the seed.
pub fn weight_init(init: Init, stream: u64) -> StateInit {
    match init {
        Init::Orthogonal => StateInit::Orthogonal { gain: 1.0, stream },
        Init::Small => StateInit::Orthogonal { gain: 0.1, stream },
        Init::He => StateInit::He { stream },
        Init::Zero => StateInit::Constant(0.0),
    }
}

impl<'a> Builder<'a> {
    fn new(program: &'a Program, padded: bool) -> Self {
        let (margin, seed) = match &program.task {
            Task::Train(train) => (TRAIN_MARGIN, train.settings.seed),
            Task::Serve(_) => (SERVE_MARGIN, 0),
        };
        Builder {
            program,
            graph: Graph::default(),
            states: Vec::new(),
            public: Vec::new(),
            current: BTreeMap::new(),
            start: BTreeMap::new(),
            scalars: BTreeMap::new(),
            momenta: BTreeMap::new(),
            scales: Vec::new(),
            periods: BTreeMap::new(),
            periodic: BTreeSet::new(),
            lets: BTreeMap::new(),
            softmaxes: BTreeMap::new(),
            ranges: BTreeMap::new(),
            errors: Vec::new(),
            in_order: true,
            margin,
            seed,
            padded,
            clear: false,
            minimized: Vec::new(),
        }
    }
}

impl Builder<'_> {
    fn fail<T>(&mut self, error: TensorError) -> Result<T, Failed> {
        self.errors.push(error);
        Err(Failed)
    }

    fn unsupported<T>(&mut self, what: impl Into<String>, span: Span) -> Result<T, Failed> {
        self.fail(TensorError::unsupported(what, span))
    }

    /// Parameters of every net, and of every state that is a net.
    fn declare_nets(&mut self, body: Option<&Body>) {
        for (index, net) in self.program.nets.iter().enumerate() {
            let stream = index as u64 * STREAMS;
            if !self.clear || self.penalised() {
                self.ranges.insert(index, ranges::activation_ranges(net, self.seed, stream, self.margin));
            }
            self.declare(&net.name, index, NetKey::Net(index), stream, None);
        }
        for (index, state) in body.iter().flat_map(|b| b.states.iter().enumerate()) {
            let key = NetKey::State(index);
            match state.kind {
                StateKind::Copy(net) => {
                    let of = self.program.nets[net.0].name.clone();
                    self.declare(&state.name, net.0, key, 0, Some(of));
                }
                StateKind::Fresh(net) => {
                    let stream = (self.program.nets.len() + index) as u64 * STREAMS;
                    self.declare(&state.name, net.0, key, stream, None);
                }
                StateKind::Scalar(value) => {
                    let name = state.name.clone();
                    self.states.push(State { name: name.clone(), shape: vec![1], init: StateInit::Constant(value), span: state.span });
                    let id = self.graph.push(Op::State(name), &[], Shape::Vector(1), state.span);
                    self.scalars.insert(index, id);
                }
            }
        }
        self.start = self.current.clone();
    }

    /// Whether a loss has a term that depends on the ranges of activations.
    fn penalised(&self) -> bool {
        matches!(&self.program.task, Task::Train(train) if train.settings.range_penalty > 0.0)
    }

    fn declare(&mut self, name: &str, net: usize, key: NetKey, stream: u64, copy_of: Option<String>) {
        let program = self.program;
        let net = &program.nets[net];
        let public = matches!(key, NetKey::Net(_)) && !net.secret;
        let mut parameters = Parameters::new();
        let heads = net.outputs.iter().flat_map(|head| head.layers.iter());
        let mut stack: Vec<&Layer> = net.layers.iter().chain(heads).collect();
        stack.reverse();
        while let Some(layer) = stack.pop() {
            let kernel = match &layer.kind {
                LayerKind::Conv { kernel, .. } => vec![*kernel; 2],
                _ => Vec::new(),
            };
            match &layer.kind {
                LayerKind::Dense { index, inputs, outputs, bias, init } | LayerKind::Conv { index, inputs, outputs, bias, init, .. } => {
                    let patch = inputs * kernel.iter().product::<usize>();
                    let mut add = |suffix: &str, shape: Vec<usize>, init: StateInit, node: Shape| {
                        let local = format!("{index}.{suffix}");
                        let full = format!("{name}.{local}");
                        let init = copy_of.as_ref().map_or(init, |of| StateInit::Copy(format!("{of}.{local}")));
                        if public {
                            self.public.push((full.clone(), shape.clone()));
                        }
                        self.states.push(State { name: full.clone(), shape, init, span: layer.span });
                        parameters.insert(local, self.graph.push(Op::State(full), &[], node, layer.span));
                    };
                    let weights = [vec![*outputs, *inputs], kernel].concat();
                    add("weight", weights, weight_init(*init, stream + *index as u64), Shape::Matrix(*outputs, patch));
                    if *bias {
                        add("bias", vec![*outputs], StateInit::Constant(0.0), Shape::Vector(*outputs));
                    }
                }
                LayerKind::Residual(inner) => stack.extend(inner.iter().rev()),
                LayerKind::Flatten | LayerKind::Activation(_) | LayerKind::Scale(_) => {}
            }
        }
        self.current.insert(key, parameters);
    }

    /// Tracked scales start where the gradients of the first update are, by a shadow of it: where they would have started at 1,
    /// the first gradients would be far outside of what the tracking follows. The larger counts of those that exact maxima give and
    /// those that their polynomials do, which are far off on wide intervals.
    fn start_scales(&mut self) {
        if self.scales.is_empty() {
            return;
        }
        let gradients: Vec<Id> = self.scales.iter().map(|scaled| scaled.gradient).collect();
        let sizes = |functions: &dyn Functions| {
            ranges::root_mean_squares(self.program, &self.graph, &self.states, self.seed, &gradients, functions)
        };
        let sizes: Vec<f64> = sizes(&Exact).into_iter().zip(sizes(&Maxima::new(self.program))).map(|(a, b)| a.max(b)).collect();
        for (Scaled { name, constants, .. }, size) in self.scales.iter().zip(sizes) {
            let (square, floor) = (SHADOW_MARGIN * size * size, constants.eps * constants.eps);
            let starts = [
                (format!("{name}.{SCALE}"), constants.eps / libm::sqrt(square + floor)),
                (format!("{name}.{SQUARE}"), square / (constants.largest * constants.largest)),
            ];
            for (name, start) in starts {
                if let Some(state) = self.states.iter_mut().find(|state| state.name == name) {
                    state.init = StateInit::Constant(start);
                }
            }
        }
    }

    fn statements(&mut self, train: &Train, statements: &[Stmt]) {
        for statement in statements {
            // The error is recorded; the rest is still looked at, so that one compile shows them all.
            let _: Result<(), Failed> = self.statement(train, statement);
        }
    }

    fn statement(&mut self, train: &Train, statement: &Stmt) -> Result<(), Failed> {
        match statement {
            Stmt::Let(id) => {
                let value = self.expr(&train.body.lets[id.0].expr, Some(train))?;
                self.lets.insert(id.0, value);
            }
            Stmt::Minimize { loss, over, optimizer, span } => self.minimize(train, loss, over, optimizer, *span)?,
            Stmt::Assign { state, value, span } => match value {
                StateExpr::Networks(terms) => self.mix(*state, terms, *span)?,
                StateExpr::Scalar(expr) => {
                    let value = self.one(expr, Some(train))?;
                    let value = self.as_vector(value, expr.span)?;
                    self.scalars.insert(state.0, value);
                }
            },
            Stmt::Reveal { value, label, span } => {
                let value = self.one(value, Some(train))?;
                let value = self.as_vector(value, *span)?;
                self.graph.outputs.push((Output::Result(label.clone()), value));
            }
            Stmt::Every { period: 1, body, .. } => self.statements(train, body),
            Stmt::Every { period, body, span } => self.every(train, *period, body, *span)?,
        }
        Ok(())
    }

    /// The body runs at every update, and the key owner keeps what it changes only when it is due.
    fn every(&mut self, train: &Train, period: usize, body: &[Stmt], span: Span) -> Result<(), Failed> {
        if !self.periods.is_empty() && body.iter().any(|s| matches!(s, Stmt::Every { .. })) {
            return self.unsupported("`every` inside `every`", span);
        }
        let (nets, scalars, momenta) = (self.current.clone(), self.scalars.clone(), self.momenta.clone());
        self.statements(train, body);
        let period = u32::try_from(period).unwrap_or(u32::MAX);
        for (&key, parameters) in &self.current {
            let name = match key {
                NetKey::Net(net) => &self.program.nets[net].name,
                NetKey::State(state) => &train.body.states[state].name,
            };
            for (local, id) in parameters {
                if nets.get(&key).and_then(|old| old.get(local)) != Some(id) {
                    self.periods.insert(format!("{name}.{local}"), period);
                    self.periodic.insert(key);
                }
            }
        }
        let moved = self.momenta.iter().filter(|(name, id)| momenta.get(*name) != Some(*id)).map(|(name, _)| name.clone());
        let changed = self.scalars.iter().filter(|(index, id)| scalars.get(*index) != Some(*id));
        let changed = changed.map(|(index, _)| train.body.states[*index].name.clone());
        self.periods.extend(moved.chain(changed).map(|name| (name, period)).collect::<Vec<_>>());
        Ok(())
    }

    /// Whether a network may be used here: not below an `every` that changes it, where its value depends on the update.
    pub(super) fn settled(&mut self, net: NetRef, span: Span) -> Result<(), Failed> {
        let key = match net {
            NetRef::Net(net) => NetKey::Net(net.0),
            NetRef::State(state) => NetKey::State(state.0),
            NetRef::Old(_) => return Ok(()),
        };
        if self.periodic.contains(&key) { self.unsupported("using a network below an `every` that changes it", span) } else { Ok(()) }
    }

    pub(super) fn parameters(&self, net: NetRef) -> Parameters {
        let (table, key) = match net {
            NetRef::Net(net) => (&self.current, NetKey::Net(net.0)),
            NetRef::Old(net) => (&self.start, NetKey::Net(net.0)),
            NetRef::State(state) => (&self.current, NetKey::State(state.0)),
        };
        table.get(&key).cloned().unwrap_or_default()
    }

    /// `state <- Σ c network`.
    fn mix(&mut self, state: StateId, terms: &[(f64, NetRef)], span: Span) -> Result<(), Failed> {
        for &(_, net) in terms {
            self.settled(net, span)?;
        }
        let mut mixed = Parameters::new();
        for (local, old) in self.parameters(NetRef::State(state)) {
            let shape = self.graph.shape(old);
            let mut sum: Option<Id> = None;
            for &(c, net) in terms {
                let Some(&part) = self.parameters(net).get(&local) else {
                    return self.unsupported("mixing networks of different layers", span);
                };
                let part = if c == 1.0 { part } else { self.graph.push(Op::Scale(c), &[part], shape, span) };
                sum = Some(sum.map_or(part, |sum| self.graph.push(Op::Add, &[sum, part], shape, span)));
            }
            if let Some(sum) = sum {
                mixed.insert(local, sum);
            }
        }
        self.current.insert(NetKey::State(state.0), mixed);
        Ok(())
    }

    /// New values of all nets, network states, scalar states and averages; the first net that is trained.
    fn finish(&mut self, train: &Train) -> Option<NetId> {
        let mut trained: Vec<usize> = Vec::new();
        collect_trained(&train.body.statements, &mut trained);
        for (key, parameters) in self.current.clone() {
            let name = match key {
                NetKey::Net(net) => self.program.nets[net].name.clone(),
                NetKey::State(state) => train.body.states[state].name.clone(),
            };
            for (local, id) in parameters {
                self.graph.outputs.push((Output::State(format!("{name}.{local}")), id));
                let (NetKey::Net(net), Some(rate)) = (key, train.settings.average) else { continue };
                if self.periodic.contains(&key) {
                    self.errors.push(TensorError::unsupported("an `average` of a network that `every` changes", train.span));
                } else if trained.contains(&net) {
                    self.average(&format!("{name}.{local}"), id, rate, train.span);
                }
            }
        }
        for (name, id) in std::mem::take(&mut self.momenta) {
            self.graph.outputs.push((Output::State(name), id));
        }
        for (index, id) in self.scalars.clone() {
            self.graph.outputs.push((Output::State(train.body.states[index].name.clone()), id));
        }
        trained.first().map(|&net| NetId(net))
    }

    fn average(&mut self, name: &str, weight: Id, rate: f64, span: Span) {
        let state = format!("{name}.average");
        let shape = self.graph.shape(weight);
        let old = self.graph.push(Op::State(state.clone()), &[], shape, span);
        let kept = self.graph.push(Op::Scale(1.0 - rate), &[old], shape, span);
        let gained = self.graph.push(Op::Scale(rate), &[weight], shape, span);
        let new = self.graph.push(Op::Add, &[kept, gained], shape, span);
        self.graph.outputs.push((Output::State(state.clone()), new));
        let extents = self.states.iter().find(|s| s.name == name).map(|s| s.shape.clone()).unwrap_or_default();
        self.states.push(State { name: state, shape: extents, init: StateInit::Copy(name.to_owned()), span });
    }
}

fn collect_trained(statements: &[Stmt], trained: &mut Vec<usize>) {
    for statement in statements {
        match statement {
            Stmt::Minimize { over, .. } => {
                for t in over {
                    if let Trained::Net(net) = t
                        && !trained.contains(&net.0)
                    {
                        trained.push(net.0);
                    }
                }
            }
            Stmt::Every { body, .. } => collect_trained(body, trained),
            Stmt::Let(_) | Stmt::Assign { .. } | Stmt::Reveal { .. } => {}
        }
    }
}
