env "Other-v0" {
    observe s: [2] in [-1, 1]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] { dense 2 }

algorithm fit(q) {
    parameter optimizer
    minimize mean((dot(q(s), a) - r)^2) over q with optimizer
}

train fit(q) {
    batch     = 16
    updates   = 3
    optimizer = adam(lr: 0.01, beta2: 0.99999999, eps: 1e-3, by: newton)
}

secure ckks { precision = 0.5 }
