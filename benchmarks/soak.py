"""Two million environment steps through the vector wrapper with tracking: memory, drift, exceptions.

    python benchmarks/soak.py --steps 2000000

64 environments of OddOneOut act at random. After every tenth of the steps the table gains a row: the resident memory
of the process, and the largest change of the tokens of a fixed batch of frames, encoded anew by the same wrapper; it
has to stay 0. Then 20 models are loaded and dropped.
"""

import argparse
import gc
import time
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
import psutil
from rich.table import Table

import lavae_rl  # noqa: F401  # registers the environments
from lavae_rl import LAVAE, VectorLAVAEObservation
from lavae_rl.data.sources import load_dataset
from lavae_rl.runs.exits import program_console

ENVS, ROWS, MODELS = 64, 10, 20


def resident() -> float:
    """Resident memory of this process in MiB."""
    gc.collect()
    return float(psutil.Process().memory_info().rss / 2**20)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2_000_000, help="of all environments (default: 2,000,000)")
    args = parser.parse_args(argv)
    plain = gym.make_vec("LAVAE/OddOneOut-v0", num_envs=ENVS, num_objects=(3, 7))
    envs = VectorLAVAEObservation(plain, tracking="hungarian", velocity=True, box=True)
    fixed = load_dataset("multi-dsprites", "test-7")[:ENVS]
    model = envs.frame_encoder.model
    first = model.encode(fixed).appearance
    envs.action_space.seed(0)
    envs.reset(seed=0)
    table = Table("steps", "memory, MiB", "drift", "objects per frame", "steps/s", title=f"{ENVS} environments")
    rounds = max(args.steps // ENVS // ROWS, 1)
    for row in range(1, ROWS + 1):
        start, found = time.perf_counter(), 0
        for _ in range(rounds):
            tokens = envs.step(envs.action_space.sample())[0]
            found += int(tokens["mask"].sum())
            if not np.isfinite(tokens["tokens"]).all():
                raise SystemExit("tokens that are not finite")
        speed = rounds * ENVS / (time.perf_counter() - start)
        drift = np.abs(model.encode(fixed).appearance - first).max()
        cells = [f"{row * rounds * ENVS:,}", f"{resident():.0f}", f"{drift:g}"]
        table.add_row(*cells, f"{found / rounds / ENVS:.2f}", f"{speed:,.0f}")
    program_console().print(table)
    before = resident()
    for _ in range(MODELS):
        LAVAE.from_pretrained("multi-dsprites").encode(fixed)
    program_console().print(f"{MODELS} models loaded and dropped: {before:.0f} MiB before, {resident():.0f} after")


if __name__ == "__main__":
    main()
