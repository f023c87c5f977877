// Two links swing up by the torque between them. The values are linear in products that the client computes.
use std.dqn

env "Acrobot-v1" {
    observe s: [6] in [-1, 1], [-1, 1], [-1, 1], [-1, 1], [-12.6, 12.6], [-28.3, 28.3]
    act     a: one of 3
    reward  r in [-1, 0]
    client {
        let heights = 1.5 * s[0] + 0.5 * (s[0] * s[2] - s[1] * s[3])
        let energy = 0.5 * (3.5 + s[2]) * s[4]^2 + (1.25 + 0.5 * s[2]) * s[4] * s[5] + 0.625 * s[5]^2 - 9.8 * heights
        r <- 0.05 * (energy' - energy) + done  // what a step gains, and a prize at the top
        let g = concat(s[0], s[1], s[2], s[3], s[4] / 4, s[5] / 6)
        let f = concat(g, outer(g, g))
    }
}

net q(f) -> [3] {
    dense 3 init small
}

train dqn(q) {
    discount  = 0.9
    n_step    = 3
    batch     = 512
    updates   = 300
    collect   = random(20000)
    average   = 0.05
    optimizer = momentum(lr: 0.02, beta: 0.9)
    tau       = 0.02
}

secure ckks {
    secret  = [s, a, r, q]
    refresh = client
}
