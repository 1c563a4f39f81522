"""Success rates of agents, with their confidence intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from lavae_rl.rl.scores import Episode, play_episodes


@dataclass(frozen=True)
class SuccessRate:
    """Successes among episodes."""

    successes: int
    episodes: int

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> "SuccessRate":
        """The success of episodes."""
        return cls(sum(episode.success for episode in episodes), len(episodes))

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
    """Measure the success of a policy, see ``play_episodes``.

    Episodes have ``is_success`` in the info of their last step. ``on_episode`` is called after each with the success
    so far.

    Raises:
        ValueError: less than one episode.
    """
    show = None if on_episode is None else lambda played: on_episode(SuccessRate.of(played))
    return SuccessRate.of(play_episodes(predict, venv, episodes, deterministic, show))
