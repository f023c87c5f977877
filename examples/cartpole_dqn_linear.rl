// Pole balancing, trained on what the policy itself does. The values are linear in products that the client computes: no layer
// is hidden, and only the maximum is a polynomial.
use std.dqn

env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-5, 5], [-0.42, 0.42], [-5, 5]
    act     a: one of 2
    reward  r in [-1, 1]
    client {
        r <- -done
        let g = concat(s[0] / 2.4, s[1] / 2, s[2] / 0.21, s[3] / 2)
        let f = concat(g, outer(g, g))
    }
}

net q(f) -> [2] {
    dense 2 init small
}

train dqn(q) {
    discount  = 0.98
    n_step    = 10
    batch     = 512
    updates   = 300
    warmup    = 2000
    envs      = 8
    every     = 64
    explore   = epsilon(1.0, 0.2, 10000)
    average   = 0.02
    optimizer = momentum(lr: 0.3, beta: 0.9)
    tau       = 0.01
}

secure ckks {
    secret  = [s, a, r, q]
    refresh = client
}
