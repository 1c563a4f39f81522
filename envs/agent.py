"""Tasks that act by moving an agent."""

from typing import ClassVar

import numpy as np
from gymnasium import spaces
from jaxtyping import Int

from lavae_rl.data.scenes import grown_boxes
from lavae_rl.shapes import Mask

from .layout import Box, Lattice, Location, Placed, Size
from .task import Batch, Ended, Task
from .world import DISTRACTOR, TARGET, Sprites, World

STEP = 4
"""Pixels that the agent moves at a time."""

MOVES = np.array([[0, 0], [-STEP, 0], [STEP, 0], [0, -STEP], [0, STEP]])
"""Stay, up, down, left, right: (row, column) in pixels."""

_LAYOUTS = 200


class AgentTask(Task):
    """Task of moving the agent, a small white square, 4 pixels at a time. No object is white.

    Sprites keep a gap of two pixels, as in the data sets: a move that would close it touches, and is not made. Nor is
    a move out of the canvas. A scene is laid out again if a target is out of reach without touching a distractor.

    ## Action space
    `Discrete(5)`: stay, up, down, left, right, 4 pixels at a time.

    ## Observation space
    Pixels, `Box(0, 255, (64, 64, 3), uint8)`, or the true state as tokens; see `lavae_rl.envs.simulation.Simulation`.

    ## Rewards
    1 for the target, otherwise 0. With `reward="shaped"`, added to that, 4 times the decrease of the number of moves to
    it, past the others, divided by the height and width of the canvas in moves.

    ## Held out
    With `mode="test"`, all objects have combinations of shape and colour that training never shows:
    `lavae_rl.envs.looks.HELD_OUT`.

    ## Episode end
    Termination at the first touch, truncation after 100 steps.

    ## Random baseline
    1 / `num_objects`: going to a random object.
    """

    data_set = "multi-dsprites"
    action_space = spaces.Discrete(len(MOVES))
    scales: ClassVar[tuple[int, int]] = (1, 4)
    """Sizes of objects, a range of indices into ``SCALES``: small enough to leave the agent room."""

    def touch(self, world: World, actions: np.ndarray) -> Mask:
        """Move the agents that nothing blocks, and return what blocks the others."""
        low, high = self.reach(world.scenes.canvas_size)
        proposed = world.scenes.location[:, 0] + displacements(actions)
        blocked = world.blockers(0, proposed)
        free = ~blocked.any(axis=1) & ((proposed >= low) & (proposed <= high)).all(axis=1)
        world.scenes.location[free, 0] = proposed[free]
        world.pointer[:] = world.scenes.location[:, 0]
        return blocked

    def place(self, rng: np.random.Generator, sprites: Sprites, roles: Sprites, canvas_size: Size) -> list[Location]:
        """Locations such that every target can be reached."""
        boxes = grown_boxes(self.bank, sprites).tolist()
        for _ in range(_LAYOUTS):
            locations = super().place(rng, sprites, roles, canvas_size)
            lattice, obstacles, goals = self._lattice(locations, boxes, roles, canvas_size)
            reachable = lattice.reachable(obstacles)  # targets vanish, so only distractors are in the way
            if all(reachable[lattice.near(*goal)].any() for goal in goals):
                return locations
        raise ValueError(
            f"found no layout of {len(sprites) - 1} objects on a canvas of {canvas_size[0]} x {canvas_size[1]} pixels "
            "in which the agent can reach what it should; ask for fewer objects or a larger canvas"
        )

    def shaped_step(self, world: World, actions: np.ndarray) -> tuple[Batch, Ended, Ended, Batch]:
        """Add the change of the potential (potential-based shaping, Ng et al. 1999, without a discount)."""
        world.pointer[:] = world.scenes.location[:, 0]
        before = self.potential(world)
        reward, success, failed = self.step(world, actions)
        return reward, success, failed, np.where(success, 0.0, self.potential(world)) - before

    def potential(self, world: World) -> Batch:
        """Potential from -1, far from all targets, to 0 when none is left: their number, and moves to the nearest one.

        Moves lead past the distractors: with a potential of plain distances, agents learn to walk into obstacles.
        """
        left = world.targets.sum(axis=1)
        away = np.zeros(len(left))
        for env in np.flatnonzero(left).tolist():
            lattice, moves = self.distance_field(world, env)
            away[env] = min(1.0, moves[lattice.index(world.locations(env)[0])] / sum(moves.shape))
        return -np.where(left > 0, left - 1 + away, 0) / world.total

    def distance_field(self, world: World, env: int) -> tuple[Lattice, Int[np.ndarray, "rows columns"]]:
        """The places of the agent, and the number of moves from each to the nearest target; -1 without a path."""
        if world.distance_fields[env] is None:
            lattice, obstacles, goals = self.lattice(world, env)
            world.distance_fields[env] = lattice, lattice.distance_field(obstacles, goals)
        return world.distance_fields[env]

    def extra_path_length(self, world: World, env: int) -> int:
        """Moves that the shortest path to a target is longer than it would be without distractors."""
        lattice, obstacles, goals = self.lattice(world, env)
        past_all, past_none = (lattice.distance_field(passed, goals)[lattice.start] for passed in (obstacles, []))
        return int(past_all - past_none)

    def lattice(self, world: World, env: int) -> tuple[Lattice, list[Placed], list[Placed]]:
        """The places that the agent of one environment can reach, the distractors and the targets."""
        return self._lattice(world.locations(env), world.box[env].tolist(), world.role[env], world.scenes.canvas_size)

    def _lattice(
        self, locations: list[Location], boxes: list[Box], roles: Sprites, canvas_size: Size
    ) -> tuple[Lattice, list[Placed], list[Placed]]:
        placed = list(zip(locations, boxes, strict=True))
        lattice = Lattice(*placed[0], *self.reach(canvas_size), STEP)
        obstacles, goals = ([placed[slot] for slot in np.flatnonzero(roles == role)] for role in (DISTRACTOR, TARGET))
        return lattice, obstacles, goals


def displacements(actions: np.ndarray) -> Int[np.ndarray, "batch 2"]:
    """(row, column) in pixels by which each action moves the agent.

    Raises:
        ValueError: an action is not in the action space.
    """
    # NumPy would take negative indices without complaint; as unsigned integers they are too large.
    if actions.dtype.kind in "iu":
        unsigned = actions.astype(np.uint64)
        if unsigned.max() < len(MOVES):
            return MOVES[unsigned]
    raise ValueError(f"expected actions as integers of 0 to {len(MOVES) - 1}, got {actions.tolist()}")
