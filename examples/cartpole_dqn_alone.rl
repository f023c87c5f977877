// Pole balancing, trained by a server alone: it bootstraps the weights it cannot read, and the client only sends transitions.
use std.dqn

env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
    client { r <- -done }  // 0 a step, -1 at failure: the same task, easier to learn
}

net q(s) -> [2] {
    dense 32 relu(degree: 2, range: [-2, 2])
    dense 2 init small
}

train dqn(q) {
    discount  = 0.99
    batch     = 1024
    updates   = 120
    collect   = random(20000)
    n_step    = 10
    average   = 0.05
    optimizer = momentum(lr: 1.0, beta: 0.9)
    tau       = 0.01
}

secure ckks {
    bits    = 128
    secret  = [s, a, r, q]
    refresh = bootstrap
}
