"""True objects of the frames of an episode, and the games that give them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int, Shaped

from lavae_rl.shapes import Frames

Rectangle = tuple[int, int, int, int]
"""(row, column, height, width) in pixels."""

EVERY = 5
"""Only each fifth step is measured: neighbouring frames hardly differ."""
STATIC_SHARE, STATIC_REPEATS = 0.3, 0.9
"""See ``Truth.static``. Breakout's bricks have a share of 0.4, what moves 0.2 at most, but 0.35 in MinAtar."""


class Moment(NamedTuple):
    """One step of an environment."""

    frame: np.ndarray
    """uint8 (height, width, 3)."""
    boxes: list[Rectangle]
    categories: list[str]
    first: bool
    """True at the beginning of an episode."""


Play = Callable[[int], Iterator[Moment]]
"""An endless roll-out of a random policy, given its seed."""


@dataclass(frozen=True)
class Truth:
    """Frames and what is truly in them."""

    frames: Frames
    boxes: Sequence[Int[np.ndarray, "_ 4"]]
    """(row, column, height, width) in pixels of the objects of each frame."""
    category: Sequence[Shaped[np.ndarray, " _"]]
    """The name of the category of each object."""
    playfield: Rectangle
    """Rectangle in which objects count; scores and lives lie outside."""

    def keep(self, kept: Sequence[Bool[np.ndarray, " _"]]) -> "Truth":
        """The objects of a mask for each frame."""
        boxes = [box[mask] for box, mask in zip(self.boxes, kept, strict=True)]
        return replace(self, boxes=boxes, category=[c[mask] for c, mask in zip(self.category, kept, strict=True)])

    def static(self) -> set[str]:
        """The categories whose objects stay where they are as long as they exist: pills, shields, bricks.

        Nearly all boxes of such a category are found unchanged in the next frame (0.9), and on average in a large share
        of all frames (0.3), where objects that are only put elsewhere in each episode are not. Emulators renumber
        objects when one of them vanishes, so boxes are compared over all objects of a category.
        """
        return {name for name in np.unique(np.concatenate(list(self.category))).tolist() if self._is_static(name)}

    def _is_static(self, name: str) -> bool:
        mine = [box[category == name] for box, category in zip(self.boxes, self.category, strict=True)]
        sets = [set(map(tuple, boxes.tolist())) for boxes in mine]
        number, distinct = sum(map(len, sets)), len(set().union(*sets))
        repeated = sum(len(now & after) for now, after in pairwise(sets))
        followed = number - len(sets[-1])
        return number >= STATIC_SHARE * len(sets) * distinct and repeated >= STATIC_REPEATS * followed

    def judged(self) -> "Truth":
        """The moving objects inside the playfield."""
        static = sorted(self.static())
        kept = [~np.isin(each, static) for each in self.category]
        return self.keep([mask & inside(box, self.playfield) for mask, box in zip(kept, self.boxes, strict=True)])

    def visible(self, different: Bool[np.ndarray, "batch height width"]) -> list[np.ndarray]:
        """Mask of the objects with a pixel in their box that differs from the background, given all that do."""
        visible = []
        for boxes, frame in zip(self.boxes, different, strict=True):
            ends = np.maximum(boxes[:, :2] + boxes[:, 2:], 0)
            starts = np.maximum(boxes[:, :2], 0)
            seen = [bool(frame[r:b, c:d].any()) for (r, c), (b, d) in zip(starts, ends, strict=True)]
            visible.append(np.array(seen, bool))
        return visible


def inside(boxes: np.ndarray, playfield: Rectangle) -> Bool[np.ndarray, " boxes"]:
    """Mask of the boxes, (boxes, 4), whose centre is in the playfield."""
    centre = boxes[:, :2] + boxes[:, 2:] / 2 - np.array(playfield[:2])
    return ((centre >= 0) & (centre < np.array(playfield[2:]))).all(1)


@dataclass(frozen=True)
class Game:
    """An environment with the truth about its test frames."""

    name: str
    truth: Callable[[int, int], Truth]
    """Return the truth about every fifth step, given a seed and a number of steps."""
    play: Play
    """Return frames to train on; the boxes are not used and may be missing."""
    env_id: str | None
    """Id for ``train_lavae.py --env``, or None if the program needs files."""


def record(play: Play, playfield: Rectangle, seed: int, steps: int) -> Truth:
    """The truth about every fifth of the first ``steps`` steps of a roll-out."""
    moments = list(islice(play(seed), 0, steps, EVERY))
    return Truth(
        frames=np.stack([moment.frame for moment in moments]),
        boxes=[np.array(moment.boxes, np.int64).reshape(-1, 4) for moment in moments],
        category=[np.array(moment.categories, str) for moment in moments],
        playfield=playfield,
    )
