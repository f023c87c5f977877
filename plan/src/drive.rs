//! The one loop over the steps of a plan, and what it drives.

use std::sync::{Condvar, Mutex};

use crate::{Plan, Step};

/// A meaning of the steps: a checker, a clear-text oracle, an encrypted executor.
pub trait Machine: Sync {
    /// What a wire is.
    type Wire: Send + Sync;
    /// What can go wrong.
    type Error: Send;

    /// Runs one step on its operands (in the order of [`crate::Op::operands`]). [`crate::Op::Input`] steps have none; the machine
    /// finds the input by its id.
    ///
    /// # Errors
    /// Whatever the meaning calls an error; the loop stops at the first.
    fn step(&self, index: usize, step: &Step, operands: &[&Self::Wire]) -> Result<Self::Wire, Self::Error>;
}

/// The wires of a run so far. A wire is dropped after its last use, unless it leaves the plan.
pub struct Wires<W> {
    slots: Vec<Slot<W>>,
}

struct Slot<W> {
    value: Mutex<Option<std::sync::Arc<W>>>,
    uses: std::sync::atomic::AtomicUsize,
}

impl<W> Wires<W> {
    /// Room for every wire of `plan`.
    pub fn new(plan: &Plan) -> Self {
        let mut uses = vec![0; plan.steps.len()];
        for step in &plan.steps {
            for operand in step.op.operands() {
                uses[operand.index()] += 1;
            }
        }
        for output in &plan.outputs {
            uses[output.wire.index()] += 1;
        }
        for (_, wire) in plan.rounds.iter().flat_map(|round| &round.saves) {
            uses[wire.index()] += 1;
        }
        let slots = uses.into_iter().map(|n| Slot { value: Mutex::new(None), uses: n.into() });
        Self { slots: slots.collect() }
    }

    /// A wire that was computed and is still held.
    pub fn get(&self, index: usize) -> Option<std::sync::Arc<W>> {
        self.slots[index].value.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Says that one use of a wire is over (a step that ran, an output that left, a ciphertext that was saved).
    pub fn release(&self, index: usize) {
        let slot = &self.slots[index];
        if slot.uses.fetch_sub(1, std::sync::atomic::Ordering::AcqRel) == 1 {
            *slot.value.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = None;
        }
    }

    fn put(&self, index: usize, value: W) {
        let slot = &self.slots[index];
        if slot.uses.load(std::sync::atomic::Ordering::Acquire) > 0 {
            *slot.value.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(std::sync::Arc::new(value));
        }
    }
}

/// Runs steps `[first, last)` of `plan` on up to `threads` threads. Steps start in their order in the plan as soon as
/// their operands are there; results do not depend on the number of threads.
///
/// # Errors
/// The first error of the machine; other threads finish the step they are in.
pub fn drive<M: Machine>(machine: &M, plan: &Plan, range: (u32, u32), wires: &Wires<M::Wire>, threads: usize) -> Result<(), M::Error> {
    let (first, last) = (range.0 as usize, range.1 as usize);
    if threads <= 1 {
        for index in first..last {
            run_step(machine, plan, index, wires)?;
        }
        return Ok(());
    }
    let mut waiting = vec![0usize; last - first];
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); last - first];
    for index in first..last {
        let mut operands: Vec<usize> = plan.steps[index].op.operands().iter().map(|w| w.index()).collect();
        operands.sort_unstable();
        operands.dedup();
        for operand in operands.into_iter().filter(|&o| o >= first) {
            waiting[index - first] += 1;
            users[operand - first].push(index);
        }
    }
    let ready = (first..last).filter(|i| waiting[i - first] == 0).collect();
    let board = Mutex::new(Board { ready, waiting, left: last - first });
    let bell = Condvar::new();
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let index = {
                        let mut board = board.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                        loop {
                            if board.left == 0 {
                                return;
                            }
                            if let Some(index) = board.ready.pop_first() {
                                break index;
                            }
                            board = bell.wait(board).unwrap_or_else(std::sync::PoisonError::into_inner);
                        }
                    };
                    let guard = WakeOnUnwind(&bell, &board);
                    let outcome = run_step(machine, plan, index, wires);
                    std::mem::forget(guard);
                    let mut board = board.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    if let Err(error) = outcome {
                        failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                        board.left = 0;
                    } else {
                        board.left = board.left.saturating_sub(1);
                        for &user in &users[index - first] {
                            board.waiting[user - first] -= 1;
                            if board.waiting[user - first] == 0 {
                                board.ready.insert(user);
                            }
                        }
                    }
                    bell.notify_all();
                }
            });
        }
    });
    failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

struct Board {
    ready: std::collections::BTreeSet<usize>,
    waiting: Vec<usize>,
    left: usize,
}

/// A thread that unwinds must not leave the others waiting for its result.
struct WakeOnUnwind<'a>(&'a Condvar, &'a Mutex<Board>);

impl Drop for WakeOnUnwind<'_> {
    fn drop(&mut self) {
        self.1.lock().unwrap_or_else(std::sync::PoisonError::into_inner).left = 0;
        self.0.notify_all();
    }
}

fn run_step<M: Machine>(machine: &M, plan: &Plan, index: usize, wires: &Wires<M::Wire>) -> Result<(), M::Error> {
    let step = &plan.steps[index];
    let ids = step.op.operands();
    let held: Vec<_> =
        ids.iter().map(|id| wires.get(id.index()).expect("a checked plan uses only wires that were computed and are still held")).collect();
    let operands: Vec<&M::Wire> = held.iter().map(|w| &**w).collect();
    let value = machine.step(index, step, &operands)?;
    drop(held);
    wires.put(index, value);
    for id in ids {
        wires.release(id.index());
    }
    Ok(())
}
