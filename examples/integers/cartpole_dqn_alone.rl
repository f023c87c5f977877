// DQN on exact integers by a server alone: it carries the weights as ciphertexts, and the client only sends transitions.
use std.dqn

env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] {
    dense 8 relu
    dense 2
}

train dqn(q) {
    batch     = 4
    updates   = 10
    tau       = 0.25
    warmup    = 100
    optimizer = sgd(lr: 0.0625)
}

secure tfhe {
    refresh  = bootstrap
    quantize = w4 a4
}
