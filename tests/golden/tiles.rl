// A small batch on a server that trains alone: all weights stand in the slots of each sample.
env "Regression" {
    observe s: [4] in [-1, 1]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] {
    dense 8 square
    dense 2
}

algorithm fit(q) {
    minimize mean((dot(q(s), a) - r)^2) over q with sgd(lr: 0.25)
}

train fit(q) {
    batch   = 8
    updates = 100
}

secure ckks {
    secret  = [s, a, r, q]
    refresh = bootstrap
}
