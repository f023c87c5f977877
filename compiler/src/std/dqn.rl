// Deep Q-learning with a target network that follows softly (Mnih et al., 2015; Lillicrap et al., 2016).
// The net gives one value for each action: net q(s) -> [actions]. A target bears a coarse maximum.
algorithm dqn(q) {
    parameter discount = 0.99, tau = 0.01, degree_of_max = 4, optimizer
    state t = copy(q)
    let y = stop(r + discount * (1 - done) * max(t(s'), degree: degree_of_max))
    minimize mean((dot(q(s), a) - y)^2) over q with optimizer
    t <- mix(t, q, tau)
}
