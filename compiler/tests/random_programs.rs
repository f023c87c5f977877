//! Random programs: the plan on clear slots is the tensor graph, whatever the program.

use hecc_compiler::{Options, compile, diagnostics};
use proptest::prelude::*;
use proptest::sample::select;

use crate::support::{self, programs};

/// Compiles and compares; a program may only fail for its depth.
fn holds(source: &str, log_n: u32) {
    match compile(source, &Options { insecure_log_n: Some(log_n), ..Options::default() }) {
        Ok(compiled) => support::compiled_agrees(source, &compiled),
        Err(errors) if errors.iter().all(|e| e.code == "HE0402") => {}
        Err(errors) => panic!("{}{source}", diagnostics::render(&errors, source, "program.rl", false)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, max_shrink_iters: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn training_programs(source in programs::training(), log_n in 10u32..=11, again in any::<bool>()) {
        holds(&if again { twice(&source) } else { source }, log_n);
    }

    #[test]
    fn serving_programs(source in programs::serving(), log_n in 10u32..=11) {
        holds(&source, log_n);
    }
}

/// The same program, where the algorithm is its own, with a second step on what the first has changed, at a rate of its own.
fn twice(source: &str) -> String {
    let more = "minimize mean((dot(q(s'), a) - r)^2) over q with sgd(lr: 0.01)";
    source.replacen("over q with optimizer", &format!("over q with optimizer\n    {more}"), 1)
}

/// The same program where the server trains alone, in small steps, so that several updates stay within bounds; its optimiser may be
/// another.
fn alone(source: &str, optimizer: &str) -> String {
    let slower = [
        ("lr: 0.", "lr: 0.0"),
        ("linear(0.2, 0.05)", "linear(0.02, 0.005)"),
        ("cosine(0.1, 0.3)", "cosine(0.01, 0.03)"),
        ("refresh = client", "refresh = bootstrap precision = 1e-5"),
    ];
    let source = slower.iter().fold(source.to_owned(), |source, (from, to)| source.replace(from, to));
    match (optimizer, source.split_once("optimizer = ").and_then(|(head, rest)| Some((head, rest.split_once(" }\nsecure")?.1)))) {
        ("", _) | (_, None) => source,
        (optimizer, Some((head, secure))) => format!("{head}optimizer = {optimizer} }}\nsecure{secure}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn programs_of_a_server_alone(
        source in programs::training(),
        optimizer in select(vec!["", "", "adam(lr: 0.01)", "rmsprop(lr: 0.01)"]),
        again in any::<bool>(),
    ) {
        let source = alone(&if again { twice(&source) } else { source }, optimizer);
        match compile(&source, &Options { insecure_log_n: Some(10), ..Options::default() }) {
            Ok(compiled) => support::compiled_agrees_alone(&source, &compiled),
            Err(errors) if errors.iter().all(|e| e.code == "HE0402") => {}
            Err(errors) => panic!("{}{source}", diagnostics::render(&errors, &source, "program.rl", false)),
        }
    }
}
