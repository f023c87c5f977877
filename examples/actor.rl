// Act on encrypted states with a policy that is the server's own.
env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-16.3, 0]
}

net actor(s) -> [1] {
    dense 64 silu
    dense 64 silu
    dense 1 tanh
}

serve actor(s) {
    batch = 64
}

secure ckks {
    secret = [s]
    public = [actor]
}
