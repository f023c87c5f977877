// TD3 swings up a pendulum: twin critics, a delayed actor, and noise on the actions of the target. Actor and critics are linear in
// features that the client computes.
env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-17, 0]
    client {
        r <- 0.02 * r + 0.06
        let f = tensor_fourier(atan2(s[1], s[0]), 8, s[2] / 8, 12)
    }
}

net actor(f) -> [1] {
    dense 1 nobias tanh(degree: 7, range: [-5, 5]) init small
}

net first(f) -> [2] {
    dense 2 nobias init small
}  // Q(s, a) = first(f)[0] + a first(f)[1]

net second(f) -> [2] {
    dense 2 nobias init small
}

algorithm linear_td3(actor, first, second) {
    parameter discount, tau = 0.06, smoothing = 0.2, delay = 2, actor_opt, critic_opt
    state ta = copy(actor)
    state t1 = copy(first)
    state t2 = copy(second)
    noise e: [1]
    let a' = ta(f') + smoothing * e
    let v' = min(t1(f')[0] + a' * t1(f')[1], t2(f')[0] + a' * t2(f')[1], degree: 4, range: [-1, 1])
    let y = stop(r + discount * (1 - done) * v')
    minimize 0.5 * mean((first(f)[0] + a * first(f)[1] - y)^2 + (second(f)[0] + a * second(f)[1] - y)^2) over first, second with critic_opt
    t1 <- mix(t1, old(first), tau)
    t2 <- mix(t2, old(second), tau)
    every delay {
        minimize -mean(actor(f) * stop(old(first)(f)[1])) over actor with actor_opt
        ta <- mix(ta, old(actor), 2 * tau)
    }
}

train linear_td3(actor, first, second) {
    discount      = 0.97
    n_step        = 5
    batch         = 256
    updates       = 300
    warmup        = 200
    envs          = 4
    every         = 64
    explore       = epsilon(1.0, 0.1, 10000)
    range_penalty = 1.0
    critic_opt    = momentum(lr: linear(0.15, 0.075), beta: 0.9)
    actor_opt     = momentum(lr: linear(3.0, 1.5), beta: 0.9)
}

secure ckks {
    secret  = [s, a, r, actor, first, second]
    refresh = client
}
