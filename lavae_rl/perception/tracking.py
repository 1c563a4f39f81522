"""Tracking: the same object in the same slot from frame to frame.

With hysteresis, what flickers does not come and go: an object needs more confidence to appear than to stay, and one
that is missed for a few frames goes on as it moved.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.optimize import linear_sum_assignment

from lavae_rl.data.coordinates import to_xy
from lavae_rl.model.objects import Objects
from lavae_rl.options import named_options
from lavae_rl.perception.tokens import Velocity

FREE = -1
"""Mark of a slot without an object, in place of the number of frames since that was detected."""


@named_options()
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
    """Hungarian assignment of the objects of successive frames to slots, by location and appearance.

    It tracks in several environments at once, each with ``slots`` of its own.
    """

    def __init__(self, slots: int, config: TrackingConfig, num_envs: int = 1) -> None:
        self.config = config
        self._xy = np.zeros((num_envs, slots, 2))
        self._velocity = np.zeros((num_envs, slots, 2))
        self._missed = np.full((num_envs, slots), FREE)
        # The first objects show how long appearances are and which fields there are: what was reported last.
        self._appearance = np.zeros((num_envs, slots, 0))
        self._last: list[np.ndarray] = []

    def reset(self, envs: Int[np.ndarray, " envs"] | slice = slice(None)) -> None:
        """Forget all objects of some environments, in which an episode begins; by default of all."""
        self._missed[envs] = FREE

    def track(self, objects: Objects, owners: Int[np.ndarray, " batch"]) -> tuple[Objects, Velocity]:
        """Move the objects of each frame, NumPy, to the slots that they have been assigned.

        Args:
            objects: of the next frame of some environments, the most confident first, in as many slots.
            owners: the environment of each frame, each at most once.

        Returns:
            New objects, whose used slots need not come first, without those that are new and not confident enough to
            ``appear``; and the change of (x, y) per frame in each slot: 0 for an object that is new.
        """
        xy = to_xy(objects.location, objects.canvas_size)
        if not self._appearance.size:
            self._appearance = np.zeros((*self._missed.shape, objects.appearance.shape[2]))
        slot, velocity = self._assign(xy, objects, owners)
        frame, index = np.nonzero(slot >= 0)
        where = (owners[frame], slot[frame, index])
        self._missed[owners] += self._missed[owners] != FREE
        self._missed[where] = 0
        self._missed[self._missed > self.config.hold] = FREE
        self._xy[where], self._appearance[where] = xy[frame, index], objects.appearance[frame, index]
        self._velocity[where] = velocity[frame, index]
        moved = objects.scatter(slot)
        moving = np.where(moved.mask[..., None], self._velocity[owners], 0)
        if self.config.coast:
            self._coast(moved, moving, owners)
        return replace(moved, count=moved.mask.sum(1)), moving

    def _assign(
        self, xy: Float[np.ndarray, "batch objects 2"], objects: Objects, owners: np.ndarray
    ) -> tuple[Int[np.ndarray, "batch objects"], Float[np.ndarray, "batch objects 2"]]:
        """The slot of each object, -1 for none, and its velocity."""
        config, missed = self.config, self._missed[owners]
        coasted = np.clip(missed, 0, config.coast)[..., None]
        expected = self._xy[owners] + coasted * self._velocity[owners]
        moved = np.linalg.norm(xy[:, :, None] - expected[:, None], axis=3)
        changed = np.linalg.norm(objects.appearance[:, :, None] - self._appearance[owners][:, None], axis=3)
        cost = moved + config.appearance_weight * changed
        allowed = (moved <= config.gate) & objects.mask[..., None] & (missed != FREE)[:, None]
        slot = _cheapest(cost, allowed)
        frame, index = np.nonzero(slot >= 0)
        old = slot[frame, index]
        velocity = np.zeros(xy.shape)
        # An object that reappears after some frames moved that far in as many steps.
        steps = 1 + missed[frame, old]
        velocity[frame, index] = (xy[frame, index] - self._xy[owners[frame], old]) / steps[:, None]
        # Others take a free slot, or else that of the object undetected for longest.
        waiting = np.where(missed == FREE, np.iinfo(int).max, missed)
        waiting[frame, old] = -1  # taken
        by_wait = np.argsort(-waiting, axis=1, kind="stable")
        new = objects.mask & (slot < 0) & (objects.presence >= config.appear)
        rank = new.cumsum(1)[new] - 1
        slot[new] = by_wait[np.nonzero(new)[0], rank]
        return slot, velocity

    def _coast(self, objects: Objects, velocity: Velocity, owners: np.ndarray) -> None:
        """Report undetected objects among those of frames, in place, and remember all that are reported."""
        if not self._last:
            self._last = [np.zeros((len(self._missed), *each.shape[1:]), each.dtype) for each in objects.arrays()]
        missed = self._missed[owners]
        frame, slot = np.nonzero((missed > 0) & (missed <= self.config.coast))
        owner = owners[frame]
        for values, last in zip(objects.arrays(), self._last, strict=True):
            values[frame, slot] = last[owner, slot]
        sides = np.array(objects.canvas_size)
        pixels = np.rint(self._velocity[owner, slot, ::-1] * (sides - 1) / 2).astype(int)  # (row, column)
        before = objects.location[frame, slot]
        objects.location[frame, slot] = (before + pixels).clip(0, sides - 1)
        objects.box[frame, slot, :2] += objects.location[frame, slot] - before
        objects.presence[frame, slot] = 0
        velocity[frame, slot] = self._velocity[owner, slot]
        for values, last in zip(objects.arrays(), self._last, strict=True):
            last[owners] = values


def _cheapest(
    cost: Float[np.ndarray, "batch objects slots"], allowed: Bool[np.ndarray, "batch objects slots"]
) -> Int[np.ndarray, "batch objects"]:
    """The assignment of least cost among those of the most allowed pairs: the slot of each object, -1 for none."""
    # A forbidden pair costs more than any set of allowed ones, so it is chosen only where nothing else is left.
    cost = np.where(allowed, cost, 1e6)
    slot = np.where(allowed.any(2), cost.argmin(2), -1)
    frame, index = np.nonzero(slot >= 0)
    claims = np.zeros((len(cost), cost.shape[2]), int)
    np.add.at(claims, (frame, slot[frame, index]), 1)
    # Where each object has what costs it least, nothing costs less.
    for i in np.flatnonzero((claims > 1).any(1)):
        rows, columns = linear_sum_assignment(cost[i])
        slot[i] = -1
        slot[i, rows] = np.where(allowed[i, rows, columns], columns, -1)
    return slot


def track(
    objects: Objects, trackers: Sequence[SlotTracker], owners: Int[np.ndarray, " batch"]
) -> tuple[Objects, Velocity]:
    """Track frame after frame, each by the tracker of its environment; see ``SlotTracker.track``, which is faster.

    Args:
        objects: of one frame after the other, at least one.
        trackers: one per environment.
        owners: the environment of each frame.
    """
    first = np.zeros(1, int)
    tracked = [trackers[owner].track(objects[i : i + 1], first) for i, owner in enumerate(owners)]
    found, velocity = zip(*tracked, strict=True)
    return Objects.concatenate(found), np.concatenate(velocity)
