"""Records what a CartPole-v1 policy sees: 1,000 observations for calibration and for the comparison of actions.

    /tmp/gymenv/bin/python tests/tools/record_observations.py policy_16.safetensors -o observations.safetensors

The policy is greedy but for one action in ten, which is random. The observations, in the units of the environment, `s` [1000, 4],
single precision, are drawn without replacement from all that 100 episodes visit, and stay in the order of time.
"""

import argparse

import numpy as np
from safetensors.numpy import load_file, save_file
from train_cartpole_policy import greedy, returns


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--epsilon", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=1000, help="of the first episode")
    parser.add_argument("-o", "--out", required=True)
    args = parser.parse_args()
    act, rng, seen = greedy(load_file(args.policy)), np.random.default_rng(args.seed), []

    def explore(s):
        seen.append(s)
        return np.where(rng.random(len(s)) < args.epsilon, rng.integers(2, size=len(s)), act(s))

    total = returns(explore, args.episodes, args.seed)
    # The simulator goes on with poles that fell; what they see then is no part of an episode.
    visited = np.concatenate([s[total > t] for t, s in enumerate(seen)])
    chosen = np.sort(rng.choice(len(visited), args.count, replace=False))
    save_file({"s": np.ascontiguousarray(visited[chosen])}, args.out)
    print(f"{args.out}: {args.count} of {len(visited)} observations, mean return {total.mean():.1f}")


if __name__ == "__main__":
    main()
