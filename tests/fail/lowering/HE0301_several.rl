env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] {
    dense 4 square
    dense 2
}

algorithm own(q) {
    parameter optimizer
    minimize mean((max(q(s)) - r)^2) over q with optimizer
    every 2 {
        every 3 { minimize mean((dot(q(s), a) - r)^2) over q with optimizer }
    }
}

train own(q) {
    updates   = 10
    optimizer = sgd(lr: 0.1)
}

secure ckks { refresh = client }
