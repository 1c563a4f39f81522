"""The true state as tokens, in the layout of LAVAE's: (x, y), then what there is to know of an object's look."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from jaxtyping import Float, Int

from lavae_rl.data.scenes import Scenes
from lavae_rl.data.sprites import COLORS, SHAPES, SpriteBank


class OracleTokens:
    """Tokens of true locations and attributes.

    A token is x and y in [-1, 1] (x to the right, y down, (-1, -1) the centre of the top left pixel), then for
    shapes: square, ellipse, triangle (one is 1), scale, sine and cosine of the angle, red, green, blue; for digits: 0
    to 9 (one is 1). Unused slots are 0. Objects stand from top to bottom, so that their order says nothing of their
    role; the agent and the cue are among them.

    Args:
        bank: the sprites.
        max_objects: number K of slots.
    """

    def __init__(self, bank: SpriteBank, max_objects: int) -> None:
        self._look = _look(bank.attributes)
        self._slots = max_objects

    def spaces(self) -> dict[str, "spaces.Space[Any]"]:
        """``{"tokens": (K, 2 + D) float32, "mask": (K,) int8}``."""
        shape = (self._slots, 2 + self._look.shape[1])
        return {"tokens": spaces.Box(-1, 1, shape, np.float32), "mask": spaces.MultiBinary(self._slots)}

    def __call__(self, scenes: Scenes) -> dict[str, np.ndarray]:
        """Tokens and mask of a batch of scenes, new arrays each time."""
        extent = np.array(scenes.canvas_size[::-1]) - 1
        xy = scenes.location[..., ::-1] / extent * 2 - 1
        tokens = np.where(scenes.mask[..., None], np.concatenate([xy, self._look[scenes.sprite_index]], axis=2), 0)
        order = np.argsort(np.where(scenes.mask, _reading_order(scenes), np.inf), axis=1, kind="stable")
        padding = self._slots - order.shape[1]
        tokens = np.take_along_axis(tokens, order[..., None], axis=1)
        return {
            "tokens": np.pad(tokens, [(0, 0), (0, padding), (0, 0)]).astype(np.float32),
            "mask": (np.arange(self._slots) < scenes.count[:, None]).astype(np.int8),
        }


def _reading_order(scenes: Scenes) -> Int[np.ndarray, "batch slots"]:
    return scenes.location[..., 0].astype(np.int64) * scenes.canvas_size[1] + scenes.location[..., 1]


def _look(attributes: Mapping[str, np.ndarray]) -> Float[np.ndarray, "sprites attributes"]:
    if "label" in attributes:
        return np.eye(10)[attributes["label"]]
    angle = attributes["angle"]
    size_and_angle = np.stack([attributes["scale"], np.sin(angle), np.cos(angle)], axis=1)
    return np.concatenate(
        [np.eye(len(SHAPES))[attributes["shape"]], size_and_angle, COLORS[attributes["color"]] / 255], axis=1
    )
