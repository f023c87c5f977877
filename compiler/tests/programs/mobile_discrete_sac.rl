use std.discrete_sac
use std.reinforce, std.td3

env "mobile-small-central-v0" {
    observe s: [35] in [0, 1]
    act a: [5] one of 4
    reward r in [-1, 1]
}

net pi(s) -> [20] { dense 20 }
net q1(s) -> [20] { dense 20 }
net q2(s) -> [20] { dense 20 }

train discrete_sac(pi, q1, q2) {
    updates          = 3
    policy_optimizer = adam(1e-3)
    critic_optimizer = adam(1e-3)
}
