"""Episodes that agents play, and their mean return with its confidence interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from scipy import stats
from stable_baselines3.common.vec_env import VecEnv


class Episode(NamedTuple):
    """The result of an episode."""

    total: float
    """Sum of its rewards."""
    success: bool
    """True if it ended with ``is_success``; False where the environment reports none."""
    steps: int
    """Steps from its reset to its end."""


@dataclass(frozen=True)
class MeanReturn:
    """Returns of episodes: sums of rewards, undiscounted."""

    returns: tuple[float, ...]

    @classmethod
    def of(cls, episodes: Sequence[Episode]) -> "MeanReturn":
        """The mean return of episodes."""
        return cls(tuple(episode.total for episode in episodes))

    @property
    def mean(self) -> float:
        """Mean return."""
        return fmean(self.returns)

    @property
    def ci95(self) -> tuple[float, float]:
        """Student's 95 % confidence interval of the mean; the mean itself where nothing varies."""
        if len(set(self.returns)) == 1:
            return self.mean, self.mean
        error = float(stats.sem(self.returns))
        low, high = stats.t.interval(0.95, len(self.returns) - 1, self.mean, error)
        return float(low), float(high)


def play_episodes(
    predict: Callable[..., tuple[np.ndarray, Any]],
    venv: VecEnv,
    episodes: int,
    deterministic: bool = True,
    on_episode: Callable[[Sequence[Episode]], None] | None = None,
) -> Sequence[Episode]:
    """Play episodes with a policy, ``agent.predict``, that takes the likeliest actions or else samples them.

    Each environment plays a number of episodes that is fixed before, since otherwise short ones would count more. They
    are reset first. ``on_episode`` is called after each with all so far.

    Raises:
        ValueError: less than one episode.
    """
    if episodes < 1:
        raise ValueError(f"expected at least one episode, got {episodes}")
    left = episodes // venv.num_envs + (np.arange(venv.num_envs) < episodes % venv.num_envs)
    played: list[Episode] = []
    totals, steps = np.zeros(venv.num_envs), np.zeros(venv.num_envs, int)
    observations: Any = venv.reset()
    memory: dict[str, Any] = {}  # of recurrent policies
    while left.any():
        actions, state = predict(observations, deterministic=deterministic, **memory)
        observations, rewards, dones, infos = venv.step(actions)
        memory = {} if state is None else {"state": state, "episode_start": dones}
        totals += rewards
        steps += 1
        for i in np.flatnonzero(dones & (left > 0)):
            left[i] -= 1
            played.append(Episode(float(totals[i]), bool(infos[i].get("is_success", False)), int(steps[i])))
            if on_episode is not None:
                on_episode(played)
        totals[dones] = steps[dones] = 0
    return played
