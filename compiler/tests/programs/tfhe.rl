env "CartPole-v1" {
    observe s: [4] in [-4.8, 4.8], [-4, 4], [-0.42, 0.42], [-4, 4]
    act     a: one of 2
    reward  r in [0, 1]
}

net q(s) -> [2] {
    dense 16 relu
    dense 2
}

serve argmax(q(s))

secure tfhe {
    quantize  = w4 a6
    client    = [max, min, log]
    precision = 1e-2
    policy    = server
    bits      = 128
}
