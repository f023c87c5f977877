// Double DQN (van Hasselt et al., 2016): the net chooses the next action, the target network values it.
// The net gives one value for each action: net q(s) -> [actions].
algorithm double_dqn(q) {
    parameter discount = 0.99, tau = 0.01, optimizer
    state t = copy(q)
    let y = stop(r + discount * (1 - done) * dot(t(s'), argmax(q(s'))))
    minimize mean((dot(q(s), a) - y)^2) over q with optimizer
    t <- mix(t, q, tau)
}
