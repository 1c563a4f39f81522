"""THE two coordinate conventions: (row, column) in pixels, and (x, y) in [-1, 1].

Frames are uint8 (height, width, channels). A *location* is a (row, column) in pixels, with row 0 at the top and column
0 at the left; scenes and the model use it. Agents read and point at (x, y) in [-1, 1], with x to the right and y down:
(-1, -1) is the centre of the top left pixel and (1, 1) that of the bottom right one, on canvases of every shape.
"""

import numpy as np
from jaxtyping import Float, Num


def to_xy(location: Num[np.ndarray, "*axes 2"], canvas_size: tuple[int, int]) -> Float[np.ndarray, "*axes 2"]:
    """Convert (row, column) in pixels to (x, y) in [-1, 1]; ``canvas_size`` is (height, width), of at least 2 each.

    The last row of an 11 x 21 canvas is y = 1, and its middle column is x = 0:

    >>> to_xy(np.array([10, 10]), (11, 21))
    array([0., 1.])
    """
    return location[..., ::-1] / (np.array(canvas_size[::-1]) - 1) * 2 - 1


def to_location(xy: Float[np.ndarray, "*axes 2"], canvas_size: tuple[int, int]) -> Float[np.ndarray, "*axes 2"]:
    """Convert (x, y) in [-1, 1] to (row, column) in pixels, not rounded: the inverse of ``to_xy``."""
    return (xy[..., ::-1] + 1) / 2 * (np.array(canvas_size) - 1)
