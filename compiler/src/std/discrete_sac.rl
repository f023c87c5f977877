// Soft actor-critic for discrete actions (Christodoulou, 2019) with two critics and a fixed temperature.
// net policy(s) -> [actions] gives logits, net critic(s) -> [actions] the values, and its twin.
algorithm discrete_sac(policy, first, second) {
    parameter discount = 0.99, tau = 0.005, degree_of_min = 4, alpha = 0.2, policy_optimizer, critic_optimizer
    state t1 = copy(first)
    state t2 = copy(second)
    let p' = softmax(policy(s'))
    let v' = dot(p', min(t1(s'), t2(s'), degree: degree_of_min) - alpha * log(p'))
    let y = stop(r + discount * (1 - done) * v')
    minimize mean((dot(first(s), a) - y)^2) + mean((dot(second(s), a) - y)^2) over first, second with critic_optimizer
    let p = softmax(policy(s))
    minimize mean(dot(p, alpha * log(p) - stop(min(first(s), second(s), degree: degree_of_min)))) over policy with policy_optimizer
    t1 <- mix(t1, first, tau)
    t2 <- mix(t2, second, tau)
}
