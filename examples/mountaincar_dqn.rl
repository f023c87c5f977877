// A car too weak for its hill swings up. The values are linear in products that the client computes.
use std.dqn

env "MountainCar-v0" {
    observe s: [2] in [-1.21, 0.61], [-0.071, 0.071]
    act     a: one of 3
    reward  r in [-1, 0]
    client {
        let energy = 0.0025 * sin(3 * s[0]) + 0.5 * s[1]^2
        r <- 1000 * (energy' - energy) + done  // what a step gains, and a prize at the top
        let g = concat((s[0] + 0.5) / 0.5, s[1] / 0.02)
        let f = concat(g, outer(g, g))
    }
}

net q(f) -> [3] {
    dense 3 init small
}

train dqn(q) {
    discount  = 0.98
    n_step    = 10
    batch     = 512
    updates   = 300
    collect   = random(20000)
    average   = 0.05
    optimizer = momentum(lr: 0.3, beta: 0.9)
    tau       = 0.02
}

secure ckks {
    secret  = [s, a, r, q]
    refresh = client
}
