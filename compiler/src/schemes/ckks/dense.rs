//! Dense layers by diagonals of the padded matrix, closed under rotation: no masks and no transposes.
//!
//! With E_k[i] = W[i mod rows, (i + k) mod cols] for k below d = min(rows, cols), split as k = g q + j, and the diagonals
//! kept pre-rotated, e_{g,j}[i] = E_{gq+j}[i − gq]:
//!
//! ```text
//! forward   y  = Σ_g rot_{gq}( Σ_j e_{g,j} rot_j(x) )            then, if rows < cols, the sum over rotations by rows
//! backward  δx = Σ_j rot_{−j}( Σ_g e_{g,j} rot_{−gq}(δ) )        then, if rows > cols, the sum over rotations by cols
//! gradient  ∂e_{g,j} = rot_{−gq}(δ) rot_j(x)
//! ```
//!
//! Halevi and Shoup, "Algorithms in HElib" (2014), section 4.3, for baby and giant steps and for wide matrices.

use std::collections::BTreeMap;

use hecc_plan::{ClearId, ClearOp, Content, Lanes, Layout, Matrix, Op, Runs, Span, Ties, WireId};

use super::CkksError;
use super::lower::{BiasSource, Cts, Form, Gradient, Lowering, Term, Value};
use crate::tensor::convolution::Window;
use crate::tensor::{Graph, Id, Op as TensorOp, Shape};

/// Most diagonals of a convolution's matrix: each is a ciphertext of every update.
const MOST_DIAGONALS: usize = 1024;
/// A matrix without gaps.
pub(super) const DENSE: [Runs; 2] = [Runs::DENSE; 2];

/// The diagonals of a padded matrix.
#[derive(Clone, Copy, Debug)]
struct Split {
    rows: usize,
    cols: usize,
    /// Diagonals per giant step.
    baby: usize,
    /// From one diagonal that is not zero to the next.
    step: usize,
}

impl Split {
    fn new(out: usize, inputs: usize, public: bool) -> Self {
        Self::stepped((out, inputs), 1, public)
    }

    /// Of a matrix whose diagonals are zero but for each `step`-th, a power of two.
    fn stepped((out, inputs): (usize, usize), step: usize, public: bool) -> Self {
        let (rows, cols) = (out.next_power_of_two(), inputs.next_power_of_two());
        let d = rows.min(cols) / step;
        // A giant step of encrypted weights costs a relinearisation besides its rotation.
        let giant = if public { 1.0 } else { 2.2 };
        let cost = |baby: usize| baby as f64 + giant * (d / baby) as f64;
        let candidates = (0..=d.ilog2()).map(|e| 1usize << e);
        let baby = candidates.min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(1);
        Self { rows, cols, baby, step }
    }

    fn diagonals(self) -> usize {
        self.rows.min(self.cols) / self.step
    }

    fn giants(self) -> usize {
        self.diagonals() / self.baby
    }

    fn layout(self, giant: usize, baby: usize, lanes: Lanes, runs: [Runs; 2]) -> Layout {
        let shift = giant * self.baby * self.step;
        Layout::Diagonal { diagonal: shift + baby * self.step, shift, rows: self.rows, cols: self.cols, lanes, runs }
    }
}

/// The diagonals of an encrypted matrix, giant step by giant step: `size` with the gaps, of which each `step`-th diagonal is not zero.
pub(super) fn diagonals(size: (usize, usize), step: usize, lanes: Lanes, runs: [Runs; 2]) -> Vec<Layout> {
    diagonals_of(Split::stepped(size, step, false), lanes, runs)
}

/// For each node, how far apart the diagonals are that a matrix has, or that the users of a gradient want: parameters that stand
/// interleaved leave those between them empty.
pub(super) fn every(graph: &Graph) -> Vec<usize> {
    let apart = |ties: &Ties| match ties {
        Ties::Strided { first: [row, column], step: [rows, columns] } if row == column && rows == columns => {
            Some(*rows).filter(|step| step.is_power_of_two())
        }
        _ => None,
    };
    let mut every = vec![1; graph.len()];
    let mut wanted: Vec<Option<usize>> = vec![None; graph.len()];
    for id in graph.ids() {
        let operands = graph.operands(id);
        let op = &graph.node(id).op;
        every[id.index()] = match op {
            TensorOp::Expand(ties) => apart(ties).unwrap_or(1),
            TensorOp::Add => operands.iter().map(|o| every[o.index()]).min().unwrap_or(1),
            _ => 1,
        };
        let own = match op {
            TensorOp::Collect(ties) => apart(ties).unwrap_or(1),
            _ => 1,
        };
        for operand in operands {
            let so_far = &mut wanted[operand.index()];
            *so_far = Some(so_far.map_or(own, |so_far| so_far.min(own)));
        }
    }
    for (_, id) in &graph.outputs {
        wanted[id.index()] = Some(1);
    }
    for id in graph.ids().filter(|id| matches!(graph.node(*id).op, TensorOp::DenseGradient)) {
        every[id.index()] = wanted[id.index()].unwrap_or(1);
    }
    every
}

fn diagonals_of(split: Split, lanes: Lanes, runs: [Runs; 2]) -> Vec<Layout> {
    (0..split.giants()).flat_map(|giant| (0..split.baby).map(move |baby| split.layout(giant, baby, lanes, runs))).collect()
}

impl Lowering<'_> {
    /// W x, or Wᵀ x, of a matrix whose diagonals are zero but for each `every`-th.
    pub(super) fn by_diagonals(
        &mut self,
        x: &Value,
        weight: &Value,
        ((out, inputs), every): ((usize, usize), usize),
        forward: bool,
        wish: Option<f64>,
        span: Span,
    ) -> Option<Value> {
        let weight = match weight {
            Value::Form(form) => Ok(form),
            Value::Owned(clear) => Err(*clear),
            _ => return self.unsupported("a computed weight", span),
        };
        if let Some(name) = weight.ok().and_then(|form| self.public_name(form)) {
            return self.public_dense(x, (&name, None), (out, inputs), forward, wish, span);
        }
        let clear = match weight {
            Err(clear) => Some(clear),
            Ok(_) if self.carries() => None,
            Ok(form) => Some(self.client_form(form, &[out, inputs], span)?),
        };
        let x = self.natural(x, span)?;
        let split = Split::stepped((out, inputs), every, false);
        // The ciphertexts hold `scale` times the weights: the first use decides, all others follow.
        let key = format!("{weight:?}");
        let scale = *self.weight_factors.entry(key).or_insert(x.factor / wish.unwrap_or(1.0));
        let mut diagonals: Vec<WireId> = Vec::with_capacity(split.diagonals());
        for (piece, layout) in diagonals_of(split, Lanes::All, DENSE).into_iter().enumerate() {
            diagonals.push(match clear {
                Some(clear) => {
                    let round = self.client.round(clear);
                    self.circuit.input("weight", vec![Content { tensor: clear, layout, factor: scale }], round, span)
                }
                None => self.unpacked(weight.ok()?, piece, scale, &[out, inputs], span)?,
            });
        }
        let diagonal = |giant: usize, baby: usize| diagonals[giant * split.baby + baby];
        let lanes = (self.grid.lanes * every) as i64;
        let (outer, inner) = if forward { (split.giants(), split.baby) } else { (split.baby, split.giants()) };
        let step = split.baby as i64;
        let wires = x
            .wires
            .clone()
            .into_iter()
            .map(|x| {
                let mut sum: Option<WireId> = None;
                for o in 0..outer {
                    let pairs = (0..inner)
                        .map(|i| {
                            let (giant, baby) = if forward { (o, i) } else { (i, o) };
                            let by = if forward { i as i64 } else { -(i as i64) * step };
                            let rotated = self.circuit.rotate(x, by * lanes, span);
                            (diagonal(giant, baby), rotated)
                        })
                        .collect();
                    let product = self.circuit.push(Op::Dot(pairs), span);
                    let by = if forward { o as i64 * step } else { -(o as i64) };
                    let part = self.circuit.rotate(product, by * lanes, span);
                    sum = Some(sum.map_or(part, |sum| self.circuit.push(Op::Add(sum, part), span)));
                }
                let sum = sum.unwrap_or(x);
                let (have, want) = if forward { (split.cols, split.rows) } else { (split.rows, split.cols) };
                self.circuit.rotate_and_sum(sum, want * self.grid.lanes, (have / want).max(1), span)
            })
            .collect();
        let dim = if forward { out } else { inputs };
        Some(Value::Cts(Cts { wires, factor: x.factor / scale, dim, clean: dim.is_power_of_two() }))
    }

    /// A convolution, or its adjoint in the image: a dense layer of the matrix that its kernels make, which whoever has them in the
    /// clear lays out.
    pub(super) fn convolution(
        &mut self,
        x: &Value,
        kernels: &Value,
        window: &Window,
        forward: bool,
        wish: Option<f64>,
        span: Span,
    ) -> Option<Value> {
        let (ties, size) = (Ties::Kernel(*window), (window.output(), window.input()));
        let diagonals = Split::new(size.0, size.1, false).diagonals();
        if diagonals > MOST_DIAGONALS {
            self.errors.push(CkksError::TooLarge { size, diagonals, limit: MOST_DIAGONALS, span });
            return None;
        }
        let clear = match kernels {
            Value::Owned(clear) => *clear,
            Value::Form(form) => match self.public_name(form) {
                Some(name) => return self.public_dense(x, (&name, Some(ties)), size, forward, wish, span),
                None if self.carries() => return self.carried_kernels(span),
                None => self.client_form(form, &[window.outputs, window.patch()], span)?,
            },
            _ => return self.unsupported("a computed weight", span),
        };
        let matrix = self.client.push(ClearOp::Expand { x: clear, ties });
        self.by_diagonals(x, &Value::Owned(matrix), (size, 1), forward, wish, span)
    }

    /// A convolution of patches, by the kernels at every place.
    pub(super) fn at_places(&mut self, x: &Value, kernels: &Value, window: &Window, wish: Option<f64>, span: Span) -> Option<Value> {
        let pitch = window.pitch();
        let size = (window.outputs * pitch, window.patch() * pitch);
        let clear = match kernels {
            Value::Owned(clear) => *clear,
            Value::Form(_) if self.carries() => return self.by_diagonals(x, kernels, (size, pitch), true, wish, span),
            Value::Form(form) => self.client_form(form, &[window.outputs, window.patch()], span)?,
            _ => return self.unsupported("a computed weight", span),
        };
        let matrix = self.client.push(ClearOp::Expand { x: clear, ties: Ties::Places(*window) });
        self.by_diagonals(x, &Value::Owned(matrix), (size, pitch), true, wish, span)
    }

    /// The public array that a parameter is, if it is one.
    fn public_name(&self, form: &Form) -> Option<String> {
        form.single().filter(|name| self.public.iter().any(|(n, _)| n == name))
    }

    /// A public matrix: plaintext diagonals, hoisted by the library.
    fn public_dense(
        &mut self,
        x: &Value,
        (name, ties): (&str, Option<Ties>),
        (out, inputs): (usize, usize),
        forward: bool,
        wish: Option<f64>,
        span: Span,
    ) -> Option<Value> {
        if !forward {
            return self.unsupported("training a public network", span);
        }
        let x = self.natural(x, span)?;
        let split = Split::new(out, inputs, true);
        let scale = x.factor / wish.unwrap_or(1.0);
        let matrix = self.circuit.matrix(Matrix {
            name: name.to_owned(),
            ties,
            rows: split.rows,
            cols: split.cols,
            baby: split.baby,
            factor: scale,
            scale: self.circuit.scale,
        });
        let wires = x
            .wires
            .iter()
            .map(|&x| {
                let y = self.circuit.push(Op::Linear(x, matrix), span);
                self.circuit.rotate_and_sum(y, split.rows * self.grid.lanes, (split.cols / split.rows).max(1), span)
            })
            .collect();
        Some(Value::Cts(Cts { wires, factor: x.factor / scale, dim: out, clean: out.is_power_of_two() }))
    }

    /// A bias for every sample.
    pub(super) fn bias(&mut self, form: &Form, dim: usize, span: Span) -> Option<Value> {
        if let Some(name) = self.public_name(form) {
            return Some(Value::PublicBias { name, ties: None, dim, scale: 1.0 });
        }
        let source =
            if self.carries() { BiasSource::Carried(form.clone()) } else { BiasSource::Client(self.client_form(form, &[dim], span)?) };
        Some(Value::Bias { source, dim, scale: 1.0 })
    }

    /// A parameter as the key owner sends it: computed from its carried states, or, where this update has changed it
    /// already, refreshed by an exchange.
    fn client_form(&mut self, form: &Form, shape: &[usize], span: Span) -> Option<ClearId> {
        match form.gradients.is_empty() {
            _ if self.steps_at_client(form) => self.owned_form(form, shape, span),
            true => Some(self.combination(&form.states)),
            false => self.refreshed(form, shape, span),
        }
    }

    /// Σ c state, as a node of the client's program.
    pub(super) fn combination(&mut self, states: &BTreeMap<Term<String>, f64>) -> ClearId {
        let mut sum: Option<ClearId> = None;
        for ((name, rate), &c) in states {
            let state = self.client.push(ClearOp::State(name.clone()));
            let mut part = self.client.scaled(state, c);
            if let Some(rate) = rate {
                let rate = self.client.rate(&self.rates[*rate]);
                part = self.client.push(ClearOp::Mul(part, rate));
            }
            sum = Some(sum.map_or(part, |sum| self.client.push(ClearOp::Add(sum, part))));
        }
        sum.unwrap_or_else(|| self.client.push(ClearOp::Number(0.0)))
    }

    /// Parameter-shaped values: everything is linear in carried states and gradients.
    pub(super) fn form(&mut self, id: Id, op: &TensorOp, shape: Shape, operands: &[Id], span: Span) -> Option<Value> {
        let part = |l: &Self, slot: usize| match l.value_of(operands[slot]) {
            Some(Value::Form(form)) => Some(form),
            _ => None,
        };
        let owned = |o: &Id| matches!(self.value_of(*o), Some(Value::Owned(_)));
        if matches!(op, TensorOp::Mul) && self.carries() {
            return Some(Value::Form(Form { products: [((id, None), 1.0)].into(), ..Form::default() }));
        }
        if let (TensorOp::Repeat, Shape::Vector(dim)) = (op, shape)
            && let Some(Value::Form(form)) = self.value_of(operands[0])
            && let Some(name) = self.public_name(&form)
        {
            return Some(Value::PublicBias { name, ties: Some(self.runs(operands[0], dim)?), dim, scale: 1.0 });
        }
        let tied = matches!(op, TensorOp::Repeat | TensorOp::SumRuns | TensorOp::Expand(_) | TensorOp::Collect(_));
        if self.carries() {
            match op {
                TensorOp::PlacesGradient(window) => {
                    let (delta, x) = (self.value_of(operands[0])?, self.value_of(operands[1])?);
                    let (delta, x) = (self.natural(&delta, span)?, self.natural(&x, span)?);
                    let gradient = self.outer(&delta, &x, window.pitch(), span);
                    return Some(self.leaf(id, gradient));
                }
                // Parameters rest as they are multiplied, and take gradients as they come.
                _ if tied && self.stands_as(id) => return self.value_of(operands[0]),
                _ if tied || matches!(op, TensorOp::ConvGradient(_)) => return self.carried_kernels(span),
                _ => {}
            }
        }
        if tied || matches!(op, TensorOp::Mul | TensorOp::AdamStep(_)) || operands.iter().any(owned) {
            return self.owned(id, op, operands, span);
        }
        match op {
            TensorOp::State(name) => {
                let states = [((name.clone(), None), 1.0)].into();
                Some(Value::Form(Form { states, ..Form::default() }))
            }
            TensorOp::Add => Some(Value::Form(part(self, 0)?.plus(&part(self, 1)?, 1.0))),
            TensorOp::Sub => Some(Value::Form(part(self, 0)?.plus(&part(self, 1)?, -1.0))),
            TensorOp::Scale(c) => Some(Value::Form(Form::default().plus(&part(self, 0)?, *c))),
            TensorOp::Constant(c) => Some(Value::Form(Form { constant: *c, ..Form::default() })),
            TensorOp::Offset(c) => {
                let form = part(self, 0)?;
                Some(Value::Form(Form { constant: form.constant + c, ..form }))
            }
            TensorOp::Rate(rate) => {
                let index = self.rates.iter().position(|r| r == rate).unwrap_or_else(|| {
                    self.rates.push(*rate);
                    self.rates.len() - 1
                });
                match part(self, 0)?.rated(index) {
                    Some(form) => Some(Value::Form(form)),
                    None => self.unsupported("a product of two learning rates", span),
                }
            }
            TensorOp::DenseGradient => {
                let (delta, x) = (self.value_of(operands[0])?, self.value_of(operands[1])?);
                let (delta, x) = (self.natural(&delta, span)?, self.natural(&x, span)?);
                let gradient = self.outer(&delta, &x, self.every[id.index()], span);
                Some(self.leaf(id, gradient))
            }
            // That of every element of the matrix comes back, and the key owner sums what is one kernel's.
            TensorOp::ConvGradient(window) | TensorOp::PlacesGradient(window) => {
                let (delta, x) = (self.value_of(operands[0])?, self.value_of(operands[1])?);
                let (delta, x) = (self.natural(&delta, span)?, self.natural(&x, span)?);
                let (ties, every) = match op {
                    TensorOp::ConvGradient(_) => (Ties::Kernel(*window), 1),
                    _ => (Ties::Places(*window), window.pitch()),
                };
                let size = [delta.dim, x.dim];
                let gradient = self.outer(&delta, &x, every, span);
                let Value::Form(matrix) = self.leaf(id, gradient) else { return None };
                let clear = self.owned_form(&matrix, &size, span)?;
                Some(Value::Owned(self.client.push(ClearOp::Collect { x: clear, ties })))
            }
            TensorOp::SumBatch => {
                let x = self.value_of(operands[0])?;
                let x = self.natural(&x, span)?;
                let wire = self.sum_groups(&x.wires, span);
                let layout = Layout::Vector { period: x.period(), lanes: Lanes::One(0), runs: Runs::DENSE };
                Some(self.leaf(id, Gradient { pieces: vec![(wire, layout)], factor: x.factor }))
            }
            _ => self.unsupported(
                format!(
                    "this operation on {}",
                    match shape {
                        Shape::Matrix(..) => "weights",
                        Shape::Vector(_) | Shape::Sample(_) => "a value of the whole batch",
                    }
                ),
                span,
            ),
        }
    }

    /// A value that is not linear in states and gradients: the key owner computes it, of the gradients alone as they come back.
    fn owned(&mut self, id: Id, op: &TensorOp, operands: &[Id], span: Span) -> Option<Value> {
        if self.carries() {
            return self.unsupported("this optimiser without the client", span);
        }
        let x = operands.iter().map(|&o| self.owned_value(o, span)).collect::<Option<Vec<_>>>()?;
        let clear = match op {
            TensorOp::Add => self.client.push(ClearOp::Add(x[0], x[1])),
            TensorOp::Sub => self.client.push(ClearOp::Sub(x[0], x[1])),
            TensorOp::Mul => self.client.push(ClearOp::Mul(x[0], x[1])),
            TensorOp::Scale(c) => self.client.scaled(x[0], *c),
            TensorOp::Rate(rate) => {
                let rate = self.client.rate(rate);
                self.client.push(ClearOp::Mul(x[0], rate))
            }
            TensorOp::Expand(ties) => self.client.push(ClearOp::Expand { x: x[0], ties: *ties }),
            TensorOp::Collect(ties) => self.client.push(ClearOp::Collect { x: x[0], ties: *ties }),
            TensorOp::Repeat => {
                let Shape::Vector(dim) = self.graph.shape(id) else { return None };
                let ties = self.runs(operands[0], dim)?;
                self.client.push(ClearOp::Expand { x: x[0], ties })
            }
            TensorOp::SumRuns => {
                let Shape::Vector(dim) = self.graph.shape(operands[0]) else { return None };
                let ties = self.runs(id, dim)?;
                self.client.push(ClearOp::Collect { x: x[0], ties })
            }
            TensorOp::AdamStep(step) => self.client.adam(step, [x[0], x[1], x[2]], span),
            _ => return self.unsupported("this operation on what an optimiser computed", span),
        };
        Some(Value::Owned(clear))
    }

    /// How a vector stands in one of `dim` elements that repeats each of its own.
    fn runs(&self, vector: Id, dim: usize) -> Option<Ties> {
        match self.graph.shape(vector) {
            Shape::Vector(own) => dim.checked_div(own).map(Ties::Runs),
            Shape::Matrix(..) | Shape::Sample(_) => None,
        }
    }

    fn owned_value(&mut self, id: Id, span: Span) -> Option<ClearId> {
        let form = match self.value_of(id)? {
            Value::Owned(clear) => return Some(clear),
            Value::Form(form) => form,
            _ => {
                self.unsupported("this use of a value in an optimiser", span);
                return None;
            }
        };
        self.owned_form(&form, &self.graph.shape(id).extents(), span)
    }

    /// The same of a linear form: each gradient comes back once, whatever it enters.
    pub(super) fn owned_form(&mut self, form: &Form, shape: &[usize], span: Span) -> Option<ClearId> {
        let mut sum = (!form.states.is_empty()).then(|| self.combination(&form.states));
        for (&(gradient, rate), &c) in &form.gradients {
            let alone = Form { gradients: [((gradient, None), 1.0)].into(), ..Form::default() };
            let clear = self.refreshed(&alone, shape, span)?;
            let mut part = self.client.scaled(clear, c);
            if let Some(rate) = rate {
                let rate = self.client.rate(&self.rates[rate]);
                part = self.client.push(ClearOp::Mul(part, rate));
            }
            sum = Some(sum.map_or(part, |sum| self.client.push(ClearOp::Add(sum, part))));
        }
        Some(match sum {
            None => self.client.push(ClearOp::Number(form.constant)),
            Some(sum) if form.constant == 0.0 => sum,
            Some(sum) => self.client.push(ClearOp::Affine { x: sum, factor: 1.0, offset: form.constant }),
        })
    }

    fn leaf(&mut self, id: Id, gradient: Gradient) -> Value {
        self.gradients.insert(id, gradient);
        Value::Form(Form { gradients: [((id, None), 1.0)].into(), ..Form::default() })
    }

    /// Σ over the groups of δ xᵀ, one ciphertext for each `every`-th diagonal; lanes are summed when the state is packed.
    fn outer(&mut self, delta: &Cts, x: &Cts, every: usize, span: Span) -> Gradient {
        let split = Split::stepped((delta.dim, x.dim), every, false);
        let lanes = (self.grid.lanes * every) as i64;
        let mut pieces = Vec::with_capacity(split.diagonals());
        for giant in 0..split.giants() {
            for baby in 0..split.baby {
                let pairs = (0..x.wires.len())
                    .map(|group| {
                        let d = self.circuit.rotate(delta.wires[group], -((giant * split.baby) as i64) * lanes, span);
                        let x = self.circuit.rotate(x.wires[group], baby as i64 * lanes, span);
                        (d, x)
                    })
                    .collect();
                let wire = self.circuit.push(Op::Dot(pairs), span);
                pieces.push((wire, split.layout(giant, baby, Lanes::One(0), DENSE)));
            }
        }
        Gradient { pieces, factor: delta.factor * x.factor }
    }

    fn sum_groups(&mut self, wires: &[WireId], span: Span) -> WireId {
        let mut sum = wires[0];
        for &wire in &wires[1..] {
            sum = self.circuit.push(Op::Add(sum, wire), span);
        }
        sum
    }
}

impl Form {
    /// Whether this update's gradients have no part in it.
    pub fn is_of_states(&self) -> bool {
        self.gradients.is_empty() && self.products.is_empty()
    }

    /// The state it is, if it is one as it stands.
    pub fn single(&self) -> Option<String> {
        let mut states = self.states.iter();
        match (states.next(), states.next()) {
            (Some(((name, None), &1.0)), None) if self.is_of_states() && self.constant == 0.0 => Some(name.clone()),
            _ => None,
        }
    }

    /// Every term times a learning rate; `None` if one has a rate already.
    pub fn rated(&self, rate: usize) -> Option<Self> {
        let unrated = self.constant == 0.0
            && self.states.keys().all(|(_, r)| r.is_none())
            && self.gradients.keys().chain(self.products.keys()).all(|(_, r)| r.is_none());
        unrated.then(|| Self {
            states: self.states.iter().map(|((name, _), &c)| ((name.clone(), Some(rate)), c)).collect(),
            gradients: self.gradients.iter().map(|((id, _), &c)| ((*id, Some(rate)), c)).collect(),
            products: self.products.iter().map(|((id, _), &c)| ((*id, Some(rate)), c)).collect(),
            constant: 0.0,
        })
    }

    /// self + c other.
    pub fn plus(&self, other: &Self, c: f64) -> Self {
        let mut sum = self.clone();
        for (name, k) in &other.states {
            *sum.states.entry(name.clone()).or_insert(0.0) += c * k;
        }
        for (id, k) in &other.gradients {
            *sum.gradients.entry(*id).or_insert(0.0) += c * k;
        }
        for (id, k) in &other.products {
            *sum.products.entry(*id).or_insert(0.0) += c * k;
        }
        sum.constant += c * other.constant;
        sum.states.retain(|_, k| *k != 0.0);
        sum.gradients.retain(|_, k| *k != 0.0);
        sum.products.retain(|_, k| *k != 0.0);
        sum
    }
}
