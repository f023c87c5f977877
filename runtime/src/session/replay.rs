//! The replay: a ring of transitions, of which a batch is drawn.

use hecc_plan::{Collect, EnvSpec, Tensor, Tensors, Training};
use rand_chacha::ChaCha20Rng;

use super::random::below;
use crate::env;

/// One part of a transition.
#[derive(Clone, Debug, PartialEq)]
struct Column {
    name: String,
    /// Shape per sample; empty for one number.
    shape: Vec<usize>,
    width: usize,
}

/// The parts of a transition in their order: the observations, the next observations, the action, the reward, `done`.
#[derive(Clone, Debug, PartialEq)]
pub struct Columns {
    columns: Vec<Column>,
    stride: usize,
}

impl Columns {
    /// The columns of an environment, under the names a batch has.
    pub fn new(spec: &EnvSpec) -> Self {
        let observed = |suffix: &'static str| {
            spec.observations.iter().map(move |o| Column {
                name: format!("{}{suffix}", o.name),
                shape: o.shape.clone(),
                width: o.shape.iter().product(),
            })
        };
        let (action, kind) = &spec.action;
        let number = |name: &str| Column { name: name.to_owned(), shape: Vec::new(), width: 1 };
        let columns: Vec<Column> = observed("")
            .chain(observed("_next"))
            .chain([
                Column { name: action.clone(), shape: vec![env::width(kind)], width: env::width(kind) },
                number(&spec.reward.0),
                number("done"),
            ])
            .collect();
        Self { stride: columns.iter().map(|c| c.width).sum(), columns }
    }

    /// Numbers per transition.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Whether a batch has an array of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.columns.iter().any(|c| c.name == name)
    }

    /// Transitions, each a row of [`Self::stride`] numbers, as the arrays of a batch.
    pub fn gather<'a>(&self, rows: impl Iterator<Item = &'a [f64]> + Clone) -> Tensors {
        let count = rows.clone().count();
        let mut start = 0;
        let mut tensors = Tensors::new();
        for Column { name, shape, width } in &self.columns {
            let data = rows.clone().flat_map(|row| &row[start..start + width]).copied().collect();
            tensors.insert(name.clone(), Tensor::new([&[count], shape.as_slice()].concat(), data));
            start += width;
        }
        tensors
    }
}

/// A ring of transitions: the newest replace the oldest.
#[derive(Clone, Debug, PartialEq)]
pub struct Replay {
    columns: Columns,
    capacity: usize,
    /// Rows, one after another.
    data: Vec<f64>,
    /// The row that the next transition takes once the ring is full.
    next: usize,
}

impl Replay {
    /// An empty ring for `capacity` transitions.
    pub fn new(columns: Columns, capacity: usize) -> Self {
        Self { columns, capacity, data: Vec::new(), next: 0 }
    }

    /// A ring with the contents it had: `data` is a whole number of rows and `next` one of them.
    /// `None` if they are not.
    pub fn restored(columns: Columns, capacity: usize, data: Vec<f64>, next: usize) -> Option<Self> {
        let rows = data.len() / columns.stride;
        let whole = rows * columns.stride == data.len() && rows <= capacity && (next == 0 || next < rows);
        whole.then_some(Self { columns, capacity, data, next })
    }

    /// Transitions it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Transitions held.
    pub fn len(&self) -> usize {
        self.data.len() / self.columns.stride
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// What [`Self::restored`] takes: the rows and the next position.
    pub fn contents(&self) -> (&[f64], usize) {
        (&self.data, self.next)
    }

    /// The names and widths of its arrays.
    pub fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Stores a transition.
    pub fn push(&mut self, row: &[f64]) {
        let stride = self.columns.stride;
        if self.len() < self.capacity {
            self.data.extend_from_slice(row);
        } else {
            self.data[self.next * stride..(self.next + 1) * stride].copy_from_slice(row);
            self.next = (self.next + 1) % self.capacity;
        }
    }

    /// Draws `count` transitions with replacement. An empty ring gives empty arrays.
    pub fn sample(&self, rng: &mut ChaCha20Rng, count: usize) -> Tensors {
        let count = if self.is_empty() { 0 } else { count };
        let drawn: Vec<usize> = (0..count).map(|_| below(rng, self.len())).collect();
        let stride = self.columns.stride;
        self.columns.gather(drawn.iter().map(|&row| &self.data[row * stride..(row + 1) * stride]))
    }
}

/// Bytes that the replay of a run takes at most: while it grows, it stands in memory one and a half times.
pub fn most_bytes(training: &Training) -> u64 {
    let run = &training.run;
    let rows = match run.collect {
        Collect::Random(count) => count,
        Collect::Online => run.capacity.min(run.warmup.saturating_add(run.every.saturating_mul(run.updates))),
    };
    let bytes = (rows as u64).saturating_mul(8 * Columns::new(&training.env).stride() as u64);
    bytes.saturating_add(bytes / 2)
}

#[cfg(test)]
mod tests {
    use hecc_plan::{ActionSpec, ObservationSpec};

    use super::super::random::{Purpose, stream};
    use super::*;

    fn spec() -> EnvSpec {
        EnvSpec {
            id: "CartPole-v1".to_owned(),
            observations: vec![ObservationSpec { name: "s".to_owned(), shape: vec![2], ranges: vec![[-1.0, 1.0]; 2] }],
            action: ("a".to_owned(), ActionSpec::Discrete(2)),
            reward: ("r".to_owned(), [0.0, 1.0]),
            recode: None,
        }
    }

    #[test]
    fn the_newest_replace_the_oldest() {
        let mut replay = Replay::new(Columns::new(&spec()), 3);
        for i in 0..5 {
            replay.push(&[f64::from(i); 8]);
        }
        assert_eq!(replay.len(), 3);
        let (data, next) = replay.contents();
        assert_eq!((data.iter().step_by(8).copied().collect::<Vec<_>>(), next), (vec![3.0, 4.0, 2.0], 2));
        let again = Replay::restored(Columns::new(&spec()), 3, data.to_vec(), next).expect("its own contents");
        assert_eq!(again, replay);
        assert_eq!(Replay::restored(Columns::new(&spec()), 3, vec![0.0; 7], 0), None);
        assert_eq!(Replay::restored(Columns::new(&spec()), 3, vec![0.0; 16], 2), None);
    }

    #[test]
    fn a_batch_has_the_named_arrays_of_the_same_transitions() {
        let mut replay = Replay::new(Columns::new(&spec()), 10);
        for i in 0..10 {
            let i = f64::from(i);
            replay.push(&[i, 10.0 + i, 20.0 + i, 30.0 + i, 0.0, 1.0, 40.0 + i, 1.0]);
        }
        let batch = replay.sample(&mut stream(1, Purpose::Batches), 64);
        assert_eq!(batch["s"].shape, [64, 2]);
        assert_eq!(batch["a"].shape, [64, 2]);
        assert_eq!(batch["r"].shape, [64]);
        for i in 0..64 {
            let first = batch["s"].data[2 * i];
            assert_eq!(batch["s_next"].data[2 * i + 1], 30.0 + first);
            assert_eq!(batch["r"].data[i], 40.0 + first);
        }
        assert_eq!(batch, replay.sample(&mut stream(1, Purpose::Batches), 64));
        assert_ne!(batch, replay.sample(&mut stream(2, Purpose::Batches), 64));
    }
}
