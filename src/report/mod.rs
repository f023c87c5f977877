//! What there is to say about a plan: where its time and depth go, what was decided, and what the parties learn. One set of
//! facts, drawn as text, as a graph and as a page.

pub mod dot;
pub mod graph;
pub mod html;
pub mod leakage;
pub mod text;

use std::collections::BTreeMap;

use hecc_plan::cost::{self, CostTable, Prediction};
use hecc_plan::link::Link;
use hecc_plan::noise::{self, Data, Precision};
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::{Op, Plan, Span};

use crate::failure::Failure;
use crate::output;

/// The facts.
pub struct Report<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Its source, where it is known.
    pub source: Option<&'a str>,
    /// Time and memory.
    pub prediction: Prediction,
    /// Precision by state and result.
    pub precision: Vec<Precision>,
    /// Seconds of each step, one thread.
    pub seconds: Vec<f64>,
    /// Bits spent on the way to each step.
    pub depth: Vec<u32>,
    /// What predictions take for the link between the parties.
    pub link: Link,
    /// Name of the machine that the table describes.
    pub machine: String,
    /// What operations on integers take, for who acts beside the training.
    pub prices: Prices,
    /// Threads that predictions are for; 0 for all of that machine.
    pub threads: usize,
}

/// Number of steps and their seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Share {
    /// Steps.
    pub count: usize,
    /// Seconds on one thread.
    pub seconds: f64,
    /// Bits that the deepest path spends here.
    pub bits: u32,
}

impl<'a> Report<'a> {
    /// Gathers the facts; predictions are for `threads` threads (0 for all of the table's machine).
    ///
    /// # Errors
    /// If the sample data that precision is predicted with does not fit the plan.
    pub fn new(plan: &'a Plan, source: Option<&'a str>, table: &CostTable, threads: usize) -> Result<Self, Failure> {
        let all = std::thread::available_parallelism().map_or(1, usize::from);
        let precision = noise::precision(plan, &Data::sample(plan, 0), all).map_err(Failure::machine)?;
        let mut depth: Vec<u32> = Vec::with_capacity(plan.steps.len());
        for step in &plan.steps {
            let before = step.op.operands().iter().map(|w| depth[w.index()]).max().unwrap_or(0);
            depth.push(before + spent(plan, &step.op));
        }
        Ok(Self {
            prediction: cost::predict(plan, table, threads),
            seconds: cost::step_seconds(plan, table),
            precision,
            depth,
            link: table.link,
            machine: table.machine.cpu.clone(),
            prices: table.prices().clone(),
            threads,
            plan,
            source,
        })
    }

    /// Bits of precision of the least precise state or result.
    pub fn precision_bits(&self) -> Option<f64> {
        noise::worst(&self.precision).map(Precision::bits)
    }

    /// The least precise state or result, in words; where that is a state of an optimiser's, also what a program's `precision` is about:
    /// the least precise of the others. Says where that is less than the program asks for.
    pub fn precision_in_words(&self) -> Option<String> {
        let worst = noise::worst(&self.precision)?;
        let of_optimizer = |precision: &&Precision| precision.name.splitn(4, '.').nth(3).is_some();
        let others: Vec<Precision> = self.precision.iter().filter(|precision| !of_optimizer(precision)).cloned().collect();
        let other = noise::worst(&others).filter(|_| of_optimizer(&worst));
        let bits = other.unwrap_or(worst).bits();
        let asked = self.source.and_then(|source| hecc_compiler::check(source).ok()).map(|program| -program.secure.precision.log2());
        let less = asked.filter(|asked| bits < *asked).map_or(String::new(), |asked| format!(", less than the {asked:.1} asked for"));
        let kept = other.map_or(String::new(), |_| format!("; {:.1} of what optimisers keep ({})", worst.bits(), worst.name));
        Some(format!("{bits:.1} bits or more{less}{kept}"))
    }

    /// Line of a span, from 1, where the source is known.
    pub fn line(&self, span: Span) -> Option<usize> {
        output::line(self.source?, span)
    }

    /// A line of the source.
    pub fn text(&self, line: usize) -> &'a str {
        self.source.and_then(|source| source.lines().nth(line.wrapping_sub(1))).unwrap_or_default()
    }

    /// Time by operation, the dearest first.
    pub fn by_operation(&self) -> Vec<(&'static str, Share)> {
        self.shares(|index| self.plan.steps[index].op.name())
    }

    /// Time and depth by source line (`None` for what no line asked for), the dearest first.
    pub fn by_line(&self) -> Vec<(Option<usize>, Share)> {
        self.shares(|index| self.line(self.plan.steps[index].span))
    }

    fn shares<K: Ord + Copy>(&self, key: impl Fn(usize) -> K) -> Vec<(K, Share)> {
        let mut shares: BTreeMap<K, Share> = BTreeMap::new();
        for (index, seconds) in self.seconds.iter().enumerate() {
            let share = shares.entry(key(index)).or_default();
            share.count += 1;
            share.seconds += seconds;
        }
        for index in self.deepest() {
            shares.entry(key(index)).or_default().bits += spent(self.plan, &self.plan.steps[index].op);
        }
        let mut shares: Vec<(K, Share)> = shares.into_iter().collect();
        shares.sort_by(|a, b| b.1.seconds.total_cmp(&a.1.seconds));
        shares
    }

    /// The steps of the deepest path.
    fn deepest(&self) -> Vec<usize> {
        let ends = self.plan.outputs.iter().map(|output| output.wire.index());
        let mut path = Vec::new();
        let mut at = ends.max_by_key(|&index| self.depth[index]);
        while let Some(index) = at {
            path.push(index);
            at = self.plan.steps[index].op.operands().iter().map(|w| w.index()).max_by_key(|&w| self.depth[w]);
        }
        path
    }
}

/// Bits that a step spends.
fn spent(plan: &Plan, op: &Op) -> u32 {
    match op {
        Op::Input(_)
        | Op::Carried(_)
        | Op::Bootstrap(_)
        | Op::Add(..)
        | Op::Sub(..)
        | Op::AddConst(..)
        | Op::AddPlain(..)
        | Op::Rotate { .. }
        | Op::Narrow(_) => 0,
        Op::MulConst { bits, .. } | Op::Halve { bits, .. } => *bits,
        Op::MulPlain(_, plain) => plan.plains[plain.0 as usize].scale,
        Op::Linear(_, matrix) => plan.matrices[matrix.0 as usize].scale,
        Op::Dot(pairs) => pairs.iter().flat_map(|(a, b)| [a, b]).map(|w| plan.steps[w.index()].wire.scale).max().unwrap_or(0),
    }
}
