// Pictures: the key owner lays the kernels out as a matrix, and sums its gradient over the places.
use std.dqn

env "Rooms-v0" {
    observe depth: [1, 4, 4] in [0, 5]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(depth) -> [2] {
    conv 2 kernel 3 square
    flatten
    dense 2 nobias
}

train dqn(q) {
    discount  = 0.9
    batch     = 4
    updates   = 2
    optimizer = momentum(lr: 0.5, beta: 0.9)
    tau       = 0.1
}

secure ckks {
    secret  = [depth, a, r, q]
    refresh = client
    client  = [max]
}
