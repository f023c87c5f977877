env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(t) -> [2] {
    dense 2
}

algorithm own(q) {
    parameter optimizer
    let y = rr + x
    minimize mean((q(s) - y)^2) over p with optimizer
    u <- 2
}

train own(q) {
    updates   = 10
    optimizer = sgd(0.1)
}

use dqn
