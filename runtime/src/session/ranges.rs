//! Values outside their declared ranges: seen, counted and reported; the plan's normalisation clips them.

use std::collections::BTreeMap;
use std::fmt;

use hecc_plan::clear::{ClearError, Sources};
use hecc_plan::{ClearId, ClearOp, ClearProgram, Span, Tensors, Watch};

/// The values of one array that were outside its declared range.
#[derive(Clone, Debug, PartialEq)]
pub struct OutOfRange {
    /// The array.
    pub name: String,
    /// Which element of a sample the first one was.
    pub element: usize,
    /// The first one.
    pub value: f64,
    /// Its declared range.
    pub range: [f64; 2],
    /// How many there were.
    pub count: u64,
}

impl fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, element, value, range: [low, high], count } = self;
        write!(f, "`{name}` was {value} in element {element}, outside its declared range [{low}, {high}]")?;
        if *count > 1 { write!(f, "; so were {} more of its values", count - 1) } else { Ok(()) }
    }
}

/// Counts values outside of ranges, by array.
#[derive(Clone, Debug, Default)]
pub struct RangeWatch {
    seen: BTreeMap<String, OutOfRange>,
}

impl RangeWatch {
    /// Looks at samples of an array, one after another, with a range per element. Gives the first value outside if
    /// there was none before.
    pub fn look(&mut self, name: &str, ranges: &[[f64; 2]], values: &[f64]) -> Option<&OutOfRange> {
        let mut first = false;
        for (i, &value) in values.iter().enumerate() {
            let element = i.checked_rem(ranges.len())?;
            let range = ranges[element];
            if !(range[0]..=range[1]).contains(&value) {
                let seen = self.seen.entry(name.to_owned()).or_insert_with(|| {
                    first = true;
                    OutOfRange { name: name.to_owned(), element, value, range, count: 0 }
                });
                seen.count += 1;
            }
        }
        if first { self.seen.get(name) } else { None }
    }

    /// All arrays that left their range.
    pub fn report(&self) -> Vec<OutOfRange> {
        self.seen.values().cloned().collect()
    }
}

/// How near the argument of an activation came to the ends of its interval, beyond which its polynomial is not the function.
/// Nothing of the values but that is kept.
#[derive(Clone, Debug, PartialEq)]
pub struct Reach {
    /// The activation.
    pub name: String,
    /// Its interval.
    pub range: [f64; 2],
    /// The largest distance from the middle, in parts of half the interval: beyond 1 it is outside.
    pub part: f64,
    /// The update, counted from 1, whose batch and weights it was.
    pub update: usize,
    /// What in the source asked for the activation.
    pub span: Span,
    /// Whether another plan can have a wider interval.
    pub widens: bool,
}

impl Reach {
    /// From here on it is worth a warning.
    pub const NEAR: f64 = 0.9;

    /// An interval about the same middle that holds what was seen, and as much again as it was beyond.
    pub fn wider(&self) -> [f64; 2] {
        let [low, high] = self.range;
        let (centre, half) = ((low + high) / 2.0, (high - low) / 2.0);
        let half = half * (2.0 * self.part - 1.0).max(1.25);
        [centre - half, centre + half]
    }

    /// Whether the interval was left.
    pub fn outside(&self) -> bool {
        self.part > 1.0
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, range: [low, high], part, update, .. } = self;
        let what = if self.widens { format!("the argument of {name}") } else { name.clone() };
        let percent = 100.0 * part;
        if self.outside() {
            let over = percent - 100.0;
            write!(f, "update {update}: {what} left its interval [{low}, {high}] by {over:.0} % of half its width")
        } else {
            write!(f, "update {update}: {what} came to {percent:.0} % of the way to an end of its interval [{low}, {high}]")
        }
    }
}

/// Watches the arguments of activations, update by update.
#[derive(Clone, Debug, Default)]
pub struct ArgumentWatch {
    told: BTreeMap<String, Reach>,
}

impl ArgumentWatch {
    /// Computes the arguments that `batch` gives with `states` in the clear. Gives those that came near an end of their
    /// interval, or left it, for the first time.
    ///
    /// # Errors
    /// [`ClearError`] if an array is missing.
    pub fn look(&mut self, watch: &Watch, batch: &Tensors, states: &Tensors, update: usize) -> Result<Vec<Reach>, ClearError> {
        let wanted: Vec<ClearId> = watch.arguments.iter().map(|a| a.node).collect();
        let (mut known, decrypted) = (BTreeMap::new(), BTreeMap::new());
        watch.program.eval(&wanted, Sources { batch, states, decrypted: &decrypted }, &mut known)?;
        let mut news = Vec::new();
        for argument in &watch.arguments {
            let [low, high] = argument.range;
            let (centre, half) = ((low + high) / 2.0, (high - low) / 2.0);
            let part = known[&argument.node].data.iter().fold(0.0f64, |m, v| m.max(((v - centre) / half).abs()));
            let reach =
                Reach { name: argument.name.clone(), range: argument.range, part, update, span: argument.span, widens: argument.widens };
            let before = self.told.get(&argument.name).map_or(0.0, |r| r.part);
            let step = |part: f64| usize::from(part >= Reach::NEAR) + usize::from(part > 1.0);
            if step(part) > step(before) {
                news.push(reach.clone());
            }
            if part > before {
                self.told.insert(argument.name.clone(), reach);
            }
        }
        Ok(news)
    }
}

/// Values of a batch that a client's program will clip, by array.
pub fn clipped(program: &ClearProgram, batch: &Tensors) -> Vec<OutOfRange> {
    let mut watch = RangeWatch::default();
    let mut done = Vec::new();
    for node in &program.nodes {
        if let ClearOp::Normalise { x, ranges } = &node.op
            && let Some(ClearOp::Batch { name, dim }) = program.nodes.get(x.0 as usize).map(|n| &n.op)
            && *dim == ranges.len()
            && !done.contains(&name)
            && let Some(array) = batch.get(name)
        {
            watch.look(name, ranges, &array.data);
            done.push(name);
        }
    }
    watch.report()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_named_and_all_are_counted() {
        let mut watch = RangeWatch::default();
        let ranges = [[-1.0, 1.0], [0.0, 2.0]];
        assert_eq!(watch.look("s", &ranges, &[0.0, 1.0, 1.0, 2.0]), None);
        let first = watch.look("s", &ranges, &[0.5, 2.5, -3.0, 0.0]).expect("one is outside");
        assert_eq!((first.element, first.value, first.count), (1, 2.5, 2));
        assert_eq!(watch.look("s", &ranges, &[9.0, 0.0]), None, "reported once");
        assert_eq!(
            watch.report()[0].to_string(),
            "`s` was 2.5 in element 1, outside its declared range [0, 2]; so were 2 more of its values"
        );
    }

    #[test]
    fn an_argument_is_told_of_when_it_nears_an_end_and_when_it_leaves() {
        let mut watch = Watch::default();
        let x = watch.program.push(ClearOp::Batch { name: "s".to_owned(), dim: 1 });
        let w = watch.program.push(ClearOp::State("w".to_owned()));
        let node = watch.program.push(ClearOp::Dense { x, weight: w, bias: None });
        watch.arguments.push(hecc_plan::Watched {
            name: "silu after q.0".to_owned(),
            node,
            range: [-1.0, 3.0],
            span: Span::default(),
            widens: true,
        });
        let array = |shape: &[usize], v: &[f64]| hecc_plan::Tensor::new(shape.to_vec(), v.to_vec());
        let batch = Tensors::from([("s".to_owned(), array(&[2], &[1.0, -0.25]))]);
        let mut seen = ArgumentWatch::default();
        let mut look = |w: f64, update: usize| {
            let states = Tensors::from([("w".to_owned(), array(&[1, 1], &[w]))]);
            seen.look(&watch, &batch, &states, update).expect("it fits").iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(look(2.0, 1).is_empty());
        assert_eq!(look(2.9, 2), ["update 2: the argument of silu after q.0 came to 95 % of the way to an end of its interval [-1, 3]"]);
        assert!(look(2.95, 3).is_empty(), "told once");
        assert_eq!(look(6.0, 4), ["update 4: the argument of silu after q.0 left its interval [-1, 3] by 150 % of half its width"]);
        assert!(look(8.0, 5).is_empty());
    }

    #[test]
    fn a_program_says_what_it_clips() {
        let mut program = ClearProgram::default();
        let x = program.push(ClearOp::Batch { name: "s".to_owned(), dim: 1 });
        program.push(ClearOp::Normalise { x, ranges: vec![[-1.0, 1.0]] });
        let batch = Tensors::from([("s".to_owned(), hecc_plan::Tensor::new(vec![2], vec![0.0, 4.0]))]);
        assert_eq!(clipped(&program, &batch).len(), 1);
    }
}
