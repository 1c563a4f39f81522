"""Conversion between the two coordinate systems, locations in pixels and (x, y) of tokens and pointers.

A *location* is (row, column) in pixels, row down, as in ``lavae_rl.data.scenes``. Tokens and pointers carry (x, y) in
[-1, 1]: x to the right, y down, (-1, -1) the centre of the top left pixel, (1, 1) that of the bottom right one.
"""

import numpy as np
from jaxtyping import Float, Shaped


def to_xy(location: Shaped[np.ndarray, "*axes 2"], canvas_size: tuple[int, int]) -> Float[np.ndarray, "*axes 2"]:
    """Convert locations to (x, y) in [-1, 1].

    Args:
        location: (row, column) in pixels.
        canvas_size: (height, width) in pixels.
    """
    extent = np.array(canvas_size[::-1]) - 1
    return location[..., ::-1] / extent * 2 - 1


def to_location(xy: Float[np.ndarray, "*axes 2"], canvas_size: tuple[int, int]) -> Float[np.ndarray, "*axes 2"]:
    """Convert (x, y) in [-1, 1] to locations, (row, column) in pixels, not rounded.

    Args:
        xy: (x, y), not clipped: points outside [-1, 1] lie outside the canvas.
        canvas_size: (height, width) in pixels.
    """
    extent = np.array(canvas_size) - 1
    return (xy[..., ::-1] + 1) / 2 * extent
