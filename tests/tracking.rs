//! The scale of gradients that ciphertexts follow, against exact Adam's, on gradients of a real run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use hecc_compiler::check::hir::By;
use hecc_compiler::rehearsal::{self, Rehearsal};
use hecc_compiler::tracking::{self, Run};
use hecc_compiler::{Compiled, Options, compile_calibrated, fingerprint};
use hecc_plan::calibration::{Calibration, Gathered, Named};
use hecc_plan::noise::{self, Data};
use hecc_plan::{Tensor, Tensors};
use hecc_runtime::engine::{Backend, Engine, EngineError, Update};
use hecc_runtime::session::{Session, Settings, Updater};
use serde::{Deserialize, Serialize};

/// Coordinates that are recorded, of each network, and the updates.
const OF_EACH: usize = 8;
const STEPS: usize = 50;
/// Updates before the first that is recorded.
const BEFORE: usize = 100;
const BETA2: f64 = 0.99;

/// Gradients of a run with exact functions.
#[derive(Serialize, Deserialize)]
struct Recording {
    program: String,
    /// Mean squares as Adam had them, corrected for their start at 0.
    start: Vec<f64>,
    /// By update, then by coordinate.
    gradients: Vec<Vec<f64>>,
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gradients.json")
}

/// The fixture, the losses of both networks scaled so that their gradients fill [-1, 1].
fn recording() -> Recording {
    let recorded = std::fs::read(path()).expect("the fixture is there");
    let mut recording: Recording = serde_json::from_slice(&recorded).expect("it is a recording");
    for net in 0..2 {
        let own = net * OF_EACH..(net + 1) * OF_EACH;
        let largest = recording.gradients.iter().flat_map(|g| &g[own.clone()]).fold(0.0f64, |m, g| m.max(g.abs()));
        recording.gradients.iter_mut().flat_map(|g| &mut g[own.clone()]).for_each(|g| *g /= largest);
        recording.start[own].iter_mut().for_each(|v| *v /= largest * largest);
    }
    recording
}

struct Recorder {
    rehearsal: Rehearsal,
    done: usize,
    recording: Recording,
}

impl Updater for Recorder {
    fn update(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Update, EngineError> {
        let gradients = self.rehearsal.gradients(batch, states).expect("it fits");
        let chosen = ["actor.0.weight", "first.0.weight"].map(|name| {
            let step = gradients[name].len() / OF_EACH;
            (name, step)
        });
        let at = |values: &[f64], step: usize| (0..OF_EACH).map(|i| values[i * step]).collect::<Vec<f64>>();
        if self.done == BEFORE {
            let corrected = 1.0 - BETA2.powi(BEFORE as i32);
            for (name, step) in chosen {
                let square = &states[&format!("{name}.square")].data;
                self.recording.start.extend(at(square, step).iter().map(|v| v / corrected));
            }
        }
        if (BEFORE..BEFORE + STEPS).contains(&self.done) {
            self.recording.gradients.push(chosen.iter().flat_map(|(name, step)| at(&gradients[*name], *step)).collect());
        }
        self.done += 1;
        self.rehearsal.update(batch, states).map_err(EngineError::from).map(|_| Update::default())
    }
}

/// Writes the fixture.
#[test]
#[ignore = "writes the fixture, half a minute: cargo test --test suite -- --ignored records_gradients"]
fn records_gradients() {
    let file = "examples/pendulum_sac_mlp.rl";
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect("the example is there");
    let rehearsal = rehearsal::run(&source).expect("it compiles");
    let mut plan = rehearsal.plan.clone();
    let run = &mut plan.training.as_mut().expect("it trains").run;
    (run.updates, run.checkpoint) = (BEFORE + STEPS, 0);
    let recording = Recording { program: file.to_owned(), start: Vec::new(), gradients: Vec::new() };
    let mut recorder = Recorder { rehearsal, done: 0, recording };
    let session = Session::start(&plan, Settings::default()).expect("it starts");
    session.run(&mut recorder, &AtomicBool::new(false), &mut |_| ()).expect("it runs");
    let text = serde_json::to_string_pretty(&recorder.recording).expect("numbers are finite");
    std::fs::write(path(), text + "\n").expect("it can be written");
}

/// A program whose gradients are its data, tracked by `by`.
fn tracked(recording: &Recording, by: By, eps: f64) -> Compiled {
    let count = recording.start.len();
    let source = format!(
        r#"env "Other-v0" {{ observe s: [1] in [-1, 1]  observe x: [{count}] in [-1, 1]  act a: one of 2  reward r in [-1, 1] }}
net q(s) -> [{count}] {{ dense {count} nobias }}
algorithm track(q) {{ parameter optimizer  minimize mean(dot(q(s), x)) over q with optimizer }}
train track(q) {{ batch = 2 updates = {STEPS} optimizer = rmsprop(lr: 1e-3, rho: {BETA2}, eps: {eps}, by: {}) }}
secure ckks {{ refresh = bootstrap precision = 1e-6 }}"#,
        by.name()
    );
    let mut gathered = Gathered::default();
    recording.gradients.iter().for_each(|gradients| gathered.add(gradients));
    let spread = gathered.spread().expect("they are finite");
    let gradients = vec![Named { name: "q.0.weight".to_owned(), spread }];
    let calibration = Calibration { program: fingerprint(&source), gradients, ..Calibration::default() };
    let options = Options { insecure_log_n: Some(10), ..Options::default() };
    compile_calibrated(&source, &options, Some(&calibration)).unwrap_or_else(|e| panic!("{e:?}"))
}

/// Errors of step sizes, sorted, and how many of them are of scales that were lost.
fn followed(recording: &Recording, compiled: &Compiled, backend: Backend, eps: f64, steps: usize) -> (Vec<f64>, f64) {
    let plan = Arc::new(compiled.plan.clone());
    let mut states = hecc_plan::init::initial(&plan);
    let floor = eps * eps;
    // As the run had it: the scale of every coordinate.
    let set = |states: &mut Tensors, name: &str, value: &dyn Fn(f64) -> f64| {
        if let Some(state) = states.get_mut(name) {
            state.data = recording.start.iter().map(|&v| value(v)).collect();
        }
    };
    let unit = unit(compiled);
    set(&mut states, "q.0.weight.scale", &|v| eps / (v + floor).sqrt());
    set(&mut states, "q.0.weight.square", &|v| v / (unit * unit));
    let mut engine = Engine::insecure_for_tests(Arc::clone(&plan), backend, Tensors::new(), 0, &mut |_, _| {}).expect("it starts");
    let count = recording.start.len();
    let mut exact = recording.start.clone();
    let (mut errors, mut seconds) = (Vec::new(), 0.0);
    for (t, gradients) in recording.gradients.iter().take(steps).enumerate() {
        let rows = |values: &[f64]| values.repeat(2);
        let batch = Tensors::from([
            ("s".to_owned(), Tensor::new(vec![2, 1], vec![1.0; 2])),
            ("x".to_owned(), Tensor::new(vec![2, count], rows(gradients))),
            ("update".to_owned(), Tensor::new(vec![2], vec![t as f64; 2])),
        ]);
        seconds += engine.update(&batch, &mut states).expect("it runs").seconds;
        engine.fetch(&mut states).expect("it fetches");
        for (i, scale) in states["q.0.weight.scale"].data.iter().enumerate() {
            exact[i] = BETA2 * exact[i] + (1.0 - BETA2) * gradients[i] * gradients[i];
            errors.push((scale / eps * (exact[i] + floor).sqrt() - 1.0).abs());
        }
    }
    errors.sort_by(f64::total_cmp);
    (errors, seconds / steps as f64)
}

/// The largest gradient that the plan counts with: what a mean square starts from tells it.
fn unit(compiled: &Compiled) -> f64 {
    compiled.choices[0].constants.largest
}

fn median(errors: &[f64]) -> f64 {
    errors[errors.len() / 2]
}

/// A little more than the least ε of each recurrence for these gradients, and a hundredth of the largest where there is none.
fn eps(recording: &Recording, by: By) -> f64 {
    let compiled = tracked(recording, by, 0.9);
    let least = compiled.choices[0].variants[0].least_eps;
    (1.05 * least).max(1e-2)
}

/// Follows the recording by every recurrence, on clear slots and for `steps` on ciphertexts, and prints the table.
fn table(steps: usize) {
    let recording = recording();
    println!(
        "| recurrence | eps / G | levels to the weights, of its own | products | clear: median, largest | encrypted: median, largest | s/update |"
    );
    for by in By::ALL {
        let eps = eps(&recording, by);
        let compiled = tracked(&recording, by, eps);
        assert!(compiled.warnings.is_empty(), "{:?}", compiled.warnings);
        let best = compiled.choices[0].variants[0];
        assert!(best.by == by && best.holds);
        let (clear, _) = followed(&recording, &compiled, Backend::Clear, eps, STEPS);
        let (secret, seconds) = followed(&recording, &compiled, Backend::Ckks, eps, steps);
        let percent = |errors: &[f64]| format!("{:.2} %, {:.1} %", 100.0 * median(errors), 100.0 * errors[errors.len() - 1]);
        println!(
            "| {} | {:.1e} | {}, {} | {} | {} | {} | {seconds:.1} |",
            by.name(),
            eps / unit(&compiled),
            best.levels_to_weights,
            best.levels,
            best.products,
            percent(&clear),
            percent(&secret)
        );
        for errors in [&clear, &secret] {
            assert!(median(errors) < 0.02, "{}: median error {}", by.name(), median(errors));
            assert!(errors.iter().all(|error| *error < 0.9), "{} lost a scale", by.name());
        }
        assert!(clear != secret[..], "ciphertexts are noisy");
    }
}

#[test]
fn ciphertexts_follow_recorded_gradients() {
    table(2);
}

#[test]
#[ignore = "fifty encrypted updates by each recurrence, two minutes: cargo test --test suite -- --ignored --nocapture fifty"]
fn fifty_encrypted_steps_follow_recorded_gradients() {
    table(STEPS);
}

/// The noise that the rule counts with is what the prediction for the whole plan finds in a state.
#[test]
fn the_rule_counts_with_the_noise_of_a_state() {
    let recording = recording();
    let compiled = tracked(&recording, By::Newton, 0.2);
    let predicted = noise::precision(&compiled.plan, &Data::sample(&compiled.plan, 1), 0).expect("the sample fits");
    let square = predicted.iter().find(|p| p.name == "q.0.weight.square").expect("it is kept");
    let counted = compiled.choices[0].noise;
    println!("counted with {counted:.2e}, largest error predicted {:.2e}", square.error);
    assert!((0.2..12.0).contains(&(square.error / counted)), "{} and {counted}", square.error);
}

/// What the plan computes is the recurrence that the compiler measured.
#[test]
fn plans_follow_as_measured() {
    let recording = recording();
    for by in By::ALL {
        let eps = eps(&recording, by);
        let compiled = tracked(&recording, by, eps);
        let (ours, _) = followed(&recording, &compiled, Backend::Clear, eps, STEPS);
        let constants = compiled.choices[0].constants;
        let run = Run { by, constants, gradients: &recording.gradients, start: &recording.start, forgotten: 0 };
        let measured = tracking::errors(&run, |_, _| [0.0; 2]);
        assert!((median(&ours) - measured.median).abs() < 1e-6, "{}: {} and {}", by.name(), median(&ours), measured.median);
        assert!((ours[ours.len() - 1] - measured.largest).abs() < 1e-6);
    }
}
