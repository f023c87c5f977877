//! `hecc audit` from outside: the report in its three forms, errors, and whether it agrees with `hecc explain --leakage`.

use assert_cmd::Command;
use hecc_audit::report::{Form, Report, Standing, Target};
use predicates::prelude::*;

const PROGRAM: &str = r#"
use std.dqn

env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
    client { r <- -done }
}

net q(s) -> [2] {
    dense 16 relu(degree: 2, range: [-2, 2])
    dense 2
}

train dqn(q) {
    batch     = 64
    updates   = 3
    optimizer = momentum(lr: 0.1)
}

secure ckks {
    secret  = [s, a, r, q]
    refresh = client
}
"#;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("dqn.rl"), PROGRAM).expect("it is written");
        Self(folder)
    }

    fn hecc(&self, args: &[&str]) -> assert_cmd::assert::Assert {
        Command::cargo_bin("hecc").expect("it is built").current_dir(self.0.path()).args(args).assert()
    }
}

#[test]
fn what_is_said_to_be_secret_cannot_be_read_and_what_is_not_can() {
    let folder = Folder::new();
    let out = folder.hecc(&["audit", "dqn.rl", "--samples", "64", "--json", "--html", "audit.html"]).code(0);
    let report = Report::of_json(&String::from_utf8(out.get_output().stdout.clone()).expect("text")).expect("a report");
    let leakage = folder.hecc(&["explain", "--leakage", "dqn.rl"]).code(0).get_output().stdout.clone();
    let leakage = String::from_utf8(leakage).expect("text");
    assert!(leakage.contains("hecc audit"), "{leakage}");
    // Static flow: what nobody but the client has, by both, is the same.
    let nobody = leakage.split("Nobody but the client learns").nth(1).expect("a section");
    for name in report.flow.secret.iter().filter(|name| !["weights", "gradients"].contains(&name.as_str())) {
        assert!(nobody.contains(name.as_str()), "{name} in {nobody}");
    }
    assert!(report.flow.sees.iter().all(|seen| seen.form != Form::Data) && !leakage.contains("which the program makes public"));
    // Measured: gradients would give everything away, what the server sees gives nothing.
    let agreement = report.flow.agreement.as_ref().expect("judged");
    assert!(agreement.agrees, "{}", agreement.why);
    for attempt in report.attacks.iter().flat_map(|attack| &attack.targets) {
        let expected = if attempt.target.is_encrypted() { Standing::Guessing } else { Standing::GivenAway };
        assert_eq!(attempt.standing, expected, "{:?}", attempt.target);
    }
    let page = std::fs::read_to_string(folder.0.path().join("audit.html")).expect("a page");
    assert!(page.contains("ciphertexts") && !page.contains("http://"));
    let published = folder.hecc(&["audit", "dqn.rl", "--samples", "16", "--publish", "--noise", "0.1", "--clip", "1"]).code(0);
    published.stdout(predicate::str::contains("encryption does not help"));
}

#[test]
fn exact_integers_are_audited_with_a_wrong_key_too() {
    let folder = Folder::new();
    let source = include_str!("../examples/integers/cartpole_dqn.rl");
    std::fs::write(folder.0.path().join("integers.rl"), source).expect("it is written");
    let out = folder.hecc(&["audit", "integers.rl", "--samples", "64", "--json"]).code(0);
    let report = Report::of_json(&String::from_utf8(out.get_output().stdout.clone()).expect("text")).expect("a report");
    let standing = |target: Target| {
        let mut attempts = report.attacks.iter().flat_map(|attack| &attack.targets);
        attempts.find(|attempt| attempt.target == target).map(|attempt| attempt.standing)
    };
    assert_eq!(standing(Target::ClearGradients), Some(Standing::GivenAway));
    assert_eq!(standing(Target::Ciphertexts), Some(Standing::Guessing));
    assert_eq!(standing(Target::WrongKey), Some(Standing::Guessing));
    assert!(report.flow.agreement.expect("judged").agrees);
    let leakage = folder.hecc(&["explain", "--leakage", "integers.rl"]).code(0);
    leakage.stdout(predicate::str::contains("hecc audit"));
}

#[test]
fn what_cannot_be_audited_is_told() {
    let folder = Folder::new();
    let serve = PROGRAM.split("train dqn").next().expect("text").to_owned() + "serve q(s) { batch = 2 }\n";
    std::fs::write(folder.0.path().join("serve.rl"), serve).expect("it is written");
    folder.hecc(&["audit", "serve.rl"]).code(1).stderr(predicate::str::contains("error[HE0701]"));
    let other = PROGRAM
        .replace("use std.dqn", "algorithm small(q) { parameter optimizer  minimize mean(sum(q(s)^2)) over q with optimizer }")
        .replace("train dqn(q)", "train small(q)");
    std::fs::write(folder.0.path().join("other.rl"), other).expect("it is written");
    folder.hecc(&["audit", "other.rl"]).code(1).stderr(predicate::str::contains("error[HE0702]"));
    folder.hecc(&["audit", "dqn.rl", "--noise", "-1"]).code(2);
    folder.hecc(&["audit", "dqn.rl", "--batch", "9"]).code(2);
    folder.hecc(&["audit", "no.rl"]).code(3);
    std::fs::write(folder.0.path().join("broken.rl"), "use std.dqn env").expect("it is written");
    folder.hecc(&["audit", "broken.rl"]).code(1).stderr(predicate::str::contains("HE0101"));
}
