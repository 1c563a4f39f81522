"""Tracking: the same object in the same slot from frame to frame."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment

from lavae_rl.model.objects import Objects
from lavae_rl.perception.tokens import normalised_xy


@dataclass(frozen=True)
class TrackingConfig:
    """Settings of the tracker. Raises ValueError on values out of range."""

    gate: float = 0.5
    """Farthest an object may move between two frames, in token units (2 is the whole canvas); beyond, it is another."""
    appearance_weight: float = 0.05
    """Cost of one unit of distance between appearances, beside the distance moved in token units."""
    hold: int = 3
    """Frames for which the slot of an object that is not seen is kept for it."""

    def __post_init__(self) -> None:
        if self.gate <= 0 or self.appearance_weight < 0 or self.hold < 0:
            raise ValueError(f"expected gate above 0 and appearance_weight and hold of at least 0, got {self}")


class SlotTracker:
    """Assigns the objects of successive frames of one environment to slots (Hungarian, by location and appearance)."""

    def __init__(self, slots: int, config: TrackingConfig) -> None:
        self.config = config
        self._slots = slots
        self.reset()

    def reset(self) -> None:
        """Forgets everything: a new episode begins."""
        self._xy = np.zeros((self._slots, 2))
        self._appearance: np.ndarray | None = None
        self._unseen = np.full(self._slots, -1)  # frames since a slot's object was seen; -1: the slot is free

    def update(
        self, xy: Float[np.ndarray, "objects 2"], appearance: Float[np.ndarray, "objects latents"]
    ) -> tuple[np.ndarray, Float[np.ndarray, "objects 2"]]:
        """Takes the objects of the next frame, at most as many as slots, the surest first.

        Returns:
            The slot of each object, and its velocity: 0 for an object that is new.
        """
        if self._appearance is None:
            self._appearance = np.zeros((self._slots, appearance.shape[1]))
        slot = np.full(len(xy), -1)
        velocity = np.zeros((len(xy), 2))
        known = np.flatnonzero(self._unseen >= 0)
        moved = np.linalg.norm(xy[:, None] - self._xy[known], axis=2)
        changed = np.linalg.norm(appearance[:, None] - self._appearance[known], axis=2)
        cost = moved + self.config.appearance_weight * changed
        # A forbidden pair costs more than any set of allowed ones, so it is chosen only where nothing else is left.
        rows, columns = linear_sum_assignment(np.where(moved <= self.config.gate, cost, 1e6))
        for row, column in zip(rows, columns, strict=True):
            if moved[row, column] <= self.config.gate:
                slot[row] = known[column]
                # An object back after some frames unseen moved that far in as many steps.
                velocity[row] = (xy[row] - self._xy[slot[row]]) / (1 + self._unseen[slot[row]])
        self._settle(slot)
        self._unseen[self._unseen >= 0] += 1
        self._unseen[slot] = 0
        self._unseen[self._unseen > self.config.hold] = -1
        self._xy[slot], self._appearance[slot] = xy, appearance
        return slot, velocity

    def _settle(self, slot: np.ndarray) -> None:
        """Gives objects without a slot one: a free one, or else that of the object unseen for longest."""
        taken: Bool[np.ndarray, " slots"] = np.zeros(self._slots, bool)
        taken[slot[slot >= 0]] = True
        for i in np.flatnonzero(slot < 0):
            patience = np.where(self._unseen < 0, np.iinfo(int).max, self._unseen)
            slot[i] = np.where(taken, -1, patience).argmax()
            taken[slot[i]] = True


def track(
    objects: Objects, trackers: list[SlotTracker], owners: np.ndarray
) -> tuple[Objects, Float[np.ndarray, "batch slots 2"]]:
    """Puts the objects of each frame into the slots that its tracker says.

    Args:
        objects: NumPy, one frame after the other.
        trackers: one per environment.
        owners: (batch,), the environment of each frame.

    Returns:
        New objects, whose used slots need not come first, and the velocity of each slot.
    """
    xy, velocity = normalised_xy(objects), np.zeros((*objects.mask.shape, 2))
    slots: list[np.ndarray] = []
    for i, owner in enumerate(owners):
        count = objects.count[i]
        slot, speed = trackers[owner].update(xy[i, :count], objects.appearance[i, :count])
        velocity[i, slot] = speed
        slots.append(slot)
    return objects.scatter(slots), velocity
