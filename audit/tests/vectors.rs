//! The attacks on vectors reach what was published, and more: there they are closed forms.

use hecc_audit::attacks::form::{Form, forms};
use hecc_audit::attacks::model::Model;
use hecc_audit::attacks::{qgi, rgi};
use hecc_audit::samples;

const SAMPLES: usize = 240;

const DQN: &str = r#"
use std.dqn
env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
    client { r <- -done }
}
net q(s) -> [2] { dense 64 relu  dense 64 relu  dense 2 }
train dqn(q) { updates = 1  optimizer = sgd(0.1) }
"#;

/// CartPole has two actions; here a third does what chance wants.
const REINFORCE: &str = r#"
use std.reinforce
env "Acrobot-v1" {
    observe s: [6] in [-1, 1], [-1, 1], [-1, 1], [-1, 1], [-12.6, 12.6], [-28.3, 28.3]
    act a: one of 3
    reward r in [-1, 0]
    client { r <- r + 0.3 * s[0] }
}
net policy(s) -> [3] { dense 64 tanh  dense 64 tanh  dense 3 }
train reinforce(policy) { updates = 1  optimizer = sgd(0.1)  baseline = -0.4  entropy = 0.01  n_step = 3 }
"#;

fn worst(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn qgi_reads_everything_off_a_gradient_of_q_learning() {
    let model = Model::new(DQN, 1, 1).expect("it checks").expect("it trains");
    let [Form::Values(call)] = &forms(model.program())[..] else { panic!("values") };
    let attack = qgi::Qgi::new(&model, 0, call).expect("it fits");
    let transitions = samples::gather(&model.inspection, SAMPLES, 1).expect("CartPole is built in");
    assert_eq!(samples::count(&transitions), SAMPLES);
    let (mut right, mut state, mut predicted, mut target) = (0, 0.0f64, 0.0f64, 0.0f64);
    for i in 0..SAMPLES {
        let rows = model.inspection.rows(&samples::part(&transitions, i, 1)).expect("a batch");
        let read = attack.read(&model.gradient(0, &rows)).expect("a reading");
        let truth = attack.truth(0, &rows).expect("a sample");
        // The loss knows both numbers too: (q - y)^2.
        let y = truth.target.expect("a target");
        let off = (truth.predicted - y).powi(2);
        assert!((off - model.value(0, &rows).loss).abs() < 1e-12);
        right += usize::from(read.actions == truth.actions);
        state = state.max(worst(&read.input, &truth.input));
        predicted = predicted.max(((read.predicted - truth.predicted) / truth.predicted).abs());
        target = target.max(((read.target.expect("a target") - y) / y).abs());
    }
    println!("QGI, 4-64-64-2, {SAMPLES} samples: actions {right}, state {state:.1e}, Q {predicted:.1e}, target {target:.1e}");
    assert_eq!(right, SAMPLES);
    assert!(state < 1e-9 && predicted < 1e-9 && target < 1e-9);
}

#[test]
fn rgi_reads_everything_off_a_policy_gradient() {
    let model = Model::new(REINFORCE, 1, 1).expect("it checks").expect("it trains");
    let [Form::Policy(call)] = &forms(model.program())[..] else { panic!("a policy") };
    let attack = rgi::Rgi::new(&model, 0, call).expect("it fits");
    let transitions = samples::gather(&model.inspection, SAMPLES, 1).expect("Acrobot is built in");
    let (mut right, mut state, mut probability, mut reward) = (0, 0.0f64, 0.0f64, 0.0f64);
    for i in 0..SAMPLES {
        let rows = model.inspection.rows(&samples::part(&transitions, i, 1)).expect("a batch");
        let read = attack.read(&model.gradient(0, &rows)).expect("a reading");
        let truth = attack.truth(&rows).expect("a sample");
        right += usize::from(read.action == truth.action);
        state = state.max(worst(&read.input, &truth.input));
        probability = probability.max(worst(&read.probabilities, &truth.probabilities));
        reward = reward.max((read.reward - truth.reward).abs());
    }
    println!("RGI, 3 actions, entropy 0.01, {SAMPLES} samples: actions {right}, state {state:.1e}, p {probability:.1e}, r {reward:.1e}");
    assert_eq!(right, SAMPLES);
    assert!(state < 1e-9 && probability < 1e-9 && reward < 1e-6);
}
