use std.dqn

env "Image-v0" {
    observe x: [3, 12, 12] in [0, 255]
    act a: [2] one of 3
    reward r in [0, 1]
}

net q(x) -> [6] {
    conv 8 kernel 3 stride 2 relu init he
    conv 8 kernel 3
    softplus
    flatten
    dense 6 poly(0, 1, 0.5)
}

train dqn(q) {
    updates   = 5
    optimizer = sgd(1e-2)
}

secure ckks { refresh = bootstrap }
