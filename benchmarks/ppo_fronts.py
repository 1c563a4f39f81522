"""PPO's speed with perception in front of the policy and inside it: environment steps per second, end to end.

    python benchmarks/ppo_fronts.py

The environment costs next to nothing (it renders random scenes), so the figures are those of perception and PPO.
*wrapper* encodes each frame once (``VecLAVAEObservation``), *features extractor* once per rollout and once per epoch
(``LAVAEFeaturesExtractor``), *pixels* is Stable-Baselines3's own CNN on the frames.
"""

import argparse
import time
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from rich.console import Console
from rich.table import Table
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from lavae_rl.datasets import load_bank
from lavae_rl.perception.sb3 import LAVAEFeaturesExtractor, VecLAVAEObservation
from lavae_rl.scenes import render_scenes, sample_scenes

FRONTS = ("wrapper", "features extractor", "pixels")


class RandomScenes(gym.Env[np.ndarray, np.int64]):
    """Each step shows one of a thousand scenes of three dSprites; episodes last 100 steps."""

    observation_space = gym.spaces.Box(0, 255, (64, 64, 3), np.uint8)
    action_space = gym.spaces.Discrete(4)

    def __init__(self) -> None:
        bank = load_bank("multi-dsprites")
        self._frames = render_scenes(sample_scenes(np.random.default_rng(0), bank, 1_000, 3), bank)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self._clock = 0
        return self._frame(), {}

    def step(self, action: np.int64) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._clock += 1
        return self._frame(), 0.0, False, self._clock == 100, {}

    def _frame(self) -> np.ndarray:
        frame: np.ndarray = self._frames[self.np_random.integers(len(self._frames))].copy()
        return frame


def steps_per_second(front: str, num_envs: int, epochs: int, steps: int) -> float:
    venv: VecEnv = DummyVecEnv([RandomScenes] * num_envs)
    policy: dict[str, Any] = {}
    if front == "wrapper":
        venv = VecLAVAEObservation(venv)
    if front == "features extractor":
        policy = {"features_extractor_class": LAVAEFeaturesExtractor}
    name = "MultiInputPolicy" if front == "wrapper" else "CnnPolicy"
    rollout = 64
    agent = PPO(name, venv, n_steps=rollout, batch_size=256, n_epochs=epochs, policy_kwargs=policy, device="cpu")
    agent.learn(rollout * num_envs)  # warm up
    start = time.perf_counter()
    agent.learn(steps)
    return steps / (time.perf_counter() - start)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-envs", type=int, default=16, help="environments (default: 16)")
    parser.add_argument("--epochs", type=int, default=4, help="PPO's epochs per rollout (default: 4)")
    parser.add_argument("--rollouts", type=int, default=4, help="rollouts of 64 steps to time (default: 4)")
    args = parser.parse_args(argv)
    steps = 64 * args.num_envs * args.rollouts
    speeds = {front: steps_per_second(front, args.num_envs, args.epochs, steps) for front in FRONTS}
    table = Table("front", "steps/s", "over pixels", title=f"PPO, {args.num_envs} environments, {args.epochs} epochs")
    for front, speed in speeds.items():
        table.add_row(front, f"{speed:,.0f}", f"{speed / speeds['pixels']:.1f} times")
    Console().print(table)


if __name__ == "__main__":
    main()
