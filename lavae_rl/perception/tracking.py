"""Tracking: the same object in the same slot from frame to frame."""

from dataclasses import dataclass

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

    def __post_init__(self) -> None:
        if self.gate <= 0 or self.appearance_weight < 0 or self.hold < 0:
            raise ValueError(f"expected gate above 0 and appearance_weight and hold of at least 0, got {self}")


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

    def update(
        self, xy: Float[np.ndarray, "objects 2"], appearance: Float[np.ndarray, "objects latents"]
    ) -> tuple[np.ndarray, Float[np.ndarray, "objects 2"]]:
        """Assign the objects of the next frame, at most as many as there are slots, the most confident first.

        Returns:
            The slot of each object, and its change of (x, y) per frame: 0 for an object that is new.
        """
        if self._appearance is None:
            self._appearance = np.zeros((self._slots, appearance.shape[1]))
        slot, velocity = np.full(len(xy), -1), np.zeros((len(xy), 2))
        held = np.flatnonzero(self._missed >= 0)
        moved = np.linalg.norm(xy[:, None] - self._xy[held], axis=2)
        changed = np.linalg.norm(appearance[:, None] - self._appearance[held], axis=2)
        cost = moved + self.config.appearance_weight * changed
        # A forbidden pair costs more than any set of allowed ones, so it is chosen only where nothing else is left.
        rows, columns = linear_sum_assignment(np.where(moved <= self.config.gate, cost, 1e6))
        near = moved[rows, columns] <= self.config.gate
        old, new = held[columns[near]], rows[near]
        slot[new] = old
        # An object that reappears after some frames moved that far in as many steps.
        velocity[new] = (xy[new] - self._xy[old]) / (1 + self._missed[old])[:, None]
        # Others take a free slot, or else that of the object undetected for longest.
        missed = np.where(self._missed < 0, np.iinfo(int).max, self._missed)
        missed[old] = -1  # taken
        for i in np.flatnonzero(slot < 0):
            slot[i] = missed.argmax()
            missed[slot[i]] = -1
        self._missed[self._missed >= 0] += 1
        self._missed[slot] = 0
        self._missed[self._missed > self.config.hold] = -1
        self._xy[slot], self._appearance[slot] = xy, appearance
        return slot, velocity


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
        slot, speed = trackers[owner].update(xy[i, :count], objects.appearance[i, :count])
        velocity[i, slot] = speed
        slots.append(slot)
    return objects.scatter(slots), velocity
