env "CartPole-v1" {
    observ s: [4] in [-1, 1]
    act a one of 2
    reward r in [-1, 1]
}

net q(s) - [2] {
    dense 2
}

net p(s) -> [2] {
    desne 32 relu
    linear 2
    dense 2
}

algorithm own(q) {
    let y = r
    minimise mean(y) over q with optimizer
    let z = 2 2
    reveal z + as "z"
    t <-
}

trian own(q) {
    batch = 1
}
