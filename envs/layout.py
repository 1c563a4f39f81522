"""Placement of sprites and shortest paths in one scene, in plain integers, faster than arrays of one.

Sprites are placed by the rule of ``lavae_rl.data.scenes.sample_scenes``.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Int

Box = Sequence[int]
"""(top, left, bottom, right) to be kept apart, relative to a sprite's centre."""

Location = tuple[int, int]
Size = tuple[int, int]
Placed = tuple[Location, Box]

_TRIES_PER_OBJECT = 16
_TRIES_PER_SCENE = 500
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


def place(
    rng: np.random.Generator, boxes: Sequence[Box], low: Location, high: Location, anchor: Location | None = None
) -> list[Location]:
    """Draw locations of sprites one by one, each uniform over those that are not too close to an earlier sprite.

    They are (row, column) from ``low`` to ``high``, that of the first sprite ``anchor`` if it is given.

    Raises:
        ValueError: no layout was found.
    """
    for _ in range(_TRIES_PER_SCENE):
        tries = rng.integers(low, np.add(high, 1), size=(_TRIES_PER_OBJECT * len(boxes), 2)).tolist()
        placed = [] if anchor is None else [anchor]
        for row, column in tries:
            if len(placed) == len(boxes):
                return placed
            box = boxes[len(placed)]
            if all(apart((row, column), box, there, other) for there, other in zip(placed, boxes, strict=False)):
                placed.append((row, column))
    raise ValueError(
        f"could not place {len(boxes)} sprites without overlap between {low} and {high} in {_TRIES_PER_SCENE} tries; "
        "ask for fewer objects or a larger canvas"
    )


def apart(location: Location, box: Box, other_location: Location, other: Box) -> bool:
    """Return whether the boxes of two sprites do not intersect."""
    (row, column), (other_row, other_column) = location, other_location
    return (
        row + box[0] >= other_row + other[2]
        or row + box[2] <= other_row + other[0]
        or column + box[1] >= other_column + other[3]
        or column + box[3] <= other_column + other[1]
    )


class Lattice:
    """All places that a sprite which moves ``step`` pixels at a time can ever be at, from ``low`` to ``high``."""

    def __init__(self, start: Location, box: Box, low: Location, high: Location, step: int) -> None:
        self._first = [least + (at - least) % step for at, least in zip(start, low, strict=True)]
        self._shape = tuple((most - first) // step + 1 for most, first in zip(high, self._first, strict=True))
        self._box, self._step = box, step
        self.start = self.index(start)

    def near(self, location: Location, box: Box) -> tuple[slice, slice]:
        """Rows and columns of the places that are too close to another sprite."""
        spans = []
        for axis in (0, 1):
            after = location[axis] + box[axis] - self._box[axis + 2] - self._first[axis]
            before = location[axis] + box[axis + 2] - self._box[axis] - self._first[axis]
            spans.append(slice(max(0, after // self._step + 1), max(0, -(-before // self._step))))
        return spans[0], spans[1]

    def free(self, obstacles: Sequence[Placed]) -> Bool[np.ndarray, "rows columns"]:
        """The places that are close to no obstacle."""
        free = np.ones(self._shape, bool)
        for location, box in obstacles:
            free[self.near(location, box)] = False
        return free

    def index(self, location: Location) -> tuple[int, int]:
        """The place at a location."""
        row, column = location
        return (row - self._first[0]) // self._step, (column - self._first[1]) // self._step

    def location(self, index: tuple[int, int]) -> Location:
        """The location of a place."""
        (row, column), (first_row, first_column) = index, self._first
        return first_row + row * self._step, first_column + column * self._step

    def reachable(self, obstacles: Sequence[Placed]) -> Bool[np.ndarray, "rows columns"]:
        """The places to which a path leads from the start, past the obstacles."""
        regions = cv2.connectedComponents(self.free(obstacles).astype(np.uint8), connectivity=4)[1]
        return regions == regions[self.start]

    def distance_field(self, obstacles: Sequence[Placed], goals: Sequence[Placed]) -> Int[np.ndarray, "rows columns"]:
        """Number of moves from every place to one too close to a goal, past the obstacles; -1 if there is no path."""
        free = self.free(obstacles)
        moves = np.full(free.shape, -1)
        for location, box in goals:
            moves[self.near(location, box)] = 0
        moves[~free] = -1
        fresh = moves == 0
        while fresh.any():
            fresh = (cv2.dilate(fresh.view(np.uint8), _CROSS) > 0) & free & (moves < 0)
            moves[fresh] = moves.max() + 1
        return moves
