// Names other than s, a and r, and a net over two observations.
use std.double_dqn

env "Own-v0" {
    observe position: [2] in [-1, 1]
    observe speed: [2] in [-3, 3]
    act move: one of 3
    reward gain in [-1, 1]
}

net q(position, speed) -> [3] {
    dense 16 square
    dense 3
}

train double_dqn(q) {
    updates   = 10
    optimizer = adam(linear(3e-3, 1e-4))
    explore   = epsilon(1.0, 0.1, 100)
}
