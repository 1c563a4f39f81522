"""The state of a batch of environments: a scene each, and what every object in it means to the task."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float, Int

from lavae_rl.data.scenes import Scenes, apart, grown_boxes
from lavae_rl.data.sources import load_bank
from lavae_rl.data.sprites import SpriteBank
from lavae_rl.shapes import Mask

ABSENT, NEUTRAL, RIGHT, WRONG = -1, 0, 1, 2
"""Roles: slots in no use; the agent and the cue; objects that the task asks for; objects to leave alone."""

Roles = Int[np.ndarray, "batch slots"]
Sprites = Int[np.ndarray, " slots"]
Points = Float[np.ndarray, "batch 2"]

shared_bank = lru_cache(load_bank)
"""A bank weighs 5 MB and takes a while: all environments of a process look at the same one, and never write to it."""


@dataclass
class World:
    """A batch of scenes, changed in place by the tasks.

    Attributes:
        scenes: slot 0 holds the agent or the cue, where the task has one.
        role: (batch, slots), ABSENT, NEUTRAL, RIGHT or WRONG.
        box: (batch, slots, 4), boxes to be kept ``apart``, relative to the sprites' centres.
        total: (batch,), number of right objects at the start of the episode.
        hand: (batch, 2), (row, column) in pixels of the agent, or of the place pointed at.
        bank: the sprites.
        ways: (batch,), for the tasks to remember what a scene's ways are; forgotten when its objects change.
    """

    scenes: Scenes
    role: Roles
    box: Int[np.ndarray, "batch slots 4"]
    total: Int[np.ndarray, " batch"]
    hand: Points
    bank: SpriteBank
    ways: np.ndarray

    @property
    def right(self) -> Mask:
        """Objects that the task asks for and that are still there."""
        return self.role == RIGHT

    def boxes(self) -> Int[np.ndarray, "batch slots 4"]:
        """Boxes of all sprites on the canvas, to be kept ``apart``."""
        return self.box + np.concatenate([self.scenes.location] * 2, axis=2)

    def blockers(self, slot: int | Int[np.ndarray, " batch"], location: Int[np.ndarray, "batch 2"]) -> Mask:
        """Which other sprites the sprite of a slot would come too close to, if it stood at a location."""
        everyone = np.arange(len(location))
        own = self.box[everyone, slot] + np.concatenate([location] * 2, axis=1)
        close = ~apart(own[:, None], self.boxes())
        close &= self.role != ABSENT
        close[everyone, slot] = False
        return close

    def begin(self, env: int, sprites: Sprites, roles: Sprites, locations: list[tuple[int, int]]) -> None:
        """Puts a new scene into one environment."""
        used, scenes = len(sprites), self.scenes
        for values in (scenes.sprite_index, scenes.location, self.box):
            values[env] = 0  # padding
        scenes.sprite_index[env, :used], scenes.location[env, :used], scenes.count[env] = sprites, locations, used
        self.role[env], self.role[env, :used] = ABSENT, roles
        self.box[env, :used] = grown_boxes(self.bank, sprites)
        self.total[env] = (roles == RIGHT).sum()
        self.ways[env] = None

    def remove(self, gone: Mask) -> None:
        """Takes objects away; those behind them move up."""
        rows = np.flatnonzero(gone.any(axis=1))
        self.role[gone] = ABSENT
        order = np.argsort(self.role[rows] == ABSENT, axis=1, kind="stable")
        for values in (self.scenes.sprite_index, self.scenes.location, self.box):
            values[gone] = 0  # padding
        for values in (self.scenes.sprite_index, self.role, self.scenes.location, self.box):
            values[rows] = values[rows[:, None], order]
        self.scenes.count[rows] -= gone[rows].sum(axis=1)
        self.ways[rows] = None

    def distance(self, wanted: Mask) -> Float[np.ndarray, " batch"]:
        """Distance from the hand to the nearest wanted object, in canvas diagonals; 0 where there is none."""
        gap = np.linalg.norm(self.scenes.location - self.hand[:, None], axis=2) / np.hypot(*self.scenes.canvas_size)
        nearest: Float[np.ndarray, " batch"] = np.where(wanted, gap, np.inf).min(axis=1, initial=np.inf)
        return np.where(wanted.any(axis=1), nearest, 0.0)
