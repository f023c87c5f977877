//! Networks applied.

use super::{Builder, Built1, Failed, Parameters};
use crate::check::hir::{ClientOp, Layer, LayerKind, NetRef, Range, StateKind, Train};
use crate::tensor::convolution::Window;
use crate::tensor::graph::{Id, Op, Shape};
use hecc_plan::Span;

impl Builder<'_> {
    pub(super) fn apply(&mut self, net: NetRef, input: Id, train: Option<&Train>, span: Span) -> Built1 {
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
        let trunk = self.layers(&definition.layers, (input, &definition.input_shape), &parameters, &mut ranges)?;
        let shape = definition.layers.last().map_or(&definition.input_shape, |layer| &layer.shape);
        let heads = definition.outputs.iter().map(|head| self.layers(&head.layers, (trunk, shape), &parameters, &mut ranges));
        let outputs: Vec<Id> = heads.collect::<Result<_, _>>()?;
        // Which of them the key owner needs is seen when all of the update is there.
        let returned = self.in_order && !self.clear && train.is_some() && program.secure.client.contains(&ClientOp::Target);
        let handed = |id: Id| if returned { self.graph.push(Op::Return, &[id], self.graph.shape(id), span) } else { id };
        Ok(outputs.into_iter().map(handed).collect())
    }

    /// Layers applied to a value of the given shape.
    fn layers(
        &mut self,
        layers: &[Layer],
        (mut x, shape): (Id, &[usize]),
        p: &Parameters,
        ranges: &mut std::vec::IntoIter<Range>,
    ) -> Result<Id, Failed> {
        let mut shape = shape;
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
                LayerKind::Conv { index, inputs, outputs, kernel, stride, bias, .. } => {
                    let Some(&w) = p.get(&format!("{index}.weight")) else { return Err(Failed) };
                    let [channels, height, width] = shape[..] else { return self.unsupported("a convolution of a vector", span) };
                    debug_assert_eq!(channels, *inputs, "checked");
                    let window = Window { channels, height, width, outputs: *outputs, kernel: *kernel, stride: *stride };
                    let out = Shape::Sample(window.output());
                    let y = self.graph.push(Op::Conv(window), &[x, w], out, span);
                    match p.get(&format!("{index}.bias")) {
                        Some(&b) if *bias => {
                            let b = self.graph.push(Op::Repeat, &[b], Shape::Vector(window.output()), span);
                            let b = self.graph.push(Op::Spread, &[b], out, span);
                            self.graph.push(Op::Add, &[y, b], out, span)
                        }
                        _ => y,
                    }
                }
                LayerKind::Flatten => x,
                LayerKind::Activation(activation) => {
                    let derived = ranges.next();
                    self.map(activation, x, derived, span)?
                }
                LayerKind::Residual(inner) => {
                    let y = self.layers(inner, (x, shape), p, ranges)?;
                    self.graph.push(Op::Add, &[x, y], self.graph.shape(x), span)
                }
                LayerKind::Scale(c) => self.graph.push(Op::Scale(*c), &[x], self.graph.shape(x), span),
            };
            shape = &layer.shape;
        }
        Ok(x)
    }
}
