"""Environments that are known by their screen alone: many in one, with the views that agents are trained on."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import ReshapeObservation, ResizeObservation

from lavae_rl.data.environments import Screen, open_screen
from lavae_rl.rl import atari
from lavae_rl.rl.environments import is_atari
from lavae_rl.rl.observations import Env

SIDE = 84
"""Largest side in pixels of frames that convolutional policies read; larger ones are resized to it."""


class ScreenObservation(gym.ObservationWrapper[Any, Any, Any]):
    """The frames of an environment as its observations, whether it observes or renders them."""

    def __init__(self, screen: Screen) -> None:
        super().__init__(screen.env)
        self._read = screen.read
        observation, _ = screen.env.reset(seed=0)
        self.observation_space = gym.spaces.Box(0, 255, self._read(observation).shape, np.uint8)

    def observation(self, observation: Any) -> np.ndarray:
        """The frame that belongs to an observation."""
        return np.array(self._read(observation))


def make_screens(env_id: str, view: str, num_envs: int, mode: AutoresetMode) -> VectorEnv:
    """Make many environments in one.

    Args:
        env_id: id of an environment.
        view: "frames" as they are, "pixels" as convolutional policies read them, or "oracle".
        num_envs: number of environments.
        mode: autoreset mode.

    Raises:
        ValueError: an environment that cannot be made or has no such view.
    """
    if is_atari(env_id):
        return atari.make_games(env_id, view, num_envs, mode)
    makers = [partial(make_screen, env_id, view)] * num_envs
    return SyncVectorEnv(makers, autoreset_mode=mode)


def make_screen(env_id: str, view: str, render_mode: str | None = None) -> Env:
    """Make a single environment; see ``make_screens``."""
    if is_atari(env_id):
        return atari.make_game(env_id, view, render_mode)
    if view == "oracle":
        raise ValueError(f"expected observation lavae or pixels, got oracle: {env_id} does not tell its true objects")
    options: Mapping[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
    env: Env = ScreenObservation(open_screen(env_id, **options))
    height, width = env.observation_space.shape[:2]  # type: ignore[index]
    if view == "pixels" and len(env.observation_space.shape or ()) == 2:
        env = ReshapeObservation(env, (height, width, 1))  # convolutional policies read channels
    if view == "pixels" and max(height, width) > SIDE:
        env = ResizeObservation(env, (SIDE, SIDE))
    return env
