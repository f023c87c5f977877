train dqn(q) {
    discount = 1e999
}
