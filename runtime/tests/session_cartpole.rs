//! The native `CartPole-v1` against trajectories recorded from Gymnasium (`tests/tools/record_cartpole.py`).

use hecc_runtime::env::{Action, CartPole, Environment};
use serde::Deserialize;

#[derive(Deserialize)]
struct Recording {
    trajectories: Vec<Trajectory>,
}

#[derive(Deserialize)]
struct Trajectory {
    seed: u64,
    start: [f64; 4],
    first: Vec<f64>,
    actions: Vec<usize>,
    observations: Vec<Vec<f64>>,
    rewards: Vec<f64>,
    terminated: bool,
    truncated: bool,
}

/// Observations are single precision: one unit in the last place is 1.2e-7 of the value.
fn close(ours: &[f64], theirs: &[f64]) -> bool {
    ours.len() == theirs.len() && ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= 1e-6 * b.abs().max(1e-3))
}

#[test]
fn every_step_is_gymnasiums() {
    let recording: Recording = serde_json::from_str(include_str!("../../tests/fixtures/cartpole.json")).expect("the fixture parses");
    assert_eq!(recording.trajectories.len(), 25);
    for t in recording.trajectories {
        let mut env = CartPole::at(t.start);
        let first = env.clone().restore(&env.snapshot()).expect("its own snapshot");
        assert!(close(&first, &t.first), "seed {}: first observation", t.seed);
        let last = t.actions.len() - 1;
        for (i, &action) in t.actions.iter().enumerate() {
            let step = env.step(&Action::Discrete(action)).expect("a legal action");
            assert!(
                close(&step.observation, &t.observations[i]),
                "seed {} step {i}: {:?} is not {:?}",
                t.seed,
                step.observation,
                t.observations[i]
            );
            assert_eq!(step.reward, t.rewards[i], "seed {} step {i}", t.seed);
            assert_eq!(step.terminated, t.terminated && i == last, "seed {} step {i}", t.seed);
            assert_eq!(step.truncated, t.truncated && i == last, "seed {} step {i}", t.seed);
        }
    }
}

#[test]
fn wrong_actions_and_names_are_refused() {
    let mut env = CartPole::new();
    for wrong in [Action::Discrete(2), Action::Continuous(vec![0.0]), Action::MultiDiscrete(vec![0])] {
        assert_eq!(env.step(&wrong).expect_err("not an action of CartPole").code(), "HE0642");
    }
    let error = hecc_runtime::env::make("LunarLander-v3").err().expect("not built in");
    assert!(error.to_string().contains("CartPole-v1") && error.to_string().contains("hecc run"), "{error}");
}
