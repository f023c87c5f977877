//! Transitions to attack, in the environment's units, as a batch has them.

use hecc_compiler::inspection::Inspection;
use hecc_compiler::tensor::Data;
use hecc_plan::{Tensor, Tensors};
use hecc_runtime::env::Action;
use hecc_runtime::session::SessionError;
use hecc_runtime::session::collect::Collector;
use hecc_runtime::session::random::{Purpose, normal, stream, uniform};
use hecc_runtime::session::replay::{Columns, Replay};

/// Transitions between those that are kept: neighbours are alike.
const APART: usize = 3;

/// `count` transitions of the random policy in the program's environment, with the noise that the program asks for.
///
/// # Errors
/// If the environment is not built in, or refuses what the program declares.
pub fn gather(of: &Inspection, count: usize, seed: u64) -> Result<Tensors, SessionError> {
    let training = &of.training;
    let columns = Columns::new(&training.env);
    let mut replay = Replay::new(columns, APART * count);
    Collector::start(training, seed)?.fill(APART * count, &mut replay)?;
    let stride = replay.columns().stride();
    let (rows, _) = replay.contents();
    let mut arrays = replay.columns().gather(rows.chunks(stride).step_by(APART).take(count).collect::<Vec<_>>().into_iter());
    add_noise(of, &mut arrays, count, seed);
    Ok(arrays)
}

/// Adds the noise that the program asks for, where the arrays have none.
pub fn add_noise(of: &Inspection, arrays: &mut Tensors, count: usize, seed: u64) {
    let mut draws = stream(seed, Purpose::Noise);
    for (data, dim) in of.dims() {
        if let Data::Noise(name) = data {
            let drawn = (0..count * dim).map(|_| normal(&mut draws)).collect();
            arrays.entry(name).or_insert_with(|| Tensor::new(vec![count, dim], drawn));
        }
    }
}

/// How many transitions there are.
pub fn count(arrays: &Tensors) -> usize {
    arrays.values().map(|array| array.shape.first().copied().unwrap_or(0)).min().unwrap_or(0)
}

/// Transitions `from` to `from + count`.
pub fn part(arrays: &Tensors, from: usize, count: usize) -> Tensors {
    let of = |(name, array): (&String, &Tensor)| {
        let width: usize = array.shape[1..].iter().product();
        let shape = [&[count], &array.shape[1..]].concat();
        (name.clone(), Tensor::new(shape, array.data[from * width..(from + count) * width].to_vec()))
    };
    arrays.iter().map(of).collect()
}

/// Random transitions of the declared ranges, for environments that are not there.
pub fn imagined(of: &Inspection, count: usize, seed: u64) -> Tensors {
    let mut arrays = Tensors::new();
    complete(of, &mut arrays, count, seed);
    arrays
}

/// Adds what `count` transitions lack: random values of the declared ranges; nothing is over.
pub fn complete(of: &Inspection, arrays: &mut Tensors, count: usize, seed: u64) {
    let spec = &of.training.env;
    let mut draws = stream(seed, Purpose::Probe);
    for observation in &spec.observations {
        for suffix in ["", "_next"] {
            let width = observation.ranges.len();
            let drawn: Vec<f64> = (0..count * width)
                .map(|i| {
                    let [low, high] = observation.ranges[i % width];
                    low + (high - low) * uniform(&mut draws)
                })
                .collect();
            let shape = [&[count], observation.shape.as_slice()].concat();
            arrays.entry(format!("{}{suffix}", observation.name)).or_insert_with(|| Tensor::new(shape, drawn));
        }
    }
    let (name, kind) = &spec.action;
    let drawn: Vec<f64> = (0..count).flat_map(|_| Action::random(kind, &mut draws).encode(kind)).collect();
    arrays.entry(name.clone()).or_insert_with(|| Tensor::new(vec![count, drawn.len() / count.max(1)], drawn));
    let range = of.program.env.reward_range;
    let drawn = (0..count).map(|_| range.low + (range.high - range.low) * uniform(&mut draws)).collect();
    arrays.entry(spec.reward.0.clone()).or_insert_with(|| Tensor::new(vec![count], drawn));
    arrays.entry("done".to_owned()).or_insert_with(|| Tensor::zeros(&[count]));
    add_noise(of, arrays, count, seed);
}

/// `count` transitions, from the front again where there are fewer.
pub fn repeated(arrays: &Tensors, count: usize) -> Tensors {
    let of = |(name, array): (&String, &Tensor)| {
        let width: usize = array.shape[1..].iter().product();
        let shape = [&[count], &array.shape[1..]].concat();
        (name.clone(), Tensor::new(shape, array.data.iter().copied().cycle().take(count * width).collect()))
    };
    arrays.iter().map(of).collect()
}
