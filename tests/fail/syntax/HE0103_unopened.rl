train dqn(q) {
    discount = 0.99)
    tau = 0.1]
}
}
