// Fit supplied targets: one step of gradient descent on a squared-activation network, the work of a hand-written baseline.
env "Regression" {
    observe s: [4] in [-1, 1]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] {
    dense 64 square
    dense 2
}

algorithm fit(q) {
    parameter optimizer
    minimize mean((dot(q(s), a) - r)^2) over q with optimizer
}

train fit(q) {
    batch     = 16
    updates   = 100
    optimizer = sgd(lr: 0.25)
}

secure ckks {
    bits    = 128
    secret  = [s, a, r, q]
    refresh = client
}
