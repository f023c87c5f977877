algorithm fit(q) {
    parameter optimizer
    minimize mean((dot(q(s), a) - r)^2) over q with optimizer
}

env "Other-v0" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [2] one of 3
    reward  r in [-16.3, 0]
}

net q(s) -> [6] {
    dense 4 square
    dense 6
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
