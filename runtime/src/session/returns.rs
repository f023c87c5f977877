//! n-step returns: r = Σ γ^k r_k over n steps, the state n steps on, and whether the episode ended on the way.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// One step of an environment, as the replay stores it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// The observation acted on.
    pub observation: Vec<f64>,
    /// The observation after it.
    pub next: Vec<f64>,
    /// The action, encoded.
    pub action: Vec<f64>,
    /// The reward.
    pub reward: f64,
    /// The episode ended by itself.
    pub terminated: bool,
    /// The episode was cut.
    pub truncated: bool,
}

impl Transition {
    /// The row a replay stores: observation, next observation, action, reward, done.
    pub fn row(&self) -> Vec<f64> {
        let done = f64::from(u8::from(self.terminated));
        [&self.observation[..], &self.next, &self.action, &[self.reward, done]].concat()
    }
}

/// The steps of one environment that still wait for their n-th successor.
///
/// An episode that terminates completes every waiting window, shorter ones too: `done` masks the bootstrap, so that its
/// discount does not matter. An episode that is cut drops windows shorter than n, since a body discounts the bootstrap by
/// γ^n whatever the window's length.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    n: usize,
    discount: f64,
    waiting: VecDeque<Transition>,
}

impl Window {
    /// A window of `n` steps, at least one.
    pub fn new(n: usize, discount: f64) -> Self {
        Self { n: n.max(1), discount, waiting: VecDeque::new() }
    }

    /// The steps that wait, oldest first.
    pub fn waiting(&self) -> impl Iterator<Item = &Transition> {
        self.waiting.iter()
    }

    /// Takes the next step of its environment and gives every n-step transition that it completes.
    pub fn push(&mut self, step: Transition, mut complete: impl FnMut(Transition)) {
        let (terminated, truncated) = (step.terminated, step.truncated);
        self.waiting.push_back(step);
        if self.waiting.len() == self.n || terminated {
            complete(self.first());
            self.waiting.pop_front();
        }
        if terminated {
            while !self.waiting.is_empty() {
                complete(self.first());
                self.waiting.pop_front();
            }
        } else if truncated {
            self.waiting.clear();
        }
    }

    /// The transition over all waiting steps, of which there is at least one.
    fn first(&self) -> Transition {
        let (first, last) = (&self.waiting[0], &self.waiting[self.waiting.len() - 1]);
        let reward = self.waiting.iter().rev().fold(0.0, |sum, step| step.reward + self.discount * sum);
        Transition {
            observation: first.observation.clone(),
            next: last.next.clone(),
            action: first.action.clone(),
            reward,
            terminated: last.terminated,
            truncated: last.truncated,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(i: u8, end: &str) -> Transition {
        let i = f64::from(i);
        Transition {
            observation: vec![i],
            next: vec![i + 1.0],
            action: vec![1.0, 0.0],
            reward: i,
            terminated: end == "terminated",
            truncated: end == "truncated",
        }
    }

    /// (observation, next, reward, done) of what an episode of `length` steps gives.
    fn windows(n: usize, length: u8, end: &str) -> Vec<(f64, f64, f64, bool)> {
        let mut window = Window::new(n, 0.5);
        let mut out = Vec::new();
        for i in 1..=length {
            let end = if i == length { end } else { "" };
            window.push(step(i, end), |t| out.push((t.observation[0], t.next[0], t.reward, t.terminated)));
        }
        if !end.is_empty() {
            assert_eq!(window.waiting().count(), 0, "nothing crosses an episode's end");
        }
        out
    }

    #[test]
    fn one_step_is_the_step_itself() {
        assert_eq!(windows(1, 2, "terminated"), [(1.0, 2.0, 1.0, false), (2.0, 3.0, 2.0, true)]);
        assert_eq!(windows(1, 2, "truncated"), [(1.0, 2.0, 1.0, false), (2.0, 3.0, 2.0, false)]);
    }

    #[test]
    fn three_steps_by_hand() {
        // 1 + 2/2 + 3/4 = 2.75, 2 + 3/2 + 4/4 = 4.5, then the end: 3 + 4/2 = 5, 4.
        let whole = [(1.0, 4.0, 2.75, false), (2.0, 5.0, 4.5, true), (3.0, 5.0, 5.0, true), (4.0, 5.0, 4.0, true)];
        assert_eq!(windows(3, 4, "terminated"), whole);
        assert_eq!(windows(3, 4, "truncated"), [(1.0, 4.0, 2.75, false), (2.0, 5.0, 4.5, false)]);
        assert_eq!(windows(3, 4, ""), [(1.0, 4.0, 2.75, false), (2.0, 5.0, 4.5, false)]);
    }

    #[test]
    fn episodes_shorter_than_the_window() {
        assert_eq!(windows(3, 2, "terminated"), [(1.0, 3.0, 2.0, true), (2.0, 3.0, 2.0, true)]);
        assert_eq!(windows(3, 2, "truncated"), []);
    }

    #[test]
    fn a_row_stands_in_the_replays_order() {
        assert_eq!(step(3, "terminated").row(), [3.0, 4.0, 1.0, 0.0, 3.0, 1.0]);
    }
}
