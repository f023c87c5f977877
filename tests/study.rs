//! `hecc train` from several seeds: curves, gaps, and runs that stay what they are alone.

use std::path::Path;

use assert_cmd::Command;
use assert_cmd::assert::Assert;
use predicates::prelude::*;

const PROGRAM: &str = "use std.dqn
env \"CartPole-v1\" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
}
net q(s) -> [2] { dense 4 silu dense 2 init small }
train dqn(q) { batch = 16 updates = 6 warmup = 50 evaluate = 2 optimizer = momentum(lr: 0.1) }
secure ckks { refresh = client client = [max] }
";

/// One layer, with a learning rate that its features do not bear, and one that they do.
fn linear(lr: f64) -> String {
    PROGRAM.replace("dense 4 silu dense 2 init small", "dense 2").replace("lr: 0.1", &format!("lr: {lr}, beta: 0.9"))
}

fn hecc(folder: &Path, args: &[&str]) -> Assert {
    Command::cargo_bin("hecc").expect("it is built").current_dir(folder).args(args).assert()
}

fn text(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn several_seeds_give_curves_and_gaps_and_are_run_once() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    std::fs::write(folder.join("p.rl"), PROGRAM).expect("writes");
    let study =
        ["train", "p.rl", "--seeds", "2", "--backend", "exact,clear", "--noise", "--out", "s", "--episodes", "3", "--checkpoint", "2"];
    hecc(folder, &study)
        .code(0)
        .stdout(predicate::str::contains("gap of clear-noise").and(predicate::str::contains("random")))
        .stderr(predicate::str::contains("4 of 4 runs: clear-noise, seed 1").and(predicate::str::contains("left")));
    let curves = text(folder, "s/curves.csv");
    // Two checkpoints and the end, of two seeds, by two backends.
    assert_eq!(curves.lines().count(), 1 + 3 * 4, "{curves}");
    assert!(curves.contains("\nclear-noise,1,4,checkpoint,2,") && curves.contains("\nexact,0,6,final,3,"), "{curves}");
    assert!(text(folder, "s/curves.svg").contains("</svg>"));
    let gaps: serde_json::Value = serde_json::from_str(&text(folder, "s/gaps.json")).expect("JSON");
    assert_eq!(
        (gaps["updates"].as_u64(), gaps["episodes"].as_u64(), gaps["backends"][1]["seeds"][1]["seed"].as_u64()),
        (Some(6), Some(3), Some(1))
    );
    assert!(gaps["gaps"][0]["backend"] == "clear-noise" && gaps["random"]["mean"].as_f64().is_some_and(|mean| mean > 5.0), "{gaps}");
    assert!(folder.join("s/exact/seed-1/events.out.tfevents.0.hecc").exists());
    // Again: everything is there, and nothing is run.
    let weights = folder.join("s/clear-noise/seed-1/weights.safetensors");
    let (before, written) = (std::fs::read(&weights).expect("reads"), text(folder, "s/gaps.json"));
    std::fs::remove_file(&weights).expect("removes");
    hecc(folder, &study).code(0);
    assert!(!weights.exists());
    assert_eq!(text(folder, "s/gaps.json"), written);
    // Alone, without evaluations on the way, in two parts, and by the label that the checkpoint has: the same weights.
    let alone = ["train", "p.rl", "--backend", "clear", "--noise", "--seed", "1", "--out", "alone", "--episodes", "3"];
    hecc(folder, &[&alone[..], &["--updates", "3"]].concat()).code(0).stdout(predicate::str::contains("clear-noise"));
    hecc(folder, &["train", "p.rl", "--resume", "alone", "--episodes", "3"]).code(0).stdout(predicate::str::contains("clear-noise"));
    assert!(std::fs::read(folder.join("alone/weights.safetensors")).expect("reads") == before);
    let exact = std::fs::read(folder.join("s/exact/seed-1/weights.safetensors")).expect("reads");
    assert!(exact != before, "polynomials are not the functions");
    // The folder is that of these settings.
    hecc(folder, &[&study[..], &["--updates", "7"]].concat()).code(2).stderr(predicate::str::contains("--out"));
}

#[test]
fn what_cannot_be_trained_so_says_what_to_do() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    std::fs::write(folder.join("p.rl"), PROGRAM).expect("writes");
    hecc(folder, &["compile", "p.rl", "-o", "p.plan"]).code(0);
    let refused = |args: &[&str], words: &str| {
        hecc(folder, &[&["train"], args].concat()).code(2).stderr(predicate::str::contains(words.to_owned()));
    };
    refused(&["p.plan", "--backend", "exact"], "takes the program it was compiled from");
    refused(&["p.plan", "--backend", "exact,clear", "--seeds", "2"], "takes the program it was compiled from");
    refused(&["p.rl", "--backend", "exact,exact"], "exact twice");
    refused(&["p.rl", "--backend", "ckks", "--noise"], "`--backend clear`");
    refused(&["p.rl", "--backend", "tfhe"], "a plan of CKKS");
    refused(&["p.rl", "--seeds", "2", "--resume", "s"], "--resume");
    hecc(folder, &["run", "p.plan", "--backend", "exact", "--inputs", "x", "--out", "y"])
        .code(2)
        .stderr(predicate::str::contains("hecc train"));
    assert!(!folder.join("runs").exists());
}

#[test]
fn a_learning_rate_that_the_features_do_not_bear_is_told() {
    let place = tempfile::tempdir().expect("a folder");
    let folder = place.path();
    for (lr, stable) in [(0.1, true), (50.0, false)] {
        std::fs::write(folder.join("p.rl"), linear(lr)).expect("writes");
        let out = format!("at-{lr}");
        let done =
            hecc(folder, &["train", "p.rl", "--backend", "exact", "--episodes", "1", "--out", &out, "--updates", "2", "--json"]).code(0);
        let line: serde_json::Value = serde_json::from_slice(&done.get_output().stdout).expect("JSON");
        let step = &line["step_sizes"][0];
        assert!(step["net"] == "q" && step["stable"] == stable && step["eigenvalue"].as_f64().is_some_and(|e| e > 0.0), "{line}");
        let told = String::from_utf8_lossy(&done.get_output().stderr).contains("warning: training of `q` will diverge");
        assert_eq!(told, !stable);
    }
}
