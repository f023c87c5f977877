//! What differential privacy would leave of the attacks, and of the gradients.

use hecc_audit::attacks::model::Model;
use hecc_audit::report::{Flow, Metric, Spread, Target};
use hecc_audit::run::{Audit, Options};
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

/// What an attack makes of guarded gradients.
struct Guarded {
    actions: u64,
    state: Spread,
    /// Of the mean state.
    guess: Spread,
    /// Of a value in per cent, or of a reward.
    number: Spread,
}

fn attacked(source: &str, number: Metric, (clip, noise): (Option<f64>, f64)) -> Guarded {
    let options = Options { samples: SAMPLES, clip, noise, ..Options::default() };
    let audit = Audit::new(source, &options, 1).expect("an attack fits");
    let report = audit.run("privacy", None, Flow::default(), Vec::new(), &mut |_| ()).expect("a report");
    let guess = report.attacks[0].guessing.values[&Metric::StateError];
    let attempt = report.attacks[0].targets.iter().find(|attempt| attempt.target == Target::GuardedGradients { clip, noise });
    let metrics = &attempt.expect("asked for").metrics;
    Guarded {
        actions: metrics.actions.expect("counted").right,
        state: metrics.values[&Metric::StateError],
        guess,
        number: metrics.values[&number],
    }
}

/// The mean norm of a gradient and the number of its elements.
fn gradients(source: &str, clip: Option<f64>) -> (f64, usize) {
    let model = Model::new(source, 1, 0).expect("it checks").expect("it trains");
    let transitions = samples::gather(&model.inspection, SAMPLES, 0).expect("it is built in");
    let (mut sum, mut elements) = (0.0, 0);
    for i in 0..SAMPLES {
        let rows = model.inspection.rows(&samples::part(&transitions, i, 1)).expect("a batch");
        let gradient = model.gradient(0, &rows);
        let size = gradient.values().flatten().map(|g| g * g).sum::<f64>().sqrt();
        sum += clip.map_or(size, |clip| size.min(clip));
        elements = gradient.values().map(Vec::len).sum();
    }
    (sum / SAMPLES as f64, elements)
}

#[test]
fn noise_hides_states_where_it_drowns_gradients() {
    for (name, source, number) in [("QGI", DQN, Metric::PredictedQ), ("RGI", REINFORCE, Metric::RewardError)] {
        for clip in [None, Some(0.1)] {
            let (size, elements) = gradients(source, clip);
            println!("{name}, clip {clip:?}: gradients of norm {size:.2}, {elements} elements");
            let rows = [1e-4, 1e-3, 1e-2, 1e-1].map(|noise| (noise, attacked(source, number, (clip, noise))));
            for (noise, guarded) in &rows {
                let drowned = noise * (elements as f64).sqrt() / size;
                println!(
                    "  noise {noise:.0e} ({drowned:.2} of the gradient): actions {} of {SAMPLES}, state {:.1e} (guess {:.1e}), {number:?} {:.1e}",
                    guarded.actions, guarded.state.mean, guarded.guess.mean, guarded.number.mean
                );
            }
            // A little noise hides nothing, more hides more, and what makes the state a guess is larger than the gradient.
            assert!(rows[0].1.actions as usize >= SAMPLES * 9 / 10 && rows[0].1.state.mean < rows[0].1.guess.mean / 5.0);
            assert!(rows.windows(2).all(|pair| pair[0].1.state.mean < pair[1].1.state.mean));
            let hidden = rows.iter().find(|(_, guarded)| guarded.state.mean >= guarded.guess.mean);
            assert!(hidden.is_none_or(|(noise, _)| noise * (elements as f64).sqrt() > 0.9 * size), "{name} {clip:?}");
        }
    }
}
