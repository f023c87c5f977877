//! Values outside their declared ranges: seen, counted and reported; the plan's normalisation clips them.

use std::collections::BTreeMap;
use std::fmt;

use hecc_plan::{ClearOp, ClearProgram, Tensors};

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
    fn a_program_says_what_it_clips() {
        let mut program = ClearProgram::default();
        let x = program.push(ClearOp::Batch { name: "s".to_owned(), dim: 1 });
        program.push(ClearOp::Normalise { x, ranges: vec![[-1.0, 1.0]] });
        let batch = Tensors::from([("s".to_owned(), hecc_plan::Tensor::new(vec![2], vec![0.0, 4.0]))]);
        assert_eq!(clipped(&program, &batch).len(), 1);
    }
}
