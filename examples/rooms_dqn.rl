// Deep Q-learning from pictures: a robot sees the depth of a room, 8 by 8, and chooses where to go. The environment is not built in:
// the program compiles, and `hecc run` takes an update on given arrays (`depth` and `depth_next` as [32, 1, 8, 8]).
use std.dqn

env "Rooms-v0" {
    observe depth: [1, 8, 8] in [0, 5]
    act     a: one of 4
    reward  r in [-1, 1]
}

net q(depth) -> [4] {
    conv 4 kernel 3 stride 2 relu(degree: 2, range: [-3, 3])
    flatten
    dense 16 relu(degree: 2, range: [-4, 4])
    dense 4 init small
}

train dqn(q) {
    discount  = 0.95
    batch     = 32
    updates   = 500
    average   = 0.05
    optimizer = momentum(lr: 0.1, beta: 0.9)
    tau       = 0.02
}

secure ckks {
    bits    = 128
    secret  = [depth, a, r, q]
    refresh = client
    client  = [max]
}
