// Logistic regression by Nesterov's accelerated gradient, as a user writes it: weights theta, look-ahead phi, and v, from
// which both follow: theta' = phi - lr gradient(phi), phi' = theta' + gamma (theta' - theta) with gamma = 0.9, lr = 0.5.
env "Other-v0" {
    observe x: [8] in [-1, 1]
    act     a: one of 2
    reward  r in [0, 1]
}

net v(x) -> [1] {
    dense 1
}

algorithm accelerated(v) {
    parameter optimizer
    state theta = copy(v)
    state phi = copy(v)
    let p = stop(sigmoid(phi(x), degree: 3, range: [-6, 6]))
    minimize mean((p - r) * v(x)) over v with optimizer
    theta <- mix(theta, v, 0.1)
    phi <- mix(theta, v, 0.1)
}

train accelerated(v) {
    batch     = 64
    updates   = 12
    optimizer = sgd(lr: 5)
}

secure ckks {
    refresh = bootstrap
}
