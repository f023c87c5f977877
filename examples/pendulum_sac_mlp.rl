// Soft actor-critic with a hidden layer and two critics, by Adam: the textbook's networks on features that the client computes.
env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-17, 0]
    client {
        r <- 0.02 * r + 0.06
        let f = tensor_fourier(atan2(s[1], s[0]), 4, s[2] / 8, 6)
    }
}

net actor(f) -> [1] {
    dense 32 relu(degree: 2, range: [-4, 4])
    dense 1 init small
}

net first(f, a) -> [1] {
    dense 32 relu(degree: 2, range: [-4, 4])
    dense 1 init small
}

net second(f, a) -> [1] {
    dense 32 relu(degree: 2, range: [-4, 4])
    dense 1 init small
}

algorithm sac(actor, first, second) {
    parameter discount, alpha = 0.02, tau = 0.03, actor_opt, critic_opt
    state t1 = copy(first)
    state t2 = copy(second)
    noise e: [1]
    noise e': [1]
    let (a', logp') = sample(actor(f'), log(0.4), e', degree: 7, range: [-5, 5])
    let y = stop(r + discount * (1 - done) * (0.5 * (t1(f', a') + t2(f', a')) - alpha * logp'))
    minimize mean((first(f, a) - y)^2) + mean((second(f, a) - y)^2) over first, second with critic_opt
    let m = actor(f)
    let (b, logp) = sample(m, log(0.4), e, degree: 7, range: [-5, 5])
    minimize mean(alpha * logp - 0.5 * (old(first)(f, b) + old(second)(f, b)) + 0.01 * m^2 + 0.002 * m^4) over actor with actor_opt
    t1 <- mix(t1, old(first), tau)
    t2 <- mix(t2, old(second), tau)
}

train sac(actor, first, second) {
    discount   = 0.97
    n_step     = 5
    batch      = 128
    updates    = 600
    warmup     = 200
    envs       = 4
    every      = 64
    actor_opt  = adam(lr: 0.02, beta2: 0.99)
    critic_opt = adam(lr: 0.02, beta2: 0.99)
}

secure ckks {
    bits    = 128
    secret  = [s, a, r, actor, first, second]
    refresh = client
}
