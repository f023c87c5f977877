algorithm fit(q) {
    parameter optimizer
    minimize mean((q(s) - r)^2) over q with optimizer
}

env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-16.3, 0]
}

net q(s) -> [1] {
    dense 4 square
    dense 1
}

train fit(q) {
    batch   = 4
    updates = 3
    optimizer = sgd(lr: 0.1)
}

secure ckks {
    refresh = client
    policy  = server
}
