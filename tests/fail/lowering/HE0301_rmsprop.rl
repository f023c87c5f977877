env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] {
    dense 4 square
    dense 2
}

algorithm own(q) {
    parameter optimizer
    minimize mean((dot(q(s), a) - r)^2) over q with optimizer
}

train own(q) {
    updates   = 10
    optimizer = rmsprop(lr: 1e-3)
}

secure ckks { refresh = client }
