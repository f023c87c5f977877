// The textbook's soft actor-critic on a pendulum: two critics, two hidden layers, Adam. For measurements of one update.
use std.sac

env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-17, 0]
    client { r <- 0.02 * r + 0.06 }
}

net actor(s) -> (mu: [1], log_std: [1]) {
    dense 32 silu(degree: 4, range: [-4, 4])
    dense 32 silu(degree: 4, range: [-4, 4])
    heads {
        mu { dense 1 init small }
        log_std { dense 1 tanh(degree: 3, range: [-2, 2]) init small }
    }
}

net first(s, a) -> [1] {
    dense 32 silu(degree: 4, range: [-4, 4])
    dense 32 silu(degree: 4, range: [-4, 4])
    dense 1 init small
}

net second(s, a) -> [1] {
    dense 32 silu(degree: 4, range: [-4, 4])
    dense 32 silu(degree: 4, range: [-4, 4])
    dense 1 init small
}

train sac(actor, first, second) {
    batch            = 64
    updates          = 300
    alpha            = 0.02
    tau              = 0.05
    actor_optimizer  = adam(lr: 0.003, beta2: 0.99, eps: 1e-3)
    critic_optimizer = adam(lr: 0.003, beta2: 0.99, eps: 1e-3)
}

secure ckks {
    refresh = client
    client  = [min, log]
}
