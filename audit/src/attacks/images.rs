//! Images behind a gradient: stage 2 of QGI and RGI.
//!
//! The last bias says in which direction the output was pulled, so that J̃ = (∇b J)ᵀ F(x) has the gradient of the loss without its
//! form, its action or its target. Images are moved until the gradient of J̃ points where the one that was seen does, while their
//! total variation stays small. The slope of that by the pixels is d/dε ∇x J̃(x; w + ε v): two plain gradients, at w ± ε v.

use std::collections::BTreeMap;

use hecc_compiler::check::hir::{Binary, Expr, ExprKind, Reduce, Type, Value as Named};
use hecc_compiler::inspection::{Circuit, Rows, Weights};
use hecc_compiler::tensor::{Data, Graph, Id, Op, autodiff, build};
use hecc_runtime::session::random::normal;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::SeedableRng;

use super::form::{Call, Part, Piece};
use super::model::Model;

/// What is compared, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The direction of the error is known; 1 - cos; vectors known from stage 1. As published.
    Published,
    /// Vectors and images together, from noise.
    Joint,
    /// The gradient of the loss itself, whose target is unknown and guessed along.
    Objective,
    /// The mean square of the difference of gradients instead of the cosine.
    MeanSquare,
}

impl Way {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Way::Published => "as published",
            Way::Joint => "joint optimisation",
            Way::Objective => "gradient of the objective",
            Way::MeanSquare => "mean square",
        }
    }
}

/// How to look.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// What is compared.
    pub way: Way,
    /// Steps of Adam.
    pub steps: usize,
    /// Its first learning rate, which falls along half a cosine.
    pub rate: f64,
    /// Weight of the total variation at first; it falls to a hundredth.
    pub variation: f64,
    /// The seed of the first images.
    pub seed: u64,
}

impl Default for Search {
    fn default() -> Self {
        Self { way: Way::Published, steps: 800, rate: 0.05, variation: 0.02, seed: 0 }
    }
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// Observations as the body sees them, in [-1, 1].
    pub observations: BTreeMap<usize, Vec<f64>>,
    /// 1 - cos of the two gradients at the end.
    pub mismatch: f64,
}

/// The attack on the images of one loss.
#[derive(Clone, Debug)]
pub struct Images {
    batch: usize,
    /// Parameters whose gradients are compared.
    names: Vec<String>,
    /// What may move: data, with whether it is an image and its shape.
    moving: Vec<Moving>,
    weights: Weights,
    blank: Rows,
    direction: Surrogate,
    objective: Surrogate,
}

#[derive(Clone, Debug)]
struct Moving {
    data: Data,
    /// `[channels, height, width]` of an image.
    image: Option<[usize; 3]>,
    len: usize,
}

/// A number whose gradients are those of the loss, but for a factor.
#[derive(Clone, Debug)]
struct Surrogate {
    /// Of the parameters.
    parameters: Circuit,
    /// Of everything that may move.
    data: Circuit,
}

/// Relative size of the steps that differences of gradients are taken over.
const STEP: f64 = 1e-4;
/// Rounds off the corner of the total variation.
const CORNER: f64 = 1e-4;

impl Images {
    /// Prepares the attack on loss number `loss`, the loss of `call`; `None` where no image goes into it or something has no gradient.
    pub fn new(model: &Model, loss: usize, call: &Call) -> Option<Self> {
        let program = model.program();
        let mut moving = Vec::new();
        observations(&call.pieces, &mut moving);
        moving.sort_unstable();
        moving.dedup();
        let mut moving: Vec<Moving> = moving
            .into_iter()
            .map(|index| {
                let shape = &program.env.observations[index].shape;
                let image = <[usize; 3]>::try_from(shape.as_slice()).ok();
                Moving { data: Data::Observation { index, next: false }, image, len: shape.iter().product() }
            })
            .collect();
        if moving.iter().all(|m| m.image.is_none()) {
            return None;
        }
        let values = |expr: &Expr, kind: ExprKind, ty: Type| Expr { kind, ty, ..expr.clone() };
        let action = values(&call.expr, ExprKind::Value(Named::Action), call.expr.ty.clone());
        let reward = values(&call.expr, ExprKind::Value(Named::Reward), Type::Sample(1));
        let chosen = values(&call.expr, ExprKind::Dot(Box::new(call.expr.clone()), Box::new(action)), Type::Sample(1));
        let sum = |expr: Expr| values(&call.expr, ExprKind::Reduce(Reduce::SumBatch, Box::new(expr)), Type::Batch);
        let off = values(&call.expr, ExprKind::Binary(Binary::Sub, Box::new(chosen.clone()), Box::new(reward)), Type::Sample(1));
        let square = values(&call.expr, ExprKind::Pow(Box::new(off), 2), Type::Sample(1));
        let names: Vec<String> = model.trained(loss).to_vec();
        let direction = Surrogate::new(model, &sum(chosen), &names, &moving)?;
        moving.push(Moving { data: Data::Reward, image: None, len: 1 });
        let objective = Surrogate::new(model, &sum(square), &names, &moving)?;
        moving.pop();
        Some(Self {
            batch: model.inspection.batch(),
            names,
            moving,
            weights: model.weights.clone(),
            blank: model.blank(),
            direction,
            objective,
        })
    }

    /// Looks for the observations behind a gradient. `error`: the gradient of the last bias; `known`: vectors of stage 1.
    pub fn invert(&self, gradient: &Weights, error: &[f64], known: &BTreeMap<usize, Vec<f64>>, search: &Search) -> Option<Found> {
        let seen: Vec<&[f64]> = self.names.iter().map(|name| gradient.get(name).map(Vec::as_slice)).collect::<Option<_>>()?;
        let size = products(&seen, &seen)[0].sqrt();
        if !size.is_finite() || size == 0.0 {
            return None;
        }
        let mut rng = ChaCha20Rng::seed_from_u64(search.seed);
        let mut rows = self.blank.clone();
        let surrogate = if search.way == Way::Objective { &self.objective } else { &self.direction };
        let mut moving: Vec<Moving> = Vec::new();
        for m in &self.moving {
            let Data::Observation { index, .. } = m.data else { continue };
            match known.get(&index) {
                Some(value) if m.image.is_none() && search.way != Way::Joint => {
                    rows.insert(m.data.clone(), value.clone());
                }
                _ => {
                    // Images begin grey, with a little noise; vectors that are to be found, from noise.
                    let spread = if m.image.is_some() { 0.1 } else { 1.0 };
                    rows.insert(m.data.clone(), (0..m.len).map(|_| spread * normal(&mut rng)).collect());
                    moving.push(m.clone());
                }
            }
        }
        if search.way == Way::Objective {
            // The action is known; the target is a number that nobody told.
            let action = (0..error.len()).fold(0, |best, i| if error[i].abs() > error[best].abs() { i } else { best });
            rows.insert(Data::Action, (0..error.len()).map(|i| f64::from(u8::from(i == action))).collect());
            rows.insert(Data::Reward, vec![normal(&mut rng)]);
            moving.push(Moving { data: Data::Reward, image: None, len: 1 });
        } else {
            rows.insert(Data::Action, error.to_vec());
        }
        let parameters: Vec<&[f64]> = self.names.iter().map(|name| self.weights[name].as_slice()).collect();
        let length = products(&parameters, &parameters)[0].sqrt();
        let mut moved = [self.weights.clone(), self.weights.clone()];
        let mut adam: Vec<Adam> = moving.iter().map(|m| Adam::new(m.len)).collect();
        let mut mismatch = f64::INFINITY;
        for step in 0..=search.steps {
            let own = surrogate.parameters.values(self.batch, &rows, &self.weights);
            let [square, inner] = products(&own, &seen);
            let own_size = square.sqrt();
            let cos = inner / (own_size * size);
            mismatch = 1.0 - cos;
            if step == search.steps || !mismatch.is_finite() {
                break;
            }
            // The slope of the distance by the gradient is `of_own` times the own gradient and `of_seen` times the one that was seen.
            let (of_own, of_seen) = match search.way {
                Way::MeanSquare => (2.0 / (size * size), -2.0 / (size * size)),
                _ => (cos / square, -1.0 / (size * own_size)),
            };
            // Where the two are as good as alike, what is left of the difference is rounding.
            let parts = (of_own * own_size, of_seen * size);
            let squares = parts.0 * parts.0 + parts.1 * parts.1;
            let toward = (squares + 2.0 * parts.0 * parts.1 * cos).max(1e-14 * squares).sqrt();
            let by = STEP * length.max(1.0) / toward.max(f64::MIN_POSITIVE);
            self.shift(&own, &seen, (by * of_own, by * of_seen), &mut moved);
            let slopes = self.slopes(surrogate, &rows, &moved, by);
            let part = step as f64 / search.steps as f64;
            let rate = search.rate * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * part));
            let variation = search.variation * libm::pow(0.01, part);
            for (m, adam) in moving.iter().zip(&mut adam) {
                let (Some(at), Some(mut slope)) = (rows.get_mut(&m.data), slopes.get(&m.data).cloned()) else { continue };
                if let Some(shape) = m.image {
                    add_variation(at, shape, variation, &mut slope);
                }
                adam.step(at, &slope, rate);
                if m.data != Data::Reward {
                    at.iter_mut().for_each(|x| *x = x.clamp(-1.0, 1.0));
                }
            }
        }
        let found = self.moving.iter().filter_map(|m| match m.data {
            Data::Observation { index, .. } => Some((index, rows.get(&m.data)?.clone())),
            _ => None,
        });
        Some(Found { observations: found.collect(), mismatch })
    }

    /// Writes the weights moved by some of both gradients ahead, and as far behind.
    fn shift(&self, own: &[Vec<f64>], seen: &[&[f64]], (of_own, of_seen): (f64, f64), [ahead, behind]: &mut [Weights; 2]) {
        for (name, (own, seen)) in self.names.iter().zip(own.iter().zip(seen)) {
            let (Some(ahead), Some(behind)) = (ahead.get_mut(name), behind.get_mut(name)) else { continue };
            let ends = ahead.iter_mut().zip(behind);
            for ((w, (own, seen)), (ahead, behind)) in self.weights[name].iter().zip(own.iter().zip(*seen)).zip(ends) {
                let by = of_own * own + of_seen * seen;
                *ahead = w + by;
                *behind = w - by;
            }
        }
    }

    /// The slope of the distance by everything that may move: of weights moved `by` times the distance's slope by the gradient.
    fn slopes(&self, surrogate: &Surrogate, rows: &Rows, [ahead, behind]: &[Weights; 2], by: f64) -> BTreeMap<Data, Vec<f64>> {
        let of = |weights: &Weights| surrogate.data.values(self.batch, rows, weights);
        let difference = |(a, b): (Vec<f64>, Vec<f64>)| a.iter().zip(&b).map(|(a, b)| (a - b) / (2.0 * by)).collect();
        let mut data: Vec<Data> = self.moving.iter().map(|m| m.data.clone()).collect();
        data.push(Data::Reward);
        data.into_iter().zip(of(ahead).into_iter().zip(of(behind)).map(difference)).collect()
    }
}

impl Surrogate {
    fn new(model: &Model, number: &Expr, names: &[String], moving: &[Moving]) -> Option<Self> {
        let scalar = build::scalar(model.program(), number).ok()?;
        let mut graph = scalar.graph;
        let parameters: Vec<Id> = names.iter().map(|name| scalar.parameters.get(name).copied()).collect::<Option<_>>()?;
        let of = |graph: &Graph, data: &Data| -> Vec<Id> {
            graph.ids().filter(|id| matches!(&graph.node(*id).op, Op::Data(found) if found == data)).collect()
        };
        let nodes: Vec<Vec<Id>> = moving.iter().map(|m| of(&graph, &m.data)).collect();
        let wanted: Vec<Id> = parameters.iter().chain(nodes.iter().flatten()).copied().collect();
        let found = autodiff::gradients(&mut graph, scalar.value, &wanted).ok()?;
        let own: Vec<Id> = parameters.iter().map(|id| found.get(id).copied()).collect::<Option<_>>()?;
        // A value that is used twice has two nodes.
        let mut sums = Vec::new();
        for nodes in &nodes {
            let parts: Vec<Id> = nodes.iter().filter_map(|id| found.get(id).copied()).collect();
            let mut sum = *parts.first()?;
            for part in &parts[1..] {
                sum = graph.push(Op::Add, &[sum, *part], graph.shape(sum), graph.node(sum).span);
            }
            sums.push(sum);
        }
        Some(Self { parameters: Circuit::new(&graph, &own), data: Circuit::new(&graph, &sums) })
    }
}

/// The observations that go into a network.
fn observations(pieces: &[Piece], found: &mut Vec<usize>) {
    for piece in pieces {
        match &piece.part {
            Part::Observation(index) => found.push(*index),
            Part::Embedded(_, inner) => observations(inner, found),
            Part::Feature(_) | Part::Action | Part::Other => {}
        }
    }
}

/// Adds the slope of `weight` times the mean total variation of an image.
fn add_variation(image: &[f64], [channels, height, width]: [usize; 3], weight: f64, slope: &mut [f64]) {
    let weight = weight / (channels * height * width) as f64;
    let mut between = |a: usize, b: usize| {
        let d = image[b] - image[a];
        let pull = weight * d / libm::sqrt(d * d + CORNER);
        slope[b] += pull;
        slope[a] -= pull;
    };
    for row in 0..channels * height {
        for x in 0..width {
            let at = row * width + x;
            if x + 1 < width {
                between(at, at + 1);
            }
            if (row + 1) % height != 0 {
                between(at, at + width);
            }
        }
    }
}

/// Adam (Kingma and Ba, 2015) on one array.
struct Adam {
    mean: Vec<f64>,
    square: Vec<f64>,
    steps: i32,
}

impl Adam {
    fn new(len: usize) -> Self {
        Self { mean: vec![0.0; len], square: vec![0.0; len], steps: 0 }
    }

    fn step(&mut self, at: &mut [f64], slope: &[f64], rate: f64) {
        const BETAS: (f64, f64) = (0.9, 0.999);
        self.steps += 1;
        let (first, second) = (1.0 - BETAS.0.powi(self.steps), 1.0 - BETAS.1.powi(self.steps));
        for (((x, g), m), v) in at.iter_mut().zip(slope).zip(&mut self.mean).zip(&mut self.square) {
            *m = BETAS.0 * *m + (1.0 - BETAS.0) * g;
            *v = BETAS.1 * *v + (1.0 - BETAS.1) * g * g;
            *x -= rate * (*m / first) / ((*v / second).sqrt() + 1e-12);
        }
    }
}

/// Of two vectors in parts: the first one's square and their product, in eight sums each that do not wait for each other.
fn products(a: &[impl AsRef<[f64]>], b: &[impl AsRef<[f64]>]) -> [f64; 2] {
    let mut sums = [[0.0; 8]; 2];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a.as_ref().chunks_exact(8), b.as_ref().chunks_exact(8));
        for (a, b) in a.remainder().iter().zip(b.remainder()) {
            sums[0][0] += a * a;
            sums[1][0] += a * b;
        }
        for (a, b) in a.zip(b) {
            for i in 0..8 {
                sums[0][i] += a[i] * a[i];
                sums[1][i] += a[i] * b[i];
            }
        }
    }
    sums.map(|sums| sums.iter().sum())
}
