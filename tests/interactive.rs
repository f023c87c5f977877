//! What the command says of who takes part in an update: what crosses, and what each party learns of it.

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

fn program(secure: &str) -> String {
    format!(
        r#"use std.dqn
env "CartPole-v1" {{
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}}
net q(s) -> [2] {{ dense 4 square dense 2 init small }}
train dqn(q) {{ batch = 16 updates = 3 optimizer = momentum(lr: 0.1) }}
secure ckks {{ {secure} }}"#
    )
}

fn hecc(secure: &str, args: &[&str]) -> assert_cmd::assert::Assert {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.rl"), program(secure)).expect("writes");
    let mut hecc = Command::cargo_bin("hecc").expect("the command");
    hecc.current_dir(folder.path()).env("XDG_DATA_HOME", folder.path()).args(args).arg("p.rl").assert()
}

#[test]
fn it_says_what_crosses() {
    hecc("refresh = client client = [max]", &["compile"])
        .success()
        .stdout(contains("crosses").and(contains("ciphertexts to the client (")));
    let plan = hecc("client = [optimizer]", &["explain"]).success();
    plan.stdout(contains("Exchanges of what crosses").and(contains("gradient")).and(contains("the client computes optimizer")));
}

#[test]
fn it_says_what_the_client_learns() {
    let learns = |secure: &str| hecc(secure, &["explain", "--leakage"]).success();
    learns("refresh = client")
        .stdout(contains("after each update, the new values of q.0.bias").and(contains("gradients of the batch").not()));
    learns("client = [optimizer]").stdout(contains("which it computes itself of what comes back: the gradients of the batch among it"));
    learns("refresh = client client = [target]").stdout(contains("[16, 2] in the middle of an update (network output)"));
    learns("refresh = client client = [max]").stdout(contains("in the middle of an update (to the client)"));
}
