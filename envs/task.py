"""The contract of a task: which sprites a scene has, where they stand, and what touching them brings.

A task is stateless: everything that changes is in the ``World``. It is written for a batch; a single environment is a
batch of one. ``AgentTask`` (agent.py) acts by moving, ``PointerTask`` (pointer.py) by pointing.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float, Int

from lavae_rl.data.scenes import grown_boxes
from lavae_rl.data.sources import load_bank
from lavae_rl.data.sprites import SpriteBank
from lavae_rl.shapes import Mask

from .layout import Location, Size, place
from .world import DISTRACTOR, NEUTRAL, TARGET, Sprites, World

Batch = Float[np.ndarray, " batch"]
Ended = Bool[np.ndarray, " batch"]


class Task(ABC):
    """The rules of one task. A target vanishes when it is touched; touching a distractor ends the episode.

    The docstring of a task, under Gymnasium's headings, documents its environments, together with those sections of its
    base classes' docstrings that it does not have itself.
    """

    data_set: ClassVar[str]
    default_objects: int = 4
    fewest_objects: ClassVar[int] = 1
    most_objects: ClassVar[int | None] = None
    first_location: ClassVar[tuple[int, int] | None] = None
    goal: ClassVar[int | None] = None
    """Side in pixels of the top left corner to which the agent pushes the target; None where it is to be touched."""
    shaping_weight: ClassVar[float] = 4.0
    """Weight of the shaping term: with 1, agents that move and agents that point learn far more slowly."""
    action_space: ClassVar["spaces.Space[Any]"]

    def __init__(self, mode: str = "train") -> None:
        if mode not in ("train", "test"):
            raise ValueError(f'expected mode "train" or "test", got {mode!r}')
        self.mode = mode
        self.bank: SpriteBank = load_bank(self.data_set)

    @abstractmethod
    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """Sprites of a new scene, and their roles; the agent or the cue, where there is one, comes first."""

    @abstractmethod
    def touch(self, world: World, actions: np.ndarray) -> Mask:
        """Act, and return which objects are touched."""

    @abstractmethod
    def shaped_step(self, world: World, actions: np.ndarray) -> tuple[Batch, Ended, Ended, Batch]:
        """One step as ``step`` returns it, and the shaping term, before ``shaping_weight`` multiplies it."""

    def chance(self, num_objects: int) -> float:
        """Success rate of touching objects in a random order; here, that of a single target."""
        return 1 / num_objects

    def current_targets(self, world: World) -> Mask:
        """The targets that may be touched now."""
        return world.targets

    def place(self, rng: np.random.Generator, sprites: Sprites, roles: Sprites, canvas_size: Size) -> list[Location]:
        """Locations for the sprites of a new scene."""
        low, high = self.reach(canvas_size)
        return place(rng, grown_boxes(self.bank, sprites).tolist(), low, high, self.first_location)

    def reach(self, canvas_size: Size) -> tuple[Location, Location]:
        """Smallest and largest (row, column) at which a whole patch is inside the canvas."""
        size, half = self.bank.size, self.bank.size // 2
        return (half, half), (canvas_size[0] - size + half, canvas_size[1] - size + half)

    def step(self, world: World, actions: np.ndarray) -> tuple[Batch, Ended, Ended]:
        """One step of all environments: sparse reward, success, failure."""
        touched = self.touch(world, actions)
        if not touched.any():
            return np.zeros(len(touched)), np.zeros(len(touched), bool), np.zeros(len(touched), bool)
        targets = self.current_targets(world)
        failed = (touched & ~targets).any(axis=1)
        taken = touched & targets & ~failed[:, None]
        world.remove(taken)
        return taken.sum(axis=1) / world.total, taken.any(axis=1) & ~world.targets.any(axis=1), failed


def with_roles(
    sprites: Int[np.ndarray, " objects"], targets: Bool[np.ndarray, " objects"], first: int
) -> tuple[Sprites, Sprites]:
    """Sprites and roles of a scene: objects, targets or not, after the agent or cue ``first``."""
    return np.append(first, sprites), np.append(NEUTRAL, np.where(targets, TARGET, DISTRACTOR))
