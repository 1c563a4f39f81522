"""Colours of moving things that a palette turns black."""

from collections import deque
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from lavae_rl.data.preprocessing import Preprocessing

OFTEN = 0.25
"""A colour is reported if it moves in this share of the frames."""

_PLACES = np.array([1 << 16, 1 << 8, 1])

Codes = Int[np.ndarray, "*frames height width"]
"""Colours as numbers: 65536 red + 256 green + blue."""


class LeftOutColors:
    """The latest frames of an environment, and the colours that move in them but are not in a palette.

    Args:
        prepare: has a palette.
        most: number of frames to remember.
    """

    def __init__(self, prepare: Preprocessing, most: int) -> None:
        # What the palette reads: it comes first after layout and crop.
        self._read = Preprocessing(prepare.layout, crop=prepare.crop)
        self._palette = np.array([color for color, _ in prepare.palette or ()]) @ _PLACES
        self._frames: deque[Codes] = deque(maxlen=most)

    @property
    def number(self) -> int:
        """Number of frames that are remembered."""
        return len(self._frames)

    def add(self, frames: np.ndarray) -> None:
        """Remember frames, uint8 (batch, *shape of a frame), as the environment gives them."""
        self._frames.extend((self._read(frames) @ _PLACES).astype(np.int32))

    def moving(self) -> Sequence[tuple[int, int, int]]:
        """RGB colours of what moves in many of the frames, over a background that is left out as well.

        Where the most frequent colour of a pixel and another one both turn black, a difference is lost. Of the two, the
        one that is rarer over all pixels is taken to be the thing's.
        """
        codes = np.stack(self._frames)
        background = _most_frequent(codes)
        lost = ~_in(codes, self._palette) & ~_in(background, self._palette) & (codes != background)
        there, behind = codes[lost], np.broadcast_to(background, codes.shape)[lost]
        colors = np.unique(np.concatenate([there, behind]))
        number = np.array([(codes == color).sum() for color in colors])
        number_there, number_behind = (number[np.searchsorted(colors, each)] for each in (there, behind))
        thing = np.where(number_there <= number_behind, there, behind)
        frame = np.nonzero(lost)[0]
        often = [color for color in colors if len(np.unique(frame[thing == color])) >= OFTEN * len(codes)]
        return [(int(color >> 16), int(color >> 8 & 255), int(color & 255)) for color in often]


def _in(codes: np.ndarray, palette: np.ndarray) -> np.ndarray:
    return np.logical_or.reduce([codes == color for color in palette])


def _most_frequent(codes: Codes) -> Int[np.ndarray, "height width"]:
    """The most frequent colour of each pixel; of equally frequent ones, the earliest."""
    number = np.stack([(codes == each).sum(axis=0) for each in codes])
    return np.take_along_axis(codes, number.argmax(axis=0)[None], axis=0)[0]
