//! What a plan will take: seconds from a table of measured operations, under the schedule that [`crate::drive()`] runs.
//!
//! The table is measured once per machine (`hecc calibrate --machine`); the one of this crate is built in. Times of
//! operations with keys depend on the limbs of the operand and of the key, and are interpolated in both.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::link::{Link, round_trips};
use crate::schedule::{self, Job, Run};
use crate::tfhe::prices::Prices;
use crate::{Bootstrap, Ckks, Input, KeyManifest, Matrix, Op, Output, Plan, Round, Step, WireId};

/// Version of the table's format; a reader accepts its own.
pub const TABLE_VERSION: u32 = 1;
const MAGIC: &str = "hecc-costs";

/// What operations take on one machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CostTable {
    /// Where it was measured.
    pub machine: Machine,
    /// By ring degree, ascending.
    pub rings: Vec<RingCosts>,
    /// Seconds of a bootstrap by the name of its offer, to the width that the offer brings.
    #[serde(default)]
    pub bootstraps: BTreeMap<String, f64>,
    /// Of integers under TFHE; the built-in ones where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lookups: Option<Prices>,
    /// How the machine is reached.
    #[serde(default)]
    pub link: Link,
}

/// The machine of a table.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's name.
    pub cpu: String,
    /// Threads that it runs at once.
    pub threads: usize,
    /// Kernels that the arithmetic used.
    pub kernels: String,
}

/// What operations take in one ring.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RingCosts {
    /// log2 of the ring degree.
    pub log_n: u32,
    /// By operation: measured points, by limbs of the operand, then of the key.
    pub operations: BTreeMap<Kind, Vec<Sample>>,
    /// How much longer an operation takes where all threads of the machine work.
    pub crowded: f64,
    /// What the library holds for this ring alone (both parties): tables of transforms.
    pub library_bytes: u64,
    /// Bytes of a transformed limb, per coefficient.
    pub limb_bytes: f64,
    /// Most scratch memory by operation: what the library asks for, by limbs of the operand, then of the key.
    pub scratch: BTreeMap<Kind, Vec<Sample>>,
}

/// An operation that a table knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Reading a ciphertext of the client's: expansion of its seed.
    Input,
    /// Sum or difference of ciphertexts.
    Add,
    /// Sum with a constant.
    AddConst,
    /// Sum with a plaintext.
    AddPlain,
    /// Bringing the digits of a sum back into their range, before a transform.
    Normalise,
    /// Product with a constant.
    MulConst,
    /// Product with a plaintext.
    MulPlain,
    /// Division by a power of two.
    Halve,
    /// Copy at another width.
    Narrow,
    /// A square, relinearised.
    Square,
    /// A product, relinearised.
    Product,
    /// A sum of two products, relinearised once.
    Dot2,
    /// One more product in a sum.
    Pair,
    /// Rotation.
    Rotate,
    /// A public matrix: what does not depend on its size.
    LinearBase,
    /// ... a baby step.
    LinearBaby,
    /// ... a giant step.
    LinearGiant,
    /// ... a diagonal.
    LinearDiagonal,
    /// Writing a result.
    Output,
    /// Encoding and encryption (client).
    Encrypt,
    /// Decryption and decoding (client).
    Decrypt,
    /// Packing one tensor into slots (client).
    Pack,
    /// Making, sending and preparing a key, by limbs of all its digits.
    Key,
}

/// A measured point.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Limbs of the operand.
    pub limbs: u32,
    /// Limbs of the key's modulus; 0 without a key.
    pub key_limbs: u32,
    /// Seconds of one thread, or bytes.
    pub value: f64,
}

/// Why a table was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// HE0521.
    #[error("this is not a table of costs; `hecc calibrate --machine --out FILE` writes one")]
    NotATable,
    /// HE0522.
    #[error(
        "this table of costs has format version {0}, and this hecc reads version {TABLE_VERSION}; measure again with `hecc calibrate --machine`"
    )]
    Version(u32),
    /// HE0523.
    #[error("the table of costs is damaged: {0}")]
    Damaged(String),
}

impl TableError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            TableError::NotATable => "HE0521",
            TableError::Version(_) => "HE0522",
            TableError::Damaged(_) => "HE0523",
        }
    }
}

#[derive(Serialize)]
struct FileRef<'a> {
    magic: &'static str,
    version: u32,
    table: &'a CostTable,
}

#[derive(Deserialize)]
struct Header {
    magic: Option<String>,
    version: Option<u32>,
}

#[derive(Deserialize)]
struct File {
    table: CostTable,
}

impl CostTable {
    /// The built-in table.
    pub fn built_in() -> &'static CostTable {
        static TABLE: LazyLock<CostTable> =
            LazyLock::new(|| CostTable::read(include_bytes!("../data/costs.json")).expect("a test reads the table that is built in"));
        &TABLE
    }

    /// Reads a table.
    ///
    /// # Errors
    /// [`TableError`].
    pub fn read(text: &[u8]) -> Result<CostTable, TableError> {
        let damaged = |error: serde_json::Error| TableError::Damaged(error.to_string());
        let header: Header =
            serde_json::from_slice(text).map_err(|error| match text.windows(MAGIC.len()).any(|w| w == MAGIC.as_bytes()) {
                true => damaged(error),
                false => TableError::NotATable,
            })?;
        match (header.magic.as_deref(), header.version) {
            (Some(MAGIC), Some(TABLE_VERSION)) => {}
            (Some(MAGIC), Some(version)) => return Err(TableError::Version(version)),
            _ => return Err(TableError::NotATable),
        }
        let table = serde_json::from_slice::<File>(text).map_err(damaged)?.table;
        let fault = |reason: &str| Err(TableError::Damaged(reason.to_owned()));
        if table.rings.is_empty() || !table.rings.is_sorted_by(|a, b| a.log_n < b.log_n) || table.machine.threads == 0 {
            return fault("its rings are missing or out of order");
        }
        for ring in &table.rings {
            let samples = ring.operations.values().chain(ring.scratch.values());
            if samples.clone().any(Vec::is_empty) || samples.flatten().any(|s| !s.value.is_finite() || s.value < 0.0 || s.limbs == 0) {
                return fault("it has an operation without points, or a point that is no duration");
            }
            if !(1.0..100.0).contains(&ring.crowded) || !(0.0..1e3).contains(&ring.limb_bytes) {
                return fault("a factor is out of range");
            }
        }
        let Link { bytes_per_second, round_trip } = table.link;
        if !(bytes_per_second.is_finite() && bytes_per_second > 0.0 && round_trip.is_finite() && round_trip >= 0.0) {
            return fault("its link is none");
        }
        if let Some(reason) = table.lookups.as_ref().and_then(Prices::fault) {
            return fault(reason);
        }
        Ok(table)
    }

    /// Writes the table as text, the same bytes for the same table.
    pub fn write(&self) -> String {
        let file = FileRef { magic: MAGIC, version: TABLE_VERSION, table: self };
        let mut text = serde_json::to_string(&file).expect("a table has only string keys and finite numbers");
        // One operation a line: a table that is kept under version control is compared by people.
        text = text.replace("],\"", "],\n\"");
        text.push('\n');
        text
    }

    /// What operations on integers take: as measured with this table, or else the built-in ones.
    pub fn prices(&self) -> &Prices {
        self.lookups.as_ref().unwrap_or_else(|| Prices::built_in())
    }

    /// The ring of degree `2^log_n`, or the nearest that was measured and how much slower the wanted one is.
    pub fn ring(&self, log_n: u32) -> (&RingCosts, f64) {
        let nearest = self.rings.iter().min_by_key(|ring| ring.log_n.abs_diff(log_n)).expect("a table that was read has rings");
        // N log N, and what leaves the caches.
        let away = f64::from(log_n) - f64::from(nearest.log_n);
        (nearest, libm::exp2(1.1 * away))
    }
}

impl RingCosts {
    /// Interpolated seconds of an operation on `limbs` limbs with a key of `key_limbs`; 0 where it was not measured.
    pub fn seconds(&self, kind: Kind, limbs: u32, key_limbs: u32) -> f64 {
        self.operations.get(&kind).map_or(0.0, |samples| interpolate(samples, limbs, key_limbs))
    }

    /// Interpolated bytes of scratch memory.
    pub fn scratch(&self, kind: Kind, limbs: u32, key_limbs: u32) -> f64 {
        self.scratch.get(&kind).map_or(0.0, |samples| interpolate(samples, limbs, key_limbs))
    }
}

/// Linear in the limbs of the key for each number of limbs, then linear in those; beyond the ends by the last slope.
fn interpolate(samples: &[Sample], limbs: u32, key_limbs: u32) -> f64 {
    let mut rows: BTreeMap<u32, Vec<(f64, f64)>> = BTreeMap::new();
    for sample in samples {
        rows.entry(sample.limbs).or_default().push((f64::from(sample.key_limbs), sample.value));
    }
    let points: Vec<(f64, f64)> = rows.iter().map(|(l, row)| (f64::from(*l), along(row, f64::from(key_limbs)))).collect();
    along(&points, f64::from(limbs))
}

fn along(points: &[(f64, f64)], at: f64) -> f64 {
    let [first, .., last] = points else { return points.first().map_or(0.0, |p| p.1) };
    let after = points.iter().position(|p| p.0 >= at).unwrap_or(points.len() - 1).clamp(1, points.len() - 1);
    let ((x0, y0), (x1, y1)) = (points[after - 1], points[after]);
    let value = y0 + (y1 - y0) * (at - x0) / (x1 - x0);
    // Noise in two near points must not turn into a large or negative value far away.
    let (low, high) = (first.1.min(last.1), first.1.max(last.1));
    if at < first.0 { value.clamp(low * at / first.0, high) } else { value.max(low) }
}

/// About as many rotations take as long as a bootstrap.
const ROTATIONS: f64 = 110.0;

/// Seconds of single steps on one thread.
pub struct StepCosts<'a> {
    ring: &'a RingCosts,
    slower: f64,
    base2k: u32,
    keys: &'a KeyManifest,
    matrices: &'a [Matrix],
    normalised: Vec<bool>,
    bootstrap: f64,
    /// Threads of the table's machine.
    threads: usize,
}

impl<'a> StepCosts<'a> {
    /// For the steps of a plan, or of one that is being made.
    pub fn new(
        table: &'a CostTable,
        ckks: &Ckks,
        keys: &'a KeyManifest,
        matrices: &'a [Matrix],
        steps: &[Step],
        bootstrap: Option<&Bootstrap>,
    ) -> Self {
        let (ring, slower) = table.ring(ckks.log_n);
        // A sum is normalised once before a transform reads it, at once or by its reader.
        let mut normalised = vec![false; steps.len()];
        for step in steps {
            let transforms = match &step.op {
                Op::Input(_)
                | Op::Carried(_)
                | Op::Add(..)
                | Op::Sub(..)
                | Op::AddConst(..)
                | Op::AddPlain(..)
                | Op::Halve { .. }
                | Op::Narrow(_) => false,
                Op::MulConst { .. } | Op::MulPlain(..) | Op::Dot(_) | Op::Rotate { .. } | Op::Linear(..) | Op::Bootstrap(_) => true,
            };
            for operand in step.op.operands().into_iter().filter(|_| transforms) {
                let sum = matches!(steps[operand.index()].op, Op::Add(..) | Op::Sub(..) | Op::AddConst(..) | Op::AddPlain(..));
                normalised[operand.index()] |= sum;
            }
        }
        // Where an offer was not measured: what its rotations take, at the width that it brings.
        let limbs = |k: u32| k.div_ceil(ckks.base2k);
        let bootstrap = bootstrap.map_or(0.0, |offer| {
            let measured = table.bootstraps.get(&offer.name).copied();
            measured.unwrap_or_else(|| ROTATIONS * slower * ring.seconds(Kind::Rotate, limbs(offer.output_k), limbs(offer.log_modulus)))
        });
        Self { ring, slower, base2k: ckks.base2k, keys, matrices, normalised, bootstrap, threads: table.machine.threads }
    }

    /// How much longer a step takes while so many are at work.
    fn slowdown(&self) -> impl Fn(usize) -> f64 {
        let (more, others) = (self.ring.crowded - 1.0, (self.threads.max(2) - 1) as f64);
        move |busy| 1.0 + more * (busy - 1) as f64 / others
    }

    fn limbs(&self, bits: u32) -> u32 {
        bits.div_ceil(self.base2k)
    }

    /// Limbs of the relinearisation key that a product of ciphertexts of `k` bits takes.
    pub fn product_key(&self, k: u32) -> u32 {
        self.keys.relinearisation.iter().find(|key| key.k >= k).map_or(0, |key| self.limbs(key.log_modulus()))
    }

    /// Limbs of a rotation key.
    pub fn rotation_key(&self, by: i64) -> u32 {
        self.keys.rotations.iter().find(|key| key.by == by).map_or(0, |key| self.limbs(key.shape.log_modulus()))
    }

    /// Seconds of step `index` of `steps`; `lanes` is that of the slot grid.
    pub fn step(&self, steps: &[Step], index: usize, lanes: usize) -> f64 {
        let step = &steps[index];
        let k = step.op.operands().iter().map(|w| steps[w.index()].wire.k).max().unwrap_or(step.wire.k);
        let (from, to) = (self.limbs(k), self.limbs(step.wire.k));
        let of = |kind, limbs, key| self.ring.seconds(kind, limbs, key);
        let seconds = match &step.op {
            Op::Input(_) => of(Kind::Input, to, 0),
            Op::Carried(_) => 0.0,
            // Measured in its own ring, and not interpolated.
            Op::Bootstrap(_) => return self.bootstrap,
            Op::Add(..) | Op::Sub(..) => of(Kind::Add, to, 0),
            Op::AddConst(..) => of(Kind::AddConst, to, 0),
            Op::AddPlain(..) => of(Kind::AddPlain, to, 0),
            Op::MulConst { .. } => of(Kind::MulConst, from, 0),
            Op::MulPlain(..) => of(Kind::MulPlain, from, 0),
            Op::Halve { .. } => of(Kind::Halve, to, 0),
            Op::Narrow(_) => of(Kind::Narrow, to, 0),
            Op::Dot(pairs) => self.dot(steps, step, pairs),
            Op::Rotate { by, .. } => of(Kind::Rotate, from, self.rotation_key(*by)),
            Op::Linear(_, matrix) => {
                let matrix = &self.matrices[matrix.0 as usize];
                let (babies, giants) = matrix.rotations();
                let each = |kind, by: &[usize]| -> f64 { by.iter().map(|r| of(kind, from, self.rotation_key((r * lanes) as i64))).sum() };
                of(Kind::LinearBase, from, 0)
                    + each(Kind::LinearBaby, &babies)
                    + each(Kind::LinearGiant, &giants)
                    + matrix.diagonals() as f64 * of(Kind::LinearDiagonal, from, 0)
            }
        };
        let normalising = if self.normalised[index] { of(Kind::Normalise, to, 0) } else { 0.0 };
        self.slower * (seconds + normalising)
    }

    /// A sum of products takes the width that its result needs, where that saves a limb.
    fn dot(&self, steps: &[Step], step: &Step, pairs: &[(WireId, WireId)]) -> f64 {
        let wire = |id: &WireId| steps[id.index()].wire;
        let large = pairs.iter().map(|(a, b)| wire(a).scale.max(wire(b).scale)).max().unwrap_or(step.wire.scale);
        let needed = self.limbs(large + step.wire.k);
        let k = pairs.iter().map(|(a, b)| wire(a).k.min(wire(b).k)).max().unwrap_or(step.wire.k);
        let limbs = self.limbs(k).min(needed.max(1));
        let key = self.product_key(k.min(large + step.wire.k));
        let of = |kind| self.ring.seconds(kind, limbs, key);
        match pairs {
            [(a, b)] if a == b => of(Kind::Square),
            [_] => of(Kind::Product),
            pairs => of(Kind::Dot2) + (pairs.len() - 2) as f64 * self.ring.seconds(Kind::Pair, limbs, 0),
        }
    }

    /// Seconds for the client to make an input.
    pub fn seal(&self, input: &Input) -> f64 {
        let packing = input.contents.len() as f64 * self.ring.seconds(Kind::Pack, 1, 0);
        self.slower * (packing + self.ring.seconds(Kind::Encrypt, self.limbs(input.wire.k), 0))
    }

    /// Seconds for the client to read a ciphertext of `k` bits with so many tensors.
    pub fn open(&self, k: u32, tensors: usize) -> f64 {
        self.slower * (tensors as f64 * self.ring.seconds(Kind::Pack, 1, 0) + self.ring.seconds(Kind::Decrypt, self.limbs(k), 0))
    }

    /// Seconds for the server to write a result of `k` bits.
    pub fn write(&self, k: u32) -> f64 {
        self.slower * self.ring.seconds(Kind::Output, self.limbs(k), 0)
    }
}

/// What a plan is predicted to take.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Prediction {
    /// Wall-clock seconds of an update, both parties, on `threads` threads.
    pub seconds_per_update: f64,
    /// Of those, the client's.
    pub client_seconds: f64,
    /// Of those, the server's.
    pub server_seconds: f64,
    /// Seconds of the server on one thread: the sum over the steps.
    pub work_seconds: f64,
    /// Seconds that what crosses in an update takes over the table's link; not in `seconds_per_update`.
    pub link_seconds: f64,
    /// Seconds to make, send and prepare the keys.
    pub key_seconds: f64,
    /// Most memory at a time, both parties in one process.
    pub peak_bytes: u64,
    /// What takes it.
    pub memory: crate::memory::Memory,
    /// Bytes of the evaluation keys as they cross.
    pub key_bytes: u64,
    /// Ciphertext bytes, client to server.
    pub bytes_up: u64,
    /// Ciphertext bytes, server to client.
    pub bytes_down: u64,
}

/// Seconds of each step of `plan` on one thread alone.
pub fn step_seconds(plan: &Plan, table: &CostTable) -> Vec<f64> {
    let costs = StepCosts::new(table, &plan.ckks, &plan.keys, &plan.matrices, &plan.steps, plan.bootstrap.as_ref());
    (0..plan.steps.len()).map(|index| costs.step(&plan.steps, index, plan.geometry.lanes)).collect()
}

/// The exchanges of a plan, or of one that is being made.
pub struct Exchanges<'a> {
    /// All steps.
    pub steps: &'a [Step],
    /// Seconds of each on one thread alone.
    pub work: &'a [f64],
    /// What the client sends.
    pub inputs: &'a [Input],
    /// What it gets.
    pub outputs: &'a [Output],
    /// Who does what when.
    pub rounds: &'a [Round],
}

impl Exchanges<'_> {
    /// Wall-clock seconds of server and client per update, on `threads` threads; `each` sees when the steps of a round ran.
    pub fn seconds(&self, costs: &StepCosts<'_>, threads: usize, mut each: impl FnMut(&Round, &Run)) -> (f64, f64) {
        let slowdown = costs.slowdown();
        let together = |work: Vec<f64>| simulate_all(work, threads, &slowdown);
        let (mut server, mut client) = (0.0, 0.0);
        for round in self.rounds {
            let (first, last) = (round.steps.0 as usize, round.steps.1 as usize);
            let jobs: Vec<Job> = (first..last)
                .map(|index| Job {
                    seconds: self.work[index],
                    after: self.steps[index].op.operands().iter().filter_map(|w| w.index().checked_sub(first)).collect(),
                })
                .collect();
            let run = schedule::simulate(&jobs, threads, &slowdown);
            each(round, &run);
            let output = |id: &crate::OutputId| &self.outputs[id.0 as usize];
            let k = |id: &crate::OutputId| self.steps[output(id).wire.index()].wire.k;
            server += run.seconds + together(round.outputs.iter().map(|id| costs.write(k(id))).collect());
            client += together(round.inputs.iter().map(|id| costs.seal(&self.inputs[id.0 as usize])).collect())
                + together(round.outputs.iter().map(|id| costs.open(k(id), output(id).contents.len())).collect());
        }
        let updates = self.rounds.last().map_or(1.0, |round| f64::from(round.update + 1));
        (server / updates, client / updates)
    }
}

/// Seconds of work that waits for nothing.
fn simulate_all(work: Vec<f64>, threads: usize, slowdown: impl Fn(usize) -> f64) -> f64 {
    let jobs: Vec<Job> = work.into_iter().map(|seconds| Job { seconds, after: Vec::new() }).collect();
    schedule::simulate(&jobs, threads, slowdown).seconds
}

/// Predicts an update of `plan` on `threads` threads (0 for all of the table's machine).
pub fn predict(plan: &Plan, table: &CostTable, threads: usize) -> Prediction {
    let threads = if threads == 0 { table.machine.threads } else { threads };
    let costs = StepCosts::new(table, &plan.ckks, &plan.keys, &plan.matrices, &plan.steps, plan.bootstrap.as_ref());
    let work = step_seconds(plan, table);
    let exchanges = Exchanges { steps: &plan.steps, work: &work, inputs: &plan.inputs, outputs: &plan.outputs, rounds: &plan.rounds };
    let mut memory = crate::memory::Model::new(plan, costs.ring, threads);
    let (server_seconds, client_seconds) = exchanges.seconds(&costs, threads, |round, run| memory.round(round, run));
    let shapes = plan.keys.relinearisation.iter().chain(plan.keys.rotations.iter().map(|key| &key.shape));
    let key = |shape: &crate::KeyShape| costs.slower * costs.ring.seconds(Kind::Key, shape.dnum * costs.limbs(shape.log_modulus()), 0);
    let bootstrap: Vec<crate::KeyShape> = plan.bootstrap.iter().flat_map(Bootstrap::key_shapes).map(|(shape, _)| shape).collect();
    let keys = shapes.chain(&bootstrap).map(key).collect();
    let (counts, memory) = (crate::counts::counts(plan), memory.finish());
    let crosses = counts.bytes_to_server_per_update + counts.bytes_to_client_per_update;
    Prediction {
        seconds_per_update: server_seconds + client_seconds,
        client_seconds,
        server_seconds,
        work_seconds: work.iter().sum::<f64>() / f64::from(plan.updates()),
        link_seconds: table.link.seconds(crosses, round_trips(&plan.rounds)),
        key_seconds: simulate_all(keys, threads, costs.slowdown()),
        peak_bytes: memory.peak(),
        memory,
        key_bytes: counts.key_bytes,
        bytes_up: counts.bytes_to_server_per_update,
        bytes_down: counts.bytes_to_client_per_update,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_is_read_and_written_alike() {
        let table = CostTable::built_in();
        assert_eq!(CostTable::read(table.write().as_bytes()).expect("its own text"), *table);
        for ring in &table.rings {
            for kind in [Kind::Rotate, Kind::Product, Kind::MulPlain, Kind::Add, Kind::Input, Kind::Encrypt, Kind::Decrypt, Kind::Key] {
                assert!(ring.seconds(kind, 1, 3) > 0.0, "{kind:?} at 2^{}", ring.log_n);
            }
        }
    }

    #[test]
    fn points_are_met_and_joined_by_lines() {
        let sample = |limbs, key_limbs, value| Sample { limbs, key_limbs, value };
        let samples = [sample(2, 4, 4.0), sample(2, 8, 8.0), sample(4, 8, 16.0)];
        assert_eq!(interpolate(&samples, 2, 4), 4.0);
        assert_eq!(interpolate(&samples, 2, 6), 6.0);
        assert_eq!(interpolate(&samples, 3, 8), 12.0);
        assert_eq!(interpolate(&samples, 6, 8), 24.0);
        assert!(interpolate(&samples, 1, 1) >= 0.0);
    }

    #[test]
    fn damaged_tables_are_told_apart() {
        let text = CostTable::built_in().write();
        let read = |text: &str| CostTable::read(text.as_bytes()).expect_err("it is refused").code();
        assert_eq!(read("{}"), "HE0521");
        assert_eq!(read("[1, 2]"), "HE0521");
        assert_eq!(read(&text.replacen("\"version\":1", "\"version\":2", 1)), "HE0522");
        assert_eq!(read(&text[..text.len() - 9]), "HE0523");
        assert_eq!(read(&text.replacen("\"threads\":", "\"threads\":0,\"was\":", 1)), "HE0523");
    }
}
