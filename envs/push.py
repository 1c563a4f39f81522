"""Push: bring the green square to the top left corner."""

from typing import ClassVar

import numpy as np
from jaxtyping import Int

from .agent import displacements
from .layout import Location, Size
from .object_goal import ObjectGoal
from .task import Batch, Ended
from .world import TARGET, Sprites, World

_FREE = 14
"""Pixels that the target starts away from the right and bottom edges of its reach: room to get behind it. No other
object stands above and to the left of a point so far below and to the right of it."""

_LAYOUTS = 500


class Push(ObjectGoal):
    """Push the green square to the top left corner.

    ## Description
    The agent, a small white square, pushes what it walks into, one object at a time; an object moves only where there
    is room. Success is when the centre of the green square is at most 12 pixels, in rows and in columns, from the last
    place in the top left corner that it can be at. The goal is not drawn. An episode never ends in failure, but an
    object pushed to the right or bottom edge may be lost.

    ## Rewards
    1 for success, otherwise 0. With `reward="shaped"`, added to that, twice the decrease of the distance from the
    green square to the corner, and twice that of the distance from the agent to the green square, in canvas diagonals.

    ## Starting state
    2 objects (`num_objects`), anywhere without overlap, the green square outside the goal, away from the other edges,
    and with no other object between it and the corner.

    ## Episode end
    Termination at success, truncation after 100 steps.

    ## Random baseline
    Given as 0; random actions succeed in 9 % of the episodes, by nudging a square that starts near the goal.
    """

    default_objects = 2
    goal: ClassVar[int] = 12

    def place(self, rng: np.random.Generator, sprites: Sprites, roles: Sprites, canvas_size: Size) -> list[Location]:
        """Locations such that the target is outside the goal, and nowhere that it cannot be pushed away from."""
        low, high = self.reach(canvas_size)
        least = self.bank.size + self.goal + _FREE + 1
        if min(canvas_size) < least:
            raise ValueError(f"expected a canvas of at least {least} px a side, got {canvas_size}")
        target = int((roles == TARGET).argmax())
        for _ in range(_LAYOUTS):
            locations = super().place(rng, sprites, roles, canvas_size)
            row, column = locations[target]
            others = [location for slot, location in enumerate(locations) if slot not in (0, target)]
            clear = all(other[0] > row + _FREE or other[1] > column + _FREE for other in others)
            if row <= high[0] - _FREE and column <= high[1] - _FREE and max(row, column) > low[0] + self.goal and clear:
                return locations
        raise ValueError(
            f"found no layout of {len(sprites) - 1} objects on a canvas of {canvas_size[0]} x {canvas_size[1]} pixels "
            "that leaves the target a way to the corner; ask for fewer objects or a larger canvas"
        )

    def step(self, world: World, actions: np.ndarray) -> tuple[Batch, Ended, Ended]:
        """Move the agents, and what they push; an episode never ends in failure."""
        low, high = self.reach(world.scenes.canvas_size)
        move, location = displacements(actions), world.scenes.location
        proposed = location[:, 0] + move
        blocked = world.blockers(0, proposed)
        slot = blocked.argmax(axis=1)  # of what is pushed; 0, that of the agent itself, where nothing is in its way
        ahead = location[np.arange(len(slot)), slot] + move
        inside = ((np.minimum(proposed, ahead) >= low) & (np.maximum(proposed, ahead) <= high)).all(axis=1)
        moved = inside & (blocked.sum(axis=1) <= 1) & ~world.blockers(slot, ahead).any(axis=1)
        location[moved, slot[moved]], location[moved, 0] = ahead[moved], proposed[moved]
        world.pointer[:] = location[:, 0]
        success = np.logical_and.reduce(self._target(world) <= low[0] + self.goal, axis=1)
        return success.astype(np.float64), success, np.zeros(len(success), bool)

    def potential(self, world: World) -> Batch:
        """Potential from -1 to 0: half for the target's distance to the corner, half for the agent's to the target."""
        low, _ = self.reach(world.scenes.canvas_size)
        away = np.linalg.norm(self._target(world) - low[0], axis=1) / np.hypot(*world.scenes.canvas_size)
        return -(away + world.distance(world.targets)) / 2

    def chance(self, num_objects: int) -> float:
        """Random touches push no object into the corner, but for some that start near it."""
        return 0.0

    def _target(self, world: World) -> Int[np.ndarray, "batch 2"]:
        return world.scenes.location[np.arange(len(world.role)), world.targets.argmax(axis=1)]
