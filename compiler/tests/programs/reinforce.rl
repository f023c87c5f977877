use std.reinforce
env "CartPole-v1" { observe s: [4] in [-4.8, 4.8]  act a: one of 2  reward r in [0, 1] }
net pi(s) -> [2] { dense 8 tanh  dense 2 }
train reinforce(pi) { updates = 3  optimizer = sgd(0.1)  baseline = 10  explore = policy }
