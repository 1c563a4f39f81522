"""Sprite banks: the patches that scenes are made of, with their ground-truth attributes.

A *sprite* is a square image patch on black, uint8, each value 0 or 255. All drawing and resampling goes through
OpenCV's integer code paths, which give the same bytes on every machine.
"""

import gzip
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from lavae_rl.shapes import Boxes, Patches

PATCH_SIZE = 18
"""Side of a sprite patch in pixels (author's generator; see the README, "Differences from the paper")."""

DIGIT_SIZE = 28
"""Side of an original MNIST digit in pixels."""

SHAPES = ("square", "ellipse", "triangle")
SCALES = np.linspace(0.5, 1.0, 6)
ANGLES = np.linspace(0.0, 2.0 * np.pi * 39 / 40, 40)
COLORS = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)][1:], dtype=np.uint8)
"""The seven saturated colours: RGB values 0 or 255, not all 0 (paper, section 3.2)."""

_SUPERSAMPLING = 16
_POOL_SEED = 1909
_MAGIC = {"images": 0x803, "labels": 0x801}


@dataclass(frozen=True)
class SpriteBank:
    """Sprites and what is true of each.

    Attributes:
        patches: uint8 (sprites, size, size, channels), each value 0 or 255.
        attributes: name -> one value per sprite (``label``, or ``shape``, ``scale``, ``angle``, ``color``).
    """

    patches: Patches
    attributes: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        if not ((self.patches == 0) | (self.patches == 255)).all():
            raise ValueError("expected sprite patches of 0 and 255 only; binarise them first")
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
        """Tight boxes of the lit pixels: (top, left, bottom, right) in patch pixels, bottom and right exclusive."""
        lit = self.patches.max(axis=3) > 0
        rows, columns = lit.max(axis=2), lit.max(axis=1)
        top, left = rows.argmax(axis=1), columns.argmax(axis=1)
        bottom = self.size - rows[:, ::-1].argmax(axis=1)
        right = self.size - columns[:, ::-1].argmax(axis=1)
        return np.stack([top, left, bottom, right], axis=1)


def dsprites_bank(size: int = PATCH_SIZE) -> SpriteBank:
    """3 shapes x 6 scales x 40 angles x 7 colours = 5,040 sprites (paper, section 3.2).

    Square and equilateral triangle are inscribed in the circle of radius ``scale * size / 2``; the ellipse has radii
    ``scale * size / 2`` and ``scale * size / 3``. A pixel is lit where at least half of its area is covered.

    Args:
        size: side of a patch in pixels, at least 5.
    """
    if size < 5:
        raise ValueError(f"expected a patch size of at least 5 pixels, got {size}")
    shape, scale, angle, color = (
        grid.ravel() for grid in np.meshgrid(np.arange(3), np.arange(6), np.arange(40), np.arange(7), indexing="ij")
    )
    masks = np.stack(
        [_draw_shape(name, size, s, a) for name in SHAPES for s in SCALES for a in ANGLES]
    )  # (720, size, size)
    patches = np.repeat(masks, 7, axis=0)[..., None] & COLORS[color][:, None, None, :]
    attributes = {"shape": shape, "scale": SCALES[scale], "angle": ANGLES[angle], "color": color}
    return SpriteBank(patches, attributes)


def _draw_shape(name: str, size: int, scale: float, angle: float) -> UInt8[np.ndarray, "size size"]:
    """Draws at 16 times the resolution, then averages areas and rounds."""
    big = size * _SUPERSAMPLING
    radius = scale * big / 2
    if name == "ellipse":
        turn = np.linspace(0, 2 * np.pi, 256, endpoint=False)
        outline = radius * np.stack([np.cos(turn), np.sin(turn) * 2 / 3], axis=1)
    else:
        corners = {"square": 4, "triangle": 3}[name]
        turn = 2 * np.pi * np.arange(corners) / corners
        outline = radius * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    vertices = outline @ rotation + (big - 1) / 2
    canvas = np.zeros((big, big), np.uint8)
    # Vertices in 1/16 of a fine pixel: 1/256 of a patch pixel.
    cv2.fillConvexPoly(canvas, np.rint(vertices * 16).astype(np.int32), 255, shift=4)
    return _binarise(cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA))


def digits_bank(pool_size: int, size: int = PATCH_SIZE, mnist_dir: str | Path | None = None) -> SpriteBank:
    """A pool of statically binarised MNIST digits: bilinear rescaling, then rounding (paper, section 3.1).

    The pool is drawn once, without replacement and with a fixed seed, so "the 1k pool" is the same everywhere.

    Args:
        pool_size: number of digits, 1,000 or 10,000 in the paper.
        size: side of a patch in pixels, 4 to 28; a digit may vanish below 14.
        mnist_dir: folder with MNIST's IDX files (gzipped or not); None takes the 10,000 digits in the package.

    Raises:
        FileNotFoundError: ``mnist_dir`` lacks the training files.
        ValueError: a damaged IDX file, a pool larger than the digits at hand, or a digit that vanishes at this size.
    """
    if not 4 <= size <= DIGIT_SIZE:
        raise ValueError(f"expected a patch size of 4 to {DIGIT_SIZE} pixels, got {size}")
    digits, labels = _embedded_digits() if mnist_dir is None else load_mnist_idx(mnist_dir)
    if not 1 <= pool_size <= len(digits):
        raise ValueError(f"expected a pool of 1 to {len(digits)} digits, got {pool_size}; more digits: --mnist-dir")
    chosen = np.random.default_rng(_POOL_SEED).permutation(len(digits))[:pool_size]
    patches = np.stack([_shrink_digit(digit, size) for digit in digits[chosen]])
    if lost := int((~patches.any(axis=(1, 2))).sum()):
        raise ValueError(f"expected a patch size at which every digit is left, got {size}, where {lost} vanish; try 14")
    return SpriteBank(patches[..., None], {"label": labels[chosen].astype(np.int64)})


def _shrink_digit(digit: UInt8[np.ndarray, "28 28"], size: int) -> UInt8[np.ndarray, "size size"]:
    # The usual anti-aliasing rule, sigma = (factor - 1) / 2, before plain bilinear interpolation. From 28 to 18 px,
    # sigma is 0.28 and changes nothing, rightly: wider filters push thin strokes below the threshold. OpenCV's EXACT
    # variant computes in fixed point, so that rounding never depends on the processor.
    sigma = (DIGIT_SIZE / size - 1) / 2
    smooth = cv2.GaussianBlur(digit, (0, 0), sigma) if sigma > 0 else digit
    return _binarise(cv2.resize(smooth, (size, size), interpolation=cv2.INTER_LINEAR_EXACT))


def _binarise(patch: np.ndarray) -> np.ndarray:
    return np.where(patch >= 128, 255, 0).astype(np.uint8)


@lru_cache(maxsize=1)
def _embedded_digits() -> tuple[np.ndarray, np.ndarray]:
    with (files("lavae_rl") / "assets" / "mnist_10k.npz").open("rb") as stream, np.load(stream) as data:
        return data["x"], data["y"]


def load_mnist_idx(folder: str | Path) -> tuple[UInt8[np.ndarray, "digits 28 28"], UInt8[np.ndarray, " digits"]]:
    """MNIST's training images and labels from the standard IDX files, gzipped or not.

    Args:
        folder: holds ``train-images-idx3-ubyte[.gz]`` and ``train-labels-idx1-ubyte[.gz]``
            (some mirrors write ``.idx3-ubyte``; both names are taken).

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged or is not what its name says.
    """
    images = _read_idx(_find_idx(Path(folder), "train-images", 3), "images")
    labels = _read_idx(_find_idx(Path(folder), "train-labels", 1), "labels")
    if len(images) != len(labels):
        raise ValueError(f"expected as many labels as images in {folder}, got {len(labels)} and {len(images)}")
    return images, labels


def _find_idx(folder: Path, stem: str, rank: int) -> Path:
    names = [f"{stem}{mark}idx{rank}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"expected one of {', '.join(names)} in {folder}; is it the folder of MNIST's IDX files?")


def _read_idx(path: Path, kind: str) -> np.ndarray:
    raw = path.read_bytes()
    try:
        raw = gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a damaged gzip file ({error}); download it again") from error
    rank = 3 if kind == "images" else 1
    header = 4 + 4 * rank
    magic, *shape = struct.unpack(f">{1 + rank}i", raw[:header]) if len(raw) >= header else (None,)
    if magic != _MAGIC[kind]:
        raise ValueError(f"{path} is not an IDX file of MNIST {kind}: expected magic {_MAGIC[kind]}, got {magic}")
    if kind == "images" and shape[1:] != [DIGIT_SIZE, DIGIT_SIZE]:
        raise ValueError(f"expected digits of {DIGIT_SIZE} x {DIGIT_SIZE} pixels in {path}, got {shape[1:]}")
    if len(raw) - header != np.prod(shape):
        raise ValueError(
            f"{path} is damaged: its header promises {np.prod(shape)} bytes, {len(raw) - header} follow; "
            "download it again"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)
