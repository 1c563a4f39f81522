"""Combinations of shape and colour that objects may have, and which of them are held out for testing."""

from typing import Any

import numpy as np
from jaxtyping import Int

from lavae_rl.data.sprites import ANGLES, COLORS, SCALES, SHAPES

WHITE = len(COLORS) - 1
"""The agent's colour, and no object's."""


def sprite(shape: Any, scale: Any, angle: Any, color: Any) -> Any:
    """Index in the bank of dSprites of indices, or arrays of indices, into SHAPES, SCALES, ANGLES and COLORS."""
    return ((shape * len(SCALES) + scale) * len(ANGLES) + angle) * len(COLORS) + color


AGENT: int = sprite(SHAPES.index("square"), 0, len(ANGLES) // 8, WHITE)
"""The agent: the smallest square, upright."""

COMBINATIONS = np.array([(shape, color) for shape in range(len(SHAPES)) for color in range(WHITE)])
"""(shape, colour) of objects: each shape in each colour but white."""

HELD_OUT = COMBINATIONS[:, 1] % len(SHAPES) == COMBINATIONS[:, 0]
"""Mask of the combinations held out for testing: two colours of each shape, each colour of one shape."""


def combinations(mode: str) -> Int[np.ndarray, "combinations 2"]:
    """The (shape, colour) pairs of a mode."""
    return COMBINATIONS[HELD_OUT if mode == "test" else ~HELD_OUT]
