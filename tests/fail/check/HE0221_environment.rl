env "CartPole-v1" {
    observe s: [3] in [-1, 1]
    act a: one of 3
    reward r in [-1, 1]
}

net q(s) -> [2] {
    dense 2
}

algorithm own(q) {
    parameter optimizer
    minimize mean((dot(q(s), a) - r)^2) over q with optimizer
}

train own(q) {
    updates   = 10
    optimizer = sgd(0.1)
}
