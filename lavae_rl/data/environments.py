"""Environments by id, with the frames that they show."""

import importlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

PACKAGES: Mapping[str, tuple[str, str]] = {
    "ALE/": ("ale_py", "pip install 'lavae-rl[atari]'"),
    "MiniGrid-": ("minigrid", "pip install minigrid"),
    "BabyAI-": ("minigrid", "pip install minigrid"),
    "MinAtar/": ("minatar.gym", "pip install minatar"),
    "procgen": ("procgen2", "pip install procgen2"),
    "LAVAE/": ("lavae_rl", "pip install lavae-rl"),
}
"""Beginnings of ids, with the module that registers such environments and the command that installs it."""

_MIN_SIDE = 16
"""Side in pixels under which uint8 arrays are taken for symbols, such as the 7 x 7 cells of MiniGrid."""


class Screen(NamedTuple):
    """An environment, and how its frames are read."""

    env: gym.Env[Any, Any]
    read: Callable[[Any], np.ndarray]
    """Return the frame, uint8 (height, width[, channels]), that belongs to the latest observation."""


def open_screen(env_id: str, frame_key: str | None = None, **options: Any) -> Screen:
    """Make an environment with frames.

    Its frames are its observations where they are frames, those under ``frame_key`` in dictionaries, and otherwise
    what it renders.

    Args:
        env_id: a Gymnasium id; see ``make_env``.
        frame_key: key of the frame in dictionary observations.
        options: arguments of ``gymnasium.make``.

    Raises:
        ValueError: an environment that cannot be made, or without frames.
    """
    env = make_env(env_id, **options)
    space = env.observation_space
    parts = dict(space.spaces) if isinstance(space, spaces.Dict) else {}
    keys = [name for name, part in parts.items() if is_frame(part)]
    if frame_key in keys:
        return Screen(env, lambda observation: np.asarray(observation[frame_key]))
    if keys or frame_key is not None:
        env.close()
        found = f"of {keys}" if keys else f"to be left out: {env_id} has no dictionary observations with frames"
        raise ValueError(f"expected --frame-key {found}, got {frame_key!r} for {space}")
    if is_frame(space):
        return Screen(env, np.asarray)
    env.close()
    modes = env.metadata.get("render_modes", [])
    if "rgb_array" not in modes:
        raise ValueError(
            f'expected an environment with frames, as observations or by render_mode="rgb_array"; '
            f"the observations of {env_id} are {space}, and its render modes are {modes}"
        )
    rendered = make_env(env_id, **options | {"render_mode": "rgb_array"})
    return Screen(rendered, lambda _: _as_bytes(rendered.render(), env_id))


def make_env(env_id: str, **options: Any) -> gym.Env[Any, Any]:
    """Make an environment by its id, after importing the module that registers it if that is one of ``PACKAGES``.

    Args:
        env_id: a Gymnasium id; ``"module:Name-v0"`` imports a module first.
        options: arguments of ``gymnasium.make``.

    Raises:
        ValueError: an id that no package has registered, or options that the environment does not take.
    """
    register(env_id)
    try:
        # The checker warns of faults of other people's environments, such as MinAtar's bool observations.
        return gym.make(env_id, disable_env_checker=True, **options)
    except (gym.error.UnregisteredEnv, ModuleNotFoundError) as error:
        raise _unknown(env_id, error) from error
    except TypeError as error:
        raise ValueError(f"{env_id} does not take the options {options}: {error}") from error
    except gym.error.Error as error:
        raise ValueError(f"{env_id} cannot be made: {error}") from error


def find_spec_of(env_id: str) -> EnvSpec:
    """The specification of an environment, see ``make_env``.

    Raises:
        ValueError: an id that no package has registered.
    """
    register(env_id)
    module, _, name = env_id.rpartition(":")
    try:
        if module:
            importlib.import_module(module)
        return gym.spec(name)
    except (gym.error.Error, ModuleNotFoundError) as error:
        raise _unknown(env_id, error) from error


def register(env_id: str) -> None:
    """Import the module that registers an id, if it is one of ``PACKAGES`` and installed."""
    for beginning, (module, _) in PACKAGES.items():
        known = any(name.startswith(beginning) for name in gym.registry)
        if env_id.startswith(beginning) and not known and _is_installed(module):
            found = importlib.import_module(module)
            if not any(name.startswith(beginning) for name in gym.registry) and hasattr(found, "register_envs"):
                found.register_envs()


def is_frame(space: "spaces.Space[Any]") -> bool:
    """Tell if a space holds frames: uint8, (height, width) or (height, width, 1 or 3), of at least 16 pixels a side."""
    if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(space.shape) not in (2, 3):
        return False
    return min(space.shape[:2]) >= _MIN_SIDE and space.shape[2:] in ((), (1,), (3,))


def _is_installed(module: str) -> bool:
    return find_spec(module.partition(".")[0]) is not None


def _unknown(env_id: str, error: Exception) -> ValueError:
    return ValueError(f"expected the id of an environment, got {env_id!r} ({error}); {_remedy(env_id)}")


def _remedy(env_id: str) -> str:
    for beginning, (module, command) in PACKAGES.items():
        if env_id.startswith(beginning):
            return f"check its spelling ({module} is installed)" if _is_installed(module) else f"it may need {command}"
    if ":" in env_id:
        return "check its spelling, or install the package before the colon"
    return f'check its spelling, or install the package that registers it and write "package:{env_id}"'


def _as_bytes(picture: Any, env_id: str) -> np.ndarray:
    """A rendered frame as uint8; some environments, such as MinAtar, render floats of 0 to 1."""
    frame = np.asarray(picture)
    if np.issubdtype(frame.dtype, np.floating) and frame.size and frame.min() >= 0 and frame.max() <= 1:
        return np.round(frame * 255).astype(np.uint8)
    if frame.dtype != np.uint8:
        raise ValueError(f"expected {env_id} to render frames as uint8, got {frame.dtype}")
    return frame
