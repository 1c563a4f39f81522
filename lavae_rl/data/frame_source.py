"""The contract of what frames are read from."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Int

from lavae_rl.shapes import Frames

Index = slice | Int[np.ndarray, " selected"] | Bool[np.ndarray, " frames"]


@runtime_checkable
class FrameSource(Protocol):
    """A sequence of frames; the same index gives the same frames, on every machine and after a restart."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every frame."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Index) -> Frames: ...
