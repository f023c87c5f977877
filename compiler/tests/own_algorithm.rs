//! Algorithms that a user could write: everything that a soft actor-critic is made of, compiled to CKKS with the client and without.

use crate::support::{agrees, agrees_alone};

const NETS: &str = r#"env "Other-v0" { observe s: [3] in [-1, 1]  act a: [1] in [-1, 1]  reward r in [-1, 1] }
net actor(s) -> (mu: [1], log_std: [1]) {
    dense 4 silu(degree: 2, range: [-4, 4])
    heads { mu { dense 1 init small }  log_std { dense 1 tanh(degree: 3, range: [-2, 2]) init small } }
}
net first(s, a) -> [1] { dense 4 silu(degree: 2, range: [-4, 4]) dense 1 }
net second(s, a) -> [1] { dense 4 silu(degree: 2, range: [-4, 4]) dense 1 }
"#;

/// `sample`, `min`, `exp`, `log`, `clip`, noise, three `minimize`, `every`, and two numbers that are learned.
fn own(secure: &str) -> String {
    format!(
        r#"{NETS}
algorithm own(actor, first, second) {{
    parameter discount = 0.9, fast, slow
    state t = copy(first)
    state u = copy(second)
    state alpha = 0.1
    state bias = 0.0
    noise now: [1]
    noise later: [1]
    let (a', logp') = sample(actor(s'), later)
    let heat = exp(clip(0.5 * logp', -1, 1), degree: 3, range: [-1, 1])
    let y = stop(r + discount * (1 - done) * (min(t(s', a'), u(s', a')) - alpha * logp' + 0.01 * heat))
    minimize mean((first(s, a) + bias - y)^2) + mean((second(s, a) - y)^2) over first, second, bias with fast
    let (b, logp) = sample(actor(s), now)
    let wide = log(1 + 0.25 * first(s, b)^2, degree: 2, range: [1, 3])
    minimize mean(stop(alpha) * logp - min(first(s, b), second(s, b)) + 0.01 * wide) over actor with slow
    minimize mean(-alpha * stop(logp - 1)) over alpha with sgd(lr: 0.01)
    every 2 {{
        t <- mix(t, old(first), 0.1)
        u <- mix(u, old(second), 0.1)
    }}
}}
train own(actor, first, second) {{ batch = 16 updates = 6 fast = momentum(lr: 0.05) slow = adam(lr: 0.01, eps: 1e-2) }}
secure ckks {{ {secure} }}"#
    )
}

/// The library's, whose temperature is learned.
fn automatic(secure: &str) -> String {
    format!(
        r#"use std.sac_auto
{NETS}
train sac_auto(actor, first, second) {{
    batch = 16 updates = 4 tau = 0.05
    actor_optimizer = momentum(lr: 0.02) critic_optimizer = momentum(lr: 0.05) alpha_optimizer = sgd(lr: 0.01)
}}
secure ckks {{ {secure} }}"#
    )
}

#[test]
fn with_the_client() {
    for secure in ["refresh = client", "refresh = client client = [min, log, exp]", "refresh = client client = [target]"] {
        agrees(&own(secure), 11);
        agrees(&automatic(secure), 11);
    }
}

#[test]
fn without_the_client() {
    agrees_alone(&own("refresh = bootstrap"), 10);
}

#[test]
fn a_learned_temperature_without_the_client() {
    agrees_alone(&automatic("refresh = bootstrap"), 10);
}

/// A return of three steps in [1, 2] lies in [1, 5.42], by which one may divide; one of rewards about 0 does not.
#[test]
fn a_return_is_divided_by_where_its_range_has_no_zero() {
    let source = |reward: &str| {
        format!(
            r#"env "Other-v0" {{ observe s: [3] in [-1, 1]  act a: one of 2  reward r in {reward} }}
net q(s) -> [2] {{ dense 2 }}
algorithm scaled(q) {{
    parameter discount, opt
    minimize mean((dot(q(s), a) - 1 / r)^2) over q with opt
}}
train scaled(q) {{ batch = 16 updates = 2 n_step = 3 discount = 0.9 opt = sgd(lr: 0.1) }}
secure ckks {{ refresh = client }}"#
        )
    };
    agrees(&source("[1, 2]"), 10);
    let refused = hecc_compiler::check(&source("[-1, 2]")).expect_err("a return may be 0");
    assert_eq!(refused[0].code, "HE0219");
}

/// An arg-max that no party computes is the weights of the polynomial maximum; where the key owner does, it is one-hot.
#[test]
fn double_q_learning_without_an_exact_choice() {
    let source = |actions: usize, secure: &str| {
        format!(
            r#"use std.double_dqn
env "Other-v0" {{ observe s: [3] in [-1, 1]  act a: one of {actions}  reward r in [-1, 1] }}
net q(s) -> [{actions}] {{ dense 4 square dense {actions} }}
train double_dqn(q) {{ batch = 16 updates = 4 discount = 0.9 tau = 0.1 optimizer = sgd(lr: 0.1) }}
secure ckks {{ {secure} }}"#
        )
    };
    for actions in [2, 3] {
        agrees(&source(actions, "refresh = client"), 11);
        agrees(&source(actions, "refresh = client client = [argmax]"), 11);
    }
    agrees_alone(&source(2, "refresh = bootstrap"), 10);
}
