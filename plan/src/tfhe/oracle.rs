//! The clear-text integer oracle, which an encrypted run equals bit for bit.

use std::collections::BTreeMap;
use std::convert::Infallible;

use super::{Machine, Made, Op, Plan, Row, Step, drive};

/// Executes steps on plain integers.
struct Oracle<'a> {
    plan: &'a Plan,
    inputs: &'a BTreeMap<u32, Vec<i64>>,
    carried: &'a [Vec<i64>],
}

/// The integers of the outputs, for those of the inputs by their number; an input that is missing is 0.
pub fn run(plan: &Plan, inputs: &BTreeMap<u32, Vec<i64>>) -> Vec<Vec<i64>> {
    update(plan, inputs, &[]).outputs
}

/// The same, for the integers that the server keeps too: 0 where they are missing.
pub fn update(plan: &Plan, inputs: &BTreeMap<u32, Vec<i64>>, carried: &[Vec<i64>]) -> Made<Vec<i64>> {
    match drive(&mut Oracle { plan, inputs, carried }, plan) {
        Ok(made) => made,
        Err(never) => match never {},
    }
}

impl Machine for Oracle<'_> {
    type Wire = Vec<i64>;
    type Error = Infallible;

    fn step(&mut self, _index: usize, step: &Step, operands: &[&Vec<i64>]) -> Result<Vec<i64>, Infallible> {
        Ok(match &step.op {
            Op::Input(id) => self.inputs.get(&id.0).cloned().unwrap_or_else(|| vec![0; step.wire.len as usize]),
            Op::Carried(id) => self.carried.get(id.0 as usize).cloned().unwrap_or_else(|| vec![0; step.wire.len as usize]),
            Op::Affine { operands: _, rows } => rows.iter().map(|row| affine(row, operands)).collect(),
            Op::Table { a: _, tables, lookup: _ } => {
                let table = |i: usize| &self.plan.tables[tables[i % tables.len()].0 as usize];
                operands[0].iter().enumerate().map(|(i, &v)| table(i).at(v)).collect()
            }
            Op::Floor { a: _, drop, lookup: _ } => operands[0].iter().map(|v| v >> drop).collect(),
            Op::Rest { operands: names } => {
                let drop = self.plan.steps[names[0].index()].wire.bits - self.plan.steps[names[1].index()].wire.bits;
                operands[0].iter().zip(operands[1]).map(|(v, floor)| v - (floor << drop)).collect()
            }
            Op::Sign { a: _, no, yes, lookup: _ } => operands[0].iter().map(|&v| if v < 0 { *no } else { *yes }).collect(),
            Op::Switch { a: _, switch: _ } => operands[0].clone(),
        })
    }
}

/// The integer of a row. It fits, as the checker knows; sums on the way to it need not, and wrap around and back.
fn affine(row: &Row, operands: &[&Vec<i64>]) -> i64 {
    let product = |&(o, e, c): &(u32, u32, i64)| c.wrapping_mul(operands[o as usize][e as usize]);
    row.terms.iter().map(product).fold(row.constant, i64::wrapping_add)
}
