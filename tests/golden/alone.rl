// A value network that the server trains alone, with a target that moves rarely and a learning rate that falls.
env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] {
    dense 4 relu(degree: 2, range: [-2, 2])
    dense 2
}

algorithm expected(q) {
    parameter discount, optimizer
    state t = copy(q)
    let y = stop(r + discount * (1 - done) * mean(t(s')))
    minimize mean((dot(q(s), a) - y)^2) over q with optimizer
    every 2 { t <- q }
}

train expected(q) {
    discount  = 0.9
    batch     = 16
    updates   = 20
    optimizer = momentum(lr: linear(0.2, 0.02), beta: 0.5)
}

secure ckks {
    refresh = bootstrap
}
