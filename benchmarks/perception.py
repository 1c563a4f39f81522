"""Count accuracy and centre errors of the bundled models on frames of the environments, over random roll-outs.

    python benchmarks/perception.py

64 copies of each task act at random for 100 steps (6,400 frames), in training and in test mode. Centres are matched
in frames whose count is correct.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from rich.progress import track
from rich.table import Table
from scipy.optimize import linear_sum_assignment

from lavae_rl.model.lavae import LAVAE
from lavae_rl.registration import TASKS
from lavae_rl.runs.exits import program_console


def errors(locations: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distances in pixels of matched centres."""
    gap = np.linalg.norm(locations[:, None] - truth[None].astype(float), axis=2)
    return gap[linear_sum_assignment(gap)]


def measure(name: str, model: LAVAE, mode: str, steps: int, seed: int) -> tuple[float, float, float, float]:
    """Count accuracy; in frames with a correct count, share of centres within 1 px, mean and largest error in px."""
    env = gym.make_vec(f"LAVAE/{name}-v0", 64, mode=mode, autoreset_mode=AutoresetMode.SAME_STEP)
    base: Any = env.unwrapped
    frames, _ = env.reset(seed=seed)
    env.action_space.seed(seed)
    correct, distances = [], []
    for _ in range(steps):
        scenes, found = base.simulation.world.scenes, model.encode(frames)
        correct.append(found.count == scenes.count)
        for i in np.flatnonzero(correct[-1]):
            count = scenes.count[i]
            distances.append(errors(found.location[i, :count], scenes.location[i, :count]))
        frames, *_ = env.step(env.action_space.sample())
    error = np.concatenate(distances)
    return float(np.mean(correct)), float((error <= 1).mean()), float(error.mean()), float(error.max())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100, help="steps of 64 copies (default: 100)")
    parser.add_argument("--seed", type=int, default=0, help="of roll-outs and actions (default: 0)")
    args = parser.parse_args(argv)
    table = Table("task", "mode", "count accuracy", "centres within 1 px", "mean error", "largest error")
    for name, task in track(TASKS.items(), description="tasks"):
        model = LAVAE.from_pretrained(task.model)
        for mode in ("train", "test"):
            count, near, mean, largest = measure(name, model, mode, args.steps, args.seed)
            table.add_row(name, mode, f"{count:.2%}", f"{near:.2%}", f"{mean:.3f} px", f"{largest:.1f} px")
    program_console().print(table)


if __name__ == "__main__":
    main()
