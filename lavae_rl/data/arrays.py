"""Arrays in .npz files, whose headers are read before any memory is taken for them."""

import math
from collections.abc import Sequence
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from lavae_rl.runs.archives import open_zip
from lavae_rl.runs.reading import check_file

BAD_HEADER = (RecursionError, SyntaxError, TokenError, TypeError, ValueError)
"""Exceptions that NumPy raises for a damaged header."""
KIND = "npz file"
MAGIC = np.lib.format.MAGIC_PREFIX
"""First bytes of an .npy file."""
_MOST_HEADER = 2**16


def first_bytes(path: Path) -> bytes:
    """The bytes that distinguish .npy from .npz files. Raises as ``check_file`` where there is no plain file."""
    check_file(path)
    with path.open("rb") as file:
        return file.read(len(MAGIC))


def array_names(path: Path) -> Sequence[str]:
    """Names of the arrays in an .npz file; what else is in it is left out. Raises ValueError where it is damaged."""
    with open_zip(path, KIND) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def read_array(path: Path, name: str, allow_pickle: bool = False) -> np.ndarray:
    """Read an array of an .npz file.

    Raises:
        ValueError: the file is damaged, has no such array, or one whose header promises more than there is.
    """
    with open_zip(path, KIND) as archive:
        check_header(archive, f"{name}.npy", allow_pickle)
        try:
            with archive.open(f"{name}.npy") as member:
                array: np.ndarray = np.lib.format.read_array(member, allow_pickle=allow_pickle)
        except (MemoryError, ValueError) as error:
            raise BadZipFile(f"{name}: {error}") from error
        return array


def check_header(archive: ZipFile, member: str, allow_pickle: bool = False) -> None:
    """Refuse, with a BadZipFile, an array whose header promises other than what follows it."""
    with archive.open(member) as stream:
        try:
            shape, dtype = _read_header(stream)
        except BAD_HEADER as error:
            raise BadZipFile(f"{member} is no array: {error}") from error
        there = archive.getinfo(member).file_size - stream.tell()
    if dtype.hasobject:
        if not allow_pickle:
            raise BadZipFile(f"{member} is pickled: Object arrays cannot be loaded")
    elif (promised := math.prod(shape) * dtype.itemsize) != there:
        raise BadZipFile(f"{member} promises {promised:,} bytes of {dtype} {shape}, {there:,} follow")


def _read_header(stream: Any) -> tuple[tuple[int, ...], np.dtype]:
    version = np.lib.format.read_magic(stream)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"expected version 1.0 or 2.0 of the format of NumPy, got {version}")
    shape, _, dtype = readers[version](stream, max_header_size=_MOST_HEADER)
    if any(side < 0 for side in shape):
        raise ValueError(f"expected a shape of sizes from 0, got {shape}")
    return shape, dtype
