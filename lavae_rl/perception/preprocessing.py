"""Frames that are not ours: a declared way from an environment's frames to the binary frames a model reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from lavae_rl.shapes import Frames

Color = tuple[int, int, int]


@dataclass(frozen=True)
class Preprocessing:
    """What to do with frames before a model sees them, in the order of the fields.

    The default does nothing: the frames must be what the model reads, or it says so. Raises ValueError on values that
    make no sense together.
    """

    layout: str = "hwc"
    """Order of the axes of a frame: "hwc" (height, width, channels), "chw", or "hw" (grey without a channel axis)."""
    resize: tuple[int, int] | None = None
    """(height, width) in pixels to scale to: whole-number enlargement by nearest pixel, otherwise by area."""
    palette: Sequence[tuple[Color, Color]] | None = None
    """Pairs of an RGB colour of objects and what it becomes, each value 0 or 255; all other colours turn black."""
    grey: bool = False
    """Turn RGB into grey, by OpenCV's weights, for models of one channel."""
    threshold: int | None = None
    """0 to 254: channels above it become 255, the others 0."""

    def __post_init__(self) -> None:
        if self.layout not in ("hwc", "chw", "hw"):
            raise ValueError(f'expected layout "hwc", "chw" or "hw", got {self.layout!r}')
        if self.threshold is not None and not 0 <= self.threshold <= 254:
            raise ValueError(f"expected threshold of 0 to 254, got {self.threshold}")
        if self.resize is not None and min(self.resize) < 1:
            raise ValueError(f"expected resize to (height, width) of at least 1 pixel, got {self.resize}")
        if self.palette is not None and self.layout == "hw":
            raise ValueError('a palette needs colours: layout "hw" has none')

    def canvas_size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """(height, width) that frames of this shape come out with."""
        rank = 2 if self.layout == "hw" else 3
        if len(shape) != rank:
            raise ValueError(f'expected frames of {rank} axes for layout "{self.layout}", got shape {shape}')
        if self.resize is not None:
            return self.resize
        return (shape[1], shape[2]) if self.layout == "chw" else (shape[0], shape[1])

    def __call__(self, frames: np.ndarray) -> Frames:
        """Prepares a batch of frames, uint8 (batch, *shape of a frame).

        Raises:
            TypeError: frames that are not uint8.
            ValueError: frames whose axes are not as ``layout`` says, or without the colours an option needs.
        """
        if frames.dtype != np.uint8:
            raise TypeError(f"expected frames as uint8 with values 0 to 255, got {frames.dtype}")
        self.canvas_size(frames.shape[1:])
        if self.layout == "chw":
            frames = frames.transpose(0, 2, 3, 1)
        elif self.layout == "hw":
            frames = frames[..., None]
        if (self.palette is not None or self.grey) and frames.shape[3] != 3:
            raise ValueError(f"expected RGB frames for palette and grey, got {frames.shape[3]} channels")
        if self.resize is not None and frames.shape[1:3] != self.resize:
            frames = _resize(frames, self.resize)
        if self.palette is not None:
            frames = _apply_palette(frames, self.palette)
        if self.grey:
            frames = np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])[..., None]
        if self.threshold is not None:
            frames = np.where(frames > self.threshold, np.uint8(255), np.uint8(0))
        return np.ascontiguousarray(frames)


def _resize(frames: Frames, size: tuple[int, int]) -> UInt8[np.ndarray, "batch rows columns channels"]:
    height, width = size
    whole = height % frames.shape[1] == 0 and width % frames.shape[2] == 0
    interpolation = cv2.INTER_NEAREST if whole else cv2.INTER_AREA
    resized = [
        cv2.resize(frame, (width, height), interpolation=interpolation) for frame in np.ascontiguousarray(frames)
    ]
    return np.stack(resized).reshape(len(frames), height, width, frames.shape[3])


def _apply_palette(frames: Frames, palette: Sequence[tuple[Color, Color]]) -> Frames:
    result = np.zeros_like(frames)
    for color, becomes in palette:
        result[(frames == np.array(color, np.uint8)).all(axis=3)] = becomes
    return result
