env "CartPole-v1 {
    reward r in [-1, 1]
}
