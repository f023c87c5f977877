//! What acts, of a trained program.

use std::collections::BTreeMap;

use hecc_compiler::rehearsal;
use hecc_plan::clear::Sources;
use hecc_plan::init::initial_states;
use hecc_plan::{Tensor, Tensors};

/// A network of two observations of `[2]` side by side, for as many choices.
fn program(statements: &str) -> String {
    format!(
        r#"env "Own" {{
    observe x: [2] in [-1, 1]
    observe y: [2] in [-1, 1]
    act     a: [2] one of 3
    reward  r in [-1, 1]
}}
net q(v: [2]) -> [3] {{ dense 3 }}
net other(v: [2]) -> [3] {{ dense 3 }}
algorithm own(q, other) {{
    parameter opt
    {statements}
    minimize mean((dot(values, a) - r)^2) over q with opt
    minimize mean((sum(other(x)) - r)^2) over other with opt
}}
train own(q, other) {{ updates = 1 batch = 8 opt = sgd(lr: 0.1) }}
secure ckks {{ refresh = client }}"#
    )
}

/// What the policy of a program gives for x and y.
fn output(source: &str, x: [f64; 2], y: [f64; 2]) -> Vec<f64> {
    let plan = rehearsal::run(source).expect("it builds").plan;
    let training = plan.training.expect("it trains");
    let batch: Tensors = [("x", x), ("y", y)].map(|(name, v)| (name.to_owned(), Tensor::new(vec![1, 2], v.to_vec()))).into();
    let (states, decrypted) = (initial_states(&plan.states, 5), BTreeMap::new());
    let mut known = BTreeMap::new();
    let sources = Sources { batch: &batch, states: &states, decrypted: &decrypted };
    training.policy.eval(&[training.act], sources, &mut known).expect("it acts");
    known.remove(&training.act).expect("it is computed").data
}

#[test]
fn several_choices_are_one_networks_values_side_by_side() {
    let source = program("let values = concat(q(x), q(y))");
    let (one, two) = ([0.3, -0.8], [-0.5, 0.1]);
    let (first, second) = (output(&source, one, two), output(&source, two, one));
    assert_eq!(first.len(), 6);
    assert_eq!((&first[..3], &first[3..]), (&second[3..], &second[..3]), "each from its own observation");
    assert!(first[..3] != first[3..]);
    // What a later network gives, or what has another width, does not act.
    let source = program("let no = concat(other(x), other(y))\n let none = softmax(other(y))\n let values = concat(q(x), q(y))");
    assert_eq!(output(&source, one, two), first);
}
