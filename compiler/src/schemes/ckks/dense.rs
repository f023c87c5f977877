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

use hecc_plan::{ClearId, ClearOp, Content, Lanes, Layout, Matrix, Op, Span, WireId};

use super::lower::{BiasSource, Cts, Form, Gradient, Lowering, Term, Value};
use crate::tensor::{Id, Op as TensorOp, Shape};

/// The diagonals of a padded matrix.
#[derive(Clone, Copy, Debug)]
struct Split {
    rows: usize,
    cols: usize,
    baby: usize,
}

impl Split {
    fn new(out: usize, inputs: usize, public: bool) -> Self {
        let (rows, cols) = (out.next_power_of_two(), inputs.next_power_of_two());
        let d = rows.min(cols);
        // A giant step of encrypted weights costs a relinearisation besides its rotation.
        let giant = if public { 1.0 } else { 2.2 };
        let cost = |baby: usize| baby as f64 + giant * (d / baby) as f64;
        let candidates = (0..=d.ilog2()).map(|e| 1usize << e);
        let baby = candidates.min_by(|&a, &b| cost(a).total_cmp(&cost(b))).unwrap_or(1);
        Self { rows, cols, baby }
    }

    fn diagonals(self) -> usize {
        self.rows.min(self.cols)
    }

    fn giants(self) -> usize {
        self.diagonals() / self.baby
    }

    fn layout(self, giant: usize, baby: usize, lanes: Lanes) -> Layout {
        let shift = giant * self.baby;
        Layout::Diagonal { diagonal: shift + baby, shift, rows: self.rows, cols: self.cols, lanes }
    }
}

/// The diagonals of an encrypted matrix `[out, in]`, giant step by giant step.
pub(super) fn diagonals(out: usize, inputs: usize, lanes: Lanes) -> Vec<Layout> {
    diagonals_of(Split::new(out, inputs, false), lanes)
}

fn diagonals_of(split: Split, lanes: Lanes) -> Vec<Layout> {
    (0..split.giants()).flat_map(|giant| (0..split.baby).map(move |baby| split.layout(giant, baby, lanes))).collect()
}

impl Lowering<'_> {
    /// W x, or Wᵀ x.
    pub(super) fn dense(
        &mut self,
        x: &Value,
        weight: &Form,
        (out, inputs): (usize, usize),
        forward: bool,
        wish: Option<f64>,
        span: Span,
    ) -> Option<Value> {
        let name = weight.single();
        if let Some(name) = &name
            && self.public.iter().any(|(n, _)| n == name)
        {
            if !forward {
                return self.unsupported("training a public network", span);
            }
            let x = self.natural(x, span)?;
            return Some(Value::Cts(self.public_dense(&x, name, (out, inputs), wish, span)));
        }
        let clear = if self.carries() { None } else { Some(self.client_form(weight, &[out, inputs], span)?) };
        let x = self.natural(x, span)?;
        let split = Split::new(out, inputs, false);
        // The ciphertexts hold `scale` times the weights: the first use decides, all others follow.
        let key = format!("{weight:?}");
        let scale = *self.weight_factors.entry(key).or_insert(x.factor / wish.unwrap_or(1.0));
        let mut diagonals: Vec<WireId> = Vec::with_capacity(split.diagonals());
        for (piece, layout) in diagonals_of(split, Lanes::All).into_iter().enumerate() {
            diagonals.push(match clear {
                Some(clear) => {
                    let round = self.client.round(clear);
                    self.circuit.input("weight", vec![Content { tensor: clear, layout, factor: scale }], round, span)
                }
                None => self.unpacked(weight, piece, scale, &[out, inputs], span)?,
            });
        }
        let diagonal = |giant: usize, baby: usize| diagonals[giant * split.baby + baby];
        let lanes = self.grid.lanes as i64;
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

    /// A public matrix: plaintext diagonals, hoisted by the library.
    fn public_dense(&mut self, x: &Cts, name: &str, (out, inputs): (usize, usize), wish: Option<f64>, span: Span) -> Cts {
        let split = Split::new(out, inputs, true);
        let scale = x.factor / wish.unwrap_or(1.0);
        let matrix = self.circuit.matrix(Matrix {
            name: name.to_owned(),
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
        Cts { wires, factor: x.factor / scale, dim: out, clean: out.is_power_of_two() }
    }

    /// A bias for every sample.
    pub(super) fn bias(&mut self, form: &Form, dim: usize, span: Span) -> Option<Value> {
        if let Some(name) = form.single()
            && self.public.iter().any(|(n, _)| *n == name)
        {
            return Some(Value::PublicBias { name, dim, scale: 1.0 });
        }
        let source =
            if self.carries() { BiasSource::Carried(form.clone()) } else { BiasSource::Client(self.client_form(form, &[dim], span)?) };
        Some(Value::Bias { source, dim, scale: 1.0 })
    }

    /// A parameter as the key owner sends it: computed from its carried states, or, where this update has changed it
    /// already, refreshed by an exchange.
    fn client_form(&mut self, form: &Form, shape: &[usize], span: Span) -> Option<ClearId> {
        if form.gradients.is_empty() { Some(self.combination(&form.states)) } else { self.refreshed(form, shape, span) }
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
        match op {
            TensorOp::State(name) => {
                let states = [((name.clone(), None), 1.0)].into();
                Some(Value::Form(Form { states, ..Form::default() }))
            }
            TensorOp::Add => Some(Value::Form(part(self, 0)?.plus(&part(self, 1)?, 1.0))),
            TensorOp::Sub => Some(Value::Form(part(self, 0)?.plus(&part(self, 1)?, -1.0))),
            TensorOp::Scale(c) => Some(Value::Form(Form::default().plus(&part(self, 0)?, *c))),
            TensorOp::Offset(c) if matches!(shape, Shape::Vector(_)) => {
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
                let gradient = self.outer(&delta, &x, span);
                Some(self.leaf(id, gradient))
            }
            TensorOp::SumBatch => {
                let x = self.value_of(operands[0])?;
                let x = self.natural(&x, span)?;
                let wire = self.sum_groups(&x.wires, span);
                let layout = Layout::Vector { period: x.period(), lanes: Lanes::One(0) };
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

    fn leaf(&mut self, id: Id, gradient: Gradient) -> Value {
        self.gradients.insert(id, gradient);
        Value::Form(Form { gradients: [((id, None), 1.0)].into(), ..Form::default() })
    }

    /// Σ over the groups of δ xᵀ, one ciphertext per diagonal; lanes are summed when the state is packed.
    fn outer(&mut self, delta: &Cts, x: &Cts, span: Span) -> Gradient {
        let split = Split::new(delta.dim, x.dim, false);
        let lanes = self.grid.lanes as i64;
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
                pieces.push((wire, split.layout(giant, baby, Lanes::One(0))));
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
    /// The state it is, if it is one as it stands.
    pub fn single(&self) -> Option<String> {
        let mut states = self.states.iter();
        match (states.next(), states.next()) {
            (Some(((name, None), &1.0)), None) if self.gradients.is_empty() && self.constant == 0.0 => Some(name.clone()),
            _ => None,
        }
    }

    /// Every term times a learning rate; `None` if one has a rate already.
    pub fn rated(&self, rate: usize) -> Option<Self> {
        let unrated =
            self.constant == 0.0 && self.states.keys().all(|(_, r)| r.is_none()) && self.gradients.keys().all(|(_, r)| r.is_none());
        unrated.then(|| Self {
            states: self.states.iter().map(|((name, _), &c)| ((name.clone(), Some(rate)), c)).collect(),
            gradients: self.gradients.iter().map(|((id, _), &c)| ((*id, Some(rate)), c)).collect(),
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
        sum.constant += c * other.constant;
        sum.states.retain(|_, k| *k != 0.0);
        sum.gradients.retain(|_, k| *k != 0.0);
        sum
    }
}
