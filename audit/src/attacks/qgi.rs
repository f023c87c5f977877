//! Q-value gradient inversion ("Your Room is not Private", Pan et al.): one gradient of value-based learning on one sample.
//!
//! The last bias says which action was taken and by how much its value was off; the first dense layer gives its input in closed
//! form; the network's own values follow, and with them the target of learning. Images come after that: [`super::images`].

use hecc_compiler::check::hir::ActionKind;
use hecc_compiler::inspection::{Rows, Weights};
use hecc_compiler::tensor::Data;

use super::form::{Call, Part, Piece};
use super::layers::{self, Stack};
use super::model::Model;

/// What was read off one gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The input of the first dense layer.
    pub input: Vec<f64>,
    /// The action, choice by choice.
    pub actions: Vec<usize>,
    /// The network's value of it.
    pub predicted: f64,
    /// The target of learning; `None` where the loss has none that depends on the reward.
    pub target: Option<f64>,
}

/// The attack on one loss of a program.
#[derive(Clone, Debug)]
pub struct Qgi<'a> {
    model: &'a Model,
    call: &'a Call,
    stack: Stack<'a>,
    /// How many options each choice has.
    options: usize,
    /// How the target moves with the gradient of the last bias, at a slope of 1 behind it.
    moves: Option<f64>,
}

impl<'a> Qgi<'a> {
    /// Prepares the attack on loss number `loss`, whose form is that of values; `None` if the network does not give its input away.
    pub fn new(model: &'a Model, loss: usize, call: &'a Call) -> Option<Self> {
        let stack = Stack::of(&model.program().nets[call.net.0])?;
        let options = options(model)?;
        let attack = Self { model, call, stack, options, moves: None };
        let moves = attack.calibrate(loss);
        Some(Self { moves, ..attack })
    }

    /// The dense part of the network.
    pub fn stack(&self) -> &Stack<'a> {
        &self.stack
    }

    /// What the program does with a sample of zeros and two rewards: the attacker has it and can run it.
    fn calibrate(&self, loss: usize) -> Option<f64> {
        let mut rows = self.model.blank();
        first_actions(&mut rows, self.options);
        let mut seen = [0.0, 1.0].map(|reward| {
            rows.insert(Data::Reward, vec![reward]);
            let gradient = self.model.gradient(loss, &rows);
            (self.model.value(loss, &rows).target, gradient)
        });
        let of =
            |(target, gradient): &(Option<Vec<f64>>, Weights)| Some((*target.as_ref()?.first()?, *self.stack.error(gradient)?.first()?));
        let ((y0, g0), (y1, g1)) = (of(&seen[0])?, of(&seen[1])?);
        // Of the two, one has a gradient that is not zero.
        let loud = usize::from(g1.abs() > g0.abs());
        let input = self.stack.input(&std::mem::take(&mut seen[loud].1))?;
        let slope = *self.stack.slopes(&self.model.weights, input)?.first()?;
        Some((y1 - y0) / (g1 - g0) * slope).filter(|moves| moves.is_finite())
    }

    /// Reads a gradient.
    pub fn read(&self, gradient: &Weights) -> Option<Reading> {
        let error = self.stack.error(gradient)?;
        let input = self.stack.input(gradient)?;
        let values = self.stack.output(&self.model.weights, input.clone())?;
        let slopes = self.stack.slopes(&self.model.weights, input.clone())?;
        let actions = chosen(error, self.options);
        let at = |choice: usize| choice * self.options + actions[choice];
        let predicted = (0..actions.len()).map(|choice| values[at(choice)]).sum();
        let target = self.moves.map(|moves| predicted + error[at(0)] / slopes[at(0)] * moves);
        Some(Reading { input, actions, predicted, target })
    }

    /// What a reading of one sample should have been.
    pub fn truth(&self, loss: usize, rows: &Rows) -> Option<Reading> {
        let input = stack_input(self.model, self.call, &self.stack, rows)?;
        let values = self.stack.output(&self.model.weights, input.clone())?;
        let actions = chosen(rows.get(&Data::Action)?, self.options);
        let predicted = actions.iter().enumerate().map(|(choice, action)| values[choice * self.options + action]).sum();
        let target = self.model.value(loss, rows).target.and_then(|target| target.first().copied());
        Some(Reading { input, actions, predicted, target })
    }
}

/// Options of each discrete choice.
pub(super) fn options(model: &Model) -> Option<usize> {
    match model.program().env.action.kind {
        ActionKind::Discrete { k } | ActionKind::MultiDiscrete { k, .. } => Some(k),
        ActionKind::Continuous { .. } => None,
    }
}

/// The option of each choice that stands out.
pub(super) fn chosen(values: &[f64], options: usize) -> Vec<usize> {
    let largest = |row: &[f64]| (0..row.len()).fold(0, |best, i| if row[i].abs() > row[best].abs() { i } else { best });
    values.chunks(options).map(largest).collect()
}

/// Makes every choice of a batch the first option.
pub(super) fn first_actions(rows: &mut Rows, options: usize) {
    if let Some(actions) = rows.get_mut(&Data::Action) {
        actions.chunks_mut(options).for_each(|choice| choice.iter_mut().enumerate().for_each(|(i, a)| *a = f64::from(u8::from(i == 0))));
    }
}

/// The input of a network on one sample, part by part.
pub fn net_input(model: &Model, pieces: &[Piece], rows: &Rows) -> Option<Vec<f64>> {
    let mut input = Vec::new();
    for piece in pieces {
        match &piece.part {
            Part::Observation(index) => input.extend(rows.get(&Data::Observation { index: *index, next: false })?),
            Part::Feature(index) => input.extend(rows.get(&Data::Feature { index: *index, next: false })?),
            Part::Action => input.extend(rows.get(&Data::Action)?),
            Part::Embedded(net, inner) => {
                let inner = net_input(model, inner, rows)?;
                input.extend(layers::apply(&model.program().nets[net.0], &model.weights, inner)?);
            }
            Part::Other => return None,
        }
    }
    Some(input)
}

/// The input of the first dense layer on one sample.
pub(super) fn stack_input(model: &Model, call: &Call, stack: &Stack<'_>, rows: &Rows) -> Option<Vec<f64>> {
    stack.front(&model.weights, net_input(model, &call.pieces, rows)?)
}
