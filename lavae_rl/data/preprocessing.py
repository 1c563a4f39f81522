"""Preprocessing: a declared way from the frames of an environment to those that a model reads."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from lavae_rl.byte_frames import to_bytes
from lavae_rl.options import named_options
from lavae_rl.shapes import Frames

LAYOUTS = ("hwc", "chw", "hw")
"""Orders of the axes of a frame: height, width, channels; channels first; grey without a channel axis."""
Color = Sequence[int]
"""Red, green and blue, 0 to 255."""
_MOST_PIXELS = 16_384
"""Largest side."""


@named_options()
@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of frames, in the order of the fields, stored with the weights of a model; by default none.

    Raises ValueError on values that make no sense together.
    """

    layout: str = "hwc"
    """Order of the axes of a frame: "hwc" (height, width, channels), "chw", or "hw" (grey without a channel axis)."""
    crop: Sequence[int] | None = field(default=None, kw_only=True)
    """(top, left, height, width) in pixels of the part of the frame to keep."""
    palette: Sequence[Sequence[Color]] | None = None
    """Pairs of an RGB colour of objects and what it becomes, each value 0 or 255; all other colours turn black."""
    channels: int | None = None
    """1 turns RGB into grey by OpenCV's weights (pure red becomes 76, green 150, blue 29); 3 repeats grey."""
    resize: Sequence[int] | None = None
    """(height, width) in pixels to scale to: whole-number enlargement by nearest pixel, otherwise by area."""
    threshold: int | None = None
    """0 to 254: values above it become 255, the others 0."""
    max_frames: int = field(default=1, kw_only=True)
    """2 declares that frames are the pixelwise maximum of the last two, taken before all else by ``FrameMaximum``."""

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f'expected layout "hwc", "chw" or "hw", got {self.layout!r}')
        if self.threshold is not None and (not _is_whole(self.threshold) or not 0 <= self.threshold <= 254):
            raise ValueError(f"expected threshold of 0 to 254, a whole number, got {self.threshold!r}")
        if self.channels not in (None, 1, 3):
            raise ValueError(f"expected channels 1 or 3, got {self.channels!r}")
        if self.max_frames not in (1, 2):
            raise ValueError(f"expected max_frames 1 or 2, got {self.max_frames!r}")
        for name, what, least in (
            ("crop", "(top, left, height, width)", (0, 0, 1, 1)),
            ("resize", "(height, width)", (1, 1)),
        ):
            if (given := getattr(self, name)) is not None:
                object.__setattr__(self, name, _checked_sides(f"{name} to {what}", given, least))
        if self.palette is not None:
            object.__setattr__(self, "palette", self._checked_palette(self.palette))

    def _checked_palette(self, palette: Any) -> Sequence[Sequence[Color]]:
        try:
            pairs = [(tuple(color), tuple(becomes)) for color, becomes in palette]
        except (TypeError, ValueError):
            pairs = []
        whole = all(len(part) == 3 and all(map(_is_whole, part)) for pair in pairs for part in pair)
        binary = all(value in (0, 255) for _, becomes in pairs for value in becomes)
        if not pairs or not whole or not binary or self.layout == "hw":
            raise ValueError(
                "expected palette as pairs ((r, g, b), (r, g, b)), the second of values 0 and 255, for frames with "
                f'colours; got {palette} for layout "{self.layout}"'
            )
        return tuple((tuple(map(int, color)), tuple(map(int, becomes))) for color, becomes in pairs)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Shape (height, width, channels) of a prepared frame.

        Raises:
            ValueError: ``shape`` is not as ``layout`` says, ``crop`` reaches beyond it, or its channels are not those
                that ``palette`` and ``channels`` read.
        """
        rank = 2 if self.layout == "hw" else 3
        if len(shape) != rank:
            raise ValueError(f'expected frames of {rank} axes for layout "{self.layout}", got shape {shape}')
        *size, channels = (*shape[1:], shape[0]) if self.layout == "chw" else (*shape, 1)[:3]
        if self.crop is not None:
            top, left, height, width = self.crop
            if top + height > size[0] or left + width > size[1]:
                given = f"frames of {size[0]} x {size[1]} pixels"
                raise ValueError(f"expected crop (top, left, height, width) inside {given}, got {self.crop}")
            size = [height, width]
        if self.palette is not None and channels != 3:
            raise ValueError(f"expected RGB frames for a palette, got {channels} channels in frames of shape {shape}")
        if self.channels is not None and channels not in (1, 3):
            raise ValueError(
                f"expected grey or RGB frames to convert, got {channels} channels in frames of shape {shape}"
            )
        height, width = self.resize or size
        return height, width, self.channels or channels

    def __call__(self, frames: np.ndarray) -> Frames:
        """Prepare a batch of frames, uint8 (batch, *shape of a frame).

        Raises:
            TypeError: frames that are not uint8.
            ValueError: as ``output_shape``.
        """
        if frames.dtype != np.uint8:
            remedy = to_bytes(frames.dtype)
            raise TypeError(f"expected frames as uint8 with values 0 to 255, got {frames.dtype}: {remedy}")
        height, width, _ = self.output_shape(frames.shape[1:])
        if self.layout == "chw":
            frames = frames.transpose(0, 2, 3, 1)
        elif self.layout == "hw":
            frames = frames[..., None]
        if self.crop is not None:
            top, left, rows, columns = self.crop
            frames = frames[:, top : top + rows, left : left + columns]
        frames = np.ascontiguousarray(frames)
        if self.palette is not None:
            frames = _apply_palette(frames, self.palette)
        if self.channels is not None and frames.shape[3] != self.channels:
            frames = _convert(frames, self.channels)
        # After the palette, which holds no blends of two colours, and before the threshold, which makes them binary.
        if frames.shape[1:3] != (height, width):
            frames = _resize(frames, height, width)
        if self.threshold is not None:
            frames = np.where(frames > self.threshold, np.uint8(255), np.uint8(0))
        return frames


def _is_whole(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def _checked_sides(what: str, given: object, least: tuple[int, ...]) -> tuple[int, ...]:
    """Pixels as a tuple; ``what`` names them in the error, ``least`` are the smallest that are possible."""
    if isinstance(given, Sequence | np.ndarray) and len(given) == len(least):
        values = tuple(given)
        if all(_is_whole(value) and low <= value <= _MOST_PIXELS for value, low in zip(values, least, strict=True)):
            return tuple(int(value) for value in values)
    square = f": ({given}, {given}) for a square" if _is_whole(given) and len(least) == 2 else ""
    limits = f"of at least 1 pixel, at most {_MOST_PIXELS:,}, whole numbers"
    raise ValueError(f"expected {what} {limits}, got {given!r}{square}")


def _convert(frames: Frames, channels: int) -> UInt8[np.ndarray, "batch height width converted"]:
    if (frames.shape[3], channels) == (1, 3):
        return frames.repeat(3, axis=3)
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])[..., None]


def _resize(frames: Frames, height: int, width: int) -> UInt8[np.ndarray, "batch rows columns channels"]:
    whole = height % frames.shape[1] == 0 and width % frames.shape[2] == 0
    interpolation = cv2.INTER_NEAREST if whole else cv2.INTER_AREA
    resized = np.stack([cv2.resize(frame, (width, height), interpolation=interpolation) for frame in frames])
    return resized.reshape(len(frames), height, width, frames.shape[3])


def _apply_palette(frames: Frames, palette: Sequence[Sequence[Color]]) -> Frames:
    result = np.zeros_like(frames)
    for color, becomes in palette:
        result[(frames == np.array(color, np.uint8)).all(axis=3)] = becomes
    return result
