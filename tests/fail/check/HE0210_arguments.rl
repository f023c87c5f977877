env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] {
    dense 32 relu(order: 2)
    dense 2 silu(7)
}

algorithm own(q) {
    parameter optimizer
    let y = dot(s)
    let z = clip(r, 1, lo: 2)
    minimize mean(q(s, a)) over q with adam(beta: 2)
}

train own(q) {
    updates   = 10
    optimizer = sgd(0.1)
}
