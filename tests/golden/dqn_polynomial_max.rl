// The smallest DQN: the server takes the maximum by a polynomial.
use std.dqn

env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] {
    dense 4 relu(degree: 2, range: [-2, 2])
    dense 2 init small
}

train dqn(q) {
    discount  = 0.9
    batch     = 8
    updates   = 2
    optimizer = sgd(lr: 0.5)
    tau       = 0.1
}

secure ckks { refresh = client }
