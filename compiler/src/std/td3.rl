// Twin delayed deterministic policy gradient (Fujimoto et al., 2018).
// net actor(s) -> [n] ends in tanh; net critic(s, a) -> [1], and its twin.
algorithm td3(actor, first, second) {
    parameter discount = 0.99, tau = 0.005, degree_of_min = 4, smoothing = 0.2, limit = 0.5, delay = 2, actor_optimizer, critic_optimizer
    state ta = copy(actor)
    state t1 = copy(first)
    state t2 = copy(second)
    noise e: [a]
    let a' = clip(ta(s') + clip(smoothing * e, -limit, limit), -1, 1)
    let y = stop(r + discount * (1 - done) * min(t1(s', a'), t2(s', a'), degree: degree_of_min))
    minimize mean((first(s, a) - y)^2) + mean((second(s, a) - y)^2) over first, second with critic_optimizer
    every delay {
        minimize -mean(first(s, actor(s))) over actor with actor_optimizer
        ta <- mix(ta, actor, tau)
        t1 <- mix(t1, first, tau)
        t2 <- mix(t2, second, tau)
    }
}
