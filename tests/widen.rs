//! What a run does where an activation would leave its interval, as the program says.

use assert_cmd::Command;
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;

/// A network whose pinned interval is too narrow.
fn program(out_of_range: &str) -> String {
    format!(
        r#"use std.dqn
env "CartPole-v1" {{
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
    client {{ r <- -done }}
}}
net q(s) -> [2] {{ dense 8 silu(degree: 4, range: [-0.5, 0.5]) dense 2 init small }}
train dqn(q) {{
    batch = 16 updates = 6 warmup = 80 envs = 2 every = 4 checkpoint = 3 evaluate = 1
    optimizer = momentum(lr: 0.1)
    out_of_range = {out_of_range}
}}
secure ckks {{ refresh = client client = [max] }}"#
    )
}

fn train(out_of_range: &str) -> (tempfile::TempDir, assert_cmd::assert::Assert) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.rl"), program(out_of_range)).expect("writes");
    let args = ["train", "p.rl", "--backend", "clear", "--out", "run", "--episodes", "1"];
    let mut hecc = Command::cargo_bin("hecc").expect("the command");
    let ran = hecc.current_dir(folder.path()).env("XDG_DATA_HOME", folder.path()).args(args).assert();
    (folder, ran)
}

#[test]
fn it_warns() {
    let (folder, ran) = train("warn");
    ran.success().stderr(contains("left its interval [-0.5, 0.5]"));
    assert!(folder.path().join("run/weights.safetensors").exists());
}

#[test]
fn it_stops_with_a_checkpoint() {
    let (folder, ran) = train("stop");
    ran.failure().stderr(contains("HE0672").and(contains("left its interval")));
    assert!(folder.path().join("run/checkpoint").exists() && !folder.path().join("run/weights.safetensors").exists());
}

#[test]
fn it_goes_on_by_a_plan_with_wider_intervals() {
    let (folder, ran) = train("widen");
    ran.success().stderr(contains("silu after q.0: compiled again for [-"));
    assert!(folder.path().join("run/weights.safetensors").exists());
    let kept = std::fs::read_to_string(folder.path().join("run/intervals.json")).expect("the intervals are kept");
    let intervals: serde_json::Value = serde_json::from_str(&kept).expect("json");
    let widest = intervals.as_array().and_then(|all| all.last()).and_then(|w| w["range"][1].as_f64()).expect("an interval");
    assert!(widest > 0.5, "{kept}");
    // The run is over: what goes on takes the intervals up again, and finds nothing left to do.
    let mut hecc = Command::cargo_bin("hecc").expect("the command");
    let args = ["train", "p.rl", "--resume", "run", "--episodes", "1"];
    hecc.current_dir(folder.path()).env("XDG_DATA_HOME", folder.path()).args(args).assert().success();
}

/// A value that grows by more than what was foreseen, update by update.
const GROWING: &str = r#"env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}
net v(s) -> [2] { dense 2 init small }
algorithm grow(v) {
    parameter optimizer
    minimize mean(sum((v(s) - 300)^2)) over v with optimizer
}
train grow(v) {
    batch = 16 updates = 60 collect = random(64) checkpoint = 100 evaluate = 1 optimizer = sgd(lr: 0.02)
}
secure ckks { refresh = client }"#;

fn grow(folder: &std::path::Path, args: &[&str]) -> assert_cmd::assert::Assert {
    let mut hecc = Command::cargo_bin("hecc").expect("the command");
    let args = ["train", "p.rl", "--backend", "clear", "--episodes", "1"].iter().chain(args);
    hecc.current_dir(folder).env("XDG_DATA_HOME", folder).args(args).assert()
}

#[test]
fn a_weight_that_outgrows_its_ciphertext_gets_more_room_where_the_run_may_widen() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("p.rl"), GROWING).expect("writes");
    grow(folder.path(), &["--out", "run"]).failure().stderr(contains("HE0613").and(contains("`v.0.bias` holds")));
    assert!(folder.path().join("run/checkpoint").exists() && !folder.path().join("run/weights.safetensors").exists());
    let went_on = grow(folder.path(), &["--resume", "run", "--out-of-range", "widen"]).success();
    went_on.stderr(contains("compiled again with 4 more bits for everything that crosses"));
    assert!(folder.path().join("run/room.json").exists() && folder.path().join("run/weights.safetensors").exists());
    // From the start, as one run, with the same result.
    grow(folder.path(), &["--out", "other", "--out-of-range", "widen"]).success();
    let weights = |run: &str| std::fs::read(folder.path().join(run).join("weights.safetensors")).expect("weights");
    assert_eq!(weights("run"), weights("other"));
}
