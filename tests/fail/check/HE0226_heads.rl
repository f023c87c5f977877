env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> (mu: [1], log_std: [1]) {
    dense 2
    heads {
        mu { dense 1 }
        nu { dense 1 }
    }
    dense 2
}

net p(s) -> [2] {
    heads { mu { dense 1 } }
}

net o(s) -> (mu: [1]) {
    dense 1
}

algorithm own(q) {
    parameter optimizer
    minimize mean((dot(q(s), a) - r)^2) over q with optimizer
}

train own(q) {
    updates   = 10
    optimizer = sgd(0.1)
}
