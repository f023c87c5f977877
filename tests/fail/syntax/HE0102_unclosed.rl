net q(s) -> [2] {
    dense 32 relu(degree: 2
    dense 2

train dqn(q) {
    updates = 3
}
