"""MNIST digits as a sprite bank: those in the package, or all of MNIST's IDX files."""

import gzip
import io
import math
import struct
import zlib
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from lavae_rl.data.sprites import PATCH_SIZE, SpriteBank, binarise

DIGIT_SIZE = 28
"""Side of an original MNIST digit in pixels."""

_POOL_SEED = 1909
_GZIP, _IDX = b"\x1f\x8b", b"\0\0\x08"
"""First bytes of packed files, and of IDX files of uint8."""
_MOST_BYTES = 2**28
_MOST_PACKED = 3
"""Times that a file may be packed."""


def digits_bank(pool_size: int, size: int = PATCH_SIZE, mnist_dir: str | Path | None = None) -> SpriteBank:
    """A pool of statically binarised MNIST digits: bilinear rescaling, then rounding (paper, section 3.1).

    The pool is drawn without replacement and with a fixed seed, so "the 1k pool" is the same everywhere.

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
        raise ValueError(
            f"expected a pool of 1 to {len(digits)} digits, got {pool_size}; more digits: --mnist-dir (mnist_dir)"
        )
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
    return binarise(cv2.resize(smooth, (size, size), interpolation=cv2.INTER_LINEAR_EXACT))


@lru_cache(maxsize=1)
def _embedded_digits() -> tuple[np.ndarray, np.ndarray]:
    with (files("lavae_rl") / "assets" / "mnist_10k.npz").open("rb") as stream, np.load(stream) as data:
        return data["x"], data["y"]


def load_mnist_idx(folder: str | Path) -> tuple[UInt8[np.ndarray, "digits 28 28"], UInt8[np.ndarray, " digits"]]:
    """Read MNIST's training set from ``train-images-idx3-ubyte[.gz]`` and ``train-labels-idx1-ubyte[.gz]``.

    Some mirrors write ``.idx3-ubyte``; both names are taken.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged or is not what its name says.
    """
    images, labels = _read_idx(Path(folder), "images", 3), _read_idx(Path(folder), "labels", 1)
    if (size := list(images.shape[1:])) != [DIGIT_SIZE, DIGIT_SIZE]:
        raise ValueError(f"expected digits of {DIGIT_SIZE} x {DIGIT_SIZE} pixels in {folder}, got {size}")
    if labels.size and labels.max() > 9:
        raise ValueError(f"expected labels of 0 to 9 in {folder}, got {labels.max()}: download the files again")
    if len(images) != len(labels):
        raise ValueError(f"expected as many labels as images in {folder}, got {len(labels)} and {len(images)}")
    return images, labels


def _read_idx(folder: Path, kind: str, rank: int) -> np.ndarray:
    names = [f"train-{kind}{mark}idx{rank}-ubyte{end}" for mark in "-." for end in ("", ".gz")]
    path = next((folder / name for name in names if (folder / name).is_file()), None)
    if path is None:
        wanted = ", ".join(names)
        raise FileNotFoundError(f"expected one of {wanted} in {folder}; is it the folder of MNIST's IDX files?")
    with path.open("rb") as stream:
        try:
            return _read_numbers(_unpacked(stream, path.suffix == ".gz"), kind, rank, path)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"{path} is a damaged gzip file ({error}); download it again") from error


def _unpacked(stream: Any, named: bool) -> Any:
    """The content of a file that is packed or not: browsers and proxies unpack files, or pack them once more.

    ``named`` says that the name is that of a packed file.
    """
    for _ in range(_MOST_PACKED):
        start = stream.peek(len(_IDX))
        if not start.startswith(_GZIP) and not (named and not start.startswith(_IDX)):
            break
        stream = io.BufferedReader(gzip.GzipFile(fileobj=stream, mode="rb"))
    return stream


def _read_numbers(stream: Any, kind: str, rank: int, path: Path) -> np.ndarray:
    """The numbers of an IDX file, in memory for what its header says and no more."""
    size, magic = 4 + 4 * rank, 0x800 + rank  # a magic number says uint8 and the number of axes
    header = stream.read(size)
    found, *shape = struct.unpack(f">{1 + rank}I", header) if len(header) == size else (None,)
    if found != magic:
        raise ValueError(f"{path} is not an IDX file of MNIST {kind}: expected magic {magic}, got {found}")
    if (promised := math.prod(shape)) > _MOST_BYTES:
        raise ValueError(f"expected at most {_MOST_BYTES:,} bytes in {path}, its header promises {promised:,}")
    raw = stream.read(promised + 1)  # one more, to see that none follows
    if len(raw) != promised:
        there = f"more than {promised}" if len(raw) > promised else len(raw)
        raise ValueError(f"{path} is damaged: its header promises {promised} bytes, {there} follow; download it again")
    return np.frombuffer(raw, np.uint8).reshape(shape)
