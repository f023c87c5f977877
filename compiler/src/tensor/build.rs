//! From the checked program to a tensor graph: one update (gradients and optimiser included), or one evaluation.

use std::collections::{BTreeMap, BTreeSet};

use hecc_plan::{Span, State, StateInit};

use super::graph::{Data, Elementwise, Graph, Id, Map, Op, Output, Rate, Shape};
use super::penalty::{Penalty, penalised};
use super::{TensorError, autodiff, ranges};
use crate::check::hir::{
    Activation, Binary, Body, Expr, ExprKind, Extremum, Function, Init, Layer, LayerKind, NetId, NetRef, OptimizerKind, Pins, Program,
    Range, Reduce, Schedule, StateExpr, StateId, StateKind, Stmt, Task, Train, Trained, Type, Value,
};

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
    /// The net that acts and its averaged name suffix, for training programs.
    pub acting: Option<NetId>,
}

/// Margins on the ranges that the seeded initial network shows: weights move in training, a served policy's are given.
const TRAIN_MARGIN: f64 = 2.5;
const SERVE_MARGIN: f64 = 1.5;
/// Streams of a seed that the parameters of one net may use.
const STREAMS: u64 = 1024;

/// Builds the graph of `program`; `padded` says that some lanes hold no sample.
///
/// # Errors
/// Every construct that is valid but not lowered yet, each with its span.
pub fn build(program: &Program, padded: bool) -> Result<Built, Vec<TensorError>> {
    let mut builder = Builder::new(program, padded);
    let acting = match &program.task {
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
        let graph = ranges::fill(program, &builder.graph, &builder.states, builder.seed, builder.margin);
        Ok(Built { graph, states: builder.states, public: builder.public, periods: builder.periods.into_iter().collect(), acting })
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

/// The graph of one expression over current observations, such as the policy's network, with the ranges that training uses.
///
/// # Errors
/// As [`build`].
pub fn evaluation(program: &Program, expr: &Expr) -> Result<Graph, Vec<TensorError>> {
    let mut builder = Builder::new(program, false);
    builder.declare_nets(None);
    if let Ok(values) = builder.expr(expr, None) {
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
    /// States that change only at each K-th update, and their networks.
    periods: BTreeMap<String, u32>,
    periodic: BTreeSet<NetKey>,
    lets: BTreeMap<usize, Vec<Id>>,
    ranges: BTreeMap<usize, Vec<Range>>,
    errors: Vec<TensorError>,
    margin: f64,
    seed: u64,
    padded: bool,
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

/// The plan's name of a function that is approximated.
pub fn named(function: &Function) -> Option<hecc_plan::Function> {
    use hecc_plan::Function as F;
    Some(match function {
        Function::Relu => F::Relu,
        Function::Silu => F::Silu,
        Function::Gelu => F::Gelu,
        Function::Tanh => F::Tanh,
        Function::Sigmoid => F::Sigmoid,
        Function::Softplus => F::Softplus,
        Function::Mish => F::Mish,
        Function::Square => F::Square,
        Function::Exp => F::Exp,
        Function::Log => F::Log,
        Function::Sqrt => F::Sqrt,
        Function::Abs => F::Abs,
        Function::Reciprocal => F::Reciprocal,
        Function::Sin => F::Sin,
        Function::Cos => F::Cos,
        Function::Softmax | Function::Poly(_) => return None,
    })
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
            periods: BTreeMap::new(),
            periodic: BTreeSet::new(),
            lets: BTreeMap::new(),
            ranges: BTreeMap::new(),
            errors: Vec::new(),
            margin,
            seed,
            padded,
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
            self.ranges.insert(index, ranges::activation_ranges(net, self.seed, stream, self.margin));
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

    fn declare(&mut self, name: &str, net: usize, key: NetKey, stream: u64, copy_of: Option<String>) {
        let program = self.program;
        let net = &program.nets[net];
        let public = matches!(key, NetKey::Net(_)) && !net.secret;
        let mut parameters = Parameters::new();
        let heads = net.outputs.iter().flat_map(|head| head.layers.iter());
        let mut stack: Vec<&Layer> = net.layers.iter().chain(heads).collect();
        stack.reverse();
        while let Some(layer) = stack.pop() {
            match &layer.kind {
                LayerKind::Dense { index, inputs, outputs, bias, init } => {
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
                    add("weight", vec![*outputs, *inputs], weight_init(*init, stream + *index as u64), Shape::Matrix(*outputs, *inputs));
                    if *bias {
                        add("bias", vec![*outputs], StateInit::Constant(0.0), Shape::Vector(*outputs));
                    }
                }
                LayerKind::Residual(inner) => stack.extend(inner.iter().rev()),
                LayerKind::Conv { .. } => self.errors.push(TensorError::unsupported("a convolution", layer.span)),
                LayerKind::Flatten | LayerKind::Activation(_) | LayerKind::Scale(_) => {}
            }
        }
        self.current.insert(key, parameters);
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
    fn settled(&mut self, net: NetRef, span: Span) -> Result<(), Failed> {
        let key = match net {
            NetRef::Net(net) => NetKey::Net(net.0),
            NetRef::State(state) => NetKey::State(state.0),
            NetRef::Old(_) => return Ok(()),
        };
        if self.periodic.contains(&key) { self.unsupported("using a network below an `every` that changes it", span) } else { Ok(()) }
    }

    fn minimize(
        &mut self,
        train: &Train,
        loss: &Expr,
        over: &[Trained],
        optimizer: &crate::check::hir::Optimizer,
        span: Span,
    ) -> Result<(), Failed> {
        let updates = train.settings.updates;
        let lr = match optimizer.lr {
            Schedule::Constant(lr) => Op::Scale(lr),
            Schedule::Linear(from, to) | Schedule::Cosine(from, to) if from == to => Op::Scale(from),
            Schedule::Linear(from, to) => Op::Rate(Rate { from, to, cosine: false, updates }),
            Schedule::Cosine(from, to) => Op::Rate(Rate { from, to, cosine: true, updates }),
        };
        if matches!(optimizer.kind, OptimizerKind::Adam { .. } | OptimizerKind::RmsProp { .. }) {
            let error = TensorError::NotSupported {
                what: "`adam` and `rmsprop` under encryption".to_owned(),
                help: Some("use `momentum(lr, beta)` or `nesterov(lr, beta)`".to_owned()),
                span: optimizer.span,
            };
            return self.fail(error);
        }
        let loss_id = self.one(loss, Some(train))?;
        let loss_id = self.as_vector(loss_id, loss.span)?;
        let mut wanted: Vec<(String, NetKey, String, Id)> = Vec::new();
        for trained in over {
            let (key, name) = match trained {
                Trained::Net(net) => (NetKey::Net(net.0), self.program.nets[net.0].name.clone()),
                Trained::State(state) => (NetKey::State(state.0), train.body.states[state.0].name.clone()),
            };
            self.settled(
                match trained {
                    Trained::Net(net) => NetRef::Net(*net),
                    Trained::State(state) => NetRef::State(*state),
                },
                span,
            )?;
            match self.current.get(&key) {
                Some(parameters) => {
                    wanted.extend(parameters.iter().map(|(local, &id)| (name.clone(), key, local.clone(), id)));
                }
                None => {
                    let scalar = matches!(key, NetKey::State(_));
                    let what = if scalar { "a trained scalar" } else { "training this" };
                    self.unsupported(what, span)?;
                }
            }
        }
        let ids: Vec<Id> = wanted.iter().map(|w| w.3).collect();
        let penalty = Penalty { settings: &train.settings, client: &self.program.secure.client, padded: self.padded };
        let loss_id = penalised(&mut self.graph, loss_id, &ids, &penalty);
        let gradients = match autodiff::gradients(&mut self.graph, loss_id, &ids) {
            Ok(gradients) => gradients,
            Err(error) => return self.fail(error),
        };
        let mut missing = BTreeSet::new();
        for (name, key, local, weight) in wanted {
            let Some(&gradient) = gradients.get(&weight) else {
                missing.insert(name);
                continue;
            };
            let updated = self.step(&format!("{name}.{local}"), weight, gradient, optimizer.kind, lr.clone(), span);
            if let Some(parameters) = self.current.get_mut(&key) {
                parameters.insert(local, updated);
            }
        }
        for net in missing {
            self.errors.push(TensorError::NoGradient { net, span });
        }
        Ok(())
    }

    /// One step of the optimiser on one parameter, as PyTorch has it.
    fn step(&mut self, name: &str, weight: Id, gradient: Id, kind: OptimizerKind, lr: Op, span: Span) -> Id {
        let shape = self.graph.shape(weight);
        let mut push = |op: Op, operands: &[Id]| self.graph.push(op, operands, shape, span);
        let direction = match kind {
            OptimizerKind::Sgd => gradient,
            OptimizerKind::Momentum { beta } | OptimizerKind::Nesterov { beta } => {
                let state = format!("{name}.momentum");
                let old = match self.momenta.get(&state) {
                    Some(&moved) => moved,
                    None => push(Op::State(state.clone()), &[]),
                };
                let decayed = push(Op::Scale(beta), &[old]);
                let new = push(Op::Add, &[decayed, gradient]);
                let direction = if matches!(kind, OptimizerKind::Nesterov { .. }) {
                    let ahead = push(Op::Scale(beta), &[new]);
                    push(Op::Add, &[gradient, ahead])
                } else {
                    new
                };
                if self.momenta.insert(state.clone(), new).is_none() {
                    let extents = match shape {
                        Shape::Matrix(o, i) => vec![o, i],
                        Shape::Vector(d) | Shape::Sample(d) => vec![d],
                    };
                    self.states.push(State { name: state, shape: extents, init: StateInit::Constant(0.0), span });
                }
                direction
            }
            OptimizerKind::Adam { .. } | OptimizerKind::RmsProp { .. } => unreachable!("refused above"),
        };
        let scaled = self.graph.push(lr, &[direction], shape, span);
        self.graph.push(Op::Sub, &[weight, scaled], shape, span)
    }

    fn parameters(&self, net: NetRef) -> Parameters {
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

    /// New values of all nets, network states, scalar states and averages; the net that acts.
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

    /// A single value.
    fn one(&mut self, expr: &Expr, train: Option<&Train>) -> Result<Id, Failed> {
        match self.expr(expr, train)?.as_slice() {
            [id] => Ok(*id),
            _ => self.unsupported("several values where one is needed", expr.span),
        }
    }

    /// A batch number as `Vector(1)`.
    fn as_vector(&mut self, id: Id, span: Span) -> Result<Id, Failed> {
        match self.graph.shape(id) {
            Shape::Vector(1) => Ok(id),
            Shape::Sample(1) if matches!(self.graph.node(id).op, Op::Constant(_)) => {
                let Op::Constant(c) = self.graph.node(id).op else { unreachable!("matched above") };
                Ok(self.graph.push(Op::Constant(c), &[], Shape::Vector(1), span))
            }
            _ => self.unsupported("a value per sample where one number is needed", span),
        }
    }

    fn expr(&mut self, expr: &Expr, train: Option<&Train>) -> Built1 {
        let span = expr.span;
        Ok(vec![match &expr.kind {
            ExprKind::Number(c) => self.graph.push(Op::Constant(*c), &[], Shape::Sample(1), span),
            ExprKind::Value(value) => return self.value(value, expr, train),
            ExprKind::Apply { net, args } => {
                let args = args.iter().map(|a| self.one(a, train)).collect::<Result<Vec<_>, _>>()?;
                let input = self.concat(&args, span);
                return self.apply(*net, input, train, span);
            }
            ExprKind::Project(inner, index) => {
                let values = self.expr(inner, train)?;
                match values.get(*index) {
                    Some(&id) => id,
                    None => self.unsupported("this projection", span)?,
                }
            }
            ExprKind::Index(inner, index) => {
                let x = self.one(inner, train)?;
                self.graph.push(Op::Slice { start: *index }, &[x], Shape::Sample(1), span)
            }
            ExprKind::Binary(binary, a, b) => {
                let (a, b) = (self.one(a, train)?, self.one(b, train)?);
                self.binary(*binary, a, b, span)?
            }
            ExprKind::Neg(x) => {
                let x = self.one(x, train)?;
                self.graph.push(Op::Scale(-1.0), &[x], self.graph.shape(x), span)
            }
            ExprKind::Pow(x, n) => {
                let x = self.one(x, train)?;
                self.power(x, *n, span)
            }
            ExprKind::Map(activation, x) => {
                let x = self.one(x, train)?;
                self.map(activation, x, None, span)?
            }
            ExprKind::Reduce(reduce, x) => {
                let inner = self.one(x, train)?;
                self.reduce(*reduce, inner, span)?
            }
            ExprKind::Extremum(which, pins, a, b) => {
                let (a, b) = (self.one(a, train)?, self.one(b, train)?);
                let (a, b) = self.same_shape(a, b, span);
                let pins = self.difference_pins(*pins);
                let op = Op::Extremum { larger: *which == Extremum::Max, pins };
                self.graph.push(op, &[a, b], self.graph.shape(a), span)
            }
            ExprKind::ArgMax(x) => {
                let x = self.one(x, train)?;
                self.graph.push(Op::ArgMax, &[x], self.graph.shape(x), span)
            }
            ExprKind::Dot(a, b) => {
                let (a, b) = (self.one(a, train)?, self.one(b, train)?);
                let (a, b) = self.same_shape(a, b, span);
                let product = self.graph.push(Op::Mul, &[a, b], self.graph.shape(a), span);
                self.sum_elements(product, span)
            }
            ExprKind::Stop(x) => {
                let x = self.one(x, train)?;
                self.graph.push(Op::Stop, &[x], self.graph.shape(x), span)
            }
            ExprKind::Concat(parts) => {
                let parts = parts.iter().map(|p| self.one(p, train)).collect::<Result<Vec<_>, _>>()?;
                self.concat(&parts, span)
            }
            ExprKind::Clip(..) => self.unsupported("`clip`", span)?,
            ExprKind::Select(..) => self.unsupported("`select`", span)?,
            ExprKind::Sample { .. } => self.unsupported("`sample` (the squashed Gaussian)", span)?,
            ExprKind::Fourier { .. } | ExprKind::TensorFourier { .. } | ExprKind::Atan2(..) | ExprKind::Outer(..) => {
                self.unsupported("this function outside `client { ... }`", span)?
            }
        }])
    }

    fn value(&mut self, value: &Value, expr: &Expr, train: Option<&Train>) -> Built1 {
        let shape = match &expr.ty {
            Type::Sample(d) => Shape::Sample(*d),
            Type::Image([c, h, w]) => Shape::Sample(c * h * w),
            Type::Batch | Type::Number => Shape::Vector(1),
            Type::Tuple(_) => Shape::Sample(1),
        };
        let data = match value {
            Value::Observation { index, next } => Data::Observation { index: *index, next: *next },
            Value::Feature { index, next } => Data::Feature { index: *index, next: *next },
            Value::Action => Data::Action,
            Value::Reward => Data::Reward,
            Value::Done => Data::Done,
            Value::Noise(id) => match train {
                Some(train) => Data::Noise(train.body.noises[id.0].name.clone()),
                None => self.unsupported("noise outside an algorithm", expr.span)?,
            },
            Value::Let(id) => return self.lets.get(&id.0).cloned().ok_or(Failed),
            Value::State(id) => return self.scalars.get(&id.0).map(|&id| vec![id]).ok_or(Failed),
        };
        Ok(vec![self.graph.push(Op::Data(data), &[], shape, expr.span)])
    }

    /// Element-wise operands in one shape: numbers and `Sample(1)` broadcast.
    fn same_shape(&mut self, a: Id, b: Id, span: Span) -> (Id, Id) {
        let target = match (self.graph.shape(a), self.graph.shape(b)) {
            (x, y) if x == y => return (a, b),
            (Shape::Sample(x), Shape::Sample(y)) => Shape::Sample(x.max(y)),
            (Shape::Sample(x), _) | (_, Shape::Sample(x)) => Shape::Sample(x),
            (x, _) => x,
        };
        (self.broadcast(a, target, span), self.broadcast(b, target, span))
    }

    fn broadcast(&mut self, id: Id, target: Shape, span: Span) -> Id {
        match (self.graph.shape(id), target) {
            (have, want) if have == want => id,
            (Shape::Vector(1), Shape::Sample(_)) => {
                let spread = self.graph.push(Op::Spread, &[id], Shape::Sample(1), span);
                self.broadcast(spread, target, span)
            }
            _ => self.graph.push(Op::Broadcast, &[id], target, span),
        }
    }

    fn constant(&self, id: Id) -> Option<f64> {
        match self.graph.node(id).op {
            Op::Constant(c) => Some(c),
            _ => None,
        }
    }

    fn binary(&mut self, binary: Binary, a: Id, b: Id, span: Span) -> Result<Id, Failed> {
        let (ca, cb) = (self.constant(a), self.constant(b));
        let shape = |g: &Graph, id: Id| g.shape(id);
        let g = &mut self.graph;
        Ok(match (binary, ca, cb) {
            (Binary::Add, Some(c), None) => g.push(Op::Offset(c), &[b], shape(g, b), span),
            (Binary::Add, None, Some(c)) => g.push(Op::Offset(c), &[a], shape(g, a), span),
            (Binary::Sub, None, Some(c)) => g.push(Op::Offset(-c), &[a], shape(g, a), span),
            (Binary::Sub, Some(c), None) => {
                let negated = g.push(Op::Scale(-1.0), &[b], shape(g, b), span);
                g.push(Op::Offset(c), &[negated], shape(g, b), span)
            }
            (Binary::Mul, Some(c), None) => g.push(Op::Scale(c), &[b], shape(g, b), span),
            (Binary::Mul, None, Some(c)) => g.push(Op::Scale(c), &[a], shape(g, a), span),
            (Binary::Div, None, Some(c)) => g.push(Op::Scale(1.0 / c), &[a], shape(g, a), span),
            _ => {
                let (a, b) = self.same_shape(a, b, span);
                let shape = self.graph.shape(a);
                match binary {
                    Binary::Add => self.graph.push(Op::Add, &[a, b], shape, span),
                    Binary::Sub => self.graph.push(Op::Sub, &[a, b], shape, span),
                    Binary::Mul => self.graph.push(Op::Mul, &[a, b], shape, span),
                    Binary::Div => self.unsupported("division by a value that is not a constant", span)?,
                }
            }
        })
    }

    fn power(&mut self, x: Id, n: u32, span: Span) -> Id {
        let shape = self.graph.shape(x);
        match n {
            0 => self.graph.push(Op::Constant(1.0), &[], shape, span),
            1 => x,
            n => {
                // Halves, so that the depth is log2 n.
                let half = self.power(x, n / 2, span);
                let other = if n.is_multiple_of(2) { half } else { self.power(x, n - n / 2, span) };
                self.graph.push(Op::Mul, &[half, other], shape, span)
            }
        }
    }

    fn map(&mut self, activation: &Activation, x: Id, derived: Option<Range>, span: Span) -> Result<Id, Failed> {
        let shape = self.graph.shape(x);
        if matches!(activation.function, Function::Square) {
            return Ok(self.graph.push(Op::Mul, &[x, x], shape, span));
        }
        let function = match (&activation.function, named(&activation.function)) {
            (Function::Poly(c), _) => Elementwise::Polynomial(c.clone()),
            (_, Some(function)) => Elementwise::Named(function),
            _ => return self.unsupported("`softmax`", span),
        };
        let pins = Pins { degree: activation.pins.degree, range: activation.pins.range.or(derived) };
        Ok(self.graph.push(Op::Map(Map { function, order: 0, pins }), &[x], shape, span))
    }

    fn sum_elements(&mut self, x: Id, span: Span) -> Id {
        if self.graph.shape(x) == Shape::Sample(1) { x } else { self.graph.push(Op::SumElements, &[x], Shape::Sample(1), span) }
    }

    fn reduce(&mut self, reduce: Reduce, x: Id, span: Span) -> Result<Id, Failed> {
        let shape = self.graph.shape(x);
        let batch = match &self.program.task {
            Task::Train(train) => train.settings.batch,
            Task::Serve(serve) => serve.batch,
        } as f64;
        let x = if self.padded && matches!(reduce, Reduce::SumBatch | Reduce::MeanBatch) { self.filled(x, span) } else { x };
        Ok(match (reduce, shape) {
            (Reduce::SumElements, Shape::Sample(_)) => self.sum_elements(x, span),
            (Reduce::MeanElements, Shape::Sample(d)) => {
                let sum = self.sum_elements(x, span);
                self.graph.push(Op::Scale(1.0 / d as f64), &[sum], Shape::Sample(1), span)
            }
            (Reduce::SumBatch, Shape::Sample(1)) => self.graph.push(Op::SumBatch, &[x], Shape::Vector(1), span),
            (Reduce::MeanBatch, Shape::Sample(1)) => {
                let sum = self.graph.push(Op::SumBatch, &[x], Shape::Vector(1), span);
                self.graph.push(Op::Scale(1.0 / batch), &[sum], Shape::Vector(1), span)
            }
            (Reduce::Max(_), Shape::Sample(1)) => x,
            (Reduce::Max(pins), Shape::Sample(_)) => {
                let pins = self.difference_pins(pins);
                self.graph.push(Op::Max(pins), &[x], Shape::Sample(1), span)
            }
            _ => self.unsupported("this reduction", span)?,
        })
    }

    /// Zero in the lanes that no sample fills, where biases would be summed too.
    fn filled(&mut self, x: Id, span: Span) -> Id {
        let ones = self.graph.push(Op::Data(Data::Ones), &[], Shape::Sample(1), span);
        let (ones, x) = self.same_shape(ones, x, span);
        self.graph.push(Op::Mul, &[ones, x], self.graph.shape(x), span)
    }

    /// Pins of a maximum: unless the program says so, action values differ by at most twice the declared reward range's width.
    fn difference_pins(&self, pins: Pins) -> Pins {
        let reward = self.program.env.declared_reward_range;
        let width = 2.0 * (reward.high - reward.low);
        // A target bears a coarse maximum; what is served has a precision to keep.
        let degree = matches!(self.program.task, Task::Train(_)).then_some(4);
        Pins { degree: pins.degree.or(degree), range: pins.range.or(Some(Range { low: -width, high: width })) }
    }

    fn concat(&mut self, parts: &[Id], span: Span) -> Id {
        let dim = |g: &Graph, id: Id| match g.shape(id) {
            Shape::Sample(d) | Shape::Vector(d) => d,
            Shape::Matrix(o, i) => o * i,
        };
        if let [only] = parts {
            return *only;
        }
        let total: usize = parts.iter().map(|&p| dim(&self.graph, p)).sum();
        let mut start = 0;
        let mut sum: Option<Id> = None;
        for &part in parts {
            let length = dim(&self.graph, part);
            let placed = self.graph.push(Op::Place { start }, &[part], Shape::Sample(total), span);
            start += length;
            sum = Some(sum.map_or(placed, |sum| self.graph.push(Op::Add, &[sum, placed], Shape::Sample(total), span)));
        }
        sum.unwrap_or_else(|| self.graph.push(Op::Constant(0.0), &[], Shape::Sample(1), span))
    }

    fn apply(&mut self, net: NetRef, input: Id, train: Option<&Train>, span: Span) -> Built1 {
        let index = match net {
            NetRef::Net(net) | NetRef::Old(net) => net.0,
            NetRef::State(state) => match train.map(|t| &t.body.states[state.0].kind) {
                Some(StateKind::Copy(net) | StateKind::Fresh(net)) => net.0,
                _ => self.unsupported("this network", span)?,
            },
        };
        self.settled(net, span)?;
        let program = self.program;
        let definition = &program.nets[index];
        let parameters = self.parameters(net);
        let ranges = self.ranges.get(&index).cloned().unwrap_or_default();
        let mut ranges = ranges.into_iter();
        let trunk = self.layers(&definition.layers, input, &parameters, &mut ranges)?;
        definition.outputs.iter().map(|head| self.layers(&head.layers, trunk, &parameters, &mut ranges)).collect()
    }

    fn layers(&mut self, layers: &[Layer], mut x: Id, p: &Parameters, ranges: &mut std::vec::IntoIter<Range>) -> Result<Id, Failed> {
        for layer in layers {
            let span = layer.span;
            x = match &layer.kind {
                LayerKind::Dense { index, outputs, bias, .. } => {
                    let Some(&w) = p.get(&format!("{index}.weight")) else { return Err(Failed) };
                    let y = self.graph.push(Op::Dense, &[x, w], Shape::Sample(*outputs), span);
                    match p.get(&format!("{index}.bias")) {
                        Some(&b) if *bias => {
                            let b = self.graph.push(Op::Spread, &[b], Shape::Sample(*outputs), span);
                            self.graph.push(Op::Add, &[y, b], Shape::Sample(*outputs), span)
                        }
                        _ => y,
                    }
                }
                LayerKind::Conv { .. } => return Err(Failed),
                LayerKind::Flatten => x,
                LayerKind::Activation(activation) => {
                    let derived = ranges.next();
                    self.map(activation, x, derived, span)?
                }
                LayerKind::Residual(inner) => {
                    let y = self.layers(inner, x, p, ranges)?;
                    self.graph.push(Op::Add, &[x, y], self.graph.shape(x), span)
                }
                LayerKind::Scale(c) => self.graph.push(Op::Scale(*c), &[x], self.graph.shape(x), span),
            };
        }
        Ok(x)
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
