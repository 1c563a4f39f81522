"""Frames for a model of binary frames: what is not binary is refused at the start of a training, mended later."""

import numpy as np

from lavae_rl.shapes import Frames
from lavae_rl.warn import warn_user

_THRESHOLD = 127


class BinaryFrames:
    """The frames that a model of binary frames gets to read in the course of a training.

    Such a model raises ValueError on pixels other than 0 and 255. That is right for the first frames: the model cannot
    read this environment, and nothing is lost yet. Once frames were binary and showed something, the environment is one
    that the model reads, and a frame that is not binary (a flash, a fade, a scaled picture) must not end a training
    after hours. From then on values above 127 become 255 and the others 0. The first time, a warning is issued, and
    ``num_mended`` counts such frames.
    """

    def __init__(self) -> None:
        self.num_mended = 0
        """Number of frames that were not binary, and were made so."""
        self._were_binary = False

    def __call__(self, frames: Frames) -> Frames:
        """Return frames as they are, or, if they are not binary and earlier ones were, made binary."""
        # In uint8, 255 + 1 is 0.
        grey = (frames + np.uint8(1)).max(axis=(1, 2, 3), initial=0) > 1
        if not grey.any():
            self._were_binary = self._were_binary or bool(frames.any())
            return frames
        if not self._were_binary:
            return frames
        if not self.num_mended:
            warn_user(
                "a frame has pixels other than 0 and 255, unlike those before, and the model reads binary frames: from "
                f"now on, in such frames, values above {_THRESHOLD} become 255 and the others 0. "
                f"Preprocessing(threshold={_THRESHOLD}) does this from the beginning; BinaryFrames.num_mended counts "
                "such frames"
            )
        self.num_mended += int(grey.sum())
        return np.where(frames > _THRESHOLD, np.uint8(255), np.uint8(0))
