"""What tasks have in common: how sprites are chosen, how to act, and what touching an object means.

A task is stateless: everything that changes is in the ``World``. It is written for a batch; a single environment is a
batch of one.
"""

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from jaxtyping import Bool, Float, Int

from lavae_rl.data.scenes import grown_boxes
from lavae_rl.data.sprites import SpriteBank
from lavae_rl.shapes import Mask

from .layout import Lattice, Location, Placed, place
from .world import NEUTRAL, RIGHT, WRONG, Sprites, World, shared_bank

Batch = Float[np.ndarray, " batch"]
Ended = Bool[np.ndarray, " batch"]

STEP = 4
"""Pixels that the agent moves at a time."""

MOVES = np.array([[0, 0], [-STEP, 0], [STEP, 0], [0, -STEP], [0, STEP]])
"""Stay, up, down, left, right: (row, column) in pixels."""

_LAYOUTS = 200


class Task(ABC):
    """The rules of one task. Right objects vanish when they are touched; a wrong one ends the episode.

    Args:
        mode: "train", or "test" for what training never shows; each task says what that is.
    """

    data_set: ClassVar[str]
    default_objects: int = 4
    fewest_objects: ClassVar[int] = 1
    most_objects: ClassVar[int | None] = None
    first_location: ClassVar[tuple[int, int] | None] = None
    shaping: ClassVar[float] = 4.0
    """Weight of what shaped rewards add: with 1, agents that move and agents that point learn far more slowly."""
    action_space: ClassVar["spaces.Space[Any]"]

    def __init__(self, mode: str = "train") -> None:
        if mode not in ("train", "test"):
            raise ValueError(f'expected mode "train" or "test", got {mode!r}')
        self.mode = mode
        self.bank: SpriteBank = shared_bank(self.data_set)

    @abstractmethod
    def draw(self, rng: np.random.Generator, num_objects: int) -> tuple[Sprites, Sprites]:
        """Sprites of a new scene, and their roles; first of all the agent or the cue, where there is one."""

    @abstractmethod
    def chance(self, num_objects: int) -> float:
        """Success rate of touching one random object after another."""

    @abstractmethod
    def touch(self, world: World, actions: np.ndarray) -> Mask:
        """Acts, and says which objects are touched."""

    def wanted(self, world: World) -> Mask:
        """The right objects to touch now."""
        return world.right

    def place(
        self, rng: np.random.Generator, sprites: Sprites, roles: Sprites, canvas_size: tuple[int, int]
    ) -> list[Location]:
        """Locations for the sprites of a new scene."""
        low, high = self.reach(canvas_size)
        return place(rng, grown_boxes(self.bank, sprites).tolist(), low, high, self.first_location)

    def reach(self, canvas_size: tuple[int, int]) -> tuple[Location, Location]:
        """Smallest and largest (row, column) at which a whole patch is inside the canvas."""
        size, half = self.bank.size, self.bank.size // 2
        return (half, half), (canvas_size[0] - size + half, canvas_size[1] - size + half)

    def step(self, world: World, actions: np.ndarray) -> tuple[Batch, Ended, Ended]:
        """One step of all environments.

        Returns:
            Sparse reward, success, failure.
        """
        touched = self.touch(world, actions)
        if not touched.any():
            return np.zeros(len(touched)), np.zeros(len(touched), bool), np.zeros(len(touched), bool)
        wanted = self.wanted(world)
        failed = (touched & ~wanted).any(axis=1)
        taken = touched & wanted & ~failed[:, None]
        world.remove(taken)
        return taken.sum(axis=1) / world.total, taken.any(axis=1) & ~world.right.any(axis=1), failed

    @abstractmethod
    def guided_step(self, world: World, actions: np.ndarray) -> tuple[Batch, Ended, Ended, Batch]:
        """One step as ``step`` returns it, and what shaped rewards add to it, before ``shaping`` weighs that."""


class PointerTask(Task):
    """Acts by pointing: (x, y) in [-1, 1], x to the right, y down, as in tokens."""

    action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def guided_step(self, world: World, actions: np.ndarray) -> tuple[Batch, Ended, Ended, Batch]:
        """Adds nothing for pointing at a right object, less the distance to it for pointing at nothing.

        For pointing at a wrong one, less the distance and 1 for each other object that will not be taken now. If all
        that is left cost something while an episode goes on, its early end would be worth more than the right object.

        What is pointed at is no state that could be left: to be rewarded for coming nearer, an agent would stay near
        without ever touching. It pays for its distance, each time.
        """
        reward, success, failed = self.step(world, actions)
        lost = np.where(failed, world.right.sum(axis=1) - 1, 0)
        missed = np.where(reward > 0, 0, lost + world.distance(self.wanted(world)))
        return reward, success, failed, -missed / world.total

    def touch(self, world: World, actions: np.ndarray) -> Mask:
        """The object whose box, grown by a pixel, holds the point; pointing anywhere else does nothing.

        Raises:
            ValueError: an action that is no place.
        """
        if not np.isfinite(actions).all():
            raise ValueError(f"expected finite places (x, y), got {actions.tolist()}")
        extent = np.array(world.scenes.canvas_size) - 1
        world.hand[:] = (np.clip(actions[:, ::-1], -1, 1) + 1) / 2 * extent
        point = np.rint(world.hand).astype(np.int64)
        boxes = world.boxes() + np.array([-1, -1, -1, -1])
        inside = (boxes[..., :2] <= point[:, None]) & (point[:, None] < boxes[..., 2:])
        return inside.all(axis=2) & (world.role > NEUTRAL)


class AgentTask(Task):
    """Acts by moving the agent, a small white square, 4 pixels at a time. White is never the colour of an object.

    Sprites keep a gap of two pixels, as in the data sets: a move that would close it touches, and is not made. Nor is
    a move out of the canvas. A scene in which a right object cannot be reached without touching a wrong one is laid out
    again.
    """

    data_set = "multi-dsprites"
    action_space = spaces.Discrete(len(MOVES))
    scales: ClassVar[tuple[int, int]] = (1, 4)
    """Sizes of objects, a range of indices into ``SCALES``: small enough to leave the agent room."""

    def touch(self, world: World, actions: np.ndarray) -> Mask:
        """Moves the agents whose way is free, and says what stops the others.

        Raises:
            ValueError: an action that is none.
        """
        low, high = self.reach(world.scenes.canvas_size)
        proposed = world.scenes.location[:, 0] + moves(actions)
        blocked = world.blockers(0, proposed)
        free = ~blocked.any(axis=1) & ((proposed >= low) & (proposed <= high)).all(axis=1)
        world.scenes.location[free, 0] = proposed[free]
        world.hand[:] = world.scenes.location[:, 0]
        return blocked

    def place(
        self, rng: np.random.Generator, sprites: Sprites, roles: Sprites, canvas_size: tuple[int, int]
    ) -> list[Location]:
        """Locations such that every right object can be reached."""
        for _ in range(_LAYOUTS):
            locations = super().place(rng, sprites, roles, canvas_size)
            if self._solvable(sprites, roles, locations, canvas_size):
                return locations
        raise ValueError(
            f"found no layout of {len(sprites) - 1} objects on a canvas of {canvas_size[0]} x {canvas_size[1]} pixels "
            "in which the agent can reach what it should; ask for fewer objects or a larger canvas"
        )

    def _solvable(
        self, sprites: Sprites, roles: Sprites, locations: list[Location], canvas_size: tuple[int, int]
    ) -> bool:
        """Whether the agent has a way to each right object. Right objects vanish, so only wrong ones are in the way."""
        placed = list(zip(locations, grown_boxes(self.bank, sprites).tolist(), strict=True))
        lattice, obstacles, goals = self._lattice(placed, roles, canvas_size)
        reachable = lattice.reachable(obstacles)
        return all(reachable[lattice.near(*goal)].any() for goal in goals)

    def _lattice(
        self, placed: list[Placed], roles: Sprites, canvas_size: tuple[int, int]
    ) -> tuple[Lattice, list[Placed], list[Placed]]:
        """Where the agent can be, what is in its way, and where it is to go."""
        lattice = Lattice(*placed[0], *self.reach(canvas_size), STEP)
        obstacles, goals = ([placed[slot] for slot in np.flatnonzero(roles == role)] for role in (WRONG, RIGHT))
        return lattice, obstacles, goals

    def guided_step(self, world: World, actions: np.ndarray) -> tuple[Batch, Ended, Ended, Batch]:
        """Adds the change of the potential (Ng et al. 1999, without a discount)."""
        world.hand[:] = world.scenes.location[:, 0]
        before = self.potential(world)
        reward, success, failed = self.step(world, actions)
        return reward, success, failed, np.where(success, 0.0, self.potential(world)) - before

    def potential(self, world: World) -> Batch:
        """From -1 far from all right objects to 0 when none is left: their number, and the moves to the nearest one.

        Moves lead past the wrong ones: a potential of plain distances teaches agents to walk into what is in their way.
        """
        left = world.right.sum(axis=1)
        away = np.array([self._away(world, env) if left[env] else 0.0 for env in range(len(left))])
        return -np.where(left > 0, left - 1 + away, 0) / world.total

    def _away(self, world: World, env: int) -> float:
        """Moves that are left, as a share of the lattice's height and width."""
        lattice, moves = self.ways(world, env)
        row, column = world.scenes.location[env, 0].tolist()
        return min(1.0, moves[lattice.index((row, column))] / sum(moves.shape))

    def ways(self, world: World, env: int) -> tuple[Lattice, Int[np.ndarray, "rows columns"]]:
        """Where the agent can be, and from each place the number of moves to the nearest right object; -1 if no way."""
        if world.ways[env] is None:
            lattice, obstacles, goals = self._lattice_of(world, env)
            world.ways[env] = lattice, lattice.moves(obstacles, goals)
        ways: tuple[Lattice, Int[np.ndarray, "rows columns"]] = world.ways[env]
        return ways

    def detour(self, world: World, env: int) -> int:
        """How many moves more it takes to reach a right object than if no wrong one were in the way."""
        lattice, obstacles, goals = self._lattice_of(world, env)
        past_all, past_none = (lattice.moves(passed, goals)[lattice.start] for passed in (obstacles, []))
        return int(past_all - past_none)

    def _lattice_of(self, world: World, env: int) -> tuple[Lattice, list[Placed], list[Placed]]:
        """``_lattice`` of one environment as it is now."""
        locations = [(row, column) for row, column in world.scenes.location[env].tolist()]
        placed = list(zip(locations, world.box[env].tolist(), strict=True))
        return self._lattice(placed, world.role[env], world.scenes.canvas_size)


def moves(actions: np.ndarray) -> Int[np.ndarray, "batch 2"]:
    """(row, column) in pixels of each action.

    Raises:
        ValueError: an action that is none.
    """
    # NumPy takes negative indices without a word, so it is not to see any.
    if actions.dtype.kind in "iu":
        unsigned = actions.astype(np.uint64)
        if unsigned.max() < len(MOVES):
            return MOVES[unsigned]
    raise ValueError(f"expected actions as integers of 0 to {len(MOVES) - 1}, got {actions.tolist()}")


def roles_of(right: Bool[np.ndarray, " objects"], neutral_first: bool) -> Sprites:
    """Roles of objects, after that of an agent or cue if there is one."""
    roles = np.where(right, RIGHT, WRONG)
    return np.concatenate([[NEUTRAL], roles]) if neutral_first else roles
