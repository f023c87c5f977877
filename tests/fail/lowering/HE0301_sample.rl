use std.sac

env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-16.3, 0]
    client {
        r <- 0.02 * r + 0.06                           // recode the reward (`done` is in scope too)
        let f = concat(s, fourier(s, 128, scale: 2.5)) // features; f and f' can be inputs of networks
    }
}

net actor(f) -> (mu: [1], log_std: [1]) {
    dense 32 silu(degree: 7)
    heads {
        mu { dense 1 }
        log_std { dense 1 tanh }
    }
}

net one(f, a) -> [1] {
    dense 32 silu(range: [-8, 8])
    residual { dense 32 gelu }
    dense 1
}

net two(f, a) -> [1] {
    dense 32 silu
    scale 0.5
    residual {
        dense 8 mish
        dense 32 nobias init zero
    }
    dense 1
}

train sac(actor, one, two) {
    updates          = 100
    alpha            = 0.02
    actor_optimizer  = rmsprop(lr: 1e-3, rho: 0.9)
    critic_optimizer = nesterov(cosine(3e-3, 1e-4), 0.9)
}

secure ckks { refresh = client }
