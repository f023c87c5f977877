//! A training program as its owner sees it: losses and gradients in the clear, by exact functions, on batches of any size.
//!
//! This is what federated learning would share, and what an audit attacks. No plan comes of it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use hecc_plan::clear::{ClearError, Sources};
use hecc_plan::{ClearId, ClearProgram, State, Tensors, Training};

use crate::approximation::Approximation;
use crate::check::hir::{Program, Refresh, Task};
use crate::diagnostics::Diagnostic;
use crate::passes::{Facts, prune, share};
use crate::schemes::ckks::known::Client;
use crate::tensor::build::{self, Minimized};
use crate::tensor::eval::{self, Exact};
use crate::tensor::{Data, Graph, Id, Op, Output, Shape};

/// What comes from outside, as the body of a program sees it: `[batch * dim]` by value.
pub type Rows = BTreeMap<Data, Vec<f64>>;
/// Parameters, or what belongs to each of them, by full name.
pub type Weights = BTreeMap<String, Vec<f64>>;

/// A program whose values can be looked at.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The checked program, with the batch that was asked for.
    pub program: Program,
    /// Carried states and how they start.
    pub states: Vec<State>,
    /// What each `minimize` computes, as nodes of [`Self::graph`].
    pub minimized: Vec<Minimized>,
    /// One update.
    pub graph: Graph,
    /// The run around the updates, for who gathers transitions.
    pub training: Training,
    client: ClearProgram,
    data: BTreeMap<Data, (ClearId, usize)>,
}

/// Looks at a training program with `batch` samples at once; `None` for a program that trains nothing.
///
/// # Errors
/// What cannot be built.
pub fn inspect(source: &str, batch: usize) -> Result<Option<Inspection>, Vec<Diagnostic>> {
    let mut program = crate::front::check(source)?;
    // Optimisers are the textbook's.
    program.secure.refresh = Refresh::Client;
    let Task::Train(train) = &mut program.task else { return Ok(None) };
    train.settings.batch = batch;
    let train = train.clone();
    let found = build::in_the_clear(&program).map_err(|e| e.iter().map(Diagnostic::from).collect::<Vec<_>>())?;
    let mut client = Client::default();
    let mut data = BTreeMap::new();
    for id in found.built.graph.ids() {
        if let (Op::Data(which), Shape::Sample(dim)) = (&found.built.graph.node(id).op, found.built.graph.shape(id)) {
            data.entry(which.clone()).or_insert_with(|| (client.data(&program, which, dim), dim));
        }
    }
    let training = crate::emit::training(&program, &train, &found.built, &Approximation::default());
    Ok(Some(Inspection {
        states: found.built.states,
        minimized: found.minimized,
        graph: found.built.graph,
        client: client.program,
        training,
        data,
        program,
    }))
}

impl Inspection {
    /// Samples at once.
    pub fn batch(&self) -> usize {
        match &self.program.task {
            Task::Train(train) => train.settings.batch,
            Task::Serve(serve) => serve.batch,
        }
    }

    /// Elements per sample of everything from outside.
    pub fn dims(&self) -> BTreeMap<Data, usize> {
        self.data.iter().map(|(data, (_, dim))| (data.clone(), *dim)).collect()
    }

    /// A batch of arrays in the environment's units, as the body sees it.
    ///
    /// # Errors
    /// If an array is missing or has the wrong shape.
    pub fn rows(&self, batch: &Tensors) -> Result<Rows, ClearError> {
        let (mut known, decrypted, states) = (BTreeMap::new(), BTreeMap::new(), Tensors::new());
        let wanted: Vec<ClearId> = self.data.values().map(|(id, _)| *id).collect();
        self.client.eval(&wanted, Sources { batch, states: &states, decrypted: &decrypted }, &mut known)?;
        let rows = self.batch();
        let whole = |(data, (id, dim)): (&Data, &(ClearId, usize))| {
            // One number may stand for all samples.
            let values = &known[id].data;
            (data.clone(), values.iter().copied().cycle().take(rows * dim).collect())
        };
        Ok(self.data.iter().map(whole).collect())
    }

    /// Nodes as a circuit of their own, without what they do not need.
    pub fn circuit(&self, wanted: &[Id]) -> Circuit {
        Circuit::new(&self.graph, wanted)
    }
}

/// Some values of a graph, and nothing that they do not depend on.
#[derive(Clone, Debug)]
pub struct Circuit {
    graph: Graph,
}

impl Circuit {
    /// The circuit of the wanted nodes.
    pub fn new(graph: &Graph, wanted: &[Id]) -> Self {
        let mut graph = graph.clone();
        graph.outputs = wanted.iter().enumerate().map(|(index, id)| (Output::Result(index.to_string()), *id)).collect();
        let facts = Facts::default();
        Self { graph: prune::run(&share::run(&prune::run(&graph, &facts), &facts), &facts) }
    }

    /// What it reads from outside, with elements per sample.
    pub fn data(&self) -> BTreeMap<Data, usize> {
        let of = |id: Id| match (&self.graph.node(id).op, self.graph.shape(id)) {
            (Op::Data(data), Shape::Sample(dim)) => Some((data.clone(), dim)),
            _ => None,
        };
        self.graph.ids().filter_map(of).collect()
    }

    /// The wanted values, in their order.
    pub fn values(&self, batch: usize, rows: &Rows, weights: &Weights) -> Vec<Vec<f64>> {
        let data = |data: &Data| rows.get(data).map_or(Cow::Borrowed(&[][..]), |values| Cow::Borrowed(values.as_slice()));
        let mut values = eval::borrowed(&self.graph, batch, &Exact, &data, weights);
        let outputs = &self.graph.outputs;
        let of = |(at, (_, id)): (usize, &(Output, Id))| {
            let again = outputs[at + 1..].iter().any(|(_, other)| other == id);
            let value = &mut values[id.index()];
            if again { value.to_vec() } else { std::mem::take(value).into_owned() }
        };
        outputs.iter().enumerate().map(of).collect()
    }
}
