"""Data augmentation: what an agent is trained on in more variants than its environment shows."""

from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvStepReturn

from lavae_rl.shapes import Frames


class VecPermutedColors(VecEnvWrapper):
    """Frames of each episode with the channels red, green and blue in an order drawn for that episode.

    Objects of one colour stay of one colour, but which one it is changes from episode to episode. So a policy cannot
    learn which shapes come with which colours. Observations of ``venv`` are frames (height, width, 3).
    """

    def __init__(self, venv: VecEnv) -> None:
        super().__init__(venv)
        self._rng = np.random.default_rng()
        self._order = np.zeros((venv.num_envs, 3), int)

    def seed(self, seed: int | None = None) -> Any:
        """Seed the orders, too."""
        self._rng = np.random.default_rng(seed)
        return self.venv.seed(seed)

    def reset(self) -> Frames:
        """Reset all environments."""
        frames: Any = self.venv.reset()
        self._draw(np.arange(self.num_envs))
        return self._permuted(frames)

    def step_wait(self) -> VecEnvStepReturn:
        """Step; the last frame of an episode has the order of that episode."""
        frames, rewards, dones, infos = self.venv.step_wait()
        ended = np.flatnonzero(dones)
        for i in ended:
            infos[i]["terminal_observation"] = infos[i]["terminal_observation"][..., self._order[i]]
        self._draw(ended)
        return self._permuted(frames), rewards, dones, infos

    def _draw(self, envs: np.ndarray) -> None:
        for i in envs:
            self._order[i] = self._rng.permutation(3)

    def _permuted(self, frames: Any) -> Frames:
        return np.take_along_axis(frames, self._order[:, None, None], axis=3)
