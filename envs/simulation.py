"""A batch of environments as arrays: how scenes begin, how they are observed and what a step gives. No episodes yet."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Int

from lavae_rl.data.scenes import Scenes, render_scenes
from lavae_rl.shapes import Frames

from .oracle import OracleTokens
from .task import Batch, Ended, Task
from .world import World

REWARDS = ("sparse", "shaped")
RENDER_MODES = ("human", "rgb_array")


class Simulation:
    """The options and the state of ``num_envs`` environments of one task.

    Args:
        num_objects: number of objects beside the agent or cue, or an inclusive range (low, high), from which each
            episode draws; None is the task's own.
        mode: "train", or "test" for what training never shows; each task defines what that is.
        reward: "sparse", or "shaped". Agents that move gain the change of a potential (potential-based shaping, Ng et
            al. 1999, without a discount); those that point pay for the distance by which they miss. Each task states
            how much.
        canvas_size: (height, width) in pixels, or the side of a square; at least twice the side of a sprite's patch.
        observation: a key of ``RENDERERS``. "pixels" are frames, uint8 (height, width, channels), each value 0 or 255;
            "oracle" is ``{"tokens": (K, 2 + D) float32, "mask": (K,) int8}``, see ``OracleTokens``; "both" has the
            frame beside them, under "frame".
        max_objects: number K of slots for tokens of the true state.
        render_mode: None, "rgb_array" or "human" (a window; single environments only).
        task_options: what the task itself offers, such as ``variant``.

    Raises:
        ValueError: an option is out of range, alone or together with others; the message names what was expected.
        TypeError: the task has no such option.
    """

    def __init__(
        self,
        task: type[Task],
        num_envs: int,
        num_objects: int | Sequence[int] | None = None,
        mode: str = "train",
        reward: str = "sparse",
        canvas_size: int | Sequence[int] = (64, 64),
        observation: str = "pixels",
        max_objects: int = 8,
        render_mode: str | None = None,
        **task_options: Any,
    ) -> None:
        _check_choice("reward of", reward, REWARDS)
        _check_choice("observation of", observation, RENDERERS)
        if render_mode is not None:
            _check_choice("render_mode None or one of", render_mode, RENDER_MODES)
        self.task = task(mode, **task_options)
        self.range = _object_range(self.task, num_objects)
        self.canvas_size = _canvas_size(self.task, canvas_size)
        self.max_objects, self.render_mode, self._shaped = max_objects, render_mode, reward == "shaped"
        slots = len(self.task.draw(np.random.default_rng(0), self.range[1])[0])
        self.world = World(self.task.bank, num_envs, slots, self.canvas_size)
        self.space, self._render = RENDERERS[observation](self)
        self.chance = float(np.mean([self.task.chance(number) for number in range(self.range[0], self.range[1] + 1)]))
        """Success rate of touching objects at random (the random baseline), a mean over the numbers of objects."""

    def begin(self, env: int, rng: np.random.Generator) -> None:
        """Put a new scene into one environment, drawn from its own generator."""
        number = int(rng.integers(self.range[0], self.range[1] + 1))
        sprites, roles = self.task.draw(rng, number)
        self.world.begin(env, sprites, roles, self.task.place(rng, sprites, roles, self.canvas_size))

    def step(self, actions: np.ndarray) -> tuple[Batch, Ended, Ended]:
        """One step of all environments: reward, whether the task is over, whether with success."""
        if self._shaped:
            reward, success, failure, shaping = self.task.shaped_step(self.world, actions)
            reward = reward + self.task.shaping_weight * shaping
        else:
            reward, success, failure = self.task.step(self.world, actions)
        return reward, success | failure, success

    def observe(self, envs: Int[np.ndarray, " selected"] | slice = slice(None)) -> Any:
        """Observations of some environments, new arrays each time."""
        return self._render(self.world.scenes[envs])


def names_of_options(task: type[Task]) -> list[str]:
    """Names of the options of a task's environments: those of ``Simulation``, and what the task itself offers."""
    parameters = {**signature(Simulation).parameters, **signature(task).parameters}
    return [name for name in parameters if name not in ("task", "num_envs", "task_options")]


Renderer = tuple["spaces.Space[Any]", Callable[[Scenes], Any]]
"""The space of one environment's observations, and a function from a batch of scenes to a batch of observations."""


def _pixels(simulation: Simulation) -> Renderer:
    bank = simulation.task.bank
    frame = spaces.Box(0, 255, (*simulation.canvas_size, bank.channels), np.uint8)
    return frame, partial(render_scenes, bank=bank)


def _oracle(simulation: Simulation) -> tuple["spaces.Space[Any]", OracleTokens]:
    slots, most = simulation.world.role.shape[1], simulation.max_objects
    if slots > most:
        raise ValueError(f"{simulation.range[1]} objects need max_objects of at least {slots}, got {most}")
    tokens = OracleTokens(simulation.task.bank, most)
    return tokens.space, tokens


def _both(simulation: Simulation) -> Renderer:
    (frame, render), (_, tokens) = _pixels(simulation), _oracle(simulation)
    return spaces.Dict({"frame": frame, **tokens.space}), partial(_with_frames, render, tokens)


def _with_frames(render: Callable[[Scenes], Frames], tokens: OracleTokens, scenes: Scenes) -> dict[str, np.ndarray]:
    return {"frame": render(scenes), **tokens(scenes)}


RENDERERS: Mapping[str, Callable[[Simulation], Renderer]] = {"pixels": _pixels, "oracle": _oracle, "both": _both}
"""Makers of renderers, by the value of ``observation``."""


def _check_choice(what: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ValueError(f"expected {what} {', '.join(choices)}, got {value!r}")


def _object_range(task: Task, num_objects: int | Sequence[int] | None) -> tuple[int, int]:
    given = task.default_objects if num_objects is None else num_objects
    pair = [given] * 2 if isinstance(given, int | np.integer) else list(given)
    least, most = task.fewest_objects, task.most_objects
    if len(pair) != 2 or not least <= pair[0] <= pair[1] <= (most or pair[1]):
        limits = f"of at least {least} and at most {most}" if most else f"of at least {least}"
        raise ValueError(
            f"expected num_objects as a number or a pair (low, high), low <= high, {limits}, got {num_objects}"
        )
    return pair[0], pair[1]


def _canvas_size(task: Task, canvas_size: int | Sequence[int]) -> tuple[int, int]:
    least = 2 * task.bank.size
    sides = [canvas_size] * 2 if isinstance(canvas_size, int | np.integer) else list(canvas_size)
    if len(sides) != 2 or min(sides) < least:
        raise ValueError(f"expected canvas_size as (height, width) of at least {least} pixels, got {canvas_size}")
    return int(sides[0]), int(sides[1])
