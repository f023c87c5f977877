//! Programs, arrays and engines of the benches.

use std::sync::Arc;

use hecc_plan::{ClearOp, Plan, Span, State, StateInit, Tensor, Tensors, init};
use hecc_runtime::engine::{Backend, Engine, Update};
use hecc_runtime::session::intake;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An engine with its keys, and what it works on.
pub struct Workload {
    engine: Engine,
    batch: Tensors,
    start: Tensors,
}

impl Workload {
    /// `examples/cartpole_dqn.rl` (4-32-2) with another batch.
    pub fn cartpole(batch: usize) -> Self {
        Self::new(include_str!("../../examples/cartpole_dqn.rl"), Some(batch))
    }

    /// `examples/bench_regression.rl` (4-64-2, squared activation) with another batch.
    pub fn regression(batch: usize) -> Self {
        Self::new(include_str!("../../examples/bench_regression.rl"), Some(batch))
    }

    /// The same, by a server that bootstraps.
    pub fn regression_alone(batch: usize) -> Self {
        let source = include_str!("../../examples/bench_regression.rl").replace("refresh = client", "refresh = bootstrap");
        Self::new(&source, Some(batch))
    }

    /// `examples/cartpole_dqn_alone.rl` with another batch.
    pub fn cartpole_alone(batch: usize) -> Self {
        Self::new(include_str!("../../examples/cartpole_dqn_alone.rl"), Some(batch))
    }

    /// `examples/actor.rl` (3-64-64-1, public weights), batch 64.
    pub fn actor() -> Self {
        Self::new(include_str!("../../examples/actor.rl"), None)
    }

    fn new(source: &str, batch: Option<usize>) -> Self {
        let plan = Arc::new(compile(&with_batch(source, batch)));
        let given = intake::sort(&*plan, arrays(&plan)).expect("arrays that fit");
        let threads = std::env::var("HECC_THREADS").map_or(0, |n| n.parse().expect("HECC_THREADS is a number"));
        let engine = Engine::new(Arc::clone(&plan), Backend::Ckks, given.public, threads, &mut |_, _| ()).expect("keys");
        Self { engine, batch: given.batch, start: given.states }
    }

    /// One update, always from the same weights.
    pub fn update(&mut self) -> Update {
        self.engine.update(&self.batch, &mut self.start.clone()).expect("an update")
    }
}

/// A training plan of 3-256-256-1 with batch 256.
pub fn wide() -> Plan {
    compile(
        r#"
env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-1, 1]
}

net v(s) -> [1] {
    dense 256 relu(degree: 2, range: [-2, 2])
    dense 256 relu(degree: 2, range: [-2, 2])
    dense 1
}

algorithm fit(v) {
    parameter optimizer
    minimize mean((v(s) - r)^2) over v with optimizer
}

train fit(v) {
    batch     = 256
    updates   = 100
    optimizer = sgd(lr: 0.1)
}

secure ckks {
    secret  = [s, r, v]
    refresh = client
}
"#,
    )
}

fn compile(source: &str) -> Plan {
    hecc_compiler::compile(source, &hecc_compiler::Options::default()).expect("a program of the benches compiles").plan
}

fn with_batch(source: &str, batch: Option<usize>) -> String {
    let line = |line: &str| match (batch, line.trim_start().strip_prefix("batch")) {
        (Some(batch), Some(rest)) if rest.trim_start().starts_with('=') => format!("    batch = {batch}\n"),
        _ => format!("{line}\n"),
    };
    source.lines().map(line).collect()
}

/// A random batch and the initial weights.
fn arrays(plan: &Plan) -> Tensors {
    let mut rng = StdRng::seed_from_u64(0);
    let batch = plan.geometry.batch;
    // Public arrays have no declared start.
    let public = plan.public.iter().enumerate().map(|(index, (name, shape))| State {
        name: name.clone(),
        shape: shape.clone(),
        init: if shape.len() > 1 { StateInit::Orthogonal { gain: 1.0, stream: index as u64 } } else { StateInit::Constant(0.0) },
        span: Span::default(),
    });
    let states: Vec<State> = plan.states.iter().cloned().chain(public).collect();
    let mut arrays = init::initial_states(&states, 0);
    for node in &plan.client.nodes {
        let ClearOp::Batch { name, dim } = &node.op else { continue };
        let tensor = match name.as_str() {
            "a" => Tensor::new(vec![batch], (0..batch).map(|_| f64::from(rng.random_range(0..2u8))).collect()),
            "done" => Tensor::new(vec![batch], (0..batch).map(|_| f64::from(u8::from(rng.random_bool(0.1)))).collect()),
            _ if *dim == 1 => Tensor::new(vec![batch], (0..batch).map(|_| rng.random_range(-1.0..0.0)).collect()),
            _ => Tensor::new(vec![batch, *dim], (0..batch * dim).map(|_| rng.random_range(-0.4..0.4)).collect()),
        };
        arrays.insert(name.clone(), tensor);
    }
    arrays
}
