// Five users walk among three base stations, and one agent says who connects where. A small network values the four choices of
// any user by what is seen of it; the value of an action is the sum over the users.
env "mobile-small-central-v0" {
    // Of each user: its connections, signals relative to the strongest, and its utility.
    observe u1: [7] in [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [-1, 1]
    observe u2: [7] in [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [-1, 1]
    observe u3: [7] in [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [-1, 1]
    observe u4: [7] in [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [-1, 1]
    observe u5: [7] in [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [-1, 1]
    act     a: [5] one of 4
    reward  r in [-1, 1]
}

net q(u: [7]) -> [4] {
    dense 16 relu(degree: 2, range: [-4, 4])
    dense 4 init small
}

algorithm branching_dqn(q) {
    parameter discount, tau = 0.02, optimizer
    state t = copy(q)
    let v = concat(q(u1), q(u2), q(u3), q(u4), q(u5))
    let v' = max(t(u1'), degree: 4) + max(t(u2'), degree: 4) + max(t(u3'), degree: 4) + max(t(u4'), degree: 4) + max(t(u5'), degree: 4)
    let y = stop(r + discount * (1 - done) * v')
    minimize mean((dot(v, a) - y)^2) over q with optimizer
    t <- mix(t, q, tau)
}

train branching_dqn(q) {
    discount  = 0.5
    batch     = 256
    updates   = 150
    collect   = random(20000)
    average   = 0.05
    optimizer = momentum(lr: 0.05, beta: 0.9)
}

secure ckks {
    refresh = client
}
