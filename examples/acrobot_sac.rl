// Two links swing up by the torque between them: a soft actor-critic of three actions, linear in products the client computes.
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
    let p = softmax(z, range: [-1.5, 1.5])
    minimize mean(dot(p, alpha * log(p) - stop(critic(f))) + 0.02 * sum(z^2)) over actor with actor_opt
    let p' = softmax(old(actor)(f'), range: [-1.5, 1.5])
    let y = stop(r + discount * (1 - done) * dot(p', t(f') - alpha * log(p')))
    minimize mean((dot(critic(f), a) - y)^2) over critic with critic_opt
    t <- mix(t, old(critic), tau)
}

train softmax_sac(actor, critic) {
    discount   = 0.9
    n_step     = 3
    batch      = 512
    updates    = 300
    collect    = random(20000)
    average    = 0.05
    actor_opt  = momentum(lr: 0.3, beta: 0.9)
    critic_opt = momentum(lr: 0.02, beta: 0.9)
}

secure ckks {
    secret  = [s, a, r, actor, critic]
    refresh = client
}
