// An algorithm of its own: fit a value to the reward, which is encrypted with everything else.
env "Other-v0" {
    observe s: [2] in [-1, 1]
    act     a: [1] in [-1, 1]
    reward  r in [-1, 1]
}

net value(s, a) -> [1] {
    dense 3 square
    dense 1
}

algorithm fit(value) {
    parameter optimizer
    let error = value(s, a) - r
    minimize mean(error^2) over value with optimizer
    reveal mean(error^2) as "loss"
}

train fit(value) {
    batch     = 4
    updates   = 2
    optimizer = nesterov(lr: 0.1, beta: 0.5)
}

secure ckks { refresh = client }
