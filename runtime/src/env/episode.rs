//! Episodes of classic-control problems: a state of a few numbers, moved until it ends by itself or its time is over.

use std::marker::PhantomData;

use rand_chacha::ChaCha20Rng;

use super::{Action, EnvError, Environment, Step};

/// A problem whose state is `N` numbers and whose only chance is the first of them.
pub trait Dynamics<const N: usize>: Send {
    /// Gymnasium's name.
    const ID: &'static str;
    /// Steps after which an episode is cut.
    const LIMIT: u32;

    /// The state that an episode starts with.
    fn start(rng: &mut ChaCha20Rng) -> [f64; N];

    /// The state one step on.
    ///
    /// # Errors
    /// [`EnvError::Action`] if the action is not of this problem's kind.
    fn advance(state: [f64; N], action: &Action) -> Result<Moved<N>, EnvError>;

    /// What is seen of a state, in double precision.
    fn observe(state: &[f64; N]) -> Vec<f64>;
}

/// What a step makes of a state.
pub struct Moved<const N: usize> {
    /// The new state.
    pub state: [f64; N],
    /// The reward.
    pub reward: f64,
    /// The episode ended by itself.
    pub terminated: bool,
}

/// An episode of a problem, and the next one. State is kept in double precision and observations are rounded to single,
/// as Gymnasium does.
#[derive(Debug)]
pub struct Episode<D, const N: usize> {
    state: [f64; N],
    steps: u32,
    dynamics: PhantomData<D>,
}

impl<D, const N: usize> Clone for Episode<D, N> {
    fn clone(&self) -> Self {
        Self { ..*self }
    }
}

impl<D: Dynamics<N>, const N: usize> Default for Episode<D, N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<D: Dynamics<N>, const N: usize> Episode<D, N> {
    /// All numbers zero; `reset` starts an episode.
    pub fn new() -> Self {
        Self::at([0.0; N])
    }

    /// A given state at the start of an episode.
    pub fn at(state: [f64; N]) -> Self {
        Self { state, steps: 0, dynamics: PhantomData }
    }

    fn observation(&self) -> Vec<f64> {
        D::observe(&self.state).into_iter().map(|v| f64::from(v as f32)).collect()
    }
}

impl<D: Dynamics<N>, const N: usize> Environment for Episode<D, N> {
    fn reset(&mut self, rng: &mut ChaCha20Rng) -> Vec<f64> {
        *self = Self::at(D::start(rng));
        self.observation()
    }

    fn step(&mut self, action: &Action) -> Result<Step, EnvError> {
        let Moved { state, reward, terminated } = D::advance(self.state, action)?;
        self.state = state;
        self.steps += 1;
        Ok(Step { observation: self.observation(), reward, terminated, truncated: self.steps >= D::LIMIT })
    }

    fn most_steps(&self) -> usize {
        D::LIMIT as usize
    }

    fn snapshot(&self) -> Vec<f64> {
        self.state.iter().copied().chain([f64::from(self.steps)]).collect()
    }

    fn restore(&mut self, snapshot: &[f64]) -> Result<Vec<f64>, EnvError> {
        let foreign = || EnvError::Snapshot { id: D::ID.to_owned() };
        let (steps, state) = snapshot.split_last().ok_or_else(foreign)?;
        let state: [f64; N] = state.try_into().map_err(|_| foreign())?;
        if !state.iter().all(|v| v.is_finite()) || !(0.0..=f64::from(D::LIMIT)).contains(steps) {
            return Err(foreign());
        }
        *self = Self { steps: *steps as u32, ..Self::at(state) };
        Ok(self.observation())
    }
}
