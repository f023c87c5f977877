// The tensor Fourier recipe, and everything a body can say.
env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-17, 0]
    client {
        r <- 0.02 * r + 0.06
        let f = tensor_fourier(atan2(s[1], s[0]), 8, s[2] / 8, 12)
        let g = outer(s, concat(sin(s[2]), cos(s[2])))
    }
}

net w(f) -> [2] { dense 2 nobias init small }  // Q(s, a) = w0.f + a w1.f
net mu(f) -> [1] { dense 1 nobias init small }
net v(g) -> [1] { dense 1 }

algorithm linear_sac(w, mu, v) {
    parameter discount, alpha = 0.02, tau = 2 * 0.03, critic_opt, actor_opt
    state t = copy(w)
    state fresh = v
    state level = 0.5
    noise e: [1]
    noise e': [a]
    let (a', logp') = sample(mu(f'), log(0.4), e', degree: 7, range: [-5, 5])
    let y = stop(r + discount * (1 - done) * (t(f')[0] + a' * t(f')[1] - alpha * logp'))
    minimize 0.5 * mean((w(f)[0] + a * w(f)[1] - y)^2) over w with critic_opt
    let m = mu(f)
    let (b, logp) = sample(m, log(0.4), e, degree: 7, range: [-5, 5])
    minimize mean(alpha * logp - b * stop(old(w)(f)[1]) + 0.01 * m^2 + 0.002 * m^4) over mu with actor_opt
    every 2 {
        let error = v(g) - clip(y, -5, 5) / 2
        minimize mean(abs(error)) over v, level with adam(1e-3, eps: 1e-6)
        reveal mean(error) as "error"
        fresh <- 0.5 * fresh + v / 2
    }
    level <- 0.9 * level + 0.1 * mean(select(done, 0, max(y, 0, degree: 4, range: [-2, 2])))
    reveal level as "level"
    t <- mix(t, old(w), tau)
}

train linear_sac(w, mu, v) {
    discount   = 0.97
    n_step     = 5
    batch      = 256
    updates    = 300
    warmup     = 200
    envs       = 4
    every      = 64  // environment steps per update, over all environments
    critic_opt = momentum(lr: linear(0.15, 0.075), beta: 0.9)
    actor_opt  = momentum(lr: linear(3.0, 1.5), beta: 0.9)
}

secure auto { refresh = client }
