// Acting on encrypted observations: the server knows the network, and neither what it sees nor what it does.
// The weights stand in the plan: `hecc compile examples/integers/cartpole_policy.rl --weights FILE --sample FILE`.
env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [-1, 1]
}

net q(s) -> [2] {
    dense 16 relu
    dense 2
}

serve argmax(q(s)) {
    batch = 1
}

secure tfhe {
    secret   = [s]
    public   = [q]
    quantize = w4 a4
}
