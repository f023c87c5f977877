// REINFORCE (Williams, 1992) with a constant baseline; `n_step` should span an episode, so that `r` is its return.
// net policy(s) -> [actions] gives logits.
algorithm reinforce(policy) {
    parameter discount = 0.99, baseline = 0, optimizer
    let logp = dot(log(softmax(policy(s))), a)
    minimize -mean(logp * stop(r - baseline)) over policy with optimizer
}
