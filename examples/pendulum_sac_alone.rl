// Soft actor-critic swings up a pendulum, without the client. Critic and actor are linear in features that the client computes before it
// encrypts, so that one update has no hidden layer and plain momentum is enough. The server trains alone: one bootstrap for each
// update refreshes both networks, the target and the momenta.
env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-17, 0]
    client {
        r <- 0.02 * r + 0.06
        let f = tensor_fourier(atan2(s[1], s[0]), 8, s[2] / 8, 12)
    }
}

net w(f) -> [2] {
    dense 2 nobias init small
}  // Q(s, a) = w0.f + a w1.f

net mu(f) -> [1] {
    dense 1 nobias init small
}

algorithm linear_sac(w, mu) {
    parameter discount, alpha = 0.02, tau = 0.1, critic_opt, actor_opt
    state t = copy(w)
    noise e: [1]
    noise e': [1]
    let (a', logp') = sample(mu(f'), log(0.4), e', degree: 7, range: [-5, 5])
    let y = stop(r + discount * (1 - done) * (t(f')[0] + a' * t(f')[1] - alpha * logp'))
    minimize 0.5 * mean((w(f)[0] + a * w(f)[1] - y)^2) over w with critic_opt
    let m = mu(f)
    let (b, logp) = sample(m, log(0.4), e, degree: 7, range: [-5, 5])
    minimize mean(alpha * logp - b * stop(old(w)(f)[1]) + 0.01 * m^2 + 0.002 * m^4) over mu with actor_opt
    t <- mix(t, old(w), tau)
}

train linear_sac(w, mu) {
    discount   = 0.97
    n_step     = 5
    batch      = 256
    updates    = 200
    warmup     = 200
    envs       = 4
    every      = 96  // environment steps per update, over all environments
    critic_opt = momentum(lr: linear(0.2, 0.1), beta: 0.9)
    actor_opt  = momentum(lr: linear(4.0, 2.0), beta: 0.9)
}

secure ckks {
    bits    = 128
    secret  = [s, a, r, w, mu]
    refresh = bootstrap
}
