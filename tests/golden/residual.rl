// A residual block, a scale and two outputs of different widths.
env "Other-v0" {
    observe s: [2] in [-1, 1]
    act     a: one of 2
    reward  r in [-1, 1]
}

net twin(s) -> (value: [1], advantage: [2]) {
    dense 4
    residual { dense 4 tanh(degree: 3, range: [-2, 2]) }
    scale 0.5
    heads {
        value { dense 1 }
        advantage { dense 2 nobias }
    }
}

algorithm duel(twin) {
    parameter optimizer
    let (v, d) = twin(s)
    minimize mean((v + dot(d, a) - r)^2) over twin with optimizer
}

train duel(twin) {
    batch     = 4
    updates   = 2
    optimizer = sgd(lr: 0.1)
}

secure ckks { refresh = client }
