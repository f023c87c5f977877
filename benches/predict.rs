//! Predicted against measured: seconds per update, peak memory and precision of every program in `examples/`.
//!
//!     cargo bench --bench predict                      # with this user's table of costs, or the built-in one
//!     cargo bench --bench predict -- cartpole_dqn 9    # one program, so many updates
//!
//! Each program runs in a process of its own, for the sake of its peak memory. "busy" is the processor time of the process
//! per update against the predicted work: it stays meaningful on a machine that others use.

use std::path::PathBuf;
use std::sync::Arc;

use hecc_plan::cost::{CostTable, predict};
use hecc_plan::noise::{self, Data};
use hecc_plan::{Collect, Plan, Tensors};
use hecc_runtime::engine::{Backend, Engine};
use hecc_runtime::session::{Session, Settings};

// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let updates = args.get(1).map_or(5, |n| n.parse().expect("a number of updates"));
    if let Some(name) = args.first() {
        return one(name, updates);
    }
    println!("{:<20} {:>26} {:>26} {:>24} {:>18}", "", "seconds (median)", "busy seconds", "peak MiB", "bits, least margin");
    let this = std::env::current_exe().expect("this program has a path");
    let mut names: Vec<String> = std::fs::read_dir(examples())
        .expect("the examples can be listed")
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rl"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort_unstable();
    for name in names {
        let status = std::process::Command::new(&this).args([&name, &updates.to_string()]).status().expect("this program starts");
        assert!(status.success(), "{name}");
    }
}

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn table() -> CostTable {
    let own = directories::ProjectDirs::from("", "", "hecc").map(|dirs| dirs.data_dir().join("costs.json"));
    match own.and_then(|path| std::fs::read(path).ok()) {
        Some(bytes) => CostTable::read(&bytes).expect("this user's table"),
        None => CostTable::built_in().clone(),
    }
}

fn one(name: &str, updates: usize) {
    let source = std::fs::read_to_string(examples().join(format!("{name}.rl"))).expect("an example");
    let plan: Arc<Plan> = match hecc_compiler::compile(&source, &hecc_compiler::Options::default()) {
        Ok(compiled) => Arc::new(compiled.plan),
        Err(errors) => return println!("{name:<20} does not compile: {}", errors[0].message),
    };
    let data = data(&plan);
    let trace = |what: &str| {
        if std::env::var_os("HECC_TRACE").is_some() {
            println!("  {what}: {} MiB held, {} at most", status("VmRSS:") >> 20, status("VmHWM:") >> 20);
        }
    };
    trace("compiled");
    let threads = std::env::var("HECC_THREADS").map_or(0, |n| n.parse().expect("HECC_THREADS is a number"));
    let mut engine = Engine::new(Arc::clone(&plan), Backend::Ckks, data.public.clone(), threads, &mut |_, _| ()).expect("keys");
    trace("keys");
    let (mut seconds, mut busy, mut last) = (Vec::new(), Vec::new(), Tensors::new());
    // Whole periods: where one bootstrap serves several updates, each of these is as long as the period is on average.
    let period = plan.updates() as usize;
    for number in 0..updates.next_multiple_of(period) {
        let mut states = data.states.clone();
        let before = processor_seconds();
        let update = engine.update(&data.batch, &mut states).expect("an update");
        update.outgrown.iter().for_each(|outgrown| println!("{name:<20} {outgrown}; clipped"));
        busy.push(processor_seconds() - before);
        seconds.push(update.seconds);
        if number == 0 {
            engine.fetch(&mut states).expect("the carried states");
            last = states.into_iter().chain(update.results).collect();
        }
    }
    trace("updates");
    let [mut seconds, busy] =
        [seconds, busy].map(|all| all.chunks(period).map(|some| some.iter().sum::<f64>() / some.len() as f64).collect::<Vec<f64>>());
    let busy = busy.into_iter().fold(f64::INFINITY, f64::min);
    seconds.sort_by(f64::total_cmp);
    let (median, peak) = (seconds[seconds.len() / 2], status("VmHWM:") as f64);
    drop(engine);
    let expected = predict(&plan, &table(), threads);
    if std::env::var_os("HECC_TRACE").is_some() {
        println!("  {:?}", expected.memory);
    }
    let alone = predict(&plan, &table(), 1);
    let exact = {
        let mut engine = Engine::new(Arc::clone(&plan), Backend::Clear, data.public.clone(), 0, &mut |_, _| ()).expect("an engine");
        let mut states = data.states.clone();
        let update = engine.update(&data.batch, &mut states).expect("an update");
        engine.fetch(&mut states).expect("the carried states");
        states.into_iter().chain(update.results).collect::<Tensors>()
    };
    // Bits by which each array is better than predicted; the prediction holds where the least of them is not negative.
    let precision = noise::precision(&plan, &data, 0).expect("sample data fits");
    let margins = precision.iter().filter_map(|p| {
        let pairs = last.get(&p.name)?.data.iter().zip(&exact.get(&p.name)?.data);
        let error = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        // What the key owner keeps as it was is exact, predicted and measured.
        Some((p.error.max(1e-18) / error.max(1e-18)).log2())
    });
    let margins: Vec<f64> = margins.collect();
    let (least, most) = (margins.iter().copied().fold(f64::INFINITY, f64::min), margins.iter().copied().fold(f64::NEG_INFINITY, f64::max));
    let pair = |predicted: f64, measured: f64, digits: usize| {
        format!("{predicted:.digits$}/{measured:.digits$} {:+.0} %", 100.0 * (predicted / measured - 1.0))
    };
    println!(
        "{name:<20} {:>26} {:>26} {:>24} {:>18}",
        pair(expected.seconds_per_update, median, 3),
        pair(alone.seconds_per_update, busy, 3),
        pair(expected.peak_bytes as f64 / 1048576.0, peak / 1048576.0, 0),
        format!("{:.1}, {least:+.1}..{most:+.1}", noise::worst(&precision).map_or(f64::NAN, noise::Precision::bits)),
    );
}

/// Transitions of the random policy in the program's environment that a batch is drawn from, at most.
const TRANSITIONS: usize = 4096;

/// What an update of a training works on: the initial states, and a batch of transitions of the random policy, as the session
/// gathers them. Where there is no such environment, arrays from the declared ranges.
fn data(plan: &Plan) -> Data {
    let sample = Data::sample(plan, 1);
    let mut gathered = plan.clone();
    let Some(training) = &mut gathered.training else { return sample };
    training.run.collect = match training.run.collect {
        Collect::Online => Collect::Random(TRANSITIONS.min(training.run.warmup)),
        Collect::Random(count) => Collect::Random(TRANSITIONS.min(count)),
    };
    let Ok(mut session) = Session::start(&gathered, Settings::default()) else { return sample };
    session.gather(&mut |_| ()).expect("transitions of the random policy");
    let batch = session.probe(1).pop().expect("a batch");
    Data { batch: sample.batch.into_iter().chain(batch).collect(), ..sample }
}

/// Processor seconds of all threads so far.
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + 1e-9 * time.tv_nsec as f64
}

/// Memory of this process in bytes: `VmRSS:` held, `VmHWM:` held at most.
fn status(what: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    line.and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}
