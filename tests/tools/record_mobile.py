"""Records episodes of mobile-env's small central scenario that the native environment must reproduce.

    python3 -m venv /tmp/mobileenv && /tmp/mobileenv/bin/pip install mobile-env
    /tmp/mobileenv/bin/python tests/tools/record_mobile.py > tests/fixtures/mobile.json

Each episode has the users' first positions, every waypoint with the step and the user it was drawn for, and for every
step the action, the observation (single precision, as the environment returns it, printed exactly), the reward and the
end flag. The first episode acts at random; in the second, users connect to the station that they hear best.
"""

import importlib.metadata
import json
import sys

import gymnasium
import mobile_env  # noqa: F401  registers the environment
import numpy


class Draws:
    """A generator that keeps what was drawn."""

    def __init__(self, rng):
        self.rng, self.drawn = rng, []

    def uniform(self, low, high):
        self.drawn.append(float(self.rng.uniform(low, high)))
        return self.drawn[-1]


def best(observation):
    """Connects each user to the station of the largest signal, and disconnects it from the others, one at a time."""
    actions = []
    for user in numpy.reshape(observation, (5, 7)):
        wanted = numpy.arange(3) == numpy.argmax(user[3:6])
        wrong = numpy.flatnonzero((user[:3] == 1) != wanted)
        actions.append(int(wrong[0]) + 1 if len(wrong) else 0)
    return actions


def record(env, seed):
    observation, _ = env.reset()
    core, rng = env.unwrapped, numpy.random.default_rng(seed)
    movement = core.movement
    draws = Draws(movement.rng)
    movement.rng = draws
    episode = {
        "starts": [[float(ue.x), float(ue.y)] for ue in core.users.values()],
        "waypoints": [],
        "first": single(observation),
        "actions": [],
        "observations": [],
        "rewards": [],
        "truncated": False,
    }
    move = type(movement).move

    def logged(ue):
        draws.drawn.clear()
        position = move(movement, ue)
        if draws.drawn:
            episode["waypoints"].append([int(core.time), ue.ue_id, *draws.drawn])
        return position

    movement.move = logged
    terminated = False
    while not (terminated or episode["truncated"]):
        action = [int(v) for v in rng.integers(4, size=5)] if seed == 0 else best(observation)
        observation, reward, terminated, truncated, _ = env.step(action)
        episode["actions"].append(action)
        episode["observations"].append(single(observation))
        episode["rewards"].append(float(reward))
        episode["truncated"] = bool(truncated)
    assert not terminated
    movement.rng = draws.rng
    return episode


def single(observation):
    """Nine digits tell any two single-precision numbers apart."""
    return [float(f"{v:.9g}") for v in observation]


def main():
    env = gymnasium.make("mobile-small-central-v0", disable_env_checker=True)
    episodes = [record(env, seed) for seed in range(2)]
    version = importlib.metadata.version("mobile-env")
    returns = [round(sum(e["rewards"]), 1) for e in episodes]
    drawn = [len(e["waypoints"]) for e in episodes]
    print(f"mobile-env {version}, lengths {[len(e['actions']) for e in episodes]}, returns {returns}, waypoints {drawn}", file=sys.stderr)
    text = json.dumps({"mobile-env": version, "episodes": episodes}, separators=(",", ":"))
    print(text.replace('{"starts"', '\n{"starts"'))


if __name__ == "__main__":
    main()
