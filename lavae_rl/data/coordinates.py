"""THE two coordinate conventions: (row, column) in pixels, and (x, y) in [-1, 1].

Frames are uint8 (height, width, channels). A *location* is a (row, column) in pixels, with row 0 at the top and column
0 at the left; scenes and the model use it. Agents read and point at (x, y) in [-1, 1], with x to the right and y down:
(-1, -1) is the centre of the top left pixel and (1, 1) that of the bottom right one, on canvases of every shape.
"""

import numpy as np
from jaxtyping import Float, Num


def to_xy(location: Num[np.ndarray, "*axes 2"], canvas_size: tuple[int, int]) -> Float[np.ndarray, "*axes 2"]:
    """Convert (row, column) in pixels to (x, y) in [-1, 1].

    Args:
        location: (row, column), from (0, 0) to (height - 1, width - 1).
        canvas_size: (height, width) in pixels, of at least 2 each.

    The last row of an 11 x 21 canvas is y = 1, and its middle column is x = 0:

    >>> to_xy(np.array([10, 10]), (11, 21))
    array([0., 1.])
    """
    extent = np.array(canvas_size[::-1]) - 1
    return location[..., ::-1] / extent * 2 - 1


def to_location(xy: Float[np.ndarray, "*axes 2"], canvas_size: tuple[int, int]) -> Float[np.ndarray, "*axes 2"]:
    """Convert (x, y) in [-1, 1] to (row, column) in pixels, not rounded.

    Args:
        xy: from (-1, -1) to (1, 1); points outside lie outside the canvas.
        canvas_size: (height, width) in pixels.

    >>> to_location(np.array([0.0, 1.0]), (11, 21))
    array([10., 10.])
    """
    extent = np.array(canvas_size) - 1
    return (xy[..., ::-1] + 1) / 2 * extent
