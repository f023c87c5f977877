"""Records trajectories of Gymnasium's CartPole-v1 that the native environment must reproduce.

    python3 -m venv /tmp/gymenv && /tmp/gymenv/bin/pip install gymnasium numpy
    /tmp/gymenv/bin/python tests/tools/record_cartpole.py > tests/fixtures/cartpole.json

Each trajectory has the initial state in double precision (as the simulator draws it), and for every step the action,
the observation (single precision, as Gymnasium returns it, printed exactly), the reward and the two end flags. Half of
the trajectories act at random and fall; half balance the pole to the time limit.
"""

import json
import sys

import gymnasium
import numpy


def balance(state):
    """A hand-written controller that holds the pole up for 500 steps."""
    x, x_dot, theta, theta_dot = state
    return int(0.1 * x + 0.3 * x_dot + 4.0 * theta + theta_dot > 0)


def record(seed, balanced):
    env = gymnasium.make("CartPole-v1")
    observation, _ = env.reset(seed=seed)
    policy = numpy.random.default_rng(seed)
    start = [float(v) for v in env.unwrapped.state]
    trajectory = {
        "seed": seed,
        "start": start,
        "first": [float(v) for v in observation],
        "actions": [],
        "observations": [],
        "rewards": [],
        "terminated": False,
        "truncated": False,
    }
    while not (trajectory["terminated"] or trajectory["truncated"]):
        action = balance(env.unwrapped.state) if balanced else int(policy.integers(2))
        observation, reward, terminated, truncated, _ = env.step(action)
        trajectory["actions"].append(action)
        # Nine digits tell any two single-precision numbers apart.
        trajectory["observations"].append([float(f"{v:.9g}") for v in observation])
        trajectory["rewards"].append(float(reward))
        trajectory["terminated"] = bool(terminated)
        trajectory["truncated"] = bool(truncated)
    return trajectory


def main():
    trajectories = [record(seed, balanced=False) for seed in range(20)] + [record(seed, balanced=True) for seed in range(20, 25)]
    lengths = [len(t["actions"]) for t in trajectories]
    print(f"gymnasium {gymnasium.__version__}, lengths {lengths}", file=sys.stderr)
    text = json.dumps({"gymnasium": gymnasium.__version__, "trajectories": trajectories}, separators=(",", ":"))
    print(text.replace('{"seed"', '\n{"seed"'))


if __name__ == "__main__":
    main()
