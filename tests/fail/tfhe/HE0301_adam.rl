use std.dqn

env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] {
    dense 4 relu
    dense 2
}

train dqn(q) {
    batch   = 4
    updates = 3
    optimizer = adam(0.01)
}

secure tfhe { quantize = w4 a4 }
