//! REINFORCE gradient inversion ("Your Room is not Private", Pan et al.): one policy gradient of one sample.
//!
//! J = -R log p(a) - α H(p) has the gradient R (p - e_a) + α p (log p + H) at the logits. The first dense layer gives its input,
//! the network the probabilities, and what is left after the entropy's part points to one action; its length is the return.

use hecc_compiler::inspection::{Rows, Weights};
use hecc_compiler::tensor::Data;

use super::form::Call;
use super::layers::{self, Stack};
use super::model::Model;
use super::qgi::{chosen, first_actions, options, stack_input};

/// What was read off one gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// The input of the first dense layer.
    pub input: Vec<f64>,
    /// The probabilities of the policy.
    pub probabilities: Vec<f64>,
    /// The action.
    pub action: usize,
    /// The reward, as the program sees it.
    pub reward: f64,
}

/// The attack on one loss of a program.
#[derive(Clone, Debug)]
pub struct Rgi<'a> {
    model: &'a Model,
    call: &'a Call,
    stack: Stack<'a>,
    law: Law,
}

/// The gradient at the logits is (slope r + offset) (p - e_a) + entropy p (log p + H).
#[derive(Clone, Copy, Debug)]
struct Law {
    slope: f64,
    offset: f64,
    entropy: f64,
}

/// Errors of a fit that are rounding.
const EXACT: f64 = 1e-6;

impl<'a> Rgi<'a> {
    /// Prepares the attack on loss number `loss`, whose form is that of a policy; `None` if the network does not give its input
    /// away, or puts out something else than logits.
    pub fn new(model: &'a Model, loss: usize, call: &'a Call) -> Option<Self> {
        let stack = Stack::of(&model.program().nets[call.net.0])?;
        if !stack.is_linear_at_the_end() {
            return None;
        }
        let law = calibrate(model, loss, &stack)?;
        Some(Self { model, call, stack, law })
    }

    /// The dense part of the network.
    pub fn stack(&self) -> &Stack<'a> {
        &self.stack
    }

    /// Reads a gradient.
    pub fn read(&self, gradient: &Weights) -> Option<Reading> {
        let input = self.stack.input(gradient)?;
        let probabilities = layers::softmax(&self.stack.output(&self.model.weights, input.clone())?);
        let entropy = pull(&probabilities);
        let rest: Vec<f64> = self.stack.error(gradient)?.iter().zip(&entropy).map(|(g, e)| g - self.law.entropy * e).collect();
        let size = norm(&rest);
        let range = self.model.program().env.reward_range;
        let fits = (0..probabilities.len()).map(|action| {
            let direction = towards(&probabilities, action);
            let length = dot(&rest, &direction) / dot(&direction, &direction);
            let left: Vec<f64> = rest.iter().zip(&direction).map(|(r, d)| r - length * d).collect();
            let reward = (length - self.law.offset) / self.law.slope;
            // With two actions, the other one with the reward negated explains as much: the declared range decides.
            let outside = reward < range.low - EXACT || reward > range.high + EXACT;
            let error = norm(&left) / size;
            ((if error < EXACT { 0.0 } else { error }, outside), action, reward)
        });
        let (_, action, reward) = fits.min_by(|a, b| a.0.0.total_cmp(&b.0.0).then(a.0.1.cmp(&b.0.1)))?;
        Some(Reading { input, probabilities, action, reward })
    }

    /// What a reading of one sample should have been.
    pub fn truth(&self, rows: &Rows) -> Option<Reading> {
        let input = stack_input(self.model, self.call, &self.stack, rows)?;
        let probabilities = layers::softmax(&self.stack.output(&self.model.weights, input.clone())?);
        let action = *chosen(rows.get(&Data::Action)?, probabilities.len()).first()?;
        Some(Reading { input, probabilities, action, reward: *rows.get(&Data::Reward)?.first()? })
    }
}

/// What the program does with a sample of zeros, two rewards and two actions: the attacker has it and can run it.
fn calibrate(model: &Model, loss: usize, stack: &Stack<'_>) -> Option<Law> {
    let options = options(model)?;
    let mut rows = model.blank();
    first_actions(&mut rows, options);
    let seen = |rows: &mut Rows, action: usize, reward: f64| {
        let actions = rows.get_mut(&Data::Action)?;
        actions.iter_mut().enumerate().for_each(|(i, a)| *a = f64::from(u8::from(i == action)));
        rows.insert(Data::Reward, vec![reward]);
        Some(model.gradient(loss, rows))
    };
    let (none, one, other) = (seen(&mut rows, 0, 0.0)?, seen(&mut rows, 0, 1.0)?, seen(&mut rows, 1, 0.0)?);
    // Of the two, one has a gradient that is not zero.
    let at = |gradient: &Weights| stack.error(gradient).map(<[f64]>::to_vec);
    let (g0, g1, g2) = (at(&none)?, at(&one)?, at(&other)?);
    let input = stack.input(if norm(&g0) > norm(&g1) { &none } else { &one })?;
    let p = layers::softmax(&stack.output(&model.weights, input)?);
    let direction = towards(&p, 0);
    let minus = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a - b).collect::<Vec<f64>>();
    let slope = dot(&minus(&g1, &g0), &direction) / dot(&direction, &direction);
    // (p - e_0) - (p - e_1) has a one where e_1 has it.
    let offset = minus(&g0, &g2)[1];
    let rest: Vec<f64> = g0.iter().zip(&direction).map(|(g, d)| g - offset * d).collect();
    let pull = pull(&p);
    let square = dot(&pull, &pull);
    // Even probabilities pull nowhere; then the entropy's weight does not matter here, but it may elsewhere.
    let entropy = if square > 1e-24 { dot(&rest, &pull) / square } else { 0.0 };
    Some(Law { slope, offset, entropy }).filter(|law| law.slope.is_finite() && law.slope != 0.0)
}

/// p - e_a.
fn towards(p: &[f64], action: usize) -> Vec<f64> {
    p.iter().enumerate().map(|(i, p)| p - f64::from(u8::from(i == action))).collect()
}

/// p (log p + H): where the negative entropy pulls the logits.
fn pull(p: &[f64]) -> Vec<f64> {
    let log = |p: f64| if p > 0.0 { libm::log(p) } else { 0.0 };
    let entropy: f64 = p.iter().map(|&p| -p * log(p)).sum();
    p.iter().map(|&p| p * (log(p) + entropy)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    libm::sqrt(dot(a, a))
}
