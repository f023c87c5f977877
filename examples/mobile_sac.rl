// Five users walk among three base stations, and one agent says who connects where. Its policy draws the choices of the users
// independently. Actor and critic are small networks of what is seen of one user; the value of an action is the sum over the users.
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

net actor(u: [7]) -> [4] {
    dense 16 relu(degree: 2, range: [-4, 4])
    dense 4 init small
}

net critic(u: [7]) -> [4] {
    dense 16 relu(degree: 2, range: [-4, 4])
    dense 4 init small
}

algorithm factorised_sac(actor, critic) {
    parameter discount, alpha, tau = 0.02, actor_opt, critic_opt
    state t = copy(critic)
    let z = concat(actor(u1), actor(u2), actor(u3), actor(u4), actor(u5))
    let p1 = softmax(actor(u1), degree: 6, range: [-2, 2])
    let p2 = softmax(actor(u2), degree: 6, range: [-2, 2])
    let p3 = softmax(actor(u3), degree: 6, range: [-2, 2])
    let p4 = softmax(actor(u4), degree: 6, range: [-2, 2])
    let p5 = softmax(actor(u5), degree: 6, range: [-2, 2])
    let p = concat(p1, p2, p3, p4, p5)
    let logp = concat(log(p1), log(p2), log(p3), log(p4), log(p5))
    let q = concat(critic(u1), critic(u2), critic(u3), critic(u4), critic(u5))
    minimize mean(dot(p, alpha * logp - stop(q)) + 0.02 * sum(z^2)) over actor with actor_opt
    let p1' = softmax(old(actor)(u1'), degree: 6, range: [-2, 2])
    let p2' = softmax(old(actor)(u2'), degree: 6, range: [-2, 2])
    let p3' = softmax(old(actor)(u3'), degree: 6, range: [-2, 2])
    let p4' = softmax(old(actor)(u4'), degree: 6, range: [-2, 2])
    let p5' = softmax(old(actor)(u5'), degree: 6, range: [-2, 2])
    let v' = dot(p1', t(u1')) + dot(p2', t(u2')) + dot(p3', t(u3')) + dot(p4', t(u4')) + dot(p5', t(u5'))
    minimize mean((dot(q, a) - stop(r + discount * (1 - done) * v'))^2) over critic with critic_opt
    t <- mix(t, old(critic), tau)
}

train factorised_sac(actor, critic) {
    discount   = 0.5
    alpha      = 0.01
    batch      = 256
    updates    = 100
    collect    = random(20000)
    average    = 0.05
    critic_opt = momentum(lr: 0.03, beta: 0.9)
    actor_opt  = momentum(lr: 0.1, beta: 0.9)
}

secure ckks {
    refresh = client
}
