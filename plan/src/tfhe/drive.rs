//! The one loop over the steps of a TFHE plan.

use super::{Plan, Step, WireId};

/// A meaning of the steps: the checker, the oracle, the encrypted executor.
pub trait Machine {
    /// What a wire is.
    type Wire;
    /// What can go wrong.
    type Error;

    /// Runs one step on its operands.
    ///
    /// # Errors
    /// Whatever the meaning calls an error; the loop stops at the first.
    fn step(&mut self, index: usize, step: &Step, operands: &[&Self::Wire]) -> Result<Self::Wire, Self::Error>;
}

/// What a run makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Made<W> {
    /// What goes to the client, in the order of the plan's outputs.
    pub outputs: Vec<W>,
    /// What the server keeps, in the order of the plan's carried vectors.
    pub carried: Vec<W>,
}

/// Runs all steps in turn and gives the wires that leave or stay. A wire is dropped after its last use. What runs
/// in parallel are the integers of a step: it has many, and their bootstraps are all alike.
///
/// # Errors
/// The first error of the machine.
///
/// # Panics
/// If a step uses one that does not come before it, which a checked plan never does.
pub fn drive<M: Machine>(machine: &mut M, plan: &Plan) -> Result<Made<M::Wire>, M::Error>
where
    M::Wire: Clone,
{
    let mut last = vec![0; plan.steps.len()];
    for (index, step) in plan.steps.iter().enumerate() {
        step.op.operands().iter().for_each(|w| last[w.index()] = index);
    }
    let kept = || plan.outputs.iter().map(|output| output.wire).chain(plan.carried.iter().map(|carried| carried.wire));
    kept().for_each(|wire| last[wire.index()] = usize::MAX);
    let mut wires: Vec<Option<M::Wire>> = Vec::with_capacity(plan.steps.len());
    for (index, step) in plan.steps.iter().enumerate() {
        let operands: Vec<&M::Wire> =
            step.op.operands().iter().map(|w| wires[w.index()].as_ref().expect("operands come before their use")).collect();
        let wire = machine.step(index, step, &operands)?;
        wires.push(Some(wire));
        for operand in step.op.operands() {
            if last[operand.index()] == index {
                wires[operand.index()] = None;
            }
        }
    }
    let wire = |wire: WireId| wires[wire.index()].clone().expect("what leaves or stays is kept");
    Ok(Made {
        outputs: plan.outputs.iter().map(|output| wire(output.wire)).collect(),
        carried: plan.carried.iter().map(|carried| wire(carried.wire)).collect(),
    })
}
