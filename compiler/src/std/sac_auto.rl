// Soft actor-critic for continuous actions with two critics, whose temperature is learned (Haarnoja et al., 2018b): alpha
// itself is trained, towards an entropy of the policy of -target; `entropy` is usually minus the number of action elements.
// net actor(s) -> (mu: [n], log_std: [n]), net critic(s, a) -> [1], and its twin.
algorithm sac_auto(actor, first, second) {
    parameter discount = 0.99, tau = 0.005, degree_of_min = 4, start = 0.2, entropy = -1, actor_optimizer, critic_optimizer, alpha_optimizer
    state alpha = start
    state t1 = copy(first)
    state t2 = copy(second)
    noise now: [a]
    noise later: [a]
    let (a', logp') = sample(actor(s'), later)
    let y = stop(r + discount * (1 - done) * (min(t1(s', a'), t2(s', a'), degree: degree_of_min) - alpha * logp'))
    minimize mean((first(s, a) - y)^2) + mean((second(s, a) - y)^2) over first, second with critic_optimizer
    let (b, logp) = sample(actor(s), now)
    minimize mean(stop(alpha) * logp - min(first(s, b), second(s, b), degree: degree_of_min)) over actor with actor_optimizer
    minimize mean(-alpha * stop(logp + entropy)) over alpha with alpha_optimizer
    t1 <- mix(t1, first, tau)
    t2 <- mix(t2, second, tau)
}
