//! What the client's side of a plan is, whatever the scheme: programs, states and the run, but no steps.

use crate::{ClearProgram, Escape, Plan, Span, State, Training, tfhe};

/// The client's side of a plan.
#[derive(Clone, Copy, Debug)]
pub struct Interface<'a> {
    /// What the program calls itself.
    pub name: &'a str,
    /// Samples at once.
    pub batch: usize,
    /// What the client computes.
    pub client: &'a ClearProgram,
    /// Carried values.
    pub states: &'a [State],
    /// The training run, where there is one.
    pub training: Option<&'a Training>,
    /// The server's own arrays.
    pub public: Arrays<'a>,
    /// A hash of what a run depends on: all but how long it runs, from which seed, what it does out of range,
    /// and where its source stands.
    pub fingerprint: u64,
}

/// Public arrays: those that a run is given, or those that stand in the plan.
#[derive(Clone, Copy, Debug)]
pub enum Arrays<'a> {
    /// Names and shapes of arrays to be given.
    Given(&'a [(String, Vec<usize>)]),
    /// Arrays that the plan was compiled for.
    Fixed(&'a [tfhe::Public]),
}

impl<'a> From<&'a Plan> for Interface<'a> {
    fn from(plan: &'a Plan) -> Self {
        let mut bare = plan.clone();
        bare.source.clear();
        bare.notes.clear();
        bare.steps.iter_mut().for_each(|step| step.span = Span::default());
        bare.states.iter_mut().for_each(|state| state.span = Span::default());
        restart(&mut bare.training);
        Self {
            name: &plan.name,
            batch: plan.geometry.batch,
            client: &plan.client,
            states: &plan.states,
            training: plan.training.as_ref(),
            public: Arrays::Given(&plan.public),
            fingerprint: crate::file::hash(&crate::write(&bare)),
        }
    }
}

impl<'a> From<&'a tfhe::Plan> for Interface<'a> {
    fn from(plan: &'a tfhe::Plan) -> Self {
        let mut bare = plan.clone();
        bare.source.clear();
        bare.notes.clear();
        bare.decisions.clear();
        bare.steps.iter_mut().for_each(|step| step.span = Span::default());
        bare.states.iter_mut().for_each(|state| state.span = Span::default());
        restart(&mut bare.training);
        Self {
            name: &plan.name,
            batch: plan.batch,
            client: &plan.client,
            states: &plan.states,
            training: plan.training.as_ref(),
            public: Arrays::Fixed(&plan.public),
            fingerprint: crate::file::hash(&crate::write_tfhe(&bare)),
        }
    }
}

/// Length and seed of a run may change between its parts, what it does out of range, and the place of its source.
fn restart(training: &mut Option<Training>) {
    if let Some(training) = training {
        if let Some(served) = &mut training.served {
            served.source.clear();
            served.notes.clear();
            served.decisions.clear();
            served.steps.iter_mut().for_each(|step| step.span = Span::default());
            served.states.iter_mut().for_each(|state| state.span = Span::default());
        }
        let run = &mut training.run;
        (run.updates, run.seed, run.evaluate, run.checkpoint, run.out_of_range) = (0, 0, 0, 0, Escape::Warn);
    }
}
