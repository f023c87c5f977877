// A car too weak for its hill swings up, by a soft actor-critic of three actions that is linear in products the client computes.
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

net actor(f) -> [3] {
    dense 3 init zero
}

net critic(f) -> [3] {
    dense 3 init small
}

algorithm softmax_sac(actor, critic) {
    parameter discount, alpha = 0.02, tau = 0.02, actor_opt, critic_opt
    state t = copy(critic)
    let z = actor(f)
    let p = softmax(z, range: [-1, 1])
    minimize mean(dot(p, alpha * log(p) - stop(critic(f))) + 0.02 * sum(z^2)) over actor with actor_opt
    let p' = softmax(old(actor)(f'), range: [-1, 1])
    let y = stop(r + discount * (1 - done) * dot(p', t(f') - alpha * log(p')))
    minimize mean((dot(critic(f), a) - y)^2) over critic with critic_opt
    t <- mix(t, old(critic), tau)
}

train softmax_sac(actor, critic) {
    discount   = 0.98
    n_step     = 10
    batch      = 512
    updates    = 300
    collect    = random(20000)
    average    = 0.05
    actor_opt  = momentum(lr: 0.3, beta: 0.9)
    critic_opt = momentum(lr: 0.3, beta: 0.9)
}

secure ckks {
    secret  = [s, a, r, actor, critic]
    refresh = client
}
