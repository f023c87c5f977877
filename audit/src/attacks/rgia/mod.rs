//! Regularised gradient inversion ("Gradient Inversion in Federated Reinforcement Learning"): transitions that explain a gradient
//! of learning by temporal differences, and obey the dynamics of the environment.
//!
//! Such a gradient depends on reward and next state only through one number per transition, so that many wrong transitions explain
//! it exactly. The dynamics leave one of them.

pub mod dynamics;
mod solve;

use std::collections::BTreeMap;

use hecc_compiler::check::hir::{ActionKind, Observation, Program, Range};
use hecc_compiler::inspection::{Rows, Weights};
use hecc_compiler::tensor::Data;
use hecc_plan::{Tensor, Tensors};
use hecc_runtime::session::random::{below, uniform};
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::model::Model;
use dynamics::Dynamics;

/// How hard to look.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Starts at most; the search ends at the first that explains everything.
    pub starts: usize,
    /// Evaluations of each, in units of the number of unknowns.
    pub patience: usize,
    /// The seed of the starts.
    pub seed: u64,
}

impl Default for Effort {
    fn default() -> Self {
        Self { starts: 12, patience: 60, seed: 0 }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Reconstruction {
    /// Arrays by name, in the environment's units.
    pub arrays: Tensors,
    /// How far their gradient is from the one that was seen, relative to it.
    pub mismatch: f64,
}

/// One unknown array.
#[derive(Clone, Debug)]
struct Field {
    name: String,
    /// Low end and half the width of each element, in the environment's units.
    scale: Vec<(f64, f64)>,
    kind: Kind,
}

/// What is known of the values of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    /// They are in their ranges.
    Bounded,
    /// Nothing: noise.
    Free,
    /// Of every so many elements, one is 1 and the others are 0.
    Choices(usize),
}

/// The attack on one loss of a program, for the model's batch.
pub struct Rgia<'a> {
    model: &'a Model,
    loss: usize,
    fields: Vec<Field>,
    dynamics: Option<&'a dyn Dynamics>,
    /// The gradient does not depend on the action, so that dynamics and reward alone tell it.
    silent: bool,
}

/// How much the prior on what is plausible counts against the gradient.
const BOUNDS: f64 = 1e-2;
/// How much it counts that an action is one of several.
const CHOICES: f64 = 1.0;
/// How much the dynamics count.
const DYNAMICS: f64 = 1.0;

impl<'a> Rgia<'a> {
    /// Prepares the attack; without `dynamics` nothing but the gradient and plausible ranges speak.
    pub fn new(model: &'a Model, loss: usize, dynamics: Option<&'a dyn Dynamics>) -> Self {
        let sources = model.sources(loss);
        let fields = fields(model.program(), &sources, dynamics.is_some());
        Self { model, loss, fields, dynamics, silent: !sources.contains_key(&Data::Action) }
    }

    /// Numbers to find.
    pub fn unknowns(&self) -> usize {
        self.model.inspection.batch() * self.width()
    }

    fn width(&self) -> usize {
        self.fields.iter().map(|field| field.scale.len()).sum()
    }

    /// Looks for the transitions behind a gradient.
    pub fn invert(&self, gradient: &Weights, effort: &Effort) -> Option<Reconstruction> {
        let seen: Vec<f64> =
            self.model.trained(self.loss).iter().flat_map(|name| gradient.get(name).cloned().unwrap_or_default()).collect();
        let size = libm::sqrt(seen.iter().map(|g| g * g).sum());
        if !size.is_finite() || size == 0.0 {
            return None;
        }
        let mut rng = ChaCha20Rng::seed_from_u64(effort.seed);
        let residuals = |u: &[f64]| self.residuals(u, &seen, size, self.dynamics);
        let alone = |u: &[f64]| self.residuals(u, &seen, size, None);
        let mut best: Option<(f64, Vec<f64>)> = None;
        for number in 0..effort.starts {
            let mut start = self.start(&mut rng);
            // Every other search begins where the gradient alone leads: far from the transitions that a surrogate of the dynamics was
            // learned from, it only confuses.
            if self.dynamics.is_some() && number % 2 == 0 {
                start = solve::least_squares(&alone, start.clone(), effort.patience).map_or(start, |(found, _)| found);
                self.lead(&mut start);
            }
            let Some((found, left)) = solve::least_squares(&residuals, start, effort.patience) else { continue };
            if best.as_ref().is_none_or(|(least, _)| left < *least) {
                best = Some((left, found));
            }
            if best.as_ref().is_some_and(|(least, _)| *least < 1e-10) {
                break;
            }
        }
        let (_, u) = best?;
        let mismatch = self.mismatch(&u, &seen, size)?;
        Some(Reconstruction { arrays: self.arrays(&u), mismatch })
    }

    /// Somewhere in the declared box; where the dynamics lead, if they are known.
    fn start(&self, rng: &mut ChaCha20Rng) -> Vec<f64> {
        let mut u: Vec<f64> = (0..self.unknowns()).map(|_| 1.6 * uniform(rng) - 0.8).collect();
        for row in u.chunks_mut(self.width()) {
            if self.silent {
                self.choose(row, rng);
            }
        }
        self.lead(&mut u);
        u
    }

    /// Moves what the dynamics tell to where they lead.
    fn lead(&self, u: &mut [f64]) {
        let Some(dynamics) = self.dynamics else { return };
        for row in u.chunks_mut(self.width()) {
            for (at, value) in self.led(row, dynamics).unwrap_or_default() {
                row[at] = value;
            }
        }
    }

    /// Makes a random choice where an action is one.
    fn choose(&self, row: &mut [f64], rng: &mut ChaCha20Rng) {
        let mut at = 0;
        for field in &self.fields {
            if let Kind::Choices(k) = field.kind {
                for choice in row[at..at + field.scale.len()].chunks_mut(k) {
                    choice.fill(-1.0);
                    choice[below(rng, k)] = 1.0;
                }
            }
            at += field.scale.len();
        }
    }

    /// Where the dynamics lead: elements of the unknowns of one transition and their values. A reward's law that
    /// was learned is less sure than the gradient: it counts where that does not tell the action.
    fn led(&self, row: &[f64], dynamics: &dyn Dynamics) -> Option<Vec<(usize, f64)>> {
        let env = &self.model.program().env;
        let state = self.of(row, |name| !name.ends_with("_next") && self.is_observation(name));
        let action = self.of(row, |name| name == env.action.name);
        let mut next = dynamics.next(&state, &action)?.into_iter();
        let (mut led, mut at) = (Vec::new(), 0);
        for field in &self.fields {
            for (low, half) in &field.scale {
                let value = match field.name.as_str() {
                    name if name.ends_with("_next") => Some(next.next()?),
                    name if name == env.reward && (self.silent || dynamics.is_exact()) => dynamics.reward(&state, &action),
                    _ => None,
                };
                led.extend(value.map(|value| (at, (value - low) / half - 1.0)));
                at += 1;
            }
        }
        Some(led)
    }

    fn is_observation(&self, name: &str) -> bool {
        self.model.program().env.observations.iter().any(|o| o.name == name)
    }

    /// Values of some fields of one transition, in the environment's units.
    fn of(&self, row: &[f64], wanted: impl Fn(&str) -> bool) -> Vec<f64> {
        let (mut values, mut at) = (Vec::new(), 0);
        for field in &self.fields {
            let len = field.scale.len();
            if wanted(&field.name) {
                values.extend(field.scale.iter().zip(&row[at..at + len]).map(|((low, half), u)| low + (u + 1.0) * half));
            }
            at += len;
        }
        values
    }

    fn arrays(&self, u: &[f64]) -> Tensors {
        let batch = self.model.inspection.batch();
        let mut arrays = Tensors::new();
        for field in &self.fields {
            let data: Vec<f64> = u.chunks(self.width()).flat_map(|row| self.of(row, |name| name == field.name)).collect();
            let shape = if field.scale.len() == 1 && !self.is_vector(&field.name) { vec![batch] } else { vec![batch, field.scale.len()] };
            arrays.insert(field.name.clone(), Tensor::new(shape, data));
        }
        arrays.insert("done".to_owned(), Tensor::zeros(&[batch]));
        // What the loss does not look at has to be there all the same.
        for observation in &self.model.program().env.observations {
            for suffix in ["", "_next"] {
                let shape = [&[batch], observation.shape.as_slice()].concat();
                arrays.entry(format!("{}{suffix}", observation.name)).or_insert_with(|| Tensor::zeros(&shape));
            }
        }
        let env = &self.model.program().env;
        arrays.entry(env.reward.clone()).or_insert_with(|| Tensor::zeros(&[batch]));
        let width = hecc_runtime::env::width(&self.model.inspection.training.env.action.1);
        arrays.entry(env.action.name.clone()).or_insert_with(|| Tensor::zeros(&[batch, width]));
        crate::samples::add_noise(&self.model.inspection, &mut arrays, batch, 0);
        arrays
    }

    fn is_vector(&self, name: &str) -> bool {
        name != self.model.program().env.reward
    }

    fn rows(&self, u: &[f64]) -> Option<Rows> {
        self.model.inspection.rows(&self.arrays(u)).ok()
    }

    fn difference(&self, u: &[f64], seen: &[f64], size: f64) -> Option<Vec<f64>> {
        let gradient = self.model.gradient(self.loss, &self.rows(u)?);
        let own = self.model.trained(self.loss).iter().flat_map(|name| &gradient[name]);
        Some(own.zip(seen).map(|(own, seen)| (own - seen) / size).collect())
    }

    fn mismatch(&self, u: &[f64], seen: &[f64], size: f64) -> Option<f64> {
        Some(libm::sqrt(self.difference(u, seen, size)?.iter().map(|d| d * d).sum()))
    }

    /// How far a transition is from what its ranges allow.
    fn implausible(&self, row: &[f64], residuals: &mut Vec<f64>) {
        let mut rest = row;
        for field in &self.fields {
            let (own, others) = rest.split_at(field.scale.len());
            match field.kind {
                Kind::Bounded => residuals.extend(own.iter().map(|u| BOUNDS * (u.abs() - 1.0).max(0.0))),
                Kind::Free => {}
                Kind::Choices(k) => {
                    for choice in own.chunks(k) {
                        let weights = || choice.iter().map(|u| (u + 1.0) / 2.0);
                        residuals.push(CHOICES * (weights().sum::<f64>() - 1.0));
                        residuals.extend(weights().map(|w| CHOICES * w * (1.0 - w)));
                    }
                }
            }
            rest = others;
        }
    }

    fn residuals(&self, u: &[f64], seen: &[f64], size: f64, dynamics: Option<&dyn Dynamics>) -> Option<Vec<f64>> {
        let mut residuals = self.difference(u, seen, size)?;
        for row in u.chunks(self.width()) {
            self.implausible(row, &mut residuals);
            if let Some(dynamics) = dynamics {
                residuals.extend(self.led(row, dynamics)?.into_iter().map(|(at, value)| DYNAMICS * (row[at] - value)));
                let state = self.of(row, |name| !name.ends_with("_next") && self.is_observation(name));
                residuals.extend(dynamics.off(&state).into_iter().map(|off| DYNAMICS * off));
            }
        }
        residuals.iter().all(|r| r.is_finite()).then_some(residuals)
    }
}

/// What a gradient of these sources leaves unknown; with `dynamics`, the action too, on which the next state depends.
fn fields(program: &Program, sources: &BTreeMap<Data, usize>, dynamics: bool) -> Vec<Field> {
    let env = &program.env;
    let uses = |wanted: bool| {
        sources.keys().any(|data| matches!(data, Data::Observation { next, .. } | Data::Feature { next, .. } if *next == wanted))
    };
    let scale = |ranges: &[Range]| ranges.iter().map(|r| (r.low, (r.high - r.low) / 2.0)).collect::<Vec<_>>();
    let observed = |suffix: &'static str| {
        let field = move |o: &Observation| Field { name: format!("{}{suffix}", o.name), scale: scale(&o.ranges), kind: Kind::Bounded };
        env.observations.iter().map(field).collect::<Vec<_>>()
    };
    let mut fields = Vec::new();
    if uses(false) {
        fields.extend(observed(""));
    }
    if sources.contains_key(&Data::Action) || dynamics && uses(true) {
        let (scale, kind) = match &env.action.kind {
            ActionKind::Continuous { ranges, .. } => (scale(ranges), Kind::Bounded),
            ActionKind::Discrete { k } => (vec![(0.0, 0.5); *k], Kind::Choices(*k)),
            ActionKind::MultiDiscrete { n, k } => (vec![(0.0, 0.5); n * k], Kind::Choices(*k)),
        };
        fields.push(Field { name: env.action.name.clone(), scale, kind });
    }
    if sources.contains_key(&Data::Reward) {
        // The declared range is that of what the client makes of the reward.
        let kind = if env.recode.is_some() { Kind::Free } else { Kind::Bounded };
        fields.push(Field { name: env.reward.clone(), scale: scale(&[env.reward_range]), kind });
    }
    if uses(true) {
        fields.extend(observed("_next"));
    }
    for (data, dim) in sources {
        if let Data::Noise(name) = data {
            fields.push(Field { name: name.clone(), scale: vec![(-1.0, 1.0); *dim], kind: Kind::Free });
        }
    }
    fields
}
