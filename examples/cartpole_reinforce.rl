// REINFORCE balances a pole with a linear policy. The replay holds little more than what the policy itself has just done.
use std.reinforce

env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-5, 5], [-0.42, 0.42], [-5, 5]
    act     a: one of 2
    reward  r in [-1, 1]
    client {
        r <- -done
        let g = concat(s[0] / 2.4, s[1] / 2, s[2] / 0.21, s[3] / 2)
    }
}

net policy(g) -> [2] {
    dense 2 init small
}

train reinforce(policy) {
    discount  = 0.97
    n_step    = 100
    baseline  = -0.3
    batch     = 512
    updates   = 200
    warmup    = 0
    capacity  = 2000
    envs      = 16
    every     = 1000
    explore   = policy
    optimizer = momentum(lr: 0.3, beta: 0.9)
}

secure ckks {
    secret  = [s, a, r, policy]
    refresh = client
}
