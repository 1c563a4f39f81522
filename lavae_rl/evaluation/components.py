"""Detection without learning: connected components of what differs from the most frequent colours of each pixel.

This row stands beside every result of a model, on the same frames and by the same rule.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from lavae_rl.shapes import Frames

_CLOSING = np.ones((3, 3), np.uint8)


def background_states(frames: Frames, min_share: float = 1.0) -> UInt8[np.ndarray, "states height width channels"]:
    """Return the colours that each pixel has most often, the most frequent first.

    Args:
        frames: some 200 frames of different moments; more cost memory of 4 bytes a pixel.
        min_share: share of the frames that every further colour of a pixel must have, in (0, 1]. At 1 there is one
            state, the mode. A pixel with fewer states than others repeats its mode.

    Raises:
        ValueError: no frames, or a share out of range.
    """
    if not len(frames):
        raise ValueError("expected at least one frame to take the background from, got none")
    if not 0 < min_share <= 1:
        raise ValueError(f"expected min_share in (0, 1], got {min_share}")
    count, height, width, channels = frames.shape
    weights = 256 ** np.arange(channels)
    colours = np.sort((frames.astype(np.int64) @ weights).reshape(count, -1), axis=0)
    rank, share = _runs(colours)
    limit = max(1, int((share >= min_share).sum(0).max()))
    states: list[np.ndarray] = []
    for i in range(limit):
        longest = rank.argmax(0)[None]  # of the runs that are left
        state = np.take_along_axis(colours, longest, 0)[0]
        enough = np.take_along_axis(share, longest, 0)[0] >= min_share
        states.append(state if i == 0 else np.where(enough, state, states[0]))
        np.put_along_axis(rank, longest, 0, 0)
    codes = np.stack(states).reshape(limit, height, width, 1)
    return (codes // weights % 256).astype(np.uint8)


def _runs(colours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Length of each run of equal values along axis 0, at its end and 0 elsewhere, and its share of the axis."""
    count = len(colours)
    ends = np.ones(colours.shape, bool)
    ends[:-1] = colours[1:] != colours[:-1]
    index = np.arange(count)[:, None]
    before = np.full_like(colours, -1)
    before[1:] = np.maximum.accumulate(np.where(ends, index, -1), axis=0)[:-1]
    length = np.where(ends, index - before, 0)
    return length, length / count


@dataclass(frozen=True)
class ComponentDetector:
    """Detector of connected components that differ from the background."""

    background: UInt8[np.ndarray, "states height width channels"]
    """See ``background_states``; a pixel differs if it has none of its states."""
    min_pixels: int = 4
    """Smallest number of pixels of a component, after closing."""
    playfield: tuple[int, int, int, int] | None = None
    """Rectangle (row, column, height, width) in pixels outside of which nothing differs; by default the whole frame."""

    def __call__(self, frames: Frames) -> list[tuple[Int[np.ndarray, "_ 4"], Float[np.ndarray, " _"]]]:
        """Detect the objects of each frame.

        Returns:
            For each frame its boxes (row, column, height, width) in pixels, the largest component first, and as their
            confidence the numbers of pixels.

        Raises:
            ValueError: frames of another shape than the background.
        """
        return [self._detect(different) for different in self.foreground(frames)]

    def foreground(self, frames: Frames) -> Bool[np.ndarray, "batch height width"]:
        """Return where frames differ from all states of the background in any channel."""
        if frames.shape[1:] != self.background.shape[1:]:
            raise ValueError(f"expected frames of {self.background.shape[1:]}, got {frames.shape[1:]}")
        different = np.ones(frames.shape[:3], bool)
        for state in self.background:
            different &= (frames != state).any(3)
        if self.playfield is None:
            return different
        row, column, height, width = self.playfield
        cut = np.zeros_like(different)
        area = (slice(None), slice(row, row + height), slice(column, column + width))
        cut[area] = different[area]
        return cut

    def _detect(self, different: Bool[np.ndarray, "height width"]) -> tuple[np.ndarray, np.ndarray]:
        closed = cv2.morphologyEx(different.astype(np.uint8), cv2.MORPH_CLOSE, _CLOSING)
        stats = cv2.connectedComponentsWithStats(closed, connectivity=8)[2][1:]
        stats = stats[stats[:, cv2.CC_STAT_AREA] >= self.min_pixels]
        stats = stats[np.argsort(-stats[:, cv2.CC_STAT_AREA], kind="stable")]
        left, top, width, height, area = stats.T
        return np.stack([top, left, height, width], 1).astype(np.int64), area.astype(float)
