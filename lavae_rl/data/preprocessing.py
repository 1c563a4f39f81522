"""Preprocessing: a declared way from the frames of an environment to the binary frames that a model reads."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import UInt8

from lavae_rl.shapes import Frames

Color = Sequence[int]
"""Red, green and blue, 0 to 255."""


@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of frames, in the order of the fields; stored with the weights of a model.

    The default does nothing, and the model refuses frames that it cannot read. Raises ValueError on values that make
    no sense together.
    """

    layout: str = "hwc"
    """Order of the axes of a frame: "hwc" (height, width, channels), "chw", or "hw" (grey without a channel axis)."""
    palette: Sequence[Sequence[Color]] | None = None
    """Pairs of an RGB colour of objects and what it becomes, each value 0 or 255; all other colours turn black."""
    channels: int | None = None
    """1 turns RGB into grey by OpenCV's weights (pure red becomes 76, green 150, blue 29); 3 repeats grey."""
    resize: Sequence[int] | None = None
    """(height, width) in pixels to scale to: whole-number enlargement by nearest pixel, otherwise by area."""
    threshold: int | None = None
    """0 to 254: values above it become 255, the others 0."""

    def __post_init__(self) -> None:
        if self.layout not in ("hwc", "chw", "hw"):
            raise ValueError(f'expected layout "hwc", "chw" or "hw", got {self.layout!r}')
        if self.threshold is not None and not 0 <= self.threshold <= 254:
            raise ValueError(f"expected threshold of 0 to 254, got {self.threshold}")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"expected channels 1 or 3, got {self.channels}")
        if self.resize is not None:
            size = tuple(self.resize)
            if len(size) != 2 or min(size) < 1:
                raise ValueError(f"expected resize to (height, width) of at least 1 pixel, got {self.resize}")
            object.__setattr__(self, "resize", size)
        if self.palette is not None:
            pairs = [(color, becomes) for color, becomes in self.palette if len(color) == len(becomes) == 3]
            binary = all(value in (0, 255) for _, becomes in pairs for value in becomes)
            if len(pairs) != len(self.palette) or not binary or self.layout == "hw":
                raise ValueError(
                    "expected palette as pairs ((r, g, b), (r, g, b)), the second of values 0 and 255, for frames with "
                    f'colours; got {self.palette} for layout "{self.layout}"'
                )
            object.__setattr__(self, "palette", tuple((tuple(color), tuple(becomes)) for color, becomes in pairs))

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Shape (height, width, channels) of prepared frames.

        Args:
            shape: of a single frame before.

        Raises:
            ValueError: a shape whose axes are not as ``layout`` says.
        """
        rank = 2 if self.layout == "hw" else 3
        if len(shape) != rank:
            raise ValueError(f'expected frames of {rank} axes for layout "{self.layout}", got shape {shape}')
        *size, channels = (*shape[1:], shape[0]) if self.layout == "chw" else (*shape, 1)[:3]
        height, width = self.resize or size
        return height, width, self.channels or channels

    def __call__(self, frames: np.ndarray) -> Frames:
        """Prepare a batch of frames, uint8 (batch, *shape of a frame).

        Raises:
            TypeError: frames that are not uint8.
            ValueError: frames whose axes are not as ``layout`` says, or without the colours an option needs.
        """
        if frames.dtype != np.uint8:
            raise TypeError(f"expected frames as uint8 with values 0 to 255, got {frames.dtype}")
        height, width, _ = self.output_shape(frames.shape[1:])
        if self.layout == "chw":
            frames = frames.transpose(0, 2, 3, 1)
        elif self.layout == "hw":
            frames = frames[..., None]
        if self.palette is not None:
            frames = _apply_palette(frames, self.palette)
        if self.channels is not None and frames.shape[3] != self.channels:
            frames = _convert(frames, self.channels)
        # After the palette, which holds no blends of two colours, and before the threshold, which makes them binary.
        if frames.shape[1:3] != (height, width):
            frames = _resize(frames, height, width)
        if self.threshold is not None:
            frames = np.where(frames > self.threshold, np.uint8(255), np.uint8(0))
        return np.ascontiguousarray(frames)


def _convert(frames: Frames, channels: int) -> UInt8[np.ndarray, "batch height width converted"]:
    if (frames.shape[3], channels) == (1, 3):
        return frames.repeat(3, axis=3)
    if frames.shape[3] != 3:
        raise ValueError(f"expected grey or RGB frames to convert, got {frames.shape[3]} channels")
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in np.ascontiguousarray(frames)])[..., None]


def _resize(frames: Frames, height: int, width: int) -> UInt8[np.ndarray, "batch rows columns channels"]:
    whole = height % frames.shape[1] == 0 and width % frames.shape[2] == 0
    interpolation = cv2.INTER_NEAREST if whole else cv2.INTER_AREA
    resized = [
        cv2.resize(frame, (width, height), interpolation=interpolation) for frame in np.ascontiguousarray(frames)
    ]
    return np.stack(resized).reshape(len(frames), height, width, frames.shape[3])


def _apply_palette(frames: Frames, palette: Sequence[Sequence[Color]]) -> Frames:
    if frames.shape[3] != 3:
        raise ValueError(f"expected RGB frames for a palette, got {frames.shape[3]} channels")
    result = np.zeros_like(frames)
    for color, becomes in palette:
        result[(frames == np.array(color, np.uint8)).all(axis=3)] = becomes
    return result
