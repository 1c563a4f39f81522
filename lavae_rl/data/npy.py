"""Frames in .npy files that stay on disk."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from lavae_rl.byte_frames import to_bytes
from lavae_rl.data.arrays import BAD_HEADER
from lavae_rl.data.frame_source import Index
from lavae_rl.runs.reading import check_file
from lavae_rl.shapes import Frames

_BATCH = 256
_COARSE = 8


class NpyFrames:
    """The frames of a .npy file, mapped anew at each access: memory holds what is indexed, and no file stays open.

    Grey frames without a channel axis get one. ``source`` is what error messages name, the file itself by default.

    Raises:
        TypeError: numbers that are not uint8.
        ValueError: a file that is damaged, or holds something else than frames.
    """

    def __init__(self, path: Path, source: Path | None = None) -> None:
        self.path, self.source = path, source or path
        check_file(path)
        frames = self._map()
        if frames.dtype != np.uint8:
            remedy = f"save {to_bytes(frames.dtype)}"
            raise TypeError(f"expected frames as uint8 in {self.source}, got {frames.dtype}: {remedy}")
        if frames.ndim not in (3, 4) or 0 in frames.shape or (frames.ndim == 4 and frames.shape[3] not in (1, 3)):
            expected = f"expected frames (number, height, width[, 1 or 3 channels]) in {self.source}"
            raise ValueError(f"{expected}, got shape {frames.shape}: save {_of_shape(frames.shape)}")
        self.shape: tuple[int, ...] = (*frames.shape, 1)[:4]
        """(frames, height, width, channels)."""

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Index) -> Frames:
        frames = np.array(self._map()[index])
        return frames[..., None] if frames.ndim == 3 else frames

    def lit(self) -> Bool[np.ndarray, " frames"]:
        """Mask of the frames that are not black everywhere."""
        lit = np.zeros(len(self), bool)
        for start in range(0, len(self), _BATCH):
            frames, part = self._map()[start : start + _BATCH], lit[start : start + _BATCH]
            # A few pixels settle most frames, in a fraction of the time that reading all would take.
            part[:] = frames[:, ::_COARSE, ::_COARSE].reshape(len(part), -1).any(axis=1)
            for i in np.flatnonzero(~part):
                part[i] = frames[i].any()
        return lit

    def _map(self) -> np.ndarray:
        try:
            return np.lib.format.open_memmap(self.path, mode="r")
        except FileNotFoundError:
            raise
        except (EOFError, OSError, OverflowError, *BAD_HEADER) as error:
            raise ValueError(f"{self.source} is damaged or no .npy file of numbers ({error})") from error


def _of_shape(shape: tuple[int, ...]) -> str:
    """Code that makes frames of an array of a shape, as an error proposes it."""
    if len(shape) == 4 and 0 not in shape and shape[1] in (1, 3):
        return "channel-first frames as frames.transpose(0, 2, 3, 1)"
    if len(shape) == 4 and 0 not in shape and shape[3] in (2, 4):
        return f"frames without alpha, frames[..., :{shape[3] - 1}]"
    if len(shape) == 2 and 0 not in shape:
        return "a single frame as frames[None]"
    return "grey or RGB frames, one after the other"


def write_frames(path: Path, frames: Iterable[np.ndarray]) -> int:
    """Write frames to a .npy file one after the other, uint8 (height, width, channels), and return their number.

    Memory holds one frame at a time.

    Raises:
        ValueError: frames of changing size.
    """
    number, shape = 0, None
    header = {"descr": "|u1", "fortran_order": False}
    with path.open("wb") as stream:
        for frame in frames:
            if shape is None:
                shape = frame.shape
                np.lib.format.write_array_header_1_0(stream, {**header, "shape": (0, *shape)})
            if frame.shape != shape:
                raise ValueError(f"expected frames of one size, {shape} as the first, got {frame.shape} as {number}")
            stream.write(np.ascontiguousarray(frame).tobytes())
            number += 1
        if shape is not None:
            # The header has spare room for a longer first axis, so the data behind it stays where it is.
            stream.seek(0)
            np.lib.format.write_array_header_1_0(stream, {**header, "shape": (number, *shape)})
    return number
