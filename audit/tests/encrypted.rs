//! The negative result: the same attacks on what the server of an encrypted plan has reach what guessing reaches.

use std::sync::Arc;

use hecc_audit::report::{Attack, Metric, Report, Standing, Target};
use hecc_audit::run::{Audit, AuditError, Options};
use hecc_audit::{flow, server};
use hecc_plan::{Plan, Tensors};
use hecc_runtime::engine::{self, Backend};

const DQN: &str = r#"
use std.dqn
env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
    client { r <- -done }
}
net q(s) -> [2] { dense 16 relu(degree: 2, range: [-2, 2])  dense 2 }
train dqn(q) { batch = 128  updates = 3  optimizer = momentum(lr: 0.1) }
secure ckks { secret = [s, a, r, q]  refresh = client }
"#;

const TD: &str = r#"
env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act a: [1] in [-2, 2]
    reward r in [-17, 0]
}
net critic(s, a) -> [1] { dense 16 square  dense 1 }
algorithm td(critic) {
    parameter discount = 0.9, optimizer
    state t = copy(critic)
    let y = stop(r + discount * t(s', a))
    minimize mean((critic(s, a) - y)^2) over critic with optimizer
    t <- mix(t, critic, 0.1)
}
train td(critic) { batch = 16  updates = 2  optimizer = sgd(0.01) }
secure ckks { refresh = client }
"#;

fn audited(source: &str, options: &Options, log_n: u32) -> Report {
    let small = hecc_compiler::Options { insecure_log_n: Some(log_n), ..hecc_compiler::Options::default() };
    let plan: Arc<Plan> = Arc::new(hecc_compiler::compile(source, &small).expect("it compiles").plan);
    let audit = Audit::new(source, options, plan.geometry.batch).expect("an attack fits");
    let parties = || engine::insecure_parties_for_tests(Arc::clone(&plan), Backend::Ckks, Tensors::new(), 2).expect("parties");
    let batch = audit.batch(plan.geometry.batch);
    let sight = server::watch(&plan, parties(), &parties().0, &batch, true, &mut |_| ()).expect("an update");
    assert!(sight.sent > 0 && sight.returned > 0);
    audit.run("test", Some(&sight), flow::of(&plan), Vec::new(), &mut |_| ()).expect("a report")
}

fn standing(attack: &Attack, target: &Target) -> Standing {
    attack.targets.iter().find(|attempt| attempt.target == *target).expect("it was attacked").standing
}

/// What shows that an attack did better, or worse, than guessing would: bounds that chance crosses once in a thousand runs.
fn beyond_chance(attack: &Attack) -> Option<String> {
    let judged = |target: &Target| {
        let attempt = attack.targets.iter().find(|attempt| attempt.target == *target).expect("it was attacked");
        let (actions, chance) = (attempt.metrics.actions.expect("actions"), attack.guessing.actions.expect("actions"));
        // Guessing is right by a half: the binomial bounds of that, and not more than the likeliest action reaches.
        let even = hecc_audit::statistics::Chance::new(0.5, actions.of);
        let (state, guess) = (attempt.metrics.values[&Metric::StateError], attack.guessing.values[&Metric::StateError]);
        let guessed = actions.right >= even.fewest && actions.right <= even.most.max(chance.most);
        let guessed = guessed && state.mean >= guess.mean && attempt.standing == Standing::Guessing;
        (!guessed).then(|| format!("{target:?}: {actions:?}, {state:?} {guess:?}, {:?}", attempt.standing))
    };
    [Target::Ciphertexts, Target::WrongKey].iter().find_map(judged)
}

#[test]
fn ciphertexts_of_q_learning_are_worth_a_guess() {
    let options = Options { samples: 128, noise: 0.1, clip: Some(1.0), ..Options::default() };
    let audited = || audited(DQN, &options, 11);
    let report = audited();
    let [attack] = &report.attacks[..] else { panic!("one attack") };
    assert_eq!(standing(attack, &Target::ClearGradients), Standing::GivenAway, "{:?}\n{:?}", attack.targets[0], attack.guessing);
    // Keys are fresh: what chance did once, it does not do again.
    if let Some(first) = beyond_chance(attack) {
        let again = beyond_chance(&audited().attacks[0]);
        assert!(again.is_none(), "{first}, and again: {again:?}");
    }
    // Noise that hides the state hides it from learning, too.
    let guarded = attack.targets.iter().find(|a| matches!(a.target, Target::GuardedGradients { .. })).expect("asked for");
    assert!(guarded.metrics.values[&Metric::StateError].mean > 1e-3);
    let agreement = report.flow.agreement.as_ref().expect("judged");
    assert!(agreement.agrees, "{}", agreement.why);
    assert!(!report.server_learns());
    assert_eq!(Report::of_json(&report.json().expect("it is written")).expect("it is read"), report);
}

#[test]
fn published_weights_undo_encryption_and_the_report_says_so() {
    let report = audited(DQN, &Options { samples: 32, publish: true, ..Options::default() }, 11);
    assert!(standing(&report.attacks[0], &Target::DecryptedUpdate) > Standing::Guessing, "{:?}", report.attacks[0].targets);
    assert_eq!(standing(&report.attacks[0], &Target::Ciphertexts), Standing::Guessing);
    assert!(report.summary.contains("encryption does not help"), "{}", report.summary);
    assert!(report.flow.agreement.expect("judged").agrees);
}

#[test]
fn ciphertexts_of_learning_by_differences_are_worth_a_guess() {
    let report = audited(TD, &Options { searches: 4, ..Options::default() }, 11);
    assert!(report.attacks.len() >= 2, "with and without the dynamics");
    for attack in &report.attacks {
        let found = |target: &Target| {
            let attempt = attack.targets.iter().find(|attempt| attempt.target == *target).expect("it was attacked");
            attempt.metrics.values.get(&Metric::Found).map_or(0.0, |found| found.mean)
        };
        assert_eq!((found(&Target::Ciphertexts), found(&Target::WrongKey)), (0.0, 0.0), "{}", attack.variant);
        if attack.variant.contains("the environment's dynamics") {
            assert!(found(&Target::ClearGradients) >= 0.75);
        }
        assert_eq!(standing(attack, &Target::Ciphertexts), Standing::Guessing, "{:?}", attack.targets);
    }
}

#[test]
fn encrypted_rooms_stay_dark() {
    let side = 16;
    let places = ((side - 5) / 2 + 1usize).pow(2);
    let source = format!(
        r#"
env "Rooms-v0" {{
    observe depth: [1, {side}, {side}] in [0, 1]
    observe goal: [4] in [0, 1]
    act a: one of 4
    reward r in [0, 1]
}}
net feel(depth) -> [{n}] {{ conv 12 kernel 5 stride 2 silu  flatten }}
net q(y: [{n}], goal) -> [4] {{ dense 16 silu  dense 4 }}
algorithm looking(feel, q) {{
    parameter discount = 0.9, optimizer
    state t = copy(q)
    let y = stop(r + discount * (1 - done) * max(t(feel(depth'), goal')))
    minimize mean((dot(q(feel(depth), goal), a) - y)^2) over feel, q with optimizer
}}
train looking(feel, q) {{ batch = 4  updates = 1  optimizer = sgd(0.1) }}
secure ckks {{ refresh = client }}
"#,
        n = 12 * places
    );
    let options = Options { samples: 64, steps: Some(300), searches: 24, ..Options::default() };
    let audit = Audit::new(&source, &options, 4).expect("an attack fits");
    // The inputs alone, encrypted as a plan would: a whole update of pictures takes long.
    let (plan, batch) = server::inputs_alone(audit.program(), &audit.batch(4)).expect("a plan");
    let plan = Arc::new(plan);
    let parties = || engine::parties(Arc::clone(&plan), Backend::Ckks, Tensors::new(), 2).expect("parties");
    let sight = server::watch(&plan, parties(), &parties().0, &batch, false, &mut |_| ()).expect("a message");
    let report = audit.run("rooms", Some(&sight), flow::of(&plan), Vec::new(), &mut |_| ()).expect("a report");
    let pictures = report.attacks.iter().find(|attack| attack.variant.contains("depth")).expect("stage 2");
    let reached = |target: &Target, metric: Metric| {
        let attempt = pictures.targets.iter().find(|attempt| attempt.target == *target).expect("it was attacked");
        attempt.metrics.values.get(&metric).map_or(0.0, |spread| spread.mean)
    };
    assert!(reached(&Target::ClearGradients, Metric::PsnrDepth) > 20.0 && reached(&Target::ClearGradients, Metric::Iou) > 0.99);
    // Ciphertexts are others every time, and a box drawn at random meets the true one now and then: what counts is the mean of many,
    // beside that of the constant guess.
    for target in [Target::Ciphertexts, Target::WrongKey] {
        for metric in [Metric::PsnrDepth, Metric::Iou] {
            let guess = pictures.guessing.values[&metric];
            println!("{target:?} {metric:?} {} {guess:?}", reached(&target, metric));
            assert!(reached(&target, metric) <= guess.mean, "{target:?}: {:?}, guess {guess:?}", pictures.targets);
        }
        assert_eq!(standing(pictures, &target), Standing::Guessing);
    }
}

#[test]
fn what_no_attack_fits_is_told() {
    let serve = DQN.replace("train dqn(q) { batch = 128  updates = 3  optimizer = momentum(lr: 0.1) }", "serve q(s) { batch = 2 }");
    let options = Options::default();
    assert!(matches!(Audit::new(&serve, &options, 1), Err(AuditError::NoTraining)));
    let other = DQN
        .replace("use std.dqn", "algorithm small(q) { parameter optimizer  minimize mean(sum(q(s)^2)) over q with optimizer }")
        .replace("train dqn(q)", "train small(q)");
    let error = Audit::new(&other, &options, 1).map(drop).expect_err("no attack fits");
    assert_eq!(error.code(), "HE0702");
    let data = Tensors::from([("s".to_owned(), hecc_plan::Tensor::zeros(&[3, 5]))]);
    let error = Audit::new(DQN, &Options { data: Some(data), ..Options::default() }, 1).map(drop).expect_err("five numbers");
    assert_eq!(error.code(), "HE0715");
}
