//! Moves products to the client: a factor that the client knows is distributed over sums, so that products of things it
//! knows are computed before encryption, for free and without depth.
//!
//! In a TD error, `a (q - r - γ (1 - d) m)` becomes `a q - [a r] - [γ a (1 - d)] m` with the brackets the client's: the
//! target joins the chain one level later. A one-hot `a` also gives `a (Σ a q) = a q`.

use super::Facts;
use super::rebuild::rebuild;
use crate::check::hir::ClientOp;
use crate::tensor::graph::{Elementwise, Map};
use crate::tensor::{Data, Graph, Id, Op, Shape};

/// Distributes factors that the client knows.
pub fn run(graph: &Graph, facts: &Facts) -> Graph {
    let uses = graph.uses();
    let mut hoister = Hoister { facts, known: Vec::new(), single: Vec::new() };
    rebuild(graph, |new, id, node, operands| {
        hoister.refresh(new);
        let result = match (&node.op, operands.as_slice()) {
            (Op::Mul, &[a, b]) => match (hoister.known[a.index()], hoister.known[b.index()]) {
                (true, false) => hoister.push(new, a, b),
                (false, true) => hoister.push(new, b, a),
                _ => new.push(Op::Mul, &[a, b], node.shape, node.span),
            },
            _ => new.push(node.op.clone(), &operands, node.shape, node.span),
        };
        hoister.refresh(new);
        hoister.single[result.index()] = uses[id.index()] == 1;
        result
    })
}

/// Whether the client knows a node of this operation, given what it knows of the operands. Data are the client's; an
/// operation on the client's list is too, by an exchange.
pub fn client_knows(op: &Op, operands: &[bool], client: &[ClientOp]) -> bool {
    match op {
        Op::Data(_) | Op::Constant(_) | Op::Return => true,
        Op::State(_) => false,
        _ => client_computes(op, client) || operands.iter().all(|&k| k),
    }
}

/// Whether the program hands this operation to the key owner.
pub fn client_computes(op: &Op, client: &[ClientOp]) -> bool {
    use hecc_plan::Function as F;
    if matches!(op, Op::Return) {
        return true;
    }
    let wanted: &[ClientOp] = match op {
        Op::Max(_) | Op::Extremum { larger: true, .. } => &[ClientOp::Max],
        Op::Extremum { larger: false, .. } => &[ClientOp::Min],
        Op::ArgMax => &[ClientOp::ArgMax, ClientOp::Max],
        // The sign of a difference, by which the gradient of a minimum or maximum goes.
        Op::Map(Map { function: Elementwise::Named(F::Abs), order: 1, .. }) => &[ClientOp::Abs, ClientOp::Min, ClientOp::Max],
        Op::Map(Map { function: Elementwise::Named(function), .. }) => match function {
            F::Relu => &[ClientOp::Relu],
            F::Silu => &[ClientOp::Silu],
            F::Gelu => &[ClientOp::Gelu],
            F::Tanh => &[ClientOp::Tanh, ClientOp::Sample],
            F::Sigmoid => &[ClientOp::Sigmoid, ClientOp::Softmax],
            F::Softplus => &[ClientOp::Softplus, ClientOp::Softmax],
            F::Mish => &[ClientOp::Mish],
            F::Exp => &[ClientOp::Exp, ClientOp::Sample, ClientOp::Softmax],
            F::Log => &[ClientOp::Log, ClientOp::Softmax],
            F::Sqrt => &[ClientOp::Sqrt],
            F::Abs => &[ClientOp::Abs],
            F::Reciprocal => &[ClientOp::Div, ClientOp::Softmax],
            F::HardTanh => &[ClientOp::Clip],
            F::LogSech2 => &[ClientOp::Log, ClientOp::Sample],
            F::Square | F::Sin | F::Cos => &[],
        },
        _ => &[],
    };
    wanted.iter().any(|w| client.contains(w))
}

struct Hoister<'a> {
    facts: &'a Facts,
    known: Vec<bool>,
    /// Nodes with one use, which may be taken apart.
    single: Vec<bool>,
}

impl Hoister<'_> {
    fn refresh(&mut self, graph: &Graph) {
        for id in graph.ids().skip(self.known.len()) {
            let operands: Vec<bool> = graph.operands(id).iter().map(|o| self.known[o.index()]).collect();
            self.known.push(client_knows(&graph.node(id).op, &operands, &self.facts.client));
            self.single.push(true);
        }
    }

    fn make(&mut self, graph: &mut Graph, op: Op, operands: &[Id], like: Id) -> Id {
        let id = graph.push(op, operands, graph.shape(like), graph.node(like).span);
        self.refresh(graph);
        id
    }

    /// c x for a known c.
    fn push(&mut self, graph: &mut Graph, c: Id, x: Id) -> Id {
        if let Some(inner) = self.masked_sum(graph, c, x) {
            return self.push(graph, c, inner);
        }
        if self.known[x.index()] || !self.gains(graph, x) {
            return self.make(graph, Op::Mul, &[c, x], x);
        }
        let operands = graph.operands(x);
        match graph.node(x).op.clone() {
            Op::Add => {
                let (a, b) = (self.push(graph, c, operands[0]), self.push(graph, c, operands[1]));
                self.make(graph, Op::Add, &[a, b], x)
            }
            Op::Sub => {
                let negative = self.make(graph, Op::Scale(-1.0), &[c], c);
                let (a, b) = (self.push(graph, c, operands[0]), self.push(graph, negative, operands[1]));
                self.make(graph, Op::Add, &[a, b], x)
            }
            Op::Scale(k) => {
                let scaled = self.make(graph, Op::Scale(k), &[c], c);
                self.push(graph, scaled, operands[0])
            }
            Op::Offset(k) => {
                let (a, b) = (self.push(graph, c, operands[0]), self.make(graph, Op::Scale(k), &[c], c));
                self.make(graph, Op::Add, &[a, b], x)
            }
            Op::Mul => {
                let (factor, rest) = if self.known[operands[0].index()] { (0, 1) } else { (1, 0) };
                let product = self.make(graph, Op::Mul, &[c, operands[factor]], x);
                self.push(graph, product, operands[rest])
            }
            Op::Broadcast => {
                let inner = operands[0];
                let parts = graph.operands(inner);
                let op = graph.node(inner).op.clone();
                let wide: Vec<Id> = parts.iter().map(|&p| self.make(graph, Op::Broadcast, &[p], x)).collect();
                let widened = self.make(graph, op, &wide, x);
                self.push(graph, c, widened)
            }
            _ => self.make(graph, Op::Mul, &[c, x], x),
        }
    }

    /// Whether taking x apart reaches something that the client knows.
    fn gains(&self, graph: &Graph, x: Id) -> bool {
        if self.known[x.index()] {
            return true;
        }
        if !self.single[x.index()] {
            return false;
        }
        let operands = graph.operands(x);
        match &graph.node(x).op {
            Op::Add | Op::Sub => operands.iter().any(|&o| self.gains(graph, o)),
            Op::Scale(_) | Op::Offset(_) => true,
            Op::Mul => operands.iter().any(|o| self.known[o.index()]),
            Op::Broadcast => {
                let inner = &graph.node(operands[0]).op;
                matches!(inner, Op::Add | Op::Sub | Op::Scale(_) | Op::Offset(_) | Op::Mul) && self.gains(graph, operands[0])
            }
            _ => false,
        }
    }

    /// For `c = κ a` with a one-hot: `c broadcast(Σ a q) = c q`. Gives q.
    fn masked_sum(&self, graph: &Graph, c: Id, x: Id) -> Option<Id> {
        if !self.facts.one_hot || !masks(graph, c) || !matches!(graph.node(x).op, Op::Broadcast) {
            return None;
        }
        let sum = graph.operands(x)[0];
        if !matches!(graph.node(sum).op, Op::SumElements) || graph.shape(sum) != Shape::Sample(1) {
            return None;
        }
        let product = graph.operands(sum)[0];
        let factors = graph.operands(product);
        let is_action = |id: &&Id| matches!(graph.node(**id).op, Op::Data(Data::Action));
        let action = factors.iter().position(|id| is_action(&id)).filter(|_| matches!(graph.node(product).op, Op::Mul))?;
        let value = factors[1 - action];
        (graph.shape(value) == graph.shape(x) && matches!(graph.shape(x), Shape::Sample(_))).then_some(value)
    }
}

/// Whether c is the action times something, element by element.
fn masks(graph: &Graph, c: Id) -> bool {
    match graph.node(c).op {
        Op::Data(Data::Action) => true,
        Op::Scale(_) => masks(graph, graph.operands(c)[0]),
        Op::Mul => graph.operands(c).iter().any(|&o| masks(graph, o)),
        _ => false,
    }
}
