//! Circuits of integers: plans check, the oracle agrees with the arithmetic that they round, and the figures stay.

use std::collections::BTreeMap;

use hecc_compiler::schemes::tfhe::{self, Given};
use hecc_plan::tfhe::{Op, Plan, oracle};

fn compiled(source: &str) -> Plan {
    let program = hecc_compiler::front::check(source).expect("checks");
    tfhe::compile(&program, source, &Given::default()).unwrap_or_else(|errors| panic!("{errors:?}")).plan
}

const CARTPOLE: &str = r#"
env "CartPole-v1" { observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 16 relu  dense 2 }
serve argmax(q(s)) { batch = 1 }
secure tfhe { secret = [s] public = [q] quantize = w4 a4 }
"#;

#[test]
fn a_policy_compiles() {
    let plan = compiled(CARTPOLE);
    for (i, step) in plan.steps.iter().enumerate() {
        println!("{i}: {} {:?} {:?}", step.op.name(), step.wire, step.op.lookups());
    }
    println!("{:?}", plan.parameters);
    for d in &plan.decisions {
        println!("{d:?}");
    }
    println!("{} bootstraps", plan.bootstraps());
    let out = oracle::run(&plan, &BTreeMap::from([(0, vec![1, 2, 3, -4])]));
    println!("{out:?}");
    assert!(plan.steps.iter().any(|step| matches!(step.op, Op::Table { .. })));
}
