import gymnasium as gym
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv

from lavae_rl.rl.success import SuccessRate, success_rate


class Fixed(gym.Env):
    """Episodes of a given length and outcome."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, length, success):
        self._length, self._success = length, success

    def reset(self, *, seed=None, options=None):
        self._clock = 0
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self._clock += 1
        return np.zeros(1, np.float32), 0.0, self._clock == self._length, False, {"is_success": self._success}


def test_short_episodes_do_not_count_more():
    venv = DummyVecEnv([lambda: Fixed(1, True), lambda: Fixed(3, False)])
    seen: list[SuccessRate] = []
    measured = success_rate(
        lambda observations, deterministic: (np.zeros(2, int), None), venv, 9, on_episode=seen.append
    )
    assert (measured.successes, measured.episodes) == (5, 9)
    assert [rate.episodes for rate in seen] == list(range(1, 10))
    assert seen[-1] == measured


# Wilson's interval; values by Newcombe (1998), table I, and for 0 of 20.
@pytest.mark.parametrize(
    ("successes", "episodes", "interval"),
    [(81, 263, (0.2553, 0.3662)), (15, 148, (0.0624, 0.1605)), (0, 20, (0.0, 0.1611)), (1, 29, (0.0061, 0.1718))],
)
def test_interval_is_wilsons(successes, episodes, interval):
    assert SuccessRate(successes, episodes).ci95 == pytest.approx(interval, abs=2e-4)
