"""The maximum of successive frames, for screens on which objects flicker."""

import numpy as np
from jaxtyping import Int, UInt8


class FrameMaximum:
    """The pixelwise maximum of the last two frames of each of ``num_envs`` environments.

    It is what ``Preprocessing.max_frames`` of 2 declares, and what ``collect`` stores by the setting of that name.
    """

    def __init__(self, num_envs: int) -> None:
        self._last: list[np.ndarray | None] = [None] * num_envs

    def update(self, frames: UInt8[np.ndarray, "batch ..."], owners: Int[np.ndarray, " batch"]) -> np.ndarray:
        """Take the next frame of some environments, and return its maximum with the one before it.

        The first frame after a reset comes back as it is.

        Args:
            frames: as the environments give them, of any layout.
            owners: index of the environment of each frame.
        """
        maxima = np.array(frames)
        for frame, maximum, owner in zip(frames, maxima, owners.tolist(), strict=True):
            if (last := self._last[owner]) is not None:
                np.maximum(frame, last, out=maximum)
            self._last[owner] = frame.copy()
        return maxima

    def reset(self, envs: Int[np.ndarray, " started"]) -> None:
        """Forget the frames of the given environments, in which a new episode begins."""
        for index in envs.tolist():
            self._last[index] = None
