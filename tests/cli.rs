//! The command from outside: exit statuses, outputs, and what is left on disk.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use hecc_plan::{
    ActionSpec, Ckks, ClearOp, ClearProgram, Collect, Content, EnvSpec, Explore, Geometry, Input, InputId, KeyManifest, Lanes, Layout,
    ObservationSpec, Op, Output, OutputId, Plan, Round, Run, Runs, Span, State, StateInit, Step, Target, Tensor, Tensors, Training, Wire,
    WireId,
};
use hecc_runtime::arrays;
use predicates::prelude::*;

const BATCH: usize = 16;

/// A secure little plan that sends weights and observations over and back: training that learns nothing.
fn plan() -> Plan {
    let ranges = vec![[-4.8, 4.8], [-4.0, 4.0], [-0.42, 0.42], [-4.0, 4.0]];
    let network = || {
        let mut program = ClearProgram::default();
        let s = program.push(ClearOp::Batch { name: "s".to_owned(), dim: 4 });
        let x = program.push(ClearOp::Normalise { x: s, ranges: ranges.clone() });
        let weight = program.push(ClearOp::State("q.0.weight".to_owned()));
        (program, x, weight)
    };
    let (mut policy, x, weight) = network();
    let act = policy.push(ClearOp::Dense { x, weight, bias: None });
    let (mut client, x, weight) = network();
    client.push(ClearOp::Batch { name: "a".to_owned(), dim: 2 });
    let wire = Wire { scale: 20, k: 60 };
    let (matrix, samples) = (Layout::Vector { period: 8, lanes: Lanes::All, runs: Runs::DENSE }, Layout::Samples { group: 0, period: 4 });
    let input =
        |label: &str, tensor, layout| Input { label: label.to_owned(), contents: vec![Content { tensor, layout, factor: 1.0 }], wire };
    let output = |label: &str, wire, tensor, layout| Output {
        label: label.to_owned(),
        wire: WireId(wire),
        contents: vec![Content { tensor, layout, factor: 1.0 }],
    };
    Plan {
        name: "echo".to_owned(),
        source: String::new(),
        ckks: Ckks { log_n: 12, base2k: 20, scale: 20, max_k: 60, log_modulus: 60, security_bits: 128 },
        geometry: Geometry { width: 8, lanes: 256, batch: BATCH },
        client,
        inputs: vec![input("weights", weight, matrix), input("states", x, samples)],
        plains: Vec::new(),
        matrices: Vec::new(),
        steps: (0..2).map(|i| Step { op: Op::Input(InputId(i)), wire, span: Span::default() }).collect(),
        outputs: vec![
            output("weights", 0, Target::State("q.0.weight".to_owned()), matrix),
            output("states", 1, Target::Result { name: "output".to_owned(), dim: 4 }, samples),
        ],
        rounds: vec![Round {
            inputs: vec![InputId(0), InputId(1)],
            steps: (0, 2),
            outputs: vec![OutputId(0), OutputId(1)],
            update: 0,
            saves: Vec::new(),
        }],
        states: vec![State {
            name: "q.0.weight".to_owned(),
            shape: vec![2, 4],
            init: StateInit::Orthogonal { gain: 0.5, stream: 0 },
            span: Span::default(),
        }],
        public: Vec::new(),
        carried: Vec::new(),
        bootstrap: None,
        keys: KeyManifest::default(),
        periods: Vec::new(),
        settled: Vec::new(),
        training: Some(Training {
            env: EnvSpec {
                id: "CartPole-v1".to_owned(),
                observations: vec![ObservationSpec { name: "s".to_owned(), shape: vec![4], ranges }],
                action: ("a".to_owned(), ActionSpec::Discrete(2)),
                reward: ("r".to_owned(), [-1.0, 1.0]),
                recode: None,
            },
            run: Run {
                batch: BATCH,
                updates: 6,
                warmup: 50,
                capacity: 100,
                envs: 2,
                every: 4,
                collect: Collect::Online,
                n_step: 2,
                discount: 0.9,
                average: None,
                seed: 3,
                evaluate: 2,
                checkpoint: 2,
                explore: Explore::Epsilon(1.0, 0.1, 20),
                out_of_range: hecc_plan::Escape::Warn,
            },
            policy,
            watch: Default::default(),
            act,
            release: vec![("q.0.weight".to_owned(), "q.0.weight".to_owned())],
            served: None,
        }),
        notes: Vec::new(),
        decisions: Vec::new(),
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().expect("a folder"));
        folder.write("echo.plan", hecc_plan::write(&plan()).as_bytes());
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.path(name), bytes).expect("writes");
    }

    fn arrays(&self, name: &str, tensors: &Tensors) {
        self.write(name, &arrays::write(tensors, None).expect("writes"));
    }

    fn hecc(&self, args: &[&str]) -> assert_cmd::assert::Assert {
        // No table of costs but the built-in one, wherever the tests run.
        Command::cargo_bin("hecc").expect("the command").current_dir(self.0.path()).env("XDG_DATA_HOME", self.0.path()).args(args).assert()
    }
}

fn inputs() -> Tensors {
    let numbers = |count: usize, scale: f64| (0..count).map(|i| scale * ((i * 7 % 11) as f64 / 11.0 - 0.5)).collect::<Vec<_>>();
    Tensors::from([
        ("s".to_owned(), Tensor::new(vec![BATCH, 4], numbers(4 * BATCH, 1.0))),
        ("a".to_owned(), Tensor::new(vec![BATCH], (0..BATCH).map(|i| (i % 2) as f64).collect())),
        ("q.0.weight".to_owned(), Tensor::new(vec![2, 4], numbers(8, 1.0))),
    ])
}

fn read(path: &Path) -> Tensors {
    arrays::read(&std::fs::read(path).expect("reads")).expect("arrays")
}

#[test]
fn wrong_use_ends_with_2() {
    let folder = Folder::new();
    folder.hecc(&[]).code(2);
    folder.hecc(&["learn"]).code(2);
    folder.hecc(&["check"]).code(2);
    folder.hecc(&["train", "echo.plan", "--backend", "rsa"]).code(2);
    folder.hecc(&["explain", "HE9999"]).code(2).stderr(predicate::str::contains("HE9999"));
    folder.hecc(&["std", "alchemy"]).code(2).stderr(predicate::str::contains("double_dqn"));
    folder.hecc(&["--help"]).code(0).stdout(predicate::str::contains("Exit status"));
}

const PROGRAM: &str = "use std.dqn
env \"CartPole-v1\" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act a: one of 2
    reward r in [-1, 1]
}
net q(s) -> [2] { dense 4 silu dense 2 init small }
train dqn(q) { batch = 16 updates = 5 warmup = 50 optimizer = momentum(lr: 0.1) }
secure ckks { refresh = client client = [max] }
";

#[test]
fn ranges_are_measured_taken_up_and_left_alone_when_stale() {
    let folder = Folder::new();
    folder.write("p.rl", PROGRAM.as_bytes());
    let compiled = |expected: &str| folder.hecc(&["compile", "p.rl"]).code(0).stdout(predicate::str::contains(expected.to_owned()));
    compiled("note: silu: degree");
    let first = folder.hecc(&["calibrate", "p.rl"]).code(0).stdout(predicate::str::contains("silu after q.0"));
    drop(first);
    compiled("measured over 5 updates").stderr(predicate::str::is_empty());
    let again = std::fs::read(folder.path("p.ranges.json")).expect("reads");
    folder.hecc(&["calibrate", "p.rl"]).code(0);
    assert_eq!(std::fs::read(folder.path("p.ranges.json")).expect("reads"), again, "the same run, the same ranges");
    folder.hecc(&["calibrate", "p.rl", "--updates", "2"]).code(0);
    compiled("measured over 2 updates");
    folder.write("p.rl", format!("// changed\n{PROGRAM}").as_bytes());
    folder
        .hecc(&["compile", "p.rl"])
        .code(0)
        .stdout(predicate::str::contains("measured").not())
        .stderr(predicate::str::contains("p.ranges.json is not used").and(predicate::str::contains("calibrate again")));
    folder.write("p.ranges.json", b"{");
    folder.hecc(&["compile", "p.rl"]).code(0).stderr(predicate::str::contains("is not used"));
}

#[test]
fn ranges_can_be_measured_on_given_data() {
    let folder = Folder::new();
    folder.write("p.rl", PROGRAM.replace("CartPole-v1", "Other-v0").as_bytes());
    folder.hecc(&["calibrate", "p.rl"]).code(1).stderr(predicate::str::contains("Other-v0"));
    let rows = 40;
    let numbers = |dim: usize| Tensor::new(vec![rows, dim], (0..rows * dim).map(|i| (i * 7 % 11) as f64 / 11.0 - 0.5).collect());
    let flat = |f: fn(usize) -> f64| Tensor::new(vec![rows], (0..rows).map(f).collect());
    let mut data = Tensors::from([
        ("s".to_owned(), numbers(4)),
        ("s_next".to_owned(), numbers(4)),
        ("a".to_owned(), flat(|i| (i % 2) as f64)),
        ("r".to_owned(), flat(|i| (i % 3) as f64 - 1.0)),
        ("done".to_owned(), flat(|i| f64::from(u8::from(i % 9 == 8)))),
    ]);
    folder.arrays("data", &data);
    folder.hecc(&["calibrate", "p.rl", "--data", "data"]).code(0).stdout(predicate::str::contains("gradient of q.0.weight"));
    data.remove("r");
    folder.arrays("data", &data);
    folder.hecc(&["calibrate", "p.rl", "--data", "data"]).code(2).stderr(predicate::str::contains("`r` is missing"));
}

#[test]
fn missing_and_damaged_files_end_with_3() {
    let folder = Folder::new();
    folder.hecc(&["check", "no.rl"]).code(3).stderr(predicate::str::contains("no.rl"));
    let whole = std::fs::read(folder.path("echo.plan")).expect("reads");
    folder.write("cut.plan", &whole[..whole.len() / 2]);
    folder.hecc(&["init", "cut.plan", "-o", "w"]).code(3).stderr(predicate::str::contains("HE0513"));
    let text = String::from_utf8(whole).expect("text").replacen(&format!("\"version\":{}", hecc_plan::VERSION), "\"version\":9", 1);
    folder.write("newer.plan", text.as_bytes());
    folder.hecc(&["init", "newer.plan", "-o", "w"]).code(3).stderr(predicate::str::contains("HE0512"));
    folder.hecc(&["train", "echo.plan", "--resume", "nowhere"]).code(3).stderr(predicate::str::contains("HE0666"));
    assert!(!folder.path("w").exists());
}

#[test]
fn a_plan_that_is_to_be_read_does_not_run() {
    let folder = Folder::new();
    folder.write("p.rl", PROGRAM.as_bytes());
    let printed = folder.hecc(&["compile", "p.rl", "--emit", "plan"]).code(0).get_output().stdout.clone();
    folder.write("p.plan", &printed);
    for command in ["train", "explain", "check"] {
        folder.hecc(&[command, "p.plan"]).code(2).stderr(predicate::str::contains("-o PLAN"));
    }
}

#[test]
fn of_many_errors_the_first_are_shown() {
    let folder = Folder::new();
    folder.write("junk.rl", PROGRAM.replace("use std.dqn", &"@\n".repeat(50)).as_bytes());
    let shown = predicate::str::contains("HE0107").count(20).and(predicate::str::contains("... and 30 more"));
    folder.hecc(&["check", "junk.rl"]).code(1).stderr(shown);
}

#[test]
fn programs_are_checked_laid_out_and_explained() {
    let folder = Folder::new();
    folder.write("empty.rl", b"");
    folder.write("bad.rl", b"env \"CartPole-v1\" {\n    observe s [4]\n}\nnet q(s) -> [2] { dense }\n");
    folder.write("binary.rl", &[0xff, 0xfe, 0]);
    folder.write("long.rl", &vec![b'x'; 10 << 20]);
    for file in ["empty.rl", "bad.rl", "binary.rl", "long.rl"] {
        folder.hecc(&["check", file]).code(1).stderr(predicate::str::contains(file));
        folder.hecc(&["train", file]).code(1);
    }
    folder
        .hecc(&["check", "bad.rl", "empty.rl", "no.rl"])
        .code(3)
        .stderr(predicate::str::contains("bad.rl").and(predicate::str::contains("empty.rl")));
    folder.hecc(&["explain", "he0101"]).code(0).stdout(predicate::str::contains("HE0101"));
    folder.hecc(&["std"]).code(0).stdout(predicate::str::contains("dqn\ndouble_dqn"));
    folder.hecc(&["std", "dqn"]).code(0).stdout(predicate::str::contains("algorithm dqn"));
    folder.write("loose.rl", b"use   std.dqn // the algorithm\n");
    folder.hecc(&["fmt", "--check", "loose.rl"]).code(1).stderr(predicate::str::contains("loose.rl"));
    folder.hecc(&["fmt", "loose.rl"]).code(0);
    folder.hecc(&["fmt", "--check", "loose.rl"]).code(0);
    assert!(std::fs::read_to_string(folder.path("loose.rl")).expect("reads").contains("use std.dqn"));
}

#[test]
fn an_update_comes_back_by_either_backend() {
    let folder = Folder::new();
    folder.arrays("in.safetensors", &inputs());
    let mut outputs = Vec::new();
    for backend in ["clear", "ckks"] {
        let out = format!("{backend}.safetensors");
        let done = folder.hecc(&["run", "echo.plan", "--inputs", "in.safetensors", "--out", &out, "--backend", backend]);
        done.code(0).stderr(predicate::str::contains("`s` was").and(predicate::str::contains("clipped")));
        outputs.push(read(&folder.path(&out)));
    }
    assert_eq!(outputs[0]["q.0.weight"].shape, [2, 4]);
    assert_eq!(outputs[0]["output"].shape, [BATCH, 4]);
    for (name, clear) in &outputs[0] {
        let encrypted = &outputs[1][name];
        assert!(clear.data.iter().zip(&encrypted.data).all(|(a, b)| (a - b).abs() < 0.01), "{name}: {clear:?} {encrypted:?}");
    }
}

#[test]
fn an_update_of_a_server_alone_comes_back() {
    let folder = Folder::new();
    let source = include_str!("golden/tiles.rl");
    folder.write("alone.rl", source.as_bytes());
    folder.write("client.rl", source.replace("refresh = bootstrap", "refresh = client").as_bytes());
    folder.hecc(&["init", "alone.rl", "-o", "w.safetensors"]).code(0);
    let start = read(&folder.path("w.safetensors"));
    let mut tensors = start.clone();
    tensors.insert("s".to_owned(), Tensor::new(vec![8, 4], (0..32).map(|i| f64::from(i % 7) / 7.0 - 0.4).collect()));
    tensors.insert("a".to_owned(), Tensor::new(vec![8, 2], (0..16).map(|i| f64::from(u8::from(i % 4 == 0 || i % 4 == 3))).collect()));
    tensors.insert("r".to_owned(), Tensor::new(vec![8], (0..8).map(|i| f64::from(i) / 8.0 - 0.5).collect()));
    folder.arrays("in.safetensors", &tensors);
    let [alone, client] = ["alone", "client"].map(|name| {
        let (file, out) = (format!("{name}.rl"), format!("{name}.safetensors"));
        folder.hecc(&["run", &file, "--inputs", "in.safetensors", "--out", &out, "--backend", "clear"]).code(0);
        read(&folder.path(&out))
    });
    let apart = |a: &Tensor, b: &Tensor| a.data.iter().zip(&b.data).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    for (name, weight) in &start {
        assert!(apart(&alone[name], &client[name]) < 1e-6, "{name}");
        assert!(apart(&alone[name], weight) > 1e-4, "{name} stays as it was");
    }
}

#[test]
fn arrays_that_do_not_fit_are_named() {
    let folder = Folder::new();
    let refused = |change: &dyn Fn(&mut Tensors), code: &str, words: &str| {
        let mut tensors = inputs();
        change(&mut tensors);
        folder.arrays("in.safetensors", &tensors);
        folder
            .hecc(&["run", "echo.plan", "--inputs", "in.safetensors", "--out", "out", "--backend", "clear"])
            .code(2)
            .stderr(predicate::str::contains(code).and(predicate::str::contains(words)));
        assert!(!folder.path("out").exists());
    };
    refused(&|t| drop(t.remove("s")), "HE0653", "`s` is missing");
    refused(&|t| drop(t.remove("q.0.weight")), "HE0653", "`q.0.weight` is missing");
    refused(&|t| drop(t.insert("s".to_owned(), Tensor::zeros(&[BATCH, 3]))), "HE0654", "[16, 3]");
    refused(&|t| drop(t.insert("s".to_owned(), Tensor::zeros(&[BATCH + 1, 4]))), "HE0655", "17 samples");
    refused(&|t| t.get_mut("s").expect("s").data[5] = f64::NAN, "HE0656", "NaN");
    refused(&|t| t.get_mut("a").expect("a").data[3] = 2.0, "HE0656", "`a` holds 2 at 3");
    refused(&|t| drop(t.insert("q.0.weight".to_owned(), Tensor::zeros(&[4, 2]))), "HE0654", "`q.0.weight`");
    folder.write("in.safetensors", b"not arrays");
    folder.hecc(&["run", "echo.plan", "--inputs", "in.safetensors", "--out", "out"]).code(2).stderr(predicate::str::contains("HE0651"));
}

#[test]
fn initial_weights_are_the_plans() {
    let folder = Folder::new();
    folder.hecc(&["init", "echo.plan", "-o", "w.safetensors"]).code(0);
    assert_eq!(read(&folder.path("w.safetensors")), hecc_plan::init::initial(&plan()));
}

#[test]
fn a_run_trains_reports_and_resumes() {
    let folder = Folder::new();
    let train = ["train", "echo.plan", "--backend", "clear", "--episodes", "3"];
    let done = folder.hecc(&[&train[..], &["--out", "a", "--json"]].concat()).code(0);
    let line: serde_json::Value = serde_json::from_slice(&done.get_output().stdout).expect("one JSON object");
    for (key, value) in [("updates", 6), ("episodes", 3), ("seed", 3)] {
        assert_eq!(line[key], value, "{line}");
    }
    assert_eq!(line["backend"], "clear");
    for key in ["return_mean", "seconds_per_update", "bytes_to_server", "bytes_to_client", "seconds", "out"] {
        assert!(!line[key].is_null(), "{key} in {line}");
    }
    // The folder is taken now; the same run elsewhere, in two parts, ends the same.
    folder.hecc(&[&train[..], &["--out", "a"]].concat()).code(2).stderr(predicate::str::contains("HE0665"));
    folder.hecc(&[&train[..], &["--out", "b", "--updates", "3"]].concat()).code(0).stdout(predicate::str::contains("greedy episodes"));
    folder.hecc(&["train", "echo.plan", "--episodes", "3", "--resume", "b"]).code(0).stdout(predicate::str::contains("clear"));
    let weights = |run: &str| read(&folder.path(run).join("weights.safetensors"));
    assert_eq!(weights("a"), weights("b"));
    folder.hecc(&train).code(0);
    assert!(folder.path("runs/echo-1/checkpoint").exists());
}

#[test]
#[cfg(unix)]
fn ctrl_c_leaves_a_checkpoint() {
    let folder = Folder::new();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_hecc"))
        .current_dir(folder.0.path())
        .args(["train", "echo.plan", "--backend", "clear", "--updates", "100000000", "--out", "run"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("starts");
    // Training is under way once there is a checkpoint.
    let checkpoint = folder.path("run/checkpoint");
    for _ in 0..600 {
        if checkpoint.exists() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill");
    let mut words = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().expect("piped"), &mut words).expect("reads");
    assert_eq!(child.wait().expect("ends").code(), Some(130), "{words}");
    assert!(words.contains("--resume run"), "{words}");
    let done = hecc_runtime::session::Checkpoint::read(&folder.path("run")).expect("a whole checkpoint").notes.updates;
    assert!(done > 0);
    let more = (done + 1).to_string();
    folder.hecc(&["train", "echo.plan", "--resume", "run", "--updates", &more, "--episodes", "1"]).code(0);
}

#[test]
#[cfg(unix)]
fn a_reader_that_goes_away_is_no_error() {
    let folder = Folder::new();
    let script = format!("'{}' std dqn | true; exit \"${{PIPESTATUS[0]}}\"", env!("CARGO_BIN_EXE_hecc"));
    let status = std::process::Command::new("bash").current_dir(folder.0.path()).args(["-c", &script]).status().expect("bash");
    assert_eq!(status.code(), Some(0));
}

/// A program with a name that a page must not take for its own.
const HOSTILE: &str = r#"
env "</script><b>&" { observe s: [4] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }
net q(s) -> [2] { dense 8 relu(degree: 2, range: [-2, 2])  dense 2 }
algorithm fit(q) {
    parameter optimizer
    reveal mean((dot(q(s), a) - r)^2) as "loss<i>"
    minimize mean((dot(q(s), a) - r)^2) over q with optimizer
}
train fit(q) { batch = 16 updates = 3 optimizer = sgd(lr: 0.25) }
secure ckks { secret = [s, a, r, q] refresh = client }
"#;

#[test]
fn precision_that_is_out_of_reach_is_said() {
    let folder = Folder::new();
    let with = |precision: &str| {
        folder.write("fit.rl", HOSTILE.replace("refresh = client", &format!("refresh = client precision = {precision}")).as_bytes());
        folder.hecc(&["compile", "fit.rl"]).code(0)
    };
    with("1e-3").stdout(predicate::str::contains("bits or more\n"));
    with("1e-12").stdout(predicate::str::contains("bits or more, less than the 39.9 asked for"));
}

#[test]
fn costs_are_measured_kept_and_refused() {
    let folder = Folder::new();
    folder.write("fit.rl", HOSTILE.as_bytes());
    folder.hecc(&["calibrate"]).code(2).stderr(predicate::str::contains("--machine"));
    folder.hecc(&["calibrate", "--machine", "--quick", "--lookups", "without", "--rings", "12", "12", "--out", "costs.json"]).code(0);
    let kept = std::fs::read_to_string(folder.path("costs.json")).expect("reads");
    folder.hecc(&["calibrate", "--machine", "--bootstraps", "only", "--rings", "12", "12", "--out", "costs.json"]).code(0);
    assert_eq!(std::fs::read_to_string(folder.path("costs.json")).expect("reads"), kept, "no bootstrap is offered in that ring");
    let predicted = |args: &[&str]| -> serde_json::Value {
        let done = folder.hecc(&[&["compile", "fit.rl", "--json"], args].concat()).code(0);
        serde_json::from_slice(&done.get_output().stdout).expect("one JSON object")
    };
    let (built_in, own) = (predicted(&[]), predicted(&["--costs", "costs.json"]));
    for key in ["predicted_seconds_per_update", "predicted_peak_bytes", "predicted_precision_bits", "key_bytes"] {
        assert!(built_in[key].as_f64().is_some_and(|value| value > 0.0), "{key} in {built_in}");
    }
    assert_ne!(built_in["predicted_seconds_per_update"], own["predicted_seconds_per_update"]);
    let whole = std::fs::read_to_string(folder.path("costs.json")).expect("reads");
    let refused = |text: &str, status: i32, code: &str| {
        folder.write("other.json", text.as_bytes());
        folder.hecc(&["compile", "fit.rl", "--costs", "other.json"]).code(status).stderr(predicate::str::contains(code));
    };
    refused("{}", 2, "HE0521");
    refused("no table", 2, "HE0521");
    refused(&whole.replacen("\"version\":1", "\"version\":9", 1), 3, "HE0522");
    refused(&whole[..whole.len() / 2], 3, "HE0523");
    refused(&whole.replacen("\"limbs\":1", "\"limbs\":0", 1), 3, "HE0523");
    folder.hecc(&["compile", "fit.rl", "--costs", "nowhere.json"]).code(3).stderr(predicate::str::contains("nowhere.json"));
    // Left where a user's table is looked for, it is found.
    folder.hecc(&["calibrate", "--machine", "--quick", "--lookups", "without", "--rings", "12", "12"]).code(0);
    assert!(folder.path("hecc/costs.json").exists());
}

#[test]
fn too_much_memory_is_refused_with_what_takes_it() {
    let folder = Folder::new();
    folder.write("fit.rl", HOSTILE.as_bytes());
    let refused = folder.hecc(&["compile", "fit.rl", "--memory", "0.01", "-o", "fit.plan"]).code(1);
    refused.stderr(predicate::str::contains("HE0531").and(predicate::str::contains("MiB of evaluation keys")));
    assert!(!folder.path("fit.plan").exists());
    folder.hecc(&["compile", "fit.rl", "--memory", "8", "-o", "fit.plan"]).code(0).stdout(predicate::str::contains("peak memory"));
}

#[test]
fn the_link_that_is_named_is_the_one_that_is_predicted() {
    let folder = Folder::new();
    folder.write("fit.rl", HOSTILE.as_bytes());
    let seconds = |more: &[&str]| -> f64 {
        let text = folder.hecc(&[&["compile", "fit.rl", "--json"], more].concat()).code(0).get_output().stdout.clone();
        let summary: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        summary["predicted_link_seconds"].as_f64().expect("a number")
    };
    let (near, slow) = (seconds(&[]), seconds(&["--bandwidth", "100"]));
    // Ten times as long, but for what the plan does about it.
    assert!((5.0..10.0 + 1e-6).contains(&(slow / near)), "{near} and {slow}");
    assert!(seconds(&["--round-trip", "50"]) > near + 0.049);
    let told = folder.hecc(&["compile", "fit.rl", "--bandwidth", "100", "--round-trip", "50"]).code(0);
    told.stdout(predicate::str::contains("over 100 Mbit/s and 50 ms a round trip"));
    folder.hecc(&["compile", "fit.rl", "--bandwidth", "0"]).code(2).stderr(predicate::str::contains("above zero"));
}

#[test]
fn plans_are_explained_and_drawn() {
    let folder = Folder::new();
    folder.write("fit.rl", HOSTILE.as_bytes());
    folder.hecc(&["compile", "fit.rl", "-o", "fit.plan"]).code(0);
    let explained = folder.hecc(&["explain", "fit.rl"]).code(0).get_output().stdout.clone();
    let explained = String::from_utf8(explained).expect("text");
    for words in ["Ring of the plan", "relu, line 3", "degree 2 on [-2, 2]", "otherwise", "by operation", "by source line", "minimize"] {
        assert!(explained.contains(words), "{words} in {explained}");
    }
    // A plan has no source, but the same decisions.
    folder.hecc(&["explain", "fit.plan"]).code(0).stdout(predicate::str::contains("Activation of relu"));
    folder.hecc(&["compile", "fit.rl", "-O1", "--without", "saturate"]).code(0);
    folder.hecc(&["compile", "fit.rl", "--without", "magic"]).code(2).stderr(predicate::str::contains("saturate"));
    folder.hecc(&["compile", "fit.rl", "-O4"]).code(2);
    folder.hecc(&["explain", "no.rl"]).code(3).stderr(predicate::str::contains("no.rl"));
    let leaks = ["fit.rl", "fit.plan"].map(|file| folder.hecc(&["explain", "--leakage", file]).code(0).get_output().stdout.clone());
    assert_eq!(leaks[0], leaks[1]);
    let leaks = String::from_utf8(leaks[0].clone()).expect("text");
    for words in
        ["The server learns", "16 samples", "3 updates", "q.0.weight [8, 4]", "The client learns", "`loss<i>`, one number per update"]
    {
        assert!(leaks.contains(words), "{words} in {leaks}");
    }
    let dot = folder.hecc(&["compile", "fit.rl", "--emit", "dot"]).code(0);
    dot.stdout(predicate::str::starts_with("digraph plan {").and(predicate::str::contains("bits left")));
    let page = folder.hecc(&["compile", "fit.rl", "--emit", "html"]).code(0).get_output().stdout.clone();
    let page = String::from_utf8(page).expect("text");
    assert!(page.contains("&lt;/script&gt;&lt;b&gt;&amp;") && page.contains("loss&lt;i&gt;"));
    assert!(!page.contains("<b>&") && !page.contains("<i>\"") && !page.contains("loss<i>"));
    assert_eq!(page.matches("</script>").count(), 1);
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "the page names {outside}");
    }
}
