"""A batch of environments as arrays: how scenes begin, how they are seen and what a step gives. No episodes yet."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Int

from lavae_rl.data.scenes import Scenes, render_scenes
from lavae_rl.shapes import Frames

from .oracle import OracleTokens
from .task import Batch, Ended, Task
from .world import ABSENT, World

VIEWS = ("pixels", "oracle", "both")
REWARDS = ("sparse", "shaped")


class Simulation:
    """The options and the state of ``num_envs`` environments of one task; ``SpriteEnv`` says what they mean.

    Raises:
        ValueError: options that make no sense, alone or together.
    """

    def __init__(
        self,
        task: Task,
        num_envs: int,
        num_objects: int | Sequence[int] | None,
        reward: str,
        canvas_size: Sequence[int],
        observation: str,
        max_objects: int,
    ) -> None:
        if reward not in REWARDS:
            raise ValueError(f"expected reward of {', '.join(REWARDS)}, got {reward!r}")
        if observation not in VIEWS:
            raise ValueError(f"expected observation of {', '.join(VIEWS)}, got {observation!r}")
        self.task = task
        self.range = _object_range(task, num_objects)
        self.canvas_size = _canvas_size(task, canvas_size)
        self._view, self._shaped = observation, reward == "shaped"
        self._oracle = OracleTokens(task.bank, max_objects)
        slots = len(task.draw(np.random.default_rng(0), self.range[1])[0])
        if slots > max_objects and observation != "pixels":
            raise ValueError(f"{self.range[1]} objects need max_objects of at least {slots}, got {max_objects}")
        scenes = Scenes(
            np.zeros((num_envs, slots), np.int32),
            np.zeros((num_envs, slots, 2), np.int16),
            np.zeros(num_envs, np.int64),
            self.canvas_size,
        )
        self.world = World(
            scenes=scenes,
            role=np.full((num_envs, slots), ABSENT),
            box=np.zeros((num_envs, slots, 4), np.int64),
            total=np.ones(num_envs, np.int64),
            hand=np.zeros((num_envs, 2)),
            bank=task.bank,
            ways=np.full(num_envs, None),
        )

    def space(self) -> "spaces.Space[Any]":
        """Of one environment's observations."""
        frame = spaces.Box(0, 255, (*self.canvas_size, self.task.bank.channels), np.uint8)
        if self._view == "pixels":
            return frame
        oracle = self._oracle.spaces()
        return spaces.Dict(oracle if self._view == "oracle" else {"frame": frame, **oracle})

    def chance(self) -> float:
        """Success rate of touching objects at random, over the counts of objects."""
        low, high = self.range
        return float(np.mean([self.task.chance(number) for number in range(low, high + 1)]))

    def begin(self, env: int, rng: np.random.Generator) -> None:
        """A new scene for one environment, from its own generator."""
        number = int(rng.integers(self.range[0], self.range[1] + 1))
        sprites, roles = self.task.draw(rng, number)
        self.world.begin(env, sprites, roles, self.task.place(rng, sprites, roles, self.canvas_size))

    def step(self, actions: np.ndarray) -> tuple[Batch, Ended, Ended]:
        """One step of all environments: reward, whether the task is over, whether with success."""
        if not self._shaped:
            reward, success, failure = self.task.step(self.world, actions)
            return reward, success | failure, success
        reward, success, failure, guidance = self.task.guided_step(self.world, actions)
        return reward + self.task.shaping * guidance, success | failure, success

    def frames(self, envs: Int[np.ndarray, " selected"] | slice = slice(None)) -> Frames:
        """Frames of some environments."""
        return render_scenes(self.world.scenes[envs], self.world.bank)

    def observe(self, envs: Int[np.ndarray, " selected"] | slice = slice(None)) -> Any:
        """Observations of some environments, new arrays each time."""
        if self._view == "pixels":
            return self.frames(envs)
        tokens = self._oracle(self.world.scenes[envs])
        return tokens if self._view == "oracle" else {"frame": self.frames(envs), **tokens}


def _object_range(task: Task, num_objects: int | Sequence[int] | None) -> tuple[int, int]:
    if num_objects is None:
        num_objects = task.default_objects
    pair = [num_objects] * 2 if isinstance(num_objects, int | np.integer) else list(num_objects)
    most = np.inf if task.most_objects is None else task.most_objects
    if len(pair) != 2 or not task.fewest_objects <= pair[0] <= pair[1] <= most:
        limit = "" if task.most_objects is None else f" and at most {most}"
        raise ValueError(
            f"expected num_objects as a number or a pair (low, high), low <= high, of at least {task.fewest_objects}"
            f"{limit}, got {num_objects}"
        )
    return pair[0], pair[1]


def _canvas_size(task: Task, canvas_size: Sequence[int]) -> tuple[int, int]:
    if len(canvas_size) != 2 or min(canvas_size) < 2 * task.bank.size:
        raise ValueError(
            f"expected canvas_size as (height, width) of at least {2 * task.bank.size} pixels, got {canvas_size}"
        )
    return canvas_size[0], canvas_size[1]
