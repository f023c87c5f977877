// Soft actor-critic balances a pole. Actor and critic are linear in products that the client computes, so that no layer is hidden.
// Two actions need no softmax: half the difference u of their logits gives them (1 + tanh u) / 2 and (1 - tanh u) / 2.
env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-5, 5], [-0.42, 0.42], [-5, 5]
    act     a: one of 2
    reward  r in [-1, 1]
    client {
        r <- -done
        let g = concat(s[0] / 2.4, s[1] / 2, s[2] / 0.21, s[3] / 2)
        let f = concat(g, outer(g, g))
    }
}

net actor(f) -> [2] {
    dense 2 init small
}

net critic(f) -> [2] {
    dense 2 init small
}

algorithm two_action_sac(actor, critic) {
    parameter discount, alpha, tau, actor_opt, critic_opt
    state t = copy(critic)
    let z = actor(f)
    let u = 0.5 * (z[0] - z[1])
    let m = tanh(u, degree: 7, range: [-5, 5])
    let h = softplus(2 * u, degree: 6, range: [-10, 10]) - u - u * m  // the entropy
    let q = stop(critic(f))
    minimize mean(0.5 * m * (q[1] - q[0]) - alpha * h + 0.01 * u^2 + 0.002 * u^4) over actor with actor_opt
    let z' = old(actor)(f')
    let u' = 0.5 * (z'[0] - z'[1])
    let m' = tanh(u', degree: 7, range: [-5, 5])
    let h' = softplus(2 * u', degree: 6, range: [-10, 10]) - u' - u' * m'
    let q' = t(f')
    let v' = 0.5 * (q'[0] + q'[1] + m' * (q'[0] - q'[1])) + alpha * h'
    let y = stop(r + discount * (1 - done) * v')
    minimize mean((dot(critic(f), a) - y)^2) over critic with critic_opt
    t <- mix(t, old(critic), tau)
}

train two_action_sac(actor, critic) {
    discount   = 0.98
    n_step     = 10
    alpha      = 0.05
    tau        = 0.02
    batch      = 512
    updates    = 300
    warmup     = 2000
    envs       = 8
    every      = 64
    explore    = policy
    average    = 0.02
    critic_opt = momentum(lr: 0.3, beta: 0.9)
    actor_opt  = momentum(lr: 1.5, beta: 0.9)
}

secure ckks {
    secret  = [s, a, r, actor, critic]
    refresh = client
}
