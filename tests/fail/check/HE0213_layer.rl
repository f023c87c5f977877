env "Images" {
    observe s: [1, 8, 8] in [0, 1]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] {
    conv 4 kernel 9
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
