env "CartPole-v1" {
    act a: one of 2
}
