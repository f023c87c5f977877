"""Computes updates with numpy alone and compares `hecc run` with them; with --write, keeps them as fixtures.

    python3 -m venv /tmp/refenv && /tmp/refenv/bin/pip install numpy safetensors
    cargo build --release
    /tmp/refenv/bin/python tests/tools/reference_update.py --hecc target/release/hecc                  # clear, to 1e-9
    /tmp/refenv/bin/python tests/tools/reference_update.py --hecc target/release/hecc --backend ckks   # encrypted
    /tmp/refenv/bin/python tests/tools/reference_update.py --hecc target/release/hecc --write tests/fixtures

Each case is a program and the same update written by hand: networks with polynomials for activations, gradients by the chain
rule, the optimiser, and what follows it. Nothing is taken from the compiler but the degrees and ranges that the program leaves
open, which `hecc compile` prints. Several updates follow each other, each side going on from its own result. The start is not
a fresh one: target, momentum and average differ from what they belong to.

A fixture `reference_CASE.safetensors` has the program as metadata, `start.NAME`, and for each update K from 0 `batch.K.NAME` and
`after.K.NAME`, all in double precision. `tests/reference.rs` replays it.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
from numpy.polynomial import chebyshev, legendre
from safetensors.numpy import load_file, save_file

ROOT = pathlib.Path(__file__).resolve().parents[2]

# ---- Polynomials


class Polynomial:
    """A polynomial in Chebyshev's basis of t = (x - centre) / half."""

    def __init__(self, coefficients, low, high):
        self.c, self.centre, self.half = coefficients, (low + high) / 2, (high - low) / 2

    def __call__(self, x):
        return chebyshev.chebval((x - self.centre) / self.half, self.c)

    def slope(self, x):
        return chebyshev.chebval((x - self.centre) / self.half, chebyshev.chebder(self.c)) / self.half


def least_squares(f, low, high, degree, kink=0.0):
    """Projection on Legendre polynomials with uniform weight, the integrals on both sides of the kink exact."""
    centre, half = (low + high) / 2, (high - low) / 2
    nodes, weights = legendre.leggauss(degree + 4)
    coefficients = np.zeros(degree + 1)
    for a, b in ((-1.0, (kink - centre) / half), ((kink - centre) / half, 1.0)):
        t, w = (a + b) / 2 + (b - a) / 2 * nodes, (b - a) / 2 * weights
        for k in range(degree + 1):
            coefficients[k] += (k + 0.5) * np.sum(w * f(centre + half * t) * legendre.legval(t, np.eye(degree + 1)[k]))
    return Polynomial(chebyshev.poly2cheb(legendre.leg2poly(coefficients)), low, high)


def minimax(f, low, high, degree):
    """The polynomial of smallest largest error, by Remez's exchange on a dense grid with refined extrema."""
    centre, half = (low + high) / 2, (high - low) / 2
    g = lambda t: f(centre + half * t)
    grid = np.cos(np.linspace(np.pi, 0, 4001))
    # On a symmetric interval the best polynomials of some degree and of the next one are the same; the error of one of the
    # two alternates as often as its degree says.
    for n in (degree, degree + 1):
        reference = np.cos(np.linspace(np.pi, 0, n + 2))
        for _ in range(60):
            system = np.column_stack([chebyshev.chebvander(reference, n), (-1.0) ** np.arange(n + 2)])
            *c, level = np.linalg.solve(system, g(reference))
            error = lambda t: g(t) - chebyshev.chebval(t, c)
            e = error(grid)
            runs = np.split(np.arange(len(grid)), np.flatnonzero(np.sign(e[1:]) != np.sign(e[:-1])) + 1)
            peaks = []
            for run in runs:
                i = run[np.argmax(np.abs(e[run]))]
                t, width = grid[i], 0 if i in (0, len(grid) - 1) else (grid[i + 1] - grid[i - 1]) / 2
                for _ in range(6 * (width > 0)):
                    near = np.clip(t + np.linspace(-width, width, 9), -1, 1)
                    t, width = near[np.argmax(np.abs(error(near)))], width / 3
                peaks.append(t)
            while len(peaks) > n + 2:
                ends = np.abs(error(np.array([peaks[0], peaks[-1]])))
                peaks.pop(0 if ends[0] < ends[1] else -1)
            if len(peaks) < n + 2:
                break
            reference = np.array(peaks)
            if np.abs(error(reference)).max() - abs(level) < 1e-13:
                assert all(abs(extra) < 1e-12 for extra in c[degree + 1 :])
                return Polynomial(np.array(c[: degree + 1]), low, high)
    raise ArithmeticError(f"no exchange for degree {degree} on [{low}, {high}]")


class Square:
    def __call__(self, x):
        return x * x

    def slope(self, x):
        return 2 * x


class Linear:
    def __call__(self, x):
        return x

    def slope(self, x):
        return np.ones_like(x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


EXACT = {
    "silu": lambda x: x * sigmoid(x),
    "sigmoid": sigmoid,
    "tanh": np.tanh,
    "softplus": lambda x: np.logaddexp(0, x),
    "exp": np.exp,
}


def smooth(name, degree, low, high):
    return minimax(EXACT[name], low, high, degree)


def relu(degree, low, high):
    p = least_squares(lambda x: np.maximum(x, 0), low, high, degree)
    if degree == 2 and low == -high:
        x = np.linspace(low, high, 7)
        assert np.allclose(p(x), 3 * high / 32 + x / 2 + 15 * x**2 / (32 * high), atol=1e-13)
    return p


def larger(a, b, p):
    """max(a, b) with p for the absolute value."""
    return (a + b) / 2 + p(a - b) / 2


# ---- Networks, optimisers


def forward(w, net, x):
    """Output, and what the way back needs. `net` is (name, activations)."""
    name, activations = net
    kept = []
    for i, f in enumerate(activations):
        z = x @ w[f"{name}.{i}.weight"].T + w[f"{name}.{i}.bias"]
        kept.append((x, z))
        x = f(z)
    return x, kept


def backward(w, net, kept, d):
    """Gradients by name, and the gradient for the input; `d` is the gradient for the output."""
    name, activations = net
    g = {}
    for i in reversed(range(len(activations))):
        x, z = kept[i]
        d = d * activations[i].slope(z)
        g[f"{name}.{i}.weight"], g[f"{name}.{i}.bias"] = d.T @ x, d.sum(0)
        d = d @ w[f"{name}.{i}.weight"]
    return g, d


def sgd(w, g, lr):
    return {k: w[k] - lr * g[k] for k in g}


def momentum(w, g, lr, beta):
    new = {}
    for k in g:
        b = beta * w[f"{k}.momentum"] + g[k]
        new |= {k: w[k] - lr * b, f"{k}.momentum": b}
    return new


def nesterov(w, g, lr, beta):
    new = {}
    for k in g:
        b = beta * w[f"{k}.momentum"] + g[k]
        new |= {k: w[k] - lr * (g[k] + beta * b), f"{k}.momentum": b}
    return new


def follow(w, target, net, tau):
    """(1 - tau) target + tau net."""
    return {k: (1 - tau) * w[k] + tau * w[net + k[len(target) :]] for k in w if re.fullmatch(rf"{target}\.\d+\.(weight|bias)", k)}


def average(w, net, rate):
    names = [k for k in w if re.fullmatch(rf"{net}\.\d+\.(weight|bias)", k)]
    return {f"{k}.average": (1 - rate) * w[f"{k}.average"] + rate * w[k] for k in names}


def normalise(x, ranges):
    low, high = np.array(ranges).T
    return 2 * (x - low) / (high - low) - 1


def chosen(q, a):
    return (q * a).sum(1)


# ---- Cases: program, starting states, batches, update


def sizes(name, *widths):
    return {
        f"{name}.{i}.{part}": shape
        for i, (n, m) in enumerate(zip(widths, widths[1:]))
        for part, shape in (("weight", (m, n)), ("bias", (m,)))
    }


def draw(rng, shapes, gain=1.0):
    """Weights as a layer that keeps the size of its input has them; biases small."""
    return {k: rng.normal(size=s) * gain * (1 / np.sqrt(s[1]) if len(s) > 1 else 0.1) for k, s in shapes.items()}


def beside(rng, w, net, suffix, size):
    return {f"{k}.{suffix}": rng.normal(size=v.shape) * size for k, v in w.items() if k.startswith(f"{net}.")}


def near(rng, w, net, suffix):
    return {f"{k}.{suffix}": v + 0.05 * rng.normal(size=v.shape) for k, v in w.items() if k.startswith(f"{net}.")}


def transitions(rng, ranges, batch, reward, actions=0):
    low, high = np.array(ranges).T
    d = {
        "s": rng.uniform(low, high, (batch, len(low))),
        "s_next": rng.uniform(low, high, (batch, len(low))),
        "r": rng.uniform(*reward, batch),
        "done": (rng.random(batch) < 0.25).astype(float),
    }
    return d | ({"a": np.eye(actions)[rng.integers(0, actions, batch)]} if actions else {})


class CartPole:
    """examples/cartpole_dqn.rl: one hidden layer, a polynomial maximum, momentum, target, average, n-step discount."""

    ranges = [(-4.8, 4.8), (-4, 4), (-0.42, 0.42), (-4, 4)]

    def __init__(self):
        self.program = re.sub(r"batch( *)= 1024", r"batch\1= 32", (ROOT / "examples/cartpole_dqn.rl").read_text())
        self.f = [relu(2, -2, 2), Linear()]

    def notes(self, notes):
        degree, low, high = notes["max, of the difference: abs"]
        assert degree == 4
        self.abs = least_squares(np.abs, low, high, degree)

    def start(self, rng):
        q = draw(rng, sizes("q", 4, 32, 2))
        t = draw(rng, sizes("t", 4, 32, 2))
        return q | t | beside(rng, q, "q", "momentum", 0.02) | near(rng, q, "q", "average")

    def batch(self, rng):
        return transitions(rng, self.ranges, 32, (-1, 0), actions=2)

    def update(self, w, d):
        s, s_next, size = normalise(d["s"], self.ranges), normalise(d["s_next"], self.ranges), len(d["r"])
        v, _ = forward(w, ("t", self.f), s_next)
        y = d["r"] + 0.99**10 * (1 - d["done"]) * larger(v[:, 0], v[:, 1], self.abs)
        q, kept = forward(w, ("q", self.f), s)
        delta = 2 / size * (chosen(q, d["a"]) - y)
        g, _ = backward(w, ("q", self.f), kept, d["a"] * delta[:, None])
        w = w | momentum(w, g, lr=1.0, beta=0.9)
        return w | follow(w, "t", "q", 0.01) | average(w, "q", 0.05)


class Regression:
    """examples/bench_regression.rl: squares, supplied targets, plain gradient descent."""

    def __init__(self):
        self.program = (ROOT / "examples/bench_regression.rl").read_text()
        self.f = [Square(), Linear()]

    def start(self, rng):
        return draw(rng, sizes("q", 4, 64, 2), 0.5)

    def batch(self, rng):
        d = transitions(rng, [(-1, 1)] * 4, 16, (-1, 1), actions=2)
        return {k: d[k] for k in "sar"}

    def update(self, w, d):
        q, kept = forward(w, ("q", self.f), d["s"])
        delta = 2 / len(d["r"]) * (chosen(q, d["a"]) - d["r"])
        g, _ = backward(w, ("q", self.f), kept, d["a"] * delta[:, None])
        return w | sgd(w, g, lr=0.25)


class Deep:
    """Three hidden layers of different smooth activations on uneven ranges, an exact maximum at the client, Nesterov's
    momentum, and a batch that fills no power of two."""

    ranges = [(-1, 3), (-2, 2), (0, 0.5)]
    program = """env "Reference" {
    observe s: [3] in [-1, 3], [-2, 2], [0, 0.5]
    act     a: one of 3
    reward  r in [-1, 1]
}

net q(s) -> [3] {
    dense 6 silu(degree: 4, range: [-3, 4])
    dense 5 tanh(degree: 3, range: [-2, 2])
    dense 7 softplus(degree: 5, range: [-3, 3])
    dense 3
}

algorithm fit(q) {
    parameter discount, tau, optimizer
    state t = copy(q)
    let y = stop(r + discount * (1 - done) * max(t(s')))
    minimize mean((dot(q(s), a) - y)^2) over q with optimizer
    t <- mix(t, q, tau)
}

train fit(q) {
    discount  = 0.9
    batch     = 24
    updates   = 10
    optimizer = nesterov(lr: 0.1, beta: 0.8)
    tau       = 0.1
}

secure ckks {
    secret  = [s, a, r, q]
    refresh = client
    client  = [max]
}
"""

    def __init__(self):
        self.f = [smooth("silu", 4, -3, 4), smooth("tanh", 3, -2, 2), smooth("softplus", 5, -3, 3), Linear()]

    def start(self, rng):
        q = draw(rng, sizes("q", 3, 6, 5, 7, 3))
        t = draw(rng, sizes("t", 3, 6, 5, 7, 3))
        return q | t | beside(rng, q, "q", "momentum", 0.02)

    def batch(self, rng):
        return transitions(rng, self.ranges, 24, (-1, 1), actions=3)

    def update(self, w, d):
        s, s_next, size = normalise(d["s"], self.ranges), normalise(d["s_next"], self.ranges), len(d["r"])
        v, _ = forward(w, ("t", self.f), s_next)
        y = d["r"] + 0.9 * (1 - d["done"]) * v.max(1)
        q, kept = forward(w, ("q", self.f), s)
        g, _ = backward(w, ("q", self.f), kept, d["a"] * (2 / size * (chosen(q, d["a"]) - y))[:, None])
        w = w | nesterov(w, g, lr=0.1, beta=0.8)
        return w | follow(w, "t", "q", 0.1)


class Tournament:
    """A polynomial maximum over three actions, a rectifier of degree 3 on an uneven range, and the loss revealed."""

    ranges = [(-1, 1), (-2, 4)]
    program = """env "Reference" {
    observe s: [2] in [-1, 1], [-2, 4]
    act     a: one of 3
    reward  r in [-1, 1]
}

net q(s) -> [3] {
    dense 8 relu(degree: 3, range: [-2, 3])
    dense 3
}

algorithm fit(q) {
    parameter discount, tau, optimizer
    state t = copy(q)
    let y = stop(r + discount * (1 - done) * max(t(s'), degree: 4, range: [-3, 3]))
    let loss = mean((dot(q(s), a) - y)^2)
    minimize loss over q with optimizer
    t <- mix(t, q, tau)
    reveal loss as "loss"
}

train fit(q) {
    discount  = 0.9
    batch     = 32
    updates   = 10
    optimizer = sgd(lr: 0.05)
    tau       = 0.25
}

secure ckks {
    secret  = [s, a, r, q]
    refresh = client
}
"""

    def __init__(self):
        self.f = [relu(3, -2, 3), Linear()]
        self.abs = least_squares(np.abs, -3, 3, 4)

    def start(self, rng):
        return draw(rng, sizes("q", 2, 8, 3)) | draw(rng, sizes("t", 2, 8, 3))

    def batch(self, rng):
        return transitions(rng, self.ranges, 32, (-1, 1), actions=3)

    def update(self, w, d):
        s, s_next, size = normalise(d["s"], self.ranges), normalise(d["s_next"], self.ranges), len(d["r"])
        v, _ = forward(w, ("t", self.f), s_next)
        # The approximate maximum depends on who plays whom: 0 against 2, the winner against 1.
        best = larger(larger(v[:, 0], v[:, 2], self.abs), v[:, 1], self.abs)
        y = d["r"] + 0.9 * (1 - d["done"]) * best
        q, kept = forward(w, ("q", self.f), s)
        error = chosen(q, d["a"]) - y
        g, _ = backward(w, ("q", self.f), kept, d["a"] * (2 / size * error)[:, None])
        w = {k: v for k, v in w.items() if k != "loss"} | sgd(w, g, lr=0.05)
        return w | follow(w, "t", "q", 0.25) | {"loss": np.array([(error**2).mean()])}


class ActorCritic:
    """Two networks, one with two inputs; the actor's gradient passes through the critic as it stood at the start."""

    ranges = [(-1, 1), (-1, 1), (-8, 8)]
    program = """env "Reference" {
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act     a: [1] in [-2, 2]
    reward  r in [-1, 1]
}

net critic(s, a) -> [1] {
    dense 8 square
    dense 1
}

net actor(s) -> [1] {
    dense 6 relu(degree: 2, range: [-2, 2])
    dense 1 tanh(degree: 3, range: [-2, 2])
}

algorithm fit(critic, actor) {
    parameter optimizer
    state t = copy(critic)
    let y = stop(r + 0.5 * (1 - done) * t(s', actor(s')))
    minimize mean((critic(s, a) - y)^2) over critic with optimizer
    minimize -mean(old(critic)(s, actor(s))) over actor with optimizer
    t <- mix(t, critic, 0.1)
}

train fit(critic, actor) {
    batch     = 32
    updates   = 10
    optimizer = momentum(lr: 0.1, beta: 0.9)
}

secure ckks {
    secret  = [s, a, r, critic, actor]
    refresh = client
}
"""

    def __init__(self):
        self.critic = ("critic", [Square(), Linear()])
        self.actor = ("actor", [relu(2, -2, 2), smooth("tanh", 3, -2, 2)])

    def start(self, rng):
        critic = draw(rng, sizes("critic", 4, 8, 1))
        actor = draw(rng, sizes("actor", 3, 6, 1))
        t = draw(rng, sizes("t", 4, 8, 1))
        w = critic | actor | t
        return w | beside(rng, w, "critic", "momentum", 0.02) | beside(rng, w, "actor", "momentum", 0.02)

    def batch(self, rng):
        return transitions(rng, self.ranges, 32, (-1, 1)) | {"a": rng.uniform(-2, 2, (32, 1))}

    def update(self, w, d):
        s, s_next = normalise(d["s"], self.ranges), normalise(d["s_next"], self.ranges)
        a, size = normalise(d["a"], [(-2, 2)]), len(d["r"])
        a_next, _ = forward(w, self.actor, s_next)
        v, _ = forward(w, ("t", self.critic[1]), np.hstack([s_next, a_next]))
        y = d["r"] + 0.5 * (1 - d["done"]) * v[:, 0]
        q, kept = forward(w, self.critic, np.hstack([s, a]))
        g, _ = backward(w, self.critic, kept, (2 / size * (q[:, 0] - y))[:, None])
        new = w | momentum(w, g, lr=0.1, beta=0.9)
        mu, kept = forward(w, self.actor, s)
        _, kept_critic = forward(w, self.critic, np.hstack([s, mu]))
        _, d_in = backward(w, self.critic, kept_critic, np.full((size, 1), -1 / size))
        g, _ = backward(w, self.actor, kept, d_in[:, 3:])
        w = new | momentum(w, g, lr=0.1, beta=0.9)
        return w | follow(w, "t", "critic", 0.1)


class Actor:
    """examples/actor.rl, smaller and with its degrees and ranges pinned: public weights, nothing carried."""

    ranges = [(-1, 1), (-1, 1), (-8, 8)]

    def __init__(self):
        text = (ROOT / "examples/actor.rl").read_text()
        for low, high in ((-3, 4), (-3, 3)):
            text = text.replace("dense 64 silu\n", f"dense 12 silu(degree: 15, range: [{low}, {high}])\n", 1)
        self.program = text.replace("dense 1 tanh\n", "dense 1 tanh(degree: 7, range: [-2, 2])\n")
        self.f = [smooth("silu", 15, -3, 4), smooth("silu", 15, -3, 3), smooth("tanh", 7, -2, 2)]

    def start(self, rng):
        return draw(rng, sizes("actor", 3, 12, 12, 1))

    def batch(self, rng):
        return {"s": rng.uniform(*np.array(self.ranges).T, (64, 3))}

    def update(self, w, d):
        return w | {"output": forward(w, ("actor", self.f), normalise(d["s"], self.ranges))[0]}


CASES = {
    "cartpole": (CartPole, 3),
    "regression": (Regression, 2),
    "deep": (Deep, 3),
    "tournament": (Tournament, 2),
    "actor_critic": (ActorCritic, 3),
    "actor": (Actor, 1),
}

# ---- The command


def compile_notes(hecc, program):
    out = subprocess.run([hecc, "compile", program], capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"hecc compile {program}:\n{out.stderr}")
    notes = {}
    for name, degree, low, high in re.findall(r"note: (.+): degree (\d+) on \[(\S+), (\S+)\]", out.stdout + out.stderr):
        notes[name if name not in notes else f"{name} again"] = (int(degree), float(low), float(high))
    return notes


def run(hecc, program, backend, arrays, folder):
    save_file({k: np.ascontiguousarray(v, dtype=np.float64) for k, v in arrays.items()}, folder / "in.safetensors")
    command = [hecc, "run", program, "--inputs", folder / "in.safetensors", "--out", folder / "out.safetensors", "--backend", backend]
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(f"hecc run {program}:\n{out.stderr}")
    return load_file(folder / "out.safetensors")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hecc", default=str(ROOT / "target/release/hecc"))
    parser.add_argument("--backend", default="clear", choices=["clear", "ckks"])
    parser.add_argument("--updates", type=int, help="instead of each case's own number")
    parser.add_argument("--write", type=pathlib.Path, metavar="FOLDER", help="write the fixtures")
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE")
    args = parser.parse_args()
    tolerance, bad = {"clear": 1e-9, "ckks": 2.0**-12}[args.backend], 0
    for name in args.cases:
        make, updates = CASES[name]
        case, rng = make(), np.random.default_rng(7)
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            program = folder / f"{name}.rl"
            program.write_text(case.program)
            notes = compile_notes(args.hecc, program)
            if hasattr(case, "notes"):
                case.notes(notes)
            start = case.start(rng)
            fixture = {f"start.{k}": v for k, v in start.items()}
            ours, theirs = start, start
            for k in range(args.updates or updates):
                batch = case.batch(rng)
                ours = case.update(ours, batch)
                carried = {n: v for n, v in theirs.items() if n in start}
                theirs = carried | run(args.hecc, program, args.backend, carried | batch, folder)
                new = {n: v for n, v in ours.items() if not (n in start and np.array_equal(v, start[n]))}
                assert set(new) <= set(theirs), f"{name}: hecc has no {sorted(set(new) - set(theirs))}"
                # A weight's error counts relative to its array's range, where that is more than 1.
                errors = {
                    n: np.abs(v.ravel() - theirs[n].ravel()).max() / (max(1.0, np.abs(v).max()) if args.backend == "clear" else np.ptp(v) or 1)
                    for n, v in new.items()
                }
                worst = max(errors, key=errors.get)
                bad += errors[worst] > tolerance
                print(f"{name}, update {k}: {len(new)} arrays, largest difference {errors[worst]:.1e} ({worst})", flush=True)
                fixture |= {f"batch.{k}.{n}": v for n, v in batch.items()} | {f"after.{k}.{n}": v for n, v in new.items()}
        if args.write:
            fixture = {k: np.ascontiguousarray(v, dtype=np.float64) for k, v in fixture.items()}
            save_file(fixture, args.write / f"reference_{name}.safetensors", metadata={"program": case.program})
    if bad:
        sys.exit(f"{bad} updates differ by more than {tolerance:.1e}")


if __name__ == "__main__":
    main()
