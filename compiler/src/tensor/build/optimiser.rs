//! `minimize`: gradients and one step of the optimiser.

use std::collections::BTreeSet;

use super::tracking::{self, Constants, States};
use super::{Builder, Failed, Minimized, NetKey, SCALE, SQUARE, Scaled, Trainable};
use crate::check::hir::{By, Expr, NetRef, Optimizer, OptimizerKind, Refresh, Schedule, Train, Trained};
use crate::tensor::graph::{AdamStep, Id, Op, Rate};
use crate::tensor::penalty::{Penalty, penalised};
use crate::tensor::{TensorError, autodiff};
use hecc_plan::{Span, State, StateInit};

/// What a `minimize` changes.
enum Trainee {
    /// A parameter of a network, by its local name.
    Parameter(NetKey, String),
    /// A number.
    Scalar(usize),
}

impl Builder<'_> {
    fn scalar(&self, key: NetKey) -> Option<&Id> {
        match key {
            NetKey::State(state) => self.scalars.get(&state),
            NetKey::Net(_) => None,
        }
    }

    pub(super) fn minimize(
        &mut self,
        train: &Train,
        loss: &Expr,
        over: &[Trained],
        optimizer: &Optimizer,
        span: Span,
    ) -> Result<(), Failed> {
        let loss_id = self.one(loss, Some(train))?;
        let loss_id = self.as_vector(loss_id, loss.span)?;
        let mut wanted: Vec<(String, Trainee, Id)> = Vec::new();
        for trained in over {
            let (key, name, net) = match trained {
                Trained::Net(net) => (NetKey::Net(net.0), self.program.nets[net.0].name.clone(), NetRef::Net(*net)),
                Trained::State(state) => (NetKey::State(state.0), train.body.states[state.0].name.clone(), NetRef::State(*state)),
            };
            self.settled(net, span)?;
            if let (NetKey::State(state), Some(&scalar)) = (key, self.scalar(key)) {
                wanted.push((name, Trainee::Scalar(state), scalar));
            } else if let Some(parameters) = self.current.get(&key) {
                let all = parameters.iter().map(|(local, &id)| (format!("{name}.{local}"), Trainee::Parameter(key, local.clone()), id));
                wanted.extend(all);
            }
        }
        let ids: Vec<Id> = wanted.iter().map(|w| w.2).collect();
        let penalty = Penalty { settings: &train.settings, client: &self.program.secure.client, padded: self.padded };
        let loss_id = penalised(&mut self.graph, loss_id, &ids, &penalty);
        let gradients = match autodiff::gradients(&mut self.graph, loss_id, &ids) {
            Ok(gradients) => gradients,
            Err(error) => return self.fail(error),
        };
        let trained = wanted.iter().filter_map(|(name, _, value)| {
            let gradient = *gradients.get(value)?;
            Some(Trainable { name: name.clone(), value: *value, gradient })
        });
        self.minimized.push(Minimized { loss: loss_id, parameters: trained.collect(), span });
        let mut missing = BTreeSet::new();
        for (name, trainee, weight) in wanted {
            let Some(&gradient) = gradients.get(&weight) else {
                let net = name.split('.').next().unwrap_or_default().to_owned();
                missing.insert(net);
                continue;
            };
            let updated = self.step(&name, weight, gradient, optimizer, train.settings.updates);
            match trainee {
                Trainee::Scalar(state) => {
                    self.scalars.insert(state, updated);
                }
                Trainee::Parameter(key, local) => {
                    if let Some(parameters) = self.current.get_mut(&key) {
                        parameters.insert(local, updated);
                    }
                }
            }
        }
        for net in missing {
            self.errors.push(TensorError::NoGradient { net, span });
        }
        Ok(())
    }

    /// One step of the optimiser on one parameter, as PyTorch has it.
    fn step(&mut self, name: &str, weight: Id, gradient: Id, optimizer: &Optimizer, updates: usize) -> Id {
        let (shape, span) = (self.graph.shape(weight), optimizer.span);
        let constant = |lr: f64| Rate { from: lr, to: lr, cosine: false, updates };
        let rate = match optimizer.lr {
            Schedule::Constant(lr) => constant(lr),
            Schedule::Linear(from, to) => Rate { from, to, cosine: false, updates },
            Schedule::Cosine(from, to) => Rate { from, to, cosine: true, updates },
        };
        let direction = match optimizer.kind {
            OptimizerKind::Sgd => gradient,
            OptimizerKind::Momentum { beta } => self.moment(name, "momentum", beta, gradient, 1.0, span),
            OptimizerKind::Nesterov { beta } => {
                let new = self.moment(name, "momentum", beta, gradient, 1.0, span);
                let ahead = self.graph.push(Op::Scale(beta), &[new], shape, span);
                self.graph.push(Op::Add, &[gradient, ahead], shape, span)
            }
            OptimizerKind::Adam { beta1, beta2, eps } if self.program.secure.refresh != Refresh::Client => {
                self.tracked(name, gradient, (Some(beta1), beta2, eps), optimizer)
            }
            OptimizerKind::RmsProp { rho, eps } if self.program.secure.refresh != Refresh::Client => {
                self.tracked(name, gradient, (None, rho, eps), optimizer)
            }
            OptimizerKind::Adam { beta1, beta2, eps } => {
                let mean = self.moment(name, "mean", beta1, gradient, 1.0 - beta1, span);
                let square = self.graph.push(Op::Mul, &[gradient, gradient], shape, span);
                let square = self.moment(name, SQUARE, beta2, square, 1.0 - beta2, span);
                let step = AdamStep { rate, beta1, beta2, eps };
                return self.graph.push(Op::AdamStep(step), &[weight, mean, square], shape, span);
            }
            OptimizerKind::RmsProp { rho, eps } => {
                let square = self.graph.push(Op::Mul, &[gradient, gradient], shape, span);
                let square = self.moment(name, SQUARE, rho, square, 1.0 - rho, span);
                let step = AdamStep { rate, beta1: 0.0, beta2: 0.0, eps };
                return self.graph.push(Op::AdamStep(step), &[weight, gradient, square], shape, span);
            }
        };
        let op = if rate.from == rate.to { Op::Scale(rate.from) } else { Op::Rate(rate) };
        let scaled = self.graph.push(op, &[direction], shape, span);
        self.graph.push(Op::Sub, &[weight, scaled], shape, span)
    }

    /// The direction of a step whose scale ciphertexts track ([`tracking`]): the mean of gradients over their scale (LaProp;
    /// Ziyin, Wang and Ueda, 2020), which has one magnitude whatever theirs is, or their mean over it.
    fn tracked(&mut self, name: &str, gradient: Id, (beta1, beta2, eps): (Option<f64>, f64, f64), optimizer: &Optimizer) -> Id {
        let (span, pinned) = (optimizer.span, optimizer.tracking);
        let by = pinned.by.unwrap_or(By::LogAverage);
        let (lagged, normalised) = (pinned.lagged.unwrap_or(true), pinned.normalised.unwrap_or(true));
        let largest = pinned.largest.unwrap_or(1.0);
        let constants = Constants { beta2, eps: eps.max(LEAST_EPS), largest };
        let (scale, square) = (format!("{name}.{SCALE}"), format!("{name}.{SQUARE}"));
        let old = States {
            scale: self.standing(&scale, gradient, span),
            square: (by != By::LogAverage).then(|| self.standing(&square, gradient, span)),
        };
        let new = tracking::track(&mut self.graph, by, gradient, old, constants, span);
        let kept = [(scale, Some(new.scale), 1.0), (square, new.square, 0.0)];
        let mut first = false;
        for (state, value, start) in kept {
            if let Some(value) = value {
                first |= self.keep(&state, value, StateInit::Constant(start), span);
            }
        }
        if first {
            let minimize = self.minimized.len() - 1;
            self.scales.push(Scaled { name: name.to_owned(), minimize, gradient, by, constants, span });
        }
        let scale = if lagged { old.scale } else { new.scale };
        match beta1 {
            None => tracking::over_scale(&mut self.graph, gradient, scale, constants.eps, span),
            Some(beta1) if normalised => {
                let over = tracking::over_scale(&mut self.graph, gradient, scale, constants.eps, span);
                self.moment(name, "mean", beta1, over, 1.0 - beta1, span)
            }
            Some(beta1) => {
                // Over their largest, as the squares are, so that the mean has bits to speak of.
                let shape = self.graph.shape(gradient);
                let part = self.graph.push(Op::Scale(1.0 / largest), &[gradient], shape, span);
                let mean = self.moment(name, "mean", beta1, part, 1.0 - beta1, span);
                tracking::over_scale(&mut self.graph, mean, scale, constants.eps / largest, span)
            }
        }
    }

    /// A state of the optimiser's as it stands, of the shape of `like`.
    fn standing(&mut self, state: &str, like: Id, span: Span) -> Id {
        match self.momenta.get(state) {
            Some(&moved) => moved,
            None => self.graph.push(Op::State(state.to_owned()), &[], self.graph.shape(like), span),
        }
    }

    /// Its new value; declared if it is the first. Gives whether it is.
    fn keep(&mut self, state: &str, value: Id, init: StateInit, span: Span) -> bool {
        let first = self.momenta.insert(state.to_owned(), value).is_none();
        if first {
            // As its parameter's, which kernels of a convolution have four extents of.
            let own = self.states.iter().find(|other| state.strip_prefix(&other.name).is_some_and(|rest| rest.starts_with('.')));
            let shape = own.map_or_else(|| self.graph.shape(value).extents(), |own| own.shape.clone());
            self.states.push(State { name: state.to_owned(), shape, init, span });
        }
        first
    }

    /// A running sum of the optimiser's, `decay` of what it was and `gain` of what comes; a state that starts at 0.
    fn moment(&mut self, name: &str, suffix: &str, decay: f64, value: Id, gain: f64, span: Span) -> Id {
        let (state, shape) = (format!("{name}.{suffix}"), self.graph.shape(value));
        let old = self.standing(&state, value, span);
        let decayed = self.graph.push(Op::Scale(decay), &[old], shape, span);
        let gained = if gain == 1.0 { value } else { self.graph.push(Op::Scale(gain), &[value], shape, span) };
        let new = self.graph.push(Op::Add, &[decayed, gained], shape, span);
        self.keep(&state, new, StateInit::Constant(0.0), span);
        new
    }
}

/// The least ε of a scale that ciphertexts track: what is smaller drowns in their noise.
pub(crate) const LEAST_EPS: f64 = 1e-4;
