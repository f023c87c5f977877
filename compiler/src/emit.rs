//! From a lowered program to a plan.

use hecc_plan::link::Link;
use hecc_plan::{ActionSpec, Collect, EnvSpec, Explore, ObservationSpec, Plan, Run, State, Training, Watch};

use crate::approximation::Approximation;
use crate::check::hir::{self, ActionKind, Program, Task, Train};
use crate::schemes::ckks::{Lowered, known::Client, policy};
use crate::tensor::build::Built;

/// Puts a plan together; `link` is what plans were compared over.
pub fn emit(program: &Program, source: &str, built: &Built, lowered: Lowered, link: Link) -> Plan {
    let name = match &program.task {
        Task::Train(train) => train.algorithm.clone(),
        Task::Serve(_) => "serve".to_owned(),
    };
    let is_public = |state: &State| built.public.iter().any(|(name, _)| *name == state.name);
    let training = match &program.task {
        Task::Train(train) => {
            let watch = policy::watch(program, &lowered.graph, &lowered.approximation);
            Some(Training { watch, ..training(program, train, built, &lowered.approximation) })
        }
        Task::Serve(_) => None,
    };
    let decisions = crate::schemes::ckks::decide::run(program, &lowered, link);
    Plan {
        name,
        source: fingerprint(source),
        ckks: lowered.ckks,
        geometry: lowered.geometry,
        client: lowered.client,
        inputs: lowered.sized.inputs,
        plains: lowered.circuit.plains,
        matrices: lowered.circuit.matrices,
        steps: lowered.sized.steps,
        outputs: lowered.sized.outputs,
        rounds: lowered.sized.rounds,
        states: built.states.iter().filter(|s| training.is_some() || !is_public(s)).cloned().collect(),
        settled: lowered.settles,
        periods: built.periods.clone(),
        public: built.public.clone(),
        carried: lowered.sized.carried,
        bootstrap: lowered.bootstrap,
        keys: lowered.keys,
        training,
        notes: lowered.notes,
        decisions,
    }
}

/// The fingerprint of a source in its plans and ranges.
pub fn fingerprint(source: &str) -> String {
    format!("{:016x}", hash(source))
}

/// FNV-1a of the source, to name it in messages.
fn hash(source: &str) -> u64 {
    source.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

pub(crate) fn training(program: &Program, train: &Train, built: &Built, approximation: &Approximation) -> Training {
    let (policy, act) = crate::acting::acting(program, train, built.first, approximation).unwrap_or_else(|| {
        let mut client = Client::default();
        let act = client.push(hecc_plan::ClearOp::Number(0.0));
        (client.program, act)
    });
    let trained = built.states.iter().filter(|s| s.name.ends_with(".weight") || s.name.ends_with(".bias"));
    let release = trained
        .map(|s| {
            let average = format!("{}.average", s.name);
            let kept = built.states.iter().any(|s| s.name == average);
            (s.name.clone(), if kept { average } else { s.name.clone() })
        })
        .collect();
    let settings = &train.settings;
    Training {
        env: environment(program),
        run: Run {
            batch: settings.batch,
            updates: settings.updates,
            warmup: settings.warmup,
            capacity: settings.capacity,
            envs: settings.envs,
            every: settings.every,
            collect: settings.collect.map_or(Collect::Online, Collect::Random),
            n_step: settings.n_step,
            discount: settings.discount.unwrap_or(1.0),
            average: settings.average,
            seed: settings.seed,
            evaluate: settings.evaluate,
            checkpoint: settings.checkpoint,
            explore: match settings.explore {
                hir::Explore::Epsilon(from, to, steps) => Explore::Epsilon(from, to, steps),
                hir::Explore::Policy => Explore::Policy,
            },
            out_of_range: settings.out_of_range,
        },
        policy,
        act,
        watch: Watch::default(),
        release,
        served: None,
    }
}

fn environment(program: &Program) -> EnvSpec {
    let env = &program.env;
    let pairs = |ranges: &[hir::Range]| ranges.iter().map(|r| [r.low, r.high]).collect::<Vec<_>>();
    let action = match &env.action.kind {
        ActionKind::Discrete { k } => ActionSpec::Discrete(*k),
        ActionKind::MultiDiscrete { n, k } => ActionSpec::MultiDiscrete(*n, *k),
        ActionKind::Continuous { ranges, .. } => ActionSpec::Continuous(pairs(ranges)),
    };
    let observation = |o: &hir::Observation| ObservationSpec { name: o.name.clone(), shape: o.shape.clone(), ranges: pairs(&o.ranges) };
    EnvSpec {
        id: env.id.clone(),
        observations: env.observations.iter().map(observation).collect(),
        action: (env.action.name.clone(), action),
        reward: (env.reward.clone(), [env.declared_reward_range.low, env.declared_reward_range.high]),
        recode: env.recode.as_ref().map(|expr| {
            let mut client = Client::default();
            let output = client.expr(program, expr, false);
            (client.program, output)
        }),
    }
}
