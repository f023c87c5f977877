//! Networks with the plan's polynomials as clear-text programs of the client's: the policy that acts, and the arguments of
//! activations that it watches.

use hecc_plan::{ClearId, ClearOp, Ties, Watch, Watched};

use super::approximate::approximate;
use super::known::Client;
use crate::approximation::Approximation;
use crate::check::hir::Program;
use crate::passes::hoist::client_computes;
use crate::tensor::graph::{Elementwise, Map};
use crate::tensor::{Data, Graph, Id, Op, Shape};

/// Translates a network's graph, its states taken from `rename`d names. Gives the node of its first output, or `None` if
/// the network has an operation that a policy cannot have.
pub fn policy(
    program: &Program,
    graph: &Graph,
    tolerance: f64,
    cap: usize,
    rename: &dyn Fn(&str) -> String,
) -> Option<(hecc_plan::ClearProgram, ClearId)> {
    let (client, values) = translated(program, graph, tolerance, cap, rename);
    let (_, output) = graph.outputs.first()?;
    Some((client.program, values[output.index()]?))
}

/// The arguments of the activations that the client can compute: those of networks as they stand before the update.
pub fn watch(program: &Program, graph: &Graph, approximation: &Approximation) -> Watch {
    let (client, values) = translated(program, graph, super::tolerance(program), super::degree_cap(), &str::to_owned);
    let mut watch = Watch { program: client.program, arguments: Vec::new() };
    for (name, id, range) in approximation.uses(program, graph) {
        let operands: Option<Vec<ClearId>> = graph.operands(id).iter().map(|x| values[x.index()]).collect();
        let Some(operands) = operands else { continue };
        let mut push = |op: ClearOp| watch.program.push(op);
        let node = match (&graph.node(id).op, operands.as_slice()) {
            (Op::Map(_), [x]) => Some(*x),
            (Op::Extremum { .. }, &[a, b]) => Some(push(ClearOp::Sub(a, b))),
            // No two elements differ by more than the largest and the smallest, nor do those of a tournament.
            (Op::Max(_), &[x]) => {
                let negative = push(ClearOp::Affine { x, factor: -1.0, offset: 0.0 });
                let (largest, smallest) = (push(ClearOp::MaxElements(x)), push(ClearOp::MaxElements(negative)));
                Some(push(ClearOp::Add(largest, smallest)))
            }
            _ => None,
        };
        if let Some(node) = node
            && !watch.arguments.iter().any(|a| a.node == node && a.range == [range.low, range.high])
        {
            watch.arguments.push(Watched { name, node, range: [range.low, range.high], span: graph.node(id).span, widens: true });
        }
    }
    watch
}

/// The nodes of a graph in a client's program; `None` where an operation has no place in one.
fn translated(
    program: &Program,
    graph: &Graph,
    tolerance: f64,
    cap: usize,
    rename: &dyn Fn(&str) -> String,
) -> (Client, Vec<Option<ClearId>>) {
    let mut client = Client::default();
    let mut values: Vec<Option<ClearId>> = Vec::new();
    for id in graph.ids() {
        let operands: Option<Vec<ClearId>> = graph.operands(id).iter().map(|o| values[o.index()]).collect();
        let value = operands.and_then(|x| node(program, graph, id, &x, &mut client, (tolerance, cap), rename));
        values.push(value);
    }
    (client, values)
}

fn node(
    program: &Program,
    graph: &Graph,
    id: Id,
    x: &[ClearId],
    client: &mut Client,
    (tolerance, cap): (f64, usize),
    rename: &dyn Fn(&str) -> String,
) -> Option<ClearId> {
    let node = graph.node(id);
    let dim = match node.shape {
        Shape::Sample(d) | Shape::Vector(d) => d,
        Shape::Matrix(_, i) => i,
    };
    // A bias is one vector here, not one per sample: only the sum with its product takes it.
    if !matches!(node.op, Op::Add) && graph.operands(id).iter().any(|&o| matches!(graph.node(o).op, Op::Spread)) {
        return None;
    }
    // What is one number in all elements has one column here, and a product with a matrix asks for all of them.
    let columns = |client: &mut Client| match graph.operands(id).first().map(|&o| (o, graph.shape(o))) {
        Some((o, Shape::Sample(d))) if d > 1 && repeats(graph, o) => client.push(ClearOp::Concat(vec![x[0]; d])),
        _ => x[0],
    };
    Some(match &node.op {
        Op::Data(data) => client.data(program, data, dim),
        Op::State(name) => client.push(ClearOp::State(rename(name))),
        Op::Constant(c) => client.push(ClearOp::Number(*c)),
        Op::Add => {
            let operands = graph.operands(id);
            let spread = operands.iter().position(|&o| matches!(graph.node(o).op, Op::Spread));
            match (spread, spread.map(|s| client.program.nodes[x[1 - s].0 as usize].op.clone())) {
                (None, _) => client.push(ClearOp::Add(x[0], x[1])),
                (Some(s), Some(ClearOp::Dense { x: input, weight, bias: None })) => {
                    client.push(ClearOp::Dense { x: input, weight, bias: Some(x[s]) })
                }
                _ => return None,
            }
        }
        Op::Sub => client.push(ClearOp::Sub(x[0], x[1])),
        Op::Mul => client.push(ClearOp::Mul(x[0], x[1])),
        Op::Scale(c) => client.scaled(x[0], *c),
        Op::Offset(c) => client.push(ClearOp::Affine { x: x[0], factor: 1.0, offset: *c }),
        Op::Dense => {
            let input = columns(client);
            client.push(ClearOp::Dense { x: input, weight: x[1], bias: None })
        }
        Op::Conv(window) => {
            let weight = client.push(ClearOp::Expand { x: x[1], ties: Ties::Kernel(*window) });
            let x = columns(client);
            client.push(ClearOp::Dense { x, weight, bias: None })
        }
        Op::Patches(window) => {
            let x = columns(client);
            client.push(ClearOp::Patches { x, window: *window })
        }
        Op::Places(window) => {
            let weight = client.push(ClearOp::Expand { x: x[1], ties: Ties::Places(*window) });
            client.push(ClearOp::Dense { x: x[0], weight, bias: None })
        }
        Op::Expand(ties) => client.push(ClearOp::Expand { x: x[0], ties: *ties }),
        Op::Repeat => {
            let Shape::Vector(channels) = graph.shape(graph.operands(id)[0]) else { return None };
            client.push(ClearOp::Expand { x: x[0], ties: Ties::Runs(dim / channels) })
        }
        // A bias joins the product it is added to.
        Op::Spread => x[0],
        Op::Broadcast => match graph.shape(graph.operands(id)[0]) {
            Shape::Sample(turns) if turns > 1 => client.push(ClearOp::Concat(vec![x[0]; dim / turns])),
            _ => x[0],
        },
        Op::Stop | Op::Return | Op::Refresh => x[0],
        Op::SumElements if dim == 1 => client.push(ClearOp::SumElements(x[0])),
        Op::Slice { .. } if repeats(graph, graph.operands(id)[0]) => x[0],
        Op::Slice { start, step: 1 } => client.push(ClearOp::Slice { x: x[0], start: *start, len: dim }),
        Op::Slice { start, step } => client.elements(x[0], (*start..).step_by(*step).take(dim)),
        Op::Map(map) => match &map.function {
            Elementwise::Named(function) if client_computes(&node.op, &program.secure.client) => client.map(*function, map.order, x[0]),
            Elementwise::Named(_) | Elementwise::Polynomial(_) => {
                let Map { function, pins, order } = map;
                let p = approximate(function, pins, tolerance, if pins.degree.is_some() { usize::MAX } else { cap });
                let p = if *order == 0 { p } else { p.derivative() };
                client.polynomial(x[0], p)
            }
        },
        Op::Place { start, step } => {
            let Shape::Sample(width) = graph.shape(graph.operands(id)[0]) else { return None };
            let zero = client.push(ClearOp::Number(0.0));
            let mut parts = vec![zero; dim];
            if *step == 1 {
                parts.splice(*start..start + width, [x[0]]);
            } else {
                let repeats = repeats(graph, graph.operands(id)[0]);
                for element in 0..width {
                    parts[start + element * step] =
                        if repeats { x[0] } else { client.push(ClearOp::Slice { x: x[0], start: element, len: 1 }) };
                }
            }
            client.push(ClearOp::Concat(parts))
        }
        Op::Rate(_)
        | Op::AdamStep(_)
        | Op::DenseTranspose
        | Op::DenseGradient
        | Op::ConvTranspose(_)
        | Op::ConvGradient(_)
        | Op::PlacesGradient(_)
        | Op::Collect(_)
        | Op::SumRuns
        | Op::SumBatch
        | Op::SumElements
        | Op::Max(_)
        | Op::ArgMax
        | Op::Extremum { .. } => {
            return None;
        }
    })
}

/// Whether all elements of a value are one number, which stands in one column.
fn repeats(graph: &Graph, id: Id) -> bool {
    let operands = graph.operands(id);
    match graph.node(id).op {
        _ if graph.shape(id) == Shape::Sample(1) => true,
        Op::Constant(_) | Op::Data(Data::Ones) => true,
        Op::Broadcast => graph.shape(operands[0]) == Shape::Sample(1),
        Op::Add | Op::Sub | Op::Mul | Op::Scale(_) | Op::Offset(_) | Op::Map(_) => operands.iter().all(|&operand| repeats(graph, operand)),
        _ => false,
    }
}
