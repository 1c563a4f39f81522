"""Tracking: the same object in the same slot from frame to frame.

With hysteresis, what flickers does not come and go: an object needs more confidence to appear than to stay, and one
that is missed for a few frames goes on as it moved.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from lavae_rl.data.coordinates import to_xy
from lavae_rl.model.objects import Objects
from lavae_rl.perception.tokens import Velocity


@dataclass(frozen=True)
class TrackingConfig:
    """Settings of a tracker. Raises ValueError on values out of range."""

    gate: float = 0.5
    """Largest distance an object may move between two frames, in token units (2 is the width of the canvas)."""
    appearance_weight: float = 0.05
    """Cost of one unit of distance between appearances, beside the distance moved in token units."""
    hold: int = 3
    """Number of frames for which an undetected object keeps its slot."""
    appear: float = 0.0
    """Presence that a new object needs; one that is tracked already stays with less."""
    coast: int = 0
    """Number of frames, at most ``hold``, for which an undetected object is still reported: where its velocity takes
    it, with a presence of 0."""

    def __post_init__(self) -> None:
        if self.gate <= 0 or self.appearance_weight < 0 or self.hold < 0:
            raise ValueError(f"expected gate above 0 and appearance_weight and hold of at least 0, got {self}")
        if not 0 <= self.appear <= 1 or not 0 <= self.coast <= self.hold:
            raise ValueError(f"expected appear of 0 to 1 and coast of 0 to hold, {self.hold}, got {self}")


class SlotTracker:
    """Hungarian assignment of the objects of successive frames to slots, by location and appearance."""

    def __init__(self, slots: int, config: TrackingConfig) -> None:
        self.config, self._slots = config, slots
        self.reset()

    def reset(self) -> None:
        """Forget all objects, at the beginning of an episode."""
        self._xy = np.zeros((self._slots, 2))
        self._appearance: np.ndarray | None = None
        self._missed = np.full(self._slots, -1)  # frames since a slot's object was detected; -1: the slot is free
        self._velocity = np.zeros((self._slots, 2))
        self._last: Objects | None = None

    def update(
        self,
        xy: Float[np.ndarray, "objects 2"],
        appearance: Float[np.ndarray, "objects latents"],
        presence: Float[np.ndarray, " objects"] | None = None,
    ) -> tuple[np.ndarray, Float[np.ndarray, "objects 2"]]:
        """Assign the objects of the next frame, at most as many as there are slots, the most confident first.

        Returns:
            The slot of each object, -1 for a new one that is not confident enough to ``appear``; and its change of
            (x, y) per frame: 0 for an object that is new.
        """
        if self._appearance is None:
            self._appearance = np.zeros((self._slots, appearance.shape[1]))
        slot, velocity = np.full(len(xy), -1), np.zeros((len(xy), 2))
        held = np.flatnonzero(self._missed >= 0)
        coasted = np.minimum(self._missed[held], self.config.coast)[:, None]
        expected = self._xy[held] + coasted * self._velocity[held]
        moved = np.linalg.norm(xy[:, None] - expected, axis=2)
        changed = np.linalg.norm(appearance[:, None] - self._appearance[held], axis=2)
        cost = moved + self.config.appearance_weight * changed
        # A forbidden pair costs more than any set of allowed ones, so it is chosen only where nothing else is left.
        rows, columns = _assign(np.where(moved <= self.config.gate, cost, 1e6))
        near = moved[rows, columns] <= self.config.gate
        old, new = held[columns[near]], rows[near]
        slot[new] = old
        # An object that reappears after some frames moved that far in as many steps.
        velocity[new] = (xy[new] - self._xy[old]) / (1 + self._missed[old])[:, None]
        # Others take a free slot, or else that of the object undetected for longest.
        missed = np.where(self._missed < 0, np.iinfo(int).max, self._missed)
        missed[old] = -1  # taken
        sure = np.ones(len(xy), bool) if presence is None else presence >= self.config.appear
        for i in np.flatnonzero((slot < 0) & sure):
            slot[i] = missed.argmax()
            missed[slot[i]] = -1
        self._missed[self._missed >= 0] += 1
        kept = slot >= 0
        self._missed[slot[kept]] = 0
        self._missed[self._missed > self.config.hold] = -1
        self._xy[slot[kept]], self._appearance[slot[kept]] = xy[kept], appearance[kept]
        self._velocity[slot[kept]] = velocity[kept]
        return slot, velocity

    def coast(self, objects: Objects, velocity: Velocity, frame: int) -> None:
        """Report undetected objects among those of a frame, in place, and remember all that are reported."""
        missing = (self._missed > 0) & (self._missed <= self.config.coast) & ~objects.mask[frame]
        if self._last is not None and missing.any():
            missing &= self._last.mask[0]
            for values, last in zip(objects.arrays(), self._last.arrays(), strict=True):
                values[frame, missing] = last[0, missing]
            sides = np.array(objects.canvas_size)
            pixels = np.rint(self._velocity[missing, ::-1] * (sides - 1) / 2).astype(int)  # (row, column)
            before = objects.location[frame, missing]
            objects.location[frame, missing] = (before + pixels).clip(0, sides - 1)
            objects.box[frame, missing, :2] += objects.location[frame, missing] - before
            objects.presence[frame, missing] = 0
            velocity[frame, missing] = self._velocity[missing]
        self._last = objects[frame : frame + 1].copied()


def _assign(cost: Float[np.ndarray, "objects held"]) -> tuple[np.ndarray, np.ndarray]:
    """The assignment of least cost, (rows, columns)."""
    if cost.size and len(nearest := cost.argmin(axis=1)) == len(set(nearest.tolist())):
        return np.arange(len(cost)), nearest  # each has what costs it least, so nothing costs less
    rows, columns = linear_sum_assignment(cost)
    return rows, columns


def track(objects: Objects, trackers: list[SlotTracker], owners: np.ndarray) -> tuple[Objects, Velocity]:
    """Move the objects of each frame, NumPy, to the slots that the tracker of its environment assigns.

    Args:
        objects: of one frame after the other.
        trackers: one per environment.
        owners: (batch,), the environment of each frame.

    Returns:
        New objects, whose used slots need not come first, and the velocity of each slot.
    """
    xy, velocity = to_xy(objects.location, objects.canvas_size), np.zeros((*objects.mask.shape, 2))
    slots: list[np.ndarray] = []
    for i, (owner, count) in enumerate(zip(owners, objects.count, strict=True)):
        slot, speed = trackers[owner].update(xy[i, :count], objects.appearance[i, :count], objects.presence[i, :count])
        velocity[i, slot[slot >= 0]] = speed[slot >= 0]
        slots.append(slot)
    moved = objects.scatter(slots)
    if trackers[0].config.coast:
        for i, owner in enumerate(owners):
            trackers[owner].coast(moved, velocity, i)
    return replace(moved, count=moved.mask.sum(1)), velocity
