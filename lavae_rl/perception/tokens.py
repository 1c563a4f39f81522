"""Tokens: a fixed-size array and mask that say what the objects of a frame are."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float

from lavae_rl.model.objects import Objects

APPEARANCE_RANGE = 5.0
"""Appearances are posterior means under a N(0, 1) prior: clipped here, which trained models do not reach."""


Observations = Any
"""``{"tokens": float32 (batch, K, width), "mask": int8 (batch, K)}``, or float32 (batch, features) when flat."""


@dataclass(frozen=True)
class TokenLayout:
    """What a token is made of: x, y, appearance, then what was asked for.

    x and y are in [-1, 1], x to the right, y down, (-1, -1) the centre of the top left pixel; appearances in
    [-5, 5]; presence, a probability, in [0, 1]; velocity (x, y) in [-2, 2], the change per frame since the
    object was last seen. Unused slots are 0. Objects stand in the order of
    presence, the surest first, or with tracking, each in its slot.
    """

    max_objects: int
    """Number K of slots."""
    latents: int
    """Number D of appearance latents."""
    presence: bool = False
    """Append the probability that there is an object."""
    velocity: bool = False
    """Append the velocity."""
    flatten: bool = False
    """One vector (K * (1 + width),), for each slot its mask and its token, instead of a dictionary."""

    def __post_init__(self) -> None:
        if self.max_objects < 1:
            raise ValueError(f"expected max_objects of at least 1, got {self.max_objects}")

    @property
    def width(self) -> int:
        """Numbers per token."""
        return 2 + self.latents + self.presence + 2 * self.velocity

    def space(self) -> "spaces.Space[Any]":
        """The observation space: ``{"tokens": Box (K, width), "mask": MultiBinary (K,)}``, or a flat Box."""
        high = np.array(
            [1.0, 1.0] + [APPEARANCE_RANGE] * self.latents + [1.0] * self.presence + [2.0] * 2 * self.velocity,
            np.float32,
        )
        low = -high
        if self.presence:
            low[2 + self.latents] = 0.0
        if self.flatten:
            low, high = np.insert(low, 0, 0.0), np.insert(high, 0, 1.0)
            return spaces.Box(np.tile(low, self.max_objects), np.tile(high, self.max_objects), dtype=np.float32)
        shape = (self.max_objects, 1)
        tokens = spaces.Box(np.tile(low, shape), np.tile(high, shape), dtype=np.float32)
        return spaces.Dict({"tokens": tokens, "mask": spaces.MultiBinary(self.max_objects)})

    def tokens(self, objects: Objects, velocity: Float[np.ndarray, "batch slots 2"] | None = None) -> Observations:
        """Observations of a batch, new arrays each time.

        Args:
            objects: NumPy, in ``max_objects`` slots.
            velocity: change of (x, y) since the last frame; needed with ``velocity=True``.
        """
        parts = [normalised_xy(objects), objects.appearance.clip(-APPEARANCE_RANGE, APPEARANCE_RANGE)]
        if self.presence:
            parts.append(objects.presence[..., None])
        if self.velocity:
            if velocity is None:
                raise ValueError("expected velocities for a layout with velocity, got None")
            parts.append(velocity.clip(-2, 2))
        mask = objects.mask
        tokens = np.where(mask[..., None], np.concatenate(parts, axis=2), 0).astype(np.float32)
        if self.flatten:
            return (
                np.concatenate([mask[..., None], tokens], axis=2)
                .astype(np.float32)
                .reshape(len(tokens), self.max_objects * (1 + self.width))
            )
        return {"tokens": tokens, "mask": mask.astype(np.int8)}


def normalised_xy(objects: Objects) -> Float[np.ndarray, "batch slots 2"]:
    """Locations as (x, y) in [-1, 1] between the centres of the first and last pixels."""
    extent = np.array(objects.canvas_size[::-1]) - 1
    xy: Float[np.ndarray, "batch slots 2"] = objects.location[..., ::-1] / extent * 2 - 1
    return xy
