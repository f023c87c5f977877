//! What the server has of an encrypted update is ciphertexts, of sizes that tell nothing.

use std::sync::Arc;

use hecc_audit::report::{Flow, Form, Metric, Standing};
use hecc_audit::run::{Audit, Options};
use hecc_audit::{flow, server};
use hecc_plan::{Plan, Tensor, Tensors};
use hecc_runtime::engine::{self, Backend};

const DQN: &str = r#"
env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
    client { r <- -done }
}
net q(s) -> [2] { dense 8 square  dense 2 }
algorithm looking(q) {
    parameter discount = 0.9, optimizer
    let y = stop(r + discount * (1 - done) * max(q(s')))
    minimize mean((dot(q(s), a) - y)^2) over q with optimizer
    reveal mean(dot(q(s), a)) as "mean value"
}
train looking(q) { batch = 16  updates = 2  optimizer = sgd(0.1) }
secure ckks { refresh = client }
"#;

#[test]
fn messages_are_as_long_whatever_the_data_and_revealed_values_are_the_clients() {
    let small = hecc_compiler::Options { insecure_log_n: Some(10), ..hecc_compiler::Options::default() };
    let plan: Arc<Plan> = Arc::new(hecc_compiler::compile(DQN, &small).expect("it compiles").plan);
    let sizes = [0, 7].map(|seed| {
        let options = Options { samples: 16, seed, ..Options::default() };
        let audit = Audit::new(DQN, &options, 16).expect("an attack fits");
        let parties = || engine::insecure_parties_for_tests(Arc::clone(&plan), Backend::Ckks, Tensors::new(), 2).expect("parties");
        let sight = server::watch(&plan, parties(), &parties().0, &audit.batch(16), true, &mut |_| ()).expect("an update");
        (sight.sent, sight.returned)
    });
    assert!(sizes[0].0 > 0 && sizes[0].1 > 0);
    assert_eq!(sizes[0], sizes[1]);
    let flow = flow::of(&plan);
    let revealed = flow.sees.iter().find(|seen| seen.what.contains("mean value")).expect("it crosses");
    assert_eq!(revealed.form, Form::Ciphertext);
    assert!(flow.sees.iter().all(|seen| seen.form != Form::Data));
}

#[test]
fn a_single_transition_of_ones_own_is_not_its_own_guess() {
    let of = |shape: &[usize], values: &[f64]| Tensor::new(shape.to_vec(), values.to_vec());
    let data = Tensors::from([("s".to_owned(), of(&[1, 4], &[1.0, -2.0, 0.2, 3.0])), ("a".to_owned(), of(&[1, 2], &[0.0, 1.0]))]);
    let options = Options { data: Some(data), ..Options::default() };
    let audit = Audit::new(DQN, &options, 1).expect("an attack fits");
    let report = audit.run("one", None, Flow::default(), Vec::new(), &mut |_| ()).expect("a report");
    let attack = &report.attacks[0];
    assert_eq!((attack.samples, attack.targets[0].standing), (1, Standing::GivenAway), "{:?}", attack.targets);
    assert!(attack.guessing.values[&Metric::StateError].mean > 0.1);
    let few = Options { batch: 4, ..options };
    assert_eq!(Audit::new(DQN, &few, 1).map(drop).expect_err("there is one").code(), "HE0703");
}
