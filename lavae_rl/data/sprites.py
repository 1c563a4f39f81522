"""Sprite banks: the patches that scenes are made of, with their ground-truth attributes.

A *sprite* is a square image patch on black, uint8, each value 0 or 255. All drawing and resampling goes through
OpenCV's integer code paths, which give the same bytes on every machine.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from lavae_rl.shapes import Boxes, Patches

PATCH_SIZE = 18
"""Side of a sprite patch in pixels (author's generator; see docs/differences.md)."""

SHAPES = ("square", "ellipse", "triangle")
SCALES = np.linspace(0.5, 1.0, 6)
ANGLES = np.linspace(0.0, 2.0 * np.pi * 39 / 40, 40)
COLORS = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)][1:], dtype=np.uint8)
"""The seven saturated colours: RGB values 0 or 255, not all 0 (paper, section 3.2)."""

_SUPERSAMPLING = 16


@dataclass(frozen=True)
class SpriteBank:
    """Sprites and their attributes."""

    patches: Patches
    """Each value is 0 or 255."""
    attributes: Mapping[str, np.ndarray]
    """Name -> one value per sprite (``label``, or ``shape``, ``scale``, ``angle``, ``color``)."""

    def __post_init__(self) -> None:
        if not ((self.patches == 0) | (self.patches == 255)).all():
            raise ValueError(
                "expected sprite patches of 0 and 255 only: (patches > 127) * np.uint8(255) makes them binary"
            )
        if not self.patches.any(axis=(1, 2, 3)).all():
            raise ValueError("expected every sprite to have at least one lit pixel, got a black one")
        for name, values in self.attributes.items():
            if len(values) != len(self.patches):
                raise ValueError(f"expected {len(self.patches)} values of {name!r}, got {len(values)}")

    def __len__(self) -> int:
        return len(self.patches)

    @property
    def size(self) -> int:
        """Side of a patch in pixels."""
        return int(self.patches.shape[1])

    @property
    def channels(self) -> int:
        """1 (grey) or 3 (RGB)."""
        return int(self.patches.shape[3])

    @cached_property
    def boxes(self) -> Boxes:
        """Tight boxes of the lit pixels, see ``tight_boxes``."""
        return tight_boxes(self.patches.max(axis=3) > 0)


def tight_boxes(lit: Bool[np.ndarray, "*axes size size"]) -> Int[np.ndarray, "*axes 4"]:
    """Boxes (top, left, bottom, right) of lit pixels, bottom and right exclusive; whole patches where none is lit."""
    sides = np.stack([lit.any(axis=-1), lit.any(axis=-2)], axis=-2)  # rows, columns
    return np.concatenate([sides.argmax(axis=-1), lit.shape[-1] - sides[..., ::-1].argmax(axis=-1)], axis=-1)


def dsprites_bank(size: int = PATCH_SIZE) -> SpriteBank:
    """3 shapes x 6 scales x 40 angles x 7 colours = 5,040 sprites (paper, section 3.2).

    Square and equilateral triangle are inscribed in the circle of radius ``scale * size / 2``; the ellipse has radii
    ``scale * size / 2`` and ``scale * size / 3``. A pixel is lit where at least half of its area is covered. The side
    of a patch, ``size``, is at least 5 pixels.
    """
    if size < 5:
        raise ValueError(f"expected a patch size of at least 5 pixels, got {size}")
    shape, scale, angle, color = np.indices((3, 6, 40, 7)).reshape(4, -1)
    masks = np.stack([_draw_shape(name, size, s, a) for name in SHAPES for s in SCALES for a in ANGLES])
    patches = np.repeat(masks, 7, axis=0)[..., None] & COLORS[color][:, None, None, :]
    attributes = {"shape": shape, "scale": SCALES[scale], "angle": ANGLES[angle], "color": color}
    return SpriteBank(patches, attributes)


def _draw_shape(name: str, size: int, scale: float, angle: float) -> UInt8[np.ndarray, "size size"]:
    """Draw at 16 times the resolution, then average areas and round."""
    big, corners = size * _SUPERSAMPLING, {"square": 4, "triangle": 3, "ellipse": 256}[name]
    turn = 2 * np.pi * np.arange(corners) / corners
    outline = np.stack([np.cos(turn), np.sin(turn) * 2 / 3 if name == "ellipse" else np.sin(turn)], axis=1)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    vertices = scale * big / 2 * outline @ rotation + (big - 1) / 2
    canvas = np.zeros((big, big), np.uint8)
    # Vertices in 1/16 of a fine pixel: 1/256 of a patch pixel.
    cv2.fillConvexPoly(canvas, np.rint(vertices * 16).astype(np.int32), 255, shift=4)
    return binarise(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA))


def binarise(patch: np.ndarray) -> np.ndarray:
    """Round every value of a patch to 0 or 255."""
    return np.where(patch >= 128, 255, 0).astype(np.uint8)
