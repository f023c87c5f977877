//! What every party of federated learning knows: the program, its weights, and how gradients follow from transitions.

use hecc_compiler::check::hir::Program;
use hecc_compiler::diagnostics::Diagnostic;
use hecc_compiler::inspection::{self, Circuit, Inspection, Rows, Weights};
use hecc_compiler::tensor::build::Minimized;
use hecc_compiler::tensor::{Data, Graph, Id, Op, Output, Shape};
use hecc_plan::init;

/// A program with weights, whose gradients can be computed.
#[derive(Clone, Debug)]
pub struct Model {
    /// The program's own values.
    pub inspection: Inspection,
    /// Parameters as the update starts.
    pub weights: Weights,
    losses: Vec<Loss>,
}

/// What one `minimize` shares.
#[derive(Clone, Debug)]
struct Loss {
    names: Vec<String>,
    circuit: Circuit,
    /// The trained parameters after the update.
    after: Circuit,
    /// The loss itself and, if it has one, the target of learning.
    value: Circuit,
    has_target: bool,
}

/// A loss where it was computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// The loss.
    pub loss: f64,
    /// The target of learning per sample: what stands in `stop(...)` and depends on the reward.
    pub target: Option<Vec<f64>>,
}

impl Model {
    /// The program for `batch` samples at once, with the initial weights of a seed; `None` for a program that trains nothing.
    ///
    /// # Errors
    /// What is wrong with the program.
    pub fn new(source: &str, batch: usize, seed: u64) -> Result<Option<Self>, Vec<Diagnostic>> {
        let Some(inspection) = inspection::inspect(source, batch)? else { return Ok(None) };
        let weights = init::initial_states(&inspection.states, seed).into_iter().map(|(name, tensor)| (name, tensor.data)).collect();
        let losses = inspection.minimized.iter().map(|minimized| {
            let gradients: Vec<Id> = minimized.parameters.iter().map(|p| p.gradient).collect();
            let target = target(&inspection.graph, minimized.loss);
            let value: Vec<Id> = std::iter::once(minimized.loss).chain(target).collect();
            Loss {
                names: minimized.parameters.iter().map(|p| p.name.clone()).collect(),
                circuit: inspection.circuit(&gradients),
                after: inspection.circuit(&after(&inspection, minimized)),
                value: inspection.circuit(&value),
                has_target: target.is_some(),
            }
        });
        let losses = losses.collect();
        Ok(Some(Self { inspection, weights, losses }))
    }

    /// The checked program.
    pub fn program(&self) -> &Program {
        &self.inspection.program
    }

    /// Number of `minimize` statements.
    pub fn losses(&self) -> usize {
        self.losses.len()
    }

    /// The parameters that a `minimize` trains.
    pub fn trained(&self, loss: usize) -> &[String] {
        &self.losses[loss].names
    }

    /// The gradient of a loss, parameter by parameter.
    pub fn gradient(&self, loss: usize, rows: &Rows) -> Weights {
        let Loss { names, circuit, .. } = &self.losses[loss];
        names.iter().cloned().zip(circuit.values(self.inspection.batch(), rows, &self.weights)).collect()
    }

    /// The parameters of a loss after one whole update, as the program's optimiser leaves them.
    pub fn updated(&self, loss: usize, rows: &Rows) -> Weights {
        let Loss { names, after, .. } = &self.losses[loss];
        names.iter().cloned().zip(after.values(self.inspection.batch(), rows, &self.weights)).collect()
    }

    /// What the gradient of a loss depends on, with elements per sample.
    pub fn sources(&self, loss: usize) -> std::collections::BTreeMap<Data, usize> {
        self.losses[loss].circuit.data()
    }

    /// The loss and its target.
    pub fn value(&self, loss: usize, rows: &Rows) -> Value {
        let Loss { value, has_target, .. } = &self.losses[loss];
        let mut values = value.values(self.inspection.batch(), rows, &self.weights).into_iter();
        let loss = values.next().and_then(|v| v.first().copied()).unwrap_or(f64::NAN);
        Value { loss, target: values.next().filter(|_| *has_target) }
    }

    /// A batch of no particular transition, in which every episode is over: actions and rewards are zero.
    pub fn blank(&self) -> Rows {
        let batch = self.inspection.batch();
        let of = |(data, dim): (Data, usize)| {
            let row = match data {
                Data::Done | Data::Ones => vec![1.0; dim],
                Data::Action | Data::Reward => vec![0.0; dim],
                // Not zero: there, fresh networks put out zero too.
                _ => (0..dim).map(|i| 0.5 * libm::sin(1.0 + i as f64 * i as f64)).collect(),
            };
            (data, row.repeat(batch))
        };
        self.inspection.dims().into_iter().map(of).collect()
    }
}

/// The new values of the parameters that a loss trains; where one is no state of the update, its old value.
fn after(inspection: &Inspection, minimized: &Minimized) -> Vec<Id> {
    let new = |name: &str| {
        inspection.graph.outputs.iter().find(|(output, _)| matches!(output, Output::State(state) if state == name)).map(|(_, id)| *id)
    };
    minimized.parameters.iter().map(|p| new(&p.name).unwrap_or(p.value)).collect()
}

/// The value in a `stop` on the way to the loss that depends on the reward.
fn target(graph: &Graph, loss: Id) -> Option<Id> {
    let mut rewarded = vec![false; graph.len()];
    for id in graph.ids() {
        let own = matches!(graph.node(id).op, Op::Data(Data::Reward));
        rewarded[id.index()] = own || graph.operands(id).iter().any(|o| rewarded[o.index()]);
    }
    let (mut seen, mut stack, mut found) = (vec![false; graph.len()], vec![loss], None);
    while let Some(id) = stack.pop() {
        if std::mem::replace(&mut seen[id.index()], true) {
            continue;
        }
        let stopped = matches!(graph.node(id).op, Op::Stop) && graph.shape(id) == Shape::Sample(1);
        if stopped && rewarded[id.index()] {
            found = Some(id);
        } else {
            stack.extend(graph.operands(id));
        }
    }
    found
}
