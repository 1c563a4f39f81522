"""Success rates of agents, with their confidence intervals."""

from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv


@dataclass(frozen=True)
class SuccessRate:
    """Successes among episodes."""

    successes: int
    episodes: int

    @property
    def rate(self) -> float:
        """Share of episodes that succeeded."""
        return self.successes / self.episodes

    @property
    def ci95(self) -> tuple[float, float]:
        """Wilson's 95 % confidence interval."""
        n, p, z = self.episodes, self.rate, 1.96
        centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return max(0.0, centre - half), min(1.0, centre + half)


def success_rate(
    predict: Callable[..., tuple[np.ndarray, Any]],
    venv: VecEnv,
    episodes: int,
    deterministic: bool = True,
    on_episode: Callable[[SuccessRate], None] | None = None,
) -> SuccessRate:
    """Measure the success of a policy, ``agent.predict``, that takes the likeliest actions or else samples them.

    Each environment runs a number of episodes that is fixed before, since otherwise short ones would count more. They
    are reset first, and have ``is_success`` in the info of the last step of an episode. ``on_episode`` is called after
    each with the success so far.

    Raises:
        ValueError: less than one episode.
    """
    if episodes < 1:
        raise ValueError(f"expected at least one episode, got {episodes}")
    left = episodes // venv.num_envs + (np.arange(venv.num_envs) < episodes % venv.num_envs)
    successes = 0
    observations: Any = venv.reset()
    while left.any():
        actions, _ = predict(observations, deterministic=deterministic)
        observations, _, dones, infos = venv.step(actions)
        for i in np.flatnonzero(dones & (left > 0)):
            left[i] -= 1
            successes += bool(infos[i]["is_success"])
            if on_episode is not None:
                on_episode(SuccessRate(successes, episodes - int(left.sum())))
    return SuccessRate(successes, episodes)
