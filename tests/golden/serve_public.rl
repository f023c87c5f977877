// The server's own network on a secret state: plaintext matrices.
env "Pendulum-v1" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-16.3, 0]
}

net actor(s) -> [1] {
    dense 4 silu(degree: 3, range: [-4, 4])
    dense 1
}

serve actor(s) { batch = 5 }

secure ckks {
    secret = [s]
    public = [actor]
}
