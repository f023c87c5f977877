//! Where an action leads and what it earns: the environment's own law, or one that was learned from transitions anybody can gather.

use std::marker::PhantomData;

use hecc_runtime::env::{Action, Car, Cart, Dynamics as Law, Links, Rod};
use nalgebra::{DMatrix, DVector};

/// A law of motion, in the environment's units. A discrete action is a weight for each choice; between choices, the law is the mean of
/// where they lead, so that a search can move from one to the other.
pub trait Dynamics: Sync {
    /// The next observation.
    fn next(&self, state: &[f64], action: &[f64]) -> Option<Vec<f64>>;

    /// The reward, where the law has it.
    fn reward(&self, state: &[f64], action: &[f64]) -> Option<f64>;

    /// Whether it is the environment's own.
    fn is_exact(&self) -> bool {
        false
    }

    /// By how much an observation is none, such as a cosine and a sine that do not lie on the circle.
    fn off(&self, _state: &[f64]) -> Vec<f64> {
        Vec::new()
    }
}

/// The law of a built-in environment; `None` where this attack has none.
pub fn known(id: &str) -> Option<Box<dyn Dynamics>> {
    Some(match id {
        "Pendulum-v1" => Box::new(Known::<Rod, 2> { angles: 1, choices: None, state: from_angles, law: PhantomData }),
        "Acrobot-v1" => Box::new(Known::<Links, 4> { angles: 2, choices: Some(3), state: from_angles, law: PhantomData }),
        "CartPole-v1" => Box::new(Known::<Cart, 4> { angles: 0, choices: Some(2), state: plain, law: PhantomData }),
        "MountainCar-v0" => Box::new(Known::<Car, 2> { angles: 0, choices: Some(3), state: plain, law: PhantomData }),
        _ => return None,
    })
}

/// The law of an environment that is built in.
struct Known<L, const N: usize> {
    /// How many angles an observation begins with, each as its cosine and its sine.
    angles: usize,
    /// Choices of a discrete action.
    choices: Option<usize>,
    /// The state by the observation.
    state: fn(&[f64]) -> Option<[f64; N]>,
    law: PhantomData<fn() -> L>,
}

/// An observation that is the state itself.
fn plain<const N: usize>(observation: &[f64]) -> Option<[f64; N]> {
    observation.try_into().ok()
}

/// Angles and as many speeds, by cosines and sines and the speeds.
fn from_angles<const N: usize>(observation: &[f64]) -> Option<[f64; N]> {
    let (pairs, speeds) = observation.split_at_checked(N)?;
    let angles = pairs.chunks(2).map(|pair| libm::atan2(pair[1], pair[0]));
    angles.chain(speeds.iter().copied()).collect::<Vec<f64>>().try_into().ok()
}

impl<L: Law<N>, const N: usize> Known<L, N> {
    /// The next observation, and the reward behind it.
    fn moved(&self, observation: &[f64], action: &[f64]) -> Option<Vec<f64>> {
        let state = (self.state)(observation)?;
        let one = |action: Action| {
            let moved = L::advance(state, &action).ok()?;
            let mut next = L::observe(&moved.state);
            next.push(moved.reward);
            Some(next)
        };
        match self.choices {
            None => one(Action::Continuous(action.to_vec())),
            Some(choices) if action.len() == choices => mean(action, |choice| one(Action::Discrete(choice))),
            Some(_) => None,
        }
    }
}

impl<L: Law<N>, const N: usize> Dynamics for Known<L, N> {
    fn next(&self, state: &[f64], action: &[f64]) -> Option<Vec<f64>> {
        let mut next = self.moved(state, action)?;
        next.pop();
        Some(next)
    }

    fn reward(&self, state: &[f64], action: &[f64]) -> Option<f64> {
        self.moved(state, action)?.pop()
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn off(&self, state: &[f64]) -> Vec<f64> {
        state.chunks(2).take(self.angles).map(|pair| pair.iter().map(|v| v * v).sum::<f64>() - 1.0).collect()
    }
}

/// The sum of where choices lead, by their weights.
fn mean(weights: &[f64], lead: impl Fn(usize) -> Option<Vec<f64>>) -> Option<Vec<f64>> {
    let mut sum = Vec::new();
    for (choice, weight) in weights.iter().enumerate() {
        let one = lead(choice)?;
        sum.resize(one.len(), 0.0);
        sum.iter_mut().zip(one).for_each(|(sum, v)| *sum += weight * v);
    }
    Some(sum)
}

/// Polynomials of state and action that were fitted to transitions: a surrogate where no law is known.
pub struct Learned {
    /// One for each choice of a discrete action, of the state alone; else one of state and action.
    parts: Vec<Polynomial>,
    discrete: bool,
    /// The root of the mean square of what the fit leaves, element by element of the next observation, and of the reward.
    pub error: Vec<f64>,
}

/// Transitions, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Public<'a> {
    /// Observations.
    pub states: &'a [&'a [f64]],
    /// Actions; discrete ones as zeros and a one.
    pub actions: &'a [&'a [f64]],
    /// The next observations.
    pub next: &'a [&'a [f64]],
    /// Rewards.
    pub rewards: &'a [f64],
    /// Whether the action is one of several.
    pub discrete: bool,
}

impl Learned {
    /// Fits transitions. `None` if there are fewer of them than even straight lines have coefficients.
    pub fn fit(public: &Public<'_>) -> Option<Self> {
        let of = |row: usize| [public.next[row], &[public.rewards[row]]].concat();
        let chosen = |row: usize| public.actions[row].iter().position(|a| *a == 1.0);
        let groups: Vec<Vec<usize>> = if public.discrete {
            (0..public.actions.first()?.len())
                .map(|choice| (0..public.states.len()).filter(|r| chosen(*r) == Some(choice)).collect())
                .collect()
        } else {
            vec![(0..public.states.len()).collect()]
        };
        let (mut parts, mut squares) = (Vec::new(), vec![0.0; public.next.first()?.len() + 1]);
        for rows in &groups {
            let given = |row: &usize| {
                if public.discrete { public.states[*row].to_vec() } else { [public.states[*row], public.actions[*row]].concat() }
            };
            let (inputs, wanted): (Vec<_>, Vec<_>) = rows.iter().map(|row| (given(row), of(*row))).unzip();
            let (part, left) = Polynomial::fit(&inputs, &wanted)?;
            squares.iter_mut().zip(left).for_each(|(sum, left)| *sum += left);
            parts.push(part);
        }
        let error = squares.iter().map(|sum| libm::sqrt(sum / public.states.len() as f64)).collect();
        Some(Self { parts, discrete: public.discrete, error })
    }

    fn moved(&self, state: &[f64], action: &[f64]) -> Option<Vec<f64>> {
        if !self.discrete {
            return self.parts.first()?.value(&[state, action].concat());
        }
        if action.len() != self.parts.len() {
            return None;
        }
        mean(action, |choice| self.parts[choice].value(state))
    }
}

impl Dynamics for Learned {
    fn next(&self, state: &[f64], action: &[f64]) -> Option<Vec<f64>> {
        let mut next = self.moved(state, action)?;
        next.pop();
        Some(next)
    }

    fn reward(&self, state: &[f64], action: &[f64]) -> Option<f64> {
        self.moved(state, action)?.pop()
    }
}

/// Largest degree of a fit.
const DEGREE: usize = 4;

struct Polynomial {
    terms: Vec<Vec<usize>>,
    /// Centre and half width of every argument.
    scale: Vec<(f64, f64)>,
    /// One column for each value.
    weights: DMatrix<f64>,
}

impl Polynomial {
    /// The fit of the largest degree that has at most half as many coefficients as there are rows, and the sums of the squares of what
    /// it leaves.
    fn fit(rows: &[Vec<f64>], wanted: &[Vec<f64>]) -> Option<(Self, Vec<f64>)> {
        let (width, outputs) = (rows.first()?.len(), wanted.first()?.len());
        let degree = (1..=DEGREE).rev().find(|degree| 2 * count(width, *degree) <= rows.len())?;
        let terms = terms(width, degree);
        let scale = (0..width).map(|i| {
            let (low, high) = rows.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), row| (l.min(row[i]), h.max(row[i])));
            ((low + high) / 2.0, ((high - low) / 2.0).max(1e-9))
        });
        let scale: Vec<(f64, f64)> = scale.collect();
        let features = DMatrix::from_fn(rows.len(), terms.len(), |r, t| product(&terms[t], &scale, &rows[r]));
        let wanted = DMatrix::from_fn(rows.len(), outputs, |r, o| wanted[r][o]);
        // A cosine and a sine are not independent: the least of all solutions is taken.
        let weights = features.clone().svd(true, true).solve(&wanted, 1e-10).ok()?;
        let left = &features * &weights - wanted;
        let squares = (0..outputs).map(|o| left.column(o).norm_squared()).collect();
        Some((Self { terms, scale, weights }, squares))
    }

    fn value(&self, row: &[f64]) -> Option<Vec<f64>> {
        if row.len() != self.scale.len() {
            return None;
        }
        let features = self.terms.iter().map(|term| product(term, &self.scale, row));
        let features = DVector::from_iterator(self.terms.len(), features);
        Some(self.weights.tr_mul(&features).as_slice().to_vec())
    }
}

/// How many [`terms`] there are: `width + degree` over `degree`.
fn count(width: usize, degree: usize) -> usize {
    (1..=degree).fold(1usize, |product, i| product.saturating_mul(width + i) / i)
}

/// All products of up to `degree` arguments, as sorted lists of their numbers.
fn terms(width: usize, degree: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..degree {
        let longer = last.iter().flat_map(|term| {
            let from = term.last().copied().unwrap_or(0);
            (from..width).map(move |i| [term.as_slice(), &[i]].concat())
        });
        last = longer.collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn product(term: &[usize], scale: &[(f64, f64)], row: &[f64]) -> f64 {
    term.iter().map(|&i| (row[i] - scale[i].0) / scale[i].1).product()
}
