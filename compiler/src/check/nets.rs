//! Networks: inputs, layers with their shapes, heads.

use hecc_plan::Span;

use super::environment::Names;
use super::error::{CheckError, HeadProblem};
use super::expressions::Exprs;
use super::hir::*;
use super::names::nearest;
use crate::syntax::ast::{self, LayerKind as Written};

/// Most elements of a value, or units of a layer.
pub(super) const MAX_ELEMENTS: f64 = 262_144.0;

/// Checks one network; `None` after an error. `names` are the environment's values that can be inputs.
pub(super) fn check(exprs: &mut Exprs<'_>, names: &Names, secret: bool, net: &ast::Net) -> Option<Net> {
    let before = exprs.errors.len();
    let mut inputs = Vec::new();
    for input in &net.inputs {
        if let Some(shape) = input_shape(exprs, names, input) {
            inputs.push(NetInput { name: input.name.text.clone(), shape });
        }
    }
    if inputs.len() != net.inputs.len() {
        return None;
    }
    let input_shape = match inputs.as_slice() {
        [one] => one.shape.clone(),
        several => vec![several.iter().map(|input| input.shape.iter().product::<usize>()).sum()],
    };
    let (trunk, heads) = split_heads(exprs, net);
    let mut index = 0;
    let mut builder = Layers { exprs, index: &mut index };
    let (layers, shape) = builder.run(trunk, &input_shape)?;
    let last = trunk.last().map_or(net.name.span, |layer| layer.span);
    let outputs = match (&net.output, heads) {
        (ast::Output::Single(declared), None) => {
            let dims = dims(builder.exprs, declared)?;
            same_output(builder.exprs, &net.name.text, &dims, &shape, declared.span, last)?;
            vec![Head { name: None, shape: dims, layers: Vec::new() }]
        }
        (ast::Output::Single(_), Some((_, span))) => {
            report(builder.exprs, net, HeadProblem::NoNames, span);
            return None;
        }
        (ast::Output::Named(_), None) => {
            report(builder.exprs, net, HeadProblem::NoHeads, net.name.span);
            return None;
        }
        (ast::Output::Named(declared), Some((heads, span))) => {
            let mut made: Vec<(usize, Head)> = Vec::new();
            for head in heads {
                let Some(place) = declared.iter().position(|(name, _)| name.text == head.name.text) else {
                    report(builder.exprs, net, HeadProblem::NoOutput(head.name.text.clone()), head.name.span);
                    continue;
                };
                if made.iter().any(|(known, _)| *known == place) {
                    let first = heads.iter().find(|other| other.name.text == head.name.text).map_or(span, |h| h.name.span);
                    let name = head.name.text.clone();
                    builder.exprs.report(CheckError::Duplicate { what: "head", name, span: head.name.span, first });
                    continue;
                }
                let built = builder.run(&head.layers, &shape);
                let wanted = dims(builder.exprs, &declared[place].1);
                if let (Some((layers, found)), Some(wanted)) = (built, wanted) {
                    let last = head.layers.last().map_or(head.span, |layer| layer.span);
                    let name = format!("{}.{}", net.name.text, head.name.text);
                    same_output(builder.exprs, &name, &wanted, &found, declared[place].1.span, last);
                    made.push((place, Head { name: Some(head.name.text.clone()), shape: wanted, layers }));
                }
            }
            for (name, _) in declared {
                if !heads.iter().any(|head| head.name.text == name.text) {
                    report(builder.exprs, net, HeadProblem::NoHead(name.text.clone()), name.span);
                }
            }
            made.sort_by_key(|(place, _)| *place);
            made.into_iter().map(|(_, head)| head).collect()
        }
    };
    if builder.exprs.errors.len() > before {
        return None;
    }
    Some(Net { name: net.name.text.clone(), inputs, input_shape, layers, outputs, secret, span: net.span })
}

fn report(exprs: &mut Exprs<'_>, net: &ast::Net, problem: HeadProblem, span: Span) {
    exprs.report(CheckError::Heads { problem, net: net.name.text.clone(), span });
}

fn input_shape(exprs: &mut Exprs<'_>, names: &Names, input: &ast::NetInput) -> Option<Vec<usize>> {
    let name = input.name.text.as_str();
    let known = names.inputs.iter().find(|(known, _)| known == name).map(|(_, shape)| shape.clone());
    let Some(given) = &input.shape else {
        if known.is_some() || exprs.broken.iter().any(|broken| broken == name) {
            return known;
        }
        let span = input.name.span;
        if name.strip_suffix('\'').is_some_and(|base| names.inputs.iter().any(|(known, _)| known == base)) {
            exprs.misplaced(format!("`{name}`"), "a net is declared over the state and applied to its twin: `q(s')`", span);
        } else {
            let meant = nearest(name, names.inputs.iter().map(|(known, _)| known.as_str()));
            exprs.report(CheckError::UnknownName { what: "environment value", name: name.to_string(), meant, span });
        }
        return None;
    };
    let shape = dims(exprs, given)?;
    if let Some(known) = known.filter(|known| *known != shape) {
        let (expected, found) = (format!("{known:?}"), format!("{shape:?}"));
        exprs.report(CheckError::ShapeMismatch { what: format!("input `{name}`"), expected, found, span: given.span });
        return None;
    }
    Some(shape)
}

/// The sizes of a shape: one or three.
pub(super) fn dims(exprs: &mut Exprs<'_>, shape: &ast::Shape) -> Option<Vec<usize>> {
    let mut dims = Vec::new();
    for dim in &shape.dims {
        let ast::Dim::Number(number) = dim else {
            let ast::Dim::Name(name) = dim else { return None };
            exprs.report(CheckError::NotConstant { what: format!("the size `{}`", name.text), span: name.span });
            return None;
        };
        dims.push(size(exprs, number, "a size")?);
    }
    let elements = dims.iter().fold(1.0, |product, dim| product * *dim as f64);
    if !matches!(dims.len(), 1 | 3) || elements > MAX_ELEMENTS {
        let expected = "`[n]` or `[channels, height, width]`, of at most 16777216 elements".to_string();
        exprs.report(CheckError::BadNumber { what: "a shape".into(), expected, span: shape.span });
        return None;
    }
    Some(dims)
}

/// A positive whole number.
pub(super) fn size(exprs: &mut Exprs<'_>, number: &ast::Number, what: &str) -> Option<usize> {
    if number.value.fract() != 0.0 || !(1.0..=MAX_ELEMENTS).contains(&number.value) {
        let expected = "a whole number from 1 to 262144".to_string();
        let span = exprs.place(number.span);
        exprs.report(CheckError::BadNumber { what: what.to_string(), expected, span });
        return None;
    }
    Some(number.value as usize)
}

fn same_output(exprs: &mut Exprs<'_>, name: &str, declared: &[usize], found: &[usize], span: Span, last: Span) -> Option<()> {
    if declared == found {
        return Some(());
    }
    let (declared, found) = (declared.to_vec(), found.to_vec());
    exprs.report(CheckError::NetOutput { name: name.to_string(), declared, found, span, last });
    None
}

type Heads<'a> = (&'a [ast::Head], Span);

/// The layers before `heads`, and the heads.
fn split_heads<'a>(exprs: &mut Exprs<'_>, net: &'a ast::Net) -> (&'a [ast::Layer], Option<Heads<'a>>) {
    let Some(at) = net.layers.iter().position(|layer| matches!(layer.kind, Written::Heads(_))) else {
        return (&net.layers, None);
    };
    if let Some(after) = net.layers.get(at + 1) {
        report(exprs, net, HeadProblem::NotLast, after.span);
    }
    let Written::Heads(heads) = &net.layers[at].kind else { return (&net.layers, None) };
    (&net.layers[..at], Some((heads, net.layers[at].span)))
}

struct Layers<'a, 'e> {
    exprs: &'a mut Exprs<'e>,
    /// Number of the next dense or conv layer.
    index: &'a mut usize,
}

impl Layers<'_, '_> {
    fn run(&mut self, written: &[ast::Layer], input: &[usize]) -> Option<(Vec<Layer>, Vec<usize>)> {
        let mut layers = Vec::new();
        let mut shape = input.to_vec();
        let mut sound = true;
        for layer in written {
            // After a layer of unknown shape, what follows is still looked at, with the shape before.
            match self.layer(layer, &shape) {
                Some(made) => {
                    shape = made.last().map_or(shape, |layer| layer.shape.clone());
                    layers.extend(made);
                }
                None => sound = false,
            }
        }
        sound.then_some((layers, shape))
    }

    fn layer(&mut self, layer: &ast::Layer, input: &[usize]) -> Option<Vec<Layer>> {
        let span = layer.span;
        let mut made = Vec::new();
        match &layer.kind {
            Written::Dense { units, tail } => {
                let outputs = size(self.exprs, units, "the units of a dense layer");
                let tail_made = self.tail(tail);
                let [inputs] = input else {
                    return self.cannot("dense", "a vector: put `flatten` before it".into(), input, span);
                };
                let (outputs, (init, activation)) = (outputs?, tail_made?);
                let kind = LayerKind::Dense { index: self.next(), inputs: *inputs, outputs, bias: tail.nobias.is_none(), init };
                made.push(Layer { kind, shape: vec![outputs], span });
                made.extend(activation.map(|(a, span)| Layer { kind: LayerKind::Activation(a), shape: vec![outputs], span }));
            }
            Written::Conv { channels, kernel, stride, tail } => {
                let outputs = size(self.exprs, channels, "the channels of a conv layer");
                let kernel = size(self.exprs, kernel, "a kernel");
                let stride = stride.as_ref().map_or(Some(1), |s| size(self.exprs, s, "a stride"));
                let tail_made = self.tail(tail);
                let [inputs, height, width] = input else {
                    return self.cannot("conv", "an image `[channels, height, width]`".into(), input, span);
                };
                let (outputs, kernel, stride, (init, activation)) = (outputs?, kernel?, stride?, tail_made?);
                if kernel > *height || kernel > *width {
                    return self.cannot("conv", format!("an image of at least {kernel} by {kernel}, for its kernel"), input, span);
                }
                let shape = vec![outputs, (height - kernel) / stride + 1, (width - kernel) / stride + 1];
                let bias = tail.nobias.is_none();
                let kind = LayerKind::Conv { index: self.next(), inputs: *inputs, outputs, kernel, stride, bias, init };
                made.push(Layer { kind, shape: shape.clone(), span });
                made.extend(activation.map(|(a, span)| Layer { kind: LayerKind::Activation(a), shape, span }));
            }
            Written::Flatten => made.push(Layer { kind: LayerKind::Flatten, shape: vec![input.iter().product()], span }),
            Written::Activation(act) => {
                let (function, pins) = self.exprs.activation(act)?;
                let kind = LayerKind::Activation(Activation { function, pins });
                made.push(Layer { kind, shape: input.to_vec(), span });
            }
            Written::Residual(inner) => {
                let (inner, shape) = self.run(inner, input)?;
                if shape != input {
                    let (expected, found) = (format!("{input:?}"), format!("{shape:?}"));
                    let what = "the end of `residual`, which is added to its start,".to_string();
                    self.exprs.report(CheckError::ShapeMismatch { what, expected, found, span });
                    return None;
                }
                made.push(Layer { kind: LayerKind::Residual(inner), shape, span });
            }
            Written::Scale(c) => made.push(Layer { kind: LayerKind::Scale(c.value), shape: input.to_vec(), span }),
            Written::Heads(_) => {
                self.exprs.misplaced("`heads`", "it is the last thing in a net", span);
                return None;
            }
        }
        Some(made)
    }

    fn next(&mut self) -> usize {
        *self.index += 1;
        *self.index - 1
    }

    fn cannot<T>(&mut self, layer: &'static str, needs: String, found: &[usize], span: Span) -> Option<T> {
        self.exprs.report(CheckError::LayerInput { layer, needs, found: found.to_vec(), span });
        None
    }

    #[allow(clippy::type_complexity)]
    fn tail(&mut self, tail: &ast::Tail) -> Option<(Init, Option<(Activation, Span)>)> {
        let mut init = Some(Init::Orthogonal);
        for (place, name) in tail.init.iter().enumerate() {
            if place > 0 {
                let first = tail.init[0].span;
                self.exprs.report(CheckError::Duplicate { what: "`init` of this layer", name: String::new(), span: name.span, first });
            }
            init = match name.text.as_str() {
                "orthogonal" => Some(Init::Orthogonal),
                "he" => Some(Init::He),
                "small" => Some(Init::Small),
                "zero" => Some(Init::Zero),
                other => {
                    let meant = nearest(other, ["orthogonal", "he", "small", "zero"]);
                    let name_text = other.to_string();
                    self.exprs.report(CheckError::UnknownFunction { what: "start of weights", name: name_text, meant, span: name.span });
                    None
                }
            };
        }
        let activation = match &tail.activation {
            Some(act) => {
                let (function, pins) = self.exprs.activation(act)?;
                Some((Activation { function, pins }, act.span))
            }
            None => None,
        };
        Some((init?, activation))
    }
}
