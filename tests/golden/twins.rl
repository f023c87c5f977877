// Twin critics of few samples: what one bootstrap refreshes for both.
env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}

net p(s) -> [2] {
    dense 4 silu(degree: 7, range: [-3, 3])
    dense 4 silu(degree: 7, range: [-3, 3])
    dense 2
}

net q(s) -> [2] {
    dense 4 silu(degree: 7, range: [-3, 3])
    dense 4 silu(degree: 7, range: [-3, 3])
    dense 2
}

algorithm twins(p, q) {
    parameter discount = 0.9, optimizer
    state t = copy(p)
    state u = copy(q)
    let y = stop(r + discount * (1 - done) * (sum(t(s')) + sum(u(s'))))
    minimize mean((dot(p(s), a) - y)^2) + mean((dot(q(s), a) - y)^2) over p, q with optimizer
    t <- mix(t, p, 0.01)
    u <- mix(u, q, 0.01)
}

train twins(p, q) {
    batch     = 16
    updates   = 2
    optimizer = momentum(lr: 0.02)
}

secure ckks {
    refresh = bootstrap
}
