"""The true state as tokens, in the layout of LAVAE's: (x, y), then the attributes of an object."""

from collections.abc import Mapping

import numpy as np
from gymnasium import spaces
from jaxtyping import Float

from lavae_rl.data.coordinates import to_xy
from lavae_rl.data.scenes import Scenes
from lavae_rl.data.sprites import COLORS, SHAPES, SpriteBank


class OracleTokens:
    """Tokens of true locations and attributes.

    A token is x and y in [-1, 1] (x to the right, y down, (-1, -1) the centre of the top left pixel), then for
    shapes: square, ellipse, triangle (one is 1), scale, sine and cosine of the angle, red, green, blue; for digits: 0
    to 9 (one is 1). Unused slots are 0. Objects are ordered from top to bottom, so that their order reveals nothing of
    their role; the agent and the cue are among them. ``space`` is ``{"tokens": (K, 2 + D) float32, "mask": (K,) int8}``
    with K = ``max_objects``.
    """

    def __init__(self, bank: SpriteBank, max_objects: int) -> None:
        self._attributes = _attributes(bank.attributes)
        self._slots = max_objects
        tokens = spaces.Box(-1, 1, (max_objects, 2 + self._attributes.shape[1]), np.float32)
        self.space = spaces.Dict({"tokens": tokens, "mask": spaces.MultiBinary(max_objects)})

    def __call__(self, scenes: Scenes) -> dict[str, np.ndarray]:
        """Tokens and mask of a batch of scenes, new arrays each time."""
        xy = to_xy(scenes.location, scenes.canvas_size)
        tokens = np.concatenate([xy, self._attributes[scenes.sprite_index]], axis=2)
        tokens = np.where(scenes.mask[..., None], tokens, 0)
        row, column = scenes.location[..., 0].astype(np.int64), scenes.location[..., 1]
        reading_order = np.where(scenes.mask, row * scenes.canvas_size[1] + column, np.inf)
        order = np.argsort(reading_order, axis=1, kind="stable")
        padding = self._slots - order.shape[1]
        tokens = np.take_along_axis(tokens, order[..., None], axis=1)
        return {
            "tokens": np.pad(tokens, [(0, 0), (0, padding), (0, 0)]).astype(np.float32),
            "mask": (np.arange(self._slots) < scenes.count[:, None]).astype(np.int8),
        }


def _attributes(attributes: Mapping[str, np.ndarray]) -> Float[np.ndarray, "sprites attributes"]:
    if "label" in attributes:
        return np.eye(10)[attributes["label"]]
    angle = attributes["angle"]
    size_and_angle = np.stack([attributes["scale"], np.sin(angle), np.cos(angle)], axis=1)
    shape, color = np.eye(len(SHAPES))[attributes["shape"]], COLORS[attributes["color"]] / 255
    return np.concatenate([shape, size_and_angle, color], axis=1)
