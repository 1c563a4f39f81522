"""Pixel frames per second of the environments, single and as a batch, and of a peer, all in one run.

    python benchmarks/environments.py
    pip install minigrid && python benchmarks/environments.py      # with the peer

Random actions, timed by Gymnasium's own ``benchmark_step`` and ``benchmark_vector_step``. *vector* is 64 copies behind
``vector_entry_point``, *sync* 64 single environments in a ``SyncVectorEnv``. The peer is Minigrid's Empty-8x8, whose
frames of 64 x 64 pixels come from its ``RGBImgObsWrapper``.
"""

import argparse
import importlib
import importlib.util
from collections.abc import Sequence
from statistics import median

import gymnasium as gym
from gymnasium.utils.performance import benchmark_step, benchmark_vector_step
from rich.table import Table

from lavae_rl.registration import TASKS
from lavae_rl.runs.exits import program_console


def frames_per_second(env_id: str, num_envs: int, seconds: int) -> tuple[float, float, float]:
    """Frames per second of the batch, of as many single environments, and of a single one."""
    vector = benchmark_vector_step(gym.make_vec(env_id, num_envs), target_duration=seconds, seed=0)
    sync = benchmark_vector_step(
        gym.make_vec(env_id, num_envs, vectorization_mode="sync"), target_duration=seconds, seed=0
    )
    return vector, sync, benchmark_step(gym.make(env_id), target_duration=seconds, seed=0)


def peer(seconds: int) -> float | None:
    """Steps per second of Minigrid with pixels, where it is installed."""
    if importlib.util.find_spec("minigrid") is None:
        return None
    wrappers = importlib.import_module("minigrid.wrappers")
    env = wrappers.ImgObsWrapper(wrappers.RGBImgObsWrapper(gym.make("minigrid:MiniGrid-Empty-8x8-v0"), tile_size=8))
    return benchmark_step(env, target_duration=seconds, seed=0)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-envs", type=int, default=64, help="copies (default: 64)")
    parser.add_argument("--seconds", type=int, default=3, help="per measurement (default: 3)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements, of which the median counts (default: 3)")
    args = parser.parse_args(argv)
    table = Table("task", "vector, frames/s", "sync, frames/s", "ratio", "single, steps/s")
    for name in TASKS:
        rounds = [frames_per_second(f"LAVAE/{name}-v0", args.num_envs, args.seconds) for _ in range(args.rounds)]
        vector, sync, single = (median(column) for column in zip(*rounds, strict=True))
        ratio = median(v / s for v, s, _ in rounds)
        table.add_row(name, f"{vector:,.0f}", f"{sync:,.0f}", f"{ratio:.1f}", f"{single:,.0f}")
    other = peer(args.seconds)
    table.add_row("Minigrid Empty-8x8", "", "", "", "not installed" if other is None else f"{other:,.0f}")
    program_console().print(table)


if __name__ == "__main__":
    main()
