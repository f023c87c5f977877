"""Trains a ReLU policy for CartPole-v1 that survives four-bit integers: 4-HIDDEN-2, in NumPy, in two stages.

    python3 -m venv /tmp/gymenv && /tmp/gymenv/bin/pip install numpy safetensors
    /tmp/gymenv/bin/python tests/tools/train_cartpole_policy.py --hidden 16 -o policy_16.safetensors

Double DQN finds a network that holds the pole up. A second network then learns its actions with uniform
noise on its inputs, weights, hidden layer and output, as wide as the steps of a four-bit grid: values of DQN hardly differ between the
actions, and rounding would drown the difference. The observations it learns on are those that it meets itself.

Observations are normalised to [-1, 1] by the ranges LOW and HIGH and clipped, as `env` does. The arrays are named as PyTorch
names them and hecc reads them: `q.0.weight` [HIDDEN, 4], `q.0.bias`, `q.1.weight` [2, HIDDEN], `q.1.bias`, single precision.
The simulator is Gymnasium's, in double precision, for many poles at once; episode `i` of an evaluation starts as
`gymnasium.make("CartPole-v1").reset(seed=i)` does.
"""

import argparse
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
import numpy as np
from safetensors.numpy import save_file

LOW, HIGH = np.array([-4.8, -4.0, -0.42, -4.0]), np.array([4.8, 4.0, 0.42, 4.0])
LIMIT = 500


class CartPoles:
    """CartPole-v1, `n` times: the state, [n, 4], and the steps since the last start."""

    def __init__(self, start):
        self.state, self.age = np.array(start, float), np.zeros(len(start), int)

    def observe(self):
        return self.state.astype(np.float32)

    def step(self, action):
        """Moves all; says which fell."""
        x, x_dot, theta, theta_dot = self.state.T
        force, cos, sin = np.where(action == 1, 10.0, -10.0), np.cos(theta), np.sin(theta)
        push = (force + 0.05 * np.square(theta_dot) * sin) / 1.1
        theta_acc = (9.8 * sin - cos * push) / (0.5 * (4.0 / 3.0 - 0.1 * np.square(cos) / 1.1))
        x_acc = push - 0.05 * theta_acc * cos / 1.1
        self.state = np.stack([x + 0.02 * x_dot, x_dot + 0.02 * x_acc, theta + 0.02 * theta_dot, theta_dot + 0.02 * theta_acc], 1)
        self.age += 1
        return (np.abs(self.state[:, 0]) > 2.4) | (np.abs(self.state[:, 2]) > 12 * 2 * np.pi / 360)

    def restart(self, which, rng):
        self.state[which], self.age[which] = rng.uniform(-0.05, 0.05, (which.sum(), 4)), 0


def normalise(s):
    return np.clip(2 * (s - LOW) / (HIGH - LOW) - 1, -1, 1)


def forward(w, x):
    """The hidden layer and the two values."""
    h = np.maximum(x @ w["q.0.weight"].T + w["q.0.bias"], 0)
    return h, h @ w["q.1.weight"].T + w["q.1.bias"]


def returns(act, episodes=100, seed=0):
    """The return of each episode when `act` maps observations, [n, 4], to actions."""
    poles = CartPoles([np.random.default_rng(seed + i).uniform(-0.05, 0.05, 4) for i in range(episodes)])
    total, alive = np.zeros(episodes), np.ones(episodes, bool)
    for _ in range(LIMIT):
        total += alive
        alive &= ~poles.step(act(poles.observe()))
        if not alive.any():
            break
    return total


def greedy(w):
    return lambda s: forward(w, normalise(s))[1].argmax(1)


class Adam:
    def __init__(self, w, rate, decay):
        self.w, self.rate, self.decay, self.n = w, rate, decay, 0
        self.m, self.v = ({k: np.zeros_like(a) for k, a in w.items()} for _ in range(2))

    def step(self, grad, progress):
        self.n += 1
        rate = self.rate * (1 - 0.9 * progress)
        for k, a in self.w.items():
            self.m[k] += 0.1 * (grad[k] - self.m[k])
            self.v[k] += 0.001 * (grad[k] ** 2 - self.v[k])
            step = self.m[k] / (1 - 0.9**self.n) / (np.sqrt(self.v[k] / (1 - 0.999**self.n)) + 1e-8)
            a -= rate * (step + self.decay * a)


def gradient(w, x, h, dq):
    dh = dq @ w["q.1.weight"] * (h > 0)
    return {"q.0.weight": dh.T @ x, "q.0.bias": dh.sum(0), "q.1.weight": dq.T @ h, "q.1.bias": dq.sum(0)}


def initial(hidden, rng):
    shapes = {"q.0.weight": (hidden, 4), "q.0.bias": (hidden,), "q.1.weight": (2, hidden), "q.1.bias": (2,)}
    w = {k: rng.normal(0, np.sqrt(2 / s[1]), s) if len(s) == 2 else np.zeros(s) for k, s in shapes.items()}
    w["q.1.weight"] *= 0.1
    return w


class Keeper:
    """Keeps the network that balances longest: first without noise, then with noise on the observations."""

    def __init__(self, noise):
        self.noise, self.best, self.kept = noise, (-1.0, -1.0), None

    def see(self, n, w):
        w, rng = {k: a.astype(np.float32) for k, a in w.items()}, np.random.default_rng(0)
        clean = returns(greedy(w)).mean()
        noisy = returns(lambda s: greedy(w)(s + self.noise * rng.normal(size=s.shape) * HIGH)).mean()
        # From 499 on, noise decides; of equals the last stays, which trained longest.
        if (min(clean, 499.0), noisy) >= self.best:
            self.best, self.kept = (min(clean, 499.0), noisy), w
        print(f"{n:7} return {clean:5.1f}, with noise {noisy:5.1f}", flush=True)


def dqn(args, rng):
    w = initial(args.teacher, rng)
    target, adam, keeper = {k: a.copy() for k, a in w.items()}, Adam(w, args.rate, args.decay), Keeper(args.noise)
    poles = CartPoles(rng.uniform(-0.05, 0.05, (args.poles, 4)))
    size = args.replay // args.poles
    S, N = np.zeros((size, args.poles, 4)), np.zeros((size, args.poles, 4))
    A, F = np.zeros((size, args.poles), int), np.zeros((size, args.poles), bool)
    for t in range(args.updates + args.warmup):
        x = normalise(poles.observe())
        explore = max(0.1, 1 - t / args.explore)
        a = np.where(rng.random(args.poles) < explore, rng.integers(2, size=args.poles), forward(w, x)[1].argmax(1))
        fell = poles.step(a)
        row = t % size
        S[row], A[row], F[row], N[row] = x, a, fell, normalise(poles.observe())
        poles.restart(fell | (poles.age >= LIMIT), rng)
        n = t - args.warmup + 1
        if n < 1:
            continue
        i, j = rng.integers(min(t + 1, size), size=args.batch), rng.integers(args.poles, size=args.batch)
        x, a, fell, y, b = S[i, j], A[i, j], F[i, j], N[i, j], np.arange(args.batch)
        h, q = forward(w, x)
        value = forward(target, y)[1][b, forward(w, y)[1].argmax(1)]
        dq = np.zeros_like(q)
        # The reward is -1 for a fall, else 0.
        dq[b, a] = (q[b, a] - np.where(fell, -1.0, args.discount * value)) / args.batch
        adam.step(gradient(w, x, h, dq), n / args.updates)
        for k in w:
            target[k] += args.tau * (w[k] - target[k])
        if n % args.every == 0:
            keeper.see(n, w)
    return keeper.kept


def imitate(args, teacher, rng):
    """Learns the sign of `q[1] - q[0]`; a mistake counts as the teacher's values differ."""
    w = initial(args.hidden, rng)
    w["q.1.weight"] *= 10
    adam, keeper = Adam(w, args.rate, args.decay), Keeper(args.noise)
    poles = CartPoles(rng.uniform(-0.05, 0.05, (args.poles, 4)))
    size = args.replay // args.poles
    S, D = np.zeros((size, args.poles, 4)), np.zeros((size, args.poles))
    uniform = lambda shape: rng.uniform(-0.5, 0.5, shape) * args.rounding

    def noisy(w, x, reach):
        """`forward` with each value moved by up to half a step, when `2^bits - 1` steps cover what the value can be."""
        v = dict(w)
        column = w["q.0.weight"] * reach
        v["q.0.weight"] = w["q.0.weight"] + uniform(column.shape) * np.abs(column).max(1, keepdims=True) / 7 / reach
        x = np.clip(x, -reach, reach) + uniform(x.shape) * reach / 7
        z = x @ v["q.0.weight"].T + v["q.0.bias"]
        top = np.abs(column).sum(1) + np.abs(w["q.0.bias"])
        h = np.maximum(z + uniform(z.shape) * top / 7, 0)
        d = w["q.1.weight"][1] - w["q.1.weight"][0]
        q = h @ v["q.1.weight"].T + v["q.1.bias"]
        q[:, 1] += uniform(h.shape).sum(1) * (np.abs(d) * top).sum() / 127
        return v, x, h, q

    for n in range(1, args.imitation + 1):
        s = poles.observe()
        x = normalise(s)
        row = (n - 1) % size
        S[row], D[row] = x, np.diff(forward(teacher, x)[1], axis=1)[:, 0]
        # One pole in four follows the teacher, so that there is something to learn from at first.
        own = np.arange(args.poles) % 4 > 0
        a = np.where(own, forward(w, x)[1].argmax(1), D[row] > 0)
        a = np.where(rng.random(args.poles) < 0.1, rng.integers(2, size=args.poles), a)
        fell = poles.step(a)
        poles.restart(fell | (poles.age >= LIMIT), rng)
        if n % 500 == 1:
            seen = np.abs(S[: min(n, size)]).reshape(-1, 4)
            reach = np.maximum(np.quantile(seen, 0.99, axis=0), 0.02)
        i, j = rng.integers(min(n, size), size=args.batch), rng.integers(args.poles, size=args.batch)
        x, goal = S[i, j], D[i, j]
        weight = np.minimum(np.abs(goal) / np.abs(goal).mean(), 4)
        v, x, h, q = noisy(w, x, reach)
        sign = np.where(goal > 0, 1.0, -1.0)
        slope = -sign * weight / (1 + np.exp(np.clip(sign * (q[:, 1] - q[:, 0]), -50, 50))) / args.batch
        adam.step(gradient(v, x, h, np.stack([-slope, slope], 1)), n / args.imitation)
        if n % args.every == 0:
            keeper.see(n, w)
    return keeper.kept


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hidden", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--updates", type=int, default=16000, help="of double DQN")
    parser.add_argument("--teacher", type=int, default=16, help="hidden units of the network of double DQN")
    parser.add_argument("--imitation", type=int, default=16000, help="updates of the imitation")
    parser.add_argument("--rounding", type=float, default=1.0, help="noise of the imitation, in steps of the four-bit grid")
    parser.add_argument("--warmup", type=int, default=500, help="steps before the first update")
    parser.add_argument("--explore", type=int, default=5000, help="steps in which exploration falls to 0.1")
    parser.add_argument("--poles", type=int, default=16, help="environments that run at once")
    parser.add_argument("--replay", type=int, default=100000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--discount", type=float, default=0.98)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=1e-2, help="of the weights, relative to the rate")
    parser.add_argument("--tau", type=float, default=0.005)
    parser.add_argument("--noise", type=float, default=0.06, help="deviation, of the normalised observations, in the choice of the network")
    parser.add_argument("--every", type=int, default=2000, help="updates between evaluations")
    parser.add_argument("-o", "--out", required=True)
    args = parser.parse_args()
    teacher = dqn(args, np.random.default_rng(args.seed))
    w = imitate(args, teacher, np.random.default_rng(args.seed + 1))
    save_file(w, args.out)
    total = returns(greedy(w))
    print(f"{args.out}: mean return {total.mean():.1f} of {len(total)} episodes")


if __name__ == "__main__":
    main()
