"""The state of a batch of environments: a scene each, and what every object in it means to the task."""

import numpy as np
from jaxtyping import Float, Int

from lavae_rl.data.scenes import Scenes, apart, grown_boxes
from lavae_rl.data.sprites import SpriteBank
from lavae_rl.shapes import Mask

ABSENT, NEUTRAL, TARGET, DISTRACTOR = -1, 0, 1, 2
"""Roles: unused slots; the agent or the cue; objects that the task asks for; objects to leave alone."""

Sprites = Int[np.ndarray, " slots"]


class World:
    """A batch of scenes, changed in place by the tasks; as it is made, no environment has a scene yet."""

    def __init__(self, bank: SpriteBank, num_envs: int, slots: int, canvas_size: tuple[int, int]) -> None:
        self.bank = bank
        sprites, location = np.zeros((num_envs, slots), np.int32), np.zeros((num_envs, slots, 2), np.int16)
        self.scenes = Scenes(sprites, location, np.zeros(num_envs, np.int64), canvas_size)
        """Slot 0 holds the agent or the cue, where the task has one."""
        self.role: Int[np.ndarray, "batch slots"] = np.full((num_envs, slots), ABSENT)
        self.box: Int[np.ndarray, "batch slots 4"] = np.zeros((num_envs, slots, 4), np.int64)
        """Boxes to be kept ``apart``, relative to the sprites' centres."""
        self.total: Int[np.ndarray, " batch"] = np.ones(num_envs, np.int64)
        """Number of targets at the start of the episode."""
        self.pointer: Float[np.ndarray, "batch 2"] = np.zeros((num_envs, 2))
        """(row, column) in pixels of the agent, or of the place pointed at."""
        self.distance_fields = np.full(num_envs, None)
        """A cache for the tasks, emptied where objects change."""

    @property
    def targets(self) -> Mask:
        """Targets that are left."""
        return self.role == TARGET

    def locations(self, env: int) -> list[tuple[int, int]]:
        """(row, column) of the sprites of one environment, as plain integers."""
        return [(row, column) for row, column in self.scenes.location[env].tolist()]

    def boxes(self) -> Int[np.ndarray, "batch slots 4"]:
        """Boxes of all sprites on the canvas, to be kept ``apart``."""
        return self.box + np.concatenate([self.scenes.location] * 2, axis=2)

    def blockers(self, slot: int | Int[np.ndarray, " batch"], location: Int[np.ndarray, "batch 2"]) -> Mask:
        """Other sprites that the sprite of a slot would come too close to, if it stood at a location."""
        everyone = np.arange(len(location))
        own = self.box[everyone, slot] + np.concatenate([location] * 2, axis=1)
        close = ~apart(own[:, None], self.boxes())
        close &= self.role != ABSENT
        close[everyone, slot] = False
        return close

    def begin(self, env: int, sprites: Sprites, roles: Sprites, locations: list[tuple[int, int]]) -> None:
        """Put a new scene into one environment."""
        used, scenes = len(sprites), self.scenes
        for values in (scenes.sprite_index, scenes.location, self.box):
            values[env] = 0  # padding
        scenes.sprite_index[env, :used], scenes.location[env, :used], scenes.count[env] = sprites, locations, used
        self.role[env], self.role[env, :used] = ABSENT, roles
        self.box[env, :used] = grown_boxes(self.bank, sprites)
        self.total[env] = (roles == TARGET).sum()
        self.distance_fields[env] = None

    def remove(self, gone: Mask) -> None:
        """Take objects away; those behind them move up."""
        rows = np.flatnonzero(gone.any(axis=1))
        self.role[gone] = ABSENT
        order = np.argsort(self.role[rows] == ABSENT, axis=1, kind="stable")
        for values in (self.scenes.sprite_index, self.scenes.location, self.box):
            values[gone] = 0  # padding
        for values in (self.scenes.sprite_index, self.role, self.scenes.location, self.box):
            values[rows] = values[rows[:, None], order]
        self.scenes.count[rows] -= gone[rows].sum(axis=1)
        self.distance_fields[rows] = None

    def distance(self, objects: Mask) -> Float[np.ndarray, " batch"]:
        """Distance from the pointer to the nearest of some objects, in canvas diagonals; 0 where there is none."""
        gap = np.linalg.norm(self.scenes.location - self.pointer[:, None], axis=2) / np.hypot(*self.scenes.canvas_size)
        return np.where(objects.any(axis=1), np.where(objects, gap, np.inf).min(axis=1, initial=np.inf), 0.0)
