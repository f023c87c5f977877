//! Random programs: the plan on clear slots is the tensor graph, whatever the program.

use hecc_compiler::{Options, compile, diagnostics};
use proptest::prelude::*;

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
    fn training_programs(source in programs::training(), log_n in 10u32..=11) {
        holds(&source, log_n);
    }

    #[test]
    fn serving_programs(source in programs::serving(), log_n in 10u32..=11) {
        holds(&source, log_n);
    }
}
