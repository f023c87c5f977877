// REINFORCE (Williams, 1992) with a constant baseline; `n_step` should span an episode, so that `r` is its return.
// net policy(s) -> [actions] gives logits. `entropy` is the weight of the entropy that is gained on the way.
algorithm reinforce(policy) {
    parameter discount = 0.99, baseline = 0, entropy = 0, optimizer
    let logs = log(softmax(policy(s)))
    minimize -mean(dot(logs, a) * stop(r - baseline) - entropy * dot(softmax(policy(s)), logs)) over policy with optimizer
}
