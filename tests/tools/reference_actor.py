"""Compares `hecc run examples/actor.rl` on ciphertexts with the exact network: 3-64-64-1, silu, silu, tanh.

    python3 -m venv /tmp/refenv && /tmp/refenv/bin/pip install numpy safetensors
    cargo build --release
    /tmp/refenv/bin/python tests/tools/reference_actor.py --hecc target/release/hecc

Weights are those of `hecc init` and, for comparison, drawn as PyTorch draws them (uniform within 1 / sqrt(inputs), biases too).
States are random over the whole declared box. The compiler fits its polynomials on ranges of pre-activations that it derives
from a network of its own seed; the largest ones seen here are printed beside them.
"""

import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import load_file, save_file

PROGRAM = pathlib.Path(__file__).resolve().parents[2] / "examples/actor.rl"
LOW, HIGH = np.array([-1.0, -1.0, -8.0]), np.array([1.0, 1.0, 8.0])
WIDTHS = [3, 64, 64, 1]
BATCH = 64
TOLERANCE = 1e-3


def exact(w, s):
    """The outputs, and the largest pre-activation of each layer."""
    x, largest = 2 * (s - LOW) / (HIGH - LOW) - 1, []
    for i in range(3):
        z = x @ w[f"actor.{i}.weight"].T + w[f"actor.{i}.bias"]
        largest.append(np.abs(z).max())
        x = z / (1 + np.exp(-z)) if i < 2 else np.tanh(z)
    return x, largest


def as_pytorch(rng):
    w = {}
    for i, (n, m) in enumerate(zip(WIDTHS, WIDTHS[1:])):
        w[f"actor.{i}.weight"] = rng.uniform(-1, 1, (m, n)) / np.sqrt(n)
        w[f"actor.{i}.bias"] = rng.uniform(-1, 1, m) / np.sqrt(n)
    return w


def hecc(*command):
    out = subprocess.run(command, capture_output=True, text=True)
    if out.returncode != 0:
        sys.exit(out.stderr)
    return out.stdout + out.stderr


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--hecc", default="target/release/hecc")
    parser.add_argument("--backend", default="ckks", choices=["clear", "ckks"])
    parser.add_argument("--seeds", type=int, default=3)
    args = parser.parse_args()
    for line in re.findall(r"note: .*", hecc(args.hecc, "compile", PROGRAM)):
        print(line)
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for source in ("hecc init", "as PyTorch"):
            for seed in range(args.seeds):
                rng = np.random.default_rng(seed)
                if source == "hecc init":
                    hecc(args.hecc, "init", PROGRAM, "--seed", str(seed), "-o", folder / "w.safetensors")
                    w = load_file(folder / "w.safetensors")
                else:
                    w = as_pytorch(rng)
                s = rng.uniform(LOW, HIGH, (BATCH, 3))
                save_file(w | {"s": s}, folder / "in.safetensors")
                files = ("--inputs", folder / "in.safetensors", "--out", folder / "out.safetensors")
                said = hecc(args.hecc, "run", PROGRAM, *files, "--backend", args.backend).strip().splitlines()
                want, largest = exact(w, s)
                error = np.abs(load_file(folder / "out.safetensors")["output"].ravel() - want.ravel()).max()
                worst = max(worst, error)
                seen = ", ".join(f"{v:.2f}" for v in largest)
                print(f"{source}, seed {seed}: largest error {error:.1e}; pre-activations to {seen}; {said[-1]}", flush=True)
    if worst > TOLERANCE:
        sys.exit(f"the largest error is above {TOLERANCE}")


if __name__ == "__main__":
    main()
