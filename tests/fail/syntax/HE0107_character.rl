train dqn(q) {
    discount = 0.99;
    # a comment
    tau = 0.1 − 0.05
}
