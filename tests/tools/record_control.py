"""Records episodes of Gymnasium's classic control that the native environments must reproduce.

    python3 -m venv /tmp/gymenv && /tmp/gymenv/bin/pip install gymnasium numpy
    /tmp/gymenv/bin/python tests/tools/record_control.py Pendulum-v1 > tests/fixtures/pendulum.json
    /tmp/gymenv/bin/python tests/tools/record_control.py MountainCar-v0 > tests/fixtures/mountaincar.json
    /tmp/gymenv/bin/python tests/tools/record_control.py Acrobot-v1 > tests/fixtures/acrobot.json

Each episode has the state in double precision at its start and after every 25 steps (near an unstable balance, and in
chaos, the last digit of a sine soon is the first of an angle), and for every step the action, the observation (single
precision, as Gymnasium returns it, printed exactly), the reward and the two end flags. Half of the episodes act at random, torques beyond their limit included; half are driven by a hand-written controller, which reaches
the goal where there is one.
"""

import json
import sys

import gymnasium
import numpy

# Steps between two states.
EVERY = 25

ENVIRONMENTS = {
    "Pendulum-v1": (lambda rng: [float(rng.uniform(-2.5, 2.5))], lambda o: [swing_up(*o)]),
    # Both push along the speed.
    "MountainCar-v0": (lambda rng: int(rng.integers(3)), lambda o: 2 if o[1] >= 0 else 0),
    "Acrobot-v1": (lambda rng: int(rng.integers(3)), lambda o: 2 if o[5] >= 0 else 0),
}


def swing_up(cos, sin, speed):
    """Brings the energy to that of the top, then holds: torques beyond the limit of 2 are cut by the simulator."""
    energy = speed**2 / 6 + 5 * cos
    return float(-12 * sin - 3 * speed if cos > 0.9 else 2 * numpy.sign(speed * (5 - energy)))


def record(name, seed, driven):
    env = gymnasium.make(name, disable_env_checker=True)
    chance, controller = ENVIRONMENTS[name]
    observation, _ = env.reset(seed=seed)
    rng = numpy.random.default_rng(seed)
    episode = {
        "seed": seed,
        "states": [],
        "first": single(observation),
        "actions": [],
        "observations": [],
        "rewards": [],
        "terminated": False,
        "truncated": False,
    }
    while not (episode["terminated"] or episode["truncated"]):
        if len(episode["actions"]) % EVERY == 0:
            episode["states"].append([float(v) for v in env.unwrapped.state])
        action = controller(observation) if driven else chance(rng)
        # In double precision: a torque in single precision would be added in single precision.
        taken = numpy.array(action, dtype=numpy.float64) if isinstance(action, list) else action
        observation, reward, terminated, truncated, _ = env.step(taken)
        episode["actions"].append(action)
        episode["observations"].append(single(observation))
        episode["rewards"].append(float(reward))
        episode["terminated"] = bool(terminated)
        episode["truncated"] = bool(truncated)
    return episode


def single(observation):
    """Nine digits tell any two single-precision numbers apart."""
    return [float(f"{v:.9g}") for v in observation]


def main():
    name = sys.argv[1]
    episodes = [record(name, seed, driven=seed >= 2) for seed in range(4)]
    returns = [round(sum(e["rewards"]), 1) for e in episodes]
    print(f"gymnasium {gymnasium.__version__}, lengths {[len(e['actions']) for e in episodes]}, returns {returns}", file=sys.stderr)
    text = json.dumps({"gymnasium": gymnasium.__version__, "episodes": episodes}, separators=(",", ":"))
    print(text.replace('{"seed"', '\n{"seed"'))


if __name__ == "__main__":
    main()
