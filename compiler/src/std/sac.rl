// Soft actor-critic for continuous actions (Haarnoja et al., 2018) with two critics and a fixed temperature.
// net actor(s) -> (mu: [n], log_std: [n]), net critic(s, a) -> [1], and its twin.
algorithm sac(actor, first, second) {
    parameter discount = 0.99, tau = 0.005, degree_of_min = 4, alpha = 0.2, actor_optimizer, critic_optimizer
    state t1 = copy(first)
    state t2 = copy(second)
    noise now: [a]
    noise later: [a]
    let (a', logp') = sample(actor(s'), later)
    let y = stop(r + discount * (1 - done) * (min(t1(s', a'), t2(s', a'), degree: degree_of_min) - alpha * logp'))
    minimize mean((first(s, a) - y)^2) + mean((second(s, a) - y)^2) over first, second with critic_optimizer
    let (b, logp) = sample(actor(s), now)
    minimize mean(alpha * logp - min(first(s, b), second(s, b), degree: degree_of_min)) over actor with actor_optimizer
    t1 <- mix(t1, first, tau)
    t2 <- mix(t2, second, tau)
}
