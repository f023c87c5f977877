//! What is known of the built-in environments.

use super::environment::Environment;
use super::error::CheckError;
use super::hir::ActionKind;
use crate::syntax::ast::{self, EnvLineKind};

struct Builtin {
    id: &'static str,
    observation: usize,
    /// The observation and the action as a program writes them.
    observe: &'static str,
    act: &'static str,
    is_action: fn(&ActionKind) -> bool,
}

const BUILTIN: [Builtin; 5] = [
    Builtin {
        id: "CartPole-v1",
        observation: 4,
        observe: "[4]",
        act: "one of 2",
        is_action: |kind| matches!(kind, ActionKind::Discrete { k: 2 }),
    },
    Builtin {
        id: "Pendulum-v1",
        observation: 3,
        observe: "[3]",
        act: "[1] in [-2, 2]",
        is_action: |kind| matches!(kind, ActionKind::Continuous { shape, .. } if *shape == [1]),
    },
    Builtin {
        id: "MountainCar-v0",
        observation: 2,
        observe: "[2]",
        act: "one of 3",
        is_action: |kind| matches!(kind, ActionKind::Discrete { k: 3 }),
    },
    Builtin {
        id: "Acrobot-v1",
        observation: 6,
        observe: "[6]",
        act: "one of 3",
        is_action: |kind| matches!(kind, ActionKind::Discrete { k: 3 }),
    },
    Builtin {
        id: "mobile-small-central-v0",
        observation: 35,
        observe: "[35]",
        act: "[5] one of 4",
        is_action: |kind| matches!(kind, ActionKind::MultiDiscrete { n: 5, k: 4 }),
    },
];

/// Compares a declaration with the built-in environment of its id, if there is one.
pub(super) fn check(written: &ast::Env, made: &Environment, errors: &mut Vec<CheckError>) {
    let id = written.id.text.as_str();
    let Some(known) = BUILTIN.iter().find(|builtin| builtin.id == id) else {
        // Another version of a known environment is an environment of its own; a slip in the name is a slip.
        let stem = |id: &str| id.rsplit_once("-v").map_or(id.to_owned(), |(stem, _)| stem.to_owned());
        let slip = |b: &&Builtin| strsim::damerau_levenshtein(&b.id.to_lowercase(), &cut(id).to_lowercase()) <= 2;
        let near = BUILTIN.iter().filter(|b| stem(b.id) != stem(id)).find(slip);
        if let Some(near) = near {
            errors.push(CheckError::NearlyBuiltin { id: id.to_string(), builtin: near.id, span: written.id.span });
        }
        return;
    };
    let elements: usize = made.env.observations.iter().map(|o| o.shape.iter().product::<usize>()).sum();
    let sound = |name: &str| !made.broken.iter().any(|broken| broken == name);
    let mut observes = written.lines.iter().filter_map(|line| match &line.kind {
        EnvLineKind::Observe { name, shape, .. } => Some((name, shape.span)),
        EnvLineKind::Act { .. } | EnvLineKind::Reward { .. } | EnvLineKind::Client(_) => None,
    });
    if let Some((_, span)) = observes.next()
        && elements != known.observation
        && made.env.observations.iter().all(|o| sound(&o.name))
        && made.broken.is_empty()
    {
        errors.push(CheckError::EnvironmentMismatch { id: known.id, what: "observation", known: known.observe, span });
    }
    let mut acts = written.lines.iter().filter(|line| matches!(line.kind, EnvLineKind::Act { .. }));
    if let Some(line) = acts.next_back()
        && !made.env.action.name.is_empty()
        && !(known.is_action)(&made.env.action.kind)
    {
        errors.push(CheckError::EnvironmentMismatch { id: known.id, what: "action", known: known.act, span: line.span });
    }
}

/// No id is long; a hostile one must not cost quadratic time.
fn cut(id: &str) -> String {
    id.chars().take(64).collect()
}
