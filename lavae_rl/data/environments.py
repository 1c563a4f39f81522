"""Environments by id, with the frames that they show."""

import importlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.error import NameNotFound, NamespaceNotFound, UnregisteredEnv, VersionNotFound

PACKAGES: Mapping[str, tuple[str, str]] = {
    "ALE/": ("ale_py", "pip install 'lavae-rl[atari]'"),
    "MiniGrid-": ("minigrid", "pip install minigrid"),
    "BabyAI-": ("minigrid", "pip install minigrid"),
    "MinAtar/": ("minatar.gym", "pip install minatar"),
    "procgen": ("procgen2", "pip install procgen2"),
    "LAVAE/": ("lavae_rl", "pip install lavae-rl"),
}
"""Of environments whose id begins so, the module that registers them and the command that brings it."""


class Screen(NamedTuple):
    """An environment, and how its frames are read."""

    env: gym.Env[Any, Any]
    read: Callable[[Any], np.ndarray]
    """Returns the frame, uint8 (height, width[, channels]), that belongs to the latest observation."""


def open_screen(env_id: str, frame_key: str | None = None, **options: Any) -> Screen:
    """Make an environment with frames.

    Its frames are its observations where they are frames, those under ``frame_key`` in dictionaries, and otherwise
    what it renders. The module that registers the id is imported if it is one of ``PACKAGES``.

    Args:
        env_id: a Gymnasium id; ``"module:Name-v0"`` imports a module first.
        frame_key: key of the frame in dictionary observations.
        options: arguments of ``gymnasium.make``.

    Raises:
        ValueError: an id that nobody has registered, options that the environment does not take, or no frames.
    """
    register(env_id)
    env = _make(env_id, options)
    space = env.observation_space
    if isinstance(space, spaces.Dict):
        keys = [name for name, part in space.spaces.items() if is_frame(part)]
        if frame_key in keys:
            return Screen(env, lambda observation: observation[frame_key])
        if keys or frame_key is not None:
            raise ValueError(
                f"expected --frame-key of {keys} in the dictionary observations of {env_id}, got {frame_key!r}"
            )
    if is_frame(space):
        return Screen(env, np.asarray)
    modes = env.metadata.get("render_modes", [])
    env.close()
    if "rgb_array" not in modes:
        raise ValueError(
            f"expected an environment with frames: observations of {env_id} are {space}, and it renders {modes}; "
            'frames need an environment with render_mode="rgb_array"'
        )
    rendered = _make(env_id, {**options, "render_mode": "rgb_array"})
    return Screen(rendered, lambda _: np.asarray(rendered.render()))


def register(env_id: str) -> None:
    """Import the module that registers an id, if it is one of ``PACKAGES`` and installed."""
    for beginning, (module, _) in PACKAGES.items():
        if env_id.startswith(beginning) and find_spec(module.partition(".")[0]) is not None:
            found = importlib.import_module(module)
            if hasattr(found, "register_envs"):
                found.register_envs()
            gym.register_envs(found)


def is_frame(space: "spaces.Space[Any]") -> bool:
    """Whether a space holds frames: uint8, (height, width) or (height, width, 1 or 3), of at least 16 pixels a side."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return False
    sides = space.shape if len(space.shape) == 2 else space.shape[:2]
    return min(sides) >= 16 and (len(space.shape) == 2 or space.shape[2] in (1, 3))


def _make(env_id: str, options: Mapping[str, Any]) -> gym.Env[Any, Any]:
    try:
        return gym.make(env_id, **options)
    except (NameNotFound, NamespaceNotFound, VersionNotFound, UnregisteredEnv, ModuleNotFoundError) as error:
        remedies = [command for beginning, (_, command) in PACKAGES.items() if env_id.startswith(beginning)]
        remedy = remedies[0] if remedies else f'install the package that registers it, and write "module:{env_id}"'
        raise ValueError(f"no environment {env_id!r} is registered ({error}): {remedy}") from error
    except TypeError as error:
        raise ValueError(f"{env_id} does not take the options {dict(options)}: {error}") from error
