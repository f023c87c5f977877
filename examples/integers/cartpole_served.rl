// Both schemes in one program: the server trains on approximate numbers in slots (CKKS), and acts on integers (TFHE). At the
// boundary the client decrypts the weights, rounds them to the grids of the policy, and encrypts them again; for each action it
// encrypts an observation, and decrypts the choice. The server sees no observation, weight or action.
use std.dqn

env "CartPole-v1" {
    observe s: [4] in [-2.4, 2.4], [-3, 3], [-0.21, 0.21], [-3, 3]
    act     a: one of 2
    reward  r in [-1, 1]
    client { r <- -done }
}

net q(s) -> [2] {
    dense 8 relu(degree: 2, range: [-1.5, 1.5])
    dense 2 init small
}

train dqn(q) {
    discount  = 0.99
    batch     = 512
    updates   = 150
    collect   = random(20000)
    n_step    = 10
    average   = 0.05
    optimizer = momentum(lr: 1.0, beta: 0.9)
    tau       = 0.01
    evaluate  = 2
}

secure ckks {
    bits     = 128
    secret   = [s, a, r, q]
    refresh  = client
    policy   = server
    quantize = w5 a5
}
