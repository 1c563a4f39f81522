"""Tokens: a fixed-size array and mask that describe the objects of a frame, made of named features."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float

from lavae_rl.data.coordinates import to_xy
from lavae_rl.model.objects import Objects

APPEARANCE_RANGE = 5.0
"""Bound of appearances, which are posterior means under a N(0, 1) prior: trained models do not reach it."""

Velocity = Float[np.ndarray, "batch slots 2"]
Observations = Any
"""``{"tokens": float32 (batch, K, width), "mask": int8 (batch, K)}``, or float32 (batch, features) when flat."""


@dataclass(frozen=True)
class Feature:
    """One named part of a token: ``width`` numbers, clipped to ``range`` (low, high)."""

    name: str
    width: int
    range: tuple[float, float]
    read: Callable[[Objects, Any], Any]
    """Compute the values, (batch, slots, width), from ``Objects`` and their ``Velocity``."""


@dataclass(frozen=True)
class TokenLayout:
    """The features that make up a token, and the arrays that hold the tokens of a batch.

    Unused slots are 0. Objects stand in the order of presence, the most confident first, or with tracking, each in its
    own slot. Raises ValueError on ``max_objects`` below 1.
    """

    max_objects: int
    """Number K of slots."""
    latents: int
    """Number D of appearance latents."""
    presence: bool = False
    """Append the probability that there is an object."""
    velocity: bool = False
    """Append the change of (x, y) per frame since the object was last detected, in token units."""
    flatten: bool = False
    """One vector (K * (1 + width),), for each slot its mask and its token, instead of a dictionary."""
    box: bool = False
    """Append width and height of the box of the decoded sprite, in token units: 2 is the extent of the canvas."""

    def __post_init__(self) -> None:
        if self.max_objects < 1:
            raise ValueError(f"expected max_objects of at least 1, got {self.max_objects}")

    @property
    def features(self) -> Sequence[Feature]:
        """The features of a token, in their order; a new feature is one entry here."""
        clip = (-APPEARANCE_RANGE, APPEARANCE_RANGE)
        entries = (
            (True, Feature("xy", 2, (-1.0, 1.0), lambda objects, _: to_xy(objects.location, objects.canvas_size))),
            (True, Feature("appearance", self.latents, clip, lambda objects, _: objects.appearance)),
            (self.presence, Feature("presence", 1, (0.0, 1.0), lambda objects, _: objects.presence[..., None])),
            (self.velocity, Feature("velocity", 2, (-2.0, 2.0), lambda _, velocity: velocity)),
            (self.box, Feature("box", 2, (0.0, 2.0), lambda objects, _: _extent(objects))),
        )
        return [feature for chosen, feature in entries if chosen]

    @property
    def width(self) -> int:
        """Numbers per token."""
        return sum(feature.width for feature in self.features)

    def space(self) -> "spaces.Space[Any]":
        """The observation space: ``{"tokens": Box (K, width), "mask": MultiBinary (K,)}``, or a flat Box."""
        ranges = np.array([feature.range for feature in self.features], np.float32)
        low, high = np.repeat(ranges, [feature.width for feature in self.features], axis=0).T
        if self.flatten:
            low, high = np.insert(low, 0, 0), np.insert(high, 0, 1)  # the mask comes before each token
            return spaces.Box(np.tile(low, self.max_objects), np.tile(high, self.max_objects))
        tokens = spaces.Box(np.tile(low, (self.max_objects, 1)), np.tile(high, (self.max_objects, 1)))
        return spaces.Dict({"tokens": tokens, "mask": spaces.MultiBinary(self.max_objects)})

    def tokens(self, objects: Objects, velocity: Velocity | None = None) -> Observations:
        """Compute the observations of a batch of NumPy objects in ``max_objects`` slots, in new arrays."""
        parts = [feature.read(objects, velocity).clip(*feature.range) for feature in self.features]
        mask = objects.mask[..., None]
        tokens = np.where(mask, np.concatenate(parts, axis=2), 0).astype(np.float32)
        if not self.flatten:
            return {"tokens": tokens, "mask": objects.mask.astype(np.int8)}
        flat = np.concatenate([mask.astype(np.float32), tokens], axis=2)
        return flat.reshape(len(tokens), self.max_objects * (1 + self.width))


def _extent(objects: Objects) -> Float[np.ndarray, "batch slots 2"]:
    height, width = objects.canvas_size
    return 2 * objects.box[..., :1:-1] / np.array([width - 1, height - 1])
