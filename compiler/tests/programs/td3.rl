use std.td3
env "Walker" { observe s: [3] in [-1, 1]  act a: [2] in [-1, 1]  reward r in [-1, 1] }
net pi(s) -> [2] { dense 2 tanh }
net q1(s, a) -> [1] { dense 1 }
net q2(s, a) -> [1] { dense 1 }
train td3(pi, q1, q2) { updates = 3  actor_optimizer = adam(1e-3)  critic_optimizer = adam(1e-3)  warmup = 0 }
