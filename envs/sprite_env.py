"""Gymnasium's interface to the tasks: a single environment and a vector environment over one simulation."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import UInt8

from lavae_rl.actions import as_actions
from lavae_rl.data.scenes import render_scenes
from lavae_rl.options import check_names

from .screen import WITHOUT_WINDOWS, has_screen, screen_problem
from .simulation import RENDER_MODES, Simulation, names_of_options
from .task import Task

RENDER_SIZE = 384
"""Frames are enlarged by a whole number to at most this many pixels a side."""

VECTOR_MODE = "vector_kwargs=dict({}=...)"
"""Argument of ``gymnasium.make_vec`` for the autoreset mode where it joins single environments."""
_OF_TOKENS = {"{}=... of LAVAEObservation, or of the id with Tokens": ["model", "flatten", "tracking", "preprocessing"]}

_warned: list[bool] = []


class SpriteEnv(gym.Env[Any, Any]):
    """One environment of a task; its options are those of ``Simulation``."""

    metadata: dict[str, Any] = {"render_modes": list(RENDER_MODES), "render_fps": 10}  # noqa: RUF012

    def __init__(self, task: type[Task], **options: Any) -> None:
        check_names(
            f"{task.__name__}Env", options, names_of_options(task), {VECTOR_MODE: ["autoreset_mode"], **_OF_TOKENS}
        )
        self.simulation = Simulation(task, 1, **options)
        self.observation_space, self.action_space = self.simulation.space, task.action_space
        self.render_mode, self.chance = self.simulation.render_mode, self.simulation.chance

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode with a new scene."""
        super().reset(seed=seed)
        self.simulation.begin(0, self.np_random)
        self._show()
        return _single(self.simulation.observe(), 0), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Act; ``info["is_success"]`` is True at the step that solves the task.

        Raises:
            ValueError: an action that is not in the space.
        """
        rewards, over, success = self.simulation.step(as_actions(action, self.action_space)[None])
        self._show()
        info = {"is_success": bool(success[0])}
        return _single(self.simulation.observe(), 0), float(rewards[0]), bool(over[0]), False, info

    def render(self) -> UInt8[np.ndarray, "height width 3"] | None:
        """The frame, enlarged, as RGB; None in mode "human", where the window shows every step."""
        return pictures(self.simulation)[0] if self.render_mode == "rgb_array" else None

    def _show(self) -> None:
        if self.render_mode != "human":
            return
        if not has_screen():
            _warn(screen_problem())
            return
        try:
            cv2.imshow(self.spec.id if self.spec else type(self).__name__, pictures(self.simulation)[0, ..., ::-1])
            cv2.waitKey(1)
        except cv2.error:
            _warn(WITHOUT_WINDOWS)

    def close(self) -> None:
        """Close the window."""
        if self.render_mode == "human" and has_screen() and not _warned:
            cv2.destroyAllWindows()


class SpriteVectorEnv(VectorEnv):
    """Many environments of a task as one batch, step for step equal to as many ``SpriteEnv`` with the same seeds.

    Episodes are truncated after ``max_episode_steps``; ``options`` are those of ``Simulation``.
    """

    def __init__(
        self,
        task: type[Task],
        num_envs: int = 1,
        max_episode_steps: int | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
        **options: Any,
    ) -> None:
        known = [*names_of_options(task), "max_episode_steps", "autoreset_mode"]
        check_names(f"{task.__name__}VectorEnv", options, known, _OF_TOKENS)
        if num_envs < 1:
            raise ValueError(f"expected num_envs of at least 1, got {num_envs}")
        if options.get("render_mode") == "human":
            raise ValueError('a vector environment renders "rgb_array"; for a window make a single environment')
        self.simulation = Simulation(task, num_envs, **options)
        self.num_envs, self.render_mode, self.chance = num_envs, self.simulation.render_mode, self.simulation.chance
        self.single_observation_space, self.single_action_space = self.simulation.space, task.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        modes = [each.value for each in AutoresetMode]
        if autoreset_mode not in [*modes, *AutoresetMode]:
            raise ValueError(f"{autoreset_mode!r} is not a valid AutoresetMode: expected {', '.join(modes)}")
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = {**SpriteEnv.metadata, "autoreset_mode": self._mode}
        self._limit = np.inf if max_episode_steps is None else max_episode_steps
        self._spec: EnvSpec | None = None
        self._steps, self._done, self._begun = np.zeros(num_envs, np.int64), *np.zeros((2, num_envs), bool)
        self._rngs = [seeding.np_random(None)[0] for _ in range(num_envs)]

    @property
    def spec(self) -> EnvSpec | None:
        """The specification that ``gymnasium.make_vec`` used, with the time limit given there in place of the id's."""
        return self._spec

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        limit = None if self._limit == np.inf else int(self._limit)
        self._spec = None if spec is None else replace(spec, max_episode_steps=limit)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes in all environments, or in those of ``options["reset_mask"]``, bool (num_envs,).

        ``seed`` is a sequence of one per environment, or the first of seed, seed + 1, ...
        """
        seeds = [seed + i for i in range(self.num_envs)] if isinstance(seed, int) else seed or [None] * self.num_envs
        if len(seeds) != self.num_envs:
            raise ValueError(f"expected one seed per environment, {self.num_envs}, got {len(seeds)}")
        mask = (options or {}).get("reset_mask", np.ones(self.num_envs, bool))
        if not isinstance(mask, np.ndarray) or mask.dtype != bool or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"expected reset_mask as a bool array ({self.num_envs},), not all False, got {mask}")
        for i in np.flatnonzero(mask).tolist():
            if seeds[i] is not None:
                self._rngs[i] = seeding.np_random(seeds[i])[0]
        self._begin(np.flatnonzero(mask))
        return self.simulation.observe(), {}

    def step(self, actions: Any) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Step all environments; those that are done begin anew as the autoreset mode demands.

        Raises:
            ResetNeeded: an environment was never reset.
            ValueError: an environment is done and was not reset (mode DISABLED), or an action is not in the space.
        """
        checked = as_actions(actions, self.single_action_space, self.num_envs)
        if not self._begun.all():
            raise gym.error.ResetNeeded("cannot step an environment before its first reset: call reset first")
        ended = self._done.copy()
        if self._mode == AutoresetMode.DISABLED and ended.any():
            done = np.flatnonzero(ended).tolist()
            raise ValueError(f"environments {done} are done: reset them with reset_mask first")
        rewards, terminations, success = self.simulation.step(checked)
        self._steps += 1
        truncations = self._steps >= self._limit
        if self._mode == AutoresetMode.NEXT_STEP and ended.any():
            # The step of an environment that was done is the beginning of its next episode.
            self._begin(np.flatnonzero(ended))
            for values in (rewards, terminations, truncations, success):
                values[ended] = 0
        self._done = terminations | truncations
        infos: dict[str, Any] = {}
        stepped = ~ended  # the others have only begun, so have those that SAME_STEP resets: they have no info
        if self._mode == AutoresetMode.SAME_STEP and self._done.any():
            stepped = ~self._done
            infos = self._end(success)
        if stepped.any():
            infos |= {"is_success": success & stepped, "_is_success": stepped}
        return self.simulation.observe(), rewards, terminations, truncations, infos

    def _end(self, success: np.ndarray) -> dict[str, Any]:
        """Begin new episodes where one is done, and return how those ended."""
        done = self._done.copy()
        rows = np.flatnonzero(done)
        last, final = self.simulation.observe(rows), np.full(self.num_envs, None, dtype=object)
        for k, i in enumerate(rows):
            final[i] = _single(last, k)
        final_info = {"is_success": success & done, "_is_success": done.copy()}
        self._begin(rows)
        return {"final_obs": final, "_final_obs": done, "final_info": final_info, "_final_info": done.copy()}

    def _begin(self, envs: np.ndarray) -> None:
        for i in envs.tolist():
            self.simulation.begin(i, self._rngs[i])
        self._steps[envs], self._done[envs], self._begun[envs] = 0, False, True

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Enlarged frames of all environments, as RGB."""
        return tuple(pictures(self.simulation)) if self.render_mode == "rgb_array" else None


def _single(observations: Any, index: int) -> Any:
    if isinstance(observations, dict):
        return {key: value[index] for key, value in observations.items()}
    return observations[index]


def pictures(simulation: Simulation) -> UInt8[np.ndarray, "batch rows columns 3"]:
    """Frames of all environments as RGB, enlarged so that each pixel is a block."""
    frames = render_scenes(simulation.world.scenes, simulation.world.bank)
    block = max(1, RENDER_SIZE // max(frames.shape[1:3]))
    rgb = np.broadcast_to(frames, (*frames.shape[:3], 3))
    return rgb.repeat(block, axis=1).repeat(block, axis=2)


def _warn(problem: str | None) -> None:
    """Log once why a window shows nothing."""
    if not _warned:
        _warned.append(True)
        remedy = 'use render_mode="rgb_array" for pictures'
        logging.getLogger(__name__).warning('%s: render_mode "human" shows nothing; %s', problem, remedy)
