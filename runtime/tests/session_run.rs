//! The training session around a stand-in for the engine: repeatable, resumable, and careful with its files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use hecc_plan::{
    ActionSpec, Ckks, ClearOp, ClearProgram, Collect, EnvSpec, Escape, Explore, Geometry, KeyManifest, ObservationSpec, Plan, Run, Span,
    State, StateInit, Tensor, Tensors, Training, Watched,
};
use hecc_runtime::arrays;
use hecc_runtime::engine::{EngineError, Update};
use hecc_runtime::session::checkpoint::FILE;
use hecc_runtime::session::{Checkpoint, Event, Outcome, Session, SessionError, Settings, Updater, WEIGHTS};

/// A plan without steps: the session never looks at them.
fn plan(collect: Collect) -> Plan {
    let mut policy = ClearProgram::default();
    let s = policy.push(ClearOp::Batch { name: "s".to_owned(), dim: 4 });
    let ranges = vec![[-4.8, 4.8], [-4.0, 4.0], [-0.42, 0.42], [-4.0, 4.0]];
    let x = policy.push(ClearOp::Normalise { x: s, ranges: ranges.clone() });
    let weight = policy.push(ClearOp::State("q.0.weight".to_owned()));
    let act = policy.push(ClearOp::Dense { x, weight, bias: None });
    let mut recode = ClearProgram::default();
    let done = recode.push(ClearOp::Batch { name: "done".to_owned(), dim: 1 });
    let reward = recode.push(ClearOp::Affine { x: done, factor: -1.0, offset: 0.0 });
    let mut client = ClearProgram::default();
    client.push(ClearOp::Batch { name: "eps".to_owned(), dim: 3 });
    Plan {
        name: "test".to_owned(),
        source: String::new(),
        ckks: Ckks { log_n: 12, base2k: 20, scale: 20, max_k: 60, log_modulus: 60, security_bits: 128 },
        geometry: Geometry { width: 4, lanes: 512, batch: 16 },
        client,
        inputs: Vec::new(),
        plains: Vec::new(),
        matrices: Vec::new(),
        steps: Vec::new(),
        outputs: Vec::new(),
        rounds: Vec::new(),
        states: [
            ("q.0.weight", StateInit::Orthogonal { gain: 0.1, stream: 0 }),
            ("q.0.weight.average", StateInit::Copy("q.0.weight".to_owned())),
        ]
        .map(|(name, init)| State { name: name.to_owned(), shape: vec![2, 4], init, span: Span::default() })
        .to_vec(),
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
                recode: Some((recode, reward)),
            },
            run: Run {
                batch: 16,
                updates: 23,
                warmup: 100,
                capacity: 150,
                envs: 3,
                every: 4,
                collect,
                n_step: 3,
                discount: 0.9,
                average: Some(0.1),
                seed: 5,
                evaluate: 2,
                checkpoint: 10,
                explore: Explore::Epsilon(0.5, 0.1, 40),
                out_of_range: Escape::Warn,
            },
            policy,
            watch: Default::default(),
            act,
            release: vec![("q.0.weight".to_owned(), "q.0.weight.average".to_owned())],
            served: None,
        }),
        notes: Vec::new(),
        decisions: Vec::new(),
    }
}

/// Moves the weights by something that depends on every array of the batch.
#[derive(Default)]
struct Fake {
    fail_at: Option<usize>,
    calls: usize,
    /// Keeps the states to itself until they are fetched.
    carries: bool,
    held: Option<Tensors>,
}

impl Updater for Fake {
    fn fetch(&mut self, states: &mut Tensors) -> Result<(), EngineError> {
        if let Some(held) = &self.held {
            states.clone_from(held);
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.held = None;
    }

    fn update(&mut self, batch: &Tensors, states: &mut Tensors) -> Result<Update, EngineError> {
        let states = if self.carries { self.held.get_or_insert_with(|| states.clone()) } else { states };
        self.calls += 1;
        if self.fail_at == Some(self.calls) {
            return Err(EngineError::Array("the stand-in fails".to_owned()));
        }
        assert_eq!(batch.keys().collect::<Vec<_>>(), ["a", "done", "eps", "r", "s", "s_next", "update"]);
        assert!(batch.values().all(|t| t.shape[0] == 16));
        assert!(batch["r"].data.iter().all(|r| (-1.0..=0.0).contains(r)), "recoded: {:?}", batch["r"]);
        let weight = states.get_mut("q.0.weight").expect("the weights");
        for (i, w) in weight.data.iter_mut().enumerate() {
            let sum = |name: &str, from: usize, step: usize| batch[name].data.iter().skip(from).step_by(step).sum::<f64>();
            let signal = sum("s", i % 4, 4) + sum("s_next", i % 4, 4) * sum("a", i / 4, 2) + sum("r", 0, 1) + sum("eps", i % 3, 3);
            *w = 0.9 * *w + 0.001 * signal;
        }
        let weight = weight.data.clone();
        let average = states.get_mut("q.0.weight.average").expect("the average");
        average.data.iter_mut().zip(weight).for_each(|(a, w)| *a += 0.1 * (w - *a));
        Ok(Update {
            results: BTreeMap::from([("loss".to_owned(), Tensor::scalar(self.calls as f64))]),
            outgrown: Vec::new(),
            bytes_to_server: 10,
            bytes_to_client: 1,
            seconds: 0.5,
            client_seconds: 0.1,
            server_seconds: 0.4,
        })
    }
}

fn settings(folder: Option<&Path>) -> Settings {
    Settings { folder: folder.map(Path::to_owned), backend: "clear".to_owned(), episodes: 5, stop_out_of_range: false }
}

fn whole(plan: &Plan) -> Outcome {
    whole_of(plan, Fake::default())
}

fn carrying() -> Fake {
    Fake { carries: true, ..Fake::default() }
}

fn whole_of(plan: &Plan, mut fake: Fake) -> Outcome {
    let session = Session::start(plan, settings(None)).expect("starts");
    session.run(&mut fake, &AtomicBool::new(false), &mut |_| ()).expect("runs")
}

/// Runs until `update` and stops there, as Ctrl-C does.
fn interrupted(plan: &Plan, folder: &Path, update: usize, mut fake: Fake) -> Outcome {
    let stop = AtomicBool::new(false);
    let session = Session::start(plan, settings(Some(folder))).expect("starts");
    let observe = &mut |event: Event<'_>| {
        if let Event::Updated(progress) = event
            && progress.update == update
        {
            stop.store(true, Ordering::Relaxed);
        }
    };
    session.run(&mut fake, &stop, observe).expect("runs")
}

fn resumed(plan: &Plan, folder: &Path, mut fake: Fake) -> Outcome {
    let checkpoint = Checkpoint::read(folder).expect("reads");
    let session = Session::resume(plan, settings(Some(folder)), checkpoint).expect("resumes");
    session.run(&mut fake, &AtomicBool::new(false), &mut |_| ()).expect("runs")
}

#[test]
fn a_resumed_run_ends_as_if_it_had_not_stopped() {
    for collect in [Collect::Online, Collect::Random(200)] {
        let plan = plan(collect);
        let straight = whole(&plan);
        assert_eq!(straight.states, whole(&plan).states, "the same seed gives the same result");
        let alone = whole_of(&plan, carrying());
        assert_eq!((alone.states, alone.returns), (straight.states.clone(), straight.returns.clone()), "others carry the states");
        for (stop_at, fake) in [(1, Fake::default as fn() -> Fake), (7, Fake::default), (20, Fake::default), (7, carrying)] {
            let folder = tempfile::tempdir().expect("a folder");
            let first = interrupted(&plan, folder.path(), stop_at, fake());
            assert!(first.interrupted && first.updates == stop_at && first.returns.is_empty());
            let second = resumed(&plan, folder.path(), fake());
            assert_eq!(second.states, straight.states, "{collect:?} stopped at {stop_at}");
            assert_eq!(second.weights, straight.weights);
            assert_eq!(second.returns, straight.returns);
            assert_eq!(second.totals, straight.totals);
            let file = std::fs::read(folder.path().join(WEIGHTS)).expect("the weights");
            assert_eq!(arrays::read(&file).expect("reads"), straight.weights);
        }
    }
}

#[test]
fn another_seed_gives_another_result() {
    let mut other = plan(Collect::Online);
    other.training.as_mut().expect("a training plan").run.seed = 6;
    assert_ne!(whole(&plan(Collect::Online)).states, whole(&other).states);
}

#[test]
fn a_failed_update_leaves_a_checkpoint_of_before() {
    let plan = plan(Collect::Online);
    for carries in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let session = Session::start(&plan, settings(Some(folder.path()))).expect("starts");
        let mut fake = Fake { fail_at: Some(15), carries, ..Fake::default() };
        let error = session.run(&mut fake, &AtomicBool::new(false), &mut |_| ()).expect_err("it fails");
        assert!(matches!(error, SessionError::Engine(_)));
        assert_eq!(Checkpoint::read(folder.path()).expect("reads").notes.updates, 14);
        assert_eq!(resumed(&plan, folder.path(), Fake::default()).states, whole(&plan).states);
    }
}

#[test]
fn damaged_and_foreign_checkpoints_are_refused_and_left_alone() {
    let plan = plan(Collect::Random(50));
    let folder = tempfile::tempdir().expect("a folder");
    interrupted(&plan, folder.path(), 2, Fake::default());
    let path = folder.path().join(FILE);
    let good = std::fs::read(&path).expect("reads");

    let taken = Session::start(&plan, settings(Some(folder.path()))).err().expect("the folder holds a run");
    assert_eq!(taken.code(), "HE0665");

    let mut other = plan.clone();
    other.states[0].shape = vec![2, 5];
    let checkpoint = Checkpoint::read(folder.path()).expect("reads");
    assert_eq!(Session::resume(&other, settings(None), checkpoint.clone()).err().expect("another plan").code(), "HE0664");

    let mut fewer = checkpoint.clone();
    fewer.replay.pop();
    assert_eq!(Session::resume(&plan, settings(None), fewer).err().expect("half a row").code(), "HE0663");

    let flipped = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (good[..good.len() - 1].to_vec(), "HE0663"),
        (good[..20].to_vec(), "HE0663"),
        (good[..10].to_vec(), "HE0661"),
        (Vec::new(), "HE0661"),
        (flipped(0), "HE0661"),
        (flipped(16), "HE0662"),
        (flipped(100), "HE0663"),
        (flipped(good.len() - 1), "HE0663"),
    ];
    for (bytes, code) in cases {
        std::fs::write(&path, &bytes).expect("writes");
        assert_eq!(Checkpoint::read(folder.path()).expect_err("it is damaged").code(), code);
        assert_eq!(std::fs::read(&path).expect("reads"), bytes, "never overwritten");
    }
    std::fs::remove_file(&path).expect("removes");
    assert_eq!(Checkpoint::read(folder.path()).expect_err("nothing there").code(), "HE0666");
}

#[test]
fn values_out_of_range_are_reported_or_stop_the_run() {
    let mut plan = plan(Collect::Random(50));
    plan.training.as_mut().expect("a training plan").env.observations[0].ranges[2] = [-0.01, 0.01];
    let mut seen = Vec::new();
    let session = Session::start(&plan, settings(None)).expect("starts");
    let observe = &mut |event: Event<'_>| {
        if let Event::OutOfRange(out) = event {
            seen.push((out.name.clone(), out.element));
        }
    };
    session.run(&mut Fake::default(), &AtomicBool::new(false), observe).expect("clips and goes on");
    assert_eq!(seen, [("s".to_owned(), 2)]);
    let strict = Settings { stop_out_of_range: true, ..settings(None) };
    let session = Session::start(&plan, strict).expect("starts");
    let error = session.run(&mut Fake::default(), &AtomicBool::new(false), &mut |_| ()).expect_err("it stops");
    assert_eq!(error.code(), "HE0672");
}

#[test]
fn arguments_that_leave_their_interval_are_reported_or_stop_the_run() {
    let mut plan = plan(Collect::Random(50));
    let watch = &mut plan.training.as_mut().expect("a training plan").watch;
    let x = watch.program.push(ClearOp::Batch { name: "s".to_owned(), dim: 4 });
    let weight = watch.program.push(ClearOp::State("q.0.weight".to_owned()));
    let node = watch.program.push(ClearOp::Dense { x, weight, bias: None });
    for (name, half) in [("silu after q.0", 1e-3), ("tanh after q.0", 1e6)] {
        watch.arguments.push(Watched { name: name.to_owned(), node, range: [-half, half], span: Span::default(), widens: true });
    }
    let mut seen = Vec::new();
    let session = Session::start(&plan, settings(None)).expect("starts");
    let observe = &mut |event: Event<'_>| {
        if let Event::Reached(reach) = event {
            seen.push((reach.name.clone(), reach.update, reach.outside()));
        }
    };
    session.run(&mut Fake::default(), &AtomicBool::new(false), observe).expect("goes on");
    assert_eq!(seen, [("silu after q.0".to_owned(), 1, true)], "once, and only the narrow one");
    let folder = tempfile::tempdir().expect("a folder");
    let strict = Settings { stop_out_of_range: true, ..settings(Some(folder.path())) };
    let session = Session::start(&plan, strict).expect("starts");
    let mut fake = Fake::default();
    let error = session.run(&mut fake, &AtomicBool::new(false), &mut |_| ()).expect_err("it stops");
    assert_eq!((error.code(), fake.calls), ("HE0672", 0), "before anything was sent");
    assert!(error.to_string().contains("silu after q.0 left its interval [-0.001, 0.001]"), "{error}");
}

#[test]
fn runs_that_cannot_be_driven_are_refused() {
    let refused = |change: fn(&mut Plan)| {
        let mut plan = plan(Collect::Online);
        change(&mut plan);
        Session::start(&plan, settings(None)).err().expect("it is refused").code()
    };
    let training = |plan: &mut Plan| plan.training.take().expect("a training plan");
    assert_eq!(refused(|p| p.training = None), "HE0671");
    assert_eq!(refused(|p| p.geometry.batch = 17), "HE0671");
    assert_eq!(refused(|p| p.public.push(("w".to_owned(), vec![1]))), "HE0671");
    for change in [|r: &mut Run| r.envs = 0, |r: &mut Run| r.n_step = 0, |r: &mut Run| r.capacity = usize::MAX, |r: &mut Run| r.every = 0] {
        let mut plan = plan(Collect::Online);
        let mut t = training(&mut plan);
        change(&mut t.run);
        plan.training = Some(t);
        assert_eq!(Session::start(&plan, settings(None)).err().expect("it is refused").code(), "HE0671");
    }
    assert_eq!(refused(|p| p.training.as_mut().expect("a training plan").env.id = "LunarLander-v3".to_owned()), "HE0641");
    assert_eq!(
        refused(|p| {
            let o = &mut p.training.as_mut().expect("a training plan").env.observations[0];
            (o.shape, o.ranges) = (vec![3], vec![[-1.0, 1.0]; 3]);
        }),
        "HE0643"
    );
}
