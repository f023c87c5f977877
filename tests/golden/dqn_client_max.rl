// The same with the maximum at the client: two rounds.
use std.dqn

env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
    client { r <- -done }
}

net q(s) -> [2] {
    dense 4 square
    dense 2 nobias
}

train dqn(q) {
    discount  = 0.9
    batch     = 8
    updates   = 2
    n_step    = 3
    average   = 0.05
    optimizer = momentum(lr: 0.5, beta: 0.9)
    tau       = 0.1
}

secure ckks {
    secret  = [s, a, r, q]
    refresh = client
    client  = [max]
}
