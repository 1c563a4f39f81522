"""Steps per second of OddOneOut behind each wrapper, with random actions and nothing that learns.

    python benchmarks/wrappers.py

*frames* are the environments without a wrapper. The rounds take turns, so that other jobs slow all of them alike.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode
from rich.table import Table
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecEnv

import lavae_rl  # noqa: F401, registers the environments
from lavae_rl.perception.sb3 import GymVectorToSB3, VecLAVAEObservation
from lavae_rl.perception.wrappers import LAVAEObservation, VectorLAVAEObservation
from lavae_rl.runs.exits import program_console

ENV_ID, MODEL = "LAVAE/OddOneOut-v0", "multi-dsprites"

Step = Callable[[], int]
"""Steps all environments once, and returns how many there are."""


def single(env: gym.Env[Any, Any]) -> Step:
    env.reset(seed=0)

    def step() -> int:
        _, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            env.reset()
        return 1

    return step


def vector(env: gym.vector.VectorEnv) -> Step:
    env.reset(seed=0)
    return lambda: (env.step(env.action_space.sample()), env.num_envs)[1]


def sb3(venv: VecEnv) -> Step:
    venv.reset()
    rng = np.random.default_rng(0)
    return lambda: (venv.step(rng.integers(5, size=venv.num_envs)), venv.num_envs)[1]


def wrapped(num_envs: int) -> dict[str, Step]:
    """A function to step for each wrapper, with its number of environments in the name."""

    def batch() -> gym.vector.VectorEnv:
        return gym.make_vec(ENV_ID, num_envs=num_envs, autoreset_mode=AutoresetMode.SAME_STEP)

    few = min(16, num_envs)
    return {
        "frames, 1": single(gym.make(ENV_ID)),
        "LAVAEObservation, 1": single(LAVAEObservation(gym.make(ENV_ID), MODEL)),
        f"frames, {num_envs}": vector(batch()),
        f"VectorLAVAEObservation, {num_envs}": vector(VectorLAVAEObservation(batch(), MODEL)),
        f"VecLAVAEObservation on make_vec_env, {few}": sb3(VecLAVAEObservation(make_vec_env(ENV_ID, few), MODEL)),
        f"VecLAVAEObservation on GymVectorToSB3, {num_envs}": sb3(VecLAVAEObservation(GymVectorToSB3(batch()), MODEL)),
    }


def measure(num_envs: int, rounds: int, seconds: float) -> dict[str, float]:
    """Median steps per second of each wrapper."""
    steps = wrapped(num_envs)
    speeds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            step()
            start, done = time.perf_counter(), 0
            while time.perf_counter() - start < seconds:
                done += step()
            speeds[name].append(done / (time.perf_counter() - start))
    return {name: median(values) for name, values in speeds.items()}


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-envs", type=int, default=64, help="environments of a batch (default: 64)")
    parser.add_argument("--rounds", type=int, default=5, help="of which the median counts (default: 5)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement (default: 1)")
    args = parser.parse_args(argv)
    table = Table("wrapper, environments", "steps/s", title=ENV_ID, title_justify="left")
    for name, speed in measure(args.num_envs, args.rounds, args.seconds).items():
        table.add_row(name, f"{speed:,.0f}")
    program_console().print(table)


if __name__ == "__main__":
    main()
