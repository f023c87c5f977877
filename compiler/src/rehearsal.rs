//! A program without encryption: exact functions on clear values, for a run that measures ranges.

use std::collections::BTreeMap;

use hecc_plan::calibration::{Argument, Calibration, Gathered, Named};
use hecc_plan::clear::{ClearError, Sources};
use hecc_plan::{Ckks, ClearId, Function, Geometry, KeyManifest, Plan, Span, Tensor, Tensors, UPDATE};

use crate::approximation::{self, Approximation};
use crate::check::hir::{ClientOp, Pins, Program, Refresh, Task};
use crate::diagnostics::Diagnostic;
use crate::passes;
use crate::schemes::ckks::known::Client;
use crate::step_size::{self, Linear};
use crate::tensor::build;
use crate::tensor::eval::{self, Functions};
use crate::tensor::graph::{Elementwise, Map};
use crate::tensor::{Data, Graph, Id, Op, Output, Shape};

/// Every function, exactly.
const EXACT: [ClientOp; 18] = [
    ClientOp::Max,
    ClientOp::Min,
    ClientOp::ArgMax,
    ClientOp::Exp,
    ClientOp::Log,
    ClientOp::Sqrt,
    ClientOp::Abs,
    ClientOp::Div,
    ClientOp::Relu,
    ClientOp::Silu,
    ClientOp::Gelu,
    ClientOp::Tanh,
    ClientOp::Sigmoid,
    ClientOp::Softplus,
    ClientOp::Mish,
    ClientOp::Softmax,
    ClientOp::Clip,
    ClientOp::Sample,
];

/// A program as exact arithmetic runs it, and what it has seen.
#[derive(Clone)]
pub struct Rehearsal {
    /// A plan without steps: data, states and the run around the updates, for the client's side of a session.
    pub plan: Plan,
    graph: Graph,
    data: BTreeMap<Data, ClearId>,
    arguments: Vec<(Watched, Gathered)>,
    states: BTreeMap<String, Gathered>,
    gradients: Vec<(String, Id, Gathered)>,
    linear: Vec<Linear>,
    updates: usize,
}

/// An argument that a polynomial will have.
#[derive(Clone)]
struct Watched {
    name: String,
    function: Function,
    span: Span,
    what: What,
}

#[derive(Clone)]
enum What {
    /// A node.
    Value(Id),
    /// The difference of two.
    Difference(Id, Id),
    /// The largest difference within a vector, of either sign.
    Spread(Id),
}

/// Prepares the run of a program.
///
/// # Errors
/// What cannot be built, as in a compilation.
pub fn run(source: &str) -> Result<Rehearsal, Vec<Diagnostic>> {
    let mut program = crate::front::check(source)?;
    // Optimisers are the textbook's.
    program.secure.refresh = Refresh::Client;
    let built = build::build(&program, false).map_err(|e| e.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    let gradients = gradients(&built.graph);
    // Gradients leave with the states, so that no pass drops them.
    let mut whole = built.graph.clone();
    whole.outputs.extend(gradients.iter().map(|(name, id)| (Output::Result(format!("{GRADIENT}{name}")), *id)));
    let mut graph = passes::run(&whole, &crate::pipeline::facts(&program));
    let found = std::mem::take(&mut graph.outputs);
    let (marked, outputs) = found.into_iter().partition(|(output, _)| matches!(output, Output::Result(r) if r.starts_with(GRADIENT)));
    graph.outputs = outputs;
    let marked: Vec<(Output, Id)> = marked;
    let gradients = marked
        .into_iter()
        .map(|(output, id)| match output {
            Output::Result(name) | Output::State(name) => (name[GRADIENT.len()..].to_owned(), id, Gathered::default()),
        })
        .collect();
    let mut client = Client::default();
    let mut data = BTreeMap::new();
    for id in graph.ids() {
        if let (Op::Data(which), Shape::Sample(dim)) = (&graph.node(id).op, graph.shape(id)) {
            data.entry(which.clone()).or_insert_with(|| client.data(&program, which, dim));
        }
    }
    let batch = match &program.task {
        Task::Train(train) => train.settings.batch,
        Task::Serve(serve) => serve.batch,
    };
    let mut exact = program.clone();
    exact.secure.client = EXACT.to_vec();
    let training = match &exact.task {
        Task::Train(train) => Some(crate::emit::training(&exact, train, &built, &Approximation::default())),
        Task::Serve(_) => None,
    };
    let plan = Plan {
        name: "rehearsal".to_owned(),
        source: crate::emit::fingerprint(source),
        ckks: Ckks { log_n: 0, base2k: 0, scale: 0, max_k: 0, log_modulus: 0, security_bits: 0 },
        geometry: Geometry { width: 1, lanes: batch, batch },
        client: client.program,
        inputs: Vec::new(),
        plains: Vec::new(),
        matrices: Vec::new(),
        steps: Vec::new(),
        outputs: Vec::new(),
        rounds: Vec::new(),
        states: built.states,
        settled: Vec::new(),
        periods: built.periods,
        public: Vec::new(),
        carried: Vec::new(),
        bootstrap: None,
        keys: KeyManifest::default(),
        training,
        notes: Vec::new(),
        decisions: Vec::new(),
    };
    let arguments = watched(&program, &graph).into_iter().map(|w| (w, Gathered::default())).collect();
    let linear = step_size::linear(&program);
    Ok(Rehearsal { plan, graph, data, arguments, states: BTreeMap::new(), gradients, linear, updates: 0 })
}

const GRADIENT: &str = "gradient ";

impl Rehearsal {
    /// One update of `states` on `batch`, or one evaluation, watched. Gives the results by name.
    ///
    /// # Errors
    /// If an array of the batch is missing or has the wrong shape.
    pub fn update(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Tensors, ClearError> {
        let (rows, number) = (self.plan.geometry.batch, number(batch));
        let values = self.values(batch, states)?;
        for (watched, gathered) in &mut self.arguments {
            let value = |id: &Id| &values[id.index()];
            match &watched.what {
                What::Value(id) => gathered.add(value(id)),
                What::Difference(a, b) => gathered.add(&value(a).iter().zip(value(b)).map(|(a, b)| a - b).collect::<Vec<_>>()),
                What::Spread(id) => {
                    let wide = |row: &[f64]| {
                        let (low, high) = row.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
                        high - low
                    };
                    let widths: Vec<f64> = value(id).chunks(value(id).len() / rows).map(wide).collect();
                    gathered.add(&widths);
                    gathered.add(&widths.iter().map(|w| -w).collect::<Vec<_>>());
                }
            }
        }
        for (_, id, gathered) in &mut self.gradients {
            gathered.add(&values[id.index()]);
        }
        let mut results = Tensors::new();
        for (output, id) in &self.graph.outputs {
            let value = &values[id.index()];
            match output {
                Output::State(name) => {
                    if let Some(state) = states.get_mut(name)
                        && self.plan.is_due(name, number as u64)
                    {
                        state.data.clone_from(value);
                    }
                    self.states.entry(name.clone()).or_default().add(value);
                }
                Output::Result(name) => {
                    results.insert(name.clone(), Tensor::new(vec![value.len()], value.clone()));
                }
            }
        }
        self.updates += 1;
        Ok(results)
    }

    /// The gradients that one update of `states` on `batch` would follow, by parameter.
    ///
    /// # Errors
    /// As [`Self::update`].
    pub fn gradients(&self, batch: &Tensors, states: &Tensors) -> Result<BTreeMap<String, Vec<f64>>, ClearError> {
        let mut values = self.values(batch, states)?;
        Ok(self.gradients.iter().map(|(name, id, _)| (name.clone(), std::mem::take(&mut values[id.index()]))).collect())
    }

    pub(crate) fn linear(&self) -> &[Linear] {
        &self.linear
    }

    /// The value of every node.
    fn values(&self, batch: &Tensors, states: &Tensors) -> Result<Vec<Vec<f64>>, ClearError> {
        let (mut known, decrypted) = (BTreeMap::new(), BTreeMap::new());
        let wanted: Vec<ClearId> = self.data.values().copied().collect();
        self.plan.client.eval(&wanted, Sources { batch, states, decrypted: &decrypted }, &mut known)?;
        let rows = self.plan.geometry.batch;
        // One number may stand for all samples.
        let data = |which: &Data| self.data.get(which).map(|id| spread(&known[id], rows)).unwrap_or_default();
        let values = states.iter().map(|(name, t)| (name.clone(), t.data.clone())).collect();
        Ok(eval::eval(&self.graph, rows, &Exact { update: number(batch) }, &data, &values))
    }

    /// What was seen, for the next compilation. What was never finite is left out.
    pub fn calibration(self) -> Calibration {
        let named = |(name, gathered): (String, Gathered)| Some(Named { name, spread: gathered.spread()? });
        let argument = |(watched, gathered): (Watched, Gathered)| {
            let Watched { name, function, span, what: _ } = watched;
            Some(Argument { name, function, span, spread: gathered.spread()? })
        };
        Calibration {
            program: self.plan.source,
            updates: self.updates,
            seed: self.plan.training.map_or(0, |t| t.run.seed),
            arguments: self.arguments.into_iter().filter_map(argument).collect(),
            states: self.states.into_iter().filter_map(named).collect(),
            gradients: self.gradients.into_iter().filter_map(|(name, _, gathered)| named((name, gathered))).collect(),
        }
    }
}

/// The number of the update.
fn number(batch: &Tensors) -> f64 {
    batch.get(UPDATE).and_then(|update| update.data.first()).copied().unwrap_or(0.0)
}

/// `[B, d]` of a value that may be one row for all.
fn spread(value: &Tensor, rows: usize) -> Vec<f64> {
    if value.rows_cols().0 == rows {
        value.data.clone()
    } else {
        value.data.iter().copied().cycle().take(rows * value.data.len()).collect()
    }
}

/// What polynomials will be evaluated at.
fn watched(program: &Program, graph: &Graph) -> Vec<Watched> {
    let known = approximation::known(program, graph);
    let mut watched = Vec::new();
    for id in graph.ids().filter(|id| !known[id.index()]) {
        let (node, operands) = (graph.node(id), graph.operands(id));
        let (name, function, what) = match &node.op {
            Op::Map(Map { function: Elementwise::Named(function), order: 0, .. }) => {
                (approximation::name(graph, id, *function), *function, What::Value(operands[0]))
            }
            Op::Extremum { .. } => ("difference".to_owned(), Function::Abs, What::Difference(operands[0], operands[1])),
            Op::Max(_) => ("difference".to_owned(), Function::Abs, What::Spread(operands[0])),
            _ => continue,
        };
        watched.push(Watched { name, function, span: node.span, what });
    }
    watched
}

/// The gradient of every trained parameter.
fn gradients(graph: &Graph) -> Vec<(String, Id)> {
    let mut found = Vec::new();
    for (output, id) in &graph.outputs {
        let Output::State(name) = output else { continue };
        let operand = |id: Id, slot: usize| graph.operands(id)[slot];
        let gradient = match graph.node(*id).op {
            // b ← β b + g.
            Op::Add if name.ends_with(".momentum") => Some(operand(*id, 1)),
            // A step of squares: v ← ρ v + (1 − ρ) g g.
            Op::Add if name.ends_with(".square") => Some(operand(operand(operand(*id, 1), 0), 0)),
            // w ← w − lr g, without a momentum.
            Op::Sub if !graph.outputs.iter().any(|(o, _)| matches!(o, Output::State(n) if *n == format!("{name}.momentum"))) => {
                Some(operand(operand(*id, 1), 0))
            }
            _ => None,
        };
        let parameter = name.trim_end_matches(".momentum").trim_end_matches(".square");
        found.extend(gradient.map(|g| (parameter.to_owned(), g)));
    }
    found
}

/// Exact functions at an update.
struct Exact {
    update: f64,
}

impl Functions for Exact {
    fn map(&self, map: &Map, x: f64) -> f64 {
        eval::Exact.map(map, x)
    }

    fn abs(&self, _pins: &Pins, x: f64) -> f64 {
        x.abs()
    }

    fn update(&self) -> f64 {
        self.update
    }
}
